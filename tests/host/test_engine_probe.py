"""The engine's interpreter, asked in a child: real interpreters, and things that are none."""

from __future__ import annotations

import ast
import contextlib
import os
import platform
import sys
import time
from pathlib import Path

import psutil
import pytest
from conftest import ENGINE, RIG, until

from launcher.engines.engine import dialect
from launcher.host.collectors import engine_child
from launcher.host.collectors.engine import CHILD, engine, engine_asked
from launcher.host.facts import Engine, Pin, known

SGLANG = (dialect("sglang").package, dialect("sglang").packages)

REAL = ENGINE / "engine/bin/python"
# A licence over several lines, as SGLang's own metadata has it: the blank-looking line does not end
# the fields.
METADATA = (
    "Metadata-Version: 2.4\nName: {}\nLicense:  Apache\n        \n    Version: 2.0\nVersion:"
    " {}\n{}\n\nVersion: 9"
)


def ask(python: str | Path, deadline: float = 60.0, **env: str) -> Engine:
    return engine(str(python), {**os.environ, **env}, *SGLANG, deadline)


def script(folder: Path, text: str) -> Path:
    path = folder / "python"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def install(folder: Path, name: str, version: str, *requires: str, info: str = "") -> None:
    """A distribution's metadata, as pip leaves it."""
    made = folder / (info or f"{name}-{version}.dist-info")
    made.mkdir(parents=True)
    fields = "\n".join(f"Requires-Dist: {text}" for text in requires)
    (made / ("METADATA" if made.suffix == ".dist-info" else "PKG-INFO")).write_text(
        METADATA.format(name, version, fields)
    )


def is_gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def source(folder: Path, path: str, text: str = "") -> None:
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    (folder / path).write_text(text)


def test_an_interpreter_tells_its_version_and_that_sglang_is_not_there() -> None:
    seen = ask(sys.executable)

    assert seen.python == known(sys.executable)
    assert seen.python_version == known(platform.python_version())
    assert "sglang" not in seen.packages.get()
    assert seen.pins.unknown == "sglang has no metadata here"
    assert seen.torch_cuda.unknown == "torch is not installed"


def test_sglang_on_the_path_of_the_plans_environment_is_found() -> None:
    seen = ask(sys.executable, PYTHONPATH=str(RIG / "stub"))

    assert (seen.packages.get()["sglang"], seen.pins) == ("0.5.23", known(()))


def test_an_interpreter_is_looked_for_in_the_plans_path_and_told_in_full(tmp_path: Path) -> None:
    python = script(tmp_path, f'exec {sys.executable} "$@"')

    assert ask("python", PATH=f"{tmp_path}:{os.defpath}").python == known(str(python))
    assert ask(os.path.relpath(python)).python == known(str(python))


@pytest.mark.parametrize("name", ["/nowhere/python", "", "no-such-python", "a\0b"])
def test_a_missing_interpreter_is_named(name: str) -> None:
    said = f"the engine's interpreter {name} is missing or cannot be executed"

    assert {fact.unknown for fact in vars(ask(name)).values()} == {said}


def test_an_interpreter_that_hangs_costs_its_deadline_and_is_gone(tmp_path: Path) -> None:
    seen = ask(script(tmp_path, f"sleep 600 & echo $! > {tmp_path}/pid; wait"), deadline=0.5)
    pid = int((tmp_path / "pid").read_text())

    assert str(seen.packages.unknown).endswith("did not answer within 0.5 s")
    until(lambda: is_gone(pid), "no sleep left")


def test_an_interpreter_whose_answer_nobody_waits_for_is_gone(tmp_path: Path) -> None:
    began = tmp_path / "began"
    python = script(tmp_path, f"sleep 600 & echo $$ $! > {began}; wait")

    with contextlib.suppress(KeyboardInterrupt), engine_asked(str(python), os.environ, *SGLANG):
        until(lambda: began.exists() and began.read_text().endswith("\n"), "it runs")
        raise KeyboardInterrupt

    asked, sleep = map(int, began.read_text().split())
    assert not psutil.pid_exists(asked)
    until(lambda: is_gone(sleep), "no sleep left")


def test_the_engine_answers_while_something_else_is_done(tmp_path: Path) -> None:
    python = script(tmp_path, f'touch {tmp_path}/asked; exec {sys.executable} "$@"')

    with engine_asked(str(python), os.environ, *SGLANG) as answer:
        until((tmp_path / "asked").exists, "it was asked before its answer was")
        assert answer().python_version == known(platform.python_version())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("echo hello", "hello"),
        ("exit 3", "nothing"),
        ("echo '[1]'", "[1]"),
        ("kill -9 $$", "nothing"),
        ("echo oops >&2; exit 1", "oops"),
        ("exec yes", "y"),
        ("printf '{\"python_version\": [[['", '{"python_version": [[['),
        ("exec head -c 3000000 /dev/urandom", ""),
    ],
)
def test_what_is_no_python_says_so(tmp_path: Path, text: str, said: str) -> None:
    seen = ask(script(tmp_path, text))

    assert f"{tmp_path}/python is not a working python: it said {said}" in str(seen.python.unknown)


def test_a_file_that_cannot_be_run_says_so(tmp_path: Path) -> None:
    path = tmp_path / "python"
    path.write_bytes(b"\x7fELF nonsense")
    path.chmod(0o755)

    assert ask(path).python.unknown == f"{path} cannot be executed: exec format error"
    assert "cannot be executed" in str(
        engine(sys.executable, {"PATH": "/bin", "A=": "\0"}, *SGLANG).python.unknown
    )


def test_an_answer_of_another_shape_is_an_unknown_fact(tmp_path: Path) -> None:
    seen = ask(
        script(
            tmp_path, """echo '{"python_version": 3, "packages": [], "python": 1, "pins": [[]]}'"""
        )
    )

    assert seen.python == known(str(tmp_path / "python"))
    assert seen.python_version.unknown == "not readable: 3 is no str"
    assert (seen.packages.known, seen.pins.known) == (False, False)
    assert seen.tools.unknown == f"{tmp_path}/python did not say"


def test_what_start_up_hooks_print_does_not_hide_the_answer(tmp_path: Path) -> None:
    noise = (
        "import atexit, sys\nprint('hello', end='')\natexit.register(print, 'bye',"
        " file=sys.stderr)\n"
    )
    source(tmp_path, "usercustomize.py", noise)
    source(tmp_path, "sitecustomize.py", noise)

    assert ask(sys.executable, PYTHONPATH=str(tmp_path)).packages.known


def test_sglang_without_metadata_is_of_an_unknown_release(tmp_path: Path) -> None:
    source(tmp_path, "sglang/readme.txt")
    assert "sglang" not in ask(sys.executable, PYTHONPATH=str(tmp_path)).packages.get()
    source(tmp_path, "sglang/__init__.py", "raise SystemExit('imported')")
    assert ask(sys.executable, PYTHONPATH=str(tmp_path)).packages.get()["sglang"] == "unknown"


@pytest.mark.parametrize(
    ("text", "cuda"),
    [
        ("cuda: Optional[str] = '13.0'\n", known("13.0")),
        ('__version__ = "2"\ncuda = "12.8"\nhip = None\n', known("12.8")),
        ("cuda: Optional[str] = None\nhip: Optional[str] = '6.2'\n", known(None)),
    ],
)
def test_the_cuda_of_torch_is_read_and_torch_not_imported(
    tmp_path: Path, text: str, cuda: object
) -> None:
    source(tmp_path, "torch/__init__.py", "raise SystemExit('imported')")
    source(tmp_path, "torch/version.py", text)

    assert ask(sys.executable, PYTHONPATH=str(tmp_path)).torch_cuda == cuda


def test_a_torch_that_does_not_tell_its_cuda_is_unknown(tmp_path: Path) -> None:
    source(tmp_path, "torch/__init__.py")
    assert "No such file" in str(ask(sys.executable, PYTHONPATH=str(tmp_path)).torch_cuda.unknown)
    source(tmp_path, "torch/version.py", "git_version = 'cuda'")
    assert "does not name its CUDA" in str(
        ask(sys.executable, PYTHONPATH=str(tmp_path)).torch_cuda.unknown
    )


HERE = f"platform_machine == '{platform.machine()}'"


@pytest.mark.parametrize(
    ("requirement", "there", "pin"),
    [
        (
            "flashinfer_python[cu13]==0.6.18",
            "flashinfer_python 0.6.18",
            ("flashinfer-python", "==0.6.18", True),
        ),
        (
            "flashinfer-python==0.6.18",
            "flashinfer_python 0.6.17",
            ("flashinfer-python", "==0.6.18", False),
        ),
        ("torch==2.13.0", "torch 2.13.0+cu130", ("torch", "==2.13.0", True)),
        ("a>=1", "b 1", ("a", ">=1", False)),
        (
            f"a>=1; {HERE} and (sys_platform != 'linux' or python_version >= '3.9')",
            "a 1",
            ("a", ">=1", True),
        ),
        ("a>=1; python_version < '3.9'", "a 1", None),
        ("a>=1; extra == 'all'", "a 1", None),
        ("a @ https://a.example/a.whl", "a 1", None),
        ("a", "a 1", None),
    ],
)
def test_a_pin_is_what_sglangs_metadata_asks_of_this_machine(
    tmp_path: Path, requirement: str, there: str, pin: tuple[str, str, bool] | None
) -> None:
    name, version = there.split()
    install(tmp_path, "sglang", "0.5.21", requirement)
    install(tmp_path, name, version)
    seen = ask(sys.executable, PYTHONPATH=str(tmp_path)).pins.get()

    if pin is None:
        assert seen == ()
    else:
        assert seen == (Pin(pin[0], pin[1], version if name != "b" else None, pin[2]),)


def test_an_interpreter_without_what_reads_requirements_says_so(tmp_path: Path) -> None:
    install(tmp_path / "lib", "sglang", "0.5.21", "torch==2.13.0")
    bare = script(tmp_path, f'exec {sys.executable} -S "$@"')

    assert "neither packaging nor pip" in str(
        ask(bare, PYTHONPATH=str(tmp_path / "lib")).pins.unknown
    )


def test_the_child_is_written_for_python_3_9() -> None:
    ast.parse(CHILD.read_text(), feature_version=(3, 9))


def test_programs_that_compile_are_looked_for_where_they_are_used(tmp_path: Path) -> None:
    for path in ("cuda/bin/nvcc", "bin/nvcc", "bin/gcc", "lib/ninja/data/bin/ninja"):
        source(tmp_path, path)
        (tmp_path / path).chmod(0o755)
    source(tmp_path, "lib/ninja/__init__.py")
    env = {"PATH": f"{tmp_path}/bin", "PYTHONPATH": f"{tmp_path}/lib"}

    assert ask(sys.executable, **env, CUDA_HOME="").tools.get()["nvcc"] == f"{tmp_path}/bin/nvcc"
    seen = ask(sys.executable, **env, CUDA_HOME=f"{tmp_path}/cuda").tools.get()
    assert seen == {
        "nvcc": f"{tmp_path}/cuda/bin/nvcc",
        "ninja": f"{tmp_path}/lib/ninja/data/bin/ninja",
        "gcc": f"{tmp_path}/bin/gcc",
    }
    assert ask(sys.executable, PATH="/nowhere").tools.get()["gcc"] is None


def test_flashinfer_was_installed_when_it_came_here_and_not_when_its_wheel_was_made(
    tmp_path: Path,
) -> None:
    before = time.time() - 60
    source(tmp_path, "flashinfer/__init__.py")
    os.utime(tmp_path / "flashinfer/__init__.py", (0, 1000))

    assert ask(sys.executable, PYTHONPATH=str(tmp_path)).installed_at.get() > before
    assert ask(sys.executable).installed_at.unknown == "flashinfer is not installed"


@pytest.mark.parametrize(
    ("moved", "variables", "places"),
    [
        (
            False,
            {},
            [".cache/flashinfer", ".triton/cache", ".cache/deep_gemm", ".cache/tvm-ffi"],
        ),
        (
            False,
            {"FLASHINFER_WORKSPACE_BASE": "f", "TRITON_CACHE_DIR": "t", "SGLANG_DG_CACHE_DIR": "d"},
            ["f/.cache/flashinfer", "t", "d"],
        ),
        (
            False,
            {"TORCHINDUCTOR_CACHE_DIR": "i", "TVM_FFI_CACHE_DIR": "v", "SGLANG_JIT_CACHE_DIR": "j"},
            ["i", "v", "j"],
        ),
        (
            True,
            {},
            [
                f".cache/sglang/{name}"
                for name in (".cache/flashinfer", "triton", "inductor", "deep_gemm", "jit")
            ],
        ),
        (
            True,
            {"SGLANG_CACHE_DIR": "s", "TRITON_CACHE_DIR": "t"},
            ["s/.cache/flashinfer", "t", "s/deep_gemm"],
        ),
    ],
)
def test_caches_of_kernels_are_seen_where_this_sglang_keeps_them(
    tmp_path: Path, moved: bool, variables: dict[str, str], places: list[str]
) -> None:
    source(tmp_path, "lib/sglang/__init__.py")
    source(
        tmp_path, "lib/sglang/srt/environ.py", "def third_party_cache_defaults():" if moved else ""
    )
    for at, place in enumerate(places):
        source(tmp_path, f"{place}/below/kernel.so")
        os.utime(tmp_path / place / "below/kernel.so", (0, 1000 + at))
    source(tmp_path, ".cache/unused/kernel.so")
    there = {name: str(tmp_path / value) for name, value in variables.items()}
    seen = ask(
        sys.executable, HOME=str(tmp_path), PYTHONPATH=str(tmp_path / "lib"), **there
    ).caches.get()

    assert [(cache.path, cache.newest, cache.files) for cache in seen] == [
        (str(tmp_path / place), 1000.0 + at, 1) for at, place in enumerate(places)
    ]


@pytest.mark.parametrize(
    ("variables", "place"),
    [
        ({}, ".cache/vllm/deep_gemm"),
        ({"XDG_CACHE_HOME": "x"}, "x/vllm/deep_gemm"),
        ({"VLLM_CACHE_ROOT": "r"}, "r/deep_gemm"),
        ({"DG_JIT_CACHE_DIR": "d"}, "d"),
    ],
)
def test_the_kernels_of_deepgemm_are_seen_where_vllm_keeps_them(
    tmp_path: Path, variables: dict[str, str], place: str
) -> None:
    source(tmp_path, f"{place}/below/kernel.so")
    there = {name: str(tmp_path / value) for name, value in variables.items()}
    env = {**os.environ, "HOME": str(tmp_path), **there}
    seen = engine(sys.executable, env, "vllm", ["vllm"]).caches.get()

    assert [cache.path for cache in seen] == [str(tmp_path / place)]


def test_a_cache_is_looked_at_up_to_a_number_of_files(tmp_path: Path) -> None:
    for at in range(5):
        source(tmp_path, f"{at}/kernel.so")

    assert engine_child.cache(str(tmp_path), most=3)["files"] == 3


def test_a_name_that_is_no_text_is_told_readably(tmp_path: Path) -> None:
    place = os.fsencode(tmp_path) + b"/\xff"
    os.mkdir(place)  # noqa: PTH102  bytes
    seen = ask(sys.executable, TRITON_CACHE_DIR=os.fsdecode(place)).caches.get()

    assert f"{tmp_path}/?" in {cache.path for cache in seen}


@pytest.mark.engine
def test_the_real_engine_tells_its_releases_and_which_pins_are_not_met() -> None:
    seen = ask(REAL)

    assert seen.packages.get()["sglang"] == "0.5.23"
    assert seen.torch_cuda == known(None)
    pins = {pin.package: pin for pin in seen.pins.get()}
    assert pins["transformers"].satisfied
    assert (pins["flashinfer-python"].wanted, pins["flashinfer-python"].installed) == (
        "==0.7.2",
        None,
    )
    assert not pins["sglang-kernel"].satisfied
    assert "av" not in pins  # asked for on ARM alone
