"""Advisories of a release are one line on the screen, and each by itself where all is asked for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import World

ENV = """PyTorch version              : 2.13.0+cu132
GPU models and configuration :
{gpus}
Nvidia driver version        : 595.71.05
vLLM Version                 : {release}
"""
GPUS = "\n".join(f"GPU {at}: NVIDIA RTX PRO 6000 Blackwell Server Edition" for at in range(4))
LAUNCH = (
    "docker run vllm/vllm-openai:v{release} --model zai-org/GLM-5-FP8 --tensor-parallel-size 8\n"
)


def host(tmp_path: Path, release: str) -> str:
    pasted = tmp_path / "env.txt"
    pasted.write_text(ENV.format(gpus=GPUS, release=release))
    return str(pasted)


def test_doctor_tells_them_in_one_line_and_each_with_all(world: World, tmp_path: Path) -> None:
    pasted = host(tmp_path, "0.19.1")
    short = world.run("doctor", "--from", pasted, COLUMNS="200").stdout
    every = world.run("doctor", "--from", pasted, "--all", COLUMNS="200").stdout

    [line] = [one for one in short.splitlines() if "are known of this release" in one]
    assert "advisories" in line
    assert "warn      cve-" not in short
    assert every.count("warn      cve-") == 6
    assert "are known of this release" not in every


@pytest.mark.parametrize(("release", "heaps", "alone"), [("0.33.0", 0, 0), ("0.31.0", 1, 1)])
def test_one_with_a_remedy_of_its_own_stands_alone(
    world: World, tmp_path: Path, release: str, heaps: int, alone: int
) -> None:
    said = world.run("doctor", "--from", host(tmp_path, release), COLUMNS="200").stdout

    assert said.count("are known of this release") == heaps
    assert said.count("warn      cve-") == alone


def test_lint_tells_them_in_one_line_and_each_in_json(world: World, tmp_path: Path) -> None:
    file = tmp_path / "run.sh"
    file.write_text(LAUNCH.format(release="0.19.1"))
    shown = world.run("lint", str(file), COLUMNS="200").stdout
    told = json.loads(world.run("lint", str(file), "--json").stdout)
    [release] = told["launches"][0]["releases"].values()
    ids = [one["id"] for entry in release["entries"] for one in entry["concerns"]]

    assert shown.count("advisories are known of this release") == 1
    assert shown.count("CVE-2026-115918") == 1
    assert len([one for one in ids if (one or "").startswith("cve-")]) >= 6
    file.write_text(LAUNCH.format(release="0.33.0"))
    assert "advisories" not in world.run("lint", str(file), COLUMNS="200").stdout
