"""What is left of a server when launcher and reaper were killed: found by its marks, and nobody
else with it.
"""

from __future__ import annotations

import os
import secrets
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from conftest import PATIENCE, World, until

from launcher.serve import leftovers
from launcher.serve.leftovers import Member
from launcher.serve.session import MARK
from launcher.statedir.processes import boot_id, start_ticks
from launcher.statedir.session import Session

HEX = secrets.token_hex(16)  # other runs of these tests have their own
SLEEP = "import time; print(flush=True); time.sleep(600)"


class Tree:
    """Processes that a test starts, each until it says that it runs."""

    def __init__(self) -> None:
        self.started: list[subprocess.Popen[bytes]] = []
        self.told: list[int] = []
        self.read, self.write = os.pipe()

    def start(self, program: str = SLEEP, **how: Any) -> int:
        told, tell = os.pipe()
        program = program.replace("print(flush=True)", f"__import__('os').write({tell}, b'.')")
        fds = (tell, *how.pop("pass_fds", ()))
        self.started.append(subprocess.Popen([sys.executable, "-c", program], pass_fds=fds, **how))
        os.close(tell)
        self.told.append(told)  # a child of it may tell, too
        assert select.select([told], [], [], PATIENCE)[0]
        return self.started[-1].pid

    @property
    def pipe(self) -> str:
        return str(Path(f"/proc/self/fd/{self.write}").readlink())

    def close(self) -> None:
        for process in self.started:
            for child in (
                psutil.Process(process.pid).children(recursive=True)
                if process.poll() is None
                else ()
            ):
                child.kill()
            process.kill()
            process.wait(PATIENCE)
        for descriptor in (self.read, self.write, *self.told):
            os.close(descriptor)


@pytest.fixture
def tree() -> Iterator[Tree]:
    made = Tree()
    yield made
    made.close()


def session(**marks: Any) -> Session:
    return Session.from_json({"boot_id": boot_id(), **marks})


def pids(members: list[Member]) -> set[int]:
    return {member.pid for member in members}


def test_a_process_is_found_by_the_word_in_its_environment(tree: Tree) -> None:
    mine = tree.start(env={MARK: HEX})
    for other in (
        {MARK: HEX[:-1]},
        {MARK: HEX + "0"},
        {"X": f"{MARK}={HEX}"},
        {f"X{MARK}": HEX},
        {},
    ):
        tree.start(env=other)

    assert pids(leftovers.find(session(mark=HEX))) == {mine}


def test_a_process_is_found_by_the_pipe_that_it_prints_to(tree: Tree) -> None:
    for where in ("stdout", "stderr"):
        tree.start(env={}, **{where: tree.write})
    tree.start(env={}, stdin=tree.read, pass_fds=(tree.read, tree.write))

    assert pids(leftovers.find(session(mark=HEX, output=tree.pipe))) == {
        p.pid for p in tree.started[:2]
    }


def test_children_go_with_their_parents_whatever_they_did(tree: Tree) -> None:
    forks = (
        "import os, time\nif not os.fork():\n    os.setsid()\n    os.execve('/bin/sleep', ['sleep',"
        " '600'], {})\n"
    )
    parent = tree.start(f"{forks}\n{SLEEP}", env={MARK: HEX}, stdout=subprocess.DEVNULL)
    (child,) = until(lambda: psutil.Process(parent).children(), "it forked")
    until(lambda: child.name() == "sleep", "it became another program")

    assert pids(leftovers.find(session(mark=HEX))) == {parent, child.pid}
    parent_member = [
        member for member in leftovers.find(session(mark=HEX)) if member.pid == child.pid
    ]
    psutil.Process(parent).kill()
    tree.started[0].wait(PATIENCE)
    assert leftovers.find(session(mark=HEX)) == []
    assert pids(leftovers.find(session(mark=HEX), parent_member)) == {child.pid}, (
        "it is known from before"
    )
    child.kill()


def test_the_session_of_the_reaper_counts_only_with_a_mark_in_it(tree: Tree) -> None:
    """Its number may be another's by now, who begins a session of his own."""
    leader = tree.start(
        f"import os\nos.setsid()\nif not os.fork():\n    os.environ.clear()\n{SLEEP}", env={}
    )
    (child,) = until(lambda: psutil.Process(leader).children(), "it forked")

    assert leftovers.find(session(mark=HEX, reaper=leader, reaper_ticks=1)) == []
    ticks = start_ticks(leader)
    found = leftovers.find(session(mark=HEX, reaper=leader, reaper_ticks=ticks))
    assert pids(found) == {leader, child.pid}, "the reaper itself is what it was"


def test_another_boot_has_other_processes(tree: Tree) -> None:
    tree.start(env={MARK: HEX})

    assert leftovers.find(Session(boot_id="another", mark=HEX)) == []
    assert leftovers.find(Session()) == []


@pytest.mark.parametrize("bad", [None, "", [], {}, 7, -1, "x", "pipe:[0]", True])
def test_a_record_of_anything_finds_nobody(bad: Any) -> None:
    odd = session(mark=bad, output=bad, reaper=bad, reaper_ticks=bad, cgroup=bad)

    assert pids(leftovers.find(odd)) <= {-1}
    assert leftovers.kill(odd, 1.0) == ([], [])


def test_who_looks_is_not_found(tree: Tree) -> None:
    program = f"""
import sys
sys.path.insert(0, {str(Path(leftovers.__file__).parents[2])!r})
from launcher.serve import leftovers
from launcher.statedir.session import Session
print(leftovers.find({session(mark=HEX)!r}))
"""
    ask = [sys.executable, "-c", program]
    said = subprocess.check_output(ask, env={MARK: HEX}, text=True, timeout=PATIENCE)

    assert said == "[]\n"


CHAIN = """
import os, time
print(flush=True)
for _ in range(20000):
    if os.fork():
        time.sleep(0.005)
        os._exit(0)
    os.setsid()
"""


def test_all_are_killed_and_named(tree: Tree) -> None:
    stopped = tree.start(env={MARK: HEX})
    deaf = tree.start(f"import signal\nsignal.signal(15, signal.SIG_IGN)\n{SLEEP}", env={MARK: HEX})
    psutil.Process(stopped).suspend()
    bystander = tree.start(env={})
    killed, left = leftovers.kill(session(mark=HEX), 30.0)

    assert pids(killed) == {stopped, deaf}
    assert left == []
    assert psutil.Process(bystander).is_running()
    assert f"{stopped} {killed[0].name}" in leftovers.in_words(killed)


def test_their_shared_memory_goes_with_them(tree: Tree) -> None:
    with tempfile.NamedTemporaryFile(prefix="glm5-test-", dir="/dev/shm") as file:
        os.truncate(file.name, 4096)
        mapped = f"import mmap\nopened = open({file.name!r}, 'r+')\nit = mmap.mmap(opened.fileno(), 0)\n{SLEEP}"
        tree.start(mapped, env={MARK: HEX})
        leftovers.kill(session(mark=HEX, shared=["glm5-test-*"]), 30.0)
        is_gone = not Path(file.name).exists()
        Path(file.name).touch()
    assert is_gone


def test_those_that_fork_meanwhile_are_killed_too(tree: Tree) -> None:
    tree.start(CHAIN, env={MARK: HEX}, start_new_session=True)
    time.sleep(0.1)
    killed, left = leftovers.kill(session(mark=HEX), 30.0)

    assert len(killed) >= 1
    assert left == []
    time.sleep(0.2)
    assert leftovers.find(session(mark=HEX)) == []


def test_a_cgroup_with_others_in_it_is_not_killed(
    tree: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leftovers, "CGROUPS", tmp_path)
    group = tmp_path / "g"
    group.mkdir()
    (group / "cgroup.kill").write_text("")
    mine = tree.start(env={MARK: HEX})
    other = tree.start(env={})
    where = session(mark=HEX, cgroup="/g")
    for there, wanted in (([], ""), ([mine, other], ""), ([mine], "1")):
        (group / "cgroup.procs").write_text("".join(f"{pid}\n" for pid in there))
        leftovers._kill_cgroup(where, leftovers.find(where))
        assert (group / "cgroup.kill").read_text() == wanted


def kill_both(world: World) -> set[int]:
    """Kill the reaper while the launcher cannot notice, then the launcher; the processes that
    nobody ends then.
    """
    launcher = psutil.Process(world.status()["pids"]["launcher"])
    (reaper,) = [child for child in launcher.children() if child.name() == "glm5-reaper"]
    launcher.suspend()
    reaper.kill()
    launcher.kill()
    until(
        lambda: not launcher.is_running() or launcher.status() == psutil.STATUS_ZOMBIE, "it is dead"
    )
    return {process.pid for process in world.processes()} - {launcher.pid, reaper.pid}


def test_what_a_killed_launcher_and_reaper_left_is_named_and_killed_by_down_now(
    world: World,
) -> None:
    world.faults(escape=True, deaf=True)
    up = world.run("up", "-p", "stub", "-d", "--set", "flags.tp-size=3")
    assert up.returncode == 0, up.stderr
    left = kill_both(world)
    down, up = world.run("down", "-p", "stub"), world.run("up", "-p", "stub")

    assert len(left) == 4, "the server and three ranks"
    assert (down.returncode, up.returncode) == (1, 1)
    for said in (down.stderr, up.stderr):
        assert "processes of " in said
        assert all(str(pid) in said for pid in left), said
        assert "`glm5-serve down --now --profile stub` kills them" in said
    assert {process.pid for process in world.processes()} == left, "nothing was killed unasked"
    now = world.run("down", "-p", "stub", "--now")
    assert now.returncode == 0
    assert "stub is not up: dead, " in now.stdout
    assert all(str(pid) in now.stdout for pid in left), now.stdout
    assert "sglang::TP0" in now.stdout
    assert not world.processes()
    assert world.run("up", "-p", "stub", "-d").returncode == 0


def test_a_launcher_that_is_killed_over_a_stopped_reaper_leaves_nothing(world: World) -> None:
    world.run("up", "-p", "stub", "-d")
    launcher = psutil.Process(world.status()["pids"]["launcher"])
    (reaper,) = [child for child in launcher.children() if child.name() == "glm5-reaper"]
    reaper.suspend()
    launcher.kill()
    world.run("down", "-p", "stub", "--now")

    assert not world.processes()


def test_after_a_clean_end_nothing_is_looked_for_and_nothing_said(world: World) -> None:
    world.run("up", "-p", "stub", "-d")

    assert world.run("down").stdout == "stub is down\n"
    assert world.run("down", "-p", "stub").stdout.startswith(
        "stub is not up: stopped, stop asked for by `down`"
    )
    assert world.run("down", "-p", "stub", "--now").stdout.count(";") == 0


# -- killed before anything of it was told ---------------------------------------------------------


@pytest.mark.parametrize("before", ["nothing was up before", "another one was up before"])
def test_who_was_killed_before_he_told_who_he_is_leaves_nothing_that_is_not_found(
    world: World, before: str
) -> None:
    """What lies in the folder then is of the launcher before, if there was one; the lock is not."""
    state = world.instance / "state.json"
    told = b""
    if before.startswith("another"):
        world.run("up", "-p", "stub", "--detach")
        world.run("down", "-p", "stub")
        told = state.read_bytes()
    assert world.run("up", "-p", "stub", "--detach").returncode == 0
    server = world.status()["pids"]["server"]
    ours = kill_both(world)
    state.unlink()
    if told:
        state.write_bytes(told)
    assert server in ours

    status = world.status()
    assert (status["state"], f"{server} " in status["reason"]) == ("dead", True)
    for _ in range(2):  # a refusal takes no mark away
        refused = world.run("up", "-p", "stub", "--detach")
        assert refused.returncode == 1
        assert f"{server} " in refused.stderr
    assert world.run("down", "-p", "stub").returncode == 1
    killed = world.run("down", "-p", "stub", "--now")

    assert killed.returncode == 0, killed.stderr
    assert "killed what was left of its server" in killed.stdout
    world.until_nothing_is_left()
    assert world.run("up", "-p", "stub", "--detach").returncode == 0


def test_a_claim_leads_to_all_of_its_launcher_and_to_nobody_else(tree: Tree) -> None:
    leader = "import os; os.setsid(); os.system('env -i sleep 600 &'); "
    mine = tree.start(leader + SLEEP, env={MARK: f"{HEX}.1", "PATH": os.environ["PATH"]})
    again = tree.start(env={MARK: f"{HEX}.2"})  # in this test's session, which is not its own
    for other in (f"{HEX}", f"{HEX}0.1", f"x{HEX}.1", ""):
        tree.start(env={MARK: other})

    found = pids(leftovers.find(Session(claim=HEX)))

    orphans = {pid for pid in found - {mine, again} if psutil.Process(pid).name() == "sleep"}
    assert found - orphans == {mine, again}
    assert orphans, "who shares its session has no mark of its own"
    assert pids(leftovers.find(replace(session(mark="other", reaper=1), claim=HEX))) == found
    assert leftovers.find(Session()) == []


def test_whoever_was_in_a_session_before_the_claim_is_not_of_it(tree: Tree) -> None:
    """As a shell's children that outlive it are, where one of them bears a mark."""
    claim = secrets.token_hex(16)
    leader = f"""import os, subprocess, sys, time
os.setsid()
for environ in ({{}}, {{"{MARK}": "{claim}.1"}}):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], env=environ)
    os.write({tree.write}, f"{{child.pid}} ".encode())
    time.sleep(0.05)
print(flush=True)"""
    of = tree.start(leader, pass_fds=(tree.write,))
    tree.started[-1].wait(PATIENCE)
    told = os.read(tree.read, 99)  # no bound: it was written before its end
    before, marked = map(int, told.split())
    try:
        assert os.getsid(before) == os.getsid(marked) == of
        assert pids(leftovers.find(Session(claim=claim))) == {marked}
    finally:
        for pid in (before, marked):
            os.kill(pid, signal.SIGKILL)
