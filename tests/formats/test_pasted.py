"""What people paste around a launch: numbers of lines, the parts of a unit, a container's record, a program's constants."""

from __future__ import annotations

import json

import pytest

from launcher.formats.reading import read

SCRIPT = (
    "#!/bin/bash",
    "export A=1",
    "",
    "sglang serve --model-path m \\",
    "  --tp-size 2 \\",
    "  > server.log 2>&1",
)
WORDS = ("--model-path", "m", "--tp-size", "2")


@pytest.mark.parametrize(
    "form", ["{:>6}\t{}", "{}: {}", "{:>3}  {}", "{} | {}", "{:>4}│{}", "{}) {}"]
)
@pytest.mark.parametrize("first", [1, 9, 117])
@pytest.mark.parametrize("is_blank_numbered", [True, False])
def test_numbers_of_lines_are_none_of_a_launch(
    form: str, first: int, *, is_blank_numbered: bool
) -> None:
    lines = [
        form.format(number, line) if line or is_blank_numbered else line
        for number, line in enumerate(SCRIPT, first)
    ]

    [launch] = read("\n".join(lines)).launches

    assert (launch.words, launch.env, launch.line) == (WORDS, {"A": "1"}, 4)


@pytest.mark.parametrize(
    "text",
    [
        "sglang serve --x 1 \\\n  2 \\\n  3\n",  # only some lines begin with one
        "1 2 sglang serve --x 1 \\\n1 2 3\n",  # they do not count up
    ],
)
def test_numbers_that_do_not_count_the_lines_are_words(text: str) -> None:
    [launch] = read(text).launches

    assert launch.words[-1] == "3"


UNIT = "[Service]\nEnvironment=A=1\nExecStart=/x/python -m sglang.launch_server --tp-size 2\n"


@pytest.mark.parametrize(
    ("drop_in", "tp", "env"),
    [
        ("ExecStart=\nExecStart=/x/python -m sglang.launch_server --tp-size 4\n", "4", {"A": "1"}),
        ("Environment=B=2\n", "2", {"A": "1", "B": "2"}),
        ("Environment=\nEnvironment=B=2\n", "2", {"B": "2"}),
        ("Environment=A=3\n", "2", {"A": "3"}),
    ],
)
def test_a_drop_in_takes_back_what_it_empties(drop_in: str, tp: str, env: dict[str, str]) -> None:
    cat = f"# /etc/systemd/system/x.service\n{UNIT}\n# /etc/systemd/system/x.service.d/o.conf\n"

    [launch] = read(f"{cat}[Service]\n{drop_in}").launches

    assert launch.words == ("--tp-size", tp)
    assert launch.env == env


def test_what_docker_inspect_prints_is_a_containers_launch() -> None:
    config = {
        "Env": ["A=1"],
        "Cmd": ["--model", "m", "--max-num-seqs", "8"],
        "Image": "vllm/vllm-openai:v0.32.0",
        "Entrypoint": ["vllm", "serve"],
    }
    text = json.dumps([{"Id": "3f", "HostConfig": {"NetworkMode": "host"}, "Config": config}])

    [launch] = read(text).launches

    assert launch.words == ("--model", "m", "--max-num-seqs", "8")
    assert (launch.form, launch.release, launch.env) == ("docker inspect", "0.32.0", {"A": "1"})


PYTHON = "import subprocess\n{}\nsubprocess.Popen(['vllm', 'serve', {}, '--port', '1'])\n"


@pytest.mark.parametrize(
    ("setting", "word", "value"),
    [
        ('MODEL = "a/b"', "MODEL", "a/b"),
        ("MODEL: str = 'a/b'  # ours", "MODEL", "a/b"),
        ("SIZE = 8", "str(SIZE)", "8"),
        ("SIZE = 8", "'--tp', str(8)", "8"),
        ("SIZE = 8", "f'--tp={SIZE}'", "--tp=8"),
        ("NAME = 'b'", "f'a/{NAME}'", "a/b"),
        ("NAME = 'b'\nNAME = 'c'", "NAME", "NAME"),
        ("NAME = 'b'\nNAME += 'c'", "NAME", "NAME"),
        ("NAME = 'b' + other", "NAME", "NAME"),
        ("NAME = os.environ['NAME']", "NAME", "NAME"),
        ("", "args.model", "args.model"),
        ("SIZE = 8", "str(SIZE * 2)", "str(SIZE * 2)"),
    ],
)
def test_a_name_that_a_program_gives_one_word_is_known(setting: str, word: str, value: str) -> None:
    [launch] = read(PYTHON.format(setting, word)).launches

    assert launch.words[-3] == value
    is_known = value != word
    assert (value not in launch.outside) is is_known
