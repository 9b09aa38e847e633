"""From the bytes that somebody pasted to the text that a tool printed: unpacked, decoded, without
colours and without what a mail or a page put in front of each line.
"""

from __future__ import annotations

import re
import zlib

GZIP = b"\x1f\x8b"
# ECMA-48: control sequences (colours, cursors), operating system commands (titles, links).
_ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?")
_BLANK = re.compile(r"\n{3,}")
_QUOTED = re.compile(r"^[ \t]*(?:>[ \t]?)+", re.M)


def clean(raw: bytes, most: int) -> str:
    """The text of at most `most` bytes; nvidia-bug-report's archive is unpacked as far as that."""
    if raw.startswith(GZIP):
        raw = _unpacked(raw, most)
    text = _ESCAPES.sub("", _decoded(raw))
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\xa0", " ")
    return _BLANK.sub("\n\n", _QUOTED.sub("", text))


def flat(text: str) -> str:
    """The text without indentation and blanks at line ends: most outputs mean the same so."""
    return "\n".join(line.strip() for line in text.split("\n"))


def _unpacked(raw: bytes, most: int) -> bytes:
    try:
        return zlib.decompressobj(wbits=31).decompress(raw, most)
    except zlib.error:
        return b""


def _decoded(raw: bytes) -> str:
    """PowerShell and Windows' editors write UTF-16, with a mark in front or without."""
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return raw.decode("utf-16", errors="replace")
    if len(raw) > 3 and raw[0] and not raw[1] and raw[2] and not raw[3]:
        return raw.decode("utf-16-le", errors="replace")
    return raw.removeprefix(b"\xef\xbb\xbf").decode("utf-8", errors="replace")
