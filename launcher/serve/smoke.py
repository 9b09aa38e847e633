"""Is what it generates right? A few questions at temperature 0, before a server is called ready.

Up is not right: garbled, repeated and one-token output all pass /health. The engine's parsers are
asked, too: reasoning must be apart from content, a tool call parsed, a stream must add up to the
answer. A model that reasons is asked not to, but for one question: how long it reasons is its own
affair, and no fault. One that always does is asked for little of it, and given room.
"""

from __future__ import annotations

import http.client
import json
import re
import time
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from launcher import counting
from launcher.engines.http import ForeignError, TooLongError, UnaskedError
from launcher.engines.server import NO_ANSWER, Server, is_count, talk, unanswered

ENOUGH = 512  # tokens for an answer, reasoning included
ROOM = 2048  # tokens where it cannot be asked not to reason; 1,024 are too few for some
ASKED_AT = "/v1/chat/completions"
CEILING = 16  # tokens of the answer that is cut
REPEATS = 2000  # characters of an answer that are looked at for what repeats
LONG_ANSWER = (
    400  # characters: an answer to a short question is shorter, unless the reasoning is in it
)
TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}


@dataclass(frozen=True)
class Result:
    """Whether it passed; what was found wrong, or how much was asked; the seconds that it took.

    A server that could not be talked to was not `ok`, but said nothing wrong either: it was
    `unreachable`. It was so because it could not be asked, which says nothing of it, if `unknown`
    (see `server.Answer`); because somebody else holds its port if `foreign` says who; else it did
    not take the question, or broke off. One that took a question and never answered is `silent`.
    """

    ok: bool
    detail: str
    seconds: float
    unreachable: bool = False
    silent: bool = False
    unknown: bool = False
    foreign: str = ""
    answers: tuple[tuple[str, str], ...] = ()  # questions with what was answered, where it is kept
    asked: int = 0  # how often, where all was right


Talk = Callable[[Server, str, str, str | None, float], tuple[int, bytes]]  # see `server.talk`


class WrongError(Exception):
    """What the server said is not what a healthy one says."""


class RefusedError(WrongError):
    """It did not take the question; `status` is that of its answer."""

    def __init__(self, status: int, told: str) -> None:
        super().__init__(told)
        self.status = status


def examine(
    server: Server,
    model: str,
    smoke: Mapping[str, Any],
    parsers: frozenset[str],
    is_wanted: Callable[[], bool] = lambda: True,
    talk: Talk = talk,
) -> Result:
    """Ask everything, by `talk`; the first wrong answer ends it.

    `parsers`: of "reasoning" and "tools", those that are on.

    Once it is not wanted any more, no further question is asked.

    Never raises: a server that does not answer has not passed.
    """
    began = time.monotonic()
    asked = 0
    try:
        client = Client(server, model, smoke, is_parsed="reasoning" in parsers, talk=talk)
        for _ in _questions(client, smoke["questions"], parsers):
            asked += 1
            if not is_wanted():
                break
    except Exception as error:
        return replace(failed(error, smoke), seconds=time.monotonic() - began)
    seconds = time.monotonic() - began
    return Result(True, f"{asked} of {asked} answers correct", seconds, asked=asked)


def failed(error: Exception, smoke: Mapping[str, Any]) -> Result:
    """What an error on the way says of the server.

    What is none of these is a bug of this program.
    """
    match error:
        case WrongError():
            return Result(False, str(error), 0)
        case ForeignError():
            return Result(False, str(error), 0, unreachable=True, foreign=error.who)
        case UnaskedError() | MemoryError():
            return Result(False, unanswered(error), 0, unreachable=True, unknown=True)
        case TimeoutError():
            return Result(False, f"no answer within {smoke['within']:g} s", 0, silent=True)
        case TooLongError():
            return Result(False, f"an answer that is none: {error}", 0)
        case OSError() | http.client.HTTPException():
            return Result(False, unanswered(error), 0, unreachable=True)
        case _ if isinstance(error, NO_ANSWER):
            return Result(False, f"an answer that is none: {unanswered(error)}", 0)
    raise error


def _questions(
    client: Client, questions: list[dict[str, str]], parsers: frozenset[str]
) -> Iterator[None]:
    answers = []
    for question in questions:
        answers.append(fact(client, question))
        yield
    if questions:
        _streamed(client, questions[0]["ask"], answers[0])
        yield
    if questions and not client.always:
        _cut(client, questions[0]["ask"])
        yield
    if questions and "reasoning" in parsers:
        reasoned(client, questions[0])
        yield
    if "tools" in parsers:
        tool_call(client)
        yield


def fact(client: Client, question: Mapping[str, str]) -> str:
    """The answer to a question, if it is as it should be. Raises WrongError, and what talking
    does.
    """
    answer = client.chat(question["ask"])
    said = client.text(answer)
    sane(client, question["ask"], said, answer)
    _expected(client, question, said, answer)
    return said


def _expected(
    client: Client, question: Mapping[str, str], said: str, answer: Mapping[str, Any]
) -> None:
    if not re.search(question["expect"], said, re.IGNORECASE | re.DOTALL):
        got = f"{client.quoted(said, 120)}{', one token' if tokens(answer) == 1 else ''}"
        ask, wanted = _last_line(question["ask"]), question["expect"][:120]
        raise WrongError(f"asked {ask!r}, wanted {wanted!r}, got {got}")


def quoted(said: str, most: int = 80) -> str:
    """The beginning of a text, at most so many characters of it; what comes again and again is
    there once, with how often: a loop is no wall.
    """
    once = re.sub(r"(.{1,8}?)\1{7,}", _times, said[:REPEATS], flags=re.DOTALL)
    return repr(once[:most])


def _times(loop: re.Match[str]) -> str:
    return f"{loop[1]} ({len(loop[0]) // len(loop[1])} times)"


def _last_line(ask: str) -> str:
    """What a question asks for; what stands before that may be long."""
    return ask.rpartition("\n")[2]


def explained(detail: str, suspects: Sequence[str]) -> str:
    """What was found wrong, with what is known to make a plan like this one go wrong."""
    return f"{detail}; known causes for this plan: {'; '.join(suspects)}" if suspects else detail


def sane(client: Client, ask: str, said: str, answer: Mapping[str, Any]) -> None:
    """Raises WrongError for what is no text, or not all of an answer's own."""
    ask = _last_line(ask)
    if not said.strip():
        made = tokens(answer)
        after = "" if made is None else f" after {counting.of(made, 'token')}"
        raise WrongError(f"asked {ask!r}, the answer is empty{after}")
    if re.search(r"</?think>", said):
        raise WrongError(f"reasoning is in the answer: {client.quoted(said)}")
    if fault := garbage(said):
        raise WrongError(f"asked {ask!r}, the answer is {fault}: {client.quoted(said)}")


def garbage(text: str) -> str | None:
    """Why a text is no text, in words; None when it looks like one."""
    if "\ufffd" in text:
        return "broken UTF-8"
    odd = sum(
        unicodedata.category(char) in ("Cc", "Cn", "Co", "Cs") and char not in "\n\t\r"
        for char in text
    )
    if odd:
        return "control characters"
    if found := re.search(r"<[|\uff5c]\w[\w\u2581-]{1,40}[|\uff5c]>", text):
        return f"control tokens of its template in the text, {found[0]}"
    words = text.split()
    if len(words) >= 8 and len(set(words)) <= max(1, len(words) // 8):
        return "the same words again and again"
    if re.search(r"(.{1,8}?)\1{11,}", text, re.DOTALL):
        return "the same letters again and again"
    scripts = {unicodedata.name(char, "?").split()[0] for char in text if char.isalpha()}
    if len(scripts) > 3:
        return f"a mixture of {len(scripts)} scripts"
    return None


def _streamed(client: Client, ask: str, whole: str) -> None:
    """A stream must add up to what was answered as a whole.

    Batches may change a late digit, so a difference counts when it comes twice.
    """
    if client.stream(ask).strip() == whole.strip():
        return
    whole, pieces = client.text(client.chat(ask)), client.stream(ask)
    if whole.strip() != pieces.strip():
        got, wanted = client.quoted(pieces), client.quoted(whole)
        raise WrongError(f"a streamed answer differs: {got}, unstreamed {wanted}")


def _cut(client: Client, ask: str) -> None:
    """At a token ceiling, an answer without reasoning has content: parsers have swallowed it all as
    reasoning.
    """
    answer = client.chat(ask, max_tokens=CEILING)
    if not client.text(answer).strip():
        raise WrongError(f"an answer cut at {CEILING} tokens has no content")


def reasoned(client: Client, question: Mapping[str, str]) -> None:
    """Whether what was thought stands apart from what is said. Raises WrongError, and what talking
    does.

    An answer may be cut before anything is said.
    """
    ask = question["ask"]
    answer = client.chat(ask, **client.thinking)
    said, thought = client.text(answer), _thought(answer)
    is_cut = answer["choices"][0].get("finish_reason") == "length"
    if not said.strip() and not (thought.strip() and is_cut):
        raise WrongError(f"asked {ask!r} with reasoning, the answer is empty")
    if not thought.strip() and len(said) > LONG_ANSWER:
        raise WrongError(
            f"asked {ask!r} with reasoning, it is not apart from the answer: {client.quoted(said)}"
        )
    for text in filter(None, (said, thought)):
        sane(client, ask, text, answer)
    if not is_cut:
        _expected(client, question, said, answer)


def tool_call(client: Client) -> None:
    """Whether a call of a tool is one. Raises WrongError, and what talking does."""
    answer = client.chat("What is the weather in Paris? Use the tool.", tools=[TOOL])
    calls = answer["choices"][0]["message"].get("tool_calls") or []
    if not calls:
        raise WrongError(f"a tool call was not parsed: {client.quoted(client.text(answer))}")
    call = calls[0]["function"]
    if call["name"] != "get_weather" or not isinstance(json.loads(call["arguments"]), dict):
        raise WrongError(f"a tool call came out wrong: {client.server.words(str(call))}")


def tokens(answer: Mapping[str, Any]) -> int | None:
    """Tokens of an answer by the server's word; None where that can be none. Whether it is right
    does not hang on it.
    """
    usage = answer.get("usage")
    told = usage.get("completion_tokens") if isinstance(usage, dict) else None
    return told if is_count(told, ROOM) else None


def _thought(answer: Mapping[str, Any]) -> str:
    message = answer["choices"][0]["message"]  # vLLM calls it reasoning
    return str(message.get("reasoning_content") or message.get("reasoning") or "")


class Client:
    """Chat with one server, without reasoning where it can; each answer within so many seconds.

    `smoke` says within how many, and how the model is asked not to reason (`models.THINKING`).
    """

    def __init__(
        self,
        server: Server,
        model: str,
        smoke: Mapping[str, Any],
        *,
        is_parsed: bool,
        talk: Talk = talk,
    ) -> None:
        self.server, self.model, self.within = server, model, float(smoke["within"])
        self.talk = talk
        self.is_parsed = is_parsed
        self.always = smoke["thinking"] == "always"
        # GLM's chat templates know it (4.5 to 5.2); others ignore it.
        self.quiet: dict[str, Any] = {}
        self.thinking: dict[str, Any] = {"chat_template_kwargs": {"enable_thinking": True}}
        if self.always:
            self.quiet = self.thinking = {"reasoning_effort": "low", "max_tokens": ROOM}
        elif is_parsed:
            self.quiet = {"chat_template_kwargs": {"enable_thinking": False}}

    def quoted(self, said: str, most: int = 80) -> str:
        """The beginning of what it answered (`quoted`), without its key."""
        return quoted(self.server.words(said, REPEATS), most)

    def text(self, answer: Mapping[str, Any]) -> str:
        """What an answer says."""
        return self._said(str(answer["choices"][0]["message"].get("content") or ""))

    def _said(self, content: str) -> str:
        """The content without its reasoning, where no parser took that away."""
        is_mixed = self.always and not self.is_parsed
        return content.rpartition("</think>")[2] if is_mixed else content

    def chat(self, ask: str, **more: Any) -> Mapping[str, Any]:
        """The whole answer. Raises WrongError when the server refuses the question."""
        return dict(json.loads(self._post(ask, more)))

    def stream(self, ask: str) -> str:
        """The content of a streamed answer, put together."""
        said = []
        for line in self._post(ask, {"stream": True}).splitlines():
            if line.startswith(b"data: {"):
                for choice in json.loads(line[6:])["choices"]:
                    said.append(choice["delta"].get("content") or "")
        return self._said("".join(said))

    def _post(self, ask: str, more: Mapping[str, Any]) -> bytes:
        messages = [{"role": "user", "content": ask}]
        body = {"model": self.model, "messages": messages, "temperature": 0, "max_tokens": ENOUGH}
        text = json.dumps({**body, **self.quiet, **more})
        status, answer = self.talk(self.server, "POST", ASKED_AT, text, self.within)
        if status != 200:
            said = self.server.says(ASKED_AT, status, answer.decode(errors="replace"))
            raise RefusedError(status, said)
        return answer
