"""The systemd units: made for this host from those in `systemd/`, put in place, and taken away again."""

from __future__ import annotations

import contextlib
import os
import re
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from launcher import layers, programs
from launcher.errors import Exit, RefusalError
from launcher.instance import Instance

SHIPPED = Path(__file__).parent / "systemd"
SERVICE, METRICS, USERS = "glm5-serve@.service", "glm5-serve-metrics.service", "glm5-serve.sysusers"
HOST = "glm5-serve-host.service"
USER = "glm5-serve"
WRITTEN_AS = "/usr/bin/glm5-serve"  # in the shipped units
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

HOST_HEAD = """\
# Made by `glm5-serve systemd install` from what `glm5-serve doctor` found on this host: the firmware, or the
# distribution, sets these anew at each boot.
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
    """What to install: for which profile, by whom to be run, with which key, below which root."""

    profile: str
    user: str = USER
    api_key_file: Path | None = None
    root: Path = Path("/")
    metrics: bool = True

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
        return f"glm5-serve@{self.profile}.service"

    @property
    def drop_ins(self) -> Path:
        """The folder with what only this profile's unit has."""
        return self.units / f"{self.instance}.d"


def require_name(wish: Wish) -> None:
    """A unit is called by a profile's name, which must be one. Raises RefusalError (usage)."""
    if "/" in wish.profile or wish.profile.endswith(".toml"):
        raise RefusalError(
            f"{wish.profile} is a path, but a unit finds its profile by name",
            fix=f"put the file into {wish.profiles}, then `--profile {Path(wish.profile).stem}`",
            status=Exit.USAGE,
        )
    Instance(wish.root, wish.profile)


def require_profile(wish: Wish, environ: Mapping[str, str]) -> None:
    """The unit has another home than whoever installs it: it finds the host's profiles, and the packaged ones.

    Raises RefusalError: now, not at the next boot.
    """
    places = {"host": wish.profiles, "packaged": layers.PACKAGED}
    paths = {place: folder / f"{wish.profile}.toml" for place, folder in places.items()}
    for place, path in paths.items():
        if path.is_file():
            if wish.root == Path("/"):  # what it extends must be found, too, with no home to look in
                layers.lineage(layers.Found(wish.profile, place, path), {"HOME": "/nonexistent"})
            return
    found = layers.find(wish.profile, environ)
    raise RefusalError(
        f"profile {found.name} is {found.path}, where the unit does not look: it has another home",
        fix=f"`install -D -m 644 {found.path} {paths['host']}`",
    )


def command() -> str:
    """The absolute path of this glm5-serve. Raises RefusalError where it has none that systemd would run."""
    fix = "install it: `pip install glm5-serve` into an environment of its own, /opt/glm5-serve for example"
    beside = str(Path(sys.executable).with_name("glm5-serve"))
    try:
        path = programs.find(beside if os.access(beside, os.X_OK) else "glm5-serve", os.environ)
    except programs.NoProgramError as error:
        raise RefusalError(f"there is no command for systemd to run: {error}", fix=fix) from None
    if re.search(r"[\"'\\\x00-\x1f\x7f]", path):
        raise RefusalError(f"systemd runs nothing that has a quote or a backslash in its path: {path}", fix=fix)
    return path


def word(path: str) -> str:
    """A path as a word of a command line in a unit (systemd.syntax, systemd.unit: specifiers)."""
    escaped = path.replace("%", "%%")
    return f'"{escaped}"' if re.search(r"\s|;", path) else escaped


def files(wish: Wish, host_commands: Sequence[str] = ()) -> dict[Path, str]:
    """Every file of an installation, by its path."""
    made = {wish.units / SERVICE: text(SERVICE, USER), wish.drop_ins / "user.conf": _user(wish.user)}
    if wish.metrics:
        made[wish.units / METRICS] = text(METRICS, reader(wish))
    if wish.user == USER:
        made[wish.root / "etc/sysusers.d/glm5-serve.conf"] = (SHIPPED / USERS).read_text()
    if wish.api_key_file:
        # The rest of the line is the path, blanks included; one with `..` in it is ignored.
        path = os.path.normpath(wish.api_key_file.absolute()).replace("%", "%%")
        made[wish.drop_ins / "api-key.conf"] = f"[Service]\nLoadCredential={KEY_NAME}:{path}\n"
    if host_commands:
        commands = "\n".join(f"ExecStart={line}" for line in host_commands)
        made[wish.units / HOST] = HOST_HEAD.format(commands=commands)
    return made


def _user(user: str) -> str:
    return f"[Service]\nUser={USER}\n" if user == USER else OTHER_USER.format(user=user)


def text(name: str, user: str) -> str:
    """A shipped unit with this command and that user."""
    made = (SHIPPED / name).read_text().replace(WRITTEN_AS, word(command()))
    return re.sub(r"^User=.*$", f"User={user}", made, flags=re.MULTILINE)


def reader(wish: Wish) -> str:
    """Who reads the figures of all profiles: the user of the first one that was installed, and of no later one."""
    with contextlib.suppress(OSError):
        if found := re.search(r"^User=(.+)$", (wish.units / METRICS).read_text(), re.MULTILINE):
            return found[1]
    return wish.user


def remarks(wish: Wish) -> list[str]:
    """What whoever installs this should know."""
    if not wish.metrics or (who := reader(wish)) == wish.user:
        return []
    return [
        f"{METRICS} runs as {who}, to whom what {wish.user} serves is closed: it tells glm5_serve_unreadable 1 of "
        f"{wish.profile}, and nothing else. For its figures run, as {wish.user}: "
        "GLM5_SERVE_STATE_DIR=/var/lib/glm5-serve glm5-serve metrics --listen 127.0.0.1:9465"
    ]


def install(wish: Wish, host_commands: Sequence[str], tell: Callable[[str], None]) -> None:
    """Write the units and have systemd know them; nothing is started. Raises RefusalError."""
    _require_reach(wish)
    made = files(wish, host_commands)
    try:
        for path, body in made.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(body)
            tell(f"wrote {path}")
    except OSError as error:
        fix = "run this as root, or print it: `glm5-serve systemd print`"
        raise RefusalError(f"cannot write {error.filename}: {error.strerror}", fix=fix) from None
    for line in remarks(wish):
        tell(line)
    if wish.root == Path("/"):
        if wish.user == USER:
            _run("systemd-sysusers")
        _run("systemctl", "daemon-reload")
        units = [wish.instance, *([METRICS] if wish.metrics else []), *([HOST] if host_commands else [])]
        _run("systemctl", "enable", *units)
        tell(
            f"enabled {', '.join(units)}: they start at the next boot, or now by `systemctl start {wish.instance}`"
        )


def uninstall(wish: Wish, tell: Callable[[str], None]) -> None:
    """Stop and disable the unit of a profile; the shared files go with the last one. Raises RefusalError."""
    if wish.root == Path("/"):
        _run("systemctl", "disable", "--now", wish.instance)
    gone = [wish.drop_ins / "user.conf", wish.drop_ins / "api-key.conf"]
    if not _others(wish):
        if wish.root == Path("/"):
            _run("systemctl", "disable", "--now", METRICS, HOST, required=False)
        gone += [
            *(wish.units / name for name in (SERVICE, METRICS, HOST)),
            wish.root / "etc/sysusers.d/glm5-serve.conf",
        ]
    try:
        for path in gone:
            if path.exists():
                path.unlink()
                tell(f"removed {path}")
    except OSError as error:
        raise RefusalError(f"cannot remove {error.filename}: {error.strerror}", fix="run this as root") from None
    with contextlib.suppress(OSError):  # what somebody else put there stays
        wish.drop_ins.rmdir()
    if wish.root == Path("/"):
        _run("systemctl", "daemon-reload")


def _others(wish: Wish) -> set[str]:
    """Units of other profiles: those that were installed, and those that somebody enabled by hand."""
    installed = {path.parent.stem for path in wish.units.glob("glm5-serve@*.service.d/user.conf")}
    enabled = {path.name for path in wish.units.glob("*.wants/glm5-serve@*.service")}
    return (installed | enabled) - {wish.instance}


def _run(*words: str, required: bool = True) -> None:
    try:
        command = [programs.find(words[0], os.environ), *words[1:]]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    except (OSError, subprocess.TimeoutExpired, programs.NoProgramError) as error:
        raise RefusalError(f"{' '.join(words)}: {error}", fix="is this a host with systemd?") from None
    if required and done.returncode:
        said = done.stderr.strip().splitlines()[-1:] or [f"exit status {done.returncode}"]
        raise RefusalError(f"{' '.join(words)}: {said[0]}", fix="run this as root on a host with systemd")


def _require_reach(wish: Wish) -> None:
    """A user that is not root cannot run a command, or read a key, below a folder that is closed to others."""
    if wish.api_key_file and not wish.api_key_file.is_file():
        fix = "put the key alone on one line of it, mode 0600, owned by root: systemd hands it on"
        raise RefusalError(f"there is no key file {wish.api_key_file}", fix=fix)
    if wish.user == "root":
        return
    for program in (Path(command()), Path(command()).resolve(), Path(sys.executable).resolve()):
        if closed := next(_closed(program), None):
            raise RefusalError(
                f"user {wish.user} cannot reach {program}: {closed} is closed to others",
                fix="install glm5-serve below /opt or /usr/local, or name a user that may: --user NAME",
                status=Exit.CONFIG,
            )


def _closed(path: Path) -> Iterator[Path]:
    for folder in reversed(path.parents):
        if folder.exists() and not folder.stat().st_mode & stat.S_IXOTH:
            yield folder


def host_commands() -> list[str]:
    """What this host needs at each boot, by doctor's findings: redirect bits of bridges, kernel settings."""
    from launcher.checks import judge
    from launcher.doctor import Source, examine
    from launcher.fixscript import boot_commands

    seen = examine(None, (), Source(), os.environ)
    return boot_commands(seen.host, judge(seen.host, seen.plan))
