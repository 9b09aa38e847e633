"""A text names GPUs as people do, and a launch in it is judged for them, or for none that it names not."""

from __future__ import annotations

import pytest

from launcher.engines.target import Target
from launcher.knowledge import gpus
from launcher.knowledge.gpu_names import named
from launcher.lint.run import guessed, judge

SAID = {
    "8xB200": ("sm100", "b200"),
    "8 x B200": ("sm100", "b200"),
    "glm5_fp4_b200.sh": ("sm100", "b200"),
    "DGX B200": ("sm100", "b200"),
    "GB200 NVL72": ("sm100", "gb200"),
    "HGX B300": ("sm103", "b300"),
    "gpu_type: gb300": ("sm103", "gb300"),
    "RTX PRO 6000": ("sm120", "rtx-pro-6000"),
    "4x RTX 6000 Pro": ("sm120", "rtx-pro-6000"),
    "nvidia-rtx-pro-6000": ("sm120", "rtx-pro-6000"),
    "4x5090": ("sm120", "rtx-5090"),
    "RTX 5090": ("sm120", "rtx-5090"),
    "RTX PRO 5000": ("sm120", ""),
    "sm_120a": ("sm120", ""),
    "DGX Spark": ("sm121", ""),
    "gpu:h100:4": ("", ""),
    "8xH20": ("", ""),
    "A100-80GB": ("", ""),
    "MI355X": ("", ""),
    "RTX 4090": ("", ""),
    "B200-MIG-1g.23gb": ("sm100", ""),
}
SILENT = (
    "--port 5090",
    "B2001",
    "layer A10",
    "GLM-5.2",
    "--tp 8",
    "xb200x",
    "h2000",
    "",
    "NotIn: B200",
)
TEXT = "# {}\nsglang serve --model-path nvidia/GLM-5.2-NVFP4 --tp-size 8 --attention-backend fa3\n"


@pytest.mark.parametrize("said", SAID)
def test_a_gpu_is_known_by_what_people_call_it(said: str) -> None:
    assert [(one.arch, one.product) for one in named(f"on {said}, and more")] == [SAID[said]]


@pytest.mark.parametrize("text", SILENT)
def test_what_is_no_gpu_names_none(text: str) -> None:
    assert named(text) == ()


@pytest.mark.parametrize("one", [row for row in gpus.products().values() if row.is_blackwell])
def test_every_product_is_known_by_its_names(one: gpus.Product) -> None:
    for name in (one.id, one.name, *(edition.seen for edition in one.editions)):
        [found] = named(name)
        assert found.arch == one.arch
        assert found.product in ("", one.id)


GUESS = Target(None, "sm120", is_guess=True)


@pytest.mark.parametrize(
    ("said", "arch", "gpu", "is_guess"),
    [
        ("nothing", "sm120", None, True),
        ("8xB200", "sm100", "b200", False),
        ("8x RTX PRO 6000", "sm120", "rtx-pro-6000", False),
        ("8xH200", None, None, False),
        ("8xH200 and 8xB200", None, None, False),
        ("8xB200 and 4xGB300", None, None, False),
        ("8xB200, then RTX PRO 6000", "sm120", None, True),
        ("RTX 5090 and RTX PRO 6000", "sm120", None, False),
    ],
)
def test_a_launch_is_judged_for_the_gpus_that_its_text_names(
    said: str, arch: str | None, gpu: str | None, is_guess: bool
) -> None:
    [judged] = judge(TEXT.format(said), GUESS).launches
    at = judged.target

    assert (at.arch, at.gpu, at.is_guess) == (arch, gpu, is_guess)
    assert any("the text names" in one for one in judged.assumed) is (not is_guess)


@pytest.mark.parametrize("said", ["8xB200", "8xH200", "RTX PRO 6000"])
def test_what_was_asked_for_stands_whatever_the_text_names(said: str) -> None:
    [judged] = judge(TEXT.format(said), Target(None, "sm103", gpu="b300")).launches

    assert (judged.target.arch, judged.target.gpu) == ("sm103", "b300")
    assert not any("the text names" in one for one in judged.assumed)


@pytest.mark.parametrize(
    ("file", "arch", "is_guess"),
    [
        ("/x/b200/serve.sh", "sm120", True),
        ("/x/glm5_fp4_b200.sh", "sm100", True),
        ("glm5.2-gb300-tp4.yaml", "sm103", True),
        ("serve-rtx-pro-6000.sh", "sm120", True),
        ("glm5_fp8_h200.sh", None, False),
        ("b200-or-b300.sh", "sm120", True),
        ("-", "sm120", True),
    ],
)
def test_the_name_of_a_file_makes_the_guess_a_better_one(
    file: str, arch: str | None, is_guess: bool
) -> None:
    made = guessed(GUESS, file)

    assert (made.arch, made.is_guess) == (arch, is_guess)
    assert guessed(Target(None, "sm103"), file).arch == "sm103"
