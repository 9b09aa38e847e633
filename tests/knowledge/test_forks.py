"""What is a fork's is called so, and nothing that a release has."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from launcher.engines import issues, options
from launcher.engines.engine import dialect
from launcher.engines.match import Case
from launcher.engines.target import Target
from launcher.formats.launches import Launch
from launcher.knowledge import forks, rows
from launcher.lint.concerns import Verdict
from launcher.lint.lint import Entry, lint
from launcher.lint.run import judge
from launcher.plan.evidence import Known

SGLANG = dialect("sglang").options
NEWEST = SGLANG.release(SGLANG.newest)


def entry(word: str, *values: str, release: str = SGLANG.newest) -> Entry:
    launch = Launch.of(["--model-path", "m", word, *values], {})
    return lint(launch, Target(release, "sm100"))[1]


def test_every_row_can_be_read() -> None:
    assert forks.table().complaints == ()
    assert {one.id for one in forks.table().rows} == {"b12x", "b12x-vllm", "ktransformers"}


@pytest.mark.parametrize(
    "word",
    [
        "--enable-pcie-oneshot-allreduce",
        "--enable-pcie-oneshot-allreduce-fusion",
        "--pcie-oneshot-allreduce-max-size",
        "--kt-gpu-prefill-token-threshold",
        "--kt-enable-dynamic-expert-update",
        "--kt-expert-placement-strategy",
    ],
)
def test_a_forks_option_is_refused_as_a_forks(word: str) -> None:
    said = entry(word)

    assert said.verdict is Verdict.UNKNOWN
    assert "forks" in said.why
    assert "did you mean" not in (said.instead or "")
    assert said.known is Known.REPORTED
    assert options.nearest_name(word, NEWEST) is None


def test_what_sglang_has_in_its_place_is_told() -> None:
    said = entry("--enable-pcie-oneshot-allreduce")

    assert "SGLANG_ENABLE_PCIE_IPC_ALLREDUCE=1, from 0.5.21 on" in (said.instead or "")


def test_a_forks_choice_is_called_so() -> None:
    for word in ("--moe-runner-backend", "--fp4-gemm-backend", "--dsa-decode-backend"):
        said = entry(word, "b12x")
        assert said.verdict is Verdict.WRONG
        assert "forks with b12x kernels" in said.why
        assert "did you mean" not in said.why


def test_a_forks_variable_is_called_so() -> None:
    case = Case(Target(SGLANG.newest, "sm120"), {}, {"SGLANG_USE_B12X": "1"}, 8)
    [said] = issues.issues(case)

    assert (said.id, said.severity) == ("sglang-variables", issues.Harm.INERT)
    assert "forks with b12x kernels" in said.what


@pytest.mark.parametrize("release", SGLANG.releases)
def test_what_a_release_has_is_no_forks(release: str) -> None:
    """Whatever the patterns say: a release is asked first."""
    known = SGLANG.release(release)
    for word in ("--kt-method", "--kt-num-gpu-experts", "--kt-weight-path"):
        if known.accepts(word):
            assert entry(word, "1", release=release).verdict is Verdict.FINE
    assert not [name for name in known.variables if forks.of_variable(name)]
    choices = (choice for option in known.options.values() for choice in option.choices)
    assert not [one for one in choices if forks.of_choice(str(one))]


def test_a_row_that_is_none_costs_itself(tmp_path: Path) -> None:
    file = tmp_path / "forks.toml"
    file.write_text("[one]\nname = 'x'\noptions = 'y'\n")

    [complaint] = rows.read(file, None, forks.fork).complaints
    assert complaint.startswith("forks.toml, one: options")


OF_FORKS = {
    "an image": "docker run --gpus all {image} {program} {words}",
    "a compose file": "services: {{a: {{image: '{image}', command: '{program} {words}'}}}}",
}
SGLANG_WORDS = (
    "--model-path m --moe-runner-backend b12x --enable-pcie-oneshot-allreduce --host 127.0.0.1"
)


def refused(text: str) -> set[str]:
    [judged] = judge(text, Target(None, "sm120")).launches
    [entries] = judged.releases.values()
    return {one.name for one in entries if one.verdict.is_refused}


@pytest.mark.parametrize("form", OF_FORKS)
@pytest.mark.parametrize(
    ("image", "program", "words"),
    [
        ("voipmonitor/sglang:cu130", "python3 -m sglang.launch_server", SGLANG_WORDS),
        ("x/sglang:b12x-0605", "python3 -m sglang.launch_server", SGLANG_WORDS),
        ("voipmonitor/vllm:b12x", "vllm serve m", "--attention-backend B12X_MLA_SPARSE"),
        ("somebody/odd:1", "vllm serve m", "--attention-backend B12X_MLA_SPARSE"),
        ("x/sglang-kt:glm5", "python3 -m sglang.launch_server", "--model-path m --kt-odd 3"),
    ],
)
def test_what_is_a_forks_is_not_judged_in_its_image(
    form: str, image: str, program: str, words: str
) -> None:
    text = OF_FORKS[form].format(image=image, program=program, words=words)

    assert not refused(text)
    assert refused(f"{program} {words}")


def test_what_is_a_forks_is_not_judged_where_the_text_installs_it() -> None:
    launch = f"\npython3 -m sglang.launch_server {SGLANG_WORDS}"

    assert not refused(f"pip install git+https://github.com/lukealonso/sglang@main{launch}")
    assert not refused(f"git clone --depth 1 https://github.com/lukealonso/sglang{launch}")
    assert refused(f"# as lukealonso/sglang does{launch}")
    assert refused(f"git clone https://github.com/lukealonso/sglang-notes{launch}")


@pytest.mark.parametrize("image", ["lmsysorg/sglang:v0.5.23", "lmsysorg/sglang:latest"])
def test_a_release_has_nothing_of_a_forks(image: str) -> None:
    text = f"docker run {image} python3 -m sglang.launch_server {SGLANG_WORDS}"

    assert refused(text) == {"--moe-runner-backend", "--enable-pcie-oneshot-allreduce"}


def test_all_else_is_judged_in_a_forks_image() -> None:
    text = "docker run voipmonitor/vllm:b12x vllm serve m --attention-backend nosuch --port x"

    assert refused(text) == {"--port"}, "a backend that no release has may be the fork's"


def test_a_name_that_is_looked_up_after_parsing_is_refused_at_load() -> None:
    """Tested: the parser of vLLM 0.32.0 takes it, its configuration does not."""
    launch = Launch.of(["m", "--attention-backend", "B12X_MLA_SPARSE", "--dtype", "nosuch"], {})
    told = lint(replace(launch, engine="vllm"), Target("0.32.0", "sm120", engine="vllm"))

    assert [one.when for one in told[1:]] == [issues.Shows.LOAD, issues.Shows.PARSE]
