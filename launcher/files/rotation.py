"""Files that are put aside when they are large."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from launcher.files import guarded


def rotate(path: Path, kept: int) -> None:
    """`path` becomes `path`.1, that becomes .2, and so on up to `kept`. Raises OSError; also where
    its folder is a symlink by now.
    """
    with guarded.within(path.parent) as folder:
        for number in range(kept, 0, -1):
            older = f"{path.name}.{number - 1}" if number > 1 else path.name
            with contextlib.suppress(FileNotFoundError):
                os.replace(older, f"{path.name}.{number}", src_dir_fd=folder, dst_dir_fd=folder)
