"""Why a host was not reached, from what ssh said: one clear message each. Pure."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from launcher import printable
from launcher.address import bracketed
from launcher.host.inventory import Target
from launcher.redact.secrets import hide

LONGEST = 200  # characters of ssh's own words


@dataclass(frozen=True)
class Unreachable:
    """That nothing is known of a host: `kind` for programs, what is, and what to do; what ssh or
    that host said stands in it, without secrets.
    """

    kind: str
    what: str
    fix: str

    def __post_init__(self) -> None:
        for name in ("what", "fix"):
            object.__setattr__(self, name, hide(getattr(self, name)))


# How ssh calls a host whose key has changed, and the file that has the old one.
_CHANGED = re.compile(r"^Host key for ([\w.:\[\]-]+) has changed", re.M)
_OFFENDING = re.compile(r"^Offending .*key in (/.+):\d+\s*$", re.M)


@dataclass(frozen=True)
class Way:
    """How somebody comes to a host by hand, as ssh was led there."""

    target: Target
    config: Path | None = None  # of ssh, in place of the user's

    def in_words(self, text: str, errors: str = "") -> str:
        """The text, with commands for this host; `errors` are what ssh said."""
        host = bracketed(self.target.address)
        port = f":{self.target.port}" if self.target.port else ""
        return text.format(
            ssh=self._ssh(),
            known=self._known(errors),
            address=self.target.address,
            login=f"{self.target.user}@{host}" if self.target.user else host,
            place=f"{host}{port}",
        )

    def _ssh(self) -> str:
        """What follows `ssh`; ssh-copy-id takes the same."""
        user, port = self.target.user, self.target.port
        words = ["-F", str(self.config)] if self.config else []
        words += ["-p", str(port)] if port else []
        return shlex.join(
            [*words, f"{user}@{self.target.address}" if user else self.target.address]
        )

    def _known(self, errors: str) -> str:
        """What follows `ssh-keygen` to forget its key."""
        address, port = self.target.address, self.target.port
        name = f"[{address}]:{port}" if port not in (None, 22) else address
        called, file = _CHANGED.search(errors), _OFFENDING.search(errors)
        words = ["-f", file[1]] if file else []
        return shlex.join([*words, "-R", called[1] if called else name])


@dataclass(frozen=True)
class _Row:
    kind: str
    said: re.Pattern[str]
    what: str
    fix: str


def _row(kind: str, said: str, what: str, fix: str) -> _Row:
    return _Row(kind, re.compile(said, re.I), what, fix)


# The words of OpenSSH (9.2, 10.0; run) and of the C library; what comes first counts. a fix
# has the words of `Way`.
ROWS: tuple[_Row, ...] = (
    _row(
        "host-key-changed",
        r"REMOTE HOST IDENTIFICATION HAS CHANGED",
        "its host key is not the one in known_hosts: it was reinstalled, or somebody else"
        " answers in its place",
        "find out which; if it was reinstalled: ssh-keygen {known}, then ssh {ssh} once",
    ),
    _row(
        "host-key-unknown",
        r"Host key verification failed|No \S+ host key is known",
        "its host key is not in known_hosts, and nobody is asked in a batch",
        "ssh {ssh} once and compare the fingerprint, or put its key into known_hosts",
    ),
    _row(
        "ssh-config",
        r"Bad configuration option|Bad owner or permissions|terminating, \d+ bad|"
        r"Can't open user config|no argument after keyword|Could not open user configuration",
        "ssh does not accept its own configuration",
        "ssh -G {ssh} says where it is wrong",
    ),
    _row(
        "key-file-open",
        r"UNPROTECTED PRIVATE KEY FILE",
        "others may read the key that ssh would use, so it does not",
        "chmod 600 that key",
    ),
    _row(
        "jump-host",
        r"stdio forwarding failed|UNKNOWN port 65535|kex_exchange.*via|ProxyCommand|ProxyJump",
        "the host in between (ProxyJump, ProxyCommand) does not lead to it",
        "ssh -v {ssh} says where it ends",
    ),
    _row(
        "permission-denied",
        r"Permission denied|Too many authentication failures|No more authentication methods",
        "it does not accept the keys that ssh offers here",
        "ssh-copy-id {ssh}, or say the user: USER@{place}",
    ),
    _row(
        "name-unknown",
        r"Could not resolve hostname|Name or service not known",
        "no address is known for that name",
        "spell it as DNS, /etc/hosts or ~/.ssh/config have it",
    ),
    _row(
        "refused",
        r"Connection refused",
        "it is there, and nobody listens on its ssh port",
        "start sshd there, or say the port: {login}:PORT",
    ),
    _row(
        "no-route",
        r"No route to host|Network is unreachable|Host is down",
        "no way leads to it",
        "is it switched on, and in this network? ping {address}",
    ),
    _row(
        "timeout",
        r"timed out|Timeout, server .* not responding|Connection timed out",
        "it does not answer",
        "is it switched on, hung, or behind a firewall? its console or BMC tells",
    ),
    _row(
        "no-agreement",
        r"Unable to negotiate|no matching .* found|Invalid key length",
        "ssh here and sshd there have no method in common",
        "ssh -v {ssh} says which; update the older of them",
    ),
    _row(
        "no-shell",
        r"account is currently not available|not found|No such file or directory|"
        r"This service allows sftp connections only|administratively prohibited|not recognized",
        "its user has no shell that runs a command",
        "say a user who has one: USER@{place}",
    ),
    _row(
        "closed",
        r"Connection (?:to \S+ )?(?:closed|reset)|kex_exchange_identification|Broken pipe",
        "it closed the connection",
        "sshd's log there says why: journalctl -u ssh (MaxStartups, AllowUsers, a full disk)",
    ),
)
NO_AGENT = "; no ssh agent is running here (SSH_AUTH_SOCK is not set)"


def refusal(way: Way, errors: str, *, has_agent: bool) -> Unreachable:
    """What ssh's words mean; its last line where they are not known here."""
    row = next((one for one in ROWS if one.said.search(errors)), None)
    if row is None:
        last = next((line for line in reversed(errors.splitlines()) if line.strip()), "nothing")
        said = printable.line(last.strip())[:LONGEST]
        return Unreachable(
            "other", f"ssh ended and said: {said}", way.in_words("ssh -v {ssh} says more")
        )
    agent = NO_AGENT if row.kind == "permission-denied" and not has_agent else ""
    return Unreachable(row.kind, row.what + agent, way.in_words(row.fix, errors))


def late(way: Way, deadline: float) -> Unreachable:
    """That a host took the connection, or not even that, and told nothing within the deadline."""
    return Unreachable(
        "deadline",
        f"it told nothing within {deadline:g} s",
        way.in_words("is it hung or very busy? ssh {ssh} uptime; --deadline gives it longer"),
    )


def endless(way: Way, deadline: float) -> Unreachable:
    """That a host printed all the time, and none of it was an answer."""
    return Unreachable(
        "endless",
        f"it printed without an end for {deadline:g} s, and no answer: a command of its own runs"
        " in place of the shell",
        way.in_words(
            "ssh {ssh} uname -a must print one line: look for ForceCommand in sshd's configuration,"
            " command= in authorized_keys, and what the shell's profile starts"
        ),
    )
