"""What each release of vLLM accepts: read from wheels, and held against the real parser of the one
that the tests run.
"""

from __future__ import annotations

import json
import subprocess
from functools import cache
from typing import Any

import pytest
from conftest import VLLM_ENGINE
from hypothesis import given, settings
from hypothesis import strategies as st

from launcher.engines import values
from launcher.engines.engine import dialect
from launcher.engines.members import whole

CATALOGUE = dialect("vllm").options
NEWEST = CATALOGUE.release(CATALOGUE.newest)
RAN = CATALOGUE.release("0.32.0")

# The functions that read values, as the catalogue calls them. `optional_type` and `parse_type` wrap
# one; three options fold their names by a lambda.
READ_BY = {
    "int": "int",
    "float": "float",
    "loads": "json",
    "parse_dataclass": "object",
    "union_dict_and_str": "json_or_text",
    "human_readable_int": "scaled",
    "human_readable_int_or_auto": "scaled_or_auto",
    "<lambda>": "name",
}
# Their names are looked up after the parser is done, in these.
LATER = {
    "--attention-backend": "sorted([*AttentionBackendEnum.__members__, 'AUTO'])",
    "--quantization": "sorted(QUANTIZATION_METHODS)",
    "--load-format": "sorted(_LOAD_FORMAT_TO_MODEL_LOADER)",
    "--tool-call-parser": "sorted(ToolParserManager.list_registered())",
    "--reasoning-parser": "sorted(ReasoningParserManager.list_registered())",
    "--optimization-level": "sorted(str(level.value) for level in OptimizationLevel)",
    "--config-format": "sorted([*_CONFIG_FORMAT_TO_CONFIG_PARSER, 'auto'])",
}
OF_THE_HOST = ("--mm-processor-device",)  # its choices
LISTS = ("--device-ids",)  # numbers or names, with commas between: any text
REAL = f"""
import contextlib, dataclasses, io, json, sys
from vllm.config import SpeculativeConfig
from vllm.entrypoints.launchers.cli_args import make_arg_parser
from vllm.config.vllm import OptimizationLevel
from vllm.model_executor.layers.quantization import QUANTIZATION_METHODS
from vllm.model_executor.model_loader import _LOAD_FORMAT_TO_MODEL_LOADER
from vllm.reasoning import ReasoningParserManager
from vllm.tool_parsers import ToolParserManager
from vllm.transformers_utils.config import _CONFIG_FORMAT_TO_CONFIG_PARSER
from vllm.utils.argparse_utils import FlexibleArgumentParser
from vllm.v1.attention.backends.registry import AttentionBackendEnum

parser = FlexibleArgumentParser()
serve = parser.add_subparsers(dest="subparser").add_parser("serve")
make_arg_parser(serve)

def reads(function):
    while inner := [cell.cell_contents for cell in getattr(function, "__closure__", None) or ()
                    if callable(cell.cell_contents)]:
        if "_type" not in function.__name__:
            break
        function = inner[0]
    return getattr(function, "__name__", None)

told = [dict(names=action.option_strings, nargs=action.nargs, type=reads(action.type),
             adds=type(action).__name__ == "_AppendAction",
             optional="optional_type" in getattr(action.type, "__qualname__", ""),
             choices=[str(choice) for choice in action.choices or () if choice is not None])
        for action in serve._actions]
later = {{{", ".join(f"{name!r}: {told}" for name, told in LATER.items())}}}

def parsed(words):
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            return parser.parse_args(["serve", "m", *words]).tensor_parallel_size
    except (SystemExit, Exception) as error:
        return None

def is_unknown(name, part):
    value = None
    for key in reversed(part.split(".")):
        value = {{key: value}}
    [action] = [action for action in serve._actions if name in action.option_strings]
    try:
        action.type(json.dumps(value))
    except Exception as error:
        return "unexpected_keyword" in str(error)
    return False

commands, parts = json.load(sys.stdin)
unknown = [f"{{name}} {{part}}" for name, part in parts if is_unknown(name, part)]
drafts = [field.name for field in dataclasses.fields(SpeculativeConfig) if field.init]
print(json.dumps([told, later, [parsed(words) for words in commands], unknown, drafts]))
"""


def ask_the_real_parser(commands: list[list[str]], parts: list[tuple[str, str]]) -> Any:
    ran = subprocess.run(
        [VLLM_ENGINE / "engine/bin/python", "-c", REAL],
        input=json.dumps([commands, parts]),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    return json.loads(ran.stdout.splitlines()[-1])


@cache
def real() -> tuple[dict[str, Any], dict[str, list[str]]]:
    told, later, *_ = ask_the_real_parser([], [])
    return {name: action for action in told for name in action["names"]}, later


@pytest.mark.engine("vllm")
def test_the_catalogue_says_what_the_real_parser_says() -> None:
    told, later = real()
    actions = {name: action for name, action in told.items() if name not in ("-h", "--help")}

    assert set(actions) == set(RAN.options)
    wrong = [
        (name, odd) for name, action in actions.items() if (odd := difference(name, action, later))
    ]
    assert not wrong


def difference(name: str, action: Any, later: dict[str, list[str]]) -> Any:
    option = RAN.options[name]
    takes = {0: "nothing", None: "one", "?": "maybe", "+": "many", "*": "many"}[action["nargs"]]
    if takes != option.takes:
        return "takes", takes
    if (action["adds"], option.name in later) != (option.adds, option.late):
        return "adds, late", option.adds, option.late
    if option.name in later:
        return later[option.name] != sorted(map(str, option.choices)) and later[option.name]
    if name not in OF_THE_HOST and sorted(action["choices"]) != sorted(map(str, option.choices)):
        return "choices", action["choices"]
    if (
        name not in LISTS
        and takes != "nothing"
        and READ_BY.get(action["type"], "str") != option.type
    ):
        return "type", action["type"], option.type
    return takes == "one" and action["optional"] != option.none and "none"


SIZES = "8192 8k 8K 1.5k 1.5K 8m 8M 1g 1G 1t 8Ki 8kb k K auto AUTO -1 -2 1e5 0x10 1_0 None".split()
WORDS: tuple[list[str], ...] = (
    ["-tp", "2"],
    ["-tp=2"],
    ["-tp2"],
    ["--tensor-parallel-size", "2"],
    ["--tensor_parallel_size", "2"],
    ["--tensor_parallel_size=2"],
    ["--tensor-parallel_size=2"],
    ["--tensor-par", "2"],
    ["--tensor_par=2"],
    ["--max-num"],
    ["--max-num-s", "4"],
    ["--no-such-option"],
    ["--port", "x"],
    ["--port", "1.5"],
    ["--gpu-memory-utilization", "0.5"],
    ["--gpu-memory-utilization", "half"],
    ["--gpu-memory-utilization=.5"],
    ["--kv-cache-dtype", "fp9"],
    ["--kv-cache-dtype=fp8_e4m3"],
    ["--moe-backend", "FlashInfer-Cutlass"],
    ["--moe-backend", "flashinfer"],
    ["--trust-remote-code=yes"],
    ["--trust-remote-code", "yes"],
    ["--no-trust-remote-code"],
    ["--enable-prefix-caching"],
    ["--no-enable-prefix-caching"],
    ["--disable-prefix-caching"],
    ["--no_enable_prefix_caching"],
    ["--tensor-parallel-size"],
    ["--served-model-name", "a", "b"],
    ["--max-num-seqs", "16", "stray"],
    ["-O3"],
    ["-O=3"],
    ["-O", "3"],
    ["-O"],
    ["-O", "4"],
    ["-O.mode", "3"],
    ["-O", '{"mode": 3}'],
    ["--optimization-level", "2"],
    ["-cc.mode=3"],
    ["-cc.mode", "3"],
    ["-cc.mode"],
    ["-cc.cudagraph_capture_sizes+", "1,2"],
    ["--cc.mode", "3"],
    ["-tp.x", "3"],
    ["-cc", '{"mode": 3}'],
    ["-cc", "notjson"],
    ["--compilation-config.mode", "3"],
    ["--speculative-config", '{"method": "mtp", "num_speculative_tokens": 3}'],
    ["--speculative-config", "mtp"],
    ["--speculative-config", "None"],
    ["--speculative-config.method", "mtp", "--speculative-config.num_speculative_tokens", "3"],
    ["--speculative_config.method=mtp"],
    ["--speculative-config.method"],
    ["--speculative.method", "mtp"],
    ["--kv-transfer-config.kv_connector_extra_config.a+", "1,2"],
    ["--allowed-origins", '["*"]'],
    ["--allowed-origins", "*"],
    ["--hf-overrides", '{"a": 1}'],
    ["--hf-overrides", "{a: 1}"],
    ["--no-such.method", "mtp"],
    ["--max-num-seqs", "None"],
    ["--max-num-seqs", "8k"],
    *(["--max-model-len", size] for size in SIZES),
    *(["--max-num-batched-tokens", size] for size in SIZES),
    *(["--kv-cache-memory-bytes", size] for size in SIZES),
)


@pytest.mark.engine("vllm")
def test_the_real_parser_refuses_what_the_catalogue_refuses() -> None:
    sizes = ask_the_real_parser(list(WORDS), [])[2]

    refused = [any(given_.problem for given_ in RAN.given(["m", *words])) for words in WORDS]
    odd = [
        words
        for words, ours, real_ in zip(WORDS, refused, sizes, strict=True)
        if ours != (real_ is None)
    ]
    assert not odd


@pytest.mark.engine("vllm")
def test_the_real_parser_knows_the_parts_of_json_that_the_catalogue_knows() -> None:
    with_parts = [RAN.options[name] for name in sorted(RAN.options) if name.startswith("--")]
    parts = [
        (option.name, part)
        for option in with_parts
        for part in (*option.parts, "no_such_part")
        if option.parts and option.type == "object"
    ]
    *_, unknown, drafts = ask_the_real_parser([], parts)

    assert len({name for name, _ in parts}) > 15
    assert unknown == [f"{name} {part}" for name, part in parts if part == "no_such_part"]
    assert sorted(RAN.options["--speculative-config"].parts) == sorted(drafts)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["-cc.no_such", "3"], "has no no_such"),
        (["-cc.pass_config.fuse_norm_quants", "true"], "did you mean pass_config.fuse_norm_quant?"),
        (["-cc", '{"pass_config": {"fuse_norm_quants": true}}'], "has no pass_config.fuse_norm_quants"),
        (["-cc.pass-config.eliminate_noops", "true"], "did you mean pass_config?"),
        (["--kv-transfer-config", '{"kv_conector": "X"}'], "did you mean kv_connector?"),
        (["--speculative-config.num_speculative_token", "3"], "did you mean num_speculative_tokens?"),
    ],
)  # fmt: skip
def test_a_part_of_json_that_a_release_does_not_know_is_refused(words: list[str], why: str) -> None:
    [told] = RAN.given(words)

    assert told.problem
    assert why in told.problem


@pytest.mark.parametrize(
    "words",
    [
        ["-cc.inductor_compile_config.x.y", "3"],  # any inductor's own
        ["--kv-transfer-config.kv_connector_extra_config.a", "3"],
        ["--hf-overrides.a.b", "3"],
        ["--pooler-config.what", "3"],  # it changes what it is given before it looks
        ["-cc.cudagraph_capture_sizes+", "1,2"],
        ["-cc", "{}"],
    ],
)
def test_what_nobody_knows_the_parts_of_is_left_alone(words: list[str]) -> None:
    assert not [one for one in RAN.given(words) if one.problem]


def test_a_size_counts_in_thousands_in_small_letters_and_in_1024_in_capitals() -> None:
    told = {"8k": 8000, "8K": 8192, "1.5k": 1500, "2m": 2_000_000, "2M": 2 << 20, "1G": 1 << 30}

    assert {text: values.scaled(text) for text in told} == told
    assert values.scaled_or_auto("AUTO") == -1


@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("--shutdown-timeout", "0.19.1"),
        ("--disable-prefix-caching", "0.33.0"),
        ("--max-num-queued-reqs", "0.29.0"),
        ("--tensor-parallel-size", "0.16.0"),
    ],
)
def test_an_option_is_there_from_its_release_on(name: str, first: str) -> None:
    assert CATALOGUE.accepted_by(name)[0] == first


def test_a_variable_is_read_in_the_releases_that_know_it() -> None:
    assert CATALOGUE.read_by("VLLM_USE_FLASHINFER_MOE_FP4") == ["0.16.0", "0.19.1", "0.23.0"]
    assert CATALOGUE.read_by("VLLM_ALLREDUCE_USE_FLASHINFER_PCIE_IPC")[0] == "0.30.0"
    assert not CATALOGUE.read_by("VLLM_ATTENTION_BACKEND")


def test_members_of_an_option_are_one_json() -> None:
    words = [
        "m",
        "--a.b",
        "1",
        "--speculative_config.method=mtp",
        "--speculative-config.x.y+",
        "1,z",
    ]
    told = {one.name: one.values for one in whole(NEWEST.given(words))}

    assert told["--speculative-config"] == ('{"method": "mtp", "x": {"y": ["1", "z"]}}',)


@given(
    st.lists(
        st.text(max_size=12)
        | st.sampled_from(
            [*sorted(NEWEST.options), "-O3", "-O", "-cc.a", "--speculative-config.a.b+"]
        ),
        max_size=8,
    )
)
@settings(deadline=None)
def test_no_command_line_is_a_traceback(words: list[str]) -> None:
    told = NEWEST.given(words)

    assert sum(one.count for one in told) == len(words)
    assert len(list(whole(told))) <= len(told)
