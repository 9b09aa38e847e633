"""The list of workers is the launcher's own, whatever somebody puts in its place."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from launcher.gateway.manifest import LARGEST
from launcher.gateway.roster import Roster, Served
from launcher.gateway.settings import Options

GIVEN = "http://127.0.0.1:9"  # discard: nobody answers
FOREIGN = '{"version": 1, "workers": [{"url": "http://127.0.0.1:7", "id": "evil"}]}'


@dataclass
class Kept:
    """A roster that was looked at once, and what it told."""

    folder: Path
    told: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        options = Options(workers=(GIVEN,))
        self.roster = Roster(self.folder, lambda: Served(options, None), self.told.append)
        self.roster.look()
        self.good = self.roster.file.read_bytes()


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    made = tmp_path / "gateway"
    made.mkdir()
    return Kept(made)


def symlink(file: Path) -> None:
    other = file.with_name("other.json")
    other.write_text(FOREIGN)
    file.symlink_to(other)


def link_to_nothing(file: Path) -> None:
    file.symlink_to("/nonexistent")


def link_to_folder(file: Path) -> None:
    file.symlink_to(file.parent)


def full_folder(file: Path) -> None:
    file.mkdir()
    file.joinpath("a").write_text(FOREIGN)


def listening_socket(file: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(file))


def too_large(file: Path) -> None:
    file.write_bytes(b" " * (LARGEST + 1))


def nothing(file: Path) -> None:
    pass


@pytest.mark.parametrize(
    ("put", "said"),
    [
        (symlink, "is a symlink"),
        (link_to_nothing, "is a symlink"),
        (link_to_folder, "is a symlink"),
        (full_folder, "is a folder"),
        (Path.mkdir, "is a folder"),
        (os.mkfifo, "is a FIFO"),
        (listening_socket, "is a socket"),
        (too_large, "has more than 1 MiB"),
        (nothing, "was removed"),
        (lambda file: file.write_text(FOREIGN), "changed by somebody"),
        (lambda file: file.write_text(""), "not JSON"),
    ],
)
def test_whatever_stands_in_its_place_is_told_and_the_list_put_back(
    kept: Kept, put: Callable[[Path], object], said: str
) -> None:
    kept.told.clear()
    kept.roster.file.unlink()
    put(kept.roster.file)

    kept.roster.look()

    assert not kept.roster.file.is_symlink()
    assert kept.roster.file.read_bytes() == kept.good
    assert [said in text and "put back" in text for text in kept.told] == [True]
    kept.roster.look()
    assert len(kept.told) == 1


@pytest.mark.parametrize("put", [symlink, full_folder, os.mkfifo])
def test_what_stood_there_before_the_first_list_is_replaced(
    tmp_path: Path, put: Callable[[Path], object]
) -> None:
    put(tmp_path / "workers.json")

    assert [one["url"] for one in json.loads(Kept(tmp_path).good)["workers"]] == [GIVEN]


def test_what_a_link_named_stays_as_it_was(kept: Kept) -> None:
    kept.roster.file.unlink()
    symlink(kept.roster.file)

    kept.roster.look()

    assert kept.folder.joinpath("other.json").read_text() == FOREIGN
