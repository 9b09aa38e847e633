"""Text that goes to strangers: without keys, names of hosts and people, addresses, and serial
numbers.

What is known to be secret here is replaced wherever it stands; what only looks like it is replaced
by its shape. A secret becomes `[redacted]`. A name becomes a number, `[host 2]`, and keeps it as
long as its Scrubber lives: whether two lines mean the same GPU can still be told.
"""

from __future__ import annotations

import ipaddress
import json
import os
import re
import socket
from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache, partial
from typing import Any

from launcher.address import LOCAL, is_loopback
from launcher.files.reading import parsed, read_text
from launcher.redact import secrets
from launcher.redact.keyspelling import HIDDEN, Spellings
from launcher.redact.names import Names
from launcher.redact.secrets import SECRET_VARIABLE, pieces

Marks = Collection[str] | re.Pattern[str]  # texts, or a pattern, in small letters
MOST_KEYS = 1000
LONGEST_NAME = 100  # characters before a value that may tell what it is
MOST_ID = 4096  # bytes
# letters; a shorter secret counts only where it stands alone, or it would blank out innocent words
SHORTEST = 6
# users that are no person
_NOBODY = {
    "root",
    "nobody",
    "admin",
    "user",
    "ubuntu",
    "debian",
    "glm5-serve",
}
# Values of variables that are named like secrets, but say whether or how there is one, or are too
# short to tell.
_SETTING = re.compile(
    r"\W*|..?|\d{3}|(?i:true|false|yes|off|none|null|auto|default|basic|token|bearer|oidc|ldap)"
)

_HEX = "[0-9A-Fa-f]"
_UUID = rf"{_HEX}{{8}}(?<![0-9A-Za-z].{{8}})(?:-(?:{_HEX}{{4}}-){{3}}{_HEX}{{12}}|(?<=(?:GPU|MIG)-.{{8}}))(?![\w-])"
_MAC = rf"{_HEX}{{2}}[:-](?<![\w:-].{{3}})(?:(?:{_HEX}{{2}}:){{4,}}|(?:{_HEX}{{2}}-){{4}}){_HEX}{{2}}(?![\w:-])"
_SERIAL = r"""(?P<before>[Ss](?:(?:erial|ERIAL)(?:[ _]?(?:[Nn]umber|[Nn]o))?|/N)\\*['"]?[ \t]*[:=][ \t]*\\*['"]?)"""
# of systemd: glm5-serve@8xpro6000.service
_UNITS = r"(?:service|socket|slice|scope|timer|target|mount)\b"
_THINGS: tuple[tuple[Marks, str, re.Pattern[str]], ...] = (
    (re.compile(r"-[0-9a-f]{4}-[0-9a-f]{4}-|gpu-|mig-"), "uuid", re.compile(_UUID)),
    (
        "serial s/n".split(),
        "serial",
        re.compile(rf"{_SERIAL}(?!tty)(?=[A-Za-z-]*\d)[A-Za-z0-9-]{{5,}}(?![\w/])"),
    ),
    (re.compile(r":..:..:..:|-..-..-..-"), "mac", re.compile(_MAC)),
    (
        "@".split(),
        "e-mail",
        re.compile(rf"(?<![\w.+-])[\w.+-]++@(?:[\w-]++\.)+(?!{_UNITS})[A-Za-z]{{2,}}\b"),
    ),
    (
        ".".split(),
        "address",
        re.compile(r"[1-9](?<![\w.].)\d{0,2}(?:\.\d{1,3}){3}(?!\w|\.\w|\+|-\d+\+)"),
    ),
    # Global, unique local, link-local: no other kind tells where a host is.
    (
        ":".split(),
        "address",
        re.compile(rf"[23Ff]{_HEX}{{3}}(?<![\w:.].{{4}})(?:::?{_HEX}{{1,4}}){{1,7}}(?:::)?(?!\w)"),
    ),
    (
        "home/ users/".split(),
        "user",
        re.compile(r"""(?P<before>/(?:home|[Uu]sers)/)(?!\[)[^\s/'":;,)\]\\]+"""),
    ),
)
# A version may look just like an address; what is written before it tells.
_VERSIONED = (
    "version release installed wanted firmware bios fw nccl nvidia cu flashinfer torch tensorrt"
    " sglang triton transformers"
).split()
_VERSION = re.compile(
    r"(?:version|release|installed|wanted|firmware|bios|\bfw|nccl|nvidia|\bcu[a-z]{2,}|flashinfer|torch|tensorrt|sglang"
    r"""|triton|transformers)[\w-]*['"]?[\s:=('"]*\Z"""
)
_COMPARED = re.compile(r"(?:[=<>~!]=\s*|[a-z]\w*-)\Z")
# What names a host: NCCL's lines, those of syslog and the journal, options. Once known, it is
# replaced everywhere.
_SAYS = r" (?!(?:DEBUG|INFO|WARNING|ERROR|CRITICAL) )([\w.-]+) (?:kernel|[\w@.-]+\[\d+\]): "
_HOSTS: tuple[tuple[Marks, re.Pattern[str]], ...] = (
    (
        "nccl".split(),
        re.compile(
            r"(?<![\w.:-])(?!\d{4}-)(?=[\w.-]*[A-Za-z])([\w.-]++):\d+:\d+ \[-?\d+\]"
            r" [^\n]{0,100}?\bNCCL\b"
        ),
    ),
    ("kernel: ]: ".split(), re.compile(rf"[A-Z][a-z]{{2}} [ \d]\d \d\d:\d\d:\d\d{_SAYS}")),
    (
        "kernel: ]: ".split(),
        re.compile(rf"[12]\d{{3}}-\d\d-\d\dT\d\d:\d\d:\d\d[\d.,]*(?:Z|[+-]\d\d:?\d\d){_SAYS}"),
    ),
    (
        "host dist tcp://".split(),
        re.compile(
            r"""[Hhdt](?:(?:ost_?[Nn]ame|ist[_-]init[_-]addr)['"]?(?:[ \t]*+[:=][ \t]*+|[ \t]++)['"]?|cp://)"""
            # a plain word there is rather a variable
            r"(?=[A-Za-z_]*[\d-])(?=[\w.-]*[A-Za-z])(\w[\w.-]*+)(?!\()"
        ),
    ),
)


class Scrubber:
    """What is secret on this host: the key, values of variables named like secrets, names of hosts
    and users.
    """

    def __init__(
        self,
        key: str | None,
        environ: Mapping[str, str],
        more: Mapping[str, str] | None = None,
        hosts: Iterable[str] | None = None,
    ) -> None:
        self._numbers: dict[str, dict[str, int]] = {}
        self._names = Names()
        self._keys: dict[
            str, str
        ] = {}  # words of JSON objects, which are few and come again and again
        own = {*_secrets({**environ, **(more or {})}), *_ids()} - {key}
        short = sorted(secret for secret in own if len(secret) < SHORTEST)
        self._short = [(secret, re.compile(_alone(secret))) for secret in short]
        self._secrets = Spellings(*[key] if key else [], also=own - set(short))
        for host in _own() if hosts is None else hosts:
            self._learn(host)
        for name in ("USER", "LOGNAME", "SUDO_USER"):
            if len(user := environ.get(name, "")) > 1 and user not in _NOBODY:
                self._names.learn(user, self._called("user", user), any_case=False)

    def clean(self, text: str) -> str:
        """`text`, fit to be sent to strangers. The time that it takes grows with the text alone."""
        text = secrets.hide(self._secrets.hide(text))
        for piece in pieces(text):
            self._learn_hosts(piece)
        return "".join(map(self._clean, pieces(text)))

    def _clean(self, text: str) -> str:
        small = text.lower()
        for secret, pattern in self._short:
            if secret in text:
                text = pattern.sub(HIDDEN, text)
        for marks, kind, shape in _THINGS:
            if _has(small, marks):
                text = shape.sub(partial(self._number, kind), text)
        for marks, shape in _HOSTS if self._names.is_full else ():
            if _has(small, marks):
                text = shape.sub(lambda found: found[0].replace(found[1], "[host]"), text)
        return self._names.replace(text)

    def clean_json(self, text: str) -> str:
        """JSON, or lines of it, fit to be sent to strangers, and JSON still; what is none is
        cleaned as text.
        """
        try:
            return json.dumps(self._data(parsed(text)), indent=1)
        except (ValueError, RecursionError):
            return "".join(self._line(line) for line in text.splitlines(keepends=True))

    def _line(self, line: str) -> str:
        try:
            return json.dumps(self._data(parsed(line))) + "\n"
        except (ValueError, RecursionError):
            return self.clean(line)

    def _data(self, data: Any, name: str = "") -> Any:
        """JSON data; `name` is what stands before it: its key, or the option whose value it is."""
        match data:
            case dict():
                return {self._key(key): self._data(value, key) for key, value in data.items()}
            case list():
                before = [
                    part if isinstance(part, str) and part.startswith("--") else name
                    for part in data
                ]
                return [
                    self._data(part, flag)
                    for flag, part in zip([name, *before], data, strict=False)
                ]
            case None | bool():
                return data
        cleaned = self._value(name, str(data))
        return data if cleaned == str(data) else cleaned

    def _value(self, name: str, value: str) -> str:
        """A value, seen with its name before it, as the shapes know it."""
        head = f'"{name[-LONGEST_NAME:]}": "'
        if secrets.begins(head + value, len(head)):
            return HIDDEN
        cleaned = self.clean(head + value)
        return cleaned.removeprefix(head) if cleaned.startswith(head) else self.clean(value)

    def _key(self, key: str) -> str:
        """A key of an object.

        One that is a plain word stays, or a host named "gpu" would rename a field.
        """
        if not key.isidentifier():
            return self.clean(key)
        if key not in self._keys:
            if len(self._keys) > MOST_KEYS:
                self._keys.clear()
            cleaned = self.clean(key)
            self._keys[key] = cleaned if HIDDEN in cleaned else key
        return self._keys[key]

    def _learn_hosts(self, text: str) -> None:
        """Learn the names of hosts that a text tells."""
        small = text.lower()
        for marks, shape in _HOSTS:
            if _has(small, marks):
                for host in sorted(set(shape.findall(text))):
                    self._learn(host)

    def _learn(self, host: str) -> None:
        """Replace the name of a host from now on, with or without its domain, and the domain of
        others.
        """
        short, _, domain = host.partition(".")
        if len(short) < 2 or short == LOCAL:
            return
        for name in (host, short):
            self._names.learn(name, self._called("host", short.lower()))
        if "." in domain:
            self._names.learn(domain, "[domain]")

    def _number(self, kind: str, found: re.Match[str]) -> str:
        head = secrets.before(found)
        thing = found[0][len(head) :]
        if kind == "address" and _no_address(found):
            return thing
        return head + self._called(kind, _same(kind, thing))

    def _called(self, kind: str, thing: str) -> str:
        """What a thing is called from the first time it is seen."""
        numbers = self._numbers.setdefault(kind, {})
        return f"[{kind} {numbers.setdefault(thing, len(numbers) + 1)}]"


def _same(kind: str, thing: str) -> str:
    """What two spellings of a thing have in common: only in users does case matter, and a UUID may
    be cut.
    """
    return thing if kind == "user" else thing[:8].lower() if kind == "uuid" else thing.lower()


def _no_address(found: re.Match[str]) -> bool:
    """Whether what looks like an address is a version, or names no host."""
    if not _is_address(found[0]):
        return True
    if ":" in found[0]:
        return False
    before = found.string[max(0, found.start() - 40) : found.start()].lower()
    named = any(word in before for word in _VERSIONED) and _VERSION.search(before)
    return bool(named or _COMPARED.search(before))


@lru_cache(maxsize=4096)
def _is_address(text: str) -> bool:
    """Whether it is the address of a host that is not this one."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    return not (is_loopback(text) or address.is_reserved)


def _has(text: str, marks: Marks) -> bool:
    return (
        bool(marks.search(text))
        if isinstance(marks, re.Pattern)
        else any(map(text.__contains__, marks))
    )


def _alone(word: str) -> str:
    """A pattern for a word that is no part of another."""
    return rf"(?<![^\W_]){re.escape(word)}(?![^\W_])"


def _secrets(variables: Mapping[str, str]) -> list[str]:
    """The values of variables that are named like secrets, but for those that are settings."""
    named = [value for name, value in variables.items() if SECRET_VARIABLE.search(name)]
    return [value for value in named if not _SETTING.fullmatch(value)]


def _own() -> list[str]:
    """The names of this host."""
    return [socket.gethostname(), os.uname().nodename]


def _ids() -> set[str]:
    """Numbers that name this machine, as far as this user may read them."""
    found = set()
    places = [
        "/etc/machine-id",
        *(f"/sys/class/dmi/id/{name}_serial" for name in ("product", "board", "chassis")),
    ]
    for place in places:
        try:
            found.add(read_text(place, MOST_ID).strip())
        except OSError:
            continue
    return {
        word for word in found if any(char.isdigit() for char in word) and len(word) >= SHORTEST
    }
