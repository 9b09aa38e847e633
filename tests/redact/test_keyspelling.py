"""A key in every spelling that a log gives it, in any pieces: it never comes out."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from launcher.redact.keyspelling import FEWEST, HIDDEN, MOST_OF, spellings
from launcher.serve import logfile
from launcher.serve.logfile import ServerLog

LAW = settings(
    deadline=None,
    max_examples=40,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
KEYS = st.from_regex(r"[A-Za-z0-9._~+/-]{8,40}={0,2}", fullmatch=True)
NAMES = {"-": "hyphen", ".": "period", "_": "lowbar", "+": "plus", "/": "sol", "=": "equals"}

LETTERS: dict[str, Callable[[str], str]] = {
    "as it is": lambda c: c,
    "URL": lambda c: f"%{ord(c):02X}",
    "url": lambda c: f"%{ord(c):02x}",
    "URL in a URL": lambda c: f"%25{ord(c):02X}",
    "URL in a URL in a URL": lambda c: f"%2525{ord(c):02x}",
    "JSON": lambda c: "\\/" if c == "/" else c,
    "JSON in JSON": lambda c: "\\\\/" if c == "/" else c,
    "unicode": lambda c: f"\\u{ord(c):04x}",
    "unicode in JSON": lambda c: f"\\\\u{ord(c):04X}",
    "unicode in JSON in JSON": lambda c: f"\\\\\\\\u{ord(c):04X}",
    "unicode in a URL": lambda c: f"%5Cu{ord(c):04x}",
    "Python": lambda c: f"\\x{ord(c):02x}",
    "C": lambda c: f"\\{ord(c):03o}",
    "shell": lambda c: c if c.isalnum() else f"\\{c}",
    "HTML": lambda c: f"&#{ord(c)};",
    "HTML, hexadecimal": lambda c: f"&#x{ord(c):X};",
    "HTML, with zeros": lambda c: f"&#x{ord(c):06x};",
    "HTML, by name": lambda c: f"&{NAMES[c]};" if c in NAMES else c,
    "HTML in HTML": lambda c: f"&amp;#{ord(c)};",
    "HTML in JSON": lambda c: f"\\u0026#{ord(c)};",
    "HTML in a URL": lambda c: f"%26%23{ord(c)}%3B",
}
WORDS: dict[str, Callable[[str], str]] = {
    "base64": lambda key: base64.b64encode(key.encode()).decode(),
    "base64 of user:key": lambda key: base64.b64encode(f"user:{key}".encode()).decode(),
    "base64 of u:key": lambda key: base64.b64encode(f"u:{key}".encode()).decode(),
    "base64 of :key:": lambda key: base64.urlsafe_b64encode(f":{key}:".encode()).decode(),
    "base64 in a URL": lambda key: quote(base64.b64encode(key.encode()).decode(), safe=""),
    "hexadecimal": lambda key: key.encode().hex(),
    "HEXADECIMAL": lambda key: key.encode().hex().upper(),
    "JSON in JSON in JSON": lambda key: json.dumps(
        json.dumps(json.dumps({"a": key.replace("/", "\\/")}))
    ),
    "repr": lambda key: repr({"key": key.encode()}),
}
BETWEEN = ["", "\x1b[0m", "\x1b[38;5;2m", "\x1b]0;title\x07", "\x1b]8;;http://x\x1b\\", "\0"]
ENDS = ["\n", "\r\n", "  \n    ", "\n\n", "\r"]


@st.composite
def letter_by_letter(draw: st.DrawFn, between: list[str] = BETWEEN) -> tuple[str, list[str]]:
    """A key, and how each of its letters is spelled."""
    key = draw(KEYS)
    few = [
        LETTERS[how]
        for how in draw(st.lists(st.sampled_from(sorted(LETTERS)), min_size=1, max_size=3))
    ]
    gaps = ["", *(draw(st.sampled_from(between)) for _ in key[1:])]
    return key, [gap + draw(st.sampled_from(few))(c) for gap, c in zip(gaps, key, strict=True)]


@st.composite
def as_a_whole(draw: st.DrawFn) -> tuple[str, list[str]]:
    """A key, and the letters of what it is encoded as."""
    key, how = draw(KEYS), draw(st.sampled_from(sorted(WORDS)))
    return key, list(WORDS[how](key))


SPELLED = letter_by_letter() | as_a_whole()


@st.composite
def over_lines(draw: st.DrawFn, text: str) -> str:
    """A text that ends of lines cut, in the middle of an escape too, but not of what colours it."""
    for at in sorted(draw(st.lists(st.integers(0, len(text)), max_size=4)), reverse=True):
        if "\x1b" not in text[max(0, at - 12) : at + 12]:
            text = text[:at] + draw(st.sampled_from(ENDS)) + text[at:]
    return text


@LAW
@given(KEYS)
def test_nothing_is_left_of_a_key_whose_letters_are_escaped(key: str) -> None:
    """In each of the ways, which share what finds the key: to make that takes the time."""
    for how, spelled in LETTERS.items():
        text = f"GET /x?key={''.join(map(spelled, key))} 200"

        assert spellings(key).hide(text) == f"GET /x?key={HIDDEN} 200", how


@LAW
@given(KEYS)
def test_nothing_is_left_of_a_key_that_is_encoded_as_a_whole(key: str) -> None:
    for how, encoded in WORDS.items():
        text = spellings(key).hide(f"Authorization: Basic {encoded(key)} 200")

        assert HIDDEN in text, how
        assert encoded(key)[-12:] not in text, how
        assert text.endswith(" 200"), how


@LAW
@given(SPELLED, st.text(max_size=8), st.text(max_size=8))
def test_a_key_never_comes_out_whatever_stands_around_it(
    it: tuple[str, list[str]], before: str, after: str
) -> None:
    key, parts = it
    hidden = spellings(key).hide(before + "".join(parts) + after)

    assert HIDDEN in hidden
    assert "".join(parts) not in hidden


AROUND = st.text("%\\&#;u0x2f5c\x1b[ \n=a", max_size=6)


@LAW
@given(SPELLED, AROUND, AROUND)
def test_escapes_around_a_key_do_not_hide_it(
    it: tuple[str, list[str]], before: str, after: str
) -> None:
    key, parts = it
    hidden = spellings(key).hide(before + "".join(parts) + after)

    assert "".join(parts) not in hidden
    assert spellings(key).hide(hidden) == hidden


def fed(log: ServerLog, raw: bytes, cuts: list[int]) -> list[str]:
    edges = [0, *sorted(cut for cut in cuts if cut < len(raw)), len(raw)]
    lines = [line for a, b in pairwise(edges) for line in log.feed(raw[a:b])]
    return lines + list(log.flush())


CUTS = st.lists(st.integers(0, 400), max_size=12)


@LAW
@given(SPELLED, CUTS)
def test_a_key_in_any_reads_never_comes_out(it: tuple[str, list[str]], cuts: list[int]) -> None:
    key, parts = it
    raw = f"before {''.join(parts)} after\nnext\n".encode()
    lines = fed(ServerLog(Path("/dev/null"), key), raw, cuts)

    assert lines[-1] == "next"
    assert lines[0].startswith("before ")
    assert lines[0].endswith(" after")
    assert HIDDEN in lines[0]
    assert "".join(parts)[-12:] not in lines[0]


@LAW
@given(
    letter_by_letter(BETWEEN + ENDS), CUTS, st.sampled_from(["", " after", "\nafter"]), st.data()
)
def test_of_a_key_over_many_lines_the_first_letters_come_out_at_most(
    it: tuple[str, list[str]], cuts: list[int], after: str, data: st.DataObject
) -> None:
    key, parts = it
    text = data.draw(over_lines("".join(parts)))
    lines = fed(ServerLog(Path("/dev/null"), key), f"before {text}{after}".encode(), cuts)
    left = "".join(lines).replace("before ", "", 1).removesuffix(after.strip())

    assert HIDDEN in left
    assert len("".join(left.replace(HIDDEN, "").split())) <= sum(map(len, parts[: FEWEST - 1])), (
        lines
    )


@LAW
@given(as_a_whole(), CUTS, st.sampled_from(["", " after", "\nafter"]), st.data())
def test_an_encoded_key_over_many_lines_never_comes_out(
    it: tuple[str, list[str]], cuts: list[int], after: str, data: st.DataObject
) -> None:
    key, parts = it
    text = data.draw(over_lines("".join(parts)))
    joined = "".join(fed(ServerLog(Path("/dev/null"), key), f"before {text}{after}".encode(), cuts))

    assert HIDDEN in joined
    assert "".join(parts)[-12:] not in joined
    assert key not in joined


@LAW
@given(KEYS, st.integers(1, 39))
def test_a_key_that_a_line_ends_in_half_is_held_back_until_the_next_tells(
    key: str, at: int
) -> None:
    at = min(at, len(key) - 1)
    log = ServerLog(Path("/dev/null"), key)
    first = list(log.feed(f"it is {key[:at]}\n".encode()))

    assert len(first) == (at < FEWEST)
    told = HIDDEN if at >= max(MOST_OF, len(key) // 2) else key[:at]
    assert list(log.feed(b"#else\n")) == [f"it is {told}"] * (at >= FEWEST) + ["#else"]


@LAW
@given(KEYS, st.integers(4, 39))
def test_half_a_key_at_the_end_of_all_is_scrubbed(key: str, at: int) -> None:
    half = key[: min(at, len(key) - 1)]
    log = ServerLog(Path("/dev/null"), key)

    assert list(log.feed(f"it is {half}\n".encode())) == []
    assert list(log.flush()) == [f"it is {HIDDEN}"]
    assert list(log.feed(b"next\n")) == ["next"]


LINES = """
[2026-11-24 12:00:00 TP0] Decode batch. #running-req: 1, #token: 1920, token usage: 0.94, gen throughput: 35.12
Loading safetensors checkpoint shards:  45% Completed | 21/47 [00:12<00:15,  1.72it/s]
INFO:     127.0.0.1:4242 - "POST /v1/chat/completions?x=a%2Fb&y=%7Bz HTTP/1.1" 200 OK
  File "C:\\\\x\\\\u0041.py", line 3, in <module>
\x1b[32mINFO\x1b[0m all is well &amp; good &#47; \x1b[1
server_args={"a": "\\"b\\\\u0041\\""} 100%
"""


@LAW
@given(KEYS)
def test_other_lines_come_out_at_once_and_as_they_are(key: str) -> None:
    for line in LINES.strip("\n").split("\n"):
        known = spellings(key).half(line)[1]
        log = ServerLog(Path("/dev/null"), key)
        assert list(log.feed(f"{line}\n".encode())) == [line] * (known < FEWEST)


@pytest.mark.parametrize("how", sorted(LETTERS))
def test_a_line_that_is_cut_holds_no_part_of_a_spelled_key(
    how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line is cut at fewer characters here, so that each place of a key can be tried."""
    monkeypatch.setattr(logfile, "LONGEST_LINE", 4096)
    key = "kkKK-tttt-EEEE-yyyy"
    text = "".join(map(LETTERS[how], key))
    for at in range(1, len(text)):
        (line,) = ServerLog(Path("/dev/null"), key).feed(b"x" * (4096 - at + 1) + text.encode())
        assert set(line.removesuffix(" [line cut]")) <= set("x[redacted]"), (how, at)


def test_the_same_key_is_known_in_other_letters_only_where_they_mean_it() -> None:
    key = "sk-abc/12345"
    for text in (
        "sk-abc\\12345",
        "sk-abc%2G12345",
        "SK-ABC/12345",
        "sk-abc 12345",
        "sk-abc&sol12345",
        "54321/cba-ks",
    ):
        assert spellings(key).hide(text) == text
