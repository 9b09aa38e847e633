"""What a launcher says of its server by HTTP (`up --health-listen`), and when it says it."""

from __future__ import annotations

import http.client
import re
from collections.abc import Callable

import pytest
from conftest import World, free_port, until

from launcher.errors import Exit


def asked(port: int, path: str, method: str = "GET") -> tuple[int, str]:
    """The status and the body; 0 where nobody answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode().strip()
    except OSError:
        return 0, ""
    finally:
        connection.close()


def test_it_is_not_ready_before_the_server_is_told_to_go(world: World) -> None:
    """A balancer has seen the 503 by then, and sends no request that would be refused."""
    port = free_port()
    words = ("--health-listen", f"127.0.0.1:{port}", "--set", "supervision.drain_delay=2")
    assert world.run("up", "-p", "stub", "-d", *words).returncode == Exit.FINE
    assert asked(port, "/ready") == (200, "ready")
    assert asked(port, "/live") == (200, "alive")

    down = world.start("down", "-p", "stub")
    until(lambda: asked(port, "/ready")[0] == 503, "it is not ready any more")
    assert asked(port, "/ready") == (503, "stopping")
    assert asked(world.port, "/health")[0] == 200  # who is still sent here is answered
    assert down.wait(60) == Exit.FINE
    assert asked(port, "/ready") == (0, "")


def test_a_server_that_starts_is_alive_and_not_ready(world: World) -> None:
    port = free_port()
    world.faults(load_seconds=300)
    world.start("up", "-p", "stub", "--health-listen", f"127.0.0.1:{port}")
    until(lambda: asked(port, "/live")[0] == 200, "it is alive")
    until(lambda: asked(port, "/ready")[1] != "idle", "the launcher has begun")

    assert asked(port, "/ready") == (503, "starting")
    assert asked(port, "/ready", "POST")[0] == 405
    assert asked(port, "/metrics") == (404, "404 Not Found: there is /ready, /live")


@pytest.mark.parametrize(
    "address", ["8001", "example.org:1", "127.0.0.1:0", "127.0.0.1:99999", " "]
)
def test_what_is_no_address_is_refused(world: World, address: str) -> None:
    refused = world.run("up", "-p", "stub", "--health-listen", address)

    assert refused.returncode == Exit.USAGE
    assert f"--health-listen {address!r}: wanted an address and a port" in refused.stderr
    assert "--set" not in refused.stderr


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_the_servers_own_port_is_refused(world: World, host: str) -> None:
    refused = world.run("up", "-p", "stub", "--health-listen", f"{host}:{world.port}")

    assert refused.returncode == Exit.CONFIG
    assert "is the server's own port" in refused.stderr


def test_an_address_that_is_taken_is_said_and_nothing_is_left(world: World) -> None:
    place = f"127.0.0.1:{taken(world.start)}"
    refused = world.run("up", "-p", "stub", "--health-listen", place)

    assert refused.returncode == Exit.CONFIG
    assert f"{place.replace(':', ' port ')} is in use by pid " in refused.stderr
    [instead] = re.findall(r"--health-listen\s+([\d.:]+)", refused.stderr)
    done = world.run("up", "stub", "--detach", "--health-listen", instead)
    assert (instead != place, done.returncode) == (True, Exit.FINE), done.stderr


def taken(start: Callable[..., object]) -> int:
    """A port that another command of ours listens to."""
    port = free_port()
    start("metrics", "--listen", f"127.0.0.1:{port}")
    until(lambda: asked(port, "/metrics")[0] == 200, "it listens")
    return port
