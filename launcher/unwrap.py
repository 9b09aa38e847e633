"""A server's own line, out of what journald, Docker, Kubernetes or a terminal wrapped around it."""

from __future__ import annotations

import json
import re

_STAMP = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)"  # RFC 3339
_HOST = r"[\w.-]+ "
_WRAPPERS = re.compile(
    rf"[A-Z][a-z]{{2}} [ \d]\d \d\d:\d\d:\d\d(?:\.\d+)? {_HOST}[^\s:\[\]]+(?:\[\d+\])?: "  # journalctl: short
    rf"|{_STAMP} {_HOST}(?:\S+\[\d+\]|kernel): "  # short-iso
    rf"|{_STAMP} (?:stdout|stderr) [FP] "  # CRI: /var/log/pods
    rf"|{_STAMP} "  # docker logs -t, kubectl logs --timestamps
    r"|\[pod/\S+\] "  # kubectl logs --prefix
    r"|[\w.-]+ +\| "  # docker compose
)
# ECMA-48: control sequences (colours, cursors), operating system commands (titles, links).
_ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?")
_TEXT = ("log", "message", "MESSAGE", "msg")  # Docker's files, shippers, journalctl -o json
_DEEPEST = 4  # wrappers in one another: compose around a time, JSON around CRI


def unwrap(line: str) -> str:
    """The line without what is around it; one that is not wrapped as it is."""
    for _ in range(_DEEPEST):
        before = line
        if "\x1b" in line:
            line = _ESCAPES.sub("", line)
        if line.startswith("{"):
            line = _text(line).rstrip("\r\n")
        elif found := _WRAPPERS.match(line):
            line = line[found.end() :]
        if line is before:
            break
    return line


def _text(line: str) -> str:
    """What a line of JSON says, if it is one that says something."""
    try:
        told = json.loads(line)
    except (ValueError, RecursionError):
        return line
    return next((text for name in _TEXT if isinstance(text := told.get(name), str)), line)
