"""What `lint --to` writes is judged as lint judges it where somebody gives it."""

from __future__ import annotations

import shlex

import pytest
from conftest import World

from launcher.engines.target import ARCHS, Target
from launcher.lint.carried import refusals
from launcher.lint.run import judge
from launcher.lint.translate import translate

DRAFTS = (
    "--speculative-algorithm EAGLE --speculative-num-steps 3 --speculative-eagle-topk 1"
    " --speculative-num-draft-tokens 4"
)
SGLANG = "python3 -m sglang.launch_server --model-path {} --tp-size 8 "
COMMANDS = {
    "no layer to draft with": (SGLANG + DRAFTS).format("lukealonso/GLM-5-NVFP4"),
    "a newer name of it": (SGLANG + DRAFTS.replace("EAGLE", "NEXTN")).format(
        "lukealonso/GLM-5-NVFP4"
    ),
    "drafts that come": (SGLANG + DRAFTS).format("nvidia/GLM-5-NVFP4"),
    "no drafts": SGLANG.format("lukealonso/GLM-5-NVFP4"),
    "too many tokens": SGLANG.format("nvidia/GLM-5-NVFP4") + "--context-length 999999999",
    "heads": SGLANG.format("nvidia/GLM-5-NVFP4").replace("8", "6"),
    "from outside": (SGLANG + DRAFTS).format("$MODEL"),
    "of vLLM": "vllm serve lukealonso/GLM-5-NVFP4 --tensor-parallel-size 8 --speculative-config"
    """ '{"method": "mtp", "num_speculative_tokens": 1}'""",
    "two launches": SGLANG.format("m") + "\n" + (SGLANG + DRAFTS).format("lukealonso/GLM-5-NVFP4"),
}
OTHER = {"sglang": "vllm", "vllm": "sglang"}


@pytest.mark.parametrize("arch", ARCHS)
@pytest.mark.parametrize("name", COMMANDS)
def test_lint_says_no_to_the_same_where_it_is_given_the_command(name: str, arch: str) -> None:
    for one in judge(COMMANDS[name], Target(None, arch)).launches:
        made = translate(one.launch, one.target.known, OTHER[one.launch.engine])
        text = " ".join(
            f'"{word}"' if word in made.outside else shlex.quote(word) for word in made.argv
        )
        [again] = judge(text, Target(made.release, arch)).launches
        [entries] = again.releases.values()

        seen = [what.why for one in entries for what in one.concerns if what.verdict.says_no]
        told = [*refusals(made, one.target)]
        assert len(told) == len(seen)
        assert all(why in line for why, line in zip(seen, told, strict=True))


@pytest.mark.parametrize("name", ["no layer to draft with", "a newer name of it", "of vLLM"])
def test_drafts_that_cannot_come_are_told_beside_the_command(world: World, name: str) -> None:
    file = world.folder / "run.sh"
    file.write_text(COMMANDS[name])
    to = "sglang" if name == "of vLLM" else "vllm"
    said = world.run("lint", file, "--to", to, "--gpu", "rtx-pro-6000")

    assert said.returncode == 1
    assert "breaks, at load: --speculative-" in said.stderr
    assert "this checkpoint has no layer 78" in " ".join(said.stderr.split())


@pytest.mark.parametrize("name", ["drafts that come", "no drafts"])
def test_of_what_runs_nothing_is_said(world: World, name: str) -> None:
    file = world.folder / "run.sh"
    file.write_text(COMMANDS[name])
    said = world.run("lint", file, "--to", "vllm", "--gpu", "b200")

    assert said.returncode == 0
    assert "breaks" not in said.stderr
