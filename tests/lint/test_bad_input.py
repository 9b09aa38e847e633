"""What is no launch, or far too much of one, ends soon and in one line; nothing of it is run."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import World

from launcher.engines.engine import dialect

BOMB = 'a: &a ["x", "x", "x", "x", "x", "x", "x", "x", "x"]\n' + "".join(
    f"{chr(98 + at)}: &{chr(98 + at)} [{', '.join(['*' + chr(97 + at)] * 9)}]\n" for at in range(20)
)
TEXTS: dict[str, bytes] = {
    "bytes": random.Random(5).randbytes(300_000),
    "one long line": b"x" * 1_000_000,
    "nothing": b"",
    "an alias of aliases": BOMB.encode(),
    "deep YAML": "".join(f"{' ' * at}a:\n" for at in range(2000)).encode(),
    "deep JSON": b'{"a":' * 30_000,
    "deep parentheses": b"(" * 2500 + b"sglang serve --model-path m" + b")" * 2500,
    "an image": b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 100,
    "UTF-16": "sglang serve --tp 8".encode("utf-16"),
}


@pytest.mark.parametrize("name", TEXTS)
def test_what_is_no_launch_is_refused_in_one_line_and_what_to_do(name: str, world: World) -> None:
    file = world.folder / "it"
    file.write_bytes(TEXTS[name])
    said = world.run("lint", file, "--release", "0.5.23")

    assert said.returncode == 78, said.stdout + said.stderr
    assert [line.split()[0] for line in said.stderr.splitlines()] == ["error", "fix"]
    assert not said.stdout


@pytest.mark.parametrize("engine", ["sglang", "vllm"])
def test_a_number_without_end_is_a_wrong_value(engine: str, world: World) -> None:
    """Python makes none of 4,300 digits, as the engine does not."""
    known = dialect(engine).options
    begins = {"sglang": "python3 -m sglang.launch_server --model-path m", "vllm": "vllm serve m"}
    names = [one.name for one in known.release(known.newest).options.values() if one.type == "int"]
    assert len(names) > 30
    for digits, at_once in (("8" * 25, len(names)), ("8" * 5000, 12)):  # a text has 64 KiB
        for some in batched(names, at_once):
            options = " ".join(f"--{name} {digits}" for name in some)
            said = world.run("lint", write(world, f"{begins[engine]} {options}"), "--gpu", "b200")
            assert said.returncode == 1, said.stderr
            assert "a bug" not in said.stderr


def batched(names: list[str], size: int) -> Iterator[list[str]]:
    for at in range(0, len(names), size):
        yield names[at : at + size]


def write(world: World, text: str) -> Path:
    file = world.folder / "launch.sh"
    file.write_text(text)
    return file


def test_ten_thousand_launches_are_read_as_far_as_it_says(world: World) -> None:
    file = world.folder / "many"
    file.write_text("".join(f"sglang serve --model-path m{at}\n" for at in range(10_000)))
    said = world.run("lint", file, "--release", "0.5.23")

    assert "not read: only the first 65536 characters were read" in said.stdout
    assert "not read: only the first 100 launches were read" in said.stdout


@pytest.mark.parametrize(
    "text",
    [
        "sglang serve --x $(touch {0}) `touch {0}`",
        "touch {0}\nsglang serve --x 1",
        "sglang serve --x <(touch {0})",
        'eval "touch {0}"; sglang serve --x 1',
        "import os\nos.system('touch {0}')\nos.system('sglang serve --x 1')",
        'a: !!python/object/apply:os.system ["touch {0}"]\ncommand: sglang serve --x 1',
    ],
)
def test_nothing_of_a_text_is_run(text: str, world: World, tmp_path: Path) -> None:
    file, trace = world.folder / "it", tmp_path / "trace"
    file.write_text(text.format(trace))
    world.run("lint", file, "--release", "0.5.23")

    assert not trace.exists()
