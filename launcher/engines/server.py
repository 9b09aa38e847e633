"""A running server: where it is, and one question to it with every way in which that can go.

What could not be asked is not told as what did not answer (see `engines/http.py`), nor is what
somebody else said.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable
from dataclasses import dataclass, field

from launcher.address import bracketed, to_ask
from launcher.counting import LARGEST
from launcher.engines.activity import Load
from launcher.engines.http import (
    ForeignError,
    Hold,
    Request,
    TooLongError,
    UnaskedError,
    exchange,
)
from launcher.errors import in_words
from launcher.host.peer import Peer
from launcher.redact.keyspelling import spellings
from launcher.redact.secrets import hide

# What reading an answer may fail of when it is none: not JSON, not of this shape, a number that is
# none, nested too deep.
NO_ANSWER = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError)
# What a question may end in that has no answer, or none that is one.
SILENCE = (OSError, http.client.HTTPException, UnaskedError, ForeignError, *NO_ANSWER)


SAID = 200  # characters of what it said that are told
PAUSED = "generation is paused"  # an excuse that goes on for as long as it is not taken back


TOKENS = 10**7  # of an answer: more than any context has


def is_count(said: object, most: int = LARGEST) -> bool:
    """Whether it is a number of things, `most` of them: no bool, no infinity, nothing that only
    its writer can mean.
    """
    return type(said) is int and 0 <= said <= most


@dataclass(frozen=True)
class Answer:
    """Whether the server did what was asked, and in words what it said.

    `excuse` says why no answer is no fault; `loads` is what its replicas published of their work.
    An answer that does not `prove` that it works is as good as what these have moved.

    `unknown`: it could not be asked, so nothing is known of it: this process or host has no
    descriptor, port, buffer, memory, thread or address left for it, or a filter in the way; the
    resolver failed; or whether it is the server who listens could not be looked up (no /proc,
    processes that may not be looked at, a host too slow to tell). A connection that is refused,
    reset or timed out is none of these: it is a no.

    `foreign` is who holds the port instead of the server, in words. It was not asked, and its word
    counts for nothing; that the server does not answer at its port is a fact.
    """

    ok: bool
    detail: str
    excuse: str = ""
    loads: tuple[Load, ...] = ()
    proves: bool = True
    unknown: bool = False
    foreign: str = ""


@dataclass(frozen=True)
class Server:
    """Where the server listens, its key, and how it is known; without `peer`, whoever listens is
    it.
    """

    host: str
    port: int
    key: str | None = None
    peer: Peer | None = field(default=None, compare=False)

    @property
    def url(self) -> str:
        """Its address as seen from this host."""
        return f"http://{bracketed(to_ask(self.host))}:{self.port}"

    def words(self, said: str, most: int = SAID) -> str:
        """What it said, or what asks it said of it, for people: without its key in any spelling,
        and only then cut after `most` characters. Whatever is quoted passes here.
        """
        return hide(spellings(self.key).hide(said) if self.key else said)[:most]

    def says(self, path: str, status: int, said: str = "") -> str:
        """What it answered there, in words."""
        told = self.words(said.strip())
        return f"{path} says {status}{': ' if told else ''}{told}"


Question = Callable[[Server, float], Answer]  # with the seconds that an answer may take


def ask(question: Question, server: Server, within: float) -> Answer:
    """A question of an engine's (`runtime.Runtime`), in a few times `within` seconds at most.

    Whatever goes wrong on the way is a no with a reason, or unknown.
    """
    try:
        return question(server, within)
    except ForeignError as foreign:
        return Answer(False, str(foreign), foreign=foreign.who)
    except (UnaskedError, MemoryError) as error:
        return Answer(False, unanswered(error), unknown=True)
    except TimeoutError:
        return Answer(False, f"no answer within {within:g} s")
    except (OSError, http.client.HTTPException, *NO_ANSWER) as error:
        return Answer(False, unanswered(error))


def unanswered(error: BaseException) -> str:
    """Why there is no answer, or none that is one, in an operator's words; an error of SILENCE, or
    a MemoryError.
    """
    match error:
        case UnaskedError() | MemoryError():
            return f"it could not be asked: {in_words(error)}"
        case TimeoutError():
            return "no answer in time"
        case http.client.RemoteDisconnected():
            return "it closed the connection without an answer"
        case http.client.IncompleteRead():
            return "its answer breaks off"
        case http.client.HTTPException() if not isinstance(error, TooLongError):
            return "its answer is not HTTP"
        case OSError() | TooLongError() | ForeignError():
            return in_words(error)
        case json.JSONDecodeError() | UnicodeError():
            return "its answer is not JSON"
        case RecursionError():
            return "its answer nests too deep"
    return "its answer has another form than it should have"


def talk(
    server: Server,
    method: str,
    path: str,
    body: str | None,
    within: float,
    hold: Hold = lambda made: None,
) -> tuple[int, bytes]:
    """One question: the status and the whole answer, of 1 MiB at most, in `within` seconds for all
    of it; `hold` is handed the connection.

    Raises OSError (TimeoutError among them) or HTTPException where there is no answer, or one that
    breaks off; UnaskedError where it could not be asked; ForeignError where somebody else holds the
    port.
    """
    headers = {"Content-Type": "application/json"} if body else {}
    if server.key:
        headers["Authorization"] = f"Bearer {server.key}"
    host = to_ask(server.host)
    request = Request(method, path, body, headers)
    return exchange(host, server.port, request, within, server.peer, hold)
