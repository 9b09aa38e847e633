"""What `doctor --deep` measured between GPUs: how it is kept, when it is not used, and what rules
make of it. Recorded figures in tests/data/fabric; none was measured by us on such GPUs.
"""

from __future__ import annotations

import json
import os
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from conftest import TESTS
from hypothesis import given
from hypothesis import strategies as st
from rig.healthy import host, plan
from rig.pcitree import Tree, build

from launcher.config.load import PlanRequest
from launcher.config.target import planned
from launcher.doctor import fabric_rank
from launcher.doctor.fabric_verdict import COPY, Proof, findings, measured
from launcher.engines.target import Target
from launcher.host.collectors import fabric
from launcher.host.facts import Function
from launcher.host.measured import DECODE, Measured, fingerprint, loads
from launcher.plan.findings import Severity
from launcher.plan.plan import Plan

RECORDED = {path.stem: loads(path.read_text()) for path in (TESTS / "data/fabric").glob("*.json")}
PUBLISHED, SLOWER, INTERLEAVED, BROKEN = (
    RECORDED[f"8xpro6000-{name}"] for name in ("published", "ipc-slower", "interleaved", "broken")
)
IPC = "SGLANG_ENABLE_PCIE_IPC_ALLREDUCE"
VLLM_IPC = "VLLM_ALLREDUCE_USE_FLASHINFER_PCIE_IPC"


def resolved(seen: Measured | None, profile: str = "8xpro6000", *words: str, **more: str) -> Plan:
    aim = Target(measured=seen, **more)  # type: ignore[arg-type]
    return planned(PlanRequest(profile, words), {"HOME": "/nowhere"}, aim)[0]


@pytest.mark.parametrize("name", RECORDED)
def test_a_recorded_measurement_says_where_it_is_from_and_comes_back_from_its_file(
    name: str,
) -> None:
    seen = RECORDED[name]

    assert loads(json.dumps(seen.to_json())) == seen
    assert "made for the tests" in seen.source or "not run by us" in seen.source


def test_the_crossover_is_the_last_size_that_is_faster_by_ipc() -> None:
    late = replace(PUBLISHED, ipc={**PUBLISHED.ipc, 393216: 1.0})

    assert (PUBLISHED.ipc_up_to, SLOWER.ipc_up_to, late.ipc_up_to) == (393216, 0, 98304)
    assert INTERLEAVED.ipc_up_to is None, "nobody measured it"


def test_the_order_joins_fast_links_to_a_ring_and_is_none_where_nothing_is_won() -> None:
    assert PUBLISHED.order == ()
    assert INTERLEAVED.order
    ring = (*INTERLEAVED.order, INTERLEAVED.order[0])
    slow = min(INTERLEAVED.copies[f"{a}->{b}"] for a, b in pairwise(ring))
    assert slow == 40
    assert replace(INTERLEAVED, copies={"0->1": 5.0}).order == (), "not every pair was measured"


@given(st.lists(st.floats(1, 100), min_size=12, max_size=12))
def test_an_order_has_every_gpu_once_and_a_faster_slowest_link(speeds: list[float]) -> None:
    pairs = [(a, b) for a in range(4) for b in range(4) if a != b]
    copies = {f"{a}->{b}": speed for (a, b), speed in zip(pairs, speeds, strict=True)}
    order = Measured("f", "2026-11-26", 4, "torch", copies=copies).order

    assert order == () or sorted(order) == [0, 1, 2, 3]
    assert order != (0, 1, 2, 3)


def test_rules_go_by_what_was_measured_and_say_so() -> None:
    before, fast, slow = (resolved(seen) for seen in (None, PUBLISHED, SLOWER))

    assert (before.env[IPC], fast.env[IPC], slow.env.get(IPC)) == ("1", "1", None)
    assert before.measured == ()
    assert "2026-11-26, fabric aaaaaaaaaaaa" in fast.measured[0]
    assert "205.1 us by NCCL, by PCIe IPC 5.3" in fast.measured[0]
    assert not [note for note in fast.notes if "measured" in note]
    assert [note for note in slow.notes if "contradicted, and not followed" in note]
    assert "PYTORCH_CUDA_ALLOC_CONF" in slow.env, "what could not stand beside it comes back"


def test_an_author_who_goes_against_a_measurement_is_told() -> None:
    made = resolved(SLOWER, "8xpro6000", f"env.{IPC}=1")

    assert made.env[IPC] == "1"
    assert [note for note in made.notes if "goes against what was measured" in note]


def test_vllm_takes_pcie_ipc_where_it_was_measured_to_be_faster_alone() -> None:
    got = [resolved(seen, "8xpro6000-vllm").env.get(VLLM_IPC) for seen in (None, PUBLISHED, SLOWER)]

    assert got == [None, "1", None]
    assert VLLM_IPC not in resolved(PUBLISHED, "8xpro6000-vllm", release="0.29.0").env


def test_where_a_copy_broke_nccl_goes_through_the_host() -> None:
    made = resolved(BROKEN)

    assert made.env["NCCL_P2P_DISABLE"] == "1"
    assert not {IPC, "NCCL_P2P_LEVEL", "CUDA_VISIBLE_DEVICES"} & {*made.env}
    against = resolved(BROKEN, "8xpro6000", "env.NCCL_P2P_DISABLE=0").notes
    assert [note for note in against if note.startswith("peer-to-peer is on, against")]


def test_a_faster_order_of_the_gpus_is_taken_and_an_authors_own_stands() -> None:
    made = resolved(INTERLEAVED)
    own = resolved(INTERLEAVED, "8xpro6000", "env.CUDA_VISIBLE_DEVICES=7,6,5,4,3,2,1,0")

    assert made.env["CUDA_VISIBLE_DEVICES"] == ",".join(map(str, INTERLEAVED.order))
    assert made.env["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
    assert own.env["CUDA_VISIBLE_DEVICES"].startswith("7,6")
    assert "CUDA_DEVICE_ORDER" not in own.env
    for seen in (None, PUBLISHED, SLOWER):
        assert "CUDA_VISIBLE_DEVICES" not in resolved(seen).env


def test_several_hosts_get_nothing_of_one_hosts_order() -> None:
    assert "CUDA_VISIBLE_DEVICES" not in resolved(INTERLEAVED, "2x8xpro6000").env


def test_a_measurement_is_kept_by_its_topology_and_a_stale_one_is_said(tmp_path: Path) -> None:
    environ = {"XDG_CACHE_HOME": str(tmp_path)}
    assert not fabric.has_any(environ)
    path = fabric.keep(environ, PUBLISHED)

    assert fabric.has_any(environ)
    assert fabric.kept(environ, PUBLISHED.fingerprint) == (PUBLISHED, "")
    found, why = fabric.kept(environ, "another")
    assert found is None
    assert "of other GPUs, slots or another driver, and not used" in why
    assert resolved(None, unmeasured=why).measured == (why,)
    path.write_text('{"schema": 2}')
    assert fabric.kept(environ, PUBLISHED.fingerprint)[1].endswith("another schema")
    assert fabric.kept({"XDG_CACHE_HOME": str(tmp_path / "no")}, "x") == (None, "")


def test_no_more_are_kept_than_topologies_that_a_host_may_have(tmp_path: Path) -> None:
    environ = {"XDG_CACHE_HOME": str(tmp_path)}
    for at in range(fabric.KEPT + 3):
        path = fabric.keep(environ, replace(PUBLISHED, fingerprint=f"{at:012}"))
        os.utime(path, (at, at))

    assert len([*fabric.folder(environ).glob("*")]) <= fabric.KEPT + 1


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": 1}', '{"schema": 1, "ranks": []}'])
def test_what_is_no_measurement_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"measurement|schema|Expecting"):
        loads(text)


def test_a_gpu_in_another_slot_or_another_driver_is_another_topology() -> None:
    gpu = Function("0000:17:00.0", "gpu", "10de:2bb5", ("0000:15:00.0",))
    bridge = Function("0000:15:00.0", "root port", "1022:14ab")
    one = fingerprint([gpu, bridge], "580.1")

    assert one == fingerprint([bridge, gpu], "580.1")
    assert (
        len({one, fingerprint([replace(gpu, above=())], "580.1"), fingerprint([gpu], "581")}) == 3
    )


def heard(*lines: str) -> Proof:
    proof = Proof()
    for line in lines:
        proof.hear(line)
    return proof


def done(name: str, seconds: float, wrong: str | None = None, ranks: int = 2) -> list[str]:
    told = [{"step": name, "rank": rank} for rank in range(ranks)]
    ends = [{**one, "done": True, "seconds": seconds, "wrong": wrong} for one in told]
    return [json.dumps(one) for one in (*told, *ends)]


def test_a_proof_becomes_a_measurement() -> None:
    proof = heard(
        *done("copy 0->1", COPY / 50e9, ranks=1),
        *done("copy 1->0", COPY / 40e9, wrong="other data came back", ranks=1),
        *done("path nccl 12288", 2e-4),
        *done("path ipc 12288", 5e-6),
        *done("path ipc 98304", 5e-6, wrong="not all of it is the sum, 3"),
    )
    seen = measured(proof, 2, "2026-11-26", "f")

    assert seen.copies == {"0->1": pytest.approx(50)}
    assert (seen.nccl, seen.ipc) == ({12288: 2e-4}, {12288: 5e-6})
    assert seen.broken == "copy from GPU 1 to 0 did not bring the data"


def of_paths(*lines: str, **env: str) -> tuple[Severity, str]:
    made = replace(plan(), env=plan().env | env)
    [found] = [
        one
        for one in findings(heard(*lines), 2, host(), made, "nccl", 30)
        if one.id == "deep-all-reduce-paths"
    ]
    return found.severity, found.evidence


def test_the_paths_of_an_all_reduce_are_judged_by_what_the_plan_uses() -> None:
    fast = (*done("path nccl 12288", 2e-4), *done("path ipc 12288", 5e-6))
    slow = (*done("path nccl 12288", 5e-6), *done("path ipc 12288", 2e-4))
    missing = (*done("path nccl 12288", 5e-6), '{"no_ipc": "ImportError: no pcie_ipc_comm"}')
    bad = (*done("path nccl 12288", 2e-4), *done("path ipc 12288", 5e-6, "not the sum"))

    assert of_paths(*fast, **{IPC: "1"})[0] is Severity.OK
    assert of_paths(*slow, **{IPC: "1"})[0] is Severity.WARN
    assert of_paths(*slow, **{IPC: "0"})[0] is Severity.OK
    assert of_paths(*missing) == (
        Severity.UNKNOWN,
        "PCIe IPC not measured: ImportError: no pcie_ipc_comm",
    )
    assert of_paths(*bad, **{IPC: "1"})[0] is Severity.FAIL
    assert of_paths(*bad, **{IPC: "0"})[0] is Severity.UNKNOWN
    assert "all-reduce of 12 KiB by PCIe IPC on rank 0: not the sum" in of_paths(*bad)[1]


def test_sizes_are_those_of_decoding() -> None:
    assert fabric_rank.ROWS[0] * fabric_rank.ROW * 2 == DECODE


def test_a_hosts_own_fingerprint_follows_its_tree(tmp_path: Path) -> None:
    one, two = (build(tmp_path / name, Tree(gpus=count)) for name, count in (("a", 8), ("b", 4)))

    assert len(fabric.here(one)) == 12
    assert fabric.here(one) != fabric.here(two)
    assert fabric.here(tmp_path) == "", "no GPU, nothing to know it by"
