"""The pieces of a log, as they come, to the cause of a death: pure, from text to data."""

from __future__ import annotations

from collections.abc import Iterable

from launcher.diagnose.diagnosis import Diagnosis, judge
from launcher.diagnose.scan import LONGEST, LogScan
from launcher.diagnose.unwrap import unwrap
from launcher.redact.keys import scrub


def diagnose_text(pieces: Iterable[str]) -> Diagnosis:
    """The cause that a log tells of; a piece is a line, or a part of one that is very long.

    What journald, Docker or Kubernetes put around a line is taken off, keys are left out, and
    progress bars end theirs with a carriage return.
    """
    log = LogScan()
    for piece in pieces:
        for part in piece.rstrip("\r\n").split("\r"):
            line = unwrap(part)
            # A key at the very end would be cut in half where the line is cut.
            log.take(scrub(line.text[: 2 * LONGEST], None), by_kernel=line.by_kernel)
    return judge(log)
