"""The kernel's command line, and what it understands of it."""

from __future__ import annotations

import shlex

# What each takes, comma-separated: the kernel's admin guide (kernel-parameters, x86), read.
IOMMU_WORDS = {
    "iommu": set(
        "off force noforce soft biomerge panic nopanic merge nomerge pt nopt usedac allowdac"
        " noaperture memaper noagp forcesac nodac fullflush".split()
    ),
    "amd_iommu": set(
        "fullflush off force_isolation force_enable pgtbl_v1 pgtbl_v2 irtcachedis "
        "nohugepages v2_pgsizes_only".split()
    ),
    "intel_iommu": set(
        "on off igfx_off forcedac strict sp_off sm_on sm_off tboot_noforce nobounce".split()
    ),
}
# What turns translation on where `iommu=pt` leaves it off: of two, the kernel takes the last.
CONTRARY = {"nopt"}


def ignored(name: str, word: str) -> bool:
    """Whether a parameter about the IOMMU has a word that the kernel does not know."""
    return name in IOMMU_WORDS and word.partition("=")[0] not in IOMMU_WORDS[name]


def parameters(cmdline: str) -> dict[str, list[str]]:
    """The parameters of a command line with the words of their values; of one given twice, all
    words.
    """
    try:
        words = shlex.split(cmdline)
    except ValueError:  # an open quotation mark
        words = cmdline.split()
    found: dict[str, list[str]] = {}
    for word in words:
        name, _, value = word.partition("=")
        # The kernel takes dashes and underscores in names alike.
        found.setdefault(name.replace("-", "_"), []).extend(
            part for part in value.split(",") if part
        )
    return found
