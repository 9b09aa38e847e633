"""No text in a facts file is a bug of ours, whatever place it names: it is somebody's, from another
host.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rig.healthy import host

from launcher.api.fit import FitRequest, estimate
from launcher.config.target import TargetOptions
from launcher.doctor.checks import judge
from launcher.doctor.run import of_host
from launcher.errors import UserError
from launcher.host import facts_json
from launcher.host.collectors import checkpoint
from launcher.operate.sizing import here

DATA = facts_json.to_json(host())
CONFIG = {
    name: str(number)
    for name, number in {
        "num_attention_heads": 64,
        "num_hidden_layers": 78,
        "hidden_size": 6144,
        "kv_lora_rank": 512,
        "qk_rope_head_dim": 64,
        "qk_nope_head_dim": 192,
        "v_head_dim": 256,
        "q_lora_rank": 2048,
        "num_key_value_heads": 64,
        "intermediate_size": 12288,
        "moe_intermediate_size": 2048,
        "n_shared_experts": 1,
        "n_routed_experts": 256,
        "num_experts_per_tok": 8,
        "first_k_dense_replace": 3,
        "index_n_heads": 32,
        "index_head_dim": 128,
        "index_topk": 2048,
        "vocab_size": 154880,
        "max_position_embeddings": 202752,
    }.items()
}
ENVIRON = {"HOME": "/home/op", "GLM5_SERVE_STATE_DIR": "/nowhere"}
LOOP = "loop/x"
ODD = ("x" * 5000, "/x" * 3000, "/etc/passwd/x", "a\0b", "/a\ud800b", "", LOOP)


def leaves(tree: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where a text stands; of a list the first one stands for all."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from leaves(value, (*above, key))
    elif isinstance(tree, list):
        for value in tree[:1]:
            yield from leaves(value, (*above, 0))
    elif isinstance(tree, str):
        yield above


def changed(place: tuple[Any, ...], text: str) -> dict[str, Any]:
    made = json.loads(json.dumps(DATA))
    made["model"]["config"] |= CONFIG
    inner = made
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = text
    return dict(made)


PLACES = [place for place in leaves(DATA) if place != ("schema",)]
OF_SIZES = ("model", "mounts")  # what an estimate reads beside what every plan is made for


def estimated(place: tuple[Any, ...]) -> tuple[str, ...]:
    """The texts for which a place is in an estimate: all where it reads it, else two by turns."""
    if any(part in place for part in OF_SIZES):
        return ODD
    return tuple((ODD * 2)[(first := PLACES.index(place) % len(ODD)) : first + 2])


@pytest.mark.parametrize("place", PLACES, ids=lambda place: ".".join(map(str, place)))
def test_whatever_a_text_says_it_is_no_bug(
    place: tuple[Any, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each text at each place is judged; an estimate, which costs more, is made of those that it
    could read, and of each place.
    """
    (tmp_path / "loop").symlink_to("loop")
    monkeypatch.chdir(tmp_path)
    judged = 0
    for text in ODD:
        with contextlib.suppress(UserError, ValueError):
            seen = facts_json.from_json(changed(place, text))
            made = of_host(seen, "8xpro6000", (), ENVIRON)
            assert not [
                one for one in judge(made.host, made.plan) if "the check itself" in one.evidence
            ], text
            judged += 1
            if text in estimated(place):
                ask = FitRequest("8xpro6000", aim=TargetOptions(facts=seen))
                assert estimate(ask, ENVIRON, here(ENVIRON)).fit.weights > 0
    assert judged, "some are believed"


def test_the_folder_of_another_host_is_not_looked_up_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = list[str]()
    monkeypatch.setattr(checkpoint, "sizes", lambda folder: looked.append(folder) or [])
    seen = facts_json.from_json(changed(("model", "path"), str(tmp_path)))

    estimate(FitRequest("8xpro6000", aim=TargetOptions(facts=seen)), ENVIRON, here(ENVIRON))

    assert looked == []


@pytest.mark.parametrize("folder", ODD)
def test_what_can_be_no_folder_has_no_weights(folder: str) -> None:
    assert checkpoint.sizes(folder) == []
