"""What each release accepts: read from wheels, and held against the real parser of the newest."""

from __future__ import annotations

import json
import subprocess
from functools import cache
from typing import Any

import pytest
from conftest import ENGINE
from hypothesis import given, settings
from hypothesis import strategies as st
from rig import packaged

from launcher.engines import options, values
from launcher.engines.engine import NAMES, dialect
from launcher.engines.target import ARCHS

CATALOGUE = dialect("sglang").options
NEWEST = CATALOGUE.release(CATALOGUE.newest)


DEMO = ("0.5.23", "0.32.0")  # what the demo's profiles are for: it brings its own engine


@pytest.mark.parametrize("arch", ARCHS)
@pytest.mark.parametrize(
    ("engine", "release"),
    [(engine, release) for engine in NAMES for release in dialect(engine).options.releases],
)
def test_every_profile_is_accepted_by_every_release_on_every_architecture(
    engine: str, release: str, arch: str
) -> None:
    known = dialect(engine).options.release(release)
    for name in packaged.of(engine):
        plan = packaged.plan(name, release, arch)
        if not plan.gpus and release not in DEMO:
            continue
        problems = [given.problem for given in known.given(plan.arguments) if given.problem]

        assert not problems, name
        own = {name for name in plan.env if name.startswith(dialect(engine).variables)}
        assert not own - known.variables, name


# The functions that read values, as the catalogue calls them; `loads` is that of `json`.
READ_BY = {
    "int": "int",
    "float": "float",
    "human_readable_int": "size",
    "loads": "json",
    "json_list_type": "json",
    "parse_cuda_graph_config_arg": "json",
}
REAL = """
import argparse, json, sys
from sglang.srt.server_args import ServerArgs, prepare_server_args

parser = argparse.ArgumentParser(allow_abbrev=True)
ServerArgs.add_cli_args(parser)
told = [dict(names=action.option_strings, nargs=action.nargs, choices=list(map(str, action.choices or ())),
             type=getattr(action.type, "__name__", None)) for action in parser._actions]
def parsed(words):
    try:
        return vars(parser.parse_args(words))["tp_size"]
    except SystemExit:
        return None
print(json.dumps([told, [parsed(words) for words in json.load(sys.stdin)]]))
"""


def ask_the_real_parser(commands: list[list[str]]) -> Any:
    ran = subprocess.run(
        [ENGINE / "engine/bin/python", "-c", REAL],
        input=json.dumps(commands),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    return json.loads(ran.stdout.splitlines()[-1])


@cache
def real_actions() -> dict[str, Any]:
    return {name: action for action in ask_the_real_parser([])[0] for name in action["names"]}


@pytest.mark.engine
def test_the_catalogue_says_what_the_real_parser_says() -> None:
    real = {name: action for name, action in real_actions().items() if name not in ("-h", "--help")}

    assert set(real) == set(NEWEST.options)
    takes = {0: "nothing", None: "one", "?": "maybe", "+": "many", "*": "many"}
    wrong = []
    for name, action in real.items():
        option = NEWEST.options[name]
        if takes[action["nargs"]] != option.takes:
            wrong.append((name, "takes", action["nargs"], option.takes))
        if option.choices and sorted(action["choices"]) != sorted(map(str, option.choices)):
            wrong.append((name, "choices", action["choices"], option.choices))
        if action["nargs"] != 0 and READ_BY.get(action["type"], "str") != option.type:
            wrong.append((name, "type", action["type"], option.type))
    assert not wrong


@pytest.mark.engine
def test_the_real_parser_takes_every_packaged_command() -> None:
    profiles = packaged.of("sglang")
    plans = [packaged.plan(name, NEWEST.name, arch) for name in profiles for arch in ARCHS]

    _, sizes = ask_the_real_parser([list(plan.arguments) for plan in plans])

    assert sizes == [int(plan.flag("tp-size", "tp") or 1) for plan in plans]


SIZES = (
    "128k",
    "128K",
    "1.5M",
    "128Ki",
    "1.5Ki",
    "1G",
    "k",
    "1 k",
    "1ki",
    "",
    "1e5",
    "0x10",
    "1_0",
)


def test_a_size_may_have_a_suffix_where_the_release_takes_one() -> None:
    assert [values.size(text) for text in ("131072", "128k", "1.5M", "128Ki")] == (
        [131072, 128_000, 1_500_000, 131072]
    )
    for release, taken in (("0.5.9", False), ("0.5.10", True), ("0.5.16", True), ("0.5.23", True)):
        known = CATALOGUE.release(release)
        [short] = known.given(["--context-length", "128k"])
        [wrong] = known.given(["--context-length", "notanumber"])
        assert (short.problem is None) == taken
        assert "wants a whole number" in (wrong.problem or "")


@pytest.mark.engine
def test_the_real_parser_refuses_what_the_catalogue_refuses() -> None:
    commands = [
        ["--model-path", "m", *words]
        for words in (
            ["--tp", "2"],
            ["--cuda-graph-max-bs", "8"],
            ["--no-such-option"],
            ["--port", "x"],
            ["--port", "1.5"],
            ["--mem-fraction-static", "0.5"],
            ["--mem-fraction-static", "half"],
            ["--kv-cache-dtype", "fp8"],
            ["--kv-cache-dtype=fp8_e4m3"],
            ["--trust-remote-code=yes"],
            ["--trust-remote-code", "yes"],
            ["--tp-size"],
            ["--tp-size", "-1"],
            ["--context-length", "notanumber"],
            ["--context-length", "131072"],
            *(["--context-length", size] for size in SIZES),
            *(["--limit-mm-data-per-request", text] for text in ("notjson", "{}", '{"image": 8}')),
            ["--cuda-graph-max-bs", "16", '--model-loader-extra-config={"a": true, "b": 3}'],
            ["--cuda-graph-max-bs-decode", "16", '--model-loader-extra={"a": true, "b": 3}'],
            ["--served-model-name", "--not an option"],
            ["stray"],
        )
    ]

    _, sizes = ask_the_real_parser(commands)

    refused = [any(given.problem for given in NEWEST.given(words)) for words in commands]
    assert refused == [size is None for size in sizes]


def test_a_value_with_blanks_after_its_option_and_a_sign_is_no_value_of_the_one_before() -> None:
    words = ["--cuda-graph-max-bs", "16", '--model-loader-extra-config={"a": true, "b": 3}']
    [one, two] = NEWEST.given(words)

    assert one.values == ("16",)
    assert (two.name, two.values) == ("--model-loader-extra-config", ('{"a": true, "b": 3}',))


def test_renames_are_followed_both_ways() -> None:
    old, new = CATALOGUE.release("0.5.12"), CATALOGUE.release("0.5.23")

    assert old.renamed("--dsa-prefill-backend") == "--nsa-prefill-backend"
    assert new.renamed("--nsa-prefill-backend") == "--dsa-prefill-backend"
    assert new.renamed("--cuda-graph-max-bs") == "--cuda-graph-max-bs-decode"
    assert old.renamed("--tp-size") == "--tp-size"


def test_a_prefix_of_two_options_is_ambiguous_and_of_one_is_that_one() -> None:
    [one] = NEWEST.given(["--cuda-graph-max-bs", "8"])
    [two] = NEWEST.given(["--tp", "8"])

    assert (
        one.problem == "ambiguous: could be --cuda-graph-max-bs-decode, --cuda-graph-max-bs-prefill"
    )
    assert (two.problem, two.name) == (None, "--tp-size")


def test_a_release_that_is_not_known_is_taken_for_its_neighbour() -> None:
    assert CATALOGUE.nearest("0.5.99") == NEWEST.name
    assert CATALOGUE.nearest("0.5.15.post1") == "0.5.15"
    assert CATALOGUE.nearest("0.4.0") == CATALOGUE.releases[0]


@given(st.lists(st.text(max_size=12) | st.sampled_from(sorted(NEWEST.options)), max_size=8))
@settings(deadline=None)
def test_no_command_line_is_a_traceback(words: list[str]) -> None:
    told = NEWEST.given(words)

    assert sum(1 + len(given_.values) for given_ in told) >= len(words)


def test_what_is_like_no_name_is_taken_for_none() -> None:
    for word in ("--bogus", "--gpus", "-p", "--enable-pcie-oneshot-allreduce"):
        assert options.nearest_name(word, NEWEST) is None
    assert options.nearest_name("--mem-fraction-statc", NEWEST) == "--mem-fraction-static"
