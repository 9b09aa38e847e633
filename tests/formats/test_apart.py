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


def test_what_a_section_exports_is_of_its_launches_alone() -> None:
    text = "".join(
        (
            "# Host\n" + block("export A=1"),
            "## One\n" + block("export B=2\nM=m") + block(f"{LAUNCH} --x $M"),
            "### More\n" + block(f"{LAUNCH} --y $M"),
            "## Another\n"
            + block("P=3")
            + block(f"export C=3\n{LAUNCH}")
            + block(f"{LAUNCH} --z 1"),
            "## The last\n" + block(f"{LAUNCH} --p $P"),
        )
    )

    found = read(text).launches

    assert [one.env for one in found] == [{"A": "1", "B": "2"}, {}, {"C": "3"}, {"C": "3"}, {}]
    assert [one.words[4:] for one in found] == [
        ("--x", "m"),
        ("--y", "$M"),
        (),
        ("--z", "1"),
        ("--p", "3"),
    ]


def test_without_a_heading_all_blocks_are_of_one_host() -> None:
    text = block("export A=1") + block(LAUNCH) + block(f"{LAUNCH} --x 1")

    assert [one.env for one in read(text).launches] == [{"A": "1"}, {"A": "1"}]


def test_a_text_without_a_fence_is_one_part_whatever_it_is() -> None:
    [launch] = read(f"Here it isn't (a script\n{LAUNCH}\n").launches

    assert launch.words == ("--model-path", "m", "--port", "1")


PROSE = [
    "I can't start it:",
    "It doesn't work, and I'm sure that it's the driver's fault. They'd say we've lost:",
    "The team\u2019s box isn\u2019t ours:",
    "Here it isn't (a script",
    "* don't `x",
    "case in point",
    'It says "not found',
    "A model (GLM-5) on 8x B200; {see below",
    "if it helps",
    "Users' servers:",
]


@pytest.mark.parametrize("before", PROSE)
@pytest.mark.parametrize("after", ["", "Thanks, it's on a B200.", "It says: can't (open"])
@pytest.mark.parametrize("blank", ["", "\n"])
def test_prose_around_a_command_hides_nothing_of_it(before: str, after: str, blank: str) -> None:
    text = f"{before}\n{blank}export A=1\n{LAUNCH} \\\n  --tp-size 2\n{blank}{after}\n"

    [launch] = read(text).launches

    assert launch.words == ("--model-path", "m", "--port", "1", "--tp-size", "2")
    assert text.splitlines()[launch.line - 1].startswith("sglang serve")


@pytest.mark.parametrize(
    "script",
    [
        "sed -e's/a/b/' x; sglang serve --x 'it'\"'\"'s' --y 'a b'",
        "sglang serve --x 'it'\\''s' --y 'a b'",
        "X='a' Y='b s'; sglang serve --x $'it\\'s' --y 'a b'",
    ],
)
def test_an_apostrophe_that_bash_reads_is_a_quote(script: str) -> None:
    [launch] = read(f"{script}\n").launches

    assert launch.words == ("--x", "it's", "--y", "a b")


def test_what_a_comment_says_is_no_command_in_prose_either() -> None:
    assert read(f"case in point (\n# {LAUNCH}\n").launches == ()


SENTENCES = (
    "You kill the outer {} / API-server PID to relaunch with different flags, and it isn't gone",
    "The next {} launch then dies at startup with a message that looks like a bad setting",
    "It's {} that you should look at when nothing --else (as said above) helps you any more",
)


@pytest.mark.parametrize(
    "program", ["sglang serve", "vllm serve", "python -m sglang.launch_server"]
)
@pytest.mark.parametrize("sentence", SENTENCES)
def test_a_sentence_that_has_a_program_is_no_launch(sentence: str, program: str) -> None:
    said = f"# About\n\n{sentence.format(program)}\n"

    alone, beside = read(said), read(f"{said}\n{block(LAUNCH)}")

    assert not alone.launches
    assert any("line 3 reads as a sentence" in note for note in alone.unread)
    assert [one.words for one in beside.launches] == [("--model-path", "m", "--port", "1")]


def test_a_command_with_words_for_values_is_no_sentence() -> None:
    words = ("model", "--served-model-name", "one", "two", "three", "--dtype", "auto")

    [launch] = read(f"vllm serve {' '.join(words)}").launches

    assert launch.words == words
