"""A block of Markdown that is no script takes nothing of what stands behind it along."""

from __future__ import annotations

import pytest

from launcher.formats.launches import Launch
from launcher.formats.reading import read

LAUNCH = "sglang serve --model-path m --port 1"
BENCH = "python3 -m sglang.bench_serving --backend sglang \\\n  --num-prompts 10"
ODD = {
    "an answer": "TCP (a protocol)** lies in how -- it's said --\n| --- |",
    "Python": "def ask(text):\n    '''It's a --question'''\n    return {'a': f\"{text!r} (\"}",
    "a table": "Accuracy: 0.9 (±0.1\n---------------Time----\nDon't",
    "a log": 'Traceback (most recent call last):\n  File "x", line 1, in <module>\nError: isn\'t --it (',
    "an example cut short": "sglang serve --model-path 'cut (",
}


def whole(text: str) -> list[Launch]:
    """The launches that are not cut short."""
    return [one for one in read(text).launches if one.words != ("--model-path",)]


def block(text: str) -> str:
    return f"Some prose, which isn't a command.\n\n```\n{text}\n```\n\n"


@pytest.mark.parametrize("odd", ODD)
def test_a_block_that_is_no_script_changes_no_other(odd: str) -> None:
    told = [block(BENCH), block(LAUNCH), block(BENCH), block(LAUNCH.replace("1", "2"))]
    alone = [one.words for one in read("".join(told)).launches]
    assert [words[-1] for words in alone] == ["1", "2"]

    for at in range(len(told) + 1):
        found = whole("".join((*told[:at], block(ODD[odd]), *told[at:])))

        assert [one.words for one in found] == alone


@pytest.mark.parametrize("odd", ODD)
def test_what_one_block_sets_another_reads_across_one_that_is_no_script(odd: str) -> None:
    text = block("export A=1\nPORT=2") + block(ODD[odd]) + block(f"{LAUNCH} --port $PORT --tp 1")

    [launch] = whole(text)

    assert launch.words[-3:] == ("2", "--tp", "1")
    assert launch.env == {"A": "1"}


def test_a_launch_in_a_block_that_is_no_script_is_read_where_it_stands() -> None:
    text = block(ODD["an answer"]) + block(f"{LAUNCH}\nHello (it's --there") + block(BENCH)

    [launch] = read(text).launches

    assert launch.words[:4] == ("--model-path", "m", "--port", "1")
    assert text.splitlines()[launch.line - 1].startswith("sglang serve")
