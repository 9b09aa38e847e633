"""One table of Xids: doctor, diagnose and the supervisor say the same of every number, in every
form of line.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from typing import cast

import pytest
from conftest import ROOT

from launcher.diagnose.diagnosis import diagnose
from launcher.diagnose.text import diagnose_text
from launcher.diagnose.verdict import UNKNOWN
from launcher.doctor.checks.kernel import kernel_nvswitch, kernel_xid
from launcher.engines.failures import failures
from launcher.host.facts import Host, Kernel, known
from launcher.knowledge import xid
from launcher.knowledge.xid import ADVICE, NOTE, Xid, judge, xids
from launcher.plan.findings import Severity
from launcher.plan.plan import Plan
from launcher.serve.gpu_monitor import GpuNews, fatal

PLAN = cast(Plan, None)  # this check looks at the host alone
NOT_LISTED = sorted(set(range(1, 200)) - set(xids()))
# What a line says behind the number, so that a row holds: as much as its `needs` asks for.
SAID = {
    74: "NVLink: fatal error detected on link 2(0x0, 0x0, 0x1000000, 0x0, 0x0, 0x0, 0x0)",
    154: "GPU recovery action changed from 0x0 (None) to 0x2 (Node Reboot Required)",
} | dict.fromkeys(range(144, 151), "NETIR Fatal XC0 i0 Link -1 (0x000fe406 0x00000000)")
NO_FINDING = {154: "GPU recovery action changed from 0x1 (GPU Reset Required) to 0x0 (None)"}
TOO_LITTLE = dict.fromkeys((74, 145, 149, 154), "something else") | {
    149: "NETIR_LINK_EVT Nonfatal XC0 i0 Link 00"
}

STAMPS = [
    "",
    "[ 5080.898738] ",
    "[Wed Jun 24 15:44:20 2026] ",
    "<4>[ 5080.898738] ",
    "Nov 24 03:10:11 gpu-7 kernel: ",
    "2026-11-24T03:10:11+0100 gpu-7 kernel: ",
    "kern  :warn  : 2025-01-21T08:43:30,287197+00:00 ",
    "10.0.0.7: kern: warning: [2026-04-22T21:25:20.466440686Z]: ",
]
HEADS = [
    "NVRM: Xid (PCI:0000:61:00): {}, ",
    "NVRM: Xid (0000:61:00): {}, ",
    "NVRM: Xid (PCI:0000:61:00 GPU-I:05): {}, ",
    "NVRM: GPU at PCI:0000:61:00: Xid (PCI:0000:61:00): {}, ",
]
WHOSE = ["", "pid=4711, ", "pid=4711, name=python3, ", "pid='<unknown>', name=<unknown>, "]


def lines(number: int, said: str) -> list[str]:
    """A line in each form: every stamp, every head, with and without a process."""
    whole = [stamp + HEADS[0].format(number) + whose + said for stamp in STAMPS for whose in WHOSE]
    return whole + [head.format(number) + whose + said for head in HEADS[1:] for whose in WHOSE]


def doctor(*log: str) -> tuple[Severity, str, str]:
    verdict = kernel_xid(Host(kernel=replace(Kernel(), log=known(log))), PLAN)
    return verdict.severity, verdict.evidence, verdict.fix


def severity(row: Xid) -> Severity:
    return Severity.WARN if row.advice == "again" else Severity.FAIL


# -- the law ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", sorted(xids()))
def test_doctor_and_diagnose_agree_on_every_row_in_every_form(number: int) -> None:
    row = xids()[number]
    for line in lines(number, SAID.get(number, "Ch 00000008, errorString x")):
        found = diagnose([line])
        grade, evidence, fix = doctor(line)

        assert grade is severity(row), line
        assert (found.then, row.what in evidence) == (row.advice, True), line
        assert found.what.endswith(f"{row.what} (Xid {number})"), line
        if found.is_known:
            assert (found.cause, fix.startswith(found.fix)) == (row.cause, True), line
        else:
            assert failures()[row.cause].weight == "note", line


@pytest.mark.parametrize("number", NOT_LISTED)
def test_a_number_that_is_not_listed_is_said_and_never_a_reason_to_reboot(number: int) -> None:
    for line in lines(number, "pid=1, name=x, something new"):
        grade, evidence, fix = doctor(line)

        assert grade is Severity.WARN
        assert xid.UNLISTED in evidence
        assert "reboot" not in fix
        assert (diagnose([line]).cause, diagnose([line]).then) == (UNKNOWN, "again")
        assert xid.UNLISTED in diagnose([line]).what
        assert fatal(line) is None


@pytest.mark.parametrize(("number", "said"), NO_FINDING.items())
def test_what_makes_a_line_harmless_makes_it_no_finding(number: int, said: str) -> None:
    for line in lines(number, said):
        assert doctor(line)[0] is Severity.OK, line
        assert (diagnose([line]).cause, diagnose([line]).also) == (UNKNOWN, ()), line
        assert fatal(line) is None


@pytest.mark.parametrize(("number", "said"), TOO_LITTLE.items())
def test_a_line_that_says_too_little_is_no_reason_to_reboot(number: int, said: str) -> None:
    for line in lines(number, said):
        assert doctor(line)[0] is Severity.WARN, line
        assert diagnose([line]).then == "again", line
        assert fatal(line) is None


def test_the_supervisor_stops_for_good_exactly_where_doctor_would_refuse() -> None:
    for number in (*xids(), *NOT_LISTED):
        kernel = f"NVRM: Xid (PCI:0000:61:00): {number}, {SAID.get(number, 'x')}"
        line = GpuNews(kernel=kernel).line
        stops = fatal(line)

        assert bool(stops) is (doctor(line)[0] is Severity.FAIL), number
        by_number = fatal(GpuNews(number, 5, "0000:61:00.0").line)
        assert by_number is None or stops, f"{number} alone says no more than a line"


@pytest.mark.parametrize("previous", [13, 79, 145, 149])
def test_what_follows_from_an_earlier_one_is_of_that_one(previous: int) -> None:
    """Each number in some of the forms, by turns: every form is there with several numbers."""
    row = xids()[previous]
    for at, number in enumerate(sorted(xids())):
        said = f"Ch 00000008, errorString x, caused by previous Xid {previous}, y"
        for line in lines(number, said)[at % 11 :: 11]:
            grade, evidence, fix = doctor(line)
            found = diagnose([line])

            assert judge(line.split("] ")[-1].split("kernel: ")[-1]) in (row, None)
            assert (grade, found.cause) == (severity(row), row.cause), line
            assert f"Xid {previous}, {row.what}" in evidence
            assert fix.startswith(found.fix)


# -- the table -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("client", "asks"), [("UNRECOGNIZED_CLIENT", True), ("GPCCLIENT_T1_0", False), ("", False)]
)
def test_a_sign_in_the_line_changes_what_to_do_for_doctor_and_diagnose(
    client: str, asks: bool
) -> None:
    said = f"NVRM: Xid (PCI:0000:9a:00): 31, pid=7, MMU Fault: ENGINE GRAPHICS GPC0 {client} x"
    by_doctor = kernel_xid(Host(kernel=replace(Kernel(), log=known((said,)))), PLAN)
    by_diagnose = diagnose([said])

    assert ("reboot the host" in by_doctor.fix) == asks
    assert ("reboot the host" in by_diagnose.fix) == asks
    assert (by_doctor.severity, by_diagnose.then) == (Severity.WARN, "again")
    assert "Xids" not in by_doctor.evidence
    assert "no reboot" not in by_doctor.evidence


def test_several_xids_are_counted() -> None:
    log = ("NVRM: Xid (PCI:0000:9a:00): 13, pid=7, x", "NVRM: Xid (PCI:0000:9a:00): 31, pid=7, x")
    told = kernel_xid(Host(kernel=replace(Kernel(), log=known(log))), PLAN)
    assert told.evidence.startswith("2 Xids, the last: Xid 31")


def test_rows_keep_to_the_vocabulary() -> None:
    for row in xids().values():
        assert row.advice in ADVICE
        assert row.evidence in {"tested", "observed", "reported", "source"}
        assert row.what
        assert row.mnemonic
        assert row.source
        assert row.advice == "again" or not row.sound, "who must reboot has no sound GPU"
        for shape in filter(None, (row.needs, row.unless)):
            assert not re.search(r"\(\?[iP]|[.S][*+]", shape), (
                "bounded, and without names of its own"
            )


def test_rows_of_one_cause_give_one_advice_and_their_cause_exists() -> None:
    for cause in {row.cause for row in xids().values()}:
        assert {row.advice for row in xid.of_cause(cause)} == {failures()[cause].then}
        assert failures()[cause].origin == "kernel"
    assert failures()[NOTE].weight == "note"


def test_no_signature_repeats_a_number() -> None:
    tables = [path.read_text() for path in (ROOT / "launcher").rglob("failures.toml")]
    assert len(tables) == 3
    for line in "\n".join(tables).splitlines():
        if line.startswith(("pattern", "what")):
            assert not re.search(r"\bXid\b", line), line


# -- whole logs ------------------------------------------------------------------------------------


def test_doctor_tells_the_first_grave_one_of_many_and_what_happened_before_what_is_to_be_done() -> (
    None
):
    asks = HEADS[0].format(154) + SAID[154]
    log = [asks, *(HEADS[0].format(number) + "x" for number in (45, 79, 119, 45, 13)), asks]
    grade, evidence, fix = doctor(*log)

    assert grade is Severity.FAIL
    assert evidence.startswith("Xid 79, a GPU fell off")
    assert evidence.endswith("(4 such lines)")
    assert fix == failures()["gpu-fell-off-bus"].fix
    assert doctor(asks)[1].startswith("Xid 154")


def test_what_is_not_to_be_trusted_for_ever_wants_a_reset_some_time() -> None:
    assert "at the next quiet moment" in doctor(HEADS[0].format(94) + "Contained ECC error")[2]
    assert "at the next quiet moment" in doctor(HEADS[0].format(167) + "x")[2]
    assert "reset" not in doctor(HEADS[0].format(43) + "x")[2]


def test_what_a_device_calls_itself_is_no_xid() -> None:
    named = "usb 1-1: Product: NVRM: Xid (PCI:0000:01:00): 79, GPU has fallen off the bus."

    assert doctor(named)[0] is Severity.OK


@pytest.mark.parametrize("number", [13, 79, 119, 154, 999])
@pytest.mark.parametrize(
    "carried",
    [
        lambda line: f"4,123,12345678,-;{line}",
        lambda line: f"19:15:34  {line}",
        lambda line: json.dumps({"MESSAGE": line, "_TRANSPORT": "kernel"}),
        lambda line: f"\x1b[31m[ 12.3] {line}\x1b[0m",
    ],
    ids=["kmsg", "time of day", "journald", "coloured"],
)
def test_they_agree_on_lines_as_others_print_them(
    number: int, carried: Callable[[str], str]
) -> None:
    line = carried(HEADS[0].format(number) + SAID.get(number, "x"))
    found = diagnose_text([line.encode()])

    assert doctor(line)[0] is (
        Severity.FAIL if found.then == "reboot" and found.is_known else Severity.WARN
    )
    assert f"Xid {number}" in doctor(line)[1]
    assert str(number) in str(found)


def test_a_containers_word_is_not_the_kernels() -> None:
    line = f"2026-11-24T03:10:11.5Z stdout F {HEADS[0].format(79)}x"

    assert doctor(line)[0] is Severity.OK
    assert not diagnose_text([line.encode()]).is_known


@pytest.mark.parametrize(
    ("said", "grade"),
    [
        ("SXid (PCI:0000:c1:00.0): 20034, Fatal, Link 30 LTSSM Fault Up", Severity.FAIL),
        ("SXid (PCI:0000:c1:00.0): 12028, Severity 1 Engine instance 36", Severity.FAIL),
        ("SXid (PCI:0000:c1:00.0): 20009, Non-fatal, Link 04 RX Short Error Rate", Severity.WARN),
        ("SXid (PCI:0000:c1:00.0): 12028, Data {0x00000001, 0x00000001}", Severity.WARN),
    ],
)
def test_doctor_and_diagnose_agree_on_what_is_fatal_to_the_fabric(
    said: str, grade: Severity
) -> None:
    line = f"[ 5080.898738] nvidia-nvswitch1: {said}"
    host = Host(kernel=replace(Kernel(), log=known((line,))))

    assert kernel_nvswitch(host, PLAN).severity is grade
    assert diagnose_text([line.encode()]).is_known == (grade is Severity.FAIL)
