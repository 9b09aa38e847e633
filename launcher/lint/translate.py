"""A launch of one engine as another's command. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from launcher.config.of_model import PARSERS
from launcher.engines.dialect import Dialect
from launcher.engines.engine import NAMES, counterparts, dialect
from launcher.engines.members import whole
from launcher.engines.options import Given, Release
from launcher.engines.translation import Flags, translated
from launcher.formats.launches import INSIDE, Launch
from launcher.knowledge import models
from launcher.lint.around import DRAIN
from launcher.lint.by_option import canonical_name
from launcher.lint.parsing import named_model
from launcher.plan.plan import words_of


@dataclass(frozen=True)
class Command:
    """A command, and what is to be said of it, a line each."""

    engine: str
    release: str  # that it is for
    argv: tuple[str, ...]
    env: dict[str, str]
    said: tuple[str, ...]
    outside: tuple[str, ...] = ()  # what stands in it for values that are not known: `$MODEL`


def translate(launch: Launch, within: Release, to: str, release: str | None = None) -> Command:
    """The launch, read as `within` reads it, for another engine: for a release of it, or the
    newest that is known.

    Where it listens is written out: engines differ in what they take where nobody says it.
    """
    ours, theirs = dialect(launch.engine), dialect(to)
    known = theirs.options.release(theirs.options.nearest(release or theirs.options.newest))
    flags = _listening(_flags(launch, within), launch.env, ours)
    flags = _keyed(flags, launch, ours)
    between = counterparts(launch.engine, to)
    told = translated(flags, between, within, known, launch.references)
    made, suited = _of_model(told.flags, launch, to)
    env, left = _variables(launch, ours)
    spelled = _spelled(launch, within)
    lines = (_as_written(line, spelled) for line in told.said)
    own = _unset(theirs, made, env, known)
    said = (*_container(launch), *_strays(launch, within), *lines, *suited, *left, *own)
    words = ("python3", *theirs.program, *_words(made, theirs, known))
    return Command(to, known.name, words, env, said, launch.references)


def _flags(launch: Launch, within: Release) -> dict[str, tuple[str, ...]]:
    told = [*whole(launch.given(within))]
    path = dialect(launch.engine).option_of("model_path")
    words = [given.word for given in told if named_model(given, within)]
    bare = {path: (words[-1],)} if words else {}
    named = ((_name(given, within), given.values) for given in told)
    return bare | {name: values for name, values in named if name}


def _name(given: Given, within: Release) -> str:
    """The one name of an option, of one that another release has as well; "" for none."""
    if given.option:
        return canonical_name(given, within)
    name = within.replacement(given.read) or ""
    is_renamed = given.word.startswith("-") and within.accepts(name)
    return within.catalogue.canonical(name[2:]) if is_renamed else ""


def _spelled(launch: Launch, within: Release) -> dict[str, str]:
    """Options as their author wrote them, by their one name."""
    return {_name(given, within): given.word for given in launch.given(within)}


def _as_written(line: str, spelled: Mapping[str, str]) -> str:
    """What is said of an option under the name that its author gave it."""
    name, colon, rest = line.removeprefix("--").partition(":")
    return f"{spelled[name]}{colon}{rest}" if name in spelled else line


def _container(launch: Launch) -> Iterator[str]:
    """What is not said of a launch in a container."""
    if not launch.form.startswith(INSIDE):
        return
    ports = (f"port {one.value}" for one in launch.around.ports)
    mounts = (f"mount {path}" for path in launch.around.mounts)
    image = [f"image {launch.image}"] if launch.image else []
    told = ", ".join([*image, *ports, *mounts, "and what else it says"])
    yield f"{launch.form}: left out, as this is the command alone: {told}"


def _strays(launch: Launch, within: Release) -> Iterator[str]:
    for given in launch.given(within):
        if _name(given, within) or named_model(given, within):
            continue
        engine, had = within.catalogue.engine, within.catalogue.accepted_by(given.read)
        why = f"{engine} {within.name} does not have it" if had else f"no option of {engine}"
        yield f"{given.word}: left out: {why}"


def _listening(flags: dict[str, tuple[str, ...]], env: Mapping[str, str], engine: Dialect) -> Flags:
    """With where it listens written out; a node that only works listens to nobody."""

    def flag(*names: str) -> str | None:
        return next((" ".join(flags[name]) for name in names if name in flags), None)

    if not engine.choices(flag, env)["serving"]:
        return {name: values for name, values in flags.items() if name not in ("host", "port")}
    return flags | {
        name: (value,)
        for name, value in (("host", engine.host), ("port", str(engine.port)))
        if name not in flags
    }


def _keyed(flags: Flags, launch: Launch, engine: Dialect) -> Flags:
    """With the key that comes by a variable: a server that had one has one."""
    found = launch.variables.get(engine.key.variable)
    return flags if found is None or "api-key" in flags else {**flags, "api-key": (found.value,)}


def _variables(launch: Launch, engine: Dialect) -> tuple[dict[str, str], list[str]]:
    """Those that no engine reads alone, and what is said of the others."""
    its = tuple(begun for name in NAMES for begun in dialect(name).variables)
    env = {name: value for name, value in launch.env.items() if not name.startswith(its)}
    left = [name for name in launch.env if name not in env and name != engine.key.variable]
    return env, [f"{name}: left out: {engine.name} alone reads it" for name in left]


def _unset(engine: Dialect, flags: Flags, env: Mapping[str, str], within: Release) -> Iterator[str]:
    """What the other engine has a short limit for, and the first has none that could be told."""
    name, seconds = engine.start_limit
    if name.isupper() and name not in env:
        yield f"{name}: not set: it gives its own start up after {seconds:g} s; `up` sets it"
    if f"--{DRAIN}" in within.options and DRAIN not in flags:
        yield f"--{DRAIN}: not set: told to stop, it aborts the requests in flight; `up` sets it"


def _of_model(flags: Flags, launch: Launch, to: str) -> tuple[Flags, list[str]]:
    """With the parsers that the engine has for the model, where it is one that is known, and what
    is said of those that were others; what is filled in from outside stays.
    """
    path = " ".join(flags.get(dialect(to).option_of("model_path"), ()))
    family = models.by_name(path)
    own = family.of_name(path).parsers.get(to, ()) if family else ()
    wrong = {
        name: (value,)
        for name, value in zip(PARSERS, own, strict=False)
        if flags.get(name, (value,)) != (value,) and not launch.outside & {*flags[name]}
    }
    said = [
        f"--{name}: {value}, which {path} takes, in place of {' '.join(flags[name])}"
        for name, (value,) in wrong.items()
    ]
    return {**flags, **wrong}, said


def _words(flags: Flags, engine: Dialect, release: Release) -> list[str]:
    first = [*flags.get(engine.positional, ())]
    named = {name: values for name, values in flags.items() if name != engine.positional}
    value: dict[str, str | bool | list[str]] = {
        name: True if not values else values[0] if len(values) == 1 else list(values)
        for name, values in named.items()
    }
    spelled = engine.spelled(value, release)
    return [*first, *(word for _, name, told in spelled for word in words_of(name, told))]
