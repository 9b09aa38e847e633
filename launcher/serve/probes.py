"""What a run of the server is asked: for its first token, whether it is alive, the smoke test, and
the canary's questions.

Each question is asked in a thread of its own, and what came of it is an event.
"""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial

from launcher.engines import server
from launcher.engines.server import PAUSED, Answer
from launcher.plan.policy import LOOKED_FOR
from launcher.serve import canary_ask, smoke
from launcher.serve.canary import Look, Question, Said, fairly
from launcher.serve.events import CanaryHeard, ProbeResult, SmokeResult
from launcher.serve.group import ask_leader
from launcher.serve.loop import Work
from launcher.serve.run import ServerRun
from launcher.serve.service import Service
from launcher.serve.states import Proving

FIRST_WITHIN = 10.0  # seconds for the first token; one that is not there yet is asked again
LOOK_WITHIN = 20.0  # seconds for a look at the processes of a server that does not answer
SMOKE_AGAIN = 0.2  # seconds until a server that could not be reached is asked again
NOT_JOINED = "it has not found the other nodes yet"


class Probes:
    """Asks the present run of a service."""

    def __init__(self, service: Service) -> None:
        self._service = service

    # Whether it is ready, or alive.

    def probe(self, run: ServerRun, *, first: bool) -> None:
        """Ask it for its first token (`first`), or whether it is alive."""
        self._service.loop.aside(
            partial(self._probe, run, first), partial(self.unasked, run.number)
        )

    def unasked(
        self, number: int, why: str = "it could not be asked", starved: float = 0.0
    ) -> None:
        """A question that never left this process says nothing of the server."""
        service = self._service
        service.recorder.complain(f"the server's health is unknown: {why}")
        now = service.clock.now()
        service.feed(ProbeResult(now, number, False, why, asked=False, starved=starved))

    def _probe(self, run: ServerRun, first: bool) -> Work:
        service = self._service
        began, lost = time.monotonic(), service.clock.lost
        answer = self._ask(run, first)
        starved = 0.0 if first else run.stood_in_line()
        now, stall_timeout = service.clock.now(), service.policy.stall_timeout
        stall_timeout = stall_timeout if answer.proves else 0.0
        if not first and answer.ok and (stuck := run.stuck(answer.loads, now, stall_timeout)):
            answer = replace(answer, ok=False, detail=stuck)
        is_no = not (first or answer.ok or answer.unknown)
        if is_no and not answer.foreign and service.engine.paused(service.server(run)):
            answer = replace(answer, excuse=PAUSED)
        excuse = answer.excuse or run.excuse_within(LOOK_WITHIN, LOOKED_FOR) if is_no else ""
        took = time.monotonic() - began
        said = ProbeResult(
            now, run.number, answer.ok, answer.detail, excuse, took=took, starved=starved
        )
        return partial(self._probed, run, first, answer, said, lost)

    def _ask(self, run: ServerRun, first: bool) -> Answer:
        """Whether the run is ready, or alive; a node that follows is what the first node is."""
        service = self._service
        if service.plan.follows:
            is_in = run.has_joined or not first
            return ask_leader(service.plan, service.engine) if is_in else Answer(False, NOT_JOINED)
        asked = service.engine.first_token if first else service.engine.alive
        within = FIRST_WITHIN if first else service.policy.answer_within
        return server.ask(asked, service.server(run), within)

    def _probed(
        self, run: ServerRun, first: bool, answer: Answer, said: ProbeResult, lost: float
    ) -> None:
        """Take in an answer; `lost` is what the clock had lost before the question."""
        service = self._service
        now = service.clock.now()
        run.heard(answer, now)
        # who dies lets go of its port
        if answer.foreign and run is service.run and not run.killed:
            self._tell_of_stranger(answer.foreign)
        if answer.unknown or (not answer.ok and service.clock.lost > lost):
            why = answer.detail if answer.unknown else "the launcher did not run meanwhile"
            self.unasked(run.number, why, said.starved)
            return
        if not first:
            if run is service.run:
                run.watch(service.loop, service.feed)
            service.recorder.reading(said.took, answer.ok)
        service.feed(replace(said, now=now))

    def _tell_of_stranger(self, who: str) -> None:
        """Somebody else has the port: it is asked nothing, and the server cannot have it."""
        service = self._service
        where = f"{service.plan.host} port {service.plan.port}"
        service.last_error = f"{where} is held by {who}, not by this server"
        service.recorder.complain(f"{service.last_error}: no request and no key goes there")
        service.recorder.record(service.picture())

    # Whether it answers rightly, before it is ready.

    def examine(self, run: ServerRun, pause: float = 0.0) -> None:
        """Ask it the questions of the smoke test, after so many seconds."""
        self._service.loop.aside(partial(self._examine, run, pause))

    def _examine(self, run: ServerRun, pause: float) -> Work:
        time.sleep(pause)
        service, made = self._service, self._service.plan
        result = smoke.examine(
            service.server(run), made.model_name, made.smoke, made.parsers, self._is_proving
        )
        excuse = run.excuse_within(LOOK_WITHIN, LOOKED_FOR) if result.silent else ""
        return partial(self._examined, run, result, excuse)

    def _is_proving(self) -> bool:
        """Whether anybody still wants to know how the smoke test goes."""
        return isinstance(self._service.state, Proving)

    def _examined(self, run: ServerRun, result: smoke.Result, excuse: str) -> None:
        service = self._service
        if run is not service.run or not self._is_proving():
            return
        if result.foreign:
            self._tell_of_stranger(result.foreign)
        # it dies, which is told by its death; it is not there yet; it compiles
        if result.unreachable or excuse:
            self.examine(run, SMOKE_AGAIN)
            return
        wrong = not (result.ok or result.silent)
        suspects = service.plan.suspects
        detail = smoke.explained(result.detail, suspects) if wrong else result.detail
        service.recorder.smoke(service.picture(), run.number, result, detail)
        now = service.clock.now()
        service.feed(SmokeResult(now, run.number, result.ok, detail, result.silent))

    # Whether it still does, while it serves.

    def ask_canary(self, run: ServerRun, question: Question) -> None:
        """Ask it one question, unless it need not answer now."""
        run.line = canary_ask.Line()
        failed = Look(Said.UNKNOWN, "it could not be asked")
        self._service.loop.aside(
            partial(self._ask_canary, run, question, run.line),
            partial(self._hear_canary, run, question, failed),
        )

    def _ask_canary(self, run: ServerRun, question: Question, line: canary_ask.Line) -> Work:
        if excuse := run.excuse_within(LOOK_WITHIN, 0.0):
            not_asked = Look(Said.UNKNOWN, f"not asked: {excuse}")
            return partial(self._hear_canary, run, question, not_asked)
        service, made = self._service, self._service.plan
        lost, line_before = service.clock.lost, run.in_line()
        asked = canary_ask.Asked(
            service.server(run),
            service.engine,
            made.model_name,
            made.smoke,
            made.parsers,
            line,
            run.learnt,
        )
        look = canary_ask.look(asked, question)
        share = line_before.share(run.in_line())
        look = fairly(look, share, service.clock.lost - lost)
        return partial(self._hear_canary, run, question, look)

    def _hear_canary(self, run: ServerRun, question: Question, look: Look) -> None:
        service = self._service
        service.feed(CanaryHeard(service.clock.now(), run.number, question, look))
