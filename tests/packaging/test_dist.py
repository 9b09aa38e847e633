"""What the packages are made of: the lock, the metadata, the manual's pages; and that the same source
makes the same bytes.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
from email.parser import HeaderParser
from pathlib import Path
from zipfile import ZipFile

import pytest
from conftest import ROOT
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from rig import dist

sys.path.insert(0, str(ROOT / "scripts"))
import manpages

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCK = (ROOT / "packaging/requirements.txt").read_text()
PAGES = manpages.pages(0)


def test_the_lock_has_what_the_project_asks_for_and_a_hash_of_each() -> None:
    locked = dict(re.findall(r"^([\w.-]+)==([^ ;]+)", LOCK, re.MULTILINE))

    for wanted in map(Requirement, PROJECT["dependencies"]):
        assert wanted.specifier.contains(locked[canonicalize_name(wanted.name)]), "`make lock`"
    for one in re.split(r"\n(?=\w)", LOCK.partition("\nannotated")[2])[1:]:
        assert "--hash=sha256:" in one
    assert "index" not in LOCK


def test_the_description_is_as_wide_as_apt_shows_it() -> None:
    control = (ROOT / "packaging/debian/control").read_text()
    _, _, description = control.partition("\nDescription: ")
    assert max(map(len, description.splitlines())) <= 80


def test_each_command_has_a_page_with_its_options() -> None:
    page = PAGES["glm5-serve-up.1"]

    assert {"glm5-serve.1", "glm5-serve-systemd-install.1", "glm5-serve-gateway.1"} <= set(PAGES)
    assert "glm5\\-serve\\-up \\- start a profile\\(aqs server and keep it up" in page
    assert ".B \\-\\-api\\-key\\-file FILE\nThe key that clients must send" in page
    for status in (0, 1, 2, 70, 78):
        assert f"\n.B {status}\n" in PAGES["glm5-serve.1"]
    assert all("\\- " in text and "…" not in text for text in PAGES.values())


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("a-b", "a\\-b"), (".so x", "\\&.so x"), ("a\\n", "a\\en"), ("it's", "it\\(aqs")],
)
def test_no_word_of_a_help_text_is_a_command_of_the_page(text: str, wanted: str) -> None:
    assert manpages.escaped(text) == wanted


def test_the_same_source_makes_the_same_bytes_and_pypi_takes_them(tmp_path: Path) -> None:
    said = dist.make(tmp_path / "one", "python")
    dist.make(tmp_path / "two", "python")
    made = sorted((tmp_path / "one").iterdir())

    assert [path.suffix for path in made] == [".whl", ".gz"]
    assert said.count("PASSED") == 2
    for path in made:
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()
    with ZipFile(made[0]) as wheel:
        (name,) = (
            one for one in wheel.namelist() if one.count("/") == 1 and one.endswith("/METADATA")
        )
        about = HeaderParser().parsestr(wheel.read(name).decode())
    assert about["License-Expression"] == "MIT"
    assert about["Requires-Python"] == ">=3.11"
    assert not [one for one in about.get_all("Project-URL", []) if "example" in one]


def test_the_sdist_makes_the_wheel_again(tmp_path: Path) -> None:
    dist.make(tmp_path, "python")
    (source,), (wheel,) = tmp_path.glob("*.tar.gz"), tmp_path.glob("*.whl")
    shutil.unpack_archive(source, tmp_path / "source")
    (tree,) = (tmp_path / "source").iterdir()
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path / "again"]
    subprocess.run(build, cwd=tree, check=True, capture_output=True, timeout=60)

    (again,) = (tmp_path / "again").iterdir()
    with ZipFile(wheel) as ours, ZipFile(again) as theirs:
        assert theirs.namelist() == ours.namelist()
    with tarfile.open(source) as tar:
        names = tar.getnames()
    assert len(names) == len({*names}), "each file once, also where a link leads to it"


def test_what_cannot_be_made_is_said(tmp_path: Path) -> None:
    command = [sys.executable, ROOT / "scripts/dist.py", "rpm"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == 1
    assert done.stderr == "error  no rpm to make\nfix    one of python, wheelhouse, deb, image\n"
