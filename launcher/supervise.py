"""The program that `up` becomes: `python -m launcher.supervise FOLDER SCREEN [LOCK]`.

The plan is in FOLDER, whose lock is held on the inherited descriptor LOCK. SCREEN is one of
`output/screens.screen`'s.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import NoReturn

# http.client does without ssl where there is none. The questions go to this host in plain HTTP, and
# OpenSSL would be a fifth of this process's memory.
sys.modules["ssl"] = None  # type: ignore[assignment]

from launcher import printable, stdio  # noqa: E402
from launcher.errors import Exit, UserError, in_words  # noqa: E402
from launcher.output import screens  # noqa: E402
from launcher.serve import capabilities  # noqa: E402
from launcher.serve.supervisor import Supervisor  # noqa: E402
from launcher.serve.wishes import WISHES  # noqa: E402
from launcher.statedir import verdict  # noqa: E402
from launcher.statedir.folder import StateDir  # noqa: E402


def main() -> int:
    """Serve to the end; the exit status."""
    stdio.ensure_open()
    stdio.show_all()
    stdio.mend_umask()
    capabilities.drop_ambient()
    # ignored by a parent, no child's end could be waited for
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    folder, lock = Path(sys.argv[1]), int(sys.argv[3]) if sys.argv[3:] else None
    if lock is not None:
        os.set_inheritable(lock, False)  # a server that got away must not hold it
    instance = StateDir(folder.parent, folder.name)
    screen = screens.Unhurried(screens.screen(sys.argv[2], instance))
    try:
        supervisor = Supervisor(instance, screen.show, lock)
    except (UserError, OSError, ValueError, KeyError, TypeError) as error:
        print(f"glm5-serve: {printable.line(str(error))}", file=sys.stderr)
        if isinstance(error, UserError) and error.fix:
            print(f"fix    {printable.line(error.fix)}", file=sys.stderr)
        if lock is not None:
            with contextlib.suppress(OSError):
                verdict.write(instance, "failed", f"its start was refused: {in_words(error)}")
        return Exit.CONFIG
    try:
        status = supervisor.run()
    except Exception:  # of 70, not 1, the unit makes another start
        traceback.print_exc()
        status = Exit.BUG
    is_all_told = supervisor.close() and screen.close() and _is_all_out()
    if supervisor.is_superseded and lock is not None:
        _become_next(lock)
    if not is_all_told:
        os._exit(status)  # Python would wait for whoever does not read, and for a disk
    return status


def _become_next(lock: int) -> NoReturn:
    """Run this program as it is installed now: the same process, for systemd and whoever waits for
    it, with the lock in its hands all the time.
    """
    os.set_inheritable(lock, True)
    signal.pthread_sigmask(signal.SIG_BLOCK, WISHES)  # they stay pending until it can answer them
    capabilities.raise_ambient()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def _is_all_out() -> bool:
    """Whether nothing is left to be printed: a closed terminal would make Python end with a status
    of its own.
    """
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
