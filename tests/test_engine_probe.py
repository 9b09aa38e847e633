"""The engine's interpreter, asked in a child: real interpreters, and things that are none."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import psutil
import pytest
from conftest import RIG

from launcher.facts import Engine, known
from launcher.probes.engine import engine

REAL = Path.home() / ".cache/glm5-serve/cpu-demo/engine/bin/python"


def ask(python: str | Path, deadline: float = 60.0, **env: str) -> Engine:
    return engine(str(python), {**os.environ, **env}, deadline)


def script(folder: Path, text: str) -> Path:
    path = folder / "python"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_an_interpreter_tells_its_version_and_that_sglang_is_not_there() -> None:
    seen = ask(sys.executable)

    assert seen.python == known(sys.executable)
    assert seen.python_version == known(".".join(map(str, sys.version_info[:3])))
    assert "sglang" not in seen.packages.get()
    assert seen.pins.unknown == "SGLang has no metadata here"


def test_sglang_on_the_path_of_the_plans_environment_is_found() -> None:
    assert ask(sys.executable, PYTHONPATH=str(RIG / "stub")).packages.get()["sglang"] == "0.5.23"


def test_a_missing_interpreter_is_named() -> None:
    assert ask("/nowhere/python").python.unknown == (
        "the engine's interpreter /nowhere/python is missing or cannot be executed"
    )


def test_an_interpreter_that_hangs_costs_its_deadline_and_is_gone(tmp_path: Path) -> None:
    seen = ask(script(tmp_path, "sleep 600 & wait"), deadline=0.5)

    assert str(seen.packages.unknown).endswith("did not answer within 0.5 s")
    assert not [child for child in psutil.Process().children(recursive=True) if "sleep" in child.name()]


@pytest.mark.parametrize("text", ["echo hello", "exit 3", "echo '[1]'", "kill -9 $$", "echo oops >&2; exit 1"])
def test_what_is_no_python_says_so(tmp_path: Path, text: str) -> None:
    assert "is no working python" in str(ask(script(tmp_path, text)).python.unknown)


def test_a_file_that_cannot_be_run_says_so(tmp_path: Path) -> None:
    path = tmp_path / "python"
    path.write_bytes(b"\x7fELF nonsense")
    path.chmod(0o755)

    assert "cannot be executed" in str(ask(path).python.unknown)


def test_caches_of_kernels_are_seen_where_variables_put_them(tmp_path: Path) -> None:
    (tmp_path / "triton").mkdir()
    (tmp_path / "triton/kernel.so").touch()
    (tmp_path / ".cache/flashinfer").mkdir(parents=True)
    seen = ask(sys.executable, HOME=str(tmp_path), TRITON_CACHE_DIR=str(tmp_path / "triton"))
    files = {cache.path: cache.files for cache in seen.caches.get()}

    assert files == {str(tmp_path / ".cache/flashinfer"): 0, str(tmp_path / "triton"): 1}


def test_compilers_are_looked_for_where_cuda_is(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    script(tmp_path / "bin", "").rename(tmp_path / "bin/nvcc")

    assert ask(sys.executable, CUDA_HOME=str(tmp_path)).tools.get()["nvcc"] == str(tmp_path / "bin/nvcc")


@pytest.mark.engine
def test_the_real_engine_tells_its_releases_and_which_pins_are_not_met() -> None:
    if not REAL.exists():
        pytest.skip("the real engine is not installed (make engine)")
    seen = ask(REAL)

    assert seen.packages.get()["sglang"] == "0.5.23"
    assert seen.torch_cuda == known(None)
    pins = {pin.package: pin for pin in seen.pins.get()}
    assert pins["transformers"].satisfied
    assert not pins["sglang-kernel"].satisfied
