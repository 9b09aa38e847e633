"""What is found out of a run that ended, or hangs: its stacks kept before it is killed, why it
ended, and whether its GPU memory is back.

Looking takes its time, so it is done aside.
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from launcher.serve import procfs
from launcher.serve.events import Exited, RestartAdvice, StacksSaved
from launcher.serve.gpus import Gpus
from launcher.serve.group import ask_leader
from launcher.serve.loop import Work, nothing
from launcher.serve.run import ServerRun
from launcher.serve.service import Service
from launcher.serve.session import UNREAPED, Died
from launcher.serve.states import Next, Stopping

if TYPE_CHECKING:
    from launcher.diagnose.verdict import Diagnosis

MEMORY_WITHIN = 30.0  # seconds that the driver may take to give the memory of the dead back
JUDGE_WITHIN = 30.0  # seconds that finding out why a run died may take
# What a rank says when another one, of whichever node, went first.
PEER_WENT = re.compile(
    r"(?:closed|reset) by peer|Connection refused|remote process exited|Broken pipe|recvValue"
)


class Postmortem:
    """Of one run at a time (`Service.gone`); for no longer than `JUDGE_WITHIN` and
    `MEMORY_WITHIN`.
    """

    def __init__(self, service: Service, gpus: Gpus) -> None:
        self._service = service
        self._gpus = gpus
        self._until = 0.0
        self._exited: Exited | None = None  # once it is judged

    def learn(self) -> None:
        """Import and read what deaths are judged by while the server starts: before, it would wait
        for that, and at a death clients do. An upgrade may take the files away later.
        """
        self._service.loop.aside(_learn)

    def keep_stacks(self, run: ServerRun) -> None:
        """Keep what can be known of a run that hangs."""
        self._service.loop.aside(partial(self._keep_stacks, run))

    def _keep_stacks(self, run: ServerRun) -> Work:
        """Stacks first: what the processes did is told by what they are found doing."""
        from launcher.serve import stacks

        service = self._service
        found = [run.finding(), self._gpus.in_words()]
        path = service.instance.stacks(run.number)
        members = run.session.members()
        looked = procfs.look(members, service.clock.now(), service.engine.ranks)
        stacks.keep(path, looked.members)
        hints = [
            text
            for text in service.plan.suspects
            if run.start.phase in ("distributed", "compile", "graphs", "warmup")
        ]
        told = "; ".join([*filter(None, found), *hints[:2], f"stacks in {path}"])
        run.stacks = path
        return lambda: service.feed(StacksSaved(service.clock.now(), run.number, told))

    def begin(self, run: ServerRun) -> None:
        """Take a run whose last process is gone; `go_on` says when it is over."""
        service = self._service
        memory = MEMORY_WITHIN if self._gpus.are_watched else 0.0
        service.run, service.gone = None, run
        self._until, self._exited = service.clock.now() + JUDGE_WITHIN + memory, None
        self._gpus.poke()
        service.loop.aside(
            partial(self._judge, run, self._gpus.watcher),
            partial(self._judged, run, Died(None, "died"), None, None),
        )

    def go_on(self, now: float) -> None:
        """Go on once the run is judged and its memory is back, or neither is to be had."""
        service = self._service
        if service.gone is None:
            return
        held = self._gpus.still_held()
        if now < self._until and (held or self._exited is None):
            return
        if held:
            service.recorder.complain(
                f"{held}, {MEMORY_WITHIN:g} s after the last process of the server was gone"
            )
        service.gone = None
        unknown = Exited(now, None, "died; why was not found out in time")
        service.feed(replace(self._exited, now=now) if self._exited else unknown)

    def _judge(self, run: ServerRun, spare: int) -> Work:
        """Let go of the run and find out why it ended. `spare`: a process that is not of it."""
        died = run.session.close(spare)
        error, why = run.judge(self._service.clock.now())
        together = bool(self._service.plan.nodes) and self._falls_together(run, why)
        return partial(self._judged, run, died, error, why, together)

    def _falls_together(self, run: ServerRun, why: Diagnosis) -> bool:
        """Whether another node is why a run ended: it was lost, did not come, or ended first."""
        service = self._service
        if why.family == "rendezvous":
            return True
        if service.plan.follows:
            return run.has_joined and not ask_leader(service.plan, service.engine).ok
        return isinstance(service.state, Stopping) and service.state.cause == "node-lost"

    def _judged(
        self,
        run: ServerRun,
        died: Died,
        error: str | None,
        why: Diagnosis | None,
        together: bool = False,
    ) -> None:
        """Keep what there is to say of the end for the machine, and tell a death that nobody asked
        for.
        """
        from launcher.engines import failures

        if self._service.gone is run:
            self._exited = self._end(run, died, error, why, together)
        if why:
            self._tell(run, died, error, why)
            for what in failures.complaints():
                self._service.recorder.complain(f"left out where deaths are judged: {what}")

    def _end(
        self,
        run: ServerRun,
        died: Died,
        error: str | None,
        why: Diagnosis | None,
        together: bool,
    ) -> Exited:
        now = self._service.clock.now()
        gone = run.gone(died, error, why, now) if why else Exited(now, died.status, died.how)
        if together and gone.advice is RestartAdvice.AGAIN:
            absent = f"missing: {', '.join(run.missing)}" if run.missing else gone.said
            how = f"{died.how} ({absent})" if run.missing else gone.how
            return replace(gone, how=how, said=absent, advice=RestartAdvice.TOGETHER)
        if self._service.plan.nodes and PEER_WENT.search(error or ""):
            return replace(gone, status=None, said=None)  # no word of its own
        return gone

    def _tell(self, run: ServerRun, died: Died, error: str | None, why: Diagnosis) -> None:
        service, state = self._service, self._service.state
        cause, what = "process-lost" if (died.status or 0) < 0 else "", f"the server {died.how}"
        if died is UNREAPED:
            cause = "reaper-killed"
            what = "somebody, or the kernel, killed its reaper, and the server went with it"
        if isinstance(state, Stopping):
            if state.then in (Next.END, Next.RESTART):  # asked for, so no death
                return
            if state.cause != "process-lost" or run.lost != ["the server"]:
                cause, what = state.cause, state.reason
            # else its ranks' end was seen before its own, and how it ended says more
        why = why.or_else(cause, what).of_death()
        service.last_error = why.in_short if why.is_known else error or died.how
        service.recorder.death(service.picture(), run.number, died.how, why, run.lost, run.stacks)


def _learn() -> Work:
    from launcher.diagnose.diagnosis import diagnose
    from launcher.serve import stacks  # noqa: F401

    diagnose([""], [""])  # its tables stay: a megabyte
    return nothing
