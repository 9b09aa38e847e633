"""A host from what people paste into bug reports: outputs of tools, recognised by content and never
by file name.

Each reader takes a whole text and gives what it finds as data in the shape of a facts file; it
never raises for a text that is cut or garbled. What nobody pasted stays unknown.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from launcher.errors import Exit, UserError
from launcher.files import places
from launcher.files.reading import UnfitError, in_words, named, opened, reason
from launcher.host import facts_json
from launcher.host.facts import Host
from launcher.host.parsers import (
    collected,
    kernellog,
    linux,
    lspci,
    measured,
    python,
    refusals,
    smi,
    smicsv,
    smitable,
    smixml,
    topology,
)
from launcher.host.parsers.missing import told
from launcher.host.parsers.text import clean, flat

MOST = 16 << 20  # bytes of a file that are read; a kernel log of weeks has some
MOST_TOGETHER = 64 << 20  # bytes of all files of a folder: twenty seconds of reading
MOST_FILES = 1000
TABLES = ("nvidia-smi -q", "nvidia-smi -q -x", "nvidia-smi")  # that count all GPUs of a host
MOST_NAMED = 5  # files that were not recognised
Data = dict[str, Any]
FIX = (
    "give it outputs of nvidia-smi -q, nvidia-smi topo -m, lspci -vvv, dmesg ...: a file, a folder"
    " of files, or - for standard input"
)

# What it is called, how it is known, who reads it; where two tell the same fact, the earlier one
# counts. All but `nvidia-smi -q` mean the same without their indentation.
READERS: tuple[tuple[str, re.Pattern[str], Callable[[str], Data]], ...] = (
    ("nvidia-smi -q", re.compile(rf"{smi.LOG.pattern}|{smi.BLOCK.pattern}", re.M), smi.query),
    ("nvidia-smi -q -x", smixml.KNOWN, smixml.query),
    ("nvidia-smi --query-gpu", smicsv.KNOWN, smicsv.values),
    ("nvidia-smi", smitable.KNOWN, smitable.table),
    ("nvidia-smi nvlink -s", smicsv.LINKS, smicsv.listed),
    ("nvidia-smi -L", smicsv.LIST, smicsv.listed),
    ("nvidia-smi topo", topology.KNOWN, topology.matrices),
    ("lspci", re.compile(f"{lspci.FIRST_LINE.pattern}|{lspci.ACS.pattern}", re.M), lspci.functions),
    ("/proc/cmdline", linux.CMDLINE, linux.cmdline),
    ("/proc/driver/nvidia/version", re.compile(r"^NVRM version:", re.M), linux.driver_version),
    ("/proc/driver/nvidia/params", linux.PARAMETERS, linux.parameters),
    ("lscpu", re.compile(r"^(CPU\(s\)|Vendor ID):", re.M), linux.lscpu),
    ("/proc/cpuinfo", linux.CPUINFO, linux.cpuinfo),
    ("numactl -H", re.compile(r"^available: \d+ nodes", re.M), linux.numactl),
    ("free", re.compile(r"^Mem:\s+\d", re.M), linux.free),
    ("/proc/meminfo", linux.MEMINFO, linux.meminfo),
    ("kernel log", kernellog.KNOWN, kernellog.kernel_log),
    ("ibstat", linux.INFINIBAND, linux.infiniband),
    ("uname -a", linux.UNAME, linux.uname),
    ("ulimit -a", re.compile(r"^(max locked memory|open files)\s", re.M), linux.limits),
    ("sglang.check_env", re.compile(r"^(sglang|sgl_kernel): \d", re.M), python.check_env),
    ("vllm collect_env", re.compile(r"^PyTorch version\s*:", re.M), python.collect_env),
    ("p2pBandwidthLatencyTest", measured.P2P_TEST, measured.p2p_test),
    ("nvbandwidth", measured.NVBANDWIDTH, measured.nvbandwidth),
    ("dcgmi diag", measured.DIAGNOSTIC, measured.diagnostic),
    ("nvidia-smi's complaint", refusals.KNOWN, refusals.refusals),
    ("environment", python.VARIABLE, python.variables),
    ("our own script", collected.KNOWN, collected.collected),
)


def host(source: str) -> Host:
    """The host that texts tell of: those in a folder, in one file, or on standard input (`-`).

    Raises UserError where there is none that is known.
    """
    try:
        return of_texts(_texts(source), source)
    except OSError as error:
        what = f"cannot read {error.filename or source}: {reason(error)}"
        raise UserError(what, fix=FIX, status=Exit.USAGE) from None


def of_texts(texts: Iterable[tuple[str, bytes]], source: str) -> Host:
    """The host that texts tell of, each with its name. Raises UserError where none is known."""
    found: list[tuple[int, str, Data]] = []
    strange: list[str] = []
    count = 0
    for name, raw in texts:
        count += 1
        read = list(_found(clean(raw, MOST)))
        found += read
        strange += [] if read or not raw.strip() else [name]
    if not found:
        none = f"none of its {count} files" if Path(source).is_dir() else "nothing in it"
        raise UserError(f"{source}: {none} is an output that is known here", fix=FIX)
    counts = _count(found)
    merged: Data = {}
    found.sort(key=lambda one: one[0])
    for _, _, data in found:
        _merge(merged, data)
    _settle(merged)
    names = ", ".join(dict.fromkeys(name for _, name, _ in found))
    seen = f"pasted texts: {names}{_strange(strange)}{_of_hosts(counts)}"
    return told(facts_json.from_json({"observed": seen, **merged}))


def _of_hosts(counts: Sequence[int]) -> str:
    """That tables of nvidia-smi count GPUs otherwise, as those of two hosts do."""
    if len(set(counts)) < 2:
        return ""
    told = " and ".join(map(str, sorted(set(counts))))
    return f"; nvidia-smi's tables count {told} GPUs: judged together; one folder a host"


def _count(found: Sequence[tuple[int, str, Data]]) -> list[int]:
    """The GPUs of each whole table of nvidia-smi."""
    drivers = (data.get("driver") for _, name, data in found if name in TABLES)
    counts = (len(one.get("gpus", ())) for one in drivers if isinstance(one, dict))
    return [count for count in counts if count]


def _strange(names: Sequence[str]) -> str:
    if not names:
        return ""
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return f"; not recognised: {', '.join(names[:MOST_NAMED])}{more}"


def _texts(source: str) -> Iterator[tuple[str, bytes]]:
    """The names and beginnings of all files, the longest first: of two outputs of one tool it
    tells more.
    """
    if not Path(source).is_dir():
        with named(source) as file:
            yield source, file.read(MOST)
        return
    if why := places.keeps_none(Path(source)):
        raise UserError(f"--from names {why}", fix=FIX)
    paths = sorted(Path(source).iterdir())
    files = [path for path in paths if path.is_file()]
    for path in paths:
        if path not in files and not path.is_dir():
            yield path.name, b"?"  # a FIFO or a device: not recognised, and not opened
    _require_few(source, files)
    for path in sorted(files, key=lambda path: -path.stat().st_size):
        try:
            with opened(path) as file:
                yield path.name, file.read(MOST)
        except UnfitError:
            yield path.name, b"?"


def _require_few(folder: str, paths: Sequence[Path]) -> None:
    """Raise UserError for a folder that is no collection of outputs: reading all of it would
    take minutes.
    """
    size = sum(min(path.stat().st_size, MOST) for path in paths)
    if len(paths) > MOST_FILES or size > MOST_TOGETHER:
        what = f"{folder} has {len(paths)} files of {in_words(size)}"
        fix = "give it a folder that has outputs of tools alone"
        raise UserError(
            f"{what}, wanted at most {MOST_FILES} of {in_words(MOST_TOGETHER)}", fix=fix
        )


def _found(text: str) -> Iterator[tuple[int, str, Data]]:
    """What each reader that knows a text makes of it, with the rank and name of the reader."""
    even = flat(text)
    for rank, (name, known_by, read) in enumerate(READERS):
        if known_by.search(even) and (data := read(text if read is smi.query else even)):
            yield rank, name, data


def _merge(into: Data, data: Data) -> None:
    """Add what is not there yet; GPUs are merged one by one."""
    for name, value in data.items():
        if name == "gpus" and into.get("gpus") and isinstance(value, list):
            _merge_gpus(into["gpus"], value)
        elif isinstance(value, dict) and isinstance(into.get(name), dict):
            _merge(into[name], value)
        elif into.get(name) is None:
            into[name] = value


def _merge_gpus(into: list[Data] | Data, gpus: list[Data]) -> None:
    if isinstance(into, dict):  # one output says that there is no driver to ask
        return
    for gpu in gpus:
        if same := next((one for one in into if _are_same(one, gpu)), None):
            _merge(same, {name: value for name, value in gpu.items() if name != "index"})
        elif gpu.get("name"):
            taken = {one["index"] for one in into}
            index = gpu["index"] if gpu["index"] not in taken else max(taken) + 1
            into.append(gpu | {"index": index})


def _are_same(one: Data, other: Data) -> bool:
    """By address where both have one: a lost GPU is not counted."""
    addresses = one.get("bdf"), other.get("bdf")
    if all(isinstance(address, str) for address in addresses):
        return addresses[0] == addresses[1]
    return bool(one["index"] == other["index"])


def _settle(merged: Data) -> None:
    """What only several texts together tell."""
    kernel = merged.get("kernel", {})
    off = re.search(r"\b(iommu|amd_iommu|intel_iommu)=(\S*,)?off\b", str(kernel.get("cmdline", "")))
    enabled = re.search(
        r"DMAR: IOMMU enabled|AMD-Vi: .*(enabled|Found IOMMU)", "\n".join(kernel.get("log", ()))
    )
    if off and not enabled:
        merged.setdefault("pcie", {}).setdefault("iommus", [])
