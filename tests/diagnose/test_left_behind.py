"""What stays of the start before, or belongs to somebody else: ports, shared memory, cached kernels,
limits, a home.
"""

from __future__ import annotations

import pytest

from launcher.diagnose.text import diagnose_text
from launcher.diagnose.verdict import Diagnosis
from launcher.engines import engine
from launcher.engines.failures import failures
from launcher.redact.secrets import hide

SGLANG = "[2026-11-24 05:10:00] server_args=ServerArgs(model_path='/m/x', tp_size=4, port=30000)"
VLLM = "(APIServer pid=1) INFO 11-24 10:00:00 [api_server.py:9] vLLM API server version 0.32.0"
STARTS = [SGLANG, VLLM]


def said(*lines: str) -> Diagnosis:
    return diagnose_text(["\n".join(lines).encode()])


# -- ports -----------------------------------------------------------------------------------------

MEETS = [
    "torch.distributed.DistNetworkError: The server socket has failed to listen on any local network"
    " address. port: 18555, useIpv6: false, code: -98, name: EADDRINUSE, message: address already",
    "RuntimeError: The server socket has failed to listen on any local network address. The server"
    " socket has failed to bind to [::]:29500 (errno: 98 - Address already in use).",
    "[W socket.cpp:464] [c10d] The server socket has failed to bind to [::]:29500 (errno: 98 - x)",
    "node1:7:7 [0] misc/socket.cc:420 NCCL WARN socketBind: bind failed: Address already in use",
]


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("line", MEETS)
def test_the_port_where_ranks_meet_is_not_that_of_the_api(start: str, line: str) -> None:
    found = said(start, line)
    assert found.cause == "rendezvous-port-taken"
    assert "flags.port" not in found.fix
    assert "ip_local_port_range" in found.fix
    assert ("--dist-init-addr" in found.fix) is (start == SGLANG)
    assert ("--master-port" in found.fix) is (start == VLLM)


@pytest.mark.parametrize("name", ["rpc_port", "metrics_port", "nccl_port", "dist_init_port"])
@pytest.mark.parametrize(
    "form", ["{} at 21233 is not available in 30 seconds. {} is used", "{} 21233 is used"]
)
def test_who_has_one_of_sglangs_own_ports_is_named(name: str, form: str) -> None:
    owner = f" by a process already. process.name()='x' process.status()='sleeping' pid={4711}"
    found = said(SGLANG, f"ValueError: {form.format(name, name)}{owner}")
    assert found.cause == "own-port-taken"
    assert "4711" in found.what
    assert f"{name} 21233" in found.what
    assert "ps -fp 4711" in found.fix


@pytest.mark.parametrize("start", STARTS)
def test_the_port_of_the_api_stays_what_it_is(start: str) -> None:
    bind = (
        "[Errno 98] error while attempting to bind on address ('0.0.0.0', 30000): address already"
    )
    for line in (f"ERROR:    {bind} in use", "OSError: [Errno 98] Address already in use"):
        found = said(start, line)
        assert (found.cause, "flags.port=N" in found.fix) == ("port-taken", True)
    waits = "[2026-11-24 05:10:30] port 21233 is in use. Waiting for 15 seconds for rpc_port to be"
    ready = "[2026-11-24 05:20:00] The server is fired up and ready to roll!"
    assert not said(SGLANG, f"{waits} available.", ready).is_known


# -- limits of locked memory -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "call",
    [
        "ibv_create_cq",
        "ibv_create_qp",
        "ibv_reg_mr",
        "ibv_reg_mr_iova2",
        "ibv_alloc_pd",
        "ibv_create_srq",
    ],
)
def test_a_call_of_verbs_that_finds_no_memory_is_the_limit_of_locked_memory(call: str) -> None:
    nccl = f"node1:7:7 [0] misc/ibvwrap.cc:160 NCCL WARN Call to {call} failed with error {{}}"
    assert said(nccl.format("Cannot allocate memory")).cause == "memlock-limit"
    assert said(f"RuntimeError: {call}: errno 12").cause == "memlock-limit"
    for error in ("No such device", "Connection timed out", "Invalid argument"):
        assert said(nccl.format(error)).cause == "nccl-ib-failed"


# -- /dev/shm --------------------------------------------------------------------------------------

FULL = (
    "node1:7:7 [2] misc/shmutils.cc:87 NCCL WARN Error: failed to extend /dev/shm/nccl-x to 7 bytes"
)


@pytest.mark.parametrize("speaks", engine.NAMES)
def test_what_servers_leave_in_shared_memory_is_told_as_the_reaper_knows_it(speaks: str) -> None:
    start = {"sglang": SGLANG, "vllm": VLLM}[speaks]
    for line in (FULL, "Fatal Python error: Bus error"):
        found = said(start, start.replace("server_args", "x"), line)
        assert all(glob in found.fix for glob in engine.runtime(speaks).shared), line
        assert "a restart alone does not help" in found.fix
    known = [glob for name in engine.NAMES for glob in engine.runtime(name).shared]
    assert all(glob in said(FULL).fix for glob in known)


def test_an_offload_that_refuses_its_configuration_left_nothing() -> None:
    frame = '  File "/opt/vllm/v1/kv_offload/cpu/spec.py", line 100, in __init__'
    assert said(VLLM, frame, "OSError: [Errno 28] No space left on device").cause in (
        "vllm-offload-left-over",
        "disk-full",
    )
    for error in (
        "ValueError: cpu_bytes_to_use must be set",
        "OSError: [Errno 2] No such file: 'x'",
    ):
        assert said(VLLM, frame, error).cause != "vllm-offload-left-over"


# -- kernels that were compiled before -------------------------------------------------------------

CACHES = {
    "triton-cache-broken": ("triton/runtime/cache.py", "/root/.triton/cache/ab/x.so"),
    "inductor-cache-broken": ("torch/_inductor/codecache.py", "/tmp/torchinductor_root/ab/x.so"),
    "flashinfer-cache-broken": ("flashinfer/jit/core.py", "/root/.cache/flashinfer/90a/x.so"),
    "deep-gemm-cache-broken": ("deep_gemm/jit/compiler.py", "/root/.deep_gemm/cache/x.so"),
    "torch-extension-broken": (
        "torch/utils/cpp_extension.py",
        "/root/.cache/torch_extensions/py312/x.so",
    ),
}
CUT = [
    "json.decoder.JSONDecodeError: Expecting value: line 1 column 1 (char 0)",
    "EOFError: Ran out",
]


@pytest.mark.parametrize("cause", CACHES)
@pytest.mark.parametrize("start", STARTS)
def test_a_cache_that_is_cut_or_of_another_release_is_whose_the_file_is(
    start: str, cause: str
) -> None:
    file, library = CACHES[cause]
    frame = f'  File "/opt/x/{file}", line 7, in get'
    unfit = ["file too short", "invalid ELF header", "undefined symbol: _ZN2at4"]
    for lines in (
        *([frame, cut] for cut in CUT),
        *([f"OSError: {library}: {why}"] for why in unfit),
    ):
        found = said(start, *lines)
        assert (found.cause, found.then) == (cause, "never"), lines
        assert "rm -rf" in found.fix


@pytest.mark.parametrize("cut", CUT)
@pytest.mark.parametrize("file", ["transformers/configuration_utils.py", "sglang/srt/x.py"])
def test_a_file_of_the_model_that_is_cut_is_no_cache(file: str, cut: str) -> None:
    found = said(SGLANG, f'  File "/opt/{file}", line 7, in load', cut)
    assert found.cause not in CACHES
    library = "ImportError: /opt/x/sgl_kernel/common_ops.so: undefined symbol: _ZN2at4"
    assert said(SGLANG, library).cause == "library-missing"


# -- a home, a load, a GPU -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "is_home"),
    [
        ("/.cache", True),
        ("/.cache/huggingface/hub", True),
        ("/.triton", True),
        ("/nonexistent", True),
        ("/", True),
        ("/root/.cache/x", False),
        ("/models/glm/config.json", False),
    ],
)
def test_a_user_without_a_home_is_told_to_set_it(file: str, is_home: bool) -> None:
    found = said(VLLM, f"PermissionError: [Errno 13] Permission denied: '{file}'")
    assert (found.cause == "home-not-writable") is is_home
    assert ("set HOME" in found.fix) is is_home


def test_a_collective_that_times_out_while_it_loads_is_a_slow_load() -> None:
    timed_out = "[rank1]:[E1124 05:30:00 x.cpp:6] Watchdog caught collective operation timeout: x"
    loads = "[2026-11-24 05:10:00 TP0] Load weight begin. avail mem=90.00 GB"
    works = "[2026-11-24 05:10:00 TP0] Decode batch, #running-req: 1, #token: 7, #queue-req: 0"

    found = said(SGLANG, loads, timed_out)
    assert (found.cause, "--dist-timeout" in found.fix) == ("nccl-timeout-at-load", True)
    assert said(SGLANG, loads, works, timed_out).cause == "nccl-timeout"
    late = failures()["rank-load-late"].told("sglang").fix
    assert "480 s" in late
    assert "--dist-timeout does not move" in late


@pytest.mark.parametrize(
    ("words", "cause"),
    [
        ("rpcSendMessage failed with status 0x0000000f for fn 10 sequence 800!", "gpu-lost"),
        ("paramsStatus=0x00000000; status=0x0000000f", "gpu-lost"),
        ("call failed: NV_ERR_GPU_IN_FULLCHIP_RESET", "gpu-in-reset"),
        ("rpcSendMessage failed with status 0x00000010 for fn 10 sequence 8!", "gpu-in-reset"),
        (
            "Assertion failed: (status == NV_ERR_GPU_IN_FULLCHIP_RESET) @ vaspace_api.c:573",
            "unknown",
        ),
        ("Assertion failed: (status == NV_ERR_GPU_IS_LOST) @ x.c:573", "unknown"),
        ("rpcRmApiFree_GSP: failed; status=0x00000056", "unknown"),
    ],
)
def test_what_a_condition_names_is_not_what_happened(words: str, cause: str) -> None:
    assert said(f"Nov 24 05:10:00 node1 kernel: NVRM: GPU0 {words}").cause == cause


# -- what the system says of credentials -----------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "is_shown"),
    [
        ("Failed to determine user credentials: No such process", True),
        ("Failed to set up credentials: No such file or directory.", True),
        ("credentials: No such process hunter2", False),
        ("credentials: no such process", False),
        ("credentials: 'No such process'", False),
        ("password: Permission", False),
        ("secret: No such password", False),
    ],
)
def test_an_error_of_the_system_is_no_secret_and_all_else_is_hidden(
    text: str, is_shown: bool
) -> None:
    assert (hide(text) == text) is is_shown
    assert ("[redacted]" in hide(text)) is not is_shown
