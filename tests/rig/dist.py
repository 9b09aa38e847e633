"""What `make dist` makes, made here: and a Debian package of a version before it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from launcher import __version__

ROOT = Path(__file__).parents[2]
BEFORE = "0.0.9"
MADE_WITHIN = 300  # seconds: wheels are downloaded once, and packed each time


def make(folder: Path, *kinds: str) -> str:
    """Have it make some of its kinds in a folder; what it said."""
    command = [sys.executable, ROOT / "scripts/dist.py", *kinds]
    environ = {**os.environ, "DIST": str(folder)}
    done = subprocess.run(
        command, capture_output=True, text=True, env=environ, timeout=MADE_WITHIN, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


def deb(folder: Path) -> Path:
    """The Debian package in there."""
    (made,) = folder.glob(f"glm5-serve_{__version__}-*.deb")
    return made


def predecessor(deb: Path, folder: Path) -> Path:
    """The same package as a version before it."""
    root = folder / "before"
    subprocess.run(["dpkg-deb", "-R", deb, root], check=True, timeout=MADE_WITHIN)
    for name in ("DEBIAN/control", "opt/glm5-serve/lib/common/launcher/__init__.py"):
        path = root / name
        path.write_text(path.read_text().replace(__version__, BEFORE))
    made = folder / deb.name.replace(__version__, BEFORE)
    build = ["dpkg-deb", "--root-owner-group", "-Znone", "-b", root, made]
    subprocess.run(build, check=True, capture_output=True, timeout=MADE_WITHIN)
    return made
