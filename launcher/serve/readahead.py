"""The checkpoint, read into memory while the server imports: a child reads it
(`readahead_child.py`), this takes in what it tells.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from launcher import nesting
from launcher.engines.loading import Loading
from launcher.statedir.schema import number, optional, table, text, whole

if TYPE_CHECKING:  # the child has no loop
    from launcher.serve.loop import Loop

# of a plan's variables those by which a hub id means a folder
WHERE = ("HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "XDG_CACHE_HOME", "HOME")
NOT_ALL = "not all of it can be read: "  # begins why, where files are missing or not whole
CLOSED_WITHIN = 0.2  # seconds for a child that was killed; a disk may hold it longer


@dataclass(frozen=True)
class Request:
    """What is to be read. `ranks` are the server's on this host; `copies`: it holds the weights in
    the host's memory, too, as it does on a CPU.
    """

    models: tuple[str, ...]
    patterns: tuple[str, ...]
    natural: bool
    ranks: int
    copies: bool

    @classmethod
    def of(cls, loading: Loading, gpus: int) -> Request:
        """The request for a plan's loading on so many GPUs; 0: on the CPU."""
        return cls(loading.models, loading.patterns, loading.natural, gpus, gpus == 0)

    @classmethod
    def from_json(cls, data: Mapping[str, object]) -> Request:
        """What `asdict` gave. Raises KeyError or TypeError for what is none."""
        return cls(**{**data, **{name: tuple(data[name]) for name in ("models", "patterns")}})  # type: ignore[arg-type]


@dataclass(frozen=True)
class Told:
    """How far it is: bytes that the disk gave, bytes that were cached before, of so many; the
    file system of a network, or of memory, that it lies on, if it does. `end` is None while it
    reads, "" once all is in memory, else why it is not.
    """

    read: int = 0
    cached: int = 0
    total: int = 0
    seconds: float = 0.0
    where: str = ""
    end: str | None = None

    @property
    def is_news(self) -> bool:
        """Whether it is worth a word: a small checkpoint is not."""
        return bool(self.total or self.end)

    @classmethod
    def from_json(cls, data: object) -> Told:
        """What a line of the child says. Raises ValueError."""
        said = table(data)
        return cls(
            read=whole(said.get("read")),
            cached=whole(said.get("cached")),
            total=whole(said.get("total")),
            seconds=number(said.get("seconds")),
            where=text(said.get("where")),
            end=optional(text, said.get("end")),
        )


class ReadAhead:
    """The child, and the last that it told."""

    def __init__(self, request: Request, env: Mapping[str, str]) -> None:
        """Begin to read; `env` are the server's variables. Raises OSError where no process can be
        had.
        """
        self.last = Told()
        self._rest = b""
        self._child = subprocess.Popen(
            [
                *(sys.executable, "-P", "-m", "launcher.serve.readahead_child"),
                json.dumps(asdict(request)),
            ],
            env={**os.environ, **{name: env[name] for name in WHERE if name in env}},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert self._child.stdout
        self.output = self._child.stdout.fileno()
        os.set_blocking(self.output, False)

    @property
    def pid(self) -> int:
        """The child's."""
        return self._child.pid

    def hear(self) -> Iterator[Told]:
        """What it told since. Raises EOFError when it is gone."""
        try:
            piece = os.read(self.output, 1 << 16)
        except BlockingIOError:
            return
        if not piece:
            raise EOFError
        *lines, self._rest = (self._rest + piece).split(b"\n")
        for line in lines:
            with contextlib.suppress(ValueError):
                self.last = Told.from_json(nesting.of_json(line))
                yield self.last

    def close(self) -> None:
        """End it, without waiting for one that a disk holds."""
        self._child.kill()
        for pipe in (self._child.stdin, self._child.stdout):
            assert pipe
            pipe.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._child.wait(CLOSED_WITHIN)


class Reading:
    """What is read ahead for the present run of a server, if anything is."""

    def __init__(self, loop: Loop, tell: Callable[[Told], None]) -> None:
        self._loop = loop
        self._tell = tell
        self._ahead: ReadAhead | None = None

    def begin(self, loading: Loading, gpus: int, env: Mapping[str, str]) -> None:
        """Begin to read, unless something speaks against it. Raises what `ReadAhead` does."""
        if loading.against:
            self._tell(Told(end=loading.against))
            return
        self._ahead = ReadAhead(Request.of(loading, gpus), env)
        self._loop.on(self._ahead.output, self._hear)

    def end(self, why: str) -> None:
        """Have nothing more read; `why` is told of a reading that was under way."""
        if self._ahead is None:
            return
        ahead, self._ahead = self._ahead, None
        self._loop.off(ahead.output)
        ahead.close()
        if ahead.last.end is None and ahead.last.total:
            self._tell(replace(ahead.last, end=why))

    def _hear(self) -> None:
        assert self._ahead
        try:
            for told in self._ahead.hear():
                if told.is_news:
                    self._tell(told)
        except EOFError:
            self.end("its reader died")
