"""Questions to a server: each ends, takes little, and tells a no from what could not be asked."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import resource
import shutil
import socket
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from conftest import TESTS, World
from rig.listener import KINDS, with_body
from rig.listening import Told, bounded, listening, no_descriptors

from launcher.engines.http import LIMIT, TooLongError, UnaskedError
from launcher.engines.server import PAUSED, Answer, Server, ask, talk
from launcher.engines.sglang import api
from launcher.host.peer import Peer, Verdict, Whose
from launcher.serve import smoke

names = list(KINDS)
ENDLESS = names[names.index("chunks") : names.index("terabyte")]
TOO_MUCH = names[names.index("terabyte") : names.index("drip")]
SLOW = [*names[names.index("drip") : names.index("cut")], "silent"]
NONE = [*names[names.index("cut") :], "closes"]
PATIENT = 30.0  # seconds for an answer that comes at once
QUESTIONS = {
    "within": PATIENT,
    "thinking": "",
    "questions": [{"ask": "capital of France?", "expect": "paris"}],
}


def question(server: Server, first: bool, within: float = PATIENT) -> Answer:
    return ask(api.first_token if first else api.alive, server, within)


def asked(port: int, first: bool, within: float = PATIENT) -> Answer:
    server = Server("127.0.0.1", port, "key", Peer(lambda: [os.getpid()]))
    return bounded(lambda: question(server, first, within))


def examined(port: int, within: float = PATIENT) -> smoke.Result:
    server = Server("127.0.0.1", port, "key")
    words = QUESTIONS | {"within": within}
    return bounded(lambda: smoke.examine(server, "m", words, frozenset()))


# -- every answer ends, and is no more than it may be ---------------------------------------------


@pytest.mark.parametrize("kind", [*ENDLESS, *TOO_MUCH])
def test_an_answer_without_an_end_is_a_no_and_costs_little(tmp_path: Path, kind: str) -> None:
    with listening(tmp_path, kind) as server:
        tracemalloc.start()
        answers = [asked(server.port, first) for first in (True, False)]
        loads = bounded(lambda: [api.in_flight(Server("127.0.0.1", server.port))])
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        result = examined(server.port)

    for answer in answers:
        assert (answer.ok, answer.unknown, answer.foreign) == (False, False, ""), answer
    assert loads == [None]
    assert most < 16 * LIMIT
    assert (result.ok, result.silent, result.unknown) == (False, False, False)
    assert result.detail.startswith("an answer that is none: "), (
        "wrong, and not to be asked again for ever"
    )
    assert not result.unreachable


@pytest.mark.parametrize("kind", SLOW)
def test_an_answer_that_drips_has_one_deadline(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "QUICK", 0.5)
    with listening(tmp_path, kind) as server:
        first, later = asked(server.port, True, 0.5), asked(server.port, False, 0.5)
        result = examined(server.port, 0.5)
        assert bounded(lambda: [api.in_flight(Server("127.0.0.1", server.port))]) == [None]

    assert first == Answer(False, "no answer within 0.5 s")
    assert later == Answer(False, "no answer to /ping within 0.5 s")
    assert (result.ok, result.silent, result.detail) == (False, True, "no answer within 0.5 s")


@pytest.mark.parametrize("kind", NONE)
def test_what_is_no_answer_is_a_no_with_a_reason(tmp_path: Path, kind: str) -> None:
    with listening(tmp_path, kind) as server:
        answer, result = asked(server.port, True), examined(server.port)
        assert bounded(lambda: [api.in_flight(Server("127.0.0.1", server.port))]) == [None]

    assert (answer.ok, answer.unknown, answer.foreign) == (False, False, "")
    assert answer.detail
    assert (result.ok, result.silent, result.unknown) == (False, False, False)
    assert result.detail


def test_a_redirect_is_not_followed(tmp_path: Path) -> None:
    with listening(tmp_path, "redirect") as server:
        assert asked(server.port, True).detail == "/ping says 307"
        assert b"elsewhere" not in server.said


def test_a_sane_answer_is_taken_as_it_is(tmp_path: Path) -> None:
    with listening(tmp_path) as server:
        assert asked(server.port, True) == Answer(True, "generated 1 token")
        assert asked(server.port, False).ok


def test_an_answer_of_just_the_limit_is_taken_whole_and_one_beyond_it_not() -> None:
    head = "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n"
    size = LIMIT - len(head.format(LIMIT))
    text = head.format(size).encode() + b"x" * size
    with answering(text) as port:
        assert talk(Server("127.0.0.1", port), "GET", "/", None, PATIENT) == (200, b"x" * size)
    with answering(b"HTTP/1.1 100 Continue\r\n\r\n" + text) as port, pytest.raises(TooLongError):
        talk(Server("127.0.0.1", port), "GET", "/", None, PATIENT)


def test_a_question_that_nobody_reads_has_a_deadline() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        where = Server("127.0.0.1", server.getsockname()[1])
        with pytest.raises(TimeoutError):
            talk(where, "POST", "/", "x" * (64 << 20), 0.5)


def test_counts_that_are_none_are_not_nobody() -> None:
    """A scheduler that does not say how much it runs has not said that it runs nothing."""
    for load in (
        {},
        {"num_running_reqs": 0},
        {"num_running_reqs": 0, "num_waiting_reqs": None},
        {"x": -1},
    ):
        assert in_flight([load]) is None
    for count in (True, -1, 1.5, "0", [], 1 << 70):
        assert in_flight([{"num_running_reqs": count, "num_waiting_reqs": 0}]) is None
    assert in_flight([{"num_running_reqs": 2, "num_waiting_reqs": 1}]) == 3
    assert in_flight([]) is None


def in_flight(loads: list[dict[str, Any]]) -> int | None:
    with answering(with_body(json.dumps({"loads": loads}).encode())) as port:
        return api.in_flight(Server("127.0.0.1", port))


@contextlib.contextmanager
def answering(text: bytes) -> Iterator[int]:
    """The port of a server that gives everybody the same answer, and then waits until they are
    gone.
    """

    def answer() -> None:
        while True:  # no bound: the socket is closed at the end
            connection, _ = server.accept()  # no bound: as above
            with connection, contextlib.suppress(OSError):
                connection.sendall(text)
                while connection.recv(65536):  # no bound: who asks has a time-out
                    continue

    with socket.create_server(("127.0.0.1", 0)) as server:
        Thread(target=quietly, args=(answer,), daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)


def quietly(work: Callable[[], None]) -> None:
    with contextlib.suppress(OSError):
        work()


# -- a no is no unknown, and the other way round --------------------------------------------------


def test_a_port_that_refuses_is_a_no() -> None:
    with socket.socket() as idle:
        idle.bind(("127.0.0.1", 0))
        answers = [asked(idle.getsockname()[1], first) for first in (True, False)]
        alone = question(Server("127.0.0.1", idle.getsockname()[1]), True)

    assert not any(answer.ok or answer.unknown for answer in [*answers, alone])


def test_a_server_that_accepts_nobody_is_a_no() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        port = server.getsockname()[1]
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", port))
        answer = asked(port, True, 0.5)
        for one in waiting:
            one.close()

    assert answer == Answer(False, "no answer within 0.5 s")


def test_without_a_descriptor_it_could_not_be_asked() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        for peer in (None, Peer(lambda: [os.getpid()])):
            where = Server("127.0.0.1", port, None, peer)
            with no_descriptors():
                answers = [question(where, first) for first in (True, False)]
                result, flight = (
                    smoke.examine(where, "m", QUESTIONS, frozenset()),
                    api.in_flight(where),
                )

            for answer in answers:
                assert (answer.ok, answer.unknown, answer.foreign) == (False, True, "")
                assert "too many open files" in answer.detail
            assert (result.ok, result.unreachable, result.unknown) == (False, True, True)
            assert flight is None


class Failing:
    """Stands for this process in trouble: whatever it tries first fails."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def check(self, host: str, port: int) -> Verdict:
        raise self.error


A_NO = {"ECONNREFUSED", "ECONNRESET", "ECONNABORTED", "EPIPE", "ENOTCONN", "ESHUTDOWN", "ETIMEDOUT"}


@pytest.mark.parametrize("name", sorted(errno.errorcode.values()))
def test_every_error_is_a_no_or_ours(name: str) -> None:
    error = OSError(getattr(errno, name), name)
    answer, result = failed(error)

    assert answer.unknown is result.unknown is (name not in A_NO)
    assert not answer.ok
    assert not result.ok
    assert result.unreachable or result.silent, "never wrong output"


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        socket.gaierror(-3, "Temporary failure in name resolution"),
        LookupError("idna"),
        ImportError(),
    ],
    ids=repr,
)
def test_trouble_of_our_own_is_unknown(error: Exception) -> None:
    answer, result = failed(error)

    assert answer.unknown
    assert result.unknown
    assert answer.detail.startswith("it could not be asked")


def failed(error: Exception) -> tuple[Answer, smoke.Result]:
    server = Server("127.0.0.1", 9, None, Failing(error))
    return question(server, False), smoke.examine(server, "m", QUESTIONS, frozenset())


def test_a_host_that_cannot_be_resolved_is_unknown() -> None:
    assert question(Server("a" * 64, 80), True).unknown


def test_one_question_that_could_not_be_asked_makes_the_answer_unknown() -> None:
    """/ready alone: a paused server must not be called unhealthy because we were short of
    something.
    """
    ours, short = (
        Verdict(Whose.OURS, "", frozenset({1})),
        Verdict(Whose.UNKNOWN, "Too many open files"),
    )
    with answering(with_body(b"")) as port:
        answer = question(Server("127.0.0.1", port, None, Told(ours, ours, short)), False)

    assert (answer.ok, answer.unknown) == (False, True)


def test_a_pause_that_begins_while_it_is_asked_is_no_fault() -> None:
    """SGLang calls itself unhealthy by a question that a pause leaves unanswered."""
    asked: list[str] = []

    class Paused(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            if self.path == "/health":
                time.sleep(api.AT_ONCE + 3)
            is_up = self.path == "/ping" or "/health" not in asked
            self.send_response(200 if is_up else 503)
            self.end_headers()

        def log_message(self, *words: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Paused) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        answer = question(Server("127.0.0.1", server.server_port), False)
        server.shutdown()

    assert (answer.ok, answer.excuse) == (False, PAUSED)
    assert asked == ["/ping", "/ready", "/health", "/ping", "/ready"]


def test_a_look_that_takes_too_long_is_no_slow_answer() -> None:
    class Slow:
        def check(self, host: str, port: int) -> Verdict:
            time.sleep(0.2)
            return Verdict(Whose.OURS, "", frozenset({1}))

    with answering(with_body(b"")) as port:
        where = Server("127.0.0.1", port, None, Slow())
        with pytest.raises(UnaskedError, match="too long"):
            talk(where, "GET", "/", None, 0.1)


IN_A_NAMESPACE = """
import errno, os, socket, subprocess, sys
from pathlib import Path
from launcher.engines.server import Server, ask
from launcher.engines.sglang.api import first_token
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
Path("/proc/sys/net/ipv4/ip_local_port_range").write_text("40000 40060")
words = [sys.executable, sys.argv[1], "127.0.0.1", "30000", "sane", os.devnull]
server = subprocess.Popen(words, stdout=subprocess.PIPE)
server.stdout.readline()

def use_up(source):
    held = []
    while True:
        held.append(socket.socket())
        try:
            if source:
                held[-1].bind((source, 0))
            held[-1].connect(("127.0.0.1", 30000))
        except OSError as error:
            assert error.errno in (errno.EADDRNOTAVAIL, errno.EADDRINUSE), error
            return held

clients = use_up(None)
one = ask(first_token, Server("127.0.0.1", 30000), 30)
more = use_up("127.0.0.2")
two = ask(first_token, Server("127.0.0.1", 30000), 30)
server.kill()
print(len(clients), one, two, sep="\\n")
"""


@pytest.mark.skipif(
    os.geteuid() != 0 or not all(map(shutil.which, ("unshare", "ip"))),
    reason="needs root, unshare(1) and ip(8)",
)
def test_clients_that_use_up_the_ports_do_not_blind_us() -> None:
    program = TESTS / "rig/listener.py"
    words = ["unshare", "--net", sys.executable, "-c", IN_A_NAMESPACE, str(program)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    if "unshare failed" in done.stderr or "RTNETLINK" in done.stderr:
        pytest.skip("no network namespaces here")
    assert done.returncode == 0, done.stderr
    clients, one, two = done.stdout.splitlines()

    assert int(clients) > 30
    assert one == str(Answer(True, "generated 1 token"))
    assert "unknown=True" in two


def test_a_launcher_without_descriptors_kills_no_server(world: World) -> None:
    world.run("up", "-p", "stub", "-d")
    before = world.status()["pids"]
    with no_descriptors(before["launcher"]):
        assert resource.prlimit(before["launcher"], resource.RLIMIT_NOFILE)[0] < 64
        time.sleep(3)  # thirty questions, of which two would do

    assert world.until_state("ready")["pids"] == before
    assert not world.events("death")
