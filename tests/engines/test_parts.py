"""What is within the JSON of an option: what a release refuses there, and what nobody judges."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest
from conftest import VLLM_ENGINE
from hypothesis import given
from hypothesis import strategies as st

from launcher.engines.engine import dialect
from launcher.engines.parts import KINDS, unjudged, wrong_part

CATALOGUE = dialect("vllm").options
NEWEST = CATALOGUE.release(CATALOGUE.newest)
PARTS = {
    "on": "bool",
    "maybe": "null|bool",
    "count": "int>0|null",
    "share": "float>=0<=1",
    "name": "str|null",
    "mode": "~'NONE'|~'FULL'|0|3",
    "kind": "'a'|'b'",
    "many": "list",
    "extra": "dict",
    "inner": "object",
    "inner.on": "bool",
    "open": "",
}
TAKEN: list[dict[str, Any]] = [
    {"on": True}, {"on": "True"}, {"on": "off"}, {"on": 1}, {"maybe": None}, {"count": 3},
    {"count": "3"}, {"count": None}, {"share": 0}, {"share": "0.5"}, {"name": "x"}, {"name": None},
    {"mode": "full"}, {"mode": "FULL"}, {"mode": 3}, {"kind": "b"}, {"many": []}, {"many": [1]},
    {"extra": {"a": {"b": 1}}}, {"inner": {"on": False}}, {"inner.on": "no"}, {"open": [{"a": 1}]}, {},
]  # fmt: skip
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"on": "maybe"}, 'on wants true or false, not "maybe"'),
    ({"on": None}, "on wants true or false, not null"),
    ({"on": 2}, "not 2"),
    ({"count": 0}, "count wants a whole number > 0, not 0"),
    ({"count": 1.5}, "not 1.5"),
    ({"share": 2}, "a number >= 0 and <= 1"),
    ({"share": "x"}, 'not "x"'),
    ({"name": 3}, "name wants text, not 3"),
    ({"mode": "ful"}, "one of NONE, FULL, not \"ful\"; did you mean FULL?"),
    ({"mode": 2}, "not 2"),
    ({"kind": "B"}, "one of a, b"),
    ({"many": "a,b"}, "a list"),
    ({"extra": 3}, "an object"),
    ({"inner": "on"}, "an object"),
    ({"inner": {"on": "x"}}, "inner.on wants true or false"),
    ({"inner": {"of": True}}, "has no inner.of"),
    ({"name-": 3}, "has no name-"),
]  # fmt: skip


@pytest.mark.parametrize("value", TAKEN, ids=json.dumps)
def test_what_a_part_takes_is_let_through(value: dict[str, Any]) -> None:
    assert wrong_part("--x", PARTS, json.dumps(value)) is None


@pytest.mark.parametrize(("value", "why"), REFUSED, ids=lambda one: json.dumps(one))
def test_what_a_part_does_not_take_is_told_with_its_place(value: Any, why: str) -> None:
    assert why in (wrong_part("--x", PARTS, json.dumps(value)) or "")


@pytest.mark.parametrize(
    ("value", "left"),
    [
        ({"on": True, "mode": 3}, ()),
        ({"inner": {"on": True}}, ()),
        ({"extra": {"a": 1}}, ("extra",)),
        ({"extra": {}}, ()),
        ({"many": [1, {"a": 2}], "open": 1}, ("many", "open")),
        ({"open": None}, ()),
    ],
)
def test_of_what_nobody_knows_it_is_said_that_it_is_not_judged(
    value: dict[str, Any], left: tuple[str, ...]
) -> None:
    assert unjudged(PARTS, json.dumps(value)) == left
    assert unjudged({}, json.dumps(value)) == ("",), "of an option whose parts nobody knows: all"


@given(
    st.text(), st.dictionaries(st.sampled_from([*PARTS, "x"]), st.none() | st.text() | st.floats())
)
def test_no_json_and_no_text_is_too_odd(text: str, value: dict[str, Any]) -> None:
    for odd in (text, json.dumps(value), "[" * 100_000, "null", '{"on": ' + "9" * 5000 + "}"):
        wrong_part("--x", PARTS, odd)
        unjudged(PARTS, odd)


@pytest.mark.parametrize("release", CATALOGUE.releases)
def test_every_part_of_every_release_takes_what_can_be_said(release: str) -> None:
    options = CATALOGUE.release(release).options.values()
    told = [takes for option in options for takes in option.parts.values()]
    alone = [one for takes in told for one in takes.split("|") if one]

    assert len(told) > 150
    assert sum(map(bool, told)) / len(told) > 0.8, "most of them are known"
    assert not [one for one in alone if not _can_be_read(one)]


def _can_be_read(takes: str) -> bool:
    kind = takes.partition(">")[0].partition("<")[0]
    return kind in KINDS or takes.lstrip("-").isdecimal() or takes.strip("~")[:1] == "'"


ODD = [None, True, "maybe", "3", 3, -1, 0, 2.5, "x", [], ["a"], {}]
REAL = """
import json, sys
from vllm.entrypoints.launchers.cli_args import make_arg_parser
from vllm.utils.argparse_utils import FlexibleArgumentParser

parser = FlexibleArgumentParser()
serve = parser.add_subparsers(dest="subparser").add_parser("serve")
make_arg_parser(serve)

def is_taken(name, text):
    [action] = [action for action in serve._actions if name in action.option_strings]
    try:
        action.type(text)
    except Exception:
        return False
    return True

print(json.dumps([is_taken(*one) for one in json.load(sys.stdin)]))
"""


@pytest.mark.engine("vllm")
def test_the_real_parser_refuses_each_value_that_is_said_to_be_refused() -> None:
    ran = CATALOGUE.release("0.32.0")
    asked = [
        (name, json.dumps(_whole(part, value)))
        for name, option in ran.options.items()
        if name.startswith("--") and option.type == "object" and name == option.name
        for part in option.parts
        for value in ODD
    ]
    ours = [wrong_part(name, ran.options[name].parts, text) is None for name, text in asked]
    said = subprocess.run(
        [VLLM_ENGINE / "engine/bin/python", "-c", REAL],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )

    assert said.returncode == 0, said.stderr[-2000:]
    real: list[bool] = json.loads(said.stdout.splitlines()[-1])
    wrong = [one for one, our, theirs in zip(asked, ours, real, strict=True) if theirs and not our]
    assert not wrong, "nothing that it takes is refused"
    assert sum(not one for one in ours) > 0.7 * sum(not one for one in real), "and most is told"


def _whole(part: str, value: Any) -> dict[str, Any]:
    for key in reversed(part.split(".")):
        value = {key: value}
    return dict(value)
