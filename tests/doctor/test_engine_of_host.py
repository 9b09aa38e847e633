"""A host is judged for a profile of the engine that it has, or it is said that it is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from launcher.config.select import engine_of
from launcher.doctor.heading import head
from launcher.doctor.run import Source, examine
from launcher.host import parsers

HOST = """PyTorch version              : 2.13.0+cu132
CUDA used to build PyTorch   : 13.2
Python version               : 3.12.14 (main, Sep  1 2026)
GPU models and configuration :
GPU 0: NVIDIA RTX PRO 6000 Blackwell Server Edition
GPU 1: NVIDIA RTX PRO 6000 Blackwell Server Edition
GPU 2: NVIDIA RTX PRO 6000 Blackwell Server Edition
GPU 3: NVIDIA RTX PRO 6000 Blackwell Server Edition
Nvidia driver version        : 595.71.05
"""
VLLM = "vLLM Version                 : 0.31.0\n"
SGLANG = "[pip3] sglang==0.5.23\n"


def judged(tmp_path: Path, text: str, profile: str | None = None) -> str:
    pasted = tmp_path / "env.txt"
    pasted.write_text(text)
    return head(examine(profile, (), Source(None, None, str(pasted)), {}))


@pytest.mark.parametrize(
    ("more", "engine"),
    [
        (VLLM, "vllm"),
        (VLLM.replace("0.31.0", "0.32.1rc1.dev7+g1a2b3c"), "vllm"),
        (VLLM.replace("0.31.0", "0.1.dev15861+gb2f6480ca"), None),
        (VLLM.replace("0.31.0", "N/A"), None),
        (SGLANG, "sglang"),
        (VLLM + SGLANG, None),
        ("", None),
    ],
)
def test_which_engine_a_pasted_environment_has(
    tmp_path: Path, more: str, engine: str | None
) -> None:
    pasted = tmp_path / "env.txt"
    pasted.write_text(HOST + more)

    assert engine_of(parsers.host(str(pasted))) == engine


@pytest.mark.parametrize(
    ("more", "profile"), [(VLLM, "4xpro6000-vllm"), (SGLANG, "4xpro6000"), ("", "4xpro6000")]
)
def test_the_profile_that_fits_best_is_of_the_hosts_engine(
    tmp_path: Path, more: str, profile: str
) -> None:
    said = judged(tmp_path, HOST + more)

    assert said.endswith(f"judged for {profile}, the default for these GPUs")


def test_a_profile_of_the_other_engine_is_told_where_it_was_named(tmp_path: Path) -> None:
    assert judged(tmp_path, HOST + VLLM, "4xpro6000").endswith(
        "judged for 4xpro6000; it has vLLM, and 4xpro6000 is of SGLang"
    )
    assert "it has" not in judged(tmp_path, HOST + VLLM, "4xpro6000-vllm")
    assert "it has" not in judged(tmp_path, HOST, "4xpro6000")
