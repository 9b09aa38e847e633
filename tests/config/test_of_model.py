"""A profile that is told to serve another model does not keep what suited its own alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from launcher.config import layers
from launcher.config.load import PlanRequest, load
from launcher.config.resolve import resolve
from launcher.engines.target import Target
from launcher.host.facts import Fact, Model
from launcher.knowledge import models
from launcher.plan.plan import Plan

ENVIRON = {"HOME": "/nowhere"}
PARSERS = ("reasoning-parser", "tool-call-parser")
# One checkpoint of each family that is no GLM-5.
OTHERS = {
    "glm-4.5": "zai-org/GLM-4.6",
    "deepseek-v3.2": "deepseek-ai/DeepSeek-V3.2",
    "deepseek-v3": "deepseek-ai/DeepSeek-R1",
    "deepseek-v4": "deepseek-ai/DeepSeek-V4",
    "kimi-k2": "moonshotai/Kimi-K2.5",
    "qwen3": "Qwen/Qwen3-235B-A22B",
}
MTP = "8xpro6000-glm52-mtp"


def planned(name: str, *settings: str, model: Model | None = None) -> Plan:
    ask = PlanRequest(name, settings)
    target = Target("0.5.23", model=model or Model())
    return resolve(load(ask, ENVIRON), ask, Path("/s"), {}, target)


def drafts(plan: Plan) -> bool:
    return any(setting.option.startswith("speculative") for setting in plan.settings)


def test_every_other_family_is_tried() -> None:
    assert {*OTHERS} == {one.id for one in models.families()} - {"glm-5", "glm-5.3-flash"}


@pytest.mark.parametrize("family", OTHERS)
def test_a_model_of_another_family_gets_its_own_parsers_or_none(family: str) -> None:
    model = OTHERS[family]
    plan = planned(MTP, f"flags.model-path={model}")
    known = models.by_name(model)

    assert known is not None
    assert known.id == family
    own = known.of_name(model).parsers.get("sglang", (None, None))
    assert tuple(plan.flag(name) for name in PARSERS) == own
    assert not drafts(plan)
    assert plan.flag("context-length") is None
    assert [note for note in plan.notes if f"left out for {model}: " in note]


@pytest.mark.parametrize("model", ["/models/current", "org/Llama-9"])
def test_what_suits_a_model_that_nobody_knows_is_kept_and_told(model: str) -> None:
    plan = planned(MTP, f"flags.model-path={model}")

    assert (plan.flag(*PARSERS), drafts(plan)) == ("glm45", True)
    assert [note for note in plan.notes if f"not known to suit {model}: --reasoning-parser" in note]


@pytest.mark.parametrize(
    "settings",
    [
        (),
        ("flags.model-path=zai-org/GLM-5-FP8",),
        ("flags.model-path=/m/GLM-5.1-NVFP4",),
    ],
)
def test_a_model_of_the_same_family_keeps_all_of_it(settings: tuple[str, ...]) -> None:
    plan = planned(MTP, *settings)

    assert (plan.flag(*PARSERS), drafts(plan)) == ("glm45", True)
    assert not [note for note in plan.notes if "set for" in note]


def test_a_folder_is_what_its_own_config_says() -> None:
    folder = "flags.model-path=/models/current"
    glm = Model(config=Fact({"architectures": "GlmMoeDsaForCausalLM"}))
    qwen = Model(config=Fact({"architectures": "Qwen3MoeForCausalLM"}))

    assert drafts(planned(MTP, folder, model=glm))
    assert not drafts(planned(MTP, folder, model=qwen))


def test_what_is_said_with_the_model_or_after_it_stands() -> None:
    said = ("flags.reasoning-parser=glm45", "flags.speculative-algorithm=NGRAM")
    plan = planned(MTP, "flags.model-path=Qwen/Qwen3-32B", *said)

    assert plan.flag("reasoning-parser") == "glm45"
    assert plan.flag("speculative-algorithm") == "NGRAM"
    assert plan.flag("tool-call-parser") is None


def test_a_published_command_is_left_as_it_is_and_told() -> None:
    plan = planned("card", "flags.model-path=Qwen/Qwen3-32B")

    assert plan.flag("reasoning-parser") == "glm45"
    assert [note for note in plan.notes if "not known to suit Qwen/Qwen3-32B" in note]


@pytest.mark.parametrize("name", [one.name for one in layers.all_profiles(ENVIRON)])
def test_a_packaged_profile_has_nothing_of_another_model(name: str) -> None:
    assert not [note for note in planned(name).notes if note.startswith("set for")]


@pytest.mark.parametrize("family", OTHERS)
def test_parsers_are_those_of_the_profiles_engine(family: str) -> None:
    ask = PlanRequest("8xb200-mtp-vllm", (f"flags.model={OTHERS[family]}",))
    known = models.by_name(OTHERS[family])
    plan = resolve(load(ask, ENVIRON), ask, Path("/s"), {}, Target("0.32.0", engine="vllm"))

    assert known is not None
    own = known.of_name(OTHERS[family]).parsers.get("vllm", (None, None))
    assert tuple(plan.flag(name) for name in PARSERS) == own
    assert not [note for note in plan.notes if "has no choice" in note]
