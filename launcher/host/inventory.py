"""Which hosts somebody means: names in a row, a plain list, or an inventory as Ansible has it.

Of an inventory the hosts, groups and the variables that say how ssh reaches a host are read, from
INI and YAML (Ansible's documentation, "How to build your inventory"). What is not read (scripts,
templates, `group_vars`) is said, never guessed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from launcher.address import numeric
from launcher.errors import Exit, UserError
from launcher.files.reading import BOM, named, reason
from launcher.host import inventory_text
from launcher.host.inventory_text import ALL, Group, Variables

LARGEST = 4 << 20  # bytes of a list
MOST = 2000  # hosts that are asked in one go
FIX = "give it names: --hosts a,b,c, or a file: --hosts @hosts.txt, @inventory.ini:GROUP"
# What ssh takes without a word of it being an option, a command, or something to expand.
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,252}")
USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
_WORD = re.compile(r"(?:(?P<user>[^@]*)@)?(?:\[(?P<v6>[^]]*)\]|(?P<host>[^:]*))(?::(?P<port>\d+))?")
ADDRESS = ("ansible_host", "ansible_ssh_host")
LOGIN = ("ansible_user", "ansible_ssh_user")
PORT = ("ansible_port", "ansible_ssh_port")
# What else decides whether ssh comes there (Ansible's documentation, plugin `ssh`); not read, for
# it holds words of ssh and passwords.
UNREAD = (
    "ansible_ssh_args",
    "ansible_ssh_common_args",
    "ansible_ssh_extra_args",
    "ansible_ssh_executable",
    "ansible_ssh_private_key_file",
    "ansible_private_key_file",
    "ansible_ssh_pkcs11_provider",
    "ansible_ssh_host_key_checking",
    "ansible_host_key_checking",
    "ansible_ssh_pass",
    "ansible_ssh_password",
    "ansible_password",
)


@dataclass(frozen=True)
class Target:
    """One host as ssh is told of it; what is None ssh's own configuration says."""

    name: str  # as somebody called it
    address: str
    user: str | None = None
    port: int | None = None


@dataclass(frozen=True)
class Hosts:
    """The hosts that were meant, each once, and what was not read, in words."""

    targets: tuple[Target, ...]
    notes: tuple[str, ...] = field(default=())


def hosts(said: str) -> Hosts:
    """The hosts of `--hosts`: names and `@file`s, with commas between them. Raises UserError."""
    found: dict[str, Target] = {}
    notes: list[str] = []
    for word in filter(None, (part.strip() for part in said.split(","))):
        read = _file(word[1:]) if word.startswith("@") else _named(word)
        notes += read.notes
        for target in read.targets:
            found.setdefault(target.name, target)
    if not found:
        told = f": {'; '.join(notes)}" if notes else ""
        raise UserError(f"--hosts {said!r} names no host{told}", fix=FIX, status=Exit.USAGE)
    if len(found) > MOST:
        raise UserError(f"{len(found)} hosts, wanted at most {MOST}", fix="choose a group of them")
    return Hosts(tuple(found.values()), tuple(notes))


def _named(word: str) -> Hosts:
    return Hosts(tuple(map(_target, inventory_text.spread(word, "--hosts"))))


def _file(word: str) -> Hosts:
    """A list of hosts, `FILE` or `FILE:GROUP`."""
    file, group = word, ALL
    if not Path(word).exists() and ":" in word:
        file, _, group = word.rpartition(":")
    text = _text(file)
    groups = inventory_text.groups(text, file)
    if group not in groups:
        near = ", ".join(sorted(set(groups) - {ALL})[:10]) or "none"
        raise UserError(f"{file} has no group {group}", fix=f"its groups: {near}")
    return _of_group(groups, group, file)


def _text(file: str) -> str:
    try:
        with named(file) as stream:
            raw = stream.read(LARGEST + 1)
    except OSError as error:
        what = f"cannot read {file}: {reason(error)}"
        raise UserError(what, fix=FIX, status=Exit.USAGE) from None
    if raw.startswith(b"#!"):
        raise UserError(
            f"{file} is a program; nothing of it is run",
            fix=f"run it yourself: ansible-inventory -i {file} --list --yaml > hosts.yml",
        )
    if len(raw) > LARGEST or b"\0" in raw:
        raise UserError(f"{file} is no list of hosts", fix=FIX)
    return raw.decode("utf-8", "replace").removeprefix(BOM)


def _of_group(groups: Mapping[str, Group], group: str, file: str) -> Hosts:
    known = inventory_text.variables(groups)
    notes = [*_beside(file)]
    targets: list[Target] = []
    for name in inventory_text.members(groups, group):
        told = known[name]
        if obstacle := _obstacle(told):
            notes.append(f"{name} is not asked: {obstacle}")
        else:
            targets.append(_told(name, told, file))
    notes += _unread({one.name: known[one.name] for one in targets})
    return Hosts(tuple(targets), tuple(notes))


def _unread(asked: Mapping[str, Variables]) -> Iterator[str]:
    """What an inventory says of ssh beside the address; by its name alone, it may be a secret."""
    for key in UNREAD:
        if having := [name for name, told in asked.items() if told.get(key)]:
            of = f"{', '.join(having[:3])}{' and others' if having[3:] else ''}"
            yield f"{key} of {of} was not read: ~/.ssh/config, or --ssh-config FILE, must say it"


def _beside(file: str) -> Iterator[str]:
    for name in ("group_vars", "host_vars"):
        if (Path(file).parent / name).is_dir():
            yield f"{name} beside {file} was not read"


def _obstacle(told: Variables) -> str:
    """Why ssh does not lead to a host as its inventory has it; "" where it does."""
    connection = told.get("ansible_connection", "ssh")
    if connection not in ("ssh", "smart", "paramiko", "openssh"):
        return f"ansible_connection={connection}"
    named = (told.get(key, "") for key in (*ADDRESS, *LOGIN, *PORT))
    return "its address is a template" if any("{{" in one for one in named) else ""


def _told(name: str, told: Variables, file: str) -> Target:
    first = _target(name, file)
    address = _first(told, ADDRESS)
    return Target(
        name,
        _address(address, file) if address else first.address,
        _user(user, file) if (user := _first(told, LOGIN)) else first.user,
        _port(port, file) if (port := _first(told, PORT)) else first.port,
    )


def _first(told: Variables, keys: Sequence[str]) -> str | None:
    return next((told[key] for key in keys if told.get(key)), None)


def _target(word: str, place: str = "--hosts") -> Target:
    """`host`, `user@host`, `host:port`, `[address]:port`. Raises UserError for anything else."""
    if numeric(word):
        return Target(word, _address(word, place))
    found = _WORD.fullmatch(word)
    if not found:
        raise _odd(word, place)
    host, user, port = found["v6"] or found["host"], found["user"], found["port"]
    if found["v6"] is not None and not numeric(host):
        raise _odd(word, place)
    return Target(
        word,
        _address(host or "", place),
        None if user is None else _user(user, place),
        None if port is None else _port(port, place),
    )


def _address(text: str, place: str) -> str:
    """A name or an address. Raises UserError where ssh, or its configuration, could take it for
    something else.
    """
    bare = text.strip("[]")
    if numeric(bare) and "%" not in bare:  # of a scope (fe80::1%eth0) nothing is known here
        return bare
    if not NAME.fullmatch(text):
        raise _odd(text, place)
    return text


def _user(text: str, place: str) -> str:
    if not USER.fullmatch(text):
        raise UserError(f"{place}: {text!r} is no name of a user", fix=FIX, status=Exit.USAGE)
    return text


def _port(text: str, place: str) -> int:
    if not text.isdecimal() or not 0 < int(text[:6]) < 1 << 16:
        raise UserError(f"{place}: {text!r} is no port", fix=FIX, status=Exit.USAGE)
    return int(text)


def _odd(text: str, place: str) -> UserError:
    wanted = "letters, digits, dots, dashes and underscores, not a dash first"
    return UserError(
        f"{place}: {text[:80]!r} is no name of a host", fix=f"wanted {wanted}", status=Exit.USAGE
    )
