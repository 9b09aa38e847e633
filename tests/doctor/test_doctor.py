"""`doctor`, `facts` and `checks` as an operator meets them, and `up` behind them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from conftest import World
from rig.healthy import having, host, with_function, with_gpus
from rig.nvml import scenario
from rig.pcitree import Tree, build

from launcher.doctor.checks import checks, every_check
from launcher.host import facts_json
from launcher.host.facts import Host

BAD = with_function(host(), "0000:17:00.0", iommu_type="DMA-FQ")


@pytest.fixture
def file(tmp_path: Path) -> Any:
    """Write a host as a facts file, and give its path."""

    def written(seen: Host) -> str:
        path = tmp_path / "facts.json"
        path.write_text(json.dumps(facts_json.to_json(seen)))
        return str(path)

    return written


def report(world: World, *words: str) -> dict[str, Any]:
    return dict(json.loads(world.run("doctor", "--json", *words).stdout))


def test_a_healthy_host_is_fine(world: World, file: Any) -> None:
    said = world.run("doctor", "-p", "8xpro6000", "--facts", file(host()))

    assert said.returncode == 0, said.stdout
    assert said.stdout.splitlines()[0].startswith("a healthy host: 8x NVIDIA RTX PRO 6000")
    judged = sum(not check.of_nodes for check in checks())
    assert f"{judged} ok" in said.stdout


def test_what_is_wrong_comes_with_evidence_reason_and_fix_and_a_verdict(
    world: World, file: Any
) -> None:
    said = world.run("doctor", "-p", "8xpro6000", "--facts", file(BAD))

    assert said.returncode == 1
    assert "iommu-translation" in said.stdout
    assert "0000:17:00.0: group 7 is of type DMA-FQ" in said.stdout
    assert "the first all-reduce hangs" in said.stdout
    assert "\nfirst   add iommu=pt" in said.stdout


def test_only_what_is_not_well_is_told_unless_all_is_asked_for(world: World, file: Any) -> None:
    path = file(BAD)

    assert "gpu-mig" not in world.run("doctor", "-p", "8xpro6000", "--facts", path).stdout
    assert "gpu-mig" in world.run("doctor", "-p", "8xpro6000", "--facts", path, "--all").stdout


def test_the_json_has_the_documented_shape(world: World, file: Any) -> None:
    said = report(world, "-p", "8xpro6000", "--facts", file(BAD))

    assert (said["schema"], said["verdict"], said["profile"]) == (1, "fail", "8xpro6000")
    (found,) = [one for one in said["findings"] if one["severity"] != "ok"]
    assert set(found) >= {"id", "severity", "title", "evidence", "fix", "doc"}
    assert found["doc"] == "glm5-serve checks iommu-translation"


def test_only_skip_and_allow_choose_checks(world: World, file: Any) -> None:
    path = file(BAD)
    only = report(world, "--facts", path, "--only", "gpu-mig")
    skip = report(world, "--facts", path, "--skip", "iommu-translation")
    allow = report(world, "--facts", path, "--allow", "iommu-translation")

    assert [found["id"] for found in only["findings"]] == ["gpu-mig"]
    assert skip["verdict"] == allow["verdict"] == "ok"
    assert "iommu-translation" not in {found["id"] for found in skip["findings"]}
    assert [found["severity"] for found in allow["findings"] if found["allowed"]] == ["fail"]


def test_checks_that_were_asked_for_are_listed(world: World, file: Any) -> None:
    path = file(host())
    words = ("--only", "gpu-mig", "--only", "iommu-translation")
    said = world.run("doctor", "-p", "8xpro6000", "--facts", path, *words).stdout

    assert re.search(r"(?m)^ +ok +gpu-mig  ", said)
    assert re.search(r"(?m)^ +ok +iommu-translation  ", said)
    assert "skipped" not in said


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("-p cpu-demo --only gpu-mig", "cpu-demo is for no GPU"),
        ("-p 8xpro6000 --only deep-copy", "--deep makes it"),
        ("-p 8xpro6000 --only node-address", "8xpro6000 is for one host"),
        ("-p 8xpro6000 --serving --only gpu-left-over", "left out"),
    ],
)
def test_a_check_that_is_not_made_is_no_ok(world: World, file: Any, words: str, why: str) -> None:
    said = world.run("doctor", "--facts", file(host()), *words.split())

    assert said.returncode == 0, said
    assert re.search(rf"(?m)^ +skipped +{words.split()[-1]}  {re.escape(why)}$", said.stdout)
    assert not re.search(r"(?m)^ok", said.stdout)


def test_a_misspelt_check_is_named(world: World) -> None:
    said = world.run("doctor", "--allow", "iommu-translations")

    assert said.returncode == 2
    assert "did you mean iommu-translation?" in said.stderr


def test_warnings_are_fine_unless_strictness_is_asked_for(world: World, file: Any) -> None:
    path = file(with_gpus(host(), 3, link_width=8))

    assert world.run("doctor", "--facts", path).returncode == 0
    assert world.run("doctor", "--facts", path, "--strict").returncode == 1


def test_without_a_profile_the_one_for_these_gpus_is_taken_and_named(
    world: World, file: Any
) -> None:
    said = world.run("doctor", "--facts", file(host()))

    assert "judged for 8xpro6000, the default for these GPUs" in said.stdout


def test_an_h100_is_not_blackwell(world: World, file: Any) -> None:
    hopper = with_gpus(host(), *range(8), name="NVIDIA H100 80GB HBM3", capability="9.0")
    said = world.run("doctor", "--facts", file(hopper))

    assert said.returncode == 1
    assert "NVIDIA H100 80GB HBM3, compute capability 9.0, not Blackwell" in said.stdout


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"schema": 2}', "\0", "nonsense", "9" * 5000, "[" * 100000]
)
def test_a_broken_facts_file_is_one_clear_message(world: World, tmp_path: Path, text: str) -> None:
    (tmp_path / "bad.json").write_text(text)
    said = world.run("doctor", "--facts", tmp_path / "bad.json")

    assert said.returncode == 78
    assert "Traceback" not in said.stderr
    assert "bad.json" in said.stderr
    assert "fix" in said.stderr


@pytest.mark.parametrize("option", ["--facts", "--from", "--sysroot"])
def test_a_missing_record_is_one_clear_message(world: World, option: str) -> None:
    said = world.run("doctor", option, "/nowhere")

    assert said.returncode == (78 if option == "--sysroot" else 2)
    assert "/nowhere" in said.stderr


def test_a_script_that_mends_is_printed_and_nothing_else(world: World, file: Any) -> None:
    said = world.run("doctor", "--facts", file(BAD), "--fix")

    assert said.stdout.startswith("#!/bin/sh\n")
    assert "put 'iommu=pt'" in said.stdout


def test_facts_of_facts_are_the_same_facts(world: World, file: Any) -> None:
    path = file(host())
    again = facts_json.loads(
        world.run("facts", "-p", "8xpro6000", "--facts", path).stdout, "stdout"
    )

    assert again == host()


def test_a_recorded_tree_is_judged_and_its_missing_driver_is_unknown(
    world: World, tmp_path: Path
) -> None:
    root = build(tmp_path / "tree", Tree(gpus=8, iommu="DMA-FQ"))
    said = report(world, "-p", "8xpro6000", "--sysroot", str(root))
    found = {one["id"]: one for one in said["findings"]}

    assert found["iommu-translation"]["severity"] == "fail"
    assert found["gpu-count"]["severity"] == "unknown"
    assert found["gpu-count"]["evidence"] == "a recorded tree has no driver to ask"


def test_checks_are_listed_and_explained(world: World) -> None:
    listing = json.loads(world.run("checks", "--json").stdout)

    assert len(listing["checks"]) == len(every_check())
    assert set(listing["checks"][0]) == {"id", "title", "group"}
    assert "24 bridges with SrcValid alone" in world.run("checks", "acs-redirect").stdout
    assert world.run("checks", "acs").returncode == 2


@pytest.fixture
def driver(tmp_path: Path) -> Any:
    """The environment in which the driver of a scenario answers."""
    library = scenario.library(tmp_path)

    def of(changed: scenario.Scenario) -> dict[str, str]:
        file = scenario.write(tmp_path / "scenario", scenario.rtx_pro_6000() | changed)
        return scenario.environ(library, file)

    return of


def test_the_driver_of_this_host_is_asked(world: World, driver: Any) -> None:
    said = world.run("doctor", "--json", **driver({"gpu.3.mig": "1,1"}))
    found = {one["id"]: one for one in json.loads(said.stdout)["findings"]}

    assert json.loads(said.stdout)["profile"] == "8xpro6000"
    assert found["gpu-count"]["evidence"] == "8 GPUs, 8 wanted"
    assert (found["gpu-mig"]["severity"], found["gpu-architecture"]["severity"]) == ("fail", "ok")


def test_a_hung_driver_is_a_finding(world: World, driver: Any) -> None:
    said = world.run(
        "doctor", "--only", "driver-answers", **driver({"delay_ms.nvmlInitWithFlags": 600000})
    )

    assert said.returncode == 1
    assert "the NVIDIA driver did not answer within 10 s (stuck in nvmlInit)" in said.stdout
    assert "a wedged driver cannot be reloaded" in said.stdout


def test_facts_of_this_host_can_be_judged_elsewhere(
    world: World, driver: Any, tmp_path: Path
) -> None:
    (tmp_path / "facts.json").write_text(
        world.run("facts", **driver({"gpu.5.ecc_uncorrected_volatile": 7})).stdout
    )
    said = report(world, "--facts", str(tmp_path / "facts.json"), "--only", "gpu-ecc")

    assert (
        said["findings"][0]["evidence"]
        == "GPU 5 (0000:87:00.0): 7 uncorrected ECC errors since the driver was loaded"
    )


def test_no_secret_of_the_environment_is_a_fact(world: World) -> None:
    secrets = {
        "SGLANG_API_KEY": "hush",
        "HF_TOKEN": "hush",
        "NCCL_PASSWORD": "hush",
        "MY_SECRET": "hush",
    }
    said = world.run("facts", "-p", "stub", NCCL_DEBUG="WARN", **secrets).stdout

    assert json.loads(said)["environment"]["variables"]["NCCL_DEBUG"] == "WARN"
    assert "hush" not in said


@pytest.fixture
def no_driver(tmp_path: Path) -> dict[str, str]:
    """The environment of a host without an NVIDIA driver, whatever this machine has."""
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib/libnvidia-ml.so.1").write_text("no library")
    return {"LD_LIBRARY_PATH": str(tmp_path / "lib")}


def test_up_judges_first_and_refuses_a_host_that_fails(
    world: World, no_driver: dict[str, str]
) -> None:
    world.write_profile()
    said = world.run(
        "up", "-p", "stub", "--set", "flags.device=false", "--set", "needs.arch=sm120", **no_driver
    )

    assert said.returncode == 78
    assert "driver-answers" in said.stderr
    assert "nothing was started" in said.stderr
    assert not world.processes()


def test_up_starts_what_was_allowed_to_fail(world: World, no_driver: dict[str, str]) -> None:
    world.take_gpus()
    said = world.run("up", "-p", "stub", "--allow", "driver-answers", "--detach", **no_driver)

    assert said.returncode == 0, said.stderr
    assert world.status()["state"] == "ready"


def test_a_profile_may_allow_for_itself(world: World, no_driver: dict[str, str]) -> None:
    world.write_profile('[doctor]\nallow = ["driver-answers"]')
    world.take_gpus()
    said = world.run("up", "-p", "stub", "--detach", **no_driver)

    assert said.returncode == 0, said.stderr


def test_up_tells_a_script_what_failed(world: World, no_driver: dict[str, str]) -> None:
    said = world.run("up", "-p", "stub", "--set", "flags.device=false", "--json", **no_driver)
    (event,) = map(json.loads, said.stdout.splitlines())

    assert (event["event"], event["verdict"]) == ("doctor", "fail")


def test_the_bandwidth_of_nothing_is_not_measured_on_a_record(world: World, file: Any) -> None:
    said = world.run("doctor", "--deep", "--facts", file(host()))

    assert said.returncode == 2
    assert "moves data on this host" in said.stderr


def test_a_name_that_no_terminal_can_show_is_escaped(world: World, file: Any) -> None:
    odd = having(
        host(), model__incomplete=("\ud800.incomplete",), kernel__cmdline="amd_iommu=\udcff"
    )
    said = world.run("doctor", "--facts", file(odd), LC_ALL="C.UTF-8")

    assert said.returncode == 0, said.stderr
    assert "\\ud800.incomplete" in said.stdout


def test_markup_in_a_recorded_name_is_only_text(world: World, file: Any) -> None:
    odd = having(host(), kernel__cmdline="amd_iommu=[/red][bold]x")
    said = world.run("doctor", "--facts", file(odd))

    assert said.returncode == 0
    assert "amd_iommu=[/red][bold]x" in said.stdout
