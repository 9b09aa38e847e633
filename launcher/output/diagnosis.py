"""What `diagnose` prints."""

from __future__ import annotations

import json
from collections.abc import Iterator

from launcher import printable
from launcher.diagnose.diagnosis import Diagnosis, judge, to_json
from launcher.diagnose.scan import LONGEST, LogScan
from launcher.diagnose.unwrap import Unwrapped, unwrap
from launcher.errors import Exit, UserError
from launcher.files.reading import named, reason
from launcher.redact.keys import scrub

PIECE = 1 << 20  # bytes that are read at once: a file may have no line ends at all


def run(file: str, *, as_json: bool) -> int:
    """Diagnose a file or standard input and print it; 0 if the cause is known.

    Raises UserError.
    """
    log = LogScan()
    for line in _lines(file):
        log.take(line.text, by_kernel=line.by_kernel)
    found = judge(log)
    print(json.dumps(to_json(found), indent=1) if as_json else text(found))
    return Exit.FINE if found.is_known else Exit.NO


def text(found: Diagnosis) -> str:
    """A diagnosis for a person."""
    rows = [("cause", f"{found.cause}: {found.what}" if found.is_known else found.what)]
    rows += [("evidence" if i == 0 else "", each) for i, each in enumerate(found.evidence)]
    rows.append(("fix", found.fix))
    if found.knob:
        rows.append(("knob", found.knob))
    if found.is_known:
        again = {
            "never": "no use, the same command fails again",
            "again": "a restart may help",
            "reboot": "no use, reboot first",
        }
        rows.append(("restart", again[found.then]))
        rows.append(("known", f"{found.known} ({found.source})"))
    if found.also:
        rows.append(("also seen", ", ".join(found.also)))
    return "\n".join(f"{name:<10} {printable.line(told)}" for name, told in rows)


def _lines(file: str) -> Iterator[Unwrapped]:
    """Line by line, so that a log may be larger than memory; progress bars end theirs with a
    carriage return.
    """
    fix = "give the log that the server, or `journalctl -k`, printed; or - and pipe it in"
    try:
        with named(file) as stream:
            while raw := stream.readline(PIECE):
                for piece in raw.decode(errors="replace").rstrip("\r\n").split("\r"):
                    line = unwrap(piece)
                    # A key at the very end would be cut in half where the line is cut.
                    yield line._replace(text=scrub(line.text[: 2 * LONGEST], None))
    except OSError as error:
        raise UserError(
            f"cannot read {file}: {reason(error)}", fix=fix, status=Exit.USAGE
        ) from None
