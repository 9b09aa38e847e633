"""A launch that is stopped at a birth, by the kernel and to the instruction: ptrace(2).

usage: births.py STAGE COMMAND...

Runs COMMAND, which becomes a launcher, and prints its pid when one of these is stopped:

    launcher  in the call that made its reaper, which runs, and waits for a word
    reaper    it was executed, and has not run yet; the launcher goes on
    server    its reaper forked it, and it was not executed yet; the launcher goes on

Who is stopped goes on when this program ends.
"""

import ctypes
import os
import subprocess
import sys
from pathlib import Path

SEIZE, CONT, CHILD = 0x4206, 7, 0x4201  # requests; CHILD asks which pid was born
FORK, VFORK, EXEC, MADE, BORN = 1, 2, 4, 5, 128  # events; MADE: a vfork is over
ASKED = 1 << FORK | 1 << VFORK | 1 << EXEC | 1 << MADE
WALL = 0x40000000  # wait for whoever is traced, whosever child
LAUNCHER, REAPER = b"\0launcher.supervise\0", b"\0-I\0-S\0/proc/self/fd/"
libc = ctypes.CDLL(None, use_errno=True)


def ptrace(request, pid, data):
    if libc.ptrace(ctypes.c_long(request), pid, None, data) < 0:
        raise OSError(ctypes.get_errno(), f"ptrace({request:#x}, {pid})")


def words(pid):
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def parent(pid):
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def made_reaper(launcher):
    child, mine = ctypes.c_ulong(), words(launcher)
    ptrace(CHILD, launcher, ctypes.byref(child))
    while LAUNCHER in mine and words(child.value) in (mine, b""):  # it is being executed
        pass
    return LAUNCHER in mine and REAPER in words(child.value)


def is_it(stage, pid, event, reaper):
    """Whether this is the moment."""
    match stage:
        case "launcher":
            return event == MADE and made_reaper(pid)
        case "reaper":
            return event == EXEC and pid == reaper
        case "server":
            return event in (FORK, VFORK) and pid == reaper


def main(stage, *command):
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    awaited = ["sh", "-c", 'read -r go; exec "$@"', "sh", *command]
    with subprocess.Popen(awaited, stdin=subprocess.PIPE, **quiet) as process:
        ptrace(SEIZE, process.pid, ctypes.c_long(ASKED))
        process.stdin.close()
        reaper = None
        while True:
            pid, status = os.waitpid(-1, WALL)
            if not os.WIFSTOPPED(status):
                continue
            event = status >> 16
            if event == EXEC and REAPER in words(pid):
                reaper = pid
            if is_it(stage, pid, event, reaper):
                print(process.pid, flush=True)
            elif not (event == BORN and parent(pid) == reaper):  # that one waits for its parent
                ptrace(CONT, pid, ctypes.c_long(0 if event else os.WSTOPSIG(status)))


main(*sys.argv[1:])
