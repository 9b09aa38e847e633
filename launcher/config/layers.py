"""Where profiles come from, and how the layers of one are put together, each value knowing its
layer.

packaged default < parent (`extends`), oldest first < profile < environment < --set
"""

from __future__ import annotations

import contextlib
import difflib
import os
import re
import shlex
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from launcher import printable
from launcher.engines import engine as engines
from launcher.engines.options import Catalogue
from launcher.errors import Exit, UserError, in_words
from launcher.files import ownership, reading
from launcher.files.ownership import Doubt
from launcher.paths import home
from launcher.plan.plan import ENGINE
from launcher.statedir.folder import StateDir
from launcher.statedir.home import state_home

HOST = Path("/etc/glm5-serve/profiles")
PACKAGED = Path(__file__).parents[1] / "profiles"
_REAL = PACKAGED.resolve()
ALIASES = Path(__file__).with_name("aliases.toml")
PREFIX = "GLM5_SERVE__"
LARGEST = 1 << 20  # bytes of a profile; the longest that we know has 8,000
MOST = 1000  # values of a profile, items of lists among them; the longest that we know has 100
PROSE = ("description", "smoke", "unverified", "why")  # is read, or asked, and runs nowhere

Tree = dict[str, Any]


@dataclass(frozen=True)
class Layer:
    """Some values, where they stand, as an operator would name the place, and who else may have
    written them.

    `written` is how options are called there whose canonical name is another one, `names` which
    variable sets a key, where that is the place.
    """

    place: str
    values: Tree
    doubt: Doubt | None = None
    written: Mapping[str, str] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)

    def of(self, key: str) -> Layer:
        """The layer, its place that of one of its keys."""
        return replace(self, place=self.names[key]) if key in self.names else self

    @property
    def is_asked(self) -> bool:
        """Whether somebody said it for this once: on the command line, or by a variable."""
        return self.place.startswith(("-", PREFIX))


@dataclass(frozen=True)
class Found:
    """A profile file: its name, which of the places it lies in, and its path."""

    name: str
    place: str
    path: Path
    alias: Layer | None = None  # what an old name adds to the file
    meaning: str = ""  # what to write in place of an old name

    @cached_property
    def real(self) -> Path:
        """Where it lies, whatever leads there; of a link to itself, which nobody can read, that."""
        return Path(os.path.realpath(self.path))


def places(environ: Mapping[str, str]) -> list[tuple[str, Path]]:
    """Where profiles are looked up by name, first match first."""
    return [
        ("host", HOST),
        ("user", home(environ, "XDG_CONFIG_HOME", ".config") / "profiles"),
        ("packaged", PACKAGED),
    ]


def all_profiles(environ: Mapping[str, str]) -> list[Found]:
    """Every profile that a name leads to, the shadowed ones too, in order of look-up."""
    return [
        Found(path.stem, place, path)
        for place, folder in places(environ)
        if os.access(folder, os.R_OK | os.X_OK) and folder.is_dir()
        for path in sorted(folder.glob("*.toml"), key=lambda path: path.stem)
    ]


def _called(name: str, environ: Mapping[str, str]) -> Iterator[Found]:
    """Those of `all_profiles` that have a name."""
    for place, folder in places(environ):
        path = folder / f"{name}.toml"
        if os.access(folder, os.R_OK | os.X_OK) and os.path.lexists(path) and path.stem == name:
            yield Found(name, place, path)


def aliases() -> dict[str, Found]:
    """The old names of packaged profiles: each a profile of today, and what of it is set."""
    rows = tomllib.loads(ALIASES.read_text(encoding="utf-8"))
    return {name: _alias(name, row["profile"], row["set"]) for name, row in rows.items()}


def _alias(name: str, of: str, values: Tree) -> Found:
    point = f" --set operating_point={values['operating_point']}"
    flags = " ".join(f"--set flags.{key}={value}" for key, value in values.get("flags", {}).items())
    meaning = f"{of}{point} {flags}".rstrip()
    return Found(name, "alias", PACKAGED / f"{of}.toml", Layer(f"old name {name}", values), meaning)


def find(name: str, environ: Mapping[str, str], child: Path | None = None) -> Found:
    """The profile that `name` means: a file, if it has a slash or ends in .toml, or a name in one
    of the places.

    A bare name is never looked for in the current folder: whoever can write there could choose what
    is run. A `child` that extends a profile of its own name means the next one of that name, not
    itself. Raises UserError (usage) with the nearest names when there is none.
    """
    if is_path(name):
        return _at(Path(name))
    for found in _called(name, environ):
        if child is None or found.real != child:
            return found
    old = aliases()
    if name in old:
        return old[name]
    names = list(dict.fromkeys((*(found.name for found in all_profiles(environ)), *old)))
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    looked = ", ".join(str(folder) for _, folder in places(environ))
    here = f"for the file here `./{name}`; " if _is_file(Path(name)) else ""
    before = _of_before(name, environ)
    raise UserError(
        f"no profile {name!r}: none of that name in {looked}",
        fix=f"{before or hint}{here}`glm5-serve profiles` lists them all",
        status=Exit.USAGE,
    )


def _of_before(name: str, environ: Mapping[str, str]) -> str:
    """How to start again what was up under that name, by a file that lies elsewhere."""
    with contextlib.suppress(UserError):
        if path := StateDir(state_home(environ), name).profile_file():
            told = shlex.quote(printable.line(path))
            if not _is_file(Path(path)):
                return f"put {told} back, by which it was up before; "
            return f"`glm5-serve restart {name}`, or its file, {told}; "
    return ""


def is_path(name: str) -> bool:
    """Whether a word means a profile's file, and not its name."""
    return "/" in name or name.endswith(".toml")


def _at(path: Path) -> Found:
    if not _is_file(path):
        fix = "`glm5-serve profiles` lists those that have a name"
        why = _no_file(path)
        raise UserError(f"no profile {str(path)!r}: {why}", fix=fix, status=Exit.USAGE)
    return Found(path.stem, "path", path.resolve())


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name may be too long for a path, or its folder closed to this user
        return False


def _no_file(path: Path) -> str:
    """Why there is no file to read."""
    try:
        reading.opened(path).close()
    except FileNotFoundError:
        return "no such file"
    except OSError as error:
        return reading.reason(error)
    return "no such file"


def read(found: Found) -> Layer:
    """The values of a profile file. Raises UserError (configuration) when it is no TOML."""
    try:
        path = found.real
        # The packaged ones came with this program, and are as much to be believed.
        doubt = None if path.parent == _REAL else ownership.of_file(path)
        values = tomllib.loads(reading.read_text(path, LARGEST))
        if (count := _count(values)) > MOST:
            raise UserError(
                f"profile {found.path} has {count:,} values, more than the {MOST:,} of any profile",
                fix="keep what one server needs",
            )
        return Layer(str(found.path), values, doubt)
    except OSError as error:
        why, fix = (
            error.strerror or str(error),
            f"make {found.path} a readable file of TOML, in UTF-8",
        )
    except (ValueError, RecursionError) as error:
        why, fix = (
            f"not valid TOML: {in_words(error)}",
            "fix that line (TOML strings want quotes, keys one `=`)",
        )
    raise UserError(f"cannot read profile {found.path}: {why}", fix=fix)


def _count(values: Tree) -> int:
    """How many values there are, tables and lists among them."""
    count, left = 0, list[Any]([values])
    while left:
        inner = left.pop()
        parts = inner.values() if isinstance(inner, dict) else inner
        count += len(parts)
        left += [part for part in parts if isinstance(part, dict | list)]
    return count


def lineage(found: Found, environ: Mapping[str, str]) -> list[Layer]:
    """The file's layer with those it extends before it, oldest first."""
    layers = _of(found)
    seen = [found.real]
    while isinstance(parent := layers[0].values.get("extends"), str):
        found = _parent(parent, found, environ)
        path = found.real
        if path in seen:
            circle = " -> ".join(part.stem for part in [*seen, path])
            raise UserError(
                f"{seen[0]}: extends itself: {circle}", fix=f"remove `extends` from {seen[-1]}"
            )
        seen.append(path)
        layers = [*_of(found), *layers]
    return layers


def _of(found: Found) -> list[Layer]:
    """A file's layer, and what an old name of it adds."""
    return [read(found), *([found.alias] if found.alias else [])]


def _parent(name: str, child: Found, environ: Mapping[str, str]) -> Found:
    """A path is one from the child's own folder."""
    try:
        if is_path(name):
            return _at(child.path.parent / name)
        return find(name, environ, child.real)
    except UserError as error:
        raise UserError(f"{child.path}: extends: {error.what}", fix=error.fix) from None


def ours(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that set a profile's values."""
    return {name: value for name, value in environ.items() if name.startswith(PREFIX)}


def from_environment(environ: Mapping[str, str]) -> Layer:
    """`GLM5_SERVE__FLAGS__TP_SIZE=4` and the like: `__` goes down a table, names below `ENV` keep
    their case.
    """
    values: Tree = {}
    names = {}
    for name, text in sorted(ours(environ).items()):
        table, *rest = name.removeprefix(PREFIX).split("__")
        match table:
            case "FLAGS":
                path = ["flags", *(part.lower().replace("_", "-") for part in rest)]
            case "ENV":
                path = ["env", "__".join(rest)]
            case _:
                path = [table.lower(), *(part.lower() for part in rest)]
        _put(values, path, text, name)
        names[".".join(path)] = name
    return Layer("environment", values, names=names)


def from_settings(settings: Sequence[str]) -> Layer:
    """`--set flags.tp-size=4`. Raises UserError (usage) for words that are not `key=value`."""
    values: Tree = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        path = key.split(".", 1) if key.startswith("env.") else key.split(".")
        if not equals or not all(path):
            raise UserError(
                f"--set {setting}: wanted key=value",
                fix="for example `--set flags.max-running-requests=16`",
                status=Exit.USAGE,
            )
        _put(values, path, value, f"--set {setting}")
    return Layer("--set", values)


def _put(values: Tree, path: list[str], text: str, said: str) -> None:
    *tables, last = path
    if len(tables) > (2 if path[:2] == ["supervision", "stall_timeouts"] else 1):
        fix = "write table.key"
        if path[0] == "flags":
            fix = f"where {path[1]} takes JSON, write flags.{path[1]}='{{\"{last}\": ...}}'"
        raise UserError(f"{said}: no key of a profile lies that deep", fix=fix, status=Exit.USAGE)
    for part in tables:
        values = values.setdefault(part, {})
        if not isinstance(values, dict):
            raise UserError(f"{said}: {part} is set twice", fix="set it once", status=Exit.USAGE)
    values[last] = text if path[0] == "env" else _typed(text)


def _typed(text: str) -> Any:
    """Text as TOML reads it, so `8` is a number and `true` a boolean; anything else is a string."""
    if not re.fullmatch(r"true|false|-?(0|[1-9]\d*)(\.\d+)?|\[.*\]|\".*\"|'.*'", text):
        return text
    try:
        return tomllib.loads(f"x = {text}")["x"]
    except (ValueError, RecursionError):
        return text


def overlay(layers: Sequence[Layer]) -> tuple[Tree, dict[str, Layer]]:
    """All layers as one tree, later ones winning, and for each dotted key the layer that set it.

    A value that wins keeps its first position, so a command keeps the order of the profile that
    began it.
    """
    values: Tree = {}
    origin: dict[str, Layer] = {}
    for layer in layers:
        for path, value in _leaves(layer.values):
            table = values
            for part in path[:-1]:
                if not isinstance(table.get(part), dict):
                    table[part] = {}
                table = table[part]
            table[path[-1]] = value
            key = ".".join(path)
            origin[key] = layer.of(key)
    return values, origin


def _leaves(tree: Tree, above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for key, value in tree.items():
        if isinstance(value, dict) and (value or not above):
            yield from _leaves(value, (*above, key))
        else:
            yield (*above, key), value


def engine(layers: Sequence[Layer]) -> str:
    """The engine that the layers name, later ones winning; one that is not known is told by who
    reads the profile.
    """
    tables = [layer.values.get("engine") for layer in reversed(layers)]
    kinds = [table["kind"] for table in tables if isinstance(table, dict) and "kind" in table]
    return kinds[0] if kinds and kinds[0] in engines.NAMES else ENGINE


def canonical(layer: Layer, catalogue: Catalogue) -> tuple[Layer, list[str]]:
    """The layer with each option under its one name; and what is said twice, by two names of one
    option.
    """
    flags, why = layer.values.get("flags"), layer.values.get("why")
    if not isinstance(flags, dict):
        return layer, []
    names: dict[str, list[str]] = {}
    for name in flags:
        names.setdefault(catalogue.canonical(name), []).append(name)
    errors = [
        f"{layer.of(f'flags.{name}').place}: flags.{name}: the same option as {other}, set one of"
        " them"
        for other, *more in names.values()
        for name in more
    ]
    one = {old: name for name, olds in names.items() for old in olds}
    values = layer.values | {"flags": {one[name]: value for name, value in flags.items()}}
    if isinstance(why, dict):
        values["why"] = {
            one.get(name, catalogue.canonical(name)): text for name, text in why.items()
        }
    written = {name: olds[-1] for name, olds in names.items() if olds[-1] != name}
    said = {f"flags.{one[name]}": layer.names.get(f"flags.{name}") for name in flags}
    named = {**layer.names, **{key: name for key, name in said.items() if name}}
    return replace(layer, values=values, written=written, names=named), errors


def unprintable(tree: Tree, origin: Mapping[str, Layer]) -> list[str]:
    """Where a name or a value has a character that no reader sees: what is printed to be run must
    be what runs.
    """
    errors = []
    for path, value in _leaves(tree):
        texts = [
            *path,
            *(
                part
                for part in (value if isinstance(value, list) else [value])
                if isinstance(part, str)
            ),
        ]
        if path[0] not in PROSE and (shown := next(filter(None, map(_unseen, texts)), None)):
            key = ".".join(path)
            place = f"{origin[key].place}: " if key in origin else ""
            errors.append(f"{place}{key}: has {shown} in it, a character that nobody would see")
    return errors


def _unseen(text: str) -> str:
    """The first character that nobody would see; ends of lines and tabs are meant in JSON and in a
    template alone.
    """
    if "\n" in text and not (text.lstrip().startswith(("{", "[")) or "{%" in text):
        return "\\n"
    return printable.odd(text)


def expand(tree: Tree, environ: Mapping[str, str]) -> Tree:
    """The tree with `~/` and `{cache}/` at the start of a value made into the folders they mean."""
    folders = {
        "~/": f"{environ.get('HOME', '')}/",
        "{cache}/": f"{home(environ, 'XDG_CACHE_HOME', '.cache')}/",
    }

    def expanded(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: expanded(inner) for key, inner in value.items()}
        for short, folder in folders.items():
            if isinstance(value, str) and value.startswith(short):
                return folder + value.removeprefix(short)
        return value

    return {key: value if key == "why" else expanded(value) for key, value in tree.items()}
