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
ROWS = wrappers.table().rows
MODEL = {"sglang": "--model-path m", "vllm": "--model m"}
PLAIN = {
    "sglang": "sglang serve",
    "vllm": "python3 -m vllm.entrypoints.openai.api_server",  # `vllm serve --omni` is another one
}
OWN = [(one, name.replace("*", "x")) for one in ROWS for name in one.options]
of_rows = pytest.mark.parametrize("one", ROWS, ids=lambda one: one.program)
of_options = pytest.mark.parametrize(
    ("one", "name"), OWN, ids=[f"{one.engine}-{name}" for one, name in OWN]
)


def target(engine: str) -> Target:
    return Target(dialect(engine).options.newest, "sm100", engine=engine)


def entries(text: str) -> dict[str, Entry]:
    [launch] = read(text).launches
    return {entry.name: entry for entry in lint(launch, target(launch.engine))}


def through(one: wrappers.Wrapper, words: str) -> str:
    return f"python3 -m {one.program} {MODEL[one.engine]} {words}"


def test_every_row_can_be_read_and_is_of_a_known_program() -> None:
    assert wrappers.table().complaints == ()
    for one in wrappers.table().rows:
        assert one.engine in NAMES
        assert (one.program,) in dialect(one.engine).programs


@of_options
def test_its_own_option_is_left_alone(one: wrappers.Wrapper, name: str) -> None:
    text = through(one, f"--{name} x --no-{name}")
    said = entries(text)

    assert {said[f"--{name}"].why, said[f"--no-{name}"].why} == {f"{one.name} reads it"}
    assert not [entry for entry in said.values() if entry.verdict.says_no]
    assert rewrite(read(text).launches[0], target(one.engine)).edits == ()


@of_options
def test_without_it_the_engine_refuses_the_option(one: wrappers.Wrapper, name: str) -> None:
    said = entries(f"{PLAIN[one.engine]} {MODEL[one.engine]} --{name} x")
    assert said[f"--{name}"].verdict is Verdict.UNKNOWN


@of_rows
def test_no_release_of_the_engine_has_what_is_its_own(one: wrappers.Wrapper) -> None:
    engine = dialect(one.engine).options
    names = [name.replace("*", "x") for name in one.options]
    for release in map(engine.release, engine.releases):
        assert not [name for name in names if release.candidates(f"--{name}")]


@of_rows
def test_what_nobody_knows_is_not_judged_and_noted(one: wrappers.Wrapper) -> None:
    text = through(one, "--moon-phase full --tp 8")
    said = entries(text)["--moon-phase"]
    told = notes(read(text).launches[0], target(one.engine))

    assert said.verdict is Verdict.FINE
    name = dialect(one.engine).name
    assert said.why.startswith(f"not judged: no release of {name} has it, {one.name} may")
    assert any("not judged: --moon-phase" in note for note in told)


OF_VLLM = {"--disaggregation-mode": "prefill", "--is-decode-worker": "", "--connector": "nixl"}


@pytest.mark.parametrize("word", OF_VLLM)
def test_a_worker_of_dynamo_on_vllm_is_read(word: str) -> None:
    said = entries(f"python3 -m dynamo.vllm --model m {word} {OF_VLLM[word]}")
    assert said[word].why == "Dynamo reads it"
    assert entries(f"vllm serve m {word} {OF_VLLM[word]}")[word].verdict.says_no


POD = """apiVersion: v1
kind: Pod
metadata: {name: m}
spec:
  containers:
  - image: x
    command: [python3, -m, PROGRAM]
    args: [MODEL, m, --host, 0.0.0.0]
    startupProbe: {httpGet: {path: /live, port: 9090}, failureThreshold: 60, periodSeconds: 60}
"""
SERVERS = {"sglang": "sglang.launch_server", "vllm": "vllm.entrypoints.openai.api_server"}


@of_rows
def test_its_server_is_not_the_engines(one: wrappers.Wrapper) -> None:
    pod = POD.replace("MODEL", MODEL[one.engine].split()[0])
    said = entries(pod.replace("PROGRAM", one.program))
    plain = entries(pod.replace("PROGRAM", SERVERS[one.engine]))

    assert "startupProbe" not in said
    assert said["--host"].verdict is Verdict.FINE
    assert plain["--host"].verdict is Verdict.RISKY
    assert "startupProbe" in plain


@of_rows
def test_a_probe_that_does_not_wait_for_the_load_is_told_whose_ever_it_is(
    one: wrappers.Wrapper,
) -> None:
    pod = POD.replace("MODEL", MODEL[one.engine].split()[0]).replace(", m,", ", zai-org/GLM-5,")
    pod = pod.replace("Threshold: 60", "Threshold: 1").replace("PROGRAM", one.program)
    assert "it kills the server after" in entries(pod)["startupProbe"].why


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


RECIPE = """\
model: {{path: m, container: {alias}}}
identity: {identity}
backend:
  {engine}_config:
    decode:
      served-model-name: zai-org/GLM-5
      tensor-parallel-size: 8
      {option}: glm47
"""
OF_RECIPES = [("sglang", "lmsysorg/sglang:v0.5.20-cu130"), ("vllm", "vllm/vllm-openai:v0.32.0")]


@pytest.mark.parametrize(("engine", "image"), OF_RECIPES)
def test_options_of_dynamos_beside_the_engines_are_its_own(engine: str, image: str) -> None:
    identity = f"{{container: {{image: '{image}'}}}}"
    shape = {"alias": f"dynamo-{engine}", "identity": identity, "engine": engine}
    [own] = read(RECIPE.format(option="dyn-tool-call-parser", **shape)).launches
    [slip] = read(RECIPE.format(option="dny-tool-call-parser", **shape)).launches
    at = Target(own.release, "sm100", engine=engine)

    assert own.image == image
    said = {one.name: one for one in lint(own, at)}
    assert said["--dyn-tool-call-parser"].why == "Dynamo reads it"
    assert {one.name for one in lint(slip, at) if one.verdict.says_no} == {"--dny-tool-call-parser"}


def test_an_image_that_a_recipe_names_by_its_clusters_name_alone_is_none_of_the_releases() -> None:
    shape = {"alias": "dynamo-vllm", "identity": "{}", "engine": "vllm"}
    [launch] = read(RECIPE.format(option="dyn-tool-call-parser", **shape)).launches

    assert (launch.image, launch.release) == ("dynamo-vllm", None)


def test_a_release_that_a_recipe_says_in_quotes_is_its_own() -> None:
    shape = {"alias": "x", "identity": '{frameworks: {vllm: "0.32.0"}}', "engine": "vllm"}
    [launch] = read(RECIPE.format(option="dyn-tool-call-parser", **shape)).launches

    assert launch.release == "0.32.0"


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
