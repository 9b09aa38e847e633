"""What stands in the systemd units of a profile: made for this host from those in `systemd/`."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from launcher.config import layers
from launcher.errors import Exit, UserError
from launcher.files import programs, reading
from launcher.statedir.folder import StateDir
from launcher.statedir.replica import split

SHIPPED = Path(__file__).parents[1] / "systemd"
SERVICE, METRICS, USERS = "glm5-serve@.service", "glm5-serve-metrics.service", "glm5-serve.sysusers"
GATEWAY = "glm5-serve-gateway@.service"
HOST = "glm5-serve-host.service"
USER = "glm5-serve"
# Users that a distribution brings, and other services are run by.
SHARED = frozenset(
    "daemon bin sys adm mail nobody www-data backup messagebus dbus sshd polkitd syslog"
    " systemd-network systemd-resolve systemd-timesync docker".split()
)
SERVED = Path("/var/lib/glm5-serve")  # the units' state folder
WRITTEN_AS = "/usr/bin/glm5-serve"  # in the shipped units
LARGEST = 1 << 20  # bytes of a unit
_USER = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,30}")
KEY_NAME = "api-key"  # of the credential; `up` finds it as $CREDENTIALS_DIRECTORY/api-key

# In a drop-in, so that a profile's user is that profile's alone.
OTHER_USER = """\
# systemd gives a folder that it makes, and all that is in it, to the unit's user: a shared one would change hands.
[Service]
User={user}
CacheDirectory=
CacheDirectory=glm5-serve-{user}
Environment=HOME=%C/glm5-serve-{user} XDG_CACHE_HOME=%C/glm5-serve-{user}
"""

DROP_INS = ("user", "api-key", "listen", "order")

# An empty line takes the unit's own command back: one is run.
OTHER_PLACE = """\
[Service]
ExecStart=
ExecStart={command} gateway up %i --listen {listen}
"""

HOST_HEAD = """\
# Made by `glm5-serve systemd install` from what `glm5-serve doctor` found on this host: the firmware, or the
# distribution, sets these again at each boot.
[Unit]
Description=Settings that this host needs before models are served
Before=nvidia-persistenced.service
DefaultDependencies=no
After=local-fs.target systemd-sysctl.service

[Service]
Type=oneshot
RemainAfterExit=yes
{commands}

[Install]
WantedBy=multi-user.target
"""


@dataclass(frozen=True)
class Wish:
    """What to install: for which profile, by whom to be run, with which key, below which root.

    Of a gateway `profile` is the name, and `listen` where clients ask, if that is said.
    """

    profile: str
    user: str = USER
    api_key_file: Path | None = None
    root: Path = Path("/")
    metrics: bool = True
    gateway: bool = False
    listen: str = ""
    after: str = ""  # the unit that is started before it: two loads would share the disk

    @property
    def service(self) -> str:
        """The template of its unit."""
        return GATEWAY if self.gateway else SERVICE

    @property
    def units(self) -> Path:
        """Where units lie."""
        return self.root / "etc/systemd/system"

    @property
    def profiles(self) -> Path:
        """Where the host's own profiles lie."""
        return self.root / "etc/glm5-serve/profiles"

    @property
    def instance(self) -> str:
        """The unit of the profile."""
        return self.service.replace("@", f"@{self.profile}")

    @property
    def drop_ins(self) -> Path:
        """The folder with what only this profile's unit has."""
        return self.units / f"{self.instance}.d"


def require_words(wish: Wish) -> None:
    """What stands in a unit must mean there what it means here.

    Raises UserError (usage) for what cannot.

    A unit is called by a profile's name; of users systemd takes names of this shape alone. A line
    ends a directive, a backslash at its end joins the next, blanks at its end are dropped.
    """
    _require_name(wish)
    if not _USER.fullmatch(wish.user):
        fix = "letters, digits and . _ - only, a letter or _ first, 31 at most: --user glm5-serve"
        raise UserError(f"{wish.user!r} is not a user name for systemd", fix=fix, status=Exit.USAGE)
    for option, path in (("--api-key-file", _key_path(wish)), ("--root", str(wish.root))):
        if not path.isprintable() or "\\" in path or path != path.strip():
            fix = (
                "no control characters, no backslash, no blank at the end: systemd reads them"
                " otherwise"
            )
            what = f"{option} {path!r} is no path that can stand in a unit"
            raise UserError(what, fix=fix, status=Exit.USAGE)


def _require_name(wish: Wish) -> None:
    if not wish.gateway and ("/" in wish.profile or wish.profile.endswith(".toml")):
        raise UserError(
            f"{wish.profile} is a path, but a unit finds its profile by name",
            fix=f"put the file into {wish.profiles}, then `--profile {Path(wish.profile).stem}`",
            status=Exit.USAGE,
        )
    StateDir(wish.root, wish.profile)


def require_profile(wish: Wish, environ: Mapping[str, str]) -> int:
    """The unit has another home than whoever installs it: it finds the host's profiles, and the
    packaged ones. Gives how many replicas the profile has.

    Raises UserError: now, not at the next boot.
    """
    places = {"host": wish.profiles, "packaged": layers.PACKAGED}
    name, _ = split(wish.profile)
    paths = {where: folder / f"{name}.toml" for where, folder in places.items()}
    for where, path in paths.items():
        if path.is_file():
            found = layers.Found(name, where, path)
            # what it extends must be found, too, with no home to look in
            is_here = wish.root == Path("/")
            stack = layers.lineage(found, {"HOME": "/nonexistent"}) if is_here else []
            told = [one.values.get("replicas") for one in stack or [layers.read(found)]]
            return next((one for one in reversed(told) if isinstance(one, int)), 1)
    found = layers.find(name, environ)
    if found.alias:
        return 1
    why = "it has another home"
    if found.path == layers.HOST / f"{name}.toml":  # so only the root is another
        why = f"below --root {wish.root} it is {paths['host']}"
    raise UserError(
        f"profile {found.name} is {found.path}, where the unit does not look: {why}",
        fix=f"`install -D -m 644 {found.path} {paths['host']}`",
    )


def each(wish: Wish, environ: Mapping[str, str]) -> list[Wish]:
    """What is installed for a wish: a unit for each replica, where the profile has several and
    none is named. Raises UserError.
    """
    if wish.gateway:
        return [wish]
    count = require_profile(wish, environ)
    if count == 1 or split(wish.profile)[1]:
        return [wish]
    every = [replace(wish, profile=f"{wish.profile}@{at}") for at in range(1, count + 1)]
    return [every[0], *(replace(b, after=a.instance) for a, b in pairwise(every))]


def installed(wish: Wish) -> list[Wish]:
    """What was installed for a wish."""
    stem, suffix = wish.instance.removesuffix(".service"), ".service.d"
    found = sorted(wish.units.glob(f"{stem}@*{suffix}"))
    names = [path.name.removesuffix(suffix).partition("@")[2] for path in found]
    if wish.drop_ins.exists() or not names:
        return [wish]
    return [replace(wish, profile=name) for name in names]


def command() -> str:
    """The absolute path of this glm5-serve.

    Raises UserError where it has none that systemd would run.
    """
    fix = (
        "install it: `pip install glm5-serve` into an environment of its own, /opt/glm5-serve for"
        " example"
    )
    beside = str(Path(sys.executable).with_name("glm5-serve"))
    try:
        path = programs.find(beside if os.access(beside, os.X_OK) else "glm5-serve", os.environ)
    except programs.NoProgramError as error:
        raise UserError(f"there is no command for systemd to run: {error}", fix=fix) from None
    with contextlib.suppress(OSError):
        if Path(WRITTEN_AS).samefile(path):  # the Debian package's: its units say so
            return WRITTEN_AS
    if re.search(r"[\"'\\]", path) or not path.isprintable():
        what = (
            "systemd runs nothing that has a quote, a backslash or a control character in its"
            f" path: {path!r}"
        )
        raise UserError(what, fix=fix)
    return path


def word(path: str) -> str:
    """A path as a word of a command line in a unit (systemd.syntax, systemd.unit: specifiers)."""
    escaped = path.replace("%", "%%")
    return f'"{escaped}"' if re.search(r"\s|;", path) else escaped


def files(wish: Wish, host_commands: Sequence[str] = ()) -> dict[Path, str]:
    """Every file that an installation writes, by its path: what a package brings is there."""
    every = all_files(wish, host_commands)
    return {path: body for path, body in every.items() if not _is_packaged(path, wish.root, body)}


def _is_packaged(path: Path, root: Path, body: str) -> bool:
    """Whether a package brings a file just so, in the place for those that no operator wrote."""
    with contextlib.suppress(OSError):
        return (root / "usr/lib" / path.relative_to(root / "etc")).read_text() == body
    return False


def all_files(wish: Wish, host_commands: Sequence[str] = ()) -> dict[Path, str]:
    """Every file of an installation by its path, whoever brings it."""
    made = {
        wish.units / wish.service: text(wish.service, USER),
        wish.drop_ins / "user.conf": _user(wish.user),
    }
    if wish.metrics:
        made[wish.units / METRICS] = text(METRICS, reader(wish))
    if wish.listen:
        other = OTHER_PLACE.format(command=word(command()), listen=wish.listen)
        made[wish.drop_ins / "listen.conf"] = other
    if wish.after:
        made[wish.drop_ins / "order.conf"] = f"[Unit]\nAfter={wish.after}\n"
    if wish.user == USER:
        made[wish.root / "etc/sysusers.d/glm5-serve.conf"] = (SHIPPED / USERS).read_text()
    if wish.api_key_file:
        # the rest of the line is the path, blanks and quotes included
        path = _key_path(wish).replace("%", "%%")
        made[wish.drop_ins / "api-key.conf"] = f"[Service]\nLoadCredential={KEY_NAME}:{path}\n"
    if host_commands:
        commands = "\n".join(f"ExecStart={line}" for line in host_commands)
        made[wish.units / HOST] = HOST_HEAD.format(commands=commands)
    return made


def _key_path(wish: Wish) -> str:
    """The key's file in full, "" without one; systemd ignores a path with `..` in it."""
    return os.path.normpath(wish.api_key_file.absolute()) if wish.api_key_file else ""


def _user(user: str) -> str:
    return f"[Service]\nUser={USER}\n" if user == USER else OTHER_USER.format(user=user)


def text(name: str, user: str) -> str:
    """A shipped unit with this command and that user."""
    made = (SHIPPED / name).read_text().replace(WRITTEN_AS, word(command()))
    return re.sub(r"^User=.*$", lambda _: f"User={user}", made, flags=re.MULTILINE)


def reader(wish: Wish) -> str:
    """Who reads the metrics of all profiles: the user of the first one that was installed, and of
    no later one.
    """
    with contextlib.suppress(OSError):
        written = reading.read_text(wish.units / METRICS, LARGEST)
        if (found := re.search(r"^User=(.+)$", written, re.MULTILINE)) and _USER.fullmatch(
            found[1]
        ):
            return found[1]
    return wish.user


def remarks(wish: Wish) -> list[str]:
    """What whoever installs this should know."""
    said = _of_user(wish)
    if not wish.metrics or (who := reader(wish)) == wish.user:
        return said
    return [
        *said,
        f"{METRICS} runs as {who}, to whom what {wish.user} serves is closed: it tells"
        f" glm5_serve_unreadable 1 of {wish.profile}, and nothing else. For its metrics run, as"
        f" {wish.user}: GLM5_SERVE_STATE_DIR=/var/lib/glm5-serve glm5-serve metrics --listen"
        " 127.0.0.1:9465",
    ]


def _of_user(wish: Wish) -> list[str]:
    """What a user's other powers are, which whoever takes over the server has."""
    own = f"let it have a user of its own: --user {USER}"
    if wish.user == "root":
        return [f"the server runs as root: who takes it over has this host; {own}"]
    if wish.user in SHARED:
        return [
            f"{wish.user} is a user of other services, whose files the server may change; {own}"
        ]
    return []
