"""The NVIDIA driver, asked in a child with one deadline: a wedged one costs that, and never hangs
its caller.
"""

from __future__ import annotations

import sys
from dataclasses import fields
from typing import Any

from launcher import nesting
from launcher.errors import in_words
from launcher.host import facts_json
from launcher.host.collectors.child import ask
from launcher.host.facts import Driver, Gpu

OF_DRIVER = ("version", "cuda", "confidential", "gpus", "topology", "p2p_read", "p2p_write")
GPU_FACTS = tuple(part.name for part in fields(Gpu) if part.name != "index")


def driver(deadline: float = 10.0) -> Driver:
    """What the driver shows within `deadline` seconds; the facts that it did not tell say why."""
    command = [sys.executable, "-P", "-m", "launcher.host.collectors.nvml_child"]
    try:
        answer = ask(command, deadline)
    except OSError as error:
        return _driver({}, 0, f"cannot start {command[0]}: {in_words(error)}")
    told, count, asked, ended = _sort(answer.said)
    if ended is not None:
        why = ended
    elif not answer.in_time:
        why = f"the NVIDIA driver did not answer within {deadline:g} s" + (
            f" (stuck in {asked})" if asked else ""
        )
    else:
        why = f"the process that asks the driver {_how(answer.status)}: {answer.last_line()}"
    return _driver(told, count, why)


def _how(status: int | None) -> str:
    if status is None:
        return "closed its output and does not end"
    return f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"


def _sort(said: bytes) -> tuple[dict[tuple[Any, ...], Any], int, str, str | None]:
    """The facts by their place, the number of GPUs, the last question, why it ended early ("": it
    did not).
    """
    told: dict[tuple[Any, ...], Any] = {}
    count, asked, ended = 0, "", None
    for line in said.splitlines():
        try:
            match nesting.of_json(line):
                case ["ask", str(call), gpu]:
                    asked = call if gpu is None else f"{call} on GPU {gpu}"
                case ["end", why]:
                    ended = why or ""
                case [["count"], int(number)]:
                    count = number
                case [list(place), value]:
                    told[tuple(place)] = value
                case [list(place), None, str(why)]:
                    told[tuple(place)] = {"unknown": why}
        except (ValueError, TypeError):
            continue  # half a line, or none of ours
    return told, count, asked, ended


def _driver(told: dict[tuple[Any, ...], Any], count: int, why: str) -> Driver:
    blind = {"unknown": why or "the driver did not say"}
    facts = {name: told.get((name,), blind) for name in OF_DRIVER}
    if count or (why == "" and told):
        facts["gpus"] = [_gpu(index, told, blind) for index in range(count)]
    # Nothing measures here: `doctor --deep` does.
    made = facts_json.record(Driver, facts | {"copies": [], "diagnostics": {}})
    assert isinstance(made, Driver)
    return made


def _gpu(index: int, told: dict[tuple[Any, ...], Any], blind: dict[str, str]) -> dict[str, Any]:
    whole = told.get(("gpus", index), blind)
    return {"index": index} | {name: told.get(("gpus", index, name), whole) for name in GPU_FACTS}
