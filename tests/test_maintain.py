"""The hour of whoever maintains the tables, walked on a copy: docs/maintain.md, command by command,
and what becomes of rows that are none.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from itertools import cycle, product
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from rig import healthy, wheel

from launcher.engines import issues, match, rules
from launcher.engines.engine import dialect
from launcher.engines.match import Case
from launcher.engines.options import Option
from launcher.engines.target import Target
from launcher.host import facts_json
from launcher.knowledge import gpus, models, rows

PAGE = ROOT / "docs/maintain.md"
SGLANG = dialect("sglang").options
LAST = SGLANG.release(SGLANG.newest)
NEXT = re.sub(r"\d+$", lambda last: str(int(last[0]) + 1), LAST.name)
TABLES = {
    "gpus": "launcher/knowledge/gpus.toml",
    "models": "launcher/knowledge/models.toml",
    "variables": "launcher/knowledge/variables.toml",
    "issues": "launcher/engines/sglang/issues.toml",
    "defaults": "launcher/engines/sglang/defaults.toml",
}
LAUNCH = "python3 -m sglang.launch_server --model-path zai-org/GLM-5 --tp-size 8\n"


@dataclass(frozen=True)
class Tree:
    """A copy of what a checkout has, with an environment of its own."""

    folder: Path

    def run(self, command: str) -> subprocess.CompletedProcess[str]:
        """A line of shell in it, with nothing of this checkout and no package index."""
        environ = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("GLM5", "NCCL", "SGLANG", "PIP"))
        }
        environ |= {
            "PYTHONPATH": str(self.folder),
            "HOME": str(self.folder),
            "COLUMNS": "1000",
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(self.folder / "wheels"),
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        }
        return subprocess.run(
            ["bash", "-c", command],
            cwd=self.folder,
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=False,
        )

    def add(self, file: str, text: str) -> None:
        """Rows, at the end of a table; a file that is not there is made."""
        with (self.folder / file).open("a") as told:
            told.write(f"\n{text}")

    def copy(self, to: Path) -> Tree:
        """Another like it."""
        shutil.copytree(self.folder, to, symlinks=True, dirs_exist_ok=True)
        return Tree(to)


def checkout(folder: Path) -> Tree:
    """What a checkout has of launcher, profiles, scripts and docs, and its commands."""
    for name in ("launcher", "profiles", "scripts", "docs"):
        shutil.copytree(ROOT / name, folder / name, symlinks=True)  # what is compiled, too
    commands = {"python": "", "glm5-serve": "-m launcher"}
    (folder / ".venv/bin").mkdir(parents=True)
    for name, words in commands.items():
        path = folder / ".venv/bin" / name
        path.write_text(f'#!/bin/sh\nexec {sys.executable} {words} "$@"\n')
        path.chmod(0o755)
    return Tree(folder)


def options(of: Mapping[str, Option] = LAST.options) -> dict[str, Option]:
    """Each once, by the name to write."""
    return {option.name: option for option in of.values()}


def next_release(folder: Path) -> None:
    """The wheel of a release that is made up, as the page tells of it."""
    made = options()
    made["--moon-backend"] = Option(("--moon-backend",), choices=("auto", "flux"), default="auto")
    made["--watchdog-timeout"] = replace(made["--watchdog-timeout"], default=600)
    del made["--enable-two-batch-overlap"]
    wheel.write(folder / "wheels", NEXT, made.values(), LAST.variables | {"SGLANG_MOON"})


def blocks(page: str) -> Iterator[tuple[str, str, str]]:
    """Each block of code: its language, the file that it is of, its text."""
    for found in re.finditer(
        r'^```(\w+)(?: title="(\S+)")?\n(.*?)^```$', page, re.MULTILINE | re.DOTALL
    ):
        yield found[1], found[2] or "", found[3]


def written() -> list[tuple[str, str, str]]:
    """The page's blocks; its releases are the newest that is known here, and the next."""
    text = PAGE.read_text().replace("0.5.23", LAST.name).replace("0.5.24", NEXT)
    return list(blocks(text))


def host() -> str:
    """Facts of eight of the page's GPUs, with its model in a folder whose name says nothing."""
    rows = "".join(text for kind, _, text in written() if kind == "toml")
    family = tomllib.loads(rows)["comet-7"]
    config = {name: str(size) for name, size in family["config"].items()}
    config |= {"architectures": family["architectures"][0]}
    seen = healthy.having(
        healthy.host(),
        model__config=config,
        model__path="/models/current",
        engine__packages={"sglang": NEXT},
    )
    told = json.dumps(facts_json.to_json(seen))
    for old, new in (
        ("NVIDIA RTX PRO 6000 Blackwell Server Edition", "NVIDIA RTX PRO 7000 Blackwell"),
        ("10de:2bb5", "10de:2bff"),
        (str(97887 << 20), str(130560 << 20)),
    ):
        assert old in told
        told = told.replace(old, new)
    return told


def missing(page: str, said: str) -> list[str]:
    """The lines of the page that were not printed, or not in this order; `...` is anything."""
    printed = iter(squeezed(said))
    patterns = {line: ".*".join(map(re.escape, line.split("..."))) for line in squeezed(page)}
    return [
        line
        for line, pattern in patterns.items()
        if not any(re.fullmatch(pattern, one) for one in printed)
    ]


def squeezed(text: str) -> list[str]:
    """Its lines that say something, with single spaces."""
    return [" ".join(line.split()) for line in text.splitlines() if line.strip()]


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    """A copy on which the page was walked: every block, in its order."""
    tree = checkout(tmp_path_factory.mktemp("hour") / "tree")
    next_release(tree.folder)
    (tree.folder / "host.json").write_text(host())
    said = ""
    for kind, file, text in written():
        if kind == "text":
            assert not missing(text, said), said
        elif file:
            tree.add(file, text)
        else:
            ran = [tree.run(command) for command in text.splitlines()]
            assert {one.returncode for one in ran} <= {0, 1}, [one.stdout for one in ran]
            said = "".join(one.stdout for one in ran)
    return tree


def test_every_command_of_the_page_runs_and_prints_what_the_page_says(walked: Tree) -> None:
    kinds = [kind for kind, _, _ in written()]

    assert kinds.count("sh") >= 9
    assert kinds.count("toml") == 4
    assert "comet-7-fp8-kv" in (walked.folder / "docs/checks.md").read_text()


def test_nothing_but_tables_was_changed(walked: Tree) -> None:
    changed = {
        path.relative_to(ROOT).as_posix()
        for name in ("launcher", "scripts")
        for path in (ROOT / name).rglob("*")
        if path.is_file()
        and "__pycache__" not in path.parts
        and path.read_bytes() != (walked.folder / path.relative_to(ROOT)).read_bytes()
    }

    catalogue = "launcher/engines/sglang/options.json"
    assert changed == {*TABLES.values(), catalogue} - {TABLES["variables"]}


def test_what_was_added_is_known_by_facts_whatever_the_name(walked: Tree) -> None:
    """The card by its PCI id, the model by its config.json."""
    at = "-p 8xpro6000 --facts host.json --set flags.model-path=/models/zai-org/GLM-5"
    fits = walked.run(f".venv/bin/glm5-serve fit {at}")
    plan = json.loads(walked.run(f".venv/bin/glm5-serve render {at} --json").stdout)

    assert f"RTX PRO 7000 Blackwell, sm120, SGLang {NEXT}: 8 x 127.5 GiB" in fits.stdout
    assert "comet-7" in plan["traits"]
    assert "glm-5" not in plan["traits"]
    assert (plan["gpu"], plan["release"]) == ("rtx-pro-7000", NEXT)


# -- what a release changed --------------------------------------------------------------------------


def news(tree: Tree, made: Mapping[str, Option], variables: frozenset[str]) -> str:
    path = wheel.write(tree.folder / "wheels", NEXT, made.values(), variables)
    said = tree.run(f".venv/bin/python scripts/catalogue.py {path}")
    assert said.returncode == 0, said.stdout
    return said.stdout.partition(f"{NEXT} against {LAST.name}\n")[2]


def test_a_release_that_changed_nothing_names_nothing(tmp_path: Path) -> None:
    assert news(checkout(tmp_path), options(), LAST.variables) == "0 rows name what changed\n"


def test_each_change_is_told_and_who_names_it(tmp_path: Path) -> None:
    made = options()
    kv, page = made.pop("--kv-cache-dtype"), made.pop("--page-size")
    made["--kv-cache-dtype"] = replace(
        kv, choices=("moon", *(one for one in kv.choices if one != "fp8_e4m3"))
    )
    made["--kv-page-size"] = replace(page, names=("--kv-page-size", "--page-size"))
    made["--tool-call-parsers"] = replace(
        made.pop("--tool-call-parser"), names=("--tool-call-parsers",)
    )
    made["--moe-runner-backend"] = replace(
        made["--moe-runner-backend"], deprecated=True, instead="--moon-backend"
    )
    del made["--trust-remote-code"]
    gone = "SGLANG_ENABLE_PCIE_IPC_ALLREDUCE"
    said = news(checkout(tmp_path), made, LAST.variables - {gone} | {"SGLANG_MOON"})

    changes, _, rows = said.partition(" rows name what changed")
    for line in (
        "changed --kv-cache-dtype new choices moon",
        "changed --kv-cache-dtype lost choices fp8_e4m3",
        "changed --moe-runner-backend deprecated was False, is True",
        "renamed --page-size to --kv-page-size",
        "removed --tool-call-parser perhaps now --tool-call-parsers",
        "added --tool-call-parsers",
        "removed --trust-remote-code",
        "variables added: SGLANG_MOON",
        f"variables removed: {gone}",
    ):
        assert f"  {line}\n" in changes, line
    for row in (
        "issues.toml remote-code: trust-remote-code",
        "issues.toml tool-parser-glm45: tool-call-parser",
    ):
        assert f"/{row}\n" in rows
    assert f": {gone}\n" in rows
    assert "page-size" in rows
    assert "watchdog" not in said


# -- rows that are none ------------------------------------------------------------------------------

GPU = """
name = "X"
capability = "12.0"
memory_mib = 65536
link = "pcie5"
editions = [{ seen = "NVIDIA X", power_w = 1 }]
evidence = "source"
source = "s"
checked = 2026-11-26
"""
MODEL = """
architectures = ["XForCausalLM"]
types = ["x"]
names = ["x"]
traits = []
evidence = "source"
source = "s"
checked = "0.5.23"
"""
ISSUE = """
severity = "breaks"
blames = ["tp-size"]
what = "w"
remedies = [{ text = "t" }]
evidence = "source"
source = "s"
checked = "0.5.23"
"""
DEFAULT = """
set = "dtype"
value = "auto"
why = "w"
evidence = "source"
source = "s"
checked = "0.5.23"
"""
# A row of each table, what of it is changed, and what is said of it.
BAD = (
    ("gpus", f"[a]{GPU}", ("link", '"pcie"'), "link: 'pcie' is not one of pcie5, nvlink"),
    ("gpus", f"[a]{GPU}", ("memory_mib", None), "no memory_mib"),
    ("gpus", f"[a]{GPU}", ("checked", '"0.5.23"'), "checked: '0.5.23' is no day"),
    (
        "gpus",
        f"[a]{GPU}",
        ("editions", '[{ seen = "Y", power_w = 1, pci = ["10de:2901"] }]'),
        "10de:2901 is in b200, too",
    ),
    (
        "models",
        f"[a]{MODEL}",
        ("architectures", '["GlmMoeDsaForCausalLM"]'),
        "GlmMoeDsaForCausalLM is in glm-5, too",
    ),
    ("models", f"[a]{MODEL}", ("names", '["x("]'), "names: 'x(' is no regular expression"),
    ("models", f"[a]{MODEL}", ("checkpoints", "3"), "'int' object has no attribute 'items'"),
    (
        "issues",
        f"[a]{ISSUE}",
        ("when", '{ traits = ["glm5"] }'),
        "when: nobody knows the trait glm5",
    ),
    ("issues", f"[a]{ISSUE}", ("when", '{ gpu = ["sm12"] }'), "gpu: 'sm12' is not one of sm100"),
    (
        "issues",
        f"[a]{ISSUE}",
        ("when", '{ release = "0.5.17" }'),
        "'0.5.17' is not a span of releases",
    ),
    ("issues", f"[a]{ISSUE}", ("checked", '"new"'), "checked: 'new' is not a release"),
    ("variables", f"[a]{ISSUE}", ("severity", '"dire"'), "severity: 'dire' is not one of breaks"),
    (
        "defaults",
        f"[[default]]{DEFAULT}",
        ("when", '{ gpu = ["sm12"] }'),
        "gpu: 'sm12' is not one of sm100",
    ),
    (
        "defaults",
        f"[[default]]{DEFAULT}",
        ("when", "{ options = 3 }"),
        "'int' object has no attribute",
    ),
)


def changed(row: str, key: str, value: str | None) -> str:
    """The row with one key set to something else, or without it."""
    kept = [line for line in row.splitlines() if not line.startswith(f"{key} ")]
    return "\n".join([*kept, *([] if value is None else [f"{key} = {value}"])]) + "\n"


# How each table is read, a good row of it, and what of that is asked where rows are judged by.
READ: Mapping[str, tuple[Callable[[Path], rows.Table[Any]], str, Callable[[Any], object]]] = {
    "gpus": (
        lambda file: rows.read(file, None, gpus.product, gpus.claims),
        f"[a]{GPU}",
        lambda row: (row.arch, row.is_blackwell),
    ),
    "models": (
        lambda file: rows.read(file, None, models.family, models.claims),
        f"[a]{MODEL}",
        lambda row: row.of_name("x-7"),
    ),
    "issues": (
        lambda file: issues.read(file, "sglang"),
        f"[a]{ISSUE}",
        lambda row: [row.when.suits(CASE), *issues._told(row, CASE)],
    ),
    "defaults": (
        rules.table,
        f"[[default]]{DEFAULT}when = {{}}\n",
        lambda row: (row.applies(CASE), row.is_variable),
    ),
}
CASE = Case(Target(LAST.name, "sm120"), {"x": "1", "tp-size": "8"}, {}, 8)
KEYS = {
    "gpus": gpus.KEYS,
    "models": [one.name for one in fields(models.Family)],
    "issues": [*issues.KEYS, *(f"when.{key}" for key in match.KEYS), "when.options.x"],
    "defaults": [*rules.KEYS, *(f"when.{key}" for key in match.KEYS), "when.options.x"],
}
ODD = '3 1.5 true 2026-11-26 "" "x" "(" "{" [] [3] ["x"] ["("] [[]] {} {x=3} {x="y"} {x=[3]} [{}] [{x=3}]'


@pytest.mark.parametrize("table", READ)
def test_a_value_of_any_type_costs_its_row_at_most(table: str, tmp_path: Path) -> None:
    """It is left out, or can be judged by."""
    read, row, asked = READ[table]
    left_out = 0
    for number, (key, value) in enumerate(product(KEYS[table], ODD.split())):
        text = changed(row, key.partition(".")[0], None) + f"{key} = {value}\n"
        file = tmp_path / f"{number}.toml"  # a name of its own: what was read is kept
        file.write_text(text)
        found = read(file)
        assert len(found.rows) + len(found.complaints) == 1, text
        left_out += len(found.complaints)
        for one in found.rows:
            asked(one)

    assert left_out > number / 3
    (tmp_path / "good.toml").write_text(row)
    assert len(read(tmp_path / "good.toml").rows) == 1


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    made = checkout(tmp_path)
    (tmp_path / "launch.sh").write_text(LAUNCH)
    (tmp_path / "host.json").write_text(json.dumps(facts_json.to_json(healthy.host())))
    return made


def told(tree: Tree) -> dict[str, str]:
    """What each that judges by tables prints, doctor's check of them alone; none of them fails."""
    at = f"--release {LAST.name} --arch sm120"
    commands = {
        "render": f"render 8xpro6000 {at}",
        "lint": f"lint launch.sh {at}",
        "doctor": "doctor --facts host.json -p 8xpro6000 --only known-issues",
    }
    ran = {name: tree.run(f".venv/bin/glm5-serve {words}") for name, words in commands.items()}
    assert {one.returncode for one in ran.values()} <= {0, 1}, ran
    return {name: one.stdout for name, one in ran.items()}


def refused(tree: Tree) -> list[str]:
    """What each script prints, which must exit 1 for it."""
    ran = [
        tree.run(f".venv/bin/python scripts/{words}")
        for words in ("news.py sglang", "stale.py sglang==0.0.1")
    ]
    assert [one.returncode for one in ran] == [1, 1]
    return [one.stdout for one in ran]


def test_rows_that_are_none_are_told_everywhere_and_cost_themselves_alone(tree: Tree) -> None:
    sound = told(tree)
    for number, (table, row, change, _) in enumerate(BAD):
        tree.add(TABLES[table], changed(row, *change).replace("[a]", f"[bad-{number}]"))
    said, scripts = told(tree), refused(tree)

    for number, (table, _, _, why) in enumerate(BAD):
        place = rf"{table}\.toml, ({'bad-' + str(number) if table != 'defaults' else '[0-9]+'})"
        line = rf"left out: {place}: {re.escape(why)}"
        for name, text in {**said, "news": scripts[0], "stale": scripts[1]}.items():
            assert name == "doctor" or re.search(line, text), (name, line)
    first = re.search(r"left out: (issues\.toml, bad-\d+: .*)", said["lint"])
    assert first
    assert f"left out: {first[1]}" in said["doctor"]
    for name in ("render", "lint"):
        assert without_notes(said[name]) == without_notes(sound[name]), "all the same otherwise"


def without_notes(said: str) -> list[str]:
    return [line for line in said.splitlines() if "left out: " not in line]


OTHERS = cycle(("profiles", "checks", "fit -p 8xpro6000 --arch sm120"))


@pytest.mark.parametrize(("table", "other"), [*zip(TABLES, OTHERS, strict=False)])
def test_without_a_table_that_is_no_toml_everything_starts_and_says_so(
    tree: Tree, table: str, other: str
) -> None:
    """Who judges by it, and one of the others by turns."""
    tree.add(TABLES[table], "[[[\n")
    line = f"left out: {table}.toml: "

    for name, text in told(tree).items():
        assert f"{table}.toml: " in text, name
    assert line in tree.run(".venv/bin/python scripts/stale.py sglang==0.0.1").stdout
    ran = tree.run(f".venv/bin/glm5-serve {other}")
    assert ran.returncode in (0, 78), ran.stdout
    assert ran.returncode == 0 or "\nfix " in ran.stdout


def test_a_rule_that_is_left_out_may_still_be_skipped(tree: Tree) -> None:
    """A profile that names it stays good."""
    file = tree.folder / TABLES["defaults"]
    file.write_text(
        file.read_text().replace('set = "NCCL_P2P_LEVEL"\n', 'set = "NCCL_P2P_LEVEL"\nx = 1\n')
    )
    ran = tree.run(
        f".venv/bin/glm5-serve render 8xpro6000 --release {LAST.name}"
        """ --set 'rules.skip=["NCCL_P2P_LEVEL"]'"""
    )

    assert ran.returncode == 0, ran.stdout
