"""The list of workers that smg reads again and again (`--discovery-file`), as smg 1.13.0 takes it
(run): a field that it does not know, or a broken file, and it keeps the last good list; an empty
list takes every worker out.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

FILE = "workers.json"  # in the gateway's state folder
LARGEST = 1 << 20  # bytes; a worker has some hundred
VERSION = 1


@dataclass(frozen=True, order=True)
class Worker:
    """A server behind the gateway: the name of its instance, or its URL where it is none of ours,
    and its URL.
    """

    name: str
    url: str


def written(workers: Iterable[Worker]) -> bytes:
    """The list as its file has it."""
    told = [{"url": one.url, "id": one.name} for one in sorted(workers)]
    return f"{json.dumps({'version': VERSION, 'workers': told}, indent=1)}\n".encode()


def fault(data: bytes) -> str | None:
    """Why smg would not take a list, in words; None for one that it would."""
    try:
        said = json.loads(data)
    except (ValueError, RecursionError) as error:
        return f"it is no JSON: {error}"
    if not isinstance(said, dict) or said.get("version") != VERSION:
        return f'wanted {{"version": {VERSION}, "workers": [...]}}'
    return next(_faults(said), None)


def _faults(said: dict[str, object]) -> Iterator[str]:
    if unknown := said.keys() - {"version", "workers"}:
        yield f"unknown field {min(unknown)}"
    workers = said.get("workers")
    for at, one in enumerate(workers if isinstance(workers, list) else ["no list"]):
        if not isinstance(one, dict) or not str(one.get("url", "")).startswith("http"):
            yield f"worker {at + 1} has no url"
