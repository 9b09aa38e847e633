"""What is printed is what is run, through a real shell; and the golden commands of the packaged
profiles.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import TESTS
from hypothesis import given, settings
from hypothesis import strategies as st

from launcher.config.load import PlanRequest, load
from launcher.config.resolve import resolve
from launcher.engines.sglang.runtime import RUNTIME
from launcher.engines.target import Target
from launcher.formats import shell
from launcher.plan import plan
from launcher.plan.plan import Plan, Setting
from launcher.plan.policy import Policy
from launcher.redact.keys import read_key, write_key

GOLDEN = TESTS / "golden"
ENVIRON = {"HOME": "/home/user"}
CARD = (
    "--model lukealonso/GLM-5-NVFP4 --served-model-name glm-5 --reasoning-parser glm45"
    " --tool-call-parser glm47 --trust-remote-code --tp 8 --mem-fraction-static 0.95"
    " --max-running-requests 8 --kv-cache-dtype fp8_e4m3 --quantization modelopt_fp4"
    " --attention-backend flashinfer --moe-runner-backend flashinfer_cutlass"
    " --disable-custom-all-reduce --enable-flashinfer-allreduce-fusion --host 0.0.0.0 --port 8000"
)
CARD_ENV = (
    "NCCL_IB_DISABLE=1 NCCL_P2P_LEVEL=PHB NCCL_ALLOC_P2P_NET_LL_BUFFERS=1 NCCL_MIN_NCHANNELS=8"
    " OMP_NUM_THREADS=8 SAFETENSORS_FAST_GPU=1"
)


def planned(name: str, *settings: str, key: str | None = None, release: str = "0.5.23") -> Plan:
    ask = PlanRequest(name, settings, key)
    return resolve(load(ask, ENVIRON), ask, Path("/var/lib/glm5-serve") / name, {}, Target(release))


def plain(program: tuple[str, ...], env: dict[str, str], *words: str, **more: str) -> Plan:
    """A plan of nothing but a command."""
    fields = {
        "name": "x",
        "host": "127.0.0.1",
        "port": 1,
        "model": "m",
        "model_name": "m",
        "words": {},
    }
    made = {"program": program, "arguments": words, "env": env}
    return Plan(**made, policy=Policy(), settings=(), **fields, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "release"),
    [
        ("8xpro6000", "0.5.23"),
        ("8xpro6000", "0.5.16"),
        ("8xpro6000", "0.5.12"),
        ("8xb200-mtp", "0.5.23"),
        ("8xb200-glm52", "0.5.23"),
        ("8xb200-glm52", "0.5.20"),
        ("card", "0.5.23"),
        ("4xpro6000-glm53-flash", "0.5.23"),
        ("4xb300-glm53-flash", "0.5.23"),
        ("cpu-demo", "0.5.23"),
        ("8xpro6000-vllm", "0.33.0"),
        ("8xpro6000-vllm", "0.24.0"),
        ("8xb200-vllm", "0.32.0"),
    ],
)
def test_a_packaged_profile_renders_as_it_did(name: str, release: str) -> None:
    """GLM5_SERVE_GOLDEN=write writes the files anew: read the diff."""
    path, text = GOLDEN / f"{name}-{release}.sh", shell.write(planned(name, release=release))
    if os.environ.get("GLM5_SERVE_GOLDEN") == "write":
        path.write_text(text)

    assert text == path.read_text()


def test_the_card_is_kept_as_it_was_published() -> None:
    card = planned("card")

    assert " ".join(card.arguments) == CARD
    assert " ".join(f"{name}={value}" for name, value in card.env.items()) == CARD_ENV


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (True, ["--x"]),
        (False, []),
        (8, ["--x", "8"]),
        (0.9, ["--x", "0.9"]),
        ("a b", ["--x", "a b"]),
        ("-1", ["--x=-1"]),
        (-1, ["--x=-1"]),
        ("", ["--x", ""]),
        (["a", 1], ["--x", "a", "1"]),
        ([], []),
    ],
)
def test_a_value_becomes_the_words_that_argparse_takes(value: object, words: list[str]) -> None:
    assert plan.words_of("x", value) == words


WORD = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
NAME = st.from_regex(r"[A-Z_][A-Z0-9_]{0,10}", fullmatch=True).map("T_".__add__)
TELL = (
    "import json, os, sys\n"
    "print(json.dumps([sys.argv[1:], {k: v for k, v in os.environ.items() if k[:2] == 'T_'}]))"
)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(WORD | WORD.map("--".__add__), max_size=12), st.dictionaries(NAME, WORD, max_size=6)
)
def test_what_is_printed_is_what_is_run(words: list[str], env: dict[str, str]) -> None:
    text = shell.write(plain((sys.executable, "-c", TELL), env, *words))
    ran = subprocess.run(
        ["sh", "-c", text], capture_output=True, check=True, env={"PYTHONUTF8": "1"}, timeout=60
    )

    assert json.loads(ran.stdout) == [words, env]


def test_the_pasted_text_makes_the_key_file_that_up_makes(tmp_path: Path) -> None:
    key, config = tmp_path / "it's a key", tmp_path / "new folder/config.yaml"
    key.write_text("sekret==\n")
    argv = (sys.executable, "-c", "import os, sys; os.umask(0o77); print(oct(os.umask(0o22)))")
    text = shell.write(plain(argv, {}, key_file=str(key), key_config=str(config)))
    subprocess.run(["sh", "-c", text], check=True, capture_output=True, timeout=60)

    assert config.read_text() == 'api-key: "sekret=="\n'
    assert oct(config.stat().st_mode & 0o777) == "0o600"
    assert "sekret" not in text


def test_a_plan_goes_to_its_file_and_back() -> None:
    before = planned("8xpro6000", "env.X=1", key="/some/key")

    assert plan.loads(json.dumps(plan.to_json(before))) == before


@pytest.mark.parametrize(
    "text", ["{}", '{"schema": 2}', "[]", "null", '{"schema": 1}', '{"schema": 1, "program": []}']
)
def test_what_is_no_plan_is_refused(text: str) -> None:
    with pytest.raises((ValueError, KeyError, TypeError)):
        plan.loads(text)


def test_differences_are_said_line_by_line() -> None:
    old = planned("cpu-demo")
    new = planned("cpu-demo", "flags.port=1", "flags.device=false", "env.NEW=1", "engine.python=/p")

    assert plan.differences(old, new) == [
        "- --device cpu",
        "- --port 30100",
        "+ --port 1",
        "- python /home/user/.cache/glm5-serve/cpu-demo/engine/bin/python",
        "+ python /p",
        "+ NEW 1",
    ]
    assert plan.differences(old, old) == []


def test_every_value_knows_who_set_it_and_why() -> None:
    shown = {
        setting.name: setting for setting in planned("cpu-demo", "flags.port=1", key="/k").settings
    }

    assert shown["--port"] == Setting("--port", "1", "--set", "asked for by --set", option="port")
    assert shown["--device"].why == "no GPU is needed"
    assert shown["--device"].layer.endswith("profiles/cpu-demo.toml")
    assert shown["--config"].layer == "glm5-serve"


@pytest.mark.parametrize("raw", [b"sekret\r\n", b" sekret \n", b"\nsekret\n"])
def test_a_key_file_with_spaces_around_the_key_is_read_alike(tmp_path: Path, raw: bytes) -> None:
    key, made, pasted = tmp_path / "key", tmp_path / "made.yaml", tmp_path / "pasted.yaml"
    key.write_bytes(raw)
    key.chmod(0o600)
    write_key(str(made), RUNTIME.key.file % read_key(key))
    text = shell.write(plain(("true",), {}, key_file=str(key), key_config=str(pasted)))
    subprocess.run(["sh", "-c", text], check=True, timeout=60)

    assert pasted.read_bytes() == made.read_bytes()


def test_other_patience_is_a_difference() -> None:
    old, new = planned("cpu-demo"), planned("cpu-demo", "supervision.stop_timeout=1")

    assert plan.differences(old, new)
