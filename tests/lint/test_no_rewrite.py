"""Where nothing can be chosen for its author, `lint` says what to decide, and where to say it."""

from __future__ import annotations

import pytest
from conftest import World

from launcher.engines.target import Target
from launcher.lint.fix import fixed
from launcher.lint.run import judge

DRAFTS = "--speculative-algorithm EAGLE --speculative-num-steps 3"
SGLANG = "python3 -m sglang.launch_server --model-path {} --tp-size 8 "
UNDECIDED = (
    SGLANG.format("lukealonso/GLM-5-NVFP4") + DRAFTS,
    SGLANG.format("lukealonso/GLM-5-NVFP4") + DRAFTS.replace("EAGLE", "NEXTN"),
    "vllm serve lukealonso/GLM-5-NVFP4 --tensor-parallel-size 8"
    """ --speculative-config '{"method": "mtp", "num_speculative_tokens": 1}'""",
    SGLANG.format("nvidia/GLM-5-NVFP4").replace("8", "6"),
    SGLANG.format("nvidia/GLM-5-NVFP4") + "--bogus 1",
)
ON_THE_GPU = (
    "docker run --gpus all lmsysorg/sglang:v0.5.20 "
    + SGLANG.format("nvidia/GLM-5-NVFP4")
    + "--moe-runner-backend flashinfer_trtllm --enable-flashinfer-allreduce-fusion"
)


@pytest.mark.parametrize("text", UNDECIDED)
def test_what_is_its_authors_to_decide_is_told_with_what_would_help(text: str) -> None:
    target = Target(None, "sm120", "rtx-pro-6000")
    [judged] = judge(text, target).launches
    [entries] = judged.releases.values()
    refused = [one for one in entries if one.verdict.says_no]
    made = fixed(text, target)

    assert made.text == text
    stays = [one for one in refused if one.concerns[0].why in made.obstacles[0]]
    assert stays
    for entry in stays:
        assert entry.instead
        assert f"{entry.concerns[0].why}; yours to decide: {entry.instead}" in made.obstacles[0]


def test_which_option_to_take_out_and_which_model_has_it_is_on_the_screen(world: World) -> None:
    (world.folder / "run.sh").write_text(UNDECIDED[0])
    said = world.run("lint", "run.sh", "--fix", "--gpu", "rtx-pro-6000")

    assert (said.returncode, said.stdout) == (1, "")
    told = " ".join(said.stderr.split())
    assert "leave out --speculative-algorithm and" in told
    assert "take festr2/GLM-5-NVFP4-MTP" in told


def test_a_profile_that_wants_the_gpu_is_told_to_be_given_it(world: World) -> None:
    (world.folder / "docker.sh").write_text(ON_THE_GPU)
    open_, told = (
        world.run("lint", "docker.sh", "--profile", *more) for more in ((), ("--gpu", "b200"))
    )

    assert open_.returncode == 1
    assert "nobody said which" in open_.stderr
    assert "fix    say which: --gpu PRODUCT (for example --gpu rtx-pro-6000)" in open_.stderr
    assert "nobody said which" not in told.stderr


def test_one_that_is_refused_whatever_the_gpu_is_told_to_correct_it(world: World) -> None:
    (world.folder / "run.sh").write_text(UNDECIDED[-1])
    said = world.run("lint", "run.sh", "--profile")

    assert "fix    correct it first" in said.stderr
