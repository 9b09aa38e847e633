"""Programs that read what `render` writes: as they are installed, or as `readers.sh` unpacks them."""

from __future__ import annotations

import functools
import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from launcher.paths import home

UNPACKED = home(os.environ, "XDG_CACHE_HOME", ".cache") / "readers"
GET = f"`tests/rig/readers.sh {UNPACKED}` gets it"


@functools.cache
def compose() -> tuple[str, ...]:
    """The words that Docker's compose 2 is called by; none where there is none."""
    own = (UNPACKED / "usr/libexec/docker/cli-plugins/docker-compose",)
    return _first((("docker", "compose"), ("docker-compose",), own), "version", least=2)


@functools.cache
def quadlet() -> tuple[str, ...]:
    """podman's quadlet, of podman 5 or later; nothing where there is none."""
    folders = ("/usr/libexec/podman", "/usr/lib/podman", UNPACKED / "usr/libexec/podman")
    return _first([(Path(folder) / "quadlet",) for folder in folders], "-version", least=5)


def _first(every: Sequence[Sequence[str | Path]], asked: str, least: int) -> tuple[str, ...]:
    return next(_of_release(every, asked, least), ())


def _of_release(
    every: Sequence[Sequence[str | Path]], asked: str, least: int
) -> Iterator[tuple[str, ...]]:
    for words in every:
        try:
            said = subprocess.run(
                [*words, asked], capture_output=True, text=True, timeout=60, check=True
            ).stdout
        except (OSError, subprocess.CalledProcessError):
            continue
        found = re.search(r"(\d+)\.\d+", said)
        if found and int(found[1]) >= least:
            yield tuple(map(str, words))
