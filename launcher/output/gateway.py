"""A gateway and the servers behind it."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from launcher import folding
from launcher.operate.gateway import Replica
from launcher.output import status as screens
from launcher.statedir.schema import SCHEMA
from launcher.statedir.state import StateRecord

COLOURS = {"routed": "green", "unhealthy": "yellow", "not listed": "red"}


def status(seen: StateRecord, behind: Sequence[Replica], *, as_json: bool) -> None:
    """How a gateway is, and who is behind it: a line each, or a block where lines have no room."""
    if as_json:
        told = {"gateway": seen.to_json(), "workers": [one.to_json() for one in behind]}
        print(json.dumps({"schema": SCHEMA, **told}, indent=1))
        return
    from launcher.output.console import console, table_of, table_or_blocks, words

    screens.status(seen, as_json=False)
    if not behind:
        folding.tell(f'  nobody is behind it: a profile says `gateway = "{seen.profile}"`')
        return
    table = table_of("worker", "state", "gateway", "running", "url")
    blocks = []
    for one in behind:
        how = one.gateway or "unknown"
        running = "-" if one.running is None else str(one.running)
        mark = (how, f"bold {COLOURS.get(how, 'red')}")
        table.add_row(words(one.name), one.state, words(mark), running, words(one.url))
        head = words((one.name, "bold"), f"  {one.state}  ", mark, f"  running {running}")
        blocks.append((head, (one.url if one.url != one.name else "",)))
    table_or_blocks(console(sys.stdout), table, blocks)
