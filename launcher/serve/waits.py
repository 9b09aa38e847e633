"""What the processes of a start waited for, by two looks at them."""

from __future__ import annotations

from launcher.serve import procfs
from launcher.serve.procfs import Vitals
from launcher.statedir.starts import Waited


def between(before: Vitals, after: Vitals) -> Waited:
    """What they did meanwhile. Who came since did all of it since; who went tells nothing more.

    Seconds of sleep and of compilers are those of the whole time between the looks.
    """
    old = {member.pid: member for member in before.members}
    seconds = round(max(0.0, after.at - before.at), 3)
    pairs = [(old.get(member.pid), member) for member in after.members]
    in_line = [new.waited - was.waited for was, new in pairs if was]
    return Waited(
        read=sum(max(0, new.read - (was.read if was else 0)) for was, new in pairs),
        written=sum(max(0, new.written - (was.written if was else 0)) for was, new in pairs),
        compiling=seconds if procfs.compiler(before, after) else 0.0,
        asleep=seconds if any(member.state == "D" for member in after.members) else 0.0,
        starved=round(max(0.0, *in_line, 0.0), 3),
    )
