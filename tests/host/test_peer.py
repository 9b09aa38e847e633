"""Who is asked is known first: what is not the server's gets no connection, no byte and no key."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from pathlib import Path

import pytest
from conftest import World, next_line, running, until
from rig.listening import NOBODY, Listener, Told, listening, no_descriptors

from launcher.engines.http import ForeignError, Request, UnaskedError, exchange
from launcher.engines.server import Server, ask
from launcher.engines.sglang import api as health
from launcher.host import sockets
from launcher.host.peer import Peer, Verdict, Whose
from launcher.serve import procfs, reaper

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: becomes another user")
here = Peer(lambda: [os.getpid()])
ASKED = 1.5  # seconds in which a server that loads is asked, several times
PATIENT = 30.0  # seconds for an answer that comes at once


def bound(host: str, port: int = 0, *, alone: bool = False) -> socket.socket:
    """A listener of this process; `alone`: for IPv6 alone."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server(
        (host, port), family=family, dualstack_ipv6=host == "::" and not alone
    )


def port_of(listener: socket.socket) -> int:
    return int(listener.getsockname()[1])


def verdict_of(asking: str, *before: str) -> str:
    """What a program of its own finds out, after it did what `before` says."""
    code = "\n".join(["import os, sys", "from launcher.host.peer import Peer", *before, asking])
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


# -- whose it is ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("at", "asked"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("127.0.0.1", "localhost"),
        ("127.0.0.1", "::ffff:127.0.0.1"),
        ("0.0.0.0", "127.0.0.1"),
        ("0.0.0.0", "127.8.9.10"),
        ("::", "127.0.0.1"),
        ("::", "::1"),
        ("::1", "::1"),
    ],
)
def test_a_listener_of_the_server_is_known_wherever_it_is_bound(at: str, asked: str) -> None:
    with bound(at) as listener:
        verdict = here.check(asked, port_of(listener))

        assert (verdict.whose, verdict.inodes) == (Whose.OURS, {os.fstat(listener.fileno()).st_ino})
        assert Peer(lambda: [1]).check(asked, port_of(listener)).whose is Whose.FOREIGN


@pytest.mark.parametrize(
    ("at", "asked"), [("127.0.0.2", "127.0.0.1"), ("::1", "127.0.0.1"), ("127.0.0.1", "::1")]
)
def test_one_at_another_address_is_nobody(at: str, asked: str) -> None:
    with bound(at) as listener:
        assert here.check(asked, port_of(listener)).whose is Whose.NOBODY


def test_where_nobody_listens_that_is_told() -> None:
    with socket.socket() as idle:
        idle.bind(("127.0.0.1", 0))
        port = port_of(idle)

        assert here.check("127.0.0.1", port) == Verdict(
            Whose.NOBODY, f"nobody listens on port {port} of 127.0.0.1"
        )


def test_any_process_of_the_server_may_listen(tmp_path: Path) -> None:
    """SGLang's first process does not, where it has several tokenizers."""
    with listening(tmp_path) as worker:
        assert (
            Peer(lambda: reaper.descendants(os.getpid())).check("127.0.0.1", worker.port).whose
            is Whose.OURS
        )
        assert (
            Peer(lambda: [1, worker.pid, 2**22 - 1]).check("127.0.0.1", worker.port).whose
            is Whose.OURS
        )


def test_one_that_was_forked_after_the_look_is_the_servers(tmp_path: Path) -> None:
    with listening(tmp_path) as worker:
        assert Peer(lambda: [os.getpid()]).check("127.0.0.1", worker.port).whose is Whose.OURS


def test_a_stranger_is_named(tmp_path: Path) -> None:
    with listening(tmp_path) as stranger, bound("127.0.0.1"):
        verdict = Peer(lambda: [2**22 - 1]).check("127.0.0.1", stranger.port)

    name = Path(sys.executable).name[:15]
    assert verdict.whose is Whose.FOREIGN
    assert verdict.detail.startswith(f"{name} (pid {stranger.pid}) of ")
    assert f"uid {os.geteuid()}" in verdict.detail


@as_root
def test_a_stranger_of_another_user_is_named_with_the_user(tmp_path: Path) -> None:
    with listening(tmp_path, who=(NOBODY,)) as stranger:
        told = Peer(lambda: [2**22 - 1]).check("127.0.0.1", stranger.port).detail

    assert f"(pid {stranger.pid}) of user nobody (uid 65534)" in told


@as_root
def test_a_stranger_who_cannot_be_seen_is_named_by_the_user() -> None:
    """A service's user may not look at what root does; whose the socket is, the table says."""
    with bound("127.0.0.1") as stranger:
        asking = f"print(Peer(lambda: [os.getpid()]).check('127.0.0.1', {port_of(stranger)}))"
        told = verdict_of(asking, f"os.setresuid({NOBODY}, {NOBODY}, {NOBODY})")

    assert "FOREIGN" in told
    assert "a process that cannot be seen from here of user root (uid 0)" in told


def test_a_name_of_a_process_does_nothing_to_a_terminal(tmp_path: Path) -> None:
    code = """
import ctypes, socket, time
ctypes.CDLL(None).prctl(15, b"a\\x1b]52;c;x\\x07", 0, 0, 0)
s = socket.create_server(("127.0.0.1", 0))
print(s.getsockname()[1], flush=True)
time.sleep(60)
"""
    with running(sys.executable, "-c", code, stdout=subprocess.PIPE) as stranger:
        told = Peer(lambda: [2**22 - 1]).check("127.0.0.1", int(next_line(stranger))).detail

    assert told.startswith(rf"a\x1b]52;c;x\x07 (pid {stranger.pid})")


def test_a_port_that_is_shared_with_a_stranger_is_a_strangers(tmp_path: Path) -> None:
    with listening(tmp_path, "shared-sane") as ours:
        peer = Peer(lambda: [ours.pid])
        assert peer.check("127.0.0.1", ours.port).whose is Whose.OURS
        with listening(tmp_path, "shared-sane", port=ours.port) as stranger:
            verdict = peer.check("127.0.0.1", ours.port)

    assert verdict.whose is Whose.FOREIGN
    assert f"(pid {stranger.pid})" in verdict.detail


def test_who_cannot_get_what_is_sent_to_the_server_is_not_in_its_way(tmp_path: Path) -> None:
    """Else any user of the host could have it killed by binding its port beside it."""
    with bound("127.0.0.1") as ours, contextlib.ExitStack() as beside:
        for host, how in [("127.0.0.2", ""), ("::1", ""), ("::", "alone-")]:
            with contextlib.suppress(ValueError):  # ::1 and :: exclude each other
                beside.enter_context(listening(tmp_path, f"{how}sane", host, port_of(ours)))
            assert here.check("127.0.0.1", port_of(ours)).whose is Whose.OURS
            beside.close()

    with bound("0.0.0.0") as ours, listening(tmp_path, "alone-sane", "::", port_of(ours)):
        assert here.check("127.0.0.1", port_of(ours)).whose is Whose.OURS


def test_what_is_kept_is_looked_at_again(tmp_path: Path) -> None:
    """It is looked for once, believed as long as it is so, and no longer."""
    asked = []

    def members() -> Sequence[int]:
        asked.append(True)
        return [os.getpid()] if len(asked) == 1 else [2**22 - 1]

    peer, ours = Peer(members), bound("127.0.0.1")
    port = port_of(ours)
    assert {peer.check("127.0.0.1", port).whose for _ in range(9)} == {Whose.OURS}
    assert len(asked) == 1
    ours.close()
    assert peer.check("127.0.0.1", port).whose is Whose.NOBODY
    with listening(tmp_path, port=port):
        assert peer.check("127.0.0.1", port).whose is Whose.FOREIGN
    with bound("127.0.0.1", port):
        assert peer.check("127.0.0.1", port).whose is Whose.FOREIGN, (
            "the same descriptor, another socket"
        )


# -- what cannot be known -------------------------------------------------------------------------


def test_without_a_descriptor_nothing_is_known() -> None:
    with bound("127.0.0.1") as listener:
        port = port_of(listener)
        with no_descriptors():
            fresh, kept = (
                Peer(lambda: [os.getpid()]).check("127.0.0.1", port),
                here.check("127.0.0.1", port),
            )
            open_ = procfs.clients("127.0.0.1", port)

    assert {fresh.whose, kept.whose} == {Whose.UNKNOWN}
    assert "too many open files" in fresh.detail
    assert open_ is None, "not counted is not nobody"


@as_root
@pytest.mark.skipif(not shutil.which("unshare"), reason="needs unshare(1)")
def test_without_proc_nothing_is_known(tmp_path: Path) -> None:
    code = (
        "from launcher.serve import procfs as vitals; from launcher.host.peer import Peer; import subprocess, sys;"
        "subprocess.run(['mount', '-t', 'tmpfs', 'none', '/proc'], check=True);"
        "print(vitals.clients('127.0.0.1', 80), Peer(lambda: [1]).check('127.0.0.1', 80))"
    )
    words = ["unshare", "--mount", sys.executable, "-c", code]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    if "unshare failed" in done.stderr or "mount:" in done.stderr:
        pytest.skip("no mount namespaces here")

    assert done.stdout.startswith("None Verdict(whose=<Whose.UNKNOWN"), done.stderr


@as_root
def test_a_server_that_may_not_be_looked_at_is_unknown_and_why_is_told(tmp_path: Path) -> None:
    with listening(tmp_path, who=(NOBODY, "closed")) as closed:
        asking = (
            f"print(Peer(lambda: [os.getpid(), {closed.pid}]).check('127.0.0.1', {closed.port}))"
        )
        told = verdict_of(asking, f"os.setresuid({NOBODY}, {NOBODY}, {NOBODY})")

    assert "UNKNOWN" in told
    assert f"the descriptors of the server's process {closed.pid} may not be read" in told


def none_left() -> Sequence[int]:
    return []


def no_reaper() -> Sequence[int]:
    raise OSError(errno.ENOMEM, "Cannot allocate memory")


@pytest.mark.parametrize("members", [none_left, no_reaper])
def test_a_server_whose_processes_are_not_known_is_unknown(
    members: Callable[[], Sequence[int]],
) -> None:
    with bound("127.0.0.1") as listener:
        assert Peer(members).check("127.0.0.1", port_of(listener)).whose is Whose.UNKNOWN


def test_a_host_that_cannot_be_resolved_is_unknown() -> None:
    assert here.check("a" * 64, 80).whose is Whose.UNKNOWN
    assert procfs.clients("a" * 64, 80) is None


def test_a_table_that_is_none_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "PROC_NET", tmp_path)
    for text in ("heading\n 0: x:0050 y 0A and so on\n", "heading\n x\n"):
        (tmp_path / "tcp").write_text(text)
        assert here.check("127.0.0.1", 80).whose is Whose.UNKNOWN


def test_a_host_without_ipv6_has_no_listeners_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets, "PROC_NET", tmp_path)
    (tmp_path / "tcp").write_text("heading\n")

    assert here.check("127.0.0.1", 80).whose is Whose.NOBODY
    assert procfs.clients("127.0.0.1", 80) == 0


# -- nothing is sent ------------------------------------------------------------------------------

OURS, OTHER = Verdict(Whose.OURS, "", frozenset({1})), Verdict(Whose.OURS, "", frozenset({2}))
NOT_OURS = [Verdict(whose, "told", frozenset({1})) for whose in Whose if whose is not Whose.OURS]


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Listener]:
    with listening(tmp_path_factory.mktemp("stranger")) as made:
        yield made


@pytest.mark.parametrize(
    "verdicts",
    list(product([OURS, *NOT_OURS], [OURS, OTHER, *NOT_OURS])),
    ids=lambda two: f"{two[0].whose}-{two[1].whose}",
)
def test_no_byte_is_sent_unless_the_same_listener_is_the_servers_before_and_after(
    stranger: Listener, verdicts: tuple[Verdict, Verdict]
) -> None:
    request = Request("GET", "/", None, {"Authorization": "Bearer secret"})
    asked = lambda peer: exchange("127.0.0.1", stranger.port, request, PATIENT, peer)
    if verdicts == (OURS, OURS):
        assert asked(Told(*verdicts))[0] == 200
        until(lambda: b"secret" in stranger.said, "the question")
        stranger.heard.write_bytes(b"")
        return
    with pytest.raises((ForeignError, UnaskedError, ConnectionRefusedError)):
        asked(Told(*verdicts))
    assert exchange("127.0.0.1", stranger.port, Request("GET", "/mark"), PATIENT, None)[0] == 200
    until(lambda: b"/mark" in stranger.said, "the mark")
    assert b"secret" not in stranger.said
    stranger.heard.write_bytes(b"")


def test_every_question_asks_the_server_alone(tmp_path: Path) -> None:
    with listening(tmp_path) as other:
        server = Server("127.0.0.1", other.port, "secret", Peer(lambda: [2**22 - 1]))
        answers = [ask(asked, server, PATIENT) for asked in (health.first_token, health.alive)]
        assert health.in_flight(server) is None
        assert other.said == b""

    for answer in answers:
        assert (answer.ok, answer.unknown) == (False, False)
        assert f"(pid {other.pid})" in answer.foreign
        assert answer.detail.endswith("not by this server; nothing was sent to it")


def test_while_a_model_loads_another_user_gets_no_key_and_makes_nothing_ready(world: World) -> None:
    key = world.folder / "key"
    key.write_text("sk-test-0123456789abcdef\n")
    key.chmod(0o600)
    up = loading(world, "--api-key-file", str(key))
    who = (NOBODY,) if os.geteuid() == 0 else ()
    with listening(world.folder, port=world.port, who=who) as other:
        time.sleep(ASKED)
        assert world.status()["state"] == "starting"
        world.faults()
        said, _ = up.communicate(timeout=60)
        assert other.said == b""

    assert up.returncode == 1, said
    assert "ready" not in {event["state"] for event in world.events()}


def test_who_left_the_port_in_time_is_in_nobodys_way(world: World) -> None:
    up = loading(world)
    with listening(world.folder, port=world.port) as other:
        time.sleep(ASKED)
        assert world.status()["state"] == "starting"
    world.faults()
    world.until_state("ready")

    assert other.said == b""
    up.terminate()
    up.communicate(timeout=60)


def loading(world: World, *words: str) -> subprocess.Popen[str]:
    """A server that loads until its faults are taken away."""
    world.faults(hang_at="load")
    up = world.start("up", "-p", "stub", *words)
    until(
        lambda: world.status()["state"] == "starting" and world.status()["pids"].get("server"),
        "a start",
    )
    return up
