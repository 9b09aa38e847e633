"""What an NVIDIA driver and a GPU of any kind tell, without a stand-in: `make gpu`.

ENGINE_PYTHON names an interpreter with a torch for CUDA, and FlashInfer for the last of them.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pynvml
import pytest
from conftest import RIG, ROOT, World, next_line, running, until

from launcher.doctor.fabric_verdict import MARK, Proof
from launcher.host import parsers
from launcher.host.collectors.nvml import driver
from launcher.host.facts import Gpu
from launcher.operate.bench_watch import Watch
from launcher.serve.gpu_monitor import GpuNews, GpuWatch

SMI = shutil.which("nvidia-smi")
ENGINE_PYTHON = os.environ.get("ENGINE_PYTHON", "")
RANK = ROOT / "launcher/doctor/fabric_rank.py"
GIB = 1 << 30
MOVES = (
    "memory_free",
    "memory_used",
    "memory_reserved",
    "power_draw",
    "temperature",
    "utilisation",
    "clock_reasons",
)

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not SMI, reason="no nvidia-smi: this host has no NVIDIA driver"),
]
needs_torch = pytest.mark.skipif(not ENGINE_PYTHON, reason="ENGINE_PYTHON is not set")


@pytest.fixture(autouse=True)
def _the_real_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LD_LIBRARY_PATH")


@contextmanager
def at_work(*words: str) -> Iterator[psutil.Process]:
    """A program on the first GPU, from when it does what it is asked for."""
    program = (sys.executable, RIG / "on_gpu.py", *words)
    with running(*program, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        said = next_line(process)
        assert said == "at it\n", said
        yield psutil.Process(process.pid)


def smi(*fields: str) -> list[str]:
    """What nvidia-smi tells of the first GPU."""
    words = [
        str(SMI),
        "-i",
        "0",
        f"--query-gpu={','.join(fields)}",
        "--format=csv,noheader,nounits",
    ]
    told = subprocess.run(words, capture_output=True, text=True, timeout=60, check=True).stdout
    return [part.strip() for part in told.strip().split(",")]


def first() -> Gpu:
    return driver(60).gpus.get()[0]


def pci(address: str) -> str:
    """As the kernel writes it: four digits of a domain, in lower case."""
    return address.lower()[4:] if address.index(":") == 8 else address.lower()


def test_the_facts_are_those_of_nvidia_smi() -> None:
    seen, gpu = driver(60), first()
    same = {
        "name": gpu.name,
        "uuid": gpu.uuid,
        "compute_cap": gpu.capability,
        "vbios_version": gpu.vbios,
        "pcie.link.gen.max": gpu.link_gen_max,
        "pcie.link.width.max": gpu.link_width_max,
        "driver_version": seen.version,
    }
    told = dict(zip(same, smi(*same), strict=True))
    assert told == {name: str(fact.get()) for name, fact in same.items()}

    address, total, limit, default, most, ecc, persistence = smi(
        "pci.bus_id", "memory.total", "power.limit", "power.default_limit", "power.max_limit",
        "ecc.mode.current", "persistence_mode",
    )  # fmt: skip
    assert pci(address) == gpu.bdf.get()
    assert gpu.memory_total.get() >> 20 == int(total)
    watts = [gpu.power_limit.get(), gpu.power_default.get(), gpu.power_max.get()]
    assert watts == [float(limit), float(default), float(most)]
    assert (gpu.ecc.get(), gpu.persistence.get()) == (ecc == "Enabled", persistence == "Enabled")


def test_a_pasted_query_tells_the_same() -> None:
    """But for what moves: `nvidia-smi -q` in both of its forms, beside NVML."""
    asked = {name: fact for name, fact in vars(first()).items() if name not in MOVES}
    for form in ((), ("-x",)):
        text = subprocess.run([str(SMI), "-q", *form], capture_output=True, text=True, timeout=60)
        pasted = vars(
            parsers.of_texts([("paste", text.stdout.encode())], "pasted").driver.gpus.get()[0]
        )
        told = {
            name: fact for name, fact in asked.items() if name != "index" and pasted[name].known
        }
        assert len(told) > 20
        assert {name: pasted[name] for name in told} == told


def test_whoever_holds_memory_is_named(world: World) -> None:
    free = first().memory_used.get()
    with at_work("hold", str(4 * GIB), "300") as holder:
        gpu = first()
        said = world.run("doctor", "--all", "--json", timeout=120)
        shown = json.loads(world.run("top", "--json", "--interval", "0.2").stdout)["gpus"]["gpus"][
            0
        ]
        refused = world.run("doctor", "--deep", "-p", "8xpro6000")

    assert 4 * GIB <= gpu.memory_used.get() - free < 6 * GIB
    assert [process.pid for process in gpu.processes.get()] == [holder.pid]
    assert [holds["pid"] for holds in shown["held_by"]] == [holder.pid]
    assert not shown["free"]
    found = {one["id"]: one for one in json.loads(said.stdout)["findings"]}
    assert found["gpu-memory-free"]["severity"] in ("fail", "warn"), found["gpu-memory-free"]
    assert str(holder.pid) in found["gpu-memory-free"]["evidence"]
    assert refused.returncode != 0
    until(lambda: first().memory_used.get() - free < GIB, "its memory is back", 60)


def test_a_gpu_at_work_draws_what_its_own_meter_says() -> None:
    """Watts of the samples that `bench` takes, beside the board's count of joules."""
    pynvml.nvmlInit()
    handle = pynvml.nvmlDeviceGetHandleByIndex(0)
    idle = first().power_draw.get()
    with at_work("burn", "300"), Watch(is_wanted=True) as watch:
        time.sleep(3)  # the meter tells the mean of the last second
        before, began = pynvml.nvmlDeviceGetTotalEnergyConsumption(handle), time.monotonic()
        watch.samples.clear()
        until(lambda: len(watch.samples) >= 8, "it was looked at eight times", 120)
        seen = list(watch.samples)
        after, ended = pynvml.nvmlDeviceGetTotalEnergyConsumption(handle), time.monotonic()
        gpu = first()

    drawn = [sample.gpus.get()[0].power_draw.get() for sample in seen]
    counted = (after - before) / 1000 / (ended - began)
    assert sum(drawn) / len(drawn) == pytest.approx(counted, rel=0.1)
    assert gpu.utilisation.get() > 90
    assert gpu.power_draw.get() > 1.3 * idle


def test_a_fault_of_a_program_is_told_as_an_xid() -> None:
    watch = GpuWatch()
    try:
        until(lambda: list(watch.hear()) or watch.gpus, "it watches")
        broken = subprocess.run(
            [sys.executable, RIG / "on_gpu.py", "fault"],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        told: list[GpuNews] = []

        def heard() -> bool:
            told.extend(watch.hear())
            return any(news.xid for news in told)

        until(heard, "the driver tells of it", 60)
    finally:
        watch.close()
    assert "CUDA_ERROR_ILLEGAL_ADDRESS" in broken.stderr, broken
    [news] = [news for news in told if news.xid]
    assert (news.xid, news.gpu, news.bdf) == (31, 0, first().bdf.get())


def test_a_fault_beside_a_server_is_told_and_nobody_is_ended(world: World) -> None:
    """The stand-in engine takes the GPU by its plan; the program that faults is none of its own."""
    text = world.profile.read_text().replace('device = "cpu"\n', "")
    world.profile.write_text(text.replace("tp-size = 2", "tp-size = 1"))
    judged = json.loads(world.run("doctor", "-p", "stub", "--json", timeout=120).stdout)
    failed = [one["id"] for one in judged["findings"] if one["severity"] in ("fail", "unknown")]
    allow = [word for one in failed for word in ("--allow", one)]
    up = world.run("up", "-p", "stub", "-d", *allow)
    assert up.returncode == 0, up.stderr + up.stdout

    with at_work("burn", "300"):
        readings = world.instance / "readings.json"
        until(lambda: busy(readings), "the launcher sees it at work", 60)
    subprocess.run([sys.executable, RIG / "on_gpu.py", "fault"], timeout=120, check=False)
    told = until(lambda: world.events("gpu"), "it is told", 60)

    assert told[0]["xid"] == 31
    assert world.status()["state"] == "ready"
    assert re.search(r"Xid \(PCI:[^)]*\): 31", world.run("events", "-p", "stub").stdout)


def busy(readings: Path) -> bool:
    told = json.loads(readings.read_text())["gpus"] if readings.exists() else []
    return bool(told) and told[0]["utilization"] > 90 and told[0]["power"] > 0


def deep(folder: Path, *words: str, within: float = 300) -> Proof:
    """What the ranks told of themselves."""
    done = subprocess.run(
        [ENGINE_PYTHON, *words, folder], capture_output=True, text=True, timeout=within, check=False
    )
    proof = Proof()
    for line in done.stdout.splitlines():
        if line.startswith(MARK):
            proof.hear(line.removeprefix(MARK))
    assert proof.steps, done.stdout + done.stderr
    return proof


def seconds(proof: Proof, begin: str) -> dict[str, float]:
    """How long a rank's steps of that kind took; all of them ended, and none had wrong data."""
    steps = {name: step for name, step in proof.steps.items() if name.startswith(begin)}
    assert not {name: step.wrong for name, step in steps.items() if step.wrong}
    return {name: step.seconds[0] or 0.0 for name, step in steps.items()}


@needs_torch
def test_one_rank_goes_through_all_steps_of_nccl(tmp_path: Path) -> None:
    proof = deep(tmp_path, str(RANK), "nccl", "1")

    assert not proof.ended, proof.ended
    assert len(seconds(proof, "all-reduce ")) == 9
    assert all(0 < took < 1 for took in seconds(proof, "path nccl ").values())
    assert proof.no_ipc == "it is for 2, 4 or 8 GPUs, not 1"


@needs_torch
def test_more_ranks_than_gpus_are_told(tmp_path: Path) -> None:
    count = len(driver(60).gpus.get())
    proof = deep(tmp_path, str(RANK), "nccl", str(count + 1))

    assert proof.ended


@needs_torch
def test_the_pcie_ipc_all_reduce_of_flashinfer_adds_up(tmp_path: Path) -> None:
    asked = [ENGINE_PYTHON, "-c", "from flashinfer.comm import PcieIpcAllReduceWorkspace"]
    if (told := subprocess.run(asked, capture_output=True, text=True, timeout=300)).returncode:
        pytest.skip(f"no FlashInfer: {told.stderr.strip().splitlines()[-1]}")
    proof = deep(tmp_path, str(RIG / "one_gpu.py"), str(RANK), within=590)

    assert not proof.no_ipc
    assert not proof.ended, proof.ended
    assert len(seconds(proof, "path ipc ")) == 4
