"""The rows of `defaults.toml`: each is sound, reached somewhere, and silent elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.engines import rules
from launcher.engines.engine import NAMES, dialect
from launcher.engines.issues import every_issue
from launcher.engines.match import Case, Span, When
from launcher.engines.options import version
from launcher.engines.rules import Rule
from launcher.engines.target import ARCHS, Target
from launcher.engines.traits import CHOICES, KNOWN
from launcher.plan.evidence import Known

CATALOGUE = dialect("sglang").options
ROWS = rules.table(dialect("sglang").defaults).rows
VERSIONS = [version(name) for name in CATALOGUE.releases]


def named(rule: Rule) -> str:
    return f"{rule.set}-{rule.condition}"


@pytest.mark.parametrize("rule", ROWS, ids=named)
def test_a_row_says_how_it_is_known_and_for_which_release_somebody_looked(rule: Rule) -> None:
    assert rule.known in set(Known)
    assert rule.source
    assert rule.why
    assert rule.checked in CATALOGUE.releases
    assert rule.is_variable or CATALOGUE.canonical(rule.set) == rule.set


@pytest.mark.parametrize("rule", ROWS, ids=named)
def test_a_row_holds_where_all_of_its_condition_does_and_nowhere_else(rule: Rule) -> None:
    """Another GPU, release or trait than it names, and it says nothing."""
    arch = (rule.when.gpu or ARCHS)[0]
    [release, *_] = [one for one in VERSIONS if rule.when.release.has(one)]
    there = rule.when.traits

    assert rule.when.holds(arch, release, there)
    assert rule.when.holds(arch, release, KNOWN - rule.when.without)
    for trait in there:
        assert not rule.when.holds(arch, release, there - {trait})
    for trait in rule.when.without:
        assert not rule.when.holds(arch, release, there | {trait})
    for other in set(ARCHS) - set(rule.when.gpu) if rule.when.gpu else ():
        assert not rule.when.holds(other, release, there)
    for other in (one for one in VERSIONS if not rule.when.release.has(one)):
        assert not rule.when.holds(arch, other, there)
    target = Target(".".join(map(str, release)), None)
    assert not rule.applies(Case(target, {}, {}, 8, there)), "on a GPU that nobody knows"


def test_no_rule_holds_for_other_models_that_is_about_a_glm_5() -> None:
    about = [rule for rule in ROWS if "GLM-5" in rule.why or "indexer" in rule.why]

    assert about
    assert all("glm-5" in rule.when.traits for rule in about)


@pytest.mark.parametrize(
    ("row", "says"),
    [
        (
            {"when": {"gpus": ["sm120"]}},
            "gpus is not one of gpu, release, operating_point, traits, without, options, where",
        ),
        ({"when": {"traits": ["glm5"]}}, "nobody knows the trait glm5"),
        ({"when": {"without": ["x"]}}, "nobody knows the trait x"),
        ({"when": {"release": "0.5.17"}}, "'0.5.17' is not a span of releases"),
        ({"when": {"release": ">=new"}}, "'>=new' is not a span of releases"),
        ({"evidence": "rumour"}, "evidence: 'rumour' is not one of"),
        ({"value_from": "moon"}, "no moon"),
        ({"why": None}, "no why"),
        ({"becuase": "w"}, "becuase: no such key"),
    ],
)
def test_a_row_that_is_none_is_named_and_costs_itself_alone(
    row: dict[str, Any], says: str, tmp_path: Path
) -> None:
    good: dict[str, Any] = {
        "set": "dtype",
        "value": "auto",
        "when": {},
        "why": "w",
        "evidence": "source",
        "source": "s",
        "checked": "0.5.23",
    }
    bad = {key: value for key, value in (good | row).items() if value is not None}
    file = tmp_path / "defaults.toml"
    file.write_text("".join(f"[[default]]\n{_toml(one)}" for one in (good, bad)))
    table = rules.table(file)

    assert [rule.set for rule in table.rows] == ["dtype"]
    assert [told.startswith("defaults.toml, 2: ") for told in table.complaints] == [True]
    assert says in table.complaints[0]


def _toml(row: dict[str, Any]) -> str:
    return "".join(f"{key} = {_inline(value)}\n" for key, value in row.items())


def _inline(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_inline(one)}" for key, one in value.items()) + "}"
    return repr(value)


def test_every_row_that_is_shipped_can_be_read() -> None:
    assert rules.table(dialect("sglang").defaults).complaints == ()


@given(st.sampled_from(VERSIONS), st.sampled_from(VERSIONS), st.sampled_from(VERSIONS))
def test_a_span_has_its_ends(
    first: tuple[int, ...], last: tuple[int, ...], one: tuple[int, ...]
) -> None:
    a, b = (".".join(map(str, end)) for end in (first, last))

    assert Span.of(f">={a},<={b}").has(one) == (first <= one <= last)
    assert Span.of(f">={a}").has(one) == (first <= one)
    assert Span.of(f"<={b}").has(one) == (one <= last)
    assert Span.of(f"=={a}").has(one) == (one == first)
    assert Span.of("").has(one)


def test_every_trait_of_choices_is_used_by_a_row() -> None:
    rows = (*(rule for name in NAMES for rule in rules.rules(name)), *every_issue())
    used = {trait for row in rows for trait in (*row.when.traits, *row.when.without)}

    assert used >= CHOICES
    assert When.of({}) == When()


def test_what_holds_whatever_the_engine_stands_in_no_engines_table() -> None:
    """Nor do two engines have a row that is the same."""
    tables = {name: rules.table(dialect(name).defaults).rows for name in NAMES}
    of_any = rules.table(rules.OF_ANY).rows
    shared = {rule.set for rule in of_any}
    own = [
        [(rule.set, rule.to, rule.when) for rule in told if rule.is_variable]
        for told in tables.values()
    ]

    assert shared == {
        *("NCCL_P2P_LEVEL", "NCCL_P2P_DISABLE", "NCCL_MIN_NCHANNELS", "NCCL_IB_DISABLE"),
        *("CUDA_DEVICE_ORDER", "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS"),
    }
    assert not shared & {rule.set for told in tables.values() for rule in told}
    assert not [row for row in own[0] if row in own[1]]
    assert all(rules.rules(name) == (*tables[name], *of_any) for name in NAMES)
