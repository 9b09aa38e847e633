"""What a message itself advises, or gives as its reasons: passed on where no more is known."""

from __future__ import annotations

import re

_MOST = 300  # characters
_VERBS = (
    "add|disable|enable|increase|install|lower|pass|raise|reduce|remove|set|specify|switch|unset"
    "|update|upgrade|use"
)
# "If running in a container, try adding X to Y."; "Please set X=1"; "Consider lowering X".
_ADVISES = re.compile(
    r"(?:\b[Ii]f [^.;:]{3,120}?,? )?(?:\b[Pp]lease |\b[Yy]ou (?:can|could|may|should) )?"
    rf"\b(?:(?:[Tt]ry|[Cc]onsider) (?:to )?\w{{3,20}}|[Pp]lease (?:{_VERBS}))\b"
    rf" [^\n]{{2,{_MOST}}}?(?=[.!](?:\s|$)|; |$)"
)
_REASONS = re.compile(rf"\bReasons?: [^\n]{{3,{_MOST}}}")


def given(text: str) -> str:
    """What a line advises or gives as its reasons, in its own words; empty where it does neither.

    Of reports to be filed, and of what to run for details, nothing is passed on.
    """
    parts = (pattern.search(text) for pattern in (_REASONS, _ADVISES))
    return "; ".join(found[0].strip().rstrip(".") for found in parts if found)
