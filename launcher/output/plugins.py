"""Findings as other programs take them: node-problem-detector's custom plugins, and Prometheus'
text for node_exporter's textfile collector.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from launcher import counting, printable
from launcher.doctor.group import Difference
from launcher.errors import UserError
from launcher.plan.findings import Finding, Severity, verdict

# Bytes that node-problem-detector keeps of what a plugin prints, unless `max_output_length` says
# otherwise (pkg/custompluginmonitor/types/config.go).
SHORT = 80
LONGEST = 200  # characters of a label
OK, PROBLEM, UNKNOWN = 0, 1, 2  # what it takes an exit status for


def npd(findings: Sequence[Finding]) -> str:
    """The findings that are not ok, a line each, the worst first, which fits into its message."""
    bad = [found for found in findings if found.severity and not found.allowed]
    if not bad:
        return f"ok: {counting.of(len(findings), 'check')}"
    told = sorted(bad, key=lambda found: -found.severity)
    first, *rest = [f"{one.severity.word}: {one.id}: {one.evidence}" for one in told]
    return "\n".join([_short(first), *map(printable.line, rest)])


def npd_refused(refusal: UserError) -> str:
    """That nothing was judged, and why."""
    return _short(f"unknown: {refusal.what}")


def npd_status(worst: Severity) -> int:
    """The exit status for it; a warning is no problem of the node."""
    return {Severity.FAIL: PROBLEM, Severity.UNKNOWN: UNKNOWN}.get(worst, OK)


def _short(text: str) -> str:
    """One line of at most SHORT bytes: it cuts by bytes, within a letter if need be."""
    line = printable.line(text)
    raw = line.encode()
    return line if len(raw) <= SHORT else raw[: SHORT - 3].decode(errors="ignore") + "..."


class _Told(Collector):
    def __init__(self, families: Sequence[Metric]) -> None:
        self.families = families

    def collect(self) -> Sequence[Metric]:
        return self.families


def prometheus(
    hosts: Mapping[str, Sequence[Finding] | None], differences: Sequence[Difference] = ()
) -> str:
    """The findings of each host, None of one that was not reached, in Prometheus' text format.

    A host without a name is this one, and has no label.
    """
    label = [] if set(hosts) == {""} else ["host"]
    registry = CollectorRegistry()
    registry.register(_Told([*_of_checks(hosts, label), *_of_hosts(hosts, differences, label)]))
    return generate_latest(registry).decode()


def _of_checks(
    hosts: Mapping[str, Sequence[Finding] | None], label: list[str]
) -> tuple[Metric, ...]:
    severity = GaugeMetricFamily(
        "glm5_serve_doctor_severity",
        "What a check says: 0 ok, 1 warn, 2 unknown, 3 fail.",
        labels=[*label, "check", "group", "allowed"],
    )
    info = GaugeMetricFamily(
        "glm5_serve_doctor_finding_info",
        "1 for each failure and warning, with what was seen.",
        labels=[*label, "check", "severity", "evidence", "fix"],
    )
    for name, findings in hosts.items():
        host = [name] if label else []
        for one in findings or ():
            allowed = "true" if one.allowed else "false"
            severity.add_metric([*host, one.id, one.group, allowed], one.severity)
            if one.severity in (Severity.WARN, Severity.FAIL):
                told = [one.severity.word, _label(one.evidence), _label(one.fix)]
                info.add_metric([*host, one.id, *told], 1)
    return severity, info


def _of_hosts(
    hosts: Mapping[str, Sequence[Finding] | None],
    differences: Sequence[Difference],
    label: list[str],
) -> list[Metric]:
    worst = GaugeMetricFamily(
        "glm5_serve_doctor_verdict",
        "The worst that is not allowed: 0 ok, 1 warn, 2 unknown, 3 fail.",
        labels=label,
    )
    for name, findings in hosts.items():
        is_known = findings is not None
        worst.add_metric(
            [name] if label else [], verdict(findings or ()) if is_known else Severity.UNKNOWN
        )
    if not label:
        return [worst]
    reached = GaugeMetricFamily(
        "glm5_serve_doctor_reached", "Whether the host was reached.", labels=label
    )
    odd = GaugeMetricFamily(
        "glm5_serve_doctor_odd",
        "1 for a host that is not as most of the others are.",
        labels=["host", "area", "value"],
    )
    for name, findings in hosts.items():
        reached.add_metric([name], findings is not None)
    for one in differences:
        for value, names in one.values:
            for name in set(names) & set(one.odd):
                odd.add_metric([name, one.area.name, _label(value)], 1)
    return [worst, reached, odd]


def _label(text: str) -> str:
    return printable.line(text)[:LONGEST]
