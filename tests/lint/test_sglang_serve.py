"""`sglang serve` takes its model without a name, from the release on in which it learnt that."""

from __future__ import annotations

import pytest

from launcher.engines.engine import dialect
from launcher.engines.options import version
from launcher.engines.target import Target
from launcher.lint.fix import fixed
from launcher.lint.lint import Entry
from launcher.lint.migrate import profile
from launcher.lint.run import Judged, judge
from launcher.lint.translate import translate

MODEL = "nvidia/GLM-5-NVFP4"
RELEASES = dialect("sglang").options.releases
FIRST = "0.5.16"  # sglang/cli/serve.py of the wheels
FORMS = {
    "shell": "sglang serve {m} --tp-size 8",
    "docker run": "docker run --gpus all lmsysorg/sglang:dev sglang serve {m} --tp-size 8",
    "compose": "services: {{a: {{command: sglang serve {m} --tp-size 8}}}}",
    "pod": "spec: {{containers: [{{command: [sglang, serve, {l}, --tp-size, '8']}}]}}",
    "pod with a script": "spec: {{containers: [{{command: [sh, -c, 'sglang serve {m} --tp-size 8']}}]}}",
    "unit": "[Service]\nExecStart=/opt/venv/bin/sglang serve {m} --tp-size 8",
    "Dockerfile": "FROM lmsysorg/sglang:dev\nCMD sglang serve {m} --tp-size 8",
    "with the kind of server": "sglang serve --model-type llm {m} --tp-size 8",
    "likewise, joined": "sglang serve --model-type=llm {m} --tp-size 8",
}  # fmt: skip


def _text(form: str, model: str) -> str:
    return FORMS[form].format(m=model, l=model.replace(" ", ", "))


def _judged(text: str, release: str) -> Judged:
    [one] = judge(text, Target(release, "sm100", "b200")).launches
    return one


def _told(text: str, release: str) -> list[tuple[object, ...]]:
    """What is said of all but the model."""
    [entries] = _judged(text, release).releases.values()
    rest = [one for one in entries if MODEL not in (one.name, one.value)]
    return [(one.name, one.value, one.verdict, one.concerns) for one in rest]


def _of_model(text: str, release: str) -> Entry:
    [entries] = _judged(text, release).releases.values()
    return next(one for one in entries if MODEL in (one.name, one.value))


@pytest.mark.parametrize("release", [one for one in RELEASES if version(one) >= version(FIRST)])
@pytest.mark.parametrize("form", FORMS)
def test_a_model_without_a_name_counts_as_one_with_it(form: str, release: str) -> None:
    named, bare = _text(form, f"--model-path {MODEL}"), _text(form, MODEL)

    assert _told(bare, release) == _told(named, release)
    assert _of_model(bare, release).concerns == _of_model(named, release).concerns
    assert _judged(bare, release).notes == _judged(named, release).notes


@pytest.mark.parametrize("release", [one for one in RELEASES if version(one) < version(FIRST)])
def test_a_release_that_did_not_know_that_refuses_it(release: str) -> None:
    entry = _of_model(_text("docker run", MODEL), release)

    assert entry.verdict.is_refused
    assert entry.instead == f"--model-path {MODEL}"


@pytest.mark.parametrize(
    "text",
    [
        f"python3 -m sglang.launch_server {MODEL} --tp-size 8",
        f"sglang serve --tp-size 8 {MODEL}",
        f"sglang serve {MODEL} {MODEL} --tp-size 8",
    ],
)
def test_what_takes_no_model_there_is_told_to_name_it(text: str) -> None:
    [entries] = _judged(text, "0.5.23").releases.values()

    refused = [one for one in entries if one.verdict.is_refused]
    assert [one.instead for one in refused] == [f"--model-path {MODEL}"]


@pytest.mark.parametrize("release", ["0.5.12", "0.5.23"])
@pytest.mark.parametrize("form", ["shell", "docker run", "compose", "pod", "unit"])
def test_its_name_is_put_before_it_where_it_wants_one(form: str, release: str) -> None:
    text, target = _text(form, MODEL), Target(release, "sm100", "b200")
    made = fixed(text, target).text

    assert (made == text) is (version(release) >= version(FIRST))
    assert not _judged(made, release).releases[release][0].verdict.is_refused


def test_the_last_of_two_counts_and_neither_is_refused() -> None:
    entry = _of_model(f"sglang serve {MODEL} --model-path zai-org/GLM-5 --tp-size 8", "0.5.23")

    assert entry.why == "given again further on: the last one counts"


def test_the_kind_of_server_is_for_the_program_that_takes_it_alone() -> None:
    def verdict(program: str, release: str) -> str:
        text = f"{program} --model-path {MODEL} --model-type llm"
        [entries] = _judged(text, release).releases.values()
        return entries[-1].verdict

    assert verdict("sglang serve", "0.5.10") == "fine"
    assert verdict("sglang serve", "0.5.9") == "unknown"
    assert verdict("python3 -m sglang.launch_server", "0.5.23") == "unknown"


def test_a_profile_and_a_command_of_vllm_have_the_model_that_stood_without_a_name() -> None:
    one = _judged(_text("docker run", MODEL), "0.5.23")

    assert f'model-path = "{MODEL}"' in profile(one, "run.sh")[0]
    assert MODEL in translate(one.launch, one.target.known, "vllm").argv
    refused = _judged(f"python3 -m sglang.launch_server {MODEL} --tp-size 8", "0.5.23")
    assert MODEL in translate(refused.launch, refused.target.known, "vllm").argv
