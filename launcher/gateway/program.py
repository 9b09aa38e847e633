"""The program that is started as the gateway: smg, with the key out of a file.

`python program.py [--key-file FILE] OPTION...`, with the options of `smg launch`. smg itself takes
a key by its argument list alone, where every user of the host sees it.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from smg.launch_router import launch_router, parse_router_args


def main(words: list[str]) -> None:
    """Serve until it is told to end."""
    key = None
    if words[:1] == ["--key-file"]:
        key, words = Path(words[1]).read_text().strip(), words[2:]
    launch_router(replace(parse_router_args(words), api_key=key))


if __name__ == "__main__":
    main(sys.argv[1:])
