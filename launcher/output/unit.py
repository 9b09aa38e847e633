"""What `systemd install` says once units are written: whether they would start, what is next."""

from __future__ import annotations

import sys

from launcher import counting
from launcher.errors import Exit, UserError
from launcher.operate.unit_check import Checked
from launcher.operate.unit_files import METRICS, Wish
from launcher.output import nextstep


def show(found: Checked, wish: Wish) -> None:
    """Print what doctor said to the unit's user. Raises UserError where it would not start."""
    from launcher.output.console import beside, console, words

    screen = console(sys.stdout)
    screen.print(words(f"checked as user {found.user}, as the unit would be started"))
    for one in (*found.failed, *found.warned):
        colour = "red" if one.severity == "fail" else "yellow"
        beside(screen, (one.severity, colour), 5, (one.id, "bold"), f"  {one.evidence}")
        if one.fix:
            beside(screen, ("fix", ""), 5, one.fix)
    if found.others:
        again = f"glm5-serve doctor --profile {wish.profile}"
        more = "more " if found.warned else ""
        told = counting.of(found.others, f"{more}warning", f"{more}warnings")
        beside(screen, ("", ""), 5, f"{told} about the host: `{again}` shows them")
    if found.failed:
        failed = ", ".join(one.id for one in found.failed)
        raise UserError(
            f"installed, but it will not start: {failed}",
            fix=f"see above; then `systemctl start {wish.instance}`",
            status=Exit.NO,
        )


def next_steps(wish: Wish) -> None:
    """What to do with a unit that was installed."""
    units = f"{wish.instance} {METRICS}" if wish.metrics else wish.instance
    nextstep.say(
        (f"systemctl start {units}", "returns when it is ready"),
        (f"journalctl -fu {wish.instance}", "meanwhile, in another shell"),
    )
