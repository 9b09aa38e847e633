"""What an SGLang wheel says that it accepts on its command line, and reads; read, never imported.

The declarations of `ServerArgs` by their syntax tree. Three generations of them: up to 0.5.13
`parser.add_argument(...)`, up to 0.5.19 annotated fields of `ServerArgs`, then fields in a folder
of their own (`srt/arg_groups/fields`).
"""

from __future__ import annotations

import ast
import re
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import literals
from literals import UNKNOWN, assignments

SRT = "sglang/srt"
# What the catalogue calls the types of values, which are the names of the functions that read them;
# all others take any text.
TYPES = {
    "int": "int",
    "float": "float",
    "human_readable_int": "size",
    "json.loads": "json",
    "json_list_type": "json",
    "parse_cuda_graph_config_arg": "json",
}
VARIABLE = re.compile(
    rb"\b((?:SGLANG|SGL)_[A-Z0-9_]*[A-Z0-9])\b"
    # others are read by these
    rb"|(?:environ\.get\(|environ\[|getenv\(|get_(?:bool|int)_env_var\()\s*[\"']([A-Z][A-Z0-9_]+)[\"']"
)
# Constants that the declarations name stand in these; the order is that of their imports.
CONSTANTS = (
    "lora/backend/lora_registry.py",
    "utils/common.py",
    "arg_groups/choices.py",
    "server_args.py",
)


class Source:
    """The Python files of a wheel, and the constants that its modules define."""

    def __init__(self, wheel: Path) -> None:
        self.zip = zipfile.ZipFile(wheel)
        self.names = set(self.zip.namelist())
        self.constants: dict[str, Any] = {}
        for name in CONSTANTS:
            self.learn(self.tree(name))

    def tree(self, name: str) -> ast.Module:
        """A module of sglang.srt, an empty one where this release has none of that name."""
        path = f"{SRT}/{name}"
        return ast.parse(self.zip.read(path) if path in self.names else b"")

    def under(self, folder: str) -> list[str]:
        """The modules right below a folder of sglang.srt."""
        inside = re.compile(rf"{SRT}/({folder}/[a-z0-9_]+\.py)")
        return sorted(match[1] for name in self.names if (match := inside.fullmatch(name)))

    def learn(self, tree: ast.Module) -> None:
        """Keep the constants that a module assigns at its top."""
        for name, value in assignments(tree.body):
            if (known := self.value(value)) is not UNKNOWN:
                self.constants.setdefault(name, known)

    def value(self, node: ast.expr | None, local: dict[str, Any] | None = None) -> Any:
        """What an expression comes to, UNKNOWN where that takes more than literals and known
        names.
        """
        there = local or {}
        return literals.value(
            node, lambda name: there[name] if name in there else self.constants[name]
        )


def parsers(source: Source) -> dict[str, list[str]]:
    """The names of reasoning and tool-call parsers: a module of names, or before 0.5.20 the keys of
    a class.
    """
    places = {
        "--reasoning-parser": ("parser/reasoning_parser", "REASONING_PARSER_NAMES", "DetectorMap"),
        "--tool-call-parser": ("function_call/", "TOOL_CALL_PARSER_NAMES", "ToolCallParserEnum"),
    }
    found = {}
    for option, (stem, constant, attribute) in places.items():
        modules = [name for name in source.under(stem.split("/")[0]) if name.startswith(stem)]
        for node in (node for name in modules for node in ast.walk(source.tree(name))):
            for name, value in assignments([node] if isinstance(node, ast.stmt) else []):
                told = source.value(value)
                if name == constant and told is not UNKNOWN:
                    found[option] = list(told)
                elif name == attribute and isinstance(value, ast.Dict):
                    found.setdefault(
                        option, [key.value for key in value.keys if isinstance(key, ast.Constant)]
                    )
    return found


def graph_backends(source: Source) -> Any:
    """`Backend.ALL` of the CUDA-graph configuration."""
    for node in source.tree("model_executor/cuda_graph_config.py").body:
        if isinstance(node, ast.ClassDef) and node.name == "Backend":
            local: dict[str, Any] = {}
            for name, value in assignments(node.body):
                local[name] = source.value(value, local)
            return local.get("ALL", UNKNOWN)
    return UNKNOWN


def declared(source: Source) -> Iterator[dict[str, Any]]:
    """The options that annotated fields declare; defaults of all fields become known on the way."""
    source.constants["Backend.ALL"] = graph_backends(source)
    for module in ["server_args.py", *source.under("arg_groups/fields")]:
        tree = source.tree(module)
        source.learn(tree)
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and (
                module != "server_args.py" or node.name == "ServerArgs"
            ):
                for field in node.body:
                    if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
                        yield from declaration(source, field, field.target.id)


def declaration(source: Source, field: ast.AnnAssign, name: str) -> Iterator[dict[str, Any]]:
    """The option that one field declares, if it does: `x: A[int, "help"] = 1` or `A[int,
    Arg(...)]`.
    """
    default = default_of(source, field.value)
    if default is not UNKNOWN:
        source.constants.setdefault(f"ServerArgs.{name}", default)
    match field.annotation:
        case ast.Subscript(
            value=ast.Name(id="A" | "Annotated"), slice=ast.Tuple(elts=[type_, *said])
        ):
            pass
        case _:
            return
    words: dict[str, ast.expr] = {}
    told = False
    for one in said:
        if isinstance(one, ast.Call) and ast.unparse(one.func) == "Arg":
            words, told = {word.arg: word.value for word in one.keywords if word.arg}, True
        elif not told and isinstance(source.value(one), str):
            words, told = {"help": one}, True
    get: Callable[[str], Any] = lambda word: (
        source.value(words.get(word)) if word in words else None
    )
    if not told or get("no_cli") is True:
        return
    names = [get("cli_name") or f"--{name.replace('_', '-')}", *(get("aliases") or ())]
    inner = without_none(type_)
    kind, takes, choices = ast.unparse(inner), "one", get("choices")
    if isinstance(inner, ast.Subscript) and ast.unparse(inner.value) == "Literal":
        choices = choices or source.value(inner.slice)
        choices = choices if isinstance(choices, list) else [choices]
        kind = type(choices[0]).__name__
    elif "type_parser" in words:
        kind = ast.unparse(words["type_parser"])
    elif isinstance(inner, ast.Subscript) and ast.unparse(inner.value) in ("list", "List"):
        takes, kind = "many", ast.unparse(inner.slice)
    elif kind == "bool" and "action" not in words:
        takes = "nothing"
    yield option(source, names, kind, takes, choices, default, words)


def default_of(source: Source, value: ast.expr | None) -> Any:
    """A field's default, also of `field(default=...)`."""
    if isinstance(value, ast.Call):
        return next(
            (source.value(word.value) for word in value.keywords if word.arg == "default"), UNKNOWN
        )
    return source.value(value)


def without_none(node: ast.expr) -> ast.expr:
    """The type inside `Optional[...]`, `X | None` or `Union[X, None]`."""
    match node:
        case ast.Subscript(value=ast.Name(id="Optional"), slice=inner):
            return inner
        case ast.BinOp(op=ast.BitOr(), left=inner, right=ast.Constant(value=None)):
            return inner
        case ast.Subscript(
            value=ast.Name(id="Union"), slice=ast.Tuple(elts=[inner, ast.Constant(value=None)])
        ):
            return inner
    return node


def added(source: Source) -> Iterator[dict[str, Any]]:
    """The options of the `add_argument` calls in `ServerArgs.add_cli_args`."""
    named = parsers(source)
    local = {f"{option[2:].replace('-', '_')}_choices": names for option, names in named.items()}
    for method in ast.walk(source.tree("server_args.py")):
        if not (isinstance(method, ast.FunctionDef) and method.name == "add_cli_args"):
            continue
        nodes = list(ast.walk(method))
        for name, value in assignments(node for node in nodes if isinstance(node, ast.stmt)):
            if (told := source.value(value, local)) is not UNKNOWN:
                local.setdefault(name, told)
        for node in nodes:
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "add_argument":
                names = [
                    name for word in node.args if isinstance(name := source.value(word, local), str)
                ]
                if names and names[0].startswith("-"):
                    yield argument(
                        source,
                        names,
                        {w.arg: w.value for w in node.keywords if w.arg},
                        local,
                        named,
                    )


def argument(
    source: Source,
    names: list[str],
    words: dict[str, ast.expr],
    local: dict[str, Any],
    named: dict[str, list[str]],
) -> dict[str, Any]:
    """The option of one `add_argument` call."""
    choices = source.value(words.get("choices"), local) if "choices" in words else None
    if names[0] in named and choices is UNKNOWN:
        auto = ["auto"] if "auto" in ast.unparse(words["choices"]) else []
        choices = sorted({*auto, *named[names[0]]})
    default = source.value(words.get("default"), local) if "default" in words else None
    if default is UNKNOWN and (
        field := re.search(
            r"(?:ServerArgs\.|_declared_default\(')(\w+)", ast.unparse(words["default"])
        )
    ):
        default = source.constants.get(f"ServerArgs.{field[1]}", UNKNOWN)
    kind = ast.unparse(words["type"]) if "type" in words else "str"
    return option(source, names, kind, "one", choices, default, words)


def option(
    source: Source,
    names: list[str],
    kind: str,
    takes: str,
    choices: Any,
    default: Any,
    words: dict[str, ast.expr],
) -> dict[str, Any]:
    """One option as the catalogue keeps it; what is as usual is left out."""
    action = (
        ast.unparse(words["action"]).strip("'\"").rpartition(".")[2] if "action" in words else ""
    )
    more = source.value(words.get("action_kwargs"))
    nargs = (
        source.value(words.get("nargs"))
        if "nargs" in words
        else more["nargs"]
        if "action_kwargs" in words
        else ""
    )
    takes = {"+": "many", "*": "many", "?": "maybe"}.get(nargs, takes)
    if nargs is not None and re.search(
        r"^store_(true|false|const)$|^Deprecated(StoreTrue|StoreConst)?Action$", action
    ):
        takes = "nothing"
    made: dict[str, Any] = {"names": names}
    if action == "BooleanOptionalAction":
        takes, made["off"] = (
            "nothing",
            [f"--no-{name[2:]}" for name in names if name.startswith("--")],
        )
    if takes != "one":
        made["takes"] = takes
    if takes != "nothing" and kind in TYPES:
        made["type"] = TYPES[kind]
    if isinstance(choices, list) and takes != "nothing":
        made["choices"] = choices
    if isinstance(default, str | int | float) and default not in (False, ""):
        made["default"] = default
    help_ = source.value(words.get("help")) if "help" in words else None
    help_ = (
        help_ if isinstance(help_, str) else ast.unparse(words["help"]) if "help" in words else ""
    )
    if "Deprecated" in action or re.match(r"\W*deprecated", help_.strip(), re.IGNORECASE):
        made["deprecated"] = True
        instead = source.value(words.get("new_flag")) if "new_flag" in words else None
        if not isinstance(instead, str):
            named = [name for name in re.findall(r"--[a-z][a-z0-9-]+", help_) if name not in names]
            instead = named[0] if named else None
        if instead:
            made["instead"] = instead
    return made


def read(wheel: Path) -> tuple[list[dict[str, Any]], set[str]]:
    """The options and the variables of a wheel."""
    source = Source(wheel)
    options = {made["names"][0]: made for made in [*declared(source), *added(source)]}
    files = (name for name in source.names if name.endswith(".py"))
    variables = {
        (ours or other).decode()
        for name in files
        for ours, other in VARIABLE.findall(source.zip.read(name))
    }
    return [options[name] for name in sorted(options)], variables
