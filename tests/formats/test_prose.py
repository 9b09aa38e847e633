"""Launches that stand in prose, as forums, issues and documents have them."""

from __future__ import annotations

import pytest

from launcher.engines.target import Target
from launcher.formats.masking import BEHIND, COMMENT, LATE
from launcher.formats.reading import read
from launcher.lint.run import judge

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


def test_what_cannot_be_judged_is_named_beside_what_can() -> None:
    other = "sglang serve"
    unread = "SGLang is also started with no options that were read: not judged"
    for text in (f"{SERVE}\n{other}\n", f"{other}\n{SERVE}\n"):
        found = read(text)

        assert [one.words for one in found.launches] == [("--model-path", "m")]
        assert found.unread == (unread,)
    assert len(read(f"{other}\n").launches) == 1


@pytest.mark.parametrize(
    ("cut", "note"),
    [
        ("--tp 4 \\    # 8 for 8*B300", BEHIND),
        ("--tp 4 \\#8", BEHIND),
        ("--tp 4 \\\n  # 8 for others", COMMENT),
        ("--tp 4 \\ ", LATE),
    ],
)
def test_a_launch_that_a_shell_cuts_off_is_read_whole_and_is_not_sound(cut: str, note: str) -> None:
    [judged] = judge(f"{SERVE} \\\n  {cut}\n  --port 2\n", Target("0.5.20", "sm100")).launches

    assert judged.launch.words == ("--model-path", "m", "--tp", "4", "--port", "2")
    assert judged.launch.notes == (note,)
    assert not judged.is_sound


@pytest.mark.parametrize("end", ["\\\n  --port 2", "--port 2 # all", "--port 2 \\#", "--port 2"])
def test_a_launch_that_a_shell_runs_whole_has_no_such_note(end: str) -> None:
    [launch] = read(f"{SERVE} {end}\necho done\n").launches

    assert not launch.notes


@pytest.mark.parametrize(
    "text",
    [
        f"$ {SERVE} \\\n> --port 2\n",
        f"> {SERVE} \\\n>   --port 2\n",
        f"> > {SERVE} \\\n> > --port 2\n",
        f"$ {SERVE} \\\n>   --port 2 \\\n>   > server.log 2>&1\n",
        f"> {SERVE} \\\n>   --port 2 \\\n>   > server.log 2>&1\n",
        f"{SERVE} --port 2 \\\n  > server.log 2>&1 &\n",
        f"{SERVE} --port 2 \\\r\n  > server.log 2>&1 &\r\n",
    ],
)
def test_a_prompt_before_a_continued_line_is_none_of_its_words_nor_is_a_file(text: str) -> None:
    [launch] = read(text).launches

    assert launch.words == ("--model-path", "m", "--port", "2")


@pytest.mark.parametrize(
    ("pin", "release"),
    [
        ("pip install sglang==0.4.2.post4", "0.4.2.post4"),
        ('uv pip install "sglang[all]==0.5.9"', "0.5.9"),
        ("sglang: 0.5.9", "0.5.9"),
        ("docker pull lmsysorg/sglang:v0.5.9-cu130", "0.5.9"),
        ("sglang-router==0.3.2", None),
        ("pip install 'sglang>=0.5.9'", None),
        ("pip install vllm==0.11.0", None),
        ("pip install sglang==0.5.8\npip install sglang==0.5.9", None),
    ],
)
def test_a_release_that_the_text_pins_is_that_of_its_launch(pin: str, release: str | None) -> None:
    [launch] = read(f"{pin}\n{SERVE}\n").launches
    [own] = read(f"{pin}\ndocker run lmsysorg/sglang:v0.5.20 {SERVE}\n").launches

    assert launch.release == release
    assert own.release == "0.5.20"
    assert bool(launch.notes) is (release is not None)
    assert not own.notes


@pytest.mark.parametrize(
    ("text", "program"),
    [
        ("python3 -m sglang.bench_one_batch_server --model-path X --batch-size 1", "sglang.bench"),
        (
            "docker run --gpus all lmsysorg/sglang:dev python -m sglang.bench_serving --port 1",
            "sgl",
        ),
        ("vllm bench serve --model x", "vllm bench is started"),
        ("A=1 lm_eval --model x --tasks y", "lm_eval is started"),
        ("start command: python3 -m x.y --model m", "x.y is started"),
        ("python3 -m sglang.lanuch_server --tp 2", "sglang.lanuch_server is started"),
        ("./run.sh --tp 2", "./run.sh is started"),
    ],
)
def test_options_of_another_program_are_not_judged(text: str, program: str) -> None:
    found = read(f"{text}\n")

    assert not found.launches
    assert found.unread[0].startswith(program)
    assert ("did you mean sglang.launch_server?" in found.unread[0]) is ("lanuch" in text)


@pytest.mark.parametrize("before", ["", "use: ", "Flags: ", "I pass "])
def test_options_behind_prose_are_judged(before: str) -> None:
    assert told(f"{before}--tp 8\n") == ["--tp 8"]


def test_a_container_with_a_placeholder_before_its_image_is_read() -> None:
    run = "docker run --gpus device=<...> lmsysorg/sglang:v0.5.20 python -m sglang.launch_server"
    [launch] = read(f"{run} --model-path <...> --tp 8\n").launches

    assert (launch.form, launch.release) == ("docker run", "0.5.20")
    assert launch.outside == {"<...>"}
    assert not launch.notes
