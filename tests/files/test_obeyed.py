"""Profiles that others may have written: what only prints runs nothing of them, what starts them
refuses.
"""

from __future__ import annotations

import grp
import json
import os
import pwd
import stat
from pathlib import Path

import pytest
from conftest import World

from launcher.config import layers
from launcher.errors import Exit
from launcher.files import ownership

NOBODY = 65534
ROOT = os.geteuid() == 0  # who alone gives files to others
ME = pwd.getpwuid(os.geteuid()).pw_name


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "a" / "p.toml"
    made.parent.mkdir(mode=0o755)
    made.write_text('[flags]\nmodel-path = "m"\n')
    made.chmod(0o644)
    return made.resolve()


def test_a_file_of_ones_own_is_ones_own_in_any_place_that_is(file: Path) -> None:
    assert ownership.of_file(file) is None
    for mode in (0o1777, 0o1775, 0o700):
        file.parent.chmod(mode)
        assert ownership.of_file(file) is None
    assert ownership.of_file(Path("/etc/passwd").resolve()) is None


@pytest.mark.parametrize(
    ("of_file", "of_folder"), [(0o666, 0o755), (0o646, 0o755), (0o644, 0o777), (0o644, 0o757)]
)
def test_what_others_may_write_is_told_with_owner_and_mode(
    file: Path, of_file: int, of_folder: int
) -> None:
    file.chmod(of_file)
    file.parent.chmod(of_folder)
    odd = file.parent if of_file == 0o644 else file
    doubt = ownership.of_file(file)

    assert doubt
    assert (
        f"{odd} is owned by {ownership.user(os.geteuid())}, mode"
        f" {stat.filemode(odd.stat().st_mode)}" in doubt.what
    )
    assert doubt.what.endswith(": others may write there")
    assert doubt.fix == f"`chmod go-w {odd}`"
    os.system(doubt.fix.strip("`"))
    assert ownership.of_file(file) is None


@pytest.mark.parametrize("name", ["p.toml", ".."])
def test_what_belongs_to_another_user_is_told(
    file: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd, owner = (file.parent if name == ".." and ROOT else file), "nobody" if ROOT else ME
    if ROOT:
        os.chown(odd, NOBODY, NOBODY)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    doubt = ownership.of_file(file)

    assert doubt
    assert f"{odd} is owned by {owner} (uid" in doubt.what
    assert doubt.fix.startswith("`chown ")
    assert doubt.fix.endswith(f" {odd}`")


def test_a_link_that_somebody_put_there_since_is_no_file(file: Path) -> None:
    link = file.with_name("link.toml")
    link.symlink_to(file)

    assert ownership.of_file(link)


def test_a_users_own_group_is_nobody_else(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where each user has a group of his name, as on Debian and Fedora, files are made writable for
    it.
    """
    file.chmod(0o664)
    groups = {
        "own": (ME, []),
        "listed": (ME, [ME]),
        "shared": (ME, [ME, "eve"]),
        "staff": ("staff", []),
    }
    for kind, (name, members) in groups.items():
        group = grp.struct_group((name, "x", os.getegid(), members))
        monkeypatch.setattr(grp, "getgrgid", lambda _, group=group: group)
        assert (ownership.of_file(file) is None) == (kind != "shared"), kind


def test_the_packaged_profiles_are_this_programs_own() -> None:
    found = layers.find("8xpro6000", {"HOME": "/nowhere"})

    assert layers.read(found).doubt is None
    assert layers.read(layers.find(str(found.path), {})).doubt is None


def test_what_a_profile_extends_counts_as_well(file: Path) -> None:
    parent = file.with_name("parent.toml")
    parent.write_text("")
    parent.chmod(0o666)
    file.write_text('extends = "parent.toml"\n[flags]\nmodel-path = "m"\n')
    doubts = [layer.doubt for layer in layers.lineage(layers.find(str(file), {}), {})]

    assert [doubt is not None for doubt in doubts] == [True, False]


@pytest.fixture
def theirs(world: World) -> World:
    """The stub's profile as others may write it, with an interpreter that tells when it is run."""
    evil = world.folder / "evil"
    evil.write_text(f"#!/bin/sh\necho run >> {world.folder}/ran\n")
    evil.chmod(0o755)
    text = world.profile.read_text()
    python = next(line for line in text.splitlines() if line.startswith("python = "))
    world.profile.write_text(
        text.replace(python, f'python = "{evil}"').replace('device = "cpu"\n', "")
    )
    world.profile.chmod(0o666)
    return world


@pytest.mark.parametrize(
    "words", ["render -p stub", "fit -p stub --model nvidia/GLM-5-NVFP4", "diff stub card"]
)
def test_what_only_prints_says_so_and_runs_nothing(theirs: World, words: str) -> None:
    said = theirs.run(*words.split())

    assert not (theirs.folder / "ran").exists()
    assert (
        f"note: {theirs.profile} is owned by {ownership.user(os.geteuid())}, mode -rw-rw-rw-"
        in said.stdout
    )
    assert "the interpreter that it names is not asked" in said.stdout
    assert "the SGLang release is unknown" in said.stdout


def test_doctor_knows_nothing_of_its_engine_and_moves_no_data_with_it(theirs: World) -> None:
    said = theirs.run("doctor", "-p", "stub", "--all")
    refused = theirs.run("doctor", "-p", "stub", "--deep", "--backend", "gloo")

    assert "the interpreter that it names is not asked" in said.stdout
    assert (refused.returncode, "--deep would run it" in refused.stderr) == (Exit.CONFIG, True)
    assert not (theirs.folder / "ran").exists()


def test_it_is_not_started_and_the_refusal_says_what_to_do(theirs: World) -> None:
    refused = theirs.run("up", "-p", "stub")

    assert refused.returncode == Exit.CONFIG
    assert "profile stub names programs to run, and others may have written it" in refused.stderr
    assert f"`chmod go-w {theirs.profile}`" in refused.stderr
    assert refused.stderr.count("\n") == 2
    assert not (theirs.folder / "ran").exists()


def test_what_runs_goes_on_when_its_profile_became_others(world: World) -> None:
    assert world.run("up", "-p", "stub", "-d").returncode == 0
    world.profile.chmod(0o666)
    refused = world.run("restart", "-p", "stub")

    assert refused.returncode == Exit.CONFIG
    assert "others may have written it" in refused.stderr
    assert (world.status()["state"], world.status()["run"]) == ("ready", 1)


def test_one_that_is_nobody_elses_is_not_spoken_of(world: World) -> None:
    said = world.run("render", "-p", "stub", "--json")

    assert json.loads(said.stdout)["doubt"] == ""
    assert (json.loads(said.stdout)["notes"], json.loads(said.stdout)["release"]) == ([], "0.5.23")
