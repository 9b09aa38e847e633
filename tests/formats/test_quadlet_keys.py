"""A key of a quadlet with a slip in it is told, with the one that is meant; no other word is."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from rig import readers

from launcher.engines.target import Target
from launcher.formats.quadlet_keys import KEYS, slip
from launcher.lint.run import judge

UNIT = """[Unit]
Descriptoin=x
[Container]
Image=docker.io/vllm/vllm-openai:v0.33.0
{key}=1
Exec=--model m/x --tensor-parallel-size 8
[Service]
TimeoutStrtSec=900
"""


def told(key: str) -> list[str]:
    [judged] = judge(UNIT.format(key=key), Target("0.33.0", "sm100")).launches
    return [note for note in judged.notes if "quadlet" in note]


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("ShmSizes", "ShmSize"),
        ("Shmsize", "ShmSize"),
        ("StopTimout", "StopTimeout"),
        ("AddDevices", "AddDevice"),
        ("Enviroment", "Environment"),
        ("HealthIntervall", "HealthInterval"),
    ],
)
def test_a_slip_is_told_with_what_is_meant(key: str, meant: str) -> None:
    [note] = told(key)
    assert note == f"quadlet (podman 5.4) refuses the unit for {key}=: {meant}= is meant"


@pytest.mark.parametrize("key", ["ShmSize", "Memory", "ReloadCmd", "HttpProxy", "X-Mine"])
def test_a_key_and_another_word_are_not(key: str) -> None:
    assert not told(key)


def test_no_key_is_a_slip_of_another() -> None:
    assert not [*filter(None, map(slip, KEYS))]


def test_quadlet_takes_each_of_the_keys(tmp_path: Path) -> None:
    if not (words := readers.quadlet()):
        pytest.skip(f"no quadlet of podman 5 or later here; {readers.GET}")
    for key in (*KEYS, "ShmSizes"):
        unit = f"[Container]\nImage=docker.io/x/y:1\n{key}=1\n"
        (tmp_path / f"{key}.container").write_text(unit)
    made = subprocess.run(
        [*words, "-dryrun"], env={"QUADLET_UNIT_DIRS": str(tmp_path)},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip

    refused = [line for line in made.stderr.splitlines() if "unsupported key" in line]
    assert all("ShmSizes" in line for line in refused) and refused  # noqa: PT018
