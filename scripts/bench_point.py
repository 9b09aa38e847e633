"""Print a record of `glm5-serve bench --save` as rows for launcher/knowledge/bench_points.toml:
`bench_point.py RECORD...`. A record that is not to be trusted gives none.
"""

from __future__ import annotations

import sys
from pathlib import Path

from launcher.bench.point import rows_of, text_of
from launcher.errors import UserError
from launcher.operate.bench_compare import trusted


def main(paths: list[str]) -> int:
    """Print the rows of each record; 1 if one gave none."""
    status = 0
    for path in paths:
        try:
            found = trusted(Path(path))
        except UserError as error:
            print(error.what, file=sys.stderr)
            status = 1
            continue
        if rows := rows_of(found.run, found.levels):
            print(text_of(rows))
        else:
            print(f"{path}: its model or GPU is not known", file=sys.stderr)
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
