"""What a row compares between numbers of a command: `tp_size * pp_size % nnodes != 0`. Pure.

Names are options with `_` for `-`. The form is Python's: `+ - * / // %`, comparisons, `in (1, 2)`,
`and`, `or` and `not`. Where a number is not known, or nothing can be divided by it, nothing holds.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

Number = Callable[[str], float | None]  # of an option, None where nobody knows it

COUNTS: Mapping[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda one, many: one in many,
    ast.NotIn: lambda one, many: one not in many,
}


@dataclass(frozen=True)
class Relation:
    """One comparison, or several that are joined."""

    text: str

    @classmethod
    def of(cls, text: str) -> Relation:
        """Raises ValueError for what is none."""
        made = cls(text)
        try:
            _told(made._tree, lambda name: 1)
        except (SyntaxError, TypeError):
            raise ValueError(f"where: {text!r} is no comparison") from None
        except ZeroDivisionError:
            pass  # of the numbers that stood in for those of a command
        return made

    @cached_property
    def _tree(self) -> ast.expr:
        return ast.parse(self.text, mode="eval").body

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The options that it is about, in their order."""
        found = (node.id for node in ast.walk(self._tree) if isinstance(node, ast.Name))
        return tuple(dict.fromkeys(_option(name) for name in found))

    def words(self, number: Number) -> Mapping[str, str] | None:
        """Its numbers by their names, where it holds of them; None where it does not, or one of
        them is unknown.
        """
        known = {name: number(name) for name in self.names}
        if None in known.values():
            return None
        try:
            holds = _told(self._tree, lambda name: known[name])
        except ZeroDivisionError:
            return None
        told = {word(name): f"{value:.15g}" for name, value in known.items()}
        return told if holds else None


def word(name: str) -> str:
    """An option as it is written in a relation."""
    return name.replace("-", "_")


def _option(name: str) -> str:
    return name.replace("_", "-")


def _told(node: ast.expr, number: Number) -> Any:
    match node:
        case ast.Constant(value=int() | float()):
            return node.value
        case ast.Name():
            return number(_option(node.id))
        case ast.Tuple():
            return [_told(one, number) for one in node.elts]
        case ast.BinOp() if type(node.op) in COUNTS:
            return COUNTS[type(node.op)](_told(node.left, number), _told(node.right, number))
        case ast.UnaryOp(op=ast.Not()):
            return not _told(node.operand, number)
        case ast.UnaryOp(op=ast.USub()):
            return -_told(node.operand, number)
        case ast.BoolOp():
            joined = all if isinstance(node.op, ast.And) else any
            return joined([_told(one, number) for one in node.values])
        case ast.Compare(ops=[compared]) if type(compared) in COUNTS:
            return COUNTS[type(compared)](
                _told(node.left, number), _told(node.comparators[0], number)
            )
    raise ValueError(f"where: {ast.unparse(node)!r} is no comparison of numbers")
