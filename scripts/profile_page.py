"""Writes docs/profile.md: every key of a profile, from the schema that editors read.

Run it after a change of launcher/config/profile.py: tests/test_pages.py holds the page against it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from launcher.config import schema

PAGE = Path(__file__).parents[1] / "docs/profile.md"
HEAD = """\
# Keys of a profile

Every table and key, made by `scripts/profile_page.py` from the schema that
`glm5-serve profiles schema` prints. What profiles are, where they are looked up and how they are
layered: [profiles.md](profiles.md).

An editor completes the keys and marks what is wrong with that schema
([profile.schema.json](profile.schema.json)). Print it once, and name it in the first line of a
profile:

```sh
glm5-serve profiles schema > profile.schema.json
```

```toml
#:schema ./profile.schema.json
extends = "8xpro6000"
```

Taplo, and so Even Better TOML in VS Code, read that line. `glm5-serve profiles validate NAME`
checks what no schema can say, too: options that the release does not have, secrets, one option by
two names.
"""
ORDER = ("flags", "env", "why", "engine", "access", "needs", "doctor", "rules")


def page() -> str:
    """The page: a heading a table, a line a key."""
    made = schema.to_json()
    tables, own = made["$defs"], made["properties"]
    top = {key: value for key, value in own.items() if not is_table(value, tables)}
    lines = [HEAD, "## Keys of no table\n", *keys(top, tables)]
    named = [*ORDER, *(key for key in own if key not in top and key not in ORDER)]
    for key in named:
        lines += table(key, own[key], tables)
    return "\n".join(lines)


def is_table(value: dict[str, Any], tables: dict[str, Any]) -> bool:
    """Whether a key is a `[table]` of its own."""
    return own(value, tables).get("type") == "object"


def own(value: dict[str, Any], tables: dict[str, Any]) -> dict[str, Any]:
    """A key's schema, that of the table that it refers to included."""
    reference = str(value.get("$ref", "")).rpartition("/")[2]
    return {**tables.get(reference, {}), **value}


def table(path: str, value: dict[str, Any], tables: dict[str, Any]) -> Iterator[str]:
    """A table and those within it."""
    made = own(value, tables)
    yield f"## [{path}]\n"
    yield f"{made['description']}\n"
    properties = made.get("properties", {})
    yield from keys({k: v for k, v in properties.items() if not is_table(v, tables)}, tables)
    for key, inner in properties.items():
        if is_table(inner, tables):
            yield from table(f"{path}.{key}", inner, tables)
        elif reference := own(inner, tables).get("items", {}):
            for one in reference.get("anyOf", [reference]):
                if is_table(one, tables):
                    yield from table(f"[{path}.{key}]", own(one, tables), tables)


def keys(of: dict[str, Any], tables: dict[str, Any]) -> Iterator[str]:
    """A table of keys; nothing where there are none."""
    if not of:
        return
    rows = (
        f"| `{key}` | {kind(v, tables)} | {default(v)} | {v['description']} |"
        for key, v in of.items()
    )
    yield "\n".join(("| key | type | default | |", "|---|---|---|---|", *rows)) + "\n"


def kind(value: dict[str, Any], tables: dict[str, Any]) -> str:
    """A type in words, with what bounds it."""
    made = own(value, tables)
    if "enum" in made:
        return " or ".join(f"`{quoted(one)}`" for one in made["enum"])
    if "anyOf" in made:  # that `false` leaves an option out is said once
        return " or ".join(kind(one, tables) for one in made["anyOf"] if "const" not in one)
    words = {"boolean": "true or false", "object": "table", "array": "list", "string": "text"}
    said = words.get(made.get("type", ""), made.get("type", "any"))
    if made.get("type") == "array" and "items" in made:
        said = f"list of {kind(made['items'], tables)}"
    return f"{said}{bounds(made)}"


def bounds(made: dict[str, Any]) -> str:
    """Least and most of a number, as ` > 0, <= 5`."""
    signs = {"exclusiveMinimum": ">", "minimum": ">=", "maximum": "<="}
    said = ", ".join(f"{sign} {made[key]:,.12g}" for key, sign in signs.items() if key in made)
    return f" {said}" if said else ""


def default(value: dict[str, Any]) -> str:
    """A default as TOML has it, "-" where there is none."""
    match value.get("default"):
        case None | "" | {}:
            return "-"
        case list(many) if many and isinstance(many[0], dict):
            return f"{len(many)} of them"
        case other:
            return f"`{quoted(other)}`"


def quoted(value: object) -> str:
    """A value as it stands in TOML."""
    if isinstance(value, float):
        return f"{value:g}"
    return json.dumps(value)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
