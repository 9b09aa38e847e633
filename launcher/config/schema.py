"""What a profile's file may say, as JSON Schema: for editors, and for who writes about it.

It is made from `profile.Profile`, whose attributes' docstrings are the descriptions. What is
checked beyond types (an option of another engine, a secret, two names of one option) no schema
says: `glm5-serve profiles validate` does.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

from launcher.config import profile
from launcher.engines.engine import NAMES, dialect
from launcher.plan.plan import POINTS

DIALECT = "https://json-schema.org/draft/2020-12/schema"
# Values that pydantic's validators know, and its schema does not.
CHOICES = {("Engine", "kind"): list(NAMES), ("Profile", "operating_point"): list(POINTS)}
IN_LISTS = ("NodeHost", "Question")  # of which each is whole: no layer adds to one
VARIABLES = {
    "propertyNames": {"pattern": r"^[A-Za-z_][A-Za-z0-9_]*$"},
    "additionalProperties": {"type": ["string", "integer"]},
}

Schema = dict[str, Any]


def to_json() -> Schema:
    """The schema of one file: what another layer may say is not required."""
    made: Schema = profile.Profile.model_json_schema()
    tables: Schema = made.pop("$defs") | {"Profile": made}
    for name, described in descriptions():
        own = tables[name]
        own["properties"] = {
            key: _plain(value) | {"description": described[key]}
            for key, value in own["properties"].items()
        }
        for key, value in own["properties"].items():
            if choices := CHOICES.get((name, key)):
                value["enum"] = choices
        own["description"] = " ".join(own["description"].split())
        own.pop("title")
        if name not in IN_LISTS:
            own.pop("required", None)
    tables["Flags"] = _flags(tables["Flags"])
    hosts = tables["Nodes"]["properties"]["hosts"]
    hosts["items"] = {"anyOf": [{"type": "string"}, hosts["items"]]}
    described = made["properties"]["env"]["description"]
    made["properties"]["env"] = {"type": "object", "description": described} | VARIABLES
    head: Schema = {"$schema": DIALECT, "title": "A profile of glm5-serve"}
    top: Schema = tables.pop("Profile")
    return head | top | {"$defs": tables}


def descriptions() -> Iterator[tuple[str, dict[str, str]]]:
    """Each table of a profile by the name of its class, and what its keys mean."""
    for node in ast.parse(Path(profile.__file__).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef) and (told := dict(_documented(node.body))):
            yield node.name, told


def _documented(body: list[ast.stmt]) -> Iterator[tuple[str, str]]:
    """The attributes of a class, each with the docstring below it."""
    for attribute, below in pairwise(body):
        match attribute, below:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str(text))),
            ):
                yield name, text


def _plain(value: Schema) -> Schema:
    """A key's schema without what TOML does not have, and without titles that repeat the key."""
    kept = {key: told for key, told in value.items() if key not in ("title", "default")}
    if value.get("default") is not None and "$ref" not in value:
        kept["default"] = value["default"]
    match [one for one in kept.get("anyOf", ()) if one != {"type": "null"}]:
        case [only]:
            kept.pop("anyOf")
            kept |= only
        case [*several] if several:
            kept["anyOf"] = several
    return kept


def _flags(table: Schema) -> Schema:
    """Options as each engine calls them, those that the launcher reads typed; `false` leaves out
    any.
    """
    typed: Schema = {}
    for role, value in table["properties"].items():
        told = {key: value.pop(key) for key in ("description", "default") if key in value}
        for name in dict.fromkeys(dialect(engine).option_of(role) for engine in NAMES):
            typed[name] = told | {"anyOf": [value, {"const": False}]}
    return table | {"properties": typed}
