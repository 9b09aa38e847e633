"""`glm5-serve fetch`: one commit of a checkpoint, by huggingface_hub, after a look at the disk."""

from __future__ import annotations

import contextlib
import glob
import json
import os
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launcher import counting, folding
from launcher.errors import Exit, UserError, in_words
from launcher.files import places
from launcher.knowledge import models

DISTRUST = "do not use this repository, or this hub (HF_ENDPOINT), before you know why"
SPARE = 1 << 30  # bytes that stay free on the disk
# bytes by which an answer may be longer than the largest file: a list of files is one, too
SLACK = 16 << 20
_REPOSITORY = re.compile(r"[^/\s]+/[^/\s]+")
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_NAMING = ("etag", "x-linked-etag", "x-repo-commit")  # headers that become names of files
_DIGEST = re.compile(r'(?:W/)?"?[0-9A-Za-z][0-9A-Za-z._-]*"?')


@dataclass(frozen=True)
class Wanted:
    """A revision of a repository: its commit, and the size of each file."""

    repository: str
    commit: str
    sizes: Mapping[str, int]


def fetch(repository: str, revision: str | None, to: Path | None, *, as_json: bool) -> int:
    """Download one commit of a repository; files that are there and whole are kept.

    A connection that breaks goes on where it was; a file that a run left unfinished begins anew
    (huggingface_hub 2).

    Raises UserError for a repository or revision that is not there or closed, a hub that does
    not answer, or that names files outside of the folder, and a disk that is too small: nothing was
    downloaded then.
    """
    models.require_no_address(repository)
    if not _REPOSITORY.fullmatch(repository):
        fix = "ORG/NAME, as on its page on the hub"
        raise UserError(f"{repository!r} is not a repository", fix=fix, status=Exit.USAGE)
    target = to or Path(_cache())
    _require_room(target, 0)
    wanted = _look(repository, revision)
    require_within(wanted, to)
    rest = (
        wanted.sizes
        if to is None
        else {n: s for n, s in wanted.sizes.items() if _size(to / n) != s}
    )
    missing = sum(rest.values()) - (_held(target, repository) if to is None else 0)
    _require_room(target, missing)
    of = f"{repository}@{wanted.commit[:12]}"
    count = counting.of(len(wanted.sizes), "file")
    folding.tell(f"{of}: {count}, {_gb(sum(wanted.sizes.values()))}", sys.stderr)
    folder = _download(wanted, to)
    wrong = [name for name, size in wanted.sizes.items() if _size(folder / name) != size]
    if wrong:
        fix = "run it again: complete files are kept"
        raise UserError(
            f"{counting.of(len(wrong), 'file')} incomplete: {', '.join(wrong[:5])}",
            fix=fix,
            status=Exit.NO,
        )
    if as_json:
        data = {
            "schema": 1,
            "repository": repository,
            "commit": wanted.commit,
            "folder": str(folder),
        }
        print(json.dumps(data | {"files": len(wanted.sizes), "bytes": sum(wanted.sizes.values())}))
    else:
        folding.tell(str(folder))
    return Exit.FINE


def _look(repository: str, revision: str | None) -> Wanted:
    """What the hub has, pinned to a commit."""
    from huggingface_hub import HfApi

    told: Any = _asking(
        repository, lambda: HfApi().model_info(repository, revision=revision, files_metadata=True)
    )
    try:
        sizes = {str(one.rfilename): max(0, int(one.size or 0)) for one in told.siblings or ()}
    except (TypeError, ValueError):
        raise UserError(
            f"the hub tells no sizes of the files of {repository}", fix="is HF_ENDPOINT a hub?"
        ) from None
    return Wanted(repository, str(told.sha), sizes)


def require_within(wanted: Wanted, to: Path | None) -> None:
    """What the hub names lies in the folder and nowhere else.

    Raises UserError: nothing was downloaded yet.
    """
    if not _COMMIT.fullmatch(wanted.commit):
        raise UserError(f"the hub names the commit {wanted.commit!r}, which is none", fix=DISTRUST)
    for name in wanted.sizes:
        if why := _obstacle(name):
            what = (
                f"the hub names a file {name!r} in {wanted.repository}: {why}; nothing was"
                " downloaded"
            )
            raise UserError(what, fix=DISTRUST)
    for name in (*wanted.sizes, ".cache/huggingface/download"):
        if to and (link := _leading_out(to, name)):
            what = (
                f"{link} is a link to {link.resolve()}, outside of {to}, where {name} should be"
                " written"
            )
            raise UserError(
                what, fix="move the link away, or --to another folder; nothing was downloaded"
            )


def _obstacle(name: str) -> str | None:
    """Why a file of this name would not lie where it is expected, None if it would."""
    if not name.isprintable():
        return "it has characters in it that nobody would see"
    if "\\" in name:
        return "it has a backslash in it"
    if name.startswith("/"):
        return "it is absolute"
    return "it leads out of the folder" if {"", ".", ".."} & set(name.split("/")) else None


def _leading_out(to: Path, name: str) -> Path | None:
    """The first link on the way to a file that leads out of its folder."""
    place, within = to, to.resolve()
    for part in name.split("/"):
        place = place / part
        if place.is_symlink() and not place.resolve().is_relative_to(within):
            return place
    return None


def _download(wanted: Wanted, to: Path | None) -> Path:
    from huggingface_hub import get_session, snapshot_download

    # What is not among the names that were looked at is not downloaded, whatever the hub says when
    # asked again.
    names = [glob.escape(name) for name in wanted.sizes]
    most = max(wanted.sizes.values(), default=0) + SLACK
    get_session().event_hooks["response"] += [
        _require_plain,
        lambda response: _limit(response, most),
    ]

    def load() -> str:
        return snapshot_download(
            wanted.repository, revision=wanted.commit, local_dir=to, allow_patterns=names
        )

    return Path(_asking(wanted.repository, load))


def _limit(response: Any, most: int) -> None:
    """Have the body of an answer end with a UserError where it is longer than any file that was
    announced.
    """
    stream = response.stream

    class Limited(type(stream)):  # type: ignore[misc]  # whichever HTTP library it is of
        def __init__(self) -> None:
            pass

        def __iter__(self) -> Iterator[bytes]:
            left = most
            for piece in stream:
                left -= len(piece)
                if left < 0:
                    what = (
                        f"the hub sends more than {_gb(most)} of a file, and announced none that is"
                        " larger"
                    )
                    raise UserError(what, fix=DISTRUST)
                yield piece

        def close(self) -> None:
            stream.close()

    response.stream = Limited()


def _require_plain(response: Any) -> None:
    """Raise UserError for digests that are none: huggingface_hub calls the files of its cache by
    them.
    """
    said: list[str] = []
    if response.request.method == "HEAD":
        said = [response.headers[name] for name in _NAMING if name in response.headers]
    elif "/tree/" in response.request.url.path:
        response.read()
        # what is none huggingface_hub itself refuses
        with contextlib.suppress(ValueError, RecursionError):
            said = list(_oids(response.json()))
    for text in said:
        if not _DIGEST.fullmatch(text):
            what = f"the hub calls a file by {text[:200]!r}, which is not a digest"
            raise UserError(what, fix=DISTRUST)


def _oids(told: Any) -> Iterator[str]:
    for one in told if isinstance(told, list) else []:
        for part in (one, one.get("lfs")) if isinstance(one, dict) else ():
            if isinstance(part, dict):
                yield from (str(part[name]) for name in ("oid", "sha256") if part.get(name))


def _asking(repository: str, ask: Any) -> Any:
    """What a call to the hub gives. Raises UserError in the hub's stead."""
    from huggingface_hub import errors

    again = "run it again: complete files are kept"
    try:
        return ask()
    except UserError:
        raise
    except errors.GatedRepoError:
        what, fix = (
            f"{repository} is gated",
            "accept its terms on the hub, then `hf auth login` or HF_TOKEN",
        )
    except errors.RepositoryNotFoundError:
        what, fix = (
            f"the hub has no {repository}, or not for you",
            "correct the name; for a private one HF_TOKEN",
        )
    except errors.RevisionNotFoundError:
        what, fix = f"{repository} has no such revision", "a branch, a tag or a commit of it"
    except errors.HFValidationError as error:
        what, fix = f"{repository!r} is not a repository: {error}", "ORG/NAME, as on its page"
    except errors.HfHubHTTPError as error:
        what, fix = f"the hub says {error.response.status_code} about {repository}", again
    except OSError as error:
        what, fix = f"{repository}: {error.strerror or error}", again
    except (
        Exception
    ) as error:  # the HTTP library's own kinds differ between releases of huggingface_hub
        what, fix = (
            f"the hub does not answer: {in_words(error)}",
            f"HF_ENDPOINT, a proxy? {again}",
        )
    raise UserError(what, fix=fix)


def _cache() -> str:
    from huggingface_hub import constants

    return constants.HF_HUB_CACHE


def _held(cache: Path, repository: str) -> int:
    """Bytes of a repository that the cache has already, unfinished ones too."""
    blobs = cache / f"models--{repository.replace('/', '--')}/blobs"
    return sum(path.stat().st_size for path in blobs.glob("*")) if blobs.is_dir() else 0


def _require_room(target: Path, missing: int) -> None:
    there = next(
        (path for path in (target, *target.absolute().parents) if os.access(path, os.F_OK)),
        Path("/"),
    )
    if why := places.obstacle(target):
        fix = "--to DIR, or HF_HOME: a folder that this user may write"
        raise UserError(f"the checkpoint would go to {why}", fix=fix)
    free = shutil.disk_usage(there).free
    if not os.access(there, os.W_OK):
        raise UserError(f"{there} cannot be written", fix="--to DIR, or HF_HOME: a folder of yours")
    if missing + SPARE > free:
        what = f"{_gb(missing)} are to come, and {there} has {_gb(free)} free"
        raise UserError(what, fix="make room, or --to DIR on a larger disk")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1


def _gb(size: float) -> str:
    return f"{size / 1e9:.2f} GB"
