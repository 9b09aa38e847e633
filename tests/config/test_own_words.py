"""Whatever is wrong with a value, its author reads our words for it, and where he set it."""

from __future__ import annotations

import datetime as dt
import itertools
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from pydantic import ValidationError
from pydantic_core import _pydantic_core

from launcher.config import errors, words
from launcher.config.layers import Layer, canonical, overlay
from launcher.config.load import PlanRequest, load
from launcher.config.profile import Profile, by_role
from launcher.engines.engine import NAMES, dialect
from launcher.errors import UserError

ALL = _pydantic_core.list_all_errors()
# The beginning of each sentence of pydantic's, up to what it fills in.
THEIRS = [
    re.escape(piece)
    for one in ALL
    for template in (one["message_template_python"], one.get("message_template_json", ""))
    if len(piece := template.partition("{")[0].strip()) > len("Value")
]
PYDANTIC = re.compile("|".join(sorted(set(THEIRS))))
ODD: tuple[Any, ...] = (
    *(None, True, 0, -1, 3, 10**30, 0.5, float("nan"), float("inf"), -1e300),
    *("", " ", "a b", "x=y", "-x", "\udcff", "x" * 5000, "a\0b", "é/:", "("),
    *([], [[]], [True], [{}], ["x"] * 2, [0] * 70, {}, {"a": 1}, {"x": {"y": []}}),
    *(dt.date(2026, 1, 1), dt.time(12), dt.datetime(2026, 1, 1, tzinfo=dt.UTC)),
)


def nodes_of(schema: Any) -> Iterator[Mapping[str, Any]]:
    """All that the validators of a model consist of."""
    if isinstance(schema, dict):
        yield schema
    for inner in schema.values() if isinstance(schema, dict) else schema:
        if isinstance(inner, dict | list | tuple):
            yield from nodes_of(inner)


def keys() -> Iterator[tuple[str, ...]]:
    """Each place of a profile where a value can stand, and some where none can."""
    schema = Profile.model_json_schema()
    for name, told in schema["properties"].items():
        yield (name,)
        for one in (told, *told.get("anyOf", ())):
            table = schema["$defs"].get(one.get("$ref", "").rpartition("/")[2], {})
            yield from ((name, key.replace("_", "-")) for key in table.get("properties", {}))
            yield from ((name, key) for key in table.get("properties", {}))
    stalls = schema["$defs"]["Stalls"]["properties"]
    yield from (("supervision", "stall_timeouts", phase) for phase in stalls)
    yield from (("env", "A"), ("env", "1 x"), ("why", "A"), ("flags", "foo"), ("no such",))


def told_of(tree: dict[str, Any], kind: str) -> list[str]:
    """What is said of a profile's values."""
    layer, _ = canonical(Layer("HERE", tree), dialect(kind).options)
    values, origin = overlay([layer])
    flags = values.get("flags")
    roles = {"flags": by_role(flags, kind)} if isinstance(flags, dict) else {}
    try:
        Profile.model_validate(values | roles)
    except ValidationError as error:
        return errors.in_words(error, origin, Path("FILE"), dialect(kind))
    return []


@pytest.mark.parametrize("kind", NAMES)
def test_no_value_of_any_key_is_told_in_other_words_than_ours(kind: str) -> None:
    raised = set()
    for path, value in itertools.product(keys(), ODD):
        tree: dict[str, Any] = {"flags": {dialect(kind).option_of("model_path"): "m"}}
        table = tree
        for part in path[:-1]:
            table = table.setdefault(part, {})
        table[path[-1]] = value
        for line in told_of(tree, kind):
            place, key, what = line.split(": ", 2)

            assert place in ("HERE", "FILE"), line
            assert key, line
            assert not PYDANTIC.search(line), line
            assert words.UNKNOWN not in what, line
            assert len(line) < 400, line
            raised.add(what.partition(", not ")[0])

    assert raised > {"wanted a whole number", "wanted a table", "is required", "unknown key"}


def test_lists_are_told_by_the_item() -> None:
    for tree, told in (
        ({"smoke": {"questions": [{"ask": ""}]}}, "smoke.questions[0].ask: wanted some text"),
        ({"smoke": {"questions": [3]}}, "smoke.questions[0]: wanted a table, not 3"),
        ({"canary": {"asks": ["fact", "x"]}}, "canary.asks[1]: wanted 'fact', 'context'"),
        ({"nodes": {"hosts": ["10.0.0.1", "a"]}}, "nodes.hosts[1].address: wanted the address"),
        ({"nodes": {"hosts": ["10.0.0.1"]}}, "nodes.hosts: wanted 2 of them or more"),
        ({"env": {"1x": "a"}}, "env.1x: wanted the name of a variable"),
        ({"flags": {"foo": ["-a"]}}, "flags.foo: argparse takes an item that begins with a dash"),
        ({"flags": {"foo": [1, True]}}, "flags.foo: wanted numbers or text in the list, not true"),
        ({"flags": {"foo": float("nan")}}, "flags.foo: wanted a number, and a finite one"),
        ({"supervision": {"start_timeout": 1e9}}, "wanted 2,592,000 or less, not 1000000000.0"),
    ):
        said = "\n".join(
            told_of({**tree, "flags": {"model-path": "m", **tree.get("flags", {})}}, "sglang")
        )

        assert told in said, said
        assert len(said.splitlines()) == 1, said


def test_every_kind_of_error_that_pydantic_has_is_told_in_our_words() -> None:
    assert len(ALL) > 90
    for one in ALL:
        context = {"error": ValueError("ours"), **(one["example_context"] or {})}
        told = words.wanted({"type": one["type"], "ctx": context, "input": 3, "loc": ("a",)})

        assert not PYDANTIC.search(told), one
        assert told == told.strip(), one


def test_every_check_of_the_models_has_words_of_its_own() -> None:
    """Each pattern, each bound and each type that stands in the validators."""
    bounds = {"ge": "greater_than_equal", "gt": "greater_than", "le": "less_than_equal"}
    bounds |= {"lt": "less_than", "multiple_of": "multiple_of", "max_digits": "decimal_max_digits"}
    sizes = {
        "list": {"min_length": "too_short", "max_length": "too_long"},
        "dict": {"min_length": "too_short", "max_length": "too_long"},
        "str": {"min_length": "string_too_short", "max_length": "string_too_long"},
    }
    types = {"str": "string_type", "int": "int_type", "float": "float_type", "bool": "bool_type"}
    types |= {"list": "list_type", "dict": "dict_type", "model": "model_type"}
    types |= {"literal": "literal_error"}
    plain = {"model-fields", "model-field", "default", "no-info", "nullable", "chain", "union"}
    plain |= {"function-after", "function-before", "function-wrap", "with-info", "definitions"}
    met = set()
    for node in nodes_of(Profile.__pydantic_core_schema__):
        if not isinstance(kind := node.get("type"), str):
            continue
        met.add(kind)
        wanted = [name for key, name in bounds.items() if key in node and kind in ("int", "float")]
        wanted += [name for key, name in sizes.get(kind, {}).items() if key in node]
        wanted += [types[kind]] if kind in types else []
        wanted += ["finite_number"] if node.get("allow_inf_nan") is False else []
        for name in wanted:
            assert name in words.WANTED, (name, node)
        if kind == "str" and "pattern" in node:
            assert node["pattern"] in words.PATTERNS, node

    assert met - plain == set(types), met - plain


def test_no_error_of_pydantic_is_read_elsewhere() -> None:
    caught = re.compile(r"except \(?[\w, .]*\bValidationError\b[\w, .]*\)?(?: as (\w+))?:")
    files = 0
    for path in (ROOT / "launcher").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        for name in caught.findall(text):
            files += 1
            read = rf"""\[['"]msg|\bstr\({name}\)|\bin_words_of\({name}\)|{{{name}[}}!:]"""
            assert not (name and re.search(read, text)), path

    assert files >= 3


def test_a_secret_is_no_part_of_what_is_wrong_with_it() -> None:
    tree = {"flags": {"model-path": "m"}, "env": {"HF_TOKEN": ["hunter2"], "NCCL_DEBUG": ["I"]}}
    said = "\n".join(told_of(tree, "sglang"))

    assert "HF_TOKEN: wanted text" in said
    assert "hunter2" not in said
    assert 'NCCL_DEBUG: wanted text, not ["I"]' in said


def refused(environ: Mapping[str, str], *settings: str, profile: str = "8xpro6000") -> str:
    with pytest.raises(UserError) as error:
        load(PlanRequest(profile, settings), {"HOME": "/nonexistent", **environ})
    return error.value.what


@pytest.mark.parametrize(
    ("variable", "value", "key"),
    [
        ("GLM5_SERVE__FLAGS__PORT", "x", "flags.port"),
        ("GLM5_SERVE__FLAGS__TENSOR_PARALLEL_SIZE", "x", "flags.tensor-parallel-size"),
        ("GLM5_SERVE__FLAGS__HOST", "http://x", "flags.host"),
        ("GLM5_SERVE__FLAGS__API_KEY", "x", "flags.api-key"),
        ("GLM5_SERVE__FLAGS__NCCL_PORT", "-1", "flags.nccl-port"),
        ("GLM5_SERVE__ENGINE__KIND", "3", "engine.kind"),
        ("GLM5_SERVE__SUPERVISION__STALL_TIMEOUTS__KV", "x", "supervision.stall_timeouts.kv"),
        ("GLM5_SERVE__ENV__HF_TOKEN", "x", "env.HF_TOKEN"),
        ("GLM5_SERVE__RULES__SKIP", '["nope"]', "rules.skip"),
        ("GLM5_SERVE__WHY__NOPE", "x", "why.nope"),
        ("GLM5_SERVE__SMOKE__WITHIN", "-3", "smoke.within"),
        ("GLM5_SERVE__DESCRIPTION", "3", "description"),
        ("GLM5_SERVE__NOPE", "3", "nope"),
    ],
)
def test_a_value_from_a_variable_or_a_setting_is_told_by_what_set_it(
    variable: str, value: str, key: str
) -> None:
    said = refused({variable: value})
    assert f"{variable}: {key}: " in said, said
    assert "environment" not in said

    said = refused({}, f"{key}={value}")
    assert f"--set: {key}: " in said, said


def test_an_option_that_two_variables_set_is_told_by_one() -> None:
    said = refused({"GLM5_SERVE__FLAGS__TP": "4", "GLM5_SERVE__FLAGS__TP_SIZE": "8"})

    assert "GLM5_SERVE__FLAGS__TP_SIZE: flags.tp-size: the same option as tp" in said


NO_HOSTS = ("", " ", "http://x", "a b", ":8000", "1.2.3.4:80", "256.1.1.1", "[::1]:80", "x/y")
HOSTS = ("127.0.0.1", "0.0.0.0", "::", "::1", "[::1]", "localhost", "host-1.example", "a_b")


@pytest.mark.parametrize("profile", ["8xpro6000", "8xpro6000-vllm"])
def test_what_can_be_no_address_is_told_at_once(profile: str) -> None:
    for host in NO_HOSTS:
        said = refused({}, f"flags.host={host}", profile=profile)
        assert (
            f"flags.host: wanted an address or a name of this host, as 127.0.0.1 is, not {host!r}"
            in said
        )
    for port in ("0", "-1", "65536", "x", "1.5", "true", "[1]"):
        assert "flags.port: wanted" in refused({}, f"flags.port={port}", profile=profile)
    for host in HOSTS:
        load(PlanRequest(profile, (f"flags.host={host}",)), {"HOME": "/nonexistent"})


def test_other_addresses_of_an_engine_are_held_to_the_same() -> None:
    for setting in (
        "flags.nccl-port=70000",
        "flags.disaggregation-bootstrap-port=x",
        "flags.dist-init-addr=10.0.0.1",
        "flags.dist-init-addr=http://x",
        "flags.dist-init-addr=:5000",
    ):
        assert "--set: flags." in refused({}, setting)
    for setting in ("flags.master-port=70000", "flags.master-addr=a b", "flags.grpc-port=-1"):
        assert "--set: flags." in refused({}, setting, profile="8xpro6000-vllm")
    for setting in (
        "flags.nccl-port=0",
        "flags.dist-init-addr=10.0.0.1:5000",
        "flags.dist-init-addr=tcp://[::1]:5000",
        "flags.dist-init-addr=host-0.svc:5000",
        "flags.nccl-port=false",
        "flags.enable-http-worker-reuseport=true",
    ):
        load(PlanRequest("8xpro6000", (setting,)), {"HOME": "/nonexistent"})
