"""The command that starts the server: its words and variables, and where each of them is from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from launcher.config import nodes as several
from launcher.config.composed import Composed
from launcher.engines import rules
from launcher.engines.dialect import Spelled
from launcher.engines.match import Case
from launcher.engines.options import Release
from launcher.engines.rules import Rule
from launcher.engines.target import Target
from launcher.plan.plan import NO_REASON, Node, Setting, words_of


@dataclass(frozen=True)
class Chosen:
    """The options and variables of a profile, and those that rules set beside them."""

    flags: Mapping[str, Any]  # by canonical name
    env: Mapping[str, str]
    by_rule: Mapping[str, Rule]  # by what each of them set


def chosen(composed: Composed, case: Case) -> Chosen:
    """What the profile says, and where it leaves something open, what rules choose in its case."""
    said = list(_by_rules(composed, case))
    ruled = {rule.set: value for rule, value in said}
    flags = {name: value for name, value in ruled.items() if not name.isupper()}
    env = {name: str(value) for name, value in ruled.items() if name.isupper()}
    by_rule = {rule.set: rule for rule, _ in said}
    return Chosen(composed.flags | flags, dict(composed.profile.env) | env, by_rule)


def _by_rules(composed: Composed, case: Case) -> Iterator[tuple[Rule, Any]]:
    skipped = composed.profile.rules
    if not skipped.enabled:
        return iter(())
    return rules.chosen(case, tuple(map(composed.dialect.options.canonical, skipped.skip)))


@dataclass(frozen=True)
class Command:
    """What stands behind the engine's program, and its variables; `settings` tell where each is
    from.

    `key_config` is the file by which the engine is given its key, where that is how it takes one.
    Of several hosts these are the words of the first one; `nodes` have those of each.
    """

    arguments: tuple[str, ...]
    env: dict[str, str]
    settings: tuple[Setting, ...]
    key_config: str | None
    nodes: tuple[Node, ...]


def command(composed: Composed, choice: Chosen, target: Target, folder: Path) -> Command:
    """The command for a target. Raises UserError where nodes have no address."""
    profile, engine = composed.profile, composed.dialect
    written = list(_options(composed, choice, target.known))
    arguments = [word for words, _ in written for word in words]
    settings = [setting for _, setting in written]
    key_config, by_key = _key(composed, folder)
    arguments += [by_key[0].name, key_config] if key_config else ()
    settings += by_key
    for name, value in choice.env.items():
        rule = choice.by_rule.get(name)
        settings.append(_setting(name, value, f"env.{name}", rule, composed))
    place = composed.origin["nodes.hosts"].place if profile.nodes else ""
    nodes = several.nodes_of(profile, composed.flags, engine, target.addresses, place)
    env = dict(choice.env)
    if nodes:
        arguments += nodes[0].arguments
        settings += nodes[0].settings
        env |= nodes[0].env
    return Command(tuple(arguments), env, tuple(settings), key_config, nodes)


def _key(composed: Composed, folder: Path) -> tuple[str | None, list[Setting]]:
    """The file in the folder that the engine is pointed to for its key, if that is how it takes
    one, and how it is told in a plan.
    """
    engine, file = composed.dialect, composed.profile.access.api_key_file
    if not file:
        return None, []
    if engine.key.option:
        config = str(folder / "config.yaml")
        why = f"{engine.name} reads the API key from this file, so that it is in no argument list"
        return config, [Setting(f"--{engine.key.option}", config, "glm5-serve", why)]
    why = f"{engine.name} reads the API key from it, so that it is in no argument list"
    return None, [Setting(engine.key.variable, f"the key in {file}", "glm5-serve", why)]


def _options(
    composed: Composed, choice: Chosen, known: Release
) -> Iterator[tuple[list[str], Setting]]:
    """The words of each option that is given, as the release takes them, and where it is from."""
    engine = composed.dialect
    told = (
        engine.spelled(choice.flags, known)
        if composed.profile.rules.enabled
        else (
            (name, composed.written.get(name, name), value) for name, value in choice.flags.items()
        )
    )
    for asked, name, value in _positional_first(told, engine.positional):
        if name == engine.positional:
            made = _setting(name, str(value), f"flags.{asked}", choice.by_rule.get(asked), composed)
            yield [str(value)], replace(made, option=name)
        elif words := words_of(name, value):
            # words are ["--name"], ["--name", "value", ...] or ["--name=value"]
            text = " ".join(words[1:]) or words[0].partition("=")[2]
            made = _setting(
                f"--{name}", text, f"flags.{asked}", choice.by_rule.get(asked), composed
            )
            yield words, replace(made, option=engine.options.canonical(name))


def _positional_first(told: Iterable[Spelled], positional: str) -> list[Spelled]:
    """The options with that one first, whose value has no name before it."""
    return sorted(told, key=lambda one: one[1] != positional)


def _setting(name: str, value: str, key: str, rule: Rule | None, composed: Composed) -> Setting:
    if rule:
        place = f"rule: {rule.condition}"
        return Setting(
            name, value, place, rule.why, rule.known.value, rule.source, rule.against or None
        )
    layer = composed.origin[key]
    why = layer.values.get("why")
    said = why.get(key.partition(".")[2]) if isinstance(why, dict) else None
    asked = layer.place if layer.is_asked else None
    return Setting(
        name, value, layer.place, said or (f"asked for by {asked}" if asked else NO_REASON)
    )
