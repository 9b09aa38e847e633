"""Which model a launch is of, where its path does not say so."""

from __future__ import annotations

import pytest

from launcher.engines.target import Target
from launcher.knowledge import models
from launcher.lint.run import Judged, judge


@pytest.mark.parametrize(
    ("path", "family"),
    [
        ("/home/user/.cache/modelscope/models/ZhipuAI--GLM-5.3-Flash/snapshots/master", "glm-5.3-flash"),
        ("/root/.cache/modelscope/hub/models/ZhipuAI/GLM-5___3-Flash", "glm-5.3-flash"),
        ("/root/.cache/modelscope/hub/ZhipuAI/GLM-5___2-FP8", "glm-5"),
        ("ZhipuAI/GLM-5.2-FP8", "glm-5"),
        ("/hub/models--zai-org--GLM-5.2-FP8/snapshots/0123abc", "glm-5"),
        ("/hub/models--zai-org--GLM-5.2-FP8", "glm-5"),
    ],
)  # fmt: skip
def test_a_cache_is_read_by_whichever_hub_wrote_it(path: str, family: str) -> None:
    found = models.by_name(path)

    assert found
    assert found.id == family


def test_a_checkpoint_is_known_by_its_name_on_either_hub() -> None:
    assert models.known("ZhipuAI/GLM-5.2-FP8") is models.known("zai-org/GLM-5.2-FP8")
    assert models.known("/c/models/ZhipuAI--GLM-5.2-FP8/snapshots/v1") is models.known(
        "zai-org/GLM-5.2-FP8"
    )
    assert models.known("zai-org/GLM-5.2-FP8") is not None


@pytest.mark.parametrize("path", ["/data/tom--GLM-5-old/x", "/a--b", "/data/snapshots/mine", "--"])
def test_no_other_folder_is_a_cache(path: str) -> None:
    assert models.by_name(path) is None


def judged(words: str) -> Judged:
    text = f"vllm serve {words} -tp 8 --host 127.0.0.1"
    return judge(text, Target("0.32.0", "sm120", "rtx-pro-6000")).launches[0]


@pytest.mark.parametrize("path", ["/model", "$MODEL", "/models/snapshot-1", "./checkpoint"])
def test_what_a_nameless_path_is_served_as_is_what_it_is_taken_for(path: str) -> None:
    told = judged(f"{path} --served-model-name glm GLM-5.2-NVFP4 --decode-context-parallel-size 4")

    assert f"{path} is taken for GLM-5.2-NVFP4, as it is served" in told.notes
    assert not [note for note in told.notes if "rules for GLM-5 are not applied" in note]


@pytest.mark.parametrize("path", ["Qwen/Qwen3-4B", "/models/GLM-4.7-FP8", "zai-org/GLM-5.2-FP8"])
def test_a_path_that_names_a_model_is_that_whatever_it_is_served_as(path: str) -> None:
    assert not [
        note for note in judged(f"{path} --served-model-name GLM-5").notes if "taken for" in note
    ]


@pytest.mark.parametrize("name", ["model", "gpt-4", "default", "mine/best"])
def test_a_name_of_nothing_says_nothing(name: str) -> None:
    told = judged(f"/model --served-model-name {name}").notes

    assert not [note for note in told if "taken for" in note]
    assert any("model unknown" in note for note in told)


def noted(text: str) -> tuple[str, ...]:
    """What is said of the one launch of a text."""
    [launch] = judge(text, Target("0.32.0", "sm120", "rtx-pro-6000")).launches
    return launch.notes


@pytest.mark.parametrize("key", ["served-model-name", "served_model_name"])
def test_a_table_without_a_model_is_of_the_one_that_it_is_served_as(key: str) -> None:
    said = noted(f"{key}: nvidia/GLM-5.2-NVFP4\ntensor-parallel-size: 8\nmax-num-seqs: 16\n")

    assert "its model is taken for nvidia/GLM-5.2-NVFP4, as it is served" in said
    assert not any("model unknown" in note for note in said)


def test_a_command_without_a_model_is_of_none() -> None:
    said = noted("vllm serve --served-model-name nvidia/GLM-5.2-NVFP4 --tensor-parallel-size 8\n")

    assert not any("taken for" in note for note in said)


HUB = "/c/hub/models--LibertAIDAI--GLM-5.3-Flash-NVFP4"


@pytest.mark.parametrize("lookup", [f"$(ls -d {HUB}/snapshots/*/ | head -1)", f"`ls -d {HUB}/s*`"])
def test_a_folder_that_a_script_looks_up_tells_the_checkpoint(lookup: str) -> None:
    said = noted(f'M={lookup}\nvllm serve "$M" --tensor-parallel-size 2\n')

    [taken] = [note for note in said if "taken for" in note]
    assert taken.endswith("taken for LibertAIDAI/GLM-5.3-Flash-NVFP4, whose folder it looks up")


def test_one_of_two_folders_is_not_chosen() -> None:
    lookup = f"$(ls -d {HUB} /c/models--zai-org--GLM-5.3-Flash | head -1)"

    assert not any("taken for" in note for note in noted(f'vllm serve "{lookup}" -tp 2\n'))


SERVE = (
    "python3 -m sglang.launch_server --model-path /model --tp-size 4 --dsa-decode-backend trtllm"
)
IMAGE = "lmsysorg/sglang:v0.5.23"
POD = """apiVersion: v1
kind: Pod
metadata: {name: m}
spec:
  volumes: [{name: w, hostPath: {path: SOURCE}}]
  containers:
  - {image: IMAGE, command: [COMMAND], volumeMounts: [{name: w, mountPath: /model}]}
"""
FORMS = {
    "docker -v": f"docker run -v SOURCE:/model:ro {IMAGE} {SERVE}",
    "docker --mount": f"docker run --mount type=bind,src=SOURCE,dst=/model {IMAGE} {SERVE}",
    "compose": f"services: {{a: {{image: {IMAGE}, command: {SERVE}, volumes: ['SOURCE:/model']}}}}",
    "compose, long": f"services: {{a: {{image: {IMAGE}, command: {SERVE},"
    " volumes: [{type: bind, source: 'SOURCE', target: /model}]}}",
    "kubernetes": POD.replace("IMAGE", IMAGE).replace("COMMAND", ", ".join(SERVE.split())),
    "quadlet": f"[Container]\nImage={IMAGE}\nVolume=SOURCE:/model\nExec={SERVE}\n",
}
of_forms = pytest.mark.parametrize("form", FORMS)


def mounted(form: str, source: str) -> Judged:
    text = FORMS[form].replace("SOURCE", source)
    return judge(text, Target("0.5.23", "sm120", "rtx-pro-6000")).launches[0]


@of_forms
def test_a_folder_is_the_model_that_is_mounted_there(form: str) -> None:
    told = mounted(form, "/srv/GLM-5.3-Flash-NVFP4")

    assert "/model is taken for /srv/GLM-5.3-Flash-NVFP4, which is mounted there" in told.notes
    assert not told.is_sound  # SM120 lacks these kernels


@of_forms
def test_a_folder_of_any_other_name_is_nobodys(form: str) -> None:
    told = mounted(form, "/srv/weights")

    assert not [note for note in told.notes if "taken for" in note]
    assert any("model unknown" in note for note in told.notes)


@pytest.mark.parametrize("form", ["docker -v", "compose", "compose, long"])
@pytest.mark.parametrize(
    "source", ["${MODELS:-/srv}/GLM-5.2-NVFP4", "./GLM-5.2-NVFP4", "glm-5.2-nvfp4"]
)
def test_so_is_a_volume_or_a_folder_somewhere(form: str, source: str) -> None:
    [note] = [note for note in mounted(form, source).notes if "taken for" in note]
    assert "which is mounted there" in note


@pytest.mark.parametrize(
    ("source", "inside"), [("/srv/models", "/model/x"), ("/srv/GLM-5.2", "/model/GLM-4.7-FP8")]
)
def test_what_is_below_a_mount_has_its_own_name(source: str, inside: str) -> None:
    text = FORMS["docker -v"].replace("SOURCE", source)
    text = text.replace("--model-path /model", f"--model-path {inside}")
    [told] = judge(text, Target("0.5.23")).launches

    assert not [note for note in told.notes if "taken for" in note]
