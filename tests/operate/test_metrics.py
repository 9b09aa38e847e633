"""Metrics for Prometheus: of living and dead launchers, over TCP and a socket, named by the
conventions.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from conftest import ROOT, World, closed, free_port, launching, until
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from launcher.cli.observe import KINDS
from launcher.errors import UserError
from launcher.operate import metrics
from launcher.statedir.folder import StateDir
from launcher.statedir.processes import boot_id, start_ticks
from launcher.statedir.times import now_text

MONITORING = ROOT / "monitoring"


def figures(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Each sample of an exposition: name and labels to value."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def of(text: str, name: str, **labels: str) -> float:
    """A figure by its labels, whichever engine it is of."""
    wanted = {"profile": "stub"} | labels
    [value] = [
        value
        for (figure, told), value in figures(text).items()
        if figure == name and {**dict(told), "engine": ""} == {**wanted, "engine": ""}
    ]
    return value


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
    world.write_profile(restart_limit=0)
    world.faults(
        lines=["torch.OutOfMemoryError: CUDA out of memory."], exit_at="load", exit_code=-9
    )
    world.run("up", "-p", "stub", "-d")
    text = world.run("metrics").stdout

    assert of(text, "glm5_serve_deaths_total", cause="load-out-of-memory") == 1
    assert of(text, "glm5_serve_state", state="failed") == 1
    assert of(text, "glm5_serve_up") == 0


EVERY = {
    f"glm5_serve_{name}" + "_total" * (kind is metrics.COUNTED)
    for name, (kind, *_) in metrics.FIGURES.items()
}
GPUS_OF = {"gpu": "3", "bdf": "0000:61:00.0"}


def write_readings(instance: StateDir, **other: Any) -> None:
    gpu = {
        "index": 3,
        "bdf": "0000:61:00.0",
        "used": 90 << 30,
        "total": 96 << 30,
        "utilization": 100,
        "power": 600.5,
    }
    gpus = [{**gpu, "temperature": None, "ecc": 2, "pids": []}]
    began = json.loads(instance.state.read_text())["since"]
    readings = {
        "schema": 1,
        "since": began,
        "at": 1.5,
        "probe": {"seconds": 1, "ok": True},
        "gpus": gpus,
    }
    instance.write(instance.readings, readings | other)


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[StateDir]:
    """An instance with a launcher."""
    made = StateDir(tmp_path, "stub")
    claim = made.claim()
    with launching() as launcher:
        me = {"pid": launcher, "start_ticks": start_ticks(launcher), "boot_id": boot_id()}
        write_state(made, launcher=me, pids={"launcher": launcher})
        yield made
    claim.release()


def write_state(instance: StateDir, **other: Any) -> None:
    state = {"schema": 1, "state": "ready", "restarts": 2, "deaths": {}}
    before = json.loads(instance.state.read_text()) if instance.state.exists() else {}
    instance.write(instance.state, before | state | {"since": now_text()} | other)


def told(instance: StateDir) -> str:
    return metrics.text(instance.folder.parent)


def test_gpus_have_base_units(instance: StateDir) -> None:
    write_readings(instance)
    text = told(instance)

    assert of(text, "glm5_serve_gpu_memory_used_bytes", **GPUS_OF) == 90 << 30
    assert of(text, "glm5_serve_gpu_power_watts", **GPUS_OF) == 600.5
    assert of(text, "glm5_serve_gpu_utilization_ratio", **GPUS_OF) == 1
    assert of(text, "glm5_serve_gpu_ecc_uncorrected_total", **GPUS_OF) == 2
    assert "temperature_celsius{" not in text
    assert of(text, "glm5_serve_unreadable") == 0


@pytest.mark.parametrize("since", ["2030-01-01T00:00:00.000Z", "2001-01-01T00:00:00.000Z", None, 5])
def test_readings_of_another_state_are_left_out_whatever_the_clock_says(
    instance: StateDir, since: object
) -> None:
    write_readings(instance, time="2031-01-01T00:00:00.000Z", since=since)

    assert "probe_ok{" not in told(instance)
    assert of(told(instance), "glm5_serve_unreadable") == 0


@pytest.mark.parametrize("time", ["2001-01-01T00:00:00.000Z", "2030-01-01T00:00:00.000Z", None])
def test_readings_of_this_state_are_told_whatever_the_clock_says(
    instance: StateDir, time: object
) -> None:
    write_readings(instance, time=time)

    assert of(told(instance), "glm5_serve_probe_ok") == 1


def test_readings_without_a_state_are_of_another_one(instance: StateDir) -> None:
    write_readings(instance)
    readings = json.loads(instance.readings.read_text())
    del readings["since"]
    instance.write(instance.readings, readings)

    assert "probe_ok{" not in told(instance)


def test_a_readings_file_that_is_none_holds_nobody_up(instance: StateDir) -> None:
    os.mkfifo(instance.readings)
    assert of(told(instance), "glm5_serve_unreadable") == 1
    instance.readings.unlink()
    with instance.readings.open("wb") as file:
        file.truncate(1 << 40)
    assert of(told(instance), "glm5_serve_unreadable") == 1


ODD = '\n"\\x\x1b]52;\u202e\ud800\r\0"} 1\nglm5_serve_up 7'


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(ODD, ODD)
@given(st.text(st.characters()), st.text(st.characters()))
def test_no_label_forges_a_figure(instance: StateDir, phase: str, bdf: str) -> None:
    write_state(instance, start={"seconds": {phase: 1.0}}, deaths={phase: 2, "oom": 1})
    write_readings(instance)
    gpu = json.loads(instance.readings.read_text())["gpus"][0]
    write_readings(instance, gpus=[gpu | {"bdf": bdf}, gpu | {"bdf": bdf}])
    text = told(instance)
    read = figures(text)  # as Prometheus' own parser would, and fails where it cannot

    assert of(text, "glm5_serve_up") == 1
    assert {name for name, _ in read} <= EVERY | {"glm5_serve_build_info"}
    assert all(value.isprintable() for _, labels in read for _, value in labels)
    lines = [line for line in text.split("\n") if line and not line.startswith("#")]
    assert len(lines) == len({line.rpartition(" ")[0] for line in lines}) == len(read)


def test_readings_go_when_the_launcher_goes(world: World) -> None:
    up = world.start("up", "-p", "stub")
    world.until_state("ready")
    until(lambda: "probe_ok{" in world.run("metrics").stdout, "a health check")
    up.send_signal(signal.SIGKILL)
    up.wait(60)
    text = world.run("metrics").stdout

    assert of(text, "glm5_serve_up") == 0
    assert of(text, "glm5_serve_state", state="dead") == 1
    assert "probe_ok{" not in text
    assert (world.instance / "readings.json").exists()


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"schema": 1, "since": SINCE}',
        '{"schema": 2}',
        '{"schema":1,"since":SINCE,"at":1,"probe":{"seconds":1,"ok":true},"gpus":[{}]}',
    ],
)
def test_readings_that_cannot_be_understood_hide_nothing_else(
    instance: StateDir, text: str
) -> None:
    since = json.loads(instance.state.read_text())["since"]
    instance.readings.write_text(text.replace("SINCE", json.dumps(since)))
    figures = told(instance)

    assert of(figures, "glm5_serve_ready") == 1
    assert of(figures, "glm5_serve_unreadable") == 1
    assert "probe_ok{" not in figures


@pytest.mark.parametrize(
    "other", [{"smoke": {"ok": 1}}, {"start": []}, {"deaths": {"\ud800": "x"}}, {"restarts": None}]
)
def test_a_part_that_cannot_be_understood_hides_no_other(
    instance: StateDir, other: dict[str, Any]
) -> None:
    write_state(instance, **other)
    write_readings(instance)

    assert of(told(instance), "glm5_serve_unreadable") == 1
    assert of(told(instance), "glm5_serve_probe_ok") == 1


def test_a_broken_instance_does_not_hide_the_others(instance: StateDir) -> None:
    broken = StateDir(instance.folder.parent, "broken")
    broken.folder.mkdir()
    broken.state.write_text(
        '{"schema": 1, "launcher": {"pid": 1, "boot_id": "x", "start_ticks": 1}}'
    )
    text = told(instance)

    assert of(text, "glm5_serve_ready") == 1
    assert of(text, "glm5_serve_unreadable", profile="broken") == 1
    assert of(text, "glm5_serve_state", profile="broken", state="unknown") == 1
    assert ("glm5_serve_ready", frozenset({("profile", "broken")})) not in figures(text)


def test_the_instance_of_another_user_is_told_to_be_unreadable(instance: StateDir) -> None:
    with closed(instance.folder) as home:
        text = metrics.text(home)

    assert of(text, "glm5_serve_unreadable") == 1
    assert "glm5_serve_ready{" not in text


def test_a_closed_state_folder_is_one_clear_message(instance: StateDir) -> None:
    with (
        closed(instance.folder),
        pytest.raises(UserError, match="cannot read the state folder stub: permission"),
    ):
        metrics.text(Path("stub"))


def test_the_first_death_is_an_increase(instance: StateDir) -> None:
    assert of(told(instance), "glm5_serve_deaths_total", cause="unknown") == 0


def test_where_nothing_was_ever_up_there_are_no_figures(tmp_path: Path) -> None:
    assert "profile=" not in metrics.text(tmp_path / "nowhere")


def test_they_are_served_over_tcp_and_over_a_socket(world: World) -> None:
    port, path = free_port(), world.folder / "metrics.sock"
    for listen in (f"127.0.0.1:{port}", f"[::1]:{port}", str(path)):
        world.start("metrics", "--listen", listen)
    for host in ("127.0.0.1", "[::1]"):
        url = f"http://{host}:{port}/metrics"
        until(partial(_answers, url), f"the exporter answers on {host}")
        answer = requests.get(url, timeout=60)
        assert "glm5_serve_build_info" in answer.text
        assert answer.headers["Content-Type"].startswith("text/plain; version=")

    until(path.is_socket, "the socket is there")
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(60)
        client.connect(str(path))
        client.sendall(b"GET /metrics HTTP/1.1\r\nHost: whatever.example\r\n\r\n")
        assert b"glm5_serve_build_info" in client.makefile("rb").read()
    assert stat.S_IMODE(path.stat().st_mode) == 0o660


def test_a_living_socket_is_not_taken_and_a_dead_one_is(world: World) -> None:
    path = world.folder / "metrics.sock"
    first = world.start("metrics", "--listen", str(path))
    until(path.is_socket, "the socket is there")
    refused = world.run("metrics", "--listen", str(path))
    assert (refused.returncode, "another program serves there" in refused.stderr) == (78, True)

    first.kill()
    first.communicate(timeout=60)
    assert not _takes(path)
    world.start("metrics", "--listen", str(path))
    until(lambda: _takes(path), "it is replaced")


def test_a_file_in_the_sockets_place_stays(world: World) -> None:
    (world.folder / "file").write_text("mine")
    refused = world.run("metrics", "--listen", str(world.folder / "file"))

    assert refused.returncode == 78
    assert (world.folder / "file").read_text() == "mine"


def test_another_address_wants_a_token_or_the_word(world: World) -> None:
    token, port = world.folder / "token", free_port()
    token.write_text("sekret-0123\n")
    token.chmod(0o644)
    refused = world.run("metrics", "--listen", f"0.0.0.0:{port}", "--token-file", str(token))
    assert (refused.returncode, "is open to others" in refused.stderr) == (78, True)

    token.chmod(0o600)
    world.start(
        "metrics",
        "--listen",
        f"0.0.0.0:{port}",
        "--token-file",
        str(token),
        "--host-name",
        "Box.example",
    )
    url = f"http://127.0.0.1:{port}/metrics"
    until(lambda: _status(url) == 401, "it answers")
    key = {"Authorization": "bearer sekret-0123"}
    assert _status(url, **key) == _status(url, **key, Host="box.EXAMPLE:1") == 200
    assert _status(url, Authorization="Bearer sekret-01234") == 401
    assert _status(url, **key, Host="evil.example") == 421


def test_listening_openly_is_said(world: World) -> None:
    port = free_port()
    exporter = world.start("metrics", "--listen", f"0.0.0.0:{port}", "--listen-open")
    until(lambda: _status(f"http://127.0.0.1:{port}/") == 200, "it answers")
    exporter.terminate()

    assert (
        f"serving metrics to whoever reaches 0.0.0.0:{port}, without a token"
        in exporter.communicate(timeout=60)[0]
    )


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--host-name", "x"), "are for --listen"),
        (("--listen-open",), "are for --listen"),
        (("--listen", "127.0.0.1:0", "--host-name", "http://x/"), "is no name of a host"),
        (("--listen", "127.0.0.1:0", "--host-name", "x:1"), "is no name of a host"),
    ],
)
def test_words_that_mean_nothing_are_refused(
    world: World, words: tuple[str, ...], says: str
) -> None:
    refused = world.run("metrics", *words)

    assert refused.returncode == 2
    assert says in refused.stderr


def _status(url: str, **headers: str) -> int:
    with contextlib.suppress(requests.ConnectionError):
        return requests.get(url, timeout=60, headers=headers).status_code
    return 0


def _takes(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client, contextlib.suppress(OSError):
        client.settimeout(60)
        client.connect(str(path))
        return True
    return False


def _answers(url: str) -> bool:
    return _status(url) == 200


@pytest.mark.parametrize(
    "listen",
    [
        *(
            "0.0.0.0:9464",
            "10.0.0.1:1",
            "[::]:9464",
            "localhost.example.org:1",
            "127.example.org:1",
            ":1",
        ),
        *("127.0.0.1", "127.0.0.1:99999", "127.0.0.1:x", "[::1]", "::1"),
    ],
)
def test_only_loopback_is_listened_on(world: World, listen: str) -> None:
    refused = world.run("metrics", "--listen", listen)

    assert refused.returncode == 2
    assert "not a loopback ADDRESS:PORT" in refused.stderr


def test_a_port_in_use_is_one_clear_message(world: World) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        refused = world.run("metrics", "--listen", f"127.0.0.1:{number}")

    assert refused.returncode == 78
    assert f"127.0.0.1 port {number} is in use by pid {os.getpid()}" in refused.stderr
    [instead] = re.findall(r"--listen (127\.0\.0\.1:\d+)", refused.stderr)
    assert instead != f"127.0.0.1:{number}"
    world.start("metrics", "--listen", instead)
    until(lambda: listens(instead), "it serves where the fix says")


def listens(place: str) -> bool:
    host, _, number = place.rpartition(":")
    with socket.socket() as tried:
        return tried.connect_ex((host, int(number))) == 0


def names(text: str) -> set[str]:
    return set(re.findall(r"glm5_serve_\w+", text))


def test_dashboard_and_alerts_ask_for_figures_that_there_are() -> None:
    for file in ("alerts.yml", "grafana-dashboard.json"):
        assert names((MONITORING / file).read_text()) <= EVERY, file
    panels = json.loads((MONITORING / "grafana-dashboard.json").read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)


@pytest.fixture(scope="module")
def promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("no promtool here: the package prometheus has it")
    return found


def test_promtool_accepts_the_alerts_and_the_exposition(world: World, promtool: str) -> None:
    done = subprocess.run(
        [promtool, "check", "rules", MONITORING / "alerts.yml"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    world.run("up", "-p", "stub", "-d")
    text = world.run("metrics").stdout
    done = subprocess.run(
        [promtool, "check", "metrics"],
        input=text,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_alerts_fire_when_they_should_and_not_else(promtool: str) -> None:
    words = [promtool, "test", "rules", MONITORING / "alerts.test.yml"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)

    assert done.returncode == 0, done.stderr


def test_of_each_alert_it_is_said_when_it_fires_and_when_not() -> None:
    (group,) = yaml.safe_load((MONITORING / "alerts.yml").read_text())["groups"]
    cases = yaml.safe_load((MONITORING / "alerts.test.yml").read_text())["tests"]
    said = {
        (test["alertname"], "exp_alerts" in test)
        for case in cases
        for test in case["alert_rule_test"]
    }

    assert said == {(rule["alert"], fires) for rule in group["rules"] for fires in (True, False)}


def test_events_are_asked_for_by_their_kinds(world: World) -> None:
    schema = json.loads((MONITORING.parent / "docs/events.schema.json").read_text())
    assert list(KINDS) == schema["properties"]["event"]["enum"]
    refused = world.run("events", "--kind", "staet")

    assert refused.returncode == 2
    assert "'staet' is not one of 'state'" in refused.stderr
