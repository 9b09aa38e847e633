#!/usr/bin/env python3
"""Count how right `lint` and `diagnose` are over a folder of somebody's cases.

usage: scoreboard.py launches DIR | scoreboard.py logs DIR

launches: every file but *.source is a text with launches in it. For each release and architecture:
whether it is sound, what `lint --fix` makes of it, and whether that loses a word of the author's or
is refused by lint itself. logs: DIR/expected.tsv names a file, a pattern
that a right answer matches and one that it must not (columns file, must_match, must_not_match).
"""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from launcher.engines.engine import dialect
from launcher.engines.target import ARCHS, Target
from launcher.errors import UserError
from launcher.formats.launches import Launch
from launcher.lint.by_option import canonical_name
from launcher.lint.fix import fixed
from launcher.lint.run import judge
from launcher.plan.plan import ENGINE

RELEASES = dialect(ENGINE).options.releases
# What an answer says; its evidence is the log's own words, and would be right whatever was said.
ANSWER = ("cause", "family", "what", "fix", "knob")
KEPT = ("model-path", "tp-size", "pp-size", "dp-size", "ep-size", "nnodes", "node-rank", "port")


def words_of(launch: Launch, target: Target) -> dict[str, str]:
    """What a launch says of itself that no rewrite may change, by option."""
    given = target.known.given(launch.words)
    said = {canonical_name(one, target.known): " ".join(one.values) for one in given}
    if "attn-dp-size" in said:  # one option for two, from 0.5.22 on
        said["dp-size"] = said["attn-dp-size"]
    return {name: said[name] for name in KEPT if name in said}


def of_text(text: str, target: Target) -> str:
    """How a text fares: sound as it is, sound when fixed, no rewrite, lost words, or refused by
    itself.
    """
    before = judge(text, target)
    fix = fixed(text, target)
    if fix.obstacles:
        return "no place in the text" if fix.has_no_place else "no rewrite"
    after = judge(fix.text, target)
    for old, new in zip(before.launches, after.launches, strict=True):
        kept = words_of(old.launch, target).items() <= words_of(new.launch, target).items()
        if not kept or not {*old.launch.references} <= {*new.launch.references}:
            return "loses the author's words"
    if not after.is_sound:
        return "refused by lint itself"
    return "sound, fixed" if fix.changes else "sound as it is"


def launches(folder: Path) -> Iterator[tuple[str, str]]:
    """Each case, release and architecture, with how it fares."""
    for path in sorted(path for path in folder.iterdir() if path.suffix != ".source"):
        text = path.read_text(encoding="utf-8", errors="replace")
        for release in RELEASES:
            for arch in ARCHS:
                try:
                    how = of_text(text, Target(release, arch))
                except UserError as refused:
                    how = f"refused: {str(refused)[:60]}"
                yield f"{path.name} {release} {arch}", how


def logs(folder: Path) -> Iterator[tuple[str, str]]:
    """Each log of expected.tsv, right or wrong."""
    with (folder / "expected.tsv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            log = str(folder / row["file"])
            words = [sys.executable, "-m", "launcher", "diagnose", log, "--json"]
            done = subprocess.run(words, capture_output=True, text=True, check=False)
            told = json.loads(done.stdout or "{}")
            said = " ".join(str(told.get(key) or "") for key in ANSWER)
            wanted, barred = row["must_match"], row["must_not_match"]
            is_right = (
                told
                and (not wanted or re.search(wanted, said, re.IGNORECASE))
                and not (barred and re.search(barred, said, re.IGNORECASE))
            )
            yield row["file"], "right" if is_right else "wrong"


def main() -> int:
    """Print what is not right, and the counts."""
    kinds = {"launches": launches, "logs": logs}
    if len(sys.argv) != 3 or sys.argv[1] not in kinds or not Path(sys.argv[2]).is_dir():
        print("usage: scoreboard.py launches|logs DIR", file=sys.stderr)
        return 2
    found = list(kinds[sys.argv[1]](Path(sys.argv[2])))
    bad = [(case, how) for case, how in found if how.startswith(("loses", "refused by", "wrong"))]
    for case, how in bad:
        print(f"{case}: {how}")
    counts = Counter(how.partition(":")[0] for _, how in found)
    print(", ".join(f"{count} {how}" for how, count in counts.most_common()))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
