"""A unit that is written is what the real systemd runs: the plan's words, and its variables."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import until
from rig.systemd_host import SystemdHost, why_not

from launcher.config.load import PlanRequest, load
from launcher.config.resolve import resolve
from launcher.engines.target import Target
from launcher.formats import systemd
from launcher.plan.plan import Plan

AWKWARD = [
    "$HOME", "${X:-1}", "`id`", "a b", "", "'", '"', "\\", "\\n", "%i", "%%", "#", ";", "a;b", "\n", "\t", "*", "é”", "{x}",
]  # fmt: skip
RECORDER = """#!/usr/bin/python3
import json, os, sys
words = [word.encode(errors="surrogateescape").decode() for word in sys.argv[1:]]
with open(f"/run/recorded.{os.getpid()}", "w") as file:
    json.dump([words, dict(os.environ)], file)
try:
    os.link(file.name, "/run/recorded")  # the first call: what cleans up after it comes later
except FileExistsError:
    pass
"""


@pytest.fixture
def host() -> Iterator[SystemdHost]:
    if reason := why_not():
        pytest.skip(reason)
    with SystemdHost() as made:
        yield made


def planned() -> Plan:
    ask = PlanRequest("8xpro6000")
    plan = resolve(load(ask, {"HOME": "/root"}), ask, Path("/state"), {}, Target("0.5.23"))
    words = tuple(word for text in AWKWARD for word in ("--x", text))
    env = plan.env | {f"A{at}": text for at, text in enumerate(AWKWARD)}
    return replace(
        plan, program=("/usr/local/bin/recorder",), arguments=plan.arguments + words, env=env
    )


def test_systemd_runs_the_words_and_variables_of_the_plan(host: SystemdHost) -> None:
    plan = planned()
    host.write("/usr/local/bin/recorder", RECORDER, "755")
    host.write("/etc/systemd/system/glm.service", systemd.write(plan))
    host.systemctl("daemon-reload")
    verified = host.run("systemd-analyze", "verify", "glm.service", check=False)
    assert (verified.returncode, verified.stderr) == (0, "")

    host.systemctl("start", "glm.service")
    said = until(lambda: host.run("cat", "/run/recorded", check=False).stdout, "it was run")
    words, env = json.loads(said)

    assert tuple(words) == plan.arguments
    assert {name: env.get(name) for name in plan.env} == plan.env
