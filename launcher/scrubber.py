"""Text that goes to strangers: without keys, names of hosts and people, addresses, and serial numbers.

What is known to be secret here is replaced wherever it stands; what only looks like it is replaced by its shape. A
secret becomes `[redacted]`. A name becomes a number, `[host 2]`, and keeps it as long as its Scrubber lives:
whether two lines mean the same GPU can still be told.
"""

from __future__ import annotations

import ipaddress
import json
import os
import re
import socket
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from launcher.keys import INNOCENT, SECRET_VARIABLE, printed
from launcher.keyspelling import HIDDEN

SHORTEST = 6  # letters; a shorter secret counts only where it stands alone, or it would blank out innocent words
_NOBODY = {"root", "nobody", "admin", "user", "ubuntu", "debian", "glm5-serve"}  # users that are no person
# Values of variables that are named like secrets, but say whether or how there is one, or are too short to tell.
_SETTING = re.compile(r"\W*|..?|\d{3}|(?i:true|false|yes|off|none|null|auto|default|basic|token|bearer|oidc|ldap)")

# Tokens of a model: eos_token='</s>', "bytes_per_token": 61464, `invalid token: unexpected`.
_OF_MODELS = (
    "per eos bos pad unk sep cls mask next stop new cached first last image audio video draft special added"
)
_TOKEN = (
    "token"
    + "".join(rf"(?<!\b{word}.token)(?<!_{word}.token)" for word in _OF_MODELS.split())
    + r"""(?!\\*['"]?[ \t]*[=:,]?[ \t]*\\*['"]?(?:[\d.]+(?![\w-])|[<(\[{]))(?!: [a-z]+\b(?![\w-]))"""
)
_NO_PATH = r"""(?!\\*['"]?[ \t]*[=:][ \t]*\\*['"]?/)"""  # a file that holds them is no secret
_NAMED = printed(
    rf"{_TOKEN}|secret|passw(?:or)?d|passphrase|(?:api|secret|access)[_-]?key|access_?key_?id"
    rf"|(?:(?<!Load)(?<!APPLICATION_)credentials?|(?-i:\bpwd)){_NO_PATH}"
    rf"|(?-i:_(?:KEY|PASS|PAT|AUTH|PWD){INNOCENT}(?==|\\*['\"]:))",
    "tspac_",
)
_HEADER = printed(  # their values go on to the end of the line
    r"authorization|cookie|x-(?:api|auth)-(?:key|token)|(?<![\w-])api-key", "acx", r"""[^'"\r\n\\]+"""
)
# Each shape begins with what is rare, and looks back from there, or 32 MB of log would take minutes.
_TOKENS = re.compile(  # what issuers make recognisable
    r"(?<![A-Za-z0-9])(?:hf_(?=[a-z]*[A-Z0-9])[A-Za-z0-9]{16,}|gh[pousr]_[A-Za-z0-9]{12,}|(?:github|dckr)_pat_\w{12,}"
    r"|glpat-[\w-]{12,}|xox[a-z]-[\w-]{10,}|[prs]k_(?:live|test)_\w{10,}|[ps]k-(?=[\w-]{0,40}\d)[\w-]{16,}"
    r"|nvapi-[\w-]{10,}|gsk_[A-Za-z0-9]{30,}|npm_[A-Za-z0-9]{30,}|pypi-AgE[\w-]{16,}|ya29\.[\w-]{16,}"
    r"|A(?:KI|SI)A[0-9A-Z]{12,}|AIza[\w-]{20,}|(?<![_-])eyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*)?)"
)
_BEARER = re.compile(r"(?P<before>[Bb](?:earer|EARER) +)(?!token|auth|\[)[\w.~+/=-]{4,}")
_IN_URL = re.compile(  # a password that nobody escaped may hold any of /?#
    r"""(?P<before>://)(?:[^\s/?#'"<>\\]*|[^\s/?#'"<>\\:]+:(?!\w+/)[^\s'"<>\\@]{1,80})(?=@)"""
)
_HOOK = re.compile(r"(?P<before>hooks\.slack\.com/)[\w/-]+")
_SIGNED = re.compile(
    r"(?P<before>[?&;](?i:(?:x-(?:amz|goog)-)?(?:signature|sig|credential|security-token|token|key|key-pair-id|policy)=))"
    r"""[^\s&;'"\\]+"""
)
# A log is cut where it rotates: a private key may lack its end there, or its beginning. None is longer than this.
_PRIVATE = r"[A-Z ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
_PEM = re.compile(
    rf"(?s)-----BEGIN {_PRIVATE}(?:.{{0,12000}}?(?:-----END {_PRIVATE}|(?=-----BEGIN )|\Z)|.{{12000}})"
)
_PEM_END = re.compile(rf"(?s)\A.{{0,12000}}?-----END {_PRIVATE}")
_SECRETS = (_PEM, _PEM_END, _HEADER, _NAMED, _TOKENS, _BEARER, _IN_URL, _HOOK, _SIGNED)

_HEX = "[0-9A-Fa-f]"
_UUID = (
    rf"{_HEX}{{8}}(?<![0-9A-Za-z].{{8}})(?:-(?:{_HEX}{{4}}-){{3}}{_HEX}{{12}}|(?<=(?:GPU|MIG)-.{{8}}))(?![\w-])"
)
_MAC = rf"{_HEX}{{2}}[:-](?<![\w:-].{{3}})(?:(?:{_HEX}{{2}}:){{4,}}|(?:{_HEX}{{2}}-){{4}}){_HEX}{{2}}(?![\w:-])"
_SERIAL = (
    r"""(?P<before>[Ss](?:(?:erial|ERIAL)(?:[ _]?(?:[Nn]umber|[Nn]o))?|/N)\\*['"]?[ \t]*[:=][ \t]*\\*['"]?)"""
)
_UNITS = r"(?:service|socket|slice|scope|timer|target|mount)\b"  # of systemd: glm5-serve@8xpro6000.service
_THINGS = (
    ("uuid", re.compile(_UUID)),
    ("serial", re.compile(rf"{_SERIAL}(?!tty)(?=[A-Za-z-]*\d)[A-Za-z0-9-]{{5,}}(?![\w/])")),
    ("mac", re.compile(_MAC)),
    ("e-mail", re.compile(rf"(?<![\w.+-])[\w.+-]++@(?:[\w-]++\.)+(?!{_UNITS})[A-Za-z]{{2,}}\b")),
    ("address", re.compile(r"[1-9](?<![\w.].)\d{0,2}(?:\.\d{1,3}){3}(?!\w|\.\w|\+|-\d+\+)")),
    # Global, unique local, link-local: no other kind tells where a host is.
    ("address", re.compile(rf"[23Ff]{_HEX}{{3}}(?<![\w:.].{{4}})(?:::?{_HEX}{{1,4}}){{1,7}}(?:::)?(?!\w)")),
    ("user", re.compile(r"""(?P<before>/(?:home|[Uu]sers)/)(?!\[)[^\s/'":;,)\]\\]+""")),
)
# A version may look just like an address; what is written before it tells.
_VERSION = re.compile(
    r"(?i)(?:(?:version|release|installed|wanted|firmware|bios|\bfw|nccl|nvidia|\bcu[a-z]{2,}|flashinfer|torch|tensorrt"
    r"""|sglang|triton|transformers)[\w-]*['"]?[\s:=('"]*|[=<>~!]=\s*|[a-z]\w*-)$"""
)
# What names a host: NCCL's lines, those of syslog and the journal, options. Once known, it is replaced everywhere.
_SAYS = r" (?!(?:DEBUG|INFO|WARNING|ERROR|CRITICAL) )([\w.-]+) (?:kernel|[\w@.-]+\[\d+\]): "
_HOSTS = (
    re.compile(r"(?<![\w.:-])(?!\d{4}-)(?=[\w.-]*[A-Za-z])([\w.-]++):\d+:\d+ \[-?\d+\] [^\n]{0,300}?\bNCCL\b"),
    re.compile(rf"[A-Z][a-z]{{2}} [ \d]\d \d\d:\d\d:\d\d{_SAYS}"),
    re.compile(rf"[12]\d{{3}}-\d\d-\d\dT\d\d:\d\d:\d\d[\d.,]*(?:Z|[+-]\d\d:?\d\d){_SAYS}"),
    re.compile(
        r"""[Hhdt](?:(?:ost_?[Nn]ame|ist[_-]init[_-]addr)['"]?[ \t]*[:= ][ \t]*['"]?|cp://)"""
        r"(?=[A-Za-z_]*[\d-])(?=[\w.-]*[A-Za-z])(\w[\w.-]*+)(?!\()"  # a plain word there is rather a variable
    ),
)


class Scrubber:
    """What is secret on this host: the key, values of variables named like secrets, names of hosts and users."""

    def __init__(
        self,
        key: str | None,
        environ: Mapping[str, str],
        more: Mapping[str, str] | None = None,
        hosts: Iterable[str] | None = None,
    ) -> None:
        self._numbers: dict[str, dict[str, int]] = {}
        self._secrets: dict[str, re.Pattern[str]] = {}
        self._names: dict[str, tuple[re.Pattern[str], str]] = {}
        for secret in (key or "", *_secrets({**environ, **(more or {})})):
            self._hide(secret, alone=secret != key and len(secret) < SHORTEST)
        for identity in _ids():
            self._hide(identity)
        for host in _own() if hosts is None else hosts:
            self._learn(host)
        for name in ("USER", "LOGNAME", "SUDO_USER"):
            if len(user := environ.get(name, "")) > 1 and user not in _NOBODY:
                self._names[user] = re.compile(_alone(user)), self._called("user", user)

    def clean(self, text: str) -> str:
        """`text`, fit to be sent to strangers."""
        for secret in sorted(self._secrets, key=len, reverse=True):
            if secret in text:
                text = self._secrets[secret].sub(HIDDEN, text)
        for shape in _HOSTS:
            for host in sorted(set(shape.findall(text))):
                self._learn(host)
        for shape in _SECRETS:
            text = shape.sub(lambda found: _before(found) + HIDDEN, text)
        for kind, shape in _THINGS:
            text = shape.sub(partial(self._number, kind), text)
        small = text.lower()
        for name in sorted(self._names, key=len, reverse=True):
            if name.lower() in small:
                pattern, instead = self._names[name]
                text = pattern.sub(instead, text)
        return text

    def clean_json(self, text: str) -> str:
        """JSON, or lines of it, fit to be sent to strangers, and JSON still; what is none is cleaned as text."""
        try:
            return json.dumps(self._data(json.loads(text)), indent=1)
        except (ValueError, RecursionError):
            return "".join(self._line(line) for line in text.splitlines(keepends=True))

    def _line(self, line: str) -> str:
        try:
            return json.dumps(self._data(json.loads(line))) + "\n"
        except (ValueError, RecursionError):
            return self.clean(line)

    def _data(self, data: Any, name: str = "") -> Any:
        """JSON data; `name` is what stands before it: its key, or the option whose value it is."""
        match data:
            case dict():
                return {self._key(key): self._data(value, key) for key, value in data.items()}
            case list():
                before = [part if isinstance(part, str) and part.startswith("--") else name for part in data]
                return [self._data(part, flag) for flag, part in zip([name, *before], data, strict=False)]
            case None | bool():
                return data
        cleaned = self._value(name, str(data))
        return data if cleaned == str(data) else cleaned

    def _value(self, name: str, value: str) -> str:
        """A value, seen with its name before it, as the shapes know it."""
        before = f'"{name}": "'
        found = _NAMED.search(before + value) or _HEADER.search(before + value)
        if found and found.end("before") == len(before):
            return HIDDEN
        cleaned = self.clean(before + value)
        return cleaned.removeprefix(before) if cleaned.startswith(before) else self.clean(value)

    def _key(self, key: str) -> str:
        """A key of an object. One that is a plain word stays, or a host named "gpu" would rename a field."""
        cleaned = self.clean(key)
        return key if key.isidentifier() and HIDDEN not in cleaned else cleaned

    def _hide(self, secret: str, *, alone: bool = False) -> None:
        """Never let this through again, as it is or as JSON writes it."""
        for form in {secret, json.dumps(secret)[1:-1]} - {""}:
            self._secrets[form] = re.compile(_alone(form) if alone else re.escape(form))

    def _learn(self, host: str) -> None:
        """Replace the name of a host from now on, with or without its domain, and the domain of others."""
        short, _, domain = host.partition(".")
        if len(short) < 2 or short == "localhost":
            return
        for name in (host, short):
            self._names[name] = re.compile(_alone(name), re.IGNORECASE), self._called("host", short.lower())
        if "." in domain:
            self._names[domain] = re.compile(_alone(domain), re.IGNORECASE), "[domain]"

    def _number(self, kind: str, found: re.Match[str]) -> str:
        before = _before(found)
        thing = found[0][len(before) :]
        if kind == "address" and _no_address(found):
            return thing
        return before + self._called(kind, _same(kind, thing))

    def _called(self, kind: str, thing: str) -> str:
        """What a thing is called from the first time it is seen."""
        numbers = self._numbers.setdefault(kind, {})
        return f"[{kind} {numbers.setdefault(thing, len(numbers) + 1)}]"


def _same(kind: str, thing: str) -> str:
    """What two spellings of a thing have in common: only in users does case matter, and a UUID may be cut."""
    return thing if kind == "user" else thing[:8].lower() if kind == "uuid" else thing.lower()


def _before(found: re.Match[str]) -> str:
    """What a shape wants to see before what it stands for, and keeps."""
    return found.groupdict().get("before") or ""


def _no_address(found: re.Match[str]) -> bool:
    """Whether what looks like an address is a version, or names no host."""
    try:
        address = ipaddress.ip_address(found[0])
    except ValueError:
        return True
    before = found.string[max(0, found.start() - 40) : found.start()]
    return address.is_loopback or address.is_reserved or (address.version == 4 and bool(_VERSION.search(before)))


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
    places = ["/etc/machine-id", *(f"/sys/class/dmi/id/{name}_serial" for name in ("product", "board", "chassis"))]
    for place in places:
        try:
            found.add(Path(place).read_text().strip())
        except OSError:
            continue
    return {word for word in found if any(char.isdigit() for char in word) and len(word) >= SHORTEST}
