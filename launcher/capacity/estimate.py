"""Whether a plan fits its GPUs: weights, KV cache, requests, and what is left to run with.

The two ways of running out of memory want opposite moves: where the weights leave nothing for the
KV cache the fraction must go up, where graphs or a batch find nothing it must go down.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from launcher.capacity.memory import GIB, Weights
from launcher.engines import issues, target
from launcher.engines.engine import dialect
from launcher.engines.memory import BF16_ROW, PACKED_ROW, RAW_ROW, Demand, Memory, number
from launcher.engines.options import version
from launcher.host.facts import Host
from launcher.knowledge import gpus
from launcher.knowledge.shape import Shape
from launcher.plan.evidence import Known
from launcher.plan.findings import Severity
from launcher.plan.plan import Plan

# For graphs, activations and NCCL at chunks of 8192: 7.4 worked on a host (tests/data), 4.7 is
# risky.
NEEDED = 7 * GIB
CHUNK = 8192  # tokens that this is for
FRACTIONS = (0.80, 0.82, 0.85, 0.88, 0.90, 0.92, 0.95)
FEW_SLOTS = "too few for one request"
OF_SLOTS = "kv_cache_configurator.py of 0.5.23"
CONTEXTS = (8192, 32768, 65536, 131072, 202752)


@dataclass(frozen=True)
class Said:
    """One thing to know about how it fits."""

    severity: Severity
    what: str
    fix: str
    known: Known
    source: str


@dataclass(frozen=True)
class Row:
    """One memory fraction: tokens by KV type, and what is left of a GPU."""

    fraction: float
    tokens: dict[str, int]
    left: int


@dataclass(frozen=True)
class Fit:
    """How a plan fits; bytes are of one GPU, but for those of the checkpoint and the host."""

    gpus: int
    memory: int  # of one GPU
    assumed: bool  # no GPU told it
    free: int  # before the weights
    weights: int
    checkpoint: int  # of the whole
    exact: bool  # from the files' headers
    layout: str
    cell: int  # bytes a token
    fraction: float
    automatic: bool  # SGLang's own choice
    kv: int
    tokens: int
    slots: int | None  # for the states of requests; None: its layers keep none
    slot: int  # bytes of one
    left: int
    needed: int  # of what is left
    least: float  # fraction below which there is no KV cache
    most: float  # fraction that leaves what is needed
    context: int
    running: int | None  # requests that max-running-requests allows
    admitted: int | None  # of these, that the slots let run at once
    requests: dict[int, int]  # that fit, by their tokens
    rows: tuple[Row, ...]
    host_memory: int | None
    disk_free: int | None
    disk_speed: float | None  # bytes a second
    cold_load: float | None  # seconds
    said: tuple[Said, ...] = ()

    @property
    def is_too_large(self) -> bool:
        """Whether no fraction helps."""
        return self.weights + self.needed > self.free

    @property
    def fits(self) -> bool:
        """Whether a server would start."""
        return all(said.severity is not Severity.FAIL for said in self.said)


def fraction_of(plan: Plan) -> float | None:
    """What the plan says of mem-fraction-static; None where it says nothing, or no fraction."""
    try:
        said = float(plan.flag("mem-fraction-static") or "")
    except ValueError:
        return None
    return said if 0 < said < 1 else None


def needed(plan: Plan) -> int:
    """Bytes of a GPU that must be left for graphs, activations and NCCL."""
    chunk = number(plan, "chunked-prefill-size", default=CHUNK)
    drafts = plan.flag("speculative-algorithm") is not None
    return int(NEEDED + max(0, chunk - CHUNK) * 1.5 * (1 << 20) + (2 * GIB if drafts else 0))


def layout_of(plan: Plan, shape: Shape) -> str:
    """The layout of the KV cache that a plan comes to."""
    kv = plan.flag("kv-cache-dtype") or "auto"
    return dialect(plan.engine).memory.row(kv, plan.arch, version(plan.release or ""), shape)


def fit(
    plan: Plan,
    shape: Shape,
    weights: Weights,
    host: Host,
    memory: int | None,
    speed: float | None = None,
) -> Fit:
    """How a plan fits GPUs of `memory` bytes; None: as the product that it was resolved for, or
    what this is made for.
    """
    tp, pp = number(plan, "tp-size", default=1), number(plan, "pp-size", default=1)
    mtp = plan.flag("speculative-algorithm") is not None
    total = memory or gpus.of(plan.gpu).memory
    free = gpus.free(total)
    held = weights.of_gpu(tp, pp, mtp=mtp)
    layout = layout_of(plan, shape)
    formulas = dialect(plan.engine).memory
    asked = formulas.demand(plan, shape, layout)
    said = fraction_of(plan)
    fraction = said or formulas.auto_fraction(
        total,
        tp,
        pp,
        chunk=number(plan, "chunked-prefill-size", default=CHUNK),
        graphs=min(asked.running or 512, 512),
        mla=bool(shape.kv_rank),
    )
    context = number(plan, "context-length", default=0) or shape.context
    pools = formulas.pools(free, held, fraction, asked)
    most = pools.running if pools.running is not None else pools.tokens
    made = Fit(
        gpus=plan.gpus,
        memory=total,
        assumed=memory is None,
        free=free,
        weights=held,
        checkpoint=weights.total + (weights.mtp_divided + weights.mtp_replicated if mtp else 0),
        exact=weights.exact,
        layout=layout,
        cell=asked.cell,
        fraction=fraction,
        automatic=said is None,
        kv=pools.tokens * asked.cell,
        tokens=pools.tokens,
        slots=pools.slots,
        slot=asked.state,
        left=_left(free, held, fraction),
        needed=needed(plan),
        least=held / free,
        most=1 - needed(plan) / free,
        context=context,
        running=asked.running,
        admitted=pools.running,
        requests={
            size: min(pools.tokens // size, most)
            for size in (*CONTEXTS, context)
            if size <= context
        },
        rows=tuple(_rows(formulas, free, held, _kinds(plan, shape, layout), fraction)),
        host_memory=None if memory is None else host.system.memory_total.otherwise(0) or None,
        disk_free=None if memory is None else _disk(host),
        disk_speed=speed,
        cold_load=weights.total / speed if speed else None,
    )
    return Fit(**{**vars(made), "said": tuple(_said(made, plan, shape, host))})


def _kinds(plan: Plan, shape: Shape, layout: str) -> dict[str, Demand]:
    kinds = (BF16_ROW, PACKED_ROW if layout == PACKED_ROW else RAW_ROW)
    demand = dialect(plan.engine).memory.demand
    return {kind: demand(plan, shape, kind) for kind in kinds}


def _rows(
    formulas: Memory, free: int, held: int, kinds: dict[str, Demand], asked: float
) -> Iterator[Row]:
    for fraction in sorted({*FRACTIONS, asked}):
        tokens = {
            kind: formulas.pools(free, held, fraction, one).tokens for kind, one in kinds.items()
        }
        yield Row(fraction, tokens, _left(free, held, fraction))


def _left(free: int, held: int, fraction: float) -> int:
    """What the fraction leaves, or the weights, where they take more than it."""
    return min(int(free * (1 - fraction)), max(free - held, 0))


def _disk(host: Host) -> int | None:
    mount = host.system.mounts.otherwise({}).get("model")
    return mount.free.otherwise(0) or None if mount else None


def _said(made: Fit, plan: Plan, shape: Shape, host: Host) -> Iterator[Said]:
    """What stands in the way, and which way each knob goes."""
    fail, warn = Severity.FAIL, Severity.WARN
    formulas = dialect(plan.engine).memory
    for issue in issues.issues(issues.of_plan(plan)):
        if issue.name == "mem-fraction-static" and issue.severity.is_fatal:
            yield Said(fail, f"{issue.name} {issue.what}", issue.fix, issue.known, issue.source)
    yield from _too_few(plan, host)
    yield from _incomplete(host)
    yield from obstacles(made)
    if made.is_too_large:
        return
    if made.weights < made.free * made.fraction and made.left < made.needed:
        what = (
            f"{_gib(made.left)} are left for graphs, activations and NCCL: out of memory at capture"
            " or under load"
        )
        fix = (
            f"lower mem-fraction-static to {int(made.most * 100) / 100:.2f} (this one goes down),"
            " or the chunks"
        )
        yield Said(
            warn, what, fix, Known.REPORTED, "rtx6kpro: 7.4 GiB worked; .98 ran out at 240k tokens"
        )
    yield from _of_slots(made, formulas)
    if made.tokens and made.tokens < made.context:
        what = (
            f"{made.tokens:,} tokens are less than one request of {made.context:,}: SGLang cuts"
            " requests to it"
        )
        fix = ", or ".join(_for_context(made, plan, shape))
        yield Said(warn, what, fix, Known.READ, "tp_worker.py: max_req_len")
    table = formulas.request_table(made.running or 2048, made.context)
    if table > GIB:
        requests = f"{made.running or 2048} requests of {made.context:,} tokens"
        what = f"SGLang's table for {requests} takes {_gib(table)}, outside the fraction"
        yield Said(
            warn,
            what,
            "set context-length and max-running-requests",
            Known.READ,
            "memory_pool.py: req_to_token",
        )
    if made.host_memory and made.host_memory < made.checkpoint:
        what = (
            f"the host's {_gib(made.host_memory)} cannot keep the checkpoint's"
            f" {_gib(made.checkpoint)} cached"
        )
        yield Said(
            warn,
            what,
            "each restart reads the disk: a faster one, or more memory",
            Known.REPORTED,
            "rtx6kpro: 36 s warm, 1,206 s cold",
        )
    if made.disk_free and not host.model.path.known and made.disk_free < made.checkpoint:
        what = (
            f"the checkpoint is not here, and its disk has {_gib(made.disk_free)} free of"
            f" {_gib(made.checkpoint)}"
        )
        yield Said(
            fail,
            what,
            "make room, or set HF_HOME to a larger disk",
            Known.RUN,
            "tests/capacity/test_fit.py",
        )


def obstacles(made: Fit) -> Iterator[Said]:
    """Why a server would not start, of all that sizes tell."""
    if made.is_too_large:
        yield _too_large(made)
    elif made.weights >= made.free * made.fraction:
        what = (
            f"the weights take more than mem-fraction-static {made.fraction:g}: none is left for KV"
        )
        fix = f"raise mem-fraction-static above {made.least:.3f} (this one goes up)"
        yield Said(
            Severity.FAIL,
            what,
            fix,
            Known.SEEN,
            "tests/hosts: `Loaded weights leave no GPU memory`, InferenceX#2128",
        )
    elif made.slots is not None and not (made.tokens and made.admitted):
        what = f"{_slots(made)}: {'none is left for KV' if made.admitted else FEW_SLOTS}"
        fix = "set max-mamba-cache-size = 5 x max-running-requests, mamba-ssm-dtype = bfloat16"
        yield Said(Severity.FAIL, what, fix, Known.READ, OF_SLOTS)


def _for_context(made: Fit, plan: Plan, shape: Shape) -> Iterator[str]:
    """What lets a request be as long as the context, or the context as short as a request."""
    formulas = dialect(plan.engine).memory

    def enough(layout: str, fraction: float) -> bool:
        asked = formulas.demand(plan, shape, layout)
        return formulas.pools(made.free, made.weights, fraction, asked).tokens >= made.context

    yield f"set context-length = {max(made.tokens // 1024, 1) * 1024}"
    most = int(made.most * 100) / 100
    if most > made.fraction and enough(made.layout, most):
        yield f"raise mem-fraction-static, up to {most:.2f}"
    if made.layout == BF16_ROW:
        smaller = formulas.row("fp8_e4m3", plan.arch, version(plan.release or ""), shape)
        if smaller != BF16_ROW and enough(smaller, made.fraction):
            yield "take fp8 KV"


def _too_few(plan: Plan, host: Host) -> Iterator[Said]:
    if what := target.of(host).shortage(plan.gpus):
        fix = "choose a profile for these GPUs (`glm5-serve profiles`), or set tp-size and pp-size"
        source = "tests/capacity/test_fit.py"
        yield Said(Severity.FAIL, what, fix, Known.RUN, source)


def _incomplete(host: Host) -> Iterator[Said]:
    """What of a checkpoint that is here is not: it would not load, whatever fits."""
    seen = host.model
    fix = "`glm5-serve model DIR` lists all of it; `glm5-serve fetch` completes it"
    gone = [*seen.missing.otherwise(()), *seen.broken.otherwise({}), *seen.pointers.otherwise(())]
    source = "tests/capacity/test_fit.py"
    if gone:
        more = f" and {len(gone) - 4} more" if len(gone) > 4 else ""
        what = f"the checkpoint is not complete: {', '.join(gone[:4])}{more} missing or broken"
        yield Said(Severity.FAIL, f"{what}; sizes are computed", fix, Known.RUN, source)
    elif seen.shards.known and not seen.shards.get():
        what = "the folder has no weight files: sizes are computed from its config.json"
        yield Said(Severity.WARN, what, fix, Known.RUN, source)


def _too_large(made: Fit) -> Said:
    fix = "more GPUs, a smaller checkpoint; no fraction helps"
    if made.weights >= made.free:
        what = f"the weights take {_gib(made.weights)} of {_gib(made.free)} a GPU"
        what += ": out of memory while loading"
        source = "rtx6kpro hardware pages: 4 x 96 GB cannot hold a full GLM-5 NVFP4"
    else:
        rest = _gib(made.free - made.weights)
        what = f"the weights take {_gib(made.weights)} of {_gib(made.free)} a GPU: {rest} hold no"
        what += f" KV cache beside the {_gib(made.needed)} for graphs, activations and NCCL"
        source = "rtx6kpro: 7.4 GiB worked; 2 x 96 GB ran GLM-5.3-Flash with forks alone"
    return Said(Severity.FAIL, what, fix, Known.REPORTED, source)


def _of_slots(made: Fit, formulas: Memory) -> Iterator[Said]:
    """Where the states of requests bound what runs."""
    if made.running and made.admitted and made.tokens and made.admitted < made.running:
        what = f"{_slots(made)} and let {made.admitted} of {made.running} requests run, five a"
        enough = formulas.slots_for(made.running)
        fix = f"set max-mamba-cache-size = {enough}, mamba-ssm-dtype = bfloat16 (half the bytes)"
        yield Said(Severity.WARN, f"{what} request", fix, Known.READ, OF_SLOTS)


def _slots(made: Fit) -> str:
    slots = made.slots or 0
    return f"{slots:,} slots for states take {_gib(slots * made.slot)}"


def _gib(size: float) -> str:
    return f"{size / GIB:.1f} GiB"
