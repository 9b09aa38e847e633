"""What an engine's log can tell: the words by which its start, its work and its end are known."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

# The phases of a start, whichever engine: as profiles, events and metrics name them, and as people
# read them. In which order an engine goes through them its `Log.opens` says.
PHASES = {
    "process": "process up",
    "distributed": "distributed init",
    "weights": "weights",
    "kv": "KV pool",
    "compile": "kernels",
    "graphs": "CUDA graphs",
    "warmup": "warm-up",
    "smoke": "smoke test",
}
SERVING = "serving"  # what comes after them
RUN = "=== glm5-serve: run "  # and its number: how a run begins in the log that we keep
STAMP = r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:[.,]\d+)?"  # how SGLang and others date a line


class Said(NamedTuple):
    """A line of a server: who spoke, and the words.

    `speaker`: a rank, a process; empty: the engine's own process; None: it does not say.
    """

    speaker: str | None
    text: str
    file: str | None
    is_framed: bool  # a logger wrote something before the words


class Limits(NamedTuple):
    """What a scheduler will take, in tokens: of prompts in a batch, and of a request, at most; None
    where a line does not tell it.
    """

    prefill: int | None = None
    context: int | None = None


@dataclass(frozen=True)
class Log:
    """How one engine's log speaks. Texts are what a line begins with, behind its logger's frame;
    those named `..._words` are alternatives of a regular expression, joined with other engines'
    where nobody knows whose log it is.
    """

    name: str  # as people write the engine
    opens: tuple[tuple[str, str], ...]  # a text, and the phase that it opens, in their order
    bars: tuple[tuple[re.Pattern[str], str], ...]  # how a bar of tqdm begins, and its phase
    ready: str  # the whole line
    doom: re.Pattern[str]  # after this it never serves, and does not end either
    limits: Callable[[str], Limits | None]  # what a text says of them
    busy: Callable[[str], int | None]  # tokens of the prompts in a batch that it tells of
    pause: Callable[[str], bool | None]  # of a whole line: generation is paused, or goes on
    drained: re.Pattern[str]  # it has answered everybody, and takes itself apart
    marks: str  # alternatives, anywhere in a line: it is this engine's log
    places: tuple[tuple[str, str], ...]  # functions, alternatives, and the phase that runs them
    start_words: str  # a start begins
    stop_words: str  # somebody asked it to stop, or it stops as it was asked to
    work_words: str  # tokens come out; numbers in it as 0
    idle_words: str  # what in such a line tells that none did; empty: it is never said then
    stuck_words: str  # and that did not for want of requests; numbers as they are; empty: the same
    reads_words: str  # a batch of prompts, of which no token need come out; empty: never said
    waiting_words: str  # how many requests wait, in a line about batches
    work: int  # batches that such a line counts for
    exception_words: str  # a process ends of its own exception
    death_words: str  # a process tells of another one's end
    request_words: str  # it is about one request: what follows is the client's, or the model's
    request_files: str  # folders whose frame, where a traceback begins, make it one request's

    @property
    def phases(self) -> tuple[str, ...]:
        """The phases of a start in the order in which they open; the first opens by itself."""
        return ("process", *dict.fromkeys(phase for _, phase in self.opens), "smoke")
