"""Options that a command line gives more than once, or a member of their JSON at a time
(`--option.a.b value`): what counts. Pure.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from launcher.engines.options import Given
from launcher.engines.values import of_member


def overridden(givens: Sequence[Given]) -> Mapping[int, Given]:
    """What counts in the stead of what is given, by the place of each that does not.

    The last counts. Of JSON its members do, wherever they stand: the parser takes them out, puts
    those of one spelling together, and appends these in the order in which they begin.
    """
    places: defaultdict[str, list[int]] = defaultdict(list)
    for at, given in enumerate(givens):
        if given.option and not given.option.adds:
            places[given.name].append(at)
    made: dict[int, Given] = {}
    for of_one in places.values():
        made |= _overridden({at: givens[at] for at in of_one})
    return made


def counting(givens: Sequence[Given]) -> list[Given]:
    """Those that count."""
    lost = overridden(givens)
    return [given for at, given in enumerate(givens) if at not in lost]


def whole(givens: Sequence[Given]) -> Iterator[Given]:
    """Those that count, the members of an option as one JSON text, where the last of them
    stands.
    """
    told: dict[str, dict[str, Any]] = {}
    count = counting(givens)
    for given in count:
        if given.member:
            _set(told.setdefault(given.name, {}), given.member, given.values)
    last = {given.name: given for given in count if given.member}
    for given in count:
        if last.get(given.name) is given:
            yield replace(given, values=(json.dumps(told[given.name]),), member="")
        elif given.name not in told:
            yield given


def _overridden(givens: Mapping[int, Given]) -> dict[int, Given]:
    """The same of one option alone."""
    first = dict.fromkeys(given.read for given in givens.values() if given.member)
    if not first:
        *before, last = givens
        return dict.fromkeys(before, givens[last])
    spelling = [*first][-1]
    members = {at: one for at, one in givens.items() if one.member and one.read == spelling}
    made = dict.fromkeys(givens.keys() - members.keys(), [*members.values()][-1])
    for at, given in members.items():
        again = [one for later, one in members.items() if later > at and _replaces(one, given)]
        made |= {at: again[-1]} if again else {}
    return made


def _replaces(later: Given, given: Given) -> bool:
    """Whether a member takes the place of another: it is the same, or has that one in it. Those
    with a plus are added to a list.
    """
    is_within = given.member.startswith(f"{later.member}.")
    return (later.member == given.member and not later.member.endswith("+")) or is_within


def _set(told: dict[str, Any], member: str, values: Sequence[str]) -> None:
    *path, name = member.removesuffix("+").split(".")
    for part in path:
        inner = told.get(part)
        told[part] = told = inner if isinstance(inner, dict) else {}
    text = values[0] if values else ""
    read = of_member(member, text)
    before = told.get(name)
    told[name] = before + read if isinstance(before, list) and isinstance(read, list) else read
