"""The GPUs."""

from __future__ import annotations

from launcher import counting
from launcher.doctor.checks.judging import (
    Verdict,
    by_gpu,
    counted,
    fail,
    failing,
    functions,
    gib,
    gpus,
    ok,
    sample,
    warn,
)
from launcher.host.facts import Gpu, Host
from launcher.knowledge.gpus import BLACKWELL, arch
from launcher.plan.plan import Plan

GROUP = "GPUs"
HELD = 256 << 20  # bytes; a display server or a monitor holds less


def gpu_count(host: Host, plan: Plan) -> Verdict:
    """The driver shows every GPU that the profile shards over.

    The engine starts one rank a GPU and fails after all ranks were started.

    Tested: with fewer GPUs on a driver library.
    """
    seen = len(counted(host))
    if seen >= plan.gpus:
        return ok(f"{counting.of(seen, 'GPU')}, {plan.gpus} wanted")
    shown = f"the driver shows {counting.of(seen, 'GPU')}"
    told = f"{shown}, {_for(plan)} needs {plan.gpus}"
    if (paths := len(host.driver.topology.otherwise(()))) > seen:
        told = f"outputs disagree: {shown}, `nvidia-smi topo -m` {paths}"
        if not plan.name:
            return warn(told, fix="take both again, on one host")
        told += f"; {_for(plan)} needs {plan.gpus}"
    on_bus = [one for one in host.pcie.functions.otherwise(()) if one.kind == "gpu"]
    if len(on_bus) >= plan.gpus:
        fix = "look for NVRM lines with `dmesg`, then reset or reseat those that `gpu-on-bus` names"
        return fail(f"{told}; {len(on_bus)} are on the PCI bus", fix=fix)
    fix = "choose a profile for these GPUs (`glm5-serve profiles`); `lspci -d 10de:` shows others"
    return fail(told, fix=fix)


def _for(plan: Plan) -> str:
    return f"profile {plan.name}" if plan.name else "a server"


def gpu_on_bus(host: Host, plan: Plan) -> Verdict:
    """Every GPU on the PCI bus is shown by the driver.

    One that the bus shows and the driver does not has failed to come up, or fell off the bus.

    Tested: on generated PCI trees.
    """
    bus = {
        function.bdf
        for function in functions(host, "gpu")
        if function.driver.otherwise("nvidia") == "nvidia"
    }
    shown = {gpu.bdf.get() for gpu in gpus(host)}
    if missing := sorted(bus - shown):
        fix = (
            "look for its NVRM lines with `dmesg`; power the host off and on (a reboot keeps a GPU"
            " without power)"
        )
        return fail(f"on the bus but not in the driver: {', '.join(missing)}", fix=fix)
    return ok(f"{len(shown)} on the bus and in the driver")


def gpu_architecture(host: Host, plan: Plan) -> Verdict:
    """The GPUs are of the architecture that the profile is for.

    Kernels of another architecture do not exist there: "Unsupported architecture" after the weights
    are loaded.

    Tested: on driver libraries that show an H100, a B200, a mixed host. Reported: sglang#26087,
    #40286, vllm#53963.
    """
    wanted = plan.needs_arch
    odd = failing(
        gpus(host),
        lambda gpu: gpu.capability,
        lambda seen: arch(seen) not in ((wanted,) if wanted else BLACKWELL),
    )
    if odd:
        names = by_gpu(
            (gpu, f"{gpu.name.otherwise('a GPU')}, {_architecture(seen)}") for gpu, seen in odd
        )
        need = f"profile {plan.name} is for {wanted}" if wanted else "NVFP4 needs Blackwell"
        return fail(
            f"{names}; {need}",
            fix="choose a profile for these GPUs (`glm5-serve profiles`), or another host",
        )
    return ok(
        f"{wanted or 'Blackwell'}: compute capability {gpus(host)[0].capability.get()}"
        if gpus(host)
        else "no GPU"
    )


def _architecture(capability: str) -> str:
    if arch(capability) in BLACKWELL:
        return arch(capability)
    return f"compute capability {capability}, not Blackwell"


def gpu_alike(host: Host, plan: Plan) -> Verdict:
    """All GPUs are of one model and size.

    SGLang shards evenly: the smallest GPU decides, and it refuses to start when memory differs by a
    tenth.

    Tested: on a driver library with a mixed host. Source: SGLang's "memory capacity is unbalanced".
    """
    told = [gpu for gpu in gpus(host) if gpu.name.known and gpu.memory_total.known]
    kinds: dict[tuple[str, int], list[Gpu]] = {}
    for gpu in told:
        kinds.setdefault((gpu.name.get(), gpu.memory_total.get() >> 30), []).append(gpu)
    if len(kinds) > 1:
        seen = by_gpu(
            (gpu, f"{name}, {size} GiB") for (name, size), alike in kinds.items() for gpu in alike
        )
        return warn(
            seen,
            fix=(
                "choose the equal ones with CUDA_VISIBLE_DEVICES, or set the profile to the"
                " smallest"
            ),
        )
    for gpu in gpus(host):
        gpu.name.get(), gpu.memory_total.get()
    return ok(f"{len(gpus(host))}x {next(iter(kinds))[0]}" if kinds else "no GPU")


def gpu_order(host: Host, plan: Plan) -> Verdict:
    """CUDA and the driver's tools count unlike GPUs in the same order.

    CUDA puts the fastest first, nvidia-smi goes by the bus: on a mixed host the wrong GPUs are
    taken.

    Reported: NVIDIA's CUDA documentation (CUDA_DEVICE_ORDER).
    """
    names = {gpu.name.get() for gpu in gpus(host) if gpu.name.known}
    order = host.environment.variables.get().get("CUDA_DEVICE_ORDER")
    if len(names) > 1 and order != "PCI_BUS_ID":
        return warn(
            f"{len(names)} models, CUDA_DEVICE_ORDER is {order}",
            fix="set CUDA_DEVICE_ORDER=PCI_BUS_ID",
        )
    for gpu in gpus(host) if len(names) < 2 else ():
        gpu.name.get()
    return ok("one model" if len(names) <= 1 else "CUDA_DEVICE_ORDER=PCI_BUS_ID")


def gpu_memory_size(host: Host, plan: Plan) -> Verdict:
    """Each GPU has the memory that the profile was made for.

    Its share of the weights must fit with room for the KV cache: else it is out of memory after
    minutes of loading.

    Tested: on driver libraries. Source: the weights' size in the checkpoint's headers.
    """
    small = failing(gpus(host), lambda gpu: gpu.memory_total, lambda size: size < plan.gpu_memory)
    if small:
        seen = by_gpu((gpu, gib(size)) for gpu, size in small)
        fix = "choose a profile for these GPUs (`glm5-serve profiles`)"
        return fail(f"{seen}; profile {plan.name} needs {gib(plan.gpu_memory)} each", fix=fix)
    return ok(
        f"at least {gib(min((gpu.memory_total.get() for gpu in gpus(host)), default=0))} each"
    )


def gpu_memory_free(host: Host, plan: Plan) -> Verdict:
    """No other process holds the GPUs' memory.

    SGLang's fraction is of what is free: a stale server makes the KV cache small, or leaves no room
    at all.

    Tested: on a driver library with processes. Reported: orphaned ranks, sglang#23627, #31645.
    """
    mine = [gpu for gpu in gpus(host) if _is_shown(gpu, plan)]
    whose = [gpu for gpu in mine if not gpu.processes.known and not _is_empty(gpu)]
    held = [
        (gpu, _holders(gpu))
        for gpu in mine
        if gpu.processes.known and max(_held(gpu), default=0) > HELD
    ]
    if held:
        fix = "stop them (`glm5-serve status` if they are ours), or kill the pid named"
        return fail(by_gpu(held), fix=fix)
    failing(whose, lambda gpu: gpu.processes, lambda seen: False)
    return ok("no process holds memory")


def _is_shown(gpu: Gpu, plan: Plan) -> bool:
    """Whether the plan may take a GPU: by number, or by (the beginning of) its UUID."""
    told = plan.env.get("CUDA_VISIBLE_DEVICES", "").replace(" ", "")
    uuid = gpu.uuid.otherwise("")
    return not told or any(
        one == str(gpu.index) or (not one.isdecimal() and (not uuid or uuid.startswith(one)))
        for one in told.split(",")
    )


def _is_empty(gpu: Gpu) -> bool:
    """Whether so little is in use that it does not matter whose it is."""
    return gpu.memory_used.known and gpu.memory_used.get() <= HELD


def _held(gpu: Gpu) -> list[int]:
    """Bytes of each process; where the driver does not say whose memory it is (in a container, on
    Windows), what is in use for all of them together.
    """
    told = [one.used for one in gpu.processes.get()]
    return [gpu.memory_used.otherwise(0)] if None in told else [size or 0 for size in told]


def _holders(gpu: Gpu) -> str:
    processes, held = gpu.processes.get(), _held(gpu)
    names = [f"pid {one.pid} ({one.name or 'unknown'})" for one in processes]
    if len(held) == len(names):
        return ", ".join(
            f"{name} holds {gib(size)}" for name, size in zip(names, held, strict=True)
        )
    return f"{sample(names)} together hold {gib(held[0])}"
