"""The driver's facts: the real nvidia-ml-py over a library in C, in real child processes."""

from __future__ import annotations

import ast
import ctypes
import os
import re
import subprocess
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pynvml
import pytest
from rig.nvml import scenario
from rig.nvml.scenario import Scenario

from launcher.host.collectors import nvml_child, nvml_questions
from launcher.host.collectors.nvml import driver
from launcher.host.facts import Driver, Fact, Gpu, Process, known

Ask = Callable[..., Driver]


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scenario.library(tmp_path_factory.mktemp("nvml"))


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "calls"


@pytest.fixture
def ask(library: Path, tmp_path: Path, log: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ask]:
    """Ask the driver of a scenario; no process may be left of it."""

    def asked(host: Scenario, deadline: float = 30.0) -> Driver:
        file = scenario.write(tmp_path / "scenario", host)
        for name, value in scenario.environ(library, file, log).items():
            monkeypatch.setenv(name, value)
        return driver(deadline)

    yield asked
    left = [
        child for child in psutil.Process().children() if child.status() != psutil.STATUS_ZOMBIE
    ]
    assert not [child for child in left if not any("warm.py" in word for word in child.cmdline())]


def gpus(seen: Driver) -> tuple[Gpu, ...]:
    return seen.gpus.get()


def why(fact: Fact[object]) -> str:
    assert not fact.known, fact
    return str(fact.unknown)


def test_eight_gpus_are_seen_with_every_fact(ask: Ask) -> None:
    seen = ask(scenario.rtx_pro_6000())
    facts = [getattr(gpu, name) for gpu in gpus(seen) for name in vars(gpu) if name != "index"]

    assert (seen.version, seen.cuda, seen.confidential) == (
        known("595.58.03"),
        known("13.2"),
        known(False),
    )
    assert [gpu.bdf.get() for gpu in gpus(seen)][3:5] == ["0000:17:00.0", "0000:86:00.0"]
    assert all(fact.known for fact in facts)


def test_values_are_in_the_units_that_facts_have(ask: Ask) -> None:
    gpu = gpus(ask(scenario.rtx_pro_6000()))[5]

    assert (gpu.power_limit, gpu.memory_total, gpu.bar1_total) == (
        known(600.0),
        known(97887 << 20),
        known(128 << 30),
    )
    assert (gpu.clock_reasons, gpu.recovery, gpu.numa) == (
        known(("gpu_idle",)),
        known("none"),
        known(1),
    )


def test_pairs_are_named_as_nvidia_smi_names_them(ask: Ask) -> None:
    seen = ask(scenario.rtx_pro_6000())

    assert seen.topology.get()[0] == ("X", "PIX", "NODE", "NODE", "SYS", "SYS", "SYS", "SYS")
    assert seen.p2p_read.get()[0] == ("X", *["OK"] * 7)


def test_peer_to_peer_has_a_direction(ask: Ask) -> None:
    seen = ask(scenario.rtx_pro_6000() | {"p2p.2.5.write": 1, "p2p.5.2.read": 3})

    assert (seen.p2p_write.get()[2][5], seen.p2p_write.get()[5][2]) == ("CNS", "OK")
    assert (seen.p2p_read.get()[5][2], seen.p2p_read.get()[2][5]) == ("TNS", "OK")


def test_nvlink_pairs_count_their_links_and_the_fabric_says_its_state(ask: Ask) -> None:
    seen = ask(scenario.b200())

    assert {link for row in seen.topology.get() for link in row} == {"X", "NV18"}
    assert {gpu.fabric.get() for gpu in gpus(seen)} == {"completed"}


def test_a_mixed_host_stays_mixed(ask: Ask) -> None:
    seen = ask(scenario.mixed())

    assert [gpu.name.get()[-8:] for gpu in gpus(seen)] == [*[" Edition"] * 3, "RTX 5090"]
    assert len({gpu.memory_total.get() for gpu in gpus(seen)}) == 2


def test_processes_are_those_that_hold_the_gpu(ask: Ask) -> None:
    mine = os.getpid()
    gpu = gpus(ask(scenario.rtx_pro_6000(2, 1) | {"gpu.1.procs": f"{mine}:96636764160;999999"}))[1]

    assert gpu.processes.get()[0].pid == mine
    assert gpu.processes.get()[0].used == 90 << 30
    assert gpu.processes.get()[0].name
    assert gpu.processes.get()[1] == Process(999999, None, None)


@pytest.mark.parametrize(
    ("changed", "fact", "value"),
    [
        ({"gpu.1.mig": "1,1"}, "mig", True),
        ({"gpu.1.ecc_uncorrected_volatile": 3}, "ecc_uncorrected", 3),
        ({"gpu.1.remapped": "0,1,1,0"}, "remap_pending", True),
        ({"gpu.1.remapped": "0,1,0,1"}, "remap_failed", True),
        (
            {"gpu.1.clocks_event_reasons": 0x44},
            "clock_reasons",
            ("sw_power_cap", "hw_thermal_slowdown"),
        ),
        ({"gpu.1.compute_mode": 3}, "compute_mode", "exclusive_process"),
        ({"gpu.1.virt_mode": 2}, "virtualization", "vgpu"),
        ({"gpu.1.field.230": 2}, "recovery", "node_reboot"),
        ({"gpu.1.addressing_mode": 1}, "addressing", "hmm"),
        ({"gpu.1.fabric": 2}, "fabric", "in_progress"),
    ],
)
def test_a_state_of_one_gpu_is_told_of_that_gpu(
    ask: Ask, changed: Scenario, fact: str, value: object
) -> None:
    seen = gpus(ask(scenario.rtx_pro_6000(2, 1) | changed))

    assert getattr(seen[1], fact) == known(value)
    assert getattr(seen[0], fact) != known(value)


def test_a_lost_gpu_is_there_and_says_so(ask: Ask) -> None:
    seen = gpus(ask(scenario.rtx_pro_6000() | {"lost.3": 1}))

    assert len(seen) == 8
    assert why(seen[3].name) == "GPU is lost"
    assert seen[4].name.known


def test_a_gpu_without_a_handle_is_there_and_says_so(ask: Ask) -> None:
    seen = gpus(ask(scenario.rtx_pro_6000() | {"fail.5.handle": "GPU_IS_LOST"}))

    assert len(seen) == 8
    assert why(seen[5].memory_total) == "GPU is lost"


def test_a_question_that_is_not_permitted_costs_its_fact_alone(ask: Ask) -> None:
    gpu = gpus(
        ask(scenario.rtx_pro_6000(1, 1) | {"fail.nvmlDeviceGetPowerUsage": "NO_PERMISSION"})
    )[0]

    assert "no permission" in why(gpu.power_draw)
    assert gpu.power_limit.known


def test_a_feature_that_the_board_lacks_is_unsupported(ask: Ask) -> None:
    without = {
        name: value for name, value in scenario.rtx_pro_6000(1, 1).items() if "remapped" not in name
    }
    gpu = gpus(ask(without))[0]

    assert why(gpu.remap_failed) == why(gpu.remap_pending) == nvml_child.UNSUPPORTED


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ("DRIVER_NOT_LOADED", "the NVIDIA kernel module is not loaded"),
        ("LIB_RM_VERSION_MISMATCH", "different versions"),
        ("NO_PERMISSION", "no permission"),
        ("4711", "Unknown Error"),
    ],
)
def test_a_driver_that_does_not_start_says_why(ask: Ask, error: str, words: str) -> None:
    seen = ask(scenario.rtx_pro_6000() | {"fail.nvmlInit": error})

    assert words in why(seen.gpus)
    assert words in why(seen.version)


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
    (tmp_path / "libnvidia-ml.so.1").write_text("not a library")

    assert "no NVIDIA driver library: " in why(driver().gpus)


def test_a_hung_call_costs_one_deadline_and_keeps_what_was_told(ask: Ask, log: Path) -> None:
    seen = ask(
        scenario.rtx_pro_6000() | {"delay_ms.nvmlDeviceGetTotalEccErrors": 600000}, deadline=2.0
    )

    assert [gpu.capability.get() for gpu in gpus(seen)] == ["12.0"] * 8
    expected = (
        "the NVIDIA driver did not answer within 2 s (stuck in nvmlDeviceGetTotalEccErrors on"
        " GPU 0)"
    )
    assert (
        why(gpus(seen)[0].ecc_uncorrected)
        == why(gpus(seen)[7].temperature)
        == why(seen.topology)
        == expected
    )
    assert len(re.findall("nvmlDeviceGetTotalEccErrors", log.read_text())) == 1


def test_a_driver_that_hangs_at_once_leaves_nothing_known(ask: Ask) -> None:
    seen = ask(scenario.rtx_pro_6000() | {"delay_ms.nvmlInitWithFlags": 600000}, deadline=1.0)

    assert why(seen.gpus) == "the NVIDIA driver did not answer within 1 s (stuck in nvmlInit)"


def test_an_old_driver_without_a_function_is_told_from_a_broken_one(
    library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same library with one symbol renamed, as a driver of some years ago has it."""
    old = tmp_path / "old"
    old.mkdir()
    text = library.read_bytes()
    renamed = text.replace(b"nvmlDeviceGetAddressingMode", b"nvmlDeviceGetAddressingNone")
    (old / library.name).write_bytes(renamed)
    file = scenario.write(tmp_path / "scenario", scenario.rtx_pro_6000(1, 1))
    for name, value in scenario.environ(old / library.name, file).items():
        monkeypatch.setenv(name, value)

    assert why(gpus(driver())[0].addressing) == "this driver is too old to say"


def exported(library: Path) -> set[str]:
    listed = subprocess.run(
        ["nm", "-D", "--defined-only", library],
        text=True,
        capture_output=True,
        check=True,
        timeout=60,
    )
    return {line.split()[-1] for line in listed.stdout.splitlines() if " T nvml" in line}


def reached(program: Path) -> set[str]:
    """The C symbols that a program's calls of pynvml end in."""
    tree = ast.parse(Path(str(pynvml.__file__)).read_text())
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}

    def symbols(name: str, seen: set[str]) -> set[str]:
        if name in seen or name not in functions:
            return set()
        seen.add(name)
        calls = [node for node in ast.walk(functions[name]) if isinstance(node, ast.Call)]
        named = [(call.func.id, call.args) for call in calls if isinstance(call.func, ast.Name)]
        direct = {
            str(arguments[0].value)
            for called, arguments in named
            if called == "_nvmlGetFunctionPointer" and isinstance(arguments[0], ast.Constant)
        }
        return direct.union(*(symbols(called, seen) for called, _ in named))

    asked = {
        node.attr
        for node in ast.walk(ast.parse(program.read_text()))
        if isinstance(node, ast.Attribute)
    }
    return set[str]().union(*(symbols(name, set()) for name in asked & set(functions)))


def test_the_library_has_every_symbol_that_the_program_reaches(library: Path) -> None:
    # the same wrapper reaches it when it is not asked for version 2
    unversioned = {"nvmlDeviceGetMemoryInfo"}

    programs = (Path(nvml_child.__file__), Path(nvml_questions.__file__))

    assert set[str]().union(*map(reached, programs)) - unversioned <= exported(library)


def test_structures_are_as_large_as_nvidia_declares_them(tmp_path: Path) -> None:
    """Held against NVIDIA's own nvml.h, which the wheel nvidia-nvml-dev brings."""
    headers = list(Path(sysconfig.get_paths()["purelib"]).glob("nvidia/**/include/nvml.h"))
    if not headers:
        pytest.skip("nvml.h is not installed (nvidia-nvml-dev)")
    pairs = {
        "nvmlPciInfo_t": pynvml.nvmlPciInfo_t,
        "nvmlMemory_v2_t": pynvml.c_nvmlMemory_v2_t,
        "nvmlBAR1Memory_t": pynvml.c_nvmlBAR1Memory_t,
        "nvmlProcessInfo_t": pynvml.c_nvmlProcessInfo_v3_t,
        "nvmlFieldValue_t": pynvml.c_nvmlFieldValue_t,
        "nvmlUtilization_t": pynvml.c_nvmlUtilization_t,
        "nvmlTemperature_v1_t": pynvml.c_nvmlTemperature_v1_t,
        "nvmlGpuFabricInfo_t": pynvml.c_nvmlGpuFabricInfo_t,
    }
    asserts = "".join(
        f'_Static_assert(sizeof({name}) == {ctypes.sizeof(kind)}, "{name}");\n'
        for name, kind in pairs.items()
    )
    said = subprocess.run(
        ["gcc", "-fsyntax-only", "-xc", "-"],
        input=f'#include "{headers[0]}"\n{asserts}',
        text=True,
        capture_output=True,
        timeout=60,
    )

    assert said.stderr == ""
