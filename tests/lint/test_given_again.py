"""Of what a command gives twice, or in parts, what counts is judged, and the rest is named."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.engines.engine import NAMES, dialect
from launcher.engines.members import counting, whole
from launcher.engines.target import Target
from launcher.formats.launches import Launch
from launcher.formats.reading import read
from launcher.lint.as_plan import as_plan
from launcher.lint.concerns import Verdict
from launcher.lint.lint import Entry, lint

RELEASES = dialect("vllm").options.releases
# As the parser of vLLM 0.32.0 takes them.
COUNTS = {
    '--speculative-config.method mtp --speculative-config \'{"method":"eagle"}\'': {
        "method": "mtp"
    },
    '--speculative-config \'{"method":"eagle"}\' --speculative-config.method mtp': {
        "method": "mtp"
    },
    "--speculative-config.a.b 1 --speculative-config.a 2 --speculative-config.a.c 3": {
        "a": {"c": 3}
    },
    "--speculative_config.method mtp -sc.method eagle --speculative-config.method x": {
        "method": "eagle"
    },
    "--speculative-config.x+ 1,2 --speculative-config.x+ 3": {"x": ["1", "2", "3"]},
    "--speculative-config.x 8k": {"x": 8000},
}


def entries(command: str, release: str | None = None) -> list[Entry]:
    [launch] = read(command).launches
    newest = dialect(launch.engine).options.newest
    return lint(launch, Target(release or newest, "sm120", engine=launch.engine))


def verdicts(command: str, release: str | None = None) -> dict[str, Verdict]:
    told = entries(command, release)
    return {f"{one.name} {one.value}".strip(): one.verdict for one in told}


@pytest.mark.parametrize("words", COUNTS)
def test_members_and_json_come_to_what_the_real_parser_makes_of_them(words: str) -> None:
    release = dialect("vllm").options.release("0.32.0")
    [made] = [
        one for one in whole(release.given(shlex.split(words))) if one.name.startswith("--spec")
    ]

    assert json.loads(made.values[0]) == COUNTS[words]


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("is_first", [True, False])
def test_json_beside_its_own_parts_is_what_is_lost_wherever_it_stands(
    release: str, is_first: bool
) -> None:
    parts = "--speculative-config.method mtp --speculative-config.num_speculative_tokens 1"
    text = '--speculative-config \'{"method": "x"}\''
    both = f"{text} {parts}" if is_first else f"{parts} {text}"
    told = verdicts(f"vllm serve m {both}", release)

    assert told['--speculative-config {"method": "x"}'] is Verdict.CONFLICTS
    assert told["--speculative-config.method mtp"] is Verdict.FINE


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("--tp 3", "--tp-size 8"),
        ("--tensor-parallel-size 3", "--tp-size=8"),
        ("--tp-size 3", "--tensor-parallel-size 8"),
    ],
)
def test_what_is_overridden_is_not_judged_beside_what_counts(before: str, after: str) -> None:
    command = "python -m sglang.launch_server --model-path zai-org/GLM-5-FP8"
    [lost] = [one for one in entries(f"{command} {before} {after}") if one.value == "3"]
    alone = [one for one in entries(f"{command} {before}") if one.value == "3"]

    assert lost.verdict is Verdict.CONFLICTS
    assert "heads" not in lost.why
    assert "heads" in alone[0].why


def test_a_bad_value_is_refused_although_it_is_overridden() -> None:
    told = verdicts("vllm serve m --max-num-seqs x --max-num-seqs 8")

    assert told["--max-num-seqs x"] is Verdict.WRONG


@pytest.mark.parametrize("engine", NAMES)
@given(data=st.data())
def test_of_any_option_that_is_given_twice_the_last_counts(
    engine: str, data: st.DataObject
) -> None:
    release = dialect(engine).options.release(dialect(engine).options.newest)
    one = data.draw(st.sampled_from(sorted({id(o): o for o in release.options.values()}.values(),
                                           key=lambda option: option.name)))  # fmt: skip
    names = [name for name in one.names if name.startswith("--")]
    first, last = data.draw(st.sampled_from(names)), data.draw(st.sampled_from(names))
    values = ([], []) if one.takes == "nothing" else (["1"], ["2"])
    given = release.given([first, *values[0], last, *values[1]])
    count = [made.values for made in counting(given)]

    assert count == ([(*values[0],), (*values[1],)] if one.adds else [(*values[1],)])


def test_options_that_add_up_lose_nothing() -> None:
    told = verdicts("vllm serve m --middleware a --middleware b")

    assert told["--middleware a"] is told["--middleware b"] is Verdict.FINE


def test_a_switch_and_what_turns_it_off_conflict_and_the_last_counts() -> None:
    [launch] = read("vllm serve zai-org/GLM-5 --enforce-eager --no-enforce-eager").launches
    target = Target("0.32.0", "sm120", engine="vllm")
    plan = as_plan(launch, launch.given(target.known), target, target.known)

    assert {one.name: one.verdict for one in lint(launch, target)}["--enforce-eager"] is (
        Verdict.CONFLICTS
    )
    assert "enforce-eager" not in [setting.option for setting in plan.settings]


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("value", ["3", "[1]", "true", "null", '"a"'])
def test_json_that_is_no_object_is_refused_where_an_object_is_wanted(
    release: str, value: str
) -> None:
    for name in ("-cc", "--compilation-config", "--kv-transfer-config"):
        target = Target(release, "sm120", engine="vllm")
        launch = Launch.of(["m", name, value])
        told = lint(replace(launch, engine="vllm"), target)

        assert told[1].verdict is Verdict.WRONG
        assert "JSON in braces" in told[1].why


@pytest.mark.parametrize(
    "words",
    ["-cc.mode 3", "-cc.mode=3", "-cc '{\"mode\": 3}'", "-O3", "-O 3", "-O=3",
     "--optimization-level 3", "--hf-overrides 3", "--allowed-origins '[\"*\"]'"],
)  # fmt: skip
def test_what_0_32_parses_is_fine(words: str) -> None:
    told = entries(f"vllm serve m {words}", "0.32.0")

    assert {one.verdict for one in told[1:]} == {Verdict.FINE}


@pytest.mark.parametrize("words", ["-O9", "-O.level=3", "-O 4", "-Odecode"])
def test_another_level_is_refused(words: str) -> None:
    assert entries(f"vllm serve m {words}", "0.32.0")[1].verdict.is_refused


def test_drafting_is_told_by_an_object() -> None:
    [_, told] = entries("vllm serve m --speculative-config 3", "0.32.0")

    assert told.verdict is Verdict.BREAKS
    assert "wanted an object" in told.why


@pytest.mark.parametrize(
    "command", ["vllm serve m", "python -m sglang.launch_server --model-path m"]
)
def test_a_file_of_options_is_read_where_the_option_is_a_word_of_its_own(command: str) -> None:
    joined = verdicts(f"{command} --config=a.yaml")
    apart = verdicts(f"{command} --config a.yaml")
    twice = verdicts(f"{command} --config a.yaml --config b.yml")

    assert joined["--config a.yaml"] is Verdict.INERT
    assert apart["--config a.yaml"] is Verdict.FINE
    assert twice["--config a.yaml"] is twice["--config b.yml"] is Verdict.BREAKS
    assert verdicts(f"{command} --config a.json")["--config a.json"] is Verdict.BREAKS
    assert verdicts(f"{command} --config $A")["--config $A"] is Verdict.FINE
    assert not read(f"{command} --config=a.yaml").launches[0].notes


@pytest.mark.parametrize(
    "again",
    [
        "--port $A --port 8001",
        "--port 8000 --port $A",
        "--port $A --port $B",
        "--port 8000 --port={{ port }}",
    ],
)
@pytest.mark.parametrize("program", ["vllm serve m", "sglang serve --model-path m"])
def test_values_of_which_nobody_knows_one_may_be_the_same(program: str, again: str) -> None:
    [lost] = [one for one in entries(f"{program} {again}") if "given again" in one.why]

    assert lost.verdict is Verdict.INERT
    assert lost.why.endswith("the last one counts")


@pytest.mark.parametrize("models", ["a --model $B"])
def test_a_model_that_is_named_twice_is_refused_whichever_it_is(models: str) -> None:
    assert Verdict.CONFLICTS in {one.verdict for one in entries(f"vllm serve {models}")}
