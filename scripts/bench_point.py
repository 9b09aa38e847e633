"""Print a record of `glm5-serve bench --save` as rows for launcher/knowledge/bench_points.toml:
`bench_point.py RECORD...`. A record that is not to be trusted gives none.
"""

from __future__ import annotations

import sys
from pathlib import Path

from launcher.bench.point import rows_of, text_of
from launcher.operate.bench_files import record


def main(paths: list[str]) -> int:
    """Print the rows of each record; 1 if one gave none."""
    status = 0
    for path in paths:
        found = record(Path(path))
        trusted = found.verdict is not None and found.verdict.trusted
        rows = rows_of(found.run, found.levels) if trusted else []
        if not rows:
            print(f"{path}: not trusted, or its model or GPU is not known", file=sys.stderr)
            status = 1
        print(text_of(rows))
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
