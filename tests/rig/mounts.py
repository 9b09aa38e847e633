"""File systems that tests mount, gone with the test run however it ends."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

PATIENCE = 60  # seconds for mounting and unmounting
# Its standard input ends with the test run, killed or not; then it cleans up.
KEEPER = 'read -r _; fsfreeze -u "$1" 2>/dev/null; umount -l "$1"'


@contextmanager
def mounted(folder: Path, *arguments: str | Path) -> Iterator[None]:
    """Hold a file system at `folder`: what `mount` takes, without the folder.

    A mount that outlives a killed run would break the next one, which clears the old folders.
    """
    done = subprocess.run(
        ["mount", *arguments, folder], check=False, capture_output=True, timeout=PATIENCE
    )
    if done.returncode:
        pytest.skip("this machine does not let root mount this")
    keeper = subprocess.Popen(
        ["sh", "-c", KEEPER, "keeper", folder], stdin=subprocess.PIPE, start_new_session=True
    )
    try:
        yield
    finally:
        keeper.communicate(timeout=PATIENCE)
    assert keeper.returncode == 0, "it was unmounted"
