"""What a model is: by its own word first, by its name then, never by where it lies."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest
from conftest import World
from rig import healthy

from launcher.engines import traits
from launcher.engines.engine import dialect
from launcher.engines.options import Option
from launcher.engines.traits import BF16_SHARED, GLM_5, MTP, NO_MTP, NVFP4, SPARSE
from launcher.host import facts_json
from launcher.host.facts import Model, known
from launcher.knowledge import models
from launcher.plan.evidence import Known

PARSERS = ("--reasoning-parser", "--tool-call-parser")
CATALOGUE = dialect("sglang").options


def says(architecture: str, **more: object) -> Model:
    return replace(Model(config=known({"architectures": architecture})), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("zai-org/GLM-5", "glm-5"),
        ("zai-org/GLM-5-FP8", "glm-5"),
        ("lukealonso/GLM-5.1-NVFP4", "glm-5"),
        ("nvidia/GLM-5.2-NVFP4", "glm-5"),
        ("/models/GLM-5.3-NVFP4/", "glm-5"),
        ("/c/hub/models--zai-org--GLM-5.1/snapshots/0123456789abcdef", "glm-5"),
        ("GLM_5_NVFP4", "glm-5"),
        ("zai-org/GLM-5.3-Flash", "glm-5.3-flash"),
        ("nvidia/GLM-5.3-Flash-NVFP4", "glm-5.3-flash"),
        ("zai-org/GLM-4.5-Air", "glm-4.5"),
        ("zai-org/GLM-4.7-FP8", "glm-4.5"),
        ("deepseek-ai/DeepSeek-V3.2", "deepseek-v3.2"),
        ("/models/deepseek-32-nvfp4", "deepseek-v3.2"),
        ("deepseek-ai/DeepSeek-V3", "deepseek-v3"),
        ("moonshotai/Kimi-K2.5", "kimi-k2"),
        ("Qwen/Qwen3.5-397B-A17B-FP8", "qwen3"),
        ("/models/current", None),
        ("/glm-5/current", None),
        ("org/not-glm-5", None),
        ("org/GLM-50", None),
        ("org/GLM-5x", None),
        ("$MODEL", None),
        ("", None),
    ],
)
def test_a_name_tells_the_family_and_a_place_does_not(name: str, family: str | None) -> None:
    seen = traits.of(Model(), name)

    assert (seen.family.id if seen.family else None) == family
    assert seen.basis == ("name" if family else None)
    assert (seen.note is None) == (family in ("glm-5", "glm-5.3-flash"))


@pytest.mark.parametrize("family", models.families(), ids=lambda family: family.id)
def test_config_json_has_the_last_word(family: models.Family) -> None:
    for word in family.architectures:
        seen = traits.of(says(word), "zai-org/GLM-5")
        assert (seen.family, seen.basis) == (family, "config.json")
    stranger = traits.of(says("LlamaForCausalLM"), "zai-org/GLM-5-NVFP4")
    assert (stranger.family, stranger.basis) == (None, "config.json")
    assert stranger.note == "not a GLM-5 by its config.json: the rules for GLM-5 are not applied"
    assert GLM_5 not in stranger.traits


def test_what_it_is_made_of_comes_from_the_checkpoint() -> None:
    model = says(
        "GlmMoeDsaForCausalLM",
        quantisation=known("NVFP4"),
        excluded=known(("lm_head",)),
        mtp=known(True),
    )

    assert traits.of(model, "/models/x").traits == {GLM_5, SPARSE, NVFP4, MTP}
    unseen = replace(model, mtp=Model().mtp)
    assert traits.of(unseen, "/models/x").traits == {GLM_5, SPARSE, NVFP4}, "nobody looked for it"
    apart = replace(
        model, excluded=known(("model.layers.*.mlp.shared_experts*",)), mtp=known(False)
    )
    assert traits.of(apart, "/models/x").traits == {GLM_5, SPARSE, NVFP4, BF16_SHARED, NO_MTP}
    fp8 = replace(model, quantisation=known("fp8"))
    assert NVFP4 not in traits.of(fp8, "org/GLM-5-NVFP4").traits


def test_where_nobody_looked_a_name_tells_what_it_can() -> None:
    assert traits.of(Model(), "zai-org/GLM-5-NVFP4").traits == {GLM_5, SPARSE, NVFP4, BF16_SHARED}
    assert NO_MTP in traits.of(Model(), "lukealonso/GLM-5-NVFP4").traits
    assert traits.of(Model(), "org/my-nvfp4-notes-fp8").traits == frozenset()
    assert NVFP4 not in traits.of(Model(), "lukealonso/MiMo-V2.5-NVFP4").traits
    assert NVFP4 not in traits.of(Model(), "ormandj/GLM-5.3-Flash-W4A16-NVFP4").traits
    assert traits.of(Model(), "/nvfp4/current").traits == frozenset()


@pytest.mark.parametrize("family", models.families(), ids=lambda family: family.id)
def test_each_row_says_how_it_is_known(family: models.Family) -> None:
    assert family.evidence in {known.value for known in Known}
    assert family.source
    assert family.checked in CATALOGUE.releases
    for pattern in (
        *family.names,
        *(name for variant in family.variants for name in variant["names"]),
    ):
        re.compile(pattern)
    for parsers in (family.parsers, *(variant.get("parsers", {}) for variant in family.variants)):
        for engine, named in parsers.items():
            known = dialect(engine).options
            options = [*map(known.release(known.newest).options.get, PARSERS)]
            assert [*map(in_choices, options, named)] == [True, True]


def in_choices(option: Option | None, name: str) -> bool:
    return option is not None and name in option.choices


def test_no_two_families_claim_one_word() -> None:
    words = [
        word for family in models.families() for word in (*family.architectures, *family.types)
    ]

    assert len(words) == len(set(words))


def test_facts_find_what_a_name_would(world: World) -> None:
    """The garbled output of dense attention over a packed cache, wherever the checkpoint lies."""
    facts = world.folder / "facts.json"
    host = healthy.host()
    model = replace(
        host.model,
        config=known({**host.model.config.get(), "architectures": "GlmMoeDsaForCausalLM"}),
    )
    facts.write_text(json.dumps(facts_json.to_json(replace(host, model=model))))
    settings = [
        "flags.attention-backend=flashinfer",
        "flags.kv-cache-dtype=fp8_e4m3",
        "flags.model-path=/models/current",
    ]
    words = [word for setting in settings for word in ("--set", setting)]
    said = world.run(
        "doctor",
        "-p",
        "8xpro6000",
        "--facts",
        facts,
        "--only",
        "dense-fp8-garbled",
        "--json",
        *words,
    )

    told = json.loads(said.stdout)
    assert "packed fp8 KV cache" in json.dumps(told), said.stderr


def test_other_models_get_no_advice_for_glm_5(world: World) -> None:
    for model in ("zai-org/GLM-4.7-FP8", "deepseek-ai/DeepSeek-V3.2", "Qwen/Qwen3.5-397B-A17B"):
        text = (
            f"python3 -m sglang.launch_server --model-path {model} --tp-size 4 --tool-call-parser"
            " glm45"
        )
        (world.folder / "launch").write_text(text)
        said = world.run("lint", "launch", "--release", "0.5.12", "--arch", "sm120").stdout
        told = [line for line in said.splitlines() if "GLM-5" in line]
        assert [line.startswith("note: not a GLM-5 by its name but ") for line in told] == [True]
        assert "GlmMoeDsa" not in said


def test_an_unknown_model_is_said_to_be_unknown(world: World) -> None:
    (world.folder / "launch").write_text(
        "python3 -m sglang.launch_server --model-path /models/current --tp-size 8"
    )
    note = "model unknown: the rules for GLM-5 are not applied"

    assert f"note: {note}" in world.run("lint", "launch", "--release", "0.5.23").stdout
    [launch] = json.loads(world.run("lint", "launch", "--json").stdout)["launches"]
    assert note in launch["notes"]
    rendered = world.run(
        "render", "-p", "8xpro6000", "--set", "flags.model-path=/models/current"
    ).stdout
    assert f"# note: {note}" in rendered
    assert "flashinfer_sparse_mla" not in rendered


@pytest.mark.parametrize(
    ("named", "told", "is_fp8"),
    [
        ("zai-org/GLM-5-FP8", None, True),
        ("zai-org/GLM-5.3", None, True),
        ("zai-org/GLM-5.3-BF16", None, False),
        ("nvidia/GLM-5.2-NVFP4", None, False),
        ("example/Other-FP8", None, False),
        ("/models/current", "fp8", True),
        ("/models/current", "FP8", False),
        ("/models/GLM-5-FP8", "NVFP4", False),
    ],
)
def test_fp8_by_blocks_is_told_from_modelopts(named: str, told: str | None, is_fp8: bool) -> None:
    seen = Model() if told is None else Model(quantisation=known(told))

    assert (traits.FP8 in traits.of(seen, named).traits) == is_fp8


def test_layers_that_share_an_index_are_those_of_5_2_and_later() -> None:
    def shared(named: str) -> bool:
        return traits.SHARED_INDEX in traits.of(Model(), named).traits

    assert shared("nvidia/GLM-5.2-NVFP4")
    assert shared("zai-org/GLM-5.3")
    assert not shared("nvidia/GLM-5.1-NVFP4")
    assert not shared("deepseek-ai/DeepSeek-V3.2")
