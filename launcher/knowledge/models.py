"""Families of models (`models.toml`), and which one a checkpoint is of."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Any

from launcher.errors import Exit, UserError
from launcher.knowledge import gpus, rows

FILE = Path(__file__).with_name("models.toml")
# How a model is asked not to think at length: by `enable_thinking` in the chat template's
# arguments, or not at all: it always does, and takes a `reasoning_effort`. "": nobody looked.
THINKING = ("switch", "always", "")
QUANTISATIONS = ("nvfp4", "nvfp4-mixed", "nvfp4-compressed", "nvfp4-weights", "fp8", "w4a8", "bf16")
# Words of a name that say another size than the family's: pruned, distilled, a draft model, ...
_RESIZED = re.compile(
    r"[\d.]*(?:reap|prun|distil|draft|dflash|eagle|medusa|specul|nextn|lite|light|mini|micro|tiny|"
    r"nano|small|slim|compact|compress(?!ed-tensors)|shrunk|shrink|student|lora|adapter|air|flash|"
    r"merge|upscale|trim|sparse|experts?|layers?)|\d+(?:e|l|x|experts|layers)$|[el]\d+$"
    r"|\d+(?:[p.]\d+|(?:[p.]\d+)?-?(?:bpw|bits?))$"  # bits a weight
)
_COUNT = re.compile(r"(\d{1,6}(?:\.\d{1,3})?)([mbt])")
# how the hub's cache, and ModelScope's, call the folder of a repository
_CACHED = re.compile(r"(?:models--|(?<![^/])(?=[^/]+/snapshots/))([^/]+?)--([^/]+)")
DOT = "___"  # how ModelScope's cache writes a dot
ORGANISATIONS = {"zhipuai": "zai-org"}  # the same one's name on ModelScope


@dataclass(frozen=True)
class Named:
    """What the name of a checkpoint says: its parsers, for reasoning and for tool calls, by engine,
    how it is asked not to think, and sizes that its config.json would say.
    """

    parsers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    thinking: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Warned:
    """What goes wrong with a checkpoint, on these architectures; on any where none is named."""

    what: str
    gpu: tuple[str, ...] = ()

    def holds(self, arch: str | None) -> bool:
        """Whether it concerns an architecture."""
        return not self.gpu or arch in self.gpu


@dataclass(frozen=True)
class Checkpoint:
    """What is known of one checkpoint beyond its family."""

    id: str  # on the hub, in its own spelling
    evidence: str
    source: str
    quantisation: str  # one of QUANTISATIONS
    gib: float | None = None  # of its files
    mtp: bool | None = None  # whether it has the layers for multi-token prediction; None: untold
    remarks: tuple[str, ...] = ()
    warnings: tuple[Warned, ...] = ()


@dataclass(frozen=True)
class Family:
    """Models that the same is true of."""

    id: str
    architectures: tuple[str, ...]
    types: tuple[str, ...]
    names: tuple[str, ...]
    traits: frozenset[str]
    source: str
    evidence: str
    checked: str
    # by engine: for reasoning and for tool calls
    parsers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    thinking: str = ""  # one of THINKING
    first: Mapping[str, str] = field(default_factory=dict)  # release of an engine that knows it
    config: Mapping[str, Any] = field(default_factory=dict)
    variants: tuple[Mapping[str, Any], ...] = ()
    checkpoints: Mapping[str, Checkpoint] = field(default_factory=dict)  # by id, lower case

    def of_name(self, name: str) -> Named:
        """What a checkpoint's name says; its variants' words count over those of the family."""
        told = Named(self.parsers, self.thinking, self.config)
        for variant in self.variants:
            if any(_fits(pattern, checkpoint(name)) for pattern in variant["names"]):
                config = {**told.config, **variant.get("config", {})}
                parsers = _parsers(variant) or told.parsers
                told = Named(parsers, variant.get("thinking", told.thinking), config)
        return told


@cache
def table() -> rows.Table[Family]:
    """All rows, and what is wrong with those that are none."""
    return rows.read(FILE, None, family, claims)


def families() -> tuple[Family, ...]:
    """All that are known."""
    return table().rows


def family(id: str | int, row: Mapping[str, Any]) -> Family:
    """A row. Raises one of `rows.BAD` for what is none."""
    rows.only(row, [one.name for one in fields(Family)])
    lists = ("architectures", "types", "names")
    made: dict[str, Any] = {key: rows.texts(key, row[key]) for key in lists if key in row}
    made["parsers"] = _parsers(row)
    made["variants"] = tuple(row.get("variants", ()))
    found = [_checkpoint(name, told) for name, told in row.get("checkpoints", {}).items()]
    for variant in made["variants"]:
        rows.only(variant, ("names", "parsers", "thinking", "config"))
    for told in (row, *made["variants"]):
        _parsers(told)
        _one_of("thinking", told.get("thinking", ""), THINKING)
        _patterns(rows.texts("names", told["names"]))
    rows.release(row)
    traits, known = (
        frozenset(rows.texts("traits", row["traits"])),
        {one.id.lower(): one for one in found},
    )
    return Family(id=str(id), **{**row, **made, "traits": traits, "checkpoints": known})


def _parsers(row: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    told = row.get("parsers", {})
    return {engine: rows.texts(f"parsers: {engine}", named) for engine, named in told.items()}


def _checkpoint(id: str, row: Mapping[str, Any]) -> Checkpoint:
    _one_of("quantisation", row["quantisation"], QUANTISATIONS)
    warnings = tuple(Warned(one["what"], gpus.known_archs(one)) for one in row.get("warnings", ()))
    remarks = rows.texts("remarks", row.get("remarks", []))
    return Checkpoint(id=id, **{**row, "remarks": remarks, "warnings": warnings})


def _patterns(names: Sequence[str]) -> None:
    for name in names:
        try:
            re.compile(name)
        except re.error as error:
            raise ValueError(f"names: {name!r} is no regular expression: {error}") from None


def _one_of(key: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ValueError(f"{key}: {value!r} is not one of {', '.join(filter(None, known))}")


def claims(one: Family) -> list[str]:
    """What no other family may have: architectures, types, and checkpoints."""
    return [*one.architectures, *one.types, *one.checkpoints]


def by_architecture(word: str) -> Family | None:
    """The family that says this in config.json, as `architectures` or as `model_type`."""
    return next((one for one in families() if word in (*one.architectures, *one.types)), None)


def by_name(model: str) -> Family | None:
    """The family of a hub id, or of a folder, by the checkpoint's own name; where it lies says
    nothing.
    """
    name = checkpoint(model)
    fits = [
        (len(fit), at, one)
        for at, one in enumerate(families())
        for pattern in one.names
        if (fit := _fits(pattern, name))
    ]
    return max(fits)[2] if fits else None


def checkpoint(model: str) -> str:
    """The name of a checkpoint, lower case: the last part of a hub id or path."""
    if cached := _CACHED.search(model):
        return cached[2].lower().replace(DOT, ".")
    name = model.rstrip("/").rpartition("/")[2].lower()
    return name.replace(DOT, ".").replace("_", "-")


def is_id(model: str) -> bool:
    """Whether it is written as an id on the hub is: ORG/NAME."""
    return re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", model) is not None


def require_no_address(model: str) -> None:
    """Raise UserError (usage) for the address of a model's page in place of its id."""
    if re.match(r"https?://|hf://|(?:www\.)?(?:huggingface|hf)\.co/", model):
        found = re.match(r"(?:https?://)?(?:[\w.-]+/|hf://)([^/?#\s]+/[^/?#\s]+)", model)
        fix = f"give {found[1]}" if found else "give ORG/NAME, as on its page, or a folder"
        raise UserError(f"{model} is an address", fix=fix, status=Exit.USAGE)


def known(model: str) -> Checkpoint | None:
    """What is known of one checkpoint by its hub id, in a cache too; None for the others."""
    cached = _CACHED.search(model)
    id = (f"{cached[1]}/{cached[2].replace(DOT, '.')}" if cached else model).lower()
    whose, slash, name = id.partition("/")
    id = f"{ORGANISATIONS.get(whose, whose)}{slash}{name}"
    return next((one.checkpoints[id] for one in families() if id in one.checkpoints), None)


def resized(model: str, parameters: float = 0) -> str | None:
    """The word of a checkpoint's name that says another size than its family's, of so many
    parameters; None for a published one, whose size is known, and where no word says so.
    """
    family = by_name(model)
    if family is None or known(model):
        return None
    name = checkpoint(model)
    rest = name[max(len(_fits(pattern, name)) for pattern in family.names) :]
    return next((word for word in re.split(r"[-_+]", rest) if _resizes(word, parameters)), None)


def _resizes(word: str, parameters: float) -> bool:
    if count := _COUNT.fullmatch(word):
        said = float(count[1]) * 10 ** {"m": 6, "b": 9, "t": 12}[count[2]]
        return bool(abs(said - parameters) > 0.04 * parameters)  # 744B and 753B are told of GLM-5
    return bool(_RESIZED.match(word))


def quantisation(model: str) -> str | None:
    """How a checkpoint is quantised, by its row or by a word of its name; None: neither tells."""
    if row := known(model):
        return row.quantisation
    said = checkpoint(model).split("-")
    return next((word for word in ("nvfp4", "fp4", "fp8", "w4a8", "bf16") if word in said), None)


def _fits(pattern: str, name: str) -> str:
    """The part of a name that a pattern describes, "" where it does not fit or goes on without a
    dash.
    """
    found = re.match(rf"({pattern})(?:-|$)", name)
    return found[1] if found else ""
