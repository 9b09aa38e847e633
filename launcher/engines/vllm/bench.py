"""vLLM's own load generator, as 0.32.0 has it (run on a CPU)."""

from __future__ import annotations

import json
import re

from launcher.engines.generator import Generator, Slow, Wanted, result

# Its set `sharegpt` leaves out what is longer (is_valid_sequence, read), `custom` wants pandas.
LONGEST = 1024
_SOURCE = "vLLM 0.32.0"
_AGAIN = 3  # lines, ten seconds apart


def prompts(wanted: Wanted) -> str:
    """The file that it reads its prompts from; without pandas as ShareGPT has them."""
    if wanted.has_module:
        rows = ({"prompt": text, "output_tokens": wanted.tokens} for text in wanted.prompts)
        return "".join(json.dumps(row) + "\n" for row in rows)
    talks = (
        [{"from": "human", "value": text}, {"from": "gpt", "value": ""}] for text in wanted.prompts
    )
    return json.dumps([{"conversations": talk} for talk in talks])


def argv(wanted: Wanted) -> tuple[str, ...]:
    """Its command; the result goes where it is told, with every answer in it."""
    custom = ("custom", "--custom-output-len", str(wanted.tokens), "--skip-chat-template")
    plain = ("sharegpt", "--sharegpt-output-len", str(wanted.tokens))
    return (
        *(wanted.python, "-m", "vllm.entrypoints.cli.main", "bench", "serve"),
        *("--backend", "openai-chat", "--endpoint", "/v1/chat/completions"),
        *("--base-url", wanted.url),
        *("--dataset-name", *(custom if wanted.has_module else plain)),
        *("--dataset-path", str(wanted.file), "--disable-shuffle"),
        *("--num-prompts", str(len(wanted.prompts))),
        *("--max-concurrency", str(wanted.concurrency)),
        *("--num-warmups", str(wanted.concurrency)),
        *("--model", wanted.model, "--tokenizer", wanted.tokenizer),
        *("--served-model-name", wanted.name, "--temperature", "0"),
        *(("--extra-body", json.dumps(wanted.body)) if wanted.body else ()),
        *("--save-result", "--save-detailed", "--result-dir", str(wanted.result.parent)),
        *("--result-filename", wanted.result.name, "--disable-tqdm"),
    )


GENERATOR = Generator(
    name="vllm bench serve",
    module="pandas",
    longest=LONGEST,
    variable="OPENAI_API_KEY",
    prompts=prompts,
    argv=argv,
    read=result,
    slow=(
        Slow(
            re.compile(r"Using default MoE config\. Performance might be sub-optimal"),
            "no tuned kernel configuration for these experts on this GPU",
            f"fused_moe.py of {_SOURCE}",
        ),
        Slow(
            re.compile(r"Custom allreduce is disabled"),
            "its own all-reduce is off: the ranks add up by NCCL",
            f"custom_all_reduce.py of {_SOURCE}",
        ),
        Slow(
            re.compile(r"Using default W8A8 Block FP8 kernel config"),
            "no tuned configuration for block-quantised matrices on this GPU",
            f"fp8_utils.py of {_SOURCE}",
        ),
        Slow(
            re.compile(r"Your GPU does not have native support for FP[48] computation"),
            "the weights are small in memory alone: it computes in 16 bits, by Marlin's kernels",
            f"marlin_utils_fp4.py and marlin_utils_fp8.py of {_SOURCE}",
        ),
        Slow(
            re.compile(r"Cudagraph is disabled under eager mode|Enforce eager set, disabling"),
            "it decodes without CUDA graphs: enforce-eager is set",
            f"config/vllm.py of {_SOURCE}",
        ),
        Slow(
            re.compile(r"Avg generation throughput: .* Preemptions: [1-9]"),
            "the KV cache was full: requests were thrown out and are computed again",
            f"v1/metrics/loggers.py of {_SOURCE}",
            is_of_load=True,
        ),
        Slow(
            re.compile(r" Waiting: [1-9]\d* reqs,.* KV cache usage: (?:9\d|100)\.\d%"),
            "requests wait while the KV cache is full",
            f"v1/metrics/loggers.py of {_SOURCE}",
            is_of_load=True,
            least=_AGAIN,
        ),
    ),
)
