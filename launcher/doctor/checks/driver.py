"""The NVIDIA driver."""

from __future__ import annotations

from launcher import counting
from launcher.doctor.checks.judging import (
    UNSUPPORTED,
    Verdict,
    by_gpu,
    capabilities,
    counted,
    fail,
    failing,
    functions,
    gpus,
    is_for_blackwell,
    ok,
    warn,
)
from launcher.host.facts import Host
from launcher.knowledge import drivers
from launcher.knowledge.gpus import arch
from launcher.plan.plan import Plan

GROUP = "driver"


def driver_answers(host: Host, plan: Plan) -> Verdict:
    """The NVIDIA driver answers.

    Without it no CUDA program runs. A driver that hangs its callers hangs the server in the same
    way.

    Tested: against a driver library that is missing, unloaded, mismatched, hung. The real
    driver's words may differ.
    """
    seen = host.driver.gpus
    if seen.known:
        return ok(
            f"driver {host.driver.version.otherwise('of unknown version')},"
            f" {counting.of(len(counted(host)), 'GPU')}"
        )
    why = str(seen.unknown)
    if seen.is_unseen or "recorded" in why:
        seen.get()
    if "did not answer" in why:
        return fail(
            why,
            fix=(
                "look for NVRM and Xid lines with `dmesg`, then reboot: a wedged driver cannot be"
                " reloaded"
            ),
        )
    if "versions" in why:
        return fail(
            why,
            fix="reboot, or `rmmod nvidia_uvm nvidia_drm nvidia_modeset nvidia && modprobe nvidia`",
        )
    if "NVML" in why:
        fix = "look for NVRM lines with `dmesg`; a container that lost its GPUs is started again"
        return fail(why, fix=fix)
    if "permission" in why:
        return fail(
            why, fix="run as root, or in the group of /dev/nvidia*; a container wants --gpus all"
        )
    if host.system.container.otherwise("none") != "none":
        return fail(
            why, fix="start the container with --gpus all (nvidia-container-toolkit on the host)"
        )
    return fail(
        why,
        fix="install the driver's open kernel modules (e.g. `apt install nvidia-open`) and reboot",
    )


def driver_version(host: Host, plan: Plan) -> Verdict:
    """The driver is new enough for Blackwell.

    Drivers before R570 do not know the architecture; CUDA 13 builds of torch want R580.

    Reported: NVIDIA's CUDA and driver release notes.
    """
    seen = host.driver.version.get()
    if not is_for_blackwell(host, plan):
        return ok(f"{seen}; no GPU here is Blackwell, which wants a new one")
    wanted, why = drivers.minimum(host.engine.torch_cuda.otherwise(None))
    if drivers.reaches(seen, wanted):
        return ok(f"{seen}, at least {wanted} wanted")
    return fail(
        f"driver {seen}, at least {wanted} wanted: {why}", fix=f"install driver {drivers.good()}"
    )


def driver_known_good(host: Host, plan: Plan) -> Verdict:
    """The driver is not one that is known for trouble.

    These releases lost GPUs under load on hosts of this kind.

    Reported: NVIDIA/open-gpu-kernel-modules #1045, #1151, #1159, #1230, #1243; rtx6kpro#15, all of
    boards of the GB20x family. Not every host met it.
    """
    seen = host.driver.version.get()
    if trouble := drivers.trouble(seen):
        if all(fact.known and arch(fact.get()) != "sm120" for fact in capabilities(host)):
            return ok(f"{seen}: what is reported of it is of other GPUs")
        fix = f"change to {drivers.good()}, which hosts of this kind run well"
        return warn(f"driver {seen}: {trouble}", fix=fix)
    return ok(f"{seen}: no report of trouble that we know")


def driver_cuda(host: Host, plan: Plan) -> Verdict:
    """The driver runs the CUDA that torch was built for.

    A driver of an older major release refuses the program: CUDA error 803 or "driver too old".

    Reported: NVIDIA's CUDA compatibility guide.
    """
    built = host.engine.torch_cuda.get()
    runs = host.driver.cuda.get()
    if built is None:
        return fail(
            "torch was built without CUDA",
            fix="install torch from PyPI, or from PyTorch's cu130 index",
        )
    if not drivers.runs(runs, built):
        fix = f"install driver {drivers.good()}, or a torch for CUDA {runs}"
        return fail(f"torch is built for CUDA {built}, the driver runs up to {runs}", fix=fix)
    return ok(f"torch is built for CUDA {built}, the driver runs up to {runs}")


def driver_open_modules(host: Host, plan: Plan) -> Verdict:
    """The kernel modules are the open ones.

    Blackwell GPUs do not come up with the proprietary modules: the driver shows none.

    Reported: NVIDIA's driver installation guide.
    """
    seen = host.driver.flavour.get()
    if seen != "open" and not is_for_blackwell(host, plan):
        return ok("no GPU here is Blackwell, which wants the open ones")
    if seen == "open":
        return ok("/proc/driver/nvidia/version names the open kernel module")
    return fail(
        f"/proc/driver/nvidia/version names a {seen} kernel module, Blackwell wants the open one",
        fix="`apt install nvidia-open` (or the -open package of your driver branch) and reboot",
    )


def driver_one_version(host: Host, plan: Plan) -> Verdict:
    """Driver library and kernel module are of one version.

    After an update without a reboot every CUDA call fails with a mismatch.

    Tested: with a driver library that says so. Reported: every distribution's unattended upgrade.
    """
    library, module = host.driver.version.get(), host.driver.module.get()
    if library == module:
        return ok(f"both {library}")
    return fail(
        f"the library is {library}, the loaded module {module}",
        fix="reboot, and hold the driver's packages",
    )


def driver_firmware(host: Host, plan: Plan) -> Verdict:
    """The GPUs run the firmware of this driver.

    Another version of the GSP firmware than the driver's is a half-done update: it halts under
    load.

    Reported: NVIDIA's driver documentation (the GSP firmware is part of the driver package).
    """
    wanted = host.driver.version.get()
    odd = failing(gpus(host), lambda gpu: gpu.gsp, lambda seen: seen != wanted)
    if odd:
        return warn(
            f"{by_gpu(odd)}; the driver is {wanted}",
            fix="install the driver package again and reboot",
        )
    return ok(f"GSP firmware {wanted}")


def driver_persistence(host: Host, plan: Plan) -> Verdict:
    """The driver keeps the GPUs initialised.

    Without persistence each start initialises the GPUs again: slow, and links retrain.

    Reported: rtx6kpro wiki; NVIDIA's driver persistence guide.
    """
    off = failing(gpus(host), lambda gpu: gpu.persistence, lambda on: not on)
    if off and "nvidia-persistenced" not in host.system.daemons.otherwise(()):
        fix = "`systemctl enable --now nvidia-persistenced`, or `nvidia-smi -pm 1` after each boot"
        return warn(by_gpu((gpu, "persistence mode is off") for gpu, _ in off), fix=fix)
    return ok("persistence mode is on")


def driver_hmm(host: Host, plan: Plan) -> Verdict:
    """Heterogeneous memory management is off.

    With HMM in nvidia_uvm, NCCL's peer-to-peer copies locked up on hosts of this kind.

    Reported: rtx6kpro nccl-tuning; level1techs 242403. Other hosts run with it on.
    """
    fix = (
        "put `options nvidia_uvm uvm_disable_hmm=1` into /etc/modprobe.d/nvidia-uvm.conf and reboot"
    )
    if host.driver.hmm_disabled.known and host.driver.hmm_disabled.get():
        return ok("uvm_disable_hmm is Y")
    hmm = failing(gpus(host), lambda gpu: gpu.addressing, lambda mode: mode == "hmm")
    if hmm:
        return warn(by_gpu((gpu, "addressing mode HMM") for gpu, _ in hmm), fix=fix)
    return ok("no GPU uses HMM addressing")


def driver_p2p_parameters(host: Host, plan: Plan) -> Verdict:
    """No registry key forces a kind of peer-to-peer.

    ForceP2P keys helped on some hosts and cost 30-50 % on others once ACS was right: leave them
    out, then measure.

    Reported: rtx6kpro pcie-oneshot-allreduce and its later notes, which disagree.
    """
    params = host.driver.params.get()
    words = params.get("RegistryDwords", "")
    if "P2P" in words:
        fix = (
            "remove NVreg_RegistryDwords from /etc/modprobe.d, reboot, compare with `glm5-serve"
            " doctor --deep`"
        )
        return warn(f"/proc/driver/nvidia/params has RegistryDwords {words}", fix=fix)
    return ok("RegistryDwords force nothing")


def driver_confidential(host: Host, plan: Plan) -> Verdict:
    """Confidential computing is off.

    In that mode GPUs have no peer-to-peer and every copy is encrypted through bounce buffers.

    Reported: NVIDIA's confidential computing guide.
    """
    if host.driver.confidential.unknown == UNSUPPORTED:
        return ok("the driver has no such mode here")
    if host.driver.confidential.get():
        return warn(
            "confidential computing is on",
            fix="turn it off in the firmware, or with `nvidia-smi conf-compute`",
        )
    return ok("off")


def driver_fabric(host: Host, plan: Plan) -> Verdict:
    """On an NVSwitch host the fabric is up.

    Until the fabric manager has set up the switches, every CUDA program fails with error 802.

    Reported: NVIDIA's fabric manager guide. Tested: on a driver library.
    """
    states = [(gpu, gpu.fabric.get()) for gpu in gpus(host) if gpu.fabric.known]
    switches = functions(host, "nvswitch") if host.pcie.functions.known else []
    waiting = [
        (gpu, f"fabric {state}") for gpu, state in states if state in ("not_started", "in_progress")
    ]
    if waiting:
        fix = "`systemctl enable --now nvidia-fabricmanager` (of the driver's own version)"
        return fail(by_gpu(waiting), fix=fix)
    if switches and "nv-fabricmanager" not in host.system.daemons.get():
        branch = host.driver.version.otherwise("BRANCH").partition(".")[0]
        fix = (
            f"`apt install nvidia-fabricmanager-{branch}`, `systemctl enable --now"
            " nvidia-fabricmanager`"
        )
        return fail(f"{len(switches)} NVSwitch functions, no nv-fabricmanager running", fix=fix)
    if switches:
        return ok("fabric manager runs")
    paths = {path for row in host.driver.topology.otherwise(()) for path in row if path != "X"}
    if paths and not any(path.startswith("NV") for path in paths):
        return ok("no NVLink in `nvidia-smi topo -m`")
    # NVLinks are a switch's or a bridge's, and the switches of some boards are on no bus.
    failing(gpus(host), lambda gpu: gpu.fabric, lambda state: False)
    done = any(state == "completed" for _, state in states)
    return ok("the fabric is up" if done else "no NVSwitch")
