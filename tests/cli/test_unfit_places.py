"""A variable or an option that names what can be no such place: each command says which one, what
it names and what to do, in two lines, and nothing of it is a bug.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import click
import pytest
from conftest import World
from rig.mounts import mounted

from launcher.cli import cli

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
    "init own --facts {}",
    "profiles new own --facts {}",
    "profiles --facts {}",
    "profiles validate {}",
    "doctor stub --sysroot {}",
    "facts --sysroot {}",
    "doctor stub --from {}",
    "facts --from {}",
    "facts --facts {}",
    "fit stub --facts {}",
    "lint --facts {} launch.sh",
    "diff stub stub --facts {}",
    "profiles validate stub --facts {}",
    "systemd install stub --root {}",
    "systemd print stub --root {}",
    "systemd uninstall stub --root {}",
    "systemd install stub --api-key-file {}",
    "systemd print stub --api-key-file {}",
    "events stub --starts --svg {}",
    "bundle stub -o {}",
    "init own --extends cpu-demo --engine-python {}",
    "profiles new own --extends cpu-demo --engine-python {}",
    "init own --extends cpu-demo --api-key-file {}",
    "profiles new own --extends cpu-demo --api-key-file {}",
    "up stub --health-listen {}",
    "gateway up --metrics-listen {}",
    "systemd print own --gateway --listen {}",
    "systemd install own --gateway --listen {}",
    "render stub --api-key-file {}",
    "warm stub --api-key-file {}",
)
READS = ("doctor --hosts", "lint", "diagnose")
# A file that is there may be the right one, for who does not look into it, or is to be replaced.
KEEPS = ("render stub --api-key-file", "warm stub --api-key-file", "systemd print stub --api-key")
KEEPS = (
    *KEEPS,
    "events stub --starts --svg",
    "bundle stub -o",
    "init own --extends cpu-demo --eng",
)
# Words of the command line that name no place here: another host's, a hub's, a path of a URL.
ELSEWHERE = {"--models", "--rdma", "--health", "--extends", "--model", "--host", "--concurrency"}
WITHIN = 30.0  # seconds for a command that has nothing to do


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
    more = {"devices, and no files": "/dev", "keeps no files": "/sys/kernel"}
    for what, place in (*places.items(), *more.items()):
        for words in LOOKS:
            ran = world.run(*words.split(), GLM5_SERVE_STATE_DIR=place)

            assert (ran.returncode, ran.stdout) == (78, ""), (words, place, ran)
            assert is_ours(ran.stderr), (words, place, ran.stderr)
            assert "GLM5_SERVE_STATE_DIR" in ran.stderr, (words, place, ran.stderr)
            assert what in ran.stderr, (words, place, ran.stderr)


def test_a_place_that_is_one_is_not_spoken_of(world: World) -> None:
    for words in ("status", "down", "metrics"):
        ran = world.run(words, GLM5_SERVE_STATE_DIR=str(world.folder / "not/there/yet"))

        assert ran.returncode in (0, 1), ran
        assert "GLM5_SERVE_STATE_DIR names" not in ran.stderr


@pytest.mark.parametrize("words", BY_OPTION)
def test_an_option_that_names_no_place_is_refused_in_two_lines(
    words: str, world: World, places: dict[str, str]
) -> None:
    world.instance.mkdir(parents=True)  # of a server that was started once
    (world.folder / "launch.sh").write_text("vllm serve m\n")
    # each row half of them, its neighbour the others: they are all of one kind of reader
    for what, place in [*places.items()][BY_OPTION.index(words) % 2 :: 2]:
        if what == "a file" and words.startswith((*READS, *KEEPS)):
            continue  # it may be one that is right
        if place == "/proc" and words.startswith("model"):
            continue  # a folder as any other
        began = time.monotonic()
        ran = world.run(*words.format(place).split(), timeout=4 * WITHIN)

        assert ran.returncode in (1, 2, 78), (place, ran)
        assert is_ours(ran.stderr), (place, ran.stdout[-300:], ran.stderr)
        assert time.monotonic() - began < WITHIN, (words, place)


def test_each_option_that_names_a_place_is_tried() -> None:
    """A new one fails here until it stands in the table above."""
    tried = [words.split() for words in BY_OPTION]
    found = 0
    for path, parameter in every_parameter(cli, ()):
        shown = parameter.metavar or (parameter.name or "").upper()
        is_place = isinstance(parameter.type, click.Path) or re.search(
            r"FILE|DIR|PATH|ADDRESS|OUTPUT|ROOT|WHAT|PLACE|MODEL\b", shown.replace("PROFILE", "")
        )
        names = {*parameter.opts}
        if not is_place or names & ELSEWHERE or isinstance(parameter, click.Argument):
            continue
        found += 1
        rows = [row for row in tried if tuple(row[: len(path)]) == path]
        assert any(names & {*row} for row in rows), (path, names)

    assert found > 25


def every_parameter(
    command: click.Command, path: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], click.Parameter]]:
    """All options and arguments, each with the words of its command."""
    context = click.Context(command, info_name=" ".join(path))
    if not isinstance(command, click.Group):
        yield from ((path, parameter) for parameter in command.params)
        return
    for name in command.list_commands(context):
        if inner := command.get_command(context, name):
            yield from every_parameter(inner, (*path, name))


def test_a_bundle_that_is_none_takes_no_file_away(world: World) -> None:
    mine = world.folder / "mine.tar.gz"
    mine.write_text("an older one")
    ran = world.run("bundle", "stub", "-o", str(mine))

    assert ran.returncode == 1
    assert "no server has been started yet as stub" in ran.stderr
    assert mine.read_text() == "an older one"


def test_places_that_can_be_none_of_their_own_kind_are_not_refused(world: World) -> None:
    """What need not be there yet, what a shell hands on, and what is a folder after all."""
    tree = world.folder / "tree"
    (tree / "proc").mkdir(parents=True)
    nowhere = world.folder / "not/there/yet"
    for words in (
        f"facts --sysroot {tree}",
        f"render stub --api-key-file {nowhere}/key",
        f"systemd print cpu-demo --api-key-file {nowhere}/key --root {nowhere}",
        f"systemd print cpu-demo --root {world.folder}",
    ):
        ran = world.run(*words.split())
        assert ran.returncode == 0, (words, ran)
    place = Path("/dev/shm") / f"glm5-{os.getpid()}"
    assert world.run("status", GLM5_SERVE_STATE_DIR=str(place)).returncode == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="root mounts")
def test_a_state_folder_on_a_file_system_that_is_read_only(world: World) -> None:
    """It may be another host's or container's that is shown here, or will be: units see one so."""
    place = world.folder / "read-only"
    place.mkdir()
    with mounted(place, "-t", "tmpfs", "-o", "ro", "tmpfs"):
        for words in LOOKS:
            ran = world.run(*words.split(), GLM5_SERVE_STATE_DIR=str(place / "state"))
            assert ran.returncode in (0, 1, 78), (words, ran)  # restart starts it
            assert "bug" not in ran.stderr
        for words, status in (("status", 1), ("metrics", 0), ("down", 0)):
            assert world.run(words, GLM5_SERVE_STATE_DIR=str(place)).returncode == status
