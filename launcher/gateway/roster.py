"""Who is behind a gateway, kept by its launcher alone: every instance that says that it is ready
and names this gateway, and the workers that an operator gave it.

So nobody has to be told that a launcher died, no two write the list at once, and what somebody else
made of it is put right. What cannot be looked at stays as it was.
"""

from __future__ import annotations

import contextlib
import http.client
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from launcher.engines.http import ForeignError, UnaskedError
from launcher.engines.server import NO_ANSWER, Server, talk
from launcher.errors import in_words
from launcher.files import guarded
from launcher.files.reading import UnfitError
from launcher.gateway.instances import plan_of
from launcher.gateway.manifest import FILE, LARGEST, Worker, fault, place_of, urls, written
from launcher.gateway.settings import HEALTH, Options
from launcher.statedir.folder import StateDir
from launcher.statedir.home import known

EVERY = 0.5  # seconds between two looks
AGAIN = 5.0  # seconds until one that was refused is asked again
ASKED_WITHIN = 3.0  # seconds


@dataclass(frozen=True)
class Served:
    """What the gateway is served with now: a restart may change it."""

    options: Options
    key: str | None


@dataclass
class Roster:
    """The list of one gateway. `tell` says what somebody should know, once."""

    folder: Path
    serves: Callable[[], Served]
    tell: Callable[[str], None]
    listed: frozenset[Worker] = frozenset()
    _by: Served | None = None  # what those that are listed were found to fit
    _refused: dict[str, float] = field(default_factory=dict)  # until when it is not asked, by URL
    _last: bytes = b""

    @property
    def file(self) -> Path:
        """What smg reads."""
        return self.folder / FILE

    def keep(self) -> None:
        """Look again and again, for as long as this process lives."""
        while True:
            self.guarded_look()
            time.sleep(EVERY)

    def guarded_look(self) -> None:
        """Look once; whatever goes wrong leaves the list as it is, and is no reason not to look
        again.
        """
        try:
            self.look()
        except Exception as error:
            self.tell(f"the list of workers stays as it is: {in_words(error)}")

    def look(self) -> None:
        """Put the list right. Raises OSError."""
        by = self.serves()
        now = {*self._instances(by), *(Worker(url, url) for url in by.options.workers)}
        sure = self.listed if by == self._by else frozenset()
        kept = {one for one in now if one in sure or self._is_welcome(one, by)}
        data = written(kept)
        if data != self._last or self._was_changed():
            self._write(data)
        self.listed, self._last, self._by = frozenset(kept), data, by

    def _write(self, data: bytes) -> None:
        """Put the list there, in place of whatever has its name. Raises OSError."""
        if guarded.strange(self.file) == "a folder":  # anything else is replaced as it is
            shutil.rmtree(self.file)
        guarded.replace(self.file, data)

    def _was_changed(self) -> bool:
        """Whether somebody else wrote the list, or put something else there, which is told."""
        try:
            found = guarded.read(self.file, LARGEST)
            if found == self._last:
                return False
            why = fault(found)
        except FileNotFoundError:
            why = "it was removed"
        except OSError as error:
            why = f"it {error.strerror}" if isinstance(error, UnfitError) else str(error.strerror)
        how = f"broken by somebody ({why})" if why else "changed by somebody"
        fix = "" if why else "; `glm5-serve gateway up --worker URL` adds one that is not ours"
        self.tell(f"{self.file} was {how}: the last good list is put back{fix}")
        return True

    def _instances(self, by: Served) -> Iterator[Worker]:
        """The instances of this state home that are ready, and name this gateway. Raises OSError:
        a folder that cannot be listed is not an empty one.
        """
        home = self.folder.parent
        next(home.iterdir(), None)
        for instance in known(home):
            if instance.folder != self.folder and (url := _url(instance, by.options.name)):
                worker = Worker(instance.name, url)
                seen = instance.look().state
                if seen == "ready" or (seen == "unknown" and self._stays(instance, worker)):
                    yield worker

    def _stays(self, instance: StateDir, worker: Worker) -> bool:
        """Whether one of which nothing is known now was there, and its launcher lives."""
        return worker in self.listed and instance.is_held()

    def _is_welcome(self, worker: Worker, by: Served) -> bool:
        """Whether it takes the gateway's key, and can be asked for its health; a worker that does
        not is one that every client of it would get errors from.
        """
        now = time.monotonic()
        if now < self._refused.get(worker.url, 0.0):
            return False
        status = _status(worker.url, "/v1/models", by.key)
        if status == 0:  # no obstacle: smg asks by itself, again and again
            self.tell(f"{worker.name} does not answer: it is sent requests as soon as it does")
        why = _obstacle(worker, by, status)
        if why is None:
            self._refused.pop(worker.url, None)
            return True
        self._refused[worker.url] = now + AGAIN
        self.tell(f"{worker.name} is not sent any request: {why}")
        return False


def _obstacle(worker: Worker, by: Served, status: int | None) -> str | None:
    """Why the gateway could not use a worker, in words; None where nothing is known against it.
    `status` is that of its models.
    """
    if status in (401, 403):
        wants = (
            "another API key than the gateway's" if by.key else "an API key: the gateway has none"
        )
        fix = f"one --api-key-file for both, then `glm5-serve restart -p {by.options.name}`"
        return f"it wants {wants}; {fix}"
    if by.options.health != HEALTH and _status(worker.url, by.options.health, by.key) == 404:
        fix = f"`glm5-serve gateway up --health {HEALTH}` asks for what it has"
        return f"it has no {by.options.health}; {fix}"
    return None


def _status(url: str, path: str, key: str | None) -> int | None:
    """The status of an answer, 0 for none; None where it was not asked: TLS is smg's alone."""
    if not url.startswith("http://"):
        return None
    try:
        return talk(Server(*place_of(url), key), "GET", path, None, ASKED_WITHIN)[0]
    except UnaskedError:
        return None
    except (OSError, http.client.HTTPException, ForeignError, *NO_ANSWER):
        return 0


def _url(instance: StateDir, gateway: str) -> str | None:
    """Where an instance of this gateway serves; None for what is none of its."""
    made = plan_of(instance)
    return Server(made.host, made.port).url if made and made.gateway == gateway else None


def listed(gateway: StateDir) -> set[str]:
    """The URLs that a gateway's list has, as far as it can be read."""
    with contextlib.suppress(OSError):
        return urls(guarded.read(gateway.folder / FILE, LARGEST))
    return set()
