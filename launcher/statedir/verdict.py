"""How an instance ended, written down by who is not its launcher: a start that was refused, and the
end of a server that somebody took down after its launcher had died.
"""

from __future__ import annotations

import contextlib

from launcher.errors import UserError
from launcher.redact.secrets import hide
from launcher.statedir.events import Event
from launcher.statedir.folder import StateDir
from launcher.statedir.state import BARE, Pids, StateRecord
from launcher.statedir.times import now_text


def leave(instance: StateDir, state: str, reason: str) -> bool:
    """Have an instance be in a state that it ends in, in its state file and its events; whether it
    is. Where a launcher holds it, or its folder takes nothing, all stays as it was.
    """
    with contextlib.suppress(UserError, OSError):
        claim = instance.claim(sign=False)
        try:
            write(instance, state, reason)
        finally:
            claim.release()
        return True
    return False


def write(instance: StateDir, state: str, reason: str) -> None:
    """The same by who holds it; that a launcher before it died is told first, as the next start
    would. Raises OSError.
    """
    reason, now = hide(reason), now_text()
    before = instance.status.last() or StateRecord(instance.name, parts=BARE)
    run, restarts = before.run or 0, before.restarts or 0
    said = {"state": state, "reason": reason, "run": run, "restarts": restarts}
    error = {"last_error": reason} if state == "failed" else {}
    made = before.but(
        **said,
        **error,
        since=now,
        pids=Pids(),
        canary=None,
        launcher=before.launcher or instance.launcher_record(),
    )
    told = said | ({"error": reason} if error else {})
    if untold := instance.status.unsaid_end():
        instance.tell(Event("warning", {"reason": untold}, now, instance.name))
    instance.tell(Event("state", told, now, instance.name))
    instance.write(instance.state, made.to_json())
