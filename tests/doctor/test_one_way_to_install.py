"""An engine is installed in one way, which `doctor` says where it is missing, and every page says."""

from __future__ import annotations

import re

import pytest
from conftest import ROOT

from launcher.doctor.checks.engine import own_environment
from launcher.engines.engine import NAMES, dialect

PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
INSTALLED = re.compile(r"(\S+)/bin/pip install\s+'?((?:sglang|vllm)[^\s'`,]*)")
INTERPRETER = re.compile(r"(?:engine\.python ?= ?|^python = )\"?([^\s\"`]+)", re.MULTILINE)


def pages_of(engine: str) -> dict[str, str]:
    """The texts that install it, by name."""
    package = dialect(engine).package
    texts = {page.name: page.read_text() for page in PAGES}
    return {name: text for name, text in texts.items() if f"pip install {package}" in text}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_installs_an_engine_as_doctor_says(page: object) -> None:
    text = page.read_text()  # type: ignore[attr-defined]
    ways = {own_environment(name) for name in NAMES}

    assert {found.groups() for found in INSTALLED.finditer(text)} <= ways
    folders = {folder for folder, _ in ways}
    for python in INTERPRETER.findall(text):
        if python.startswith(("/", "~")):
            assert python.removesuffix("/bin/python") in folders, python


@pytest.mark.parametrize(("engine", "page"), [("sglang", "README.md"), ("vllm", "vllm.md")])
def test_the_release_that_is_installed_is_the_newest_that_rules_know(
    engine: str, page: str
) -> None:
    folder, wanted = own_environment(engine)
    text = " ".join(pages_of(engine)[page].split())

    assert f"{folder}/bin/pip install {wanted}" in text
    assert f"python3 -m venv {folder}" in text
    assert wanted.endswith(dialect(engine).options.newest)
