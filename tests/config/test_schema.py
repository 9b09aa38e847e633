"""The schema of profiles: what the code says, and what the files are held against."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest
from conftest import ROOT
from jsonschema import Draft202012Validator

from launcher.config import schema
from launcher.config.profile import known_keys

WRITTEN = ROOT / "docs/profile.schema.json"
VALIDATOR = Draft202012Validator(schema.to_json())


def test_the_schema_in_docs_is_the_one_that_the_code_gives() -> None:
    said = "`glm5-serve profiles schema > docs/profile.schema.json` writes it"
    assert json.loads(WRITTEN.read_text()) == schema.to_json(), said


def test_it_is_a_schema_and_every_key_has_a_meaning() -> None:
    Draft202012Validator.check_schema(schema.to_json())
    made = schema.to_json()
    tables = {"": made} | made["$defs"]

    assert {*made["properties"]} == {*known_keys(("x",))}
    for name, table in tables.items():
        for key, value in table["properties"].items():
            assert value["description"].endswith("."), (name, key)


@pytest.mark.parametrize("path", sorted((ROOT / "profiles").iterdir()), ids=lambda path: path.stem)
def test_the_packaged_profiles_keep_to_it(path: Path) -> None:
    assert [*VALIDATOR.iter_errors(tomllib.loads(path.read_text()))] == []


@pytest.mark.parametrize(
    "text",
    [
        "extend = 'card'",
        "operating_point = 'fast'",
        "[engine]\nkind = 'trtllm'",
        "[flags]\nport = '8000'",
        "[flags]\nport = 70000",
        "[flags.nested]\nx = 1",
        "[env]\nNCCL_DEBUG = true",
        "[env]\n'A B' = '1'",
        "[supervision]\nstart_timeout = -1",
        "[supervision.stall_timeouts]\nweight = 1",
        "[smoke]\nquestions = [{ expect = '42' }]",
        "[nodes]\nhosts = ['10.0.0.1']",
    ],
)
def test_what_a_profile_must_not_say_is_not_in_it(text: str) -> None:
    assert not VALIDATOR.is_valid(tomllib.loads(text))


@pytest.mark.parametrize(
    "text",
    [
        "[flags]\nport = false",
        "[flags]\nanything-of-the-engine = [1, 2]",
        "[env]\nNCCL_DEBUG = 1",
        "[nodes]\nhosts = ['10.0.0.1', { address = '10.0.0.2', interface = 'eth0' }]",
        "extends = 'card'\n[why]\nport = 'because'",
    ],
)
def test_what_a_profile_may_say_is_in_it(text: str) -> None:
    assert VALIDATOR.is_valid(tomllib.loads(text))
