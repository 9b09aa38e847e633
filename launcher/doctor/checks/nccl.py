"""The environment that the server would run with: NCCL's variables and those around it."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

from launcher.doctor.checks.judging import Verdict, fail, ok, sample, warn
from launcher.host.facts import Host
from launcher.knowledge import nccl
from launcher.plan.plan import Plan

GROUP = "NCCL and environment"
BIG_BUFFER = 64 << 20  # bytes; NCCL's default is 4 MiB a channel and peer, in GPU memory


def effective(host: Host) -> dict[str, str]:
    """The NCCL variables as NCCL gets them: environment first, then its files in their order."""
    files = host.environment.conf.otherwise({})
    merged: dict[str, str] = {}
    for settings in [host.environment.variables.get(), *files.values()]:
        for name, value in settings.items():
            if name.startswith("NCCL_"):
                merged.setdefault(name, value)
    return merged


def on(variables: Mapping[str, str], name: str) -> bool:
    """Whether NCCL takes a switch for on: exactly 1."""
    return nccl.number(variables.get(name, "")) == 1


def nccl_names(host: Host, plan: Plan) -> Verdict:
    """Every NCCL variable that is set is one that NCCL reads.

    NCCL ignores unknown names in silence: the recipe looks applied and is not.

    Source: NCCL 2.30.7, every name in its source. Tested: on environments.
    """
    odd = []
    for name in effective(host):
        if name not in nccl.NAMES:
            near = difflib.get_close_matches(name, nccl.NAMES, n=1, cutoff=0.8)
            odd.append(
                f"{name}: "
                + nccl.REPLACED.get(name, f"did you mean {near[0]}?" if near else "nobody reads it")
            )
    if odd:
        return warn("; ".join(odd), fix=f"correct or remove {odd[0].partition(':')[0]}")
    return ok(f"{len(effective(host))} set, all known")


def nccl_numbers(host: Host, plan: Plan) -> Verdict:
    """Every NCCL number is written as one.

    NCCL reads numbers with strtoll: "true" and "yes" are 0 silently, a leading zero makes
    them octal.

    Source: NCCL 2.30.7, src/misc/param.cc. Tested: the same reading, on values.
    """
    odd = [
        f"{name}={value} is {nccl.number(value)} to NCCL"
        for name, value in effective(host).items()
        if name in nccl.NAMES and not nccl.is_text(name) and value and not nccl.is_number(value)
    ]
    if odd:
        return warn(
            "; ".join(odd),
            fix=f"write a decimal number: 1 or 0 instead of {odd[0].split('=')[1].split()[0]}",
        )
    return ok("all numbers")


def nccl_channels(host: Host, plan: Plan) -> Verdict:
    """The numbers of channels make sense together.

    A minimum above the maximum contradicts itself; above 64 NCCL cuts it.

    Source: NCCL's documentation and source.
    """
    variables = effective(host)
    low, high = (nccl.number(variables.get(f"NCCL_{end}_NCHANNELS", "")) for end in ("MIN", "MAX"))
    if high and low > high:
        return warn(
            f"NCCL_MIN_NCHANNELS={low} > NCCL_MAX_NCHANNELS={high}", fix="unset NCCL_MAX_NCHANNELS"
        )
    if max(low, high) > 64:
        return warn(
            f"{max(low, high)} channels, NCCL has 64 at most", fix="set NCCL_MIN_NCHANNELS=8"
        )
    return ok(f"at least {low}" if low else "NCCL's own choice")


def nccl_infiniband(host: Host, plan: Plan) -> Verdict:
    """NCCL keeps off InfiniBand cards on a single host.

    It may choose one for its bootstrap or for pairs without P2P, and wait for a fabric that is not
    there.

    Reported: every single-host recipe sets NCCL_IB_DISABLE=1.
    """
    cards = host.system.infiniband.get()
    if cards and not on(effective(host), "NCCL_IB_DISABLE") and plan.flag("nnodes") in (None, "1"):
        return warn(f"/sys/class/infiniband has {sample(cards)}", fix="set NCCL_IB_DISABLE=1")
    return ok("no card" if not cards else "NCCL_IB_DISABLE=1, or several hosts")


def nccl_interface(host: Host, plan: Plan) -> Verdict:
    """NCCL_SOCKET_IFNAME names an interface of this host.

    With a name that matches none, init ends with "no socket interface found".

    Source: NCCL's documentation. Tested: on values.
    """
    asked = effective(host).get("NCCL_SOCKET_IFNAME", "")
    if not asked or asked.startswith("^"):
        return ok("NCCL's own choice" if not asked else f"all but {asked[1:]}")
    there = host.system.interfaces.get()
    exact, names = asked.startswith("="), asked.lstrip("=").split(",")
    if not any(
        name == here if exact else here.startswith(name) for name in names for here in there
    ):
        fix = f"set NCCL_SOCKET_IFNAME to one of {sample(there)}, or remove it"
        return fail(f"NCCL_SOCKET_IFNAME={asked}; /sys/class/net has {sample(there)}", fix=fix)
    return ok(asked)


def nccl_files(host: Host, plan: Plan) -> Verdict:
    """Files that variables name are there.

    NCCL goes on without its graph or topology file and says so only under NCCL_DEBUG; a
    configuration is missed.

    Reported: rtx6kpro nccl-tuning. Tested: on a missing file.
    """
    missing = host.environment.missing_files.get()
    if missing:
        return fail(f"not there: {sample(missing)}", fix="correct the path, or remove the variable")
    return ok("all there")


def nccl_debug(host: Host, plan: Plan) -> Verdict:
    """NCCL's log is not at a level for debugging.

    INFO and TRACE write for every call and cost speed.

    Source: NCCL's documentation.
    """
    level = effective(host).get("NCCL_DEBUG", "")
    if level.upper() in ("INFO", "TRACE"):
        return warn(f"NCCL_DEBUG={level}", fix="set NCCL_DEBUG=WARN for serving")
    return ok(level or "not set")


def nccl_one_host(host: Host, plan: Plan) -> Verdict:
    """No variable is set that does nothing on a single host.

    It costs nothing, and tells that the recipe was made for another place.

    Source: NCCL 2.30.7 (its network transport alone reads them).
    """
    idle = sorted(nccl.BETWEEN_HOSTS & set(effective(host)))
    if idle and plan.flag("nnodes") in (None, "1"):
        return warn(f"{', '.join(idle)}: for networks between hosts only", fix=f"remove {idle[0]}")
    return ok("none")


def nccl_forced(host: Host, plan: Plan) -> Verdict:
    """Algorithm, protocol and checks are left to NCCL.

    They are there for debugging; LL128 forced on a platform that does not keep its order corrupts
    data.

    Source: NCCL's documentation (its debugging section).
    """
    forced = sorted((nccl.FOR_DEBUGGING - {"NCCL_IGNORE_DISABLED_P2P"}) & set(effective(host)))
    if forced:
        seen = ", ".join(f"{name}={effective(host)[name]}" for name in forced)
        return warn(
            seen, fix=f"remove {forced[0]}, unless you measured it on this host with value checks"
        )
    return ok("left to NCCL")


def nccl_conf_files(host: Host, plan: Plan) -> Verdict:
    """No file sets NCCL variables behind the profile's back.

    /etc/nccl.conf and ~/.nccl.conf count wherever the environment is silent, and nobody looks
    there.

    Source: NCCL 2.30.7, src/misc/param.cc. Tested: on files.
    """
    seen = [
        f"{path}: {name}={value}"
        for path, settings in host.environment.conf.get().items()
        for name, value in settings.items()
    ]
    if seen:
        return warn(
            sample(seen), fix="move what you need into the profile's [env], and remove the file"
        )
    return ok("no such file, or nothing in it")


def nccl_identity(host: Host, plan: Plan) -> Verdict:
    """Nothing pins NCCL's rendezvous or host identity.

    A left-over NCCL_COMM_ID or NCCL_HOSTID makes ranks wait for a place nobody listens at, or
    mistake their neighbours.

    Source: NCCL's documentation.
    """
    pinned = [name for name in ("NCCL_COMM_ID", "NCCL_HOSTID") if name in effective(host)]
    if pinned:
        return warn(
            ", ".join(f"{name}={effective(host)[name]}" for name in pinned),
            fix=f"remove {pinned[0]}",
        )
    return ok("nothing pinned")


def nccl_buffers(host: Host, plan: Plan) -> Verdict:
    """NCCL's buffers have a normal size.

    NCCL_BUFFSIZE is taken for each channel and peer, from the memory that graphs and activations
    need.

    Source: NCCL's documentation (default 4 MiB).
    """
    size = nccl.number(effective(host).get("NCCL_BUFFSIZE", ""))
    if size >= BIG_BUFFER:
        return warn(
            f"NCCL_BUFFSIZE={size}: {size >> 20} MiB a channel and peer",
            fix="remove it (NCCL's own is 4 MiB)",
        )
    return ok(f"{size or 4 << 20} bytes")


def cuda_blocking(host: Host, plan: Plan) -> Verdict:
    """CUDA calls are not made to wait for each kernel.

    CUDA_LAUNCH_BLOCKING=1 is for finding a crash; serving is several times slower with it.

    Reported: NVIDIA's CUDA programming guide.
    """
    if host.environment.variables.get().get("CUDA_LAUNCH_BLOCKING", "0") not in ("", "0"):
        return warn("CUDA_LAUNCH_BLOCKING is set", fix="unset it")
    return ok("not set")


def allocator_and_ipc(host: Host, plan: Plan) -> Verdict:
    """Torch's allocator fits the all-reduce that is used.

    expandable_segments memory cannot be shared by CUDA IPC, which the PCIe one-shot all-reduce
    needs: it crashes.

    Reported: rtx6kpro glm5, on a fork. Source: SGLang >= 0.5.21 has
    SGLANG_ENABLE_PCIE_IPC_ALLREDUCE.
    """
    variables = host.environment.variables.get()
    asked = variables.get("SGLANG_ENABLE_PCIE_IPC_ALLREDUCE", "0").lower() in ("1", "true")
    if asked and "expandable_segments:True" in variables.get("PYTORCH_CUDA_ALLOC_CONF", ""):
        fix = (
            "remove expandable_segments:True from PYTORCH_CUDA_ALLOC_CONF, or the all-reduce"
            " variable"
        )
        return warn(
            "SGLANG_ENABLE_PCIE_IPC_ALLREDUCE and expandable_segments:True together", fix=fix
        )
    return ok("no conflict")


def unread_variables(host: Host, plan: Plan) -> Verdict:
    """No variable is set that nobody reads.

    Harmless, but it looks like a setting that is in force.

    Source: SGLang 0.5.10 and 0.5.23, environ.py; safetensors.
    """
    seen = [
        f"{name}: {nccl.UNREAD[name]}"
        for name in nccl.UNREAD
        if name in host.environment.variables.get()
    ]
    if seen:
        return warn("; ".join(seen), fix=f"remove {seen[0].partition(':')[0]}")
    return ok("none")
