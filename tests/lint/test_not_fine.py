"""What --fix changes is not listed as fine, and what nobody changes is."""

from __future__ import annotations

import pytest

from launcher.engines.target import Target
from launcher.formats.reading import read
from launcher.lint.concerns import Verdict
from launcher.lint.lint import Entry, lint
from launcher.lint.rewrite import rewrite

SGLANG = Target("0.5.23", "sm120", "rtx-pro-6000")
VLLM = Target("0.32.0", "sm120", "rtx-pro-6000", engine="vllm")
FLASH = "sglang serve --model-path /m/GLM-5.3-Flash-NVFP4 --tp-size 4 --host 127.0.0.1"
CASES = [
    (FLASH, "--dsa-prefill-backend trtllm --dsa-decode-backend trtllm"),
    (FLASH, "--dsa-decode-backend trtllm --dsa-prefill-backend trtllm"),
    (FLASH, "--dsa-prefill-backend trtllm --kv-cache-dtype bfloat16"),
    (
        FLASH.replace("3-Flash", "2").replace("size 4", "size 8"),
        "--dsa-prefill-backend trtllm --dsa-decode-backend trtllm",
    ),
]


def entries(text: str, target: Target) -> dict[str, Entry]:
    [launch] = read(text).launches
    return {one.name: one for one in lint(launch, target)}


@pytest.mark.parametrize(("command", "words"), CASES)
def test_what_fix_changes_is_not_listed_as_fine(command: str, words: str) -> None:
    text = f"{command} {words}"
    [launch] = read(text).launches
    said = entries(text, SGLANG)
    after = rewrite(launch, SGLANG).launch.words
    gone = {one for one in words.split() if one.startswith("--")}
    kept = {one for one in gone if one in after and after[after.index(one) + 1] in words.split()}

    assert gone - kept
    for name in gone - kept:
        assert said[name].verdict is not Verdict.FINE


def test_what_has_the_wanted_value_already_stays_fine() -> None:
    words = "--dsa-prefill-backend trtllm --kv-cache-dtype fp8_e4m3"
    said = entries(f"{FLASH} {words}", SGLANG)

    assert said["--dsa-prefill-backend"].verdict is Verdict.BREAKS
    assert said["--kv-cache-dtype"].verdict is Verdict.FINE
    assert said["--tp-size"].verdict is Verdict.FINE


@pytest.mark.parametrize("value", ["pplx", "naive"])
def test_a_way_between_experts_that_vllm_took_away_does_nothing(value: str) -> None:
    said = entries(f"vllm serve a/m --host 127.0.0.1 --all2all-backend {value}", VLLM)
    assert said["--all2all-backend"].verdict is Verdict.INERT
    assert "falls back to allgather_reducescatter" in said["--all2all-backend"].why


def test_one_that_vllm_has_is_fine() -> None:
    text = "vllm serve a/m --host 127.0.0.1 --all2all-backend allgather_reducescatter"
    assert entries(text, VLLM)["--all2all-backend"].verdict is Verdict.FINE


DEEPEP = {
    "sglang": "sglang serve --model-path a/m --tp-size 8 --moe-a2a-backend deepep",
    "vllm": "vllm serve a/m -tp 8 --all2all-backend deepep_low_latency",
}


@pytest.mark.parametrize(("engine", "arch", "is_risky"), [
    ("sglang", "sm120", True), ("sglang", "sm100", False),
    ("vllm", "sm120", True), ("vllm", "sm100", False),
])  # fmt: skip
def test_deepep_over_pcie_alone_is_risky(engine: str, arch: str, *, is_risky: bool) -> None:
    target = Target("0.5.23" if engine == "sglang" else "0.33.0", arch, engine=engine)
    said = entries(DEEPEP[engine], target)
    told = said["--moe-a2a-backend" if engine == "sglang" else "--all2all-backend"]

    assert (told.verdict is Verdict.RISKY and "DeepEP" in told.why) is is_risky
