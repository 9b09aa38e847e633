"""The pieces of a log, as they come, to the cause of a death: pure, from bytes to data."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable

from launcher.diagnose.deaths import LAST_LINES
from launcher.diagnose.diagnosis import judge
from launcher.diagnose.encoding import RefusedError, texts
from launcher.diagnose.scan import LONGEST, SKIPPED, LogScan
from launcher.diagnose.shapes import IDS, Kind, Shape
from launcher.diagnose.unwrap import unwrap
from launcher.diagnose.verdict import UNKNOWN, Diagnosis
from launcher.engines import witness
from launcher.knowledge.families import NO_LOG
from launcher.redact.secrets import Lines

LONGEST_LINE = 1 << 20  # bytes; one without an end is read in parts
SHAPES = 8192  # of lines as they stand in the file, that are remembered
SHAPED = 1024  # bytes of a line that is remembered: no more, and its end would be unread
_IDS = re.compile(IDS.encode())
_UNKNOWN = Shape(Kind.TELLING)  # not met yet
_NUMBERS = bytes.maketrans(b"123456789", b"000000000")
NO_TEXT = (
    "give the log that the server, or `journalctl -k`, printed; unpack it first if it is packed"
)


def diagnose_text(pieces: Iterable[bytes]) -> Diagnosis:
    """The cause that a log tells of; pieces are of any length.

    What journald, Docker or Kubernetes put around a line is taken off, keys are left out, and
    progress bars end theirs with a carriage return. Lines that are like one that told nothing are
    only counted: a log is mostly those.
    """
    reading = _Reading()
    try:
        for text in texts(pieces):
            reading.take(text)
    except RefusedError as refused:
        return Diagnosis(UNKNOWN, NO_LOG, f"this is no log: {refused}", (), NO_TEXT)
    reading.close()
    return judge(reading.log)


class _Reading:
    """A log that is being read, and the shapes of lines of which another may be passed over."""

    def __init__(self) -> None:
        self.log = LogScan()
        self._shapes: dict[bytes, Shape] = {}
        self._without_ids: dict[bytes, Shape] = {}
        self._rest = b""
        self._scrubber = Lines()

    def take(self, text: bytes) -> None:
        """A piece: whole lines are read, the rest waits for its end, or until it is too long."""
        text = self._rest + text
        whole, _, self._rest = text.rpartition(b"\n")
        if whole:
            self._lines(whole)
        if len(self._rest) > LONGEST_LINE:
            self._line(self._rest)
            self._rest = b""

    def close(self) -> None:
        """There is no more: what waits is a line."""
        if self._rest:
            self._line(self._rest)
        scrubber = Lines()
        last = (
            line
            for raw in self.log.last
            for line in (
                _unwrapped(raw, scrubber)[0] if isinstance(raw, bytes) else [scrubber.hide(raw)]
            )
        )
        self.log.last = deque((line for line in last if line.strip()), maxlen=LAST_LINES)

    def _lines(self, text: bytes) -> None:
        log, known = self.log, self._shapes
        for raw, shape in zip(
            text.split(b"\n"), text.translate(_NUMBERS).split(b"\n"), strict=True
        ):
            seen = known.get(shape) or self._met(shape)
            if seen.kind in SKIPPED and log.is_quiet:
                log.skip(seen, raw)
            else:
                self._line(raw, shape)

    def _met(self, shape: bytes) -> Shape:
        """What a line of this shape is good for if one was met that differs in ids alone."""
        seen = self._without_ids.get(_IDS.sub(b"00000", shape), _UNKNOWN)
        if seen is not _UNKNOWN:
            _remember(self._shapes, shape, seen)
        return seen

    def _line(self, raw: bytes, shape: bytes = b"") -> None:
        parts = [part for part in raw.rstrip(b"\r").split(b"\r") if part]
        found = _UNKNOWN
        for part in parts:
            lines, by_kernel = _unwrapped(part, self._scrubber)
            for line in lines:
                found = self.log.take(line, by_kernel=by_kernel)
            found = found if len(lines) == 1 else _UNKNOWN
        if len(parts) == 1 and shape and len(shape) <= SHAPED and shape not in self._shapes:
            _remember(self._shapes, shape, found)
            _remember(self._without_ids, _IDS.sub(b"00000", shape), found)


def _remember(shapes: dict[bytes, Shape], key: bytes, shape: Shape) -> None:
    if len(shapes) >= SHAPES:
        shapes.clear()
    shapes[key] = shape


def _unwrapped(raw: bytes, scrubber: Lines) -> tuple[list[str], bool | None]:
    """The lines in it, of which JSON may hold several, and whether the kernel wrote them."""
    line = unwrap(raw.decode(errors="replace"))
    lines = line.text.split("\n")
    if len(lines) > 1 and witness.is_about_a_request(lines[0]):
        del lines[1:]  # what it quotes of that request
    # A key at the very end would be cut in half where the line is cut.
    return [scrubber.hide(each[: 2 * LONGEST]) for each in lines], line.by_kernel
