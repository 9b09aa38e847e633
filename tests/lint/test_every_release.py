"""`lint --all-releases` of a text that names a release says why there is no table."""

from __future__ import annotations

import pytest

from launcher.engines.target import Target
from launcher.lint.run import judge

IMAGE = "docker run lmsysorg/sglang:v0.5.20 python3 -m sglang.launch_server --model-path m --tp 8"
ALONE = "python3 -m sglang.launch_server --model-path m --tp 8"


@pytest.mark.parametrize(
    ("text", "release", "said"),
    [
        (IMAGE, None, "no table over releases: the text itself names 0.5.20"),
        (ALONE, "0.5.21", "no table over releases: --release names 0.5.21"),
        (ALONE, None, None),
    ],
)
def test_why_there_is_no_table(text: str, release: str | None, said: str | None) -> None:
    [judged] = judge(text, Target(release, "sm100"), every=True).launches

    assert said in judged.notes if said else len(judged.releases) > 1
    assert said or not [note for note in judged.notes if "no table" in note]


def test_who_asks_for_no_table_is_told_of_none() -> None:
    [judged] = judge(IMAGE, Target(None, "sm100")).launches

    assert not [note for note in judged.notes if "no table" in note]


@pytest.mark.parametrize(
    ("image", "is_said"),
    [("lmsysorg/sglang:glm5-blackwell", True), ("lmsysorg/sglang:latest", True), ("$IMAGE", False)],
)
def test_of_an_image_whose_release_nobody_knows_one_column_is_its_own(
    image: str, is_said: bool
) -> None:
    text = IMAGE.replace("lmsysorg/sglang:v0.5.20", image)
    [judged] = judge(text, Target(None, "sm100"), every=True).launches
    [alone] = judge(text, Target(None, "sm100")).launches

    assert len(judged.releases) > 1
    assert bool([note for note in judged.notes if "one column is its own" in note]) == is_said
    assert not [note for note in alone.notes if "column" in note]
