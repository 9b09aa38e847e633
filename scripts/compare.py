#!/usr/bin/env python3
"""Compare what two trees print: `python scripts/compare.py OLD NEW`; exit 1 where a byte differs.

Each command runs with PYTHONPATH at the one tree and at the other, over recorded launch texts and
logs. For whoever moves code: what is printed must not change by it. Lines that should be left out
are given as regular expressions: `--but PATTERN`. How wide a column is counts for nothing: it
follows the path of the tree.
"""

from __future__ import annotations

import argparse
import difflib
import itertools
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROFILES = sorted(path.stem for path in (ROOT / "profiles").glob("*.toml"))
CARD = (ROOT / "tests/golden/card-0.5.23.sh").read_text()
DEATHS = (ROOT / "tests/data/deaths.toml").read_text()
SECONDS = 120  # for one command


def commands() -> list[str]:
    """The command lines, words of a shell; `$CARD` and `$DEATHS` are files."""
    releases = ("0.5.12", "0.5.16", "0.5.20", "0.5.23")
    return [
        *(
            f"render -p {name} --release {release}"
            for name, release in itertools.product(PROFILES, releases)
        ),
        *(f"render -p {name} --release 0.5.23 --format json" for name in PROFILES),
        *(
            f"render -p {name} --release 0.5.23 --explain"
            for name in ("8xpro6000", "card", "8xb200-mtp")
        ),
        *(f"lint $CARD --json --arch {arch}" for arch in ("sm120", "sm100")),
        *(f"lint $CARD --release {release} --arch sm120" for release in releases),
        *(f"fit -p {name} --release 0.5.23" for name in PROFILES),
        "diff 8xpro6000 card --release 0.5.23",
        "diagnose $DEATHS --json",
        "diagnose $DEATHS",
        "checks --json",
        "checks --markdown",
        "profiles --json",
        "--help",
        *(
            f"{name} --help"
            for name in "up status logs down restart doctor facts render lint fit systemd".split()
        ),
        "doctor --from $CARD --json -p 8xpro6000",
        "up -p nope",
        "render -p 8xpro6000 --set flags.tpsize=1",
        "status -p nothing --json",
    ]


def printed(tree: Path, command: str, folder: str) -> list[str]:
    """What a command prints, standard error after standard output, and its exit status."""
    env = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("GLM5", "NCCL", "SGLANG"))
    }
    env |= {
        "PYTHONPATH": str(tree),
        "HOME": folder,
        "COLUMNS": "120",
        "GLM5_SERVE_STATE_DIR": f"{folder}/state",
    }
    env |= {"CARD": f"{folder}/card.sh", "DEATHS": f"{folder}/deaths"}
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m launcher {command}"],
        env=env, cwd=folder, capture_output=True, text=True, timeout=SECONDS, check=False,
    )  # fmt: skip
    text = f"{done.stdout}{done.stderr}exit {done.returncode}\n".replace(
        str(tree.resolve()), "TREE"
    )
    return [re.sub(r" {2,}", "  ", line).rstrip() for line in text.splitlines()]


def main() -> int:
    """Run all, print what differs."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("old", type=Path)
    words.add_argument("new", type=Path)
    words.add_argument("--but", action="append", default=[], metavar="PATTERN")
    said = words.parse_args()
    but = [re.compile(pattern) for pattern in said.but]
    differ = 0
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "card.sh").write_text(CARD)
        Path(folder, "deaths").write_text(DEATHS)
        for command in commands():
            old, new = (
                [
                    line
                    for line in printed(tree, command, folder)
                    if not any(one.search(line) for one in but)
                ]
                for tree in (said.old, said.new)
            )
            if lines := list(difflib.unified_diff(old, new, "old", "new", lineterm="", n=1)):
                differ += 1
                print(f"glm5-serve {command}", *(f"  {line}" for line in lines[:40]), sep="\n")
    print(f"{len(commands())} commands, {differ} print otherwise")
    return 1 if differ else 0


if __name__ == "__main__":
    sys.exit(main())
