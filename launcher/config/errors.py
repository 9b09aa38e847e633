"""What is wrong with a profile, in words: each error with the place of the layer that has it."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from launcher.config import words
from launcher.config.layers import Layer
from launcher.config.profile import Profile, known_keys
from launcher.engines import rules
from launcher.engines.dialect import Dialect
from launcher.engines.engine import NAMES, counterparts, dialect
from launcher.engines.options import nearest_name
from launcher.knowledge import forks
from launcher.redact.secrets import SECRET_VARIABLE

# Keys of profiles from before the first release.
RENAMED = {
    "supervision.ready_within": "start_timeout",
    "supervision.stop_within": "stop_timeout",
    "supervision.probe_every": "probe_interval",
    "supervision.unhealthy_after": "failure_threshold",
    "supervision.silent_after": "stall_timeout",
    "supervision.deaths": "restart_limit",
    "supervision.window": "restart_window",
    "supervision.pause": "backoff",
    "supervision.pause_max": "backoff_max",
    **{
        f"supervision.quiet_{phase}": f"stall_timeouts.{phase}"
        for phase in ("process", "distributed", "weights", "kv", "graphs", "warmup")
    },
}


TELLING = ("value_error", "finite_number")  # what such an error says no other one does
VALUES = "wanted a number, text, true, false or a list"
ITEMS = "wanted numbers or text in the list"
DEEPEST = 4  # tables of a profile in each other; JSON in a table may go on below


def layers_by_key(origin: Mapping[str, Layer]) -> dict[str, Layer]:
    """For each key, and each table above one, the last layer that sets anything of it."""
    found = dict(origin)
    for name, layer in origin.items():
        *above, _ = name.split(".", DEEPEST)
        for end in range(1, len(above) + 1):
            found[".".join(above[:end])] = layer
    return found


def in_words(
    error: ValidationError, origin: Mapping[str, Layer], path: Path, engine: Dialect
) -> list[str]:
    """All problems that pydantic found, each with the place of the layer that has it (`path`: the
    file of the profile, where none does).
    """
    set_by = layers_by_key(origin)
    options = {role: name for name, role in engine.roles.items()}
    told = []
    for problem in _one_a_value(error.errors()):
        location = tuple(options.get(part, part) for part in problem["loc"])
        known, key = _key(location, origin)
        place = set_by[known].place if known in set_by else str(path)
        told.append(
            f"{place}: {_as_written(key, set_by.get(known))}: {_said(problem, location, engine)}"
        )
    return [*dict.fromkeys(told)]


def _one_a_value(problems: Sequence[Any]) -> Iterator[Any]:
    """The problems without those of an option that can be read in several ways, of which each has
    its own: the one that says most of them stands for all.
    """
    ways: dict[str, list[Any]] = {}
    for problem in problems:
        match problem["loc"]:
            case ("flags", name, _, *_):  # the way follows the name
                ways.setdefault(name, []).append(problem)
            case _:
                yield problem
    for several in ways.values():
        yield next((one for one in several if one["type"] in TELLING), max(several, key=_depth))


def _depth(problem: Any) -> int:
    return len(problem["loc"])


def _key(location: Sequence[str | int], origin: Mapping[str, Layer]) -> tuple[str, str]:
    """The longest part of a location that a layer set, and all of it as a key: `smoke.questions`,
    and `smoke.questions[0].ask`.
    """
    # what follows an option's name is the way to read its value
    location = location[:2] if location[0] == "flags" else location
    at = len(location)
    while at > 1 and ".".join(map(str, location[:at])) not in origin:
        at -= 1
    known = ".".join(map(str, location[:at]))
    if known not in origin:
        at = len(location)
        known = ".".join(map(str, location))
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in location[at:])
    return known, known + "".join(part for part in parts if part != ".[key]")


def _as_written(key: str, layer: Layer | None) -> str:
    """The key by the name that its author gave the option."""
    table, _, name = key.partition(".")
    return (
        f"{table}.{layer.written.get(name, name)}" if layer and table == "flags" and name else key
    )


def _said(problem: Any, location: tuple[str | int, ...], engine: Dialect) -> str:
    """What is wrong with a value, or a key, and what to write."""
    kind = problem["type"]
    if kind == "extra_forbidden":
        if new := RENAMED.get(".".join(map(str, location))):
            return f"renamed to {new}"
        if len(location) == 1 and engine.options.has(f"--{location[0]}"):
            return f"{words.wanted(problem)}, did you mean flags.{location[0]}?"
        near = difflib.get_close_matches(str(location[-1]), known_keys(location), n=1)
        return words.wanted(problem) + (f", did you mean {near[0]}?" if near else "")
    head, option, *_ = map(str, (*location, ""))
    if head == "flags" and option and kind not in ("missing", *TELLING):
        if isinstance(problem["input"], dict):
            if _is_json(option, engine):
                return _in_json(option, problem["input"])
            return f"a table, wanted a value of --{option}"
        if location[2:]:
            is_item = any(isinstance(part, int) for part in location)
            ways = ITEMS if is_item else VALUES
            return f"{ways}, not {words.shown(problem['input'])}"
    is_secret = head == "env" and bool(SECRET_VARIABLE.search(str(location[-1])))
    return words.wanted(problem, is_secret=is_secret)


def of_flags(
    flags: Mapping[str, object], origin: Mapping[str, Layer], engine: Dialect
) -> list[str]:
    """Options that would show a secret, stand where they cannot, or are another engine's."""
    errors = []
    for name in flags:
        where = (
            f"{origin[f'flags.{name}'].place}: flags.{name}"
            if f"flags.{name}" in origin
            else f"flags.{name}"
        )
        plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
        # argparse takes prefixes
        if len(name) > 2 and any(secret.startswith(name) for secret in engine.secrets):
            errors.append(
                f"{where}: would show a secret in `ps`; for a key use access.api_key_file"
            )
        elif name == engine.key.option and "access.api_key_file" in origin:
            errors.append(
                f"{where}: {engine.name} takes one --{name}, and access.api_key_file needs it"
            )
        elif (head := name.partition(".")[0]) != name and _is_json(head, engine):
            errors.append(f"{where}: {_in_json(name, flags[name])}")
        elif name != plain and (long := _long(name, engine)):
            errors.append(f"{where}: the short -{name}, write flags.{long}")
        elif name != plain or not name:
            errors.append(
                f"{where}: not an option name" + (f", did you mean {plain}?" if plain else "")
            )
        elif owner := _owner(name, engine):
            errors.append(f"{where}: {_of_another(name, owner, engine)}")
    return errors


def of_unknown(
    flags: Mapping[str, object], origin: Mapping[str, Layer], engine: Dialect
) -> list[str]:
    """Options that no known release has, to be told beside other errors. By themselves they are
    none: the installed release may be newer, or a fork's.
    """
    known, newest = engine.options, engine.options.release(engine.options.newest)
    errors = []
    for name in flags:
        word = f"--{name}"
        is_plain = re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name)
        if not is_plain or known.has(word) or newest.candidates(word) or _owner(name, engine):
            continue
        if not forks.of_option(word):
            near = nearest_name(word, newest)
            told = f", did you mean {near[2:]}?" if near else ""
            place = f"{origin[f'flags.{name}'].place}: " if f"flags.{name}" in origin else ""
            oldest = known.releases[0]
            errors.append(f"{place}flags.{name}: no {engine.name} from {oldest} on has it{told}")
    return errors


def _is_json(name: str, engine: Dialect) -> bool:
    """Whether an option takes JSON, in the newest release that has it."""
    releases = engine.options.accepted_by(f"--{name}")
    option = engine.options.release(releases[-1]).options[f"--{name}"] if releases else None
    return option is not None and option.type in ("json", "object", "json_or_text")


def _long(name: str, engine: Dialect) -> str:
    """The option of which a name is the short one, `O` of -O3; "" where it is none."""
    said = engine.options.reads(f"-{name}", "0")
    is_whole = said.value is None and said.name.startswith("--")
    return said.name[2:] if is_whole and engine.options.has(said.name) else ""


def _in_json(name: str, value: object) -> str:
    """What to write for a member of an option, `speculative-config.method`."""
    head, *path = name.split(".")
    for part in reversed(path):
        value = {part: value}
    text = json.dumps(value, default=str)
    what = f"a part of {head}, wanted all of it" if path else "a table, wanted text"
    return f"{what} as JSON: flags.{head} = '{text}'"


def _owner(name: str, engine: Dialect) -> Dialect | None:
    """The engine that has an option, where it is not the one that is asked."""
    word, known = f"--{name}", engine.options
    if known.has(word) or known.release(known.newest).candidates(word):
        return None
    others = (dialect(other) for other in NAMES)
    return next((one for one in others if one.options.has(word)), None)


def _of_another(name: str, owner: Dialect, engine: Dialect) -> str:
    [of, to] = [kind for one in (owner, engine) for kind in NAMES if dialect(kind).name == one.name]
    canonical = owner.options.canonical(name)
    instead = counterparts(of, to).advice_for_profile(canonical, engine.name)
    return f"an option of {owner.name}, and engine.kind says {engine.name}; {instead}"


def of_variables(env: object, origin: Mapping[str, Layer]) -> list[str]:
    """Variables that are secrets."""
    fix = "is a secret, and `render` prints this; export it where `up` is started instead"
    return [
        f"{origin[f'env.{name}'].place}: env.{name}: {fix}"
        for name in (env if isinstance(env, dict) else ())
        if SECRET_VARIABLE.search(name) and f"env.{name}" in origin
    ]


def of_skipped(profile: Profile, origin: Mapping[str, Layer]) -> list[str]:
    """Rules that shall be skipped, and are none."""
    if not profile.rules.skip:  # the rules need not be read
        return []
    engine = dialect(profile.engine.kind)
    set_by_rules = {rule.set for rule in rules.rules(profile.engine.kind)}
    is_whole = not any(rules.table(file).complaints for file in (engine.defaults, rules.OF_ANY))
    place = origin["rules.skip"].place if "rules.skip" in origin else ""
    return [
        f"{place}: rules.skip: no rule sets {name!r}"
        for name in profile.rules.skip
        if engine.options.canonical(name) not in set_by_rules
        and is_whole  # else it may be one that is left out
    ]


def of_reasons(stack: Sequence[Layer]) -> list[str]:
    """Reasons for what is not set beside them."""
    errors = []
    for layer in stack:
        why, flags, env = (layer.values.get(table) for table in ("why", "flags", "env"))
        said = {
            *(flags if isinstance(flags, dict) else ()),
            *(env if isinstance(env, dict) else ()),
        }
        for name in why if isinstance(why, dict) else ():
            if name not in said:
                errors.append(
                    f"{layer.of(f'why.{name}').place}: why.{name}: explains a flag or variable"
                    " that is not set there"
                )
    return errors
