"""A variable or an option that names what can be no such place: each command says which one, what
it names and what to do, in two lines, and nothing of it is a bug.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

import pytest
from conftest import World

LONG = "x" * 600
MODEL = "zai-org/GLM-5"
# What a command must put somewhere, by the variable that says where.
BY_VARIABLE: Mapping[str, tuple[str, ...]] = {
    "XDG_CACHE_HOME": ("demo --prepare",),
    "HOME": ("demo --prepare", "init own --extends cpu-demo"),
    "XDG_CONFIG_HOME": ("init own --extends cpu-demo",),
    "GLM5_SERVE_STATE_DIR": (
        "up stub -d",
        "gateway up -d",
    ),
    "HF_HOME": (f"fetch {MODEL}",),
}
# What only looks there: no folder can be it, and one that may not be written is as good as any.
LOOKS = ("status", "status stub", "down", "down stub", "logs stub", "events stub", "metrics")
LOOKS = (*LOOKS, "top --once", "smoke stub", "restart stub", "bundle stub", "gateway status")
BY_OPTION: tuple[str, ...] = (
    "init own --extends cpu-demo --make-key --api-key-file {}",
    f"fetch {MODEL} --to {{}}",
    "render stub --facts {}",
    "doctor stub --facts {}",
    "doctor --hosts @{}",
    "doctor --hosts h1 --ssh-config {}",
    "doctor --hosts h1 --save {}",
    "metrics --listen {}",
    "metrics --listen 127.0.0.1:9 --token-file {}",
    "bench stub --save {}",
    "bench stub --plot {}",
    "gateway up --listen {}",
    "gateway up --api-key-file {}",
    "up stub --api-key-file {}",
    "lint {}",
    "diagnose {}",
    "model {}",
    "fit stub --model {}",
    "profiles validate {}",
)
READS = ("doctor --hosts", "lint", "diagnose")


@pytest.fixture
def places(world: World) -> dict[str, str]:
    """What is no folder, and no file that could be read or written, each by what it is."""
    folder = world.folder / "places"
    (folder / "closed").mkdir(parents=True)
    (folder / "file").write_text("text\n")
    os.mkfifo(folder / "fifo")
    (folder / "loop").symlink_to("loop")
    (folder / "closed").chmod(0o555)
    return {
        "a file": str(folder / "file"),
        "a FIFO": str(folder / "fifo"),
        "a symlink that leads to itself": str(folder / "loop"),
        "600": str(folder / LONG),
        "keeps no files": "/proc",
        "a device": "/dev/null",
    }


def is_ours(said: str) -> bool:
    """Whether it is two lines that each person can read."""
    heads = [line.split(maxsplit=1)[0] for line in said.splitlines() if line.strip()]
    theirs = re.search(r"Traceback|a bug in|Error\b|Errno|\[<|Symlink loop|NoneType", said)
    return heads == ["error", "fix"] and not theirs and LONG not in said


@pytest.mark.parametrize("variable", BY_VARIABLE)
def test_a_variable_that_names_no_place_is_named(
    variable: str, world: World, places: dict[str, str]
) -> None:
    theirs = {"XDG_CACHE_HOME": "", "XDG_CONFIG_HOME": ""} if variable == "HOME" else {}
    for what, place in places.items():
        for words in BY_VARIABLE[variable]:
            if words.startswith("init") and os.geteuid() == 0:
                continue  # root's profiles are the host's
            ran = world.run(*words.split(), **{**theirs, variable: place})
            told = "error" + ran.stderr.rpartition("error")[2]

            assert ran.returncode == 78, (words, place, ran)
            assert is_ours(told), (words, place, told)
            assert variable in told, (words, place, told)
            assert what in told, (words, place, told)


def test_what_can_hold_no_state_is_said_by_whoever_looks_there(
    world: World, places: dict[str, str]
) -> None:
    for what, place in places.items():
        for words in LOOKS:
            ran = world.run(*words.split(), GLM5_SERVE_STATE_DIR=place)
            if place == "/proc":  # a folder as any other, for who looks
                assert ran.returncode in (0, 1, 78), (words, ran)
                assert not re.search(r"Traceback|a bug", ran.stderr), (words, ran)
                continue

            assert (ran.returncode, ran.stdout) == (78, ""), (words, place, ran)
            assert is_ours(ran.stderr), (words, place, ran.stderr)
            assert "GLM5_SERVE_STATE_DIR" in ran.stderr, (words, place, ran.stderr)
            assert what in ran.stderr, (words, place, ran.stderr)


def test_a_place_that_is_one_is_not_spoken_of(world: World) -> None:
    for words in ("status", "down", "metrics"):
        ran = world.run(words, GLM5_SERVE_STATE_DIR=str(world.folder / "not/there/yet"))

        assert ran.returncode in (0, 1), ran
        assert "GLM5_SERVE_STATE_DIR" not in ran.stderr


@pytest.mark.parametrize("words", BY_OPTION)
def test_an_option_that_names_no_place_is_refused_in_two_lines(
    words: str, world: World, places: dict[str, str]
) -> None:
    for what, place in places.items():
        if what == "a file" and words.startswith(READS):
            continue  # it may be one that is right
        if place == "/proc" and words.startswith("model"):
            continue  # a folder as any other
        ran = world.run(*words.format(place).split())

        assert ran.returncode in (1, 2, 78), (place, ran)
        assert is_ours(ran.stderr), (place, ran.stdout[-300:], ran.stderr)
