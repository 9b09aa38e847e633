"""One model over several hosts: what each of them is told, for either engine."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.config.layers import PACKAGED
from launcher.config.load import PlanRequest, load
from launcher.config.resolve import resolve
from launcher.engines.target import Target
from launcher.errors import UserError
from launcher.plan.plan import Plan, for_node, from_json, to_json

TWO = ('nodes.hosts=["10.0.0.1", "10.0.0.2"]', "flags.host=false")
GPUS = {"8xpro6000": "flags.pp-size=2", "8xpro6000-vllm": "flags.pipeline-parallel-size=2"}


def plan(*settings: str, profile: str = "8xpro6000", **target: object) -> Plan:
    ask = PlanRequest(str(PACKAGED / f"{profile}.toml"), settings)
    aim = Target(**target)  # type: ignore[arg-type]
    return resolve(load(ask, {"HOME": "/home/op"}), ask, Path("/state"), {}, aim)


def two(profile: str = "8xpro6000", *settings: str, **target: object) -> Plan:
    return plan(*TWO, GPUS[profile], *settings, profile=profile, **target)


def refusal(*settings: str) -> str:
    with pytest.raises(UserError) as refused:
        plan(*settings)
    return refused.value.what


def test_sglang_is_told_how_many_nodes_which_one_it_is_and_where_they_meet() -> None:
    made = two("8xpro6000", "nodes.interface=eth1", "nodes.rank=1", release="0.5.23")

    words = " ".join(made.arguments)
    assert "--nnodes 2 --dist-init-addr 10.0.0.1:20000 --dist-timeout 300" in words
    assert words.endswith("--node-rank 1 --host 10.0.0.2")
    assert made.env["SGLANG_HOST_IP"] == "10.0.0.2"
    assert made.env["GLOO_SOCKET_IFNAME"] == "eth1"
    assert made.env["NCCL_SOCKET_IFNAME"] == "=eth1", "this very name, not those that begin so"


def test_a_follower_of_vllm_answers_nobody() -> None:
    lead = two("8xpro6000-vllm", release="0.33.0")
    follower = for_node(lead, 1)

    assert "--master-addr 10.0.0.1 --master-port 20000" in " ".join(follower.arguments)
    assert ("--headless" in lead.arguments, "--headless" in follower.arguments) == (False, True)
    assert follower.env["VLLM_HOST_IP"] == "10.0.0.2"


def test_what_a_release_does_not_have_yet_is_left_out() -> None:
    assert "--distributed-timeout-seconds" in two("8xpro6000-vllm", release="0.19.1").arguments
    assert "--distributed-timeout-seconds" not in two("8xpro6000-vllm", release="0.16.0").arguments


@pytest.mark.parametrize("profile", GPUS)
def test_what_is_right_for_one_host_is_kept_on_each_of_two(profile: str) -> None:
    """Without what would keep NCCL off the network between them, or is for one host alone."""
    one, many = plan(profile=profile), two(profile)

    kept = ("NCCL_P2P_LEVEL", "NCCL_MIN_NCHANNELS", "OMP_NUM_THREADS")
    assert {name: many.env.get(name) for name in kept} == {name: one.env.get(name) for name in kept}
    assert many.env.keys().isdisjoint({"NCCL_IB_DISABLE", "SGLANG_ENABLE_PCIE_IPC_ALLREDUCE"})
    assert many.gpus == one.gpus == 8, "on each host"


@pytest.mark.parametrize("profile", GPUS)
def test_one_host_has_nothing_of_several(profile: str) -> None:
    made = plan(profile=profile)

    assert (made.nodes, made.node, made.follows) == ((), None, False)
    assert made.flag("nnodes", "dist-init-addr", "master-addr", "node-rank") is None
    assert made.env.keys().isdisjoint({"SGLANG_HOST_IP", "VLLM_HOST_IP", "GLOO_SOCKET_IFNAME"})


@pytest.mark.parametrize("profile", GPUS)
@given(st.lists(st.integers(0, 2), min_size=1, max_size=4))
def test_the_plan_of_a_node_is_the_same_however_one_comes_to_it(
    profile: str, ranks: list[int]
) -> None:
    hosts = 'nodes.hosts=["10.0.0.1", "10.0.0.2", "10.0.0.3"]'
    words = (hosts, "flags.host=false", GPUS[profile])
    told = plan(*words, f"nodes.rank={ranks[-1]}", profile=profile)

    made = plan(*words, profile=profile)
    for rank in ranks:
        made = for_node(made, rank)
    assert replace(made, notes=()) == replace(told, notes=(), words=made.words)
    assert made.words["settings"][-1] == f"nodes.rank={ranks[-1]}"


def test_a_plan_over_nodes_goes_to_a_file_and_back() -> None:
    made = for_node(two(), 1)

    assert from_json(json.loads(json.dumps(to_json(made)))) == made


def test_each_value_of_a_node_has_its_reason() -> None:
    made = two("8xpro6000", "nodes.interface=eth1", 'nodes.hca=["mlx5_0"]', "nodes.gid_index=3")

    names = {setting.name for setting in made.settings}
    assert {*made.env} <= names
    assert made.env["NCCL_IB_HCA"] == "mlx5_0"
    assert made.env["NCCL_IB_GID_INDEX"] == "3"
    reasons = {one.name: one.why for one in made.settings}
    assert all("no reason" not in reasons[name] for name in made.node.env if made.node)  # type: ignore[union-attr]
    assert "no reason" not in reasons["--nnodes"] + reasons["NCCL_IB_HCA"]


def test_the_interface_is_the_one_that_has_the_address_where_none_is_named() -> None:
    here = two("8xpro6000", addresses={"10.0.0.1": "enp1s0", "192.0.2.9": "eno1"})

    assert here.env["GLOO_SOCKET_IFNAME"] == "enp1s0"
    assert "GLOO_SOCKET_IFNAME" not in for_node(here, 1).env
    elsewhere = two("8xpro6000", "nodes.rank=1", addresses={"10.0.0.1": "enp1s0"})
    assert any("no interface with 10.0.0.2 is seen here" in note for note in elsewhere.notes)


def test_an_address_is_that_of_an_interface_however_it_is_spelled() -> None:
    words = ('nodes.hosts=["FD00:0:0::A", "fd00::b"]', "flags.host=false", GPUS["8xpro6000"])
    made = plan(*words, addresses={"fd00::a": "enp1s0"})

    assert made.nodes[0].address == "fd00::a"
    assert made.env["GLOO_SOCKET_IFNAME"] == "enp1s0"
    assert "[fd00::a]:20000" in made.arguments


def test_the_start_waits_for_the_others_as_long_as_the_engine_does() -> None:
    assert plan().policy.stall_timeouts.distributed == 90
    made = two("8xpro6000", "nodes.dist_timeout=600", "nodes.follower_timeout=45").policy
    assert made.stall_timeouts.distributed > 600
    assert made.follower_timeout == 45


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (('nodes.hosts=["10.0.0.1"]',), "nodes.hosts: "),
        (("nodes.interface=eth1",), "nodes.hosts: is required"),
        (('nodes.hosts=["10.0.0.1", "10.0.0.1"]', TWO[1]), "10.0.0.1 is there twice"),
        (('nodes.hosts=["gpu1", "10.0.0.1"]',), "the address by which the other hosts reach it"),
        (('nodes.hosts=["127.0.0.1", "10.0.0.1"]',), "the address by which the other hosts"),
        (('nodes.hosts=["0.0.0.0", "10.0.0.1"]',), "the address by which the other hosts"),
        ((*TWO, "nodes.rank=2"), "no node 2; nodes.hosts has 0 (10.0.0.1), 1 (10.0.0.2)"),
        ((*TWO, "nodes.interfce=e"), "did you mean interface?"),
        ((*TWO, "flags.nnodes=2"), "flags.nnodes: [nodes] says it"),
        ((*TWO, "flags.node-rank=1"), "flags.node-rank: [nodes] says it"),
        ((*TWO, "env.SGLANG_HOST_IP=10.0.0.1"), "env.SGLANG_HOST_IP: [nodes] says it"),
        (("nodes.port=8000", "flags.port=8000", *TWO), "8000 is flags.port, too"),
        (("flags.nccl-port=20000", *TWO), "20000 is flags.nccl-port, too"),
        (("flags.nccl-port='20000'", *TWO), "20000 is flags.nccl-port, too"),
        (("access.health_listen=[::]:20000", *TWO), "20000 is access.health_listen, too"),
        (TWO[:1], "flags.host: 127.0.0.1 is reached by no other node"),
    ],
)
def test_what_is_wrong_with_the_hosts_is_one_message(settings: tuple[str, ...], told: str) -> None:
    said = refusal(*settings)

    assert told in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("hosts", "told"),
    [
        (("fd00::1", "fd00:0:0::1"), "fd00::1 is there twice"),
        (("FD00::A", "fd00::a"), "fd00::a is there twice"),
        (("10.0.0.1", "::ffff:10.0.0.1"), "10.0.0.1 is there twice"),
        (("10.0.0.1", "224.0.0.1"), "224.0.0.1 is the address of no host"),
        (("ff02::1", "fd00::1"), "ff02::1 is the address of no host"),
        (("10.0.0.1", "255.255.255.255"), "255.255.255.255 is the address of no host"),
        (("fe80::1", "fd00::1"), "fe80::1 leads nowhere without an interface"),
        (("10.0.0.1", "fd00::1"), "10.0.0.1 is IPv4, fd00::1 is IPv6"),
    ],
)
def test_hosts_are_compared_as_addresses_and_each_is_one(hosts: list[str], told: str) -> None:
    assert told in refusal(f"nodes.hosts={json.dumps(hosts)}", "flags.host=false")


@pytest.mark.parametrize(
    "hosts",
    [("fd00::1", "fd00::2"), ("fe80::1%e0", "fe80::1%e1"), ("169.254.0.1", "10.0.0.1")],
)
def test_addresses_that_may_lead_to_hosts_are_taken(hosts: list[str]) -> None:
    assert len(plan(f"nodes.hosts={json.dumps(hosts)}", *TWO[1:], GPUS["8xpro6000"]).nodes) == 2


def test_a_profile_of_one_host_has_no_nodes() -> None:
    assert refusal("nodes.rank=1") == "profile 8xpro6000 is of one host, and has no node 1"


def test_two_hosts_of_one_name_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text(
        '[flags]\nmodel-path = "m"\nhost = "0.0.0.0"\n[nodes]\nhosts = ['
        '{address = "10.0.0.1", name = "a"}, {address = "10.0.0.2", name = "a", interface = "e1"}]'
    )

    with pytest.raises(UserError, match="two hosts are called a"):
        load(PlanRequest(str(path)), {"HOME": "/home/op"})


@pytest.mark.parametrize("name", ["2x8xpro6000", "2x8xb200"])
def test_the_packaged_ones_keep_tensor_parallelism_within_a_host(name: str) -> None:
    made = plan(profile=name)

    assert (made.flag("tp-size"), made.flag("pp-size"), len(made.nodes)) == ("8", "2", 2)
    assert made.gpus == 8
