"""`warm`: the checkpoint is in memory before a start, and what is compiled is told."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import World

from launcher.engines.engine import NAMES
from launcher.errors import Exit
from launcher.host.facts import Cache, Engine, known, unknown
from launcher.operate.warm import Kernels, Warmed, kernels_of
from launcher.output.warm import report
from launcher.plan.plan import Plan
from launcher.plan.policy import Policy
from launcher.serve.readahead import NOT_ALL, Told
from launcher.serve.readahead_child import WORTH

PLAN = Plan(
    name="p",
    program=("python3",),
    arguments=(),
    env={},
    host="",
    port=1,
    model="/models/m",
    model_name="m",
    policy=Policy(),
    settings=(),
    words={},
    gpus=8,
    release="0.5.23",
)
ALL = Told(4 << 30, 0, 4 << 30, 2.0, "", "")
CACHES = (Cache("/c/flashinfer", 1_790_000_000.0, 120), Cache("/c/triton", 0.0, 0))


def with_packages(**packages: str) -> Engine:
    named = {name.replace("_", "-"): release for name, release in packages.items()}
    return replace(Engine(), packages=known(named), caches=known(CACHES))


def test_warm_reads_a_checkpoint_and_starts_nothing(world: World) -> None:
    header = json.dumps({"a": {"dtype": "U8", "shape": [WORTH], "data_offsets": [0, WORTH]}})
    path = world.folder / "model/model.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header.encode())
    os.truncate(path, 8 + len(header) + WORTH)
    done = world.run("warm", "-p", "stub", "--json")
    told = json.loads(done.stdout)

    assert done.returncode == Exit.FINE
    assert told["profile"] == "stub"
    assert told["checkpoint"]["read"] + told["checkpoint"]["cached"] == path.stat().st_size
    assert told["checkpoint"]["end"] == ""
    assert told["kernels"] is None, "it runs on the CPU"
    assert not world.instance.exists()


def test_kernels_that_are_there_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    seen = kernels_of(with_packages(flashinfer_python="0.6.18", flashinfer_cubin="0.6.18+cu130"))
    status = report(Warmed(PLAN, ALL, seen), as_json=False)
    said = capsys.readouterr().out

    assert status == Exit.FINE
    assert "p: SGLang 0.5.23, /models/m" in said
    assert "checkpoint  4.0 GiB in 2.0 s" in said
    assert "/c/flashinfer: 120 files, the newest of 2026-09-2" in said
    assert "/c/triton" not in said, "an empty folder has none"
    assert "flashinfer-cubin 0.6.18+cu130: fits" in said
    assert "not installed: flashinfer-jit-cache" in said


def test_prebuilt_kernels_of_another_release_do_not_fit() -> None:
    seen = kernels_of(with_packages(flashinfer_python="0.6.18", flashinfer_jit_cache="0.6.17"))

    assert seen.get().useless == ("flashinfer-jit-cache 0.6.17",)


def test_without_flashinfer_nothing_of_it_is_missing() -> None:
    seen = kernels_of(with_packages(torch="2.12.0"))

    assert seen == known(Kernels(CACHES[:1], {}, None))
    assert seen.get().missing == ()


def test_an_interpreter_that_does_not_say_is_unknown(capsys: pytest.CaptureFixture[str]) -> None:
    why = "no python3 that has SGLang"
    seen = kernels_of(replace(Engine(), packages=unknown(why), caches=unknown(why)))
    report(Warmed(PLAN, ALL, seen), as_json=False)
    said = capsys.readouterr().out

    assert f"  kernels     which are compiled is not known: {why}\n" in said
    assert "not done" not in said, "nobody knows what is left to do"


@pytest.mark.parametrize("engine", NAMES)
def test_a_checkpoint_that_does_not_fit_is_no_success(engine: str) -> None:
    plan = replace(PLAN, engine=engine)

    assert Warmed(plan, ALL, None).is_done
    assert not Warmed(plan, replace(ALL, read=1, end="there is room for 1.0 GiB"), None).is_done


def test_a_checkpoint_that_is_not_there_is_told_with_what_to_do(world: World) -> None:
    (world.folder / "model/model.safetensors").unlink()
    done = world.run("warm", "stub")

    assert done.returncode == 1
    assert "no weight files are here" in done.stdout
    assert f"`glm5-serve model {world.folder}/model`" in done.stdout
    assert "fetch" not in done.stdout, "a folder is nothing that could be fetched"


def test_of_an_id_it_is_said_what_loads_it(capsys: pytest.CaptureFixture[str]) -> None:
    nothing = replace(ALL, read=0, total=0, end="nothing is here")
    report(Warmed(replace(PLAN, model="nvidia/GLM-5-NVFP4"), nothing, None), as_json=False)

    assert "`glm5-serve fetch nvidia/GLM-5-NVFP4` loads it" in capsys.readouterr().out


def _a_pipe(path: Path) -> None:
    os.mkfifo(path)


def _a_loop(path: Path) -> None:
    path.symlink_to(path.name)


def _a_folder(path: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize(
    ("odd", "why"),
    [
        (_a_pipe, "is a FIFO"),
        (_a_loop, "cannot be read: too many levels of symbolic links"),
        (_a_folder, "is a folder"),
    ],
)
def test_weights_that_are_no_file_are_not_waited_for(
    world: World, odd: Callable[[Path], None], why: str
) -> None:
    path = world.folder / "model/model.safetensors"
    path.unlink()
    odd(path)
    done = world.run("warm", "stub", timeout=60)

    assert done.returncode == 1
    assert f"nothing: {NOT_ALL}model.safetensors {why}" in done.stdout
    assert f"`glm5-serve model {world.folder}/model`" in done.stdout
