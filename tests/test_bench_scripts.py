"""The scripts of `make bench` start, and measure something: each with its smallest arguments over
the stand-in; of those that want root, systemd or a real engine all but the measuring.
"""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

BENCH = ROOT / "bench"
WITHIN = 300.0  # seconds for a script that takes a few on an idle machine
# The smallest arguments, and what is measured with them.
MEASURES = {
    "cli": (("0",), r"--version +\d"),
    "diagnose": ((str(ROOT), "1", "1"), r"kernel +\d"),
    "idle": (("1",), r"glm5-serve +\d.*\nsupervisord +\d.*\nratio +\d"),
    "own": (("1",), r"up to its server +\d"),
    "top": (("1",), r"\d % of a core over 1 s"),
}
PARTS = {"engines", "keepers"}  # of other scripts


@pytest.mark.parametrize("script", sorted(path.stem for path in BENCH.glob("*.py")))
def test_a_script_can_be_loaded_and_says_how_it_is_used(
    script: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = BENCH / f"{script}.py"
    monkeypatch.syspath_prepend(BENCH)
    monkeypatch.setattr(sys, "argv", [str(path)])
    spec = importlib.util.spec_from_file_location(f"bench_{script}", path)
    assert spec
    assert spec.loader
    made = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, made)
    spec.loader.exec_module(made)

    if script not in PARTS:
        assert re.search(rf"usage: (\[\w+=\S+\] )?(bench/{script}.py)", made.__doc__ or "")
        assert callable(made.main)


@pytest.mark.parametrize("script", MEASURES)
def test_a_script_measures_something(script: str, tmp_path: Path) -> None:
    if script == "idle":
        pytest.importorskip("supervisor", reason="it is measured beside supervisord")
    words, told = MEASURES[script]
    ran = subprocess.run(
        [sys.executable, BENCH / f"{script}.py", *words],
        capture_output=True,
        text=True,
        timeout=WITHIN,
        check=False,
        cwd=tmp_path,
    )

    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert re.search(told, ran.stdout), ran.stdout + ran.stderr
