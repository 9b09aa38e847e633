"""What is to be said of what stands around a command: too few GPUs, ports that reach nobody, probes
that ask elsewhere or do not wait for the load. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from launcher.address import is_loopback
from launcher.engines import issues
from launcher.engines.dialect import is_so
from launcher.engines.engine import dialect
from launcher.engines.issues import Shows
from launcher.engines.match import HIDES_ALL, Case
from launcher.engines.options import Given, Release
from launcher.formats import grace
from launcher.formats.around import Gpus
from launcher.formats.container import OF_HOST
from launcher.formats.launches import INSIDE, Launch
from launcher.knowledge import needs
from launcher.lint import directives
from launcher.lint.concerns import Concern, Verdict, in_container, is_of_loopback, of_issue
from launcher.plan.evidence import Known

DRAIN = "shutdown-timeout"
MARGIN = 10  # seconds, for what ends after the last request
# Families whose loads take that long; a small model is there in seconds.
LARGE = frozenset(
    {"deepseek-v3", "deepseek-v3.2", "deepseek-v4", "glm-5", "glm-5.3-flash", "kimi-k2"}
)
RANKS = ("tp_size", "pp_size", "dp_size", "nnodes", "base-gpu-id", "gpu-id-step")
# How a form puts another program in the place of what an image starts.
ENTRIES = {
    "docker": "--entrypoint",
    "compose": "entrypoint:",
    "kubernetes": "command:",
    "quadlet": "Entrypoint=",
    "dockerfile": "ENTRYPOINT",
}
IMAGE = "the ENTRYPOINT of the image"
Said = tuple[str, str, Concern]  # what it is of, its value, and what is to be said


def told(launch: Launch, case: Case, unknown: frozenset[str]) -> Iterator[Said]:
    """All of it; `unknown` are the options and variables whose values come from outside."""
    if launch.under:
        yield launch.under, "", _not_run(launch)
    gpus = launch.around.gpus or _visible(launch)
    ranks = {*map(dialect(case.target.engine).option_of, RANKS)}
    if gpus and not unknown & ranks and (found := few(gpus.count, case)):
        yield gpus.name, gpus.value, found
    if case.model & LARGE:
        yield from _slow_probes(launch)
    if not unknown & {"shutdown-timeout"}:
        yield from _killed(launch, case)
    yield from directives.told(launch, case, is_large=bool(case.model & LARGE), unknown=unknown)
    if "serving" in case.traits and not unknown & {"port", "host"}:
        yield from _unreached(launch, case)


def again(given: Given) -> Concern:
    """Of the words of a program that its image starts by itself."""
    why = f"{given.problem}: they are refused"
    return Concern(Verdict.UNKNOWN, why, Known.READ, IMAGE, Shows.PARSE, "leave it out")


def _not_run(launch: Launch) -> Concern:
    why = f"the image starts `{launch.own}` by itself, and gets this as arguments: it is not run"
    key = next((key for form, key in ENTRIES.items() if launch.form.startswith(form)), "")
    where = f" ({key})" if key else ""
    fix = f"give the options alone, or make this the entrypoint{where}"
    return Concern(Verdict.UNKNOWN, why, Known.READ, IMAGE, Shows.PARSE, fix)


def _visible(launch: Launch) -> Gpus | None:
    """The GPUs that the container's runtime shows by a variable; a plain shell does not read it."""
    name = "NVIDIA_VISIBLE_DEVICES"
    said = launch.variables.get(name)
    parts = said.value.replace(" ", "").split(",") if said and said.known else []
    is_list = all(one.isdecimal() or one.startswith("GPU-") for one in parts)
    is_inside = launch.form.startswith(("docker", "compose", "kubernetes", "quadlet"))
    return Gpus(len(parts), name, ",".join(parts)) if parts and is_list and is_inside else None


def few(count: int, case: Case) -> Concern | None:
    """That so many GPUs are too few for its ranks: as if the others were hidden from it."""
    engine = dialect(case.target.engine)
    if is_so(engine.no_gpus, case.value):
        return None
    seen = ",".join(map(str, range(count)))
    for issue in issues.issues(replace(case, env={**case.env, HIDES_ALL: seen})):
        if (issue.test, issue.name) == ("few-gpus", HIDES_ALL):
            found = of_issue(issue, case.target.known)
            tp, pp = map(engine.option_of, ("tp_size", "pp_size"))
            fix = f"as many GPUs as --{tp} x --{pp} on each node, or fewer ranks"
            return replace(found, instead=fix, remedies=())
    return None


def _slow_probes(launch: Launch) -> Iterator[Said]:
    for probe in launch.around.probes:
        if probe.seconds is not None and probe.seconds < needs.LOAD:
            why = f"it kills the server after {probe.seconds} s without an answer, and a load takes"
            fix = "a startupProbe whose failureThreshold x periodSeconds is 1800 s or more"
            source = "Kubernetes' documentation of probes; loads of GLM-5 as reported"
            known, shows = Known.REPORTED, Shows.LOAD
            yield (
                probe.name,
                f"{probe.seconds} s",
                Concern(Verdict.RISKY, f"{why} 5 to 30 minutes", known, source, shows, fix),
            )


def _killed(launch: Launch, case: Case) -> Iterator[Said]:
    """That a server may take longer to end than whoever stops it waits."""
    wanted = case.number("shutdown-timeout") or 0
    found = launch.around.grace or grace.default(launch.form)
    if found and wanted > found.seconds:
        why = f"it is killed after {found.seconds} s, and --shutdown-timeout lets requests take"
        fix = f"{found.name} of {wanted + MARGIN} s or more, or --shutdown-timeout below it"
        source = "documentation of compose, Kubernetes, podman and systemd"
        yield (
            found.name,
            found.value,
            Concern(Verdict.RISKY, f"{why} {wanted}", Known.READ, source, Shows.TRAFFIC, fix),
        )


def in_time(concern: Concern, launch: Launch) -> Concern:
    """A concern whose remedy lets requests end, with as much time as whoever stops it waits."""
    found = launch.around.grace
    if not (found and concern.remedies and DRAIN in concern.remedies[0].set):
        return concern
    least = min(int(concern.remedies[0].set[DRAIN]), found.seconds - MARGIN)
    if least <= 0 or str(least) == concern.remedies[0].set[DRAIN]:
        return concern
    remedy = replace(concern.remedies[0], set={DRAIN: str(least)})
    fix = f"--{DRAIN} {least} ({found.name} is {found.value})"
    return replace(concern, remedies=(remedy,), instead=fix)


def reached(concerns: Sequence[Concern], launch: Launch, within: Release) -> list[Concern]:
    """Concerns as they are where a container's network is its own; none of those that loopback
    helps against where its ports are published there alone.
    """
    if not launch.form.startswith((*INSIDE, "dockerfile")) or launch.shares == OF_HOST:
        return [*concerns]
    ports = launch.around.ports
    if ports and all(one.address and is_loopback(one.address) for one in ports):
        return [one for one in concerns if not is_of_loopback(one)]
    return [in_container(one, launch.form, ports, within) for one in concerns]


def _unreached(launch: Launch, case: Case) -> Iterator[Said]:
    """Ports and probes that do not lead to where the server listens."""
    engine = dialect(case.target.engine)
    told = case.value("port") or str(engine.port)
    host = case.value("host") or engine.host
    if not told.isdecimal() or (case.number("node-rank") or 0) > 0:  # others than the first are
        return  # not asked
    port, ports = int(told), launch.around.ports
    value = ", ".join(one.value for one in ports)
    if ports and not any(one.first <= port <= one.last for one in ports):
        why = f"reaches nobody: the server listens to port {port}"
        yield ports[0].name, value, _risky(why, f"--port {ports[0].first}, or publish {port}")
    elif ports and is_loopback(host) and launch.shares != OF_HOST:
        why = f"reaches nobody: the server listens to {host} of its container alone"
        yield ports[0].name, value, _risky(why, "--host 0.0.0.0, and a key")
    for probe in launch.around.probes:
        if probe.port is not None and probe.port != port:
            why = f"asks port {probe.port}, and the server listens to {port}: it never answers"
            yield probe.name, str(probe.port), _risky(why, f"port {port}, as --port says")


def _risky(why: str, fix: str) -> Concern:
    source = "how containers publish ports, and SGLang's defaults"
    return Concern(Verdict.RISKY, why, Known.READ, source, Shows.AFTER, fix)
