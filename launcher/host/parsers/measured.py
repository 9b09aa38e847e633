"""What was measured between GPUs and in them: p2pBandwidthLatencyTest, nvbandwidth, dcgmi diag."""

from __future__ import annotations

import re
from itertools import takewhile
from typing import Any

from launcher.host.parsers.smi import MOST_GPUS, capability

Data = dict[str, Any]

P2P_TEST = re.compile(
    r"^(?:Unidirectional|Bidirectional) P2P=\w+ |^P2P Connectivity Matrix$"
    r"|^Device=\d{1,2} CAN(?:NOT)? Access Peer|^Peer access from ",
    re.M,
)
# p2pBandwidthLatencyTest's and simpleP2P's words for one pair; what looks like a quote is gone.
_PAIRS = (
    re.compile(r"^Device=(\d{1,2}) (CAN|CANNOT) Access Peer Device=(\d{1,2})$", re.M),
    re.compile(
        r"^Peer access from [^\n]{1,80}\(GPU(\d{1,2})\) -> [^\n]{1,80}\(GPU(\d{1,2})\)"
        r" : (Yes|No)$",
        re.M,
    ),
)
NVBANDWIDTH = re.compile(r"^nvbandwidth Version|^memcpy (?:CE|SM) GPU\(row\) ", re.M)
DIAGNOSTIC = re.compile(r"^\|\s*Diagnostic\s*\|\s*Result\s*\|$|^\| -+\s+Metadata\s+-+", re.M)
_DEVICE = re.compile(r"^Device: ?(\d{1,2}), ([^,\n]{1,80}), pciBusID: ([0-9a-f]{1,2}),.*$", re.M)
_NVDEVICE = re.compile(
    r"^Device (\d{1,2}): (.{1,80}?)(?: \(([0-9a-f]{8}):([0-9a-f]{2}):00\))?$", re.M
)
_COPIES = re.compile(r"^memcpy (?:CE|SM) GPU\(row\) (?:->|<-) GPU\(column\) [^\n]*$", re.M)
MOST_LONG = 1 << 16  # characters of a matrix
_TEST = re.compile(r"^\|\s*([A-Za-z][^|]{0,60}?)\s*\|\s*(Pass|Fail|Warn|Skip)\b[^|]*\|$", re.M)


def p2p_test(text: str) -> Data:
    """p2pBandwidthLatencyTest of NVIDIA's CUDA samples: the first matrix of copies that go from
    GPU to GPU, and which of them may reach each other at all.
    """
    driver: Data = {}
    if words := _words(_pairs(text)):
        driver["p2p_read"] = driver["p2p_write"] = words
    told = re.search(r"^P2P Connectivity Matrix$", text, re.M)
    if told and (reach := _matrix(text[told.end() : told.end() + MOST_LONG])):
        cells = {(at, to): cell == 1 for at, row in enumerate(reach) for to, cell in enumerate(row)}
        driver["p2p_read"] = driver["p2p_write"] = _words(cells)
    told = re.search(r"^Unidirectional P2P=Enabled [^\n]*Matrix \(GB/s\)$", text, re.M)
    if told and (speeds := _matrix(text[told.end() : told.end() + MOST_LONG])):
        driver["copies"] = speeds
    gpus = [
        {"index": int(at), "name": name, **capability(name)}
        for at, name, _ in _DEVICE.findall(text)[:MOST_GPUS]
    ]
    return {"driver": driver | ({"gpus": gpus} if gpus else {})}


def _pairs(text: str) -> dict[tuple[int, int], bool]:
    """Which GPU may reach which, said a pair a line."""
    of_test = {(int(at), int(to)): word == "CAN" for at, word, to in _PAIRS[0].findall(text)}
    simple = {(int(at), int(to)): word == "Yes" for at, to, word in _PAIRS[1].findall(text)}
    return of_test | simple


def _words(reach: dict[tuple[int, int], bool]) -> list[list[str]]:
    """The matrix as `nvidia-smi topo -p2p` has it; nothing where a pair is not told."""
    count = max((max(pair) for pair in reach), default=-1) + 1
    pairs = [(at, to) for at in range(count) for to in range(count) if at != to]
    if any(pair not in reach for pair in pairs):
        return []
    return [[_word(reach, at, to) for to in range(count)] for at in range(count)]


def _word(reach: dict[tuple[int, int], bool], at: int, to: int) -> str:
    if at == to:
        return "X"
    return "OK" if reach[at, to] else "NS"


def nvbandwidth(text: str) -> Data:
    """nvbandwidth: copies from device to device, by the copy engine where it was asked."""
    driver: Data = {}
    if version := re.search(r"^Driver Version: (\d{3}\.[\d.]+)$", text, re.M):
        driver["version"] = version.group(1)
    for told in _COPIES.finditer(text):
        is_both = "bidirectional" in text[max(told.start() - 80, 0) : told.start()]
        if not is_both and (speeds := _matrix(text[told.end() : told.end() + MOST_LONG])):
            driver["copies"] = speeds
            break
    gpus = [
        {
            "index": int(at),
            "name": name,
            **({"bdf": f"{int(domain, 16):04x}:{bus}:00.0"} if domain else {}),
            **capability(name),
        }
        for at, name, domain, bus in _NVDEVICE.findall(text)[:MOST_GPUS]
    ]
    return {"driver": driver | ({"gpus": gpus} if gpus else {})}


def _matrix(text: str) -> list[list[float]]:
    """The numbers of a square table: its heading counts columns, each row begins with its own
    number. Nothing where it is cut; the diagonal, which nvbandwidth leaves out, is 0.
    """
    lines = [line.split() for line in text.lstrip("\n").split("\n")[: MOST_GPUS + 2]]
    heading = [word for word in lines[0] if word.isdecimal()] if lines else []
    rows = takewhile(lambda one: len(one) == len(heading) + 1, lines[1:])
    found = [[_number(word) for word in row[1:]] for row in rows][: len(heading)]
    return found if heading and len(found) == len(heading) else []


def _number(word: str) -> float:
    return float(word) if re.fullmatch(r"\d{1,7}(?:\.\d{1,6})?", word) else 0.0


def diagnostic(text: str) -> Data:
    """`dcgmi diag`: each test and its result."""
    found = dict(_TEST.findall(text))
    return {"driver": {"diagnostics": found}} if found else {}
