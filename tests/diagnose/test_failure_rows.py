"""A bad row of the failures, codes, Xids or drivers costs itself, and is told."""

from __future__ import annotations

import re
import tomllib
from functools import partial
from re import _constants, _parser
from typing import Any

import pytest
from conftest import ROOT

from launcher.diagnose.diagnosis import diagnose
from launcher.engines import engine, failures, issues
from launcher.engines.tables import complaints
from launcher.knowledge import codes, drivers, rows, xid
from launcher.plan.evidence import Known

GOOD = """
[fine]
family = "disk"
weight = "cause"
pattern = 'it broke'
what = "it broke"
fix = "mend it"
then = "never"
known = "source"
source = "here"
"""


def test_the_tables_that_are_shipped_have_no_bad_row() -> None:
    assert (*complaints(), *failures.complaints()) == ()


@pytest.mark.parametrize(
    ("was", "is_", "complaint"),
    [
        ('"disk"', '"dsk"', "family: 'dsk' is not one of"),
        ('"never"', '"maybe"', "then: 'maybe' is not one of"),
        ("'it broke'", "'it (broke'", "missing )"),
        ('fix = "mend it"\n', "", "no fix"),
        ("known =", "knwon =", "knwon: no such key"),
    ],
)
def test_a_bad_failure_is_left_out_and_told(was: str, is_: str, complaint: str) -> None:
    bad = GOOD.replace("[fine]", "[bad]").replace(was, is_)
    told = rows.read(rows.File("x.toml", GOOD + bad), None, partial(failures._failure, ""))

    assert [row.id for row in told.rows] == ["fine"]
    assert complaint in told.complaints[0]


@pytest.mark.parametrize(
    ("text", "table", "made", "complaint"),
    [
        ("[[codes]]\nof = 'moon'\ncodes = []", "codes", codes._made, "of: 'moon'"),
        ("[[xid]]\nnumbers = [1]\nwhat = 'x'\nadvice = 'x'", "xid", xid._made, "advice: 'x'"),
        ("[[xid]]\nnumbers = [1]\nadvice = 'again'", "xid", xid._made, "no what"),
        (
            "[[trouble]]\ndriver = 'new'\nwhat = 'x'",
            "trouble",
            partial(drivers._made, ("driver", "what")),
            "driver: 'new' is not a release",
        ),
    ],
)
def test_a_bad_row_of_knowledge_is_told(
    text: str, table: str, made: object, complaint: str
) -> None:
    assert callable(made)
    told = rows.read(rows.File("x.toml", text), table, made)

    assert told.rows == ()
    assert complaint in told.complaints[0]


@pytest.mark.parametrize("speaks", engine.NAMES)
def test_what_was_tested_with_another_engine_says_so(speaks: str) -> None:
    ours = engine.dialect(speaks).name
    others = {engine.dialect(name).name for name in engine.NAMES} - {ours}
    tested = [
        row
        for row in failures.failures().values()
        if row.known == Known.RUN and row.engine in ("", speaks)
    ]
    of_others = [row for row in tested if any(f"{name} " in row.source for name in others)]

    for row in tested:
        told = row.told(speaks).source
        is_foreign = row in of_others and f"{ours} " not in row.source
        assert told.startswith(f"not with {ours}: ") == is_foreign, row.id
        assert row.told(None).source == row.source
    assert of_others or speaks == "sglang"


def test_the_screen_of_a_vllm_log_claims_no_test_of_sglang() -> None:
    said = "vllm serve: error: unrecognized arguments: --tp-sizes"
    found = diagnose(["(APIServer pid=7) INFO vLLM API server version 0.33.0", said])

    assert (found.cause, found.engine, found.known) == ("bad-option", "vllm", "tested")
    assert found.source == "not with vLLM: SGLang 0.5.23"


def test_no_advice_for_vllm_names_a_backend_that_glm_5_is_refused() -> None:
    """On SM120 it has one attention backend: whoever names others says so."""
    told = {id: row.told("vllm").fix for id, row in failures.failures().items()}
    named = {id: fix for id, fix in told.items() if re.search(r"another [^;]*--attention", fix)}

    assert {"illegal-memory-access", "gpu-kernel-fault"} <= {*named}
    assert not [id for id, fix in named.items() if "GLM-5 on SM120 has no other" not in fix]


def test_a_start_that_took_too_long_is_no_worker_that_hangs() -> None:
    told = failures.failures()
    start, hang = (told[id].told("vllm").fix for id in ("vllm-start-waited", "vllm-worker-hangs"))

    assert "VLLM_ENGINE_READY_TIMEOUT_S" in start
    assert "start_timeout" in start
    assert "VLLM_ENGINE_READY_TIMEOUT_S" not in hang
    rpc = "(EngineCore pid=7) TimeoutError: RPC call to execute_model timed out."
    assert diagnose([rpc]).cause == "vllm-worker-hangs"


def test_the_first_collective_that_hangs_is_tried_without_peer_to_peer() -> None:
    for speaks in (None, *engine.NAMES):
        fix = failures.failures()["nccl-timeout"].told(speaks).fix
        assert "NCCL_P2P_DISABLE=1" in fix
        assert "doctor --deep" in fix


def test_every_word_of_a_longer_start_of_vllm_names_the_profiles_seconds() -> None:
    profile = tomllib.loads((ROOT / "profiles/8xpro6000-vllm.toml").read_text())
    wanted = str(profile["supervision"]["start_timeout"])
    folder = ROOT / "launcher/engines/vllm"
    texts = ((folder / name).read_text() for name in ("issues.toml", "failures.toml"))
    said = re.findall(r'VLLM_ENGINE_READY_TIMEOUT_S ?= ?"?(\d+)', "\n".join(texts))

    assert len(said) > 1
    assert {*said} == {wanted}
    early = issues.every_issue(["vllm"])
    [row] = [each for each in early if each.id == "vllm-start-given-up-early"]
    assert [*row.remedies[0].set.values()] == [wanted]


def begins_with_anything(parsed: Any) -> bool:
    """Whether what a regular expression takes may begin with a text that somebody else wrote."""
    for kind, told in parsed:
        if kind in (_constants.MAX_REPEAT, _constants.MIN_REPEAT):
            least, most, repeated = told
            what, which = repeated[0]
            is_negated = what is _constants.IN and which[0][0] is _constants.NEGATE
            if most > 8 and (is_negated or what in (_constants.ANY, _constants.NOT_LITERAL)):
                return True
            branches, can_be_empty = [repeated], least == 0
        elif kind is _constants.SUBPATTERN:
            branches, can_be_empty = [told[3]], told[3].getwidth()[0] == 0
        elif kind is _constants.BRANCH:
            branches, can_be_empty = told[1], any(one.getwidth()[0] == 0 for one in told[1])
        else:
            branches, can_be_empty = [], kind in (_constants.AT, _constants.ASSERT_NOT)
        if any(map(begins_with_anything, branches)):
            return True
        if not can_be_empty:
            return False
    return False


@pytest.mark.parametrize(
    ("pattern", "does"),
    [
        (".{0,300}it", True),
        ("(?:x: )?[^ ]{9}it", True),
        ("it.{0,300}", False),
        ("(?:a|b?.+)c", True),
    ],
)
def test_what_may_begin_with_anything_is_found(pattern: str, does: bool) -> None:
    assert begins_with_anything(_parser.parse(pattern)) is does


@pytest.mark.parametrize("name", [key for key, row in failures.failures().items() if row.pattern])
def test_no_row_takes_what_stands_behind_other_words(name: str) -> None:
    """Where a logger framed it, what stands behind its first words is a client's, and no evidence
    (`witness.evidence`); of what a program printed, a match anywhere counts anyhow.
    """
    row = failures.failures()[name]
    parsed = _parser.parse(row.pattern.pattern, row.pattern.flags)
    assert row.origin != "server" or not begins_with_anything(parsed)
