"""Options as a table, `tp-size: 8`, as the engines' own `--config` files, recipes and charts have
them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from launcher.engines.engine import NAMES, dialect
from launcher.engines.options import Option
from launcher.formats.fragments import is_prose
from launcher.formats.nodes import List, Node, Scalar, Table
from launcher.formats.words import Piece, Word
from launcher.formats.yamltext import Source
from launcher.plan.plan import ENGINE

LEAST = 3  # options that make a table one of options, wherever it stands
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
TRUE, FALSE = ("true", "yes", "on"), ("false", "no", "off")


@cache
def _options(engine: str) -> dict[str, Option]:
    """Every option of any release, the newest last."""
    known = dialect(engine).options
    return {
        name: option
        for release in known.releases
        for name, option in known.release(release).options.items()
    }


def is_one(node: Table, *, named: bool) -> bool:
    """Whether its keys are options; `named`: its own key says that they are."""
    if is_of_chart(node) and not named:
        return False
    engine = engine_of(node)
    known = _known(node, engine)
    of_tables = sum(isinstance(value, Table) for _, value in node.items)
    if 2 * of_tables > len(node.items):  # what describes options, as a schema does
        return False
    return known >= (1 if named else LEAST) and 2 * known >= len(node.items)


def is_of_chart(node: Table) -> bool:
    """Whether its keys are a chart's own words for options, `maxModelLen`: what is none of an
    engine's is the chart's.
    """
    return any(is_camel(key.value) for key, _ in node.items)


def is_camel(word: str) -> bool:
    """Whether a word is written as charts write theirs."""
    return _CAMEL.search(word) is not None


def engine_of(node: Table) -> str:
    """The engine whose options most of its keys are."""
    return max((ENGINE, *NAMES), key=lambda engine: _known(node, engine))


def _known(node: Table, engine: str) -> int:
    return sum(_name(key.value) in _options(engine) for key, _ in node.items)


def words(node: Table, source: Source, engine: str, *, is_chart: bool = False) -> Iterator[Word]:
    """The command line that it comes to: a switch that is true, and no one that is false; of a
    chart's words those that are options, and the lists among them.
    """
    options = _options(engine)
    for key, value in node.items:
        option = options.get(_name(key.value))
        if option is None and isinstance(value, Scalar) and is_prose(value.value.split()):
            continue  # what somebody has to say of the options
        if is_chart and option is None:
            yield from _values(value, source) if isinstance(value, List) else ()
            continue
        said = value.value.lower() if isinstance(value, Scalar) and not value.style else ""
        if isinstance(value, Scalar) and (value.is_null or _is_off(said, option)):
            continue
        yield Word((Piece("--"), Piece(_name(key.value)[2:], _place(key))))
        if said not in TRUE or (option and option.takes != "nothing"):
            yield from _values(value, source)


def _place(key: Scalar) -> int | None:
    is_as_written = not (key.style or "_" in key.value or _CAMEL.search(key.value))
    return key.start if is_as_written else None


def _is_off(said: str, option: Option | None) -> bool:
    return said in FALSE and (option is None or option.takes == "nothing")


def _values(node: Node, source: Source) -> Iterator[Word]:
    for item in node.items if isinstance(node, List) else [node]:
        if isinstance(item, Scalar):
            yield Word(source.scalar(item))


def _name(key: str) -> str:
    dashed = _CAMEL.sub("-", key).lower() if _CAMEL.search(key) else key
    return f"--{dashed.strip().lstrip('-').replace('_', '-')}"
