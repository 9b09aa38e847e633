"""How vLLM's log speaks.

The words were read off the logs of 0.8 to 0.33 and the source of 0.32 and 0.33.
"""

from __future__ import annotations

import re

from launcher.engines.log import SERVING, Limits, Log

# What the scheduler will take, on lines of their own; the context once more when the KV cache is
# there, as `--max-model-len auto` came out.
_PREFILL = re.compile(r"Chunked prefill is enabled with max_num_batched_tokens=(\d{1,9})\b")
_CONTEXT = re.compile(
    r"Using max model len (\d{1,9})\b"
    r"|(?:\w+ KV cache size: [\d,]+ tokens, )?"
    r"Maximum concurrency for ([\d,]{1,13}) tokens per request"
)


def limits(text: str) -> Limits | None:
    """What its scheduler says that it will take: a line tells one of the two."""
    if found := _PREFILL.match(text):
        return Limits(prefill=int(found[1]))
    if found := _CONTEXT.match(text):
        return Limits(context=int((found[1] or found[2]).replace(",", "")))
    return None


LOG = Log(
    name="vLLM",
    opens=(
        ("world_size=", "distributed"),
        ("Initializing a V1 LLM engine", "distributed"),
        ("Initializing an LLM engine", "distributed"),
        ("rank 0 in world size", "distributed"),
        ("Starting to load model", "weights"),
        ("Loading weights took", "weights"),
        ("Model loading took", "compile"),
        ("Dynamo bytecode transform time", "compile"),
        ("Initial profiling/warmup run took", "kv"),
        ("Available KV cache memory", "kv"),
        ("GPU KV cache size", "kv"),
        ("CPU KV cache size", "kv"),
        ("Capturing the model for CUDA graphs", "graphs"),
        ("Graph capturing finished", "graphs"),
        ("Starting vLLM server on", "warmup"),
        ("Starting vLLM API server", "warmup"),
    ),
    bars=(
        (re.compile(r"Loading [\w -]{0,40}\bshards:"), "weights"),
        (re.compile(r"Capturing (?:CUDA graph|cudagraph)"), "graphs"),
    ),
    ready="Application startup complete.",
    doom=re.compile(r"(?!)"),  # it ends where it cannot serve
    limits=limits,
    busy=lambda text: None,
    pause=lambda line: None,
    drained=re.compile(r"Application shutdown complete\."),
    marks=(
        r"/vllm/|\bvllm[._]|VLLM::|VLLM_"
        r"|\((?:A(?:PI|pi)Server|EngineCore|Worker|VllmWorker\w{0,20}|RayWorkerWrapper)"
        r"(?:[_ ][^()]{0,60})? pid=\d+"
        r"|--gpu-memory-utilization|gpu_memory_utilization"
        r"|^(?:DEBUG|INFO|WARNING|ERROR|CRITICAL) \d\d-\d\d \d\d:\d\d:\d\d "
    ),
    places=(
        (
            r"set_device|init_device|init_worker_distributed_environment|init_distributed\w*",
            "distributed",
        ),
        (r"initialize_model_parallel|ensure_model_parallel_initialized", "distributed"),
        (
            r"load_model|load_weights\w*|_?initialize_model|create_weights|process_weights\w*",
            "weights",
        ),
        (
            r"determine_(?:available_memory|num_available_blocks)|profile_run|profile_cudagraph_memory",
            "compile",
        ),
        (
            r"initialize_kv_cache\w*|_allocate_kv_cache\w*|initialize_from_config|initialize_cache",
            "kv",
        ),
        (r"capture\w*|_capture\w*|graph_capture", "graphs"),
        (r"kernel_warmup|flashinfer_autotune|compile_or_warm_up_model", "compile"),
        (r"execute_model|sample_tokens|step_with_batch_queue|_process_engine_step", SERVING),
    ),
    start_words=r"Initializing (?:a V\d|an) LLM engine",
    stop_words=(
        r"\[shutdown\] .{0,60}trigger(?:ed\b| received signal=SIG(?:TERM|INT)\b)"
        r"|Received (?:SIGTERM|SIGINT|signal (?:15|2)\b)"
        r"|[Ss]hutdown initiated|Launcher: received signal|WorkerProc was terminated"
    ),
    work_words=r"(?:Engine \d+: )?Avg prompt throughput: .{0,60}Avg generation throughput: \d",
    idle_words=r"Avg generation throughput: 0\.0 ",
    stuck_words=(
        r"Avg prompt throughput: 0\.0 .{0,80}(?:Running: [1-9]|Running: 0 reqs, Waiting: [1-9])"
    ),
    reads_words="",
    waiting_words=r"Waiting: (\d{1,9}) reqs",
    work=10,
    exception_words=(
        r"\w{1,40} encountered a fatal error|EngineCore failed to start"
        r"|(?:WorkerProc|EngineCore|Worker) hit an exception"
    ),
    death_words=(
        r"(?:EngineCore|WorkerProc) failed to start|Worker proc \S{1,40} died unexpectedly"
        r"|(?:RuntimeError: )?Engine core initialization failed"
        r"|\[shutdown\] MPClient: engine core exited unexpectedly"
    ),
    # They are told by the files that say them: witness.py.
    request_words=r"Received request ",
    request_files=r"vllm/(?:tool_parsers|reasoning)",
)
