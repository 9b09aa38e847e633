"""What was reported of a model's own draft layer is said of no drafts that come from elsewhere."""

from __future__ import annotations

import pytest

from launcher.engines.target import Target
from launcher.lint.run import judge

OWN = ("EAGLE", "NEXTN")
OTHERS = ("DFLASH --speculative-draft-model-path incoai/GLM-5.3-DFlash2", "NGRAM")
OF_THE_LAYER = {
    "draft layer's": ("sm103", "0.5.23", "incoai/GLM-5.3-NVFP4 --tp 8"),
    "no layer 78": ("sm103", "0.5.23", "lukealonso/GLM-5-NVFP4 --tp 8"),
    "groups of attention DP over": (
        "sm100",
        "0.5.15",
        "nvidia/GLM-5.2-NVFP4 --tp 8 --dp-size 2 --enable-dp-attention",
    ),
}


def said(what: str, algorithm: str) -> bool:
    """Whether a launch with drafts of a kind is told so."""
    gpu, release, rest = OF_THE_LAYER[what]
    text = f"sglang serve --model-path {rest} --speculative-algorithm {algorithm}\n"
    [judged] = judge(text, Target(release, gpu)).launches
    [entries] = judged.releases.values()
    return any(what in concern.why for entry in entries for concern in entry.concerns)


@pytest.mark.parametrize("what", OF_THE_LAYER)
@pytest.mark.parametrize("algorithm", OWN)
def test_drafts_of_the_own_layer_are_told(what: str, algorithm: str) -> None:
    assert said(what, algorithm)


@pytest.mark.parametrize("what", OF_THE_LAYER)
@pytest.mark.parametrize("algorithm", OTHERS)
def test_drafts_of_another_kind_are_not(what: str, algorithm: str) -> None:
    assert not said(what, algorithm)
