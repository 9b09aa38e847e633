"""What is wrong with the tables of knowledge that are shipped: said wherever they are judged by."""

from __future__ import annotations

from typing import Any

from launcher.engines import issues, rules
from launcher.engines.engine import NAMES, dialect
from launcher.knowledge import forks, gpus, models
from launcher.knowledge.rows import Table


def complaints() -> tuple[str, ...]:
    """The rows that are left out, with file, row and key; none of a sound installation."""
    defaults = (rules.table(dialect(name).defaults) for name in NAMES)
    others = (gpus.table(), models.table(), forks.table())
    tables: tuple[Table[Any], ...] = (*issues.tables(), *defaults, *others)
    return tuple(complaint for table in tables for complaint in table.complaints)
