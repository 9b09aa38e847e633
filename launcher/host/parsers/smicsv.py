"""nvidia-smi's lists: comma-separated values (`--query-gpu=...`), and `-L`."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from typing import Any

from launcher.host.parsers.smi import (
    MOST_GPUS,
    Convert,
    bdf,
    capability,
    converted,
    lower,
    mib,
    number,
    on,
    whole,
)
from launcher.knowledge import gpus

Data = dict[str, Any]

# The field's name, without its unit, in all the spellings that `nvidia-smi --help-query-gpu` has.
FIELDS: dict[str, tuple[str, Convert]] = {
    "name": ("name", str),
    "gpu_name": ("name", str),
    "uuid": ("uuid", str),
    "gpu_uuid": ("uuid", str),
    "pci.bus_id": ("bdf", bdf),
    "gpu_bus_id": ("bdf", bdf),
    "vbios_version": ("vbios", str),
    "memory.total": ("memory_total", mib),
    "memory.used": ("memory_used", mib),
    "memory.free": ("memory_free", mib),
    "memory.reserved": ("memory_reserved", mib),
    "compute_cap": ("capability", str),
    "temperature.gpu": ("temperature", whole),
    "power.draw": ("power_draw", number),
    "power.draw.instant": ("power_draw", number),
    "power.draw.average": ("power_draw", number),
    "power.limit": ("power_limit", number),
    "enforced.power.limit": ("power_limit", number),
    "power.default_limit": ("power_default", number),
    "power.max_limit": ("power_max", number),
    "utilization.gpu": ("utilisation", whole),
    "pcie.link.gen.current": ("link_gen", whole),
    "pcie.link.gen.gpucurrent": ("link_gen", whole),
    "pcie.link.gen.max": ("link_gen_max", whole),
    "pcie.link.gen.gpumax": ("link_gen_device", whole),
    "pcie.link.width.current": ("link_width", whole),
    "pcie.link.width.max": ("link_width_max", whole),
    "persistence_mode": ("persistence", on),
    "mig.mode.current": ("mig", on),
    "ecc.mode.current": ("ecc", on),
    "ecc.errors.uncorrected.volatile.total": ("ecc_uncorrected", whole),
    "remapped_rows.pending": ("remap_pending", on),
    "remapped_rows.failure": ("remap_failed", on),
    "gpu_recovery_action": ("recovery", lower),
    "addressing_mode": ("addressing", lower),
    "fabric.state": ("fabric", lower),
    "compute_mode": ("compute_mode", lower),
    "pstate": ("pstate", whole),
    "driver_version": ("driver", str),
    "index": ("index", whole),
    "count": ("count", whole),
}
_WORD = r"[a-z_]\w*(?:\.\w+)*(?: \[[\w%/]+\])?"
_HEADER = re.compile(rf"^{_WORD}(?:, ?{_WORD})*$", re.M)
_COMMAND = re.compile(r"--query-gpu[= ]([\w.,]+)")
_GPU = r"(?:NVIDIA [A-Z]|Tesla |Quadro |GeForce )[\w -]{0,50}\d[\w -]{0,50}"
_ADDRESS = r"[0-9A-Fa-f]{4,8}:[0-9A-Fa-f]{2}:[0-9A-Fa-f]{2}\.\d"
_BARE = re.compile(rf"^(?:\d{{1,2}}, ?)?(?:{_ADDRESS}, ?)?{_GPU}(?:, [^\n]*)?$", re.M)
KNOWN = re.compile(
    rf"^(?:{'|'.join(map(re.escape, FIELDS))})\b[^\n]*$|{_BARE.pattern}|{_COMMAND.pattern}", re.M
)
# What a cell is by its looks, where neither a heading nor the command is pasted.
_LOOKS: tuple[tuple[str, str], ...] = (
    ("name", _GPU),
    ("uuid", r"GPU-[0-9a-f-]{8,}"),
    ("pci.bus_id", _ADDRESS),
    ("driver_version", r"\d{3}\.\d{2,3}\.\d{2}"),
    ("pstate", r"P\d{1,2}"),
)
LISTED = re.compile(r"^GPU (\d{1,2}): (.+?) \(UUID: (GPU-[\w-]+)\)$", re.M)
# Of `nvidia-smi nvlink -s`, and not: a line for each link stands below.
LINKS = re.compile(rf"{LISTED.pattern}\n\s*Link \d", re.M)
LIST = re.compile(rf"{LISTED.pattern}(?!\n\s*Link \d)", re.M)
PART = re.compile(r"MIG [^\n]{1,80}\(UUID: MIG-")


def values(text: str) -> Data:
    """`nvidia-smi --query-gpu=... --format=csv`, with a heading and units or without."""
    for names, lines in _tables(text.splitlines()):
        made = [_gpu(at, names, row) for at, row in enumerate(_rows(lines))]
        told = [one for one in made if len(one.keys() - {"driver", "count"}) > 1]
        if told:
            return {"driver": _driver(told) | {"gpus": told}}
    return {}


def _tables(lines: Sequence[str]) -> Iterator[tuple[tuple[str, ...], Sequence[str]]]:
    """The names of columns, as far as they are told, and the lines below them."""
    asked: tuple[str, ...] = ()
    for at, line in enumerate(lines):
        if command := _COMMAND.search(line):
            asked = tuple(command.group(1).split(","))
        elif len(line) < 2000 and _HEADER.fullmatch(line):
            names = tuple(name.partition(" [")[0] for name in re.split(", ?", line))
            if any(name in FIELDS for name in names) and "pid" not in names:
                yield names, lines[at + 1 :]
        elif len(line) < 2000 and (_BARE.fullmatch(line) or asked):
            yield asked, lines[at:]
            asked = ()


def _rows(lines: Sequence[str]) -> list[list[str]]:
    """Rows of as many cells as the first one has."""
    found: list[list[str]] = []
    for line in lines[:MOST_GPUS]:
        try:
            row = next(csv.reader([line], skipinitialspace=True), [])
        except csv.Error:
            break
        if not row or (found and len(row) != len(found[0])):
            break
        found.append([cell.strip() for cell in row])
    return found


def _gpu(at: int, names: tuple[str, ...], row: Sequence[str]) -> Data:
    told = dict(zip(names, row, strict=True)) if len(names) == len(row) else _guessed(row)
    gpu: Data = {"index": at}
    for name, value in told.items():
        if name in FIELDS:
            fact, convert = FIELDS[name]
            gpu[fact] = converted(value, convert)
    gpu["index"] = gpu["index"] if isinstance(gpu["index"], int) else at
    return capability(str(gpu.get("name", ""))) | gpu


def _guessed(row: Sequence[str]) -> dict[str, str]:
    """The cells that can be nothing else; memory only where it is all that such a card has."""
    told: dict[str, str] = {}
    for cell in row:
        name = next((name for name, looks in _LOOKS if re.fullmatch(looks, cell)), None)
        if name:
            told.setdefault(name, cell)
    if len(row) > 1 and row[0].isdecimal() and len(row[0]) < 3:
        told["index"] = row[0]
    card = gpus.which(None, told.get("name", ""))
    sizes = {f"{card.memory >> 20} MiB", str(card.memory >> 20)} if card else set()
    if size := next((cell for cell in row if cell in sizes), None):
        told["memory.total"] = size
    return told


def _driver(rows: list[Data]) -> Data:
    """What each row says of the driver; a count of GPUs is no fact of one."""
    said = {str(one.pop("driver")) for one in rows if isinstance(one.get("driver"), str)}
    for one in rows:
        one.pop("driver", None)
        one.pop("count", None)
    return {"version": said.pop()} if len(said) == 1 else {}


def listed(text: str) -> Data:
    """`nvidia-smi -L`: a GPU that is cut into instances has them listed below it."""
    gpus: list[Data] = []
    for line in text.split("\n"):
        if len(gpus) < MOST_GPUS and (found := LISTED.fullmatch(line)):
            gpu = {"index": int(found[1]), "name": found[2], "uuid": found[3]}
            gpus.append(capability(found[2]) | gpu)
        elif gpus and PART.match(line):
            gpus[-1]["mig"] = True
    return {"driver": {"gpus": gpus}} if gpus else {}
