"""What is known of vLLM is told of the releases, GPUs and models that it is about, and of no other."""

from __future__ import annotations

import pytest

from launcher.engines import issues, traits
from launcher.engines.engine import dialect
from launcher.engines.match import Case
from launcher.engines.target import Target
from launcher.host.facts import Model

RELEASES = dialect("vllm").options.releases
GLM, NVFP4 = "zai-org/GLM-5.2-FP8", "nvidia/GLM-5.2-NVFP4"
OF_SM120 = {
    "vllm-sparse-attention-sm120": {"0.16.0", "0.19.1", "0.23.0"},
    "vllm-deepgemm-warm-up": {"0.24.0"},
    "vllm-sparse-scales-sm120": {"0.25.1"},
    "vllm-sparse-prefill-sm120": {"0.26.0", "0.27.1", "0.28.0"},
}
MTP = '{"method": "mtp", "num_speculative_tokens": 3}'


def told(release: str, arch: str, name: str, **flags: str) -> set[str]:
    given = {key.replace("_", "-"): value for key, value in flags.items()}
    target = Target(release, arch, engine="vllm")
    asked = {"model": name, "tensor-parallel-size": "8", "host": "127.0.0.1", **given}
    return {one.id for one in issues.issues(Case(target, asked, {}, 8, of(name)))}


def of(name: str) -> frozenset[str]:
    return traits.of(Model(), name).traits


@pytest.mark.parametrize("name", ["LibertAIDAI/GLM-5.3-NVFP4", NVFP4, "deepseek-ai/DeepSeek-V3.2"])
@pytest.mark.parametrize("release", RELEASES)
def test_before_0_29_no_release_serves_sparse_attention_on_sm120_with_what_it_pins(
    release: str, name: str
) -> None:
    fatal = {row for row, releases in OF_SM120.items() if release in releases}

    assert told(release, "sm120", name) & OF_SM120.keys() == fatal
    assert not told(release, "sm100", name) & OF_SM120.keys()
    assert bool(fatal) == (RELEASES.index(release) < RELEASES.index("0.29.0"))


@pytest.mark.parametrize("name", ["zai-org/GLM-4.6-FP8", "Qwen/Qwen3-4B", "zai-org/GLM-5.3-Flash"])
@pytest.mark.parametrize("release", RELEASES)
def test_of_models_with_other_attention_none_of_that_is_said(release: str, name: str) -> None:
    assert not told(release, "sm120", name) & OF_SM120.keys()


def test_a_flashinfer_that_knows_the_format_of_scales_mends_one_of_them() -> None:
    [row] = [one for one in issues.every_issue() if one.id == "vllm-sparse-scales-sm120"]

    assert row.is_fixed({"flashinfer-python": "0.6.15"})
    assert not row.is_fixed({"flashinfer-python": "0.6.13"})


@pytest.mark.parametrize(
    ("row", "release", "flags"),
    [
        ("vllm-drafts-wrong", "0.24.0", {"speculative_config": MTP}),
        ("vllm-output-odd", "0.23.0", {}),
        (
            "vllm-other-class",
            "0.28.0",
            {"model_class_overrides": '{"GlmMoeDsaForCausalLM": "m:C"}'},
        ),
    ],
)
def test_wrong_answers_on_b200_are_told_of_the_releases_that_gave_them(
    row: str, release: str, flags: dict[str, str]
) -> None:
    assert row in told(release, "sm100", GLM, **flags)
    assert row not in told("0.32.0", "sm100", GLM, **flags)
    assert row not in told(release, "sm100", "zai-org/GLM-4.6-FP8", **flags)
    assert row not in told(release, "sm120", GLM, **flags) or row == "vllm-drafts-wrong"


def test_wrong_answers_are_not_told_of_who_drafts_otherwise_or_has_another_checkpoint() -> None:
    ngram = '{"method": "ngram", "num_speculative_tokens": 3}'

    assert "vllm-drafts-wrong" not in told("0.24.0", "sm100", GLM)
    assert "vllm-drafts-wrong" not in told("0.24.0", "sm100", GLM, speculative_config=ngram)
    for name in (NVFP4, "zai-org/GLM-5-FP8"):
        said = told("0.23.0", "sm100", name, speculative_config=MTP)
        assert not said & {"vllm-drafts-wrong", "vllm-output-odd"}
    assert "vllm-other-class" not in told("0.28.0", "sm100", GLM)
