"""Whether an address can be listened on, and who holds it: real sockets."""

from __future__ import annotations

import errno
import os
import socket
import sys

import pytest
from conftest import free_port, running, until

from launcher.host import port


def test_a_free_port_has_no_obstacle_and_stays_free() -> None:
    number = free_port()

    assert port.obstacle("127.0.0.1", number) is None
    assert port.obstacle("127.0.0.1", number) is None


def test_a_port_in_use_names_the_process_its_command_and_its_user() -> None:
    number = free_port()
    program = (
        f"import socket, time; s = socket.create_server(('127.0.0.1', {number})); time.sleep(60)"
    )
    with running(sys.executable, "-c", program, "\x1b[31m") as holder:
        found = until(lambda: port.obstacle("127.0.0.1", number), "it listens")

    assert found.errno == errno.EADDRINUSE
    what = (
        f"127.0.0.1 port {number} is in use by pid {holder.pid} ({sys.executable} -c import socket"
    )
    assert found.strerror.startswith(what)
    assert f"(uid {os.geteuid()})" in found.strerror
    assert "\x1b" not in found.strerror


def test_a_port_that_is_bound_and_not_listened_on_has_no_holder_to_be_seen() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        found = port.obstacle(*bound.getsockname())

    assert found
    assert found.strerror.endswith("is in use by a process that this user may not see")


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid"])
def test_an_address_of_another_host_is_said_to_be_none_of_this_one(host: str) -> None:
    found = port.obstacle(host, 8000)

    assert found
    assert found.strerror.startswith(f"cannot listen on {host} port 8000: ")


def test_another_address_is_one_that_is_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        told = port.another("--listen", "127.0.0.1", number, apart=(number + 1,))
    option, _, place = told.partition(" ")
    host, _, other = place.rpartition(":")

    assert (option, host, other.isdigit()) == ("--listen", "127.0.0.1", True)
    assert int(other) not in (number, number + 1)
    assert port.obstacle(host, int(other)) is None


@pytest.mark.parametrize(("host", "number"), [("192.0.2.1", 8000), ("127.0.0.1", 65535)])
def test_another_address_is_of_this_host(host: str, number: int) -> None:
    told = port.another("--listen", host, number)

    assert told.startswith("--listen 127.0.0.1:"), told
