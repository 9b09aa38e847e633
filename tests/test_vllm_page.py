"""docs/vllm.md says what the profile, the rules and the issues say."""

from __future__ import annotations

import re
import runpy
from typing import Any

from conftest import ROOT, World

PAGE = (ROOT / "docs/vllm.md").read_text()
SCRIPT: dict[str, Any] = runpy.run_path(str(ROOT / "scripts/vllm_page.py"))


def test_the_page_is_what_its_rows_say() -> None:
    assert SCRIPT["filled"](PAGE) == PAGE, "scripts/vllm_page.py writes it anew"


def test_the_page_gives_a_reason_for_each_word_of_the_command() -> None:
    made = SCRIPT["plan"]()
    table = SCRIPT["reasons"](made)

    for word in (*made.arguments, *made.env):
        if word.startswith("--") or word.isupper():
            assert f"| `{word}` |" in table, word


def test_what_was_read_and_not_run_says_so() -> None:
    assert "from the source, not run:" in PAGE
    assert "| source:" not in PAGE


def test_nothing_else_than_its_rows_stands_in_a_block() -> None:
    odd = PAGE.replace("<!-- end -->", "more\n<!-- end -->", 1)

    assert SCRIPT["filled"](odd) == PAGE


def test_its_memory_is_what_fit_prints(world: World) -> None:
    said = world.run("fit", SCRIPT["PROFILE"], "--gpu", "rtx-pro-6000").stdout
    [page] = re.findall(r"<!-- memory -->\n(.*?)<!-- end -->", PAGE, re.DOTALL)
    told = " ".join(page.split())

    [pool] = re.findall(r"KV cache +([\d,]+ to [\d,]+ tokens)", said)
    [running] = re.findall(r"running +([\d.]+) to ([\d.]+ GiB)", said)
    [fits] = re.findall(r"(\d+) of 131,072", said)
    assert f"{pool}, room for {fits} requests of 131,072" in told
    assert f"{running[0]} to {running[1].removesuffix(' GiB')} (estimated" in told
    assert re.findall(r"weights +([\d.]+ GiB)", said)[0] in told
