"""What is written comes back: for every form, `read(write(plan))` is the plan's command and
variables, in its image and with its GPUs.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from launcher.config.composed import Composed
from launcher.config.load import PlanRequest, load
from launcher.config.resolve import resolve
from launcher.engines.engine import dialect
from launcher.engines.target import Target
from launcher.errors import UserError
from launcher.formats import alone, quadlet
from launcher.formats.masking import TEMPLATE
from launcher.formats.reading import read
from launcher.formats.spec import RUN, Wish
from launcher.formats.writers import CONTAINERS, WRITERS
from launcher.plan.plan import Plan

PROFILES = sorted(path.stem for path in (Path(__file__).parents[2] / "profiles").glob("*.toml"))
# No file name, option or variable can hold a NUL; what is no character cannot be written at all.
TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30)
NAMES = st.from_regex(r"[A-Z_][A-Z0-9_]{0,9}", fullmatch=True)
AWKWARD = [
    "$HOME",
    "${X:-1}",
    "`id`",
    "a b",
    "",
    "'",
    '"',
    "\\",
    "%i",
    "%%",
    "{{ x }}",
    "<x>",
    "#",
    ";",
    "\n",
    "*",
    "~",
    "=~",
    "==x",
    "é“”—",
    "==",
]


FORMS = (*WRITERS, *CONTAINERS)
IMAGES = {
    "sglang": "docker.io/lmsysorg/sglang:v0.5.23",
    "vllm": "docker.io/vllm/vllm-openai:v0.33.0@sha256:" + 64 * "0",
}


@cache
def loaded(ask: PlanRequest) -> Composed:
    return load(ask, {"HOME": "/root"})


def planned(name: str, release: str = "0.5.23", key: str | None = None) -> Plan:
    ask = PlanRequest(name, api_key_file=key)
    return resolve(loaded(ask), ask, Path(RUN), {}, Target(release))


PLAN = planned("8xpro6000")


def written(plan: Plan, form: str) -> str:
    if form in WRITERS:
        return WRITERS[form](plan)
    return CONTAINERS[form](alone.spec(plan, Wish(IMAGES[plan.engine])))


def command(plan: Plan) -> tuple[tuple[str, ...], dict[str, str]]:
    return plan.arguments, plan.env


def comes_back(plan: Plan, form: str) -> None:
    text = written(plan, form)
    (launch,) = read(text).launches
    # what `up` gives it beside the plan's own
    beside = {"PATH", dialect(plan.engine).key.variable} - {*plan.env}
    env = {name: value for name, value in launch.env.items() if name not in beside}

    assert (launch.words, env) == command(plan), text
    assert launch.engine == plan.engine
    assert launch.image == (IMAGES[plan.engine] if form in CONTAINERS else "")
    if launch.around.gpus:
        assert launch.around.gpus.count == plan.gpus
    for word in launch.arguments:
        assert word.known or TEMPLATE.search(word.value)
        if word.span:
            assert text[slice(*word.span)] == word.value


@pytest.mark.parametrize("name", PROFILES)
def test_every_packaged_profile_comes_back(name: str) -> None:
    """In releases of all times; each form and profile begins with another."""
    keyed = planned(name, key="/etc/glm5/key")
    known = dialect(keyed.engine).options.releases
    for number, form in enumerate(FORMS):
        if form == "kubernetes" and keyed.nodes:
            continue  # pods find each other by other words: tests/formats/test_containers.py
        for release in known[(number + PROFILES.index(name)) % 12 :: 12]:
            comes_back(planned(name, release), form)
        comes_back(keyed, form)


def writable(plan: Plan, form: str) -> bool:
    """Whether a form can hold it: quadlet loses some words, and says so."""
    return form != "quadlet" or not quadlet.LOST & {*plan.arguments}


@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=50)
@given(words=st.lists(TEXT, max_size=4), env=st.dictionaries(NAMES, TEXT, max_size=3))
@example(words=[], env={"A": "<<"})
@example(words=AWKWARD, env={"A": "$HOME 'x' \"y\" \\ % ; \n é", "B": ""})
def test_any_value_comes_back(form: str, words: list[str], env: dict[str, str]) -> None:
    words = [word for text in words for word in ("--x", text)]
    plan = replace(PLAN, arguments=(*PLAN.arguments, *words), env=PLAN.env | env)
    if writable(plan, form):
        comes_back(plan, form)
    else:
        with pytest.raises(UserError, match="does not pass on"):
            written(plan, form)


@pytest.mark.parametrize("form", WRITERS)
@pytest.mark.parametrize("own", ["", "/own/bin:/usr/bin"])
def test_the_programs_beside_the_interpreter_come_first(form: str, own: str) -> None:
    """ninja is one, and kernels are compiled by it."""
    env = PLAN.env | ({"PATH": own} if own else {})
    plan = replace(PLAN, program=("/opt/an env/bin/python", *PLAN.program[1:]), env=env)
    [launch] = read(WRITERS[form](plan)).launches
    path = launch.env["PATH"]

    assert path.startswith("/opt/an env/bin:")
    assert path.removeprefix("/opt/an env/bin:") == own or not own
    assert own or "/usr/bin" in path or path.endswith(":$PATH")
    assert WRITERS[form](plan).count("PATH=") == 1


@pytest.mark.parametrize("form", WRITERS)
def test_an_interpreter_that_path_finds_changes_no_path(form: str) -> None:
    assert "PATH=" not in WRITERS[form](replace(PLAN, program=("python3",)))


def test_systemd_takes_a_unit_with_a_path(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    python = tmp_path / "env 1%/bin/python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    unit = tmp_path / "glm.service"
    unit.write_text(WRITERS["systemd"](replace(PLAN, program=(str(python), *PLAN.program[1:]))))
    done = subprocess.run(
        ["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, timeout=60
    )

    assert (done.returncode, done.stderr) == (0, "")
