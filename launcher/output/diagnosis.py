"""What `diagnose` prints."""

from __future__ import annotations

import json

from launcher import printable
from launcher.diagnose.diagnosis import Diagnosis, to_json
from launcher.errors import Exit


def show(found: Diagnosis, *, as_json: bool) -> int:
    """Print it; 0 if the cause is known."""
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
