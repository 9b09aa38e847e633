"""Where a file goes that somebody wants written: a file, or a folder, which a slash at its end makes."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from launcher.cli import every_command
from launcher.errors import UserError
from launcher.files.placing import target
from launcher.operate import bench_files, bundle
from launcher.statedir.folder import StateDir


def test_a_slash_at_the_end_makes_the_folder(tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.mkdir()

    assert target(f"{tmp_path}/runs/of/may/", "a.jsonl") == tmp_path / "runs/of/may/a.jsonl"
    assert (tmp_path / "runs/of/may").is_dir()
    assert target(str(there), "a.jsonl") == there / "a.jsonl"
    assert target(str(tmp_path / "new"), "a.jsonl") == tmp_path / "new"
    assert not (tmp_path / "new").exists()


def test_a_picture_has_a_pictures_name(tmp_path: Path) -> None:
    for name in ("a.png", "a.PNG"):
        assert target(f"{tmp_path}/{name}", "b.png", ".png") == tmp_path / name
    assert target(f"{tmp_path}/x.y/", "b.png", ".png") == tmp_path / "x.y" / "b.png"
    for name in ("a.txt", "png", "a.png.gz"):
        with pytest.raises(UserError, match=r"does not end in \.png"):
            bench_files.place(f"{tmp_path}/{name}", "stub", "png", only=True)


def test_what_cannot_be_a_folder_is_refused_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    for said in (f"{tmp_path}/file/", f"{tmp_path}/file/below/", "/proc/none/"):
        with pytest.raises(UserError, match="names /"):
            target(said, "a")
    assert (tmp_path / "file").read_text() == "kept"


def test_a_record_and_a_bundle_go_into_a_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    said = f"{tmp_path}/out/"
    record = bench_files.place(said, "8xb200", "jsonl")
    with bundle.begun(StateDir(tmp_path / "state", "stub"), said) as made:
        pass

    assert record.parent == made.path.parent == tmp_path / "out"
    assert record.name.startswith("bench-8xb200-")
    assert made.path.name.endswith(".tar.gz")
    assert made.is_new


def test_each_option_for_a_file_that_is_written_says_that_a_folder_will_do() -> None:
    """What is written where somebody says: by these options, and by no other."""
    found = {
        (command.name, option)
        for command in every_command().values()
        for parameter in command.params
        if isinstance(parameter, click.Option) and "folder/" in (parameter.help or "")
        for option in parameter.opts
    }

    assert found == {
        ("bench", "--save"), ("bench", "--plot"), ("events", "--svg"), ("bundle", "-o"),
        ("bundle", "--output"),
    }  # fmt: skip
