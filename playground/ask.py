"""What the page asks Python: one function, JSON on both sides. It runs in the page's worker."""

from __future__ import annotations

import json
import traceback
from collections.abc import Mapping
from typing import Any

from launcher.api import texts
from launcher.errors import UserError


def ask(command: str, pasted: Mapping[str, bytes], words: Mapping[str, Any]) -> str:
    """The JSON of a command; or of its refusal, as the command line's `error` and `fix`."""
    try:
        return json.dumps({"told": _told(command, pasted, words)})
    except UserError as refusal:
        return json.dumps({"error": refusal.what, "fix": refusal.fix})
    except Exception as bug:
        last = traceback.extract_tb(bug.__traceback__)[-1]
        what = f"{type(bug).__name__}: {bug} ({last.filename.rpartition('/')[2]}:{last.lineno})"
        fix = "this is a bug in glm5-serve: report it with the text, if it may be shown"
        return json.dumps({"error": what, "fix": fix})


def _told(command: str, pasted: Mapping[str, bytes], words: Mapping[str, Any]) -> Any:
    pasted = {name: bytes(data) for name, data in pasted.items()}
    together = b"\n".join(pasted.values())
    match command:
        case "choices":
            return texts.choices()
        case "kind":
            return texts.kind(together)
        case "shareable":
            return texts.shareable(together.decode(errors="replace"))
        case "lint":
            return texts.lint(together.decode(errors="replace"), **words)
        case "diagnose":
            return texts.diagnose(together)
        case "doctor":
            return texts.doctor(pasted, **words)
        case _:
            return texts.fit(pasted, **words)
