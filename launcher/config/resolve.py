"""From a profile's name and what was said beside it to the plan: the same for `render`, `up` and
`restart`.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from launcher import printable
from launcher.address import canonical
from launcher.config import canary, layers, of_model, replicas
from launcher.config import nodes as several
from launcher.config.composed import Composed
from launcher.config.profile import Profile, by_role, known_keys
from launcher.engines import rules as recipe
from launcher.engines import traits
from launcher.engines.dialect import Dialect, Spelled
from launcher.engines.engine import NAMES, counterparts, dialect
from launcher.engines.match import Case
from launcher.engines.options import Release
from launcher.engines.rules import Rule
from launcher.engines.tables import complaints
from launcher.engines.target import Target, taken_for
from launcher.errors import UserError
from launcher.knowledge import models
from launcher.plan.plan import NO_REASON, Plan, Setting, for_node, words_of
from launcher.redact.keys import SECRET_VARIABLE
from launcher.statedir.replica import split

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


@dataclass(frozen=True)
class PlanRequest:
    """What the operator said: a profile and what shall differ from it."""

    profile: str
    settings: tuple[str, ...] = ()
    api_key_file: str | None = None
    health_listen: str | None = None


def load(ask: PlanRequest, environ: Mapping[str, str]) -> Composed:
    """The profile that was asked for. Raises UserError naming every error of it at once."""
    name, number = split(ask.profile)
    found = layers.find(name, environ)
    settings = list(ask.settings)
    stack = layers.lineage(found, environ)
    stack += [layers.from_environment(environ), layers.from_settings(settings)]
    if ask.api_key_file is not None:
        given = ask.api_key_file
        key_file = given if given.startswith("~/") else str(Path(given).absolute())
        stack.append(layers.Layer("--api-key-file", {"access": {"api_key_file": key_file}}))
    if ask.health_listen is not None:
        listens = {"health_listen": ask.health_listen}
        stack.append(layers.Layer("--health-listen", {"access": listens}))
    errors: list[str] = []
    kind = layers.engine(stack)
    engine = dialect(kind)
    for at, layer in enumerate(stack):
        stack[at], twice = layers.canonical(layer, engine.options)
        errors += twice
    try:
        values, origin = layers.overlay(stack)
        values = layers.expand(values, environ)
    except RecursionError:
        raise UserError(
            f"profile {found.name} is nested too deep", fix="write tables of keys"
        ) from None
    several.require_several(found.name, values, origin)
    profile = None
    flags = values["flags"] if isinstance(values.get("flags"), dict) else {}
    # An option that was dropped (false) may be one that must have another type.
    passed = {name: value for name, value in flags.items() if value is not False}
    try:
        typed = {"flags": by_role(passed, kind)} if flags else {}
        profile = Profile.model_validate(values | typed)
    except ValidationError as error:
        said = (_in_words(problem, origin, found.path, engine) for problem in error.errors())
        errors += dict.fromkeys(said)  # each way to read a value has its own
    errors += several.errors(profile, flags, origin, engine) if profile else ()
    errors += _flag_errors(flags, origin, engine)
    errors += _variable_errors(values.get("env"), origin)
    errors += _why_errors(stack)
    errors += _skip_errors(profile, origin) if profile else []
    errors += layers.unprintable(values, origin)
    if errors or profile is None:
        count = "1 error" if len(errors) == 1 else f"{len(errors)} errors"
        listing = "".join(f"\n  {printable.line(line)}" for line in errors)
        raise UserError(
            f"profile {found.name} has {count}:{listing}", fix="correct them where they stand"
        )
    doubt = next((layer.doubt for layer in stack if layer.doubt), None)
    models = of_model.models_of(stack, engine)
    wide = several.spread(profile, values["flags"], origin, engine)
    composed = Composed(
        found.name, found.path, wide.profile, wide.flags, wide.origin, doubt, models, found.meaning
    )
    return replicas.of(composed, number)


def resolve(
    composed: Composed,
    ask: PlanRequest,
    folder: Path,
    environment: Mapping[str, str],
    target: Target | None = None,
) -> Plan:
    """The plan of a profile for a target; `folder` is where the running instance will keep its
    files.

    What the profile leaves open rules choose. `environment` are the GLM5_SERVE__
    variables that took part, kept so that a restart sees the same.
    """
    composed = _spelled_out(composed, target or Target())
    composed = replicas.placed(composed, target.devices if target else ())
    profile = composed.profile
    model = traits.of((target or Target()).model, profile.flags.model_path)
    made = of_model.suited(
        composed.flags,
        composed.models,
        profile.flags.model_path,
        model,
        profile.engine.kind,
        changes=profile.rules.enabled,
    )
    composed = replace(composed, flags=made.flags, origin=composed.origin | made.origin)
    doubt = (
        f"{composed.doubt.what}: the interpreter that it names is not asked"
        if composed.doubt
        else ""
    )
    target = aimed(composed, target or Target())
    kind = traits.thinking(target.model, model.family, profile.flags.model_path)
    engine = composed.dialect
    late = several.too_new(profile, engine, target.known)
    kept = {name: value for name, value in composed.flags.items() if name not in late}
    composed = replace(composed, flags=kept)
    case = _case(composed, target, model.traits)
    chosen = list(_by_rules(composed, case))
    by_rule = {rule.set: rule for rule, _ in chosen}
    ruled = {rule.set: value for rule, value in chosen}
    flags = composed.flags | {name: value for name, value in ruled.items() if not name.isupper()}
    env = dict(profile.env) | {name: str(value) for name, value in ruled.items() if name.isupper()}
    is_pointed = profile.rules.enabled and profile.gpus > 0
    made_case = replace(case, flags=flags, env=env)
    apart = recipe.reasons(made_case) if is_pointed else ()
    written = list(_options(composed, flags, by_rule, target))
    arguments = [word for words, _ in written for word in words]
    settings = [setting for _, setting in written]
    key_config = None
    if profile.access.api_key_file and engine.key.option:
        key_config = str(folder / "config.yaml")
        name = f"--{engine.key.option}"
        arguments += [name, key_config]
        why = f"{engine.name} reads the API key from this file, so that it is in no argument list"
        settings.append(Setting(name, key_config, "glm5-serve", why))
    elif profile.access.api_key_file:
        name, file = engine.key.variable, profile.access.api_key_file
        why = f"{engine.name} reads the API key from it, so that it is in no argument list"
        settings.append(Setting(name, f"the key in {file}", "glm5-serve", why))
    for name, value in env.items():
        settings.append(_setting(name, value, f"env.{name}", by_rule.get(name), composed))
    place = composed.origin["nodes.hosts"].place if profile.nodes else ""
    nodes = several.nodes_of(profile, composed.flags, engine, target.addresses, place)
    first = nodes[0] if nodes else None
    arguments += first.arguments if first else ()
    settings += first.settings if first else ()
    env |= first.env if first else {}
    port = profile.flags.port or engine.port
    _require_another_port(profile, port)
    plan = Plan(
        name=composed.name,
        program=(profile.engine.python, *engine.program),
        arguments=tuple(arguments),
        env=env,
        host=first.host if first else profile.flags.host,
        port=port,
        model=profile.flags.model_path,
        model_name=profile.flags.served_model_name or profile.flags.model_path,
        policy=profile.policy(),
        smoke=(
            profile.smoke.model_dump(exclude={"enabled"}) | {"thinking": kind}
            if profile.smoke.enabled
            else {}
        ),
        settings=tuple(settings),
        words={
            "profile": f"{composed.path}{f'@{composed.replica}' if composed.replica else ''}",
            "settings": list(ask.settings),
            "api_key_file": ask.api_key_file,
            "health_listen": ask.health_listen,
            "environment": dict(environment),
        },
        key_file=profile.access.api_key_file,
        key_config=key_config,
        open_without_key=profile.access.open_without_key,
        health_listen=profile.access.health_listen or "",
        gateway=profile.behind,
        gpus=profile.gpus,
        arch=target.arch,
        needs_arch=profile.needs.arch,
        gpu=target.gpu,
        gpu_memory=int(profile.needs.gpu_memory_gib * 2**30),
        state=str(folder),
        allowed=tuple(profile.doctor.allow),
        point=profile.operating_point if is_pointed else "",
        left_out=tuple(map(str, apart)),
        measured=tuple(_of_fabric(made_case)) if is_pointed else (),
        ruled=profile.rules.enabled,
        engine=profile.engine.kind,
        release=target.release or target.nearest,
        doubt=doubt,
        traits=tuple(sorted(model.traits)),
        nodes=nodes,
        rendezvous=profile.nodes.port if profile.nodes else 0,
    )
    plan = canary.settled(plan, profile, engine.memory.knobs.context)
    plan = for_node(plan, profile.nodes.rank) if profile.nodes and profile.nodes.rank else plan
    return replace(plan, notes=(*_notes(plan, composed, target, model), *made.notes))


def _require_another_port(profile: Profile, port: int) -> None:
    """Raise UserError where the launcher and its server would listen to one address."""
    host, _, told = (profile.access.health_listen or "").rpartition(":")
    hosts = {canonical(host.strip("[]")), canonical(profile.flags.host)}
    if told == str(port) and (len(hosts) == 1 or hosts & {"0.0.0.0", "::"}):
        raise UserError(
            f"access.health_listen: {profile.access.health_listen} is the server's own port",
            fix="choose another one for /ready and /live",
        )


def _options(
    composed: Composed, flags: Mapping[str, Any], by_rule: Mapping[str, Rule], target: Target
) -> Iterator[tuple[list[str], Setting]]:
    """The words of each option that is given, as the release takes them, and where it is from."""
    engine = composed.dialect
    told = (
        engine.spelled(flags, target.known)
        if composed.profile.rules.enabled
        else ((name, composed.written.get(name, name), value) for name, value in flags.items())
    )
    for asked, name, value in _positional_first(told, engine.positional):
        if name == engine.positional:
            made = _setting(name, str(value), f"flags.{asked}", by_rule.get(asked), composed)
            yield [str(value)], replace(made, option=name)
        elif words := words_of(name, value):
            # words are ["--name"], ["--name", "value", ...] or ["--name=value"]
            text = " ".join(words[1:]) or words[0].partition("=")[2]
            made = _setting(f"--{name}", text, f"flags.{asked}", by_rule.get(asked), composed)
            yield words, replace(made, option=engine.options.canonical(name))


def _positional_first(told: Iterable[Spelled], positional: str) -> list[Spelled]:
    """The options with that one first, whose value has no name before it."""
    return sorted(told, key=lambda one: one[1] != positional)


def _notes(plan: Plan, composed: Composed, target: Target, model: traits.Identity) -> Iterator[str]:
    """What the one who starts it should know about how it was resolved; without a GPU, who else
    may have written it.
    """
    about = model.note if plan.ruled else None
    short = target.shortage(plan.gpus)
    told = (plan.doubt, target.doubt, short, about) if plan.gpus else (plan.doubt,)
    if composed.meaning:
        yield f"{composed.name} is an old name: write -p {composed.meaning}"
    yield from filter(None, told)
    if composed.replica:
        count = composed.profile.replicas
        each = f" of {plan.gpus} GPUs each, on one host" if plan.gpus else ""
        yield f"{plan.name} is one of {count} replicas{each}, for gateway {plan.gateway}"
        if plan.gpus and replicas.DEVICES not in plan.env:
            yield f"which GPUs it has is unknown here: env.{replicas.DEVICES} names those of all"
    yield from _of_point(plan, composed)
    yield from plan.measured[1:] if target.measured else plan.measured
    yield from several.notes(plan)
    yield from _spelled_otherwise(plan, composed, target)
    if plan.gpus:
        yield from _of_profile(composed.profile, target)
        yield from (f"left out: {what}" for what in complaints((plan.engine,)))


def _of_fabric(case: Case) -> Iterator[str]:
    """What was measured between the GPUs; then what goes against it, or what it goes against."""
    seen, traits = case.target.measured, case.traits
    if seen is None:
        yield from filter(None, (case.target.unmeasured,))
        return
    yield str(seen)
    if seen.ipc_up_to == 0 and "pcie-ipc-allreduce" in traits:
        yield f"the PCIe IPC all-reduce is on, and goes against what was measured: {seen}"
    elif seen.ipc_up_to == 0 and case.target.arch == "sm120":
        yield f"the rule for the PCIe IPC all-reduce is contradicted, and not followed: {seen}"
    if seen.broken and "no-p2p" not in traits:
        yield f"peer-to-peer is on, against what was measured: {seen}"


def _of_point(plan: Plan, composed: Composed) -> Iterator[str]:
    """Why an operating point that somebody asked for is not all that it could be."""
    if "operating_point" not in composed.origin:
        return
    yield from (f"operating point {plan.point}: {reason}" for reason in plan.left_out)
    if not plan.point:
        why = "its rules are off" if plan.gpus else "it runs on the CPU"
        yield f"operating_point chooses nothing for {plan.name}: {why}"


def _spelled_otherwise(plan: Plan, composed: Composed, target: Target) -> Iterator[str]:
    """The options that an author calls by a name that the release does not have, or drops soon."""
    known = target.known
    for setting in plan.settings if plan.ruled else ():
        word = f"--{composed.written.get(setting.option, '')}"
        option = known.options.get(word)
        is_usual = word[2:] in known.catalogue.short or (option and not option.deprecated)
        if word != "--" and word != setting.name and not is_usual:
            yield f"{word} is {setting.name} in {known.catalogue.engine} {known.name}: written so"


def _spelled_out(composed: Composed, target: Target) -> Composed:
    """The profile with each abbreviation as the option that the release, which is known, takes it
    for.

    Raises UserError where that one is set, too: which of them would count is an accident.
    """
    if not target.release or target.doubt:
        return composed
    meant = {name: _meant(name, target.known) for name in composed.flags}
    if all(name == option for name, option in meant.items()):
        return composed
    for name, option in meant.items():
        if option != name and list(meant.values()).count(option) > 1:
            place = composed.origin[f"flags.{name}"].place
            raise UserError(
                f"{place}: flags.{name}: {composed.dialect.name} {target.nearest} takes it for"
                f" {option}, which is set, too",
                fix=f"write flags.{option} in its place",
            )
    flags = {meant[name]: value for name, value in composed.flags.items()}
    origin = composed.origin | {
        f"flags.{option}": composed.origin[f"flags.{name}"] for name, option in meant.items()
    }
    passed = {name: value for name, value in flags.items() if value is not False}
    try:
        kind = composed.profile.engine.kind
        typed = type(composed.profile.flags).model_validate(by_role(passed, kind))
    except ValidationError as error:
        words = (_in_words(one, origin, composed.path, composed.dialect) for one in error.errors())
        said = "; ".join(words)
        raise UserError(said, fix="correct it where it stands") from None
    profile = composed.profile.model_copy(update={"flags": typed})
    return replace(composed, profile=profile, flags=flags, origin=origin)


def _meant(name: str, known: Release) -> str:
    """The canonical name of what argparse takes a name for, itself where that is no other."""
    found = known.candidates(f"--{name}")
    is_own = known.accepts(known.renamed(f"--{name}")) or len(found) != 1
    return name if is_own else known.catalogue.canonical(found[0].name[2:])


def _of_profile(profile: Profile, target: Target) -> Iterator[str]:
    """What to say of the profile itself, and of its checkpoint on these GPUs."""
    if profile.unverified:
        yield f"unverified: {profile.unverified}"
    checkpoint = models.known(profile.flags.model_path)
    for warned in checkpoint.warnings if checkpoint else ():
        if warned.holds(target.arch):
            yield warned.what


def aimed(composed: Composed, target: Target) -> Target:
    """The target with the profile's engine, and the architecture and product that it is made for,
    if none was said; none on a CPU.
    """
    target = replace(target, engine=composed.profile.engine.kind)
    if composed.profile.gpus == 0:
        return replace(target, arch=None)
    needs = composed.profile.needs
    arch = target.arch or needs.arch
    return taken_for(replace(target, arch=arch), int(needs.gpu_memory_gib * 2**30))


def _case(composed: Composed, target: Target, model: frozenset[str]) -> Case:
    profile = composed.profile
    return Case(
        target,
        composed.flags,
        profile.env,
        profile.gpus,
        model,
        policy=profile.policy(),
        point=profile.operating_point,
    )


def _by_rules(composed: Composed, case: Case) -> Iterator[tuple[Rule, Any]]:
    profile = composed.profile
    if not profile.rules.enabled:
        return iter(())
    return recipe.chosen(case, tuple(map(composed.dialect.options.canonical, profile.rules.skip)))


def _setting(name: str, value: str, key: str, rule: Rule | None, composed: Composed) -> Setting:
    if rule:
        place = f"rule: {rule.condition}"
        return Setting(
            name, value, place, rule.why, rule.known.value, rule.source, rule.against or None
        )
    layer = composed.origin[key]
    why = layer.values.get("why")
    said = why.get(key.partition(".")[2]) if isinstance(why, dict) else None
    asked = layer.place if layer.place.startswith(("-", "environment")) else None
    return Setting(
        name, value, layer.place, said or (f"asked for by {asked}" if asked else NO_REASON)
    )


def _in_words(problem: Any, origin: Mapping[str, layers.Layer], path: Path, engine: Dialect) -> str:
    # A union's error ends in the names of its branches: the key is the longest part that a layer
    # set.
    options = {role: name for name, role in engine.roles.items()}
    location = tuple(options.get(part, part) for part in problem["loc"])
    known = [
        ".".join(map(str, location[:n]))
        for n in range(len(location), 0, -1)
        if ".".join(map(str, location[:n])) in origin
    ]
    key = known[0] if known else ".".join(map(str, location))
    within = [layer for name, layer in origin.items() if name == key or name.startswith(f"{key}.")]
    place = within[-1].place if within else str(path)
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        near = difflib.get_close_matches(str(location[-1]), known_keys(location), n=1)
        message = "unknown key" + (f", did you mean {near[0]}?" if near else "")
        if len(location) == 1 and engine.options.accepted_by(f"--{location[0]}"):
            message = f"unknown key, did you mean flags.{location[0]}?"
        if new := RENAMED.get(".".join(map(str, location))):
            message = f"renamed to {new}"
    elif problem["type"] == "missing":
        message = "is required"
    elif key.startswith("flags.") and isinstance(problem["input"], dict):
        option = str(location[1])
        key, message = f"flags.{option}", f"a table, wanted a value of --{option}"
        if _is_json(option, engine):
            message = _in_json(option, problem["input"])
    else:
        message = f"{message}, not {problem['input']!r}"
    return f"{place}: {key}: {message}"


def _flag_errors(
    flags: Mapping[str, object], origin: Mapping[str, layers.Layer], engine: Dialect
) -> list[str]:
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
        elif name != plain or not name:
            errors.append(
                f"{where}: not an option name" + (f", did you mean {plain}?" if plain else "")
            )
        elif owner := _owner(name, engine):
            errors.append(f"{where}: {_of_another(name, owner, engine)}")
    return errors


def _is_json(name: str, engine: Dialect) -> bool:
    """Whether an option takes JSON, in the newest release that has it."""
    releases = engine.options.accepted_by(f"--{name}")
    option = engine.options.release(releases[-1]).options[f"--{name}"] if releases else None
    return option is not None and option.type in ("json", "object", "json_or_text")


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
    if known.accepted_by(word) or known.release(known.newest).candidates(word):
        return None
    others = (dialect(other) for other in NAMES)
    return next((one for one in others if one.options.accepted_by(word)), None)


def _of_another(name: str, owner: Dialect, engine: Dialect) -> str:
    [of, to] = [kind for one in (owner, engine) for kind in NAMES if dialect(kind).name == one.name]
    canonical = owner.options.canonical(name)
    instead = counterparts(of, to).advice_for_profile(canonical, engine.name)
    return f"an option of {owner.name}, and engine.kind says {engine.name}; {instead}"


def _variable_errors(env: object, origin: Mapping[str, layers.Layer]) -> list[str]:
    fix = "a secret, and `render` prints this; export it where `up` is started instead"
    return [
        f"{origin[f'env.{name}'].place}: env.{name}: {fix}"
        for name in (env if isinstance(env, dict) else ())
        if SECRET_VARIABLE.search(name) and f"env.{name}" in origin
    ]


def _skip_errors(profile: Profile, origin: Mapping[str, layers.Layer]) -> list[str]:
    if not profile.rules.skip:  # the rules need not be read
        return []
    engine = dialect(profile.engine.kind)
    set_by_rules = {rule.set for rule in recipe.rules(profile.engine.kind)}
    is_whole = not any(recipe.table(file).complaints for file in (engine.defaults, recipe.OF_ANY))
    place = origin["rules.skip"].place if "rules.skip" in origin else ""
    return [
        f"{place}: rules.skip: no rule sets {name!r}"
        for name in profile.rules.skip
        if engine.options.canonical(name) not in set_by_rules
        and is_whole  # else it may be one that is left out
    ]


def _why_errors(stack: Sequence[layers.Layer]) -> list[str]:
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
                    f"{layer.place}: why.{name}: explains a flag or variable that is not set there"
                )
    return errors
