"""The value of `$((...))`, where all of it is known."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable

LONGEST = 200  # characters
LARGEST = 1 << 63
_NAME = re.compile(r"\$?\{?([A-Za-z_]\w*)\}?|\$(\d)")
_OPERATORS: dict[type[ast.operator], Callable[[int, int], int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: lambda one, other: int(one / other),  # towards zero, as C does
    ast.Mod: lambda one, other: one - int(one / other) * other,
}


def value(text: str, named: Callable[[str], str | None]) -> int | None:
    """What bash makes of it; None where a name is unknown, or it is more than `+ - * / %`."""
    if len(text) > LONGEST:
        return None
    known = _NAME.sub(lambda found: _number(named(found[1] or found[2])), text)
    if not re.fullmatch(r"[\d\s+\-*/%()]+", known) or "**" in known or "//" in known:
        return None
    try:
        made = _of(ast.parse(known.strip().replace("/", "//"), mode="eval").body)
    except (SyntaxError, ValueError, ZeroDivisionError, RecursionError, OverflowError, MemoryError):
        return None
    return made if abs(made) < LARGEST else None


def _number(text: str | None) -> str:
    return text if text and re.fullmatch(r"-?(0|[1-9]\d{0,17})", text) else "?"


def _of(node: ast.expr) -> int:
    match node:
        case ast.Constant(value=int(number)):
            return number
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_of(operand)
        case ast.UnaryOp(op=ast.UAdd(), operand=operand):
            return _of(operand)
        case ast.BinOp(left=left, op=sign, right=right) if type(sign) in _OPERATORS:
            return _OPERATORS[type(sign)](_of(left), _of(right))
    raise ValueError("more than a sum")
