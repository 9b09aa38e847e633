"""What expressions come to without running them: literals, and the names that somebody knows."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator
from typing import Any

UNKNOWN: Any = object()
Named = Callable[[str], Any]  # what a name, dotted perhaps, stands for; LookupError if nobody knows
JOINS: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.Div: lambda a, b: a / b,
    ast.Pow: lambda a, b: a**b,
    ast.FloorDiv: lambda a, b: a // b,
    ast.LShift: lambda a, b: a << b,
}
LISTS = ("list", "tuple", "set", "frozenset", "sorted")


def value(node: ast.expr | None, named: Named) -> Any:
    """What an expression comes to, UNKNOWN where that takes more than literals and known names."""
    try:
        return _value(node, named)
    except (LookupError, TypeError, ValueError, ArithmeticError):
        return UNKNOWN


def _value(node: ast.expr | None, named: Named) -> Any:
    match node:
        case ast.Constant():
            return node.value
        case ast.List() | ast.Tuple() | ast.Set():
            return [item for told in node.elts for item in _items(told, named)]
        case ast.Dict():
            pairs = zip(node.keys, node.values, strict=True)
            return {_value(key, named): value(told, named) for key, told in pairs}
        case ast.Name() | ast.Attribute():
            return named(ast.unparse(node))
        case ast.UnaryOp(op=ast.USub()):
            return -_value(node.operand, named)
        case ast.BinOp():
            return JOINS[type(node.op)](_value(node.left, named), _value(node.right, named))
        case ast.JoinedStr():
            return "".join(
                str(part.value) for part in node.values if isinstance(part, ast.Constant)
            )
        case ast.Call():
            return _call(node, named)
    raise ValueError


def _items(node: ast.expr, named: Named) -> list[Any]:
    return (
        list(_value(node.value, named)) if isinstance(node, ast.Starred) else [_value(node, named)]
    )


def _call(node: ast.Call, named: Named) -> Any:
    called = ast.unparse(node.func)
    if called in LISTS and not node.args:
        return []
    if called in LISTS and len(node.args) == 1:
        told = list(_value(node.args[0], named))
        return sorted(told) if called == "sorted" else told
    if called.endswith(".keys") and isinstance(node.func, ast.Attribute):
        return list(_value(node.func.value, named))
    if called.endswith("get_args") and node.args:
        return named(ast.unparse(node))
    if called == "cast" and len(node.args) == 2:
        return _value(node.args[1], named)
    raise ValueError


def assignments(body: Iterable[ast.AST]) -> Iterator[tuple[str, ast.expr]]:
    """Names and what is assigned to them, annotated or not."""
    for node in body:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                yield name, value
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                yield name, value
