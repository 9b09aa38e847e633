"""Judging a host, the one here or a recorded one, for a profile."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from launcher import counting
from launcher.config import layers
from launcher.config.load import PlanRequest, load
from launcher.config.resolve import resolve
from launcher.config.select import FALLBACK, best_profile, engine_of, shown
from launcher.config.target import Seen, instance_of, observe_target, planned
from launcher.config.target import recorded as recorded_facts
from launcher.doctor.checks import REQUIRED, judge, known_ids
from launcher.doctor.group import judge_group
from launcher.doctor.ours import spared
from launcher.engines import issues
from launcher.engines.issues import Harm
from launcher.engines.target import of
from launcher.errors import Exit, UserError
from launcher.files import places
from launcher.host.environment import of_plan
from launcher.host.facts import Driver, Engine, Host
from launcher.plan.findings import Finding, Severity, failures
from launcher.plan.plan import Plan, for_node
from launcher.plan.policy import Policy

TAKEN_BY_OURS = (
    "port-free",
    "gpu-memory-free",
    "gpu-left-over",
    "host-memory",
    "shared-memory",
    "memory-limit",
)


@dataclass(frozen=True)
class Source:
    """Where the facts come from: this host, a recorded tree, a facts file, or pasted texts; at most
    one is set.
    """

    sysroot: Path | None = None
    facts: Path | None = None
    pasted: str | None = None


@dataclass(frozen=True)
class Examined:
    """A host and the plan that it is judged for; without a name where no profile is for it."""

    host: Host
    plan: Plan
    chosen: bool  # by us, because no profile was named


Report = Callable[[Examined, Sequence[Finding]], None]  # shows them


def examine(
    profile: str | None, settings: Sequence[str], source: Source, environ: Mapping[str, str]
) -> Examined:
    """Observe a host for a profile, or for the one that fits its GPUs best; without one where none
    does. Raises UserError.
    """
    if recorded := _recorded(source):
        return of_host(recorded, profile, settings, environ)
    from launcher.host.observe import LIVE, observe, observe_driver

    root = source.sysroot or LIVE
    seen = observe_driver(root)
    name = profile or best_profile(seen, environ)
    if name is None:
        plan = _without_profile(seen, settings)
        # The engine is the same whatever is served.
        here = _here(PlanRequest(FALLBACK), environ, seen)[1] if root == LIVE else Host()
        return Examined(observe(plan, environ, seen, here.engine, root), plan, True)
    ask = PlanRequest(name, tuple(settings))
    if root == LIVE:
        plan, host = _here(ask, environ, seen)
    else:  # a recorded tree is no host of an engine: the one here, if any, is what it is judged for
        plan, _ = planned(ask, environ)
        host = observe(plan, environ, seen, Engine(), root)
    return Examined(host, plan, profile is None)


def of_host(
    host: Host,
    profile: str | None,
    settings: Sequence[str],
    environ: Mapping[str, str],
    best: Callable[[Driver, Mapping[str, str], str | None], str | None] = best_profile,
) -> Examined:
    """A host whose facts are at hand, and the plan that it is judged for; nothing is observed.

    Where no profile is named, `best` chooses one. Raises UserError.
    """
    name = profile or best(shown(host), environ, engine_of(host))
    if name is None:
        return Examined(host, _without_profile(shown(host), settings), True)
    plan, _ = planned(PlanRequest(name, tuple(settings)), environ, of(host))
    seen = replace(host, environment=of_plan(host.environment, plan))
    return Examined(seen, plan, profile is None)


def _without_profile(driver: Driver, settings: Sequence[str]) -> Plan:
    """What the GPUs are judged for where no profile is: all that there are, whatever they are.

    Raises UserError where settings of a profile were given.
    """
    if settings:
        raise UserError(
            f"--set {settings[0]} changes a profile, and none is for the GPUs seen",
            fix="choose one: -p NAME (`glm5-serve profiles` lists them)",
            status=Exit.USAGE,
        )
    seen = (driver.gpus, driver.topology, driver.p2p_read, driver.p2p_write)
    count = max(len(fact.otherwise(())) for fact in seen)
    return Plan("", (), (), {}, "127.0.0.1", 0, "", "", Policy(), (), {}, gpus=max(count, 1))


def _here(ask: PlanRequest, environ: Mapping[str, str], driver: Driver) -> tuple[Plan, Host]:
    from launcher.host.observe import observe

    composed = load(ask, environ)
    seen = observe_target(composed, environ, driver)
    folder = instance_of(composed, environ).folder
    plan = resolve(composed, ask, folder, layers.ours(environ), seen.target)
    return plan, observe(plan, environ, driver, seen.engine)


def observed(
    profile: str | None, settings: Sequence[str], source: Source, environ: Mapping[str, str]
) -> Host:
    """What was observed of a host: of a recorded one as it was recorded, without what a profile
    would set there. Raises UserError.
    """
    return _recorded(source) or examine(profile, settings, source, environ).host


def _recorded(source: Source) -> Host | None:
    if sum(one is not None for one in (source.sysroot, source.facts, source.pasted)) > 1:
        raise UserError(
            "--from, --facts and --sysroot are about different hosts",
            fix="give one of them",
            status=Exit.USAGE,
        )
    if source.facts:
        return recorded_facts(source.facts)
    if source.pasted:
        from launcher.host.parsers import host

        return host(source.pasted)
    if source.sysroot and source.sysroot.absolute() != Path("/"):
        _require_tree(source.sysroot)
    return None


def _require_tree(root: Path) -> None:
    """Raise UserError for what is no recorded tree: of an empty one nothing would be known."""
    fix = "give --sysroot a folder with a copy of /sys and /proc in it"
    if why := places.obstacle(root, writing=False) or (root.is_dir() and places.keeps_none(root)):
        raise UserError(f"--sysroot names {why}", fix=fix)
    if not root.is_dir():
        raise UserError(f"--sysroot names {root}: no such folder", fix=fix)
    if not any((root / name).is_dir() for name in ("sys", "proc")):
        raise UserError(f"--sysroot names {root}, which has neither sys nor proc in it", fix=fix)


@dataclass(frozen=True)
class DoctorOptions:
    """What `glm5-serve doctor` was told."""

    profile: str | None
    settings: tuple[str, ...]
    pasted: str | None
    facts: tuple[Path, ...]  # of a host each
    sysroot: Path | None
    deep: bool
    backend: str | None  # None: by the profile
    deadline: float
    only: tuple[str, ...]
    skip: tuple[str, ...]
    allow: tuple[str, ...]
    every: bool
    fix: bool
    strict: bool
    as_json: bool
    format: str  # text, npd, prometheus
    hosts: str | None  # others than this one: `a,b,@file`
    remote: str  # how they are asked: auto, facts, script
    sudo: bool
    ssh_config: Path | None
    serving: bool  # a server runs there, and what it takes is not missing
    save: Path | None  # the folder where their facts are kept

    @property
    def is_of_a_start(self) -> bool:
        """Whether a person asked whether a profile can be started here, with every check."""
        elsewhere = self.pasted or self.facts or self.sysroot or self.hosts
        partly = self.only or self.skip or self.serving or self.fix or self.deep
        return bool(self.profile) and not (
            elsewhere or partly or self.as_json or self.settings or self.format != "text"
        )

    @property
    def skipped(self) -> tuple[str, ...]:
        """The checks that are left out."""
        return (*self.skip, *(TAKEN_BY_OURS if self.serving else ()))


def doctor(
    words: DoctorOptions, environ: Mapping[str, str], tell: Callable[[str], None]
) -> tuple[Examined, list[Finding]]:
    """Examine a host and judge it; `tell` hears how far `--deep` is. Raises UserError."""
    known_ids((*words.only, *words.skip, *words.allow))
    if len(words.facts) > 1:
        return of_several(words, environ)
    source = Source(words.sysroot, next(iter(words.facts), None), words.pasted)
    seen = examine(words.profile, words.settings, source, environ)
    if words.deep and source != Source():
        raise UserError(
            "--deep moves data on this host",
            fix="leave out --from, --facts and --sysroot",
            status=Exit.USAGE,
        )
    findings = judge(seen.host, seen.plan, only=words.only, skip=words.skipped, allow=words.allow)
    if source == Source():
        findings = spared(findings, seen.host, seen.plan, environ)
    if words.deep:
        findings += _deep(seen, environ, words, tell)
    return seen, findings


def of_several(words: DoctorOptions, environ: Mapping[str, str]) -> tuple[Examined, list[Finding]]:
    """Judge the hosts of several facts files, together and each by itself. Raises UserError."""
    if words.sysroot or words.pasted or words.deep or words.fix:
        raise UserError(
            f"{len(words.facts)} --facts are of several hosts, the other options of one",
            fix="leave out --from, --sysroot, --deep and --fix",
            status=Exit.USAGE,
        )
    hosts = {_name_of(path, words.facts): recorded_facts(path) for path in words.facts}
    seen = {
        name: as_node(of_host(host, words.profile, words.settings, environ))
        for name, host in hosts.items()
    }
    first = next(iter(seen.values()))
    only, skip, allow = words.only, words.skipped, words.allow
    alone = {
        name: judge(one.host, one.plan, only=only, skip=skip, allow=allow)
        for name, one in seen.items()
    }
    host = replace(first.host, observed=f"{counting.of(len(hosts), 'host')}: {', '.join(hosts)}")
    return replace(first, host=host), [*together(first.plan, hosts, words), *merged(alone)]


def _name_of(path: Path, paths: Sequence[Path]) -> str:
    """A host by its file's name; by its path where another one's is called the same."""
    alike = [other for other in paths if other.stem == path.stem]
    return path.stem if len(alike) == 1 else str(path)


def as_node(seen: Examined) -> Examined:
    """A host as the node of its plan whose address it has; else as the first one."""
    here = {at for one in seen.host.system.networks.otherwise(()) for at in one.addresses}
    ranks = [rank for rank, node in enumerate(seen.plan.nodes) if node.address in here]
    if not ranks:
        return seen
    plan = for_node(seen.plan, ranks[0])
    host = replace(seen.host, environment=of_plan(seen.host.environment, plan))
    return replace(seen, host=host, plan=plan)


def together(plan: Plan, hosts: Mapping[str, Host], words: DoctorOptions) -> list[Finding]:
    """What the checks that were chosen say of several hosts as the nodes of one plan."""
    return [
        replace(found, allowed=found.id in words.allow)
        for found in judge_group(plan, hosts)
        if (not words.only or found.id in words.only) and found.id not in words.skip
    ]


def merged(found: Mapping[str, Sequence[Finding]]) -> Iterator[Finding]:
    """The findings of several hosts as those of one: what is alike is said once, and of whom."""
    hosts: dict[Finding, list[str]] = {}
    for name, findings in found.items():
        for one in findings:
            is_ok = one.severity is Severity.OK
            hosts.setdefault(replace(one, evidence="") if is_ok else one, []).append(name)
    groups = list(dict.fromkeys(one.group for one in hosts))
    for one, names in sorted(hosts.items(), key=lambda told: groups.index(told[0].group)):
        evidence = f"{', '.join(names)}: {one.evidence}" if one.evidence else ", ".join(names)
        yield replace(one, evidence=evidence)


def _deep(
    seen: Examined, environ: Mapping[str, str], words: DoctorOptions, tell: Callable[[str], None]
) -> list[Finding]:
    from launcher.doctor.fabric import deep

    if not seen.plan.name:
        raise UserError(
            "--deep runs the engine of a profile, and none is for the GPUs seen",
            fix="choose one: -p NAME (`glm5-serve profiles` lists them)",
            status=Exit.USAGE,
        )
    if seen.plan.doubt:
        fix = (
            f"`glm5-serve up -p {seen.plan.name}` says what to do; without --deep nothing of it"
            " is run"
        )
        raise UserError(f"--deep would run it: {seen.plan.doubt}", fix=fix)
    ranks = seen.plan.gpus or 2
    return deep(
        seen.plan,
        ranks,
        seen.host,
        environ,
        backend=words.backend or ("nccl" if seen.plan.gpus else "gloo"),
        deadline=words.deadline,
        tell=tell,
    )


# what the ids of checks about hangs begin with
HANGS = (
    "iommu",
    "acs",
    "nccl",
    "p2p",
    "peer",
    "links",
)
CAUSES = (Harm.BREAKS, Harm.CONFLICTS, Harm.RISKY)  # the others change nothing


def suspects(plan: Plan, findings: Sequence[Finding]) -> tuple[str, ...]:
    """What may make this plan hang or garble here: findings that do not keep it down, and known
    issues.
    """
    said = [
        f"{found.id}: {found.evidence}" for found in findings if found.severity is not Severity.OK
    ]
    hangs = [text for text in said if text.startswith(HANGS)]
    known = [
        f"{issue.what} ({issue.fix})"
        for issue in (issues.issues(issues.of_plan(plan)) if plan.release else ())
        if issue.engine and issue.severity in CAUSES and not issue.advisory
    ]
    return (*known, *hangs)


def require_fit(
    plan: Plan, environ: Mapping[str, str], seen: Seen, report: Report, serving: Plan | None = None
) -> Sequence[Finding]:
    """Judge this host for a plan that is about to be started: the findings.

    Raises UserError where one fails, after `report` got them all. What was `seen` for the plan
    is not asked again. What a server of ours that is `serving` takes is not held against the next
    one.
    """
    from launcher.host.observe import observe, observe_driver

    known_ids(plan.allowed)
    driver = (seen.driver or observe_driver()) if plan.gpus else Driver()
    host = observe(plan, environ, driver, seen.engine)
    findings = judge(host, plan, skip=_taken(serving, plan) if serving else ())
    findings = spared(findings, host, plan, environ)
    failed = failures(findings)
    if not failed:
        return findings
    report(Examined(host, plan, False), findings)
    raise _refusal(plan, failed, is_restart=serving is not None)


def _taken(ours: Plan, new: Plan) -> list[str]:
    """The checks that find what our own server takes: the port, if the next one has the same."""
    same = (ours.host, ours.port) == (new.host, new.port)
    return [id for id in TAKEN_BY_OURS if same or id != "port-free"]


def _refusal(plan: Plan, failed: Sequence[Finding], *, is_restart: bool) -> UserError:
    """What is in the way: a required check says it itself, the others have been shown. A restart
    takes neither settings nor allowances: its profile does.
    """
    required = [found for found in failed if found.id in REQUIRED]
    others = [found.id for found in failed if found.id not in REQUIRED]
    what, fix = [found.evidence for found in required], [found.fix for found in required]
    if is_restart:
        fix = [re.sub(r"--set ([\w.-]+=[^\s,;)]+)", r"\1 in the profile", one) for one in fix]
    if others:
        count = counting.of(len(others), "check fails", "checks fail")
        what += [f"{count}: {', '.join(others)}"]
        allow = " ".join(f"--allow {id}" for id in others)
        if is_restart:
            allow = f"`glm5-serve down {plan.name}`, then `glm5-serve up {plan.name} {allow}`"
        fix += [f"fix them (`glm5-serve doctor -p {plan.name}`), or let them fail: {allow}"]
    for id in {found.id for found in required} & {*plan.allowed}:
        fix += [f"nothing allowed lets {id} fail" if is_restart else f"no --allow lets {id} fail"]
    return UserError(
        f"{'; '.join(what)}; nothing was started", fix="\n       ".join(dict.fromkeys(fix))
    )
