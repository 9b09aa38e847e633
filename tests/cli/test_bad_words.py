"""Bad values and bad texts: what is wrong in our words, and no guess."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import World

from launcher import address
from launcher.bench.record import Objective
from launcher.cli import variables
from launcher.errors import UserError, in_words, with_file
from launcher.operate import bench_subject, control, restart, running
from launcher.statedir import home
from launcher.statedir.folder import StateDir

BOM = "\ufeff"
DIGITS = "9" * 5000
PYTHONS = r"Traceback|a bug|recursion depth|set_int_max|integer string|Errno|<class"


@pytest.mark.parametrize("words", ["init {} --extends cpu-demo", "status {}", "gateway up {}"])
def test_a_name_that_is_too_long_is_refused_with_the_bound(words: str, world: World) -> None:
    ran = world.run(*words.format("x" * 600).split())

    assert ran.returncode == 2, ran
    assert "600 characters" in ran.stderr
    assert "128 at most" in ran.stderr
    assert "x" * 300 not in ran.stderr


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda path: path.mkdir(), "is a folder"),
        (os.mkfifo, "is a FIFO"),
        (lambda path: path.symlink_to(path), "too many levels of symbolic links"),
        (lambda path: path.symlink_to("/dev/null"), "is a device"),
        (lambda path: None, "no such file"),
    ],
)
def test_what_is_no_profile_is_called_what_it_is(make, what: str, world: World) -> None:  # type: ignore[no-untyped-def]
    path = world.folder / "it.toml"
    make(path)
    ran = world.run("profiles", "validate", path)

    assert (ran.returncode, ran.stdout) == (2, "")
    assert what in ran.stderr


def test_a_byte_order_mark_is_no_part_of_a_text(world: World) -> None:
    path = world.folder / "it.toml"
    path.write_text(f'{BOM}extends = "stub"\n')
    launch, hosts = world.folder / "launch.sh", world.folder / "hosts"
    launch.write_text(f"{BOM}sglang serve --model-path m\n")
    hosts.write_text(f"{BOM}no*host\n")

    assert world.run("render", path).returncode == 0
    assert world.run("lint", launch, "--release", "0.5.23").returncode in (0, 1)
    assert "'no*host'" in world.run("doctor", "--hosts", f"@{hosts}").stderr


@pytest.mark.parametrize("text", [f"port = {DIGITS}", "a = " + "[" * 5000, "a." * 5000 + "b = 1"])
def test_a_text_that_python_does_not_take_is_refused_in_our_words(text: str, world: World) -> None:
    path = world.folder / "it.toml"
    path.write_text(text)
    ran = world.run("render", path)

    assert ran.returncode == 78, ran
    assert not re.search(PYTHONS, ran.stderr), ran.stderr


def test_errors_are_in_one_kind_of_words() -> None:
    lost = FileNotFoundError(2, "No such file or directory", "/x")

    assert in_words(lost) == "no such file or directory"
    assert with_file(lost) == "no such file or directory: /x"
    assert with_file(OSError(12, "Cannot allocate memory")) == "cannot allocate memory"
    assert in_words(RecursionError("maximum recursion depth exceeded")) == "it nests too deep"
    with pytest.raises(ValueError) as digits:  # noqa: PT011  whatever Python says
        json.loads(DIGITS)
    assert in_words(digits.value) == "it has a number of thousands of digits"


@pytest.mark.parametrize("host", ["not an address", "a/b", "-x", "1.2.3.4:80", "x" * 254])
def test_what_is_no_address_is_not_called_open(host: str, world: World) -> None:
    ran = world.run("init", "own", "--extends", "cpu-demo", "--host", host)

    assert ran.returncode == 2, ran
    assert "is no address" in ran.stderr
    assert not address.is_host(host)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "[::1]", "0.0.0.0", "localhost", "gpu-1.x"])
def test_an_address_or_a_name_is_one(host: str) -> None:
    assert address.is_host(host)


def test_starts_that_are_none_are_not_called_none_yet(world: World) -> None:
    world.instance.mkdir(parents=True, mode=0o700)
    (world.instance / "state.json").write_text("{}")
    (world.instance / "starts.json").write_text("null")
    ran = world.run("events", "stub", "--starts")

    assert ran.returncode == 78, ran
    assert "starts.json tells of no start that can be read" in ran.stderr


def test_a_variable_that_is_nearly_ours_is_told(world: World) -> None:
    for name, meant in {
        "GLM5_SERVE_FLAGS__PORT": "did you mean GLM5_SERVE__FLAGS__PORT?",
        "GLM5_SERVE_STATEDIR": "did you mean GLM5_SERVE_STATE_DIR?",
    }.items():
        ran = world.run("status", **{name: "1"})

        assert f"note: {name} is no variable of glm5-serve, and is not read, {meant}" in ran.stderr
    theirs = dict.fromkeys((*variables.KNOWN, "GLM5_SERVE__FLAGS__PORT", "GLM5_X"), "")
    assert not list(variables.unread(theirs))


@pytest.mark.parametrize(
    ("is_own", "whose", "by"),
    [
        (False, "glm5 is owned by", "sudo glm5-serve"),
        (True, "this user's own", "env GLM5_SERVE_STATE_DIR={} glm5-serve"),
    ],
)
def test_an_instance_of_the_host_is_not_called_never_started(
    is_own: bool, whose: str, by: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    by = by.format(tmp_path / "system")
    user = os.geteuid() + (0 if is_own else 1)
    monkeypatch.setattr("os.geteuid", lambda: user)
    monkeypatch.setattr(home, "SYSTEM", tmp_path / "system")
    monkeypatch.setattr(home, "usual", lambda environ: tmp_path / "mine")
    (tmp_path / "system/glm5").mkdir(parents=True)
    seen = control.status(StateDir(tmp_path / "mine", "glm5"))

    assert seen.state == "unknown"
    assert f"`{by} status --profile glm5`" in seen.reason
    others = StateDir(tmp_path / "mine", "other"), StateDir(tmp_path / "system", "glm5")
    assert [control.status(one).state for one in others] == ["stopped", "stopped"]

    asked: list[Callable[[StateDir], object]] = [
        running.smoke,
        lambda one: bench_subject.subject(
            one, bench_subject.Wish("latency", (), 1, Objective(1, 1), False), os.environ
        ),
        lambda one: restart._require_startable(one, named=True),
    ]
    for ask, command in zip(asked, ("smoke", "bench", "restart"), strict=True):
        with pytest.raises(UserError, match=whose) as refused:
            ask(StateDir(tmp_path / "mine", "glm5"))
        assert refused.value.fix == f"`{by} {command} --profile glm5`"
