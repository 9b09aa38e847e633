"""Models by architecture: each row is found by what config.json says, and by what is published."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from launcher.engines import traits
from launcher.engines.engine import dialect
from launcher.host.facts import Model, known
from launcher.knowledge import models, rows
from launcher.knowledge.models import Checkpoint, Family
from launcher.plan.evidence import Known

FAMILIES = models.families()
CHECKPOINTS = [(family, one) for family in FAMILIES for one in family.checkpoints.values()]


def test_every_row_is_sound() -> None:
    assert models.table().complaints == ()
    assert {"glm-5", "glm-5.3-flash", "deepseek-v4", "kimi-k2"} <= {one.id for one in FAMILIES}


@pytest.mark.parametrize("family", FAMILIES, ids=lambda one: one.id)
def test_a_family_is_found_by_each_word_of_a_config(family: Family) -> None:
    for word in (*family.architectures, *family.types):
        assert models.by_architecture(word) is family
        for key in ("architectures", "model_type"):
            model = Model(config=known({key: word}))
            assert traits.of(model, "nvidia/GLM-5-NVFP4").family is family, "it beats the name"


@pytest.mark.parametrize(("family", "one"), CHECKPOINTS, ids=lambda one: getattr(one, "id", ""))
def test_a_checkpoint_is_found_by_its_id_wherever_it_lies(family: Family, one: Checkpoint) -> None:
    org, name = one.id.split("/")

    for place in (one.id, one.id.lower(), f"/c/hub/models--{org}--{name}/snapshots/0123"):
        assert models.known(place) is one
        assert models.by_name(place) is family
        assert models.quantisation(place) == one.quantisation
    assert models.known(f"/models/{name}") is None, "anybody may call a folder so"
    assert one.evidence in {known.value for known in Known}
    assert one.source


@pytest.mark.parametrize("family", FAMILIES, ids=lambda one: one.id)
def test_a_release_that_knows_it_first_is_one(family: Family) -> None:
    if first := family.first.get("sglang"):
        assert first in dialect("sglang").options.releases
    assert set(family.first) <= {"sglang", "vllm"}


@pytest.mark.parametrize(
    ("name", "thinking"),
    [
        ("zai-org/GLM-5", "switch"),
        ("nvidia/GLM-5.2-NVFP4", "switch"),
        ("RadixArk/GLM-5.3-NVFP4", "always"),
        ("nvidia/GLM-5.3-Flash-NVFP4", "always"),
        ("zai-org/GLM-4.7-FP8", "switch"),
        ("org/llama", ""),
    ],
)
def test_how_it_is_asked_not_to_think(name: str, thinking: str) -> None:
    assert traits.thinking(Model(), traits.of(Model(), name).family, name) == thinking


@pytest.mark.parametrize(
    ("words", "thinking"),
    [(("enable_thinking",), "switch"), (("reasoning_effort",), "always"), ((), "")],
)
def test_a_chat_template_beats_the_name(words: tuple[str, ...], thinking: str) -> None:
    model = Model(template=known(words))
    family = traits.of(model, "zai-org/GLM-5").family

    assert traits.thinking(model, family, "zai-org/GLM-5") == thinking


def test_a_mixed_checkpoint_is_left_to_the_engine() -> None:
    for name in ("nvidia/GLM-5.3-NVFP4", "RedHatAI/GLM-5.3-Flash-NVFP4"):
        assert {traits.NVFP4, traits.MIXED} <= traits.of(Model(), name).traits
    assert traits.MIXED not in traits.of(Model(), "RadixArk/GLM-5.3-NVFP4").traits


def test_the_one_with_corrupt_tokens_is_warned_of_on_sm120() -> None:
    row = models.known("LibertAIDAI/GLM-5.3-Flash-NVFP4")
    assert row is not None
    [warned] = row.warnings

    assert warned.holds("sm120")
    assert not warned.holds("sm100")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            ('thinking = "always"', 'thinking = "never"'),
            "thinking: 'never' is not one of switch, always",
        ),
        (("names = ['glm-?5\\.3-flash']", "naems = []"), "naems: no such key"),
        (('quantisation = "fp8"\ngib = 305.8', "gib = 305.8"), "no quantisation"),
        (('types = ["glm5_next"', 'types = ["glm_moe_dsa"'), "glm_moe_dsa is in glm-5, too"),
    ],
)
def test_a_bad_row_costs_itself_alone(tmp_path: Path, change: tuple[str, str], says: str) -> None:
    head, mark, rest = models.FILE.read_text().partition('["glm-5.3-flash"]')
    file = tmp_path / "models.toml"
    assert change[0] in rest
    file.write_text(head + mark + rest.replace(*change, 1))
    told: rows.Table[Any] = rows.read(file, None, models.family, models.claims)

    [complaint] = told.complaints
    assert re.match(r"models\.toml, glm-5\.3-flash: ", complaint)
    assert says in complaint
    assert len(told.rows) == len(FAMILIES) - 1
