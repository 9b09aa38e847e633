"""Ansible's inventories as text: INI and YAML, and plain lists, into groups of hosts. Pure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import yaml

from launcher.errors import UserError

ALL = "all"
MOST = 5000  # hosts that ranges may name, and places that are visited
LOADER: Any = getattr(yaml, "CBaseLoader", yaml.BaseLoader)  # texts alone: no merge, no object
# The first line that says something: a mapping, a list, or JSON, which is YAML, too.
_YAML = re.compile(
    r"""\A\s*(?:#.*\n\s*)*(?:---|[{%]|-\s|\[\s*(?:"|$)|(?:[\w.-]+|"[^"\n]+"|'[^'\n]+')\s*:(?:\s|$))""",
    re.M,
)
_SECTION = re.compile(r"\[([^\]:]+)(?::(\w+))?\]\s*(?:[#;].*)?")
_RANGE = re.compile(r"\[(\d+|[A-Za-z])[:-](\d+|[A-Za-z])(?::(\d+))?\]")
Variables = Mapping[str, str]


@dataclass
class Group:
    """A group of an inventory: its hosts with their variables, its children, its variables."""

    hosts: dict[str, dict[str, str]] = field(default_factory=dict)
    children: list[str] = field(default_factory=list)
    told: dict[str, str] = field(default_factory=dict)


def groups(text: str, place: str) -> dict[str, Group]:
    """The groups of a list; `all` has every host. Raises UserError."""
    read = _yaml(text, place) if _YAML.match(text) else _ini(text, place)
    every = read.setdefault(ALL, Group())
    for name, group in read.items():
        for child in group.children:
            if child not in read:
                raise _unfit(place, f"group {name} has a child {child} that is not there")
        if name != ALL and name not in every.children:
            every.children.append(name)
    return read


def members(known: Mapping[str, Group], group: str) -> list[str]:
    """The hosts of a group and of those below it, each once."""
    found: dict[str, None] = {}
    for name in _below(known, group):
        found |= dict.fromkeys(known[name].hosts)
    return list(found)


def variables(known: Mapping[str, Group]) -> dict[str, Variables]:
    """What is told of each host: `all` first, then its groups, then what stands beside it."""
    order = [ALL, *(name for name in known if name != ALL)]
    above: dict[str, dict[str, str]] = {}
    for name in order:
        for host in members(known, name):
            above.setdefault(host, {}).update(known[name].told)
    for name in order:
        for host, told in known[name].hosts.items():
            above[host].update(told)
    return dict(above)


def _below(known: Mapping[str, Group], group: str) -> list[str]:
    found, todo = dict.fromkeys([group]), [group]
    while todo:
        for child in known[todo.pop()].children:
            if child not in found:
                found[child] = None
                todo.append(child)
    return list(found)


def _ini(text: str, place: str) -> dict[str, Group]:
    read: dict[str, Group] = {}
    name, kind = "ungrouped", "hosts"
    for number, line in enumerate(text.splitlines(), 1):
        if not (line := line.strip()) or line[0] in "#;":
            continue
        if section := _SECTION.fullmatch(line):
            name, kind = section[1].strip(), section[2] or "hosts"
            read.setdefault(name, Group())
            if kind not in ("hosts", "children", "vars"):
                raise _unfit(place, f"line {number}: no section [{name}:{kind}] is known")
        else:
            _line(read.setdefault(name, Group()), kind, line, f"{place}, line {number}")
    return read


def _line(group: Group, kind: str, line: str, place: str) -> None:
    if kind == "vars":
        key, _, value = line.partition("=")
        group.told[key.strip()] = value.strip().strip("'\"")
        return
    try:
        first, *rest = shlex.split(line, comments=True)
    except ValueError as error:
        raise _unfit(place, str(error).lower()) from None
    if kind == "children":
        group.children.append(first)
        return
    pairs = (word.partition("=") for word in rest)
    told = {key: value for key, _, value in pairs}
    for host in spread(first, place):
        group.hosts.setdefault(host, {}).update(told)


def spread(pattern: str, place: str) -> list[str]:
    """`gpu[01:03].x`, or `gpu[01-03].x`, as three names. Raises UserError for too many."""
    found = list(islice(_spread(pattern, place), MOST + 1))
    if len(found) > MOST:
        raise _unfit(place, f"{pattern} names more than {MOST} hosts")
    return found


def _spread(pattern: str, place: str) -> Iterator[str]:
    found = _RANGE.search(pattern)
    if not found:
        yield pattern
        return
    head, tail = pattern[: found.start()], pattern[found.end() :]
    for middle in _range(found[1], found[2], int(found[3] or 1), place):
        for rest in _spread(tail, place):
            yield f"{head}{middle}{rest}"


def _range(first: str, last: str, step: int, place: str) -> list[str]:
    is_number = first.isdigit() and last.isdigit()
    if not step or first.isdigit() != last.isdigit() or max(len(first), len(last)) > 9:
        raise _unfit(place, f"no range: [{first}:{last}]")
    ends = (int(first), int(last)) if is_number else (ord(first), ord(last))
    if not 0 <= ends[1] - ends[0] < MOST:
        raise _unfit(place, f"no range of at most {MOST} hosts: [{first}:{last}]")
    numbers = range(ends[0], ends[1] + 1, step)
    width = len(first) if first.startswith("0") else 0
    return [f"{one:0{width}d}" if is_number else chr(one) for one in numbers]


def _yaml(text: str, place: str) -> dict[str, Group]:
    try:
        data = yaml.load(text, LOADER)
    except (yaml.YAMLError, RecursionError) as error:
        what = str(getattr(error, "problem", None) or "it nests too deep")
        mark = getattr(error, "problem_mark", None)
        raise _unfit(place, f"line {mark.line + 1}: {what}" if mark else what) from None
    if isinstance(data, list):
        return {"ungrouped": Group({host: {} for host in map(str, data)})}
    read: dict[str, Group] = {}
    todo = list(_part(data, "it", place).items())
    visited = 0
    while todo:
        name, node = todo.pop()
        if (visited := visited + 1) > MOST:
            raise _unfit(place, f"it names more than {MOST} groups, or one within itself")
        group, node = read.setdefault(name, Group()), _part(node, f"group {name}", place)
        group.told |= _told(_part(node.get("vars"), f"vars of group {name}", place))
        for pattern, told in _part(node.get("hosts"), f"hosts of group {name}", place).items():
            for host in spread(pattern, place):
                group.hosts.setdefault(host, {}).update(_told(told))
        below = _part(node.get("children"), f"children of group {name}", place)
        group.children += [child for child in below if child not in group.children]
        todo += below.items()
    return read


def _part(node: Any, called: str, place: str) -> dict[str, Any]:
    """A mapping, or nothing. Raises UserError for what a program of Ansible's prints: lists."""
    if node and not isinstance(node, dict):
        what = "a list" if isinstance(node, list) else "a word"
        raise _unfit(place, f"{called} is {what}, wanted a mapping (`ansible-inventory --yaml`)")
    return _table(node)


def _table(node: Any) -> dict[str, Any]:
    return {str(key): value for key, value in node.items()} if isinstance(node, dict) else {}


def _told(node: Any) -> dict[str, str]:
    """Variables, with those of a merge (`<<: *others`) below its own."""
    own = _table(node)
    merged = own.pop("<<", None)
    above = merged if isinstance(merged, list) else [merged]
    every = {key: value for table in above for key, value in _table(table).items()} | own
    return {key: value for key, value in every.items() if isinstance(value, str)}


def _unfit(place: str, what: str) -> UserError:
    return UserError(
        f"{place}: {what}", fix="give it a list of hosts, a line each, or Ansible's inventory"
    )
