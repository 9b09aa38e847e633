"""What looks like a secret, whoever's it is: the one scrubber of every text that others wrote.

`diagnose`, `logs`, the server's log on its way to disk, `lint`, refusals, events and the state of a
server leave it out by `hide`; a bundle leaves out more. Standard library alone, for it stays for
weeks; a pattern is compiled when a text first has one of its marks.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

from launcher.redact.keyspelling import HIDDEN

Marks = Collection[str]  # one of them stands, in small letters, in each text that has such a secret
PIECE = 1 << 15  # characters that are looked at together
_QUOTE = r"""\\{0,16}+['"]"""  # escaped in JSON that stands in JSON
_BARE = r"""(?:[^\s'"&\\]|\\(?!['"\\\s]|\Z))+(?<![,;)}\]>])"""  # without quotes, up to what ends it
_FLAG = re.compile(r"(?<!-)--[\w-]{0,24}\Z")
_LONGEST_FLAG = 27  # characters, one before it included
# What goes on behind an option's name in a sentence, or stands for its value in one.
_SAID = (
    "wants takes has needs is are was and or in on of to for with without at by as alone given left"
    " named option options which that so where from instead stands wanted would KEY FILE".split()
)
# What the system says where something is wrong with credentials, or a key: glibc's own words, up to
# the end of the line. Whatever else may stand there is taken for a secret.
_ERRORS = (
    r"(?-i:No such (?:process|file or directory|device(?: or address)?)|Permission denied"
    r"|Operation not permitted|Invalid argument|Input/output error|Connection refused"
    r"|Is a directory|Not a directory|Read-only file system|Resource temporarily unavailable"
    r"|No route to host|Required key not available|Key has expired|Key has been revoked)"
    r"(?=[.;,)]?[ \t]*(?:[\r\n]|$))"
)
_NOTHING = r"""(?:None|null|True|true|False|false)(?=[\s'",;&)}\]\\]|$)"""


@dataclass(frozen=True)
class Printed:
    r"""What finds the value of a name, however a program prints the two.

    That is `n='x'`, `n: x`, `'n': 'x'`, `\"n\":\"x\"`, `--n x`, `['--n', 'x']`. A name is found
    first, and its value looked at only then: the time that this takes grows with the text alone.
    """

    head: re.Pattern[str]
    bare: re.Pattern[str]

    def hide(self, text: str) -> str:
        """A text without these values."""
        parts, done = [], 0
        for begin, end in self._values(text):
            parts += [text[done:begin], HIDDEN]
            done = end
        return "".join(parts) + text[done:] if parts else text

    def begins(self, text: str) -> int | None:
        """Where the first value begins."""
        return next((begin for begin, _ in self._values(text)), None)

    def _values(self, text: str) -> Iterator[tuple[int, int]]:
        at = 0
        while head := self.head.search(text, at):
            value = None
            if head["behind"] is None or _FLAG.search(
                text, max(0, head.start() - _LONGEST_FLAG), head.start()
            ):
                value = (_quoted(head["quote"]) if head["quote"] else self.bare).match(
                    text, head.end()
                )
            at = value.end() if value else head.start() + 1
            if value:
                yield head.end(), at


@lru_cache(maxsize=64)
def _quoted(quote: str) -> re.Pattern[str]:
    return re.compile(rf"(?:(?!{re.escape(quote)})(?:\\.|[^\\\r\n]))+")


def printed(names: str, initials: str, bare: str = _BARE, scheme: str = "") -> Printed:
    """What finds the values of names, patterns both; with the initials of the names it is three
    times as fast. `scheme` is what may stand before a value, and stays.
    """
    # only an option has its value behind a space, a comma or a continued line
    behind = r"(?P<behind>[ \t]*+,[ \t]*+|(?:[ \t]|\\\r?\n)++)"
    said = rf"(?!(?-i:{'|'.join(_SAID)})(?:[ \t,;:.)`]|$))"
    sign = rf"[ \t]*+=[ \t]*+|(?:[ \t]*+:[ \t]*+|{behind}){said}"
    nothing = rf"(?!{_NOTHING}|{_ERRORS}|\[redacted|--|\.{{3}}(?!\w))"
    name = rf"(?i)(?=[{initials}])(?:{names})(?:{_QUOTE})?"
    head = rf"{name}(?:{sign})(?P<quote>{_QUOTE})?{scheme}{nothing}"
    return Printed(re.compile(head), re.compile(bare))


# Names of variables that hold secrets: they belong into no profile, plan or report. Some only sound
# like it.
INNOCENT = "".join(f"(?<!{name}_KEY)" for name in ("GRAPH", "PUBLIC", "CACHE", "ROUTING", "SORT"))
SECRET_VARIABLE = re.compile(
    r"(?:(?:^|_)(?:TOKEN|SECRET|KEY|PASS|PAT|AUTH|AUTH_CONFIG|CREDENTIALS?)|_PWD|PASSWORD|PASSWD|PASSPHRASE|APIKEY)$"
    rf"{INNOCENT}(?<!PER_TOKEN)(?<!FORWARD_PASS)(?<!APPLICATION_CREDENTIALS)",
    re.IGNORECASE,
)

# Tokens of a model: eos_token='</s>', "bytes_per_token": 61464, `invalid token: unexpected`.
_OF_MODELS = (
    "per eos bos pad unk sep cls mask next stop new cached first last image audio video draft"
    " special added"
)
_TOKEN = (
    r"""token(?!\\*+['"]?[ \t]*+[=:,]?[ \t]*+\\*+['"]?(?:[\d.]+(?![\w-])|[<(\[{]))"""
    r"(?!: [a-z]+\b(?![\w-]))"
    + "".join(rf"(?<!\b{word}.token)(?<!_{word}.token)" for word in _OF_MODELS.split())
)
_NO_PATH = r"""(?!\\*+['"]?[ \t]*+[=:][ \t]*+\\*+['"]?/)"""  # a file that holds them is no secret
_NAMES = (
    rf"{_TOKEN}|secret|passw(?:or)?d|passphrase|(?:api|secret|access)[_-]?key|access_?key_?id"
    rf"|(?:(?<!Load)(?<!APPLICATION_)credentials?|(?-i:\bpwd)){_NO_PATH}"
    rf"|(?-i:_(?:KEY|PASS|PAT|AUTH|PWD){INNOCENT}(?==|\\*['\"]:))"
)
_HEADERS = r"authorization|cookie|x-(?:api|auth)-(?:key|token)|(?<![\w-])api-key"
_SCHEME = r"(?:(?:Bearer|Basic|Token)(?:[ \t]++|\Z))?+"
_REST = r"""[^'"\r\n\\]+"""  # their values go on to the end of the line
# Each shape begins with what is rare, and looks back from there, or 32 MB of log would take
# minutes.
_TOKENS = (  # what issuers make recognisable
    r"(?<![A-Za-z0-9])(?:hf_(?=[a-z]*[A-Z0-9])[A-Za-z0-9]{16,}|gh[pousr]_[A-Za-z0-9]{12,}|(?:github|dckr)_pat_\w{12,}"
    r"|glpat-[\w-]{12,}|xox[a-z]-[\w-]{10,}|[prs]k_(?:live|test)_\w{10,}|[ps]k-(?=[\w-]{0,40}\d)[\w-]{16,}|sk-(?:proj|ant|svcacct|admin|or)-[\w-]{8,}|sk-[A-Za-z0-9]{20,}"
    r"|nvapi-[\w-]{10,}|gsk_[A-Za-z0-9]{30,}|npm_[A-Za-z0-9]{30,}|pypi-AgE[\w-]{16,}|ya29\.[\w-]{16,}"
    r"|A(?:KI|SI)A[0-9A-Z]{12,}|AIza[\w-]{20,}|(?<![_-])eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}(?:\.[\w-]*)?)"
)
_BEARER = r"(?P<before>[Bb](?:earer|EARER) +)(?!token|auth|\[)[\w.~+/=-]{4,}"
_IN_URL = (  # a password that nobody escaped may hold any of /?#
    r"""(?P<before>://)(?:[^\s/?#'"<>\\]*|[^\s/?#'"<>\\:]+:(?!\w+/)[^\s'"<>\\@]{1,80})(?=@)"""
)
_HOOK = r"(?P<before>hooks\.slack\.com/)[\w/-]+"
_SIGNED = (
    r"(?P<before>[?&;](?i:(?:x-(?:amz|goog)-)?(?:signature|sig|credential|security-token|token|key|key-pair-id|policy)=))"
    r"""[^\s&;'"\\]+"""
)
# A log is cut where it rotates: a private key may lack its end there, or its beginning. None is
# longer than this.
_PRIVATE = r"[A-Z ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
_PEM = (
    rf"(?s)-----BEGIN {_PRIVATE}(?:.{{0,12000}}?(?:-----END {_PRIVATE}|(?=-----BEGIN"
    r" )|\Z)|.{12000})"
)
_PEM_END = rf"(?s)\A.{{0,12000}}?-----END {_PRIVATE}"
LONGEST_PRIVATE = 200  # lines of a private key
_PART = r"(?P<before>\A(?:.*[\]:|>)])?\s*)[A-Za-z0-9+/]+={0,2}\s*\Z"


@dataclass(frozen=True)
class _Shape:
    """A secret that is known by its looks."""

    pattern: re.Pattern[str]

    def hide(self, text: str) -> str:
        return self.pattern.sub(lambda found: before(found) + HIDDEN, text)


def before(found: re.Match[str]) -> str:
    """What a shape wants to see before what it stands for, and keeps."""
    return found.groupdict().get("before") or ""


@cache
def named(bare: str = _BARE) -> Printed:
    """Values of names that are those of secrets; `bare` is the pattern of one without quotes."""
    return printed(_NAMES, "tspac_", bare)


@cache
def _header() -> Printed:
    """Values of headers of HTTP."""
    return printed(_HEADERS, "acx", _REST, _SCHEME)


def begins(text: str, at: int) -> bool:
    """Whether the first value of a name that is a secret's begins there."""
    return at in (named().begins(text), _header().begins(text))


def _looks(pattern: str) -> Callable[[], _Shape]:
    return cache(lambda: _Shape(re.compile(pattern)))


# Most pieces of a log have no mark of any.
_FORMS: tuple[tuple[Marks, Callable[[], Printed | _Shape]], ...] = (
    ("authorization cookie x-api- x-auth- api-key".split(), _header),
    ("token secret passw passphrase key credential pwd _pass _pat _auth".split(), named),
    (
        "hf_ gh github_pat_ dckr_pat_ glpat- xox k_live_ k_test_ sk- pk- nvapi- gsk_ npm_ pypi-age"
        " ya29. akia asia aiza eyj".split(),
        _looks(_TOKENS),
    ),
    (["bearer"], _looks(_BEARER)),
    (["://"], _looks(_IN_URL)),
    (["hooks.slack.com/"], _looks(_HOOK)),
    (["="], _looks(_SIGNED)),
)
_private, _private_end = _looks(_PEM), _looks(_PEM_END)


def hide(text: str) -> str:
    """A text without what looks like a secret. The time that this takes grows with it alone."""
    if "PRIVATE KEY" in text:
        text = _private_end().hide(_private().hide(text))
    return _hidden(text) if len(text) <= PIECE else "".join(map(_hidden, pieces(text)))


def _hidden(text: str) -> str:
    small = text.lower()
    for marks, form in _FORMS:
        if has(small, marks):
            text = form().hide(text)
    return text


def hide_data(data: Any) -> Any:
    """JSON data, each text of it without what looks like a secret; of a variable that is called
    like one nothing.
    """
    match data:
        case str():
            return hide(data)
        case list():
            return [hide_data(part) for part in data]
        case dict():
            return {
                name: HIDDEN if is_secret(name) and isinstance(value, str) else hide_data(value)
                for name, value in data.items()
            }
    return data


def is_secret(name: object) -> bool:
    """Whether a variable is called as those are that hold secrets; names of JSON's members are in
    small letters, and none.
    """
    return isinstance(name, str) and name.isupper() and bool(SECRET_VARIABLE.search(name))


def has(text: str, marks: Marks) -> bool:
    """Whether one of them stands there."""
    return any(map(text.__contains__, marks))


def pieces(text: str) -> Iterator[str]:
    """A text, some lines at a time."""
    at = 0
    while at < len(text):
        end = text.find("\n", at + PIECE) + 1 or len(text)
        yield text[at:end]
        at = end


class Lines:
    """Lines that come one by one: a private key is longer than one of them, and so is remembered.

    Between its ends only what may be a part of it goes: a line of base64, with what a log puts
    before it. Another rank's words stay.
    """

    def __init__(self) -> None:
        self._left = 0  # lines that may yet be of a private key

    def hide(self, line: str) -> str:
        """A line without what looks like a secret."""
        if "PRIVATE KEY" in line:
            whole = _private().pattern.search(line)
            self._left = LONGEST_PRIVATE if whole and "-----END" not in whole[0] else 0
        elif self._left:
            self._left -= 1
            line = _part().sub(lambda found: before(found) + HIDDEN, line)
        return hide(line)


@cache
def _part() -> re.Pattern[str]:
    return re.compile(_PART)
