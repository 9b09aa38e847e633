"""What stands around a server's command and decides over it: the GPUs that its container or job
gets, the ports that are published, the probes that ask it, and what is mounted there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from launcher.formats import directives, grace, mounts
from launcher.formats.claims import Claim
from launcher.formats.directives import Directives
from launcher.formats.grace import Grace
from launcher.formats.mounts import Mounts
from launcher.formats.nodes import List, Node, Scalar, Table
from launcher.formats.yamltext import get, of, word
from launcher.knowledge.gpu_names import Named

GPU = "nvidia.com/gpu"  # as Kubernetes and CDI call the resource
PUBLISHED = re.compile(r"(?:.*:)?(\d{1,5})(?:-(\d{1,5}))?(?:/tcp)?", re.DOTALL)
ASKED = re.compile(r"\b(?:localhost|127\.0\.0\.1|0\.0\.0\.0):(\d{1,5})\b")
SLURM = re.compile(r"--(?:gres=gpu(?::[a-z]\w*)?:|gpus-per-node=(?:[a-z]\w*:)?)(\d{1,4})\b")
PROBES = ("livenessProbe", "readinessProbe", "startupProbe")


@dataclass(frozen=True)
class Gpus:
    """How many GPUs it gets, and the words that say so."""

    count: int
    name: str
    value: str


@dataclass(frozen=True)
class Port:
    """A published port: the first and last number inside the container, the words, and the
    address of the host where it is; "" for all of them.
    """

    first: int
    last: int
    name: str
    value: str
    address: str = ""


@dataclass(frozen=True)
class Probe:
    """A question to the server; `seconds` until it is killed for no answer, None: it is not."""

    name: str
    port: int | None = None  # None: not told
    seconds: int | None = None


@dataclass(frozen=True)
class Around:
    """All of it; empty where nothing is said, or it cannot be read."""

    gpus: Gpus | None = None
    ports: tuple[Port, ...] = ()
    probes: tuple[Probe, ...] = ()
    mounts: Mounts = field(default_factory=dict)
    grace: Grace | None = None  # until it is killed, once it is told to stop
    products: tuple[str, ...] = ()  # of GPUs that its node may have, as gpus.toml calls them
    named: tuple[Named, ...] = ()  # GPUs that its text names anywhere
    directives: Directives = field(default_factory=Directives)


def of_docker(options: Sequence[tuple[str, str]], *, on_host: bool) -> Around:
    """By the options of `docker run`, `on_host` in the network of the host."""
    ports = [value for name, value in options if name in ("p", "publish")]
    published = () if on_host else _published([(ports_of(one, "-p"), one) for one in ports])
    stops = [value for name, value in options if name == "stop-timeout"]
    return Around(
        _docker_gpus(options),
        published,
        mounts=mounts.of_options(options),
        grace=grace.said("--stop-timeout", stops[-1]) if stops else None,
        directives=directives.of_docker(options),
    )


def _docker_gpus(options: Sequence[tuple[str, str]]) -> Gpus | None:
    named = [value for name, value in options if name == "gpus"]
    cdi = [value for name, value in options if name == "device" and value.startswith(f"{GPU}=")]
    if named:
        count = _of_request(named[-1].strip("\"'"))
        return None if count is None else Gpus(count, "--gpus", named[-1])
    if cdi and not any(one.endswith("=all") for one in cdi):
        return Gpus(len(set(cdi)), "--device", " ".join(cdi))
    return None


def _of_request(text: str) -> int | None:
    """`2`, `count=2` or `device=0,1`; None for `all`."""
    if text.startswith("device="):
        return len(set(text.removeprefix("device=").split(",")))
    count = text.removeprefix("count=").partition(",")[0]
    return int(count) if count.isdecimal() and len(count) < 5 else None


def of_slurm(text: str) -> Gpus | None:
    """By the options of `sbatch` or `srun` for a node, the last of them."""
    found = [*SLURM.finditer(text)]
    if not found:
        return None
    name, _, value = found[-1][0].partition("=")
    return Gpus(int(found[-1][1]), name, value)


def of_tables(
    tables: Sequence[Table],
    above: Sequence[Table],
    claim: Claim | None,
    *,
    on_host: bool,
) -> Around:
    """By the tables of a service of compose, or of a container of Kubernetes, and those above;
    `claim` has the GPUs that a pod claims for it.
    """
    listed = of(tables, "ports")
    items = listed.items if isinstance(listed, List) else []
    made = [_of_item(item) for item in items]
    named = {word(get(item, "name")): _number(get(item, "containerPort")) for item in items}
    return Around(
        _limit(of(tables, "resources")) or _claimed(claim) or _reserved(tables),
        () if on_host else _published(made),
        (*_probes(tables, named), *_healthcheck(of(tables, "healthcheck"))),
        mounts.of_tables(tables, above),
        grace.of_tables(tables, above),
        directives=directives.of_tables(tables),
    )


def _published(told: Sequence[tuple[Port | None, str]]) -> tuple[Port, ...]:
    """The ports; none where one of them cannot be read."""
    known = tuple(port for port, _ in told if port)
    return known if len(known) == len(told) else ()


def ports_of(text: str, name: str) -> Port | None:
    """`8000:30000` as compose and `docker run` write it; None for what is not known here."""
    found = PUBLISHED.fullmatch(text)
    if not found:
        return None
    before = text.rpartition(":")[0]
    address = before.rpartition(":")[0].strip("[]")
    return Port(int(found[1]), int(found[2] or found[1]), name, text, address)


def _of_item(item: Node) -> tuple[Port | None, str]:
    if isinstance(item, Scalar):
        return ports_of(item.value, "ports"), item.value
    for key in ("containerPort", "target"):
        if (number := _number(get(item, key))) is not None:
            address = word(get(item, "host_ip")) or ""
            return Port(number, number, key, str(number), address), ""
    return None, ""


def _limit(resources: Node | None) -> Gpus | None:
    for key in ("limits", "requests"):
        count = _number(get(get(resources, key), GPU))
        if count is not None:
            return Gpus(count, GPU, str(count))
    return None


def _claimed(claim: Claim | None) -> Gpus | None:
    return Gpus(claim.gpus, "resourceClaims", str(claim.gpus)) if claim else None


def _reserved(tables: Sequence[Table]) -> Gpus | None:
    """The devices that a service of compose reserves, or its `gpus`."""
    reserved = get(get(of(tables, "deploy"), "resources"), "reservations")
    lists = [one for one in (get(reserved, "devices"), of(tables, "gpus")) if isinstance(one, List)]
    asked = [item for one in lists for item in one.items if _is_of_gpus(item)]
    for item in asked if len(asked) == 1 else []:
        ids, count = get(item, "device_ids"), _number(get(item, "count"))
        if isinstance(ids, List) and all(isinstance(one, Scalar) for one in ids.items):
            return Gpus(len(ids.items), "device_ids", ", ".join(map(word, ids.items)))
        if count is not None:
            return Gpus(count, "count", str(count))
    return None


def _is_of_gpus(item: Node) -> bool:
    able = get(item, "capabilities")
    named = [word(one) for one in able.items] if isinstance(able, List) else []
    return word(get(item, "driver")) in ("", "nvidia") and (not named or "gpu" in named)


def _probes(tables: Sequence[Table], named: dict[str, int | None]) -> Iterator[Probe]:
    starts = of(tables, "startupprobe") is not None
    for name in PROBES:
        node = of(tables, name.lower())
        if not isinstance(node, Table):
            continue
        kills = name == "startupProbe" or (name == "livenessProbe" and not starts)
        yield Probe(name, _port(node, named), _seconds(node) if kills else None)


def _port(node: Table, named: dict[str, int | None]) -> int | None:
    asked = get(node, "httpGet") or get(node, "tcpSocket")
    port = get(asked, "port")
    if port is not None:
        return _number(port) or named.get(word(port))
    return _asked(get(get(node, "exec"), "command"))


def _seconds(node: Table) -> int | None:
    """How long a server may not answer; Kubernetes' defaults are 0, 3 and 10."""
    keys = {"initialDelaySeconds": 0, "failureThreshold": 3, "periodSeconds": 10}
    told = [(get(node, key), default) for key, default in keys.items()]
    numbers = [default if one is None else _number(one) for one, default in told]
    delay, failures, period = numbers
    if delay is None or failures is None or period is None:
        return None
    return delay + failures * period


def _healthcheck(node: Node | None) -> Iterator[Probe]:
    """That of compose, which kills nothing."""
    port = _asked(get(node, "test"))
    if port is not None:
        yield Probe("healthcheck", port)


def _asked(command: Node | None) -> int | None:
    """The port of this host that a command asks; None where it is not one."""
    words = [*map(word, command.items)] if isinstance(command, List) else [word(command)]
    found = {int(port) for one in words for port in ASKED.findall(one)}
    return found.pop() if len(found) == 1 else None


def _number(node: Node | None) -> int | None:
    text = word(node)
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 8 else None
