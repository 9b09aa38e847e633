"""The checkpoint's folder, defect by defect, on real safetensors files."""

from __future__ import annotations

import json
import os
import resource
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from launcher.host.collectors.checkpoint import _in_time as in_time
from launcher.host.collectors.checkpoint import checkpoint, said
from launcher.host.facts import Model, known

CONFIG = {
    "architectures": ["GlmMoeDsaForCausalLM"],
    "model_type": "glm_moe_dsa",
    "num_hidden_layers": 78,
}
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"
# What a probe reads may be anything: each example is one folder, changed again and again.
ANYTHING = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def weights(path: Path, *names: str, size: int = 64) -> Path:
    """A safetensors file as the format says: length, header, data."""
    tensors = {
        name: {"dtype": "U8", "shape": [size], "data_offsets": [at * size, (at + 1) * size]}
        for at, name in enumerate(names)
    }
    raw(path, {"__metadata__": {"format": "pt"}, **tensors}, size * len(names))
    return path


def raw(path: Path, header: Any, data: int) -> None:
    """A file with any header and as many bytes of data."""
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + data)


def index(folder: Path, **files: list[str]) -> None:
    """The index of a checkpoint: the tensors of each file, whose names lack their ending here."""
    placed = {name: f"{file}.safetensors" for file, names in files.items() for name in names}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": placed}))


FIRST, SECOND = ["model.layers.0.w", "model.layers.1.w"], ["model.layers.77.w", "lm_head.w"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A whole checkpoint of two files."""
    made = tmp_path / "GLM-5-NVFP4"
    made.mkdir()
    (made / "config.json").write_text(json.dumps(CONFIG))
    (made / "hf_quant_config.json").write_text(
        '{"quantization": {"quant_algo": "NVFP4", "kv_cache_quant_algo": "FP8"}}'
    )
    (made / "tokenizer.json").write_text("{}")
    weights(made / "m1.safetensors", *FIRST)
    weights(made / "m2.safetensors", *SECOND)
    index(made, m1=FIRST, m2=SECOND)
    return made


def look(folder: Path, deadline: float = 600.0) -> Model:
    return checkpoint(str(folder), {"HOME": "/nowhere"}, deadline)


def socket_at(path: Path) -> None:
    # the name of a socket is short, and of a test's folder may be long
    folder = os.open(path.parent, os.O_RDONLY)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(f"/proc/self/fd/{folder}/{path.name}")
    os.close(folder)


def hub(folder: Path, cache: Path) -> Path:
    """The folder as a snapshot in a hub's cache: links to blobs, as huggingface_hub makes them."""
    repository = cache / "models--org--GLM"
    snapshot = repository / "snapshots/abc123"
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs/main").write_text("abc123")
    (repository / "blobs").mkdir()
    for path in folder.iterdir():
        path.rename(repository / "blobs" / f"etag-{path.name}")
        (snapshot / path.name).symlink_to(f"../../blobs/etag-{path.name}")
    return repository


def test_a_whole_checkpoint_is_whole(folder: Path) -> None:
    seen = look(folder)

    assert (seen.missing, seen.broken) == (known(()), known({}))
    assert (seen.pointers, seen.incomplete) == (known(()), known(()))
    assert (seen.shards, seen.quantisation, seen.mtp) == (known(2), known("NVFP4"), known(False))
    assert seen.tokenizer == known(("tokenizer.json",))
    assert seen.bytes.get() == sum(path.stat().st_size for path in folder.glob("*.safetensors"))


def test_the_config_is_told_by_what_matters_of_it(folder: Path) -> None:
    more = {
        "hidden_size": 6144,
        "torch_dtype": None,
        "layer_types": ["a"],
        "quantization_config": {"quant_algo": "X"},
    }
    (folder / "config.json").write_text(json.dumps(CONFIG | more))

    assert look(folder).config.get() == {
        "architectures": "GlmMoeDsaForCausalLM",
        "model_type": "glm_moe_dsa",
        "num_hidden_layers": "78",
        "hidden_size": "6144",
        "quantization_config.quant_algo": "X",
        "hf_quant_config.quant_algo": "NVFP4",
        "hf_quant_config.kv_cache_quant_algo": "FP8",
    }


FLASH = {
    "architectures": ["Glm5NextForConditionalGeneration"],
    "model_type": "glm5_next",
    "text_config": {
        "model_type": "glm5_next_text",
        "num_hidden_layers": 45,
        "qk_rope_head_dim": 0,
        "index_kpool": 4,
        "layer_types": [
            "full_attention" if at % 4 == 3 else "linear_attention" for at in range(45)
        ],
        "linear_num_heads": 64,
        "linear_head_dim": 128,
        "linear_conv_kernel_dim": 4,
    },
}


def test_a_nested_config_says_its_sizes_and_the_outer_one_what_it_is(folder: Path) -> None:
    (folder / "config.json").write_text(json.dumps(FLASH))
    told = look(folder).config.get()

    assert told["architectures"] == "Glm5NextForConditionalGeneration"
    assert told["model_type"] == "glm5_next"
    assert (told["linear_layers"], told["index_kpool"]) == ("34", "4")
    assert (told["qk_rope_head_dim"], told["linear_num_heads"]) == ("0", "64")


def test_linear_layers_are_counted_where_a_table_of_their_own_names_them(folder: Path) -> None:
    own = {"kda_layers": [1, 2, 3], "num_heads": 8, "head_dim": 64, "short_conv_kernel_size": 3}
    (folder / "config.json").write_text(json.dumps({"linear_attn_config": own}))
    told = look(folder).config.get()

    assert {name: told[name] for name in told if name.startswith("linear")} == {
        "linear_layers": "3",
        "linear_num_heads": "8",
        "linear_head_dim": "64",
        "linear_conv_kernel_dim": "3",
    }


@pytest.mark.parametrize(
    ("files", "switches"),
    [
        ({"chat_template.jinja": "{% if enable_thinking %}"}, ("enable_thinking",)),
        ({"chat_template.jinja": "{{ reasoning_effort }}"}, ("reasoning_effort",)),
        ({"tokenizer_config.json": '{"chat_template": "enable_thinking"}'}, ("enable_thinking",)),
        ({"chat_template.jinja": "<|user|>"}, ()),
    ],
)
def test_the_chat_template_tells_how_it_is_asked_not_to_think(
    folder: Path, files: dict[str, str], switches: tuple[str, ...]
) -> None:
    for name, text in files.items():
        (folder / name).write_text(text)

    assert look(folder).template.get() == switches
    assert said(str(folder), {}).template.get() == switches


def test_without_a_chat_template_nobody_knows(folder: Path) -> None:
    assert "has no chat template" in str(look(folder).template.unknown)


def test_a_checkpoint_of_one_file_needs_no_index(folder: Path) -> None:
    for name in ("m2.safetensors", "model.safetensors.index.json"):
        (folder / name).unlink()
    seen = look(folder)

    assert (seen.shards, seen.missing, seen.broken, seen.mtp) == (
        known(1),
        known(()),
        known({}),
        known(False),
    )


def test_a_file_that_is_missing_is_named(folder: Path) -> None:
    (folder / "m2.safetensors").unlink()

    assert look(folder).missing == known(("m2.safetensors",))


def test_files_that_the_index_does_not_name_are_not_loaded_and_not_counted(folder: Path) -> None:
    whole = look(folder)
    (folder / "consolidated.safetensors").write_bytes(b"of another format")

    assert replace(look(folder), fingerprint=whole.fingerprint) == whole


def test_a_download_that_was_cut_short_is_told_by_its_length(folder: Path) -> None:
    path = folder / "m2.safetensors"
    size = path.stat().st_size
    os.truncate(path, size - 10)

    said = (
        f"is {size - 10} bytes, its header says {size} bytes (10 bytes more): the download did not"
        " finish"
    )
    assert look(folder).broken == known({path.name: said})


@pytest.mark.parametrize(
    ("bytes_", "words"),
    [
        (b"", "too few for a header"),
        (b"\xff" * 40, "tell a header of"),
        (struct.pack("<Q", 1000) + b"{}", "tell a header of 1000 bytes, the file has 10"),
        (struct.pack("<Q", 4) + b"oops", "no table of tensors in JSON"),
        (struct.pack("<Q", 4) + b"{oop", "not usable JSON"),
        (struct.pack("<Q", 2) + b"[]", "no table of tensors in JSON"),
        (struct.pack("<Q", 0), "no table of tensors in JSON"),
        (struct.pack("<Q", 2) + b"{}more", "(4 bytes less): something was appended"),
    ],
)
def test_a_file_that_is_no_weights_is_broken(folder: Path, bytes_: bytes, words: str) -> None:
    (folder / "m1.safetensors").write_bytes(bytes_)

    assert words in look(folder).broken.get()["m1.safetensors"]


def test_a_header_longer_than_the_format_allows_is_not_read(folder: Path) -> None:
    (folder / "m1.safetensors").write_bytes(struct.pack("<Q", 150_000_000))
    os.truncate(folder / "m1.safetensors", 200_000_000)

    assert "tell a header of 150000000 bytes" in look(folder).broken.get()["m1.safetensors"]


@pytest.mark.parametrize(
    ("spans", "words"),
    [
        ([[0, 8], [8, 16]], ""),
        ([[8, 16], [0, 8], [16, 16]], ""),
        ([[0, 8], [9, 16]], "leave holes"),
        ([[0, 9], [8, 16]], "overlap"),
        ([[1, 16]], "leave holes"),
        ([[0, 16.0]], "without its place"),
        ([[0, 1 << 70]], "without its place"),
        ([["a", "b"]], "without its place"),
        ([[0]], "without its place"),
        ([None], "without its place"),
    ],
)
def test_the_tensors_of_a_file_follow_each_other(
    folder: Path, spans: list[Any], words: str
) -> None:
    (folder / "model.safetensors.index.json").unlink()
    raw(
        folder / "m1.safetensors",
        {f"t{at}": {"data_offsets": span} for at, span in enumerate(spans)},
        16,
    )
    broken = look(folder).broken.get()

    assert words in broken.get("m1.safetensors", "") if words else not broken


def test_a_tensor_that_is_not_where_the_index_says_is_told(folder: Path) -> None:
    weights(folder / "m1.safetensors", "model.layers.0.w")

    assert look(folder).broken == known(
        {"m1.safetensors": "does not hold model.layers.1.w (1 tensors are missing)"}
    )


@pytest.mark.parametrize("name", ["m1.safetensors", "tokenizer.json"])
def test_a_git_lfs_pointer_is_no_broken_file_but_a_pointer(folder: Path, name: str) -> None:
    (folder / name).write_text(POINTER)
    seen = look(folder)

    assert (seen.pointers, seen.broken) == (known((name,)), known({}))


@pytest.mark.parametrize(
    "name",
    [
        "m3.safetensors.incomplete",
        "x.part",
        "y.aria2",
        ".cache/huggingface/download/a/x.incomplete",
    ],
)
def test_an_unfinished_download_is_seen(folder: Path, name: str) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).touch()

    assert look(folder).incomplete == known((name,))


@pytest.mark.parametrize(
    ("name", "there"),
    [
        ("model.layers.78.mlp.experts.3.w", True),
        ("mtp.w", True),
        ("model.nextn_layer.w", True),
        ("model.layers.77.eh_proj.w", True),
        ("model.layers.77.mlp.experts.78.w", False),
    ],
)
@pytest.mark.parametrize("indexed", [True, False])
def test_the_mtp_layer_is_known_by_its_weights(
    folder: Path, name: str, there: bool, indexed: bool
) -> None:
    weights(folder / "m3.safetensors", name)
    index(folder, m1=FIRST, m2=SECOND, m3=[name])
    if not indexed:
        (folder / "model.safetensors.index.json").unlink()

    assert look(folder).mtp == known(there)


def test_a_config_without_its_layers_does_not_tell_about_mtp(folder: Path) -> None:
    (folder / "config.json").write_text("{}")

    assert look(folder).mtp.unknown == "config.json does not say num_hidden_layers"


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("hf_quant_config.json", "{}", None),
        ("hf_quant_config.json", '{"quantization": {"quant_algo": "FP8"}}', "FP8"),
        (
            "config.json",
            json.dumps(CONFIG | {"quantization_config": {"quant_method": "fp8"}}),
            "NVFP4",
        ),
    ],
)
def test_quantisation_is_what_the_files_claim(
    folder: Path, file: str, text: str, said: str | None
) -> None:
    (folder / file).write_text(text)

    assert look(folder).quantisation == known(said)


def test_quantisation_of_the_config_counts_where_modelopt_left_no_file(folder: Path) -> None:
    (folder / "hf_quant_config.json").unlink()
    (folder / "config.json").write_text(
        json.dumps({"quantization_config": {"quant_method": "fp8"}})
    )

    assert look(folder).quantisation == known("fp8")


@pytest.mark.parametrize("text", ["", "[]", "{", "\0", "[" * 100000, "9" * 5000])
def test_a_config_that_cannot_be_read_hides_only_what_depends_on_it(
    folder: Path, text: str
) -> None:
    (folder / "config.json").write_text(text)
    seen = look(folder)

    assert str(seen.config.unknown).startswith(f"{folder}/config.json: ")
    assert seen.mtp.unknown == seen.config.unknown
    assert (seen.missing, seen.quantisation) == (known(()), known("NVFP4"))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"weight_map": []}', '{"weight_map": {"a": 1}}'])
def test_an_index_that_cannot_be_read_hides_what_is_missing(folder: Path, text: str) -> None:
    (folder / "model.safetensors.index.json").write_text(text)
    seen = look(folder)

    assert "model.safetensors.index.json: " in str(seen.missing.unknown)
    assert (seen.shards, seen.broken) == (known(2), known({}))


@pytest.mark.parametrize("path", ["/nowhere/model", "./nowhere", "a/b/c", "/" + "x" * 5000])
def test_a_folder_that_is_not_there_is_named(path: str) -> None:
    seen = checkpoint(path, {})

    assert seen.path.unknown == f"the model folder {path} is not there"
    assert seen.shards.unknown == seen.path.unknown


def test_a_file_in_place_of_the_folder_is_named(folder: Path) -> None:
    path = folder / "config.json"

    assert look(path).path.unknown == f"the model folder {path} is a file"


@pytest.mark.parametrize(
    ("variable", "below"),
    [
        ("HF_HUB_CACHE", ""),
        ("HUGGINGFACE_HUB_CACHE", ""),
        ("HF_HOME", "hub"),
        ("XDG_CACHE_HOME", "huggingface/hub"),
        ("HOME", ".cache/huggingface/hub"),
    ],
)
def test_a_hub_id_is_looked_up_in_the_cache(
    folder: Path, tmp_path: Path, variable: str, below: str
) -> None:
    repository = hub(folder, tmp_path / "home" / below)
    seen = checkpoint("org/GLM", {"HOME": "/nowhere", variable: str(tmp_path / "home")})

    assert seen.path == known(str(repository / "snapshots/abc123"))
    assert (seen.shards, seen.missing, seen.broken) == (known(2), known(()), known({}))


def test_a_snapshot_whose_files_are_not_all_there_is_not_whole(
    folder: Path, tmp_path: Path
) -> None:
    repository = hub(folder, tmp_path / "hub")
    (repository / "blobs/etag-m2.safetensors").rename(
        repository / "blobs/etag-m2.safetensors.incomplete"
    )
    seen = checkpoint("org/GLM", {"HF_HUB_CACHE": str(tmp_path / "hub")})

    assert (seen.shards, seen.missing) == (known(1), known(("m2.safetensors",)))
    assert seen.incomplete == known(("blobs/etag-m2.safetensors.incomplete",))


@pytest.mark.parametrize("revision", ["", "gone", "..", "../..", "/", "\0"])
def test_a_hub_id_that_is_not_cached_says_that_it_would_be_downloaded(
    folder: Path, tmp_path: Path, revision: str
) -> None:
    (hub(folder, tmp_path / "hub") / "refs/main").write_text(revision)
    seen = checkpoint("org/GLM", {"HF_HOME": str(tmp_path)})

    assert (
        seen.path.unknown
        == f"org/GLM is not in the Hugging Face cache ({tmp_path}/hub): the engine would download it"
    )


def test_a_disk_that_does_not_answer_costs_the_deadline() -> None:
    answer = threading.Event()

    def look(model: str, env: Mapping[str, str]) -> Model:
        answer.wait(60)
        return Model()

    seen = in_time(look, "/m", {}, 0.1)
    answer.set()

    assert seen.shards.unknown == "the disk that has /m did not answer within 0.1 s"
    assert all(
        thread.daemon for thread in threading.enumerate() if thread is not threading.main_thread()
    )


def sparse(path: Path, size: int, start: bytes = b"") -> None:
    path.write_bytes(start)
    os.truncate(path, size)


HOSTILE: list[tuple[str, Callable[[Path], object], str]] = [
    ("a FIFO", os.mkfifo, "is a FIFO, wanted a regular file"),
    ("/dev/zero", lambda path: path.symlink_to("/dev/zero"), "is a device, wanted a regular file"),
    ("a socket", socket_at, "is a socket, wanted a regular file"),
    ("a folder", Path.mkdir, "is a folder, wanted a regular file"),
    ("a loop of links", lambda path: path.symlink_to(path), "too many levels of symbolic links"),
    ("3 GB of nothing", lambda path: sparse(path, 3 << 30), "has 3 GiB or more, wanted at most "),
    ("16 MB of nothing", lambda path: sparse(path, 16 << 20), "is not usable JSON: "),
    (
        "a deep table",
        lambda path: path.write_text('{"a":' * 500_000),
        "is not usable JSON: it nests too deep",
    ),
    (
        "a huge number",
        lambda path: path.write_text("9" * 1_000_000),
        "is not usable JSON: it has a number of",
    ),
    ("many values", lambda path: path.write_text("[" + "0," * 5_500_000), "is not usable JSON: "),
]


@pytest.mark.parametrize(
    "name", ["config.json", "hf_quant_config.json", "model.safetensors.index.json"]
)
@pytest.mark.parametrize(
    ("put", "words"), [case[1:] for case in HOSTILE], ids=[case[0] for case in HOSTILE]
)
def test_what_is_no_usable_json_is_told_at_once(
    folder: Path, name: str, put: Callable[[Path], object], words: str
) -> None:
    (folder / name).unlink()
    put(folder / name)
    seen = look(folder, deadline=60)
    told = {"config.json": seen.config, "hf_quant_config.json": seen.quantisation}.get(
        name, seen.missing
    )

    if name != "config.json" and "links" in words:  # what leads nowhere is not there
        assert told.known
    else:
        assert f"{folder / name}: {words}" in str(told.unknown)
    assert seen.shards == known(2)


@pytest.mark.parametrize(
    ("put", "words"), [case[1:3] for case in HOSTILE[:5]], ids=[case[0] for case in HOSTILE[:5]]
)
@pytest.mark.parametrize("indexed", [True, False])
def test_what_stands_in_place_of_weights_is_not_opened(
    folder: Path, put: Callable[[Path], object], words: str, indexed: bool
) -> None:
    (folder / "m1.safetensors").unlink()
    put(folder / "m1.safetensors")
    if not indexed:
        (folder / "model.safetensors.index.json").unlink()
    seen = look(folder, deadline=60)

    assert seen.shards == known(1)
    assert seen.missing == (known(("m1.safetensors",)))


@pytest.mark.parametrize("name", ["../other/m.safetensors", "/etc/passwd", "a/../../x", ".."])
def test_an_index_leads_nowhere_out_of_its_folder(folder: Path, name: str) -> None:
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"w": name}}))
    seen = look(folder)

    assert seen.missing == known((name,))
    assert (seen.shards, seen.broken) == (known(0), known({}))


SIXTY = """
import sys
from launcher.host.collectors.checkpoint import _in_time as in_time
from launcher.host.collectors.checkpoint import checkpoint
seen = checkpoint(sys.argv[1], {})
assert len(seen.broken.get()) == 60, seen
print(sorted(set(seen.broken.get().values())))
"""


@pytest.mark.parametrize(
    ("start", "words"),
    [
        (b"", "its header is no table of tensors in JSON"),
        (b"{", "its header is not usable JSON"),
    ],
)
def test_sixty_headers_of_99_mb_are_held_one_at_a_time(
    folder: Path, start: bytes, words: str
) -> None:
    """Sparse, as somebody may lay them down in a second.

    Of 3 GiB of addresses the readers' arenas take 2.
    """
    (folder / "model.safetensors.index.json").unlink()
    for path in folder.glob("*.safetensors"):
        path.unlink()
    for at in range(60):
        sparse(folder / f"{at}.safetensors", 99_000_100, struct.pack("<Q", 99_000_000) + start)
    bound = (3 << 30, 3 << 30)
    done = subprocess.run(
        [sys.executable, "-c", SIXTY, str(folder)],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, bound),
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert done.returncode == 0, done.stderr
    assert words in done.stdout


def test_forty_seven_large_files_are_read_by_their_headers(folder: Path) -> None:
    """Sparse files of 9 GB each: only headers are read, or this would take minutes."""
    names = {
        f"big{at}": [f"model.layers.{at}.mlp.experts.{expert}.w" for expert in range(9)]
        for at in range(47)
    }
    index(folder, **names)
    for file, tensors in names.items():
        weights(folder / f"{file}.safetensors", *tensors, size=10**9)
    os.truncate(folder / "big46.safetensors", 4 * 10**9)
    seen = look(folder)

    assert (seen.shards, seen.missing) == (known(47), known(()))
    assert seen.bytes.get() > 46 * 9 * 10**9
    assert "is 4.00 GB, its header says 9.00 GB" in seen.broken.get()["big46.safetensors"]


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
KEYS = [
    "weight_map",
    "quantization",
    "quantization_config",
    "num_hidden_layers",
    "architectures",
    "quant_algo",
    "linear_attn_config",
    "kda_layers",
    "layer_types",
    "text_config",
]


@ANYTHING
@given(
    st.sampled_from(["config.json", "hf_quant_config.json", "model.safetensors.index.json"]),
    st.dictionaries(st.sampled_from(KEYS), JSON) | JSON,
)
def test_any_json_in_any_file_is_survived(folder: Path, name: str, told: Any) -> None:
    before = (folder / name).read_bytes()
    (folder / name).write_text(json.dumps(told))
    seen = look(folder)
    (folder / name).write_bytes(before)

    assert (seen.path, seen.shards.known) == (known(str(folder)), True)


@ANYTHING
@given(
    st.binary(max_size=200)
    | st.binary(max_size=60).map(lambda text: struct.pack("<Q", len(text)) + text)
)
def test_any_bytes_as_weights_are_survived(folder: Path, bytes_: bytes) -> None:
    (folder / "m1.safetensors").write_bytes(bytes_)
    seen = look(folder)

    assert "m1.safetensors" in {*seen.broken.get(), *seen.pointers.get()}


@ANYTHING
@given(
    st.lists(
        st.lists(
            st.sampled_from([0, 8, 16, -1, 1 << 80, 0.5, 1e999, True, None, "8", [8]]), max_size=3
        )
    )
)
def test_any_places_of_tensors_are_survived(folder: Path, spans: list[Any]) -> None:
    raw(
        folder / "m1.safetensors",
        {str(at): {"data_offsets": span} for at, span in enumerate(spans)},
        16,
    )

    assert look(folder).broken.get()["m1.safetensors"]


@ANYTHING
@given(st.text() | st.text("ab./~\0\ud800"))
def test_any_name_of_a_model_is_survived(name: str) -> None:
    seen = checkpoint(name, {"HF_HUB_CACHE": "/nowhere"})

    assert seen.path.known or seen.path == seen.shards
