"""What a pod asks of its node is what it is judged for, and a key may stand in a file unread."""

from __future__ import annotations

import pytest

from launcher.engines.target import Target
from launcher.knowledge import gpus
from launcher.lint.run import Judged, judge

GUESSED = Target(None, "sm120", is_guess=True)
POD = """apiVersion: v1
kind: Pod
metadata: {{name: a}}
spec:
{}
  containers:
  - name: s
    image: lmsysorg/sglang:v0.5.23
    command: [python3, -m, sglang.launch_server]
    args: [--model-path, m, --tp, '8', --host, 0.0.0.0{}]
"""
AFFINITY = """  affinity:
    nodeAffinity:
      requiredDuringSchedulingIgnoredDuringExecution:
        nodeSelectorTerms:
        - matchExpressions:
          - {{key: nvidia.com/gpu.product, operator: {}, values: [{}]}}
"""
SELECTOR = "  nodeSelector: {{nvidia.com/gpu.product: {}}}\n"
LABELS = [
    (one, edition.seen.replace(" ", "-"))
    for one in gpus.products().values()
    for edition in one.editions
]


def judged(around: str, words: str = "", target: Target = GUESSED) -> Judged:
    [one] = judge(POD.format(around, words), target).launches
    return one


@pytest.mark.parametrize(("product", "label"), LABELS)
def test_a_pod_is_judged_for_the_gpus_that_its_node_has(product: gpus.Product, label: str) -> None:
    for around in (SELECTOR.format(label), AFFINITY.format("In", label)):
        at = judged(around).target
        assert (at.gpu, at.arch, at.is_guess) == (product.id, product.arch, False)


@pytest.mark.parametrize("around", ["", AFFINITY.format("NotIn", "NVIDIA-B200")])
def test_what_tells_no_kind_of_gpu_leaves_it_assumed(around: str) -> None:
    at = judged(around).target

    assert (at.gpu, at.arch, at.is_guess) == (None, "sm120", True)


@pytest.mark.parametrize(
    ("around", "gpu", "arch"),
    [
        (SELECTOR.format("NVIDIA-B200-MIG-1g.23gb"), None, "sm100"),
        (SELECTOR.format("NVIDIA-A100"), None, None),
        (AFFINITY.format("In", "NVIDIA-B200, NVIDIA-GB300"), None, None),
        (AFFINITY.format("In", "NVIDIA-B200, NVIDIA-A100"), None, None),
        (AFFINITY.format("In", "NVIDIA-B200").replace("product", "machine"), "b200", "sm100"),
    ],
)
def test_what_names_other_gpus_than_those_assumed_ends_the_guess(
    around: str, gpu: str | None, arch: str | None
) -> None:
    made = judged(around)

    assert (made.target.gpu, made.target.arch, made.target.is_guess) == (gpu, arch, False)
    assert any(one.startswith("the text names ") for one in made.assumed)


def test_gpus_that_somebody_named_are_those() -> None:
    asked = Target(None, "sm120", "rtx-pro-6000")

    assert judged(SELECTOR.format("NVIDIA-B200"), target=asked).target.gpu == "rtx-pro-6000"


def said(words: str) -> str:
    [entries] = judged("", words).releases.values()
    return " ".join(one.why for one in entries)


def test_whether_there_is_a_key_is_unknown_where_a_file_is_not_read() -> None:
    assert "without a key" in said("")
    assert "key" not in said(", --config, /run/c.yaml")
    assert "without a key" in said(", --config=/run/c.yaml"), "which nobody reads"
