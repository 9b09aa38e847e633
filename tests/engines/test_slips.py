"""What is a slip of the finger, and what is another word."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.engines.engine import dialect
from launcher.engines.options import nearest_name
from launcher.engines.slips import near

CATALOGUE = dialect("sglang").options
NEWEST = CATALOGUE.release(CATALOGUE.newest)
NAMES = sorted({*NEWEST.options, *NEWEST.variables})

MISTYPED = {
    "--max-runing-requests": "--max-running-requests",
    "--max-running-request": "--max-running-requests",
    "--max-running-requets": "--max-running-requests",
    "--max_running_requests": "--max-running-requests",
    "--mem-fraction-statc": "--mem-fraction-static",
    "--mem-fracton-statc": "--mem-fraction-static",
    "--memfraction-static": "--mem-fraction-static",
    "--modle-path": "--model-path",
    "--model-pth": "--model-path",
    "--prot": "--port",
    "--hots": "--host",
    "--tp_size": "--tp-size",
    "--tpp-size": "--tp-size",
    "--tp-szie": "--tp-size",
    "--TP-Size": "--tp-size",
    "--context-lenght": "--context-length",
    "--dsable-radix-cache": "--disable-radix-cache",
    "--attentoin-backend": "--attention-backend",
    "--kv-cache-dtpye": "--kv-cache-dtype",
    "--quantisation": "--quantization",
    "--speculitive-algorithm": "--speculative-algorithm",
    "--enable-dp-attentiom": "--enable-dp-attention",
    "SGLANG_ENABLE_JIT_DEEP_GEMM": "SGLANG_ENABLE_JIT_DEEPGEMM",
}
OTHERS = (
    "--enable-mtp",
    "--ctx-size",
    "--enable-prefix-caching",
    "--enable-radix-cache",
    "--no-radix-cache",
    "--max-num-seqs",
    "--max-num-batched-tokens",
    "--max-model-len",
    "--max-seq-len",
    "--gpu-memory-utilization",
    "--gpus",
    "--bogus",
    "-p",
    "--enforce-eager",
    "--swap-space",
    "--num-gpus",
    "--batch-size",
    "--cp-size",
    "--enable-http3",
    "--content-length",
    "--parallel",
    "--enable-pcie-oneshot-allreduce",
    "SGLANG_DISABLE_DEEP_GEMM",
)


@pytest.mark.parametrize("word", MISTYPED)
def test_what_is_mistyped_is_found(word: str) -> None:
    assert near(word, NAMES) == MISTYPED[word]


@pytest.mark.parametrize("word", OTHERS)
def test_another_word_is_taken_for_none(word: str) -> None:
    assert near(word, NAMES) is None
    assert nearest_name(word, NEWEST) is None


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--kv-cache-dtype", "fp8", "choices: fp8_e5m2, fp8_e4m3"),
        ("--quantization", "nvfp4", "choices: nvfp4_online, "),
        ("--quantization", "fp4", "choices: modelopt_fp4, "),
        ("--kv-cache-dtype", "fp8-e4m3", "did you mean fp8_e4m3?"),
        ("--kv-cache-dtype", "fp8_em43", "did you mean fp8_e4m3?"),
    ],
)
def test_a_choice_is_meant_as_a_name_is(option: str, value: str, said: str) -> None:
    [told] = NEWEST.given([option, value])

    assert told.problem
    assert f"has no choice {value}; {said}" in told.problem


@given(st.sampled_from([name for name in NAMES if len(name) > 8]))
def test_no_name_is_taken_for_one_that_does_the_opposite(name: str) -> None:
    turned = re.sub("enable", "disable", name, flags=re.IGNORECASE)
    if turned != name:
        assert near(turned, [name]) is None


@given(st.sampled_from(NAMES), st.sampled_from(NAMES))
def test_slips_are_none_of_no_name(one: str, other: str) -> None:
    assert near(one, [one]) == one
    assert near(one, []) is None
    assert near(one, [one, other]) == one or one.lower() == other.lower()
