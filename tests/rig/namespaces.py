"""Two hosts on one machine: network namespaces joined by a pair of veth interfaces, each with a
/dev/shm of its own, for SGLang asks shared memory who is on the same host. Needs root and iproute2.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

WITHIN = 10.0  # seconds for one command
OWN_SHM = ("sh", "-c", 'mount -t tmpfs tmpfs /dev/shm && exec "$@"', "sh")


def can() -> bool:
    """Whether namespaces can be made here."""
    if os.geteuid() or not shutil.which("ip"):
        return False
    name = f"probe{os.getpid()}"
    made = subprocess.run(
        ["ip", "netns", "add", name], capture_output=True, check=False, timeout=WITHIN
    )
    subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False, timeout=WITHIN)
    return made.returncode == 0


def ip(*words: str) -> None:
    """Raises CalledProcessError."""
    subprocess.run(["ip", *words], check=True, capture_output=True, timeout=WITHIN)


@dataclass(frozen=True)
class Host:
    """One of the two; `interface` has its address on the network between them."""

    namespace: str
    interface: str
    address: str

    def within(self) -> tuple[str, ...]:
        """What a command is begun with to run there."""
        return ("ip", "netns", "exec", self.namespace, *OWN_SHM)

    def link(self, state: str) -> None:
        """`up` or `down`: the other host's connections are not told."""
        ip("-n", self.namespace, "link", "set", self.interface, state)

    def names(self, addresses: Mapping[str, str]) -> None:
        """Names that its programs know, in place of this machine's /etc/hosts."""
        folder = Path("/etc/netns") / self.namespace  # iproute2 lays its files over those of /etc
        folder.mkdir(parents=True)
        known = {"localhost": "127.0.0.1", **addresses}
        (folder / "hosts").write_text("".join(f"{at} {name}\n" for name, at in known.items()))

    def route_elsewhere(self, address: str) -> None:
        """Another network, on which the default route is, and nobody is reached."""
        ip("-n", self.namespace, "link", "add", "d0", "type", "veth", "peer", "name", "d1")
        for name in ("d0", "d1"):
            ip("-n", self.namespace, "link", "set", name, "up")
        ip("-n", self.namespace, "addr", "add", f"{address}/32", "dev", "d0")
        ip("-n", self.namespace, "route", "add", "default", "dev", "d0")


@contextlib.contextmanager
def two_hosts() -> Iterator[tuple[Host, Host]]:
    """Both, joined; they are gone when the block ends, with whoever still runs in them."""
    mark = f"{os.getpid() % 100_000}"
    hosts = tuple(
        Host(f"n{side}{mark}", f"v{side}{mark}", f"10.77.0.{at}") for at, side in enumerate("ab", 1)
    )
    one, two = hosts
    try:
        for host in hosts:
            ip("netns", "add", host.namespace)
        ip(
            *("link", "add", one.interface, "netns", one.namespace, "type", "veth"),
            *("peer", "name", two.interface, "netns", two.namespace),
        )
        for host in hosts:
            ip("-n", host.namespace, "link", "set", "lo", "up")
            host.link("up")
            ip("-n", host.namespace, "addr", "add", f"{host.address}/24", "dev", host.interface)
        yield one, two
    finally:
        for host in hosts:
            _empty(host)
            with contextlib.suppress(subprocess.CalledProcessError):
                ip("netns", "del", host.namespace)
            shutil.rmtree(Path("/etc/netns") / host.namespace, ignore_errors=True)


def _empty(host: Host) -> None:
    """Kill whoever is left in a namespace: none, unless a test failed."""
    told = subprocess.run(
        ["ip", "netns", "pids", host.namespace],
        capture_output=True,
        text=True,
        check=False,
        timeout=WITHIN,
    )
    for pid in told.stdout.split():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), 9)
