"""`fit` of vLLM: a fraction of all memory, a range for what runs within it, and which way each knob
goes.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from conftest import World
from hypothesis import given
from hypothesis import strategies as st
from rig.healthy import having, host, plan

from launcher.capacity import memory as capacity
from launcher.capacity.estimate import fit
from launcher.capacity.memory import GIB
from launcher.capacity.outcome import Fit
from launcher.diagnose.text import diagnose_text
from launcher.doctor.checks import judge
from launcher.engines.target import Target
from launcher.engines.vllm.memory import MEMORY
from launcher.host.facts import Host, Model
from launcher.knowledge.shape import shape as shape_of
from launcher.lint.lint import Entry
from launcher.lint.run import judge as judge_text
from launcher.output.budget import usable
from launcher.plan.findings import Severity

PROFILE = "8xpro6000-vllm"
CARD = 97887 << 20


def made(*settings: str, profile: str = PROFILE) -> Fit:
    asked = plan(*settings, profile=profile)
    config = capacity.named(asked.model)
    assert config is not None
    shape = shape_of(config)
    weights = capacity.from_shape(shape, capacity.PRECISIONS["nvfp4"])
    return fit(asked, shape, weights, Host(), None)


FLASH = [f"{gpus}-glm53flash-vllm" for gpus in ("4xb200", "8xb200", "8xb300")]


@pytest.mark.parametrize(
    "profile", ["8xpro6000-vllm", "8xb200-vllm", "4xb200-vllm", "8xb300-vllm", *FLASH]
)
def test_each_profile_fits_the_gpus_that_it_is_for(profile: str) -> None:
    seen = made(profile=profile)

    assert seen.fits
    assert not seen.said
    assert 0 < seen.tokens < seen.at_best
    assert seen.requests[seen.context] >= 1


def test_the_profile_holds_two_to_three_requests_of_its_context() -> None:
    seen = made()

    assert (seen.layout, seen.cell) == ("packed fp8", 61_464)
    assert 315_000 < seen.tokens < 330_000
    assert 405_000 < seen.at_best < 425_000
    assert seen.requests[131_072] == 2
    assert seen.running == 16


def test_a_fraction_is_one_of_all_memory() -> None:
    seen = made()

    assert seen.base / GIB == pytest.approx(94.97, abs=0.01)
    assert seen.left == pytest.approx(seen.free - 0.92 * seen.base, abs=2)


def test_a_fraction_below_what_runs_must_go_up() -> None:
    seen = made("flags.gpu-memory-utilization=0.6")
    [said] = seen.said

    assert said.severity is Severity.FAIL
    assert "none is left for KV" in said.what
    assert said.fix == f"raise gpu-memory-utilization above {seen.least:.3f} (this one goes up)"
    assert made(f"flags.gpu-memory-utilization={seen.least + 0.01:.3f}").tokens > 0


def test_a_fraction_of_more_than_is_free_must_go_down() -> None:
    [said] = made("flags.gpu-memory-utilization=0.995").said

    assert said.severity is Severity.FAIL
    assert "94.1 GiB are free before loading: vLLM refuses to start" in said.what
    assert said.fix == "lower gpu-memory-utilization to 0.99 (this one goes down)"
    assert not made("flags.gpu-memory-utilization=0.99").said


@pytest.mark.parametrize("fraction", ["0.6", "0.92", "0.98"])
def test_four_cards_hold_no_full_glm5_whatever_the_fraction(fraction: str) -> None:
    settings = ("flags.tensor-parallel-size=4", f"flags.gpu-memory-utilization={fraction}")
    [said] = made(*settings).said

    assert said.severity is Severity.FAIL
    assert "no fraction helps" in said.fix


@pytest.mark.parametrize(
    ("context", "severity"),
    [("131072", None), ("350000", Severity.WARN), ("1000000", Severity.FAIL), ("auto", None)],
)
def test_a_context_that_does_not_fit_keeps_it_from_starting(
    context: str, severity: Severity | None
) -> None:
    """Where it may be longer than the model's own, which is also the most that is advised."""
    seen = made(f"flags.max-model-len={context}", "env.VLLM_ALLOW_LONG_MAX_MODEL_LEN=1")

    assert [said.severity for said in seen.said] == ([severity] if severity else [])
    assert seen.fits == (severity is not Severity.FAIL)
    if severity:
        [said] = seen.said
        assert "vLLM refuses to start" in said.what
        assert said.fix.startswith("set max-model-len = 202752")


@pytest.mark.parametrize(
    ("profile", "flag", "allowed"),
    [
        (PROFILE, "max-model-len", "VLLM_ALLOW_LONG_MAX_MODEL_LEN"),
        ("8xpro6000", "context-length", "SGLANG_ALLOW_OVERWRITE_LONGER_CONTEXT_LEN"),
    ],
)
def test_a_context_beyond_the_models_own_is_refused(profile: str, flag: str, allowed: str) -> None:
    """Both engines refuse it, unless a variable allows it; the model's own is fine."""
    beyond = f"flags.{flag}=202753"
    [said] = made(beyond, profile=profile).said

    assert said.severity is Severity.FAIL
    assert f"{flag} 202,753 is more than the model's own 202,752" in said.what
    assert f"set {flag} = 202752" in said.fix
    assert allowed in said.fix
    assert made(beyond, f"env.{allowed}=1", profile=profile).fits
    assert made(f"flags.{flag}=202752", profile=profile).fits


def test_a_context_that_fits_itself_is_not_longer_than_the_pool() -> None:
    seen = made("flags.max-model-len=auto", "flags.gpu-memory-utilization=0.76")

    assert seen.context == seen.tokens < 202_752


def test_bytes_for_the_cache_leave_the_fraction_unread() -> None:
    seen, other = (
        made("flags.kv-cache-memory-bytes=20G", f"flags.gpu-memory-utilization={fraction}")
        for fraction in ("0.92", "0.3")
    )

    assert seen.fits
    assert seen.tokens == seen.at_best == 20 * GIB // 61_464 // 64 * 64
    assert (other.tokens, other.said) == (seen.tokens, ())
    [said] = made("flags.kv-cache-memory-bytes=40G").said
    assert said.severity is Severity.FAIL
    assert said.fix == "lower kv-cache-memory-bytes to 25G (this one goes down)"
    assert made("flags.kv-cache-memory-bytes=25G").fits


def test_drafts_cost_a_layer_its_tokens_and_wider_graphs() -> None:
    asked = '{"method": "mtp", "num_speculative_tokens": 3}'
    plain = made("flags.model=nvidia/GLM-5-NVFP4")
    drafted = made("flags.model=nvidia/GLM-5-NVFP4", f"flags.speculative-config='{asked}'")

    assert drafted.cell == 62_252
    assert drafted.weights > plain.weights
    assert drafted.working[1] > plain.working[1]
    assert drafted.tokens < plain.tokens


@pytest.mark.parametrize(("tp", "copies"), [(4, 2), (2, 4), (1, 8)])
def test_copies_share_the_experts_and_nothing_else(tp: int, copies: int) -> None:
    ranks = (f"flags.tensor-parallel-size={tp}", f"flags.data-parallel-size={copies}")
    seen, alone = made(*ranks), made()

    assert alone.weights < seen.weights < alone.weights + 20 * GIB * copies / 4
    assert seen.weights < made(ranks[0]).weights
    assert seen.fits == (copies < 8), "eight of all but the experts are 88 GiB a GPU"


def test_the_screen_tells_the_range_and_that_it_is_estimated(world: World) -> None:
    said = world.run("fit", "-p", PROFILE, "--gpu", "rtx-pro-6000")

    assert said.returncode == 0
    assert "0.92 x 95.0 GiB in all, 94.1 GiB free" in said.stdout
    assert "321,216 to 416,704 tokens of packed fp8" in said.stdout
    assert "(estimated from logs of hosts" in said.stdout
    assert "at most 16 run at once (max-num-seqs)" in said.stdout
    assert "mem-fraction-static" not in said.stdout
    assert "SGLang" not in said.stdout
    bar = next(line for line in said.stdout.splitlines() if line.startswith("░"))
    assert len(bar.partition("|")[0]) == 60


def test_what_does_not_start_is_a_no(world: World) -> None:
    words = ("fit", "-p", PROFILE, "--gpu", "rtx-pro-6000", "--set", "flags.max-model-len=500000")
    said, told = world.run(*words), json.loads(world.run(*words, "--json").stdout)

    assert said.returncode == 1
    assert "it would not start" in said.stdout
    assert told["fits"] is False
    assert told["at_best"] < told["context"]


# -- doctor, diagnose and lint say the same --------------------------------------------------------------


@pytest.mark.parametrize("fraction", ["0.6", "0.8", "0.92", "0.98", "0.999"])
@pytest.mark.parametrize("tp", [2, 4, 8])
def test_doctor_agrees_with_fit(tp: int, fraction: str) -> None:
    settings = (
        f"flags.tensor-parallel-size={tp}",
        f"flags.gpu-memory-utilization={fraction}",
        "flags.max-model-len=8192",
    )
    seen = replace(host(), model=Model())
    [found] = judge(seen, plan(*settings, profile=PROFILE), only=("model-fits",))

    assert (found.severity is Severity.FAIL) == (not made(*settings).fits)
    assert "mem-fraction" not in f"{found.evidence} {found.fix}"


def test_doctor_knows_the_layer_that_vllm_drafts_with() -> None:
    def severity(asked: str, *, there: bool) -> Severity:
        seen = having(host(), model__mtp=there)
        made = plan(f"flags.speculative-config='{asked}'", profile=PROFILE)
        [found] = judge(seen, made, only=("model-mtp",))
        return found.severity

    mtp = '{"method": "mtp", "num_speculative_tokens": 3}'
    ngram = '{"method": "ngram", "num_speculative_tokens": 3}'
    assert severity(mtp, there=False) is Severity.FAIL
    assert severity(mtp, there=True) is Severity.OK
    assert severity(ngram, there=False) is Severity.OK


@pytest.mark.parametrize(
    ("settings", "ended"),
    [
        (
            "flags.gpu-memory-utilization=0.6",
            "ValueError: No available memory for the cache blocks. Try increasing"
            " `gpu_memory_utilization` when initializing the engine.",
        ),
        (
            "flags.gpu-memory-utilization=0.995",
            "ValueError: Free memory on device cuda:0 (94.1/94.97 GiB) on startup is less than"
            " desired GPU memory utilization (0.995, 94.5 GiB).",
        ),
        (
            "flags.max-model-len=1000000",
            "ValueError: To serve at least one request with the model's max seq len (1000000),"
            " (57.2 GiB KV cache is needed, which is larger than the available KV cache memory"
            " (18.4 GiB). Based on the available memory, the estimated maximum model length is"
            " 321216.",
        ),
    ],
)
def test_fit_moves_the_knob_that_diagnose_would(settings: str, ended: str) -> None:
    """The words of 0.32.0 (v1/worker/utils.py, v1/core/kv_cache_utils.py)."""
    frame = "(EngineCore pid=7) ERROR 11-26 10:05:00 [core.py:900]"
    found = diagnose_text([f"{frame} {ended}\n".encode()])
    [said] = made(settings).said

    assert found.knob
    way, _, option = found.knob.partition(" --")
    assert option in said.fix
    assert said.fix.startswith("set max-model-len" if option == "max-model-len" else way)


def entries(words: str) -> tuple[Entry, ...]:
    aim = Target(None, "sm120", "rtx-pro-6000", memory=CARD, engine="vllm")
    [judged] = judge_text(f"vllm serve nvidia/GLM-5.2-NVFP4 {words}", aim).launches
    return next(iter(judged.releases.values()))


def of_room(words: str) -> dict[str, str]:
    said: dict[str, Any] = {one.name: one.why for one in entries(words)}
    told = ("the weights", "one request", "are free before")
    return {name: why for name, why in said.items() if any(part in why for part in told)}


SHORT = "--max-model-len 8192 --max-num-seqs 16"


@pytest.mark.parametrize(
    ("words", "blamed"),
    [
        (f"-tp 4 {SHORT}", "-tp"),
        (f"-tp 8 {SHORT} --gpu-memory-utilization 0.6", "-tp"),
        (f"-tp 8 {SHORT} --gpu-memory-utilization 0.999", "--gpu-memory-utilization"),
        ("-tp 8 --max-num-seqs 16 --max-model-len 1M", "--max-model-len"),
        ("-tp 8 --max-num-seqs 16", "nvidia/GLM-5.2-NVFP4"),  # its own context is too long
    ],
)
def test_lint_says_what_has_no_room(words: str, blamed: str) -> None:
    assert [*of_room(words)] == [blamed]


@pytest.mark.parametrize(
    "words",
    [
        f"-tp 8 {SHORT}",
        f"-tp 8 {SHORT} --kv-cache-memory-bytes 10G --gpu-memory-utilization 0.3",
        f"-tp 4 {SHORT} --cpu-offload-gb 64",
        f"-tp 4 {SHORT} --data-parallel-size 2",
        "-tp 8 --max-num-seqs 16 --max-model-len auto",
    ],
)
def test_lint_is_silent_where_there_is_room_or_nobody_knows(words: str) -> None:
    assert not of_room(words)


SIZES = st.sampled_from(
    ["0", "1", "-1", "x", "1e9", "nan", "inf", "8", "8k", "8K", "auto", "9" * 40, "0.5", "{}", "[]"]
)
OPTIONS = st.sampled_from(
    "tensor-parallel-size pipeline-parallel-size data-parallel-size decode-context-parallel-size"
    " max-model-len max-num-seqs max-num-batched-tokens gpu-memory-utilization kv-cache-dtype"
    " kv-cache-memory-bytes speculative-config max-cudagraph-capture-size kv-transfer-config".split()
)
MODELS = st.sampled_from(
    ["nvidia/GLM-5.2-NVFP4", "nvidia/GLM-5.3-Flash-NVFP4", "zai-org/GLM-5-FP8"]
)


@given(st.dictionaries(OPTIONS, SIZES, max_size=6), MODELS)
def test_no_numbers_are_a_traceback(said: dict[str, str], model: str) -> None:
    words = " ".join(f"--{name}={value}" for name, value in said.items())
    aim = Target(None, "sm120", "rtx-pro-6000", memory=CARD, engine="vllm")

    assert judge_text(f"vllm serve {model} {words}", aim).launches


@pytest.mark.parametrize("profile", ["8xpro6000-vllm", "8xpro6000", "4xpro6000-glm53flash-vllm"])
@given(context=st.sampled_from([8192, 65536, 131072, 202752]))
def test_a_fraction_is_usable_from_where_one_request_of_the_context_fits(
    profile: str, context: int
) -> None:
    vllm = profile.endswith("vllm")
    name = "max-model-len" if vllm else "context-length"
    fraction = "gpu-memory-utilization" if vllm else "mem-fraction-static"
    asked = f"flags.{name}={context}"
    useful = made(asked, profile=profile).useful
    within = made(asked, f"flags.{fraction}={useful:.5f}", profile=profile)
    below = made(asked, f"flags.{fraction}={useful - 0.002:.5f}", profile=profile)

    assert within.tokens >= context > below.tokens
    assert within.least < useful


def test_where_no_fraction_has_room_for_one_request_that_is_said() -> None:
    seen = made("flags.max-model-len=2000000")

    assert usable(seen, MEMORY.knobs) == (
        "no gpu-memory-utilization up to 0.99 has room for one request of 2,000,000 tokens"
    )
    assert "0.81 (one request of 131,072 tokens) to" in usable(made(), MEMORY.knobs)


def test_prefill_context_ranks_share_the_experts_as_data_ranks_do() -> None:
    one = ("flags.tensor-parallel-size=1",)
    alone = made(*one)
    shared = made(*one, "flags.prefill-context-parallel-size=4")

    assert shared.weights == made(*one, "flags.data-parallel-size=4").weights
    assert shared.weights < alone.weights / 2


@pytest.mark.parametrize("more", [{"rope_factor": "4.0"}, {"model_max_length": "1048576"}])
def test_a_model_whose_positions_are_stretched_is_not_held_to_them(more: dict[str, str]) -> None:
    """What an engine makes of it is its own: nothing is said."""
    sizes = "num_hidden_layers num_attention_heads hidden_size vocab_size".split()
    config = dict.fromkeys(sizes, "1") | {"max_position_embeddings": "202752"}

    assert shape_of(config).own == 202_752
    assert shape_of(config | more).own in (0, 1_048_576)
