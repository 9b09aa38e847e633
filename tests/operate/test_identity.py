"""Root over what a service's user may write: it becomes that user, follows nothing, and never runs
his words.
"""

from __future__ import annotations

import contextlib
import json
import os
import pty
import select
import shlex
import shutil
import socket
import stat
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from conftest import PATIENCE, ROOT, World, end, next_line, running, until

from launcher.statedir.processes import boot_id, start_ticks

OWNER = 65534
PYTHON = Path("/usr/bin/python3")  # not this test's: that may lie in root's home
SECRET = "s.ROOTVAULTTOKEN-0123456789"


def is_the_same_python() -> bool:
    ask = [str(PYTHON), "-c", "import sys; print(*sys.version_info[:2])"]
    wanted = [*map(str, sys.version_info[:2])]
    return (
        PYTHON.exists()
        and subprocess.check_output(ask, text=True, timeout=PATIENCE).split() == wanted
    )


pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not is_the_same_python(),
    reason="wants root, and a Python that any user can run",
)


class Service(World):
    """A world whose profile is served by another user than root, who runs these tests."""

    def write_profile(self, text: str = "", **supervision: float) -> None:
        super().write_profile(text, **supervision)
        self.profile.write_text(self.profile.read_text().replace(sys.executable, str(PYTHON)))

    @property
    def environ(self) -> dict[str, str]:
        path = f"{ROOT}:{Path(click.__file__).parents[1]}"
        return super().environ | {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}

    def by(
        self,
        uid: int,
        *words: str | Path,
        timeout: float = PATIENCE,
        cwd: str | Path = "/",
        **environ: str,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command as any user."""
        return subprocess.run(
            self.command(*words),
            env=self.environ | environ,
            text=True,
            capture_output=True,
            timeout=timeout,
            check=False,
            cwd=cwd,
            user=uid,
            group=uid,
            extra_groups=(),
        )

    def as_root(
        self, *words: str | Path, timeout: float = PATIENCE
    ) -> subprocess.CompletedProcess[str]:
        """Run a command as root."""
        return self.by(0, *words, timeout=timeout, cwd=self.folder)

    def run(self, *words: str | Path, timeout: float = PATIENCE, **environ: str) -> Any:
        """Run a command as the user that serves."""
        return self.by(OWNER, *words, timeout=timeout, cwd=self.folder, **environ)

    def command(self, *words: str | Path) -> list[str]:
        return [str(PYTHON), "-m", "launcher", *map(str, words)]

    def own(self) -> None:
        """Give all of the folder to the user that serves."""
        for path in (self.folder, *self.folder.rglob("*")):
            os.lchown(path, OWNER, OWNER)

    def put(self, name: str, data: Any) -> None:
        """A file as that user would write it."""
        path = self.instance / name
        path.unlink(missing_ok=True)
        path.write_text(data if isinstance(data, str) else json.dumps(data))
        os.chown(path, OWNER, OWNER)

    def plan(self, **other: Any) -> None:
        made = json.loads((self.instance / "plan.json").read_text())
        self.put("plan.json", made | other)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """That user's own program holds the lock."""
        program = (
            "import fcntl, sys; f = open(sys.argv[1]); fcntl.flock(f, 2); print(flush=True);"
            " sys.stdin.read()"
        )
        command = (PYTHON, "-c", program, self.instance / "lock", "supervise")
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        with running(*command, **pipes, user=OWNER, group=OWNER) as holder:
            next_line(holder)
            yield


@pytest.fixture
def service() -> Iterator[Service]:
    """A service that was up once, and whose files its user may write as he likes."""
    folder = Path(tempfile.mkdtemp(prefix="glm5-service-"))
    folder.chmod(0o755)
    made = Service(folder)
    made.own()
    try:
        yield made
        end(made)
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def stopped(service: Service) -> Service:
    up = service.run("up", "-p", "stub", "-d")
    assert up.returncode == 0, up.stderr
    assert service.as_root("down").returncode == 0
    return service


@pytest.fixture
def secret(service: Service) -> Path:
    """A file of root's that nobody else may read."""
    folder = service.folder / "root"
    folder.mkdir(mode=0o755)
    path = folder / "token"
    path.write_text(SECRET)
    path.chmod(0o600)
    return path


def unchanged(path: Path) -> bool:
    status = path.stat()
    return (path.read_text(), status.st_uid, stat.S_IMODE(status.st_mode)) == (SECRET, 0, 0o600)


def test_root_restarts_smokes_bundles_and_stops_what_a_service_serves(service: Service) -> None:
    service.run("up", "-p", "stub", "-d")
    seen = service.status()
    words = (
        ["status"],
        ["restart"],
        ["smoke"],
        ["top", "--once"],
        ["logs"],
        ["events"],
        ["bundle", "-o", "b.tar.gz"],
        ["down"],
    )
    done = {command[0]: service.as_root(*command) for command in words}

    assert {name: run.returncode for name, run in done.items()} == dict.fromkeys(done, 0), done
    assert seen["state"] == "ready"
    assert "no difference" not in done["restart"].stderr
    assert not [line for line in done["restart"].stderr.splitlines() if line.startswith(("+", "-"))]
    made = service.folder / "b.tar.gz"
    assert (made.stat().st_uid, stat.S_IMODE(made.stat().st_mode)) == (
        0,
        0o600,
    ), "root asked for it"
    assert {path.stat().st_uid for path in service.instance.iterdir()} == {OWNER}
    service.until_nothing_is_left()


def test_a_plan_names_an_interpreter_that_never_runs_as_root(
    service: Service, secret: Path
) -> None:
    service.run("up", "-p", "stub", "-d")
    evil = service.folder / "evil"
    evil.write_text(f"#!/bin/sh\n(id -u; cat {secret}; tty) >> {service.folder}/ran\n")
    evil.chmod(0o755)
    service.own()
    os.chown(secret, 0, 0)
    profile = service.profile.read_text().replace(str(PYTHON), str(evil))
    service.profile.write_text(profile)
    program = json.loads((service.instance / "plan.json").read_text())["program"]
    service.plan(program=[str(evil), *program[1:]], gpus=1)
    for words in (["restart"], ["bundle"], ["smoke"]):
        service.as_root(*words)
    ran = (service.folder / "ran").read_text()

    assert set(ran.split()) == {str(OWNER), "not", "a"} | {"tty"}, ran
    assert unchanged(secret)


def test_root_sends_no_key_that_the_service_may_not_read(stopped: Service, secret: Path) -> None:
    heard: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def listen() -> None:
            while True:  # no bound: a daemon, whose socket is shut down
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.settimeout(PATIENCE)
                    heard.append(connection.recv(4096))

        threading.Thread(target=listen, daemon=True).start()
        stopped.plan(
            key_file=str(secret),
            port=server.getsockname()[1],
            smoke={"within": 1, "questions": [{"ask": "?"}], "thinking": ""},
        )
        with stopped.held():
            smoke = stopped.as_root("smoke")
        server.shutdown(socket.SHUT_RDWR)

    assert smoke.returncode == 78
    assert f"cannot read the api key file {secret}: permission denied" in smoke.stderr.lower()
    assert not heard


def test_links_in_the_folder_lead_root_nowhere(stopped: Service, secret: Path) -> None:
    names = (
        "stacks-7.txt",
        "server.log",
        "events.jsonl",
        "readings.json",
        "launcher.log",
        "state.json",
    )
    for name in names:
        (stopped.instance / name).unlink(missing_ok=True)
        (stopped.instance / name).symlink_to(secret)
    said = ""
    for words in (
        ["bundle", "-o", "b.tar.gz"],
        ["status"],
        ["logs"],
        ["events"],
        ["metrics"],
        ["down"],
    ):
        done = stopped.as_root(*words)
        said += done.stdout + done.stderr
        assert done.returncode in (0, 1, 78), done.stderr
    with tarfile.open(stopped.folder / "b.tar.gz") as archive:
        files = [archive.extractfile(member) for member in archive]
        said += "".join(file.read().decode() for file in files if file)

    assert SECRET not in said
    assert unchanged(secret)


def test_links_where_a_restart_writes_lead_root_nowhere(service: Service, secret: Path) -> None:
    service.run("up", "-p", "stub", "-d")
    last = int(Path("/proc/loadavg").read_text().split()[-1])
    for number in range(last, last + 10_000):  # the file that is written is named after the process
        for name in (f"plan.{number}", f".plan.json.{number}"):
            (service.instance / name).symlink_to(secret)
    assert service.as_root("restart").returncode == 0

    assert unchanged(secret)


@pytest.fixture
def victim() -> Iterator[subprocess.Popen[bytes]]:
    """A process of root's."""
    with running("sleep", "600") as process:
        yield process


def test_a_state_that_names_any_process_has_no_root_signal_it(
    stopped: Service, victim: subprocess.Popen[bytes]
) -> None:
    pid = victim.pid
    me = {"pid": pid, "start_ticks": start_ticks(pid), "boot_id": boot_id()}
    mark = {"boot_id": boot_id(), "reaper": pid, "reaper_ticks": start_ticks(pid), "mark": "x"}
    state = {
        "schema": 1,
        "state": "ready",
        "reason": "",
        "pids": {"launcher": pid, "server": pid},
        "launcher": me,
    }
    stopped.put("state.json", state | {"session": mark})
    with stopped.held():
        # for who holds the lock to say who it is
        with pytest.raises(subprocess.TimeoutExpired):
            stopped.as_root("down", timeout=5)  # short: it waits for ever
        now = stopped.as_root("down", "--now")

    assert (now.returncode, now.stdout) == (0, "stub is down\n"), "who holds the lock was ended"
    assert victim.poll() is None


def test_root_gives_no_terminal_and_no_variable_away(stopped: Service) -> None:
    """What the service has run is a program of that user: in a session of its own, with nothing of
    root's.
    """
    spy = stopped.folder / "spy"
    told = stopped.folder / "told"
    spy.write_text(
        f"#!{PYTHON}\nimport fcntl, json, os, termios\nsaid = {{'uid': os.getuid(), 'env':"
        " dict(os.environ)}\nfor number in (0, 1, 2):\n    try:\n        fcntl.ioctl(number,"
        " termios.TIOCSTI, b'x')\n        said[number] = 'typed'\n    except OSError as error:\n  "
        "      said[number] = str(error)\nsaid['open'] = [os.readlink(f'/proc/self/fd/{n}') for"
        " n in (0, 1, 2)]\ntry:\n    open('/dev/tty')\n    said['tty'] = True\nexcept OSError:\n  "
        f"  said['tty'] = False\nopen('{told}', 'w').write(json.dumps(said))\n"
    )
    spy.chmod(0o755)
    program = json.loads((stopped.instance / "plan.json").read_text())["program"]
    stopped.plan(program=[str(spy), *program[1:]])
    environ = stopped.environ | {"SECRET_TOKEN": SECRET, "XDG_RUNTIME_DIR": "/run/user/0"}
    pid, terminal = pty.fork()  # the leader of a session, as `ssh -t` and `docker exec -t` start it
    if pid == 0:
        os.chdir(stopped.folder)
        os.execve(PYTHON, stopped.command("bundle", "-p", "stub"), environ)
    output = b""
    while piece := read(terminal):
        output += piece
    assert ended(pid) == 0, output
    seen = json.loads(told.read_text())

    assert seen["uid"] == OWNER
    assert "typed" not in seen.values()
    assert seen["tty"] is False
    assert not [link for link in seen["open"] if link.startswith("/dev/") and link != "/dev/null"]
    assert SECRET not in seen["env"].values()
    assert "XDG_RUNTIME_DIR" not in seen["env"]
    assert b"wrote " in output


TYPES = """
import fcntl, os, sys, termios
from pathlib import Path
from launcher.operate import identity
from launcher.statedir.folder import StateDir
identity.become_owner(StateDir(Path(sys.argv[1]), "stub"))
said = [f"uid {os.getuid()}"]
for number in (1, 2):
    try:
        fcntl.ioctl(number, termios.TIOCSTI, b"x")
        said.append("typed")
    except OSError:
        said.append("no")
try:
    os.open("/dev/tty", os.O_RDWR)
    said.append("has it")
except OSError:
    said.append("no")
print(*said, "end", flush=True)
"""


@pytest.mark.parametrize("shell", [False, True], ids=["leader", "member"])
def test_the_user_that_root_became_cannot_type_into_roots_terminal(
    stopped: Service, shell: bool
) -> None:
    """Whether it leads its session, as `ssh -t` and `docker exec -t` start it, or a shell does."""
    words = [str(PYTHON), "-c", TYPES, str(stopped.state)]
    if shell:
        words = ["/bin/sh", "-c", f"{shlex.join(words)}; true"]
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(words[0], words, stopped.environ)
    output = b""
    while b"end" not in output and (piece := read(terminal)):
        output += piece
    assert ended(pid) == 0
    os.close(terminal)

    assert f"uid {OWNER} no no no end" in output.decode()


def read(terminal: int) -> bytes:
    """What comes next from the other end of a terminal; nothing when nobody has that any more
    (EIO).
    """
    assert select.select([terminal], [], [], PATIENCE)[0]
    with contextlib.suppress(OSError):
        return os.read(terminal, 4096)  # no bound: there is something to read
    return b""


def ended(pid: int) -> int:
    """The exit status of a child."""
    ask: Callable[[], tuple[int, int]] = lambda: os.waitpid(pid, os.WNOHANG)  # no bound: WNOHANG
    gone = until(lambda: (end := ask())[0] and end, "it ends")
    return os.waitstatus_to_exitcode(gone[1])


def test_control_c_reaches_the_user_that_root_became(service: Service) -> None:
    service.run("up", "-p", "stub", "-d")
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(PYTHON, service.command("logs", "-f", "-p", "stub"), service.environ)
    until(lambda: b"ready to roll" in read(terminal), "it follows the log")
    os.write(terminal, b"\x03")

    assert ended(pid) == 130
    os.close(terminal)


def test_a_user_who_cannot_reach_the_program_is_named_with_what_to_do(stopped: Service) -> None:
    copy = stopped.folder / "closed"
    shutil.copytree(ROOT / "launcher", copy / "launcher")
    copy.chmod(0o700)
    done = stopped.by(
        0, "restart", "-p", "stub", PYTHONPATH=f"{copy}:{Path(click.__file__).parents[1]}"
    )

    assert done.returncode == 78
    assert f"owned by nobody (uid {OWNER}), who cannot reach {copy}/launcher" in done.stderr
    assert f"{copy} is closed to others" in done.stderr
    assert f"runuser -u nobody -- env GLM5_SERVE_STATE_DIR={stopped.state} " in done.stderr
    assert "glm5-serve restart -p stub`" in done.stderr


def test_the_output_of_a_bundle_is_roots_and_follows_nothing(
    stopped: Service, secret: Path
) -> None:
    out = stopped.folder / "out.tar.gz"
    out.symlink_to(secret)
    refused = stopped.as_root("bundle", "-o", out)

    assert refused.returncode == 78
    assert "it is a symlink" in refused.stderr
    assert unchanged(secret)


def test_a_user_who_may_not_read_the_folder_is_told_so(service: Service) -> None:
    service.run("up", "-p", "stub", "-d")
    for words in ("down", "down --now", "restart", "smoke", "top", "logs", "events", "bundle"):
        done = service.by(OWNER - 1, *words.split(), "-p", "stub", cwd="/tmp")

        assert done.returncode == 78, done
        assert (
            f"{service.instance} is owned by nobody (uid {OWNER}), mode drwx------" in done.stderr
        )
        again = (
            f"sudo -u nobody env GLM5_SERVE_STATE_DIR={service.state} glm5-serve {words} -p stub`"
        )
        assert again in done.stderr
    status = service.by(OWNER - 1, "status", "-p", "stub", "--json")

    assert (status.returncode, json.loads(status.stdout)["state"]) == (1, "unknown")
    assert service.status()["state"] == "ready"


def test_root_brings_nothing_up_in_the_folder_of_another_user(stopped: Service) -> None:
    for path in (stopped.folder, *stopped.profile.parents, stopped.profile):
        if path.is_relative_to(stopped.folder):
            os.chown(path, 0, 0)
    done = stopped.as_root("up", "-p", "stub", "-d")

    assert done.returncode == 78, done
    assert (
        f"is owned by nobody (uid {OWNER}), mode drwx------, and this is root (uid 0)"
        in done.stderr
    )
    assert stopped.as_root("status", "-p", "stub").returncode == 1


def test_figures_of_several_users_are_read_by_root_and_run_nothing(
    stopped: Service, secret: Path
) -> None:
    other = stopped.state / "other"
    other.mkdir(mode=0o700)
    os.chown(other, OWNER - 1, OWNER - 1)
    (other / "state.json").symlink_to(secret)
    for name in ("state.json", "readings.json", "lock"):
        fifo = stopped.state / "fifo" / name
        fifo.parent.mkdir(exist_ok=True, mode=0o700)
        os.mkfifo(fifo)
        os.chown(fifo, OWNER, OWNER)
    os.chown(fifo.parent, OWNER, OWNER)
    began = time.monotonic()
    told = stopped.as_root("metrics").stdout

    assert 'glm5_serve_state{engine="sglang",profile="stub",state="stopped"} 1.0' in told
    for profile in ("other", "fifo"):
        assert f'glm5_serve_unreadable{{engine="",profile="{profile}"}} 1.0' in told
    assert SECRET not in told
    assert time.monotonic() - began < PATIENCE / 2


def test_root_looks_into_no_folder_of_its_own_that_others_may_replace(service: Service) -> None:
    """What it would find there may be another's the next moment."""
    mine = service.folder / "his" / "stub"
    mine.mkdir(parents=True, mode=0o700)
    os.chown(mine.parent, OWNER, OWNER)
    for words in (
        ["status"],
        ["down"],
        ["restart"],
        ["logs"],
        ["bundle", "-o", "/dev/shm/never.tar.gz"],
    ):
        done = service.by(0, *words, "-p", "stub", GLM5_SERVE_STATE_DIR=str(mine.parent))

        assert done.returncode == 78, done
        assert (
            f"{mine} lies below {service.folder}, where others may replace it: owned by nobody"
            in done.stderr
        )
        missing = service.by(0, *words, "-p", "card", GLM5_SERVE_STATE_DIR=str(mine.parent))
        assert f"{mine.parent}/card lies below {service.folder}" in missing.stderr
    assert not Path("/dev/shm/never.tar.gz").exists()


def test_who_follows_a_log_for_root_is_its_owner(service: Service) -> None:
    service.run("up", "-p", "stub", "-d")
    with running(
        *service.command("logs", "-f"), env=service.environ, stdout=subprocess.PIPE, cwd="/"
    ) as follow:
        next_line(follow)
        status = Path(f"/proc/{follow.pid}/status").read_text()

    assert status.partition("Uid:")[2].split()[:4] == [str(OWNER)] * 4
    assert status.partition("Groups:")[2].splitlines()[0].split() == [str(OWNER)]
    assert status.partition("CapPrm:")[2].split()[0].strip("0") == ""
