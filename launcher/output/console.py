"""What is drawn with rich: strings are text there, never markup, and nothing in them commands the
terminal.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from io import StringIO
from typing import TextIO, cast

from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderHook
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from launcher import printable

SENTENCE = 40  # columns in which a sentence is still read well
UNBOUNDED = 1000  # columns off a terminal: lines are for grep there


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


def console(stream: TextIO) -> Console:
    """A console on a stream. Off a terminal nothing is folded, and no line ends in blanks."""
    return _guarded(
        Console(
            file=stream if stream.isatty() else cast("TextIO", _Trimmed(stream)),
            highlight=False,
            markup=False,
            emoji=False,
            width=None if stream.isatty() else UNBOUNDED,
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


def row(name: str, text: str, width: int = 10) -> Table:
    """A dim name, and beside it words of others, folded there."""
    made = Table.grid()
    made.add_column(width=width, no_wrap=True)
    made.add_column()
    made.add_row(words((name, "dim")), words(text))
    return made


def beside(
    console: Console, head: tuple[str, str], width: int, *parts: str | tuple[str, str]
) -> None:
    """A word in the first column, two blanks before and behind it, then a text that is folded
    beside it; only a word that is longer than a line is broken.
    """
    word, colour = head
    for part in words(*parts).wrap(console, max(20, console.width - width - 4)):
        part.rstrip()
        console.print(Text.assemble("  ", (f"{word:<{width}}", colour), "  ", part), soft_wrap=True)
        word = ""


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
