"""Figures for Prometheus: of living and dead launchers, over TCP and a socket, named by the conventions."""

from __future__ import annotations

import json
import re
import shutil
import signal
import socket
import subprocess
from pathlib import Path

import pytest
import requests
from conftest import World, free_port, until
from prometheus_client.parser import text_string_to_metric_families

ROOT = Path(__file__).parents[1] / "monitoring"


def figures(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Each sample of an exposition: name and labels to value."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def of(text: str, name: str, **labels: str) -> float:
    return figures(text)[name, frozenset({"profile": "stub", **labels}.items())]


def test_a_living_server_has_its_figures(world: World) -> None:
    world.run("up", "-p", "stub", "-d")
    until(lambda: (world.instance / "readings.json").exists(), "a health check")
    text = world.run("metrics").stdout

    assert of(text, "glm5_serve_up") == 1
    assert of(text, "glm5_serve_ready") == 1
    assert of(text, "glm5_serve_state", state="ready") == 1
    assert of(text, "glm5_serve_state", state="failed") == 0
    assert of(text, "glm5_serve_smoke_passed") == 1
    assert of(text, "glm5_serve_probe_ok") == 1
    assert 0 < of(text, "glm5_serve_probe_seconds") < 60
    assert of(text, "glm5_serve_start_phase_seconds", phase="process") > 0


def test_a_death_is_counted_by_its_cause(world: World) -> None:
    world.write_profile(deaths=0)
    world.faults(lines=["torch.OutOfMemoryError: CUDA out of memory."], exit_at="serve", exit_code=-9)
    world.run("up", "-p", "stub", "-d")
    text = world.run("metrics").stdout

    assert of(text, "glm5_serve_deaths_total", cause="gpu-out-of-memory") == 1
    assert of(text, "glm5_serve_state", state="failed") == 1
    assert of(text, "glm5_serve_up") == 0


def test_gpus_have_base_units(world: World) -> None:
    world.run("up", "-p", "stub", "-d")
    gpu = {
        "index": 3,
        "bdf": "0000:61:00.0",
        "used": 90 << 30,
        "total": 96 << 30,
        "utilization": 100,
        "power": 600.5,
    }
    readings = {"schema": 1, "at": 1.5, "probe": {"seconds": 1, "ok": True}}
    readings["gpus"] = [{**gpu, "temperature": None, "ecc": 2, "pids": []}]
    world.run("down")
    (world.instance / "readings.json").write_text(json.dumps(readings))
    text = world.run("metrics").stdout

    which = {"gpu": "3", "bdf": "0000:61:00.0"}
    assert of(text, "glm5_serve_gpu_memory_used_bytes", **which) == 90 << 30
    assert of(text, "glm5_serve_gpu_power_watts", **which) == 600.5
    assert of(text, "glm5_serve_gpu_utilization_ratio", **which) == 1
    assert of(text, "glm5_serve_gpu_ecc_uncorrected_total", **which) == 2
    assert "temperature_celsius{" not in text


def test_a_killed_launcher_is_down_in_the_figures(world: World) -> None:
    up = world.start("up", "-p", "stub")
    world.until_state("ready")
    up.send_signal(signal.SIGKILL)
    up.wait()
    text = world.run("metrics").stdout

    assert of(text, "glm5_serve_up") == 0
    assert of(text, "glm5_serve_state", state="dead") == 1


def test_they_are_served_over_tcp_and_over_a_socket(world: World) -> None:
    port, path = free_port(), world.folder / "metrics.sock"
    for listen in (f"127.0.0.1:{port}", str(path)):
        world.start("metrics", "--listen", listen)
    url = f"http://127.0.0.1:{port}/metrics"
    until(lambda: _answers(url), "the exporter answers")
    assert "glm5_serve_build_info" in requests.get(url, timeout=10).text

    until(path.is_socket, "the socket is there")
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        client.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        assert b"glm5_serve_build_info" in client.makefile("rb").read()


def _answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=5).ok
    except requests.ConnectionError:
        return False


@pytest.mark.parametrize("listen", ["0.0.0.0:9464", "10.0.0.1:1", "127.0.0.1", "127.0.0.1:99999", "127.0.0.1:x"])
def test_only_loopback_is_listened_on(world: World, listen: str) -> None:
    refused = world.run("metrics", "--listen", listen)

    assert refused.returncode == 2
    assert "no loopback address with a port" in refused.stderr


def test_a_port_in_use_is_one_clear_message(world: World) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        refused = world.run("metrics", "--listen", f"127.0.0.1:{taken.getsockname()[1]}")

    assert refused.returncode == 78
    assert "cannot listen" in refused.stderr


def names(text: str) -> set[str]:
    return set(re.findall(r"glm5_serve_\w+", text))


def test_dashboard_and_alerts_ask_for_figures_that_there_are() -> None:
    from launcher.metrics import _of_readings, _of_starts, _of_states

    families = [*_of_states({}), *_of_starts({}), *_of_readings({})]
    told = {family.name + ("_total" if family.type == "counter" else "") for family in families}
    for file in ("alerts.yml", "grafana-dashboard.json"):
        assert names((ROOT / file).read_text()) <= told, file
    assert all(family.documentation for family in families)
    panels = json.loads((ROOT / "grafana-dashboard.json").read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)


def test_promtool_accepts_the_alerts_and_the_exposition(world: World) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("no promtool here: the package prometheus has it")
    done = subprocess.run(
        [promtool, "check", "rules", ROOT / "alerts.yml"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    world.run("up", "-p", "stub", "-d")
    text = world.run("metrics").stdout
    done = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
