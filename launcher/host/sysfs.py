"""How files of /sys are written, whoever reads them: this host's, or pasted."""

from __future__ import annotations


def chosen(text: str) -> str:
    """The word in brackets, which marks the one of several that is in force."""
    return text.split("[", 1)[1].split("]", 1)[0] if "[" in text else text
