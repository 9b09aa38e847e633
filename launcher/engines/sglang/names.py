"""How a release of SGLang spells options: a plan has each by its canonical name, the command by one
that is accepted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from launcher.engines.dialect import Spelled
from launcher.engines.options import Release

FUSION = "flashinfer-allreduce-fusion-backend"
ATTENTION = ("attention-backend", "prefill-attention-backend", "decode-attention-backend")


def spelled(flags: Mapping[str, Any], release: Release) -> Iterator[Spelled]:
    """Each flag under the name that the release accepts.

    Renames come from the releases' own deprecations. Three changes are more than a name: attention
    data parallelism (one option from 0.5.22), the all-reduce fusion (a choice of backend from
    0.5.14), and `nsa` (`dsa` from 0.5.13).
    """
    joined = release.accepts("--attn-dp-size")
    copies = "dp-size" in flags
    for name, value in flags.items():
        if joined and name == "enable-dp-attention" and value is True and copies:
            continue
        if joined and name == "dp-size" and flags.get("enable-dp-attention") is True:
            yield name, "attn-dp-size", value
        elif not joined and name == "attn-dp-size":
            yield name, "dp-size", value
            yield name, "enable-dp-attention", True
        elif (
            name == "enable-flashinfer-allreduce-fusion"
            and value is True
            and release.accepts(f"--{FUSION}")
        ):
            yield name, FUSION, "auto"
        elif (
            name in ATTENTION
            and value == "dsa"
            and "dsa" not in release.options[f"--{name}"].choices
        ):
            yield name, name, "nsa"
        else:
            yield name, release.renamed(f"--{name}")[2:], value
