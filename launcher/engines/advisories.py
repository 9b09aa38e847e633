"""The published security advisories of SGLang, and which releases and commands they concern."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from launcher.engines.options import Version
from launcher.plan.plan import Plan


@dataclass(frozen=True)
class Advisory:
    """A published security advisory: releases before `fixed` are affected (None: no fix is
    known).
    """

    id: str
    fixed: Version | None
    applies: Callable[[Plan], bool]
    what: str
    source: str  # begins with how it is known


ADVISORIES = (
    Advisory(
        "CVE-2026-3060",
        (0, 5, 10),
        lambda plan: True,
        "encoder disaggregation unpickles what any host sends it",
        "Reported: CERT/CC VU#665416. Read: its sockets listen on loopback from 0.5.10",
    ),
    Advisory(
        "CVE-2026-7669",
        (0, 5, 10),
        lambda plan: True,
        "loading a tokenizer deserialises what it holds",
        "Reported: VulDB, releases up to 0.5.9",
    ),
    Advisory(
        "CVE-2026-5760",
        (0, 5, 11),
        lambda plan: True,
        "/v1/rerank runs the template that a model brings: code of a foreign checkpoint is"
        " executed",
        "Reported: CERT/CC VU#915947. Read: the template is sandboxed from 0.5.11",
    ),
    Advisory(
        "CVE-2026-7304",
        None,
        lambda plan: plan.flag("enable-custom-logit-processor") is not None,
        "--enable-custom-logit-processor runs code that any client sends",
        "Reported: CERT/CC VU#777338. Read: dill.loads is there up to 0.5.23",
    ),
)


def advisories(release: Version, plan: Plan) -> list[Advisory]:
    """The advisories that concern a release and this plan."""
    return [
        known
        for known in ADVISORIES
        if (known.fixed is None or release[:3] < known.fixed) and known.applies(plan)
    ]
