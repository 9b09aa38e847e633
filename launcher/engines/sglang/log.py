"""How SGLang's log speaks.

The words were read off the logs and the source of 0.5.8 to 0.5.23; tests/engines has whole starts.
"""

from __future__ import annotations

import re

from launcher.engines.log import SERVING, STAMP, Limits, Log
from launcher.engines.sglang import NAME

# What the scheduler will take, said once before the server listens.
_LIMITS = re.compile(
    r"max_total_num_tokens=\d+, chunked_prefill_size=(\S+), max_prefill_tokens=(\d+),"
    r" .{0,200}?context_len=(\d+)"
)
_BATCH = re.compile(
    r"(?:Prefill|Decode) batch(?: \[\d+\])?[.,] #(?:new-seq: \d+, #new-token: (\d+)|running-req:"
    r" \d+)\b"
)
_PAUSE = re.compile(
    rf"(?:{STAMP}\] )?INFO: +\S+ - "
    r'"POST /(pause_generation|continue_generation)(?:\?\S*)? HTTP/[\d.]+" 200(?: OK)?'
)


def limits(text: str) -> Limits | None:
    """What its scheduler says that it will take; unchunked, one prompt is a batch however long."""
    found = _LIMITS.match(text)
    if found is None:
        return None
    chunk, prefill, context = found[1], int(found[2]), int(found[3])
    chunked = chunk.isdecimal() and int(chunk) > 0
    return Limits(min(int(chunk), prefill) if chunked else max(prefill, context), context)


def busy(text: str) -> int | None:
    """Tokens of the prompts in the batch that a text tells of, 0 of one that decodes; None for one
    that tells of no work.

    A chunk of a prompt that was just begun may take its time; each has a line of its own.
    """
    found = _BATCH.match(text)
    return int((found[1] or "0")[:9]) if found else None


def pause(line: str) -> bool | None:
    """True when the line says that generation was paused, False when it goes on, None for any other
    line.

    It is all of a line of uvicorn's, so what stands in the path of another request is none.
    """
    found = _PAUSE.fullmatch(line)
    return found[1] == "pause_generation" if found else None


LOG = Log(
    name=NAME,
    # "Init torch distributed" is the wording up to 0.5.16 or so, "Init parallel" later. FlashInfer
    # is tuned before graphs are captured (source of 0.5.23, and `kernel_warmup` before it); all
    # else compiles at the first pass over the model: while that is tuned, or within the graphs,
    # which it does not lead out of. Nobody can send a request before "Uvicorn running on"; after it
    # no phase is opened.
    opens=(
        ("Init torch distributed begin", "distributed"),
        ("Init parallel begin", "distributed"),
        ("Load weight begin", "weights"),
        ("KV Cache is allocated", "kv"),
        ("Running FlashInfer autotune", "compile"),
        ("Entering DeepGEMM JIT Pre-Compile session", "compile"),
        ("Try DeepGEMM JIT Compiling for ", "compile"),
        ("Capture cuda graph begin", "graphs"),
        ("Capture target prefill CUDA graph begin", "graphs"),
        ("Capture target decode CUDA graph begin", "graphs"),
        ("Capture target verify CUDA graph begin", "graphs"),
        ("Uvicorn running on", "warmup"),
        ("Starting embedded Granian HTTP/2 server on", "warmup"),
    ),
    bars=(
        (re.compile(r"(?:Loading|Multi-thread) [\w -]{0,40}\bshards:"), "weights"),
        (re.compile(r"DeepGEMM warmup:|Compiling num tokens\b"), "compile"),
        (re.compile(r"Capturing (?:batches|num tokens)\b"), "graphs"),
    ),
    ready="The server is fired up and ready to roll!",
    # It goes on for as long as anybody watched, and never serves (seen on 0.5.23).
    doom=re.compile(r"\[Errno \d+\] error while attempting to bind on address .*"),
    limits=limits,
    busy=busy,
    pause=pause,
    drained=re.compile(  # 0.5.9 to 0.5.23
        r"Gracefully exiting\.\.\. Remaining number of requests 0\b"
    ),
    marks=(
        r"/sglang/(?:srt|jit_kernel|launch_server)|\bsglang(?:\.|::)|\bserver_args=|sgl[_-]kernel"
        r"|--mem-fraction-static"
        rf"|^(?:\(\w{{1,40}} pid=\d+[^()]{{0,60}}\) )?{STAMP}(?: (?:ATTN_CP|MOE_DP|[DTPE]P)\d+)+\] "
    ),
    places=(
        (
            r"set_device|init_torch_distributed|init_parallel_runtime|init_distributed\w*",
            "distributed",
        ),
        (r"initialize_model_parallel|init_model_parallel_group", "distributed"),
        (
            r"load_model|load_weights\w*|_initialize_model|create_weights|process_weights\w*",
            "weights",
        ),
        (r"init_memory_pool|profile_max_num_token|alloc_memory_pool|_create_buffers", "kv"),
        (r"kernel_warmup|_dummy_run|_?flashinfer_autotune|_compile_\w+", "compile"),
        (r"capture\w*|init_cuda_graphs|init_device_graphs|_capture\w*", "graphs"),
        (r"event_loop\w*|process_batch_result\w*|run_batch|forward_(?:extend|decode)", SERVING),
    ),
    start_words=r"server_args=(?:ServerArgs\(|\{)",
    stop_words=(
        r"SIGTERM received|SIGINT received|Received signal SIG(?:TERM|INT)\b|Gracefully exiting"
        r"|Signal SIGTERM"
    ),
    work_words=r"Decode batch(?: \[\d+\])?[.,] #running-req: \d",
    idle_words="",
    stuck_words="",
    reads_words=r"Prefill batch(?: \[\d+\])?[.,] #new-seq: \d",
    waiting_words=r"#queue-req: (\d{1,9})\b",
    work=1,
    exception_words=r"\w{1,40} hit an exception",
    death_words=(
        r"(?:Subprocess .{0,60}|Rank \d+ scheduler) crashed with exit code"
        r"|(?:RuntimeError: )?Rank \d+ scheduler died during init"
    ),
    request_words=(
        r"Hit invalid |[Ss]kip invalid |Rejecting \w+ grammar|Got unhandled regex|Constraint|\{"
        r"|Receive: |Finish: |Received request|Generated response|Abort|Request |The request|The"
        r" input|Input "
        r"|DS\d+EncodingError|Failed to"
        r" (?:parse|compile|decode|extract|convert|process|apply|advance|call)\b"
        r"|(?:Error|Unexpected error)"
        r" (?:in|during|while|parsing|converting|processing|handling|getting)\b"
        r"|Error (?:extracting|with)\b|Exception in ASGI application|Multimodal feature|Cannot"
        r" (?:parse|process)"
        r"|Model attempted |Tool |Unexpected tool|Skipping tool|Dropping malformed|Malformed |Empty"
        r" function"
        r"|Unknown function|[Ii]nvalid |Surfacing |Required tool|Reasoning parsing|JSON"
        r" decode|Parameter "
        r"|response_template:|Arguments of "
        r"|\[(?:http_server|realtime|streaming_asr|InternLM|GigaChat)"
        r"|gRPC |Background (?:request|task)|Auto-detected |Endpoint '|Health check request"
    ),
    request_files=r"srt/(?:function_call|constrained|parser)",
)
