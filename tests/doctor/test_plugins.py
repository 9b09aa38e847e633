"""`doctor --format npd` and `--format prometheus`: what other programs take."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import World
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from rig.healthy import having, host, with_function, with_gpus

from launcher.host import facts_json
from launcher.host.facts import Host, unknown
from launcher.output.plugins import SHORT, npd, npd_status, prometheus
from launcher.plan.findings import Finding, Severity, verdict

BAD = with_function(host(), "0000:17:00.0", iommu_type="DMA-FQ")
WARNED = with_gpus(host(), 3, link_width=8)
BLIND = having(host(), driver__version=unknown("nobody told"))


@pytest.fixture
def file(tmp_path: Path) -> Any:
    def written(seen: Host) -> str:
        path = tmp_path / "facts.json"
        path.write_text(json.dumps(facts_json.to_json(seen)))
        return str(path)

    return written


@pytest.mark.parametrize(
    ("seen", "status", "first"),
    [
        (host(), 0, "ok: "),
        (WARNED, 0, "warn: "),
        (BAD, 1, "fail: iommu-translation: 0000:17:00.0: group 7 is of type DMA-FQ"),
        (BLIND, 2, "unknown: "),
    ],
    ids=["ok", "warn", "fail", "unknown"],
)
def test_a_plugin_ends_and_begins_as_node_problem_detector_wants_it(
    world: World, file: Any, seen: Host, status: int, first: str
) -> None:
    said = world.run("doctor", "-p", "8xpro6000", "--facts", file(seen), "--format", "npd")

    assert said.returncode == status, said.stdout
    assert said.stdout.startswith(first)
    assert len(said.stdout.partition("\n")[0].encode()) <= SHORT


def test_where_nothing_can_be_judged_the_plugin_says_so_on_its_own_stream(world: World) -> None:
    said = world.run("doctor", "--facts", "/nowhere", "--format", "npd")

    assert said.returncode == 2
    assert said.stdout.startswith("unknown: cannot read /nowhere")


def test_one_form_is_chosen(world: World) -> None:
    said = world.run("doctor", "--json", "--format", "npd")

    assert said.returncode == 2
    assert "give one of them" in said.stderr


def found(severity: Severity, text: str, *, allowed: bool = False) -> Finding:
    return Finding("gpu-mig", severity, "title", text, text, group="GPUs", allowed=allowed)


FINDINGS = st.lists(
    st.builds(found, st.sampled_from(Severity), st.text(max_size=300), allowed=st.booleans()),
    max_size=4,
)


@given(FINDINGS)
def test_the_first_line_is_the_worst_whole_and_short(findings: list[Finding]) -> None:
    """The law: it fits into what is kept of it, and says the verdict that the status is."""
    first = npd(findings).partition("\n")[0]
    worst = verdict(findings)

    assert len(first.encode()) <= SHORT
    assert first.isprintable()
    assert first.startswith(f"{worst.word}: ")
    assert npd_status(worst) == {"ok": 0, "warn": 0, "unknown": 2, "fail": 1}[worst.word]


@given(st.dictionaries(st.text(min_size=1, max_size=20), FINDINGS | st.none(), max_size=3))
def test_whatever_a_finding_says_prometheus_can_read_it(hosts: dict[str, Any]) -> None:
    """The law: each host and finding comes back, and no text of it becomes a line of its own."""
    text = prometheus(hosts)
    read = {one.name: one.samples for one in text_string_to_metric_families(text)}

    assert [one.labels["host"] for one in read["glm5_serve_doctor_reached"]] == list(hosts)
    severities = read.get("glm5_serve_doctor_severity", [])
    assert len(severities) == sum(len(findings or ()) for findings in hosts.values())
    assert all(
        "\n" not in value
        for row in read.values()
        for one in row
        for value in one.labels.values()
        if value not in hosts
    )


def test_figures_of_this_host_have_no_label_for_it(world: World, file: Any) -> None:
    said = world.run("doctor", "-p", "8xpro6000", "--facts", file(BAD), "--format", "prometheus")
    read = {one.name: one.samples for one in text_string_to_metric_families(said.stdout)}

    (worst,) = read["glm5_serve_doctor_verdict"]
    assert (worst.labels, worst.value) == ({}, 3)
    (info,) = read["glm5_serve_doctor_finding_info"]
    assert info.labels["check"] == "iommu-translation"
    assert "DMA-FQ" in info.labels["evidence"]
    assert said.returncode == 1
