"""`top` over the stand-in engine and the stand-in driver."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import pytest
from conftest import GLM5_SERVE, RIG, ROOT, World, end, next_line, running, until
from rig.nvml import scenario

from launcher.engines.figures import First
from launcher.operate.holders import Holders
from launcher.operate.top import Driver, Top
from launcher.operate.watch import Watch
from launcher.statedir.folder import StateDir
from launcher.statedir.home import known
from launcher.statedir.readings import GpuReading, Probe, Readings
from launcher.statedir.times import now_text

LOAD = {
    "dp_rank": 0,
    "num_running_reqs": 0,
    "num_waiting_reqs": 3,
    "token_usage": 0.61,
    "gen_throughput": 512.5,
}
METRICS = """sglang:realtime_tokens_total{mode="decode",tp_rank="0"} 1000.0
sglang:realtime_tokens_total{mode="prefill_compute",tp_rank="0"} 75.0
sglang:realtime_tokens_total{mode="prefill_cache",tp_rank="0"} 25.0
sglang:time_to_first_token_seconds_bucket{le="0.1"} 6.0
sglang:time_to_first_token_seconds_bucket{le="+Inf"} 9.0
"""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A server that is up, for all tests of this module."""
    made = World(tmp_path_factory.mktemp("served"))
    made.write_profile(probe_interval=60, stall_timeout=1000)
    up = made.run("up", "-p", "stub", "-d")
    assert up.returncode == 0, up.stderr
    yield made
    end(made)


@pytest.fixture
def stub(served: World) -> Iterator[World]:
    """The same without faults, its plan as it was."""
    plan = (served.instance / "plan.json").read_bytes()
    served.faults(loads=[LOAD], metrics=METRICS)
    yield served
    (served.instance / "plan.json").write_bytes(plan)
    served.faults()


def watch(world: World) -> Watch:
    return Watch(StateDir(world.state, "stub"))


@contextlib.contextmanager
def told_to_plan(world: World, **parts: object) -> Iterator[Watch]:
    """Its watch where its plan says otherwise."""
    path = world.instance / "plan.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | parts))
    yield watch(world)


def test_a_ready_server_tells_what_it_does(stub: World) -> None:
    of = watch(stub)
    of.look(whole=True)
    stub.faults(loads=[LOAD], metrics=METRICS.replace("1000.0", "1500.0"))
    seen = of.look(whole=True)

    assert (seen.why, seen.record.state) == ("", "ready")
    assert seen.figures
    assert (seen.figures.waiting, seen.figures.kv, seen.figures.lacks) == (3, 0.61, ())
    assert (seen.rates.tokens or 0) > 0
    assert seen.first == First(0.1, 9, 0.0)


def test_wrong_answers_push_nothing_else_out(tmp_path: Path) -> None:
    """When it became degraded is what one looks for."""
    instance = StateDir(tmp_path, "stub")
    instance.folder.mkdir()
    wrong = {"event": "canary", "profile": "stub", "degraded": True, "reason": "wrong"}
    told = [{"event": "smoke", "passed": True}, wrong | {"cause": "wrong-output"}, *[wrong] * 99]
    instance.events.write_text("".join(f"{json.dumps(one)}\n" for one in told))

    assert [event.kind for event in Watch(instance).events()] == ["smoke", "canary"]


def test_a_server_without_metrics_tells_the_rest_and_how_to_get_them(stub: World) -> None:
    stub.faults(loads=[LOAD], reply={"/metrics": 404})
    of = watch(stub)
    seen = of.look(whole=True)

    assert seen.figures
    assert seen.figures.waiting == 3
    assert "set flags.enable-metrics = true" in seen.figures.lacks[0]

    stub.faults(loads=[LOAD], metrics=METRICS)  # what it does not have it is not asked for again
    again = of.look(whole=True)
    assert again.figures
    assert again.figures.lacks == seen.figures.lacks
    assert again.figures.generated is None


def test_a_server_that_refuses_metrics_is_said(stub: World) -> None:
    stub.faults(loads=[LOAD], reply={"/metrics": 403})
    of = watch(stub)

    assert getattr(of.look(whole=True).figures, "lacks", ()) == ("/metrics says 403",)
    stub.faults(loads=[LOAD], metrics=METRICS)
    assert getattr(of.look(whole=True).figures, "lacks", ()) == (), "that may pass: asked again"


def test_figures_of_a_server_that_hangs_are_told_with_their_age(stub: World) -> None:
    of = watch(stub)
    of.look()
    stub.faults(hang_at="loads", loads=[LOAD])
    seen = of.look()

    assert seen.why == "no answer within 1 s"
    assert seen.figures
    assert seen.age >= 1.0


def test_a_stranger_at_the_port_is_asked_nothing(stub: World, tmp_path: Path) -> None:
    heard = tmp_path / "heard"
    words = (sys.executable, RIG / "listener.py", "127.0.0.1", "0", "sane", heard)
    with (
        running(*words, stdout=subprocess.PIPE) as stranger,
        told_to_plan(stub, port=int(next_line(stranger))) as of,
    ):
        seen = of.look()

    assert seen.figures is None
    assert "not by this server; nothing was sent to it" in seen.why
    assert not heard.exists() or not heard.read_bytes()


def test_without_its_key_it_is_not_asked(stub: World) -> None:
    with told_to_plan(stub, key_file="/no/such/key") as of:
        seen = of.look()

    assert seen.figures is None
    assert seen.why.startswith("not asked: cannot read the API key file")


def test_a_node_that_follows_is_not_asked(stub: World) -> None:
    node = {"name": "a", "address": "10.0.0.1", "interface": "", "host": "", "arguments": []}
    nodes = [node | {"env": {}, "settings": []}, node | {"name": "b", "env": {}, "settings": []}]
    with told_to_plan(stub, nodes=nodes, rank=1) as of:
        assert of.look().why == "the first node answers: a"


def test_in_a_pipe_it_is_printed_once(stub: World) -> None:
    said = stub.run("top", "--interval", "0.2")

    assert said.returncode == 0, said.stderr
    assert said.stdout.startswith("stub  ready")
    assert "waiting 3" in said.stdout
    assert "first token <= 0.1 s (9 since its start)" in said.stdout
    assert "\x1b" not in said.stdout
    assert said.stdout.count("no GPU") == 1


def test_scripts_get_json(stub: World) -> None:
    said = stub.run("top", "-p", "stub", "--once", "--json", "--interval", "0.2")
    told = json.loads(said.stdout)
    [instance] = told["instances"]

    assert (told["schema"], instance["profile"], instance["state"]) == (1, "stub", "ready")
    assert instance["figures"]["kv_used"] == 0.61
    assert instance["start"]["seconds"]["weights"] >= 0
    assert told["gpus"]["gpus"] == []


def test_on_a_terminal_it_is_drawn_until_q(stub: World) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(GLM5_SERVE, [str(GLM5_SERVE), "top"], stub.environ | {"TERM": "xterm"})
    drawn = read_until(terminal, b"q leaves")
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 20, 160, 0, 0))
    drawn += read_until(terminal, b"q leaves")
    os.write(terminal, b"q")
    with contextlib.suppress(OSError):  # no more of a terminal that nobody has open
        while os.read(terminal, 1 << 16):  # no bound: until it is left
            pass
    _, status = os.waitpid(pid, 0)  # no bound: nobody has its terminal any more
    os.close(terminal)

    assert os.waitstatus_to_exitcode(status) == 0
    assert b"Traceback" not in drawn


def test_a_signal_that_ends_it_leaves_the_terminal_as_it_was(world: World) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(GLM5_SERVE, [str(GLM5_SERVE), "top"], world.environ | {"TERM": "xterm"})
    drawn = read_until(terminal, b"q leaves")
    keeper = os.open(f"/proc/{pid}/fd/0", os.O_RDWR | os.O_NOCTTY)  # open, as the shell has it
    flags = termios.ICANON | termios.ECHO
    while_live = termios.tcgetattr(keeper)[3] & flags
    os.kill(pid, signal.SIGTERM)
    _, status = os.waitpid(pid, 0)  # no bound: it is ended
    for left in (b"\x1b[?1049l", b"\x1b[?25h"):
        drawn += b"" if left in drawn else read_until(terminal, left)
    after = termios.tcgetattr(keeper)[3] & flags
    os.close(keeper)
    os.close(terminal)

    assert os.waitstatus_to_exitcode(status) == -signal.SIGTERM
    assert (while_live, after) == (0, flags)


def test_ctrl_z_gives_the_terminal_back_until_it_goes_on(world: World) -> None:
    shell = (
        "set -m; stty -a | md5sum; {0} top; echo stopped $?; stty -a | md5sum; fg; echo ended $?"
    )
    pid, terminal = pty.fork()
    if pid == 0:
        words = ["bash", "--norc", "-c", shell.format(GLM5_SERVE)]
        os.execvpe("bash", words, world.environ | {"TERM": "xterm"})
    drawn = read_until(terminal, b"q leaves")
    os.write(terminal, b"\x1a")
    stopped = read_until(terminal, b"q leaves")
    os.write(terminal, b"q")
    ended = read_until(terminal, b"ended 0")
    os.waitpid(pid, 0)  # no bound: it has said its last
    os.close(terminal)

    assert b"stopped 148" in stopped  # 128 and SIGTSTP
    assert re.findall(rb"[0-9a-f]{32}", drawn) == re.findall(rb"[0-9a-f]{32}", stopped) != []
    for begun, left in ((b"\x1b[?1049h", b"\x1b[?1049l"), (b"\x1b[?25l", b"\x1b[?25h")):
        assert (drawn + stopped).count(begun) == (drawn + stopped + ended).count(left) == 2


def test_on_a_terminal_that_cannot_be_drawn_on_it_is_printed_once(world: World) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        words = [str(GLM5_SERVE), "top", "--interval", "0.2"]
        os.execve(GLM5_SERVE, words, world.environ | {"TERM": "dumb"})
    drawn = read_until(terminal, b"no server has been started yet")
    _, status = os.waitpid(pid, 0)  # no bound: it ends by itself
    os.close(terminal)

    assert os.waitstatus_to_exitcode(status) == 0
    assert b"\x1b" not in drawn


def test_up_shows_it_when_it_is_ready_until_it_is_stopped(world: World) -> None:
    world.write_profile(stall_timeout=1000)
    world.faults(loads=[LOAD])
    pid, terminal = pty.fork()
    if pid == 0:
        words = [str(GLM5_SERVE), "up", "-p", "stub"]
        os.execve(GLM5_SERVE, words, world.environ | {"TERM": "xterm"})
    read_until(terminal, b"waiting 3")
    os.write(terminal, b"\x03")
    drawn = b""
    with contextlib.suppress(OSError):  # no more of a terminal that nobody has open
        while piece := os.read(terminal, 1 << 16):  # no bound: until it has ended
            drawn += piece
    _, status = os.waitpid(pid, 0)  # no bound: nobody has its terminal any more
    os.close(terminal)

    assert os.waitstatus_to_exitcode(status) == 0
    assert b"stop asked for by Ctrl-C" in drawn
    assert b"Traceback" not in drawn


def read_until(terminal: int, words: bytes) -> bytes:
    drawn = b""

    def seen() -> bool:
        nonlocal drawn
        drawn += os.read(terminal, 1 << 16)  # no bound: it draws each second
        return words in drawn

    until(seen, f"{words!r} is drawn")
    return drawn


SCHEMA = json.loads((ROOT / "docs/top.schema.json").read_text())


def test_what_scripts_get_is_as_its_schema_says(stub: World) -> None:
    stub.faults(loads=[LOAD], metrics=METRICS)
    told = json.loads(stub.run("top", "--once", "--json", "--interval", "0.2").stdout)

    jsonschema.validate(told, SCHEMA)
    [instance] = told["instances"]
    for lacking in ({**told, "gpus": None}, {**told, "instances": [{**instance, "x": 1}]}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(lacking, SCHEMA)


def test_without_any_server_the_gpus_of_this_host_are_told(
    world: World, library: Path, tmp_path: Path
) -> None:
    """One is held by a process of this test, the others by nobody."""
    host = scenario.host(3) | {"gpu.1.procs": f"{os.getpid()}:{1 << 34}"}
    shown = scenario.environ(library, scenario.write(tmp_path / "host", host))
    said = world.run("top", "--once", "--interval", "0.2", **shown)
    told = json.loads(world.run("top", "--json", "--interval", "0.2", **shown).stdout)

    name = Path(f"/proc/{os.getpid()}/comm").read_text().strip()
    assert said.returncode == 0, said.stderr
    assert said.stdout.startswith("no server has been started yet: `glm5-serve up")
    assert f"  GPU 0, 2: free   1: another process, {os.getpid()} {name}" in said.stdout
    jsonschema.validate(told, SCHEMA)
    one = told["gpus"]["gpus"][1]
    assert one["held_by"] == [{"pid": os.getpid(), "name": name, "instance": None}]
    assert [gpu["free"] for gpu in told["gpus"]["gpus"]] == [True, False, True]


def test_a_gpu_of_a_server_is_its_own_and_those_below_it(stub: World) -> None:
    server = stub.status()["pids"]["server"]
    used = GpuReading(0, used=9e9, pids=(server,))
    stranger = GpuReading(1, used=9e9, pids=(os.getpid(), 4_000_000))
    held = Holders().look([used, stranger], lambda: known(stub.state))

    assert [holder.instance for holder in held[0]] == ["stub"]
    assert [(holder.pid, holder.instance) for holder in held[1]] == [
        (os.getpid(), None),
        (4_000_000, None),
    ]
    assert held[1][1].name is None


# -- GPUs ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scenario.library(tmp_path_factory.mktemp("nvml"))


@contextlib.contextmanager
def driver_of(
    host: scenario.Scenario, library: Path, folder: Path, within: float = 60.0
) -> Iterator[Driver]:
    with pytest.MonkeyPatch.context() as patch:
        file = scenario.write(folder / "host", host)
        for name, value in scenario.environ(library, file).items():
            patch.setenv(name, value)
        driver = Driver(within)
        yield driver
        driver.close()


def test_eight_gpus_are_told_by_the_driver(library: Path, tmp_path: Path) -> None:
    host = scenario.host(8, clocks_event_reasons=0x84, clock_sm=1200, pcie_width=8, util_gpu=97)
    with driver_of(host, library, tmp_path) as driver:
        seen = driver.look()
    gpu = seen.gpus[5]

    assert len(seen.gpus) == 8
    assert (gpu.clock, gpu.clock_max, gpu.limit, gpu.utilization) == (1200, 2430, 600.0, 97)
    assert gpu.slowed == ("sw_power_cap", "hw_power_brake")
    assert (gpu.link_gen, gpu.link_gen_max, gpu.link_width, gpu.link_width_max) == (1, 5, 8, 16)


def test_a_board_that_tells_little_is_told_with_little(library: Path, tmp_path: Path) -> None:
    host = {
        name: value
        for name, value in scenario.host(1).items()
        if not name.startswith(("gpu.*.clock", "gpu.*.pcie", "gpu.*.power"))
    }
    with driver_of(host, library, tmp_path) as driver:
        [gpu] = driver.look().gpus

    assert (gpu.clock, gpu.limit, gpu.link_gen, gpu.slowed) == (None, None, None, ())


def test_a_driver_that_hangs_holds_nobody_up(library: Path, tmp_path: Path) -> None:
    host = scenario.host(1) | {
        "delay_ms.nvmlInit_v2": 600_000,
        "delay_ms.nvmlInitWithFlags": 600_000,
    }
    with driver_of(host, library, tmp_path, within=0.5) as driver:
        began = time.monotonic()
        seen = driver.look()

    assert (seen.gpus, seen.why) == ((), "the driver does not answer")
    assert time.monotonic() - began < 30


def test_what_a_launcher_read_is_not_asked_again(world: World) -> None:
    instance = StateDir(world.state, "stub")
    instance.folder.mkdir(parents=True, mode=0o700)
    read = Readings("s", now_text(), time.time() - 5, Probe(0.1, True), (GpuReading(0, used=5.0),))
    instance.write(instance.readings, read.to_json())
    top = Top(lambda: [instance], Driver())

    fresh = top.look().gpus
    instance.write(instance.readings, read.to_json() | {"at": time.time() - 600})
    old = top.look().gpus
    top.close()

    assert fresh.gpus[0].used == 5.0
    assert 4 < fresh.age < 60
    assert old.why.startswith("no GPU is to be seen")
