"""What is wrong with the tables of knowledge that are shipped: said wherever they are judged by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from launcher.engines import issues, rules
from launcher.engines.engine import NAMES, dialect
from launcher.knowledge import (
    directives,
    drivers,
    forks,
    gpus,
    images,
    models,
    others,
    wrappers,
    xid,
)
from launcher.knowledge.rows import Table


def complaints(engines: Sequence[str] = NAMES) -> tuple[str, ...]:
    """The rows that are left out where plans and launches of these engines are judged, with file,
    row and key, after the files that are none at all, of which others may come; none of a sound
    installation. What a death is judged by `failures.complaints` tells of.
    """
    files = (*(dialect(name).defaults for name in engines), rules.OF_ANY)
    tables: tuple[Table[Any], ...] = (
        *issues.tables(engines),
        *map(rules.table, files),
        *map(rules.left_out, files),
        directives.table(),
        directives.syntax(),
        *drivers.tables(),
        gpus.table(),
        models.table(),
        forks.table(),
        others.table(),
        wrappers.table(),
        images.table(),
        xid.table(),
    )
    told = [complaint for table in tables for complaint in table.complaints]
    return tuple(sorted(told, key=lambda complaint: "," in complaint.partition(":")[0]))
