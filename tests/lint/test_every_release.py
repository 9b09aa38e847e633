"""`lint --all-releases` makes a table, also of a text that names a release: it says which column is
its own. With --release there is none, and it says why.
"""

from __future__ import annotations

import pytest

from launcher.engines.target import Target
from launcher.lint.run import judge

IMAGE = "docker run lmsysorg/sglang:v0.5.20 python3 -m sglang.launch_server --model-path m --tp 8"
ALONE = "python3 -m sglang.launch_server --model-path m --tp 8"


@pytest.mark.parametrize(
    ("text", "release", "said"),
    [
        (ALONE, "0.5.21", "no table over releases: --release names 0.5.21"),
        (ALONE, None, None),
    ],
)
def test_why_there_is_no_table(text: str, release: str | None, said: str | None) -> None:
    [judged] = judge(text, Target(release, "sm100"), every=True).launches

    assert said in judged.notes if said else len(judged.releases) > 1
    assert said or not [note for note in judged.notes if "no table" in note]


@pytest.mark.parametrize(
    ("tag", "says"),
    [
        ("v0.5.20", "the text itself names 0.5.20: that column is its own"),
        ("v0.5.99", "the text itself names 0.5.99: it has no column"),
    ],
)
def test_a_text_that_names_a_release_has_a_table_all_the_same(tag: str, says: str) -> None:
    [judged] = judge(IMAGE.replace("v0.5.20", tag), Target(None, "sm100"), every=True).launches

    assert len(judged.releases) > 5
    assert says in judged.notes
    assert not [note for note in judged.notes if "no table" in note or "does not say" in note]


def test_its_own_release_says_whether_it_is_sound() -> None:
    """--dsa-decode-backend is of 0.5.11 and later: an older image refuses it."""
    text = f"{IMAGE} --dsa-decode-backend flashmla_sparse"
    [now] = judge(text, Target(None, "sm100"), every=True).launches
    [before] = judge(text.replace("v0.5.20", "v0.5.9"), Target(None, "sm100"), every=True).launches

    assert [now.is_sound, before.is_sound] == [True, False]
    assert judge(text, Target("0.5.9", "sm100"), every=True).is_sound is False


def test_who_asks_for_no_table_is_told_of_none() -> None:
    [judged] = judge(IMAGE, Target(None, "sm100")).launches

    assert not [note for note in judged.notes if "no table" in note or "column" in note]


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
