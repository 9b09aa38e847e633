"""`up` and what another shell can do with it, over real processes: the stand-in engine, real
signals.
"""

from __future__ import annotations

import fcntl
import json
import os
import pty
import signal
import socket
import subprocess
import time

import psutil
import pytest
import requests
from conftest import GLM5_SERVE, PATIENCE, World, free_port, next_line, remove, until
from rig.mounts import mounted

from launcher.errors import Exit, UserError
from launcher.operate import control
from launcher.statedir.folder import StateDir
from launcher.statedir.processes import is_launcher


def test_up_says_how_it_starts_and_stops(world: World) -> None:
    up = world.start("up", "-p", "stub")
    world.until_state("ready")
    up.send_signal(signal.SIGTERM)
    said, _ = up.communicate(timeout=60)

    assert up.returncode == 0
    words = [line.split(None, 1)[1].split("  ")[0].strip() for line in said.splitlines()]
    assert words[0] == "starting"
    assert [w for w in words if w in ("process up", "distributed init", "KV pool")] == [
        "process up",
        "distributed init",
        "KV pool",
    ]
    assert words[-3:] == ["ready", "stopping", "stopped"]
    assert not world.processes()


def test_detach_returns_when_it_is_ready(world: World) -> None:
    assert world.run("up", "-p", "stub", "--detach").returncode == 0

    seen = world.status()
    assert seen["state"] == "ready"
    assert seen["endpoint"] == f"http://127.0.0.1:{world.port}"
    assert seen["restarts"] == 0
    assert seen["schema"] == 1
    assert requests.post(f"{seen['endpoint']}/generate", json={}, timeout=60).ok
    down = world.run("down")
    assert (down.returncode, down.stdout) == (0, "stub is down\n")
    assert not world.processes()
    assert world.status()["state"] == "stopped"


def test_no_command_lets_python_warn(world: World) -> None:
    """Of what it left open, or of what a later Python takes no more: it would be told to users."""
    for command, *words in (["up", "-d"], ["restart"], ["down"]):
        said = world.run(command, "-p", "stub", *words, PYTHONWARNINGS="error")
        assert (said.returncode, "Warning" in said.stderr) == (0, False), said.stderr


def test_what_is_printed_is_what_is_run(world: World) -> None:
    record = world.folder / "record.json"
    world.faults(record=str(record))
    odd = "a b'c\"d $HOME `x` \\ é"
    words = ["-p", "stub", "--set", f"flags.served-model-name={odd}", "--set", f"env.ODD={odd}"]
    world.run("up", *words, "--detach")
    ran = json.loads(record.read_text())
    world.run("down")

    record.unlink()
    printed = world.run("render", *words).stdout
    shell = subprocess.Popen(["sh", "-c", printed], env=world.environ, stdout=subprocess.DEVNULL)
    until(record.exists, "the pasted command runs")
    pasted = until(
        lambda: record.read_text() and json.loads(record.read_text()), "it wrote down what it got"
    )
    until(lambda: not [process.kill() for process in world.processes()], "what was pasted is gone")
    shell.wait(60)

    assert ran["argv"] == pasted["argv"]
    names = {"PYTHONPATH", "STUB_FAULTS", "ODD"}
    assert {n: ran["env"][n] for n in names} == {n: pasted["env"][n] for n in names}
    assert ran["env"]["ODD"] == odd


def test_a_dead_server_is_restarted(world: World) -> None:
    world.run("up", "-p", "stub", "-d")
    before = world.status()
    psutil.Process(before["pids"]["server"]).kill()
    after = world.until_state("ready", restarts=1)

    assert after["pids"]["server"] != before["pids"]["server"]
    assert after["pids"]["launcher"] == before["pids"]["launcher"]
    assert after["last_error"] == "the server was killed by SIGKILL"


def test_a_dead_rank_is_a_dead_server(world: World) -> None:
    world.run("up", "-p", "stub", "-d")
    ranks = until(
        lambda: [p for p in world.processes() if p.name() == "sglang::TP1"], "rank 1 has its name"
    )
    ranks[0].kill()

    world.until_state("ready", restarts=1)


def test_a_server_that_stops_answering_is_restarted(world: World) -> None:
    world.write_profile(failure_threshold=2)
    world.run("up", "-p", "stub", "-d")
    world.faults(health_status=503)
    until(lambda: any(e["state"] == "stopping" for e in world.events()), "it is given up")
    world.faults()
    world.until_state("ready")

    stopping = next(e for e in world.events() if e["state"] == "stopping")
    assert (
        " health checks in a row failed, the last one: /health says 503: {}; no work for "
        in stopping["reason"]
    )


def test_the_budget_of_deaths_is_kept(world: World) -> None:
    world.write_profile(restart_limit=2, backoff=0)
    world.faults(exit_at="serve", exit_code=-signal.SIGKILL)
    up = world.start("up", "-p", "stub")
    said, _ = up.communicate(timeout=60)

    assert up.returncode == 1
    assert "3 deaths within 3600 s, 2 allowed: gave up" in said
    assert len([e for e in world.events() if e["state"] == "starting"]) == 3
    assert world.status()["state"] == "failed"
    assert not world.processes()


def test_a_server_killed_while_loading_is_tried_again(world: World) -> None:
    world.faults(die_at_load=2)

    assert world.run("up", "-p", "stub", "-d").returncode == 0
    assert world.status()["restarts"] == 2


def test_bad_arguments_are_not_tried_again(world: World) -> None:
    words = ("--set", "flags.no-such-option=true", "--allow", "engine-options")
    up = world.run("up", "-p", "stub", "-d", *words)

    assert up.returncode == 1
    seen = world.status()
    assert seen["state"] == "failed"
    assert seen["last_error"].startswith("bad-option: ")
    assert "not tried again" in seen["reason"]
    assert "unrecognized arguments: --no-such-option" in up.stderr


def test_runs_count_on_from_one_launcher_to_the_next(world: World) -> None:
    world.run("up", "stub", "--detach")
    world.run("down")
    world.faults(hang_at="load")
    world.start("up", "stub")
    os.kill(world.until_state("starting", run=2)["pids"]["launcher"], signal.SIGKILL)
    until(lambda: world.status()["state"] == "dead", "dead")
    world.run("down", "--now")
    world.faults()
    world.run("up", "stub", "--detach")

    starting = [event for event in world.events() if event["state"] == "starting"]
    assert [(event["run"], event["restarts"], event["reason"]) for event in starting] == [
        (1, 0, "first start"),
        (2, 0, "started"),
        (3, 0, "started"),
    ]
    assert world.status()["run"] == 3
    over = json.loads(world.run("events", "--starts", "--json").stdout)["starts"]
    assert [start["run"] for start in over] == [1, 3], "the second was killed with its launcher"


def test_a_start_that_hangs_is_given_up(world: World) -> None:
    world.write_profile(start_timeout=0.8, restart_limit=0)
    world.faults(hang_at="load")

    assert world.run("up", "-p", "stub", "-d").returncode == 1
    assert world.status()["reason"].startswith("not ready within 0.8 s: ")
    assert not world.processes()


def test_a_server_without_tokens_is_not_ready(world: World) -> None:
    world.faults(tokens=0)
    world.write_profile(start_timeout=1.5, restart_limit=0)

    assert world.run("up", "-p", "stub", "-d").returncode == 1
    assert not [e for e in world.events() if e["state"] == "ready"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_drains_and_leaves_nothing(world: World, number: signal.Signals) -> None:
    world.faults(drain=0.5)
    up = world.start("up", "-p", "stub")
    world.until_state("ready")
    up.send_signal(number)
    said, _ = up.communicate(timeout=60)

    assert up.returncode == 0
    by = {signal.SIGINT: "Ctrl-C (SIGINT)"}.get(number, number.name)
    assert f"stop asked for by {by}" in said
    assert "Draining" in world.run("logs", "-p", "stub").stdout
    assert not world.processes()


def test_what_nohup_ignores_does_not_stop_it(world: World) -> None:
    ignored = {signal.SIGHUP: signal.SIG_IGN, signal.SIGINT: signal.SIG_IGN}
    before = {number: signal.signal(number, how) for number, how in ignored.items()}
    up = world.start("up", "-p", "stub")
    for number, how in before.items():
        signal.signal(number, how)
    world.until_state("ready")
    up.send_signal(signal.SIGHUP)
    up.send_signal(signal.SIGINT)
    time.sleep(1)
    assert world.status()["state"] == "ready"
    up.send_signal(signal.SIGTERM)
    said, _ = up.communicate(timeout=60)

    assert up.returncode == 0
    assert "stop asked for by SIGTERM" in said


def test_a_signal_to_a_young_launcher_is_not_lost(world: World) -> None:
    for delay in (0.0, 0.02, 0.05):
        up = world.start("up", "-p", "stub")
        until(lambda: is_launcher(up.pid), "it became the supervisor")  # noqa: B023  not kept
        time.sleep(delay)
        up.send_signal(signal.SIGINT)
        said, _ = up.communicate(timeout=60)

        assert up.returncode == 0
        assert "stopped" in said
        assert "Traceback" not in said


def test_down_stops_an_up_that_still_judges_the_host(world: World) -> None:
    up = world.start("up", "-p", "stub")
    until((world.instance / "lock").exists, "it claimed its folder")

    assert world.run("down", "-p", "stub").stdout == "stub is down\n"
    assert up.wait(60) == 0
    assert not world.processes()


def test_down_does_not_wait_for_ever_for_a_launcher_without_a_name(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "YOUNG", 0.1)
    instance = StateDir(world.instance.parent, "stub")
    claim = instance.claim()
    with pytest.raises(UserError, match="no launcher has said who it is") as refused:
        control.down(instance, now=False)
    claim.release()

    assert refused.value.status == Exit.NO
    assert str(instance.lock.path) in str(refused.value.fix)


def test_a_second_signal_changes_nothing_and_down_now_kills(world: World) -> None:
    world.faults(drain=600)
    world.write_profile(stop_timeout=300)
    up = world.start("up", "-p", "stub")
    world.until_state("ready")
    for number in (
        signal.SIGINT,
        signal.SIGTERM,
        signal.SIGHUP,
        signal.SIGHUP,
        signal.SIGUSR2,
        signal.SIGALRM,
    ):
        up.send_signal(number)
        time.sleep(0.1)
    assert world.status()["state"] == "stopping"
    assert len([e for e in world.events() if e["state"] == "stopping"]) == 1

    assert world.run("down", "--now").returncode == 0
    said, _ = up.communicate(timeout=PATIENCE)
    assert up.returncode == 0
    assert "killed at once, asked for by `down --now`" in said
    assert not world.processes()


def test_a_deaf_server_is_killed_in_the_end(world: World) -> None:
    world.write_profile(stop_timeout=0.3)
    world.run("up", "-p", "stub", "-d")
    world.faults(deaf=True)

    assert world.run("down").returncode == 0
    assert "not gone within 0.3 s: killed" in world.status()["reason"]
    assert not world.processes()


@pytest.mark.parametrize("hang_at", [None, "load"])
def test_nothing_outlives_a_killed_launcher(world: World, hang_at: str | None) -> None:
    world.faults(escape=True, hang_at=hang_at, deaf=True)
    up = world.start("up", "-p", "stub", "--set", "flags.tp-size=3")
    until(lambda: len(world.processes()) >= 6, "launcher, reaper, server and three ranks")
    world.until_state("starting" if hang_at else "ready")
    up.kill()
    up.wait(60)

    world.until_nothing_is_left()
    seen = world.status()
    assert seen["state"] == "dead"
    assert "died unexpectedly" in seen["reason"]


def test_nothing_outlives_a_killed_reaper(world: World) -> None:
    world.faults(escape=True)
    world.run("up", "-p", "stub", "-d")
    before = {p.pid for p in world.processes()}
    launcher = world.status()["pids"]["launcher"]
    (reaper,) = [p for p in world.processes() if p.ppid() == launcher]
    reaper.kill()
    world.until_state("ready", restarts=1)

    assert before & {p.pid for p in world.processes()} == {launcher}
    assert "killed its reaper" in world.status()["last_error"]
    [death] = world.events("death")
    assert (death["how"], death["cause"]) == ("its reaper was killed", "reaper-killed")
    assert "journalctl -k" in death["fix"]
    assert "if it did die" not in death["fix"]
    told = world.run("events", "--kind", "death").stdout
    assert "reaper-killed: somebody, or the kernel, killed its reaper" in told


def test_a_death_of_unknown_cause_shows_the_last_lines(world: World) -> None:
    world.faults(exit_at="load", exit_code=3)
    said = world.run("up", "stub", "--detach")
    [death] = world.events("death")

    assert (death["cause"], death["how"]) == ("unknown", "exited with status 3")
    assert "if it did die" not in death["fix"]
    assert "`glm5-serve logs`" in death["fix"]
    last = death["evidence"][-1]
    for told in (said.stderr, world.run("events", "--kind", "death").stdout):
        assert (
            "exited with status 3; unknown: no known failure in this log; the last lines: " in told
        )
        assert f"{last[:160]}; fix: " in told


def test_stop_takes_those_that_got_away(world: World) -> None:
    world.faults(escape=True)
    world.run("up", "-p", "stub", "-d", "--set", "flags.tp-size=3")
    world.run("down")

    assert not world.processes()


def test_two_launchers_of_one_profile_cannot_run(world: World) -> None:
    world.run("up", "-p", "stub", "-d")
    second = world.run("up", "-p", "stub")

    assert second.returncode == 1
    assert "stub is already up: ready since" in second.stderr
    assert "glm5-serve down --profile stub" in second.stderr
    assert world.status()["state"] == "ready"


def test_restart_reads_the_profile_again(world: World) -> None:
    world.run("up", "-p", "stub", "-d")
    before = world.status()
    world.write_profile('NEW = "1"\n[access]\nopen_without_key = true', restart_limit=9)
    again = world.run("restart")
    after = world.status()

    assert again.returncode == 0
    assert "+ NEW 1" in again.stderr
    assert after["state"] == "ready"
    assert after["pids"]["launcher"] == before["pids"]["launcher"]
    assert after["pids"]["server"] != before["pids"]["server"]


def test_what_was_stopped_is_restarted_only_by_its_name(world: World) -> None:
    assert "no server has been started yet" in world.run("restart").stderr
    world.run("up", "-p", "stub", "-d")
    world.run("down")
    bare, smoke = world.run("restart"), world.run("smoke")

    assert (bare.returncode, bare.stderr.splitlines()[0]) == (1, "error  stub is not up")
    assert smoke.stderr.splitlines()[0] == bare.stderr.splitlines()[0]
    assert "`glm5-serve up stub`" in bare.stderr
    assert world.status()["state"] == "stopped"
    assert "is not up: starting it" in world.run("restart", "stub").stderr
    assert world.status()["state"] == "ready"


def test_of_several_that_were_up_none_is_restarted(world: World) -> None:
    world.profile.with_name("other.toml").write_text('extends = "stub"\n')
    for name in ("stub", "other"):
        world.run("up", name, "-d")
        world.run("down")

    said = world.run("restart")

    assert (said.returncode, said.stderr.splitlines()[0]) == (1, "error  no server is up")
    assert not world.processes()


def test_that_there_is_nothing_to_print_is_said(world: World) -> None:
    world.run("up", "-p", "stub", "-d")
    world.run("down")
    none = world.run("events", "--kind", "death")
    later = world.run("events", "--kind", "death", "--kind", "gpu", "--since", "5m", "--json")

    assert (none.returncode, none.stdout) == (0, "")
    assert none.stderr == "stub has no event of kind death\n"
    assert later.stderr == "stub has no event of kind death or gpu since then\n"
    for words in (("events",), ("events", "-n", "0"), ("logs",), ("logs", "-n", "0")):
        assert "has no" not in world.run(*words).stderr, words
    (world.instance / "server.log").write_text("")
    assert world.run("logs").stderr == "the log of stub has no line\n"


def test_restart_refuses_what_doctor_says_no_to_and_leaves_the_server_alone(world: World) -> None:
    world.run("up", "-p", "stub", "-d")
    before = world.status()["pids"]["server"]
    (world.folder / "model/tokenizer.json").unlink()
    said = world.run("restart", "-p", "stub")

    assert said.returncode == 78
    assert "model-tokenizer" in said.stderr
    assert (world.status()["state"], world.status()["pids"]["server"]) == ("ready", before)


def test_restart_refuses_a_new_port_that_is_taken_and_leaves_the_server_alone(world: World) -> None:
    world.run("up", "-p", "stub", "-d")
    text = world.profile.read_text()
    with socket.create_server(("127.0.0.1", free_port())) as taken:
        port = taken.getsockname()[1]
        world.profile.write_text(text.replace(f"port = {world.port}", f"port = {port}"))
        said = world.run("restart", "-p", "stub")

    assert said.returncode == 78
    assert f"127.0.0.1 port {port} is in use by pid {os.getpid()}" in said.stderr
    assert world.status()["state"] == "ready"


def test_restart_allows_what_up_was_told_to_allow(world: World) -> None:
    (world.folder / "model/tokenizer.json").unlink()
    world.run("up", "-p", "stub", "-d", "--allow", "model-tokenizer")

    assert world.run("restart", "-p", "stub").returncode == 0


def test_restart_keeps_what_up_was_told(world: World) -> None:
    world.run("up", "-p", "stub", "-d", "--set", "flags.tp-size=1", GLM5_SERVE__ENV__FROM_UP="yes")
    world.run("restart")
    plan = json.loads((world.instance / "plan.json").read_text())

    assert "--tp-size 1" in " ".join(plan["arguments"])
    assert plan["env"]["FROM_UP"] == "yes"


def test_a_broken_profile_does_not_stop_what_runs(world: World) -> None:
    world.run("up", "-p", "stub", "-d")
    world.profile.write_text("[flags")
    again = world.run("restart")

    assert again.returncode == 78
    assert "not valid TOML" in again.stderr
    assert "stub goes on as it was started: it is not restarted" in again.stderr
    assert world.status()["state"] == "ready"


def test_interrupting_a_detached_start_stops_it(world: World) -> None:
    world.faults(hang_at="load")
    up = world.start("up", "-p", "stub", "--detach")
    until(lambda: (world.instance / "state.json").exists(), "the launcher runs")
    up.send_signal(signal.SIGINT)
    said, _ = up.communicate(timeout=60)

    assert up.returncode == 1
    assert "Ctrl-C (SIGINT)" in said + world.status()["reason"]
    assert not world.processes()


def test_a_screen_that_takes_nothing_does_not_hold_the_launcher_up(world: World) -> None:
    """A pager that was suspended: its pipe is full, and nobody reads."""
    world.write_profile(restart_limit=10_000, restart_window=0.01, backoff=0)
    up = world.start("up", "-p", "stub", "--json")
    assert up.stdout
    fcntl.fcntl(up.stdout, fcntl.F_SETPIPE_SZ, 4096)
    world.until_state("ready")
    for restarts in range(1, 5):
        psutil.Process(world.status()["pids"]["server"]).kill()
        world.until_state("ready", restarts=restarts)
    up.terminate()
    until(lambda: up.poll() is not None, "it stops")

    assert up.returncode == 0


def test_a_terminal_that_is_closed_stops_it_and_leaves_nothing(world: World) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(
            GLM5_SERVE, [str(GLM5_SERVE), "up", "-p", "stub"], world.environ | {"TERM": "xterm"}
        )
    world.until_state("ready")
    drawn = os.read(terminal, 1 << 16).decode()  # no bound: it drew its start
    os.close(terminal)

    assert psutil.Process(pid).wait(60) == 0
    assert "process up" in drawn
    assert world.status()["reason"] == "stop asked for by SIGHUP"
    assert not world.processes()


def test_a_flood_in_the_log_does_not_make_it_deaf(world: World) -> None:
    world.write_profile("SABOTAGE = '/no/such'")  # its server's log may be written to by others
    world.run("up", "-p", "stub", "-d")
    pipe = f"/proc/{world.status()['pids']['server']}/fd/1"
    flood = subprocess.Popen(
        ["sh", "-c", f"exec cat /dev/zero > {pipe}"], stderr=subprocess.DEVNULL
    )
    try:
        assert world.run("down", "--now").stdout == "stub is down\n"
        assert not world.processes()
    finally:
        flood.kill()
        flood.wait(60)


def test_a_stopped_reaper_still_obeys(world: World) -> None:
    world.run("up", "-p", "stub", "-d")
    (reaper,) = psutil.Process(world.status()["pids"]["launcher"]).children()
    reaper.suspend()

    assert world.run("down", "--now").stdout == "stub is down\n"
    assert not world.processes()


def test_events_are_followed_over_the_files_that_they_become(world: World) -> None:
    world.run("up", "-p", "stub", "-d")
    filler = json.dumps({"event": "filler", "text": "x" * 1000}) + "\n"
    with (world.instance / "events.jsonl").open("a") as file:
        file.write(filler * 8400)
    follow = world.start("events", "-f", "-n", "1", "--kind", "state", "--json")
    assert json.loads(next_line(follow))["state"] == "ready", "from here on it follows"
    assert world.run("restart").returncode == 0
    world.run("down")
    said, _ = follow.communicate(timeout=60)

    *lines, last = said.splitlines()
    assert last == "stub is not up: nothing more comes"
    states = [json.loads(line)["state"] for line in lines]
    assert states == ["stopping", "starting", "ready", "stopping", "stopped"]
    assert (world.instance / "events.jsonl.1").exists()
    told = world.run("events", "-n", "10000", "--kind", "state", "--json").stdout.splitlines()
    assert json.loads(told[0])["reason"] == "first start", "older files are read, too"


def test_a_folder_that_is_removed_under_a_key_is_made_anew(world: World) -> None:
    key = world.folder / "key"
    key.write_text("sekret-0123456789")
    key.chmod(0o600)
    world.run("up", "-p", "stub", "-d", "--api-key-file", key)
    pids = world.status()["pids"]
    remove(world.instance)
    psutil.Process(pids["server"]).kill()

    world.until_state("ready", restarts=1)
    psutil.Process(pids["launcher"]).terminate()
    world.until_nothing_is_left()


def test_logs_follow_until_it_is_down(world: World) -> None:
    world.run("up", "-p", "stub", "-d")
    logs = world.start("logs", "-f")
    world.run("down")
    said, _ = logs.communicate(timeout=60)

    assert "ready to roll" in said
    assert "Draining" in said


def test_down_of_what_is_not_up_is_fine(world: World) -> None:
    down = world.run("down", "-p", "stub")

    assert down.returncode == 0
    assert down.stdout == "stub is not up: stopped, never started here\n"


def test_json_events_come_as_lines(world: World) -> None:
    up = world.run("up", "-p", "stub", "-d", "--json")

    events = [json.loads(line) for line in up.stdout.splitlines()]
    assert [e["state"] for e in events if e["event"] == "state"] == ["starting", "ready"]
    assert all(e["schema"] == 1 and e["profile"] == "stub" for e in events)


def test_the_key_is_nowhere_but_in_its_files(world: World) -> None:
    key, file = "sekret-0123456789", world.folder / "key"
    file.write_text(key)
    file.chmod(0o600)
    record = world.folder / "record.json"
    world.faults(record=str(record), lines=[f"somebody prints {key} here", f"--api-key {key}"])
    up = world.run("up", "-p", "stub", "-d", "--api-key-file", "key")
    assert up.returncode == 0, up.stderr

    for process in world.processes():
        assert key not in " ".join(process.cmdline())
        assert key not in " ".join(process.environ().values())
    assert (
        requests.post(f"http://127.0.0.1:{world.port}/generate", json={}, timeout=60).status_code
        == 401
    )
    config = world.instance / "config.yaml"
    until(lambda: not config.exists(), "the file with the key goes once the server has read it")
    said = world.run("status").stdout + world.run("logs").stdout + up.stdout + up.stderr
    world.run("down")
    written = "".join(p.read_text() for p in world.instance.iterdir())
    assert key not in said + written
    assert "'api_key': '[redacted]'" in written
    assert key not in record.read_text()


def test_a_full_disk_does_not_stop_serving(world: World) -> None:
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    world.state.mkdir()
    with mounted(world.state, "-t", "tmpfs", "-o", "size=400k", "tmpfs"):
        try:
            assert world.run("up", "-p", "stub", "-d", "--allow", "disk-space").returncode == 0
            state = (world.instance / "state.json").read_text()
            fill = f"while printf %4096s >> {world.state}/filler; do :; done"
            subprocess.run(["sh", "-c", fill], check=False, stderr=subprocess.DEVNULL, timeout=60)
            psutil.Process(world.status()["pids"]["server"]).kill()
            old = json.loads(state)["pids"]["server"]
            until(lambda: not psutil.pid_exists(old), "the server is gone")
            url = f"http://127.0.0.1:{world.port}/generate"
            until(lambda: _answers(url), "a new server serves, disk or no disk")
            assert json.loads((world.instance / "state.json").read_text())["state"] == "ready"
            assert world.run("down").returncode == 0
            refused = world.run("up", "-p", "stub")
            assert refused.returncode == 78
            assert "No space left on device" in refused.stderr
            assert "df -h" in refused.stderr
        finally:
            world.run("down", "--now")


def _answers(url: str) -> bool:
    try:
        return requests.post(url, json={}, timeout=60).ok
    except requests.ConnectionError:
        return False


def test_a_port_in_use_is_named_with_its_holder(world: World) -> None:
    with socket.create_server(("127.0.0.1", world.port)):
        up = world.run("up", "-p", "stub")

    assert up.returncode == 78
    assert f"127.0.0.1 port {world.port} is in use by pid {os.getpid()}" in up.stderr
    assert not (world.instance / "plan.json").exists()


def test_a_port_that_was_taken_meanwhile_is_named_before_the_next_launch(world: World) -> None:
    world.write_profile(backoff=0.5)
    world.run("up", "-p", "stub", "-d")
    psutil.Process(world.status()["pids"]["server"]).kill()
    with until(lambda: _taken(world.port), "the port is free for a moment"):
        reason = f"cannot launch: 127.0.0.1 port {world.port} is in use by pid {os.getpid()} "
        until(lambda: world.status()["reason"].startswith(reason), "it is named")

    world.until_state("ready")


def _taken(port: int) -> socket.socket | None:
    try:
        return socket.create_server(("127.0.0.1", port))
    except OSError:
        return None


def test_a_launcher_in_the_way_of_itself_is_forgotten_after_a_kill(world: World) -> None:
    up = world.start("up", "-p", "stub")
    world.until_state("ready")
    up.kill()
    up.wait(60)
    world.until_nothing_is_left()

    assert world.run("up", "-p", "stub", "-d").returncode == 0


def test_time_of_the_start_is_kept(world: World) -> None:
    world.run("up", "-p", "stub", "-d")
    began = time.monotonic()
    seconds = world.status()["start"]["seconds"]

    assert list(seconds) == ["process", "distributed", "weights", "kv", "warmup", "smoke"]
    assert 0 < sum(seconds.values()) < began


def test_the_state_folder_may_vanish_under_it(world: World) -> None:
    up = world.start("up", "-p", "stub")
    world.until_state("ready")
    remove(world.instance)
    server = next(p for p in world.processes() if p.ppid() != 1 and "--model-path" in p.cmdline())
    server.kill()
    seen = world.until_state("ready", restarts=1)
    assert seen["pids"]["launcher"] == up.pid
    assert "ready to roll" in world.run("logs").stdout
    second = world.run("up", "-p", "stub")
    assert (second.returncode, "is already up" in second.stderr) == (1, True)
    world.run("down")
    said, _ = up.communicate(timeout=60)

    assert up.returncode == 0
    assert f"{world.instance} was removed: it is recreated" in said
    assert world.status()["state"] == "stopped"
