"""What SGLang makes of options together: our rows beside the real resolution of the newest release.

The child has no GPU: it is told that it has eight of SM120, or SM100. What needs the kernels is not
asked.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from conftest import ENGINE, LONGEST, needs_engine

from launcher.engines.engine import dialect
from launcher.engines.issues import every_issue
from launcher.engines.target import Target
from launcher.formats.launches import Launch
from launcher.knowledge import models
from launcher.lint.lint import Entry, lint
from launcher.plan.evidence import Known

NEWEST = dialect("sglang").options.newest
HERE = "tests/engines/test_resolution.py"
ROWS = {row.id: row for row in every_issue() if HERE in row.source}
REAL = """
import contextlib, io, json, logging, sys
import torch
from sglang.srt import runtime_context
from sglang.srt.arg_groups.overrides import model_config_of
from sglang.srt.arg_groups.validation_hook import check_server_args
from sglang.srt.server_args import prepare_server_args

major = int(sys.argv[1])
torch.cuda.get_device_capability = lambda *a, **k: (major, 0)
torch.cuda.device_count = lambda: 8
torch.cuda.is_available = lambda: True
runtime_context.override_platform(
    is_cuda=True, is_sm90=False, is_sm100=major == 10, is_sm100_or_sm110=major == 10,
    is_sm120=major == 12, is_blackwell=True, device_sm=major * 10, device_capability=(major, 0),
    has_flashinfer=True,
).install()
for module in [one for name, one in list(sys.modules.items()) if name.startswith("sglang.srt")]:
    for name in ("get_device_memory_capacity", "get_nvgpu_memory_capacity"):
        if hasattr(module, name):
            setattr(module, name, lambda *a, **k: 97887)
logging.disable(logging.CRITICAL)

def told(words):
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
            made = prepare_server_args(words)
            made.resolve_once()
            check_server_args(made)
            return None, model_config_of(made).quantization
    except SystemExit:
        return said.getvalue().strip().splitlines()[-1], None
    except Exception as error:
        return f"{type(error).__name__}: {error}", None

print(json.dumps([told(words) for words in json.load(sys.stdin)]))
"""
# What is refused, and nearly the same that is not, by the row that says so.
TABLE = {
    "fraction-of-host-memory": (
        "--enable-hierarchical-cache --hicache-host-memory-fraction 1.2",
        "--enable-hierarchical-cache --hicache-host-memory-fraction 0.5",
    ),
    "nodes-share-ranks": ("--tp-size 8 --nnodes 3", "--tp-size 8 --nnodes 2"),
    "replicas-over-nodes": (
        "--tp-size 8 --nnodes 2 --dp-size 2",
        "--tp-size 8 --nnodes 2 --dp-size 2 --enable-dp-attention",
    ),
    "attention-dp-divides": (
        "--tp-size 8 --dp-size 3 --enable-dp-attention",
        "--tp-size 8 --dp-size 4 --enable-dp-attention",
    ),
    "attention-dp-size-divides": ("--tp-size 8 --attn-dp-size 3", "--tp-size 8 --attn-dp-size 4"),
    "attention-dp-and-replicas": (
        "--tp-size 8 --attn-dp-size 2 --dp-size 2",
        "--tp-size 8 --attn-dp-size 2",
    ),
    "attention-context-divides": ("--tp-size 8 --attn-cp-size 3", "--tp-size 8 --attn-cp-size 2"),
    "expert-data-divides": ("--tp-size 8 --moe-dp-size 3", "--tp-size 8 --moe-dp-size 1"),
    "dense-layers-shared": (
        "--tp-size 8 --moe-dense-tp-size 4",
        "--tp-size 8 --moe-dense-tp-size 8",
    ),
    "experts-cutlass-shared": (
        "--tp-size 8 --ep-size 4 --moe-runner-backend flashinfer_cutlass",
        "--tp-size 8 --ep-size 8 --moe-runner-backend flashinfer_cutlass",
    ),
    "experts-cutedsl-shared": (
        "--tp-size 8 --ep-size 4 --moe-runner-backend flashinfer_cutedsl"
        " --quantization modelopt_fp4",
        "--tp-size 8 --ep-size 8 --moe-runner-backend flashinfer_cutedsl"
        " --quantization modelopt_fp4",
    ),
    "balanced-experts-alone": (
        "--tp-size 8 --enable-eplb",
        "--tp-size 8 --enable-eplb --ep-size 8",
    ),
    "balanced-experts-dispatch": (
        "--tp-size 8 --ep-size 8 --ep-dispatch-algorithm static",
        "--tp-size 8 --ep-size 8 --ep-dispatch-algorithm dynamic",
    ),
    "chunk-of-pages": ("--chunked-prefill-size 8100", "--chunked-prefill-size 8128"),
    "ports-differ": ("--grpc-port 30000", "--grpc-port 30001"),
    "stages-and-drafts-served": (
        "--tp-size 4 --pp-size 2 --speculative-algorithm EAGLE",
        "--tp-size 4 --pp-size 2 --speculative-algorithm EAGLE --disaggregation-mode prefill",
    ),
    "stages-and-free-slots": (
        "--tp-size 4 --pp-size 2 --min-free-slots-delay 4",
        "--tp-size 4 --min-free-slots-delay 4",
    ),
    "drafts-without-steps": (
        "--speculative-algorithm EAGLE --speculative-num-draft-tokens 4",
        "--speculative-algorithm EAGLE",
    ),
    "steps-without-branches": (
        "--speculative-algorithm NEXTN --speculative-num-steps 3",
        "--speculative-algorithm NEXTN --speculative-num-steps 3 --speculative-eagle-topk 1",
    ),
    "draft-branches": (
        "--speculative-algorithm EAGLE --speculative-num-steps 3 --speculative-eagle-topk 2"
        " --speculative-num-draft-tokens 6",
        "--speculative-algorithm EAGLE --speculative-num-steps 3 --speculative-eagle-topk 1"
        " --speculative-num-draft-tokens 4",
    ),
    "drafts-by-a-model": (
        "--speculative-algorithm DFLASH",
        "--speculative-algorithm EAGLE",
    ),
    "drafts-by-nobody": ("--speculative-algorithm EAGEL", "--speculative-algorithm eagle"),
    "flex-attention-drafts": (
        "--attention-backend flex_attention --speculative-algorithm EAGLE",
        "--attention-backend flex_attention",
    ),
    "cutedsl-mla-sm120": ("--attention-backend cutedsl_mla", "--attention-backend flashinfer"),
    "sparse-kv-cache": ("--kv-cache-dtype fp8_e5m2", "--kv-cache-dtype fp8_e4m3"),
    "overlap-of-two-batches": (
        "--tp-size 8 --enable-two-batch-overlap",
        "--tp-size 8 --enable-two-batch-overlap --attn-dp-size 8",
    ),
    "host-cache-without-cache": (
        "--enable-hierarchical-cache --disable-radix-cache",
        "--enable-hierarchical-cache",
    ),
    "compile-without-padding": (
        "--disable-cuda-graph-padding --enable-torch-compile",
        "--disable-cuda-graph-padding",
    ),
    "priority-policy": (
        "--enable-priority-scheduling --schedule-policy lpm",
        "--enable-priority-scheduling --schedule-policy lof",
    ),
    "priority-retraction": (
        "--retraction-policy priority",
        "--retraction-policy priority --enable-priority-scheduling",
    ),
    "tls-key-alone": ("--ssl-keyfile FILE", "--ssl-keyfile FILE --ssl-certfile FILE"),
    "tls-certificate-alone": ("--ssl-certfile FILE", "--ssl-keyfile FILE --ssl-certfile FILE"),
    "two-ways-to-tokenize": (
        "--enable-tokenizer-batch-encode --enable-dynamic-batch-tokenizer",
        "--enable-tokenizer-batch-encode",
    ),
    "metrics-to-nowhere": (
        "--export-metrics-to-file",
        "--export-metrics-to-file --export-metrics-to-file-dir /tmp",
    ),
    "answers-kept-apart": (
        "--enable-response-store --disaggregation-mode decode",
        "--enable-response-store",
    ),
    "adapters-unknown": (
        "--enable-lora --max-lora-rank 8",
        "--enable-lora --max-lora-rank 8 --lora-target-modules q_proj",
    ),
    "encoder-and-language": ("--encoder-only --language-only", ""),
    "grpc-and-key": ("--grpc-port 40000 --api-key k", "--grpc-port 40000"),
    "grpc-and-tokenizers": (
        "--grpc-port 40000 --tokenizer-worker-num 2",
        "--grpc-port 40000 --tokenizer-worker-num 1",
    ),
    "tls-authority-alone": (
        "--ssl-ca-certs FILE",
        "--ssl-ca-certs FILE --ssl-keyfile FILE --ssl-certfile FILE",
    ),
    "tls-refresh-alone": (
        "--enable-ssl-refresh",
        "--enable-ssl-refresh --ssl-keyfile FILE --ssl-certfile FILE",
    ),
    "context-decode-cache": (
        "--tp-size 8 --dcp-size 2 --enable-hierarchical-cache",
        "--tp-size 8 --dcp-size 2",
    ),
    "context-decode-apart": (
        "--tp-size 8 --dcp-size 2 --disaggregation-mode prefill",
        "--tp-size 8 --dcp-size 2",
    ),
    "drafts-of-groups": (
        "--tp-size 8 --attn-dp-size 8 --speculative-algorithm STANDALONE --speculative-draft-model-path DIR",
        "--tp-size 8 --speculative-algorithm STANDALONE --speculative-draft-model-path DIR",
    ),
    "drafts-of-groups-early": (
        "--tp-size 8 --dp-size 8 --enable-dp-attention --speculative-algorithm STANDALONE --speculative-draft-model-path DIR",
        "--tp-size 8 --speculative-algorithm STANDALONE --speculative-draft-model-path DIR",
    ),
    "rejection-of-branches": (
        "--speculative-algorithm EAGLE --speculative-use-rejection-sampling --speculative-num-steps 3 --speculative-eagle-topk 2 --speculative-num-draft-tokens 4 --attention-backend flashinfer",
        "--speculative-algorithm EAGLE --speculative-use-rejection-sampling --speculative-num-steps 3 --speculative-eagle-topk 1 --speculative-num-draft-tokens 4",
    ),
    "context-prefill-how": (
        "--tp-size 8 --enable-prefill-cp --attn-cp-size 8",
        "--tp-size 8 --enable-prefill-cp --attn-cp-size 8 --cp-strategy interleave",
    ),
    "prefill-to-nowhere": (
        "--disaggregation-mode prefill --disaggregation-transfer-backend fake",
        "--disaggregation-mode prefill --disaggregation-transfer-backend nixl",
    ),
    "adapters-few": (
        "--enable-lora --max-lora-rank 8 --lora-target-modules q_proj --max-loaded-loras 1",
        "--enable-lora --max-lora-rank 8 --lora-target-modules q_proj --max-loaded-loras 8",
    ),
    "multiplexed-chunks": ("--enable-pdmux", ""),
    "sparse-host-cache": ("--enable-hisparse", ""),
    "watermark-and-processor": (
        "--enable-watermark --enable-custom-logit-processor",
        "--enable-watermark",
    ),
    "load-without-events": ("--load-publish-endpoint tcp://127.0.0.1:5557", ""),
    "dispatch-without-exchange": ("--flashinfer-a2a-dispatch-type nvfp4", ""),
    "canary-sweep-alone": ("--kv-canary-sweep-interval 5", "--kv-canary-sweep-interval 0"),
    "elastic-size-alone": ("--max-ep-size 8", ""),
    "elastic-and-stages": ("--elastic-ep-backend nixl --pp-size 2", "--pp-size 2"),
    "head-of-replicas": (
        "--tp-size 8 --dp-size 2 --enable-dp-lm-head",
        "--tp-size 8 --dp-size 2 --enable-dp-lm-head --enable-dp-attention",
    ),
    "always-the-same-answer": (
        "--enable-deterministic-inference",
        "--enable-deterministic-inference --attention-backend triton",
    ),
    "hidden-layers-alone": ("--return-aux-hidden-state-layer-ids 1", ""),
    "served-name-colon": ("--served-model-name glm:5", "--served-model-name glm-5"),
    "config-no-json": ("--json-model-override-args notjson", "--json-model-override-args {}"),
    "experts-cutlass-fp8": (
        "--quantization fp8 --moe-runner-backend flashinfer_cutlass",
        "--quantization fp8 --moe-runner-backend triton",
    ),
}


# The same of SM100.
TABLE_SM100 = {
    "sparse-triton-rocm": ("--dsa-prefill-backend triton", "--dsa-prefill-backend trtllm"),
    "sparse-tilelang-prefill": (
        "--dsa-prefill-backend tilelang",
        "--dsa-prefill-backend tilelang --dsa-decode-backend tilelang",
    ),
    "sparse-tilelang-decode": (
        "--dsa-decode-backend tilelang",
        "--dsa-decode-backend tilelang --dsa-prefill-backend tilelang",
    ),
}


# What counts of --quantization on a checkpoint that is quantised; None: it is refused.
CHECKPOINTS = {
    "glm-5-nvfp4": {"quant_method": "modelopt", "quant_algo": "NVFP4", "group_size": 16},
    "glm-5-fp8": {"quant_method": "fp8", "weight_block_size": [128, 128]},
}
QUANTISED = [
    ("quantization-of-nvfp4", "glm-5-nvfp4", "fp8", "modelopt_fp4"),
    ("quantization-of-nvfp4", "glm-5-nvfp4", "awq", "modelopt_fp4"),
    ("quantization-of-nvfp4", "glm-5-nvfp4", "w8a8_fp8", "modelopt_fp4"),
    ("quantization-of-nvfp4-anew", "glm-5-nvfp4", "nvfp4_online", None),
    ("quantization-of-fp8", "glm-5-fp8", "modelopt_fp8", None),
    ("quantization-of-fp8", "glm-5-fp8", "awq", None),
    ("quantization-of-fp8", "glm-5-fp8", "compressed-tensors", None),
    ("quantization-of-fp8-anew", "glm-5-fp8", "modelopt_fp4", "modelopt_fp4"),
    ("", "glm-5-fp8", "fp8", "fp8"),
    ("", "glm-5-nvfp4", "modelopt_fp4", "modelopt_fp4"),
]


def bounded() -> dict[str, tuple[str, str]]:
    """The same for each option of `out-of-range`: one too little, and the least."""
    bounds = ROWS["out-of-range"].bounds
    return {
        name: (f"--{name} {told.least - 1:g}", f"--{name} {told.least:g}")
        for name, told in bounds.items()
    }


CASES = [
    *(("sm120", id, *words) for id, words in TABLE.items()),
    *(("sm120", "out-of-range", *words) for words in bounded().values()),
    *(("sm100", id, *words) for id, words in TABLE_SM100.items()),
]
CONFIG: dict[str, Any] = {
    **next(one.config for one in models.families() if one.id == "glm-5"),
    "architectures": ["GlmMoeDsaForCausalLM"],
    "model_type": "glm_moe_dsa",
    "index_topk": 2048,
    "num_experts_per_tok": 8,
    "torch_dtype": "bfloat16",
    "rms_norm_eps": 1e-5,
    "hidden_act": "silu",
    "rope_theta": 1e6,
    "head_dim": 256,
}
NAMES = ("arch", "id", "bad", "good")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A GLM-5's config.json that tells no quantisation, and beside it some that do."""
    made = tmp_path_factory.mktemp("models")
    for name, quantised in {"glm-5": None, **CHECKPOINTS}.items():
        (made / name).mkdir()
        told = {"quantization_config": quantised} if quantised else {}
        (made / name / "config.json").write_text(json.dumps({**CONFIG, **told}))
    (made / "glm-5/pem").write_text("")
    return made / "glm-5"


def launched(words: str, folder: Path) -> tuple[str, ...]:
    told = words.replace("FILE", str(folder / "pem")).replace("DIR", str(folder)).split()
    return ("--model-path", str(folder), "--device", "cuda", *told)


def resolved(arch: str, commands: list[tuple[str, ...]]) -> list[tuple[str | None, str | None]]:
    """Why the real resolution refuses each, and what the model's quantisation is to it."""
    ran = subprocess.run(
        [ENGINE / "engine/bin/python", "-c", REAL, arch.removeprefix("sm").removesuffix("0")],
        input=json.dumps(commands),
        capture_output=True,
        text=True,
        check=False,
        timeout=LONGEST,
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    return [(why, what) for why, what in json.loads(ran.stdout.splitlines()[-1])]


@pytest.fixture(scope="module")
def refusals(folder: Path) -> dict[tuple[str, str], str | None]:
    """What the real resolution says of each command line on each architecture."""
    found = {}
    for arch in ("sm120", "sm100"):
        asked = sorted({words for of, _, *both in CASES for words in both if of == arch})
        told = resolved(arch, [launched(words, folder) for words in asked])
        found |= {(arch, words): why for words, (why, _) in zip(asked, told, strict=True)}
    return found


def told_of(words: str, folder: Path, arch: str) -> list[Entry]:
    return lint(Launch.of(launched(words, folder), {}), Target(NEWEST, arch))


def ids(entries: list[Entry]) -> set[str | None]:
    return {concern.id for entry in entries for concern in entry.concerns}


def called(one: str) -> str:
    return one.replace(" ", "_")[:60]


def test_each_row_that_was_tried_here_is_in_the_table() -> None:
    assert set(ROWS) == {id for _, id, *_ in CASES} | {id for id, *_ in QUANTISED if id}
    assert {row.known for row in ROWS.values()} == {Known.RUN}


@pytest.mark.parametrize(NAMES, CASES, ids=called)
def test_we_refuse_the_one_and_not_the_other(
    arch: str, id: str, bad: str, good: str, folder: Path
) -> None:
    refused, taken = told_of(bad, folder, arch), told_of(good, folder, arch)

    assert id in ids(refused)
    assert [entry for entry in refused if entry.verdict.says_no]
    assert id not in ids(taken)


@pytest.mark.engine
@needs_engine
@pytest.mark.parametrize(NAMES, CASES, ids=called)
def test_sglang_refuses_the_one_and_not_the_other(
    arch: str, id: str, bad: str, good: str, refusals: dict[tuple[str, str], Any]
) -> None:
    assert refusals[arch, bad] is not None
    assert refusals[arch, good] is None


def quantised(folder: Path, checkpoint: str, word: str) -> tuple[str, ...]:
    model = folder.with_name(checkpoint)
    return ("--model-path", str(model), "--device", "cuda", "--quantization", word)


@pytest.mark.parametrize(("id", "checkpoint", "word", "counts"), QUANTISED)
def test_we_know_what_counts_of_a_quantisation(
    id: str, checkpoint: str, word: str, counts: str | None, folder: Path
) -> None:
    said = lint(Launch.of(quantised(folder, checkpoint, word), {}), Target(NEWEST, "sm100"))
    told = {one for one in ids(said) if (one or "").startswith("quantization")}

    assert told == ({id} if id else set())
    assert counts is not None or [entry for entry in said if entry.verdict.says_no]


@pytest.mark.engine
@needs_engine
def test_sglang_makes_of_a_quantisation_what_we_say(folder: Path) -> None:
    asked = [quantised(folder, checkpoint, word) for _, checkpoint, word, _ in QUANTISED]
    told = resolved("sm100", asked)

    assert [what for _, what in told] == [counts for *_, counts in QUANTISED]
    assert [why is None for why, _ in told] == [counts is not None for *_, counts in QUANTISED]
