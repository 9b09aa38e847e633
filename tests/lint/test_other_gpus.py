"""Images for GPUs that nobody here judges: what hangs on the GPU is left open, and said to be."""

from __future__ import annotations

import pytest

from launcher.engines.target import Target
from launcher.knowledge.images import of_other_gpus
from launcher.lint.run import judge

GUESS = Target(arch="sm120", is_guess=True)


@pytest.mark.parametrize(
    ("image", "whose"),
    [
        ("vllm/vllm-openai-rocm:v0.33.0", "ROCm"),
        ("rocm/vllm:latest", "ROCm"),
        ("lmsysorg/sglang:v0.5.23-rocm700-mi35x", "ROCm"),
        ("glm53-sm121-v11", "GB10"),
        ("lmsysorg/sglang:spark", "GB10"),
        ("ghcr.io/x/dgx-spark-vllm:1", "GB10"),
        ("vllm/vllm-openai:v0.33.0", ""),
        ("vllm/vllm-openai:v0.33.0-cu129", ""),
        ("x/sparkling:sm120", ""),
        ("x/procmon-vllm:1", ""),
        ("", ""),
    ],
)
def test_an_image_says_by_its_name_for_whose_gpus_it_is(image: str, whose: str) -> None:
    assert whose in of_other_gpus(image)
    assert bool(of_other_gpus(image)) == bool(whose)


@pytest.mark.parametrize(
    ("image", "starts"),
    [("vllm/vllm-openai-rocm:v0.33.0", "--model"), ("glm-sm121:v1", "vllm serve")],
)
def test_what_hangs_on_the_gpu_is_not_judged_for_another(image: str, starts: str) -> None:
    options = "nvidia/GLM-5.2-NVFP4 -tp 2 --moe-backend flashinfer_trtllm"
    text = f"docker run {image} {starts} {options}\n"
    [blind] = judge(text, GUESS).launches
    [asked] = judge(text, Target(arch="sm120", gpu="rtx-pro-6000")).launches
    [plain] = judge(
        text.replace(image, "glm-own:v1").replace("--model", "vllm serve"), GUESS
    ).launches

    assert blind.target.arch is None
    assert blind.is_sound
    assert [one for one in blind.assumed if "what hangs on the GPU is not judged" in one]
    assert not asked.is_sound, "who names a GPU is told of it"
    assert [one for one in asked.assumed if "judged for sm120, as asked" in one]
    assert not plain.is_sound
    assert not [one for one in plain.assumed if " is for " in one]


def test_an_image_that_is_no_release_may_draft_by_a_method_of_its_own() -> None:
    words = '--speculative-config \'{"method": "%s", "model": "x/d", "num_speculative_tokens": 3}\''
    text = "docker run glm-own:v11 vllm serve nvidia/GLM-5.3-Flash-NVFP4 -tp 8 " + words + "\n"

    for method, is_left in (("dflash2", True), ("egale", False)):
        [judged] = judge(text % method, Target(arch="sm100")).launches
        [entries] = judged.releases.values()
        [told] = [one for one in entries if one.name == "--speculative-config"]
        assert bool(told.unjudged) == is_left
