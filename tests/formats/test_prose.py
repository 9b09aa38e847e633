"""Launches that stand in prose, as forums, issues and documents have them."""

from __future__ import annotations

import pytest

from launcher.formats.reading import read

SERVE = "sglang serve --model-path m"


def told(text: str) -> list[str]:
    return [" ".join(one.words) for one in read(text).launches]


@pytest.mark.parametrize(
    "text",
    [
        "Low:\n```\n--model-path m --tp-size 8\n--host h\n```\nHigh:\n```\n--model-path m --tp 4\n```\n",
        "--model-path m --tp-size 8\n--host h\n\n--model-path m --tp 4\n",
        "# low\n--model-path m --tp-size 8 \\\n --host h\n# high\n--model-path m --tp 4\n",
    ],
)
def test_options_that_are_given_again_in_another_block_are_another_launch(text: str) -> None:
    assert told(text) == ["--model-path m --tp-size 8 --host h", "--model-path m --tp 4"]


def test_options_that_go_on_in_another_block_are_one_launch() -> None:
    assert told("--model-path m\n\n--tp 8\n# and\n--host h\n") == ["--model-path m --tp 8 --host h"]
    assert told("--model-path m --tp 8\n--tp 4\n") == ["--model-path m --tp 8 --tp 4"]


@pytest.mark.parametrize(
    ("text", "ports"),
    [
        (f"Run `{SERVE} --port 1` and wait.\n", "1"),
        (f"on `{SERVE} --port 1`,\nthen (see there) `{SERVE} --port 2`.\n", "1 2"),
        (f"- `{SERVE} --port 1`\n\n```bash\n{SERVE} --port 2\n```\n", "1 2"),
        (f"```bash\n{SERVE} --port 1\n```\nor `{SERVE} --port 2`.", "1 2"),
        (f"`\nsglang serve \\\n  --port 1\n`\nthen `{SERVE} --port 2`\n", "1 2"),
    ],
)
def test_every_launch_within_a_line_is_read_once(text: str, ports: str) -> None:
    found = read(text)

    assert [said.split()[-1] for said in told(text)] == ports.split()
    assert not found.unread
    for launch in found.launches:
        at = launch.arguments[-1].span
        assert at
        assert text[slice(*at)] == launch.words[-1]


@pytest.mark.parametrize(
    ("other", "unread"),
    [
        ("vllm serve m --port 2", "it also starts vllm, whose options are others: not judged"),
        ("sglang serve", "SGLang is also started with no options that were read: not judged"),
    ],
)
def test_what_cannot_be_judged_is_named_beside_what_can(other: str, unread: str) -> None:
    for text in (f"{SERVE}\n{other}\n", f"{other}\n{SERVE}\n"):
        found = read(text)

        assert [one.words for one in found.launches] == [("--model-path", "m")]
        assert found.unread == (unread,)
    assert len(read(f"{other}\n").launches) == 1
