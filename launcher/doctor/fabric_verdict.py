"""What `doctor --deep` saw ranks do, and what that proves. Pure."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field

from launcher import counting, nesting
from launcher.doctor.checks import LIVE, Check, judge
from launcher.engines.engine import dialect
from launcher.engines.target import of
from launcher.host.facts import Host
from launcher.host.measured import Measured, words
from launcher.knowledge import gpus
from launcher.knowledge.gpus import Healthy
from launcher.plan.findings import Finding, Severity
from launcher.plan.plan import Plan

# As fabric_rank.py has them, which runs in the engine's interpreter and cannot share them.
UNTOLD = "what is healthy there is not known"
MARK = "@deep "
COPY = 64 << 20  # bytes
SIZES = (8, 64, 512, 4096, 32768, 262144, 2097152, 16777216, 67108864)  # bytes

IMPORT_DEADLINE = 120.0  # seconds; torch from a cold disk

# The checks that explain a hang or wrong data between GPUs, the most frequent cause first.
EXPLAIN = (
    "iommu-translation",
    "acs-redirect",
    "kernel-iommu-faults",
    "kernel-xid",
    "driver-fabric",
    "driver-hmm",
    "p2p-status",
    "nccl-masked",
    "nccl-interface",
    "nccl-files",
    "nccl-shared-memory",
)


@dataclass
class Step:
    """One step of the proof: who began it, how long it took whom, what was wrong for whom."""

    began: set[int] = field(default_factory=set)
    seconds: dict[int, float | None] = field(default_factory=dict)
    wrong: dict[int, str] = field(default_factory=dict)


@dataclass
class Proof:
    """What the ranks said so far."""

    steps: dict[str, Step] = field(default_factory=dict)
    ended: dict[int, str] = field(default_factory=dict)  # who did not end well, and how
    torch: str = "torch"
    hung: str | None = None  # the step that did not end in time
    no_ipc: str = ""  # why the PCIe IPC all-reduce was not tried

    def hear(self, line: str) -> None:
        """Take in one line."""
        try:
            words = nesting.of_json(line)
        except ValueError:
            # something printed into it: the step is told late, and its deadline watches over that
            return
        match words:
            case {
                "step": str(name),
                "rank": int(rank),
                "done": True,
                "seconds": seconds,
                "wrong": wrong,
            }:
                step = self.steps.setdefault(name, Step())
                step.seconds[rank] = seconds
                if wrong:
                    step.wrong[rank] = wrong
            case {"step": str(name), "rank": int(rank)}:
                self.steps.setdefault(name, Step()).began.add(rank)
            case {"rank": int(rank), "error": str(error)}:
                self.ended[rank] = error
            case {"rank": int(rank), "died": int(status)}:
                how = (
                    f"was killed by signal {-status}"
                    if status < 0
                    else f"ended with status {status}"
                )
                self.ended.setdefault(rank, how)
            case {"no_ipc": str(why)}:
                self.no_ipc = why
            case {"torch": str(version)}:
                self.torch = f"torch {version}"

    def like(self, kind: str) -> dict[str, Step]:
        """The steps of a kind that were begun: copy, all-reduce, init."""
        return {name: step for name, step in self.steps.items() if name.split()[0] == kind}


Said = tuple[Severity, str]


def findings(
    proof: Proof, ranks: int, host: Host, plan: Plan, backend: str, deadline: float
) -> list[Finding]:
    """What the proof says; what was not reached is unknown, never fine."""
    trouble = _trouble(proof, ranks, deadline)
    copies, init, reduces = proof.like("copy"), proof.like("init"), proof.like("all-reduce")
    product = gpus.products().get(of(host).gpu or "")
    healthy = product.healthy if product else None
    said = {
        "deep-start": _stage(proof.like("import"), trouble, {"import"}, proof.torch),
        "deep-copy": _stage(
            copies, trouble, {"copy"}, f"{ranks * (ranks - 1)} pairs, data unchanged"
        ),
        "deep-copy-speed": _copy_speed(copies, backend, healthy),
        "deep-init": _stage(
            init, trouble, {"init"}, f"{counting.of(ranks, 'rank')} over {backend}"
        ),
        "deep-all-reduce": _stage(
            reduces, trouble, {"all-reduce"}, f"{len(SIZES)} sizes, 8 B to 64 MiB, exact"
        ),
        "deep-all-reduce-speed": _reduce_speed(reduces, ranks, backend, healthy),
        "deep-all-reduce-paths": _paths(proof, trouble, plan),
    }
    is_short = len(reduces) < len(SIZES) or "all-reduce" in (proof.hung or "").split()
    if trouble and is_short and said["deep-all-reduce"][0] is Severity.OK:
        said["deep-all-reduce"] = (Severity.UNKNOWN, f"not all of it was reached: {trouble[1]}")
    cause, fix = likely(host, plan)
    return [_finding(live, said[live.id], cause, fix) for live in LIVE]


def _finding(live: Check, said: Said, cause: str, fix: str) -> Finding:
    severity, evidence = said
    if live.id == "deep-start":
        fix = "install torch for this host's CUDA in the engine, or set engine.python"
    elif severity is Severity.FAIL:
        evidence = f"{evidence}; likely cause: {cause}"
    mend = fix if severity in (Severity.WARN, Severity.FAIL) else ""
    return Finding(live.id, severity, live.title, evidence, mend, live.why, live.group)


def _trouble(proof: Proof, ranks: int, deadline: float) -> tuple[str, str] | None:
    """The kind of step at which it ended, and in what words."""
    last = next(reversed(proof.steps), "import")
    wrong = [(name, step) for name, step in proof.steps.items() if step.wrong]
    if wrong:
        name, step = wrong[0]
        rank, what = next(iter(step.wrong.items()))
        return name.split()[0], f"{_in_words(name)}{_of(rank)}: {what}"
    if proof.ended:
        # A rank that was killed is the cause; the lost connections of the others are what came of
        # it.
        rank, how = min(proof.ended.items(), key=lambda one: "was killed" not in one[1])
        return last.split()[0], f"{_in_words(last)}{_of(rank)}: {how}"
    if proof.hung:
        step = proof.steps.get(proof.hung, Step())
        silent = sorted(step.began - set(step.seconds)) or sorted(set(range(ranks)) - step.began)
        who = (
            f"; no answer from rank {', '.join(map(str, silent))}"
            if silent and silent[0] >= 0
            else ""
        )
        limit = IMPORT_DEADLINE if proof.hung == "import" else deadline
        return proof.hung.split()[0], f"{_in_words(proof.hung)} did not end within {limit:g} s{who}"
    return None


def _of(rank: int) -> str:
    return f" on rank {rank}" if rank >= 0 else ""


def _in_words(name: str) -> str:
    """A step as an operator says it: "all-reduce of 2 MiB"."""
    kind, _, rest = name.partition(" ")
    if kind == "all-reduce":
        size = int(rest)
        unit = next(
            (
                f"{size >> shift} {word}"
                for shift, word in ((20, "MiB"), (10, "KiB"))
                if size >> shift
            ),
            "",
        )
        return f"all-reduce of {unit or f'{size} B'}"
    if kind == "path":
        way, _, many = rest.partition(" ")
        name = "PCIe IPC" if way == "ipc" else way.upper()
        return f"all-reduce of {int(many) >> 10} KiB by {name}"
    if kind == "copy":
        return f"copy from GPU {rest.replace('->', ' to ')}"
    return "finding each other" if kind == "init" else f"{kind} of torch"


def _stage(
    steps: dict[str, Step], trouble: tuple[str, str] | None, kinds: set[str], fine: str
) -> Said:
    if trouble and trouble[0] in kinds:
        return Severity.FAIL, trouble[1]
    if not steps:
        return Severity.UNKNOWN, f"not reached: {trouble[1]}" if trouble else "not reached"
    return Severity.OK, fine


def _copy_speed(copies: dict[str, Step], backend: str, healthy: Healthy | None) -> Said:
    taken = {
        name: max(filter(None, step.seconds.values()), default=0.0) for name, step in copies.items()
    }
    speeds = {name: COPY / seconds / 1e9 for name, seconds in taken.items() if seconds}
    if not speeds:
        return Severity.UNKNOWN, "not measured" + (
            ": gloo goes through the host" if backend == "gloo" else ""
        )
    slow = min(speeds, key=lambda name: speeds[name])
    median = statistics.median(speeds.values())
    text = f"{speeds[slow]:.1f} GB/s ({slow}) to {max(speeds.values()):.1f}, median {median:.1f}"
    if healthy is None:
        return Severity.UNKNOWN, f"{text}; {UNTOLD}"
    is_slow = speeds[slow] < healthy.copy / 2
    return Severity.WARN if is_slow else Severity.OK, f"{text}; {healthy.told}"


def _reduce_speed(
    reduces: dict[str, Step], ranks: int, backend: str, healthy: Healthy | None
) -> Said:
    taken = {
        int(name.split()[1]): max(filter(None, step.seconds.values()), default=0.0)
        for name, step in reduces.items()
        if len(step.seconds) == ranks
    }
    if not taken.get(SIZES[-1]):
        return Severity.UNKNOWN, "not measured"
    busbw = 2 * (ranks - 1) / ranks * SIZES[-1] / taken[SIZES[-1]] / 1e9
    text = f"busbw {busbw:.1f} GB/s at 64 MiB, {taken[32768] * 1e6:.0f} us at 32 KiB over {backend}"
    if backend == "nccl" and ranks == 8 and healthy:
        is_slow = busbw < healthy.busbw / 2
        return Severity.WARN if is_slow else Severity.OK, f"{text}; {healthy.told}"
    return Severity.UNKNOWN, f"{text}; {UNTOLD}"


def _paths(proof: Proof, trouble: tuple[str, str] | None, plan: Plan) -> Said:
    """Where the PCIe IPC all-reduce beats NCCL, and whether the plan uses it there."""
    uses = dialect(plan.engine).choices(plan.flag, plan.env)["pcie-ipc-allreduce"]
    if trouble and trouble[0] == "path":
        return (Severity.FAIL if uses else Severity.UNKNOWN), trouble[1]
    nccl, ipc = times(proof, "path nccl"), times(proof, "path ipc")
    seen = Measured("", "", 0, "", nccl=nccl, ipc=ipc, no_ipc=proof.no_ipc)
    if not nccl:
        return Severity.UNKNOWN, "not measured" + (f": {trouble[1]}" if trouble else "")
    if seen.ipc_up_to is None:
        return Severity.UNKNOWN, f"PCIe IPC not measured: {proof.no_ipc or 'not reached'}"
    told = ", ".join(words(seen))
    return (Severity.WARN if uses and not seen.ipc_up_to else Severity.OK), told


def times(proof: Proof, kind: str) -> dict[int, float]:
    """Seconds of the slowest rank by bytes, of the steps that all ranks ended with the right data;
    `kind` is what their names begin with: "path ipc".
    """
    found = {name: step for name, step in proof.steps.items() if name.startswith(f"{kind} ")}
    return {
        int(name.rpartition(" ")[2]): max(filter(None, step.seconds.values()))
        for name, step in found.items()
        if not step.wrong and any(step.seconds.values()) and step.began <= step.seconds.keys()
    }


def measured(proof: Proof, ranks: int, day: str, fingerprint: str) -> Measured:
    """What is kept of a proof over NCCL."""
    copies = proof.like("copy")
    broken = next((name for name, step in copies.items() if step.wrong), "")
    if proof.hung and proof.hung.startswith("copy"):
        broken = proof.hung
    speeds = {
        name.removeprefix("copy "): COPY / seconds / 1e9
        for name, step in copies.items()
        if not step.wrong and (seconds := max(filter(None, step.seconds.values()), default=0.0))
    }
    return Measured(
        fingerprint,
        day,
        ranks,
        proof.torch,
        copies=speeds,
        nccl=times(proof, "path nccl"),
        ipc=times(proof, "path ipc"),
        broken=f"{_in_words(broken)} did not bring the data" if broken else "",
        no_ipc=proof.no_ipc,
    )


def likely(host: Host, plan: Plan) -> tuple[str, str]:
    """The cause that the facts suggest for data that does not arrive, and what fixes it."""
    judged = judge(host, plan, only=EXPLAIN)
    seen = {found.id: found for found in judged if found.severity in (Severity.WARN, Severity.FAIL)}
    for id in EXPLAIN:
        if id in seen:
            return f"{id}, {seen[id].evidence}", seen[id].fix
    return (
        "none that the facts show",
        (
            "try `--set env.NCCL_P2P_DISABLE=1`: if it passes with that, peer-to-peer is at fault;"
            " see the kernel log"
        ),
    )
