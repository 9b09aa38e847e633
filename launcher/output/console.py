"""What is drawn with rich: strings are text there, never markup, and nothing in them commands the
terminal.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from io import StringIO
from typing import TextIO

from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderHook
from rich.segment import Segment
from rich.text import Text

from launcher import printable


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


def console(stream: TextIO) -> Console:
    """A console on a stream. Off a terminal nothing is folded: lines are for grep there."""
    made = Console(
        file=stream,
        highlight=False,
        markup=False,
        emoji=False,
        width=None if stream.isatty() else 1000,
    )
    made.push_render_hook(_Guard())
    return made


def paper(width: int) -> Console:
    """A console that keeps what is drawn, for a picture; nobody sees it meanwhile."""
    made = Console(record=True, width=width, file=StringIO(), force_terminal=True)
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


def row(name: str, text: str, width: int = 10) -> Text:
    """A dim name, and beside it words of others."""
    return words((f"{name:<{width}}", "dim"), text)
