"""The GPUs' health and modes."""

from __future__ import annotations

from collections.abc import Sequence

from launcher.doctor.checks.judging import (
    UNSUPPORTED,
    Verdict,
    by_gpu,
    fail,
    failing,
    gib,
    gpus,
    known_bad,
    ok,
    warn,
)
from launcher.host.facts import Gpu, Host
from launcher.plan.plan import Plan

GROUP = "GPU health"
LEFT_OVER = 1 << 30  # bytes; an idle board has less in use without any process
ALIKE = 0.85  # makers give one product defaults of their own: 575 and 600 W
HOT = 85  # degrees; RTX PRO 6000 slows down at about 90


def gpu_answers(host: Host, plan: Plan) -> Verdict:
    """Every GPU answers the driver.

    A GPU that is lost or wants a reset takes the whole server with it at the first CUDA call.

    Tested: with a GPU lost on a driver library. Observed: Xid 79 and 154.
    """
    mute = [(gpu, why) for gpu in gpus(host) if (why := _mute(gpu))]
    if mute:
        return fail(
            by_gpu(mute),
            fix="reset it (`nvidia-smi --gpu-reset -i N`); if that fails power the host off and on",
        )
    failing(gpus(host), lambda gpu: gpu.name, lambda name: False)
    return ok("all answer")


def _mute(gpu: Gpu) -> str | None:
    """Why it does not answer: who it is, or readings; one of these alone is a sensor's fault."""
    readings = (gpu.temperature, gpu.pstate, gpu.power_draw, gpu.utilisation)
    why = [fact.unknown for fact in readings if str(fact.unknown).startswith("nvidia-smi says")]
    if len(why) > 1:
        return why[0]
    name = gpu.name
    return None if name.is_unseen or name.unknown == UNSUPPORTED else name.unknown


def gpu_recovery(host: Host, plan: Plan) -> Verdict:
    """No GPU asks for a reset or a reboot.

    The driver knows that this GPU is not sound: it will fail under the first load.

    Observed: Xid 154, recovery action changed.
    """
    odd = failing(gpus(host), lambda gpu: gpu.recovery, lambda action: action != "none")
    if odd:
        action = "`nvidia-smi --gpu-reset -i N` with nothing running, or a reboot where it says so"
        return fail(by_gpu((gpu, f"recovery action {action}") for gpu, action in odd), fix=action)
    return ok("recovery action none")


def gpu_left_over(host: Host, plan: Plan) -> Verdict:
    """No memory or load is left on a GPU without a process.

    A hung run was killed but the driver could not clean up, or a container hides the owner.

    Reported: rtx6kpro#15, 624 MiB and 100 % after an NCCL hang. Tested: on a driver library.
    """
    full = [gpu for gpu in gpus(host) if _left(gpu)]
    odd = [(gpu, _left(gpu)) for gpu in full if gpu.processes.known and not gpu.processes.get()]
    if odd:
        fix = (
            "`fuser -v /dev/nvidia*` finds hidden owners (containers too); else reset the GPU or"
            " reboot"
        )
        return fail(by_gpu((gpu, f"{text} without a process") for gpu, text in odd), fix=fix)
    failing(full, lambda gpu: gpu.processes, lambda seen: False)
    failing(gpus(host), lambda gpu: gpu.memory_used, lambda seen: False)
    return ok("idle and empty, or owned")


def _left(gpu: Gpu) -> str:
    used, busy = gpu.memory_used.otherwise(0), gpu.utilisation.otherwise(0)
    return f"{gib(used)} in use, {busy} % busy" if used > LEFT_OVER or busy >= 90 else ""


def gpu_mig(host: Host, plan: Plan) -> Verdict:
    """MIG is off.

    A GPU cut into instances gives a rank a part of it, without peer-to-peer.

    Tested: on a driver library. Reported: NVIDIA's MIG guide.
    """
    cut = failing(gpus(host), lambda gpu: gpu.mig, lambda on: on)
    if cut:
        return fail(
            by_gpu((gpu, "MIG is on") for gpu, _ in cut),
            fix="`nvidia-smi -mig 0` with nothing running, then reboot",
        )
    return ok("off")


def gpu_ecc(host: Host, plan: Plan) -> Verdict:
    """No GPU has uncorrected memory errors.

    The next one may stop the server (Xid 48, 94, 95) or already have changed weights.

    Tested: on a driver library. Reported: NVIDIA's Xid catalogue.
    """
    bad = failing(gpus(host), lambda gpu: gpu.ecc_uncorrected, lambda errors: errors > 0)
    if bad:
        fix = (
            "reset the GPU (`nvidia-smi --gpu-reset -i N`) or reboot; RMA the board if they come"
            " back"
        )
        return fail(
            by_gpu(
                (gpu, f"{errors} uncorrected ECC errors since the driver was loaded")
                for gpu, errors in bad
            ),
            fix=fix,
        )
    return ok("none since the driver was loaded")


def gpu_remap(host: Host, plan: Plan) -> Verdict:
    """No memory row waits to be remapped, and none failed to be.

    A pending row is still in use; a failed one means the board has no spare rows left.

    Tested: on a driver library. Reported: NVIDIA's Xid catalogue (63, 64).
    """
    if failed := known_bad(gpus(host), lambda gpu: gpu.remap_failed, lambda yes: yes):
        return fail(by_gpu((gpu, "row remapping failed") for gpu, _ in failed), fix="RMA the board")
    if pending := known_bad(gpus(host), lambda gpu: gpu.remap_pending, lambda yes: yes):
        fix = "reset the GPU (`nvidia-smi --gpu-reset -i N`) or reboot before serving"
        return warn(by_gpu((gpu, "a row waits to be remapped") for gpu, _ in pending), fix=fix)
    failing(gpus(host), lambda gpu: gpu.remap_failed, lambda yes: yes)
    failing(gpus(host), lambda gpu: gpu.remap_pending, lambda yes: yes)
    return ok("none pending, none failed")


def gpu_compute_mode(host: Host, plan: Plan) -> Verdict:
    """The compute mode lets several processes use a GPU.

    SGLang's ranks, its detokenizer's checks and `doctor --deep` share GPUs; exclusive mode refuses
    the second.

    Reported: NVIDIA's nvidia-smi documentation.
    """
    odd = failing(gpus(host), lambda gpu: gpu.compute_mode, lambda mode: mode != "default")
    if odd:
        return fail(
            by_gpu((gpu, f"compute mode {mode}") for gpu, mode in odd), fix="`nvidia-smi -c 0`"
        )
    return ok("default")


def gpu_diagnostics(host: Host, plan: Plan) -> Verdict:
    """No test of DCGM's diagnosis failed, where one was run.

    It tests memory, PCIe and load as no driver does by itself: what fails there fails in service.

    Reported: NVIDIA's DCGM documentation (dcgmi diag).
    """
    results = host.driver.diagnostics.get()
    for word, say in (("Fail", fail), ("Warn", warn)):
        if named := [name for name, result in results.items() if result == word]:
            fix = "read what `dcgmi diag` says below that test; run it again with nothing else up"
            return say(f"dcgmi diag: {word.lower()} in {', '.join(named)}", fix=fix)
    return ok(f"{len(results)} tests, none failed" if results else "none was run")


def gpu_virtualization(host: Host, plan: Plan) -> Verdict:
    """The GPUs are physical ones, and no vGPUs.

    A vGPU has no peer-to-peer between boards and a scheduler of its own.

    Reported: NVIDIA's vGPU documentation.
    """
    virtual = failing(
        gpus(host), lambda gpu: gpu.virtualization, lambda mode: mode not in ("none", "passthrough")
    )
    if virtual:
        return warn(
            by_gpu((gpu, f"virtualisation {mode}") for gpu, mode in virtual),
            fix="pass the whole GPU through",
        )
    return ok("none or passed through")


def gpu_power_limit(host: Host, plan: Plan) -> Verdict:
    """No power limit is below the board's default.

    350 W instead of 600 W leaves about 64 % of the compute: prefill is slower, decode hardly.

    Reported: rtx6kpro power sweep.
    """
    low = [
        (gpu, f"{gpu.power_limit.get():.0f} W of {gpu.power_default.get():.0f} W")
        for gpu in gpus(host)
        if gpu.power_limit.known
        and gpu.power_default.known
        and gpu.power_limit.get() < gpu.power_default.get()
    ]
    if low:
        fix = (
            "`nvidia-smi -pl WATTS` if supply and cooling bear it; allow this finding if the cap is"
            " meant"
        )
        return warn(by_gpu(low), fix=fix)
    if odd := _unlike_limits(gpus(host)):
        fix = "see `nvidia-smi -q -d POWER`: it tells the default; set all alike with `-pl WATTS`"
        return warn(f"{odd}; no default was provided", fix=fix)
    failing(gpus(host), lambda gpu: gpu.power_limit, lambda seen: False)
    failing(gpus(host), lambda gpu: gpu.power_default, lambda seen: False)
    return ok("at the default")


def _unlike_limits(seen: Sequence[Gpu]) -> str:
    """The limits of GPUs of one product that differ, where their default was not provided; ""
    where none do.
    """
    mute = [gpu for gpu in seen if gpu.power_limit.known and gpu.power_default.is_unseen]
    limits: dict[str, set[float]] = {}
    for gpu in mute:
        limits.setdefault(gpu.name.otherwise(""), set()).add(gpu.power_limit.get())
    told = {name for name, watts in limits.items() if name and min(watts) < ALIKE * max(watts)}
    odd = [gpu for gpu in mute if gpu.name.otherwise("") in told]
    return by_gpu((gpu, f"{gpu.power_limit.get():.0f} W") for gpu in odd)


def gpu_clocks(host: Host, plan: Plan) -> Verdict:
    """Nothing slows the clocks down but idleness and the power cap.

    Heat or a power brake halves the speed of one GPU, and all ranks wait for it.

    Tested: on a driver library. Reported: NVML's clocks event reasons.
    """
    bad = {"hw_slowdown", "hw_thermal_slowdown", "hw_power_brake", "sw_thermal_slowdown"}
    slow = failing(gpus(host), lambda gpu: gpu.clock_reasons, lambda reasons: bad & set(reasons))
    if slow:
        seen = by_gpu((gpu, ", ".join(sorted(bad & set(reasons)))) for gpu, reasons in slow)
        return warn(
            seen,
            fix=(
                "look at fans, airflow, power cables and the supply's load; `nvidia-smi -q -d"
                " PERFORMANCE`"
            ),
        )
    return ok("no slowdown")


def gpu_temperature(host: Host, plan: Plan) -> Verdict:
    """No GPU is hot before it has work.

    A board that is hot now slows down or shuts off under load.

    Reported: open-gpu-kernel-modules#1045 (a fan that stood still).
    """
    hot = failing(gpus(host), lambda gpu: gpu.temperature, lambda degrees: degrees >= HOT)
    if hot:
        return warn(
            by_gpu((gpu, f"{degrees} C") for gpu, degrees in hot),
            fix="look at fans and airflow before serving",
        )
    return ok(f"at most {max((gpu.temperature.otherwise(0) for gpu in gpus(host)), default=0)} C")
