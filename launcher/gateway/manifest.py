"""The list of workers that smg reads again and again (`--discovery-file`), as smg 1.13.0 takes it
(run): a field that it does not know, or a broken file, and it keeps the last good list; an empty
list takes every worker out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from launcher.address import bracketed, canonical, is_any, numeric
from launcher.errors import in_words

FILE = "workers.json"  # in the gateway's state folder
LARGEST = 1 << 20  # bytes; a worker has some hundred
VERSION = 1
_URL = re.compile(
    r"(https?)://(\[[0-9a-f:.]+\]|[a-z0-9][a-z0-9._-]*):([0-9]{1,5})/?", re.IGNORECASE | re.ASCII
)
_NUMBER = re.compile(r"\[.*|(.*\.)?(0x[0-9a-f]*|[0-9]+)")  # a URL takes it for an address


@dataclass(frozen=True, order=True)
class Worker:
    """A server behind the gateway: the name of its instance, or its URL where it is none of ours,
    and its URL.
    """

    name: str
    url: str


def worker_url(text: str) -> str:
    """A worker's URL in the one spelling that all compare. Raises ValueError for what is none; it
    does not repeat that, for it may hold a password.
    """
    found = _URL.fullmatch(text)
    host = canonical(found[2]) if found else ""
    unfit = is_any(host) or (found and _NUMBER.fullmatch(found[2].lower()) and not numeric(host))
    if not found or unfit or not 0 < int(found[3]) <= 65535:
        raise ValueError(
            "wanted http://HOST:PORT or https://HOST:PORT, without a user or a path;"
            " --api-key-file is the key of all"
        )
    return f"{found[1].lower()}://{bracketed(host)}:{int(found[3])}"


def place_of(url: str) -> tuple[str, int]:
    """Host and port of a worker's URL."""
    host, _, port = url.partition("://")[2].rpartition(":")
    return host.strip("[]"), int(port)


def written(workers: Iterable[Worker]) -> bytes:
    """The list as its file has it."""
    told = [{"url": one.url, "id": one.name} for one in sorted(workers)]
    return f"{json.dumps({'version': VERSION, 'workers': told}, indent=1)}\n".encode()


def urls(data: bytes) -> set[str]:
    """The URLs of a list; none of one that smg would not take."""
    return set() if fault(data) else {one["url"] for one in json.loads(data)["workers"]}


def fault(data: bytes) -> str | None:
    """Why smg would not take a list, in words; None for one that it would."""
    try:
        said = json.loads(data)
    except (ValueError, RecursionError) as error:
        return f"it is not JSON: {in_words(error)}"
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
