"""What a file of a log is written in, to lines in UTF-8: packed by gzip, or in UTF-16, as shells of
Windows write it. What is no text is refused.
"""

from __future__ import annotations

import codecs
import itertools
import zlib
from collections.abc import Iterable, Iterator

SAMPLE = 1 << 16  # bytes by which it is judged
PIECE = 1 << 20  # bytes that are unpacked at once
_GZIP = b"\x1f\x8b\x08"
_NO_LOGS = (  # how files begin that are something else
    (b"\x7fELF", "a program"),
    (b"PK\x03\x04", "a zip archive"),
    (b"\x28\xb5\x2f\xfd", "packed by zstd"),
    (b"\xfd7zXZ\0", "packed by xz"),
    (b"BZh", "packed by bzip2"),
    (b"\x89PNG", "a picture"),
    (b"\xff\xd8\xff", "a picture"),
    (b"%PDF", "a PDF"),
    (b"LPKSHHRH", "a journal of systemd: `journalctl --file` prints it"),
)
_BOMS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_TEXT = bytes({*range(0x20, 0x7F), *range(0x80, 0x100), *b"\t\n\r\x07\x08\x0c\x1b"})
MOST_CONTROLS = 0.05  # of the bytes of a text
MOST_UNREADABLE = 0.3


class RefusedError(ValueError):
    """It is no text; why, in words."""


def texts(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The pieces of a file as UTF-8, without NULs. Raises RefusedError for what is no text."""
    first, pieces = _first(iter(pieces))
    if first.startswith(_GZIP):
        first, pieces = _first(_unpacked(pieces))
    for begins, what in _NO_LOGS:
        if first.startswith(begins):
            raise RefusedError(f"it is {what}")
    if encoding := _encoding(first):
        first, pieces = _first(_decoded(pieces, encoding))
    _require_text(first)
    for piece in pieces:
        yield piece.replace(b"\0", b"")  # holes of a file that was cut short while it was written


def _first(pieces: Iterator[bytes]) -> tuple[bytes, Iterator[bytes]]:
    """The first bytes, and all of them again."""
    first = b""
    while len(first) < SAMPLE and (piece := next(pieces, None)) is not None:
        first += piece
    return first[:SAMPLE], itertools.chain([first], pieces)


def _unpacked(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """What gzip packed, as far as it is whole; little of it at once, however well it was packed."""
    unpack = zlib.decompressobj(zlib.MAX_WBITS | 16)
    for piece in pieces:
        while piece:
            try:
                yield unpack.decompress(piece, PIECE)
            except zlib.error:
                return
            piece = unpack.unconsumed_tail
            if unpack.eof:  # another one may follow
                piece, unpack = unpack.unused_data, zlib.decompressobj(zlib.MAX_WBITS | 16)


def _encoding(first: bytes) -> str | None:
    """Of a text that is not in UTF-8."""
    for bom, encoding in _BOMS:
        if first.startswith(bom):
            return encoding
    pairs = first[: len(first) // 2 * 2]
    if len(pairs) < 16:
        return None
    high, low = pairs[1::2].count(0), pairs[::2].count(0)
    if high > 0.6 * len(pairs) / 2 and low * 10 < high:
        return "utf-16-le"
    return "utf-16-be" if low > 0.6 * len(pairs) / 2 and high * 10 < low else None


def _decoded(pieces: Iterable[bytes], encoding: str) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder(encoding)("replace")
    for piece in pieces:
        yield decoder.decode(piece).encode("utf-8", "replace")


def _require_text(first: bytes) -> None:
    """Raise RefusedError for what holds more of other bytes than a damaged log does."""
    told = first.replace(b"\0", b"")
    if first and not told:
        raise RefusedError("it holds nothing but zeros")
    controls = len(told.translate(None, _TEXT))
    readable = len(told.decode("utf-8", "ignore").encode("utf-8"))
    if controls > MOST_CONTROLS * len(told) or len(told) - readable > MOST_UNREADABLE * len(told):
        raise RefusedError("it is binary data")
