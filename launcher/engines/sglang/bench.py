"""SGLang's own load generator, as 0.5.23 has it (run on a CPU); before, it was
`sglang.bench_serving`, which is a stub now (read).
"""

from __future__ import annotations

import json
import re

from launcher.engines.generator import Generator, Sample, Slow, Wanted, result

MOVED = [0, 5, 23]  # the release that is known to have it under the new name
_SOURCE = "SGLang 0.5.23"
_AGAIN = 3  # lines, each of many steps: not the one that a change of load leaves behind


def prompts(wanted: Wanted) -> str:
    """A request a line.

    Only where the server is asked for its usage does the client count what was made, not what was
    asked for.
    """
    body = {
        **wanted.body,
        "max_tokens": wanted.tokens,
        "temperature": 0,
        "ignore_eos": False,
        "stream_options": {"include_usage": True},
    }
    rows = ({"messages": [{"role": "user", "content": text}], **body} for text in wanted.prompts)
    return "".join(json.dumps(row) + "\n" for row in rows)


def argv(wanted: Wanted) -> tuple[str, ...]:
    """Its command; offline, so the model's files are named."""
    release = [int(part) for part in re.findall(r"\d+", wanted.release or "")[:3]]
    module = "sglang.benchmark.serving" if release >= MOVED else "sglang.bench_serving"
    return (
        *(wanted.python, "-m", module),
        *("--backend", "sglang-oai-chat", "--base-url", wanted.url),
        *("--dataset-name", "openai", "--dataset-path", str(wanted.file)),
        *("--num-prompts", str(len(wanted.prompts))),
        *("--max-concurrency", str(wanted.concurrency)),
        *("--warmup-requests", str(wanted.concurrency)),
        *("--model", wanted.model, "--tokenizer", wanted.tokenizer),
        *("--served-model-name", wanted.name),
        *("--output-details", "--output-file", str(wanted.result), "--disable-tqdm"),
    )


def read(text: str) -> Sample:
    """Its result: the last line of its file, to which it appends. Raises ValueError."""
    return result(text.strip().rpartition("\n")[2])


GENERATOR = Generator(
    name="sglang.benchmark.serving",
    module="",
    longest=0,
    variable="OPENAI_API_KEY",
    prompts=prompts,
    argv=argv,
    read=read,
    slow=(
        Slow(
            re.compile(r"Using default MoE kernel config"),
            "no tuned kernel configuration for these experts on this GPU",
            f"fused_moe_triton_config.py of {_SOURCE}",
        ),
        Slow(
            re.compile(r"Using default W8A8 Block (?:FP8|INT8) kernel config"),
            "no tuned configuration for block-quantised matrices on this GPU",
            f"fp8_kernel.py and int8_kernel.py of {_SOURCE}",
        ),
        Slow(
            re.compile(
                r"Setup (?:Custom|FlashInfer PCIe-IPC) allreduce failed with"
                r"|Custom ?[Aa]ll[Rr]educe\w* is disabled"
            ),
            "an all-reduce of its own is off: the ranks add up by NCCL where no other one is on",
            f"parallel_state.py and custom_all_reduce_utils.py of {_SOURCE}",
        ),
        Slow(
            re.compile(r"KV cache pool is full\. Retract requests"),
            "the KV cache was full: requests were thrown out and are computed again",
            f"scheduler.py of {_SOURCE}",
            is_of_load=True,
        ),
        Slow(
            re.compile(r"Decode batch\b.* cuda graph: False"),
            "it decodes without CUDA graphs: none is captured for so many requests, or at all",
            f"metrics_reporter.py of {_SOURCE}",
            is_of_load=True,
            least=_AGAIN,
        ),
        Slow(
            re.compile(r"Decode batch\b.*\busage: (?:0\.9\d|1\.\d\d),.* #queue-req: [1-9]"),
            "requests wait while the KV cache is full",
            f"metrics_reporter.py of {_SOURCE}",
            is_of_load=True,
            least=_AGAIN,
        ),
    ),
)
