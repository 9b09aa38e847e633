"""A server that is measured: what is known of it, and whether it can be."""

from __future__ import annotations

import contextlib
import json
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from launcher import counting
from launcher.bench import load
from launcher.bench.bounds import Asked
from launcher.bench.record import Objective
from launcher.engines.engine import generator, runtime
from launcher.engines.figures import Figures
from launcher.engines.generator import Generator, Wanted
from launcher.engines.http import countdown
from launcher.engines.server import SILENCE, Server
from launcher.errors import Exit, UserError
from launcher.files import programs
from launcher.gateway import NAME as GATEWAY
from launcher.host.facts import Driver
from launcher.host.peer import Peer
from launcher.operate import bench_alone, control, web, whose
from launcher.operate.bench_watch import held
from launcher.operate.running import plan_of
from launcher.plan.plan import Plan
from launcher.redact.keys import read_key
from launcher.serve.smoke import ROOM
from launcher.statedir.folder import StateDir

WITHIN = 900.0  # seconds for a round
OWN_WITHIN = 5.0  # seconds for a question of its own launcher's to be answered
ASKED_WITHIN = 10.0  # seconds for what it is asked at a time
Left = Callable[[], float]  # seconds of a deadline; raises TimeoutError once there are none


@dataclass(frozen=True)
class Wish:
    """What was asked for."""

    scenario: str
    concurrency: tuple[int, ...]  # (): the scenario's own
    rounds: int
    objective: Objective
    anyway: bool
    within: float = WITHIN


@dataclass
class Subject:
    """A server that is measured, and what is known of it."""

    instance: StateDir
    plan: Plan
    wish: Wish
    environ: Mapping[str, str]
    notes: list[str] = field(default_factory=list)
    seen: list[Driver] = field(default_factory=list)
    spent: float = 0.0  # seconds that it was asked before its first round: they are of that

    @cached_property
    def generator(self) -> Generator:
        """Its engine's."""
        return generator(self.plan.engine)

    @cached_property
    def key(self) -> str | None:
        """What its clients must send."""
        return read_key(Path(self.plan.key_file)) if self.plan.key_file else None

    @cached_property
    def server(self) -> Server:
        """Where it is; nobody else gets the key."""
        peer = Peer(partial(control.processes, self.instance))
        return Server(self.plan.host, self.plan.port, self.key, peer)

    @cached_property
    def driver(self) -> Driver:
        """What the driver shows; of a server on the CPU it is not asked."""
        from launcher.host.observe import observe_driver

        return observe_driver() if self.plan.gpus else Driver()

    @cached_property
    def gpus(self) -> frozenset[int]:
        """The GPUs that it has."""
        return held(self.driver, self.plan, control.processes(self.instance))

    @cached_property
    def questions(self) -> tuple[dict[str, str], ...]:
        """What a model on a CPU is known to answer."""
        return () if self.plan.gpus else tuple(self.plan.smoke.get("questions", ()))

    @cached_property
    def scenario(self) -> load.Scenario:
        """The load, with the concurrency that was asked for."""
        told = load.SCENARIOS[self.wish.scenario]
        named = self.wish.concurrency
        if self.questions:
            return load.own(named or load.OWN_CONCURRENCY)
        tokens = max(told.tokens, ROOM) if self.always_thinks else told.tokens
        return replace(told, tokens=tokens, concurrency=named or told.concurrency)

    @cached_property
    def has_module(self) -> bool:
        """Whether the engine's environment has what its generator wants for long prompts."""
        if not self.generator.module:
            return True
        code = "import importlib.util as u, sys; sys.exit(not u.find_spec(sys.argv[1]))"
        asked = [self.plan.python, "-I", "-c", code, self.generator.module]
        return not subprocess.run(asked, capture_output=True, timeout=60, check=False).returncode

    @property
    def always_thinks(self) -> bool:
        """Whether its model reasons whatever it is asked: it gets room to come to an answer."""
        return bool(self.plan.smoke.get("thinking") == "always")

    @property
    def body(self) -> Mapping[str, Any]:
        """What each request has: a model that can is asked not to reason, or little, as in the
        smoke test.
        """
        if self.always_thinks:
            return {"reasoning_effort": "low"}
        is_parsed = "reasoning" in self.plan.parsers
        return {"chat_template_kwargs": {"enable_thinking": False}} if is_parsed else {}

    def wanted(self, concurrency: int, mark: str) -> Wanted:
        """One run of the generator."""
        count = load.requests(concurrency)
        asks = [one["ask"] for one in self.questions]
        plan, scenario = self.plan, self.scenario
        return Wanted(
            python=plan.python,
            release=plan.release,
            url=self.server.url,
            model=plan.model,
            tokenizer=plan.flag("tokenizer-path", "tokenizer") or plan.model,
            name=plan.model_name,
            prompts=(load.in_turn(asks, count) if asks else load.prompts(scenario, count, mark)),
            tokens=scenario.tokens,
            concurrency=concurrency,
            body=self.body,
            file=Path(),
            result=Path(),
            has_module=self.has_module,
        )

    def asked(self, wanted: Wanted, took: float) -> Asked:
        """The same as it is held against what came of it; `took` seconds by our clock."""
        right = [one["expect"] for one in self.questions]
        return Asked(
            wanted.prompts,
            wanted.tokens,
            wanted.concurrency,
            took,
            load.in_turn(right, len(wanted.prompts)),
            thinks=self.always_thinks,
        )


def subject(instance: StateDir, wish: Wish, environ: Mapping[str, str]) -> Subject:
    """The server of an instance, ready to be measured. Raises UserError where it is not, or is busy
    and nobody said `anyway`.
    """
    up = f"`glm5-serve up --profile {instance.name}`"
    whose.require_own(instance, "bench")
    seen = control.status(instance)
    if seen.state != "ready":
        raise UserError(f"{instance.name} is not ready: {seen.state}", fix=up, status=Exit.NO)
    plan = plan_of(instance)
    if plan.engine == GATEWAY or plan.follows:
        what = "a gateway" if plan.engine == GATEWAY else "a node that answers nobody"
        fix = "name an instance that serves a model: `glm5-serve status` lists them"
        raise UserError(f"{instance.name} is {what}", fix=fix, status=Exit.USAGE)
    made, began = Subject(instance, plan, wish, environ), time.monotonic()
    programs.require_trusted(plan.python, environment(made), programs.ROOT)
    if note := bench_alone.claim(instance, anyway=wish.anyway):
        made.notes.append(note)
    left = countdown(min(ASKED_WITHIN, wish.within))
    _require_idle(made, left)
    _require_room(made, left)
    if figures(made, left).answered is None:
        made.notes.append(
            "it has no counters (--enable-metrics): tokens are those of its usage alone"
        )
    made.spent = time.monotonic() - began
    return made


def _require_idle(it: Subject, left: Left) -> None:
    until = time.monotonic() + OWN_WITHIN
    while (running := in_flight(it, left)) and not it.wish.anyway and time.monotonic() < until:
        time.sleep(0.2)
    if running is None:
        it.notes.append("nobody can tell whether others ask it, too: its loads are not to be had")
    if running and not it.wish.anyway:
        raise UserError(
            f"{it.instance.name} has {in_words(running)} in flight: they would be slowed down, and"
            " the figures too low",
            fix="wait until it is idle, or --anyway",
            status=Exit.NO,
        )
    if running:
        it.notes.append(f"{in_words(running)} of others in flight when it began (--anyway)")


def in_words(count: int) -> str:
    """So many requests."""
    return counting.of(count, "request")


def _require_room(it: Subject, left: Left) -> None:
    """Raise UserError for prompts that the server, or the generator, does not take."""
    wanted = it.scenario.input_tokens + it.scenario.tokens
    fix = f"choose another --scenario: {', '.join(load.SCENARIOS)}"
    limit = _context(it, left)
    if limit is not None and wanted > limit:
        raise UserError(
            f"scenario {it.scenario.name} takes up to {wanted:,} tokens, the server {limit:,}",
            fix=fix,
            status=Exit.NO,
        )
    if not it.has_module and it.scenario.input_tokens > it.generator.longest:
        module = it.generator.module
        raise UserError(
            f"{it.generator.name} takes prompts of more than {it.generator.longest:,} tokens only"
            f" with {module}, which {it.plan.python} does not have",
            fix=f"`{it.plan.python} -m pip install {module}`",
        )


def _context(it: Subject, left: Left) -> int | None:
    """Tokens of a request that it takes, by its own word."""
    with contextlib.suppress(*SILENCE):
        status, text = web.talk(it.server, "GET", "/v1/models", None, left())
        limit = json.loads(text)["data"][0].get("max_model_len") if status == 200 else None
        return limit if type(limit) is int and limit > 0 else None
    return None


def figures(it: Subject, left: Left, *, whole: bool = True) -> Figures:
    """What the server says of its work so far; nothing where it does not tell in time."""
    with contextlib.suppress(*SILENCE):
        within = min(ASKED_WITHIN, left())
        return runtime(it.plan.engine).figures(it.server, within, whole=whole)
    return Figures()


def in_flight(it: Subject, left: Left) -> int | None:
    """Requests that it runs or holds; None where it does not tell in time."""
    now = figures(it, left, whole=False)
    if now.running is None:
        return None
    return now.running + (now.waiting or 0)


def environment(it: Subject) -> dict[str, str]:
    """The engine's, for its generator: offline, past no proxy, without what is ours."""
    ours = {name: value for name, value in it.environ.items() if not name.startswith("GLM5_SERVE")}
    direct = dict.fromkeys(("NO_PROXY", "no_proxy"), "*")
    return {**ours, **it.plan.env, **direct, "HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1"}


def died(it: Subject) -> str:
    """Why the server is not there any more; "" where it is."""
    seen = control.status(it.instance)
    return (
        "" if seen.state == "ready" else f"the server did not stay up: {seen.state}, {seen.reason}"
    )
