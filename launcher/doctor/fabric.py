"""`doctor --deep`: proves by moving data what no table can tell.

A step that does not end becomes a finding.
"""

from __future__ import annotations

import select
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from launcher.doctor.fabric_verdict import IMPORT_DEADLINE, MARK, Proof, findings, measured
from launcher.errors import UserError
from launcher.files import programs
from launcher.host.collectors import fabric
from launcher.host.facts import Host
from launcher.plan.findings import Finding
from launcher.plan.plan import Plan
from launcher.serve.session import ProcessTree

# seconds after the first rank ended: its neighbours' complaints and its own end come in any order
GRACE = 1.0
VISIBLE, BY_BUS = "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"
IN_USE = 1 << 30  # bytes of a GPU that something else holds


def deep(
    plan: Plan,
    ranks: int,
    host: Host,
    environ: Mapping[str, str],
    *,
    backend: str,
    deadline: float,
    tell: Callable[[str], None],
) -> list[Finding]:
    """Prove copies and all-reduce over `ranks` ranks with the plan's environment; `deadline`
    seconds a step.

    Raises UserError while something else uses the GPUs. Nothing is left of it, however it ends.
    """
    if backend == "nccl":
        _require_idle(host)
    env = {BY_BUS: "PCI_BUS_ID", **environ, **plan.env, "PYTHONUNBUFFERED": "1"}
    try:
        python = programs.find_python(plan.python, env)
    except programs.NoProgramError as error:
        return findings(Proof(ended={-1: str(error)}), ranks, host, plan, backend, deadline)
    with tempfile.TemporaryDirectory(prefix="glm5-deep-") as folder:
        program = str(Path(__file__).with_name("fabric_rank.py"))
        argv = [python, program, backend, str(ranks), folder]
        # An order that was chosen by an earlier measurement is not what is to be measured.
        if plan_sets(plan, VISIBLE):
            del env[VISIBLE]
        session = ProcessTree(argv, env)
        try:
            proof = _watch(session, deadline, ranks, tell)
        finally:
            session.kill()
            while session.listen():
                select.select([session.control], [], [], 1.0)
                for _ in session.pieces():
                    pass
            died = session.close()
    if not proof.steps:
        proof.ended[-1] = died.how
    if backend == "nccl" and VISIBLE not in env and env[BY_BUS] == "PCI_BUS_ID":
        _keep(proof, ranks, environ, tell)
    return findings(proof, ranks, host, plan, backend, deadline)


def plan_sets(plan: Plan, variable: str) -> bool:
    """Whether a rule has set a variable of a plan."""
    return any(one.name == variable and one.layer.startswith("rule") for one in plan.settings)


def _keep(
    proof: Proof, ranks: int, environ: Mapping[str, str], tell: Callable[[str], None]
) -> None:
    """Keep what was measured, for the rules; nothing where nothing was."""
    seen = measured(proof, ranks, time.strftime("%Y-%m-%d"), fabric.here())
    if not (seen.fingerprint and (seen.copies or seen.nccl or seen.broken)):
        return
    try:
        tell(f"deep     kept in {fabric.keep(environ, seen)}")
    except OSError as error:
        tell(f"deep     not kept: {error}")


def _require_idle(host: Host) -> None:
    for gpu in host.driver.gpus.otherwise(()):
        for process in gpu.processes.otherwise(()):
            raise UserError(
                f"GPU {gpu.index} is in use by pid {process.pid} ({process.name or 'unknown'})",
                fix="stop it first (`glm5-serve down`): --deep needs the GPUs for itself",
            )
        if gpu.memory_used.otherwise(0) > IN_USE:
            raise UserError(
                f"GPU {gpu.index} has {gpu.memory_used.get() >> 20} MiB in use",
                fix="`fuser -v /dev/nvidia*` finds who holds it",
            )


def _watch(session: ProcessTree, deadline: float, ranks: int, tell: Callable[[str], None]) -> Proof:
    """Read until the last process is gone, a step took too long, or a rank ended and left the
    others waiting.
    """
    proof = Proof()
    rest = b""
    last, since, ended = "import", time.monotonic(), time.monotonic()
    while True:
        select.select([session.control.fileno(), session.output], [], [], 0.2)
        alive = session.listen()
        for piece in session.pieces():
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                # NCCL may leave a line open
                _, mark, said = line.decode(errors="replace").partition(MARK)
                if mark:
                    proof.hear(said)
        now = next(reversed(proof.steps), "import")
        if now != last:
            last, since = now, time.monotonic()
            tell(f"deep     {now}")
        if not alive or (proof.ended and time.monotonic() - ended > GRACE):
            return proof
        if not proof.ended:
            ended = time.monotonic()
        if time.monotonic() - since > (IMPORT_DEADLINE if last == "import" else deadline):
            proof.hung = last
            return proof
