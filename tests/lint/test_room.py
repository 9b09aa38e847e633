"""Whether a launch has room on its GPUs: the numbers of `fit`, and silence where nobody knows."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import World
from hypothesis import given
from hypothesis import strategies as st

from launcher.api.fit import FitRequest, estimate
from launcher.config.target import TargetOptions
from launcher.engines.engine import dialect
from launcher.engines.target import Target
from launcher.host.facts import Model, known
from launcher.knowledge import gpus
from launcher.lint.concerns import Verdict
from launcher.lint.fix import fixed
from launcher.lint.lint import Entry
from launcher.lint.rewrite import rewrite
from launcher.lint.run import judge
from launcher.plan.findings import Severity

NEWEST = dialect("sglang").options.newest
FOUR = "--model-path nvidia/GLM-5.2-NVFP4 --tp-size 4"


def target(gpu: str | None, arch: str = "sm120") -> Target:
    product = gpus.products().get(gpu or "")
    if product is None:
        return Target(NEWEST, arch)
    return Target(NEWEST, product.arch, product.id, memory=product.memory)


def of_room(words: str, aim: Target) -> list[str]:
    return about_room(entry.why for entry in entries(words, aim))


def about_room(whys: Iterable[str]) -> list[str]:
    return [why for why in whys if "the weights" in why or "slots for the state" in why]


def entries(words: str, aim: Target) -> tuple[Entry, ...]:
    [judged] = judge(f"python3 -m sglang.launch_server {words}", aim).launches
    return judged.releases[NEWEST]


def notes(words: str, aim: Target) -> str:
    [judged] = judge(f"python3 -m sglang.launch_server {words}", aim).launches
    return "\n".join(judged.notes)


def test_what_is_too_large_breaks_in_numbers() -> None:
    [said] = [entry for entry in entries(FOUR, target("rtx-pro-6000")) if entry.name == "--tp-size"]

    assert said.verdict is Verdict.BREAKS
    assert said.when == "at load"
    assert "the weights take 110.5 GiB of 94.1 GiB a GPU" in said.why
    assert not of_room(FOUR.replace("size 4", "size 8"), target("rtx-pro-6000"))
    assert not of_room(FOUR, target("b200"))


PRODUCTS = sorted(one.id for one in gpus.products().values() if one.is_blackwell)
MODELS = (
    "nvidia/GLM-5.2-NVFP4",
    "zai-org/GLM-5.3",
    "nvidia/GLM-5.3-Flash-NVFP4",
    "zai-org/GLM-5-FP8",
)


RANKS = (
    *("--tp-size 2", "--tp-size 4", "--tp-size 8", "--tp-size 4 --pp-size 2"),
    "--tp-size 2 --speculative-algorithm EAGLE --speculative-num-steps 2"
    " --speculative-eagle-topk 1 --speculative-num-draft-tokens 3",
    "--tp-size 4 --dp-size 4 --enable-dp-attention",
)


@pytest.mark.parametrize("gpu", PRODUCTS)
@pytest.mark.parametrize("model", MODELS)
def test_lint_and_fit_say_the_same(gpu: str, model: str, tmp_path: Path) -> None:
    """Of the same options: a profile's rules would choose drafts and attention DP beside them."""
    aim = TargetOptions.of(NEWEST, gpu, None, None)
    for ranks in RANKS:
        words = f"--model-path {model} {ranks} --mem-fraction-static 0.88"
        told_of = (one.partition(" ") for one in words.removeprefix("--").split(" --"))
        asked = [f"flags.{name}={value or 'true'}" for name, _, value in told_of]
        asked.append("rules.enabled=false")
        ask = FitRequest("8xpro6000", None, tuple(asked), aim)
        told = estimate(ask, {"HOME": str(tmp_path)}).fit
        failed = about_room(one.what for one in told.said if one.severity is Severity.FAIL)
        said = of_room(words, target(gpu))

        assert bool(said) == bool(failed), words
        assert not failed or failed[0] in said[0]


def test_an_architecture_is_judged_by_what_is_so_on_each_of_its_products() -> None:
    [said] = of_room(FOUR, target(None))

    assert "even on RTX PRO 6000 Blackwell the weights take 110.5 GiB" in said


def test_where_its_products_differ_that_is_a_note_and_no_verdict() -> None:
    eight = FOUR.replace("size 4", "size 8")

    assert not of_room(eight, target(None))
    assert "room on RTX PRO 6000 Blackwell, and none on GeForce RTX 5090" in notes(
        eight, target(None)
    )
    assert "room on" not in notes(eight, target("rtx-pro-6000"))
    assert of_room(eight, target("rtx-5090"))


@pytest.mark.parametrize(
    "words",
    [
        "--model-path /models/current --tp-size 1",
        "--model-path example/Unheard-Of --tp-size 1",
        "--model-path nvidia/GLM-5.2 --tp-size 1",
        f"{FOUR} --cpu-offload-gb 64",
        f"{FOUR} --json-model-override-args {{}}",
        f"{FOUR} --device cpu",
        "--model-path nvidia/GLM-5.2-NVFP4 --tp-size $TP",
    ],
)
def test_of_what_is_not_known_nothing_is_said(words: str) -> None:
    assert not of_room(words, target("rtx-5090"))


@given(st.integers(1, 64), st.sampled_from(["0.5", "0.9", "2", "x"]))
def test_more_ranks_never_lose_room(ranks: int, fraction: str) -> None:
    words = f"--model-path nvidia/GLM-5.2-NVFP4 --mem-fraction-static {fraction} --tp-size"
    few, many = (of_room(f"{words} {count}", target("b200")) for count in (ranks, 2 * ranks))

    assert few or not many


SIZES = st.sampled_from(
    ["0", "1", "-1", "x", "", "1e9", "nan", "inf", "8", "128k", "9" * 40, "0.5", "1_0", "true"]
)
OPTIONS = st.sampled_from(
    "tp-size pp-size nnodes dp-size context-length max-running-requests chunked-prefill-size"
    " mem-fraction-static page-size max-mamba-cache-size speculative-num-steps gpu-id-step"
    " speculative-num-draft-tokens base-gpu-id attn-dp-size max-total-tokens".split()
)


@given(
    st.dictionaries(OPTIONS, SIZES, max_size=6),
    st.sampled_from(MODELS),
    st.sampled_from([*PRODUCTS, None]),
    st.sampled_from(["", " --speculative-algorithm EAGLE"]),
)
def test_no_numbers_are_a_traceback(
    said: dict[str, str], model: str, gpu: str | None, drafts: str
) -> None:
    words = " ".join(f"--{name} {value}" for name, value in said.items())
    [judged] = judge(f"sglang serve --model-path {model} {words}{drafts}", target(gpu)).launches

    found = rewrite(judged.launch, judged.target)
    assert found.obstacle or model in found.launch.words


def two(first: str, second: str) -> list[str]:
    words = "python3 -m sglang.launch_server --model-path nvidia/GLM-5.2-NVFP4 --tp-size 8"
    apart = "--disaggregation-mode"
    text = f"{first} {words} {apart} prefill --port 1 &\n{second} {words} {apart} decode --port 2"
    told = judge(text, target("rtx-pro-6000")).launches
    return [entry.why for judged in told for entry in judged.releases[NEWEST] if entry.concerns]


def test_prefill_and_decode_on_the_same_gpus_have_no_room() -> None:
    [said] = two("", "")

    assert "shares GPU 0, 1, 2, 3, 4, 5, 6, 7 with the launch of line 1" in said
    assert "114.6 GiB of 94.1" in said
    assert not two(
        "CUDA_VISIBLE_DEVICES=0,1,2,3,4,5,6,7", "CUDA_VISIBLE_DEVICES=8,9,10,11,12,13,14,15"
    )
    named = ",".join(f"GPU-{at}" for at in range(8))
    assert not two(f"CUDA_VISIBLE_DEVICES={named}", "")


def test_two_launches_of_a_text_need_not_run_at_once() -> None:
    words = "python3 -m sglang.launch_server --model-path nvidia/GLM-5.2-NVFP4 --tp-size 8"
    told = judge(f"{words} --port 1\n{words} --port 2", target("rtx-pro-6000")).launches

    assert not [entry for judged in told for entry in judged.releases[NEWEST] if entry.concerns]


def test_a_folder_that_lies_here_says_itself_what_it_is(world: World, tmp_path: Path) -> None:
    folder = tmp_path / "current"
    folder.mkdir()
    config = {
        "architectures": ["GlmMoeDsaForCausalLM"],
        "model_type": "glm_moe_dsa",
        "quantization_config": {"quant_algo": "NVFP4", "quant_method": "modelopt"},
        "num_hidden_layers": 78,
        "hidden_size": 6144,
        "num_attention_heads": 64,
        "vocab_size": 154880,
        "max_position_embeddings": 202752,
        "kv_lora_rank": 512,
        "q_lora_rank": 2048,
        "qk_nope_head_dim": 192,
        "qk_rope_head_dim": 64,
        "v_head_dim": 256,
        "n_routed_experts": 256,
        "n_shared_experts": 1,
        "moe_intermediate_size": 2048,
        "intermediate_size": 12288,
        "first_k_dense_replace": 3,
    }
    (folder / "config.json").write_text(json.dumps(config))
    script = tmp_path / "launch.sh"
    script.write_text(f"python3 -m sglang.launch_server --model-path {folder} --tp-size 4\n")
    ran = world.run("lint", str(script), "--gpu", "rtx-pro-6000", "--release", NEWEST)

    assert ran.returncode == 1
    assert "the weights take" in " ".join(ran.stdout.split())


def test_facts_of_a_host_count_over_what_lies_here() -> None:
    def unasked(path: str) -> Model:
        raise AssertionError(path)

    told = replace(target("b200"), model=Model(quantisation=known("FP8")))

    assert judge(f"sglang serve {FOUR}", told, said=unasked).launches


def test_what_was_not_judged_is_told() -> None:
    said = notes("--model-path zai-org/GLM-5.2 --tp-size 8", target("b200"))
    assert "room on the GPUs was not judged: the sizes of zai-org/GLM-5.2 are unknown" in said
    assert "not judged" not in notes(FOUR, target("b200"))
    assert "not judged" not in notes("--model-path m --device cpu", target("b200"))


@pytest.mark.parametrize(
    ("words", "is_told"),
    [
        ("--tp-size 8", True),
        ("--tp-size 4 --pp-size 1", True),
        ("--tp-size 2", False),
        ("", False),
        ("--tp-size 4 --nnodes 2 --node-rank 0 --dist-init-addr a:1", False),
        ("--tp-size 8 --device cpu", False),
        ("--tp-size 8 --use-ray", False),
    ],
)
def test_more_ranks_than_the_host_has_gpus_break(words: str, is_told: bool) -> None:
    here = replace(target("b200"), count=2)
    for aim, told in ((here, is_told), (target("b200"), False)):
        whys = [entry.why for entry in entries(f"--model-path m {words}", aim)]
        assert any("host of these facts the server sees 2 GPUs" in why for why in whys) == told


LONG = "vllm serve nvidia/GLM-5.2-NVFP4 -tp 8 --swap-space 16 --disable-log-requests"


@pytest.mark.parametrize(
    "form",
    [
        LONG,
        LONG.replace(" ", " \\\n  "),
        "services:\n  a:\n    image: vllm/vllm-openai:v0.33.0\n    command: " + LONG[11:],
    ],
)
def test_a_context_that_has_no_room_is_made_shorter(form: str) -> None:
    fix = fixed(form, Target("0.33.0", "sm120", "rtx-pro-6000", engine="vllm"))

    assert not fix.obstacles
    assert {change.new for change in fix.changes} == {"--max-model-len 240640", ""}
    assert "--disable-log-requests" in " ".join(fix.text.split())


def test_a_context_that_its_author_asked_for_is_his() -> None:
    text = f"{LONG} --max-model-len 1048576"

    assert fixed(text, Target("0.33.0", "sm120", "rtx-pro-6000", engine="vllm")).obstacles


def test_one_that_has_room_stays_as_it_is() -> None:
    fix = fixed(LONG, Target("0.33.0", "sm100", "b200", engine="vllm"))

    assert [change.old for change in fix.changes] == ["--swap-space 16"]


def test_too_few_slots_are_told_as_what_a_request_needs() -> None:
    text = (
        "sglang serve --model-path nvidia/GLM-5.3-Flash-NVFP4 --tp-size 4 --host 127.0.0.1"
        " --max-mamba-cache-size 4 --max-running-requests 8\n"
    )
    [judged] = judge(text, Target("0.5.23", "sm120", "rtx-pro-6000")).launches
    [entries] = judged.releases.values()

    said = "; ".join(concern.why for entry in entries for concern in entry.concerns)
    assert "4 slots for the state of linear attention are too few: one request needs 5" in said
