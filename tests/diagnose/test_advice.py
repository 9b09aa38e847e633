"""What a message itself says is in the advice, and no general sign of a line beats a special one."""

from __future__ import annotations

import pytest
from conftest import TESTS
from hypothesis import given
from hypothesis import strategies as st

from launcher.diagnose import advice
from launcher.diagnose.diagnosis import diagnose
from launcher.diagnose.matching import matches
from launcher.diagnose.verdict import UNKNOWN, Diagnosis
from launcher.engines.failures import failures
from launcher.knowledge import codes

VLLM = "(EngineCore pid=7) ERROR 09-30 11:02:07 [core.py:1101] "
NO_BACKEND = (
    "ValueError: No valid attention backend found for cuda with AttentionSelectorConfig("
    "kv_cache_dtype=fp8_e4m3, use_mla=True, use_sparse={}). Reasons: {{{}}}."
)
CASES = sorted((TESTS / "diagnose/cases").glob("*.log"))


def of(*lines: str, vllm: bool = True) -> Diagnosis:
    return diagnose([(VLLM if vllm else "") + line for line in lines])


# -- a law: the general sign of a line --------------------------------------------------------


def test_no_general_sign_comes_before_a_special_one_of_its_line() -> None:
    """A row for what nothing else tells, and an errno, which any call may end of."""
    lines = {line for path in CASES for line in path.read_text(errors="replace").splitlines()}
    told = [matches(line[:2000], "server", from_start=False) for line in sorted(lines)]

    assert sum(len(each) > 1 for each in told) > 10
    for found in told:
        assert len({each.failure.rest for each in found}) <= 1
        assert [each.by_errno for each in found] == sorted(each.by_errno for each in found)


@pytest.mark.parametrize("number", sorted(codes.of("errno").by_number))
def test_an_errno_is_told_after_what_a_sentence_says(number: int) -> None:
    line = f"RuntimeError: pidfd_getfd(pidfd=1, fd=2) failed with errno {number}: Operation not permitted"

    assert matches(line, "server")[0].failure.id == "ptrace-refused"


# -- a law: what a message advises is passed on ------------------------------------------------

GENERAL = [
    "OSError: [Errno 1] Operation not permitted",
    "OSError: [Errno 13] Permission denied",
    "RuntimeError: CUDA error: operation not permitted",
    "RuntimeError: this kernel was not built for this GPU",
    "ValueError: No valid FP8 backend",
    "SomethingError: nobody has ever read this",
]
SAYS = [
    "If running in a container, try adding --frob=7 to it",
    "Please set FROB=7",
    "Consider lowering --frob to 7",
    "You can try using --frob=7",
    "Reasons: {A_BACKEND: [frob 7 not supported]}",
]


@pytest.mark.parametrize("says", SAYS)
@pytest.mark.parametrize("line", GENERAL)
def test_where_no_advice_was_written_for_a_message_its_own_is_given(line: str, says: str) -> None:
    found = of(f"{line}. {says}.")
    plain = of(f"{line}.")

    assert found.cause == plain.cause
    assert says.rsplit("try ", maxsplit=1)[-1] in found.fix
    assert "as the message says" in found.fix
    assert "as the message says" not in plain.fix


def test_whose_advice_was_written_here_keeps_it() -> None:
    torch = (
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. If reserved but"
        " unallocated memory is large try setting PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True."
    )

    assert "as the message says" not in of(torch).fix
    assert "LOWER --gpu-memory-utilization" in of(torch).fix


@pytest.mark.parametrize(
    "line",
    [
        "run with NCCL_DEBUG=INFO for details",
        "please file an issue about the short timeout",
        "Please report this to the authors",
        "Trying to create tensor",
        "If it fails, it fails",
        "try:",
        "Reason:",
        "",
    ],
)
def test_what_advises_nothing_is_not_passed_on(line: str) -> None:
    assert advice.given(line) == ""


@given(st.text(max_size=400))
def test_any_text_may_be_asked_for_advice(text: str) -> None:
    assert len(advice.given(text)) <= 800


# -- the kinds, and what lies near them --------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        ("RuntimeError: pidfd_getfd: Operation not permitted", "ptrace-refused"),
        ("RuntimeError: pidfd_open: Operation not permitted", "ptrace-refused"),
        ("RuntimeError: pidfd_getfd: Bad file descriptor", UNKNOWN),
        ("PermissionError: [Errno 1] Operation not permitted: '/x'", "operation-not-permitted"),
        ("PermissionError: [Errno 13] Permission denied: '/models/a'", "no-permission"),
        (
            "PermissionError: [Errno 13] Permission denied: '/v/triton/backends/nvidia/bin/ptxas'",
            "tool-not-executable",
        ),
        ("PermissionError: [Errno 13] Permission denied: '/models/ptxas.json'", "no-permission"),
        (
            NO_BACKEND.format(True, "A_SPARSE: [kv_cache_dtype not supported]"),
            "vllm-no-backend-for-kv",
        ),
        (
            NO_BACKEND.format(False, "A_ONE: [x], B_TWO: [kv_cache_dtype not supported]"),
            "vllm-no-backend-for-kv",
        ),
        (
            NO_BACKEND.format(
                True, "A_SPARSE: [kv_cache_dtype not supported, compute capability not supported]"
            ),
            "vllm-no-sparse-backend",
        ),
        (NO_BACKEND.format(False, "A_ONE: [head_size not supported]"), "vllm-no-backend"),
        ("KeyError: 'layers.0.ffn.experts.w2_weight_scale_2'", "vllm-experts-layout"),
        ("KeyError: 'model.layers.0.mlp.gate_proj.input_scale'", "checkpoint-does-not-fit"),
        ("KeyError: 'layers.0.ffn.experts.w13_weight'", "checkpoint-does-not-fit"),
        (
            "ValueError: NvFp4 MoE backend 'X' does not support the deployment configuration since"
            " kernel does not support current device cuda.",
            "vllm-experts-refused",
        ),
        (
            "NotImplementedError: No NvFp4 MoE backend supports the deployment configuration.",
            "vllm-experts-refused",
        ),
        (
            "ValueError: Model sets swiglu_limit=7.0, but the explicitly requested moe_backend='a'"
            " does not apply the SwiGLU clamp. Use 'b' instead.",
            "vllm-experts-refused",
        ),
        (
            "RuntimeError: FlashInfer-CUTLASS MoE kernel does not support current device sm_120",
            "backend-refuses-gpu",
        ),
        (
            "flashinfer.utils.BackendSupportedError: gemm_fp8_nt_groupwise does not support backend"
            " 'trtllm' with capability 120",
            "backend-refuses-gpu",
        ),
        (
            "cutlass.cute.nvgpu.common.OpError: OpError: expects arch to be one of ['sm_120a'], but"
            " got Arch.sm_121a",
            "backend-refuses-gpu",
        ),
        ("AssertionError: expected sm90 or sm100", "backend-refuses-gpu"),
        ("AssertionError: expected small or medium", UNKNOWN),
        ("ValueError: mm_fp4 does not support backend 'x' with batches", UNKNOWN),
        (
            "cudnn.cudnnGraphNotSupportedError: No execution plans support the graph",
            "cudnn-no-plan",
        ),
        ("ValueError: no execution plan was made", UNKNOWN),
        (
            "RuntimeError: Assertion error (kernel_runtime.hpp:45): exit_code == 0",
            "deep-gemm-symbols",
        ),
        ("RuntimeError: Assertion error (kernel_runtime.hpp:61): symbols == 1", UNKNOWN),
        ("ValueError: MLA kv_data_type torch.uint8 is not supported", "vllm-plan-by-storage"),
        ("RuntimeError: buffer_size (7) is odd", UNKNOWN),
        (
            "RuntimeError: buffer_size (1268 B) exceeds device memory budget (693 B)",
            "vllm-loader-has-no-room",
        ),
    ],
)
def test_the_special_reason_of_a_line_is_told(line: str, cause: str) -> None:
    assert of(line).cause == cause
    assert of(line, vllm=False).cause == cause


def test_vllms_own_reasons_are_in_the_advice() -> None:
    why = "A_SPARSE: [sparse not supported], B_SPARSE: [compute capability not supported]"

    for sparse in (True, False):
        assert why in of(NO_BACKEND.format(sparse, why)).fix
    assert "Reasons" not in of(NO_BACKEND.format(True, "")[: -len(" Reasons: {}.")]).fix
    held = of(NO_BACKEND.format(True, "A_SPARSE: [kv_cache_dtype not supported]"))
    assert "--kv-cache-dtype" in held.fix
    assert "A_SPARSE does not take the --kv-cache-dtype" in held.what
    assert "(fp8_e4m3)" in held.what
    named = "ValueError: Selected backend AttentionBackendEnum.A_MLA is not valid for this"
    named += " configuration. Reason: ['{} not supported']"
    assert of(named.format("kv_cache_dtype")).cause == held.cause
    assert of(named.format("sparse")).cause == "vllm-no-backend"
    assert "['sparse not supported']" in of(named.format("sparse")).fix


def test_a_key_of_a_dictionary_is_no_pipeline() -> None:
    """`residual` is a word of anybody's."""
    frame = '  File "/v/sglang/srt/{}", line 7, in forward'
    end = ["KeyError: 'residual'"]

    assert of(*end, vllm=False).cause == UNKNOWN
    assert of(frame.format("utils/log.py"), *end).cause == UNKNOWN
    assert of(frame.format("models/glm5_next.py"), *end).cause == "pipeline-not-for-model"


# -- what a log told before the end -------------------------------------------------------------

TIMEOUT = "TimeoutError: Timed out waiting for engine core processes to start."
SLOW = "Loading safetensors checkpoint shards:  40% Completed | 19/48 [53:50<1:22:10, {}s/it]"


@pytest.mark.parametrize(
    ("before", "end", "says"),
    [
        (SLOW.format("170.02"), TIMEOUT, "170.02 s a shard"),
        (SLOW.format("1.02"), TIMEOUT, ""),
        (
            "Auto-prefetch is disabled because the filesystem (VIRTIOFS) is not a network FS",
            TIMEOUT,
            "--safetensors-load-strategy=prefetch",
        ),
        (
            "Estimated CUDA graph memory: 20.88 GiB",
            "No available memory for the cache blocks",
            "20.88",
        ),
        ("Estimated CUDA graph memory: 2.88 GiB", "No available memory for the cache blocks", ""),
        ("Estimated CUDA graph memory: 20.88 GiB", TIMEOUT, ""),
        (
            "h:1:2 [0] NCCL INFO MNNVL busId 0x8 fabric UUID 0.0 cliqueId 0x1 state 3 healthMask 0xaa",
            "Segmentation fault (core dumped)",
            "NCCL_MNNVL_ENABLE=0",
        ),
        (
            "h:1:2 [0] NCCL INFO MNNVL busId 0x8 fabric UUID 0.0 cliqueId 0x0 state 3 healthMask 0x0",
            "Segmentation fault (core dumped)",
            "",
        ),
    ],
)
def test_what_was_said_before_comes_first_in_the_advice(before: str, end: str, says: str) -> None:
    found, alone = diagnose([before, end]), diagnose([end])

    assert found.cause == alone.cause != UNKNOWN
    assert found.fix.endswith(alone.fix)
    assert (says in found.fix) if says else found.fix == alone.fix
    assert bool(says) is (found.fix != alone.fix)


def test_what_stands_beside_a_cause_is_a_note_of_a_cause_that_is_there() -> None:
    beside = [row for row in failures().values() if row.beside]

    assert len(beside) >= 5
    for row in beside:
        assert row.weight == "note", row.id
        assert set(row.beside) <= set(failures()), row.id


def test_a_server_that_starts_slowly_and_serves_has_no_advice() -> None:
    lines = [SLOW.format("170.02"), "(APIServer pid=1) INFO:     Application startup complete."]

    assert not diagnose(lines).is_known


def test_memory_that_nccl_did_not_find_is_in_its_advice() -> None:
    raised = f"{VLLM}ncclUnhandledCudaError: Call to CUDA function failed."
    memory = f"{VLLM}Cuda failure 2 'out of memory'"
    other = f"{VLLM}Cuda failure 1 'invalid argument'"

    assert "LOWER --gpu-memory-utilization" in diagnose([raised, memory]).fix
    assert "LOWER" not in diagnose([raised, other]).fix
