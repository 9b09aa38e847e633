"""Secrets that a text gives to variables, in whatever form it is written."""

from __future__ import annotations

import re

from launcher.redact.expansions import SHORTEST, defaults, literals, word
from launcher.redact.secrets import SECRET_VARIABLE

_SETTINGS = frozenset("true false none null auto".split())
_VALUE = r"""(?:"((?:\\.|[^"\\\n])*)"|'([^'\n]*)'|([^\s"'#,;&|)}\]]+))"""
# `NAME=x`, `NAME: x`, `"NAME": "x"`, and a list's `- name: NAME` with its `value: x` behind it.
_NAMED = re.compile(
    rf"""(?<![\w$.-])(?<!\$\{{)([A-Z][A-Z0-9_]{{0,80}})["']?[ \t]*[=:][ \t]*{_VALUE}"""
)
_LISTED = re.compile(
    r"""["']?name["']?:[ \t]*["']?([A-Z][A-Z0-9_]{0,80})["']?,?\s+["']?value["']?:[ \t]*""" + _VALUE
)
_PLACEHOLDER = re.compile(r"\$\$.*|<.*|YOUR_.*|valueFrom.*")  # shows no more than a name


def assigned(text: str) -> set[str]:
    """The values of variables that are named like secrets, as they stand there."""
    found = (hit for shape in (_NAMED, _LISTED) for hit in shape.finditer(text))
    told = [(hit[1], said) for hit in found for said in literals(_value(text, hit))]
    return {
        value
        for name, value in (*told, *defaults(text))
        if SECRET_VARIABLE.search(name) and _tells(value)
    }


def _value(text: str, hit: re.Match[str]) -> str:
    value = hit[2] or hit[3] or hit[4] or ""
    start = max(map(hit.start, (2, 3, 4))) - (hit[4] is None)
    return word(text, start) if "$" in value or "`" in value else value


def _tells(value: str) -> bool:
    is_setting = len(value) < SHORTEST or value.lower() in _SETTINGS
    return not is_setting and not _PLACEHOLDER.fullmatch(value)
