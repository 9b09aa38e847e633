"""Advisories of a release are one line on the screen, and each by itself where all is asked for."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from conftest import World

from launcher.engines.target import Target
from launcher.lint.run import judge

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


@pytest.mark.parametrize("release", ["0.33.0", "0.31.0", "0.19.1"])
def test_all_of_them_are_counted_and_each_has_what_helps(
    world: World, tmp_path: Path, release: str
) -> None:
    pasted = host(tmp_path, release)
    every = world.run("doctor", "--from", pasted, "--all", COLUMNS="200").stdout
    short = world.run("doctor", "--from", pasted, COLUMNS="200").stdout
    ids = [id.upper() for id in re.findall(r"warn +(cve-\S+)", every)]

    assert "warn      cve-" not in short or len(ids) == 1
    told = re.findall(r"advisories +(\d+) are known of this release: (.*?)  \(", short)
    assert told == [(str(len(ids)), ", ".join(ids))] * (len(ids) > 1)
    fixes = re.findall(r"(?m)^  fix .*\((CVE.*)\)$", short)
    assert not fixes or sorted(", ".join(fixes).split(", ")) == sorted(ids)


def test_a_release_that_would_do_for_one_alone_is_told_of_that_one() -> None:
    text = "python3 -m sglang.launch_server --model-path m --host 0.0.0.0 --port 1"
    [judged] = judge(text, Target("0.5.9", "sm100")).launches
    [entries] = judged.releases.values()
    found = [one for entry in entries for one in entry.concerns if one.advisory]

    told = {one.advisory: re.findall(r"\(gone from (\S+) on\)", one.why) for one in found}
    assert told["CVE-2026-3060"] == ["0.5.10"]
    assert told["CVE-2026-5760"] == ["0.5.11"]
    assert told["CVE-2026-15976"] == []  # the newest of them, which all name
    assert {one.instead for one in found if one.id in ("cve-2026-3060", "cve-2026-5760")} == {
        "install sglang>=0.5.23"
    }


@pytest.mark.parametrize(
    ("text", "how"),
    [
        ("python3 -m sglang.launch_server", "install sglang"),
        ("docker run lmsysorg/sglang:v0.5.9 python3 -m sglang.launch_server", "take an image with"),
        ("docker run -v a:b lmsysorg/sglang:v0.5.9 sglang serve", "take an image with"),
    ],
)
def test_another_release_is_another_image_where_there_is_one(text: str, how: str) -> None:
    [judged] = judge(f"{text} --model-path nvidia/GLM-5-NVFP4", Target("0.5.9", "sm100")).launches
    [entries] = judged.releases.values()
    newer = [
        one.instead or ""
        for entry in entries
        for one in entry.concerns
        if any(remedy.release for remedy in one.remedies)
    ]

    assert newer
    assert all(one.startswith(how) for one in newer)
    assert not [one for one in newer if "or or" in one]


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
