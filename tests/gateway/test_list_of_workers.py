"""The list of workers as smg takes it, and what it would not take."""

from __future__ import annotations

import json
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest
from conftest import free_port
from hypothesis import given
from hypothesis import strategies as st

from launcher.address import is_any
from launcher.gateway.manifest import Worker, fault, place_of, urls, worker_url, written
from launcher.gateway.roster import Roster, Served
from launcher.gateway.runtime import runtime
from launcher.gateway.settings import Options
from launcher.gateway.workers import Seen, routed
from launcher.plan.plan import Plan
from launcher.plan.policy import Policy

NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}(@[1-9])?", fullmatch=True)
WORKERS = st.builds(Worker, NAMES, st.integers(1, 65535).map("http://127.0.0.1:{}".format))


@given(st.sets(WORKERS))
def test_what_is_written_is_taken_whoever_is_in_it(workers: set[Worker]) -> None:
    data = written(workers)

    assert fault(data) is None
    told = json.loads(data)["workers"]
    assert {Worker(one["id"], one["url"]) for one in told} == workers


@given(st.sets(WORKERS))
def test_the_same_workers_are_the_same_bytes_in_whatever_order(workers: set[Worker]) -> None:
    assert written(sorted(workers)) == written(sorted(workers, reverse=True))


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "wanted"),
        (b'{"workers": []}', "wanted"),
        (b'{"version": 2, "workers": []}', "wanted"),
        (b'{"version": 1, "workers": [], "comment": ""}', "unknown field comment"),
        (b'{"version": 1}', "worker 1 has no url"),
        (b'{"version": 1, "workers": [{"url": "http://a:1"}, {"id": "b"}]}', "worker 2"),
        (b'{"version": 1, "workers": [{"url": "a:1"}]}', "worker 1"),
    ],
)
def test_a_broken_list_is_told_by_what_is_wrong_with_it(data: bytes, why: str) -> None:
    assert why in str(fault(data))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "notaurl",
        "10.0.0.2:30000",
        "//10.0.0.2:30000",
        "file:///etc/passwd",
        "ftp://10.0.0.2:30000",
        "grpc://10.0.0.2:30000",
        "http://u:PW@10.0.0.2:30000",
        "http://PW@10.0.0.2:30000",
        "http://10.0.0.2",
        "http://10.0.0.2:",
        "http://10.0.0.2:0",
        "http://10.0.0.2:65536",
        "http://10.0.0.2:30000/v1",
        "http://10.0.0.2:30000?key=PW",
        "http://10.0.0.2:30000#PW",
        "http://10.0.0.2:30000 ",
        "http://10.0.0.2:30000\n",
        "http://10.0.0.\u0662:30000",
        "http://10.0.0.256:30000",
        "http://10.2:30000",
        "http://0x7f.1:30000",
        "http://0.0.0.0:30000",
        "http://[::]:30000",
        "http://::1:30000",
        "http://[10.0.0.2]:30000x",
        "http://[1::2::3]:30000",
        "http://-a:30000",
        "http://a b:30000",
        "http://:30000",
    ],
)
def test_what_is_no_address_of_a_server_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(ValueError, match="wanted http://HOST:PORT") as refused:
        worker_url(text)

    assert "PW" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "url", "place"),
    [
        ("http://10.0.0.2:30000", "http://10.0.0.2:30000", ("10.0.0.2", 30000)),
        ("HTTP://GPU-1.lan.:030/", "http://gpu-1.lan:30", ("gpu-1.lan", 30)),
        ("https://my_gpu:443", "https://my_gpu:443", ("my_gpu", 443)),
        ("http://[FD00:0::1]:30000", "http://[fd00::1]:30000", ("fd00::1", 30000)),
        ("http://[::ffff:10.0.0.2]:1", "http://10.0.0.2:1", ("10.0.0.2", 1)),
        ("http://localhost:8000", "http://localhost:8000", ("localhost", 8000)),
        ("http://10gpus:8000", "http://10gpus:8000", ("10gpus", 8000)),
    ],
)
def test_a_worker_has_one_spelling(text: str, url: str, place: tuple[str, int]) -> None:
    assert (worker_url(text), worker_url(url), place_of(url)) == (url, url, place)


@given(st.ip_addresses().filter(lambda ip: not is_any(str(ip))), st.integers(1, 65535))
def test_every_address_of_a_host_may_be_one_of_a_worker(
    ip: IPv4Address | IPv6Address, port: int
) -> None:
    url = worker_url(f"http://{ip if ip.version == 4 else f'[{ip}]'}:{port}")

    assert worker_url(url) == url
    assert urls(written([Worker(url, url)])) == {url}


def test_a_worker_gets_requests_where_the_gateway_says_so_alone() -> None:
    url = "http://127.0.0.1:1"

    assert routed(url, [Seen(url, is_ready=True, running=0)])
    assert not routed(url, [Seen(url, is_ready=False, running=0)])
    assert not routed(url, [Seen("http://127.0.0.1:11", is_ready=True, running=0)])
    assert not routed(url, None)


@pytest.mark.parametrize(
    ("engine", "release", "path"),
    [
        ("sglang", "0.5.23", "/ready"),
        ("sglang", "0.5.20", "/ready"),
        ("sglang", "0.5.20.post1", "/ready"),
        ("sglang", "0.6.0", "/ready"),
        ("sglang", "0.5.19", "/health"),
        ("sglang", "0.5.9", "/health"),
        ("sglang", None, "/health"),  # it has that in any case
        ("vllm", "0.33.0", "/health"),
    ],
)
def test_a_worker_is_asked_by_what_its_release_has(
    engine: str, release: str | None, path: str
) -> None:
    made = Plan("", (), (), {}, "", 0, "", "", Policy(), (), {}, engine=engine, release=release)

    assert runtime(engine).readiness(made) == path


def test_a_worker_of_somebody_s_at_which_nobody_answers_is_told_once(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    told: list[str] = []
    served = Served(Options(workers=(url,), health="/health"), None)
    folder = tmp_path / "gateway"
    folder.mkdir()
    roster = Roster(folder, lambda: served, told.append)

    roster.look()
    roster.look()

    assert told == [f"{url} does not answer: it is sent requests as soon as it does"]
    assert fault(roster.file.read_bytes()) is None
    assert url in roster.file.read_text()
