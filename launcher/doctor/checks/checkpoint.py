"""The checkpoint."""

from __future__ import annotations

from launcher import counting
from launcher.capacity import estimate
from launcher.capacity import memory as capacity
from launcher.capacity.memory import Weights
from launcher.doctor.checks.judging import Verdict, fail, gib, made_by_demo, ok, sample, warn
from launcher.engines import traits
from launcher.engines.engine import dialect
from launcher.engines.memory import Budget
from launcher.host.facts import Host, UnobservedError
from launcher.knowledge.shape import Shape
from launcher.knowledge.shape import shape as shape_of
from launcher.plan.findings import Severity
from launcher.plan.plan import Plan

GROUP = "model"
CLOSED = "permission denied"  # of a file that is there: nothing is known of what is in it
DOWNLOAD = "download it again: `glm5-serve fetch ORG/NAME --to FOLDER`; complete files are kept"
READABLE = "let the server's user read it (`chmod a+rX`): what is in it is not known"


def model_folder(host: Host, plan: Plan) -> Verdict:
    """The checkpoint's folder is there.

    A hub id that is not cached is downloaded at the start, hundreds of GB, while ranks wait.

    Tested: on folders and caches.
    """
    seen = host.model.path
    if seen.known:
        return ok(seen.get())
    if "would download" in str(seen.unknown):
        return warn(
            str(seen.unknown), fix=f"`glm5-serve fetch {plan.model}` first, then HF_HUB_OFFLINE=1"
        )
    if seen.is_unseen:
        seen.get()
    option = dialect(plan.engine).option_of("model_path")
    fix = f"set flags.{option} to the folder that has config.json"
    return fail(str(seen.unknown), fix=made_by_demo(plan.model, plan) or fix)


def model_config(host: Host, plan: Plan) -> Verdict:
    """Its config.json can be read.

    Without it the engine does not know what it serves.

    Tested: on folders.
    """
    config = host.model.config
    if not config.known and host.model.path.known:
        why = str(config.unknown)
        return fail(why, fix=READABLE if why.endswith(CLOSED) else DOWNLOAD)
    seen = config.get()
    return ok(
        f"{seen.get('architectures', 'no architecture named')},"
        f" {seen.get('num_hidden_layers', '?')} layers"
    )


def model_files(host: Host, plan: Plan) -> Verdict:
    """Every file that the index names is there.

    An incomplete snapshot fails after the shards before the missing one were loaded.

    Tested: on folders. Reported: refs/main that drifted to a partial snapshot.
    """
    if not host.model.shards.get() and plan.flag("load-format") is None:
        return fail(f"{host.model.path.get()} has no weight files", fix=DOWNLOAD)
    if not host.model.missing.known:
        why = str(host.model.missing.unknown)
        return fail(
            f"the index is no use: {why}", fix=READABLE if why.endswith(CLOSED) else DOWNLOAD
        )
    if missing := host.model.missing.get():
        return fail(f"{counting.of(len(missing), 'file')} missing: {sample(missing)}", fix=DOWNLOAD)
    return ok(f"{host.model.shards.get()} weight files, {gib(host.model.bytes.get())}")


def model_headers(host: Host, plan: Plan) -> Verdict:
    """Every weight file has a sound header and the length it tells.

    A download that was cut short has the right name and a wrong end: loading fails after minutes,
    or reads noise.

    Tested: on generated safetensors files.
    """
    broken = host.model.broken.get()
    if broken:
        seen = sample([f"{name}: {what}" for name, what in broken.items()], 3)
        if any(what.endswith(CLOSED) for what in broken.values()):
            return fail(seen, fix=READABLE)
        return fail(seen, fix=f"delete {sample(list(broken))} and {DOWNLOAD}")
    return ok("headers and lengths agree")


def model_pointers(host: Host, plan: Plan) -> Verdict:
    """No file is a git-lfs pointer.

    A clone without git-lfs brings 130-byte texts in place of weights.

    Tested: on folders.
    """
    seen = host.model.pointers.get()
    return (
        fail(f"git-lfs pointers: {sample(seen)}", fix="`git lfs pull`, or " + DOWNLOAD)
        if seen
        else ok("none")
    )


def model_downloads(host: Host, plan: Plan) -> Verdict:
    """No download is unfinished.

    Left-over parts tell that the snapshot may not be whole, and take space.

    Tested: on folders and caches.
    """
    seen = host.model.incomplete.get()
    return warn(f"unfinished: {sample(seen)}", fix=DOWNLOAD) if seen else ok("none")


def model_quantisation(host: Host, plan: Plan) -> Verdict:
    """The checkpoint is quantised as the profile claims.

    SGLang with modelopt_fp4 on another checkpoint fails while loading, or loads scales that are not
    there; vLLM refuses it.

    Tested: on folders.
    """
    asked, seen = plan.flag("quantization"), host.model.quantisation.get()
    wanted = {"modelopt_fp4": "NVFP4", "modelopt_fp8": "FP8", "fp8": "FP8"}.get(asked or "")
    if wanted and wanted not in (seen or "").upper():
        fix = (
            f"set flags.quantization to what the checkpoint is ({seen or 'not quantised'}), or take"
            " an NVFP4 one"
        )
        return fail(f"the profile says {asked}, the checkpoint {seen or 'nothing'}", fix=fix)
    return ok(f"{seen or 'not quantised'}, {asked or 'not asked for'}")


def model_claims(host: Host, plan: Plan) -> Verdict:
    """The tensors are of the types that the quantisation claims.

    NVFP4 is two values a byte (U8) with fp8 scales: a configuration copied beside other weights
    loads noise.

    Source: ModelOpt's format. Tested: on generated safetensors files.
    """
    claimed, dtypes = host.model.quantisation.get() or "", host.model.dtypes.get()
    told = ", ".join(
        f"{gib(size)} {kind}" for kind, size in sorted(dtypes.items(), key=lambda one: -one[1])
    )
    wanted = (
        {"U8", "F8_E4M3"}
        if "NVFP4" in claimed.upper()
        else {"F8_E4M3"}
        if "FP8" in claimed.upper()
        else set()
    )
    if dtypes and (lost := sorted(wanted - dtypes.keys())):
        fix = "take the config.json and hf_quant_config.json that belong to these weights"
        return fail(f"{claimed} is claimed, no tensor is {' or '.join(lost)}: {told}", fix=fix)
    return ok(f"{claimed or 'not quantised'}: {told or 'no tensors'}")


def model_mtp(host: Host, plan: Plan) -> Verdict:
    """The multi-token-prediction layer is there if the profile uses it.

    lukealonso/GLM-5-NVFP4 has none: with speculative decoding SGLang raises while loading.

    Reported: rtx6kpro glm5. Tested: on generated files.
    """
    said, option = estimate.asked(plan), dialect(plan.engine).memory.knobs.drafts
    if not (said.drafter and said.has_own_drafts):
        return ok("not asked for")
    if not host.model.mtp.get():
        fix = f"take a checkpoint with the layer (…-MTP), or remove flags.{option}"
        return fail(f"{said.drafter} is asked for, no weights of a layer beyond the last", fix=fix)
    return ok(f"there, for {said.drafter}")


def model_fits(host: Host, plan: Plan) -> Verdict:
    """The GPUs' memory holds the weights, what runs beside them, and one request of the context.

    Four 96 GB GPUs cannot hold a full GLM-5 NVFP4, whatever the flags: out of memory while loading.
    vLLM refuses a context that its KV cache has no room for.

    Source: weights are divided over the ranks, but for a part of the attention. Tested: the
    verdict is that of `glm5-serve fit`, which says more; its formulas are held against logs.
    """
    if plan.gpus == 0:
        return ok("on the CPU")
    sized = _sizes(host, plan)
    held = host.model.bytes.get() / plan.gpus if sized is None else 0.0  # no less than that
    memory = sorted(gpu.memory_total.get() for gpu in host.driver.gpus.get())[-plan.gpus :]
    if not memory:
        raise UnobservedError("no GPU is seen")
    if sized is None:
        return _unsized(estimate.budget(plan, memory[0], held))
    # what is not whole, or has no room on a disk, is for checks of its own
    made = estimate.fit(plan, *sized, Host(), memory[0])
    if made.said and (worst := max(made.said, key=lambda one: one.severity)).severity > Severity.OK:
        return Verdict(worst.severity, worst.what, f"{worst.fix}; `glm5-serve fit`")
    most = gib(made.base * made.fraction)
    return ok(f"{gib(made.weights)} of weights a GPU of {most} (`glm5-serve fit`)")


def _unsized(parts: Budget) -> Verdict:
    """Of a model whose configuration does not tell its sizes."""
    held, free = gib(parts.held), gib(parts.free)
    if parts.held + parts.needed > parts.free:
        fix = "more GPUs, a pruned or smaller checkpoint; `glm5-serve profiles`"
        return fail(f"{held} of weights a GPU, {free} are free there", fix=fix)
    return ok(f"{held} of weights a GPU of {free}")


def _sizes(host: Host, plan: Plan) -> tuple[Shape, Weights] | None:
    """Shape and weights: shared out as its configuration says, scaled to the files there are;
    without files as what is published of it comes to. None where no configuration tells them.
    """
    seen, config = host.model, host.model.config.otherwise({})
    quantised = traits.quantisation(seen, plan.model)
    weighs = capacity.precision(quantised) if quantised else None
    try:
        shape = shape_of({**(capacity.named(plan.model) or {}), **config})
    except ValueError:
        return None
    made = capacity.from_shape(shape, weighs or capacity.PRECISIONS["bf16"])
    if weighs and (not seen.bytes.known or seen.missing.otherwise(())):
        return shape, made
    drafts = made.mtp_divided + made.mtp_replicated if seen.mtp.otherwise(False) else 0
    return shape, made.scaled(seen.bytes.get() / max(made.total + drafts, 1))


def model_heads(host: Host, plan: Plan) -> Verdict:
    """The engine's attention on a CPU takes the size of the model's heads.

    Of another size it dies at the first request: until then it says that it is well.

    Observed: vLLM 0.32.0 with heads of 16. Source: its list of sizes in 0.16.0 and 0.32.0.
    """
    engine = dialect(plan.engine)
    if plan.gpus or not engine.cpu_heads:
        return ok("it says so itself as it loads")
    size = shape_of(host.model.config.get()).head_dim
    if size not in engine.cpu_heads:
        sizes = ", ".join(map(str, engine.cpu_heads))
        fix = "take another model: no option changes its heads"
        return fail(f"heads of {size}, {engine.name} on a CPU takes {sizes}", fix=fix)
    return ok(f"heads of {size}")


def model_tokenizer(host: Host, plan: Plan) -> Verdict:
    """The tokenizer's files are there.

    Without them the server ends after it was launched.

    Tested: on folders.
    """
    if plan.flag(*dialect(plan.engine).tokenizers) is not None:
        return ok("another one is asked for, or none")
    seen = host.model.tokenizer.get()
    if not any(
        name.startswith(("tokenizer.", "tokenizer_config")) or name.endswith(".model")
        for name in seen
    ):
        return fail("no tokenizer.json, tokenizer.model or tokenizer_config.json", fix=DOWNLOAD)
    return ok(", ".join(seen))
