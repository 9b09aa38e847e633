"""Forms of output that people paste, and what is to be said of each: nothing beyond what it shows."""

from __future__ import annotations

import functools
import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import GLM5_SERVE, TESTS, World
from rig.smi import HEADINGS, Row, table

from launcher.config.select import Offer, shown
from launcher.doctor.checks import judge
from launcher.doctor.heading import fitting, head
from launcher.doctor.run import Examined, of_host
from launcher.errors import UserError
from launcher.host import parsers
from launcher.host.facts import Gpu, Host, known
from launcher.plan.findings import Severity

CASES = TESTS / "hosts/cases"
NOWHERE = {"HOME": "/nowhere"}


@functools.cache
def offer() -> Offer:
    """The packaged profiles, read once."""
    return Offer(NOWHERE)


def examined(host: Host) -> Examined:
    return of_host(host, None, (), NOWHERE, lambda seen, _, engine: offer().best(seen, engine))


def unwell(host: Host) -> dict[str, Severity]:
    seen = examined(host)
    return {
        one.id: one.severity
        for one in judge(seen.host, seen.plan)
        if one.severity in (Severity.WARN, Severity.FAIL)
    }


def pasted(folder: Path, *texts: str) -> Host:
    for at, text in enumerate(texts):
        (folder / f"paste{at}").write_text(text)
    return parsers.host(str(folder))


WARN, FAIL = Severity.WARN, Severity.FAIL
SAID: dict[str, tuple[str, dict[str, Severity]]] = {
    "host_01_smi_610_header.txt": ("", {"driver-persistence": WARN}),
    "host_02_smi_name_cut_8x.txt": (
        "8xpro6000",
        {"driver-known-good": WARN, "gpu-memory-free": FAIL},
    ),
    "host_04_smi_b200_no_process_section.txt": ("8xb200", {}),
    "host_05_smi_quoted.txt": ("8xb200", {}),
    "host_06_smi_indented.txt": ("8xb200", {}),
    "host_08_device_handle.txt": ("", {"gpu-answers": FAIL}),
    "host_08_p2p_gns.txt": ("", {"p2p-status": WARN}),
    "host_08_topo.txt": ("", {}),
    "host_09_check_env_4gpu.txt": ("", {"gpu-architecture": FAIL}),
    "host_10_smi_name_cut_4x.txt": ("4xpro6000", {"driver-known-good": WARN}),
    "host_11_lspci_plain.txt": ("", {}),
    "host_12_lspci_nn_revff.txt": ("", {"pcie-present": FAIL}),
    "host_15_ulimit_memlock64.txt": ("", {"locked-memory": WARN}),
    "host_16_ibstat.txt": ("", {}),
    "host_17_bug_report_extract.txt": ("", {"kernel-xid": FAIL}),
    "host_18_journal_json.json": ("", {"kernel-xid": FAIL}),
    "host_20_collect_env_h200.txt": ("", {"gpu-architecture": FAIL}),
    "host_21_collect_env_cu126.txt": ("", {"engine-cuda": FAIL}),
}


def test_each_case_is_in_the_table() -> None:
    assert {path.name for path in CASES.iterdir()} == SAID.keys()


@pytest.mark.parametrize("name", SAID)
def test_of_each_case_what_it_shows_is_said_and_nothing_else(name: str) -> None:
    host = parsers.host(str(CASES / name))
    profile, wanted = SAID[name]

    assert examined(host).plan.name == profile
    assert unwell(host) == wanted


@pytest.mark.parametrize("name", SAID)
def test_advice_to_reset_reseat_or_reboot_needs_a_fault_of_that_part(name: str) -> None:
    seen = examined(parsers.host(str(CASES / name)))
    parts = {"gpu-answers", "pcie-present", "kernel-xid"}
    drastic = ("reset", "reseat", "reboot", "power the host")

    for found in judge(seen.host, seen.plan):
        if any(word in found.fix for word in drastic):
            assert found.id in parts, (found.id, found.evidence, found.fix)


def test_what_is_not_provided_says_what_to_paste() -> None:
    seen = examined(parsers.host(str(CASES / "host_04_smi_b200_no_process_section.txt")))
    told = {found.id: found.evidence for found in judge(seen.host, seen.plan)}

    assert told["gpu-remap"] == "not provided: `nvidia-smi -q` tells it"
    assert told["kernel-xid"] == "not provided: `sudo dmesg` tells it"
    assert told["acs-redirect"] == "not provided: `sudo lspci -vvv` tells it"
    assert "not observed" not in told.values()


def test_every_fact_that_nobody_pasted_says_so(tmp_path: Path) -> None:
    host = pasted(tmp_path, "Linux host 6.8.0-90-generic #91 SMP x86_64 GNU/Linux\n")
    sections = [section for section in vars(host).values() if not isinstance(section, str)]
    facts = [fact for section in sections for fact in vars(section).values()]

    assert {str(fact.unknown).partition(":")[0] for fact in facts} == {"not provided", "None"}


# -- nvidia-smi's table, by generation ---------------------------------------------------------

BLACKWELL = Row()
SERVED = {"418.87": "418.87.00", "450.80": "450.80.02", "610.57": "610.57.04"}


def gpus(host: Host) -> tuple[Gpu, ...]:
    return host.driver.gpus.get()


@pytest.mark.parametrize("wrap", ["{}", "> {}", "    {}", "> > {}", "\t{}", "\x1b[1m{}\x1b[0m"])
@pytest.mark.parametrize("driver", HEADINGS)
def test_the_table_of_each_generation_is_read_however_it_is_pasted(
    tmp_path: Path, driver: str, wrap: str
) -> None:
    text = "\n".join(wrap.format(line) for line in table(driver, *[BLACKWELL] * 4).splitlines())
    host = pasted(tmp_path, text)
    first = gpus(host)[0]

    assert len(gpus(host)) == 4
    assert str(host.driver.version.get()).startswith(driver)
    assert host.driver.cuda.known
    assert first.capability == known("12.0")
    assert (first.memory_total, first.memory_used) == (known(97887 << 20), known(4 << 20))
    assert (first.temperature, first.pstate, first.utilisation) == (known(32), known(8), known(0))
    assert (first.power_draw, first.power_limit) == (known(16.0), known(600.0))
    assert (first.ecc, first.ecc_uncorrected) == (known(True), known(0))
    assert (first.persistence, first.compute_mode) == (known(True), known("default"))
    assert first.processes == known(())
    assert examined(host).plan.name == "4xpro6000"


@pytest.mark.parametrize(
    ("row", "id", "severity"),
    [
        (Row(mode="Off"), "driver-persistence", WARN),
        (Row(ecc="3"), "gpu-ecc", FAIL),
        (Row(mig="Enabled"), "gpu-mig", FAIL),
        (Row(mig="Enabled*"), "gpu-mig", FAIL),
        (Row(mig="Enabled", ecc="On", busy="N/A"), "gpu-mig", FAIL),
        (Row(compute="E. Process"), "gpu-compute-mode", FAIL),
        (Row(compute="Prohibited"), "gpu-compute-mode", FAIL),
        (Row(temperature="91C"), "gpu-temperature", WARN),
        (Row(used="624MiB", busy="100%"), "gpu-left-over", FAIL),
        (Row(name="ERR!"), "gpu-answers", FAIL),
        (
            Row(fan="ERR!", temperature="ERR!", pstate="ERR!", power="ERR! / ERR!", busy="ERR!"),
            "gpu-answers",
            FAIL,
        ),
    ],
)
def test_each_column_is_judged(tmp_path: Path, row: Row, id: str, severity: Severity) -> None:
    host = pasted(tmp_path, table("595.58", *[BLACKWELL] * 7, row))

    assert unwell(host) == {id: severity}


@pytest.mark.parametrize(
    "row",
    [
        Row(ecc="Off"),
        Row(ecc="N/A"),
        Row(fan="ERR!"),
        Row(fan="N/A", power="N/A / N/A"),
        Row(power="ERR! / 600W"),
        Row(mig="Disabled"),
        Row(mode="WDDM"),
        Row(mode="TCC"),
    ],
)
def test_what_a_board_or_system_does_not_have_is_no_fault(tmp_path: Path, row: Row) -> None:
    assert unwell(pasted(tmp_path, table("595.58", *[row] * 8))) == {}


def test_memory_that_is_unified_is_not_supported_and_no_fault(tmp_path: Path) -> None:
    spark = Row(name="NVIDIA GB10", power="4W /  N/A", ecc="N/A")
    text = table("580.95", spark).replace("      4MiB /  97887MiB", "Not Supported       ")

    assert unwell(pasted(tmp_path, text)) == {}


@pytest.mark.parametrize("processes", ["", "\n| Processes:  |\n|  GPU   PID   Type  |\n+---+\n"])
def test_without_a_list_of_processes_nobody_is_said_to_hold_the_memory(
    tmp_path: Path, processes: str
) -> None:
    """In a container the list is empty, whoever holds it."""
    busy = Row(used="90000MiB", busy="100%")
    host = pasted(tmp_path, table("595.58", *[busy] * 8, processes=processes))
    found = {one.id: one.severity for one in judge(host, examined(host).plan)}

    assert unwell(host) == {}
    assert found["gpu-memory-free"] is Severity.UNKNOWN


@pytest.mark.parametrize(
    "line",
    [
        "|    0   N/A  N/A            5635      C   sglang::scheduler_TP0      45000MiB |",
        "|    0   N/A  N/A            5635      C   VLLM::Worker TP0           45000MiB |",
        "|    0                       5635    C+G   /usr/bin/python3 -m x      45000MiB |",
        "|    0    7    0             5635    M+C   python                     45000MiB |",
    ],
)
def test_processes_are_read_in_each_form(tmp_path: Path, line: str) -> None:
    host = pasted(
        tmp_path, table("595.58", BLACKWELL, BLACKWELL, processes=f"| Processes: |\n{line}\n")
    )

    (one,) = gpus(host)[0].processes.get()
    assert (one.pid, one.used) == (5635, 45000 << 20)
    assert gpus(host)[1].processes == known(())


def test_processes_whose_memory_is_not_told_hold_together_what_is_in_use(tmp_path: Path) -> None:
    """As on Windows: nobody can say which of them holds what."""
    line = "|    0   N/A  N/A      {0}    C+G   Insufficient Permissions        N/A      |\n"
    processes = f"| Processes: |\n{line.format(1752)}{line.format(2424)}"
    host = pasted(tmp_path, table("580.95", Row(used="576MiB"), processes=processes))
    (found,) = judge(host, examined(host).plan, only=("gpu-memory-free",))

    assert "pid 1752 (Insufficient Permissions)" in found.evidence
    assert found.evidence.endswith("together hold 576 MiB")


def test_of_several_tables_the_last_counts(tmp_path: Path) -> None:
    hot = table("595.58", *[replace(BLACKWELL, temperature="90C")] * 2)
    host = pasted(tmp_path, hot + table("595.58", *[BLACKWELL] * 2))

    assert [gpu.temperature.get() for gpu in gpus(host)] == [32, 32]


# -- other forms -----------------------------------------------------------------------------------

SERVER = "NVIDIA RTX PRO 6000 Blackwell Server Edition"
HEAD = "index, name, memory.total [MiB], driver_version"
ROWS = "\n".join(f"{at}, {SERVER}, 97887 MiB, 595.58.03" for at in range(8))
BARE = ROWS.replace(" MiB", "")
ASKED = "$ nvidia-smi --query-gpu=index,name,memory.total,driver_version --format=csv,noheader"
LISTED = "\n".join(f"GPU {at}: {SERVER} (UUID: GPU-{at:08}-0000)" for at in range(8))


@pytest.mark.parametrize(
    "text",
    [
        f"{HEAD}\n{ROWS}",
        f"{HEAD}\n{BARE}",
        f"{HEAD.replace(', ', ',')}\n{BARE.replace(', ', ',')}",
        ROWS,
        BARE,
        f"{ASKED}\n{ROWS}",
        f"{ASKED},nounits\n{BARE}",
        "\n".join(["name", *[SERVER] * 8]),
        "\n".join([SERVER] * 8),
        "\n".join(f"{SERVER}, 97887 MiB" for _ in range(8)),
        LISTED,
        f"$ nvidia-smi -L\n{LISTED}",
    ],
)
def test_lists_tell_the_gpus_with_headings_and_units_or_without(tmp_path: Path, text: str) -> None:
    host = pasted(tmp_path, text)

    assert [gpu.name.get() for gpu in gpus(host)] == [SERVER] * 8
    assert {gpu.memory_total.otherwise(97887 << 20) for gpu in gpus(host)} == {97887 << 20}
    assert examined(host).plan.name == "8xpro6000"
    assert unwell(host) == {}


def test_a_list_without_names_is_one_of_gpus_in_their_order(tmp_path: Path) -> None:
    text = (
        "memory.total [MiB], memory.used [MiB], utilization.gpu [%], temperature.gpu\n"
        "[N/A], [N/A], 0 %, 35\n97887 MiB, 4 MiB, 1 %, 36\n"
    )
    host = pasted(tmp_path, text)

    assert [gpu.temperature.get() for gpu in gpus(host)] == [35, 36]
    assert not gpus(host)[0].memory_total.known


LOG = """<?xml version="1.0" ?>
<!DOCTYPE nvidia_smi_log SYSTEM "nvsmi_device_v12.dtd">
<nvidia_smi_log>
	<driver_version>595.58.03</driver_version>
	<cuda_version>13.2</cuda_version>
	<attached_gpus>1</attached_gpus>
	<gpu id="00000000:06:00.0">
		<product_name>NVIDIA RTX PRO 6000 Blackwell Server Edition</product_name>
		<mig_mode><current_mig>Disabled</current_mig></mig_mode>
		<uuid>GPU-00000000</uuid>
		<gpu_recovery_action>{0}</gpu_recovery_action>
		<fb_memory_usage><total>97887 MiB</total><used>4 MiB</used></fb_memory_usage>
		<pci><pci_gpu_link_info><link_widths><max_link_width>16x</max_link_width>
			<current_link_width>16x</current_link_width></link_widths></pci_gpu_link_info></pci>
		<processes></processes>
	</gpu>
</nvidia_smi_log>
"""


@pytest.mark.parametrize(("word", "wanted"), [("None", {}), ("Reset", {"gpu-recovery": FAIL})])
def test_the_long_form_is_read_as_xml(
    tmp_path: Path, word: str, wanted: dict[str, Severity]
) -> None:
    host = pasted(tmp_path, LOG.format(word))
    (one,) = gpus(host)

    assert (host.driver.version, host.driver.cuda) == (known("595.58.03"), known("13.2"))
    assert (one.bdf, one.capability, one.link_width) == (
        known("0000:06:00.0"),
        known("12.0"),
        known(16),
    )
    assert (one.processes, one.mig) == (known(()), known(False))
    assert unwell(host) == wanted


def test_a_list_of_processes_is_no_list_of_gpus(tmp_path: Path) -> None:
    text = "pid, process_name, gpu_bus_id\n1, python, 00000000:01:00.0\n"
    host = pasted(tmp_path, text, "Mem:  1\n", LISTED)

    assert len(gpus(host)) == 8


def test_instances_below_a_gpu_say_that_mig_is_on(tmp_path: Path) -> None:
    lines = LISTED.splitlines()
    lines.insert(1, "  MIG 1g.24gb     Device  0: (UUID: MIG-0)")

    assert unwell(pasted(tmp_path, "\n".join(lines))) == {"gpu-mig": FAIL}


P2P = "\n".join(["\tGPU0\tGPU1", " GPU0\tX\t{0}", " GPU1\t{0}\tX", "", "Legend:", "  X    = Self"])


def test_matrices_in_one_text_are_told_apart(tmp_path: Path) -> None:
    text = (
        f"$ nvidia-smi topo -m\n{P2P.format('PIX')}\n$ nvidia-smi topo -p2p r\n{P2P.format('OK')}\n"
        f"$ nvidia-smi topo -p2p w\n{P2P.format('TNS')}\n$ nvidia-smi topo -p2p n\n"
        f"{P2P.format('NS')}\n"
    )
    host = pasted(tmp_path, text)

    assert host.driver.topology.get()[0] == ("X", "PIX")
    assert (host.driver.p2p_read.get()[0], host.driver.p2p_write.get()[0]) == (
        ("X", "OK"),
        ("X", "TNS"),
    )


@pytest.mark.parametrize(
    ("text", "id"),
    [
        (
            "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure"
            " that the latest NVIDIA driver is installed and running.",
            "driver-answers",
        ),
        (
            "Failed to initialize NVML: Driver/library version mismatch\nNVML library version: 580",
            "driver-answers",
        ),
        ("Failed to initialize NVML: Unknown Error", "driver-answers"),
        ("Failed to initialize NVML: Insufficient Permissions", "driver-answers"),
        ("No devices were found", "gpu-count"),
        (
            "Unable to determine the device handle for GPU 0000:66:00.0: GPU is lost.  Reboot the"
            " system to recover this GPU",
            "gpu-answers",
        ),
        (
            "Unable to determine the device handle for GPU3: 0000:66:00.0: Unknown Error",
            "gpu-answers",
        ),
    ],
)
def test_what_nvidia_smi_says_in_place_of_an_answer_is_a_fault(
    tmp_path: Path, text: str, id: str
) -> None:
    assert unwell(pasted(tmp_path, text)) == {id: FAIL}


def test_a_lost_gpu_beside_others_is_one_more(tmp_path: Path) -> None:
    lost = "Unable to determine the device handle for GPU0000:66:00.0: Unknown Error\n"
    host = pasted(tmp_path, lost + table("595.58", *[BLACKWELL] * 7))

    assert [gpu.index for gpu in gpus(host)] == list(range(8))
    assert unwell(host) == {"gpu-answers": FAIL}


@pytest.mark.parametrize("bits", ["SrcValid+ ReqRedir+ CmpltRedir+", "SrcValid+ CmpltRedir+"])
def test_control_bits_of_bridges_that_are_not_named_are_no_verdict_on_those_above_gpus(
    tmp_path: Path, bits: str
) -> None:
    clear = "\t\tACSCtl:\tSrcValid+ TransBlk- ReqRedir- CmpltRedir- UpstreamFwd+\n"
    (tmp_path / "clear").mkdir()

    assert unwell(pasted(tmp_path, f"{clear}\t\tACSCtl:\t{bits}\n")) == {"acs-redirect": WARN}
    assert unwell(pasted(tmp_path / "clear", clear * 3)) == {}


XID = "NVRM: Xid (PCI:0000:21:00): 79, pid=1, name=x, GPU has fallen off the bus."


@pytest.mark.parametrize(
    "text",
    [
        f"[ 1234.567890] {XID}",
        f"[Wed Apr  8 15:10:15 2026] {XID}",
        f"[  +0.000003] {XID}",
        f"<4>[ 1234.567890] {XID}",
        f"kern  :err   : [ 1234.567890] {XID}",
        f"2026-04-08T15:10:15,123456+00:00 {XID}",
        f"Apr 08 15:10:15 gpu kernel: {XID}",
        f"4月 19 22:36:49 gpu kernel: {XID}",
        f"Apr  8 15:10:15 gpu kernel: [ 1234.567890] {XID}",
        f"2026-04-08T15:10:15.123456+00:00 gpu kernel: {XID}",
        f"Wed 2026-04-08 15:10:15 UTC gpu kernel: {XID}",
        f"[ 1234.567890] gpu kernel: {XID}",
        f"4,1234,567890,-;{XID}",
        XID,
        json.dumps({"_TRANSPORT": "kernel", "MESSAGE": XID}),
        json.dumps({"_TRANSPORT": "kernel", "MESSAGE": XID}, indent=8),
        json.dumps({"_TRANSPORT": "kernel", "MESSAGE": list(XID.encode())}),
        f"MESSAGE={XID}\n_TRANSPORT=kernel\n",
    ],
)
@pytest.mark.parametrize("wrap", ["{}", "> {}", "    {}"])
def test_a_kernel_log_is_read_in_each_form(tmp_path: Path, text: str, wrap: str) -> None:
    host = pasted(tmp_path, "\n".join(wrap.format(line) for line in text.splitlines()))

    assert host.kernel.log == known((XID,))
    assert unwell(host) == {"kernel-xid": FAIL}


def test_a_message_of_several_lines_is_kept_in_its_order(tmp_path: Path) -> None:
    text = (
        "[ 1843.308145] NVRM: The NVIDIA GPU 0000:b3:00.0\n"
        "               NVRM: (PCI ID: 10de:26b5) installed in this system has\n"
        "               NVRM: fallen off the bus and is not responding to commands.\n"
        "[ 1843.439662] NVRM: The NVIDIA probe routine failed for 1 device(s).\n"
    )
    host = pasted(tmp_path, text)

    assert [line.split()[1] for line in host.kernel.log.get()] == ["The", "(PCI", "fallen", "The"]
    assert unwell(host) == {"kernel-driver": FAIL}


@pytest.mark.parametrize(
    "text",
    [
        f"Apr 08 15:10:15 gpu python3[77]: {XID}",
        json.dumps({"_TRANSPORT": "stdout", "MESSAGE": XID}),
        f"MESSAGE={XID}\n_TRANSPORT=stdout\n",
    ],
)
def test_what_a_program_wrote_is_not_the_kernels(tmp_path: Path, text: str) -> None:
    kernel = "[    1.000000] Linux version 6.8.0-90-generic (x)\n"

    assert unwell(pasted(tmp_path, kernel, text)) == {}


SPEEDS = "Unidirectional P2P=Enabled Bandwidth (P2P Writes) Matrix (GB/s)\n   D\\D     0      1\n"
DEVICES = "".join(
    f"Device: {at}, {SERVER}, pciBusID: {at + 1}, pciDeviceID: 0, pciDomainID:0\n" for at in (0, 1)
)
REACH = "P2P Connectivity Matrix\n     D\\D     0     1\n     0\t     1     {0}\n     1\t     {0}     1\n"
NVBANDWIDTH = """nvbandwidth Version: v0.8
CUDA Driver Version: 13020
Driver Version: 595.58.03

Device 0: NVIDIA RTX PRO 6000 Blackwell Server Edition (00000000:01:00)
Device 1: NVIDIA RTX PRO 6000 Blackwell Server Edition (00000000:21:00)

Running device_to_device_memcpy_write_ce.
memcpy CE GPU(row) <- GPU(column) bandwidth (GB/s)
           0         1
 0       N/A     {0}
 1     {0}       N/A

SUM device_to_device_memcpy_write_ce 111.00
"""
DCGM = """+---------------------------+------------------------------------------------+
| Diagnostic                | Result                                         |
+===========================+================================================+
|-----  Metadata  ----------+------------------------------------------------|
| DCGM Version              | 4.2.3                                          |
|-----  Deployment  --------+------------------------------------------------|
| software                  | Pass                                           |
|-----  Hardware  ----------+------------------------------------------------|
| memory                    | {0:<46} |
"""


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (DEVICES + SPEEDS + "     0 1488.10  56.57\n     1   56.57 1416.77\n", {}),
        (
            DEVICES + SPEEDS + "     0 1488.10  12.57\n     1   56.57 1416.77\n",
            {"p2p-copies": WARN},
        ),
        (DEVICES + SPEEDS + "     0 1488.10  12.57\n     1\n", {}),
        (DEVICES + REACH.format(1), {}),
        (DEVICES + REACH.format(0), {"p2p-status": WARN}),
        ("Device=0 CAN Access Peer Device=1\nDevice=1 CAN Access Peer Device=0\n", {}),
        ("Device=0 CANNOT Access Peer Device=1\n", {}),
        (
            "Device=0 CAN Access Peer Device=1\nDevice=1 CANNOT Access Peer Device=0\n",
            {"p2p-status": WARN},
        ),
        (
            "> Peer access from NVIDIA GeForce RTX 5090 (GPU0) -> NVIDIA GeForce RTX 5090 (GPU1) : No\n"
            "> Peer access from NVIDIA GeForce RTX 5090 (GPU1) -> NVIDIA GeForce RTX 5090 (GPU0) : No\n",
            {"p2p-status": WARN},
        ),
        (NVBANDWIDTH.format("55.50"), {}),
        (NVBANDWIDTH.format("11.50"), {"p2p-copies": WARN}),
        (DCGM.format("Pass"), {}),
        (DCGM.format("Skip - All"), {}),
        (DCGM.format("Fail"), {"gpu-diagnostics": FAIL}),
        (DCGM.format("Warn"), {"gpu-diagnostics": WARN}),
    ],
)
def test_what_was_measured_is_judged(
    tmp_path: Path, text: str, wanted: dict[str, Severity]
) -> None:
    assert unwell(pasted(tmp_path, text)) == wanted


# -- healthy hosts -------------------------------------------------------------------------------

B200 = Row("NVIDIA B200", "183359MiB", power="192W / 1000W", mig="Disabled", fan="N/A")
B300 = Row("NVIDIA B300 SXM6 AC", "275040MiB", power="170W / 1100W", mig="Disabled", fan="N/A")
GB200 = Row("NVIDIA GB200", "189471MiB", power="170W / 1200W", mig="Disabled", fan="N/A")
MAXQ = Row(power="14W / 300W", ecc="Off")
NV18 = "\n".join(
    ["\t" + "\t".join(f"GPU{at}" for at in range(8)) + "\tCPU Affinity\tNUMA Affinity"]
    + [
        f"GPU{at}\t" + "\t".join(" X " if at == to else "NV18" for to in range(8)) + "\t0-55\t0"
        for at in range(8)
    ]
)
BOOT = """[    0.000000] Linux version 6.17.0-20-generic (buildd@host) #20-Ubuntu SMP
[    0.000000] Command line: BOOT_IMAGE=/boot/vmlinuz-6.17.0-20-generic ro quiet iommu=pt
[    9.000000] NVRM: loading NVIDIA UNIX Open Kernel Module for x86_64  595.58.03  Release Build
"""
LSPCI = "\n".join(
    f"{bus}:00.0 3D controller [0302]: NVIDIA Corporation GB202GL [RTX PRO 6000 Blackwell Server"
    " Edition] [10de:2bb5] (rev a1)"
    for bus in ("06", "07", "16", "17", "86", "87", "96", "97")
)
HEALTHY: dict[str, tuple[str, tuple[str, ...]]] = {
    "eight RTX PRO 6000": ("8xpro6000", (table("595.58", *[Row()] * 8),)),
    "eight with a 610 driver": (
        "8xpro6000",
        (table("610.57", *[Row()] * 8), BOOT.replace("595.58.03", "610.57.04")),
    ),
    "eight B200 that idle": ("8xb200", (table("580.95", *[B200] * 8), NV18)),
    "eight B200 that serve, in a container": (
        "8xb200",
        (table("580.95", *[replace(B200, used="166593MiB", busy="98%")] * 8, processes=""),),
    ),
    "eight B300": ("8xb300", (table("580.95", *[B300] * 8),)),
    "four GB200": ("4xb200", (table("580.95", *[GB200] * 4),)),
    "four Max-Q": ("4xpro6000", (table("580.95", *[MAXQ] * 4),)),
    "two RTX PRO 6000": ("", (table("595.58", *[Row()] * 2),)),
    "one RTX PRO 6000 below Windows": ("", (table("580.95", Row(mode="WDDM")),)),
    "two RTX 5090": (
        "",
        (table("580.95", *[Row("NVIDIA GeForce RTX 5090", "32607MiB", ecc="N/A")] * 2),),
    ),
    "eight by their PCI ids alone": ("8xpro6000", (LSPCI,)),
    "a list": ("8xpro6000", (LISTED,)),
    "a boot and its command line": ("", (BOOT,)),
    "two that may reach each other": ("", (P2P.format("OK"),)),
}


@pytest.mark.parametrize("name", HEALTHY)
def test_of_a_healthy_host_nothing_is_said(tmp_path: Path, name: str) -> None:
    profile, texts = HEALTHY[name]
    host = pasted(tmp_path, *texts)

    assert examined(host).plan.name == profile
    assert unwell(host) == {}


# -- what is judged, and for what ----------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_cut_name_with_its_memory_is_a_product(tmp_path: Path, count: int) -> None:
    host = pasted(tmp_path, table("595.58", *[Row()] * count))

    assert f"{count}x RTX PRO 6000 Blackwell; judged without a profile" in head(examined(host))


def test_what_fits_gpus_that_no_profile_is_for_is_said(tmp_path: Path) -> None:
    two = pasted(tmp_path, table("595.58", *[Row()] * 2))
    (tmp_path / "four").mkdir()
    b300 = pasted(tmp_path / "four", table("580.95", *[B300] * 2))

    assert "none of the" in fitting(shown(two))[0]
    assert "4 such GPUs hold nvidia/GLM-5.3-Flash-NVFP4" in fitting(shown(two))[0]
    assert any("nvidia/GLM-5.3-Flash-NVFP4" in line for line in fitting(shown(b300)))
    assert not any("zai-org/GLM-5.3-BF16" in line for line in fitting(shown(b300)))


def test_nothing_is_said_to_fit_gpus_that_nobody_knows() -> None:
    assert fitting(Host().driver) == []


def test_the_architecture_is_compared_with_what_the_profile_needs(tmp_path: Path) -> None:
    host = pasted(tmp_path, table("595.58", *[Row()] * 8))
    seen = of_host(host, "8xb200", (), NOWHERE)
    found = {one.id: one for one in judge(seen.host, seen.plan)}

    assert found["gpu-architecture"].severity is FAIL
    assert "profile 8xb200 is for sm100" in found["gpu-architecture"].evidence


def test_fewer_gpus_than_a_profile_needs_are_no_reason_to_reseat_any(tmp_path: Path) -> None:
    host = pasted(tmp_path, table("595.58", *[Row()] * 4))
    seen = of_host(host, "8xpro6000", (), NOWHERE)
    (found,) = judge(seen.host, seen.plan, only=("gpu-count",))

    assert found.severity is FAIL
    assert "seat" not in found.fix


def test_those_that_the_bus_has_beyond_are_one(tmp_path: Path) -> None:
    host = pasted(tmp_path, table("595.58", *[Row()] * 4), LSPCI)
    seen = of_host(host, "8xpro6000", (), NOWHERE)
    (found,) = judge(seen.host, seen.plan, only=("gpu-count",))

    assert "8 are on the PCI bus" in found.evidence
    assert "reseat" in found.fix


# -- at the command line -------------------------------------------------------------------------


def piped(world: World, text: bytes, *words: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [GLM5_SERVE, "doctor", "--from", "-", *words],
        input=text,
        env=world.environ,
        capture_output=True,
        timeout=60,
        check=False,
    )


def test_nvidia_smi_may_be_piped_in(world: World) -> None:
    said = piped(world, table("595.58", *[Row()] * 8).encode())

    assert (said.returncode, said.stderr) == (0, b"")
    assert b"nvidia-smi: 8x RTX PRO 6000 Blackwell; judged for 8xpro6000" in said.stdout
    assert b"not provided: `nvidia-smi -q` tells it" in said.stdout


def test_one_reason_is_told_once(world: World) -> None:
    for words in ((), ("--all",)):
        said = piped(world, table("595.58", *[Row()] * 8).encode(), *words).stdout.decode()
        assert said.count("not provided: `nvidia-smi -q` tells it") == 1


def test_a_file_and_a_folder_with_what_is_not_recognised(world: World) -> None:
    (world.folder / "pasted").mkdir()
    (world.folder / "pasted/a.txt").write_text("garbage")
    (world.folder / "pasted/smi").write_text(table("595.58", *[Row()] * 8))
    one = world.run("doctor", "--from", "pasted/smi")
    both = world.run("doctor", "--from", "pasted")

    assert one.returncode == both.returncode == 0
    assert "not recognised" not in one.stdout
    assert "pasted texts: nvidia-smi; not recognised: a.txt: 8x" in both.stdout


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/null", "fifo", "nowhere"])
def test_what_is_no_file_is_refused_at_once(world: World, path: str) -> None:
    os.mkfifo(world.folder / "fifo")
    for command in ("doctor", "facts"):
        said = world.run(command, "--from", path, timeout=20)
        assert said.returncode == 2
        assert "Traceback" not in said.stderr


def test_a_pipe_without_end_is_read_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """A smaller one here: what is read is searched for each of the outputs that are known."""
    monkeypatch.setattr(parsers, "MOST", 1 << 20)
    with Path("/dev/zero").open() as zeros:
        monkeypatch.setattr("sys.stdin", zeros)
        with pytest.raises(UserError, match="nothing in it is an output that is known") as refusal:
            parsers.host("-")

    assert refusal.value.status == 78


def test_facts_of_pasted_texts_have_nothing_that_a_profile_would_set(world: World) -> None:
    (world.folder / "smi").write_text(table("595.58", *[Row()] * 8))
    told = json.loads(world.run("facts", "--from", "smi").stdout)

    assert told["environment"]["variables"] == {
        "unknown": "not provided: `env | grep -E 'NCCL|CUDA|SGLANG'` tells it"
    }


def test_two_hosts_at_once_are_refused(world: World) -> None:
    (world.folder / "smi").write_text(table("595.58", *[Row()] * 8))
    said = world.run("doctor", "--from", "smi", "--facts", "facts.json")

    assert said.returncode == 2
    assert "give one of them" in said.stderr


def test_settings_without_a_profile_are_refused(world: World) -> None:
    said = piped(world, table("595.58", Row()).encode(), "--set", "flags.tp-size=1")

    assert said.returncode == 2
    assert b"choose one: -p NAME" in said.stderr


@pytest.mark.parametrize("name", ["", "cmdline: ", "Command line: ", "/proc/cmdline: "])
def test_a_command_line_may_have_its_name_before_it(tmp_path: Path, name: str) -> None:
    host = pasted(tmp_path, f"kernel: 6.17.0\n{name}BOOT_IMAGE=/vmlinuz ro iommu=pt\n")
    assert host.kernel.cmdline == known("BOOT_IMAGE=/vmlinuz ro iommu=pt")


def test_a_row_of_values_may_have_the_address_before_the_name(tmp_path: Path) -> None:
    host = pasted(tmp_path, "0, 00000000:E1:00.0, NVIDIA B200, 250.00 W\n")
    [gpu] = host.driver.gpus.get()
    assert (gpu.name, gpu.bdf) == (known("NVIDIA B200"), known("0000:e1:00.0"))


def test_a_line_of_cpuinfo_names_the_cpu_and_counts_none(tmp_path: Path) -> None:
    host = pasted(tmp_path, "model name\t: AMD EPYC 9B14 96-Core Processor\ncpu cores\t: 96\n")
    assert host.system.cpu_model == known("AMD EPYC 9B14 96-Core Processor")
    assert not host.system.cpus.known
    assert not host.system.cpu_vendor.known


@pytest.mark.parametrize("text", ["the model name : ours", "no cmdline here", "index, name"])
def test_prose_about_them_is_none_of_them(tmp_path: Path, text: str) -> None:
    with pytest.raises(UserError):
        pasted(tmp_path, text)
