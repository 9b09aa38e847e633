"""Every alias is the option: whatever name an author uses, plan, fit, findings and lint are the
same.
"""

from __future__ import annotations

import ast
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from conftest import ROOT, World
from rig import healthy

from launcher.capacity import estimate, memory
from launcher.config.layers import PACKAGED
from launcher.config.load import PlanRequest, load
from launcher.config.resolve import resolve
from launcher.doctor.checks import judge
from launcher.engines.descriptions import MEANINGS
from launcher.engines.engine import NAMES, dialect
from launcher.engines.issues import every_issue
from launcher.engines.options import Catalogue
from launcher.engines.rules import rules
from launcher.engines.target import Target
from launcher.errors import UserError
from launcher.formats.reading import read
from launcher.host.facts import Host
from launcher.knowledge.shape import shape as shape_of
from launcher.lint import lint
from launcher.lint.lint import Entry
from launcher.plan.plan import Plan

CATALOGUE = dialect("sglang").options
NEWEST = CATALOGUE.newest
PROFILE = str(PACKAGED / "8xpro6000.toml")
HOST = Host()
LAUNCHER = ROOT / "launcher"


@cache
def aliases() -> tuple[tuple[str, str], ...]:
    """Each name that any release has for an option whose canonical name is another one, and that
    name.
    """
    words = {word for name in CATALOGUE.releases for word in CATALOGUE.release(name).options}
    names = [*sorted(word[2:] for word in words if word.startswith("--")), "tp", "pp", "dp", "ep"]
    return tuple((name, known) for name in names if (known := CATALOGUE.canonical(name)) != name)


def value(name: str) -> str:
    """Something that the option takes in every release that has it."""
    options = [
        CATALOGUE.release(release).options.get(f"--{name}") for release in CATALOGUE.releases
    ]
    option = [found for found in options if found][-1]
    if option.takes == "nothing":
        return "true"
    return (
        str(option.choices[-1])
        if option.choices
        else "2"
        if option.type in ("int", "float")
        else "x:1"  # text, and an address
    )


def plan(*settings: str, environ: dict[str, str] | None = None, release: str = NEWEST) -> Plan:
    ask = PlanRequest(PROFILE, settings)
    made = resolve(
        load(ask, {"HOME": "/home/op", **(environ or {})}),
        ask,
        Path("/s"),
        {},
        Target(release, "sm120"),
    )
    return replace(made, words={})


def told(made: Plan) -> list[tuple[str, str, str]]:
    return [(setting.name, setting.option, setting.value) for setting in made.settings]


@pytest.mark.parametrize(("alias", "name"), aliases())
@pytest.mark.parametrize("release", [CATALOGUE.releases[1], "0.5.15", NEWEST])
def test_an_alias_gives_the_same_plan(alias: str, name: str, release: str) -> None:
    asked = value(name)
    by_alias, by_name = (
        plan(f"flags.{alias}={asked}", release=release),
        plan(f"flags.{name}={asked}", release=release),
    )

    assert told(by_alias) == told(by_name)
    assert (by_alias.argv, by_alias.gpus) == (by_name.argv, by_name.gpus)
    variable = f"GLM5_SERVE__FLAGS__{alias.upper().replace('-', '_')}"
    assert plan(environ={variable: asked}, release=release).argv == by_name.argv


@pytest.mark.parametrize(
    ("alias", "name"), [pair for pair in aliases() if pair[1] in ("tp-size", "pp-size", "dp-size")]
)
def test_an_alias_gives_the_same_fit_and_findings(alias: str, name: str) -> None:
    config = memory.named("zai-org/GLM-5")
    assert config
    shape = shape_of(config)
    weights = memory.from_shape(shape, memory.PRECISIONS["nvfp4"])
    one, other = plan(f"flags.{alias}=4"), plan(f"flags.{name}=4")

    assert estimate.fit(one, shape, weights, HOST, 96 << 30) == estimate.fit(
        other, shape, weights, HOST, 96 << 30
    )
    assert judge(healthy.host(), one) == judge(healthy.host(), other)


@pytest.mark.parametrize(("alias", "name"), aliases())
def test_an_alias_gives_the_same_lint(alias: str, name: str) -> None:
    """Where the release has both names, and neither is on its way out."""
    within = CATALOGUE.release(NEWEST)
    if not (within.accepts(f"--{alias}") and within.accepts(f"--{name}")):
        return
    model = "" if name == "model-path" else "--model-path zai-org/GLM-5"
    asked = "" if within.options[f"--{name}"].takes == "nothing" else value(name)

    def judged(word: str) -> list[Entry]:
        text = f"python3 -m sglang.launch_server {model} --quantization modelopt_fp4"
        [launch] = read(f"{text} --{word} {asked}").launches
        entries = lint.lint(launch, Target(NEWEST, "sm120"))
        return [
            replace(entry, name=name) if entry.name == f"--{word}" else entry for entry in entries
        ]

    by_alias, by_name = judged(alias), judged(name)
    if within.options[f"--{alias}"].deprecated:
        by_alias, by_name = by_alias[:-1], by_name[:-1]
    assert by_alias == by_name


def test_two_names_of_one_option_in_one_place_are_refused() -> None:
    with pytest.raises(UserError) as refused:
        load(PlanRequest(PROFILE, ("flags.tp=4", "flags.tensor-parallel-size=8")), {})

    assert (
        "--set: flags.tensor-parallel-size: the same option as tp, set one of them"
        in refused.value.what
    )


def test_a_nearer_layer_wins_whatever_name_it_uses() -> None:
    made = plan("flags.tensor-parallel-size=4", environ={"GLM5_SERVE__FLAGS__TP": "2"})

    assert [value for _, option, value in told(made) if option == "tp-size"] == ["4"]
    assert made.gpus == 4


def test_where_rules_are_off_an_option_is_written_as_its_author_does(world: World) -> None:
    world.write_profile("[rules]\nenabled = false\n")
    said = world.run("render", "-p", "stub", "--set", "flags.tensor-parallel-size=4").stdout

    assert "--tensor-parallel-size 4" in said
    assert "--tp-size" not in said


def names_in_code() -> list[tuple[str, str]]:
    """Each literal that code asks a plan or a case for, with its place."""
    found = []
    for path in sorted(LAUNCHER.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                called = (
                    node.func.attr
                    if isinstance(node.func, ast.Attribute)
                    else getattr(node.func, "id", "")
                )
                if called == "flag" or (called == "number" and len(node.args) > 1):
                    found += [
                        (arg.value, f"{path.relative_to(LAUNCHER)}:{node.lineno}")
                        for arg in node.args
                        if isinstance(arg, ast.Constant) and isinstance(arg.value, str)
                    ]
    return found


def names_in_tables(engine: str) -> list[tuple[str, str]]:
    """Each that a rule or an issue of an engine asks for or sets, with its place."""
    names = [(rule.set, "RULES") for rule in rules(engine)]
    for issue in every_issue():
        if issue.engine == engine:
            names += [(name, issue.id) for name in issue.blames]
            names += [(name, issue.id) for key in issue.when.options for name in key.split("|")]
            names += [(name, issue.id) for fix in issue.remedies for name in (*fix.set, *fix.unset)]
    return names


def odd(names: list[tuple[str, str]], catalogue: Catalogue) -> set[str]:
    """Places of names that are not those of options."""
    return {
        place
        for name, place in names
        if not name.isupper() and "{" not in name and catalogue.canonical(name) != name
    }


def test_tables_and_code_know_options_by_their_canonical_names() -> None:
    catalogues = {engine: dialect(engine).options for engine in NAMES}
    everywhere = [*names_in_code(), *((name, "MEANINGS") for name in MEANINGS)]

    assert len(everywhere) > 50
    for engine, catalogue in catalogues.items():
        own = [one for one in everywhere if one[1].startswith(f"engines/{engine}/")]
        assert not odd([*own, *names_in_tables(engine)], catalogue)
    for one in everywhere:
        assert not all(odd([one], catalogue) for catalogue in catalogues.values()), one
