"""nvidia-smi's table, as drivers from R418 to R610 print it: what stands in which row is old, the
widths are not.
"""

from __future__ import annotations

import re
from itertools import islice
from typing import Any

from launcher.host.parsers.smi import (
    LACKING,
    MOST_GPUS,
    Convert,
    bdf,
    capability,
    converted,
    mib,
    number,
    on,
    versions,
    whole,
)

Data = dict[str, Any]

# | 0  NVIDIA B200   On | 00000000:05:00.0 Off | 0 |: in the place of the persistence mode Windows
# has its driver model. The name is cut, with dots, where it is too long.
_FIRST = re.compile(
    r"^\|\s*(?P<index>\d{1,2})\s+(?P<name>\S[^|]*?)\s+(?P<mode>On|Off|N/A|ERR!|WDDM|TCC|MCDM)\s*"
    r"\|\s*(?P<bdf>[0-9A-F]{4,8}:[0-9A-F]{2}:[0-9A-F]{2}\.[0-9A-F])\s[^|\n]*\|\s*(?P<ecc>[^|\s]+)"
    r"\s*\|$",
    re.M | re.I,
)
KNOWN = re.compile(rf"\|\s+NVIDIA-SMI \d|{_FIRST.pattern}", re.M | re.I)
# | N/A   33C    P0   192W / 1000W |  166593MiB / 183359MiB |      0%      Default |
# Of a GPU that is cut all of a pair is one "N/A", whose slash parts nothing.
_CELL = r"N/A|(?!N/A)[^|/\s]+"
_READINGS = re.compile(
    r"\|\s*(?P<fan>[^|\s]+)\s+(?P<temperature>[^|\s]+)\s+(?P<pstate>[^|\s]+)"
    rf"\s+(?:(?P<draw>{_CELL})\s*/\s*(?P<limit>{_CELL})|N/A)\s*"
    rf"\|\s*(?:(?P<used>{_CELL})\s*/\s*(?P<total>{_CELL})|[^|]*)\s*"
    r"\|\s*(?P<busy>[^|\s]+)\s+(?P<compute>[^|]*?)\s*\|"
)
_MIG = re.compile(r"\|\s*\|\s*\|\s*(\S[^|]*?)\s*\|")
_PROCESS = re.compile(
    r"^\|\s*(\d{1,2})\s+(?:(?:N/A|\d+)\s+(?:N/A|\d+)\s+)?(\d+)\s+([A-Z](?:\+[A-Z])?)\s+"
    r"([^|]*?)\s*(?:\b(\d{1,9})MiB|N/A)?\s*\|$",
    re.M,
)
_PAIRS: tuple[tuple[str, str, Convert], ...] = (
    ("power_draw", "draw", number),
    ("power_limit", "limit", number),
    ("memory_used", "used", mib),
    ("memory_total", "total", mib),
)
LONGEST = 2000  # characters of the two rows below the first one of a GPU
COMPUTE_MODES = {
    "default": "default",
    "e. process": "exclusive_process",
    "e. thread": "exclusive_thread",
    "prohibited": "prohibited",
}


def table(text: str) -> Data:
    """The table that plain `nvidia-smi` prints; of several (`-l`) the last of those with most."""
    tables = [_one(part) for part in re.split(r"(?=^\|\s+NVIDIA-SMI \d)", text, flags=re.M)]
    best = max(tables[::-1], key=lambda one: len(one.get("gpus", ())))
    return {"driver": best}


def _one(text: str) -> Data:
    heading = re.search(r"\bProcesses:|\bPID\s+Type\s+Process name\b", text)
    above, below = (text[: heading.start()], text[heading.end() :]) if heading else (text, "")
    processes = _processes(below)
    rows = islice(_FIRST.finditer(above), MOST_GPUS)
    gpus = [
        _gpu(row, above[row.end() : row.end() + LONGEST].lstrip("\n").split("\n")[:2])
        for row in rows
    ]
    for gpu in gpus if heading else ():
        held = processes.get(gpu["index"], [])
        if processes or "No running processes found" in below:
            gpu["processes"] = held
    for gpu in gpus:
        gpu.setdefault("processes", _unlisted(bool(heading)))
    return versions(above) | ({"gpus": gpus} if gpus else {})


def _unlisted(heading: bool) -> Data:
    """Why nobody knows who holds a GPU: in a container the list is empty whoever holds it."""
    if heading:
        return {"unknown": "nvidia-smi lists no process here, and does not say that there is none"}
    return {"unknown": "the pasted table has no list of processes"}


def _gpu(row: re.Match[str], rest: list[str]) -> Data:
    index = int(row["index"])
    gpu: Data = {"index": index, "bdf": bdf(row["bdf"]), "name": converted(row["name"], str)}
    gpu["persistence"] = converted(row["mode"], on) if row["mode"] in ("On", "Off") else LACKING
    gpu |= _ecc(row["ecc"])
    if rest and (seen := _READINGS.match(rest[0])):
        gpu |= _readings(seen)
    if len(rest) > 1 and (mig := _MIG.match(rest[1])):
        gpu["mig"] = converted(mig.group(1), on)
    memory = gpu.get("memory_total")
    return capability(row["name"], memory if isinstance(memory, int) else None) | gpu


def _ecc(text: str) -> Data:
    """The column has the volatile uncorrected errors, "Off", or "N/A" for a board without ECC."""
    if text.isdecimal():
        return {"ecc": True, "ecc_uncorrected": int(text[:9])}
    if text == "Off":
        return {"ecc": False, "ecc_uncorrected": LACKING}
    if text == "On":  # of a GPU that is cut: its instances count for themselves
        return {"ecc": True}
    mute = converted(text, number)
    return {"ecc": mute, "ecc_uncorrected": mute}


def _readings(seen: re.Match[str]) -> Data:
    told: Data = {
        "temperature": converted(seen["temperature"], whole),
        "pstate": converted(seen["pstate"], whole),
        "utilisation": converted(seen["busy"], whole),
    }
    for fact, of, convert in _PAIRS:
        told[fact] = converted(seen[of], convert) if seen[of] else LACKING
    if mode := COMPUTE_MODES.get(seen["compute"].lower()):
        told["compute_mode"] = mode
    return told


def _processes(text: str) -> dict[int, list[Data]]:
    found: dict[int, list[Data]] = {}
    for owner, pid, _, name, used in _PROCESS.findall(text):
        held = {
            "pid": int(pid[:9]),
            "name": name or None,
            "used": int(used) << 20 if used else None,
        }
        found.setdefault(int(owner), []).append(held)
    return found
