"""A server's own line, out of what journald, Docker, Kubernetes or a terminal wrapped around it."""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

_STAMP = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)"  # RFC 3339
_HOST = r"[\w.-]+ "
_WRAPPERS = re.compile(
    # journalctl: short, and short-iso. Who wrote it stands before the colon.
    rf"[A-Z][a-z]{{2}} [ \d]\d \d\d:\d\d:\d\d(?:\.\d+)? {_HOST}(?P<short>[^\s:\[\]]+)(?:\[\d+\])?: "
    rf"|{_STAMP} {_HOST}(?P<iso>[^\s:\[\]]+(?=\[)|kernel)(?:\[\d+\])?: "
    rf"|(?P<cri>{_STAMP} (?:stdout|stderr) [FP](?: |$))"  # CRI: /var/log/pods
    r"|(?P<kmsg>\d{1,3},\d+,\d+,[^;\s]{0,80};)"  # /dev/kmsg as it is read
    rf"|[A-Z]{{4,9}} {_STAMP} (?:\[[\w.]+: [^\[\]\n]{{1,80}}\] ){{1,3}}"  # `gcloud logging read`
    rf"|{_STAMP} "  # docker logs -t, kubectl logs --timestamps; dmesg can write it, too
    r"|(?P<pod>\[pod/\S+\] )"  # kubectl logs --prefix
    # Docker Desktop before it had a bar; a program that logs what its server prints
    r"|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d (?![\w.-]+ kernel:|- |\| )"
    r"|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} - [\w.]{1,80} - [A-Z]{4,8} - (?=\[\d{4}-\d\d-\d\d )"
    r"|[A-Z][a-z]{2} \d{1,2}, \d{4} @ \d\d:\d\d:\d\d\.\d{3}(?:\t| {4}| )"  # Kibana
    # docker compose; Docker Desktop
    r"|(?P<compose>[\w.-]+ +\| |\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} \| "
    r"(?![A-Z]{4,8} +\| ))"
)
# ECMA-48: control sequences (colours, cursors), operating system commands (titles, links).
_ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?")
# Colours whose escape was spelled out, by a pager ("^[[1;36m"), rsyslog ("#033[0m") or JSON, or
# lost on the way to a page: "[1;36m(EngineCore pid=7)[0;0m ".
_COLOUR = re.compile(r"\[\d{1,3}(?:;\d{1,3}){0,5}m")
_SHOWN = re.compile(
    r"(?:\^\[|#033|\\(?:x1b|u001b|033|e)|<(?:0x1b|ESC)>|ESC|\u241b)\[[\d;]{0,12}[mK]"
    r"|\[\d{1,3}(?:;\d{1,3}){0,5}m|(?:\^M|#015)$"
)
_QUOTED = re.compile(r"(?:> ?){1,4}(?:- )?(?=[\w(\[{<=]|  )")  # in an issue, or in a mail
# How Docker's files, journalctl -o json, and shippers name the line itself, the surest first.
_TEXT = (
    "log MESSAGE message msg text line body textPayload @message _line _raw content data event"
).split()
# Who said it, where a logger writes JSON itself. A shipper knows a level alone: that of a stream.
_LEVELS = "levelname level severity lvl".split()
_LOGGERS = "filename pathname name logger logger_name module".split()
_LEVEL = re.compile(r"(?:DEBUG|INFO|WARNING|ERROR|CRITICAL)\Z")
_WITHIN = ("jsonPayload", "event", "data", "fields", "record", "body", "_source", "attributes")
_LOGFMT = re.compile(
    r'(?:time|ts)=\S{1,60} (?:\w{1,20}=\S{1,80} ){0,8}msg="(?P<text>(?:[^"\\]|\\.)*)"'
)
_DEEPEST = 4  # wrappers in one another: compose around a time, JSON around CRI


class Unwrapped(NamedTuple):
    """A line, and whether the kernel wrote it by the word of what carried it; None where that does
    not tell.
    """

    text: str
    by_kernel: bool | None = None


def unwrap(line: str) -> Unwrapped:
    """The line without what is around it; one that is not wrapped as it is."""
    by_kernel: bool | None = None
    for _ in range(_DEEPEST):
        before, carried = line, None
        if "\x1b" in line:
            line = _ESCAPES.sub("", line)
        if "^" in line or "#0" in line or _COLOUR.search(line):
            line = _SHOWN.sub("", line)
        if quoted := _QUOTED.match(line):
            line = line[quoted.end() :]
        if line.startswith("{"):
            line, carried = _text(line)
        elif found := _LOGFMT.match(line):
            line, carried = found["text"].replace('\\"', '"'), False
        elif found := _WRAPPERS.match(line):
            line, carried = line[found.end() :], _carried(found)
        by_kernel = carried if by_kernel is None else by_kernel
        if line is before:
            break
    return Unwrapped(line, by_kernel)


def _carried(found: re.Match[str]) -> bool | None:
    """Whether a wrapper is the kernel's: in the journal it has its name; a container has no log of
    the kernel.
    """
    if program := found["short"] or found["iso"]:
        return bool(program == "kernel")
    if found["kmsg"]:
        return True
    return False if found["cri"] or found["pod"] or found["compose"] else None


def _text(line: str) -> tuple[str, bool | None]:
    """What a line of JSON says, if it is one that says something, and whether the kernel said
    it.
    """
    try:
        told = json.loads(line)
    except (ValueError, RecursionError):
        return line, None
    if not isinstance(told, dict):
        return line, None
    text = _said(told)
    if text is None:
        return line, None
    if frame := _frame(told):
        return (frame + text).rstrip("\r\n"), False
    transport, program = told.get("_TRANSPORT"), told.get("SYSLOG_IDENTIFIER")
    if transport == "kernel" or (transport is None and program == "kernel"):
        return text.rstrip("\r\n"), True
    return text.rstrip("\r\n"), False if transport or program or "stream" in told else None


def _frame(told: dict[str, Any]) -> str:
    """What the same logger writes in front of its words where it writes no JSON."""
    level = _first(told, _LEVELS).upper()
    level = "WARNING" if level == "WARN" else level
    logger = _first(told, _LOGGERS)
    file = re.split(r"[./]", logger.removesuffix(".py"))[-1]
    if not (_LEVEL.match(level) and file) or "log" in told or "MESSAGE" in told:
        return ""
    return f"{level}:     " if logger.startswith("uvicorn") else f"{level} [{file}.py:0] "


def _first(told: dict[str, Any], keys: list[str]) -> str:
    return next((told[key] for key in keys if isinstance(told.get(key), str)), "")


def _said(told: dict[str, Any], depth: int = 3) -> str | None:
    """The line itself, as whoever ships logs names it, or an object within."""
    for name in _TEXT:
        if isinstance(text := told.get(name), str):
            return text
        if isinstance(text, list) and text and all(isinstance(byte, int) for byte in text):
            return bytes(byte & 0xFF for byte in text).decode(errors="replace")  # journald's bytes
    within = (told.get(name) for name in _WITHIN if depth)
    found = (_said(each, depth - 1) for each in within if isinstance(each, dict))
    return next((text for text in found if text is not None), None)
