"""The script of `doctor --fix`: what it would do to a host, tried on copies of the files it
changes.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rig.healthy import functions, having, host, plan, with_function, with_gpus

from launcher.doctor.checks import judge
from launcher.doctor.remedies import HEAD, script
from launcher.host.facts import Host, Raid, known

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


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            'GRUB_CMDLINE_LINUX_DEFAULT="quiet splash"',
            'GRUB_CMDLINE_LINUX_DEFAULT="iommu=pt quiet splash"',
        ),
        ('GRUB_CMDLINE_LINUX_DEFAULT=""', 'GRUB_CMDLINE_LINUX_DEFAULT="iommu=pt "'),
        (
            'GRUB_CMDLINE_LINUX_DEFAULT="quiet amd_iommu=pt"',
            'GRUB_CMDLINE_LINUX_DEFAULT="iommu=pt quiet"',
        ),
        (
            'GRUB_CMDLINE_LINUX_DEFAULT="iommu=pt quiet"',
            'GRUB_CMDLINE_LINUX_DEFAULT="iommu=pt quiet"',
        ),
    ],
)
def test_the_kernel_command_line_gets_the_right_word_once(
    tmp_path: Path, before: str, after: str
) -> None:
    """The step as it is printed, run on a copy: twice, because an operator will."""
    grub = tmp_path / "grub"
    grub.write_text(f"GRUB_DEFAULT=0\n{before}\n")
    step = made(UNWELL).partition("cp -n")[2].partition("if command -v")[0]
    text = f"set -eu\ncp -n{step}".replace("/etc/default/grub", str(grub))

    for _ in range(2):
        subprocess.run(["sh", "-c", text], check=True, timeout=60)

    assert grub.read_text() == f"GRUB_DEFAULT=0\n{after}\n"
    assert before in Path(f"{grub}.before-glm5-serve").read_text()


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


@settings(max_examples=200, deadline=None, derandomize=True)
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
