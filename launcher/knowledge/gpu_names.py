"""The GPUs that a text names, as people write them: `8xB200`, `rtx6000 pro`, `gpu:h100:4`. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from launcher.knowledge import gpus

# By architecture, "" where it is none of Blackwell's, and by product, "" where several are called
# so.
_CALLED = (
    ("sm120", "rtx-pro-6000", r"rtx[ _-]?pro[ _-]?6000|rtx[ _-]?6000[ _-]?pro|pro[ _-]?6000"),
    ("sm120", "", r"rtx[ _-]?pro[ _-]?(?:45|5|4)000"),
    ("sm120", "rtx-5090", r"(?:rtx|geforce)[ _-]?5090|(?:(?<=\dx)|(?<=\dx ))5090|5090s"),
    ("sm120", "", r"sm[_ ]?120[af]?|rtx[ _-]?50[678]0"),
    ("sm100", "b200", r"(?:hgx[ _-]?|dgx[ _-]?)?b200"),
    ("sm100", "gb200", r"gb200"),
    ("sm100", "", r"sm[_ ]?100[af]?"),
    ("sm103", "b300", r"(?:hgx[ _-]?|dgx[ _-]?)?b300"),
    ("sm103", "gb300", r"gb300"),
    ("sm103", "", r"sm[_ ]?103[af]?"),
    ("sm121", "", r"gb10|dgx[ _-]?spark|sm[_ ]?121a?"),
    ("", "", r"g?h(?:100|200|800|20)|sm[_ ]?90a?|a(?:100|800|6000)|l40s|rtx[ _-]?[34]0\d0|v100"),
    ("", "", r"mi[23]\d\dx?"),
)
_NAMED = [
    (arch, product, re.compile(rf"(?<![a-z0-9])(?:\d{{1,3}} ?x ?)?({name})(?![a-z0-9])", re.I))
    for arch, product, name in _CALLED
]
_PART = re.compile(r"\bMIG-\d|\bmig-\d")


@dataclass(frozen=True)
class Named:
    """GPUs that a text names: as it does, their architecture and product, "" for what they lack."""

    said: str
    arch: str
    product: str


def named(text: str) -> tuple[Named, ...]:
    """All that a text names, each once, in the order of the table; none where it says which are not
    meant. A part of a GPU has not that one's memory, and is no product.
    """
    if "NotIn" in text:
        return ()
    known = {} if _PART.search(text) else gpus.products()
    found = {
        (arch, product): seen[1]
        for arch, product, name in _NAMED
        if (seen := name.search(text)) is not None
    }
    return tuple(
        Named(said, arch, product if product in known else "")
        for (arch, product), said in found.items()
    )
