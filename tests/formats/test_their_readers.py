"""Docker's compose, podman's quadlet and systemd take what `render` writes, and nothing of it is
lost on the way. What each of them runs is seen by a stand-in for podman.
"""

from __future__ import annotations

import itertools
import json
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
from conftest import until
from rig import readers
from rig.systemd_host import SystemdHost, why_not
from test_containers import PROFILES, WISH, planned, supervised, written
from test_systemd_runs import AWKWARD, RECORDER

from launcher.formats.quadlet import LOST
from launcher.plan.plan import Plan

ANYWHERE = "flags.host=0.0.0.0"


def awkward(name: str) -> Plan:
    plan = planned(name, ANYWHERE)
    words = tuple(word for text in AWKWARD if text not in LOST for word in ("--x", text))
    env = plan.env | {f"A{at}": text for at, text in enumerate(AWKWARD) if text not in LOST}
    return replace(plan, arguments=plan.arguments + words, env=env)


# -- compose ---------------------------------------------------------------------------------------


def composed(text: str, folder: Path) -> subprocess.CompletedProcess[str]:
    if not (words := readers.compose()):
        pytest.skip(f"no Docker compose 2 here; {readers.GET}")
    file = folder / "compose.yaml"
    file.write_text(text)
    return subprocess.run(
        [*words, "-f", file, "config", "--format", "json"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def service(text: str, folder: Path) -> dict[str, Any]:
    read = composed(text, folder)
    assert (read.returncode, read.stderr) == (0, "")
    return dict(json.loads(read.stdout)["services"]["server"])


@pytest.mark.parametrize(
    ("name", "form"), [*zip(PROFILES, cycle(("alone", "supervised")), strict=False)]
)
def test_compose_takes_every_profile(name: str, form: str, tmp_path: Path) -> None:
    """Alone and supervised by turns."""
    plan = planned(name, ANYWHERE)
    text = supervised(plan, "compose") if form == "supervised" else written(plan, "compose")
    made = service(text, tmp_path)

    assert made["network_mode"] == "host"
    assert bool(made.get("deploy")) is (plan.gpus > 0)
    assert {one["target"] for one in made["secrets"]} == {"/run/secrets/glm5-serve/api-key"}


@pytest.mark.parametrize("name", ["8xpro6000", "8xb200-vllm"])
def test_compose_puts_nothing_into_words_and_variables(name: str, tmp_path: Path) -> None:
    plan = awkward(name)
    made = service(written(plan, "compose"), tmp_path)

    # what it prints is a file for itself: each dollar is doubled in it again
    words = [word.replace("$$", "$") for word in made["command"]]
    assert tuple(words[-len(plan.arguments) :]) == plan.arguments
    env = {variable: value.replace("$$", "$") for variable, value in made["environment"].items()}
    assert env == plan.env


def test_compose_refuses_a_key_that_it_does_not_know(tmp_path: Path) -> None:
    text = written(planned("8xpro6000"), "compose").replace("shm_size", "shm_sizes")

    assert "shm_sizes" in composed(text, tmp_path).stderr


# -- quadlet ---------------------------------------------------------------------------------------


def generated(unit: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """What quadlet makes of a unit: one of systemd's."""
    if not (words := readers.quadlet()):
        pytest.skip(f"no quadlet of podman 5 or later here; {readers.GET}")
    (folder / "glm.container").write_text(unit)
    return subprocess.run(
        [*words, "-dryrun"], env={"QUADLET_UNIT_DIRS": str(folder)},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("form", ["alone", "supervised"])
@pytest.mark.parametrize("name", PROFILES)
def test_quadlet_takes_every_profile(name: str, form: str, tmp_path: Path) -> None:
    plan = planned(name, ANYWHERE)
    text = supervised(plan, "quadlet") if form == "supervised" else written(plan, "quadlet")
    made = generated(text, tmp_path)

    assert made.returncode == 0, made.stderr
    # it says which file it reads, and nothing else
    assert made.stderr.count("\n") == 1, made.stderr
    [start] = [line for line in made.stdout.splitlines() if line.startswith("ExecStart=")]
    assert f" {WISH.image.rpartition(':')[0]}:" in start or plan.engine == "vllm"
    assert ("--device nvidia.com/gpu=" in start) is (plan.gpus > 0)


def test_quadlet_refuses_a_key_that_it_does_not_know(tmp_path: Path) -> None:
    text = written(planned("8xpro6000"), "quadlet").replace("ShmSize=", "ShmSizes=")
    made = generated(text, tmp_path)

    assert made.returncode == 1
    assert "ShmSizes" in made.stderr


@pytest.fixture
def host() -> Iterator[SystemdHost]:
    if reason := why_not():
        pytest.skip(reason)
    with SystemdHost() as made:
        yield made


@pytest.mark.parametrize("name", ["8xpro6000", "8xb200-vllm"])
def test_podman_is_given_the_words_and_variables_by_systemd(
    host: SystemdHost, name: str, tmp_path: Path
) -> None:
    plan = awkward(name)
    unit = generated(written(plan, "quadlet"), tmp_path).stdout.partition("\n")[2]
    host.write("/usr/bin/podman", RECORDER, "755")
    host.write("/etc/systemd/system/glm.service", unit)
    host.systemctl("daemon-reload")
    verified = host.run("systemd-analyze", "verify", "glm.service", check=False)
    assert verified.returncode == 0, verified.stderr

    host.systemctl("start", "--no-block", "glm.service")
    said = until(lambda: host.run("cat", "/run/recorded", check=False).stdout, "it was run")
    words, _ = json.loads(said)
    given = [word for before, word in itertools.pairwise(words) if before == "--env"]

    assert tuple(words[-len(plan.arguments) :]) == plan.arguments
    assert dict(one.split("=", 1) for one in given) == plan.env
