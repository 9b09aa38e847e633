"""The checkpoint's folder: is it whole, and what does it say of itself.

Only headers are read, never weights.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, replace
from pathlib import Path
from threading import Thread
from typing import Any

from launcher.files.reading import kind, read_bytes, read_json, read_text, reason
from launcher.host.collectors import safetensors
from launcher.host.collectors.digests import marks
from launcher.host.facts import Fact, Model, known, unknown
from launcher.host.fingerprint import fingerprint

# bytes; GLM-5's has 30 kB, the names of modules that a quantisation left out may be many
MOST_CONFIG = 16 << 20
MOST_INDEX = (
    100_000_000  # bytes; as a header, which names the same tensors. That of GLM-5 has 30 MB
)
LONGEST = 200  # characters of a value that is worth telling
POINTER = b"version https://git-lfs"
MOST_POINTER = 1024  # bytes; git-lfs' own limit for its pointers
UNFINISHED = (".incomplete", ".part", ".aria2")
TOKENIZER = (
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer.tiktoken",
    "tokenizer_config.json",
    "chat_template.jinja",
)
SCALARS = (
    "model_type num_hidden_layers num_nextn_predict_layers max_position_embeddings hidden_size"
    " n_routed_experts kv_lora_rank index_topk torch_dtype dtype num_attention_heads"
    " num_key_value_heads head_dim vocab_size q_lora_rank qk_rope_head_dim qk_nope_head_dim"
    " v_head_dim index_head_dim index_n_heads n_shared_experts num_experts moe_intermediate_size"
    " intermediate_size first_k_dense_replace tie_word_embeddings indexer_full_layers index_kpool"
    " linear_layers linear_num_heads linear_head_dim linear_conv_kernel_dim rope_factor"
    " model_max_length"
).split()
# How config.json's `linear_attn_config` calls what other models say beside it.
LINEAR = {
    "num_heads": "linear_num_heads",
    "head_dim": "linear_head_dim",
    "short_conv_kernel_size": "linear_conv_kernel_dim",
}
SWITCHES = ("enable_thinking", "reasoning_effort")  # of thinking, that chat templates read
QUANTISATION = ("quant_method", "quant_algo", "kv_cache_quant_algo")
_LAYER = re.compile(r"\blayers\.(\d{1,9})\b")
_NUMBERED = re.compile(r"(.+-)\d{5}-of-(\d{5})\.safetensors")
_MTP = re.compile(r"mtp|nextn|eh_proj")


def checkpoint(model: str, env: Mapping[str, str], deadline: float = 60.0) -> Model:
    """What there is of a checkpoint: a folder, or a hub's `org/name` in the Hugging Face cache.

    Nothing raises.

    Where the disk does not answer within `deadline` seconds, all is unknown.
    """
    return _in_time(_look, model, env, deadline)


def said(model: str, env: Mapping[str, str], deadline: float = 10.0) -> Model:
    """What its configuration alone says: no weight file is opened."""
    return _in_time(_said, model, env, deadline)


def _in_time(
    look: Callable[[str, Mapping[str, str]], Model],
    model: str,
    env: Mapping[str, str],
    deadline: float,
) -> Model:
    seen: list[Model] = []

    def looks() -> None:
        try:
            seen.append(look(model, env))
        except MemoryError:
            seen.append(_blind(f"what {model} says of itself does not fit into this host's memory"))

    looking = Thread(target=looks, daemon=True)
    looking.start()
    looking.join(deadline)
    return (
        seen[0]
        if seen
        else _blind(f"the disk that has {model} did not answer within {deadline:g} s")
    )


def _said(model: str, env: Mapping[str, str]) -> Model:
    found = locate(model, env)
    if not found.known:
        return _blind(str(found.unknown))
    folder = Path(found.get())
    config, own = _json(folder / "config.json"), _own_quantisation(folder)
    return replace(
        _blind("only config.json was read"),
        path=found,
        config=_scalars(config, own),
        quantisation=_quantisation(config, own),
        excluded=_excluded(config, own),
        template=_template(folder),
    )


def sizes(folder: str) -> list[tuple[str, int]]:
    """Name and bytes of every tensor in the weight files of a folder that are whole; only headers
    are read. None of what can be no folder here.
    """
    found = []
    files: list[Path] = []
    with contextlib.suppress(OSError, ValueError):
        files = sorted(Path(folder).glob("*.safetensors"))
    for _, told in safetensors.each(files):
        if not isinstance(told, Exception):
            found += [(name, _length(tensor)) for name, tensor in told.items()]
    return found


def _length(tensor: Mapping[str, Any]) -> int:
    begin, end = tensor["data_offsets"]
    return int(end - begin)


def _look(model: str, env: Mapping[str, str]) -> Model:
    found = locate(model, env)
    if not found.known:
        return _blind(str(found.unknown))
    try:
        return _folder(Path(found.get()))
    except OSError as error:
        return _blind(f"{error.filename or found.get()}: {reason(error)}", path=found)


def _blind(why: str, **facts: Fact[Any]) -> Model:
    return Model(**{part.name: unknown(why) for part in fields(Model)} | facts)


def locate(model: str, env: Mapping[str, str]) -> Fact[str]:
    """The folder that `model` means; as for SGLang, a folder comes before a hub id."""
    if os.path.isdir(model):  # noqa: PTH112  a name too long for a path is just no folder
        return known(model)
    if why := _no_folder(model):
        return unknown(f"the model folder {model} {why}")
    if model.startswith(("/", ".", "~")) or model.count("/") > 1:
        return unknown(f"the model folder {model} is not there")
    cache = _hub_cache(env)
    repository = Path(cache, f"models--{model.replace('/', '--')}")
    try:
        revision = read_text(repository / "refs/main", MOST_POINTER).strip()
        if revision.isalnum() and (repository / "snapshots" / revision).is_dir():
            return known(str(repository / "snapshots" / revision))
    except OSError:
        pass
    return unknown(
        f"{model} is not in the Hugging Face cache ({cache}): the engine would download it"
    )


def _hub_cache(env: Mapping[str, str]) -> str:
    """Where huggingface_hub keeps its downloads (its constants.py)."""
    home = env.get("HOME") or os.path.expanduser("~")  # noqa: PTH111  never raises
    caches = env.get("XDG_CACHE_HOME") or f"{home}/.cache"
    hub = env.get("HF_HUB_CACHE") or env.get("HUGGINGFACE_HUB_CACHE")
    chosen = hub or f"{env.get('HF_HOME') or f'{caches}/huggingface'}/hub"
    return home + chosen[1:] if chosen.startswith("~/") else chosen


def _folder(folder: Path) -> Model:
    names = sorted(os.listdir(folder))  # noqa: PTH208  names, not paths
    config, own = _json(folder / "config.json"), _own_quantisation(folder)
    pointers = tuple(name for name in names if _is_pointer(folder / name))
    index = _index(folder)
    placed = index.otherwise({})
    wanted = sorted(placed) or weights(names)
    there = [name for name in wanted if _is_inside(name) and (folder / name).is_file()]
    sizes = {name: (folder / name).stat().st_size for name in there}
    broken, tensors, dtypes = _walk(
        folder, {name: sizes[name] for name in sizes if name not in pointers}, placed
    )
    return Model(
        path=known(str(folder)),
        config=_scalars(config, own),
        quantisation=_quantisation(config, own),
        excluded=_excluded(config, own),
        shards=known(len(sizes)),
        bytes=known(sum(sizes.values())),
        missing=(
            known(tuple(name for name in wanted if name not in sizes))
            if index.known
            else unknown(_why(index))
        ),
        broken=known(broken),
        pointers=known(pointers),
        incomplete=known(tuple(_unfinished(folder, names))),
        dtypes=known(dtypes),
        template=_template(folder),
        mtp=_mtp(config, tensors),
        tokenizer=known(tuple(name for name in TOKENIZER if (folder / name).is_file())),
        fingerprint=_fingerprint(folder),
    )


def _fingerprint(folder: Path) -> Fact[str]:
    try:
        return known(fingerprint(marks(folder)))
    except OSError as error:
        return unknown(f"{error.filename or folder}: {reason(error)}")


def weights(names: Iterable[str]) -> list[str]:
    """The weight files of a folder without an index, and those that the others' names count."""
    found = {name for name in names if name.endswith(".safetensors")}
    for first, count in {(one[1], one[2]) for name in found if (one := _NUMBERED.fullmatch(name))}:
        found |= {f"{first}{at:05}-of-{count}.safetensors" for at in range(1, int(count) + 1)}
    return sorted(found)


def _no_folder(model: str) -> str | None:
    """What stands in a folder's place, in words; None where nothing does."""
    try:
        mode = os.stat(model).st_mode  # noqa: PTH116
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    except OSError as error:
        return None if error.errno == errno.ENAMETOOLONG else f"is not to be seen: {reason(error)}"
    return f"is {'a file' if stat.S_ISREG(mode) else kind(mode)}"


def _why(fact: Fact[Any]) -> str:
    return str(fact.unknown)


def _json(path: Path, limit: int = MOST_CONFIG) -> Fact[dict[str, Any]]:
    try:
        said = read_json(path, limit)
    except FileNotFoundError:
        return unknown(f"the model folder {path.parent} has no {path.name}")
    except OSError as error:
        return unknown(f"{path}: {reason(error)}")
    except MemoryError:
        return unknown(f"{path}: does not fit into this host's memory")
    return known(said) if isinstance(said, dict) else unknown(f"{path}: no table")


def _own_quantisation(folder: Path) -> Fact[dict[str, Any]]:
    """What ModelOpt says in its own file, nothing where there is none."""
    path = folder / "hf_quant_config.json"
    said = _json(path) if path.exists() else known({})
    return known(_table(said.get().get("quantization"))) if said.known else unknown(_why(said))


def _table(said: Any) -> dict[str, Any]:
    return said if isinstance(said, dict) else {}


def _scalars(config: Fact[dict[str, Any]], own: Fact[dict[str, Any]]) -> Fact[dict[str, str]]:
    if not config.known:
        return unknown(_why(config))
    # Models of text and pictures nest the sizes; what the whole is, the outer table says.
    whole = config.get()
    said = {**whole, **_table(whole.get("text_config"))}
    said |= {name: whole[name] for name in ("architectures", "model_type") if name in whole}
    said |= _linear(said) | _stretched(said)
    if (full := _indexer_layers(said)) is not None:
        said["indexer_full_layers"] = full
    for place, table in (
        ("quantization_config", said.get("quantization_config")),
        ("hf_quant_config", own.value),
    ):
        said |= {f"{place}.{name}": _table(table).get(name) for name in QUANTISATION}
    if isinstance(names := said.get("architectures"), list):
        said["architectures"] = ",".join(map(str, names))
    wanted = [*SCALARS, "architectures", *(name for name in said if name.endswith(QUANTISATION))]
    told = {
        name: str(said[name]) for name in wanted if isinstance(said.get(name), str | int | float)
    }
    return known({name: value for name, value in told.items() if len(value) <= LONGEST})


def _linear(config: Mapping[str, Any]) -> dict[str, Any]:
    """How many layers keep a state in place of a cache, and the sizes of that state."""
    own, kinds = _table(config.get("linear_attn_config")), config.get("layer_types")
    layers = own.get("kda_layers")
    if isinstance(kinds, list):
        layers = [kind for kind in kinds if kind == "linear_attention"]
    told = {to: own[name] for name, to in LINEAR.items() if name in own}
    return told | ({"linear_layers": len(layers)} if isinstance(layers, list) and layers else {})


def _stretched(config: Mapping[str, Any]) -> dict[str, Any]:
    """By how much positions are stretched beyond those of the training, if at all."""
    rope = _table(config.get("rope_scaling")) or _table(config.get("rope_parameters"))
    factor = rope.get("factor")
    return {"rope_factor": factor} if isinstance(factor, int | float) and factor > 1 else {}


def _indexer_layers(config: Mapping[str, Any]) -> int | None:
    """How many layers choose tokens by themselves; others take the choice of one before (GLM-5.2:
    21 of 78).
    """
    kinds, pattern = config.get("indexer_types"), config.get("index_topk_pattern")
    if isinstance(kinds, list) and kinds:
        return kinds.count("full")
    return pattern.count("F") if isinstance(pattern, str) and pattern else None


def _quantisation(config: Fact[dict[str, Any]], own: Fact[dict[str, Any]]) -> Fact[str | None]:
    """ModelOpt's own file first: it is what SGLang reads for modelopt_fp4."""
    for source in (own, config):
        if not source.known:
            return unknown(_why(source))
        said = source.get() if source is own else _table(source.get().get("quantization_config"))
        if algorithm := said.get("quant_algo") or said.get("quant_method"):
            return known(str(algorithm))
    return known(None)


def _excluded(config: Fact[dict[str, Any]], own: Fact[dict[str, Any]]) -> Fact[tuple[str, ...]]:
    """What the quantisation leaves in its own precision; each tool has a name of its own for it."""
    if not (config.known and own.known):
        return unknown(_why(config if own.known else own))
    for table in (own.get(), _table(config.get().get("quantization_config"))):
        for name in ("exclude_modules", "ignore", "modules_to_not_convert"):
            if isinstance(names := table.get(name), list):
                return known(tuple(map(str, names)))
    return known(())


def _is_inside(name: str) -> bool:
    """Whether a name that an index gives stays in the checkpoint's folder: nothing else is opened
    for it.
    """
    return not name.startswith("/") and ".." not in name.split("/")


def _is_pointer(path: Path) -> bool:
    try:
        return read_bytes(path, MOST_POINTER).startswith(POINTER)
    except OSError:
        return False


def _index(folder: Path) -> Fact[dict[str, list[str]]]:
    """The tensors that each file shall hold; nothing where there is no index: one file needs
    none.
    """
    path = folder / "model.safetensors.index.json"
    placed: dict[str, list[str]] = {}
    if not path.exists():
        return known(placed)
    said = _json(path, MOST_INDEX)
    if not said.known:
        return unknown(_why(said))
    files = said.get().get("weight_map")
    if not isinstance(files, dict) or set(map(type, files.values())) != {str}:
        return unknown(f"{path}: no weight_map of tensors and files")
    for name, file in files.items():
        placed.setdefault(file, []).append(name)
    return known(placed)


def _walk(
    folder: Path, sizes: Mapping[str, int], placed: Mapping[str, list[str]]
) -> tuple[dict[str, str], set[str], dict[str, int]]:
    """What is wrong with each file, the tensors that SGLang would load, and the bytes of each type.

    Where there is an index, the tensors are those that it names.
    """
    broken: dict[str, str] = {}
    dtypes: Counter[str] = Counter()
    found: set[str] = {name for names in placed.values() for name in _without_experts(names)}
    for name, (_, told) in zip(
        sizes, safetensors.each(folder / name for name in sizes), strict=True
    ):
        if isinstance(told, OSError):
            broken[name] = f"cannot be read: {reason(told)}"
        elif isinstance(told, Exception):
            broken[name] = str(told)
        else:
            if lost := [tensor for tensor in placed.get(name, ()) if tensor not in told]:
                broken[name] = f"does not hold {lost[0]} ({len(lost)} tensors are missing)"
            for tensor in told.values():
                dtypes[str(tensor.get("dtype", "?"))] += _length(tensor)
            if not placed:
                found |= _without_experts(told)
    return broken, found, dict(dtypes)


def _without_experts(names: Iterable[str]) -> set[str]:
    """Names up to their experts, which are 99 of 100 tensors and tell nothing more."""
    return {name.partition(".experts.")[0] for name in names}


def _template(folder: Path) -> Fact[tuple[str, ...]]:
    """The switches of thinking that the chat template reads; newer checkpoints have it in a file of
    its own.
    """
    own = folder / "chat_template.jinja"
    try:
        text = read_text(own, MOST_CONFIG) if own.exists() else ""
    except OSError as error:
        return unknown(f"{own}: {reason(error)}")
    if not text:
        told = _json(folder / "tokenizer_config.json")
        text = str(told.otherwise({}).get("chat_template", ""))
    if not text:
        return unknown(f"the model folder {folder} has no chat template")
    return known(tuple(switch for switch in SWITCHES if switch in text))


def _mtp(config: Fact[dict[str, Any]], tensors: Iterable[str]) -> Fact[bool]:
    """Whether there is a layer beyond the last one: that is where the multi-token-prediction
    weights are.
    """
    if any(map(_MTP.search, tensors)):
        return known(True)
    if not config.known:
        return unknown(_why(config))
    if not isinstance(layers := config.get().get("num_hidden_layers"), int):
        return unknown("config.json does not say num_hidden_layers")
    return known(any(int(number) >= layers for name in tensors for number in _LAYER.findall(name)))


def _unfinished(folder: Path, names: Iterable[str]) -> list[str]:
    """Parts of downloads in the folder; of a snapshot in the hub's cache, also those beside it."""
    parts = [name for name in names if name.endswith(UNFINISHED)]
    parts += [
        str(path.relative_to(folder))
        for path in (folder / ".cache/huggingface").rglob("*.incomplete")
    ]
    if folder.parent.name == "snapshots":
        parts += [
            f"blobs/{path.name}" for path in (folder.parents[1] / "blobs").glob("*.incomplete")
        ]
    return sorted(parts)
