"""`glm5-serve fetch`: one commit of a checkpoint, by huggingface_hub, after a look at the disk."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launcher.errors import Exit, RefusalError

SPARE = 1 << 30  # bytes that stay free on the disk


@dataclass(frozen=True)
class Wanted:
    """A revision of a repository: its commit, and the size of each file."""

    repository: str
    commit: str
    sizes: Mapping[str, int]


def fetch(repository: str, revision: str | None, to: Path | None, *, as_json: bool) -> int:
    """Download one commit of a repository; files that are there and whole are kept.

    A connection that breaks goes on where it was; a file that a run left unfinished begins anew (huggingface_hub
    2).

    Raises RefusalError for a repository or revision that is not there or closed, a hub that does not answer, and a
    disk that is too small: nothing was downloaded then.
    """
    wanted = _look(repository, revision)
    target = to or Path(_cache())
    rest = wanted.sizes if to is None else {n: s for n, s in wanted.sizes.items() if _size(to / n) != s}
    missing = sum(rest.values()) - (_held(target, repository) if to is None else 0)
    _require_room(target, missing)
    print(
        f"{repository}@{wanted.commit[:12]}: {len(wanted.sizes)} files, {_gb(sum(wanted.sizes.values()))}",
        file=sys.stderr,
    )
    folder = _download(wanted, to)
    wrong = [name for name, size in wanted.sizes.items() if _size(folder / name) != size]
    if wrong:
        fix = "run it again: files that are whole are kept"
        raise RefusalError(f"{len(wrong)} files are not whole: {', '.join(wrong[:5])}", fix=fix, status=Exit.NO)
    if as_json:
        data = {"schema": 1, "repository": repository, "commit": wanted.commit, "folder": str(folder)}
        print(json.dumps(data | {"files": len(wanted.sizes), "bytes": sum(wanted.sizes.values())}))
    else:
        print(folder)
    return Exit.FINE


def _look(repository: str, revision: str | None) -> Wanted:
    """What the hub has, pinned to a commit."""
    from huggingface_hub import HfApi

    told: Any = _asking(repository, lambda: HfApi().model_info(repository, revision=revision, files_metadata=True))
    sizes = {one.rfilename: int(one.size or 0) for one in told.siblings or ()}
    return Wanted(repository, told.sha or revision or "main", sizes)


def _download(wanted: Wanted, to: Path | None) -> Path:
    from huggingface_hub import snapshot_download

    def load() -> str:
        return snapshot_download(wanted.repository, revision=wanted.commit, local_dir=to)

    return Path(_asking(wanted.repository, load))


def _asking(repository: str, ask: Any) -> Any:
    """What a call to the hub gives. Raises RefusalError in the hub's stead."""
    from huggingface_hub import errors

    again = "run it again: files that are whole are kept"
    try:
        return ask()
    except errors.GatedRepoError:
        what, fix = f"{repository} is gated", "accept its terms on the hub, then `hf auth login` or HF_TOKEN"
    except errors.RepositoryNotFoundError:
        what, fix = f"the hub has no {repository}, or not for you", "mend the name; for a private one HF_TOKEN"
    except errors.RevisionNotFoundError:
        what, fix = f"{repository} has no such revision", "a branch, a tag or a commit of it"
    except errors.HFValidationError as error:
        what, fix = f"{repository!r} is no repository: {error}", "ORG/NAME, as on its page"
    except errors.HfHubHTTPError as error:
        what, fix = f"the hub says {error.response.status_code} about {repository}", again
    except OSError as error:
        what, fix = f"{repository}: {error.strerror or error}", again
    except Exception as error:  # the HTTP library's own kinds differ between releases of huggingface_hub
        what, fix = f"the hub does not answer: {type(error).__name__}: {error}", f"HF_ENDPOINT, a proxy? {again}"
    raise RefusalError(what, fix=fix)


def _cache() -> str:
    from huggingface_hub import constants

    return constants.HF_HUB_CACHE


def _held(cache: Path, repository: str) -> int:
    """Bytes of a repository that the cache has already, unfinished ones too."""
    blobs = cache / f"models--{repository.replace('/', '--')}/blobs"
    return sum(path.stat().st_size for path in blobs.glob("*")) if blobs.is_dir() else 0


def _require_room(target: Path, missing: int) -> None:
    there = next((path for path in (target, *target.absolute().parents) if path.exists()), Path("/"))
    free = shutil.disk_usage(there).free
    if not os.access(there, os.W_OK):
        raise RefusalError(f"{there} cannot be written", fix="--to DIR, or HF_HOME: a folder of yours")
    if missing + SPARE > free:
        what = f"{_gb(missing)} are to come, and {there} has {_gb(free)} free"
        raise RefusalError(what, fix="make room, or --to DIR on a larger disk")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1


def _gb(size: float) -> str:
    return f"{size / 1e9:.2f} GB"
