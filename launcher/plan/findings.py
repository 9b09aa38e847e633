"""What doctor found: findings, how they add up, and their JSON."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from launcher.redact.secrets import hide

SCHEMA = 1
EXPLAINED = "glm5-serve checks"  # the page of it is not installed; this is


class Severity(IntEnum):
    """How bad a finding is.

    What nobody could see is worse than a warning: it may hide a failure.
    """

    OK = 0
    WARN = 1
    UNKNOWN = 2
    FAIL = 3

    @property
    def word(self) -> str:
        """As it is written in reports."""
        return self.name.lower()


@dataclass(frozen=True)
class Finding:
    """What one check says about a host: the value seen and where, and what to do about it.

    Both may hold a line of a log, or a part of a command: no finding has a secret in it.
    """

    id: str
    severity: Severity
    title: str
    evidence: str
    fix: str = ""
    why: str = ""
    group: str = ""
    allowed: bool = False

    def __post_init__(self) -> None:
        for name in ("evidence", "fix"):
            object.__setattr__(self, name, hide(getattr(self, name)))

    @property
    def doc(self) -> str:
        """The command that explains the check."""
        return f"{EXPLAINED} {self.id}"


def verdict(findings: Iterable[Finding]) -> Severity:
    """The worst of the findings that nobody allowed."""
    return max((found.severity for found in findings if not found.allowed), default=Severity.OK)


def failures(findings: Iterable[Finding]) -> list[Finding]:
    """The findings that keep a server from being started."""
    return [found for found in findings if found.severity is Severity.FAIL and not found.allowed]


def to_json(findings: Sequence[Finding], judged: str | None, observed: str) -> dict[str, Any]:
    """The report as JSON data, versioned by `schema`; `judged` is the profile that it is for."""
    return {
        "schema": SCHEMA,
        "verdict": verdict(findings).word,
        "profile": judged,
        "observed": observed,
        "findings": [_finding(found) for found in findings],
    }


def _finding(found: Finding) -> dict[str, Any]:
    return {
        "id": found.id,
        "severity": found.severity.word,
        "title": found.title,
        "evidence": found.evidence,
        "fix": found.fix,
        "doc": found.doc,
        "why": found.why,
        "group": found.group,
        "allowed": found.allowed,
    }
