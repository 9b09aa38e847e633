"""What is wrong with the tables of knowledge that are shipped: said wherever they are judged by."""

from __future__ import annotations

from typing import Any

from launcher.engines import failures, issues, rules
from launcher.engines.engine import NAMES, dialect
from launcher.knowledge import codes, drivers, forks, gpus, images, models, others, wrappers, xid
from launcher.knowledge.rows import Table


def complaints() -> tuple[str, ...]:
    """The rows that are left out, with file, row and key, after the files that are none at all, of
    which others may come; none of a sound installation.
    """
    files = (*(dialect(name).defaults for name in NAMES), rules.OF_ANY)
    tables: tuple[Table[Any], ...] = (
        *issues.tables(),
        *map(rules.table, files),
        *map(rules.left_out, files),
        *failures.tables(),
        *drivers.tables(),
        gpus.table(),
        models.table(),
        forks.table(),
        others.table(),
        wrappers.table(),
        codes.table(),
        images.table(),
        xid.table(),
    )
    told = [complaint for table in tables for complaint in table.complaints]
    return tuple(sorted(told, key=lambda complaint: "," in complaint.partition(":")[0]))
