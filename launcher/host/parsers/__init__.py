"""A host from what people paste into bug reports: outputs of tools, recognised by content and never
by file name.

Each reader takes a whole text and gives what it finds as data in the shape of a facts file; it
never raises for a text that is cut or garbled. What nobody pasted stays unknown.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from launcher.errors import UserError
from launcher.files.reading import in_words, opened, reason
from launcher.host import facts_json
from launcher.host.facts import Host
from launcher.host.parsers import linux, lspci, python, smi, smitable, topology

MOST = 16 << 20  # bytes of a file that are read; a kernel log of weeks has some
MOST_TOGETHER = 128 << 20  # bytes of all files of a folder
MOST_FILES = 1000
Data = dict[str, Any]

# What it is called, how it is known, who reads it; where two tell the same fact, the earlier one
# counts.
READERS: tuple[tuple[str, re.Pattern[str], Callable[[str], Data]], ...] = (
    ("nvidia-smi -q", re.compile(r"^=+NVSMI LOG=+", re.M), smi.query),
    ("nvidia-smi --query-gpu", smitable.CSV_HEADER, smitable.table_of_values),
    ("nvidia-smi", re.compile(r"\| NVIDIA-SMI \S+"), smitable.table),
    ("nvidia-smi topo -p2p", topology.P2P, topology.p2p),
    ("nvidia-smi topo -m", topology.TOPO, topology.topo),
    ("lspci", lspci.FIRST_LINE, lspci.functions),
    ("/proc/cmdline", linux.CMDLINE, linux.cmdline),
    ("/proc/driver/nvidia/version", re.compile(r"^NVRM version:", re.M), linux.driver_version),
    ("lscpu", re.compile(r"^(CPU\(s\)|Vendor ID):", re.M), linux.lscpu),
    ("numactl -H", re.compile(r"^available: \d+ nodes", re.M), linux.numactl),
    ("free", re.compile(r"^Mem:\s+\d", re.M), linux.free),
    ("kernel log", linux.KERNEL_LINE, linux.kernel_log),
    ("uname -a", re.compile(r"^Linux \S+ \d+\.\d+\S* ", re.M), linux.uname),
    ("ulimit -a", re.compile(r"^(max locked memory|open files)\s", re.M), linux.limits),
    ("sglang.check_env", re.compile(r"^(sglang|sgl_kernel): \d", re.M), python.check_env),
    ("vllm collect_env", re.compile(r"^PyTorch version\s*:", re.M), python.collect_env),
    ("environment", python.VARIABLE, python.variables),
)


def host(folder: Path) -> Host:
    """The host that the texts in a folder tell of. Raises UserError for a folder without any."""
    fix = (
        "put outputs of nvidia-smi -q, nvidia-smi topo -m, lspci -vvv, dmesg ... into files of that"
        " folder"
    )
    try:
        paths = sorted(path for path in folder.iterdir() if path.is_file())
        # Of two outputs of one tool the longer tells more.
        paths.sort(key=lambda path: -path.stat().st_size)
        _require_few(folder, paths)
        found = [one for path in paths for one in _found(_clean(_beginning(path)))]
    except OSError as error:
        raise UserError(
            f"cannot read {error.filename or folder}: {reason(error)}", fix=fix
        ) from None
    if not found:
        raise UserError(
            f"{folder}: none of its {len(paths)} files is an output that is known here", fix=fix
        )
    merged: Data = {}
    found.sort(key=lambda one: one[0])
    for _, _, data in found:
        _merge(merged, data)
    names = ", ".join(dict.fromkeys(name for _, name, _ in found))
    merged.setdefault("driver", {}).setdefault("gpus", None)
    _settle(merged)
    return facts_json.from_json({"observed": f"pasted texts: {names}", **merged})


def _require_few(folder: Path, paths: Sequence[Path]) -> None:
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
    for rank, (name, known_by, read) in enumerate(READERS):
        if known_by.search(text):
            yield rank, name, read(text)


def _beginning(path: Path) -> bytes:
    with opened(path) as file:
        return file.read(MOST)


def _clean(raw: bytes) -> str:
    text = raw.decode(
        "utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8", errors="replace"
    )
    return re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", text).replace("\r\n", "\n").replace("\xa0", " ")


def _merge(into: Data, data: Data) -> None:
    """Add what is not there yet; GPUs are merged one by one."""
    for name, value in data.items():
        if name == "gpus" and into.get("gpus"):
            _merge_gpus(into["gpus"], value)
        elif isinstance(value, dict) and isinstance(into.get(name), dict):
            _merge(into[name], value)
        elif into.get(name) is None:
            into[name] = value


def _merge_gpus(into: list[Data], gpus: list[Data]) -> None:
    for gpu in gpus:
        same = [
            one
            for one in into
            if one.get("bdf", 0) == gpu.get("bdf", 1) or one["index"] == gpu["index"]
        ]
        if same:
            _merge(same[0], {name: value for name, value in gpu.items() if name != "index"})
        elif gpu.get("name"):
            into.append(gpu)


def _settle(merged: Data) -> None:
    """What only several texts together tell."""
    driver, kernel = merged["driver"], merged.get("kernel", {})
    if driver["gpus"] is None:
        driver["gpus"] = {"unknown": "nvidia-smi output is not provided"}
    off = re.search(r"\b(iommu|amd_iommu|intel_iommu)=(\S*,)?off\b", str(kernel.get("cmdline", "")))
    enabled = re.search(
        r"DMAR: IOMMU enabled|AMD-Vi: .*(enabled|Found IOMMU)", "\n".join(kernel.get("log", ()))
    )
    if off and not enabled:
        merged.setdefault("pcie", {}).setdefault("iommus", [])
