"""The gateway as an operator has it: who is behind it, who is not and why, and what is in its
way. The real smg, and the stand-in engine.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from behind import Behind
from conftest import World, end, free_port, remove, until

from launcher.gateway import settings
from launcher.gateway.settings import Options
from launcher.plan.plan import loads, to_json
from launcher.statedir.folder import StateDir
from launcher.statedir.processes import run_state


@pytest.fixture
def behind(tmp_path: Path) -> Iterator[Behind]:
    made = Behind(tmp_path)
    yield made
    end(made)


def key_file(folder: Path, name: str, key: str) -> str:
    path = folder / name
    path.write_text(key)
    path.chmod(0o600)
    return str(path)


def test_who_is_ready_is_listed_and_who_died_is_not_whatever_somebody_writes(
    behind: Behind,
) -> None:
    assert behind.gateway_up().returncode == 0
    manifest = behind.state / "gateway/workers.json"
    behind.up()
    behind.until_routed("stub@1", "stub@2")
    told = [one["id"] for one in json.loads(manifest.read_text())["workers"]]
    assert told == ["stub@1", "stub@2"]

    manifest.write_text('{"version": 1, "workers": [')
    until(lambda: manifest.read_text().rstrip().endswith("}"), "the last good list is back")
    assert "broken by somebody (it is not JSON" in behind.warnings("gateway")
    behind.until_routed("stub@1", "stub@2")

    os.kill(behind.status("stub@2")["pids"]["launcher"], signal.SIGKILL)
    behind.until_routed("stub@1")
    assert "stub@2" not in manifest.read_text()

    down = behind.run("gateway", "down")
    assert (down.returncode, down.stdout) == (0, "gateway is down\n")
    assert behind.status("stub@1")["state"] == "ready"


def test_the_key_is_a_file_and_one_that_differs_is_told(behind: Behind) -> None:
    mine = key_file(behind.folder, "mine", "sekret-0123456789")
    other = key_file(behind.folder, "other", "another-9876543210")
    assert behind.gateway_up("--api-key-file", mine).returncode == 0
    seen = json.loads(behind.run("status", "gateway", "--json").stdout)
    processes = psutil.Process(seen["pids"]["launcher"]).children(recursive=True)

    assert behind.run("up", "stub@1", "--detach", "--api-key-file", mine).returncode == 0
    # as another profile would have it
    assert behind.run("up", "stub@2", "--detach", "--api-key-file", other).returncode == 0
    until(lambda: "stub@2" in behind.warnings("gateway"), "the other key is told")
    assert "another API key than the gateway's" in behind.warnings("gateway")
    behind.until_routed("stub@1")
    assert behind.behind()["stub@2"]["gateway"] == "not listed"
    shown = [*processes, psutil.Process(seen["pids"]["launcher"])]
    assert "sekret" not in " ".join(word for one in shown for word in one.cmdline())
    log = (behind.state / "gateway/server.log").read_text()
    assert "sekret" not in log + (behind.state / "gateway/plan.json").read_text()


def test_a_profile_named_alone_means_all_of_its_replicas(behind: Behind) -> None:
    behind.up()
    every = json.loads(behind.run("status", "stub", "--json").stdout)["instances"]
    assert [(one["profile"], one["state"]) for one in every] == [
        ("stub@1", "ready"),
        ("stub@2", "ready"),
    ]
    again = behind.run("up", "stub", "--detach")
    assert (again.returncode, again.stderr.count("is up already")) == (0, 2)
    one = behind.run("logs", "stub")
    assert (one.returncode, "stub@1, stub@2" in one.stderr) == (2, True)
    which = behind.run("restart", "stub")
    assert (which.returncode, "--rolling" in which.stderr) == (2, True)
    alone = behind.run("restart", "stub", "--rolling")
    assert (alone.returncode, "gateway gateway is not up" in alone.stderr) == (1, True)
    single = behind.run("restart", "stub@1", "--rolling")
    assert (single.returncode, "stub@1 is one server" in single.stderr) == (2, True)
    assert "`glm5-serve restart -p stub --rolling`" in single.stderr
    assert behind.run("down", "stub@2").returncode == 0
    for name in ("stub", "stub@1"):
        left = behind.run("restart", name, "--rolling")
        assert (left.returncode, "(stub@2 is stopped)" in left.stderr) == (2, True)
        assert "`glm5-serve up stub@2 --detach`" in left.stderr
    assert behind.run("up", "stub@2", "--detach").returncode == 0

    down = behind.run("down", "stub")
    assert down.stdout.splitlines() == ["stub@1 is down", "stub@2 is down"]


def test_a_terminal_holds_one_server(behind: Behind) -> None:
    done = behind.run("up", "stub")

    assert (done.returncode, "2 replicas are 2 servers" in done.stderr) == (2, True)
    assert not (behind.state / "stub@1").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--listen", "0.0.0.0:8080"), "without an API key"),
        (("--listen", "8080"), "wanted an address and a port"),
        (("--api-key-file", "/nonexistent"), "cannot read the API key file /nonexistent"),
        (("--metrics-listen", "0.0.0.0:29000"), "metrics would be on 0.0.0.0 without a key"),
        (("--listen", "127.0.0.1:9", "--metrics-listen", "localhost:9"), "are one address"),
        (
            ("--listen", "127.0.0.1:9", "--metrics-listen", "0.0.0.0:9", "--open-without-key"),
            "are one address",
        ),
        (("--health", "x y"), "wanted a path"),
        (("--health", "/x y"), "wanted a path"),
        (("--health", "health"), "wanted a path"),
        (("--worker", "http://u:PW@h:1"), "wanted http://HOST:PORT"),
        (("--worker", ""), "an empty word"),
        (("--worker", "http://localhost:8080/"), "is the gateway itself"),
        (("--worker", "http://127.0.0.1:29000"), "is the gateway itself"),
        (
            ("--listen", "0.0.0.0:9", "--open-without-key", "--worker", "http://127.0.0.1:9"),
            "is the gateway itself",
        ),
        (("a/b",), "cannot name a folder"),
    ],
)
def test_what_is_in_the_way_of_a_gateway_is_said_and_nothing_started(
    world: World, words: tuple[str, ...], said: str
) -> None:
    done = world.run("gateway", "up", "--detach", *words)

    assert done.returncode in (2, 78)
    assert said in done.stderr
    assert "PW" not in done.stderr
    assert not world.processes()


def test_a_port_that_is_taken_is_told_with_who_has_it(behind: Behind) -> None:
    behind.up()

    done = behind.run("gateway", "up", "--detach", "--listen", f"127.0.0.1:{behind.port}")
    assert done.returncode == 78
    assert f"127.0.0.1 port {behind.port} is in use by pid" in done.stderr
    assert "choose another address: --listen 127.0.0.1:" in done.stderr


def test_an_instance_that_is_no_gateway_is_not_taken_for_one(world: World) -> None:
    assert world.run("up", "stub", "--detach").returncode == 0

    for verb in ("status", "down"):
        done = world.run("gateway", verb, "stub")
        assert (done.returncode, "stub is no gateway" in done.stderr) == (2, True)
    assert world.status()["state"] == "ready"
    for name in ("stub", "stub@2", "cpu-demo", "cpu-demo-vllm@1"):
        taken = world.run("gateway", "up", name, "--detach")
        bare = name.partition("@")[0]
        assert (taken.returncode, f"profile {bare} has that name" in taken.stderr) == (2, True)
    assert not (world.state / "cpu-demo").exists()
    never = world.run("gateway", "status", "g")
    assert (never.returncode, "`glm5-serve gateway up g`" in never.stderr) == (1, True)


def test_a_profile_does_not_take_the_folder_of_a_gateway_that_is_down(world: World) -> None:
    made = settings.plan(Options(port=free_port()), world.state / "gateway", "python", "1.13.0")
    instance = StateDir(world.state, "gateway")
    instance.claim().release()
    instance.write(instance.plan, to_json(made))
    file = world.folder / "gateway.toml"
    file.write_text(world.profile.read_text())

    refused = world.run("up", str(file), "--detach")
    assert (refused.returncode, "gateway is a gateway" in refused.stderr) == (2, True)
    assert loads(instance.plan.read_text()).engine == made.engine
    remove(instance.folder)
    assert world.run("up", str(file), "--detach").returncode == 0


def test_a_worker_that_was_asked_for_is_shown_while_it_is_down(behind: Behind) -> None:
    url = f"http://127.0.0.1:{behind.port}"
    assert behind.gateway_up("--worker", f"{url}/", "--worker", url).returncode == 0

    until(lambda: f"{url} does not answer" in behind.warnings("gateway"), "it is told")
    assert {name: one["gateway"] for name, one in behind.behind().items()} == {url: "not reached"}
    assert behind.run("gateway", "status").returncode == 1

    assert behind.run("up", "stub@1", "--detach", "--set", 'gateway="other"').returncode == 0
    behind.until_routed(url)


def removed(folder: Path) -> None:
    shutil.rmtree(folder)


def broken(folder: Path) -> None:
    folder.joinpath("plan.json").write_text("{{")


def without_plan(folder: Path) -> None:
    folder.joinpath("plan.json").unlink()


@pytest.mark.parametrize("verb", [("gateway", "down"), ("down", "-p")])
@pytest.mark.parametrize("lose", [removed, broken, without_plan])
def test_a_gateway_whose_files_are_lost_is_seen_and_stopped(
    behind: Behind, lose: Callable[[Path], None], verb: tuple[str, str]
) -> None:
    assert behind.gateway_up().returncode == 0
    launcher = behind.status("gateway")["pids"]["launcher"]
    lose(behind.state / "gateway")

    for asked in (("gateway", "status"), ("status", "-p", "gateway")):
        seen = behind.run(*asked)
        assert "was ever up" not in seen.stderr + seen.stdout
        assert str(launcher) in seen.stdout
    again = behind.run("gateway", "up", "--detach")
    assert (again.returncode, "is already up" in again.stderr) == (1, True)

    down = behind.run(*verb, *([] if verb[0] == "gateway" else ["gateway"]))
    assert (down.returncode, down.stdout) == (0, "gateway is down\n")
    assert run_state(launcher) is None


def test_without_smg_it_is_said_how_to_install_it(world: World) -> None:
    (world.folder / "sitecustomize.py").write_text(
        "from importlib import metadata\n"
        "found = metadata.version\n"
        "def version(name):\n"
        "    if name == 'smg':\n"
        "        raise metadata.PackageNotFoundError(name)\n"
        "    return found(name)\n"
        "metadata.version = version\n"
    )

    done = world.run("gateway", "up", "--detach", PYTHONPATH=str(world.folder))
    assert done.returncode == 78
    assert "smg, which is the gateway, is not installed" in done.stderr
    assert f"`{sys.executable} -m pip install --upgrade 'glm5-serve[gateway]'`" in done.stderr


def test_its_own_defaults_that_open_it_to_others_are_never_left_to_smg() -> None:
    made = settings.plan(Options(port=free_port()), Path("/s/gateway"), "python", "1.13.0")

    words = list(made.argv)
    for name in ("--host", "--prometheus-host"):
        assert words[words.index(name) + 1] == "127.0.0.1"
    assert words[words.index("--health-check-interval-secs") + 1] == "2"
    assert "--api-key" not in words
