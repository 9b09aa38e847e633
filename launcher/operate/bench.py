"""Measure a server that is up, by its engine's own load generator, and judge what comes out."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from launcher import __version__
from launcher.bench import load
from launcher.bench.beside import beside, whose
from launcher.bench.causes import Signs, causes, signs, watts
from launcher.bench.figures import level_of, round_of
from launcher.bench.judge import wrong
from launcher.bench.record import Level, Line, Objective, Round, Run, Verdict
from launcher.engines.engine import dialect, generator, runtime
from launcher.engines.generator import Counters, Generator, Wanted
from launcher.engines.http import ForeignError, UnaskedError
from launcher.engines.server import NO_ANSWER, Server
from launcher.errors import Exit, UserError
from launcher.gateway import NAME as GATEWAY
from launcher.host.facts import Driver, Engine
from launcher.host.peer import Peer
from launcher.knowledge import bench_points, gpus, models
from launcher.operate import control, web
from launcher.operate.bench_run import Ran, run
from launcher.operate.bench_watch import Watch, held
from launcher.operate.running import plan_of
from launcher.plan.plan import Plan
from launcher.redact.keys import read_key
from launcher.serve.smoke import ROOM
from launcher.statedir.folder import StateDir, now_text

ROUNDS = 4  # at each concurrency: two records of four can be told apart
PAIRS = 6  # of a comparison of two that are up
WITHIN = 900.0  # seconds for a round
QUIET_WITHIN = 20.0  # seconds for what is under way to end between rounds
COUNTED_WITHIN = 3.0  # seconds for a server's counters to take in what it answered
ASKED_WITHIN = 10.0  # seconds for one question to it
LOG_LINES = 20_000  # of its log, that are looked at for what makes it slow
# Options that name a place or a name of this host, and no way to compute.
_OWN = re.compile(r"host|port|model|.*(path|file|key|addr|name|dir|url)s?|tokenizer|config")


@dataclass(frozen=True)
class Beat:
    """Where it is: shown, and not kept."""

    concurrency: int
    round: int
    rounds: int
    seconds: float
    who: str


Tell = Callable[[Line | Beat], None]
# What a question may end in that has no answer.
SILENCE = (OSError, http.client.HTTPException, UnaskedError, ForeignError, *NO_ANSWER)


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
            prompts=(load.questions(asks, count) if asks else load.prompts(scenario, count, mark)),
            tokens=scenario.tokens,
            concurrency=concurrency,
            body=self.body,
            file=Path(),
            result=Path(),
            has_module=self.has_module,
        )


def subject(instance: StateDir, wish: Wish, environ: Mapping[str, str]) -> Subject:
    """The server of an instance, ready to be measured. Raises UserError where it is not, or is busy
    and nobody said `anyway`.
    """
    up = f"`glm5-serve up --profile {instance.name}`"
    seen = control.status(instance)
    if seen.state != "ready":
        raise UserError(f"{instance.name} is not ready: {seen.state}", fix=up, status=Exit.NO)
    plan = plan_of(instance)
    if plan.engine == GATEWAY or plan.follows:
        what = "a gateway" if plan.engine == GATEWAY else "a node that answers nobody"
        fix = "name an instance that serves a model: `glm5-serve status` lists them"
        raise UserError(f"{instance.name} is {what}", fix=fix, status=Exit.USAGE)
    made = Subject(instance, plan, wish, environ)
    _require_idle(made)
    _require_room(made)
    if counters(made).output is None:
        made.notes.append(
            "it has no counters (--enable-metrics): tokens are those of its usage alone"
        )
    return made


def _require_idle(it: Subject) -> None:
    running = runtime(it.plan.engine).in_flight(it.server)
    if running is None:
        it.notes.append("nobody can tell whether others ask it, too: its loads are not to be had")
    if running and not it.wish.anyway:
        raise UserError(
            f"{it.instance.name} has {_requests(running)} in flight: they would be slowed down, and"
            " the figures too low",
            fix="wait until it is idle, or --anyway",
            status=Exit.NO,
        )
    if running:
        it.notes.append(f"{_requests(running)} of others in flight when it began (--anyway)")


def _requests(count: int) -> str:
    return "1 request" if count == 1 else f"{count} requests"


def _require_room(it: Subject) -> None:
    """Raise UserError for prompts that the server, or the generator, does not take."""
    wanted = it.scenario.input_tokens + it.scenario.tokens
    fix = f"choose another --scenario: {', '.join(load.SCENARIOS)}"
    limit = _context(it)
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
            fix=f"`{it.plan.python} -m pip install {module}`, or --scenario latency",
        )


def _context(it: Subject) -> int | None:
    """Tokens of a request that it takes, by its own word."""
    with contextlib.suppress(*SILENCE):
        status, text = web.talk(it.server, "GET", "/v1/models", None, ASKED_WITHIN)
        limit = json.loads(text)["data"][0].get("max_model_len") if status == 200 else None
        return limit if type(limit) is int and limit > 0 else None
    return None


def bench(it: Subject, tell: Tell) -> Verdict:
    """Measure a server, round by round; `tell` gets each line as it comes.

    What was measured counts, whatever ends it: Ctrl-C, a server that dies, a generator that does.
    """
    made = described(it)
    tell(made)
    levels: list[Level] = []
    reasons: list[str] = []
    ended = "complete"
    try:
        for level, said in _levels(it, tell):
            levels += [level] if level else []
            reasons += said
    except KeyboardInterrupt:
        ended = "interrupted"
    except Unmeasurable as error:
        reasons.append(str(error))
    if reasons:
        ended = "it was stopped where its figures could not be trusted"
    told = beside(made, levels, bench_points.table().rows)
    verdict = Verdict(
        trusted=bool(levels) and not reasons,
        reasons=tuple(dict.fromkeys(reasons)) or (() if levels else ("nothing was measured",)),
        ended=ended,
        beside=told,
        remark="" if told else _remark(made, levels),
        causes=_causes(it) if it.plan.gpus else (),
    )
    tell(verdict)
    return verdict


class Unmeasurable(Exception):  # noqa: N818 - it says what it is
    """Nothing can be measured any more; the message says why."""


def _levels(it: Subject, tell: Tell) -> Iterator[tuple[Level | None, tuple[str, ...]]]:
    """Each concurrency, with what was found wrong; the first that is ends it."""
    for concurrency in it.scenario.concurrency:
        rounds: list[Round] = []
        try:
            for number in range(1, it.wish.rounds + 1):
                rounds.append(measured(it, concurrency, number, it.wish.rounds, tell))
                tell(rounds[-1])
                if rounds[-1].wrong:
                    break
        except (KeyboardInterrupt, Unmeasurable):
            if rounds:
                yield _told(rounds, tell), ()
            raise
        said = tuple(f"concurrency {concurrency}: {why}" for why in rounds[-1].wrong)
        yield _told(rounds, tell), said
        if said:
            return


def _told(rounds: Sequence[Round], tell: Tell) -> Level:
    level = level_of(rounds)
    tell(level)
    return level


def measured(it: Subject, concurrency: int, number: int, rounds: int, tell: Tell) -> Round:
    """One round. Raises Unmeasurable where there is no result."""
    mark = f"{time.time_ns() // 1_000_000:x}"
    wanted = it.wanted(concurrency, mark)
    _wait_until_quiet(it)
    before = counters(it)
    beat = lambda took: tell(Beat(concurrency, number, rounds, took, it.instance.name))
    with Watch(is_wanted=bool(it.plan.gpus)) as watch:
        ran = _run(it, wanted, beat)
    it.seen += watch.samples
    if ran.sample is None:
        raise Unmeasurable(_died(it) or ran.why)
    made = sum(one.output_tokens for one in ran.sample.answers)
    grown = _counted(it, before, made)
    drawn = watts(signs(watch.samples, it.gpus)) if len(watch.samples) > 1 else None
    figures = round_of(ran.sample, grown, it.wish.objective, concurrency, number, drawn)
    expected = [one["expect"] for one in it.questions]
    count = len(wanted.prompts)
    said = wrong(ran.sample, count, wanted.tokens, concurrency + 1, grown, expected)
    if said and (why := _died(it)):
        said = (why, *said)
    return replace(figures, wrong=said)


def _run(it: Subject, wanted: Wanted, beat: Callable[[float], None]) -> Ran:
    try:
        return run(it.generator, wanted, environment(it), it.key, it.wish.within, beat)
    except OSError as error:
        return Ran(None, f"{it.generator.name} could not be started: {error.strerror or error}")


def environment(it: Subject) -> dict[str, str]:
    """The engine's, for its generator: offline, past no proxy, without what is ours."""
    ours = {name: value for name, value in it.environ.items() if not name.startswith("GLM5_SERVE")}
    direct = dict.fromkeys(("NO_PROXY", "no_proxy"), "*")
    return {**ours, **it.plan.env, **direct, "HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1"}


def _died(it: Subject) -> str:
    """Why the server is not there any more; "" where it is."""
    seen = control.status(it.instance)
    return (
        "" if seen.state == "ready" else f"the server did not stay up: {seen.state}, {seen.reason}"
    )


def _wait_until_quiet(it: Subject) -> None:
    """Wait for what is under way to end. Raises Unmeasurable where it does not, and where somebody
    else holds the port: the generator would give him the key.
    """
    try:
        web.talk(it.server, "GET", "/v1/models", None, ASKED_WITHIN)
    except ForeignError as error:
        raise Unmeasurable(str(error)) from None
    except SILENCE as error:
        raise Unmeasurable(_died(it) or f"the server does not answer: {error}") from None
    until = time.monotonic() + QUIET_WITHIN
    ask = runtime(it.plan.engine).in_flight
    while (running := ask(it.server)) and not it.wish.anyway:
        if time.monotonic() > until:
            raise Unmeasurable(f"{_requests(running)} of others in flight")
        time.sleep(0.2)


def counters(it: Subject) -> Counters:
    """What the server counted so far; nothing where it does not tell."""
    with contextlib.suppress(*SILENCE):
        status, text = web.talk(it.server, "GET", "/metrics", None, ASKED_WITHIN)
        if status == 200:
            return it.generator.counters(text.decode(errors="replace"))
    return Counters()


def _counted(it: Subject, before: Counters, made: int) -> Counters:
    """What it counted since: SGLang does when a request ends, and a moment later."""
    until = time.monotonic() + COUNTED_WITHIN
    while True:
        grown = counters(it).since(before)
        if grown.output is None or grown.output >= made or time.monotonic() > until:
            return grown
        time.sleep(0.1)


def described(it: Subject) -> Run:
    """What is measured, without names of this host."""
    plan, driver = it.plan, it.driver
    cards = [gpu for gpu in driver.gpus.otherwise(()) if gpu.index in it.gpus]
    names = {gpu.name.otherwise("") for gpu in cards}
    name = names.pop() if len(names) == 1 else ""
    product = gpus.which(name=name) if name else None
    options = _options(plan)
    return Run(
        time=now_text(),
        glm5_serve=__version__,
        profile=it.instance.name,
        engine=plan.engine,
        release=plan.release,
        generator=it.generator.name,
        model=models.checkpoint(plan.model),
        version=version_of(plan.model),
        precision=precision_of(plan.model),
        gpu=product.id if product else None,
        gpus=plan.gpus,
        edition=name,
        driver=driver.version.otherwise("") or None,
        scenario=it.scenario.name,
        tokens=it.scenario.tokens,
        objective=it.wish.objective,
        options=options,
        facts=_digest([name, len(cards), driver.version.value, driver.topology.value]),
        plan=_digest([plan.engine, plan.release, options, plan.env]),
        notes=tuple(it.notes),
    )


def version_of(model: str) -> str | None:
    """Which GLM-5 a checkpoint is, as its makers write it; None for another model."""
    found = re.search(r"(?<![a-z0-9])glm-(5(?:\.\d+)?)(-flash)?(?![\d.])", models.checkpoint(model))
    return f"GLM-{found[1]}{'-Flash' if found[2] else ''}" if found else None


def precision_of(model: str) -> str | None:
    """How a checkpoint is quantised, in the words of `bench_points.toml`; None: nobody knows."""
    told = models.quantisation(model) or ""
    return {"fp4": "nvfp4", "nvfp4-weights": "nvfp4 w4a16"}.get(
        told, told.partition("-")[0]
    ) or None


def _options(plan: Plan) -> dict[str, str]:
    """Its options that say how it computes."""
    secret = dialect(plan.engine).secrets
    return {
        one.option: one.value
        for one in plan.settings
        if one.option
        and one.option not in secret
        and not _OWN.fullmatch(one.option)
        and os.sep not in one.value
    }


def _digest(data: object) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:16]


def _remark(made: Run, levels: Sequence[Level]) -> str:
    at = ", ".join(str(one.concurrency) for one in levels) or "any concurrency"
    return f"nobody's figure is known for {whose(made)} at concurrency {at}"


def signs_of(it: Subject) -> tuple[Signs, ...]:
    """What its GPUs did in all rounds."""
    return signs(it.seen, it.gpus)


def _causes(it: Subject) -> tuple[str, ...]:
    """What makes it slow, by what was seen, what doctor finds, and what its log tells."""
    from launcher.doctor.checks import judge
    from launcher.doctor.run import TAKEN_BY_OURS
    from launcher.host.observe import observe

    host = observe(it.plan, it.environ, it.driver, Engine())
    findings = judge(host, it.plan, skip=TAKEN_BY_OURS)
    lines: list[str] = []
    with contextlib.suppress(UserError):
        lines = list(control.log_lines(it.instance, LOG_LINES, follow=False))
    return causes(signs_of(it), findings, lines, it.generator.slow)
