"""What a model is: by its own config.json, else by the checkpoint's name, else unknown. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from launcher.host.facts import Model
from launcher.knowledge import models, nccl
from launcher.knowledge.models import Family

GLM_5: Final = "glm-5"
FLASH: Final = "glm-5.3-flash"
SPARSE: Final = "sparse-attention"
NVFP4: Final = "nvfp4"
FP8: Final = "fp8"  # by blocks, as the models' makers do
SHARED_INDEX: Final = "shared-index"  # layers use the indices that the one before them chose
BF16_SHARED: Final = (
    "bf16-shared-experts"  # or may have them: nobody knows what its quantisation leaves out
)
MTP: Final = "mtp"  # it has the layer that drafts; without it and "no-mtp" nobody knows
NO_MTP: Final = "no-mtp"
MIXED: Final = "not-modelopt-fp4"  # NVFP4 beside others, or by another tool: the engine detects it
FAMILIES: Final = frozenset(family.id for family in models.families())
# Of what was chosen: `of_host`, `of_ranks`, and each engine's own (`dialect.Choices`).
CHOICES: Final = frozenset(
    "dense-attention sparse-backend bf16-kv speculative draft-steps top-k-1 graph-sizes one-node"
    " gpu-96gb multi-gpu over-two-ranks pcie-ipc-ranks pcie-ipc-allreduce expandable-segments"
    " no-p2p no-infiniband serving reachable keyed measured-p2p-broken measured-ipc-faster"
    " measured-ipc-slower measured-order".split()
)
OF_SERVER: Final = frozenset({"serving", "reachable"})  # of the engine's own, not of a wrapper's
KNOWN: Final = (
    FAMILIES
    | CHOICES
    | {GLM_5, FLASH, SPARSE, NVFP4, FP8, SHARED_INDEX, BF16_SHARED, MTP, NO_MTP, MIXED}
    | {trait for family in models.families() for trait in family.traits}
)


@dataclass(frozen=True)
class Identity:
    """The family of a model, None for one that is in no table, and how it is known; and its
    traits.
    """

    family: Family | None
    basis: str | None  # "config.json", "name"; None: nobody knows what it is
    traits: frozenset[str]

    @property
    def note(self) -> str | None:
        """What whoever reads a judgement should know about it."""
        if self.family is not None and self.family.id in (GLM_5, FLASH):
            return None
        what = "model unknown"
        if self.basis is not None:
            what = f"not a GLM-5 by its {self.basis}"
            what += f" but of the {self.family.id} family" if self.family else ""
        return f"{what}: the rules for GLM-5 are not applied"


def of(model: Model, named: str) -> Identity:
    """What a checkpoint is; `named` is the hub id or folder that was asked for.

    Where its config.json was read, its name says nothing: a family that is in no table is then
    none.
    """
    config = model.config.otherwise({})
    words = [*config.get("architectures", "").split(","), config.get("model_type", "")]
    family: Family | None
    if any(words):
        family = next((found for word in words if (found := models.by_architecture(word))), None)
        basis: str | None = "config.json"
    else:
        family = models.by_name(named)
        basis = "name" if family else None
    return Identity(family, basis, _traits(model, named, family))


def _traits(model: Model, named: str, family: Family | None) -> frozenset[str]:
    traits = {family.id, *family.traits} if family else set()
    known = models.known(named)
    if _is_nvfp4(model, named, known, traits):
        traits.add(NVFP4)
        if known and known.quantisation != "nvfp4":
            traits.add(MIXED)
    elif _is_fp8(model, named, traits):
        traits.add(FP8)
    if _shares_index(model, named, family):
        traits.add(SHARED_INDEX)
    left_out = model.excluded
    apart = any("shared_expert" in name for name in left_out.otherwise(()))
    if {GLM_5, NVFP4} <= traits and (apart or not left_out.known):
        traits.add(BF16_SHARED)
    drafts = model.mtp.value if model.mtp.known else known.mtp if known else None
    if drafts is not None:
        traits.add(MTP if drafts else NO_MTP)
    return frozenset(traits)


def _is_nvfp4(model: Model, named: str, known: models.Checkpoint | None, traits: set[str]) -> bool:
    """By its own files, else by its row, else by its name where it is a GLM-5: others call mixed
    checkpoints so, too.
    """
    if model.quantisation.known:
        return "FP4" in str(model.quantisation.get()).upper()
    if known:
        return known.quantisation.startswith("nvfp4")
    return GLM_5 in traits and "fp4" in (models.quantisation(named) or "")


def _is_fp8(model: Model, named: str, traits: set[str]) -> bool:
    """By blocks, as config.json's `fp8` is; ModelOpt calls its own FP8."""
    if model.quantisation.known:
        return model.quantisation.get() == "fp8"
    told = models.known(named) is not None or not traits.isdisjoint({GLM_5, FLASH})
    return told and models.quantisation(named) == "fp8"


def _shares_index(model: Model, named: str, family: Family | None) -> bool:
    """Fewer of its layers have an indexer than have attention."""
    told = {**(family.of_name(named).config if family else {}), **model.config.otherwise({})}
    layers, full = (str(told.get(key)) for key in ("num_hidden_layers", "indexer_full_layers"))
    return layers.isdecimal() and full.isdecimal() and int(full) < int(layers)


def quantisation(model: Model, named: str) -> str | None:
    """How a checkpoint is quantised, in words of its own; "bf16" for not at all, None where nobody
    knows.
    """
    if model.quantisation.known:
        return model.quantisation.get() or "bf16"
    return models.quantisation(named)


def thinking(model: Model, family: Family | None, named: str) -> str:
    """How a model is asked not to think: by what its chat template reads, else by its name.

    One of `models.THINKING`.
    """
    if model.template.known:
        words = model.template.get()
        return "switch" if "enable_thinking" in words else "always" if words else ""
    return family.of_name(named).thinking if family else ""


def of_host(
    env: Mapping[str, str], gpus: int, *, memory: int | None, has_infiniband: bool
) -> Mapping[str, bool]:
    """Which traits of choices hold whatever the engine: those of NCCL's and torch's variables, and
    of the GPUs. `memory` is that of the smallest GPU, in bytes.
    """
    return {
        "gpu-96gb": memory is not None and 90 <= memory >> 30 < 100,
        "multi-gpu": gpus > 1,
        "expandable-segments": "expandable_segments:True" in env.get("PYTORCH_CUDA_ALLOC_CONF", ""),
        "no-p2p": nccl.number(env.get("NCCL_P2P_DISABLE", "")) == 1,
        "no-infiniband": not has_infiniband,
    }


def of_ranks(told: object) -> Mapping[str, bool]:
    """The same of so many ranks of tensor parallelism; None and what is no number are one."""
    ranks = int(text) if (text := str(told)).isdecimal() else 1
    return {"over-two-ranks": ranks > 2, "pcie-ipc-ranks": ranks in (2, 4, 8)}
