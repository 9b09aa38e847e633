"""The list of workers as smg takes it, and what it would not take."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import free_port
from hypothesis import given
from hypothesis import strategies as st

from launcher.gateway.manifest import Worker, fault, written
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
        (b"", "no JSON"),
        (b"{", "no JSON"),
        (b"\xff", "no JSON"),
        (b"[" * 100_000, "no JSON"),
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

    assert told == [f"nobody answers at {url}: the gateway asks again until it does"]
    assert fault(roster.file.read_bytes()) is None
    assert url in roster.file.read_text()
