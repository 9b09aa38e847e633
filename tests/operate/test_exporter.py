"""The exporter's web server: who is answered, and that nobody holds it up."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from conftest import until
from hypothesis import given
from hypothesis import strategies as st

from launcher.address import canonical
from launcher.serve import webserver
from launcher.serve.webserver import Access, Collecting, NoError, WebServer, parsed, require

FIGURES = b"up 1\n"
GET = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"
NAMED = frozenset({"box.example"})


@contextlib.contextmanager
def serving(
    collect: Collecting | None = None, access: Access | None = None, at: str = "127.0.0.1"
) -> Iterator[WebServer]:
    collect, access = collect or Collecting(lambda: FIGURES), access or Access(NAMED)
    figures = partial(collect.page, "text/plain")
    with WebServer((at, 0), {"/": figures, "/metrics": figures}, access) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join(60)


def ask(server: WebServer, said: bytes) -> tuple[int, bytes]:
    """The status and the body; 0 where the connection was closed without a word."""
    with socket.create_connection(server.server_address[:2], timeout=30) as client:
        client.sendall(said)
        answer = client.makefile("rb").read()
    head, _, body = answer.partition(b"\r\n\r\n")
    return (int(head.split()[1]), body) if answer else (0, b"")


def get(path: str = "/metrics", *headers: str, method: str = "GET", version: str = "1.1") -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/{version}", *headers, "", ""]).encode("latin-1")


@pytest.mark.parametrize(
    ("said", "status"),
    [
        (get("/metrics", "Host: localhost"), 200),
        (get("/", "Host: LOCALHOST:9464"), 200),
        (get("/metrics?name[]=x", "Host: 127.0.0.1"), 200),
        (get("/metrics", "Host: box.example:80"), 200),
        (get("/metrics", "host:Box.Example."), 200),
        (get(version="1.0"), 200),
        (b"GET / HTTP/1.0\n\n", 200),
        (get("/metrics", "Host: evil.example"), 421),
        (get("/metrics", "Host: evil.example", version="1.0"), 421),
        (get("/metrics", "Host: localhost.evil.example"), 421),
        (get("/metrics", "Host: 127.0.0.2"), 421),
        (get("/metrics", "Host: "), 421),
        (get("/metrics", "Host: localhost@evil.example"), 421),
        (get("/metrics"), 400),
        (get("/metrics", "Host: localhost", "Host: localhost"), 400),
        (get("/metrics", "Host : localhost"), 400),
        (get("/metrics", "Host: localhost", " folded"), 400),
        (get("http://evil.example/metrics", "Host: localhost"), 404),
        (get("/metrics/", "Host: localhost"), 404),
        (get("/../etc/passwd", "Host: localhost"), 404),
        (get("/metrics", "Host: localhost", method="POST"), 405),
        (get("/metrics", "Host: localhost", method="OPTIONS"), 405),
        (b"\x16\x03\x01\x02\r\n\r\n", 400),
        (get("/metrics", "Host: localhost", version="2.0"), 400),
        (b"GET /" + b"a" * 20_000, 431),
        (get("/metrics", "Host: localhost", "X: " + "y" * 20_000), 431),
    ],
)
def test_a_request_gets_what_it_should(said: bytes, status: int) -> None:
    with serving() as server:
        got, body = ask(server, said)

    assert got == status
    assert (body == FIGURES) == (status == 200)


def test_head_has_no_body() -> None:
    with serving() as server:
        assert ask(server, get("/metrics", "Host: localhost", method="HEAD")) == (200, b"")
        assert ask(server, get("/metrics", "Host: evil", method="HEAD")) == (421, b"")


@pytest.mark.parametrize(
    ("header", "status"),
    [
        ("Authorization: Bearer sekret", 200),
        ("authorization: bearer   sekret", 200),
        ("Authorization: Bearer sekret2", 401),
        ("Authorization: Bearer", 401),
        ("Authorization: Basic sekret", 401),
        ("Authorization: Bearer s\xe9kret", 401),
        ("X: y", 401),
    ],
)
def test_a_token_is_asked_of_everybody(header: str, status: int) -> None:
    with serving(access=Access(NAMED, "sekret")) as server:
        assert ask(server, get("/metrics", "Host: localhost", header))[0] == status
        assert ask(server, get("/metrics", "Host: evil", header))[0] == 421


def test_the_address_that_was_connected_to_is_a_name() -> None:
    with serving(at="0.0.0.0") as server:
        assert ask(server, get("/", f"Host: 127.0.0.1:{server.server_address[1]}"))[0] == 200
        assert ask(server, get("/", "Host: 0.0.0.0"))[0] == 421


@pytest.mark.parametrize(
    ("name", "same"),
    [
        ("[::1]", "::1"),
        ("0:0::1", "::1"),
        ("::ffff:1.2.3.4", "1.2.3.4"),
        ("A.b.", "a.b"),
        ("127.1", "127.1"),
    ],
)
def test_a_name_has_one_spelling(name: str, same: str) -> None:
    assert canonical(name) == same


@given(st.binary(max_size=200))
def test_no_request_breaks_the_reader(data: bytes) -> None:
    for said in (data, b"GET / HTTP/1.1\r\n" + data, b"GET / HTTP/1.1\r\nHost: " + data):
        with contextlib.suppress(NoError):
            require(parsed(said), Access(NAMED, "x"), "127.0.0.1", {})


@pytest.mark.parametrize("first", [b"", GET[:20]])
def test_who_says_nothing_more_is_cut_off(first: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webserver, "ASK_WITHIN", 0.2)
    with serving() as server:
        assert ask(server, first) == (0, b"")


def test_who_says_it_byte_by_byte_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each byte comes in time, and all of them would last for ever."""
    monkeypatch.setattr(webserver, "ASK_WITHIN", 0.5)
    with (
        serving() as server,
        socket.create_connection(server.server_address[:2], 60) as client,
    ):
        client.settimeout(0.05)  # short: a look

        def is_closed() -> bool:
            with contextlib.suppress(TimeoutError):
                client.sendall(b"G")
                return client.recv(1) == b""  # no bound: it has a time-out
            return False

        with contextlib.suppress(ConnectionError):
            until(is_closed, "it is cut off")


def test_who_connects_and_does_not_ask_makes_room_for_who_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(webserver, "ASK_WITHIN", 60)
    with serving() as server, contextlib.ExitStack() as stack:
        idle = [
            stack.enter_context(socket.create_connection(server.server_address[:2], 60))
            for _ in range(webserver.MOST)
        ]
        until(lambda: len(server.silent) == webserver.MOST, "all are waited for")
        for _ in range(3):
            assert ask(server, GET) == (200, FIGURES)
        idle[0].settimeout(60)
        with contextlib.suppress(ConnectionError):
            assert idle[0].recv(1) == b""


class Counting(Collecting):
    """Counts who has asked for it."""

    asked = 0

    def result(self, within: float) -> bytes:
        with self._lock:
            self.asked += 1
        return super().result(within)


def test_so_many_are_served_at_a_time_and_one_more_is_closed_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(webserver, "ANSWER_WITHIN", 60)
    hold = threading.Event()

    def collect() -> bytes:
        hold.wait(60)
        return FIGURES

    collecting = Counting(collect)
    with serving(collecting) as server, ThreadPoolExecutor(webserver.MOST) as pool:
        asked = [pool.submit(ask, server, GET) for _ in range(webserver.MOST)]
        until(lambda: collecting.asked == webserver.MOST, "all have asked")
        with contextlib.suppress(ConnectionError):
            assert ask(server, GET) == (0, b"")
        hold.set()
        assert {one.result(60) for one in asked} == {(200, FIGURES)}


def test_a_state_folder_that_hangs_holds_up_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webserver, "ANSWER_WITHIN", 0.1)
    disk, looks = threading.Event(), []

    def collect() -> bytes:
        looks.append(1)
        disk.wait(60)
        return FIGURES

    with serving(Collecting(collect)) as server:
        for _ in range(5):
            status, body = ask(server, GET)
            assert (status, b"the state folder does not answer" in body) == (503, True)
        assert len(looks) == 1
        disk.set()
        # What hung is told once, to who waited for it: the next one who asks has a look of his own.
        until(
            lambda: ask(server, GET) == (200, FIGURES) and len(looks) > 1,
            "it looks and answers again",
        )


def test_who_asks_meanwhile_gets_the_same() -> None:
    began, go, looks = threading.Event(), threading.Event(), []

    def collect() -> bytes:
        looks.append(1)
        began.set()
        go.wait(60)
        return FIGURES

    asked = Collecting(collect)
    with ThreadPoolExecutor(4) as pool:
        results = [pool.submit(asked.result, 60) for _ in range(4)]
        began.wait(60)
        until(lambda: all(result.running() for result in results), "all ask")
        go.set()
        assert {result.result(60) for result in results} == {FIGURES}


def test_a_bug_in_a_collection_is_one_line_and_the_next_one_is_answered(
    capfd: pytest.CaptureFixture[str],
) -> None:
    answers = iter([ZeroDivisionError("\x1b[2J"), None])

    def collect() -> bytes:
        if error := next(answers):
            raise error
        return FIGURES

    with serving(Collecting(collect)) as server:
        assert ask(server, GET) == (500, b"500 Internal Server Error: ZeroDivisionError\n")
        assert ask(server, GET) == (200, FIGURES)
    assert re.fullmatch(r"glm5-serve metrics: ZeroDivisionError\n", capfd.readouterr().err)
