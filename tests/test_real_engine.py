"""The real SGLang server on the CPU, supervised: `make engine` makes it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest
import requests
from conftest import (
    ENGINE,
    GLM5_SERVE,
    World,
    free_port,
    needs_engine,
    needs_vllm,
    next_line,
    until,
)

pytestmark = [pytest.mark.engine, needs_engine]
LONG = 240.0  # seconds; a start takes 15-25 here


class Demo:
    """Profile cpu-demo in a world of its own, on a port of its own."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.world.instance = world.state / "cpu-demo"
        self.port = free_port()
        # The engine lies in the real user's cache; HOME is the world's.
        self.environ = {
            "XDG_CACHE_HOME": str(ENGINE.parent.parent),
            "GLM5_SERVE__FLAGS__PORT": str(self.port),
        }

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [GLM5_SERVE, *words, "-p", "cpu-demo"],
            env=self.world.environ | self.environ,
            text=True,
            capture_output=True,
            timeout=LONG,
            check=False,
            cwd=self.world.folder,
        )

    def up(self, *words: str) -> dict[str, object]:
        up = self.run("up", "--detach", *words)
        assert up.returncode == 0, up.stderr + self.run("logs").stdout[-3000:]
        return self.status()

    def status(self) -> dict[str, object]:
        return dict(json.loads(self.run("status", "--json").stdout))

    def chat(
        self, key: str | None = None, question: str = "What is two plus two?"
    ) -> requests.Response:
        return requests.post(
            f"http://127.0.0.1:{self.port}/v1/chat/completions",
            json={
                "model": "tiny",
                "messages": [{"role": "user", "content": question}],
                "temperature": 0,
                "max_tokens": 32,
            },
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=60,
        )


@pytest.fixture
def demo(world: World) -> Demo:
    return Demo(world)


def answer(response: requests.Response) -> str:
    response.raise_for_status()
    return str(response.json()["choices"][0]["message"]["content"]).strip()


def test_it_comes_up_survives_a_rank_and_goes_without_a_trace(demo: Demo) -> None:
    seen = demo.up()
    assert seen["state"] == "ready"
    assert list(seen["start"]["seconds"]) == [
        "process",
        "distributed",
        "weights",
        "kv",
        "warmup",
        "smoke",
    ]
    assert answer(demo.chat()) == "Two plus two is four."

    (scheduler,) = [
        p for p in demo.world.processes() if p.cmdline()[0].startswith("sglang::scheduler")
    ]
    scheduler.kill()
    until(lambda: demo.status()["restarts"] == 1, "it died and was launched again", LONG)
    after = until(lambda: (s := demo.status())["state"] == "ready" and s, "it is ready again", LONG)
    assert after["last_error"].startswith(
        ("rank-killed: ", "sglang::scheduler died", "the server was killed by SIGKILL")
    )
    assert answer(demo.chat()) == "Two plus two is four."

    psutil.Process(after["pids"]["launcher"]).kill()
    demo.world.until_nothing_is_left()
    assert demo.status()["state"] == "dead"
    assert demo.run("down").returncode == 0


@pytest.mark.parametrize("command", ["down", "restart"])
def test_a_request_in_flight_is_answered_before_it_goes(demo: Demo, command: str) -> None:
    key_file = demo.world.folder / "key"
    key_file.write_text("sekret-0123456789")
    key_file.chmod(0o600)
    # on a busy machine 900 tokens take their time
    patient = (
        "--set",
        "supervision.stop_timeout=150",
    )
    up = demo.run("up", "--detach", "--api-key-file", str(key_file), *patient)
    assert up.returncode == 0, up.stderr
    assert demo.chat().status_code == 401
    body = {
        "text": "The",
        "sampling_params": {"max_new_tokens": 900, "ignore_eos": True, "temperature": 0},
    }
    url, headers = (
        f"http://127.0.0.1:{demo.port}/generate",
        {"Authorization": "Bearer sekret-0123456789"},
    )
    with ThreadPoolExecutor() as pool:
        request = pool.submit(requests.post, url, json=body, headers=headers, timeout=150)
        time.sleep(0.5)
        assert not request.done(), "the request is long enough to be in flight"
        down = demo.run(command)
        demo.run("down")

    assert down.returncode == 0
    assert request.result(LONG).json()["meta_info"]["completion_tokens"] == 900
    written = "".join(p.read_text() for p in demo.world.instance.iterdir())
    assert "sekret-0123456789" not in written + up.stderr + down.stdout
    assert "'api_key': '[redacted]'" in written
    assert not demo.world.processes()


def test_an_unknown_option_is_refused_before_the_start_with_the_nearest(demo: Demo) -> None:
    up = demo.run("up", "--detach", "--set", "flags.mem-fraction-statc=0.5")

    assert up.returncode == 78
    assert "SGLang 0.5.23 has no --mem-fraction-statc" in up.stderr
    assert "write --mem-fraction-static for --mem-fraction-statc" in up.stderr


def test_bad_arguments_are_said_in_sglangs_own_words(demo: Demo) -> None:
    up = demo.run(
        "up", "--detach", "--set", "flags.mem-fraction-statc=0.5", "--allow", "engine-options"
    )

    assert up.returncode == 1
    assert "unrecognized arguments: --mem-fraction-statc" in up.stderr
    assert demo.status()["restarts"] == 0


def test_sglang_never_enters_the_launcher(demo: Demo) -> None:
    demo.up()
    launcher = psutil.Process(demo.status()["pids"]["launcher"])
    mapped = " ".join(entry.path for entry in launcher.memory_maps())

    assert "torch" not in mapped
    assert "pydantic" not in mapped


PHASES = ("process up", "distributed init", "weights", "KV pool", "warm-up", "smoke", "ready")


@pytest.mark.parametrize(
    "engine",
    ["sglang", pytest.param("vllm", marks=[pytest.mark.engine("vllm"), needs_vllm])],
)
def test_make_demo_does_the_main_job(world: World, engine: str) -> None:
    demo = subprocess.run(
        [GLM5_SERVE, "demo", "--engine", engine],
        env=world.environ | Demo(world).environ,
        text=True,
        capture_output=True,
        timeout=LONG,
        check=False,
        cwd=world.folder,
    )

    assert demo.returncode == 0, demo.stdout + demo.stderr
    assert "The capital of France is Paris." in demo.stdout
    profile = {"sglang": "cpu-demo", "vllm": "cpu-demo-vllm"}[engine]
    assert demo.stdout.rstrip().endswith(f"{profile} is down")
    assert f"glm5-serve up {profile}" in demo.stderr
    told = [demo.stderr.index(f" {phase} ") for phase in PHASES]
    assert told == sorted(told)
    assert not world.processes()


@pytest.mark.parametrize("moment", ["engine", "up", "process up", "KV pool"])
def test_ctrl_c_at_any_moment_leaves_nothing(world: World, moment: str) -> None:
    environ = Demo(world).environ | {"PYTHONUNBUFFERED": "1"}
    demo = subprocess.Popen(
        [GLM5_SERVE, "demo"],
        env=world.environ | environ,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        cwd=world.folder,
    )
    assert demo.stdout is not None
    seen = ""
    while line := next_line(demo, LONG):
        seen += line
        if moment in line:
            break
    os.killpg(demo.pid, signal.SIGINT)  # what a terminal does
    seen += demo.communicate(timeout=LONG)[0]

    assert demo.wait(60) in (1, 130), seen
    world.until_nothing_is_left()
