"""GPUs by product (`gpus.toml`), and which one a card is."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from launcher.errors import UserError
from launcher.knowledge import rows

FILE = Path(__file__).with_name("gpus.toml")
BLACKWELL = ("sm100", "sm101", "sm103", "sm110", "sm120", "sm121")  # as CUDA's compilers name it
LINKS = ("pcie5", "nvlink")
CUT = "..."  # how nvidia-smi's table ends a name that is too long for it
# Bytes that driver, CUDA context and NCCL take of a card of which no log told it: as on those of
# 96 GB.
TAKEN = 1536 << 20
RESERVED = 636 << 20  # bytes that CUDA does not count, as on those of 96 GB: 94.97 of 95.59 GiB
# What a name tells of cards that are no row, by NVIDIA's list of CUDA GPUs.
_SERIES = (
    (r"RTX PRO \d+ Bl|RTX 50\d0", "12.0"),
    (r"\bGB10\b", "12.1"),
    (r"\bG?B300\b", "10.3"),
    (r"\bG?B[12]00\b", "10.0"),
    (r"\bG?H(?:[128]00|20)\b", "9.0"),
    (r"\bL(?:2|4|20|40S?)\b|RTX 40\d0|RTX \d000 Ada|RTX 5880 Ada|RTX \d000 SFF Ada", "8.9"),
    (r"\bA(?:2|10G?|10M|16|40)\b|RTX A\d{3,4}\b|RTX 30\d0", "8.6"),
    (r"\bA(?:30|100|800)\b", "8.0"),
    (r"Quadro RTX|\bT4G?\b|RTX 20\d0|GTX 16\d0|TITAN RTX|\bT\d{3,4}\b", "7.5"),
    (r"\bG?V100S?\b|TITAN V\b", "7.0"),
    (r"\bP(?:4|6|40)\b|GTX 10\d0|TITAN Xp?\b|Quadro P\d+", "6.1"),
    (r"\bG?P100\b", "6.0"),
    (r"\bM(?:4|6|10|40|60)\b|GTX 9\d0|Quadro M\d+", "5.2"),
    (r"\bK80\b", "3.7"),
    (r"\bK(?:20X?m?|40\w?)\b|GTX 7\d0|GTX TITAN", "3.5"),
)


@dataclass(frozen=True)
class Edition:
    """A board of a product: its name for nvidia-smi, its PCI ids, and the watts it may draw."""

    seen: str
    power_w: int
    pci: tuple[str, ...] = ()


@dataclass(frozen=True)
class Healthy:
    """Speeds in GB/s between eight of them on sound hosts."""

    copy: float
    busbw: float
    told: str
    source: str


@dataclass(frozen=True)
class Product:
    """A GPU that is sold; sizes are in bytes."""

    id: str
    name: str
    capability: str
    memory: int  # as nvidia-smi shows it
    free: int  # before any weight is loaded
    link: str
    editions: tuple[Edition, ...]
    healthy: Healthy | None
    evidence: str
    source: str
    checked: datetime.date

    @property
    def arch(self) -> str:
        """Its architecture: sm120."""
        return arch(self.capability)

    @property
    def is_blackwell(self) -> bool:
        """Whether it has tensor cores for NVFP4."""
        return self.arch in BLACKWELL


KEYS = ("name capability memory_mib free_mib link editions healthy evidence source checked").split()


@cache
def table() -> rows.Table[Product]:
    """All rows, and what is wrong with those that are none."""
    return rows.read(FILE, None, product, claims)


def product(id: str | int, row: Mapping[str, Any]) -> Product:
    """A row. Raises one of `rows.BAD` for what is none."""
    rows.only(row, KEYS)
    if not re.fullmatch(r"\d+\.\d", row["capability"]):
        raise ValueError(f"capability: {row['capability']!r} is none of CUDA's, such as 12.0")
    if row["link"] not in LINKS:
        raise ValueError(f"link: {row['link']!r} is not one of {', '.join(LINKS)}")
    memory = row["memory_mib"] << 20
    return Product(
        id=str(id),
        name=row["name"],
        capability=row["capability"],
        memory=memory,
        free=row["free_mib"] << 20 if "free_mib" in row else memory - TAKEN,
        link=row["link"],
        editions=tuple(
            Edition(**{**one, "pci": rows.texts("pci", one.get("pci", []))})
            for one in row["editions"]
        ),
        healthy=Healthy(**row["healthy"]) if "healthy" in row else None,
        evidence=row["evidence"],
        source=row["source"],
        checked=rows.day(row),
    )


def claims(one: Product) -> list[str]:
    """What no other product may have: names and PCI ids."""
    return [word for edition in one.editions for word in (edition.seen, *edition.pci)]


def products() -> Mapping[str, Product]:
    """All that are known, by what `--gpu` calls them."""
    return {one.id: one for one in table().rows}


def called(text: str) -> Product | None:
    """The product that is meant by its id, its name or what a driver shows, however written:
    "RTX PRO 6000", pro6000.
    """
    word = _plain(text)
    return _alone([one for one in table().rows if word in _calls(one)])


def _calls(one: Product) -> set[str]:
    names = (one.id, one.name, *(edition.seen for edition in one.editions))
    return {form for name in names for form in _forms(_plain(name))}


def _forms(name: str) -> Iterator[str]:
    """A name with and without its maker, series and generation."""
    for form in (name, name.removesuffix("blackwell")):
        yield from (form, form.removeprefix("rtx"), form.removeprefix("geforce"))
        yield f"nvidia{form}"


def _plain(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", text.lower()).removeprefix("nvidia")


def of(id: str | None) -> Product:
    """A product; the first, which this is made for, where there is none of that name.

    Raises UserError where no product can be read.
    """
    first = next(iter(table().rows), None)
    if found := products().get(id or "", first):
        return found
    raise UserError(f"no GPU is known: {'; '.join(table().complaints)}", fix="install again")


def archs() -> tuple[str, ...]:
    """The architectures of Blackwell products; all of Blackwell where no product can be read."""
    return tuple(sorted({one.arch for one in table().rows if one.is_blackwell})) or BLACKWELL


def known_archs(row: Mapping[str, Any]) -> tuple[str, ...]:
    """What a row says under `gpu`. Raises ValueError for what is no architecture of Blackwell, and
    TypeError.
    """
    told = rows.texts("gpu", row.get("gpu", []))
    if odd := [arch for arch in told if arch not in BLACKWELL]:
        raise ValueError(f"gpu: {odd[0]!r} is not one of {', '.join(BLACKWELL)}")
    return told


def arch(capability: str) -> str:
    """The architecture of a compute capability: that of 12.0 is sm120."""
    return "sm" + capability.replace(".", "")


def of_arch(arch: str | None) -> list[Product]:
    """The products of an architecture, the smallest first."""
    found = (one for one in table().rows if one.arch == arch)
    return sorted(found, key=lambda one: one.memory)


def least(arch: str | None, memory: int = 0) -> Product | None:
    """The product that an architecture is taken for, with at least so many bytes."""
    return next(
        (one for one in table().rows if one.arch == arch and one.memory >= memory),
        None,
    )


def free(memory: int) -> int:
    """Bytes of a card of so many that are free before any weight is loaded."""
    known = next((one for one in table().rows if one.memory == memory), None)
    return known.free if known else memory - TAKEN


def counted(memory: int) -> int:
    """Bytes of a card of so many, as nvidia-smi shows it, that CUDA calls its total."""
    return memory - RESERVED


def which(
    pci: str | None = None,
    name: str | None = None,
    memory: int | None = None,
    capability: str | None = None,
) -> Product | None:
    """What a card is: by its PCI id, else its name, else memory and capability.

    None for one that is in no row. A name that nvidia-smi's table cut wants the memory beside it.
    """
    for one in table().rows:
        if pci is not None and any(pci in edition.pci for edition in one.editions):
            return one
    if name is not None:
        return _named(name, memory)
    return _alone(
        [one for one in table().rows if (one.memory, one.capability) == (memory, capability)]
    )


def _named(name: str, memory: int | None) -> Product | None:
    whole, _, rest = name.partition(CUT)
    is_cut = CUT in name and bool(whole) and not rest
    return _alone(
        [
            one
            for one in table().rows
            if any(
                edition.seen == name or (is_cut and edition.seen.startswith(whole))
                for edition in one.editions
            )
            and (not is_cut or one.memory == memory)
        ]
    )


def _alone(found: list[Product]) -> Product | None:
    return found[0] if len(found) == 1 else None


def capability(name: str, memory: int | None = None) -> str | None:
    """The compute capability that a card's name tells, if it does."""
    if found := which(None, name, memory):
        return found.capability
    return next((told for pattern, told in _SERIES if re.search(pattern, name)), None)
