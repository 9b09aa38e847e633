"""The systemd units: made for this host from those in `systemd/`, put in place, and taken away again."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from launcher.errors import Exit, RefusalError

SHIPPED = Path(__file__).parent / "systemd"
SERVICE, METRICS, USERS = "glm5-serve@.service", "glm5-serve-metrics.service", "glm5-serve.sysusers"
HOST = "glm5-serve-host.service"
USER = "glm5-serve"
WRITTEN_AS = "/usr/bin/glm5-serve"  # in the shipped units
KEY_NAME = "api-key"  # of the credential; `up` finds it as $CREDENTIALS_DIRECTORY/api-key

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
    def instance(self) -> str:
        """The unit of the profile."""
        return f"glm5-serve@{self.profile}.service"


def command() -> str:
    """The absolute path of this glm5-serve. Raises RefusalError where it has none."""
    found = shutil.which("glm5-serve", path=str(Path(sys.executable).parent)) or shutil.which("glm5-serve")
    if found is None:
        fix = "install it: `pip install glm5-serve` into an environment of its own, /opt/glm5-serve for example"
        raise RefusalError("there is no glm5-serve command for systemd to run", fix=fix)
    return str(Path(found).absolute())


def files(wish: Wish, host_commands: Sequence[str] = ()) -> dict[Path, str]:
    """Every file of an installation, by its path."""
    units = wish.root / "etc/systemd/system"
    made = {units / SERVICE: text(SERVICE, wish.user)}
    if wish.metrics:
        made[units / METRICS] = text(METRICS, wish.user)
    if wish.user == USER:
        made[wish.root / "etc/sysusers.d/glm5-serve.conf"] = (SHIPPED / USERS).read_text()
    if wish.api_key_file:
        drop_in = f"[Service]\nLoadCredential={KEY_NAME}:{wish.api_key_file.absolute()}\n"
        made[units / f"{wish.instance}.d/api-key.conf"] = drop_in
    if host_commands:
        made[units / HOST] = HOST_HEAD.format(commands="\n".join(f"ExecStart={line}" for line in host_commands))
    return made


def text(name: str, user: str) -> str:
    """A shipped unit with this command and that user."""
    made = (SHIPPED / name).read_text().replace(WRITTEN_AS, command().replace("%", "%%"))
    return re.sub(r"^User=.*$", f"User={user}", made, flags=re.MULTILINE)


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
    units = wish.root / "etc/systemd/system"
    if wish.root == Path("/"):
        _run("systemctl", "disable", "--now", wish.instance)
    gone = [units / f"{wish.instance}.d/api-key.conf"]
    enabled = [path for path in units.glob("*.wants/glm5-serve@*.service") if path.name != wish.instance]
    if not enabled:
        if wish.root == Path("/"):
            _run("systemctl", "disable", "--now", METRICS, HOST, required=False)
        gone += [units / SERVICE, units / METRICS, units / HOST, wish.root / "etc/sysusers.d/glm5-serve.conf"]
    try:
        for path in gone:
            if path.exists():
                path.unlink()
                tell(f"removed {path}")
    except OSError as error:
        raise RefusalError(f"cannot remove {error.filename}: {error.strerror}", fix="run this as root") from None
    if wish.root == Path("/"):
        _run("systemctl", "daemon-reload")


def _run(*words: str, required: bool = True) -> None:
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=300)
    except (OSError, subprocess.TimeoutExpired) as error:
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
