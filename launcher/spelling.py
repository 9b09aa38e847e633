"""One option, many names: a profile may use any of them, the command has the one that its release accepts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from launcher import catalogue
from launcher.catalogue import Release, renamed

Spelled = tuple[str, str, Any]  # the name that was asked for, the name to write, the value
FUSION = "flashinfer-allreduce-fusion-backend"
ATTENTION = ("attention-backend", "prefill-attention-backend", "decode-attention-backend")


def canonical(name: str, release: Release) -> str:
    """The name that rules and checks know an option by: its first spelling, the newest where it was renamed."""
    found = release.candidates(f"--{name}")
    names = found[0].names if len(found) == 1 else (f"--{name}",)
    newest = catalogue.release(catalogue.releases()[-1]).options
    known = next((newest[one].name for one in names if one in newest), names[0])
    return (known if release.accepts(known) else renamed(known, release))[2:]


def as_written(flags: Mapping[str, Any], release: Release) -> Iterator[Spelled]:
    """Each flag under the name that it has."""
    return ((name, name, value) for name, value in flags.items())


def spelled(flags: Mapping[str, Any], release: Release) -> Iterator[Spelled]:
    """Each flag under the name that the release accepts.

    Renames come from the releases' own deprecations. Three changes are more than a name: attention data
    parallelism (one option from 0.5.22), the all-reduce fusion (a choice of backend from 0.5.14), and `nsa`
    (`dsa` from 0.5.13).
    """
    joined = release.accepts("--attn-dp-size")
    copies = next((name for name in ("dp-size", "dp", "data-parallel-size") if name in flags), None)
    for name, value in flags.items():
        if joined and name == "enable-dp-attention" and value is True and copies:
            continue
        if joined and name == copies and flags.get("enable-dp-attention") is True:
            yield name, "attn-dp-size", value
        elif not joined and name == "attn-dp-size":
            yield name, "dp-size", value
            yield name, "enable-dp-attention", True
        elif name == "enable-flashinfer-allreduce-fusion" and value is True and release.accepts(f"--{FUSION}"):
            yield name, FUSION, "auto"
        elif name in ATTENTION and value == "dsa" and "dsa" not in release.options[f"--{name}"].choices:
            yield name, name, "nsa"
        else:
            yield name, renamed(f"--{name}", release)[2:], value
