"""What stopped, misled or annoyed people who met this for the first time, a test each."""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import json
import os
import pty
import re
import shlex
import signal
import socket
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest
from conftest import GLM5_SERVE, PATIENCE, ROOT, World, next_line, until

from launcher.cli import every_command
from launcher.config.load import PlanRequest
from launcher.config.target import planned
from launcher.engines.target import Target
from launcher.formats import curl
from launcher.output import nextstep
from launcher.statedir.folder import StateDir
from launcher.statedir.home import known

FACTS = str(ROOT / "tests/hosts/asus8x.json")
POD = """apiVersion: v1
kind: Pod
metadata: {name: glm}
spec:
  containers:
  - name: s
    image: lmsysorg/sglang:v0.5.23
    command: ["python3", "-m", "sglang.launch_server"]
    args: ["--model-path", "nvidia/GLM-5-NVFP4", "--tp-size", "8", "--host", "0.0.0.0"]
"""
SERVES = "python3 -m sglang.launch_server --model-path nvidia/GLM-5-NVFP4 --tp-size 8"


def on_terminal(world: World, *words: str, columns: int = 80, **environ: str) -> str:
    """What a command prints on a terminal of so many columns, without colours."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    told = {name: text for name, text in world.environ.items() if name not in ("COLUMNS", "LINES")}
    process = subprocess.Popen(
        [GLM5_SERVE, *words], stdin=theirs, stdout=theirs, stderr=theirs, cwd=world.folder,
        env=told | {"TERM": "xterm"} | environ,
    )  # fmt: skip
    os.close(theirs)
    said = b""
    with contextlib.suppress(OSError):  # Linux says so where nobody has the other end any more
        while piece := os.read(ours, 4096):  # no bound: the command has one below, or writes
            said += piece
    os.close(ours)
    process.wait(PATIENCE)
    return re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", said.decode()).replace("\r", "")


# A: a newcomer is stopped, misled or told something false


def test_a_guess_at_the_gpus_is_said_to_be_one(world: World) -> None:
    (world.folder / "k8s.yaml").write_text(POD)

    assert "assumed: sm120" in world.run("lint", "k8s.yaml").stdout
    assert "assumed" not in world.run("lint", "k8s.yaml", "--gpu", "b200").stdout
    assert "8xpro6000 (-p)" in world.run("fit").stderr + world.run("fit").stdout


def test_a_pod_keeps_its_address_and_is_told_to_have_a_key(world: World) -> None:
    (world.folder / "k8s.yaml").write_text(POD)
    said = world.run("lint", "k8s.yaml", "--arch", "sm100")

    assert "instead a key" in said.stdout
    assert "NetworkPolicy" in said.stdout
    assert "risky, after load" in said.stdout
    assert world.run("lint", "k8s.yaml", "--arch", "sm100", "--fix").stdout == POD


def test_no_command_has_both_p2p_off_and_a_level_of_it(world: World) -> None:
    (world.folder / "run.sh").write_text(f"NCCL_P2P_DISABLE=1 {SERVES}\n")
    fixed = world.run("lint", "run.sh", "--fix").stdout
    made = world.run("render", "8xpro6000", "--set", "env.NCCL_P2P_DISABLE=1").stdout

    assert "NCCL_P2P_DISABLE=1" in fixed
    assert "NCCL_P2P_DISABLE=1 \\" in made
    assert "NCCL_P2P_LEVEL" not in fixed + made


def test_a_mistyped_limit_is_corrected_and_not_lost(world: World) -> None:
    (world.folder / "run.sh").write_text(f"{SERVES} --max-runing-requests 8\n")

    assert "--max-running-requests 8" in world.run("lint", "run.sh", "--fix").stdout


def test_no_profile_is_claimed_where_none_fits(world: World) -> None:
    card = "NVIDIA Corporation GB202GL [RTX PRO 6000 Blackwell] [10de:2bb5]"
    (world.folder / "lspci.txt").write_text(f"01:00.0 3D controller [0302]: {card}\n")
    said = world.run("doctor", "--from", "lspci.txt")
    found = json.loads(world.run("doctor", "--from", "lspci.txt", "--json").stdout)["findings"]
    answers = next(one for one in found if one["id"] == "driver-answers")

    assert "1x RTX PRO 6000 Blackwell on the bus; judged without a profile" in said.stdout
    assert "reseat" not in said.stdout
    assert answers["severity"] == "unknown"
    assert "not provided: `nvidia-smi -q`" in answers["evidence"]


def test_a_recorded_host_is_held_against_what_the_profile_needs(world: World) -> None:
    said = world.run("doctor", "--facts", FACTS, "-p", "8xb200", "--only", "gpu-architecture")

    assert said.returncode == 1
    assert "profile 8xb200 is for sm100" in said.stdout


def test_a_model_that_is_absent_is_an_error(world: World) -> None:
    said = world.run("model", "nvidia/GLM-5-NVFP4")

    assert (said.returncode, said.stdout) == (1, "")
    assert "`glm5-serve fetch nvidia/GLM-5-NVFP4`" in said.stderr


def test_what_a_start_took_stands_still_once_it_is_ready(world: World) -> None:
    world.run("up", "stub", "--detach")
    took = world.events()[-1]["seconds"]["smoke"]
    time.sleep(max(1.0, took))
    world.run("down")

    assert world.status()["start"]["seconds"]["smoke"] == pytest.approx(took, abs=0.01)


def test_what_an_unknown_release_changes_is_unknown(world: World) -> None:
    words = ("diff", "8xpro6000", "--release", "0.5.23", "--to-release", "0.5.99")
    said = world.run(*words)

    assert said.returncode == 1
    assert "no difference that is known: 0.5.99 is not in the catalogue" in said.stdout
    assert json.loads(world.run(*words, "--json").stdout)["unknown"]
    same = world.run("diff", "8xpro6000", "--release", "0.5.23")
    assert (same.returncode, same.stdout.endswith("no difference\n")) == (0, True)


# B: annoying


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("flags.max-runing-requests=8", "did you mean --max-running-requests?"),
        ("flags.max-running-requests=abc", "wants a whole number"),
        ("flags.quantization=fp4", "modelopt_fp4"),
        ("flags.tp-size=7", "do not divide by 7"),
        ("flags.mem-fraction-static=7", "above 0 and below 1"),
        ("env.NCCL_P2P_LEVL=SYS", "did you mean NCCL_P2P_LEVEL?"),
    ],
)
def test_render_has_a_word_about_any_flag(world: World, setting: str, says: str) -> None:
    said = world.run("render", "8xpro6000", "--set", setting)

    assert says in said.stdout + said.stderr


def test_a_flag_without_its_table_is_near_the_one_with_it(world: World) -> None:
    said = world.run("render", "8xpro6000", "--set", "max-running-requests=8")

    assert "did you mean flags.max-running-requests?" in said.stderr


def test_status_of_several_is_a_table_and_a_typing_error_is_none(world: World) -> None:
    other = world.profile.with_name("other.toml")
    other.write_text(world.profile.read_text().replace(f"port = {world.port}", "port = 9"))
    world.run("up", "stub", "--detach")
    world.run("down", "stub")
    (world.state / "other").mkdir(mode=0o700)
    state = (world.instance / "state.json").read_text().replace('"stub"', '"other"')
    (world.state / "other/state.json").write_text(state)
    said = world.run("status")

    lines = said.stdout.splitlines()
    assert lines[0].split() == ["profile", "state", "since", "endpoint", "reason"]
    assert [line.split()[:2] for line in lines[1:]] == [["other", "stopped"], ["stub", "stopped"]]
    assert "http" not in said.stdout  # nobody answers there
    assert "http" not in on_terminal(world, "status", columns=60)
    assert world.run("down").stdout == "no server is up\n"
    assert world.run("events", "--starts").stderr.startswith("error  none is up, and there were")
    assert world.run("bench").stderr.startswith("error  no server is up\n")
    typed = world.run("status", "8xpro600")
    assert (typed.returncode, "did you mean 8xpro6000" in typed.stderr) == (2, True)


def test_a_refused_start_leaves_nothing(world: World) -> None:
    said = world.run("up", "stub", "--set", "flags.model-path=/no/model")

    assert said.returncode == 78
    assert not [*world.state.iterdir()]
    assert known(world.state) == []


def test_a_refused_start_leaves_what_was_there(world: World) -> None:
    world.run("up", "stub", "--detach")
    world.run("down")
    before = {path.name for path in world.instance.iterdir()}
    world.run("up", "stub", "--set", "flags.model-path=/no/model")

    assert {path.name for path in world.instance.iterdir()} == before


def test_times_are_those_of_this_host_for_people_and_utc_for_scripts(world: World) -> None:
    world.run("up", "stub", "--detach")
    run = lambda *words: subprocess.run(
        [GLM5_SERVE, *words], env=world.environ | {"TZ": "UTC+5"}, cwd=world.folder, check=True,
        capture_output=True, text=True, timeout=PATIENCE,
    ).stdout  # fmt: skip
    event = json.loads(run("events", "-n", "1", "--json"))
    there = time.gmtime(time.mktime(time.strptime(event["time"][:19], "%Y-%m-%dT%H:%M:%S")) - 18000)
    here = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(time.mktime(there)))

    at = datetime.datetime.fromisoformat
    assert event["time"].endswith("Z")
    assert run("events", "-n", "1").startswith(here)
    assert f"since {here}" in run("status")
    since = json.loads(run("status", "--json"))["since"]  # told before the event, not much
    assert 0 <= (at(event["time"]) - at(since)).total_seconds() < 1


def test_the_next_start_tells_of_a_launcher_that_was_killed(world: World) -> None:
    world.run("up", "stub", "--detach")
    pid = world.status()["pids"]["launcher"]
    os.kill(pid, signal.SIGKILL)
    until(lambda: world.status()["state"] == "dead", "dead")
    world.run("down", "--now")
    world.run("up", "stub", "--detach")

    [told] = world.events("warning")
    assert told["reason"] == f"the launcher (pid {pid}) died unexpectedly (killed?) while ready"
    lines = (world.instance / "events.jsonl").read_text().splitlines()
    kinds = [json.loads(line)["event"] for line in lines]
    assert kinds.index("warning") < len(kinds) - 1 - kinds[::-1].index("phase")


def test_smoke_shows_what_was_asked_and_answered(world: World) -> None:
    world.run("up", "stub", "--detach")
    said = world.run("smoke").stdout

    assert "ask     What is the capital of France?" in said
    assert re.search(r"^answer  .*Paris", said, re.MULTILINE)
    assert "answers correct; " in said
    told = json.loads(world.run("smoke", "--json").stdout)
    assert {"ask", "answer"} == {*told["answers"][0]}
    asked = [one["ask"] for one in told["answers"]]
    assert len(asked) == len({*asked}) >= 3, "again for its stream, and cut: of no interest"


def test_metrics_say_where_they_are_served(world: World) -> None:
    process = world.start("metrics", "--listen", f"127.0.0.1:{world.port}")
    assert next_line(process) == f"serving http://127.0.0.1:{world.port}/metrics\n"
    process.terminate()


def test_a_manager_hears_that_metrics_are_served_when_they_are(world: World) -> None:
    path, place = world.folder / "notify", f"127.0.0.1:{world.port}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(path))
        manager.settimeout(PATIENCE)
        process = world.start("metrics", "--listen", place, NOTIFY_SOCKET=str(path))
        said = manager.recv(4096).decode().splitlines()

        assert said == ["READY=1", f"STATUS=serving http://{place}/metrics"]
        with socket.create_connection(("127.0.0.1", world.port), timeout=PATIENCE):
            process.terminate()
    unit = (ROOT / "systemd/glm5-serve-metrics.service").read_text()
    assert "\nType=notify\nNotifyAccess=main\n" in unit


def test_down_is_fine_where_nothing_ever_was(world: World) -> None:
    for _ in range(2):
        said = world.run("down")
        told = said.stdout.partition(";")[0].strip()  # the host may have instances of its own
        assert (said.returncode, told) == (0, "no server has been started yet")
    assert world.run("down", "stub").returncode == 0


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        (("fetch", "noslash"), 2, "'noslash' is not a repository"),
        (("fetch", "a/b/c"), 2, "'a/b/c' is not a repository"),
        (("fetch", "org/name", "--to", "/proc/x"), 78, "/proc"),
    ],
)
def test_fetch_looks_here_before_it_asks_the_hub(
    world: World, words: tuple[str, ...], status: int, says: str
) -> None:
    said = world.run(*words, HF_ENDPOINT="http://127.0.0.1:9")

    assert (said.returncode, says in said.stderr) == (status, True), said.stderr
    assert "the hub does not answer" not in said.stderr


def test_restart_starts_what_is_stopped_by_the_words_of_before(world: World) -> None:
    first = world.run("restart", "stub")
    assert first.returncode == 0, first.stderr
    assert "stub is not up: starting it" in first.stderr
    world.run("down")
    world.run("up", "stub", "--detach", "--set", "supervision.backoff=7")
    world.run("down")
    again = world.run("restart", "stub", GLM5_SERVE__SUPERVISION__BACKOFF="9")

    assert again.returncode == 0, again.stderr
    assert world.status()["state"] == "ready"
    plan = json.loads((world.instance / "plan.json").read_text())
    assert plan["policy"]["backoff"] == 7
    kept = "kept from its `up`, over the profile: --set supervision.backoff=7; "
    for said in (again, world.run("restart", "stub")):
        assert kept in said.stderr, said.stderr
    world.run("down")
    world.run("up", "stub", "--detach")
    assert "kept from" not in world.run("restart", "stub").stderr


def test_a_profile_that_shadows_another_has_its_description(world: World) -> None:
    (world.profile.parent / "8xpro6000.toml").write_text('extends = "8xpro6000"\n')
    rows = json.loads(world.run("profiles", "--json").stdout)["profiles"]
    own, packaged = (row for row in rows if row["name"] == "8xpro6000")

    assert (own["place"], packaged["shadowed"]) == ("user", True)
    assert own["description"] == packaged["description"] != ""


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::1"])
def test_the_request_to_paste_reaches_the_server_with_its_key(tmp_path: Path, host: str) -> None:
    key = tmp_path / "a key's file"
    key.write_text("s3cret\n")
    ask = PlanRequest("8xpro6000", (f"flags.host={host}",), str(key))
    text = curl.write(planned(ask, {"HOME": str(tmp_path)}, Target())[0])
    (tmp_path / "curl").write_text('#!/bin/sh\nfor word; do printf "%s\\n" "$word"; done\n')
    (tmp_path / "curl").chmod(0o755)
    words = subprocess.run(
        ["bash", "-c", text], env={"PATH": f"{tmp_path}:{os.environ['PATH']}"}, check=True,
        capture_output=True, text=True, timeout=60,
    ).stdout.splitlines()  # fmt: skip

    asked = {"127.0.0.1": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::1": "[::1]"}[host]
    assert words[0] == f"http://{asked}:8000/v1/chat/completions"
    assert "Authorization: Bearer s3cret" in words
    body = json.loads("\n".join(words[words.index("-d") + 1 :]))
    assert body["model"] == "glm-5"
    assert "s3cret" not in text


def test_the_request_to_paste_asks_what_the_model_knows(tmp_path: Path) -> None:
    asked = {}
    for profile, patch in [
        ("cpu-demo", ()),
        ("cpu-demo", ("smoke.enabled=false",)),
        ("cpu-demo", ("smoke.questions=[{ask = \"It's?\", expect = 'x'}]",)),
    ]:
        plan = planned(PlanRequest(profile, patch), {"HOME": str(tmp_path)}, Target())[0]
        words = shlex.split(curl.write(plan))
        [message] = json.loads(words[words.index("-d") + 1])["messages"]
        asked[patch] = message["content"]

    assert [*asked.values()] == ["What is the capital of France?", curl.QUESTION, "It's?"]


def test_commands_end_with_the_next_one(world: World) -> None:
    judged = on_terminal(world, "doctor", "stub", columns=200)
    assert re.search(r"^next   \S*glm5-serve up stub  # start it, and keep it up$", judged, re.M)
    assert "next   " not in on_terminal(world, "doctor", "stub", "--skip", "swap", columns=200)
    up = on_terminal(world, "up", "stub", "--detach", columns=100)
    assert "Ctrl-C stops it" in up
    request = up[up.index("next   curl ") :].removeprefix("next   ")
    answer = subprocess.run(
        ["bash", "-c", f"{request.strip()} -s"], check=True, capture_output=True, text=True,
        timeout=60,
    ).stdout  # fmt: skip
    assert json.loads(answer)["choices"]
    assert "next   " not in on_terminal(world, "doctor", "stub", "--serving"), "it is up"
    assert "next   " not in on_terminal(world, "status")
    world.run("down")
    stopped = on_terminal(world, "status", columns=200)
    assert re.search(r"^next   \S*glm5-serve up stub --detach  # start it", stopped, re.M)
    assert "next   " not in world.run("status").stdout + world.run("status").stderr


def test_a_command_is_called_as_it_can_be_called(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "glm5-serve"
    program.write_text("")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "argv", [str(program)])
    monkeypatch.setenv("PATH", str(tmp_path))
    assert nextstep.called() == "glm5-serve"
    monkeypatch.setenv("PATH", "/nowhere")
    assert nextstep.called() == str(program)


# C: polish


@pytest.mark.parametrize("words", ["profiles", "render 8xpro6000 --explain", "fit 8xpro6000"])
def test_no_line_ends_in_blanks(world: World, words: str) -> None:
    said = world.run(*words.split()).stdout

    assert said
    assert not [line for line in said.splitlines() if line.endswith(" ")]


def test_without_utf8_there_are_plain_signs(world: World) -> None:
    words = ("fit", "8xpro6000")
    old = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    said = subprocess.run(
        [GLM5_SERVE, *words], env=world.environ | old, capture_output=True, timeout=60, check=False
    ).stdout.decode("ascii")

    assert "#" in said
    assert "\\u" not in said


def test_a_stopped_server_is_not_red_and_has_no_endpoint(world: World) -> None:
    world.run("up", "stub", "--detach")
    world.run("down")
    said = world.run("status").stdout

    assert re.search(r"endpoint +-$", said, re.MULTILINE)
    red = "\x1b[1;31m"
    shown = subprocess.run(
        ["script", "-qec", shlex.join([str(GLM5_SERVE), "status"]), "/dev/null"],
        env=world.environ | {"TERM": "xterm"}, capture_output=True, text=True, timeout=60,
        check=False, cwd=world.folder,
    ).stdout  # fmt: skip
    assert "stopped" in shown
    assert red not in shown


def test_a_diagnosis_has_colours_on_a_terminal_and_nowhere_else(world: World) -> None:
    log = ROOT / "tests/diagnose/cases/97-negative-kv-tokens.log"
    plain = world.run("diagnose", log).stdout
    words = shlex.join([str(GLM5_SERVE), "diagnose", str(log)])
    on = lambda **environ: subprocess.run(
        ["script", "-qec", words, "/dev/null"],
        env=world.environ | {"TERM": "xterm", "COLUMNS": "900"} | environ, capture_output=True, text=True,
        timeout=60, check=False, cwd=world.folder,
    ).stdout.replace("\r", "")  # fmt: skip

    coloured = on()
    assert "\x1b[31mno-memory-for-kv" in coloured
    assert "\x1b[" not in plain
    assert "no-memory-for-kv" in plain
    assert "\x1b[3" not in on(NO_COLOR="1")
    assert re.sub(r"\x1b\[[\d;]*m", "", coloured).split() == plain.split()


def test_facts_are_json_whatever_is_said(world: World) -> None:
    assert json.loads(world.run("facts", "--json").stdout)["schema"]
    assert "--json" not in world.run("facts", "--help").stdout


def test_no_gpu_is_asked_for_and_none_is_warned_of(world: World) -> None:
    found = json.loads(world.run("doctor", "cpu-demo", "--json").stdout)["findings"]
    told = {one["id"]: one["severity"] for one in found}

    assert (told["virtual-machine"], told["locked-memory"]) == ("ok", "ok")


def test_what_is_ignored_is_refused_and_what_is_replaced_is_told(world: World) -> None:
    assert world.run("checks", "gpu-power-limit", "--markdown").returncode == 2
    world.run("up", "stub", "--detach")
    assert "in place" not in world.run("bundle", "-o", "x.tgz").stdout
    assert "in place of an older one" in world.run("bundle", "-o", "x.tgz").stdout
    world.run("down")
    for command in ("logs", "events"):
        assert "stub is not up: nothing more comes" in world.run(command, "-f").stderr
    said = world.run("systemd", "uninstall", "stub", "--root", str(world.folder / "root"))
    assert said.stdout == "glm5-serve@stub.service is not installed: there is nothing to remove\n"


def test_a_name_of_a_state_folder_is_free_again_after_a_refusal(world: World) -> None:
    instance = StateDir(world.state, "stub")
    claim = instance.claim()
    assert instance.folder.is_dir()
    instance.abandon(claim)
    assert not instance.folder.exists()
    instance.claim().release()


@pytest.mark.parametrize("name", sorted(every_command()))
def test_every_help_has_room_on_eighty_columns(world: World, name: str) -> None:
    said = world.run(name, "--help", COLUMNS="80").stdout

    commands = said.partition("Commands:")[2]
    assert not [line for line in commands.splitlines() if line.endswith("...")]
    assert all(len(line) <= 80 for line in said.splitlines())
