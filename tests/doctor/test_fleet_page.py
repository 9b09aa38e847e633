"""docs/fleet.md and what it leads to: its commands are ones that exist, its files fit what reads
them.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from pathlib import Path

import click
import pytest
import yaml
from conftest import ROOT

from launcher.cli.host import doctor
from launcher.doctor.checks import known_ids
from launcher.host.remote_refusals import ROWS

PAGE = (ROOT / "docs/fleet.md").read_text()
MONITORING = ROOT / "monitoring"
CHECK = MONITORING / "preflight/check.sh"
COMMANDS = re.findall(r"glm5-serve doctor ([^\n`>]+)", PAGE)


def parsed(words: list[str]) -> dict[str, object]:
    """What click makes of them; raises for words that are none."""
    with click.Context(doctor) as context:
        doctor.parse_args(context, list(words))
        return dict(context.params)


@pytest.mark.parametrize("words", [one for one in COMMANDS if one[0] == "-" and ".." not in one])
def test_each_command_of_the_page_is_one(words: str) -> None:
    assert parsed(shlex.split(words))


def test_each_option_of_the_page_is_one() -> None:
    known = {name for option in doctor.params for name in option.opts}
    told = {word for row in re.findall(r"^\| `(-[^`]+)`", PAGE, re.M) for word in row.split()[:1]}

    assert len(told) > 5
    assert told <= known


def test_each_file_that_the_page_names_is_there() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", PAGE)

    assert links
    assert [one for one in links if not (ROOT / "docs" / one).exists()] == []


def test_the_schema_knows_each_way_of_not_being_reached() -> None:
    schema = json.loads((ROOT / "docs/fleet.schema.json").read_text())
    kinds = schema["$defs"]["host"]["properties"]["unreachable"]["properties"]["kind"]["enum"]

    assert {row.kind for row in ROWS} < set(kinds)


def test_the_plugin_of_node_problem_detector_is_a_command_that_exists() -> None:
    """What its own validation asks (pkg/custompluginmonitor/types/config.go), and our words."""
    told = json.loads((MONITORING / "node-problem-detector.json").read_text())
    (rule,) = told["rules"]
    (condition,) = told["conditions"]

    assert told["plugin"] == "custom"
    assert rule["condition"] == condition["type"]
    assert rule["args"][0] == "doctor"
    assert parsed(rule["args"][1:])["format"] == "npd"


def test_the_preflight_check_is_registered_under_the_name_that_the_page_says() -> None:
    told = yaml.safe_load((MONITORING / "preflight/values.yaml").read_text())
    (container,) = told["preflight"]["initContainers"]

    assert f'preflight-checks: "{container["name"]}"' in PAGE
    assert parsed(container["args"])["named"] == "8xpro6000"
    known_ids(re.findall(r"--skip ([a-z-]+)", CHECK.read_text()))


@pytest.mark.parametrize(
    ("status", "strategy", "ends"),
    [
        (0, "EXECUTE_REMEDIATION", 0),
        (1, "EXECUTE_REMEDIATION", 1),
        (1, "STORE_ONLY", 0),
        (78, "STORE_ONLY", 2),
        (70, "", 2),
        (127, "", 2),
    ],
)
def test_the_preflight_check_ends_as_nvsentinel_wants_it(
    tmp_path: Path, status: int, strategy: str, ends: int
) -> None:
    fake = tmp_path / "glm5-serve"
    fake.write_text(f'#!/bin/sh\necho "$*"\nexit {status}\n')
    fake.chmod(0o755)
    environ = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "PROCESSING_STRATEGY": strategy}
    words = ["sh", str(CHECK), "--profile", "8xpro6000"]
    said = subprocess.run(
        words, env=environ, capture_output=True, text=True, timeout=60, check=False
    )

    assert said.returncode == ends
    assert said.stdout.strip().endswith("--profile 8xpro6000")
