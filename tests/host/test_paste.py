"""A host from pasted texts: real outputs of real hosts, cut, garbled, mixed up."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path

import pytest
from conftest import TESTS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rig.healthy import plan
from rig.smi import Row, table

from launcher.doctor.checks import checks, judge
from launcher.errors import UserError
from launcher.host import facts_json, parsers
from launcher.host.collectors import nvml_questions
from launcher.host.facts import Gpu, Host, known
from launcher.host.parsers import smi
from launcher.plan.findings import Severity

HOSTS = TESTS / "hosts"
ASUS = HOSTS / "asus8x"
MANY = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@pytest.fixture(scope="module")
def asus() -> Host:
    return parsers.host(str(ASUS))


def pasted(folder: Path, *texts: str) -> Host:
    for at, text in enumerate(texts):
        (folder / f"paste{at}").write_text(text, encoding="utf-8", errors="replace")
    return parsers.host(str(folder))


def unwell(host: Host) -> dict[str, Severity]:
    return {
        one.id: one.severity
        for one in judge(host, plan())
        if one.severity not in (Severity.OK, Severity.UNKNOWN)
    }


def test_a_working_host_raises_no_false_alarm(asus: Host) -> None:
    """Its owner reported that switch himself; nothing else is wrong with the host."""
    assert unwell(asus) == {"switch-writes": Severity.WARN}


def test_its_gpus_are_seen_with_all_that_nvidia_smi_says(asus: Host) -> None:
    gpus = asus.driver.gpus.get()
    first = gpus[0]

    assert len(gpus) == 8
    assert (asus.driver.version, asus.driver.cuda) == (known("595.58.03"), known("13.2"))
    assert (first.bdf, first.capability, first.architecture) == (
        known("0000:06:00.0"),
        known("12.0"),
        known("blackwell"),
    )
    assert (first.memory_total, first.bar1_total) == (known(97887 << 20), known(128 << 30))
    assert (first.link_gen, first.link_gen_max, first.link_width) == (known(1), known(5), known(16))
    assert (first.power_limit, first.ecc_uncorrected, first.recovery) == (
        known(600.0),
        known(0),
        known("none"),
    )
    assert (first.processes, first.clock_reasons, first.mig) == (known(()), known(()), known(False))
    nothing_said = {
        name
        for gpu in gpus
        for name, fact in vars(gpu).items()
        if name != "index" and not fact.known
    }
    assert nothing_said == {"fabric"}


def test_its_tree_is_put_together_from_bus_numbers(asus: Host) -> None:
    functions = {function.bdf: function for function in asus.pcie.functions.get()}
    gpu = functions["0000:06:00.0"]

    assert [functions[bdf].kind for bdf in gpu.above] == [
        "root port",
        "switch upstream",
        "switch downstream",
    ]
    assert (
        gpu.above == ("0000:00:01.1", "0000:01:00.0", "0000:02:03.0")
        or gpu.above[0] == "0000:00:01.1"
    )
    assert (gpu.id, gpu.driver, gpu.bar1) == ("10de:2bb5", known("nvidia"), known(128 << 30))
    above = {bdf for function in functions.values() for bdf in function.above}
    assert all("ReqRedir" not in (functions[bdf].acs.get() or ()) for bdf in above)
    assert any("SrcValid" in (functions[bdf].acs.get() or ()) for bdf in above)


def test_its_two_sockets_are_seen(asus: Host) -> None:
    assert asus.driver.topology.get()[0] == ("X", "PIX", "NODE", "NODE", "SYS", "SYS", "SYS", "SYS")
    assert (asus.system.sockets, asus.system.numa_nodes, asus.system.cpu_family) == (
        known(2),
        known(2),
        known(26),
    )
    assert [gpu.numa.get() for gpu in asus.driver.gpus.get()] == [0, 0, 0, 0, 1, 1, 1, 1]


def test_its_kernel_says_that_translation_is_off(asus: Host) -> None:
    assert "amd_iommu=off iommu=off" in asus.kernel.cmdline.get()
    assert asus.pcie.iommus == known(())
    assert (asus.driver.flavour, asus.driver.module) == (known("open"), known("595.58.03"))


def test_its_facts_are_kept_as_a_file(asus: Host) -> None:
    kept = (HOSTS / "asus8x.json").read_text()

    assert json.loads(kept) == facts_json.to_json(asus), (
        "run tests/host/test_paste.py as a program to write it anew"
    )


@pytest.mark.parametrize(
    ("file", "pattern", "changed", "id"),
    [
        ("cmdline.txt", "amd_iommu=off iommu=off", "iommu=off amd_iommu=pt", "iommu-parameters"),
        ("lspci.txt", "(SrcValid. TransBlk. ReqRedir)-", r"\1+", "acs-redirect"),
        ("lspci.txt", "(ReqRedir. CmpltRedir)-", r"\1+", "acs-redirect"),
        ("lspci.txt", "UpstreamFwd[+]", "UpstreamFwd-", None),
        ("lspci.txt", "in use: nvidia", "in use: vfio-pci", "pcie-driver"),
        ("lspci.txt", r"(2bb5 \(rev )a1", r"\1ff", "pcie-present"),
        ("nvidia_smi_q.txt", r"(Link Width\n.*\n +Current +: )16x", r"\g<1>8x", "pcie-width"),
        ("nvidia_smi_q.txt", r"(Total +: )131072 MiB", r"\g<1>256 MiB", "pcie-bar1"),
        ("nvidia_smi_q.txt", r"(DRAM Uncorrectable +: )0", r"\g<1>1", "gpu-ecc"),
        ("nvidia_smi_q.txt", r"(Remapping Failure Occurred +: )No", r"\1Yes", "gpu-remap"),
        ("nvidia_smi_q.txt", r"(GPU Recovery Action +: )None", r"\1Reset", "gpu-recovery"),
        ("nvidia_smi_q.txt", r"(HW Slowdown +: )Not Active", r"\1Active", "gpu-clocks"),
        ("nvidia_smi_q.txt", r"(Compute Mode +: )Default", r"\1Prohibited", "gpu-compute-mode"),
        ("nvidia_smi_q.txt", r"(Current Power Limit +: )600", r"\g<1>350", "gpu-power-limit"),
        ("nvidia_smi_q.txt", r"(Addressing Mode +: )None", r"\1HMM", "driver-hmm"),
        (
            "nvidia_smi_q.txt",
            r"(GSP Firmware Version +: )595.58.03",
            r"\g<1>590.48.01",
            "driver-firmware",
        ),
        ("nvidia_smi_q.txt", r"(MIG Mode\n +Current +: )Disabled", r"\1Enabled", "gpu-mig"),
        ("dmesg.txt", "Open Kernel Module", "Kernel Module", "driver-open-modules"),
        (
            "dmesg.txt",
            r"\A",
            "[    9.0] NVRM: Xid (PCI:0000:06:00): 79, pid=1, fallen off the bus.\n",
            "kernel-xid",
        ),
    ],
)
def test_one_line_changed_on_a_working_host_is_exactly_one_finding(
    tmp_path: Path, file: str, pattern: str, changed: str, id: str | None
) -> None:
    for path in ASUS.iterdir():
        text = path.read_text()
        if path.name == file:
            text, times = re.subn(pattern, changed, text, count=1)
            assert times == 1
        (tmp_path / path.name).write_text(text)

    assert set(unwell(parsers.host(str(tmp_path)))) == {"switch-writes", id} - {None}


def test_names_of_files_do_not_matter_and_several_texts_may_be_in_one(
    tmp_path: Path, asus: Host
) -> None:
    parts = [path.read_text() for path in sorted(ASUS.iterdir()) if path.name != "cmdline.txt"]
    together = pasted(tmp_path, "\n\n".join(parts), (ASUS / "cmdline.txt").read_text())

    assert together.driver == asus.driver
    assert together.pcie == asus.pcie


def test_a_turing_host_is_not_blackwell() -> None:
    seen = parsers.host(str(HOSTS / "turing_check_env"))

    assert {gpu.capability.get() for gpu in seen.driver.gpus.get()} == {"7.5"}
    assert (seen.driver.version, seen.engine.torch_cuda) == (known("550.67"), known("12.6"))
    assert unwell(seen)["gpu-architecture"] is Severity.FAIL


def test_a_b200_host_is_known_by_check_env_and_its_cut_topology_is_unknown() -> None:
    seen = parsers.host(str(HOSTS / "b200_check_env"))

    assert [gpu.name.get() for gpu in seen.driver.gpus.get()] == ["NVIDIA B200"] * 8
    assert seen.engine.packages.get()["sglang"] == "0.4.8"
    assert seen.driver.topology.unknown == "the pasted matrix is cut"


def test_collect_env_tells_gpus_and_torch() -> None:
    seen = parsers.host(str(HOSTS / "rtxpro6000_collect_env"))

    assert {gpu.capability.get() for gpu in seen.driver.gpus.get()} == {"12.0"}
    assert (seen.engine.torch_cuda, seen.engine.packages.get()["torch"]) == (
        known("13.0"),
        "2.9.1+cu130",
    )


def test_a_small_host_that_hangs_shows_what_the_default_level_cuts() -> None:
    seen = parsers.host(str(HOSTS / "intel2_hangs"))

    assert seen.driver.topology == known((("X", "PHB"), ("PHB", "X")))


def test_xids_of_a_kernel_log_are_kept() -> None:
    seen = parsers.host(str(HOSTS / "xid"))

    assert unwell(seen)["kernel-xid"] is Severity.FAIL
    assert unwell(seen)["kernel-nvswitch"] is Severity.FAIL


CSV = """index, name, pci.bus_id, memory.total [MiB], power.limit [W], pcie.link.gen.max, driver_version
0, NVIDIA RTX PRO 6000 Blackwell Server Edition, 00000000:01:00.0, 97887 MiB, 600.00 W, 5, 590.48.01
1, NVIDIA RTX PRO 6000 Blackwell Server Edition, 00000000:21:00.0, 97887 MiB, 300.00 W, 4, 590.48.01
"""
TABLE = """
| NVIDIA-SMI 590.48.01              Driver Version: 590.48.01      CUDA Version: 13.1     |
|-----------------------------------------+------------------------+----------------------+
|   0  NVIDIA H100 80GB HBM3          On  |   00000000:61:00.0 Off |                    0 |
| N/A   34C    P0            112W /  700W |   81000MiB /  81559MiB |    100%      Default |
+-----------------------------------------------------------------------------------------+
|  GPU   GI   CI              PID   Type   Process name                        GPU Memory |
|    0   N/A  N/A         1234567      C   sglang::scheduler                     80990MiB |
"""


def gpu(host: Host, index: int) -> Gpu:
    return host.driver.gpus.get()[index]


def test_comma_separated_values_are_read_by_their_heading(tmp_path: Path) -> None:
    seen = pasted(tmp_path, CSV)

    assert (gpu(seen, 1).power_limit, gpu(seen, 1).link_gen_max) == (known(300.0), known(4))
    assert (gpu(seen, 1).bdf, gpu(seen, 1).capability) == (known("0000:21:00.0"), known("12.0"))
    assert seen.driver.version == known("590.48.01")


def test_the_plain_table_tells_who_holds_a_gpu(tmp_path: Path) -> None:
    seen = pasted(tmp_path, TABLE)

    assert (gpu(seen, 0).capability, gpu(seen, 0).persistence) == (known("9.0"), known(True))
    assert gpu(seen, 0).processes.get()[0].pid == 1234567
    assert gpu(seen, 0).processes.get()[0].used == 80990 << 20


def test_lspci_without_root_hides_access_control(tmp_path: Path) -> None:
    text = "\n".join(
        line.split(" [", 1)[0] + " <access denied>" if "Capabilities" in line else line
        for line in (ASUS / "lspci.txt").read_text().splitlines()
        if "ACSC" not in line and "Lnk" not in line
    )
    seen = pasted(tmp_path, text)
    port = next(one for one in seen.pcie.functions.get() if one.kind != "gpu")

    assert port.acs.unknown == "lspci ran without root: capabilities were denied"


@pytest.mark.parametrize(
    ("text", "section", "fact", "value"),
    [
        (
            "BOOT_IMAGE=/vmlinuz ro iommu=pt\n",
            "kernel",
            "cmdline",
            "BOOT_IMAGE=/vmlinuz ro iommu=pt",
        ),
        (
            "              total  available\nMem:          1511       1500\n",
            "system",
            "memory_total",
            1511 << 10,
        ),
        (
            "        total   used   available\nMem:   1.5Ti   3Gi   1.4Ti\nSwap:  8Gi\n",
            "system",
            "swap",
            8 << 30,
        ),
        ("        total\nMem:   62G\n", "system", "memory_total", 62 << 30),
        ("available: 2 nodes (0-1)\nnode 0 cpus: 0 1\nnode 1 cpus:\n", "system", "numa_nodes", 1),
        (
            "Linux host 6.8.0-90-generic #91 SMP x86_64 GNU/Linux\n",
            "kernel",
            "release",
            "6.8.0-90-generic",
        ),
        (
            "max locked memory           (kbytes, -l) 8192\n",
            "system",
            "limits",
            {"memlock": 8192 << 10},
        ),
        (
            "max locked memory           (kbytes, -l) unlimited\n",
            "system",
            "limits",
            {"memlock": None},
        ),
        (
            "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  595.58.03  Release",
            "driver",
            "flavour",
            "open",
        ),
        (
            "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.67  Tue",
            "driver",
            "flavour",
            "proprietary",
        ),
        (
            "HF_TOKEN=secret\nNCCL_P2P_LEVEL=PHB\n",
            "environment",
            "variables",
            {"NCCL_P2P_LEVEL": "PHB"},
        ),
        (
            "\tGPU0\tGPU1\nGPU0\tX\tNS\nGPU1\tNS\tX\n",
            "driver",
            "p2p_read",
            (("X", "NS"), ("NS", "X")),
        ),
    ],
)
def test_each_small_text_is_known_by_its_content(
    tmp_path: Path, text: str, section: str, fact: str, value: object
) -> None:
    assert getattr(getattr(pasted(tmp_path, text), section), fact) == known(value)


@pytest.mark.parametrize(
    "stamp",
    [
        "[    8.159749]",
        "[Wed Apr  8 15:10:15 2026]",
        "2026-04-08T15:10:15,123456+00:00",
        "Apr 08 15:10:15 gpu-host kernel:",
        "2026-04-08T15:10:15+0000 gpu-host kernel:",
        "<4>[    8.159749]",
    ],
)
def test_a_kernel_log_is_known_however_its_lines_are_stamped(tmp_path: Path, stamp: str) -> None:
    seen = pasted(
        tmp_path, f"{stamp} NVRM: GPU 0000:06:00.0: something\n{stamp} usb 1-1: new device\n"
    )

    assert seen.kernel.log == known(("NVRM: GPU 0000:06:00.0: something",))


@pytest.mark.parametrize("text", ["", "hello", "GPU", "\x00\x01"])
def test_a_folder_without_any_known_text_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "notes").write_text(text)

    with pytest.raises(UserError, match="none of its 1 files is an output that is known here"):
        parsers.host(str(tmp_path))


def samples() -> list[str]:
    return [
        path.read_text() for path in sorted(HOSTS.rglob("*.*")) if path.suffix in (".txt", ".log")
    ] + [
        CSV,
        TABLE,
    ]


@MANY
@given(st.sampled_from(range(len(samples()))), st.integers(0, 2**32), st.integers(1, 400))
def test_any_garbling_of_real_texts_is_survived(
    tmp_path: Path, which: int, seed: int, wounds: int
) -> None:
    text = list(samples()[which])
    dice = random.Random(seed)
    for _ in range(wounds):
        at = dice.randrange(len(text))
        text[at] = dice.choice(
            ["", "\n", "\t", "0", "x", ":", "GPU", text[dice.randrange(len(text))]]
        )
    garbled = "".join(text)[: dice.randrange(1, len(text))]

    try:
        found = judge(pasted(tmp_path, garbled), plan())
    except UserError:
        return  # nothing known was left of it
    wanted = {check.id for check in checks() if not check.of_nodes}
    assert wanted <= {one.id for one in found}, "and the known issues of a release that is named"
    assert not [one for one in found if "the check itself failed" in one.evidence]


@MANY
@given(st.text())
def test_any_text_is_survived(tmp_path: Path, text: str) -> None:
    for read in (reader for _, known_by, reader in parsers.READERS):
        read(text)


if __name__ == "__main__":
    (HOSTS / "asus8x.json").write_text(
        json.dumps(facts_json.to_json(parsers.host(str(ASUS))), indent=1) + "\n"
    )


@pytest.mark.parametrize("heading", ["Clocks Event Reasons", "Clocks Throttle Reasons"])
@pytest.mark.parametrize(
    ("said", "severity"),
    [("Active", Severity.WARN), ("Not Active", Severity.UNKNOWN)],
)
def test_a_slowdown_counts_without_the_line_of_idleness(
    tmp_path: Path, heading: str, said: str, severity: Severity
) -> None:
    seen = pasted(
        tmp_path,
        "==============NVSMI LOG==============\n\nDriver Version : 595.58.03\n"
        "Attached GPUs : 1\nGPU 00000000:01:00.0\n"
        "    Product Name                    : NVIDIA RTX PRO 6000 Blackwell Server Edition\n"
        f"    {heading}\n"
        "        HW Slowdown                 : Not Active\n"
        f"            HW Thermal Slowdown     : {said}\n",
    )
    [found] = judge(seen, plan(), only=("gpu-clocks",))

    assert found.severity is severity


def test_tables_that_count_otherwise_are_told_as_those_of_two_hosts(tmp_path: Path) -> None:
    two, eight = (table("595.58", *[Row()] * count) for count in (2, 8))
    for name in ("both", "same"):
        (tmp_path / name).mkdir()

    assert "tables count 2 and 8 GPUs" in pasted(tmp_path / "both", two, eight).observed
    assert "tables count" not in pasted(tmp_path / "same", eight, eight).observed


@pytest.mark.parametrize(
    ("said", "named"),
    [
        ("None", "none"),
        ("Pass-Through", "passthrough"),
        ("VGPU", "vgpu"),
        ("Host VGPU", "host_vgpu"),
        ("Host VSGA", "host_vsga"),
    ],
)
def test_how_a_gpu_is_shared_is_named_as_nvml_names_it(said: str, named: str) -> None:
    """What nvidia-smi(1) lists; a GPU that is passed through is no virtual one."""
    assert smi.virtualization(said) == named
    assert named in nvml_questions.VIRTUALIZATION
