"""`doctor --deep`: ranks of the real torch over gloo that hang, die and answer wrongly, and what is
said.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from conftest import ENGINE, GLM5_SERVE, TESTS, next_line, until
from rig.healthy import having, host, plan, with_function, with_gpus

from launcher.doctor import fabric_rank, fabric_verdict
from launcher.doctor.checks import LIVE
from launcher.doctor.fabric import deep
from launcher.doctor.fabric_verdict import Proof, findings, likely
from launcher.errors import UserError
from launcher.host.facts import Host, Process
from launcher.plan.findings import Finding, Severity

OK, WARN, UNKNOWN, FAIL = Severity
MARK = str(os.getpid())  # other workers prove other things beside this one
TRANSLATED = with_function(host(), "0000:17:00.0", iommu_type="DMA-FQ")


def run(
    python: Path | str,
    ranks: int = 2,
    fault: str = "",
    deadline: float = 3.0,
    seen: Host | None = None,
) -> Any:
    """The findings of one proof by their ids, and the steps that were told."""
    told: list[str] = []
    asked = replace(plan(), program=(str(python), *plan().program[1:]))
    environ = {**os.environ, "GLM5_DEEP_FAULT": fault, "GLM5_DEEP_TEST": MARK}
    found = deep(
        asked, ranks, seen or host(), environ, backend="gloo", deadline=deadline, tell=told.append
    )
    assert not left(), "a rank outlived its proof"
    return {one.id: one for one in found}, told


def left() -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if (
                process.environ().get("GLM5_DEEP_TEST") == MARK
                and process.status() != psutil.STATUS_ZOMBIE
            ):
                found.append(process)
        except psutil.Error:
            continue
    return found


@pytest.fixture
def engine() -> Path:
    return ENGINE / "engine/bin/python"


# Over gloo, which goes through the host: not measured, or with nothing to be held against.
UNMEASURED = ("deep-copy-speed", "deep-all-reduce-paths", "deep-all-reduce-speed")


@pytest.mark.engine
def test_four_sound_ranks_prove_every_step(engine: Path) -> None:
    found, told = run(engine, ranks=4, deadline=30)

    assert {id: one.severity for id, one in found.items() if id not in UNMEASURED} == {
        "deep-start": OK,
        "deep-copy": OK,
        "deep-init": OK,
        "deep-all-reduce": OK,
    }
    assert {found[id].severity for id in UNMEASURED} == {Severity.UNKNOWN}
    assert found["deep-all-reduce-speed"].evidence.endswith("what is healthy there is not known")
    assert found["deep-copy"].evidence == "12 pairs, data unchanged"
    assert told[0] == "deep     init"
    assert "deep     all-reduce 67108864" in told
    assert told[-1].startswith("deep     path gloo ")


@pytest.mark.engine
@pytest.mark.parametrize(
    ("fault", "id", "words"),
    [
        (
            "hang:1@all-reduce 2097152",
            "deep-all-reduce",
            "all-reduce of 2 MiB did not end within 3 s",
        ),
        (
            "wrong:0@all-reduce 512",
            "deep-all-reduce",
            ": 128 of 128 numbers, the first",
        ),
        (
            "die:1@all-reduce 64",
            "deep-all-reduce",
            "all-reduce of 64 B on rank 1: was killed by signal 9",
        ),
        ("hang:0@init", "deep-init", "finding each other did not end within 3 s"),
        ("hang:1@copy 0->1", "deep-copy", "copy from GPU 0 to 1 did not end within 3 s"),
        (
            "wrong:1@copy 1->0",
            "deep-copy",
            "copy from GPU 1 to 0 on rank 0: other data arrived than was sent",
        ),
    ],
)
def test_a_fault_is_named_by_its_step_and_nothing_is_left(
    engine: Path, fault: str, id: str, words: str
) -> None:
    found, _ = run(engine, fault=fault)

    assert found[id].severity is FAIL
    assert words in found[id].evidence
    assert found[id].fix
    order = [live.id for live in LIVE if not live.id.endswith("speed")]
    assert all(found[later].severity in (UNKNOWN, OK) for later in order[order.index(id) + 1 :])


@pytest.mark.engine
def test_a_hang_on_a_translated_host_names_the_translation(engine: Path) -> None:
    found, _ = run(engine, fault="hang:0@all-reduce 8", seen=TRANSLATED)

    assert (
        "likely cause: iommu-translation, 0000:17:00.0: group 7 is of type DMA-FQ"
        in found["deep-all-reduce"].evidence
    )
    assert found["deep-all-reduce"].fix.startswith("add iommu=pt")


@pytest.mark.engine
def test_nothing_outlives_a_doctor_that_is_killed(engine: Path, tmp_path: Path) -> None:
    program = tmp_path / "doctor.py"
    program.write_text(f"""
import os, sys
from dataclasses import replace
sys.path.insert(0, {str(TESTS)!r})
from rig.healthy import host, plan
from launcher.doctor.fabric import deep
asked = replace(plan(), program=({str(engine)!r}, *plan().program[1:]))
deep(asked, 2, host(), os.environ, backend="gloo", deadline=600, tell=lambda line: print(line, flush=True))
""")
    environ = {**os.environ, "GLM5_DEEP_FAULT": "hang:1@all-reduce 8", "GLM5_DEEP_TEST": MARK}
    doctor = subprocess.Popen(
        [sys.executable, program], env=environ, stdout=subprocess.PIPE, text=True
    )
    assert doctor.stdout is not None
    until(lambda: "all-reduce 8" in next_line(doctor), "the ranks are at it")
    doctor.send_signal(signal.SIGKILL)
    doctor.wait(60)
    doctor.stdout.close()

    until(lambda: not left(), "the ranks are gone")


@pytest.mark.engine
def test_doctor_moves_data_on_request_and_reports_it_with_the_rest(engine: Path) -> None:
    words = [
        "doctor",
        "--deep",
        "--backend",
        "gloo",
        "-p",
        "cpu-demo",
        "--json",
        "--only",
        "engine-installed",
    ]
    said = subprocess.run([GLM5_SERVE, *words], capture_output=True, text=True, timeout=120)
    found = {one["id"]: one["severity"] for one in json.loads(said.stdout)["findings"]}

    assert found["engine-installed"] == found["deep-all-reduce"] == "ok"
    assert "deep     all-reduce 8" in said.stderr


def test_an_interpreter_without_torch_says_so() -> None:
    found, _ = run(sys.executable)

    assert found["deep-start"].severity is FAIL
    assert "ModuleNotFoundError: No module named 'torch'" in found["deep-start"].evidence
    assert found["deep-all-reduce"].severity is UNKNOWN


def test_an_interpreter_that_is_missing_says_so() -> None:
    found, _ = run("/nowhere/python")

    assert "cannot be executed" in found["deep-start"].evidence


@pytest.mark.skipif(os.geteuid() != 0, reason="root alone runs no program of others")
def test_root_runs_no_interpreter_that_others_may_change(tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    program = tmp_path / "python"
    program.write_text(f"#!/bin/sh\ntouch {ran}\n")
    program.chmod(0o777)
    found, _ = run(program)

    assert found["deep-start"].severity is FAIL
    assert "a program that root will not run" in found["deep-start"].evidence
    assert not ran.exists()


@pytest.mark.parametrize(
    ("busy", "words"),
    [
        (
            with_gpus(host(), 3, processes=(Process(4242, 90 << 30, "sglang"),)),
            "GPU 3 is in use by pid 4242 (sglang)",
        ),
        (with_gpus(host(), 3, memory_used=6 << 30), "GPU 3 has 6144 MiB in use"),
    ],
)
def test_gpus_that_something_uses_are_left_alone(busy: Host, words: str) -> None:
    with pytest.raises(UserError, match=words.replace("(", r"\(").replace(")", r"\)")):
        deep(plan(), 8, busy, os.environ, backend="nccl", deadline=1, tell=print)


def test_program_and_reader_mean_the_same_sizes() -> None:
    assert (fabric_rank.MARK, fabric_rank.COPY, fabric_rank.SIZES) == (
        fabric_verdict.MARK,
        fabric_verdict.COPY,
        fabric_verdict.SIZES,
    )


@pytest.mark.parametrize(
    ("seen", "cause"),
    [
        (TRANSLATED, "iommu-translation"),
        (with_function(host(), "0000:10:01.1", acs=("ReqRedir",)), "acs-redirect"),
        (having(with_gpus(host(), 3, addressing="hmm"), driver__hmm_disabled=False), "driver-hmm"),
        (host(), "none that the facts show"),
        (Host(), "none that the facts show"),
    ],
)
def test_the_likely_cause_comes_from_the_facts(seen: Host, cause: str) -> None:
    assert likely(seen, plan())[0].startswith(cause)


def said(*lines: str, backend: str = "nccl", ranks: int = 8) -> dict[str, Finding]:
    seen = Proof()
    for line in lines:
        seen.hear(line)
    return {one.id: one for one in findings(seen, ranks, host(), plan(), backend, 30)}


def copied(one: int, two: int, gbps: float) -> str:
    seconds = fabric_verdict.COPY / gbps / 1e9
    return (
        f'{{"step": "copy {one}->{two}", "rank": -2, "done": true, "seconds": {seconds}, "wrong":'
        " null}"
    )


def test_copies_are_measured_beside_what_healthy_hosts_show() -> None:
    slow = said(copied(0, 1, 54), copied(0, 4, 41), copied(0, 5, 3))["deep-copy-speed"]
    fine = said(copied(0, 1, 54), copied(0, 4, 41))["deep-copy-speed"]

    assert (slow.severity, fine.severity) == (WARN, OK)
    assert slow.evidence.startswith("3.0 GB/s (copy 0->5) to 54.0, median 41.0; healthy")


def test_a_killed_rank_is_the_cause_and_its_neighbours_complaints_are_not() -> None:
    found = said(
        '{"step": "all-reduce 64", "rank": 0}',
        '{"rank": 0, "error": "RuntimeError: connection closed by peer"}',
        '{"rank": 1, "died": -9}',
    )

    assert found["deep-all-reduce"].evidence.startswith(
        "all-reduce of 64 B on rank 1: was killed by signal 9"
    )


def test_a_line_that_something_printed_into_is_passed_over() -> None:
    assert said('{"step": "init", "ra NCCL INFO')["deep-init"].severity is UNKNOWN


def test_what_was_not_reached_is_never_fine() -> None:
    found = said('{"step": "import", "rank": -1}', '{"rank": -1, "error": "OSError: no libcudart"}')

    assert found["deep-start"].evidence == "import of torch: OSError: no libcudart"
    assert {one.severity for id, one in found.items() if id != "deep-start"} == {UNKNOWN}
