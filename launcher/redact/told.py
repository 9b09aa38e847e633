"""What is told of others in words, on its way to a file, a screen or systemd: without the key.

Words alone are looked at. A name, a state or a path is the launcher's own, and a key that is
spelled like one must not change it.
"""

from __future__ import annotations

from typing import Any

from launcher.redact.keyspelling import spellings

# Members of events, states and starts that hold words, a list of them, or a table with such.
WORDS = frozenset(
    ("detail", "error", "evidence", "fix", "how", "last", "last_error", "line", "reason", "what")
)


def hide_words(data: Any, key: str | None, *, in_words: bool = False) -> Any:
    """JSON data whose words, at any depth, do not have the key in any spelling."""
    if key is None:
        return data
    match data:
        case str() if in_words:
            return spellings(key).hide(data)
        case list() | tuple():
            return [hide_words(part, key, in_words=in_words) for part in data]
        case dict():
            return {
                name: hide_words(part, key, in_words=in_words or name in WORDS)
                for name, part in data.items()
            }
    return data
