"""Whether it fits, and which way each knob goes: on formulas, on real safetensors files, on
recorded hosts.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import World
from rig.healthy import having, host, plan
from rig.safetensors import tensor_file

from launcher.capacity import memory as capacity
from launcher.capacity.estimate import fit
from launcher.capacity.memory import PRECISIONS
from launcher.capacity.outcome import Fit
from launcher.config.layers import PACKAGED
from launcher.doctor.checks import judge
from launcher.host import facts_json
from launcher.host.collectors import disk
from launcher.host.facts import Host, Model, known
from launcher.knowledge import models
from launcher.knowledge.shape import shape as shape_of
from launcher.plan.findings import Severity

GLM5 = models.by_name("GLM-5").config  # type: ignore[union-attr]
LATER = models.by_name("GLM-5.2").of_name("GLM-5.2").config  # type: ignore[union-attr]

SHAPE = shape_of({name: str(value) for name, value in GLM5.items()})
WEIGHTS = capacity.from_shape(SHAPE, PRECISIONS["nvfp4"])
CARD = 97887 << 20
PRO = ("--gpu", "rtx-pro-6000")  # so that this host, whose GPU may be another one, is not asked


def made(
    *settings: str, memory: int | None = CARD, here: Host | None = None, profile: str = "8xpro6000"
) -> Fit:
    return fit(plan(*settings, profile=profile), SHAPE, WEIGHTS, here or host(), memory)


def test_the_packaged_profile_fits_and_leaves_enough() -> None:
    seen = made()

    assert seen.fits
    assert not seen.said
    assert seen.left > seen.needed
    assert seen.layout == "packed fp8"
    assert 400_000 < seen.tokens < 480_000
    assert seen.kv + seen.weights + seen.left <= seen.free


def test_a_host_that_ran_it_had_as_many_tokens() -> None:
    """rtx6kpro's guide of 2026-03: bfloat16, .92, 314,304 tokens."""
    seen = made("flags.kv-cache-dtype=bfloat16", "flags.mem-fraction-static=0.92")

    assert seen.tokens == pytest.approx(314304, rel=0.01)


def test_a_fraction_below_the_weights_must_go_up() -> None:
    seen = made("flags.mem-fraction-static=0.55")
    [said] = seen.said

    assert not seen.fits
    assert said.severity is Severity.FAIL
    assert said.fix == f"raise mem-fraction-static above {seen.least:.3f} (this one goes up)"
    assert made(f"flags.mem-fraction-static={seen.least + 0.01:.3f}").tokens > 0


def test_a_fraction_that_leaves_too_little_must_go_down() -> None:
    seen = made("flags.mem-fraction-static=0.95")
    [said] = seen.said

    assert said.severity is Severity.WARN
    assert said.what.startswith("4.7 GiB are left")
    assert said.fix.startswith("lower mem-fraction-static to 0.92 (this one goes down)")
    assert not made("flags.mem-fraction-static=0.92").said


@pytest.mark.parametrize("chunk", [8192, 16384, 131072, 1 << 20])
@pytest.mark.parametrize("fraction", ["0.80", "0.88"])
def test_no_chunk_keeps_a_server_from_starting(chunk: int, fraction: str) -> None:
    """GLM-5's cookbook has chunks of 131,072 with 0.80: a prompt so long comes later, if ever."""
    seen = made(f"flags.mem-fraction-static={fraction}", f"flags.chunked-prefill-size={chunk}")

    assert seen.fits
    assert all("under load" in said.what for said in seen.said)
    assert seen.said or chunk <= 16384


def test_chunks_that_no_fraction_helps_are_to_be_shorter() -> None:
    [said] = made("flags.chunked-prefill-size=262144").said

    assert said.fix.startswith("lower chunked-prefill-size: with it up to ")


def test_four_cards_hold_no_full_glm5_whatever_the_fraction() -> None:
    [said] = made("flags.tp-size=4").said

    assert said.severity is Severity.FAIL
    assert "no fraction helps" in said.fix


def on_its_gpus(profile: str, *settings: str) -> Fit:
    """A packaged profile on the product that it is for, its checkpoint known by its id alone."""
    made = plan(*settings, profile=profile)
    config = capacity.named(made.model)
    precision = capacity.precision(models.quantisation(made.model))
    assert config is not None
    assert precision is not None
    sizes = shape_of(config)
    return fit(made, sizes, capacity.from_shape(sizes, precision), Host(), None)


@pytest.mark.parametrize(
    "profile",
    [path.stem for path in sorted(PACKAGED.glob("*.toml")) if "cpu-demo" not in path.stem],
)
def test_each_packaged_profile_fits_the_gpus_that_it_is_for(profile: str) -> None:
    assert on_its_gpus(profile).fits


@pytest.mark.parametrize("fraction", ["0.85", "0.95", "0.985"])
def test_two_cards_do_not_hold_glm_5_3_flash_whatever_the_fraction(fraction: str) -> None:
    settings = ("flags.tp-size=2", f"flags.mem-fraction-static={fraction}")
    [said] = on_its_gpus("4xpro6000-glm53-flash", *settings).said

    assert said.severity is Severity.FAIL
    assert "hold no KV cache beside the 7.0 GiB" in said.what
    assert "no fraction helps" in said.fix


@pytest.mark.parametrize("fraction", ["0.6", "0.85", "0.95", "0.985"])
@pytest.mark.parametrize("tp", [2, 4, 8])
@pytest.mark.parametrize("profile", ["8xpro6000-glm53", "4xpro6000-glm53-flash"])
def test_doctor_and_fit_agree_on_the_weights_where_no_file_is_here(
    profile: str, tp: int, fraction: str
) -> None:
    settings = (f"flags.tp-size={tp}", f"flags.mem-fraction-static={fraction}")
    [found] = judge(
        replace(host(), model=Model()), plan(*settings, profile=profile), only=("model-fits",)
    )

    assert (found.severity is Severity.FAIL) == (not on_its_gpus(profile, *settings).fits)


def test_states_bound_the_requests_that_run() -> None:
    seen = on_its_gpus("4xpro6000-glm53-flash")
    assert (seen.slots, seen.admitted, seen.said) == (160, 16, ())
    few = on_its_gpus("4xpro6000-glm53-flash", "flags.max-mamba-cache-size=40")
    [said] = few.said

    assert few.admitted == 8
    assert few.requests[8192] == 8
    assert few.tokens > seen.tokens
    assert said.severity is Severity.WARN
    assert "let 8 of 16 requests run" in said.what
    assert "max-mamba-cache-size = 80" in said.fix


def test_states_that_take_all_leave_no_cache() -> None:
    seen = on_its_gpus("4xpro6000-glm53-flash", "flags.max-mamba-cache-size=4000")
    [said] = seen.said

    assert not seen.fits
    assert "none is left for KV" in said.what


def test_a_model_without_states_has_no_slots() -> None:
    assert (made().slots, made().admitted) == (None, None)


def test_a_model_whose_quantisation_nobody_knows_has_no_size(world: World) -> None:
    said = world.run("fit", "-p", "8xpro6000", "--model", "org/GLM-5.2-mine")

    assert said.returncode != 0
    assert "the sizes of org/GLM-5.2-mine are unknown: nobody knows how it is" in said.stderr


def test_fit_shows_states_and_what_is_known_of_the_checkpoint(world: World) -> None:
    said = world.run("fit", "-p", "4xpro6000-glm53-flash", *PRO)

    assert said.returncode == 0
    assert "160 slots of 19.1 MB" in said.stdout
    assert "note: unverified: " in said.stdout
    assert "always; reasoning_effort" in said.stdout
    assert "revision 09b04e5e" in said.stdout
    warned = world.run(
        "render", "-p", "4xpro6000-glm53-flash", "--set",
        "flags.model-path=LibertAIDAI/GLM-5.3-Flash-NVFP4",
    ).stdout  # fmt: skip
    assert "# note: this checkpoint gave corrupt tokens on SM120" in warned


def test_the_pruned_one_fits_four_cards() -> None:
    config = capacity.named("0xSero/GLM-5.2-NVFP4-REAP-469B")
    assert config is not None
    shape = shape_of(config)
    seen = fit(
        plan(profile="4xpro6000"),
        shape,
        capacity.from_shape(shape, PRECISIONS["nvfp4"]),
        host(),
        CARD,
    )

    assert seen.checkpoint / 1e9 == pytest.approx(313, rel=0.1), "what its page says"
    assert seen.tokens > 0


def test_six_cards_hold_a_third_of_the_layers_each_pair() -> None:
    seen = made(profile="6xpro6000")

    assert seen.cell == 61464 // 3
    assert seen.weights < 76 << 30


def test_speculative_decoding_costs_a_layer_and_its_tokens() -> None:
    plain, drafted = (
        made(),
        made("flags.speculative-algorithm=EAGLE", "flags.speculative-num-steps=3"),
    )

    assert drafted.cell == 62252
    assert drafted.weights > plain.weights
    assert drafted.tokens < plain.tokens
    assert drafted.needed > plain.needed


def test_a_context_of_a_million_is_named() -> None:
    shape = shape_of({name: str(value) for name, value in (GLM5 | LATER).items()})
    seen = fit(plan("flags.max-running-requests=512"), shape, WEIGHTS, host(), CARD)

    assert [said.fix for said in seen.said] == [
        f"set context-length = {seen.tokens // 1024 * 1024}",
        "set context-length and max-running-requests",
    ]


def test_without_a_fraction_it_is_sglangs_own() -> None:
    seen = made("flags.mem-fraction-static=false")

    assert (seen.fraction, seen.automatic) == (0.843, True)


def test_host_memory_and_disk_are_told_of_a_host_that_has_the_gpus() -> None:
    little = having(host(), system__memory_total=64 << 30)

    assert "cached" in made(here=little).said[0].what
    assert made(here=little, memory=None).host_memory is None


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small checkpoint in GLM-5's shape."""
    made = tmp_path / "checkpoint"
    made.mkdir()
    config = {**GLM5, "num_hidden_layers": 2, "architectures": ["GlmMoeDsaForCausalLM"]}
    (made / "config.json").write_text(json.dumps(config))
    (made / "tokenizer.json").write_text("{}")
    layer = {"self_attn.q_a_proj.weight": 1 << 20, "mlp.experts.0.up_proj.weight": 8 << 20}
    tensors = {f"model.layers.{n}.{name}": size for n in range(2) for name, size in layer.items()}
    tensor_file(made / "model.safetensors", tensors | {"lm_head.weight": 16 << 20})
    return made


def test_weights_are_taken_from_the_headers_of_a_folder(world: World, folder: Path) -> None:
    said = world.run("fit", "-p", "8xpro6000", "--model", str(folder), "--json", *PRO)
    told: dict[str, Any] = json.loads(said.stdout)

    assert said.returncode == 0, said.stderr
    assert told["exact"]
    # two replicated, 16 of experts and 16 of head over 8
    assert told["weights"] == (2 << 20) + (2 << 20) + (2 << 20)
    assert told["checkpoint"] == 34 << 20
    assert told["disk_speed"] is None or told["disk_speed"] > 0


def test_fit_prints_a_picture_a_table_and_which_way_to_go(world: World) -> None:
    said = world.run("fit", "-p", "8xpro6000", "--set", "flags.mem-fraction-static=0.95", *PRO)

    assert said.returncode == 0
    assert "█" in said.stdout
    row = next(line for line in said.stdout.splitlines() if line.split()[:1] == ["0.95"])
    assert row.split() == [
        "0.95",
        "344,128",
        "560,768",
        "4.7",
        "GiB",
        "little",
        "left",
        "<-",
        "this",
        "plan",
    ]
    assert "this one goes down" in said.stdout


def test_fit_takes_another_hosts_facts(world: World, tmp_path: Path) -> None:
    file = tmp_path / "facts.json"
    file.write_text(json.dumps(facts_json.to_json(having(host(), model__config={}))))
    told = json.loads(world.run("fit", "-p", "8xpro6000", "--facts", str(file), "--json").stdout)

    assert (told["memory"], told["assumed"], told["release"]) == (CARD, False, "0.5.23")
    assert told["host_memory"] == 1536 << 30


def test_what_does_not_fit_exits_1(world: World) -> None:
    said = world.run("fit", "-p", "8xpro6000", "--set", "flags.tp-size=4")

    assert said.returncode == 1
    assert "out of memory while loading" in said.stdout


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("-p", "cpu-demo"), "runs on the CPU"),
        (("-p", "8xpro6000", "--model", "org/llama"), "the sizes of org/llama are unknown"),
        (("-p", "8xpro6000", "--model", "odd"), "does not say"),
        (("-p", "8xpro6000", "--model", "less"), "says that num_hidden_layers is -2, wanted 1"),
        (("-p", "8xpro6000", "--model", "nan"), "num_hidden_layers is nan, wanted a whole number"),
        (("-p", "8xpro6000", "--model", "broken"), "not usable JSON"),
    ],
)
def test_what_cannot_be_told_is_said(world: World, words: tuple[str, ...], says: str) -> None:
    texts = {layers: f'{{"num_hidden_layers": {layers}}}' for layers in ("2", "-2", "NaN")}
    named = {"odd": texts["2"], "less": texts["-2"], "nan": texts["NaN"], "broken": "{"}
    for name, config in named.items():
        (world.folder / name).mkdir()
        (world.folder / name / "config.json").write_text(config)
    said = world.run("fit", *words)

    assert said.returncode == 78
    assert says in said.stderr
    assert "Traceback" not in said.stderr


def test_a_truncated_file_is_not_taken_for_a_whole_one(world: World, folder: Path) -> None:
    file = folder / "model.safetensors"
    with file.open("r+b") as opened:
        opened.truncate(file.stat().st_size - 1)
    told = json.loads(world.run("fit", "-p", "8xpro6000", "--model", str(folder), "--json").stdout)

    assert not told["exact"]


def test_the_disk_is_read_past_its_cache(tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").write_bytes(b"x" * (disk.PIECE * 2))
    seen = disk.speed(str(tmp_path))

    assert seen is None or seen > 1e6
    assert disk.speed(str(tmp_path / "nowhere")) is None


@pytest.mark.parametrize("fraction", ["1.5", "95", "0", "-1", "nan", "1"])
def test_what_is_no_share_does_not_fit(world: World, fraction: str) -> None:
    words = ("-p", "8xpro6000", "--gpu", "rtx-pro-6000", "--release", "0.5.23")
    said = world.run("fit", *words, "--set", f"flags.mem-fraction-static={fraction}")
    rendered = world.run("render", *words, "--set", f"flags.mem-fraction-static={fraction}")

    assert said.returncode == 1
    assert "is no share of the GPU's memory" in said.stdout
    assert "# note: would not start: breaks, at load: " in rendered.stdout


def test_a_context_of_nothing_starts_nothing(world: World) -> None:
    said = world.run(
        "fit", "-p", "8xpro6000", "--gpu", "rtx-pro-6000", "--set", "flags.context-length=0"
    )

    assert (said.returncode, said.stderr) == (1, "")
    assert "--context-length 0: " in said.stdout


# -- what is not here, or not whole ------------------------------------------------------------


def indexed(folder: Path, *names: str) -> None:
    """An index that names the file of the small checkpoint, and others."""
    told = {f"model.layers.{at}.w": name for at, name in enumerate(names)}
    text = json.dumps({"weight_map": told | {"lm_head.weight": "model.safetensors"}})
    (folder / "model.safetensors.index.json").write_text(text)


def test_shards_that_are_missing_are_named_and_it_does_not_fit(world: World, folder: Path) -> None:
    indexed(folder, "model-2.safetensors", "model-3.safetensors")
    said = world.run("fit", "-p", "8xpro6000", "--model", str(folder))

    assert said.returncode == 1
    assert "not complete: model-2.safetensors, model-3.safetensors missing" in said.stdout
    assert "it would not start" in said.stdout
    assert "\nit fits" not in said.stdout


def test_numbered_files_count_those_that_are_missing_without_an_index(
    world: World, folder: Path
) -> None:
    (folder / "model.safetensors").rename(folder / "model-00001-of-00003.safetensors")
    said = world.run("fit", "-p", "8xpro6000", "--model", str(folder))

    assert said.returncode == 1
    assert "model-00002-of-00003.safetensors, model-00003-of-00003.safetensors" in said.stdout
    (model,) = [
        one
        for one in json.loads(world.run("model", str(folder), "--json").stdout)["findings"]
        if one["id"] == "model-files"
    ]
    assert model["severity"] == "fail", "doctor and fit agree"


def test_a_folder_without_weights_is_computed_and_that_is_said(world: World, folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    said = world.run("fit", "-p", "8xpro6000", "--model", str(folder), "--set", "rules.skip=[]")

    assert "the folder has no weight files: sizes are computed" in said.stdout


def test_doctor_takes_no_part_of_a_checkpoint_for_all_of_it() -> None:
    part = having(host(), model__bytes=1 << 30, model__missing=("model-00002.safetensors",))
    [found] = judge(part, plan("flags.tp-size=4"), only=("model-fits",))

    assert found.severity is Severity.FAIL


@pytest.mark.parametrize("id", ["org/GLM-5-mine-NVFP4", "org/GLM-5.2-other-FP8"])
def test_a_quantisation_by_name_alone_is_a_note(world: World, id: str) -> None:
    said = world.run("fit", "-p", "8xb300", "--gpu", "b300", "--model", id)
    told = json.loads(world.run("fit", "-p", "8xb300", "--model", id, "--json").stdout)
    word = id.rpartition("-")[2].lower()

    assert f"note: {id} is neither here nor known: by its name alone it is {word}" in said.stdout
    assert any("by its name alone" in note for note in told["notes"])


def test_of_a_published_checkpoint_nothing_is_taken_by_name(world: World) -> None:
    said = world.run("fit", "-p", "8xpro6000", "--model", "nvidia/GLM-5-NVFP4")

    assert "by its name alone" not in said.stdout


@pytest.mark.parametrize(
    "id", ["org/llama", "org/GLM-5", "org/GLM-5.2-thing", "zai-org/GLM-5", "meta/Nothing-NVFP4"]
)
def test_a_model_that_nobody_knows_has_an_unknown_size(world: World, id: str) -> None:
    said = world.run("fit", "-p", "8xpro6000", "--model", id)

    assert said.returncode == 78
    assert f"the sizes of {id} are unknown" in said.stderr


# -- on which GPUs -----------------------------------------------------------------------------


def facts_of(world: World, *gpus: int, **others: Any) -> str:
    """A facts file of a host with these of the healthy one's GPUs, that are otherwise as said."""
    seen = host()
    told = {name: known(value) for name, value in others.items()}
    shown = tuple(replace(seen.driver.gpus.get()[at], **told) for at in gpus)
    path = world.folder / "facts.json"
    path.write_text(
        json.dumps(facts_json.to_json(replace(having(seen, driver__gpus=shown), model=Model())))
    )
    return str(path)


def test_without_a_profile_it_says_which_one_it_takes(world: World) -> None:
    assert "note: no profile was named, no GPU is here: for 8xpro6000" in world.run("fit").stdout
    four = world.run("fit", "--facts", facts_of(world, 0, 1, 2, 3)).stdout
    assert "note: no profile was named: 4xpro6000 is the default for these GPUs" in four
    assert "8, as profile 8xb300 wants" in world.run("fit", "--gpu", "b300").stdout


def test_another_model_than_that_of_the_facts_has_its_own_sizes(
    world: World, tmp_path: Path
) -> None:
    path = tmp_path / "facts.json"
    path.write_text(json.dumps(facts_json.to_json(host())))
    said = world.run(
        "fit", "-p", "8xpro6000", "--facts", str(path), "--model", "nvidia/GLM-5-NVFP4"
    )

    assert "415.3 GiB in all (computed" in said.stdout


def test_for_gpus_that_no_profile_is_for_it_says_what_would_fit(world: World) -> None:
    path = facts_of(world, 0, 1)
    said = world.run("fit", "--facts", path, "--model", "nvidia/GLM-5.3-Flash-NVFP4")
    alone = world.run("fit", "--facts", path)

    assert "no profile is for these 2 GPUs: the flags of 8xpro6000, tp 2, pp 1" in said.stdout
    assert "2 x 95.6 GiB" in said.stdout
    assert "4 such GPUs hold nvidia/GLM-5.3-Flash-NVFP4" in alone.stdout


def test_the_verdict_comes_first_and_the_bar_ends_where_the_card_does(world: World) -> None:
    for words, verdict in (((), "it fits"), (("--set", "flags.tp-size=4"), "it does not fit")):
        lines = world.run("fit", "-p", "8xpro6000", *PRO, *words).stdout.splitlines()
        (bar,) = [line for line in lines if line.startswith("░")][:1]

        assert lines.index(verdict) < lines.index(bar)
        assert len(bar.partition("|")[0]) == 60
    assert "the card ends, " in bar


# -- all that are published --------------------------------------------------------------------

PUBLISHED = {one.id: one for family in models.families() for one in family.checkpoints.values()}
SIZED = [id for id, one in PUBLISHED.items() if one.gib and capacity.precision(one.quantisation)]


@pytest.mark.parametrize("id", SIZED)
def test_the_files_of_a_published_checkpoint_are_as_large_as_computed(id: str) -> None:
    """Within 7 %: a published one keeps some layers in another precision."""
    one, config = PUBLISHED[id], capacity.named(id)
    precision = capacity.precision(one.quantisation)
    assert config is not None
    assert precision is not None
    made = capacity.from_shape(shape_of(config), precision)
    extra = 0 if one.mtp is False else made.mtp_divided + made.mtp_replicated

    low, high = made.total / capacity.GIB, (made.total + extra) / capacity.GIB
    assert low * 0.95 <= (one.gib or 0) <= high * 1.07


@pytest.mark.parametrize(
    ("id", "tp", "mtp", "gib"),
    [
        ("nvidia/GLM-5.3-Flash-NVFP4", 4, True, 49.2),
        ("nvidia/GLM-5.3-Flash-NVFP4", 2, False, 88.9),
        ("zai-org/GLM-5.3-Flash", 4, False, 76.9),
        ("zai-org/GLM-5.3", 8, False, 89.4),
        ("local-inference-lab/GLM-5.3-Flash-NVFP4", 4, True, 47.7),
    ],
)
def test_a_gpu_holds_what_hosts_showed(id: str, tp: int, mtp: bool, gib: float) -> None:
    """The logs and pages that models.toml quotes."""
    config, precision = capacity.named(id), capacity.precision(PUBLISHED[id].quantisation)
    assert config is not None
    assert precision is not None
    made = capacity.from_shape(shape_of(config), precision)

    assert made.of_gpu(tp, mtp=mtp) / capacity.GIB == pytest.approx(gib, rel=0.05)


@pytest.mark.parametrize("id", PUBLISHED)
def test_each_published_checkpoint_fits_or_says_why_not(world: World, id: str) -> None:
    said = world.run("fit", "-p", "8xb300", "--gpu", "b300", "--model", id)

    assert "Traceback" not in said.stderr
    assert said.returncode == 0 or "has no sizes here" in said.stderr, said.stdout


@pytest.mark.parametrize("words", [("-p", "8xpro6000"), ("--set", "flags.tp-size=8")])
def test_facts_of_fewer_gpus_than_the_plan_wants_say_no(
    world: World, words: tuple[str, ...]
) -> None:
    path = facts_of(world, 0, 1)
    said = world.run("fit", "--facts", path, "--model", "nvidia/GLM-5.2-NVFP4", *words)

    assert said.returncode == 1
    assert said.stdout.count("the plan wants 8 GPUs, the host has 2") == 1
    assert "it fits" not in said.stdout
    note = "# note: the plan wants 8 GPUs, the host has 2"
    assert note in world.run("render", "8xpro6000", "--facts", path).stdout


@pytest.mark.parametrize(("name", "capability"), [("NVIDIA B200", "10.0"), ("NVIDIA H200", "9.0")])
def test_sizes_are_of_the_gpus_that_are_named_above_them(
    world: World, name: str, capability: str
) -> None:
    """Another host's GPUs than the profile is for: nothing fits, and nothing is mixed up."""
    path = facts_of(
        world, *range(8), name=name, capability=capability, memory_total=180 * capacity.GIB
    )
    said = world.run("fit", "-p", "8xpro6000", "--facts", path)

    assert said.returncode == 1
    assert f"profile 8xpro6000 is for sm120, and not for 8x {name}" in said.stdout
    assert "RTX PRO 6000 Blackwell, sm120, SGLang 0.5.23: 8 x 95.6 GiB" in said.stdout
    assert "180.0" not in said.stdout


def test_facts_of_enough_gpus_or_of_none_say_nothing_of_their_number(world: World) -> None:
    told = [
        world.run("render", "4xpro6000-glm53-flash", "--facts", facts_of(world, *gpus)).stdout
        for gpus in ((0, 1, 2, 3), range(8))
    ]
    told.append(world.run("render", "8xpro6000", "--gpu", "rtx-pro-6000").stdout)

    assert not [text for text in told if "the plan wants" in text]


# -- what keeps a server from starting ---------------------------------------------------------

REFUSED = (
    "mem-fraction-static=abc",
    "max-runing-requests=4",
    "kv-cache-dtype=fp8",
    "attention-backend=flashinfr",
    "attention-backend=fa3",
    "enable-nan-detection=true",
)


@pytest.mark.parametrize("setting", REFUSED)
def test_what_the_parser_or_the_gpu_refuses_does_not_fit(world: World, setting: str) -> None:
    words = ("fit", "-p", "8xpro6000", "--release", "0.5.23", "--set", f"flags.{setting}")
    said, told = world.run(*words), json.loads(world.run(*words, "--json").stdout)
    reasons = [one["what"] for one in told["said"] if one["severity"] == Severity.FAIL]

    assert said.returncode == 1
    assert "\nit would not start\n" in said.stdout
    assert told["fits"] is False
    assert [what for what in reasons if setting.partition("=")[0] in what]


def test_what_shows_itself_under_load_alone_does_not_keep_a_server_down(world: World) -> None:
    words = (*PRO, "--release", "0.5.23", "--set", "env.SGLANG_ENABLE_DEEP_GEMM=1")
    said = world.run("fit", "-p", "8xpro6000", *words)

    assert said.returncode == 0
    assert "it fits" in said.stdout


# -- sizes of what is not published ------------------------------------------------------------

OTHER_SIZES = (
    "GLM-5.2-REAP-50-NVFP4 GLM-5.2-REAP25-NVFP4 GLM-5.2-25REAP-NVFP4 GLM-5-pruned-NVFP4"
    " GLM-5-Pruned50-NVFP4 GLM-5.2-594B-NVFP4 GLM-5-distill-NVFP4 GLM-5.3-Distilled-FP8"
    " GLM-5-draft-NVFP4 GLM-5-Lite-NVFP4 GLM-5-NVFP4-EAGLE3 GLM-5-160e-NVFP4 GLM-5-mini-FP8"
    " GLM-5_REAP_NVFP4 GLM-5.3-Flash-REAP-NVFP4 GLM-5.3-Flash-120B-NVFP4 GLM-5-Air-NVFP4"
).split()
OWN_SIZES = "GLM-5-NVFP4 GLM-5.2-Instruct-FP8 GLM-5-744B-NVFP4 GLM-5.3-Flash-NVFP4 GLM-5-MTP-FP8"


@pytest.mark.parametrize("name", OTHER_SIZES)
def test_a_name_that_says_another_size_has_none(name: str) -> None:
    assert capacity.named(f"foo/{name}") is None
    assert capacity.named(f"/models/{name}") is None


@pytest.mark.parametrize("name", OWN_SIZES.split())
def test_a_name_that_says_no_other_size_has_that_of_its_family(name: str) -> None:
    assert capacity.named(f"pruned-org/{name}")


@pytest.mark.parametrize("id", PUBLISHED)
def test_a_published_one_keeps_its_size_whatever_its_name_says(id: str) -> None:
    assert capacity.resized(id) is None


def test_fit_says_which_word_makes_a_size_unknown(world: World) -> None:
    said = world.run("fit", "-p", "8xpro6000", "--model", "foo/GLM-5.2-REAP-50-NVFP4")

    assert said.returncode == 78
    assert "by 'reap' in its name it is not as large as its family" in said.stderr


@pytest.mark.parametrize("command", ["fit", "model", "fetch"])
def test_an_address_in_place_of_an_id_is_told_as_one(world: World, command: str) -> None:
    words = ("-p", "8xpro6000", "--model") if command == "fit" else ()
    for address in ("https://huggingface.co/nvidia/GLM-5.2-NVFP4", "hf.co/nvidia/GLM-5.2-NVFP4"):
        said = world.run(command, *words, f"{address}/tree/main")

        assert said.returncode == 2
        assert "give nvidia/GLM-5.2-NVFP4\n" in said.stderr


# -- one number in every place -----------------------------------------------------------------


@pytest.mark.parametrize("tp", [2, 4, 8])
@pytest.mark.parametrize("profile", ["4xpro6000-glm53-flash", "8xpro6000"])
def test_what_is_left_is_never_more_than_the_weights_leave(profile: str, tp: int) -> None:
    seen = on_its_gpus(profile, f"flags.tp-size={tp}")

    assert seen.left <= max(seen.free - seen.weights, 0)
    assert [row.left for row in seen.rows if row.fraction == seen.fraction] == [seen.left]
    assert all(row.left <= max(seen.free - seen.weights, 0) for row in seen.rows)


def of_context(*settings: str) -> str:
    said = on_its_gpus("8xpro6000", "flags.model-path=nvidia/GLM-5.2-NVFP4", *settings).said
    return next(one.fix for one in said if "less than one request" in one.what)


def test_for_a_context_that_is_too_long_only_what_helps_is_offered() -> None:
    assert of_context() == "set context-length = 507904"
    assert "up to 0.92" in of_context("flags.context-length=520000")
    wide = ("flags.kv-cache-dtype=bfloat16", "flags.context-length=400000")
    assert "take fp8 KV" in of_context(*wide)


def test_a_gpu_that_was_named_does_not_say_how_many_there_are(world: World) -> None:
    said = world.run("fit", "--gpu", "rtx-pro-6000").stdout
    named = world.run("fit", "8xpro6000", "--gpu", "rtx-pro-6000").stdout

    assert "how many GPUs there are is not known: 8, as profile 8xpro6000 wants" in said
    assert "default for these GPUs" not in said
    assert "how many GPUs" not in named
