"""What `status` prints on a narrow terminal: no address, name or path of it is cut in two."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest
from conftest import PATIENCE

REASON = "the server is ready: it generated a token, and answered every question of the smoke test"
PRINTS = f"""
from launcher.operate.gateway import Replica
from launcher.output import gateway, status
from launcher.statedir.state import LauncherRecord, StateRecord
every = [
    StateRecord(f"8xb200-glm52-mtp@{{at}}", "ready", "2026-11-26T20:00:00Z", {REASON!r},
                f"http://gpu-0{{at}}.cluster.example:30100", "glm-5", "sglang", "0.5.23",
                server_log="/var/lib/glm5-serve/8xb200-glm52-mtp@1/server.log",
                launcher=LauncherRecord(1, 1, ""))
    for at in (1, 2)
]
behind = [Replica(one.profile, one.endpoint, "ready", "routed", 3) for one in every]
behind.append(Replica("http://10.0.0.2:30000", "http://10.0.0.2:30000", "unknown", None, None))
"""
CALLS = {
    "all": "status.status_of_all(every, as_json=False)",
    "one": "status.status(every[0], as_json=False)",
    "gateway": "gateway.status(every[0], behind, as_json=False)",
}
# What somebody copies from the screen.
WHOLE = {
    "all": ("8xb200-glm52-mtp@2", "http://gpu-02.cluster.example:30100"),
    "one": ("http://gpu-01.cluster.example:30100", "/var/lib/glm5-serve/8xb200-glm52-mtp@1/server.log"),
    "gateway": ("8xb200-glm52-mtp@2", "http://gpu-02.cluster.example:30100", "http://10.0.0.2:30000"),
}  # fmt: skip


def shown(call: str, columns: int, folder: Path) -> str:
    """What a call prints on a terminal of so many columns."""
    theirs, ours = pty.openpty()
    try:
        fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
        environ = {
            name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")
        }
        subprocess.run(
            [sys.executable, "-c", PRINTS + call], stdout=ours, timeout=PATIENCE, check=True,
            cwd=folder, env=environ | {"TERM": "xterm"},
        )  # fmt: skip
    finally:
        os.close(ours)
    said = b""
    with contextlib.suppress(OSError):  # Linux says so where nobody has the other end any more
        while piece := os.read(theirs, 4096):  # no bound: who writes is gone
            said += piece
    os.close(theirs)
    return re.sub(r"\x1b\[[\d;]*m", "", said.decode())


@pytest.mark.parametrize("columns", [80, 100, 120, 200])
@pytest.mark.parametrize("call", CALLS)
def test_no_address_is_cut_and_no_line_is_longer_than_the_terminal(
    call: str, columns: int, tmp_path: Path
) -> None:
    lines = shown(CALLS[call], columns, tmp_path).splitlines()

    assert all(len(line) <= columns for line in lines), lines
    for whole in WHOLE[call]:
        assert any(whole in line for line in lines), (whole, lines)


def test_where_there_is_room_it_is_a_line_each(tmp_path: Path) -> None:
    lines = shown(CALLS["all"], 200, tmp_path).splitlines()

    assert lines[0].split() == ["profile", "state", "since", "endpoint", "reason"]
    assert len(lines) == 3
