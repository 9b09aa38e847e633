"""import-linter holds the layers (`.importlinter`); here is what it cannot see: what is loaded by
running.
"""

from __future__ import annotations

import subprocess
import sys


def test_what_stays_for_weeks_loads_the_standard_library_alone() -> None:
    code = (
        "import sys; before = {*sys.modules}; import launcher.supervise; print(*({*sys.modules} -"
        " before))"
    )
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    loaded = {name.partition(".")[0] for name in told.stdout.split()}

    assert "launcher" in loaded
    assert loaded - {"launcher"} <= sys.stdlib_module_names
    assert not [
        name for name in told.stdout.split() if name.startswith(("launcher.config", "launcher.cli"))
    ]
