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
