"""How vLLM reads the words of its command line before argparse does (`FlexibleArgumentParser`)."""

from __future__ import annotations

import re

from launcher.engines.options import Spoken

# `--a-b.c.d+`, `-cc.mode`: the option, and what of its JSON is set
MEMBER = re.compile(r"(-[^.]*)\.(.*)", re.DOTALL)
LEVELS = ("0", "1", "2", "3")


def reads(word: str, after: str) -> Spoken:
    """Underscores in a name are dashes, `--a.b c` sets `b` of a JSON option, `-O3` is the
    optimization level 3: so in all releases from 0.16.0 to 0.33.0.
    """
    if word.startswith("-O") and (word != "-O" or after in LEVELS):
        level = word[2:].removeprefix("=") if word != "-O" else None
        return Spoken("-O", "--optimization-level", level)
    head, equals, value = word.partition("=")
    found = MEMBER.fullmatch(head)
    name, member = (found[1], found[2]) if found else (head, "")
    if name.startswith("--"):
        name = name.replace("_", "-")
    return Spoken(head, name, value if equals else None, member)
