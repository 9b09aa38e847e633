"""Two real SGLang servers behind the real smg, restarted one after the other under load."""

from __future__ import annotations

import subprocess
import sys

import pytest
from conftest import LONGEST, ROOT, needs_engine


@pytest.mark.scale
@needs_engine
@pytest.mark.timeout(LONGEST)
def test_a_rolling_restart_of_real_servers_loses_no_request() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "bench/rolling.py", "rolling"],
        capture_output=True,
        text=True,
        timeout=LONGEST - 60,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("rolling"), done.stdout
    assert done.stdout.rstrip().endswith("lost: none"), done.stdout
