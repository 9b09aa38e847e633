"""What the program that starts an engine reads itself is left alone, and not judged as the
engine's.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.engines.engine import NAMES, dialect
from launcher.engines.target import Target
from launcher.formats.reading import read
from launcher.knowledge import rows, wrappers
from launcher.lint.concerns import Verdict
from launcher.lint.lint import Entry, lint, notes
from launcher.lint.rewrite import rewrite

SGLANG = dialect("sglang").options
TARGET = Target(SGLANG.newest, "sm100")
DYNAMO = "python3 -m dynamo.sglang --model-path m"
OWN = [name.replace("*", "x") for one in wrappers.table().rows for name in one.options]


def entries(text: str) -> dict[str, Entry]:
    [launch] = read(text).launches
    return {entry.name: entry for entry in lint(launch, TARGET)}


def test_every_row_can_be_read_and_is_of_a_known_program() -> None:
    assert wrappers.table().complaints == ()
    for one in wrappers.table().rows:
        assert one.engine in NAMES
        assert (one.program,) in dialect(one.engine).programs


@pytest.mark.parametrize("name", OWN)
def test_its_own_option_is_left_alone(name: str) -> None:
    text = f"{DYNAMO} --{name} x --no-{name}"
    said = entries(text)

    assert {said[f"--{name}"].why, said[f"--no-{name}"].why} == {"Dynamo reads it"}
    assert {entry.verdict for entry in said.values()} == {Verdict.FINE}
    assert rewrite(read(text).launches[0], TARGET).edits == ()


@pytest.mark.parametrize("name", OWN)
def test_without_it_the_engine_refuses_the_option(name: str) -> None:
    said = entries(f"sglang serve --model-path m --{name} x")
    assert said[f"--{name}"].verdict is Verdict.UNKNOWN


@pytest.mark.parametrize("release", SGLANG.releases)
def test_no_release_of_the_engine_has_what_is_its_own(release: str) -> None:
    known = SGLANG.release(release)
    assert not [name for name in OWN if known.candidates(f"--{name}")]


def test_what_nobody_knows_is_not_judged_and_noted() -> None:
    text = f"{DYNAMO} --moon-phase full --tp 8"
    said = entries(text)["--moon-phase"]

    assert said.verdict is Verdict.FINE
    assert said.why.startswith("not judged: no release of SGLang has it, Dynamo may")
    assert any("not judged: --moon-phase" in note for note in notes(read(text).launches[0], TARGET))


@pytest.mark.parametrize(
    ("words", "name", "verdict"),
    [
        ("--nsa-prefill-backend trtllm", "--nsa-prefill-backend", Verdict.REMOVED),
        ("--kv-cache-dtype fp9", "--kv-cache-dtype", Verdict.WRONG),
        ("--disaggregation-mode x", "--disaggregation-mode", Verdict.WRONG),
        ("--kt-gpu-prefill-token-threshold 1", "--kt-gpu-prefill-token-threshold", Verdict.UNKNOWN),
        ("--disable-", "--disable-", Verdict.AMBIGUOUS),
    ],
)
def test_what_is_the_engines_is_judged_as_ever(words: str, name: str, verdict: Verdict) -> None:
    assert entries(f"{DYNAMO} {words}")[name].verdict is verdict


@pytest.mark.parametrize("words", ["--load-format gms", "--disaggregation-mode agg"])
def test_values_that_it_takes_for_the_engines_options(words: str) -> None:
    name = words.split()[0]
    assert entries(f"{DYNAMO} {words}")[name].why == "Dynamo reads it"
    assert entries(f"sglang serve --model-path m {words}")[name].verdict is Verdict.WRONG


def test_a_pod_that_starts_it_is_read_so() -> None:
    pod = (
        "spec: {containers: [{image: x, command: [python3, -m, dynamo.sglang],"
        " args: [--model-path, m, --endpoint, dyn://a.b.c]}]}"
    )
    assert entries(pod)["--endpoint"].verdict is Verdict.FINE


@given(st.from_regex(r"--[a-z]{3,12}(-[a-z]{2,8})?", fullmatch=True))
def test_an_unknown_option_is_never_refused_through_it(word: str) -> None:
    known = SGLANG.release(SGLANG.newest)
    if not known.candidates(word) and not SGLANG.accepted_by(word):
        assert not entries(f"{DYNAMO} {word} 1")[word].verdict.says_no


def test_a_row_that_is_none_costs_itself(tmp_path: Path) -> None:
    file = tmp_path / "wrappers.toml"
    file.write_text("[one]\nprogram = 'x'\nengine = 'sglang'\nname = 'X'\noptions = 'y'\n")

    [complaint] = rows.read(file, None, wrappers.wrapper).complaints
    assert complaint.startswith("wrappers.toml, one: options")
