"""A profile as it stands, and what it comes to: `glm5-serve profiles show`."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from launcher.config import layers
from launcher.engines.engine import dialect
from launcher.errors import UserError
from launcher.files import reading
from launcher.redact.keyspelling import HIDDEN
from launcher.redact.secrets import SECRET_VARIABLE, hide, hide_data

# A name of TOML, in quotes or not, and what is set: a text of any form, a list, or a bare word.
_SET = re.compile(
    r"""(?P<head>(?P<quote>["']?)(?<![\w-])(?P<name>[A-Za-z_][\w-]*)(?P=quote)[ \t]*=[ \t]*)"""
    r'''(?:"""(?s:.)*?(?:"""|\Z)|'''
    r"""'''(?s:.)*?(?:'''|\Z)"""
    r"""|"(?:\\.|[^"\\\n])*"?|'[^'\n]*'?|\[[^\]]*\]?|[^\s,}#]+)"""
)
TOLD_ELSEWHERE = ("description", "extends", "why")  # by the file itself, and `render --explain`


@dataclass(frozen=True)
class Value:
    """A key of a profile, its value, and where that was set."""

    key: str
    value: Any
    place: str


@dataclass(frozen=True)
class Shown:
    """A profile's file, what it extends, the nearest first, and all values that it comes to."""

    name: str
    place: str
    path: str
    text: str
    extends: tuple[str, ...]
    values: tuple[Value, ...]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def shown(name: str, environ: Mapping[str, str]) -> Shown:
    """A profile as it stands, valid or not. Raises UserError where there is none, or it cannot be
    read.
    """
    found = layers.find(name, environ)
    stack = layers.lineage(found, environ)
    options = dialect(layers.engine(stack)).options
    own = [layers.canonical(layer, options)[0] for layer in stack]
    secret = dialect(layers.engine(stack)).secrets
    values, origin = layers.overlay([*own, layers.from_environment(environ)])
    told = (
        Value(key, _hidden(key, _at(values, key), secret), place_of(layer.place))
        for key, layer in origin.items()
        if key.partition(".")[0] not in TOLD_ELSEWHERE
    )
    parents = dict.fromkeys(place_of(layer.place) for layer in reversed(stack[:-1]))
    return Shown(
        found.name,
        found.place,
        str(found.path),
        without_secrets(_text(found.path), secret),
        tuple(parents),
        tuple(told),
    )


def without_secrets(text: str, options: Collection[str]) -> str:
    """A profile's file without the values of variables and `options` that are secrets, and without
    what looks like one: it may be none yet, for `profiles validate` refuses these.
    """
    return hide(
        _SET.sub(
            lambda found: (
                found["head"] + f'"{HIDDEN}"' if _is_secret(found["name"], options) else found[0]
            ),
            text,
        )
    )


def _is_secret(name: str, options: Collection[str]) -> bool:
    return bool(SECRET_VARIABLE.search(name)) or name.lower().replace("_", "-") in options


def _hidden(key: str, value: Any, options: Collection[str]) -> Any:
    """A value without what is secret in it."""
    table, _, name = key.partition(".")
    is_secret = table in ("env", "flags") and _is_secret(name, options)
    return HIDDEN if is_secret else hide_data(value)


def _text(path: Path) -> str:
    try:
        return reading.read_text(path, layers.LARGEST)
    except OSError as error:
        fix = f"make {path} a readable file"
        raise UserError(f"cannot read {path}: {reading.reason(error)}", fix=fix) from None


def _at(values: layers.Tree, key: str) -> Any:
    """The value of a dotted key; variables have no dots, some options do."""
    table, _, rest = key.partition(".")
    value = values[table]
    while rest and isinstance(value, dict) and rest not in value:
        part, _, rest = rest.partition(".")
        value = value[part]
    return value[rest] if rest else value


def place_of(layer: str) -> str:
    """A packaged profile by its name; another place in full."""
    path = Path(layer)
    is_packaged = path.parent in (layers.PACKAGED, layers.PACKAGED.resolve())
    return path.stem if is_packaged else layer
