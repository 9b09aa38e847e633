"""Why a host was not reached, from what ssh said: one clear message each. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from launcher import printable

LONGEST = 200  # characters of ssh's own words


@dataclass(frozen=True)
class Unreachable:
    """That nothing is known of a host: `kind` for programs, what is, and what to do."""

    kind: str
    what: str
    fix: str


@dataclass(frozen=True)
class _Row:
    kind: str
    said: re.Pattern[str]
    what: str
    fix: str


def _row(kind: str, said: str, what: str, fix: str) -> _Row:
    return _Row(kind, re.compile(said, re.I), what, fix)


# The words of OpenSSH (9.2, 10.0; run) and of the C library; what comes first counts. {host} is
# the host as it was called.
ROWS: tuple[_Row, ...] = (
    _row(
        "host-key-changed",
        r"REMOTE HOST IDENTIFICATION HAS CHANGED",
        "its host key is not the one in known_hosts: it was installed anew, or somebody else"
        " answers in its place",
        "find out which; if it was installed anew: ssh-keygen -R {host}, then ssh {host} once",
    ),
    _row(
        "host-key-unknown",
        r"Host key verification failed|No \S+ host key is known",
        "its host key is not in known_hosts, and nobody is asked in a batch",
        "ssh {host} once and compare the fingerprint, or put its key into known_hosts",
    ),
    _row(
        "ssh-config",
        r"Bad configuration option|Bad owner or permissions|terminating, \d+ bad|"
        r"Can't open user config|no argument after keyword|Could not open user configuration",
        "ssh does not accept its own configuration",
        "ssh -G {host} says where it is wrong",
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
        "ssh -v {host} says where it ends",
    ),
    _row(
        "permission-denied",
        r"Permission denied|Too many authentication failures|No more authentication methods",
        "it does not accept the keys that ssh offers here",
        "ssh-copy-id {host}, or say the user: USER@{host}",
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
        "start sshd there, or say the port: {host}:PORT",
    ),
    _row(
        "no-route",
        r"No route to host|Network is unreachable|Host is down",
        "no way leads to it",
        "is it switched on, and in this network? ping {host}",
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
        "ssh -v {host} says which; update the older of them",
    ),
    _row(
        "no-shell",
        r"account is currently not available|not found|No such file or directory|"
        r"This service allows sftp connections only|administratively prohibited|not recognized",
        "its user has no shell that runs a command",
        "say a user who has one: USER@{host}",
    ),
    _row(
        "closed",
        r"Connection (?:to \S+ )?(?:closed|reset)|kex_exchange_identification|Broken pipe",
        "it closed the connection",
        "sshd's log there says why: journalctl -u ssh (MaxStartups, AllowUsers, a full disk)",
    ),
)
NO_AGENT = "; no ssh agent is running here (SSH_AUTH_SOCK is not set)"


def refusal(host: str, errors: str, *, has_agent: bool) -> Unreachable:
    """What ssh's words mean; its last line where they are not known here."""
    row = next((one for one in ROWS if one.said.search(errors)), None)
    if row is None:
        last = next((line for line in reversed(errors.splitlines()) if line.strip()), "nothing")
        said = printable.line(last.strip())[:LONGEST]
        return Unreachable("other", f"ssh ended and said: {said}", f"ssh -v {host} says more")
    agent = NO_AGENT if row.kind == "permission-denied" and not has_agent else ""
    return Unreachable(row.kind, row.what + agent, row.fix.format(host=host))


def late(host: str, deadline: float) -> Unreachable:
    """That a host took the connection, or not even that, and told nothing within the deadline."""
    return Unreachable(
        "deadline",
        f"it told nothing within {deadline:g} s",
        f"is it hung or very busy? ssh {host} uptime; --deadline gives it longer",
    )


def endless(host: str, deadline: float) -> Unreachable:
    """That a host printed all the time, and none of it was an answer."""
    return Unreachable(
        "endless",
        f"it printed without an end for {deadline:g} s, and no answer: a command of its own runs"
        " in place of the shell",
        f"ssh {host} uname -a must print one line: look for ForceCommand in sshd's configuration,"
        " command= in authorized_keys, and what the shell's profile starts",
    )
