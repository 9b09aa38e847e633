"""What is drawn with rich: strings are text there, never markup, and nothing in them commands the
terminal.
"""

from __future__ import annotations

import io
from collections.abc import Collection, Iterable, Iterator, Sequence
from io import StringIO
from typing import TextIO, cast

from rich.cells import cell_len
from rich.console import (
    Console,
    ConsoleDimensions,
    ConsoleOptions,
    ConsoleRenderable,
    JustifyMethod,
    RenderHook,
)
from rich.padding import Padding
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from launcher import folding, printable

NARROW = 80  # columns, below which no text stands far from the edge
SENTENCE = 40  # columns in which a sentence is still read well
LEAST = 20  # columns beside a head; where there are fewer, the text stands below it
MOST_LINES = 500  # of a terminal
UNBOUNDED = 1 << 24  # columns off a terminal: lines are for grep there


class _Printable:
    """Whatever is drawn, as it is, but for characters that a terminal would obey: styles are added
    after this.
    """

    def __init__(self, drawn: ConsoleRenderable) -> None:
        self.drawn = drawn

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        for text, style, control in console.render(self.drawn, options):
            yield Segment(text if control else printable.lines(text), style, control)


class _Guard(RenderHook):
    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        return [_Printable(drawn) for drawn in renderables]


class _Trimmed(io.TextIOBase):
    """A stream whose lines end with what is last in them: rich fills up its last column."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.left = ""  # blanks that may be a line's last

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self.stream.encoding

    def write(self, text: str) -> int:
        lines = (self.left + text).split("\n")
        kept = lines[-1].rstrip(" ")
        self.left = lines[-1][len(kept) :]
        self.stream.write("\n".join([*(line.rstrip(" ") for line in lines[:-1]), kept]))
        return len(text)

    def flush(self) -> None:
        self.stream.flush()


class _Bounded(Console):
    """One that takes no terminal for larger than any is: what is drawn costs time."""

    @property
    def size(self) -> ConsoleDimensions:
        width, height = super().size
        if not self.is_terminal:
            return ConsoleDimensions(width, height)
        return ConsoleDimensions(min(width, folding.MOST), min(height, MOST_LINES))

    @size.setter
    def size(self, size: tuple[int, int]) -> None:
        self._width, self._height = size


def console(stream: TextIO) -> Console:
    """A console on a stream. Off a terminal nothing is folded, and no line ends in blanks."""
    return _guarded(
        _Bounded(
            file=stream if stream.isatty() else cast("TextIO", _Trimmed(stream)),
            highlight=False,
            markup=False,
            emoji=False,
            # both: with the width alone, rich has 80 columns for TERM=dumb
            width=None if stream.isatty() else UNBOUNDED,
            height=None if stream.isatty() else 25,
        )
    )


def paper(width: int) -> Console:
    """A console that keeps what is drawn, for a picture; nobody sees it meanwhile."""
    return _guarded(Console(record=True, width=width, file=StringIO(), force_terminal=True))


def _guarded(made: Console) -> Console:
    made.push_render_hook(_Guard())
    return made


def words(*parts: str | tuple[str, str]) -> Text:
    """Words of others, some with a style, in one line."""
    told = [(part, "") if isinstance(part, str) else part for part in parts]
    return Text.assemble(*((printable.line(text), style) for text, style in told))


def lines(texts: Iterable[str]) -> Text:
    """Words of others, a line each."""
    return Text("\n").join(map(words, texts))


def below(drawn: Iterable[Text]) -> Text:
    """Lines below each other, none of them folded."""
    return Text("\n", no_wrap=True).join(drawn)


def row(name: str, text: str, width: int = 10, style: str = "dim") -> Table:
    """A name, a dim one by default, and beside it words of others, folded there."""
    made = Table.grid()
    made.add_column(width=width, no_wrap=True)
    made.add_column(overflow="fold")
    made.add_row(words((name, style)), words(text))
    return made


def beside(
    console: Console, head: tuple[str, str], width: int, *parts: str | tuple[str, str]
) -> None:
    """A word in the first column, two blanks before and behind it, then a text that is folded
    beside it, or below it where it has no room there; only a word that is longer than a line is
    broken.
    """
    (word, colour), room = head, console.width - width - 4
    if room < LEAST and width:
        if word:
            console.print(words("  ", (word, colour)))
        word, width, room = "", 0, console.width - 4
    for part in words(*parts).wrap(console, max(LEAST, room)):
        part.rstrip()
        console.print(Text.assemble("  ", (f"{word:<{width}}", colour), "  ", part))
        word = ""


def hung(console: Console, text: Text, indent: int = 4) -> list[Text]:
    """A line, folded where the terminal ends; what is left of it hangs below, so far in."""
    text.rstrip()
    if text.cell_len <= console.width and "\n" not in text.plain:
        return [text]  # most of them, and `top` asks each second
    first = text.wrap(console, console.width)[:1]
    if not first or first[0].cell_len == text.cell_len:
        return [text]
    rest = text[len(first[0]) :]
    blanks = len(rest.plain) - len(rest.plain.lstrip())
    below = rest[blanks:].wrap(console, max(LEAST, console.width - indent))
    first[0].rstrip()
    for part in below:
        part.rstrip()
    return [first[0], *(Text.assemble(" " * indent, part) for part in below)]


def indented(console: Console, text: Text, columns: int) -> Padding:
    """A text so far from the edge, or less far where the terminal is narrow."""
    return Padding.indent(text, columns if console.width >= NARROW else 4)


def columns(
    console: Console,
    heads: Sequence[str],
    rows: Sequence[Sequence[str | Text]],
    left: Collection[str] = ("",),
    gap: int = 1,
) -> None:
    """A table of short cells, to the right but in columns of `left`. Columns that have no room go
    on below, beside the first one again.
    """
    cells = [[cell if isinstance(cell, Text) else words(cell) for cell in row] for row in rows]
    sizes = [
        max(cell_len(head), *(row[at].cell_len for row in cells), 0)
        for at, head in enumerate(heads)
    ]
    first = min(sizes[0], console.width // 2) if sum(sizes) > console.width else sizes[0]
    parts, part, used = [], [0], first
    for at in range(1, len(heads)):
        if part[1:] and used + gap + sizes[at] > console.width:
            parts.append(part)
            part, used = [0], first
        part, used = [*part, at], used + gap + sizes[at]
    for chosen in [*parts, part]:
        table = Table(box=None, pad_edge=False, padding=(0, gap, 0, 0), header_style="dim")
        for at in chosen:
            side: JustifyMethod = "left" if heads[at] in left else "right"
            width = None if at else first
            table.add_column(words(heads[at]), justify=side, overflow="fold", width=width)
        for row in cells:
            table.add_row(*(row[at] for at in chosen))
        console.print(table)


def table_of(*columns: str) -> Table:
    """A table without lines."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for at, column in enumerate(columns):  # the first is to be copied
        table.add_column(column, overflow="fold", no_wrap=not at)
    return table


def table_or_blocks(
    console: Console, table: Table, blocks: Iterable[tuple[Text, Iterable[str]]]
) -> None:
    """A table where it has room; else a block for each of its rows: a line, and more below it. Only
    its last column is folded, to SENTENCE.
    """
    *whole, last = table.columns
    for column in whole:
        column.no_wrap = True
    last.max_width = SENTENCE
    unbounded = console.options.update(width=UNBOUNDED)
    needs = console.measure(table, options=unbounded).maximum
    last.max_width = None
    if needs <= console.width:
        console.print(table)
        return
    for head, below in blocks:
        console.print(head)
        for text in filter(None, below):
            beside(console, ("", ""), 0, text)
