"""The kernel's log, as dmesg, journalctl, syslog and /dev/kmsg have it."""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Iterator
from typing import Any

from launcher.knowledge.kernel_lines import BEGINS, MOST_LINES, OF_A_LOG, WORTH

Data = dict[str, Any]

# What each stamp is: dmesg's seconds, dates and deltas; its facility and level (-x, -r); the time
# and host of journalctl and syslog; the record of /dev/kmsg.
_SYSLOG = r"[^\s\[<{]{2,8} +\d{1,2} [\d:.]+ \S+ kernel: ?"
_ISO = (
    r"(?:[A-Z][a-z]{2} )?\d{4}-\d\d-\d\d[T ][\d:]+"
    # dmesg's own has a comma; others name the kernel, or are put before a stamp of its own
    r"(?:,\d+(?:Z|[+-][\d:]+)? ?"
    r"|[\d:.]*(?:Z|[+-][\d:]+)?(?: [A-Z]{3,5})? (?:\S+ kernel: ?|(?=[\[<])))"
)
_TIME = (
    rf"(?:\[[^\]\n]{{5,40}}\] ?(?:\S+ kernel: )?|<\d{{1,3}}>|[a-z]+ *:[a-z]+ *: ?"
    rf"|\d{{1,3}},\d+,\d+,[^;\s]*;|{_ISO}|{_SYSLOG})"
)
_STAMP = re.compile(rf"^(?:{_TIME}){{1,4}}")
_SECONDS = r"(?:<\d{1,3}>)?\[ *\d+\.\d{6}\]"  # nobody else counts so
_JSON = r"^(?:\x1e|data: )?(?:\{.*)?\"_TRANSPORT\" ?: ?\"kernel\""
KERNEL_LINE = re.compile(
    rf"^(?:{_TIME}){{1,4}}.*(?:{OF_A_LOG})|NVRM: Xid |nvidia-nvswitch\d+: SXid "
    rf"|{_JSON}|^(?:{BEGINS.pattern})|^_TRANSPORT=kernel$",
    re.M,
)
_LOADING = r"NVRM: loading NVIDIA UNIX (Open )?.{0,80}?Kernel Module.{0,80}?\s(\d+\.[\d.]+)"
# What nobody else stamps so, whatever it says.
KNOWN = re.compile(rf"{KERNEL_LINE.pattern}|^{_SECONDS} |^{_SYSLOG}", re.M)
MOST_BAD = 1000  # places that look like a table of JSON and are none
# journalctl -o export and -o verbose: a field a line, records apart by blank lines or dates.
_FIELD = re.compile(r"^(MESSAGE|_TRANSPORT)=(.*)$", re.M)


def kernel_log(text: str) -> Data:
    """The lines worth keeping, and what a boot says of itself."""
    lines = [line for line in _lines(text) if WORTH.search(line)]
    data: Data = {"kernel": {"log": lines[-MOST_LINES:]}, "driver": {}}
    if found := _last(r"(?:Kernel command line|Command line): (.*)", text):
        data["kernel"]["cmdline"] = found[1].strip()
    if found := _last(r"Linux version (\S+)", text):
        data["kernel"]["release"] = found[1]
    if found := _last(_LOADING, text):
        data["driver"] = {"flavour": "open" if found[1] else "proprietary", "module": found[2]}
    return data


def _last(pattern: str, text: str) -> re.Match[str] | None:
    """The last hit: a log of weeks has several boots."""
    return next(iter(deque(re.finditer(pattern, text), maxlen=1)), None)


def _lines(text: str) -> list[str]:
    """What the kernel said, without stamps; a log that has none is taken as it is."""
    if "_TRANSPORT" in text:
        return list(_records(text))
    lines = text.split("\n")
    stamps = [_STAMP.match(line) for line in lines]
    if not any(stamps) and "\n*** " not in text:
        return lines
    return [
        line[stamp.end() if stamp else 0 :]
        for line, stamp in zip(lines, stamps, strict=True)
        if stamp or BEGINS.match(line)
    ]


def _records(text: str) -> Iterator[str]:
    """What the kernel said, of journalctl's records."""
    message = ""
    for name, value in _FIELD.findall(text):
        if name == "MESSAGE":
            message = value
        elif value == "kernel":
            yield message
    for told in _objects(text):
        said = told.get("MESSAGE")
        if isinstance(said, list):  # what is no text is a list of bytes
            said = bytes(one for one in said if isinstance(one, int) and 0 <= one < 256).decode(
                errors="replace"
            )
        if told.get("_TRANSPORT") == "kernel" and isinstance(said, str):
            yield said


def _objects(text: str) -> Iterator[Data]:
    """The JSON tables of a text, one a line or over many lines."""
    decoder, at, bad = json.JSONDecoder(), text.find("{"), 0
    while at >= 0 and bad < MOST_BAD:
        try:
            told, end = decoder.raw_decode(text, at)
            yield told
        except (ValueError, RecursionError):
            end, bad = text.find("\n", at), bad + 1
        at = text.find("{", end) if end >= 0 else -1
