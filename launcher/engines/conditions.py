"""What a row of an issue computes: the few conditions that are more than a comparison, whatever
the engine; each engine's own are in its folder. Pure.

Each gets the case, and the name and value of the option or variable that is blamed; it gives the
words that the row's text may have in braces, None where nothing is wrong.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from itertools import takewhile

from launcher.address import is_loopback
from launcher.engines import dialect as dialects
from launcher.engines.dialect import Words
from launcher.engines.engine import dialect
from launcher.engines.match import Case
from launcher.engines.options import Release, version
from launcher.engines.slips import near
from launcher.knowledge import forks, gpus, models, nccl

Condition = Callable[[Case, str, str], Words | None]

AMPLE = 0.93  # of the free memory for weights and KV cache; what others ran with is .82 to .92
BIG_BUFFER = 64 << 20  # bytes; NCCL's default is 4 MiB a channel and peer, in GPU memory
FEW = 60  # variables of a launch, among which what an unknown one means is looked for
MOST_CHANNELS = 64  # that NCCL has
DEVICE = re.compile(r"\d+|(GPU|MIG)-[\w/-]+")  # as CUDA takes it


def _heads(case: Case, name: str, value: str) -> Words | None:
    """The model's attention heads are not divided evenly over the ranks of a group."""
    heads = next(
        (
            one.config.get("num_attention_heads")
            for one in models.families()
            if one.id in case.model
        ),
        None,
    )
    groups = case.number("attn-dp-size") or 1
    if case.flag("enable-dp-attention") is not None and groups == 1:
        groups = case.number("dp-size") or 1
    if groups < 1 or heads is None or not value.isdecimal() or not int(value):
        return None
    if int(value) % groups:
        return None
    ranks = int(value) // int(groups)
    return {"heads": str(heads), "ranks": str(ranks)} if heads % ranks else None


def _memory_fraction(case: Case, name: str, value: str) -> Words | None:
    """It leaves little of the GPU's memory beside weights and KV cache."""
    fraction, target = _fraction(value), case.target
    memories = (
        [target.memory] if target.memory else [one.memory for one in gpus.of_arch(target.arch)]
    )
    if not memories or fraction is None or not AMPLE < fraction < 1:
        return None
    free = [gpus.free(memory) / (1 << 30) for memory in memories]
    left = [f"{one * (1 - fraction):.1f}" for one in (min(free), max(free))]
    whole = [f"{one:.0f}" for one in (min(free), max(free))]
    return {"left": " to ".join(dict.fromkeys(left)), "free": " to ".join(dict.fromkeys(whole))}


def _fraction(value: str) -> float | None:
    try:
        return float(value)
    except ValueError:
        return None


def _not_json(case: Case, name: str, value: str) -> Words | None:
    try:
        json.loads(value)
    except (ValueError, RecursionError):
        return {}
    return None


def _colon(case: Case, name: str, value: str) -> Words | None:
    """A colon in a name, which is none of an object store's."""
    return {"plain": value.replace(":", "-")} if ":" in value and "://" not in value else None


def _few_gpus(case: Case, name: str, value: str) -> Words | None:
    """The server sees fewer GPUs than it has ranks on this node; nobody knows where its options
    may put them on other hosts.
    """
    if dialects.is_so(dialect(case.target.engine).of_hosts, case.value):
        return None
    parts = value.replace(" ", "").split(",") if value.strip() else []
    parts = [*takewhile(lambda part: part != "-1", parts)]  # it hides those behind it
    seen = [one for one in parts if DEVICE.fullmatch(one)]
    first, step = case.number("base-gpu-id") or 0, case.number("gpu-id-step") or 1
    if seen != parts:
        return None
    wanted = int(first + step * (case.gpus - 1)) + 1
    return {"seen": str(len(seen)), "wanted": str(wanted)} if len(seen) < wanted else None


def _open_rendezvous(case: Case, name: str, value: str) -> Words | None:
    """Ranks meet at an address that other hosts reach."""
    return None if is_loopback(value.rpartition(":")[0].strip("[]")) else {}


def _on(case: Case, name: str, value: str) -> Words | None:
    """NCCL takes a switch for on: exactly 1."""
    return {} if nccl.number(value) == 1 else None


def _nonzero(case: Case, name: str, value: str) -> Words | None:
    return {} if nccl.number(value) else None


def _p2p_level(case: Case, name: str, value: str) -> Words | None:
    """NCCL ignores the level."""
    return {} if nccl.level(value) is None else None


def _nccl_name(case: Case, name: str, value: str) -> Words | None:
    """NCCL has no such variable."""
    if name in nccl.NAMES | nccl.OF_IMAGES:
        return None
    meant = near(name, nccl.NAMES) if len(case.env) <= FEW else None
    hint = f"did you mean {meant}?" if meant else "nobody reads it"
    return {"hint": nccl.REPLACED.get(name, hint)}


def _nccl_number(case: Case, name: str, value: str) -> Words | None:
    """NCCL reads another number than a person does."""
    if name not in nccl.NAMES or nccl.is_text(name) or not value or nccl.is_number(value):
        return None
    return {"number": str(nccl.number(value))}


def _between_hosts(case: Case, name: str, value: str) -> Words | None:
    return {} if name in nccl.BETWEEN_HOSTS else None


def _for_debugging(case: Case, name: str, value: str) -> Words | None:
    return {} if name in nccl.FOR_DEBUGGING else None


def _channels(case: Case, name: str, value: str) -> Words | None:
    """The least number of channels is above the greatest."""
    most = nccl.number(case.env.get("NCCL_MAX_NCHANNELS", ""))
    return {"most": str(most)} if most and nccl.number(value) > most else None


def _many_channels(case: Case, name: str, value: str) -> Words | None:
    return {} if nccl.number(value) > MOST_CHANNELS else None


def _big_buffer(case: Case, name: str, value: str) -> Words | None:
    size = nccl.number(value)
    return {"mib": str(size >> 20)} if size >= BIG_BUFFER else None


def _few_states(case: Case, name: str, value: str) -> Words | None:
    """The slots for states of linear attention are fewer than the requests that may run need."""
    running = case.value("max-running-requests") or ""
    slots_for = dialect(case.target.engine).memory.slots_for
    if not (running.isdecimal() and value.isdecimal()) or int(value) >= slots_for(int(running)):
        return None
    allowed = int(value) // slots_for(1)
    return {"wanted": str(slots_for(int(running))), "allowed": str(allowed)} if allowed else None


def _no_states(case: Case, name: str, value: str) -> Words | None:
    """They are fewer than one request needs."""
    running = case.value("max-running-requests") or ""
    slots_for = dialect(case.target.engine).memory.slots_for
    if not value.isdecimal() or int(value) >= slots_for(1):
        return None
    needed = slots_for(int(running) if running.isdecimal() and int(running) else 1)
    return {"wanted": str(slots_for(1)), "needed": str(needed)}


def _unread(case: Case, name: str, value: str) -> Words | None:
    """The release does not read a variable of its engine's."""
    within, after, whole = case.target.known, case.target.after, _whole(case, name)
    read = within.variables | (after.variables if after else frozenset())
    if {name, whole} & read or case.target.is_before:
        return None
    meant = dialect(case.target.engine).meant.get(whole)
    return {"hint": meant or _readers(whole, within, few=len(case.env) <= FEW)}


def _short_name(case: Case, name: str, value: str) -> Words | None:
    """An old prefix, which the engine writes as the new one, and warns."""
    variables, whole = case.target.known.variables, _whole(case, name)
    return {"whole": whole} if name not in variables and whole in variables else None


def _whole(case: Case, name: str) -> str:
    prefixes = dialect(case.target.engine).renamed.items()
    return next((new + name[len(old) :] for old, new in prefixes if name.startswith(old)), name)


def _readers(name: str, within: Release, *, few: bool) -> str:
    readers = within.catalogue.read_by(name)
    if not readers and (fork := forks.of_variable(name)):
        return f"{fork.name} do"
    if not readers:
        meant = near(name, within.variables) if few else None
        oldest = within.catalogue.releases[0]
        return f"none from {oldest} on does" + (f"; did you mean {meant}?" if meant else "")
    if version(readers[0]) > version(within.name):
        return f"{readers[0]} does"
    return f"{readers[-1]} was the last"


def conditions(engine: str) -> Mapping[str, Condition]:
    """Those that rows of an engine may name, its own among them; "": rows of any engine."""
    own = dialect(engine).conditions if engine else {}
    return {**CONDITIONS, **{name: _of_case(condition) for name, condition in own.items()}}


def _of_case(own: dialects.Condition) -> Condition:
    return lambda case, name, value: own(case.target.known, case.value, name, value)


CONDITIONS: Mapping[str, Condition] = {
    "heads": _heads,
    "memory-fraction": _memory_fraction,
    "not-json": _not_json,
    "colon": _colon,
    "few-gpus": _few_gpus,
    "open-rendezvous": _open_rendezvous,
    "on": _on,
    "nonzero": _nonzero,
    "p2p-level": _p2p_level,
    "nccl-name": _nccl_name,
    "nccl-number": _nccl_number,
    "between-hosts": _between_hosts,
    "for-debugging": _for_debugging,
    "channels": _channels,
    "many-channels": _many_channels,
    "big-buffer": _big_buffer,
    "few-states": _few_states,
    "no-states": _no_states,
    "unread": _unread,
    "short-name": _short_name,
}
