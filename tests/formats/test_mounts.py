"""A folder inside a container is looked at where it is on the host, or not at all."""

from __future__ import annotations

import pytest

from launcher.engines.target import Target
from launcher.formats.reading import read
from launcher.host.facts import Model
from launcher.lint.run import judge

GIVEN = "--tensor-parallel-size 8 --max-model-len 8192"
ARGS = "[/model/glm, --tensor-parallel-size, '8', --max-model-len, '8192']"
FORMS = {
    "docker -v": f"docker run -v /data:/model:ro x/y:1 /model/glm {GIVEN}",
    "docker --volume=": f"docker run --volume=/data:/model vllm/vllm-openai /model/glm {GIVEN}",
    "docker --mount": (
        f"docker run --mount type=bind,source=/data,target=/model x/y:1 /model/glm {GIVEN}"
    ),
    "docker --mount src": f"podman run --mount src=/data,dst=/model x/y:1 /model/glm {GIVEN}",
    "compose": f"services: {{a: {{image: x/y, volumes: ['/data:/model:ro'], command: {ARGS}}}}}",
    "compose, in full": (
        "services: {a: {image: x/y, volumes: [{type: bind, source: /data, target: /model}],"
        f" command: {ARGS}}}}}"
    ),
    "quadlet": f"[Container]\nImage=x/y:1\nVolume=/data:/model:ro,z\nExec=/model/glm {GIVEN}",
    "pod": (
        "apiVersion: v1\nspec: {volumes: [{name: m, hostPath: {path: /data}}], containers:"
        " [{image: x/y, volumeMounts: [{name: m, mountPath: /model}], args: " + ARGS + "}]}"
    ),
    "pod, a folder of it": (
        "apiVersion: v1\nspec: {volumes: [{name: m, hostPath: {path: /}}], containers: [{image:"
        " x/y, volumeMounts: [{name: m, mountPath: /model, subPath: data}], args: " + ARGS + "}]}"
    ),
}


def looked_at(text: str) -> list[str]:
    """The paths at which a checkpoint is asked what it is."""
    asked: list[str] = []

    def said(path: str) -> Model:
        asked.append(path)
        return Model()

    judge(text, Target("0.32.0", "sm120"), said=said)
    return [*dict.fromkeys(asked)]


@pytest.mark.parametrize("form", FORMS)
def test_a_folder_that_is_mounted_is_looked_at_on_the_host(form: str) -> None:
    assert looked_at(FORMS[form]) == ["/data/glm"]


@pytest.mark.parametrize(
    "options",
    ["", "-v weights:/model", "-v $DATA:/model", "-v /data:/other", "-v /a:/model -v w:/model/glm",
     "-v /data"],
)  # fmt: skip
def test_a_folder_that_nobody_knows_on_the_host_is_not_looked_at(options: str) -> None:
    assert looked_at(f"docker run {options} x/y:1 /model/glm {GIVEN}") == []


def test_the_nearest_mount_counts() -> None:
    text = f"docker run -v /a:/model -v /b:/model/glm x/y:1 /model/glm/fp4 {GIVEN}"

    assert looked_at(text) == ["/b/fp4"]


def test_a_name_and_a_folder_without_a_container_are_looked_at_as_they_are() -> None:
    assert looked_at(f"docker run -v /a:/b x/y:1 zai-org/GLM-5 {GIVEN}") == ["zai-org/GLM-5"]
    assert looked_at(f"vllm serve /model/glm {GIVEN}") == ["/model/glm"]


UNKNOWN = {
    "docker run": "docker run --gpus all {} {}",
    "compose": "services: {{a: {{image: '{}', command: '{}'}}}}",
    "quadlet": "[Container]\nImage={}\nExec={}",
    "pod": "spec: {{containers: [{{image: '{}', args: [{}]}}]}}",
}


@pytest.mark.parametrize("form", UNKNOWN)
@pytest.mark.parametrize(
    ("words", "engine"),
    [
        ("zai-org/GLM-5 --tensor-parallel-size 8", "vllm"),
        ("--model zai-org/GLM-5 --tensor-parallel-size 8", "vllm"),
        ("--model-path zai-org/GLM-5 --tp-size 8 --mem-fraction-static 0.8", "sglang"),
        ("/models/glm --max-model-len 8192 --served-model-name glm", "vllm"),
    ],
)
def test_an_image_that_nobody_knows_starts_what_its_options_tell(
    form: str, words: str, engine: str
) -> None:
    listed = ", ".join(f"'{word}'" for word in words.split()) if form == "pod" else words
    [launch] = read(UNKNOWN[form].format("some/unknown:tag", listed)).launches

    assert (launch.engine, " ".join(launch.words)) == (engine, words)


@pytest.mark.parametrize(
    "words",
    [
        "a/b --port 1 --host x",
        "a/b --jobs 4 --max-model-len 3 --other-thing-x 4 --more-of-it 4",
        "--model-id zai-org/GLM-5 --num-shard 8 --max-total-tokens 4",
        "/start --tensor-parallel-size 8",
        "train.py --tensor-parallel-size 8",
        "bash -c ls",
        "--name x --tensor-parallel-size 8",
    ],
)
def test_what_may_be_another_programs_is_no_launch(words: str) -> None:
    found = read(f"docker run some/unknown:tag {words}")

    assert not found.launches
    assert "is no server that is known" in " ".join(found.unread) or "bash" in words
