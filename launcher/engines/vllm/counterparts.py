"""SGLang's options in vLLM's words, and vLLM's in SGLang's."""

from __future__ import annotations

import json
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

from launcher.engines.translation import Counterparts, Flags, Pair, Special
from launcher.engines.vllm.conditions import SHORT, is_nothing

FILE = Path(__file__).with_name("counterparts.toml")
SPECULATION = tuple(
    f"speculative-{name}"
    for name in ("algorithm", "num-steps", "eagle-topk", "num-draft-tokens", "draft-model-path")
)
SHARED = "--tp-size and the groups of its attention"
Made = tuple[Flags, tuple[str, ...]]


def counterparts(source: str) -> Counterparts:
    """What the options of `source`, one of the two, are in the other."""
    told, to = _table(), "vllm" if source == "sglang" else "sglang"
    pairs = tuple(_pair(row, source, to) for row in told["pair"])
    specials = FROM_SGLANG if source == "sglang" else FROM_VLLM
    return Counterparts(pairs, told[source], specials)


@cache
def _table() -> dict[str, Any]:
    return tomllib.loads(FILE.read_text(encoding="utf-8"))


def _pair(row: dict[str, Any], source: str, to: str) -> Pair:
    values = row.get("values", {})
    if source == "vllm":  # the first of those that are one
        values = {theirs: ours for ours, theirs in reversed(values.items())}
    note, differs = row.get("note", ""), row.get("differs", "")
    return Pair(row[source], row[to], values, note, differs)


def _first(flags: Flags, name: str, default: str = "") -> str:
    return next(iter(flags.get(name, ())), default)


def _speculation(flags: Flags) -> Made:
    """SGLang's options of speculation as the JSON that vLLM wants."""
    algorithm = _first(flags, "speculative-algorithm").upper()
    draft = _first(flags, "speculative-draft-model-path")
    methods = {"EAGLE": "eagle" if draft else "mtp", "NEXTN": "mtp", "EAGLE3": "eagle3"}
    if algorithm not in methods or (algorithm == "EAGLE3" and not draft):
        what = f"{algorithm or 'no algorithm'} is told otherwise"
        return {}, (f"--speculative-algorithm: left out: {what} (--speculative-config)",)
    topk = _first(flags, "speculative-eagle-topk", "1")
    steps = _first(flags, "speculative-num-steps")
    config: dict[str, Any] = {"method": methods[algorithm]}
    config |= {"model": draft} if draft else {}
    config |= {"num_speculative_tokens": int(steps)} if steps.isdecimal() else {}
    wide = (f"--speculative-eagle-topk: vLLM drafts a chain, not {topk} branches",)
    return {"speculative-config": (json.dumps(config),)}, wide if topk != "1" else ()


def _ranks(flags: Flags) -> Made:
    """SGLang's ranks as vLLM's, over as many GPUs. With attention shared out, SGLang's `tp-size`
    counts all ranks and its `dp-size` the groups of them; vLLM multiplies the two.
    """
    size, ranks = _first(flags, "ep-size", "1"), _first(flags, "tp-size", "1")
    groups = _first(flags, "attn-dp-size") or _first(flags, "dp-size", "1")
    is_shared = bool({"attn-dp-size", "enable-dp-attention"} & {*flags}) and groups != "1"
    if is_shared and not _divides(groups, ranks):
        return {}, (f"{SHARED}: left out: vLLM wants {ranks} / {groups} as a whole number",)
    of_group = str(int(ranks) // int(groups)) if is_shared else ranks
    made: Flags = {"tensor-parallel-size": (of_group,)} if is_shared or "tp-size" in flags else {}
    made = {
        **made,
        **({"data-parallel-size": (groups,)} if is_shared or "dp-size" in flags else {}),
    }
    made = {**made, **({"enable-expert-parallel": ()} if is_shared or size != "1" else {})}
    shares = size not in ("1", ranks)
    said = f"--ep-size: {size} of {ranks} ranks: vLLM shares its experts among all"
    return made, (said,) if shares else ()


def _divides(groups: str, ranks: str) -> bool:
    numbers = groups.isdecimal() and ranks.isdecimal()
    return numbers and int(groups) > 0 and int(ranks) % int(groups) == 0


def _meeting(flags: Flags) -> Made:
    """Where the nodes meet, `host:port`, as two options."""
    host, _, port = _first(flags, "dist-init-addr").rpartition(":")
    return {"master-addr": (host.strip("[]"),), "master-port": (port,)}, ()


def _node(flags: Flags) -> Made:
    """A node's rank: all but the first only work, which vLLM is told beside it."""
    rank = flags["node-rank"]
    return {"node-rank": rank, **({"headless": ()} if rank != ("0",) else {})}, ()


def _tools(flags: Flags) -> Made:
    """A parser of tool calls, and that the model may call a tool by itself."""
    [pair] = [one for one in counterparts("sglang").pairs if one.source == "tool-call-parser"]
    parser = _first(flags, "tool-call-parser")
    told = {"enable-auto-tool-choice": (), "tool-call-parser": (pair.values.get(parser, parser),)}
    return told, ()


def _config(flags: Flags) -> Made:
    """VLLM's JSON, and its short options, as SGLang's: a model drafts by its own layers, or with
    another's.
    """
    text = _first(flags, "speculative-config", "{}")
    if is_nothing(text):
        return {}, ()
    try:
        short = {key: one for name, key in SHORT.items() if (one := _first(flags, name))}
        told = {**json.loads(text), **short}
        method, tokens = str(told.pop("method", "")), int(told.pop("num_speculative_tokens", 0))
    except (ValueError, TypeError, AttributeError, RecursionError):
        return {}, ("--speculative-config: left out: it is not JSON with a method",)
    draft = told.pop("model", None)
    algorithm = "EAGLE" if method in ("mtp", "eagle") or method.endswith("_mtp") else ""
    algorithm = "EAGLE3" if method == "eagle3" else algorithm
    if not algorithm:
        what = f"{method or 'no method'} is told otherwise (--speculative-algorithm)"
        return {}, (f"--speculative-config: left out: {what}",)
    made = {"speculative-algorithm": (algorithm,), "speculative-eagle-topk": ("1",)}
    made |= {"speculative-draft-model-path": (str(draft),)} if draft else {}
    if tokens:
        made |= {"speculative-num-steps": (str(tokens),)}
        made |= {"speculative-num-draft-tokens": (str(tokens + 1),)}
    return made, tuple(f"--speculative-config: {name} is left out" for name in told)


def _groups(flags: Flags) -> Made:
    """VLLM's ranks as SGLang's, over as many GPUs; its experts are of all ranks of all groups."""
    of_group, groups = (_first(flags, f"{kind}-parallel-size", "1") for kind in ("tensor", "data"))
    is_of_experts = "enable-expert-parallel" in flags
    if is_of_experts and groups != "1":
        if not (of_group.isdecimal() and groups.isdecimal()):
            what = f"SGLang wants the product of {of_group} and {groups}"
            return {}, (f"--tensor-parallel-size and --data-parallel-size: left out: {what}",)
        ranks = (str(int(of_group) * int(groups)),)
        made: Flags = {"tp-size": ranks, "dp-size": (groups,), "enable-dp-attention": ()}
        return {**made, "ep-size": ranks}, ()
    made = {"tp-size": (of_group,)} if "tensor-parallel-size" in flags else {}
    made |= {"dp-size": (groups,)} if "data-parallel-size" in flags else {}
    return {**made, **({"ep-size": (of_group,)} if is_of_experts else {})}, ()


def _address(flags: Flags) -> Made:
    host = _first(flags, "master-addr", "127.0.0.1")
    port = _first(flags, "master-port", "29501")  # vLLM's own
    return {"dist-init-addr": (f"[{host}]:{port}" if ":" in host else f"{host}:{port}",)}, ()


FROM_SGLANG = (
    Special(SPECULATION, ("speculative-config",), _speculation),
    Special(
        ("tp-size", "dp-size", "attn-dp-size", "enable-dp-attention", "ep-size"),
        ("enable-expert-parallel",),
        _ranks,
    ),
    Special(("dist-init-addr",), ("master-addr", "master-port"), _meeting),
    Special(("node-rank",), ("node-rank", "headless"), _node),
    Special(("tool-call-parser",), ("tool-call-parser", "enable-auto-tool-choice"), _tools),
)
FROM_VLLM = (
    Special(("speculative-config", *SHORT), SPECULATION, _config),
    Special(
        ("tensor-parallel-size", "data-parallel-size", "enable-expert-parallel"),
        ("ep-size",),
        _groups,
    ),
    Special(("master-addr", "master-port"), ("dist-init-addr",), _address),
)
