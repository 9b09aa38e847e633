"""What every process of a hung server is doing, kept before the server is killed.

py-spy reads the stacks from outside: the process itself need not, and cannot, help. What the kernel
knows (state, where it waits) is kept even where tracing is forbidden.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from launcher.files import guarded, programs
from launcher.serve import capabilities
from launcher.serve.procfs import Member

YAMA = Path("/proc/sys/kernel/yama/ptrace_scope")  # 0: whoever is of the same user may be traced
WITHIN = 20.0  # seconds for one process
AT_ONCE = 4


def keep(path: Path, members: Iterable[Member]) -> None:
    """Write the stacks of `members` to `path`.

    Never raises: a stack that cannot be had is told by its reason.
    """
    with ThreadPoolExecutor(AT_ONCE) as pool:
        texts = list(pool.map(lambda member: _of(member, _py_spy()), members))
    with contextlib.suppress(OSError):
        guarded.replace(path, "\n".join(texts).encode(errors="replace"))


def _of(member: Member, py_spy: str | None) -> str:
    head = f"== {member.name} pid {member.pid} state {member.state} cpu {member.cpu:.1f} s"
    if (wait := _read(f"/proc/{member.pid}/wchan")) and wait != "0":
        head += f" waits in {wait}"
    return (
        f"{head}\n{_dump(member.pid, py_spy)}\n{_read(f'/proc/{member.pid}/stack')}".rstrip() + "\n"
    )


def _dump(pid: int, py_spy: str | None) -> str:
    if py_spy is None:
        return "no stack: py-spy is not installed"
    try:
        with capabilities.lent():
            done = subprocess.run(
                [py_spy, "dump", "--nonblocking", "--pid", str(pid)],
                capture_output=True,
                text=True,
                errors="replace",
                timeout=WITHIN,
                check=False,
            )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"no stack: {error}"
    if done.stdout.strip():
        return done.stdout.strip()
    yama = _read(str(YAMA)) or "0"
    hint = (
        f"; kernel.yama.ptrace_scope is {yama}: only root, or CAP_SYS_PTRACE, may"
        if yama != "0"
        else ""
    )
    return f"no stack: {done.stderr.strip()}{hint}"


def _py_spy() -> str | None:
    """Not the engine's: it is lent a capability, and that place may be anybody's."""
    beside = str(Path(sys.executable).with_name("py-spy"))
    for name in (beside, "py-spy"):
        with contextlib.suppress(programs.NoProgramError):
            return programs.find(name, os.environ)
    return None


def _read(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace").strip()
    except OSError:
        return ""
