"""The script of `doctor --fix`: what it would do to a host, tried on copies of the files it
changes.
"""

from __future__ import annotations

import atexit
import functools
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rig.healthy import functions, having, host, plan, with_function, with_gpus

from launcher.doctor.checks import judge
from launcher.doctor.remedies import HEAD, PUT, script
from launcher.host.facts import Host, Raid, known
from launcher.knowledge.iommu import parameters
from launcher.plan.findings import Finding, Severity

UNWELL = having(
    with_function(host(), "0000:17:00.0", iommu_type="DMA-FQ"),
    kernel__cmdline="ro quiet amd_iommu=pt",
    driver__hmm_disabled=False,
    driver__gpus=tuple(replace(one, addressing=known("hmm")) for one in host().driver.gpus.get()),
    system__numa_balancing=1,
    system__governors={"powersave": 256},
    system__raids=(Raid("md0", "raid5", 256),),
)


def made(unwell: Host) -> str:
    return script(unwell, judge(unwell, plan()))


def commands(text: str) -> list[str]:
    return [
        line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")
    ]


def test_a_healthy_host_gets_a_script_without_steps() -> None:
    assert made(host()) == HEAD


def test_it_is_a_script_that_a_shell_understands() -> None:
    assert (
        subprocess.run(
            ["sh", "-n"], input=made(UNWELL), text=True, capture_output=True, timeout=60
        ).stderr
        == ""
    )


def test_shellcheck_has_nothing_to_say() -> None:
    shellcheck = Path(sys.executable).with_name("shellcheck")
    if not shellcheck.exists():
        pytest.skip("no shellcheck here: the group dev has it")
    said = subprocess.run(
        [shellcheck, "-s", "sh", "-"],
        input=made(UNWELL),
        text=True,
        capture_output=True,
        timeout=60,
    )

    assert said.stdout == ""


def test_each_step_names_its_check_and_the_evidence() -> None:
    text = made(UNWELL)

    for id in (
        "iommu-translation",
        "iommu-parameters",
        "driver-hmm",
        "numa-balancing",
        "cpu-governor",
        "disk-raid",
    ):
        assert f"\n# {id}: " in text


GRUB_LINES = [
    ('"quiet splash"', '"iommu=pt quiet splash"'),
    ('""', '"iommu=pt"'),
    ('"quiet amd_iommu=pt"', '"iommu=pt quiet"'),
    ('"iommu=pt quiet"', '"iommu=pt quiet"'),
    ("'quiet iommu=nopt'", "'iommu=pt quiet'"),
    ('"quiet iommu=soft,nopt amd_iommu=on,fullflush"', '"iommu=pt quiet iommu=soft amd_iommu=fullflush"'),
    ('"iommu=off amd-iommu=on intel_iommu=on"', '"iommu=pt iommu=off intel_iommu=on"'),
    ('"iommu.passthrough=0 iommu.strict=1"', '"iommu=pt iommu.strict=1"'),
    ('"xiommu=nopt iommux=nopt x.iommu=nopt"', '"iommu=pt xiommu=nopt iommux=nopt x.iommu=nopt"'),
    (r'"a=\"b c\" iommu=strict"', r'"iommu=pt a=\"b c\""'),
]  # fmt: skip


# Those that distributions have for awk: Debian mawk, Fedora gawk, Alpine busybox, FreeBSD the
# original one. The tests are run with each that is here.
AWKS = [name for name in ("mawk", "gawk", "original-awk", "busybox") if shutil.which(name)]
APPLETS = ("awk", "cat", "cp", "cut", "grep", "rm", "sed", "tail")  # that busybox is, too


@functools.cache
def path_with(awk: str) -> str:
    """A PATH on which `awk` is that one; with busybox all that the script calls is of it."""
    folder = Path(tempfile.mkdtemp(prefix="awk-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    for name in APPLETS if awk == "busybox" else ("awk",):
        (folder / name).symlink_to(str(shutil.which(awk)))
    return f"{folder}:{os.environ['PATH']}"


def boot(tmp_path: Path, unwell: Host, lines: str, awk: str) -> str:
    """/etc/default/grub after the step as it is printed, run twice: an operator will."""
    grub = tmp_path / "grub"
    grub.write_text(lines)
    step = made(unwell).partition("cp -n")[2].partition("if command -v")[0]
    text = f"set -eu\ncp -n{step}".replace("/etc/default/grub", str(grub))
    seen = []
    for _ in range(2):
        run = {**os.environ, "PATH": path_with(awk)}
        done = subprocess.run(
            ["sh", "-c", text], check=True, timeout=60, env=run, capture_output=True, text=True
        )
        assert (done.stdout, done.stderr) == ("", ""), "no awk has a word to say"
        seen.append(grub.read_text())
    assert seen[0] == seen[1]
    assert lines == Path(f"{grub}.before-glm5-serve").read_text()
    Path(f"{grub}.before-glm5-serve").unlink()
    assert list(tmp_path.iterdir()) == [grub]
    return seen[1]


@pytest.mark.parametrize("awk", AWKS)
@pytest.mark.parametrize(("before", "after"), GRUB_LINES)
def test_the_kernel_command_line_gets_the_right_word_once(
    tmp_path: Path, before: str, after: str, awk: str
) -> None:
    text = "GRUB_DEFAULT=0\n# iommu=nopt\nGRUB_CMDLINE_LINUX_DEFAULT={}\nGRUB_TIMEOUT=5\n"

    assert boot(tmp_path, UNWELL, text.format(before), awk) == text.format(after)


@pytest.mark.parametrize("awk", AWKS)
@pytest.mark.parametrize(
    "lines",
    [
        'GRUB_CMDLINE_LINUX="quiet iommu=nopt"\n',
        'GRUB_CMDLINE_LINUX_DEFAULT=iommu=nopt\nGRUB_CMDLINE_LINUX="quiet amd_iommu=on"',
        'GRUB_CMDLINE_LINUX="quiet"\nGRUB_CMDLINE_LINUX_DEFAULT="a"\n'
        'GRUB_CMDLINE_LINUX_DEFAULT="$GRUB_CMDLINE_LINUX_DEFAULT iommu=nopt"\n',
    ],
)
def test_however_the_file_spells_the_line(tmp_path: Path, lines: str, awk: str) -> None:
    """As a shell reads it, which is how grub-mkconfig does."""
    after = boot(tmp_path, UNWELL, lines, awk)

    read = "set -f; echo $GRUB_CMDLINE_LINUX $GRUB_CMDLINE_LINUX_DEFAULT"
    said = subprocess.run(
        ["sh", "-c", f"{after}\n{read}"], capture_output=True, text=True, check=True, timeout=60
    ).stdout.split()
    assert said.count("iommu=pt") == 1
    assert "quiet" in said
    assert not {"iommu=nopt", "amd_iommu=on"} & {*said}


OTHER_WORDS = ("quiet", "ro", "iommu.strict=1", "nvme.x=1", "xiommu=nopt", "pcie_aspm.policy=x")
PARTS = st.lists(
    st.sampled_from(["pt", "nopt", "on", "off", "strict", "soft", "force", "memaper=2", "zz", ""]),
    max_size=3,
).map(",".join)
WORD = st.one_of(
    st.sampled_from(OTHER_WORDS),
    st.tuples(
        st.sampled_from(["iommu", "amd_iommu", "amd-iommu", "intel_iommu", "pcie_aspm"]), PARTS
    ).map("=".join),
    st.sampled_from(
        ["transparent_hugepage=always", "iommu.passthrough=0", "pcie_acs_override=downstream"]
    ),
)


@pytest.mark.parametrize("awk", AWKS)
@settings(max_examples=25, deadline=None, derandomize=True)
@given(words=st.lists(WORD, max_size=7))
def test_whatever_the_line_has_the_checks_of_it_are_well_after_the_script(
    awk: str, words: list[str]
) -> None:
    """It converges: what the script was made for is not found again, and other words stay."""
    unwell = having(UNWELL, kernel__cmdline=" ".join(words))
    with tempfile.TemporaryDirectory() as folder:
        line = f'GRUB_CMDLINE_LINUX_DEFAULT="{" ".join(words)}"\n'
        after = boot(Path(folder), unwell, line, awk)
    line = after.partition('="')[2].removesuffix('"\n')

    booted = having(host(), kernel__cmdline=line)
    found = judge(booted, plan(), only=("iommu-parameters", "acs-override"))
    assert [one.severity for one in found] == [Severity.OK, Severity.OK]
    said = parameters(line)
    assert said["iommu"].count("pt") == 1
    assert not {"nopt", "zz"} & {*said["iommu"], *said.get("intel_iommu", ())}
    assert "iommu.passthrough" not in said
    others = [word for word in words if word in OTHER_WORDS]
    assert [word for word in line.split() if word in OTHER_WORDS] == others


@pytest.mark.parametrize("id", PUT)
def test_a_word_that_is_put_is_the_only_one_of_its_name(id: str, tmp_path: Path) -> None:
    """Of two values the kernel takes the last: one that was there must not undo the one put."""
    finding = Finding(id, Severity.FAIL, id, "seen")
    words = {word.partition("=")[0]: word for word in PUT[id]}
    before = " ".join(["quiet", *(f"{name}=zz" for name in words)])
    step = script(UNWELL, [finding]).partition("cp -n")[2].partition("if command -v")[0]
    grub = tmp_path / "grub"
    grub.write_text(f'GRUB_CMDLINE_LINUX_DEFAULT="{before}"\n')
    text = f"set -eu\ncp -n{step}".replace("/etc/default/grub", str(grub))
    subprocess.run(["sh", "-c", text], check=True, timeout=60)

    after = grub.read_text().partition('"')[2].removesuffix('"\n').split()
    assert sorted(after) == sorted(["quiet", *words.values()])


def test_only_redirect_bits_are_cleared_and_only_where_they_were_seen() -> None:
    bad = with_function(host(), "0000:10:01.1", acs=("SrcValid", "ReqRedir", "CmpltRedir"))

    assert re.findall(r"ExecStart=(setpci.*)", made(bad)) == [
        "setpci -s 0000:10:01.1 ECAP_ACS+6.w=0:c"
    ]


def test_the_acs_unit_is_one_that_systemd_takes(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    bad = with_function(host(), "0000:10:01.1", acs=("ReqRedir",))
    unit = tmp_path / "glm5-serve-acs.service"
    unit.write_text(
        made(bad).partition("<<'UNIT'\n")[2].partition("UNIT\n")[0].replace("setpci", "/bin/true")
    )

    said = subprocess.run(
        ["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, timeout=60
    )

    assert [line for line in said.stderr.splitlines() if "glm5-serve" in line] == []


def test_what_only_hands_can_mend_stands_in_a_comment() -> None:
    text = made(with_gpus(host(), 3, link_width=8))

    assert commands(text) == commands(HEAD)
    assert "#   pcie-width: reseat the board" in text


def test_what_is_unknown_is_not_mended() -> None:
    assert commands(made(Host())) == commands(HEAD)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.text(), st.text(), st.text())
def test_no_word_of_a_recorded_host_becomes_a_command(one: str, two: str, three: str) -> None:
    """A facts file is somebody else's: its names and texts must not be run when the script is."""
    hostile = having(
        with_gpus(host(), 3, name=one, recovery=two, compute_mode="\n" + three),
        kernel__cmdline=f"amd_iommu={two}",
        system__raids=(Raid(f"md0; {three}", "raid5", 256),),
        pcie__functions=tuple(
            replace(
                part,
                bdf=part.bdf if part.kind == "gpu" else f"{part.bdf}\n{one}",
                acs=known(("ReqRedir",)),
            )
            for part in functions()
        ),
    )
    clean = having(
        with_gpus(host(), 3, compute_mode="x"),
        kernel__cmdline="amd_iommu=pt",
        pcie__functions=functions(),
    )

    assert set(commands(made(hostile))) <= set(commands(made(clean)))


def test_limits_are_those_of_root_too() -> None:
    """limits.conf(5): a line for everybody is none for root."""
    text = made(having(host(), system__limits={"memlock": 8192, "nofile": 1024}))

    for what in ("memlock", "nofile"):
        assert [
            line.split()[0] for line in text.splitlines() if re.match(rf"\S+ - {what} ", line)
        ] == ["*", "root"]
