"""The canary's questions, asked: one at a time, over a connection that can be cut."""

from __future__ import annotations

import contextlib
import re
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from launcher import counting
from launcher.engines import server as ask
from launcher.engines import signs
from launcher.engines.figures import Figures
from launcher.engines.http import Bounded, UnaskedError
from launcher.engines.runtime import Runtime
from launcher.engines.server import Server, talk
from launcher.serve import smoke
from launcher.serve.canary import Look, Question, Said

QUICK = 5.0  # seconds for its word on whether it takes requests, and on its work
LINES, COPIED = 80, 8  # lines of the longer text, and how many of them are asked for
ROUNDS = 4  # questions about the same text: the first one is read anew, the others find it cached
BUSY = frozenset((408, 425, 429, 503, 529))  # statuses that say it takes no question now


class Line:
    """The connection of a question, which ends at once when somebody cuts it."""

    def __init__(self) -> None:
        self._made: Bounded | None = None
        self._is_cut = False

    def take(self, made: Bounded) -> None:
        """Take a connection, before anything is sent. Raises UnaskedError once it was cut."""
        self._made = made
        if self._is_cut:
            raise UnaskedError("the server is told to go")

    def cut(self) -> None:
        """End the question that is under way, and ask none."""
        self._is_cut = True
        if made := self._made:
            with contextlib.suppress(OSError):  # it is over already
                made.shutdown(socket.SHUT_RDWR)


@dataclass
class Learnt:
    """What was learnt of one run of a server by asking it."""

    has_no_more: bool = False  # figures than those that cost it little: each 404 is in its log


@dataclass(frozen=True)
class Asked:
    """Who is asked, and how."""

    server: Server
    engine: Runtime
    model: str
    smoke: Mapping[str, Any]
    parsers: frozenset[str]
    line: Line
    learnt: Learnt = field(default_factory=Learnt)


def look(asked: Asked, question: Question) -> Look:
    """Ask one question. Whatever keeps its answer from coming says nothing of the server."""
    if why := _rests(asked):
        return Look(Said.UNKNOWN, f"not asked: {why}")
    before = _figures(asked)
    if before.waiting:
        return Look(
            Said.UNKNOWN, f"not asked: {counting.of(before.waiting, 'request')} wait in its queue"
        )
    client = Timed(asked)
    said, detail = _put(client, asked, question)
    seen = signs.between(before, _figures(asked)) if said is Said.RIGHT else None
    return Look(said, detail, client.tokens, round(client.seconds, 4), seen)


def _figures(asked: Asked) -> Figures:
    """What it says of its work; what costs it more is asked for where no steps are told without."""
    made = Figures()
    with contextlib.suppress(*ask.SILENCE):
        made = asked.engine.figures(asked.server, QUICK, whole=False)
        if not made.steps and not asked.learnt.has_no_more:
            made = asked.engine.figures(asked.server, QUICK, whole=True)
            asked.learnt.has_no_more = made.is_all
    return made


def _rests(asked: Asked) -> str:
    """Why no answer can be expected of it now; "" if it can."""
    takes = ask.ask(asked.engine.leads, asked.server, QUICK)
    if not takes.ok:
        return takes.excuse or takes.detail
    return ask.PAUSED if asked.engine.paused(asked.server) else ""


class Timed(smoke.Client):
    """A client that knows how long its answer took, and how many tokens it had."""

    def __init__(self, asked: Asked) -> None:
        self.line, self.seconds, self.tokens = asked.line, 0.0, 0
        parsed = "reasoning" in asked.parsers
        super().__init__(
            asked.server, asked.model, asked.smoke, is_parsed=parsed, talk=self._talk_timed
        )

    def _talk_timed(
        self, server: Server, method: str, path: str, body: str | None, within: float
    ) -> tuple[int, bytes]:
        began = time.monotonic()
        told = talk(server, method, path, body, within, self.line.take)
        self.seconds = time.monotonic() - began
        return told

    def chat(self, ask: str, **more: Any) -> Mapping[str, Any]:
        """The whole answer. Raises what Client's does."""
        answer = super().chat(ask, **more)
        self.tokens = smoke.tokens(answer) or 0
        return answer


def _put(client: Timed, asked: Asked, question: Question) -> tuple[Said, str]:
    try:
        _judge(client, asked.smoke["questions"], question)
    except smoke.RefusedError as error:
        return (Said.UNKNOWN if error.status in BUSY else Said.WRONG), str(error)
    except Exception as error:
        return _failed(error, asked.smoke)
    told = f", {counting.of(client.tokens, 'token')}" if client.tokens else ""
    return Said.RIGHT, f"right{told}"


def _failed(error: Exception, within: Mapping[str, Any]) -> tuple[Said, str]:
    result = smoke.failed(error, within)
    is_unknown = result.silent or result.unreachable
    return (Said.UNKNOWN if is_unknown else Said.WRONG), result.detail


def _judge(client: Timed, questions: list[dict[str, str]], question: Question) -> None:
    """Raises smoke.WrongError, and what talking to a server does."""
    match question.kind:
        case "fact":
            smoke.fact(client, questions[question.round % len(questions)])
        case "context":
            _copied(client, question.round)
        case "tools":
            smoke.tool_call(client)
        case _:
            smoke.reasoned(client, questions[question.round % len(questions)])


def _copied(client: Timed, number: int) -> None:
    """Whether lines out of a text of a thousand tokens come back as they are; the text is another
    one every few rounds.
    """
    codes = _codes(number // ROUNDS)
    first = 1 + (number * 7) % (LINES - COPIED)
    text = "\n".join(f"drawer {at}: {code}" for at, code in enumerate(codes, 1))
    asks = f"Copy the lines of drawers {first} to {first + COPIED - 1} exactly, nothing else."
    answer = client.chat(f"{text}\n\n{asks}")
    said = client.text(answer)
    smoke.sane(client, asks, said, answer)
    got = re.findall(r"(?<!\d)\d{6}(?!\d)", said)
    for at, code in enumerate(codes[first - 1 : first - 1 + COPIED]):
        if (found := "".join(got[at : at + 1])) != code:
            where = f"{first + at}: {code}"
            raise smoke.WrongError(f"asked to copy 'drawer {where}', got {client.quoted(found)}")


def _codes(seed: int) -> list[str]:
    """A number of six digits for each line, the same each time for a seed."""
    made, value = [], seed + 1
    for _ in range(LINES):
        value = (value * 1103515245 + 12345) % (1 << 31)
        made.append(str(100000 + (value >> 8) % 900000))
    return made
