"""Figures for Prometheus, of every instance below a state folder: what their launchers last wrote, judged now.

A program of its own, not a part of the launcher: a launcher that is dead still has figures, and one that serves
does not listen to anybody.
"""

from __future__ import annotations

import contextlib
import json
import socket
import socketserver
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, generate_latest, make_wsgi_app
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from launcher import __version__
from launcher.errors import Exit, RefusalError
from launcher.instance import known

STATES = ("starting", "ready", "stopping", "backoff", "stopped", "failed", "dead", "unknown")
LOOPBACK = ("127.", "localhost", "[::1]")
GPU = ["profile", "gpu", "bdf"]
# Name, kind of value in readings.json, scale to base units, help.
OF_GPU = (
    ("memory_used_bytes", "used", 1, "Memory in use on the GPU, by anybody."),
    ("memory_total_bytes", "total", 1, "Memory of the GPU."),
    ("power_watts", "power", 1, "What the GPU draws."),
    ("temperature_celsius", "temperature", 1, "Of the GPU."),
    ("utilization_ratio", "utilization", 0.01, "Share of time with a kernel running; a hung NCCL shows 1."),
)


class Figures(Collector):
    """Reads the state folder at each scrape."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def collect(self) -> Iterator[Metric]:
        """Every figure of every instance."""
        yield InfoMetricFamily(
            "glm5_serve_build", "The version that tells these figures.", {"version": __version__}
        )
        seen = {instance.name: (instance.look(), _json(instance.readings)) for instance in known(self.home)}
        states = {name: state for name, (state, _) in seen.items()}
        yield from _of_states(states)
        yield from _of_starts(states)
        yield from _of_readings({name: readings for name, (_, readings) in seen.items() if readings})


def _of_states(states: Mapping[str, dict[str, Any]]) -> Iterator[Metric]:
    up = GaugeMetricFamily("glm5_serve_up", "Whether the launcher is alive.", labels=["profile"])
    ready = GaugeMetricFamily("glm5_serve_ready", "Whether the server is ready.", labels=["profile"])
    state = GaugeMetricFamily("glm5_serve_state", "1 for the state it is in.", labels=["profile", "state"])
    runs = CounterMetricFamily(
        "glm5_serve_restarts", "Launches after the first, for any reason.", labels=["profile"]
    )
    deaths = CounterMetricFamily(
        "glm5_serve_deaths", "Deaths of the server, by cause.", labels=["profile", "cause"]
    )
    for name, seen in states.items():
        up.add_metric([name], 1.0 if seen["pids"].get("launcher") else 0.0)
        ready.add_metric([name], 1.0 if seen["state"] == "ready" else 0.0)
        for each in STATES:
            state.add_metric([name, each], 1.0 if seen["state"] == each else 0.0)
        runs.add_metric([name], seen.get("restarts", 0))
        for cause, count in (seen.get("deaths") or {}).items():
            deaths.add_metric([name, cause], count)
    yield from (up, ready, state, runs, deaths)


def _of_starts(states: Mapping[str, dict[str, Any]]) -> Iterator[Metric]:
    phases = GaugeMetricFamily(
        "glm5_serve_start_phase_seconds",
        "Time that each phase of the last start took.",
        labels=["profile", "phase"],
    )
    passed = GaugeMetricFamily(
        "glm5_serve_smoke_passed", "Whether the last smoke test passed.", labels=["profile"]
    )
    took = GaugeMetricFamily("glm5_serve_smoke_seconds", "Time that it took.", labels=["profile"])
    for name, seen in states.items():
        for phase, seconds in seen.get("start", {}).get("seconds", {}).items():
            phases.add_metric([name, phase], seconds)
        if smoke := seen.get("smoke"):
            passed.add_metric([name], 1.0 if smoke["ok"] else 0.0)
            took.add_metric([name], smoke["seconds"])
    yield from (phases, passed, took)


def _of_readings(readings: Mapping[str, dict[str, Any]]) -> Iterator[Metric]:
    probe = GaugeMetricFamily(
        "glm5_serve_probe_seconds", "Time that the last health check took.", labels=["profile"]
    )
    ok = GaugeMetricFamily(
        "glm5_serve_probe_ok", "Whether the last health check was answered.", labels=["profile"]
    )
    at = GaugeMetricFamily(
        "glm5_serve_probe_timestamp_seconds", "When the last health check was answered.", labels=["profile"]
    )
    ecc = CounterMetricFamily("glm5_serve_gpu_ecc_uncorrected", "Errors since the driver was loaded.", labels=GPU)
    gauges = {
        field: GaugeMetricFamily(f"glm5_serve_gpu_{name}", text, labels=GPU) for name, field, _, text in OF_GPU
    }
    for name, read in readings.items():
        probe.add_metric([name], read["probe"]["seconds"])
        ok.add_metric([name], 1.0 if read["probe"]["ok"] else 0.0)
        at.add_metric([name], read["at"])
        for gpu in read["gpus"]:
            labels = [name, str(gpu["index"]), gpu["bdf"] or ""]
            for _, field, scale, _ in OF_GPU:
                if gpu[field] is not None:
                    gauges[field].add_metric(labels, gpu[field] * scale)
            if gpu["ecc"] is not None:
                ecc.add_metric(labels, gpu["ecc"])
    yield from (probe, ok, at, ecc, *gauges.values())


def _json(path: Path) -> dict[str, Any] | None:
    with contextlib.suppress(OSError, ValueError):
        data = json.loads(path.read_text())
        return data if isinstance(data, dict) and data.get("schema") == 1 else None
    return None


def registry(home: Path) -> CollectorRegistry:
    """A registry with the figures of a state folder, and nothing of this process."""
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
    if not host.startswith(LOOPBACK) or not port.isdigit() or int(port) > 65535:
        fix = "--listen 127.0.0.1:9464; a proxy or node_exporter's textfile collector takes them further"
        raise RefusalError(f"{listen} is no loopback address with a port", fix=fix, status=Exit.USAGE)
    return make_server(host.strip("[]"), int(port), make_wsgi_app(registry(home)), _Server, _Quiet)


def _unix(home: Path, path: Path) -> WSGIServer:
    if path.is_socket():
        path.unlink()
    server = _UnixServer(str(path), _Quiet)  # type: ignore[arg-type]
    server.set_app(make_wsgi_app(registry(home)))
    return server


class _Server(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = True


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
