"""Figures for Prometheus, of every instance below a state folder: what their launchers last wrote, judged now.

A program of its own, not a part of the launcher: a launcher that is dead still has figures, and one that serves
does not listen to anybody.
"""

from __future__ import annotations

import ipaddress
import json
import socket
import socketserver
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, generate_latest, make_wsgi_app
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from launcher import __version__, guarded
from launcher.errors import Exit, RefusalError
from launcher.instance import LARGEST_STATE, SCHEMA, Instance, known

STATES = ("starting", "ready", "stopping", "backoff", "stopped", "failed", "dead", "unknown")
ONE, GPU = ["profile"], ["profile", "gpu", "bdf"]
COUNTED, SHOWN = CounterMetricFamily, GaugeMetricFamily
FIGURES: dict[str, tuple[type[CounterMetricFamily] | type[GaugeMetricFamily], list[str], str]] = {
    "up": (SHOWN, ONE, "Whether the launcher is alive."),
    "ready": (SHOWN, ONE, "Whether the server is ready."),
    "state": (SHOWN, ["profile", "state"], "1 for the state it is in."),
    "unreadable": (SHOWN, ONE, "Whether some of its files are closed to this user, or not to be understood."),
    "restarts": (COUNTED, ONE, "Launches after the first, for any reason."),
    "deaths": (COUNTED, ["profile", "cause"], "Deaths of the server, by cause."),
    "start_phase_seconds": (SHOWN, ["profile", "phase"], "Time that each phase of the last start took."),
    "smoke_passed": (SHOWN, ONE, "Whether the last smoke test passed."),
    "smoke_seconds": (SHOWN, ONE, "Time that it took."),
    "probe_seconds": (SHOWN, ONE, "Time that the last health check took."),
    "probe_ok": (SHOWN, ONE, "Whether the last health check was answered."),
    "probe_timestamp_seconds": (SHOWN, ONE, "When the last health check was made."),
    "gpu_ecc_uncorrected": (COUNTED, GPU, "Errors since the driver was loaded."),
    "gpu_memory_used_bytes": (SHOWN, GPU, "Memory in use on the GPU, by anybody."),
    "gpu_memory_total_bytes": (SHOWN, GPU, "Memory of the GPU."),
    "gpu_power_watts": (SHOWN, GPU, "What the GPU draws."),
    "gpu_temperature_celsius": (SHOWN, GPU, "Of the GPU."),
    "gpu_utilization_ratio": (SHOWN, GPU, "Share of time with a kernel running; a hung NCCL shows 1."),
}
# Figure, name in readings.json, scale to base units.
OF_GPU = (
    ("gpu_ecc_uncorrected", "ecc", 1),
    ("gpu_memory_used_bytes", "used", 1),
    ("gpu_memory_total_bytes", "total", 1),
    ("gpu_power_watts", "power", 1),
    ("gpu_temperature_celsius", "temperature", 1),
    ("gpu_utilization_ratio", "utilization", 0.01),
)

Sample = tuple[str, float, list[str]]  # a figure, its value, its labels after the profile


class Figures(Collector):
    """Reads the state folder at each scrape."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def collect(self) -> Iterator[Metric]:
        """Every figure of every instance."""
        yield InfoMetricFamily(
            "glm5_serve_build", "The version that tells these figures.", {"version": __version__}
        )
        families = {
            name: kind(f"glm5_serve_{name}", text, labels=labels) for name, (kind, labels, text) in FIGURES.items()
        }
        for instance in known(self.home):
            for figure, value, labels in _samples(instance):
                families[figure].add_metric([instance.name, *labels], value)
        yield from families.values()


def _samples(instance: Instance) -> list[Sample]:
    """All there is to tell of an instance. A part that cannot be understood is left out, and hides no other."""
    seen = instance.look()
    made: list[Sample] = []
    unreadable = _is_unreadable(seen)
    for part in (_of_state(seen), _of_start(seen), _of_smoke(seen), _of_readings(instance, seen)):
        try:
            made += [(figure, float(value), [_text(label) for label in labels]) for figure, value, labels in part]
        except Exception:  # whatever a file may hold
            unreadable = True
    return [*made, ("unreadable", unreadable, [])]


def _text(label: Any) -> str:
    """A label that can be encoded, whatever a file holds."""
    return str(label).encode(errors="replace").decode()


def _is_unreadable(seen: dict[str, Any]) -> bool:
    """Whether nothing is known at all; of a stopped launcher it is known that it watches nothing."""
    return seen["state"] == "unknown" and not seen["pids"]


def _lives(seen: dict[str, Any]) -> bool:
    """Whether there is a launcher, be it one whose pid means nothing here."""
    return seen["state"] not in ("stopped", "failed", "dead")


def _of_state(seen: dict[str, Any]) -> Iterator[Sample]:
    yield from (("state", seen["state"] == each, [each]) for each in STATES)
    if _is_unreadable(seen):
        return  # whether it is up, or ready, is unknown, too
    yield "up", _lives(seen), []
    yield "ready", seen["state"] == "ready", []
    yield "restarts", seen.get("restarts", 0), []
    # One cause is there from the start, so that the first death of a profile is an increase of their sum.
    for cause, count in {"unknown": 0, **(seen.get("deaths") or {})}.items():
        yield "deaths", count, [cause]


def _of_start(seen: dict[str, Any]) -> Iterator[Sample]:
    for phase, seconds in seen.get("start", {}).get("seconds", {}).items():
        yield "start_phase_seconds", seconds, [phase]


def _of_smoke(seen: dict[str, Any]) -> Iterator[Sample]:
    if smoke := seen.get("smoke"):
        yield "smoke_passed", bool(smoke["ok"]), []
        yield "smoke_seconds", smoke["seconds"], []


def _of_readings(instance: Instance, seen: dict[str, Any]) -> Iterator[Sample]:
    """What the last health check found, while what it was about is so: the file outlives state and launcher."""
    if not _lives(seen) or "since" not in seen:
        return
    try:
        read = json.loads(guarded.read(instance.readings, LARGEST_STATE))
    except FileNotFoundError:
        return
    if read["schema"] != SCHEMA:
        raise ValueError(f"schema {read['schema']}")
    if read["time"] < seen["since"]:
        return
    yield "probe_seconds", read["probe"]["seconds"], []
    yield "probe_ok", bool(read["probe"]["ok"]), []
    yield "probe_timestamp_seconds", read["at"], []
    for gpu in read["gpus"]:
        for figure, name, scale in OF_GPU:
            if gpu[name] is not None:
                yield figure, gpu[name] * scale, [gpu["index"], gpu["bdf"] or ""]


def registry(home: Path) -> CollectorRegistry:
    """A registry with the figures of a state folder, and nothing of this process. Raises RefusalError."""
    try:
        next(home.iterdir(), None)
    except FileNotFoundError:
        pass  # nothing was up yet
    except OSError as error:
        fix = "run this as the user who serves, or as root; GLM5_SERVE_STATE_DIR names another folder"
        raise RefusalError(f"cannot read the state folder {home}: {error.strerror}", fix=fix) from None
    made = CollectorRegistry()
    made.register(Figures(home))
    return made


def text(home: Path) -> str:
    """The figures in Prometheus' text format, e.g. for node_exporter's textfile collector."""
    return generate_latest(registry(home)).decode()


def serve(home: Path, listen: str) -> None:
    """Serve the figures until interrupted, on loopback or a Unix socket. Raises RefusalError."""
    try:
        server = _unix(home, Path(listen)) if "/" in listen else _tcp(home, listen)
    except OSError as error:
        fix = "choose another: --listen 127.0.0.1:9464, or the path of a socket"
        raise RefusalError(f"cannot listen on {listen}: {error.strerror}", fix=fix) from None
    with server:
        server.serve_forever()


def _tcp(home: Path, listen: str) -> WSGIServer:
    host, _, port = listen.rpartition(":")
    host = host.strip("[]")
    if not _is_loopback(host) or not port.isdigit() or int(port) > 65535:
        fix = "--listen 127.0.0.1:9464 or [::1]:9464; a proxy, or node_exporter's textfile collector, goes further"
        raise RefusalError(f"{listen} is no loopback address with a port", fix=fix, status=Exit.USAGE)
    server = _Server6 if ":" in host else _Server
    return make_server(host, int(port), make_wsgi_app(registry(home)), server, _Quiet)


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _unix(home: Path, path: Path) -> WSGIServer:
    if path.is_socket():
        path.unlink()
    server = _UnixServer(str(path), _Quiet)  # type: ignore[arg-type]
    server.set_app(make_wsgi_app(registry(home)))
    return server


class _Server(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Server6(_Server):
    address_family = socket.AF_INET6


class _UnixServer(_Server):
    address_family = socket.AF_UNIX

    def server_bind(self) -> None:
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "localhost", 0
        self.setup_environ()

    def get_request(self) -> tuple[socket.socket, tuple[str, int]]:
        request, _ = super().get_request()
        return request, ("unix", 0)


class _Quiet(WSGIRequestHandler):
    def log_message(self, *_: Any) -> None:
        """A scrape every few seconds is no news."""
