"""What the processes of a server are known by without their launcher: `session` of state.json."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from launcher.statedir.schema import each, if_any, table, text, whole


@dataclass(frozen=True)
class Session:
    """Marks of a server's processes (`serve/leftovers.py`); None for one that was not given.

    `mark` stands in their environment, `output` is the pipe that they print to, `reaper` is the
    process whose session they are in. `shared`: how their files of shared memory are named (globs).
    `claim` is no part of the file: it stands in the lock before anything is started, and a
    launcher's marks all begin with it.
    """

    mark: str | None = None
    boot_id: str | None = None
    reaper: int | None = None
    reaper_ticks: int | None = None
    output: str | None = None
    cgroup: str | None = None
    shared: tuple[str, ...] = ()
    claim: str | None = None

    def to_json(self) -> dict[str, Any]:
        return {name: mark for name, mark in asdict(self).items() if name != "claim"}

    @classmethod
    def from_json(cls, data: object) -> Session:
        """The session that `to_json` gave. Raises ValueError for no table.

        A mark that is none is left out: the others find the processes without it.
        """
        said = table(data)
        return cls(
            mark=if_any(text, said.get("mark")),
            boot_id=if_any(text, said.get("boot_id")),
            reaper=if_any(whole, said.get("reaper")),
            reaper_ticks=if_any(whole, said.get("reaper_ticks")),
            output=if_any(text, said.get("output")),
            cgroup=if_any(text, said.get("cgroup")),
            shared=if_any(partial(each, text), said.get("shared")) or (),
        )
