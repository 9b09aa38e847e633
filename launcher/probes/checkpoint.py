"""The checkpoint's folder: is it whole, and what does it say of itself. Only headers are read, never weights."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from pathlib import Path
from typing import Any

from launcher.facts import Fact, Model, known, unknown
from launcher.probes import safetensors

READERS = 16  # files whose headers are read at once: a network file system answers them in parallel
POINTER = b"version https://git-lfs"
UNFINISHED = ("*.incomplete", "*.part", "*.aria2", ".cache/huggingface/download/**/*.incomplete")
TOKENIZER = (
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer.tiktoken",
    "tokenizer_config.json",
    "chat_template.jinja",
)
SCALARS = (
    "model_type num_hidden_layers num_nextn_predict_layers max_position_embeddings hidden_size n_routed_experts "
    "kv_lora_rank index_topk torch_dtype dtype"
).split()
_LAYER = re.compile(r"\blayers\.(\d+)\.")
_MTP = re.compile(r"\b(mtp|nextn|eh_proj)\b")


def checkpoint(model: str, env: Mapping[str, str]) -> Model:
    """What there is of a checkpoint: a folder, or a hub's `org/name` in the Hugging Face cache. Nothing raises."""
    found = locate(model, env)
    if not found.known:
        return _blind(str(found.unknown), found)
    folder = Path(found.get())
    try:
        return _folder(folder, _of_cache(folder))
    except OSError as error:
        why = f"{error.filename or folder}: {(error.strerror or str(error)).lower()}"
        return _blind(why, known(str(folder)))


def _blind(why: str, path: Fact[str]) -> Model:
    """A checkpoint of which nothing can be said, for one reason."""
    facts: dict[str, Any] = {part.name: unknown(why) for part in fields(Model)}
    return Model(**facts | {"path": path})


def locate(model: str, env: Mapping[str, str]) -> Fact[str]:
    """The folder that `model` means."""
    if os.path.isdir(model):  # noqa: PTH112  a name too long for a path is just no folder
        return known(model)
    if model.startswith(("/", ".", "~")) or model.count("/") != 1:
        return unknown(f"the model folder {model} is not there")
    cache = env.get("HF_HUB_CACHE") or str(
        Path(env.get("HF_HOME") or f"{env.get('HOME', '')}/.cache/huggingface", "hub")
    )
    repository = Path(cache) / f"models--{model.replace('/', '--')}"
    try:
        revision = (repository / "refs/main").read_text().strip()
        if (repository / "snapshots" / revision).is_dir():
            return known(str(repository / "snapshots" / revision))
    except (OSError, ValueError):
        pass
    return unknown(f"{model} is not in the Hugging Face cache ({cache}): SGLang would download it")


def _of_cache(folder: Path) -> list[str]:
    """Parts of downloads beside a snapshot of the cache."""
    blobs = folder.parents[1] / "blobs" if folder.parent.name == "snapshots" else None
    return sorted(str(part) for part in blobs.glob("*.incomplete")) if blobs else []


def _folder(folder: Path, parts: Iterable[str]) -> Model:
    config = _json(folder / "config.json")
    shards = sorted(folder.glob("*.safetensors"))
    pointers = {path.name for path in shards if _pointer(path)}
    index = _index(folder)
    headers, broken = _headers([path for path in shards if path.name not in pointers])
    names = {name for tensors in headers.values() for name in tensors}
    return Model(
        path=known(str(folder)),
        config=_parsed(config, _scalars),
        quantisation=_quantisation(folder, config),
        shards=known(len(shards)),
        bytes=known(sum(path.stat().st_size for path in shards)),
        missing=_parsed(index, lambda files: tuple(sorted(set(files.values()) - {path.name for path in shards}))),
        broken=known(broken | _absent(index, headers)),
        pointers=known(tuple(sorted(pointers))),
        incomplete=known(
            tuple(sorted({path.name for mark in UNFINISHED for path in folder.glob(mark)} | set(parts)))
        ),
        mtp=_parsed(config, lambda said: _has_mtp(said, names)),
        tokenizer=known(tuple(name for name in TOKENIZER if (folder / name).is_file())),
    )


def _json(path: Path) -> Fact[dict[str, Any]]:
    try:
        said = json.loads(path.read_text(encoding="utf-8", errors="replace"))
    except OSError as error:
        return unknown(f"{path}: {(error.strerror or str(error)).lower()}")
    except (ValueError, RecursionError):
        return unknown(f"{path}: not JSON")
    return known(said) if isinstance(said, dict) else unknown(f"{path}: no table")


def _parsed(fact: Fact[Any], convert: Any) -> Fact[Any]:
    return known(convert(fact.get())) if fact.known else unknown(str(fact.unknown))


def _scalars(config: dict[str, Any]) -> dict[str, str]:
    found = {name: str(config[name]) for name in SCALARS if isinstance(config.get(name), str | int | float)}
    if isinstance(names := config.get("architectures"), list):
        found["architectures"] = ",".join(map(str, names))
    return found


def _quantisation(folder: Path, config: Fact[dict[str, Any]]) -> Fact[str | None]:
    """ModelOpt's own file first: it is what SGLang reads for modelopt_fp4."""
    own = _json(folder / "hf_quant_config.json")
    said = own.get().get("quantization") if own.known else None
    if said is None and not config.known:
        return unknown(str(config.unknown))
    if said is None:
        said = config.get().get("quantization_config")
    if not isinstance(said, dict):
        return known(None)
    algorithm = said.get("quant_algo") or said.get("quant_method")
    return known(str(algorithm) if algorithm else None)


def _pointer(path: Path) -> bool:
    if path.stat().st_size > 1024:
        return False
    with path.open("rb") as file:
        return file.read(len(POINTER)) == POINTER


def _index(folder: Path) -> Fact[dict[str, str]]:
    """Which file each tensor is in; a checkpoint of one file needs no index."""
    path = folder / "model.safetensors.index.json"
    if not path.exists():
        return known({})
    said = _json(path)
    if not said.known:
        return unknown(str(said.unknown))
    files = said.get().get("weight_map")
    if not isinstance(files, dict):
        return unknown(f"{path}: no weight_map")
    return known({str(name): str(file) for name, file in files.items()})


Headers = dict[str, dict[str, dict[str, Any]]]


def _headers(shards: list[Path]) -> tuple[Headers, dict[str, str]]:
    headers: Headers = {}
    broken: dict[str, str] = {}

    def read(path: Path) -> None:
        try:
            headers[path.name] = safetensors.header(path)
        except safetensors.BrokenError as error:
            broken[path.name] = str(error)
        except OSError as error:
            broken[path.name] = f"cannot be read: {(error.strerror or str(error)).lower()}"

    with ThreadPoolExecutor(READERS) as readers:
        list(readers.map(read, shards))
    return headers, broken


def _absent(index: Fact[dict[str, str]], headers: Headers) -> dict[str, str]:
    """Files that are whole but do not hold a tensor which the index places there."""
    lost: dict[str, list[str]] = {}
    for name, file in index.otherwise({}).items():
        if file in headers and name not in headers[file]:
            lost.setdefault(file, []).append(name)
    return {file: f"does not hold {names[0]} ({len(names)} tensors missing)" for file, names in lost.items()}


def _has_mtp(config: dict[str, Any], names: set[str]) -> bool:
    """Whether a layer beyond the last one is there: that is where the multi-token-prediction weights are."""
    layers = config.get("num_hidden_layers")
    last = layers if isinstance(layers, int) else 10**9
    return any(_MTP.search(name) or any(int(n) >= last for n in _LAYER.findall(name)) for name in names)
