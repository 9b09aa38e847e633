"""Kernels that a GPU lacks, libraries that do not fit, configs that are too new: which one it was."""

from __future__ import annotations

import pytest

from launcher.diagnose.diagnosis import diagnose
from launcher.diagnose.verdict import Diagnosis
from launcher.engines import issues
from launcher.engines.failures import failures

VLLM = "(Worker_TP3 pid=41) ERROR 09-30 11:02:07 [multiproc_executor.py:1055] "
CORE = (
    "(EngineCore pid=17) ERROR 09-30 11:02:08 [core.py:1366] EngineCore encountered a fatal error."
)
SGLANG = "[2026-09-30 11:02:07 TP3] "
FORMS = {"bare": "", "vllm": VLLM, "named": "(EngineCore_DP1 pid=88) ", "sglang": SGLANG}


def frame(path: str, function: str) -> str:
    return f'  File "/opt/env/lib/python3.12/site-packages/{path}", line 77, in {function}'


def of(lines: list[str], form: str = "vllm") -> Diagnosis:
    return diagnose([FORMS[form] + line for line in lines] + ([CORE] if form == "vllm" else []))


def ptxas(arch: str, program: str = "triton/backends/nvidia/bin/ptxas") -> list[str]:
    return [
        "triton.runtime.errors.PTXASError: PTXAS error: Internal Triton PTX codegen error",
        "`ptxas` stderr:",
        f"ptxas fatal   : Value '{arch}' is not defined for option 'gpu-name'",
        "",
        f"Repro command: /v/{program} -lineinfo -v --gpu-name={arch} /tmp/a.ptx -o /tmp/a.o",
    ]


# -- compilers -------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("arch", ["sm_103a", "sm_120a", "sm_121a", "sm_110a"])
def test_the_assembler_of_triton_is_not_that_of_the_toolkit(arch: str, form: str) -> None:
    for lines in (ptxas(arch), ptxas(arch)[1:3], ptxas(arch)[4:], ptxas(arch)[:1]):
        found = of(lines, form)

        assert found.cause == "triton-ptxas-failed", lines
        assert "TRITON_PTXAS_PATH" in found.fix


def test_so_it_is_where_python_tells_first_that_the_program_failed() -> None:
    ran = "subprocess.CalledProcessError: Command '['/v/triton/backends/nvidia/bin/ptxas', '-v']'"
    odd = "ptxas-blackwell fatal   : Value 'sm_110a' is not defined for option 'gpu-name'"

    assert of([f"{ran} returned non-zero exit status 255.", *ptxas("sm_121a")]).cause == (
        "triton-ptxas-failed"
    )
    assert of([odd]).cause == "triton-ptxas-failed"


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("program", ["ptxas fatal   :", "nvcc fatal   :"])
def test_a_toolkit_that_is_too_old_is_the_toolkit_in_every_form(program: str, form: str) -> None:
    found = of([f"{program} Value 'sm_103a' is not defined for option 'gpu-name'"], form)

    assert found.cause == "cuda-toolkit-too-old"
    assert "CUDA_HOME" in found.fix


def test_of_other_failures_of_a_compiler_neither_is_said() -> None:
    found = of(["ptxas error   : Entry function 'k' uses too much shared data"])

    assert found.cause == "jit-failed"


# -- all-reduce --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        "Failed: Cuda error /build/csrc/custom_all_reduce.cuh:368 'an illegal memory access was encountered'",
        "Failed: Cuda error /build/csrc/custom_all_reduce.cuh:449 'unspecified launch failure'",
        "/build/csrc/custom_all_reduce.cuh:12: CUDA error: an illegal memory access was encountered",
    ],
)
def test_a_fault_in_the_engines_own_all_reduce_is_tried_without_it_first(line: str) -> None:
    found = diagnose([line, CORE])

    assert found.cause == "custom-allreduce-faulted"
    assert found.fix.startswith("--disable-custom-all-reduce first")
    assert "fuse_allreduce_rms" in found.fix  # in vLLM's words
    assert found.then == "again"  # it may have served for days


def test_what_is_refused_there_and_faults_elsewhere_are_other_causes() -> None:
    refused = "Failed: Cuda error /build/csrc/custom_all_reduce.cuh:310 'invalid argument'"
    fault = "torch.AcceleratorError: CUDA error: an illegal memory access was encountered"

    sglang = (
        "Failed: Cuda error /sgl-kernel/csrc/custom_all_reduce.cuh:9 'an illegal memory access'"
    )

    assert "fuse" not in diagnose([sglang]).fix
    assert diagnose([refused, CORE]).cause == "custom-allreduce-failed"
    assert of([frame("vllm/x.py", "forward"), fault]).cause == "illegal-memory-access"


# -- DeepGEMM, sparse attention ----------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "line",
    [
        "RuntimeError: Assertion error (/w/deepgemm-src/csrc/apis/../utils/layout.hpp:56): Unknown recipe",
        "RuntimeError: Assertion error (csrc/apis/layout.hpp:60): Unknown SF transformation",
        "tvm.error.InternalError: Assertion error (/deepgemm/csrc/utils/layout.hpp:76): Unknown recipe",
        "RuntimeError: Failed: Assertion error csrc/jit_kernels/impls/smxx_layout.hpp:136 'mn % 4 == 0'",
    ],
)
def test_scales_that_deep_gemm_does_not_know_are_told_in_every_form(line: str, form: str) -> None:
    found = of([line], form)

    assert (found.cause, found.family) == ("deep-gemm-layout", "no-kernel")


def test_another_assertion_of_deep_gemm_is_not_of_its_scales() -> None:
    line = "RuntimeError: Assertion error (/w/deepgemm-src/csrc/apis/attention.hpp:219): Unsupported architecture"

    assert of([line]).cause != "deep-gemm-layout"
    assert of(["AssertionError: layout.hpp is missing"]).cause != "deep-gemm-layout"


@pytest.mark.parametrize(
    "lines",
    [
        ["AttributeError: 'FlashInferMLASparseSM120Impl' object has no attribute 'masked_mha_available'"],
        ["AttributeError: 'OtherMLASparseImpl' object has no attribute 'masked_mha_workspace_fits'"],
        [
            frame("vllm/model_executor/layers/attention/mla_attention.py", "forward_impl"),
            frame("vllm/v1/attention/backend.py", "forward_mha"),
            "NotImplementedError",
        ],
    ],
)  # fmt: skip
def test_a_dense_prefill_that_sm120_lacks_wants_a_newer_vllm(lines: list[str]) -> None:
    found = of(lines)

    assert found.cause == "vllm-no-dense-prefill"
    assert found.fix.startswith("vLLM 0.32.0 or newer")


@pytest.mark.parametrize(
    "lines",
    [
        [frame("vllm/v1/attention/backend.py", "forward_mqa"), "NotImplementedError"],
        ["AttributeError: 'FlashInferImpl' object has no attribute 'workspace'"],
        [frame("vllm/x.py", "forward_mha"), "NotImplementedError: no LoRA here"],
    ],
)
def test_other_things_that_are_missing_are_not_it(lines: list[str]) -> None:
    assert of(lines).cause != "vllm-no-dense-prefill"


def test_no_backend_for_sparse_attention_is_a_matter_of_the_release_first() -> None:
    asked = (
        "AttentionSelectorConfig(head_size=576, kv_cache_dtype=fp8, use_mla=True, use_sparse={})"
    )
    line = f"ValueError: No valid attention backend found for cuda with {asked}"
    sparse, dense = of([line.format("True")]), of([line.format("False")])

    assert (sparse.cause, dense.cause) == ("vllm-no-sparse-backend", "vllm-no-backend")
    assert sparse.fix.startswith("on one of these GPUs: vLLM 0.32.0 or newer")
    assert sparse.what.index("Hopper") < sparse.what.index("0.24.0")
    assert "ninja" in sparse.fix


@pytest.mark.parametrize("form", ["bare", "vllm", "named"])
def test_rows_of_the_cache_without_rope_are_told_within_one_line_and_over_three(form: str) -> None:
    words = [
        "concat_and_cache_mla,",
        "/b/csrc/cache_kernels.cu:912,",
        "pe_dim must be 64 for fp8_ds_mla",
    ]
    whole = "RuntimeError: Worker failed with error '{}'"

    for lines in ([whole.format(" ".join(words))], whole.format("\n".join(words)).split("\n")):
        assert of(lines, form).cause == "vllm-rows-without-rope"


def test_tables_of_another_width_are_told_and_broadcasts_of_a_model_are_not() -> None:
    line = (
        "RuntimeError: The expanded size of the tensor ({0}) must match the existing size ({1}) at"
        " non-singleton dimension 1.  Target sizes: [{2}, {0}].  Tensor sizes: [{2}, {1}]"
    )

    assert of([line.format(3895, 3896, 40)]).cause == "vllm-table-too-narrow"
    assert of([line.format(34, 63, 1)]).cause == "unknown"
    assert of([line.format(3895, 3896, 40)], "sglang").cause == "unknown"


# -- packages, checkpoints -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "call",
    [
        "trtllm_batch_decode_with_kv_cache_mla() got an unexpected keyword argument 'kv_scale_format'",
        "trtllm_batch_decode_sparse_mla_dsv4() got an unexpected keyword argument 'swa_topk_lens'",
        "MultiLevelCascadeAttentionWrapper.plan() got an unexpected keyword argument 'kv_data_type'",
        "fp8_paged_mqa_logits() takes 7 positional arguments but 8 were given",
        "cutlass_fused_moe() missing 1 required positional argument: 'quant_scales'",
    ],
)
@pytest.mark.parametrize("form", FORMS)
def test_a_kernel_library_of_another_release_is_told(call: str, form: str) -> None:
    found = of([f"TypeError: {call}"], form)

    assert (found.cause, found.family) == ("kernel-library-unfit", "packages")


def test_a_function_of_the_model_or_the_engine_is_no_kernel_library() -> None:
    for call in ("__init__() got an unexpected keyword argument 'x'", "load() takes 1 positional"):
        assert of([f"TypeError: {call}"]).cause == "unknown"


@pytest.mark.parametrize(
    "lines",
    [
        [
            "huggingface_hub.errors.StrictDataclassClassValidationError: Class validation error for"
            " validator 'validate_layer_type':",
            "    ValueError: The `layer_types` entries must be in ('full_attention', 'moe') but got ['x']",
        ],
        [
            "ValueError: The `mlp_layer_types` entries must be in ('dense', 'sparse') but got ['odd']"
        ],
        [
            "huggingface_hub.errors.StrictDataclassFieldValidationError: Validation error for field"
            " 'index_topk_freq':",
            "    TypeError: Field 'index_topk_freq' expected int, got str (value: 'full')",
        ],
    ],
)
@pytest.mark.parametrize("form", FORMS)
def test_a_config_that_transformers_is_too_old_for_is_told(lines: list[str], form: str) -> None:
    found = of(lines, form)

    assert (found.cause, found.family) == ("config-unknown-to-transformers", "checkpoint")
    assert "transformers" in found.fix


def test_a_request_that_is_refused_says_nothing_of_a_config() -> None:
    line = "pydantic_core._pydantic_core.ValidationError: 1 validation error for ChatRequest"

    assert of([line]).cause != "config-unknown-to-transformers"


@pytest.mark.parametrize("form", FORMS)
def test_weights_that_do_not_go_into_a_class_of_transformers_tell_of_the_release(form: str) -> None:
    line = "ValueError: There is no module or parameter named 'model.layers.0.mixer.conv' in {}"
    ours, own = (line.format(name) for name in ("TransformersMoEForCausalLM", "Qwen3ForCausalLM"))

    assert of([ours], form).cause == "model-by-transformers"
    assert "newer" in of([ours], form).fix
    assert of([own], form).cause == "checkpoint-does-not-fit"


LAUNCH = "torch.AcceleratorError: CUDA error: unspecified launch failure"


@pytest.mark.parametrize("gpu", ["sm120", "sm90", "SM100-family GPUs", "sm_100f / sm_103f"])
def test_the_guard_of_a_kernel_for_another_gpu_comes_before_the_launch_failure(gpu: str) -> None:
    found = diagnose([f"This kernel only supports {gpu}.", LAUNCH])

    assert (found.cause, found.then) == ("no-kernel-for-gpu", "never")


@pytest.mark.parametrize("what", ["small batches", "smooth scaling", "4 experts"])
def test_a_kernel_that_only_supports_something_else_is_no_guard(what: str) -> None:
    assert diagnose([f"This kernel only supports {what}.", LAUNCH]).cause == "cuda-kernel-faulted"


SCALE = "weight_scale for layer 'parallel_lm_head'"


@pytest.mark.parametrize(
    ("said", "cause"),
    [
        (f"RuntimeError: NVFP4 {SCALE} was never loaded (still NaN)", "vllm-scale-not-loaded"),
        (f"RuntimeError: NVFP4 {SCALE} was loaded twice", "unknown"),
        (
            "ValueError: Unknown attention backend: 'TRITON'. Valid options are: A, B",
            "vllm-backend-unknown",
        ),
        ("ValueError: Unknown label: 'x'. Valid options are: A, B", "unknown"),
        (
            "ValueError: Cannot provide a placement group of placement_group_specs=[{'GPU': 1.0}]"
            " within 1800 seconds.",
            "vllm-ray-too-few-gpus",
        ),
        ("ValueError: Cannot remove a placement group", "unknown"),
    ],
)
def test_what_was_asked_of_vllm_is_no_fault_of_its_code(said: str, cause: str) -> None:
    worker = "(Worker_TP0 pid=301) ERROR 09-19 08:04:40 [multiproc_executor.py:966] "

    assert diagnose([f"{worker}WorkerProc failed to start.", worker + said]).cause == cause


def test_ranks_that_ray_is_warned_of_are_no_death() -> None:
    warned = (
        "(EngineCore_DP0 pid=89) WARNING 04-20 17:37:51 [ray_utils.py:352] Tensor parallel size (4)"
        " exceeds available GPUs (1). This may result in Ray placement group allocation failures."
    )
    assert not diagnose([warned]).is_known


# -- what is told of one GPU and release is so there ------------------------------------------------


def test_whoever_is_sent_to_tilelang_on_sm120_is_told_the_release_that_takes_it() -> None:
    """The same as `lint` says: the releases before refuse what is advised."""
    rows = issues.every_issue(["sglang"])
    issue = next(row for row in rows if row.id == "flash-attention-sm120")
    release = str(issue.remedies[0].release).removeprefix(">=")
    told = {row.id: row.told("sglang").fix for row in failures().values()}
    fixes = [fix for id, fix in told.items() if "tilelang" in id + fix]

    assert release == "0.5.22"
    assert len(fixes) >= 4
    assert all(release in fix for fix in fixes), fixes


NONE = "AttributeError: 'NoneType' object has no attribute 'shape'"


@pytest.mark.parametrize(
    ("code", "cause"),
    [
        ("batch_size = page_table_1.shape[0]", "stage-without-indices"),
        ("indices = page_table_1.unsqueeze(1)", "stage-without-indices"),
        ("batch_size = q_nope.shape[0]", "unknown"),
        ("batch_size = other_page_table_1.shape[0]", "unknown"),
        ("", "unknown"),  # a function alone is not sure, and `never` must be
    ],
)
@pytest.mark.parametrize("file", ["dsa_backend.py", "nsa_backend.py"])
def test_what_is_missing_is_the_indices_where_the_code_says_so(
    code: str, cause: str, file: str
) -> None:
    begins = f"{SGLANG}Scheduler hit an exception: Traceback (most recent call last):"
    at = frame(f"sglang/srt/layers/attention/{file}", "_forward_trtllm")
    missing = "unsqueeze" if "unsqueeze" in code else "shape"
    said = NONE.replace("shape", missing)

    assert diagnose([begins, at, f"    {code}", said]).cause == cause
    of_another = frame("sglang/srt/managers/scheduler.py", "run_batch")
    before = [begins, at, f"    {code}", "FooError: x", begins, of_another, "    x()", said]
    assert diagnose(before).cause == "unknown"


@pytest.mark.parametrize(
    ("said", "family"),
    [
        ("Check failed: Out of memory [NV_ERR_NO_MEMORY] (0x00000051) returned from x", "memory"),
        ("_iovaspaceCreateMapping: failed to allocate 0x176028 bytes for IOVA data", "memory"),
        ("Check failed: Timed out [NV_ERR_TIMEOUT] (0x00000065) returned from x", "hardware"),
    ],
)
def test_memory_that_the_driver_did_not_find_is_no_fault_of_the_hardware(
    said: str, family: str
) -> None:
    found = diagnose([f"[Mon Sep 14 23:16:52 2026] NVRM: {said}"])

    assert not found.is_known
    assert found.family == ("host-memory" if family == "memory" else "hardware")
