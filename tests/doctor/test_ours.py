"""What our own servers hold of a host is no fault of it, and never wants `kill`."""

from __future__ import annotations

import json
import os
import socket
from dataclasses import replace
from typing import Any

import pytest
from conftest import World
from rig.healthy import having, host, plan, with_gpus

from launcher.doctor import neighbours, ours
from launcher.doctor.checks import judge
from launcher.doctor.run import TAKEN_BY_OURS
from launcher.host.facts import Host, Process
from launcher.plan.findings import Finding, Severity
from launcher.plan.plan import Plan


def asked(world: World, *words: str) -> dict[str, Any]:
    said = world.run("doctor", *words, "--only", "port-free", "--json")
    [found] = json.loads(said.stdout)["findings"]
    return dict(found, status=said.returncode)


@pytest.fixture
def up(world: World) -> World:
    done = world.run("up", "-p", "stub", "--detach")
    assert done.returncode == 0, done.stderr
    return world


def test_its_own_server_on_its_port_is_no_fault(up: World) -> None:
    for words in ((), ("-p", "stub")):
        found = asked(up, *words)

        assert found["severity"] == "ok"
        assert "stub is up, whose it is" in found["evidence"]
        assert (found["status"], found["fix"]) == (0, "")


def test_another_profile_on_that_port_is_told_who_is_up_there(up: World) -> None:
    up.profile.with_name("other.toml").write_text('extends = "stub"\n')

    found = asked(up, "-p", "other")

    assert (found["severity"], found["status"]) == ("fail", 1)
    assert "`glm5-serve down --profile stub`" in found["fix"]
    assert "stop that process" not in found["fix"]
    refused = up.run("up", "other").stderr
    assert "`glm5-serve down --profile stub`" in refused


def test_another_process_on_its_port_is_one(world: World) -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", world.port))
        other.listen()

        found = asked(world, "-p", "stub")

    assert (found["severity"], found["status"]) == ("fail", 1)
    assert f"pid {os.getpid()} " in found["evidence"]
    assert found["fix"].startswith("stop that process")


def test_what_is_not_this_host_now_is_judged_as_it_was_recorded(up: World) -> None:
    facts = up.folder / "facts.json"
    facts.write_text(up.run("facts", "-p", "stub").stdout)

    assert asked(up, "-p", "stub", "--facts", str(facts))["severity"] == "fail"


THIS = os.getpid()
FULL = {
    "gpu-memory-free": with_gpus(host(), 3, processes=(Process(THIS, 80 << 30, "python"),)),
    "gpu-left-over": with_gpus(host(), 3, memory_used=80 << 30, processes=()),
    "host-memory": having(host(), system__memory_available=1 << 30),
}


def severity(unwell: Host, made: Plan, id: str) -> Finding:
    return next(one for one in ours.spared(judge(unwell, made, only=(id,)), unwell, made, {}))


@pytest.mark.parametrize("id", FULL)
def test_what_its_own_server_has_is_not_missing(id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made = replace(plan(), name="glm5")
    unwell = FULL[id]
    assert severity(unwell, made, id).severity is Severity.FAIL

    monkeypatch.setattr(ours, "_up", lambda environ: {THIS: "glm5@2"})
    monkeypatch.setattr(neighbours, "all_up", lambda own: [])  # none of another test's
    found = severity(unwell, made, id)
    assert (found.severity, found.fix) == (Severity.OK, "")
    assert "glm5@2 is up" in found.evidence

    monkeypatch.setattr(ours, "_up", lambda environ: {THIS: "other"})
    found = severity(unwell, made, id)
    assert found.severity is Severity.FAIL
    assert "kill" not in found.fix


def test_each_check_that_serving_leaves_out_is_spared() -> None:
    assert {*ours.ROOM, "port-free", "gpu-memory-free"} == {*TAKEN_BY_OURS}
