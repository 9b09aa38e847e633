"""Two servers that want one port, or one GPU: the second is told before its weights load."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import PATIENCE, World, free_port, running, until
from rig.healthy import host, plan, with_gpus
from rig.nvml import scenario

from launcher.doctor import neighbours
from launcher.doctor.neighbours import Neighbour
from launcher.engines.placement import devices
from launcher.host.facts import Process
from launcher.plan.findings import Finding, Severity
from launcher.plan.plan import Plan
from launcher.statedir.folder import StateDir


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scenario.library(tmp_path_factory.mktemp("nvml"))


@pytest.fixture
def driver(world: World, library: Path) -> dict[str, str]:
    """A world of two GPUs, whose profile takes both."""
    uuids = {f"gpu.{gpu}.uuid": uuid for gpu, uuid in enumerate(world.take_gpus())}
    file = scenario.write(world.folder / "host", scenario.rtx_pro_6000(2, 1) | uuids)
    return scenario.environ(library, file)


def profile(world: World, name: str, text: str = "") -> str:
    """Another profile of the same model, on a port of its own where `text` names none."""
    port = "" if "port" in text else f"[flags]\nport = {free_port()}\n"
    world.profile.with_name(f"{name}.toml").write_text(f'extends = "stub"\n{port}{text}')
    return name


def loading(world: World, driver: dict[str, str]) -> int:
    """The launcher of `stub`, whose server loads and holds nothing yet."""
    world.faults(hang_at="load")
    launcher = world.start("up", "-p", "stub", **driver)
    until(lambda: "weights" in json.dumps(world.status()), "it loads")
    return launcher.pid


def test_the_same_gpus_by_another_name_are_told_while_the_first_one_loads(
    world: World, driver: dict[str, str]
) -> None:
    pid = loading(world, driver)

    refused = world.run("up", profile(world, "other"), "--detach", **driver)

    assert refused.returncode == 78
    seen = refused.stdout + refused.stderr
    told = " ".join(seen.split())
    assert f"stub (launcher pid {pid}) is up and has GPUs 0-1, too; it is starting" in told
    assert "`glm5-serve down --profile stub`" in told
    assert not world.instance.with_name("other").exists(), "nothing of it is left"
    assert world.status()["pids"]["launcher"] == pid, "the first one goes on"

    asked = ("doctor", "-p", "other", "--only", "gpu-memory-free")
    assert world.run(*asked, **driver).returncode == 1
    assert world.run(*asked, "--allow", "gpu-memory-free", **driver).returncode == 0


def test_the_same_port_is_told_while_the_first_one_loads(world: World) -> None:
    world.faults(hang_at="load")
    pid = world.start("up", "-p", "stub").pid
    until(lambda: "weights" in json.dumps(world.status()), "it loads")

    refused = world.run("up", profile(world, "other", f"[flags]\nport = {world.port}"), "--detach")

    assert refused.returncode == 78
    said = " ".join((refused.stdout + refused.stderr).split())
    assert f"stub (launcher pid {pid}) is up and has 127.0.0.1 port {world.port}, too" in said


def test_its_own_server_and_one_on_other_gpus_are_in_nobodys_way(
    world: World, driver: dict[str, str]
) -> None:
    loading(world, driver)
    apart = profile(world, "apart", '[env]\nCUDA_VISIBLE_DEVICES = "2,3"\n')

    for name in ("stub", apart):
        said = world.run("doctor", "-p", name, "--only", "gpu-memory-free", "--json", **driver)
        [found] = json.loads(said.stdout)["findings"]
        # "warn": where another test has a server of another user
        assert found["severity"] in ("ok", "warn"), found


def test_of_two_brought_up_at_once_one_comes_up(world: World, driver: dict[str, str]) -> None:
    """Both judge the host before the plan of either is there, as two units do at boot."""
    other = profile(world, "other")
    both = [world.start("up", name, "--detach", **driver) for name in ("stub", other)]

    said = [process.communicate(timeout=PATIENCE)[0] for process in both]

    assert sorted(process.returncode for process in both) == [0, 78], said
    assert "is up and has" in " ".join("".join(said).split())


def test_its_own_server_of_another_home_is_stopped_by_down_there(world: World) -> None:
    assert world.run("up", "-p", "stub", "--detach").returncode == 0

    refused = world.run("up", "-p", "stub", GLM5_SERVE_STATE_DIR=str(world.folder / "other"))

    said = " ".join(refused.stderr.split())
    assert refused.returncode == 78
    assert f"of stub (launcher pid {world.status()['pids']['launcher']})" in said
    assert f"`env GLM5_SERVE_STATE_DIR={world.state} glm5-serve down --profile stub` stops" in said
    assert "stop that process" not in said


# -- by values -------------------------------------------------------------------------------------

GLM = replace(plan(), state="/nowhere/glm5", name="glm5")
STRANGER = 65533


def judged(id: str, *others: Neighbour, mine: Plan = GLM, seen: object = None) -> Finding:
    found = Finding(id, Severity.OK, "", "it is free")
    return neighbours.judged(found, seen or host(), mine, others)  # type: ignore[arg-type]


def neighbour(**how: object) -> Neighbour:
    made = Neighbour(StateDir(Path("/nowhere"), "other"), 4711, os.geteuid(), None, True)
    return replace(made, **how)  # type: ignore[arg-type]


def test_who_is_another_users_is_told_and_never_believed() -> None:
    """Whoever may start a process could keep root's servers down by a plan that lies."""
    stranger = neighbour(uid=STRANGER, is_near=False)

    found = judged("gpu-memory-free", stranger)

    assert found.severity is Severity.WARN
    assert f"other (uid {STRANGER}, launcher pid 4711) is up and holds no GPU" in found.evidence
    assert "`sudo env GLM5_SERVE_STATE_DIR=/nowhere glm5-serve down" in found.fix
    assert judged("port-free", stranger).severity is Severity.OK


def test_a_thousand_strangers_are_a_sample_and_cost_nothing() -> None:
    strangers = [
        neighbour(uid=STRANGER, is_near=False, pid=pid) for pid in range(10**6, 10**6 + 999)
    ]
    holding = tuple(Process(pid, 80 << 30, "x") for pid in range(2 * 10**6, 2 * 10**6 + 99))

    found = judged("gpu-memory-free", *strangers, seen=with_gpus(host(), 3, processes=holding))

    assert "and 995 more" in found.evidence
    assert len(found.evidence) < 400


@pytest.mark.parametrize("same", [True, False])
def test_of_two_that_came_in_one_tick_all_agree_who_is_first(tmp_path: Path, same: bool) -> None:
    one, other = StateDir(tmp_path, "a"), StateDir(tmp_path, "b")
    for instance, at in ((one, 5), (other, 5 if same else 4)):
        instance.folder.mkdir()
        instance.lock.path.touch()
        os.utime(instance.lock.path, ns=(at, at))

    turns = [neighbours._turn(one) < neighbours._turn(other)]
    turns += [neighbours._turn(other) < neighbours._turn(one)]
    assert turns == [same, not same]


def test_who_judges_for_long_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, own = StateDir(tmp_path, "a"), StateDir(tmp_path, "b")
    for instance in (first, own):
        instance.folder.mkdir()
        instance.lock.path.touch()
        os.utime(instance.lock.path, ns=(5, 5))
    young = neighbour(instance=first)
    monkeypatch.setattr(neighbours, "all_up", lambda own: [young])
    monkeypatch.setattr(neighbours, "_is_judged", lambda one: True)
    monkeypatch.setattr(neighbours, "TOLD_AFTER", 0.2)
    monkeypatch.setattr(neighbours, "JUDGED_WITHIN", 0.6)
    told: list[str] = []

    neighbours.require_apart(GLM, own, told.append)

    wanted = "note: a (launcher pid 4711) came first and still judges the host; that is waited for"
    assert told == [wanted]


def test_who_holds_gpus_is_named_with_his_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "lineage", lambda pid: iter((pid, 4711)))
    process = Process(99, 80 << 30, "python")
    seen = with_gpus(host(), 3, processes=(process,))
    stranger = neighbour(uid=STRANGER, is_near=False)

    held = Finding("gpu-memory-free", Severity.FAIL, "", "GPU 3: pid 99 (python) holds 80 GiB")
    found = neighbours.judged(held, seen, GLM, [stranger])

    assert found.evidence.endswith(f": of other (uid {STRANGER}, launcher pid 4711)")
    assert "`sudo env GLM5_SERVE_STATE_DIR=/nowhere glm5-serve down --profile other`" in found.fix
    beside = with_gpus(host(), 3, processes=(process, Process(1, 80 << 30, "python")))
    monkeypatch.setattr(neighbours, "lineage", lambda pid: iter((pid, 4711 if pid == 99 else 1)))
    mixed = neighbours.judged(replace(held, fix="kill it"), beside, GLM, [stranger])
    assert (mixed.evidence, mixed.fix) == (found.evidence, "kill it"), "one is nobody's server"
    # Where it is loaded, the driver tells which GPUs it has.
    assert judged("gpu-memory-free", stranger, seen=seen).severity is Severity.OK


def test_nobody_is_in_the_way_of_a_server_on_the_cpu() -> None:
    mine = replace(GLM, gpus=0)

    assert judged("gpu-memory-free", neighbour(plan=GLM), mine=mine).severity is Severity.OK


@pytest.mark.parametrize(
    ("one", "other", "meet"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", "0.0.0.0", True),
        ("::", "10.0.0.1", True),
        ("127.0.0.1", "10.0.0.1", False),
        ("::1", "[::1]", True),
    ],
)
def test_two_addresses_meet_where_one_is_of_both(one: str, other: str, meet: bool) -> None:
    theirs = replace(GLM, host=other, name="other")

    found = judged("port-free", neighbour(plan=theirs), mine=replace(GLM, host=one))

    assert (found.severity is Severity.FAIL) is meet
    elsewhere = replace(theirs, port=GLM.port + 1)
    assert judged("port-free", neighbour(plan=elsewhere)).severity is Severity.OK


@pytest.mark.parametrize(
    ("visible", "base", "taken"),
    [
        ("", 0, ("0", "1")),
        ("", 4, ("4", "5")),
        ("6,7", 0, ("6", "7")),
        ("GPU-a, GPU-b,GPU-c", 1, ("GPU-b", "GPU-c")),
        ("3", 0, ("3",)),
    ],
)
def test_which_gpus_a_plan_takes(visible: str, base: int, taken: tuple[str, ...]) -> None:
    settings = [f"flags.base-gpu-id={base}"] if base else []
    made = replace(plan(*settings), gpus=2, env={"CUDA_VISIBLE_DEVICES": visible})

    assert devices(made) == taken
    assert devices(replace(made, gpus=0)) == ()


def test_a_uuid_is_the_gpu_that_has_it() -> None:
    by_number = replace(GLM, gpus=1, env={"CUDA_VISIBLE_DEVICES": "3"})
    by_uuid = replace(by_number, env={"CUDA_VISIBLE_DEVICES": "GPU-00000003"})

    found = judged("gpu-memory-free", neighbour(plan=by_uuid), mine=by_number)
    assert (found.severity, "has GPU 3" in found.evidence) == (Severity.FAIL, True)
    apart = replace(by_number, env={"CUDA_VISIBLE_DEVICES": "2"})
    assert judged("gpu-memory-free", neighbour(plan=apart), mine=by_uuid).severity is Severity.OK


@pytest.mark.skipif(os.geteuid() != 0, reason="starts a process as another user")
def test_a_strangers_launcher_is_seen_and_nothing_of_his_is_read(tmp_path: Path) -> None:
    """Whoever may start a process may also say which folder he serves from."""
    folder = tmp_path / "glm5"
    folder.mkdir()
    os.mkfifo(folder / "plan.json")  # who reads it waits
    shutil.chown(folder, STRANGER)
    command = ["sh", "-c", "read line", "-m", "launcher.supervise", str(folder), "plain"]

    with running(*command, stdin=subprocess.PIPE, user=STRANGER, cwd="/") as stranger:
        found = until(
            lambda: [
                one for one in neighbours.all_up(tmp_path / "mine") if one.pid == stranger.pid
            ],
            "it is seen",
        )

    assert [(one.uid, one.plan, one.instance.name) for one in found] == [(STRANGER, None, "glm5")]
