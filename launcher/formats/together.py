"""What several launches of one text are to each other: those of one network, and of one server on
several nodes. Pure.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from ipaddress import ip_address

from launcher.engines.engine import dialect
from launcher.formats.container import OF_HOST
from launcher.formats.launches import Launch

_MEETING = ("--dist-init-addr", "--master-addr")  # SGLang's, vLLM's
_UNMET = "unless both are of one host, they wait for each other in vain"


def noted(found: Sequence[Launch]) -> list[Launch]:
    """The launches, with what is to be said of those that do not go together."""
    return _at_one_place(_on_one_port([*found]))


def _on_one_port(found: list[Launch]) -> list[Launch]:
    """Launches that share a network, and would listen to one port of it: told of each."""
    at: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    for number, launch in enumerate(found):
        if launch.shares and not _is_of_many_hosts(launch):
            at[launch.shares, _port(launch)].append(number)
    for (shares, port), numbers in at.items():
        for number in numbers if len(numbers) > 1 and port.isdecimal() else []:
            others = ", ".join(_named(found[other]) for other in numbers if other != number)
            told = f"listens to port {port} of {shares}, as {others} does: only one of them can"
            found[number] = found[number].noting(told)
    return found


def _at_one_place(found: list[Launch]) -> list[Launch]:
    """The nodes of one server that would wait for each other at different addresses. Where a rank
    is told twice, there are several servers.
    """
    servers: defaultdict[tuple[str, ...], list[int]] = defaultdict(list)
    for number, launch in enumerate(found):
        if _value(launch, "--nnodes") not in ("", "1"):
            model = _value(launch, f"--{dialect(launch.engine).option_of('model_path')}")
            servers[launch.engine, model, _value(launch, "--nnodes")].append(number)
    for numbers in servers.values():
        ranks = [_value(found[number], "--node-rank") or "0" for number in numbers]
        first, *others = numbers
        for other in others if len({*ranks}) == len(ranks) else []:
            here, there = _meeting(found[other]), _meeting(found[first])
            if _differ(here, there):
                told = f"meets the other nodes at {here}, {_named(found[first])} at {there}"
                found[other] = found[other].noting(f"{told}: {_UNMET}")
    return found


def _meeting(launch: Launch) -> str:
    return next((said for name in _MEETING if (said := _value(launch, name))), "")


def _differ(one: str, other: str) -> bool:
    """Whether two addresses are told, and not one: their ports differ, or what both have as
    numbers. A name may be anybody's, and what only one's own host reaches the first node's.
    """
    hosts, ports = zip(*(said.rpartition(":")[::2] for said in (one, other)), strict=True)
    if all(port.isdecimal() for port in ports) and ports[0] != ports[1]:
        return True
    numbers = [_number(host or said) for host, said in zip(hosts, (one, other), strict=True)]
    return "" not in numbers and numbers[0] != numbers[1]


def _number(host: str) -> str:
    """An address that others can reach, where it is told as a number; else ""."""
    try:
        said = ip_address(host.strip("[]"))
    except ValueError:
        return ""
    return "" if said.is_unspecified or said.is_loopback else str(said)


def _named(launch: Launch) -> str:
    return launch.name or f"line {launch.line}"


def _is_of_many_hosts(launch: Launch) -> bool:
    return launch.shares == OF_HOST and _value(launch, "--nnodes") not in ("", "1")


def _port(launch: Launch) -> str:
    return _value(launch, "--port") or str(dialect(launch.engine).port)


def _value(launch: Launch, name: str) -> str:
    known = dialect(launch.engine).options
    givens = known.release(known.newest).given(launch.words)
    return next((one.values[0] for one in reversed(givens) if one.name == name and one.values), "")
