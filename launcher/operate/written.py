"""What an instance has written, for another shell to read: its log, its events, its starts. What
looks like a secret is left out.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, TypeVar

from launcher import counting, folding
from launcher.errors import Exit, UserError, in_words
from launcher.files import following, guarded
from launcher.redact.secrets import Lines, hide_data
from launcher.statedir import starts
from launcher.statedir.events import Event, parsed, read_events
from launcher.statedir.folder import StateDir
from launcher.statedir.starts import PastStart

T = TypeVar("T")
LARGEST_TAIL = 64 << 20  # bytes of a log that are looked at for its last lines
LONGEST_LINE = 64 << 10  # bytes of a line that are shown; a server's log has some hundred
FOLLOWED_EVERY = 0.2  # seconds between looks at a log


def log_lines(instance: StateDir, last: int, *, follow: bool) -> Iterator[str]:
    """The last lines of the server's log, and with `follow` those to come while a launcher is
    alive. Raises UserError.
    """
    try:
        file = os.fdopen(guarded.opened(instance.server_log), "rb")
    except OSError as error:
        raise _unreadable(instance, instance.server_log, error) from None
    scrubber = Lines()  # an older launcher may have left more in the log than this one would
    with file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - LARGEST_TAIL))  # it may be of any size
        tail = deque(file, maxlen=last + 1)
        begun = tail.pop() if follow and tail and not tail[-1].endswith(b"\n") else b""
        yield from map(scrubber.hide, map(_text, [*tail][-last:] if last else []))
        if follow:
            came = following.lines(
                instance.server_log, file, instance.is_held, FOLLOWED_EVERY, begun
            )
            yield from map(scrubber.hide, map(_text, came))


def _text(line: bytes) -> str:
    """A line without its end; of one that is no line of a log, the first part."""
    line = line.rstrip(b"\r\n")
    left = len(line) - LONGEST_LINE
    told = line[:LONGEST_LINE].decode(errors="replace")
    return told if left <= 0 else f"{told} ({left:,} bytes more, without a line end)"


def _unreadable(instance: StateDir, path: Path, error: OSError) -> UserError:
    """The refusal for a file of an instance that is not there, or not to be read."""
    if isinstance(error, FileNotFoundError):
        fix = f"`glm5-serve up --profile {instance.name}` writes it"
        return UserError(
            f"nothing of {instance.name} at {path}: {in_words(error)}", fix=fix, status=Exit.NO
        )
    return UserError(
        f"cannot read {path}: {in_words(error)}", fix=f"`ls -ld {path}` tells whose it is, and what"
    )


def events(
    instance: StateDir, last: int | None, kinds: Sequence[str], since: str, *, follow: bool
) -> Iterator[Event]:
    """The last events (None: all) since a time as the files say it, and with `follow` those to come
    while a launcher is alive.

    Raises UserError.
    """
    files = sorted(instance.folder.glob(f"{instance.events.name}*"), reverse=True)
    if not files:
        raise UserError(
            f"no events of {instance.name} at {instance.events}",
            fix=f"`glm5-serve up --profile {instance.name}` writes them",
            status=Exit.NO,
        )
    try:
        older = b"".join(guarded.read(path) for path in files if path != instance.events)
        end = following.end_of(instance.events)
    except OSError as error:
        raise _unreadable(instance, instance.folder / (error.filename or ""), error) from None
    with end or contextlib.nullcontext():
        lines = _texts(older, end)
        every = [*parsed(lines)]
        if not (every or follow) and any(map(str.strip, lines)):
            fix = f"{_away(instance.events)}: what happens next is written to a new one"
            raise UserError(f"nothing of {instance.events} is an event", fix=fix, status=Exit.NO)
        odd = sum(bool(line.strip()) for line in lines) - len(every)
        if odd:
            _tell_left_out(counting.of(odd, "line"), "event", *files)
        told = [event for event in every if not kinds or event.kind in kinds]
        yield from map(_shown, _last([one for one in told if one.time >= since], last))
        for event in read_events(instance.events, end, instance.is_held) if follow else ():
            if not kinds or event.kind in kinds:
                yield _shown(event)


def _last(found: Sequence[T], number: int | None) -> Sequence[T]:
    return found if number is None else found[-number:] if number else ()


def _shown(event: Event) -> Event:
    """An event without what looks like a secret."""
    return replace(event, fields=hide_data(dict(event.fields)))


def past_starts(instance: StateDir, last: int | None, since: str) -> Sequence[PastStart]:
    """Its last starts (None: all) since a time as the files say it, oldest first. Raises UserError
    where none is over yet.
    """
    found, odd = starts.looked(instance.starts)
    if not found and os.path.lexists(instance.starts):
        fix = f"{_away(instance.starts)}: the next start writes a new one"
        raise UserError(f"{instance.starts} tells of no start that can be read", fix=fix)
    if not found:
        raise UserError(
            f"no start of {instance.name} is over yet: nothing at {instance.starts}",
            fix=f"`glm5-serve status --profile {instance.name}` shows one that goes on",
            status=Exit.NO,
        )
    if odd:
        _tell_left_out(counting.of(odd, "entry", "entries"), "start", instance.starts)
    return _last([one for one in found if one.time >= since], last)


def _tell_left_out(which: str, what: str, *files: Path) -> None:
    """Say on stderr which lines or entries of files are not told, as they are none."""
    place = ", ".join(map(str, files))
    folding.tell(f"note: left out: {which} of {place}, no {what}", sys.stderr)


def _away(path: Path) -> str:
    """How what is no file of ours, be it a folder, is put aside."""
    return f"look what it is (`ls -ld {path}`), then `mv {path} {path}.odd`"


def _texts(older: bytes, file: BinaryIO | None) -> list[str]:
    """The lines of older files, and of the present one up to where it stands."""
    if file is None:
        return older.decode(errors="replace").splitlines()
    upto = file.tell()
    file.seek(begin := max(0, upto - LARGEST_TAIL))  # the launcher puts it aside long before
    return (older + file.read(upto - begin)).decode(errors="replace").splitlines()
