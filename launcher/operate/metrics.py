"""Figures for Prometheus, of every instance below a state folder: what their launchers last wrote,
judged now.

A program of its own, not a part of the launcher: a launcher that is dead still has figures, and one
that serves does not listen to anybody.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import socket
import stat
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from launcher import __version__, folding, printable
from launcher.address import canonical, is_loopback, numeric
from launcher.errors import Exit, UserError
from launcher.files import guarded, reading
from launcher.host import port
from launcher.redact.keys import read_key
from launcher.serve.sdnotify import Notifier
from launcher.serve.webserver import Access, Collecting, Pages, WebServer
from launcher.statedir.folder import StateDir
from launcher.statedir.home import known, listed
from launcher.statedir.readings import GpuReading, Readings
from launcher.statedir.state import StateRecord
from launcher.statedir.status import LARGEST_STATE

STATES = ("starting", "ready", "stopping", "backoff", "stopped", "failed", "dead", "unknown")
ANSWERS = ("right", "wrong", "unknown")
ONE, GPU = ["profile", "engine"], ["profile", "engine", "gpu", "bdf"]
COUNTED, SHOWN = CounterMetricFamily, GaugeMetricFamily
FIGURES: dict[str, tuple[type[CounterMetricFamily] | type[GaugeMetricFamily], list[str], str]] = {
    "up": (SHOWN, ONE, "Whether the launcher is alive."),
    "ready": (SHOWN, ONE, "Whether the server is ready."),
    "state": (SHOWN, [*ONE, "state"], "1 for the state it is in."),
    "unreadable": (
        SHOWN,
        ONE,
        "Whether some of its files are closed to this user, or not to be understood.",
    ),
    "restarts": (COUNTED, ONE, "Launches after the first, for any reason."),
    "deaths": (COUNTED, [*ONE, "cause"], "Deaths of the server, by cause."),
    "start_phase_seconds": (
        SHOWN,
        [*ONE, "phase"],
        "Time that each phase of the last start took.",
    ),
    "smoke_passed": (SHOWN, ONE, "Whether the last smoke test passed."),
    "smoke_seconds": (SHOWN, ONE, "Time that it took."),
    "degraded": (SHOWN, ONE, "Whether it answers worse, or slower, than after its start."),
    "canary_answers": (
        COUNTED,
        [*ONE, "answer"],
        "What came of the canary's questions since it was ready: right, wrong or unknown.",
    ),
    "canary_seconds": (SHOWN, ONE, "Time that the last answer to the canary took."),
    "canary_step_seconds": (SHOWN, ONE, "Time of a step of decoding while it was asked."),
    "canary_accepted_tokens": (SHOWN, ONE, "Tokens of its answer that a step let through."),
    "canary_tokens_per_second": (SHOWN, ONE, "Speed of its answer."),
    "probe_seconds": (SHOWN, ONE, "Time that the last health check took."),
    "probe_ok": (SHOWN, ONE, "Whether the last health check was answered."),
    "probe_timestamp_seconds": (SHOWN, ONE, "When the last health check was made."),
    "gpu_ecc_uncorrected": (COUNTED, GPU, "Errors since the driver was loaded."),
    "gpu_memory_used_bytes": (SHOWN, GPU, "Memory in use on the GPU, by anybody."),
    "gpu_memory_total_bytes": (SHOWN, GPU, "Memory of the GPU."),
    "gpu_power_watts": (SHOWN, GPU, "What the GPU draws."),
    "gpu_temperature_celsius": (SHOWN, GPU, "Of the GPU."),
    "gpu_utilization_ratio": (
        SHOWN,
        GPU,
        "Share of time with a kernel running; a hung NCCL shows 1.",
    ),
}
LONGEST = 200  # characters of a label

Sample = tuple[
    str, float, list[str]
]  # a figure, its value, its labels after the profile and the engine


class Figures(Collector):
    """Reads the state folder at each scrape."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def collect(self) -> Iterator[Metric]:
        """Every figure of every instance."""
        yield InfoMetricFamily(
            "glm5_serve_build", "The version that tells these metrics.", {"version": __version__}
        )
        families = {
            name: kind(f"glm5_serve_{name}", text, labels=labels)
            for name, (kind, labels, text) in FIGURES.items()
        }
        for instance in known(self.home):
            # A label that a file has twice is told once: two samples of one name are an error to
            # Prometheus.
            seen = instance.look()
            whose = [instance.name, _text(seen.engine or "")]
            told = {(figure, *labels): value for figure, value, labels in _samples(instance, seen)}
            for (figure, *labels), value in told.items():
                families[figure].add_metric([*whose, *labels], value)
        yield from families.values()


def _samples(instance: StateDir, seen: StateRecord) -> list[Sample]:
    """All there is to tell of an instance.

    A part that cannot be understood is left out, and hides no other.
    """
    made: list[Sample] = []
    unreadable = _is_unreadable(seen) or bool(seen.odd)
    parts = (_of_state(seen), _of_start(seen), _of_smoke(seen), _of_canary(seen))
    for part in (*parts, _of_readings(instance, seen)):
        try:
            made += [
                (figure, float(value), [_text(label) for label in labels])
                for figure, value, labels in part
            ]
        except Exception:  # whatever a file may hold
            unreadable = True
    return [*made, ("unreadable", unreadable, [])]


def _text(label: Any) -> str:
    """A label that can be read and encoded, whatever a file holds."""
    return printable.line(str(label))[:LONGEST]


def _is_unreadable(seen: StateRecord) -> bool:
    """Whether nothing is known at all; of a stopped launcher it is known that it watches
    nothing.
    """
    return seen.state == "unknown" and seen.pids.launcher is None


def _of_state(seen: StateRecord) -> Iterator[Sample]:
    yield from (("state", seen.state == each, [each]) for each in STATES)
    if _is_unreadable(seen):
        return  # whether it is up, or ready, is unknown, too
    yield "up", seen.is_up, []
    yield "ready", seen.state == "ready", []
    if "restarts" not in seen.odd:
        yield "restarts", seen.restarts or 0, []
    # One cause is there from the start, so that the first death of a profile is an increase of
    # their sum.
    for cause, count in {"unknown": 0, **seen.deaths}.items():
        yield "deaths", count, [cause]


def _of_start(seen: StateRecord) -> Iterator[Sample]:
    for phase, seconds in seen.start.seconds.items() if seen.start else ():
        yield "start_phase_seconds", seconds, [phase]


def _of_smoke(seen: StateRecord) -> Iterator[Sample]:
    if seen.smoke:
        yield "smoke_passed", seen.smoke.ok, []
        yield "smoke_seconds", seen.smoke.seconds, []


def _of_canary(seen: StateRecord) -> Iterator[Sample]:
    if not (told := seen.canary) or not told.is_asked or seen.state != "ready":
        return
    yield "degraded", told.degraded, []
    for answer in ANSWERS:
        yield "canary_answers", told.answers.get(answer, 0), [answer]
    signs = (
        ("canary_seconds", told.seconds),
        ("canary_step_seconds", told.step_seconds),
        ("canary_accepted_tokens", told.accepted),
        ("canary_tokens_per_second", told.tokens_per_second),
    )
    for figure, value in signs:
        if value is not None:
            yield figure, value, []


def _of_readings(instance: StateDir, seen: StateRecord) -> Iterator[Sample]:
    """What the last health check found, while what it was about is so: the file outlives state and
    launcher.

    Both files name the state by the time when it began. Times are compared for that alone: clocks
    are set back.
    """
    if not seen.is_up or seen.since is None:
        return
    try:
        data = guarded.read(instance.readings, LARGEST_STATE)
    except FileNotFoundError:
        return
    read = Readings.from_json(reading.parsed(data))
    if read.since != seen.since:
        return
    yield "probe_seconds", read.probe.seconds, []
    yield "probe_ok", read.probe.ok, []
    yield "probe_timestamp_seconds", read.at, []
    for gpu in read.gpus:
        yield from _of_gpu(gpu)


def _of_gpu(gpu: GpuReading) -> Iterator[Sample]:
    told = (
        ("gpu_ecc_uncorrected", gpu.ecc, 1),
        ("gpu_memory_used_bytes", gpu.used, 1),
        ("gpu_memory_total_bytes", gpu.total, 1),
        ("gpu_power_watts", gpu.power, 1),
        ("gpu_temperature_celsius", gpu.temperature, 1),
        ("gpu_utilization_ratio", gpu.utilization, 0.01),
    )
    for figure, value, scale in told:
        if value is not None:
            yield figure, value * scale, [str(gpu.index), gpu.bdf or ""]


def registry(home: Path) -> CollectorRegistry:
    """A registry with the metrics of a state folder, and nothing of this process.

    Raises UserError.
    """
    listed(home)
    made = CollectorRegistry()
    made.register(Figures(home))
    return made


def text(home: Path) -> str:
    """The figures in Prometheus' text format, e.g. for node_exporter's textfile collector."""
    return generate_latest(registry(home)).decode()


@dataclass(frozen=True)
class Listen:
    """Where figures are served: an address with its port, or the path of a socket; and to whom."""

    place: str
    names: tuple[str, ...] = ()  # by which this host is asked, besides its address
    token_file: Path | None = None
    openly: bool = False  # on an address that is not loopback, without a token


def serve(home: Path, listen: Listen) -> None:
    """Serve the metrics until interrupted. Raises UserError."""
    token = read_key(listen.token_file) if listen.token_file else None
    made = registry(home)
    figures = partial(Collecting(lambda: generate_latest(made)).page, CONTENT_TYPE_LATEST)
    pages = {"/": figures, "/metrics": figures}
    try:
        if "/" in listen.place:
            server = _on_path(Path(listen.place), pages, Access(None, token))
        else:
            names = frozenset(map(_named, listen.names))
            server = WebServer(_address(listen), pages, Access(names, token))
    except OSError as error:
        raise _refusal(listen.place, error) from None
    with server:
        where = listen.place
        if "/" not in where:  # of port 0 the kernel chooses which
            where = f"http://{where.rpartition(':')[0]}:{server.server_address[1]}/metrics"
        folding.tell(f"serving {where}")
        Notifier(os.environ).tell("READY=1", f"STATUS=serving {where}")  # it listens by now
        server.serve_forever()


def _refusal(place: str, error: OSError) -> UserError:
    """What is in the way of listening, and where one could listen instead."""
    if "/" in place:
        fix = "another path; or an address, --listen 127.0.0.1:PORT"
        return UserError(f"cannot listen on {place}: {error.strerror or error}", fix=fix)
    host, _, number = place.rpartition(":")
    host = host.strip("[]")
    fix = f"choose another: {port.another('--listen', host, int(number))}, or the path of a socket"
    return UserError(port.refusal(host, int(number), error), fix=fix)


def _address(listen: Listen) -> tuple[str, int]:
    host, _, number = listen.place.rpartition(":")
    host = host.strip("[]")
    fix = (
        "--listen 127.0.0.1:9464 or [::1]:9464; another address of this host wants --token-file or"
        " --listen-open"
    )
    if not (
        number.isascii()
        and number.isdigit()
        and int(number) <= 65535
        and (is_loopback(host) or numeric(host))
    ):
        raise UserError(
            f"{listen.place} is not a loopback ADDRESS:PORT", fix=fix, status=Exit.USAGE
        )
    if not is_loopback(host):
        if listen.token_file is None and not listen.openly:
            what = (
                f"{listen.place} is not a loopback ADDRESS:PORT: whoever reaches it reads the"
                " metrics"
            )
            raise UserError(what, fix=fix, status=Exit.USAGE)
        if listen.token_file is None:
            what = f"serving metrics to whoever reaches {listen.place}, without a token"
            folding.tell(what, sys.stderr)
    return host, int(number)


def _named(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._-]+|\[?[0-9A-Fa-f:.]+\]?", name):
        fix = "as it stands in the URL, without the port: --host-name metrics.example.org"
        raise UserError(f"{name!r} is no name of a host", fix=fix, status=Exit.USAGE)
    return canonical(name)


def _on_path(path: Path, pages: Pages, access: Access) -> WebServer:
    """A server on a Unix socket, mode 0660: for its user and group.

    One that a dead exporter left is replaced.
    """
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISSOCK(path.lstat().st_mode):
            _require_dead(path)
            path.unlink()
    before = os.umask(0o117)
    try:
        return WebServer(str(path), pages, access)
    finally:
        os.umask(before)


def _require_dead(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as tried, contextlib.suppress(ConnectionRefusedError):
        tried.settimeout(1.0)
        tried.connect(str(path))
        raise OSError(errno.EADDRINUSE, "another program serves there")
