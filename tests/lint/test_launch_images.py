"""An image that is not a release of an engine is said to be none: what is judged may not be what runs."""

from __future__ import annotations

import pytest

from launcher.engines.engine import NAMES, dialect
from launcher.engines.target import Target
from launcher.formats.reading import read
from launcher.lint.run import judge

GIVEN = "zai-org/GLM-5 --tensor-parallel-size 8 --max-model-len 131072"
LISTED = ", ".join(GIVEN.split())
FORMS = {
    "docker run": "docker run --gpus all {} " + GIVEN,
    "docker run with a program": "docker run --entrypoint vllm {} serve " + GIVEN,
    "compose": "services: {{a: {{image: '{}', entrypoint: [vllm, serve], command: [" + LISTED + "]}}}}",
    "a script": "services: {{a: {{image: '{}', entrypoint: [bash, -c], command: ['vllm serve " + GIVEN + "']}}}}",
    "quadlet": "[Container]\nImage={}\nEntrypoint=vllm\nExec=serve " + GIVEN,
    "Dockerfile": 'FROM {}\nENTRYPOINT ["vllm", "serve", "zai-org/GLM-5", "-tp", "8"]',
}  # fmt: skip


def assumed(text: str) -> str:
    [judged] = judge(text, Target(None, "sm100")).launches
    return "; ".join(judged.assumed)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "image",
    [
        "vllm/vllm-openai:nightly",
        "vllm/vllm-openai:glm52",
        "vllm/vllm-openai@sha256:0123",
        "somebody/vllm-backport:latest-sm80",
        "glm52-vllm:v0.25.0-fix",
        "somebody/vllm:black-b12x-20260608",
    ],
)
def test_an_image_that_is_no_release_is_said_to_be_none(image: str, form: str) -> None:
    assert f"the image {image} is none of its releases" in assumed(FORMS[form].format(image))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("image", "said"),
    [
        ("vllm/vllm-openai:latest", "nothing names another"),
        ("vllm/vllm-openai:latest-cu129", "nothing names another"),
        ("vllm/vllm-openai", "nothing names another"),
        ("${IMAGE:-vllm/vllm-openai:latest}", "nothing names another"),
        ("registry.local:5000/vllm/vllm-openai:v0.32.0", ""),
        ("vllm/vllm-openai:v0.32.0-cu129", ""),
    ],
)
def test_the_newest_image_and_a_release_are_what_they_say(form: str, image: str, said: str) -> None:
    told = assumed(FORMS[form].format(image))

    assert said in told
    assert "none of its releases" not in told


def test_nobody_knows_what_an_image_is_that_comes_from_outside() -> None:
    assert "nothing names another" in assumed(FORMS["compose"].format("${IMAGE}"))


@pytest.mark.parametrize("image", ["somebody/vllm-backport:latest-sm80", "glm52-vllm:v0.25.0-fix"])
def test_an_engines_options_behind_a_model_are_a_launch_in_any_image_of_it(image: str) -> None:
    [launch] = read(f"docker run {image} {GIVEN}").launches

    assert (launch.engine, " ".join(launch.words)) == ("vllm", GIVEN)


def test_other_options_behind_an_image_of_an_engine_are_none() -> None:
    for words in ("a/m --port 1", "a/m --port 1 --jobs 4", "/start.sh --port 1 --max-model-len 8"):
        assert not read(f"docker run somebody/vllm:1 {words}").launches
    assert not read(f"docker run somebody/sglang:1 {GIVEN}").launches


def test_an_image_of_another_release_than_the_one_asked_for_is_told() -> None:
    """What is judged is not what the file starts: nothing here changes the image."""
    text = "docker run vllm/vllm-openai:v0.24.0 --model nvidia/GLM-5.2-NVFP4 --max-num-seqs 16"
    for release, told in (("0.32.0", True), ("0.24.0", False), (None, False)):
        [one] = judge(text, Target(release=release, arch="sm120")).launches
        assert any("is of 0.24.0: --fix changes options" in why for why in one.assumed) is told


def test_a_release_of_another_engine_is_said_to_be_one() -> None:
    [one] = judge("vllm serve m -tp 8", Target(release="0.5.23", arch="sm120")).launches

    assert any("--release 0.5.23 is another engine's" in why for why in one.assumed)


OWN = "sglang-glm5:latest"
STARTS = "python3 -m sglang.launch_server --model-path a/m"
PLACES = {
    "docker": f"docker run --gpus all IMAGE {STARTS}",
    "compose": f"services: {{a: {{image: 'IMAGE', command: {STARTS}}}}}",
    "kubernetes": "spec: {containers: [{image: 'IMAGE', command: [" + STARTS.replace(" ", ", ") + "]}]}",
}  # fmt: skip
of_places = pytest.mark.parametrize("form", PLACES)


@of_places
@pytest.mark.parametrize(
    "registry", ["<your-registry>", "${REGISTRY}", "{{ registry }}", "YOUR_REGISTRY"]
)
def test_an_image_is_quoted_as_its_author_wrote_it(form: str, registry: str) -> None:
    text = PLACES[form].replace("IMAGE", f"{registry}/{OWN}")
    [told] = judge(text, Target(None, "sm120")).launches

    assert told.launch.image == f"{registry}/{OWN}"
    assert any(f"the image {registry}/{OWN} is none of its releases" in one for one in told.notes)


@of_places
@pytest.mark.parametrize("image", ["<your-image>", "x/sglang-glm5:<tag>", "x/sglang-glm5:${TAG}"])
def test_of_an_image_that_is_left_open_nothing_is_said(form: str, image: str) -> None:
    [told] = judge(PLACES[form].replace("IMAGE", image), Target(None, "sm120")).launches
    assert not [note for note in told.notes if "none of its releases" in note or "TTT" in note]


@pytest.mark.parametrize("engine", NAMES)
def test_every_choice_of_a_build_of_ones_own_is_judged(engine: str) -> None:
    spoken = dialect(engine)
    options = spoken.options.release(spoken.options.newest).options
    chosen = {one.name: one.choices for one in options.values() if one.choices}
    for value in (lambda name: chosen[name][-1], lambda name: "1"):
        given = " ".join(f"{name} {value(name)}" for name in sorted(chosen))
        program = " ".join(spoken.programs[0])

        [judged] = judge(
            f"docker run somebody/{engine}:mine {program} m {given}", Target()
        ).launches

        assert len(chosen) > 10
        assert chosen.keys() <= {entry.name for entry in judged.releases[spoken.options.newest]}


@pytest.mark.parametrize(
    ("value", "is_refused"),
    [
        ("deep_gemm_amxf4_mega_moe", False),  # as long as another, and no slip of it
        ("flashinfer_own", False),
        ("flashinfer_cutlas", True),
        ("flashinfer-cutlsas", True),
    ],
)
def test_a_choice_of_ones_own_is_not_judged_and_a_slip_is(value: str, *, is_refused: bool) -> None:
    text = f"docker run vllm/vllm-openai:nightly --model m --moe-backend {value}"
    [judged] = judge(text, Target(None, "sm100")).launches
    [entries] = judged.releases.values()

    assert any(one.verdict.says_no for one in entries) is is_refused
