"""The forms in which runtimes print their codes, and the codes that a line holds.

A name of CUDA in a path or a word like "timeout" in a sentence is no code: what counts is how the
runtime, or who passes its words on, prints it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from launcher.knowledge import codes as known
from launcher.knowledge.codes import Code


class Form(NamedTuple):
    """How an owner's code is printed; groups `number`, `name`, `text` of the pattern are parts of
    it.
    """

    of: str
    pattern: str
    base: int = 0  # what the number is above the code: shells say 128 and the signal


_SHELLS = (
    r"Killed|Terminated|Hangup|Segmentation fault|Aborted|Bus error|Illegal instruction"
    r"|Floating point exception|Trace/breakpoint trap|Bad system call|CPU time limit exceeded"
    r"|File size limit exceeded"
)
_FORMS = (
    Form("cuda", r"\b(?P<name>cudaError[A-Z]\w{2,60}|CUDA_ERROR_[A-Z_]{3,60})"),
    Form(
        "cuda",
        r"(?:CUDA|HIP|[Cc]uda) ?(?:driver |runtime |API |kernel |async )?"
        r"(?:[Ee]rror|ERROR|failure|[Ff]ailed)(?: code| with error)?[ :=]{1,3}"
        r"(?:\S{1,80}:\d{1,5}:? )?(?P<number>\d{1,3})?[ :,.('\"]{0,4}(?P<text>.{0,160})",
    ),
    Form("cuda", r"Triton Error \[CUDA\]: (?P<text>.{1,160})"),
    Form("cuda", r"\b[Ee]rror (?P<number>\d{3}): (?P<text>.{1,160})"),
    Form("cuda", r"failed with (?:CUDA )?error(?: code)?:? (?P<text>.{1,160})"),
    Form(
        "cuda", r"\bcuda[A-Z]\w{2,40}\(.{0,80}\).{0,40}(?:Status|status|error): (?P<text>.{1,160})"
    ),
    Form(
        "library",
        r"\b(?P<name>(?:CUBLAS|CUDNN|CUSPARSE|CUSOLVER|CURAND)_STATUS_[A-Z_]{3,60}"
        r"|CUFFT_[A-Z_]{5,40}|NVRTC_ERROR_[A-Z_]{3,60})",
    ),
    Form("nccl", r"\b(?P<name>nccl[A-Z][a-z]\w{3,40}): "),
    Form(
        "nccl",
        r"NCCL (?:[Ee]rror|ERROR)(?: in: .{0,300}?,| in call to \w{1,40})?:? (?:\d{1,2}: )?"
        r"(?P<text>.{1,160})",
    ),
    Form("nvml", r"\b(?P<name>NVML_ERROR_[A-Z_]{3,60}|NVMLError_\w{3,60})"),
    Form(
        "nvml", r"(?:Failed to initialize NVML|NVMLError|nvml error|NVML error): (?P<text>.{1,120})"
    ),
    Form("errno", r"\[Errno (?P<number>-?\d{1,3})\] ?(?P<text>.{0,120})"),
    Form("errno", r"\berrno(?: code)?[ =:]{1,3}(?P<number>\d{1,3})\b"),
    Form("errno", r"(?:with |: )[Ee]rror (?P<text>[A-Z][a-z].{4,80})"),
    Form("errno", r"[Ee]rror: (?P<text>[A-Z][a-z][a-z /-]{4,60}) \(\d{1,3}\)"),
    Form(
        "signal",
        r"[Ee]xit(?:ed)?(?: with)? ?(?:[Cc]ode|status)?\)? {0,4}[:=]? {0,2}-(?P<number>\d{1,2})\b",
    ),
    Form(
        "signal",
        r"[Ee]xit(?:ed)?(?: with)? ?(?:[Cc]ode|status)?\)?[:=]? {1,8}(?P<number>1[2-5]\d)\b",
        128,
    ),
    Form(
        "signal",
        r"(?:RuntimeError: )?(?:Subprocess|Rank|Worker|Process|Child|Scheduler|Detokenizer"
        r"|EngineCore)\b.{0,80}?(?:crashed|died|exited|terminated|failed)\b.{0,40}?"
        r"exit ?code:? {0,2}-(?P<number>\d{1,2})\b",
    ),
    Form("signal", r"\"?exitCode\"?: {0,4}(?P<number>1[2-5]\d)\b", 128),
    Form(
        "signal", r"[Ss]ignal:? (?P<number>\d{1,2})(?: |,|$|\b\()(?:\((?P<name>SIG[A-Z]{2,6})\))?"
    ),
    Form(
        "signal",
        r"code=(?:killed|dumped), (?:status|signal)=(?P<number>\d{1,2})/(?P<name>[A-Z]{2,6})",
    ),
    Form("signal", r"(?:by|received|with|caught|got) (?:signal )?(?P<name>SIG[A-Z]{2,6})\b"),
    Form(
        "signal",
        r"^(?:[\w./~-]{1,200}: line \d{1,6}: +\d{1,8} |\[\d+\][+-]? +(?:\d+ )?)?"
        rf"(?P<text>{_SHELLS})(?: +\(core dumped\))?(?: {{2,40}}.{{0,200}}| *)$",
    ),
    Form(
        "systemd",
        r"(?:\S{1,120}: )?(?:Failed at step (?P<name>[A-Z_]{3,30}) spawning "
        r"|\w[\w ]{2,40} exited, code=exited, status=(?P<number>2[0-4]\d)/[A-Z_]{3,30})",
    ),
)
PATTERNS = tuple(form.pattern for form in _FORMS)
_COMPILED = tuple((form, re.compile(form.pattern)) for form in _FORMS)


def codes(text: str, *, from_start: bool) -> Iterator[Code]:
    """The codes that a line holds, at most one of each form; `from_start`: that it begins with."""
    for form, pattern in _COMPILED:
        found = pattern.match(text) if from_start else pattern.search(text)
        if found and (code := _code(form, found)):
            yield code


def words(code: Code) -> dict[str, str]:
    """What the texts of a failure may say of a code."""
    if code.of == "signal":
        return {"signal": f"{code.number} ({code.text})"}
    if code.of == "systemd":
        return {"step": code.text}
    return {"cuda": code.said}


def _code(form: Form, found: re.Match[str]) -> Code | None:
    part = found.groupdict()
    number = part.get("number") or ""
    if number and form.base:
        number = str(int(number) - form.base)
    return known.of(form.of).find(number, part.get("name") or "", part.get("text") or "")
