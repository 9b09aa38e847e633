"""What can be wrong with one flag or variable of somebody's command: the words of `lint`, and its
own rules.

`faults` knows what goes wrong with which release; here is what commands carry that does harm, or
nothing, in any.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from launcher.address import is_loopback
from launcher.engines import traits
from launcher.engines.engine import dialect
from launcher.engines.issues import AMPLE, When
from launcher.engines.options import Release, version
from launcher.knowledge import gpus, nccl
from launcher.plan.evidence import Known
from launcher.plan.plan import Plan

HEADS = 64  # attention heads of GLM-5, 5.1, 5.2: what tensor parallelism divides (config.json)
KV_OF_DSA = ("auto", "bf16", "bfloat16", "fp8_e4m3")


class Verdict(StrEnum):
    """What becomes of a flag or variable, mildest first."""

    FINE = "fine"
    ABBREVIATED = "abbreviated"
    NEEDLESS = "needless"
    INERT = "inert"
    DEPRECATED = "deprecated"
    RISKY = "risky"
    CONFLICTS = "conflicts"
    BREAKS = "breaks"
    WRONG = "wrong value"  # from here on the arguments are refused: it does not come to the rest
    AMBIGUOUS = "ambiguous"
    REMOVED = "removed"
    UNKNOWN = "unknown"

    @property
    def rank(self) -> int:
        """Its place in that order."""
        return list(Verdict).index(self)

    @property
    def says_no(self) -> bool:
        """Whether a server with it will not run, or not correctly."""
        return self.rank >= Verdict.CONFLICTS.rank


@dataclass(frozen=True)
class Concern:
    """One thing to say about a flag or variable.

    `instead` is what to do, in words; `put` the value to write in its place; `keep` leaves it all
    the same.
    """

    verdict: Verdict
    why: str
    known: Known
    source: str
    when: When | None = None
    instead: str | None = None
    put: str | None = None
    keep: bool = False


@dataclass(frozen=True)
class Habit:
    """A concern about a flag (without dashes) or variable, and in which plans it is one."""

    name: str
    found: Callable[[Plan, str], Concern | None]


def _glm(plan: Plan) -> bool:
    return traits.GLM_5 in plan.traits


def _remote_code(plan: Plan, value: str) -> Concern | None:
    why = "GLM-5 is in SGLang: the checkpoint's own Python need not be run, and is a risk"
    if not _glm(plan):
        return None
    return Concern(
        Verdict.NEEDLESS, why, Known.READ, "in SGLang from 0.5.9", instead="leave it out"
    )


def _open(plan: Plan, value: str) -> Concern | None:
    if is_loopback(value) or plan.flag("api-key") is not None or plan.key_file:
        return None
    why = (
        f"{value} without a key is open to the network, admin endpoints included (load weights,"
        " flush the cache)"
    )
    fix = "127.0.0.1, or a key (`up --api-key-file`)"
    return Concern(
        Verdict.RISKY,
        why,
        Known.READ,
        "SGLang's routes and auth.py; `up` refuses it",
        When.TRAFFIC,
        fix,
        "127.0.0.1",
    )


def _secret(plan: Plan, value: str) -> Concern | None:
    why = "every user of the host sees it in `ps`, and SGLang prints it into its log"
    return Concern(
        Verdict.RISKY,
        why,
        Known.RUN,
        "tests/test_real_engine.py",
        When.LOAD,
        "`up --api-key-file FILE`",
        keep=True,
    )


def _fraction(plan: Plan, value: str) -> Concern | None:
    try:
        fraction = float(value)
    except ValueError:
        return None
    product = gpus.products().get(plan.gpu or "")
    if fraction <= AMPLE or product is None:
        return None
    free = product.free / (1 << 30)
    left = free * (1 - fraction)
    why = f"leaves about {left:.1f} GiB of {free:.0f} for graphs, activations and NCCL"
    source = "rtx6kpro, GKE recipes: .82 to .92 worked; .98 started and ran out at 240k tokens"
    return Concern(
        Verdict.RISKY, why, Known.REPORTED, source, When.TRAFFIC, "`glm5-serve fit` tells what fits"
    )


def _heads(plan: Plan, value: str) -> Concern | None:
    if not (_glm(plan) and value.isdigit() and int(value) and HEADS % int(value)):
        return None
    why = f"{HEADS} attention heads do not divide by {value}"
    return Concern(
        Verdict.BREAKS,
        why,
        Known.READ,
        "GLM-5's config.json",
        When.LOAD,
        "tp 2 with pp 3 on six GPUs",
    )


def _kv(plan: Plan, value: str) -> Concern | None:
    if traits.SPARSE not in plan.traits or value in KV_OF_DSA:
        return None
    why = f"sparse attention takes bfloat16 or fp8_e4m3, {value} raises"
    return Concern(
        Verdict.BREAKS, why, Known.READ, "overrides.py of 0.5.23", When.LOAD, "fp8_e4m3 or bfloat16"
    )


def _dense(plan: Plan, value: str) -> Concern | None:
    if not _glm(plan) or plan.arch == "sm120" or value in ("dsa", "nsa"):
        return None
    why = "drops sparse attention, which these GPUs have: slow at long context"
    return Concern(
        Verdict.RISKY, why, Known.READ, "deepseek_v2.py of 0.5.23", When.TRAFFIC, "leave it out"
    )


def _page(plan: Plan, value: str) -> Concern | None:
    why = "GLM-5's page size is 64 whatever is said"
    fix = "leave it out"
    return (
        Concern(Verdict.INERT, why, Known.READ, "deepseek_v2.py of 0.5.23", instead=fix)
        if _glm(plan)
        else None
    )


def _topk(plan: Plan, value: str) -> Concern | None:
    if value == "1" or not _glm(plan):
        return None
    return Concern(
        Verdict.RISKY,
        "sparse attention takes 1",
        Known.REPORTED,
        "rtx6kpro glm5",
        When.AFTER,
        "1",
        "1",
    )


def _one_fusion(plan: Plan, value: str) -> Concern | None:
    if plan.arch != "sm120" or version(plan.release or "") >= (0, 5, 14):
        return None
    why = "SGLang of this age ignores it on SM120"
    return Concern(
        Verdict.INERT, why, Known.READ, "communicator.py of 0.5.9", instead="leave it out"
    )


def _lone_dp(plan: Plan, value: str) -> Concern | None:
    if (plan.flag("dp-size") or "1") != "1":
        return None
    why = "needs --dp-size above 1, which is not given"
    return Concern(
        Verdict.CONFLICTS,
        why,
        Known.READ,
        "fields of ServerArgs",
        When.LOAD,
        "--dp-size 8, or leave it out",
    )


def _no_graphs(plan: Plan, value: str) -> Concern | None:
    sizes = plan.flag("cuda-graph-max-bs-decode", "cuda-graph-bs-decode")
    if sizes is None:
        return None
    why = "no graph is captured, though their batch sizes are given"
    return Concern(
        Verdict.CONFLICTS, why, Known.READ, "cuda_graph_hook.py of 0.5.23", instead="one of the two"
    )


def _draft(plan: Plan, value: str) -> Concern | None:
    steps, topk = (
        plan.flag("speculative-num-steps") or "",
        plan.flag("speculative-eagle-topk") or "1",
    )
    if not (steps.isdecimal() and value.isdecimal()) or topk != "1" or int(value) == int(steps) + 1:
        return None
    why = f"with top-k 1 SGLang makes it the steps plus one: {int(steps) + 1}"
    return Concern(Verdict.INERT, why, Known.REPORTED, "rtx6kpro glm5", put=str(int(steps) + 1))


def _level(plan: Plan, value: str) -> Concern | None:
    level = nccl.level(value)
    if level is None:
        why = f"NCCL ignores {value!r}: PXB stays"
        return Concern(
            Verdict.INERT, why, Known.READ, "NCCL's paths.cc", instead="NCCL_P2P_LEVEL=SYS"
        )
    if plan.arch != "sm120" or plan.gpus < 2 or level == "SYS":
        return None
    why = f"{value} cuts peer-to-peer between sockets: these pairs go through host memory"
    source = "rtx6kpro, GKE recipes; NCCL's paths.cc (source)"
    return Concern(
        Verdict.RISKY,
        why,
        Known.REPORTED,
        source,
        When.TRAFFIC,
        "NCCL_P2P_LEVEL=SYS on two sockets",
    )


def _no_p2p(plan: Plan, value: str) -> Concern | None:
    if nccl.number(value) != 1:
        return None
    why = "no peer-to-peer: all traffic goes through host memory; some hosts deadlock without it"
    source = "ashish-dahal, 0xSero (2026) need it; rtx6kpro and GKE recipes use P2P"
    fix = "`glm5-serve doctor --deep` tells whether this host needs it"
    return Concern(Verdict.RISKY, why, Known.REPORTED, source, When.TRAFFIC, fix, keep=True)


def _no_infiniband(plan: Plan, value: str) -> Concern | None:
    if plan.flag("nnodes") not in (None, "1"):
        return None
    why = "does nothing on one host without InfiniBand cards; where there are some it is right"
    fix = "leave it out, or keep it: harmless"
    return Concern(Verdict.INERT, why, Known.READ, "NCCL's net_ib", instead=fix, keep=True)


def _blocking(plan: Plan, value: str) -> Concern | None:
    why = "each kernel is waited for: several times slower"
    source = "NVIDIA's CUDA programming guide"
    on = value not in ("", "0")
    return (
        Concern(Verdict.RISKY, why, Known.REPORTED, source, When.TRAFFIC, "leave it out")
        if on
        else None
    )


def _debug(plan: Plan, value: str) -> Concern | None:
    if value.upper() not in ("INFO", "TRACE"):
        return None
    why = "writes for every call, and costs speed"
    return Concern(
        Verdict.RISKY,
        why,
        Known.READ,
        "NCCL's documentation",
        When.TRAFFIC,
        "NCCL_DEBUG=WARN",
        "WARN",
    )


def _allocator(plan: Plan, value: str) -> Concern | None:
    shared = plan.env.get("SGLANG_ENABLE_PCIE_IPC_ALLREDUCE", "0").lower() in ("1", "true")
    if not shared or "expandable_segments:True" not in value:
        return None
    why = "expandable segments cannot be shared by the PCIe IPC all-reduce, which is asked for, too"
    return Concern(
        Verdict.CONFLICTS,
        why,
        Known.REPORTED,
        "rtx6kpro glm5, on a fork",
        When.TRAFFIC,
        "one of the two",
    )


HABITS = (
    Habit("trust-remote-code", _remote_code),
    Habit("host", _open),
    Habit("api-key", _secret),
    Habit("admin-api-key", _secret),
    Habit("mem-fraction-static", _fraction),
    Habit("tp-size", _heads),
    Habit("kv-cache-dtype", _kv),
    Habit("attention-backend", _dense),
    Habit("page-size", _page),
    Habit("speculative-eagle-topk", _topk),
    Habit("speculative-num-draft-tokens", _draft),
    Habit("enable-dp-attention", _lone_dp),
    Habit("disable-cuda-graph", _no_graphs),
    Habit("enable-flashinfer-allreduce-fusion", _one_fusion),
    Habit("NCCL_P2P_LEVEL", _level),
    Habit("NCCL_P2P_DISABLE", _no_p2p),
    Habit("NCCL_IB_DISABLE", _no_infiniband),
    Habit("CUDA_LAUNCH_BLOCKING", _blocking),
    Habit("NCCL_DEBUG", _debug),
    Habit("PYTORCH_CUDA_ALLOC_CONF", _allocator),
)


def of_habit(plan: Plan, name: str, value: str) -> Iterator[Concern]:
    """What the table says about a flag (without dashes) or variable."""
    return (
        concern for habit in HABITS if habit.name == name and (concern := habit.found(plan, value))
    )


def of_variable(plan: Plan, name: str, value: str, within: Release) -> Iterator[Concern]:
    """What NCCL and the release make of a variable; nothing for those of others."""
    yield from of_habit(plan, name, value)
    if name in nccl.UNREAD:
        why, source = f"nobody reads it: {nccl.UNREAD[name]}", "environ.py of 0.5.10 and 0.5.23"
        yield Concern(Verdict.INERT, why, Known.READ, source, instead="leave it out")
    elif name.startswith("NCCL_"):
        yield from _nccl(plan, name, value)
    elif name.startswith(dialect(plan.engine).variables) and name not in within.variables:
        yield _unread(name, within)


def _nccl(plan: Plan, name: str, value: str) -> Iterator[Concern]:
    source = "NCCL 2.30.7, every name in its source"
    if name not in nccl.NAMES:
        near = difflib.get_close_matches(name, nccl.NAMES, n=1, cutoff=0.8)
        what = nccl.REPLACED.get(name, f"did you mean {near[0]}?" if near else "nobody reads it")
        yield Concern(
            Verdict.UNKNOWN, f"NCCL has no such variable and ignores it: {what}", Known.READ, source
        )
    elif not nccl.is_text(name) and value and not nccl.is_number(value):
        why = f"NCCL reads it as {nccl.number(value)}: it takes numbers only"
        yield Concern(Verdict.WRONG, why, Known.READ, "NCCL's param.cc", instead="1 or 0")
    elif name in nccl.BETWEEN_HOSTS and plan.flag("nnodes") in (None, "1"):
        why = "for networks between hosts: on one host nothing reads it"
        yield Concern(
            Verdict.INERT, why, Known.READ, "NCCL's network transport", instead="leave it out"
        )
    elif name in nccl.FOR_DEBUGGING:
        why = (
            "for debugging: forced, LL128 corrupts data where the platform does not keep its order"
        )
        yield Concern(
            Verdict.RISKY, why, Known.READ, "NCCL's documentation", When.OUTPUT, "leave it out"
        )


def _unread(name: str, within: Release) -> Concern:
    engine, readers = within.catalogue.engine, within.catalogue.read_by(name)
    if readers and version(readers[0]) > version(within.name):
        why = f"{engine} {within.name} does not read it yet: {readers[0]} does"
        return Concern(
            Verdict.INERT, why, Known.READ, "the source of each release", instead="leave it out"
        )
    if readers:
        why = f"{engine} no longer reads it: {readers[-1]} was the last"
        return Concern(
            Verdict.REMOVED, why, Known.READ, "the source of each release", instead="leave it out"
        )
    near = difflib.get_close_matches(name, within.variables, n=1, cutoff=0.8)
    hint = f": did you mean {near[0]}?" if near else ""
    why = f"no release of {engine} reads it{hint}"
    return Concern(
        Verdict.UNKNOWN,
        why,
        Known.READ,
        "the source of each release",
        instead=near[0] if near else None,
    )
