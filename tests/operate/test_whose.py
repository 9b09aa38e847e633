"""Whose an instance is, whether it is up and who may end it: one answer, given by every command."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from conftest import World, next_line, running

from launcher.errors import Exit, UserError
from launcher.files.ownership import user
from launcher.operate import control, identity, stopping, whose
from launcher.operate.unit_files import Wish
from launcher.serve import leftovers
from launcher.statedir import home, verdict
from launcher.statedir.folder import Signalled, StateDir
from launcher.statedir.holder import Held, holder

OTHER = 65534
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a folder away")
MANAGED = {"NOTIFY_SOCKET": "/nonexistent/notify"}  # as a service manager starts it
HOLD = """
import fcntl, sys
file = open(sys.argv[1])
fcntl.flock(file, int(sys.argv[2])) if sys.argv[2] != "0" else None
print(flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def holding(lock: Path, how: int) -> Iterator[int]:
    """A process that has the lock open, and locked like that; its pid."""
    command = (sys.executable, "-c", HOLD, str(lock), str(how))
    with running(*command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        next_line(process)
        yield process.pid


def give(folder: Path, uid: int) -> None:
    for path in (*folder.iterdir(), folder):
        os.lchown(path, uid, uid)


@pytest.mark.parametrize(
    ("how", "is_holder"), [(fcntl.LOCK_EX, True), (fcntl.LOCK_SH, False), (0, False)]
)
def test_who_holds_the_lock_is_told_from_who_only_looks(
    tmp_path: Path, how: int, is_holder: bool
) -> None:
    lock = tmp_path / "lock"
    lock.touch()
    with holding(lock, how) as pid:
        found = holder(tmp_path, lock)

    assert (found.pid if found else None) == (pid if is_holder else None)
    assert holder(tmp_path, lock) is None, "nobody is left"


@needs_root
@pytest.mark.parametrize("words", [("down",), ("down", "--now")])
def test_a_launcher_whose_folder_was_given_away_is_ended_by_name(
    world: World, words: tuple[str, ...]
) -> None:
    assert world.run("up", "-p", "stub", "-d").returncode == 0
    pid = world.status()["pids"]["launcher"]
    give(world.instance, OTHER)
    status, listed = world.run("status", "-p", "stub"), world.run("status")
    for seen in (status, listed):
        assert seen.returncode == 1
        assert f"its launcher (pid {pid}) runs as root (uid 0)" in " ".join(seen.stdout.split())
    others = ("up", "restart", "logs", "events", "smoke", "bundle", "top")
    for other in others:
        refused = world.run(other, "-p", "stub")
        assert refused.returncode == 78, refused
        assert f"(pid {pid}) runs as root (uid 0)" in refused.stderr
        assert "was given to nobody" in refused.stderr
        assert "`glm5-serve down --profile stub`" in refused.stderr
        assert "chown" not in refused.stderr
    (world.instance / "moved-in").write_text("root's, from a folder that its owner may write")
    ended = world.run(*words, "-p", "stub")

    assert ended.returncode == 0, ended.stderr
    assert f"stub is down: its launcher (pid {pid}) ran as root (uid 0)" in ended.stdout
    assert not world.processes()
    whose_is = {path.name: path.lstat().st_uid for path in world.instance.iterdir()}
    assert {uid for name, uid in whose_is.items() if not name.startswith("of-root-")} == {OTHER}
    assert whose_is["of-root-moved-in"] == whose_is["of-root-state.json"] == 0
    assert f"owned by {user(OTHER)}, what it wrote there as root is named of-root-*" in ended.stdout


@needs_root
def test_up_beside_another_users_server_says_that_it_is_up(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It never tells to take the folder: that ended what ran there."""
    instance = StateDir(world.state, "stub")
    instance.folder.mkdir(parents=True, mode=0o700)
    instance.lock.path.touch()
    give(instance.folder, OTHER)
    whose.require_startable(instance, {})  # it is down: the claim says whose folder it is
    lock = instance.lock.take()
    monkeypatch.setattr(whose, "holder", lambda folder, lock: Held(7, OTHER))
    with pytest.raises(UserError, match="already up, launcher pid 7") as refused:
        whose.require_startable(instance, {})
    os.close(lock)

    assert refused.value.status == Exit.CONFIG
    assert "owned by nobody" in refused.value.what
    assert "chown" not in refused.value.fix
    assert "glm5-serve restart --profile stub" in refused.value.fix


def test_another_users_instance_is_refused_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(home, "SYSTEM", tmp_path / "system")
    monkeypatch.setattr(home, "usual", lambda environ: tmp_path / "mine")
    monkeypatch.setattr(sys, "argv", ["glm5-serve", "down", "glm5"])
    (tmp_path / "system/glm5").mkdir(parents=True)
    mine = StateDir(tmp_path / "mine", "glm5")
    own = whose.elsewhere(mine)
    place = f"env GLM5_SERVE_STATE_DIR={tmp_path}/system"
    assert own is not None
    assert own.what.endswith("which is this user's own")
    assert own.command("down", "glm5") == f"`{place} glm5-serve down glm5`"
    monkeypatch.setattr(os, "geteuid", lambda: OTHER)
    for writing in (False, True):
        with pytest.raises(UserError, match="not started by this user") as refused:
            identity.enter(mine, writing=writing)
        assert refused.value.status == Exit.CONFIG
        assert refused.value.fix == "`sudo glm5-serve down glm5`"
    assert control.meant(tmp_path / "mine", "glm5")[0].name == "glm5", "no profile is wanted"
    mine.folder.mkdir(parents=True)
    assert whose.elsewhere(mine) is None, "he has one of his own"
    assert whose.elsewhere(StateDir(tmp_path / "named", "glm5")) is None, "the place was named"
    assert whose.elsewhere(StateDir(tmp_path / "mine", "other")) is None


def test_what_a_unit_starts_is_not_taken_from_it_by_hand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(whose, "SERVED", tmp_path)
    monkeypatch.setattr(Wish, "units", tmp_path / "units")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    instance = StateDir(tmp_path, "a")
    whose.require_startable(instance, {})
    (tmp_path / "units/glm5-serve@a.service.d").mkdir(parents=True)
    whose.require_startable(instance, MANAGED)
    whose.require_startable(StateDir(tmp_path / "elsewhere", "a"), {})
    assert capsys.readouterr().err == ""
    whose.require_startable(instance, {})
    assert "`glm5-serve down --profile a` before `systemctl start" in capsys.readouterr().err
    instance.folder.mkdir()
    monkeypatch.setattr(os, "geteuid", lambda: OTHER - 1)  # its unit's folder is another user's
    with pytest.raises(UserError, match="systemd's to start") as refused:
        whose.require_startable(instance, {})

    assert refused.value.fix == "`sudo systemctl start glm5-serve@a.service`"


def test_install_leaves_alone_what_is_up_by_hand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(whose, "SERVED", tmp_path)
    instance = StateDir(tmp_path, "a")
    whose.require_not_by_hand(Wish("a"))
    claim = instance.claim()
    claim.release()
    whose.require_not_by_hand(Wish("a"))
    with holding(instance.lock.path, fcntl.LOCK_EX) as pid:
        with pytest.raises(UserError, match=f"launcher pid {pid}") as refused:
            whose.require_not_by_hand(Wish("a"))
        whose.require_not_by_hand(Wish("b"))
        whose.require_not_by_hand(Wish("a", root=tmp_path))
        monkeypatch.setattr(whose, "_groups", lambda pid: ("x.slice", "glm5-serve@a.service"))
        whose.require_not_by_hand(Wish("a"))  # the unit itself

    assert "glm5-serve down --profile a" in refused.value.fix


def test_a_refused_start_of_a_service_is_its_state(world: World) -> None:
    assert world.run("up", "-p", "stub", "-d").returncode == 0
    good = world.profile.read_text()
    world.profile.write_text(good.replace("tp-size", "tp-sizee"))
    for environ in ({}, MANAGED):
        assert world.run("up", "-p", "stub", **environ).returncode in (1, 78)
        assert world.status()["state"] == "ready", "who serves is left alone"
    assert world.run("down").returncode == 0
    by_hand = world.run("up", "-p", "stub")
    assert (by_hand.returncode, world.status()["state"]) == (78, "stopped")
    assert world.run("up", "-p", "stub", **MANAGED).returncode == 78

    seen, told = world.status(), world.events()[-1]
    assert (seen["state"], told["state"]) == ("failed", "failed")
    assert "its start was refused: 1 check fails: engine-options" in seen["reason"]
    assert "glm5-serve doctor -p stub" in seen["reason"]
    assert told["error"] == told["reason"] == seen["reason"]
    assert 'state="failed"} 1.0' in world.run("metrics").stdout
    world.profile.unlink()
    assert world.run("up", "-p", "stub", **MANAGED).returncode == 2
    assert "its start was refused: no profile" in world.status()["reason"]
    world.profile.write_text(good)
    assert world.run("up", "-p", "stub", "-d", **MANAGED).returncode == 0
    assert world.status()["state"] == "ready"


def test_the_dead_are_dated_by_their_last_sign_and_taken_down(world: World) -> None:
    world.run("up", "-p", "stub", "-d")
    since = world.status()["since"]
    time.sleep(2.5)
    psutil.Process(world.status()["pids"]["launcher"]).kill()
    world.until_nothing_is_left()
    seen, shown = world.status(), world.run("status").stdout
    assert seen["state"] == "dead"
    assert seen["since"] > since, "it lived on after it was ready"
    assert shown.startswith("stub  dead  last seen 2")
    assert "last seen" in world.run("top", "stub").stdout
    down = world.run("down")

    assert (down.returncode, "it is stopped now" in down.stdout) == (0, True)
    seen = world.status()
    assert (seen["state"], world.events()[-1]["state"]) == ("stopped", "stopped")
    assert "it was dead: the launcher" in seen["reason"]
    metrics = world.run("metrics").stdout
    assert 'state="stopped"} 1.0' in metrics
    assert 'state="dead"} 0.0' in metrics
    assert world.run("down").stdout.startswith("stub is not up: stopped")


def test_what_failed_is_listed_beside_what_is_up(world: World) -> None:
    assert world.run("up", "-p", "stub", "-d").returncode == 0
    other, third = StateDir(world.state, "other"), StateDir(world.state, "third")
    assert verdict.leave(third, "stopped", "as asked")
    fine = world.run("status")
    assert (fine.returncode, fine.stdout.startswith("stub  ready")) == (0, True)
    assert verdict.leave(other, "failed", "its budget of restarts is used up")
    shown, told = world.run("status"), json.loads(world.run("status", "--json").stdout)

    assert shown.returncode == 1
    assert "budget of restarts" in shown.stdout
    assert {one["profile"]: one["state"] for one in told["instances"]} == {
        "other": "failed",
        "stub": "ready",
        "third": "stopped",
    }
    assert "it is stopped now" in world.run("down", "other").stdout
    assert world.run("status").returncode == 0


def test_a_drain_that_takes_time_is_told_and_a_kill_too(world: World) -> None:
    world.write_profile(stop_timeout=3)
    world.run("up", "-p", "stub", "-d")
    world.faults(deaf=True)
    down = world.run("down")

    assert down.returncode == 0
    assert down.stderr.startswith("stub drains: ")
    assert "at the latest; `glm5-serve down --now --profile stub` kills it" in down.stderr
    assert down.stdout == "stub is down; not gone within 3 s: killed\n"
    world.faults()
    world.run("up", "-p", "stub", "-d")
    clean = world.run("down")
    assert (clean.stdout, clean.stderr) == ("stub is down\n", ""), "nothing took time"


def test_what_down_now_cannot_do_is_never_answered_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A law over its refusals: each says which process, or how it is found, and names no command
    that was just typed.
    """
    instance = StateDir(tmp_path, "stub")
    claim = instance.claim()
    told = Signalled(os.getpid(), os.pidfd_open(os.getpid()))
    for name in ("YOUNG", "HEARD_WITHIN", "MOMENT", "KILLED_WITHIN"):
        monkeypatch.setattr(control, name, 0.05)
    monkeypatch.setattr(control, "_send", lambda told, number: None)
    monkeypatch.setattr(stopping, "_waited", lambda alive, within: [7])
    member = leftovers.Member(7, 1, "python")
    monkeypatch.setattr(leftovers, "stay", lambda *_: [member])
    monkeypatch.setattr(leftovers, "kill", lambda *_: ([member], [member]))
    frozen = iter(("is frozen with its control group", None))
    monkeypatch.setattr(control, "halted", lambda pid: next(frozen))
    acts = (
        lambda: control.signalled(instance, signal.SIGUSR2, now=True),
        lambda: control._hurry(instance, told),
        lambda: control._hurry(instance, told),
        lambda: control._clear(instance, now=True),
        lambda: stopping._kill(instance, {7: 1}),
    )
    for act in acts:
        with pytest.raises(UserError) as refused:
            act()
        said = f"{refused.value.what} {refused.value.fix}"
        assert "--now" not in said
        assert any(word in said for word in (str(told.pid), "7", "fuser -v")), said
    claim.release()
    os.close(told.pidfd)
