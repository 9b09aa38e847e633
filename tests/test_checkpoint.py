"""The checkpoint's folder, defect by defect, on real safetensors files."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from launcher.facts import Model, known
from launcher.probes.checkpoint import checkpoint

CONFIG = {"architectures": ["GlmMoeDsaForCausalLM"], "model_type": "glm_moe_dsa", "num_hidden_layers": 78}


def weights(path: Path, *names: str, size: int = 64) -> Path:
    """A safetensors file as the format says: length, header, data."""
    tensors = {
        name: {"dtype": "U8", "shape": [size], "data_offsets": [at * size, (at + 1) * size]}
        for at, name in enumerate(names)
    }
    header = json.dumps({"__metadata__": {"format": "pt"}, **tensors}).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        file.truncate(8 + len(header) + size * len(names))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A whole checkpoint of two files."""
    made = tmp_path / "GLM-5-NVFP4"
    made.mkdir()
    (made / "config.json").write_text(json.dumps(CONFIG))
    (made / "hf_quant_config.json").write_text('{"quantization": {"quant_algo": "NVFP4"}}')
    (made / "tokenizer.json").write_text("{}")
    weights(made / "model-1.safetensors", "model.layers.0.w", "model.layers.1.w")
    weights(made / "model-2.safetensors", "model.layers.77.w", "lm_head.w")
    index = {
        "model.layers.0.w": "model-1.safetensors",
        "model.layers.1.w": "model-1.safetensors",
        "model.layers.77.w": "model-2.safetensors",
        "lm_head.w": "model-2.safetensors",
    }
    (made / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    return made


def look(folder: Path) -> Model:
    return checkpoint(str(folder), {"HOME": "/nowhere"})


def test_a_whole_checkpoint_is_whole(folder: Path) -> None:
    seen = look(folder)

    assert (seen.missing, seen.broken, seen.pointers, seen.incomplete) == (
        known(()),
        known({}),
        known(()),
        known(()),
    )
    assert (seen.shards, seen.quantisation, seen.mtp) == (known(2), known("NVFP4"), known(False))
    assert seen.config.get()["architectures"] == "GlmMoeDsaForCausalLM"
    assert seen.bytes.get() == sum(path.stat().st_size for path in folder.glob("*.safetensors"))


def test_a_file_that_is_missing_is_named(folder: Path) -> None:
    (folder / "model-2.safetensors").unlink()

    assert look(folder).missing == known(("model-2.safetensors",))


def test_a_download_that_was_cut_short_is_told_by_its_length(folder: Path) -> None:
    path = folder / "model-2.safetensors"
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 10)

    assert look(folder).broken.get() == {
        "model-2.safetensors": "has 118 bytes of data, its header says 128 bytes: the download did not finish"
    }


@pytest.mark.parametrize(
    ("bytes_", "words"),
    [
        (b"", "too few for a header"),
        (b"\xff" * 40, "tell a header of"),
        (struct.pack("<Q", 4) + b"oops", "not JSON"),
        (struct.pack("<Q", 2) + b"[]", "no table"),
        (struct.pack("<Q", 10) + b'{"a": {}} ', "without its place"),
        (struct.pack("<Q", 2) + b"{}more", "something was appended"),
    ],
)
def test_a_file_that_is_no_weights_is_broken(folder: Path, bytes_: bytes, words: str) -> None:
    (folder / "model-1.safetensors").write_bytes(bytes_)

    assert words in look(folder).broken.get()["model-1.safetensors"]


def test_a_tensor_that_is_not_where_the_index_says_is_told(folder: Path) -> None:
    weights(folder / "model-1.safetensors", "model.layers.0.w")

    assert "model.layers.1.w (1 tensors missing)" in look(folder).broken.get()["model-1.safetensors"]


def test_a_git_lfs_pointer_is_no_broken_file_but_a_pointer(folder: Path) -> None:
    (folder / "model-1.safetensors").write_text(
        "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"
    )
    seen = look(folder)

    assert (seen.pointers, seen.broken) == (known(("model-1.safetensors",)), known({}))


@pytest.mark.parametrize("name", ["model-3.safetensors.incomplete", "x.part", "y.aria2"])
def test_an_unfinished_download_is_seen(folder: Path, name: str) -> None:
    (folder / name).touch()

    assert look(folder).incomplete == known((name,))


@pytest.mark.parametrize("name", ["model.layers.78.mlp.w", "mtp.w", "model.nextn.w", "model.layers.78.eh_proj.w"])
def test_the_mtp_layer_is_known_by_its_weights(folder: Path, name: str) -> None:
    weights(folder / "model-3.safetensors", name)

    assert look(folder).mtp == known(True)


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("hf_quant_config.json", "{}", None),
        ("hf_quant_config.json", '{"quantization": {"quant_algo": "FP8"}}', "FP8"),
        ("config.json", json.dumps(CONFIG | {"quantization_config": {"quant_method": "fp8"}}), "NVFP4"),
    ],
)
def test_quantisation_is_what_the_files_claim(folder: Path, file: str, text: str, said: str | None) -> None:
    (folder / file).write_text(text)

    assert look(folder).quantisation == known(said)


@pytest.mark.parametrize("text", ["", "[]", "{", "\0", "[" * 100000])
def test_a_config_that_cannot_be_read_hides_only_what_depends_on_it(folder: Path, text: str) -> None:
    (folder / "config.json").write_text(text)
    seen = look(folder)

    assert str(seen.config.unknown).startswith(f"{folder}/config.json: ")
    assert seen.missing == known(())


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"weight_map": []}'])
def test_an_index_that_cannot_be_read_hides_what_is_missing(folder: Path, text: str) -> None:
    (folder / "model.safetensors.index.json").write_text(text)

    assert not look(folder).missing.known


@pytest.mark.parametrize("path", ["/nowhere/model", "./nowhere", "a/b/c", "x" * 5000])
def test_a_folder_that_is_not_there_is_named(path: str) -> None:
    assert checkpoint(path, {}).path.unknown == f"the model folder {path} is not there"


def test_a_hub_id_is_looked_up_in_the_cache(folder: Path, tmp_path: Path) -> None:
    repository = tmp_path / "hub/models--org--GLM"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs/main").write_text("abc123")
    (repository / "snapshots").mkdir()
    (repository / "snapshots/abc123").symlink_to(folder)
    seen = checkpoint("org/GLM", {"HF_HUB_CACHE": str(tmp_path / "hub")})

    assert seen.shards == known(2)


def test_a_hub_id_that_is_not_cached_says_that_it_would_be_downloaded() -> None:
    seen = checkpoint("org/GLM", {"HF_HOME": "/nowhere"})

    assert seen.path.unknown == "org/GLM is not in the Hugging Face cache (/nowhere/hub): SGLang would download it"


def test_forty_seven_large_files_are_read_by_their_headers(folder: Path) -> None:
    """Sparse files of 9 GB each: only headers are read, or this would take minutes."""
    for at in range(47):
        weights(folder / f"big-{at}.safetensors", f"model.layers.{at}.experts", size=9 * 10**9)

    assert look(folder).bytes.get() > 420 * 10**9
    assert look(folder).broken == known({})


@settings(
    max_examples=100, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.sampled_from(["config.json", "hf_quant_config.json", "model.safetensors.index.json"]), st.data())
def test_any_json_in_any_file_is_survived(folder: Path, name: str, data: st.DataObject) -> None:
    anything: st.SearchStrategy[Any] = st.recursive(
        st.none() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
    keys = st.sampled_from(
        ["weight_map", "quantization", "quantization_config", "num_hidden_layers", "architectures"]
    )
    (folder / name).write_text(json.dumps(data.draw(st.dictionaries(keys, anything) | anything)))

    assert look(folder).path.known


@settings(
    max_examples=200, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.binary(max_size=200))
def test_any_bytes_as_weights_are_survived(folder: Path, bytes_: bytes) -> None:
    (folder / "model-1.safetensors").write_bytes(bytes_)

    assert look(folder).broken.known
