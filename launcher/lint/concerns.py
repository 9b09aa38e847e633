"""What can be said of one flag or variable of somebody's command: the words of `lint`, and what it
guesses where doctor asks the host.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from launcher.engines.engine import dialect
from launcher.engines.issues import Issue, Shows
from launcher.engines.match import Case
from launcher.engines.options import Release
from launcher.engines.remedy import Remedy, any_of, for_command
from launcher.knowledge import nccl
from launcher.plan.evidence import Known

if TYPE_CHECKING:
    from launcher.formats.around import Port  # which reads YAML

LOOPBACK = Remedy(set={"host": "127.0.0.1"})
KEY = Remedy(text="a key (`up --api-key-file`)")


class Verdict(StrEnum):
    """What becomes of a flag or variable, mildest first."""

    FINE = "fine"
    ABBREVIATED = "abbreviated"
    NEEDLESS = "needless"
    INERT = "inert"
    DEPRECATED = "deprecated"
    RISKY = "risky"
    CONFLICTS = "conflicts"
    BREAKS = "breaks"
    WRONG = "wrong value"  # from here on the arguments are refused: it does not come to the rest
    AMBIGUOUS = "ambiguous"
    REMOVED = "removed"
    UNKNOWN = "unknown"

    @property
    def rank(self) -> int:
        """Its place in that order."""
        return _RANKS[self]

    @property
    def says_no(self) -> bool:
        """Whether a server with it will not run, or not correctly."""
        return self.rank >= Verdict.CONFLICTS.rank

    @property
    def is_refused(self) -> bool:
        """Whether the release's parser ends with a usage message."""
        return self.rank >= Verdict.WRONG.rank


_RANKS = {verdict: rank for rank, verdict in enumerate(Verdict)}


@dataclass(frozen=True)
class Concern:
    """One thing to say about a flag or variable.

    `instead` is what to do, in words; `remedies` the same as data, any of which helps; `id` that of
    the issue, if it is one.
    """

    verdict: Verdict
    why: str
    known: Known
    source: str
    when: Shows | None = None
    instead: str | None = None
    remedies: tuple[Remedy, ...] = ()
    id: str | None = None
    advisory: str = ""  # that it tells of, "CVE-2026-1"

    @property
    def keeps_down(self) -> bool:
        """Whether a server with it would not start."""
        early = self.when in (Shows.PARSE, Shows.LOAD, Shows.AFTER)
        return self.verdict.is_refused or (self.verdict is Verdict.BREAKS and early)


def ranked(concerns: Iterable[Concern]) -> list[Concern]:
    """The worst first."""
    return sorted(concerns, key=lambda concern: -concern.verdict.rank)


def by_remedy(concerns: Iterable[Concern]) -> list[tuple[str, list[Concern]]]:
    """What to do, and what is said that it helps against, in the order given; "" for what nobody
    knows a remedy for.
    """
    told: dict[str, list[Concern]] = {}
    for concern in concerns:
        told.setdefault(concern.instead or "", []).append(concern)
    return [*told.items()]


def of_issue(issue: Issue, within: Release) -> Concern:
    """What doctor calls an issue, said of a command for a release."""
    return Concern(
        Verdict(issue.severity.value),
        f"{issue.advisory}: {issue.what}" if issue.advisory else issue.what,
        issue.known,
        issue.source,
        issue.shows,
        any_of(issue.remedies, lambda remedy: for_command(remedy, within)),
        issue.remedies,
        issue.id,
        issue.advisory,
    )


def guesses(case: Case, unknown: frozenset[str]) -> Iterator[tuple[str, Concern]]:
    """What doctor judges by the host's facts (access-guarded, nccl-p2p-level, nccl-infiniband), by
    the command alone: the flag or variable, and what to say of it; nothing of a key where `unknown`
    says that nobody knows whether it is `keyed`.
    """
    if "keyed" not in unknown:
        yield from _reached(case)
    level = nccl.level(case.env.get("NCCL_P2P_LEVEL", ""))
    wide = case.target.arch == "sm120" and case.gpus > 1 and "no-p2p" not in case.traits
    if wide and level not in (None, "SYS"):
        yield "NCCL_P2P_LEVEL", _short_level(case.env["NCCL_P2P_LEVEL"])
    alone = "one-node" in case.traits and case.target.infiniband is False
    if alone and nccl.is_number(case.env.get("NCCL_IB_DISABLE", "")):
        yield "NCCL_IB_DISABLE", _no_infiniband()


def _reached(case: Case) -> Iterator[tuple[str, Concern]]:
    """What no key guards where others than this host reach it."""
    engine = dialect(case.target.engine)
    name = "host" if case.value("host") is not None else engine.option_of("model_path")
    host = case.value("host") or engine.host
    if "reachable" in case.traits and "keyed" not in case.traits:
        why = f"{host} without a key is open to the network, with {engine.serves}"
        yield name, _open(why, KEY, replace(LOOPBACK, text="others then come by a proxy"))
    elif "reachable" in case.traits and engine.unguarded:
        why = f"{host} is open to the network, and the key does not guard {engine.unguarded}"
        yield name, _open(why, replace(LOOPBACK, text="behind a proxy that lets /v1 alone through"))


def _open(why: str, *remedies: Remedy) -> Concern:
    source = "the engine's routes, and what asks for the key; `up` refuses it"
    fix = any_of(remedies, _of_host)
    return Concern(Verdict.RISKY, why, Known.READ, source, Shows.AFTER, fix, remedies)


def _of_host(remedy: Remedy) -> str:
    return f"{remedy.set['host']}, {remedy.text}" if remedy.set else remedy.text


def in_container(concern: Concern, form: str, ports: Sequence[Port], within: Release) -> Concern:
    """A concern where the network is the container's own. Loopback in it is nobody's but its own:
    what helps there is to publish the port on the host's loopback, and in a pod, which has no such
    thing, a NetworkPolicy.
    """
    if not is_of_loopback(concern):
        return concern
    kept = [one for one in concern.remedies if not _is_loopback(one)]
    told = [one.text for one in concern.remedies if _is_loopback(one) and one.text]
    if form.startswith("kubernetes"):
        instead = Remedy(text="a NetworkPolicy that lets in a proxy alone")
    else:
        beside = f" ({told[0]})" if told else ""
        instead = Remedy(text=f"{_published(form, ports)}{beside}")
    made = (*kept, instead)
    fix = any_of(made, lambda remedy: for_command(remedy, within))
    return replace(concern, instead=fix, remedies=made)


def in_image(concern: Concern, within: Release) -> Concern:
    """A concern of what an image brings: another release is another image."""
    if not any(one.release for one in concern.remedies):
        return concern
    made = tuple(replace(one, is_image=bool(one.release)) for one in concern.remedies)
    fix = any_of(made, lambda remedy: for_command(remedy, within))
    return replace(concern, instead=fix, remedies=made)


def is_of_loopback(concern: Concern) -> bool:
    """Whether to listen to loopback alone is what helps."""
    return any(map(_is_loopback, concern.remedies))


def _is_loopback(remedy: Remedy) -> bool:
    return remedy.set.get("host") == LOOPBACK.set["host"]


def _published(form: str, ports: Sequence[Port]) -> str:
    """How the container's form publishes its first port to its host alone."""
    inner = str(ports[0].first) if ports else "PORT"
    told = ports[0].value.rsplit(":", 2) if ports else [inner]
    outer = told[-2] if len(told) > 1 and told[-2].isdecimal() else inner
    local = f"127.0.0.1:{outer}:{inner}"
    if form.startswith("compose"):
        return f'ports: "{local}"'
    return f"PublishPort={local}" if form.startswith("quadlet") else f"-p {local}"


def _short_level(value: str) -> Concern:
    why = f"{value} cuts peer-to-peer between sockets: these pairs go through host memory"
    fix = "NCCL_P2P_LEVEL=SYS on two sockets"
    source = "rtx6kpro, GKE recipes; NCCL's paths.cc (source)"
    return Concern(Verdict.RISKY, why, Known.REPORTED, source, Shows.TRAFFIC, fix)


def _no_infiniband() -> Concern:
    why = "does nothing here: the host of these facts has no InfiniBand card"
    return Concern(Verdict.INERT, why, Known.READ, "NCCL's net_ib", instead="leave it out")
