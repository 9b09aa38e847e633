"""Text that goes to strangers: without keys, names of hosts and people, addresses, and serial numbers.

What is known to be secret here is replaced wherever it stands; what only looks like it is replaced by its shape.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping
from pathlib import Path

from launcher.keys import HIDDEN, SECRET_VARIABLE, scrub

SHORTEST = 6  # letters; a secret that is shorter would blank out innocent words
_SHAPES = (
    (re.compile(r"\b(?:hf|sk|pk|gh[pousr]|glpat|xox[abp])[_-][A-Za-z0-9_-]{12,}"), HIDDEN),
    (re.compile(r"(?i)(bearer\s+)[A-Za-z0-9._~+/=-]+"), rf"\1{HIDDEN}"),
    (re.compile(r"(?i)([a-z0-9_]*(?:token|secret|password|api_?key|access_key)['\"]?\s*[=:]\s*['\"]?)"
                r"(?!None\b|null\b|\[redacted)[^\s'\",;&]{4,}"), rf"\1{HIDDEN}"),
    (re.compile(r"(?i)(https?://)[^/\s:@]+:[^/\s@]+@"), rf"\1{HIDDEN}@"),
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?-----END [A-Z ]*PRIVATE KEY-----", re.DOTALL), HIDDEN),
    (re.compile(r"\bGPU-[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"), "GPU-[uuid]"),
    (re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b"), "[uuid]"),
    (re.compile(r"(?i)(serial(?:[ _]?(?:number|no))?['\"]?\s*[:=]\s*['\"]?)[A-Za-z0-9-]{4,}"), r"\1[serial]"),
    (re.compile(r"\b(?:[0-9a-f]{2}:){5}[0-9a-f]{2}\b", re.IGNORECASE), "[mac]"),
    (re.compile(r"\b(?!127\.)(?!0\.0\.0\.0)(?:\d{1,3}\.){3}\d{1,3}\b(?!\.?\d)"), "[address]"),
    (re.compile(r"(/home/)[^/\s'\":]+"), r"\1[user]"),
    (re.compile(r"(?im)^(\S+ \d+ [\d:]+ )\S+( kernel: )"), r"\1[host]\2"),
)  # fmt: skip


class Scrubber:
    """What is secret on this host: the key, values of variables that are named like secrets, its names."""

    def __init__(self, key: str | None, environ: Mapping[str, str], more: Mapping[str, str] | None = None) -> None:
        self.key = key
        variables = {**environ, **(more or {})}
        secrets = [value for name, value in variables.items() if SECRET_VARIABLE.search(name)]
        self.words = {word: HIDDEN for word in (*secrets, key or "") if len(word) >= SHORTEST}
        self.words |= {word: "[host]" for word in _names() if len(word) >= SHORTEST}
        self.words |= {word: "[id]" for word in _ids() if len(word) >= SHORTEST}

    def clean(self, text: str) -> str:
        """`text`, fit to be sent to strangers."""
        for word in sorted(self.words, key=len, reverse=True):
            text = text.replace(word, self.words[word])
        text = scrub(text, self.key)
        for shape, instead in _SHAPES:
            text = shape.sub(instead, text)
        return text


def _names() -> set[str]:
    """The names of this host."""
    full = socket.gethostname()
    return {full, full.partition(".")[0], os.uname().nodename} - {"localhost"}


def _ids() -> set[str]:
    """Numbers that name this machine, as far as this user may read them."""
    found = set()
    places = ["/etc/machine-id", *(f"/sys/class/dmi/id/{name}_serial" for name in ("product", "board", "chassis"))]
    for place in places:
        try:
            found.add(Path(place).read_text().strip())
        except OSError:
            continue
    return {word for word in found if any(char.isdigit() for char in word)}
