"""What is cited is told with what it was seen of, and numbers say what they count."""

from __future__ import annotations

import re

import pytest
from conftest import World
from rig import packaged

from launcher.api.fit import FitRequest, estimate
from launcher.plan.evidence import Known

ENVIRON = {"HOME": "/root"}
MODELS = (None, "zai-org/GLM-5-FP8", "lukealonso/GLM-5-NVFP4", "nvidia/GLM-5.3-Flash-NVFP4")


@pytest.mark.parametrize(
    "name", ["8xpro6000", "4xpro6000", "8xb200", "8xpro6000-vllm", "8xb300-vllm"]
)
def test_what_others_saw_is_told_with_the_model_that_they_saw(name: str) -> None:
    """An estimate of one checkpoint rests on another's host only where it says so."""
    knob = "gpu-memory-utilization" if name.endswith("-vllm") else "mem-fraction-static"
    seen = 0
    for model in MODELS:
        for fraction in ("0.5", "0.8", "0.98"):
            ask = FitRequest(name, model, (f"flags.{knob}={fraction}",))
            for said in estimate(ask, ENVIRON).fit.said:
                if said.known is Known.REPORTED and "rtx6kpro" in said.source:
                    seen += 1
                    assert re.search(r"GLM-5[\w.-]* .*96 GB", said.source), said
    assert seen or packaged.engine(name) == "vllm"


@pytest.mark.parametrize("name", ["8xpro6000", "8xpro6000-vllm", "4xb200-vllm", "8xb300"])
def test_each_row_says_whether_one_request_has_room(world: World, name: str) -> None:
    """Those below the fraction that `usable` begins with are marked, and no other."""
    said = world.run("fit", name, COLUMNS="160").stdout
    [least] = re.findall(r"^usable +[\w-]+ ([\d.]+) ", said, re.MULTILINE)
    rows = re.findall(r"^ +(0\.\d+) .* GiB(.*)$", said, re.MULTILINE)

    assert len(rows) > 5
    for fraction, note in rows:
        marked = "less than one request" in note or "no KV cache" in note
        assert marked == (float(fraction) < float(least)), (fraction, note)


def test_requests_say_what_they_are_of_and_how_many_run(world: World) -> None:
    said = world.run("fit", "8xpro6000", COLUMNS="160").stdout

    assert re.search(r"requests +room for \d+ of 8,192 tokens or ", said)
    assert "; at most 16 run at once (max-running-requests)" in said
    assert re.search(r"point .*at most +8,192 long +202,752 long", said)
