"""What a host that somebody wrote is: one function for all who ask."""

from __future__ import annotations

import pytest

from launcher.address import canonical, is_any, is_loopback, to_ask

HERE = ["127.0.0.1", "127.0.0.0", "127.1.2.3", "127.255.255.255", "::1", "[::1]", "0:0:0:0:0:0:0:1"]
MAPPED = ["::ffff:127.0.0.1", "[::ffff:127.0.0.1]", "::ffff:7f00:1"]
NAMES = ["localhost", "LocalHost", "localhost."]
ANY = ["0.0.0.0", "::", "[::]", "::ffff:0.0.0.0", ""]
ELSEWHERE = ["10.0.0.7", "128.0.0.1", "126.255.255.255", "::2", "fe80::1%eth0", "::ffff:10.0.0.7"]
NO_ADDRESSES = [
    "gpu-7",
    "localhost.example.org",
    "127.0.0.1.nip.io",
    "127.1",
    "2130706433",
    "ip6-localhost",
]


@pytest.mark.parametrize("host", [*HERE, *MAPPED, *NAMES])
def test_what_stays_on_this_host(host: str) -> None:
    assert is_loopback(host)
    assert not is_any(host)
    assert to_ask(host) == host


@pytest.mark.parametrize("host", [*ANY, *ELSEWHERE, *NO_ADDRESSES])
def test_what_others_reach_or_may_reach(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize("host", [*ELSEWHERE, *NO_ADDRESSES])
def test_what_is_one_address_is_asked_there(host: str) -> None:
    assert not is_any(host)
    assert to_ask(host) == host


@pytest.mark.parametrize(
    ("host", "asked"),
    [*zip(ANY, ["127.0.0.1", "::1", "::1", "127.0.0.1", "127.0.0.1"], strict=True)],
)
def test_who_listens_everywhere_is_asked_on_loopback(host: str, asked: str) -> None:
    assert is_any(host)
    assert to_ask(host) == asked


@pytest.mark.parametrize(
    ("host", "spelling"),
    [
        ("[::1]", "::1"),
        ("0:0::1", "::1"),
        ("::ffff:1.2.3.4", "1.2.3.4"),
        ("GPU-7.", "gpu-7"),
        ("[::]", "::"),
    ],
)
def test_a_host_has_one_spelling(host: str, spelling: str) -> None:
    assert canonical(host) == spelling
