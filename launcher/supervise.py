"""The program that `up` becomes: `python -m launcher.supervise FOLDER SCREEN`.

The plan is in FOLDER, whose lock is held on an inherited descriptor. SCREEN is one of `console.screen`'s.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

# http.client does without ssl where there is none. The questions go to this host in plain HTTP, and OpenSSL would
# be a fifth of this process's memory.
sys.modules["ssl"] = None  # type: ignore[assignment]

from launcher import capability, console  # noqa: E402
from launcher.errors import Exit, RefusalError  # noqa: E402
from launcher.instance import Instance  # noqa: E402
from launcher.supervisor import Supervisor  # noqa: E402


def main() -> int:
    """Serve to the end; the exit status."""
    capability.lay_down()
    folder = Path(sys.argv[1])
    screen = console.Unhurried(console.screen(sys.argv[2]))
    try:
        supervisor = Supervisor(Instance(folder.parent, folder.name), screen.show)
    except (RefusalError, OSError, ValueError, KeyError, TypeError) as error:
        print(f"glm5-serve: {error}", file=sys.stderr)
        return Exit.CONFIG
    status = supervisor.run()
    if not screen.close():
        os._exit(status)  # Python would wait for whoever does not read
    return status


if __name__ == "__main__":
    sys.exit(main())
