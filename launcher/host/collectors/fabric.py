"""What was measured between the GPUs of this host, kept by the fingerprint of its topology in the
cache folder.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from launcher.files import reading
from launcher.host.collectors.pci import pcie
from launcher.host.measured import LARGEST, Measured, fingerprint, loads
from launcher.paths import home

KEPT = 16  # topologies: a host whose GPUs are moved about has several


def here(root: Path = Path("/")) -> str:
    """The fingerprint of this host's topology, "" where it shows no GPU."""
    functions = pcie(root).functions.otherwise(())
    try:
        driver = (root / "sys/module/nvidia/version").read_text().strip()
    except OSError:
        driver = ""
    has_gpu = any(one.kind == "gpu" for one in functions)
    return fingerprint(functions, driver) if has_gpu else ""


def folder(environ: Mapping[str, str]) -> Path:
    """Where measurements are kept."""
    return home(environ, "XDG_CACHE_HOME", ".cache") / "fabric"


def has_any(environ: Mapping[str, str]) -> bool:
    """Whether anything was ever measured here."""
    return bool(_files(environ))


def kept(environ: Mapping[str, str], of: str) -> tuple[Measured | None, str]:
    """The measurement of a topology, None where there is none, and why not: those that are kept are
    of another one, or cannot be read. Nothing raises.
    """
    path = folder(environ) / f"{of}.json"
    try:
        found = loads(reading.read_text(path, LARGEST))
    except FileNotFoundError:
        return None, _others(environ)
    except (OSError, ValueError) as error:
        return None, f"{path} is not used: {error}"
    return (
        (found, "") if found.fingerprint == of else (None, f"{path} is not used: of another host")
    )


def _others(environ: Mapping[str, str]) -> str:
    others = _files(environ)
    if not others:
        return ""
    return (
        f"what was measured between GPUs ({others[-1].stem}) is of other GPUs, slots or another"
        " driver, and not used: `glm5-serve doctor --deep` measures these"
    )


def _files(environ: Mapping[str, str]) -> list[Path]:
    """Those that are kept, the oldest first."""
    try:
        return sorted(folder(environ).glob("*.json"), key=lambda path: path.stat().st_mtime)
    except OSError:
        return []


def keep(environ: Mapping[str, str], seen: Measured) -> Path:
    """Write a measurement in place of the one before it, and drop the oldest of too many. Raises
    OSError.
    """
    place = folder(environ)
    place.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = place / f"{seen.fingerprint}.json"
    draft = path.with_suffix(".new")
    draft.write_text(json.dumps(seen.to_json(), indent=1) + "\n")
    draft.replace(path)
    for old in _files(environ)[:-KEPT]:
        old.unlink(missing_ok=True)
    return path
