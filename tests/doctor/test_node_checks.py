"""What doctor says of a host that shall be a node of several."""

from __future__ import annotations

from typing import Any

import pytest
from rig.healthy import having, host, plan, with_variables

from launcher.doctor.checks import judge
from launcher.host.facts import Host, Interface
from launcher.plan.findings import Severity

WARN, FAIL = Severity.WARN, Severity.FAIL
H = host()
TWO = ('nodes.hosts=["10.0.0.1", "10.0.0.2"]', "flags.host=false")
SECOND = (*TWO, "nodes.rank=1")
BY_HAND = ("flags.nnodes=2", "flags.dist-init-addr=10.0.0.1:20000")
# check -> how bad, the host, what the evidence must name, settings of the plan
ROWS: list[tuple[str, Severity, Host, str, tuple[str, ...]]] = [
    (
        "node-address",
        FAIL,
        H,
        "node 1 is 10.0.0.2; this host has eno1 192.0.2.5, eth1 10.0.0.1",
        SECOND,
    ),
    (
        "node-address",
        FAIL,
        H,
        "10.0.0.1 is on eth1, the profile names eth2",
        (*TWO, "nodes.interface=eth2"),
    ),
    (
        "node-address",
        FAIL,
        having(H, system__networks=(Interface("eth1", ("10.0.0.1",)),)),
        "eth1 with 10.0.0.1 is down",
        TWO,
    ),
    (
        "node-network",
        FAIL,
        H,
        "the default route's 192.0.2.5; the network between them is of 10.0.0.1",
        TWO,
    ),
    (
        "node-network",
        FAIL,
        with_variables(H, SGLANG_HOST_IP="10.0.0.9"),
        "SGLANG_HOST_IP=10.0.0.9",
        TWO,
    ),
    ("node-network", WARN, H, "SGLANG_HOST_IP is not set, and this host has eno1", BY_HAND),
    ("node-network", FAIL, with_variables(H, GLOO_SOCKET_IFNAME="eth1"), "is of 10.0.0.1", BY_HAND),
    (
        "node-network",
        FAIL,
        with_variables(H, SGLANG_HOST_IP="10.0.0.9"),
        "this host has eno1",
        BY_HAND,
    ),
    (
        "node-network",
        FAIL,
        having(H, system__outward=None, system__networks=()),
        "no default route",
        BY_HAND,
    ),
    (
        "node-rendezvous",
        FAIL,
        having(H, system__rendezvous_obstacle="10.0.0.1 port 20000 is in use by pid 7"),
        "in use",
        TWO,
    ),
    (
        "node-rendezvous",
        FAIL,
        having(H, system__rendezvous_obstacle="10.0.0.1 port 20000 is not reached: no answer"),
        "not reached",
        SECOND,
    ),
    ("node-stages", WARN, H, "1 pipeline stages over 2 hosts", TWO),
]


@pytest.mark.parametrize(
    ("why", "fix"),
    [
        ("10.0.0.1 port 20000 is in use by pid 7", "stop that process"),
        ("10.0.0.1 port 80 is for privileged users", "a port from 1024 on"),
        ("cannot listen on 10.0.0.1 port 20000: Cannot assign requested address", "nodes.rank=N"),
    ],
)
def test_a_rendezvous_is_put_right_by_what_is_wrong_with_it(why: str, fix: str) -> None:
    (found,) = judge(
        having(H, system__rendezvous_obstacle=why), plan(*TWO), only=["node-rendezvous"]
    )

    assert fix in found.fix
    assert ("process" in found.fix) is ("in use" in why)


@pytest.mark.parametrize(("id", "severity", "seen", "names", "words"), ROWS)
def test_one_thing_that_is_wrong_with_a_node_is_named(
    id: str, severity: Severity, seen: Host, names: str, words: tuple[str, ...]
) -> None:
    (found,) = judge(seen, plan(*words), only=[id])

    assert found.severity is severity
    assert names in found.evidence
    assert found.fix


def with_own_address(words: tuple[str, ...], **more: Any) -> Host:
    return with_variables(having(H, **more), **dict(plan(*words).env))


def test_a_node_that_is_told_its_address_is_well() -> None:
    found = judge(with_own_address(TWO), plan(*TWO, "flags.pp-size=2"))

    nodes = {one.id: one.severity for one in found if one.id.startswith("node-")}
    assert nodes == dict.fromkeys(nodes, Severity.OK)
    assert len(nodes) == 4


def test_one_network_is_the_network_between_them() -> None:
    alone = having(
        H,
        system__networks=(Interface("eth1", ("10.0.0.1",), 1500, True),),
        system__outward="10.0.0.1",
    )

    (found,) = judge(alone, plan(*BY_HAND), only=["node-network"])
    assert found.severity is Severity.OK


def test_a_plan_for_one_host_is_not_judged_for_its_nodes() -> None:
    assert not [one for one in judge(H, plan()) if one.id.startswith("node-")]


def test_of_a_command_that_names_no_addresses_they_are_unknown() -> None:
    (found,) = judge(H, plan(*BY_HAND), only=["node-address"])

    assert found.severity is Severity.UNKNOWN
