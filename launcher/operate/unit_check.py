"""Whether an installed unit would start: doctor, run as the unit's user and in its environment.

What root sees says little: another home, another cache, another PATH, no right to root's files.
"""

from __future__ import annotations

import os
import pwd
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from launcher import nesting
from launcher.config.load import PlanRequest, load
from launcher.errors import Exit, UserError
from launcher.formats.systemd import PATH
from launcher.operate.unit_files import SERVED, SERVICE, Wish, all_files, command
from launcher.redact.keys import read_key
from launcher.statedir.folder import StateDir

WITHIN = 300.0  # seconds for doctor; a disk or a driver may be slow
# What stands for folders in a unit (systemd.unit).
SPECIFIERS = {"%C": "/var/cache", "%S": "/var/lib"}
OF_ITS_OWN = ("model-", "engine-", "access-", "port-")  # checks whose warnings are the unit's own


@dataclass(frozen=True)
class Said:
    """A finding of doctor's: `fail` or `warn`."""

    severity: str
    id: str
    evidence: str
    fix: str


@dataclass(frozen=True)
class Checked:
    """What doctor said to the unit's user: what keeps it from starting, and warnings about what the
    unit has of its own; of others how many.
    """

    user: str
    failed: tuple[Said, ...]
    warned: tuple[Said, ...]
    others: int


def with_key(wish: Wish) -> Wish:
    """The wish with its profile's key handed on by systemd, where that is said nowhere else: the
    unit's user may not read root's file. Raises UserError for a profile with errors.
    """
    if wish.gateway or wish.root != Path("/"):
        return wish
    profile = load(PlanRequest(wish.profile), environment(wish)).profile
    key = profile.access.api_key_file
    if key and not wish.api_key_file and _is_roots(Path(key)):
        return replace(wish, api_key_file=Path(key))
    return wish


def _is_roots(path: Path) -> bool:
    """Whether a file is root's; of one that is closed to who prints the unit, that it is."""
    try:
        return path.is_file() and path.stat().st_uid == 0
    except PermissionError:
        return True


def environment(wish: Wish) -> dict[str, str]:
    """The environment of the unit: systemd's, and what its files say."""
    made = all_files(replace(wish, metrics=False))
    texts = [made[wish.units / SERVICE], made[wish.drop_ins / "user.conf"]]
    return {"PATH": PATH, "LANG": "C.UTF-8", **dict(_set(texts))}


def _set(texts: list[str]) -> Iterator[tuple[str, str]]:
    for line in "\n".join(texts).splitlines():
        if line.startswith("Environment="):
            for setting in shlex.split(line.partition("=")[2]):
                name, _, value = setting.partition("=")
                for specifier, folder in SPECIFIERS.items():
                    value = value.replace(specifier, folder)
                yield name, value


def check(wish: Wish) -> Checked:
    """Run doctor as the unit will run `up`. Raises UserError where the profile, or its key, is
    refused before anything is judged.
    """
    words = [command(), "doctor", "--profile", wish.profile, "--json"]
    if wish.api_key_file:
        read_key(wish.api_key_file)  # as root does, for the unit
        words += ["--set", f"access.api_key_file={wish.api_key_file.absolute()}"]
        words += ["--skip", "access-key"]
    if StateDir(SERVED, wish.profile).is_held():
        words.append("--serving")
    done = subprocess.run(
        words, capture_output=True, text=True, check=False, timeout=WITHIN, cwd="/",
        env=environment(wish), **_identity(wish.user),
    )  # fmt: skip
    try:
        found = nesting.of_json(done.stdout)["findings"]
    except (ValueError, LookupError, TypeError):
        what, _, fix = done.stderr.strip().removeprefix("error").strip().partition("\nfix")
        raise UserError(
            f"installed, but it will not start: {what.strip()}", fix=fix.strip(), status=Exit.NO
        ) from None
    said = [
        Said(*(str(one[name]) for name in ("severity", "id", "evidence", "fix")))
        for one in found
        if not one["allowed"]
    ]
    warned = [one for one in said if one.severity == "warn"]
    own = tuple(one for one in warned if one.id.startswith(OF_ITS_OWN))
    failed = tuple(one for one in said if one.severity == "fail")
    return Checked(wish.user, failed, own, len(warned) - len(own))


def _identity(user: str) -> dict[str, Any]:
    """How a child becomes the unit's user; nothing where this is that user."""
    found = pwd.getpwnam(user)
    if found.pw_uid == os.geteuid():
        return {}
    groups = os.getgrouplist(user, found.pw_gid)
    return {"user": found.pw_uid, "group": found.pw_gid, "extra_groups": groups}
