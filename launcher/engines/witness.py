r"""Who wrote a line of a log: the kernel, the engine in its own words, or the engine about what a
client sent.

Whoever may send a request writes into the log: paths stand in access lines; grammars, prompts and
names of tools in complaints about them. So a line is known by its beginning, and what stands
further behind is nobody's testimony.

Text of a client may hold line ends, and some loggers print them as they are (`Model attempted to
call undefined function: x\n[2026-...] Decode batch`): then a line may look like the engine's from
its first letter on, and nothing can tell it from the log alone. So what the log of a server that
listens says is never final (`ServerRun.gone`), and what it excuses is bounded (`activity.py`).
"""

from __future__ import annotations

import re
from enum import Enum

from launcher.engines import engine
from launcher.engines.log import STAMP, Said
from launcher.knowledge.kernel_lines import BEGINS

_LOGS = tuple(map(engine.log, engine.NAMES))  # of whichever engine it is, nobody may know
_PREFIX = re.compile(
    # Ray, around SGLang's: "(WorkerDict pid=1387612, ip=10.0.0.1) [2026-01-29 00:56:20 TP6] ".
    r"(?:(?:\((?P<carrier>\w[^()]{0,60}?) pid=\d+[^()]{0,60}\) ){1,4}(?=\[\d{4}-))?"
    # A logger of a site's own: "2026-03-18 11:22:06.731 ERROR 120984 [ TP0 scheduler.py:3190] ".
    r"(?:\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[.,]\d{3} [A-Z]{4,8} \d{1,8}"
    r" \[ ?(?P<ranks>(?:[DTPE]P\d+ )*)[\w./-]{1,80}\.py:\d+\] )?"
    # SGLang's logger: "[2026-01-29 00:56:20 TP6] ", with SGLANG_LOG_MS "[2026-01-29 00:56:20.123
    # DP0 TP6] ".
    rf"(?:{STAMP}(?P<rank>(?: (?:ATTN_CP|MOE_DP|[DTPE]P)\d+)*)\] )?"
    # vLLM: "(Worker_TP1 pid=1360047) "; Ray adds ", ip=10.0.0.1".
    r"(?:\((?P<process>\w[^()]{0,60}?) pid=\d+[^()]{0,60}\) )*"
    # torch: "[rank3]: ", "[rank3]:[E1124 05:20:00 ProcessGroupNCCL.cpp:632] ".
    r"(?:\[(?P<torch>rank\d+)\]:(?:\[[EWIF]\d[^\]]{0,80}\])? ?)?"
    # xgrammar and others in C++: "[17:22:33] /project/cpp/grammar.cc:95: Warning: "; Python's
    # warnings.
    r"(?P<warning>\[\d\d:\d\d:\d\d\] \S{1,200}:\d+: |\S{1,200}\.py:\d+: (?=\w{0,40}Warning: ))?"
    # What sites make of it: "2026-01-29 00:56:20,123 - my.logger - ERROR - ", "[2026-01-29
    # 00:56:20][X][I] ".
    r"(?P<site>\d{4}-\d\d-\d\d[ T][\d:.,]+ - [\w.-]{1,80} - [A-Z]{4,8} - "
    # FlashInfer: "2026-01-29 00:56:20,123 - INFO - autotuner.py:457 - flashinfer.jit: ".
    r"|\d{4}-\d\d-\d\d[ T][\d:.,]+ - [A-Z]{4,8} - [\w./-]{1,80}\.py:\d+ - [\w.]{1,80}: "
    # loguru: "2026-01-29 00:56:20.123 | ERROR    | my.app:serve:7 - ", "... | ERROR | stderr | ".
    r"|(?:\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:[.,]\d{1,6})? )?\| [A-Z]{4,8} +\| "
    r"[\w.:<>-]{1,120}(?: -| \|) ?|\[\d{4}-[\d:., T-]{6,25}\](?:\[[^\]]{1,40}\])+ ?)?"
    # uvicorn: "INFO:     "; SGLang before its logger is set: "INFO server_args.py:1750: ";
    # vLLM: "ERROR 03-05 09:56:09 [multiproc_executor.py:880] ".
    r"(?P<level>(?:DEBUG|INFO|WARNING|ERROR|CRITICAL):? +(?:\d\d-\d\d \d\d:\d\d:\d\d )?"
    r"(?:\[?(?P<file>[\w./-]{1,80}\.py):\d+[\]:] )?)?"
)
# uvicorn: who, then what was asked for in quotes, and the status. Whoever talks over a socket in a
# file has no address; who comes from this host, or over a proxy on it, writes what he likes there
# (X-Forwarded-For).
_ACCESS = re.compile(
    rf"(?:{STAMP}\] |\(\w[^()]{{0,60}} pid=\d+\) )?INFO: +"
    r"(?:(?:\('\S{1,60}', \d+\) |\S{1,80} )?- \"|.*- \"[A-Z]+ .*HTTP/[\d.]+\" \d{3}\b)"
    # where a site's format leaves out who says it; aiohttp's, which PD disaggregation serves by
    r"|(?:\d{1,3}(?:\.\d{1,3}){3}|\[?[\da-f]{0,4}:[\da-f:.]{0,45}\]?)(?::\d{1,5} - \""
    r"| (?:\S{1,40} \S{1,80} )?\[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\] \")"
    r"|(?:Receive|Finish): obj=|Req Time Stats\(|Received request "
)
_ABOUT_A_REQUEST = re.compile("|".join(log.request_words for log in _LOGS))
# The files of vLLM that speak of requests.
_REQUEST_FILES = re.compile(
    r"(?:[\w./-]*/)?(?:serving\w*|\w*parser\w*|request_logger|logger|preprocess|protocol|renderer\w*|middleware"
    r"|(?:chat|api|server|serving|request|harmony)_utils|(?:exception|error)_handlers?|(?:input_)?processor"
    r"|backend_(?:xgrammar|guidance|outlines|lm_format_enforcer))\.py"
)
# Tracebacks that begin in these are of one request, which fails alone; but for the functions in
# which a server starts, or is asked to stop.
_REQUEST_FRAMES = re.compile(
    r" *(?:[|+] +)*File"
    r"(?!.{1,400} in (?:signal_handler|lifespan|main|<module>|run_server\w*|setup_server|serve_http"
    r"|init_app_state|build_async_engine_client\w*)$)"
    r' "[^"]*/(?:uvicorn|starlette|fastapi|anyio|entrypoints/(?:openai|anthropic|ollama)'
    rf"|{'|'.join(log.request_files for log in _LOGS)})/"
)
_TRACEBACK = re.compile(r"Traceback \(most recent call last\)")
_IGNORED = re.compile(r"Exception ignored (?:in|on|while)\b")
# An exception as the interpreter prints it.
_EXCEPTION = re.compile(
    r"(?:[A-Za-z_][\w.]*)?(?:Error|Exception|Interrupt|OutOfResources|TimeoutExpired)\w{0,80}(?::"
    r" |:?$)"
)
# Who says so goes on after what failed.
_SURVIVED = re.compile(
    r"Ignor(?:e|ed|ing) (?:the |import )?(?:error|exception)\b"
    r"|[Ww]ill ignore (?:the |this )?error\b|\bwill still work\b"
    r"|\b[Ff]all(?:ing|s)? back (?:to|on)\b|\bSkipp(?:ing|ed) (?:unsupported )?tactic\b"
)
# How what is printed without a logger begins, if it is more than the rest of somebody's text.
_OF_ITS_OWN = re.compile(
    r"\S{1,200}:\d+[:,]|[\w./ -]{1,80}: error: |fatal error: |ninja: |FAILED: |NCCL |nccl|CUDA"
    r" Exception"
    r"|terminate called|\s+what\(\): |Fatal Python error|\S{0,200}python[\d.]{0,9}: |\s*File"
    r" |\*\*\* |=== |\(raylet\b|Assertion failed: "
)
_NCCL = re.compile(r"[\w.-]{1,80}:\d+:\d+ \[\d+\] ")  # host:pid:thread [GPU]

_ISO = r"\d{4}-\d\d-\d\dT[\d:.,]+(?:Z|[+-]\d\d:?\d\d)?"
# journalctl in each of its forms and languages: a time, a host, and that the kernel spoke.
_TIME = (
    r"(?:\S{1,12}\.? +\d{1,2}\.? +\d\d:\d\d:\d\d(?:\.\d+)?|\d{1,2}\.? +\S{1,12}\.? +\d\d:\d\d:\d\d"
    r"|(?:\S{2,5} )?\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:"
    r" ?(?:Z|[+-]\d\d:?\d\d|[A-Z]{2,5}))?"
    r"|\d{10}\.\d+|\[ *\d+\.\d+\])"
)
_JOURNALS = rf"(?:{_TIME} +[\w.-]{{1,80}} (?=kernel:))?"
# dmesg: plain, -T in any language, -x, -H, --time-format iso; talosctl; a printk with its caller;
# syslog.
_KERNELS = re.compile(
    # quoted; found by grep
    r"\ufeff?(?:> ?)*(?:[\w./-]{1,80}:(?:\d+:)?(?=[A-Z\[]))?\s*(?:<\d{1,3}>)?"
    r"(?:\d\d:\d\d:\d\d(?:[.,]\d{1,9})? +)?"  # cut short: the time of day alone
    rf"{_JOURNALS}"
    rf"(?P<facility>(?:[\w.-]{{1,80}}: )?kern *: *\w+ *: *(?:{_ISO} )?)?(?:{_ISO}[ :]+)?"
    r"(?P<stamp>\[(?:[ +]*\d+\.\d+|[A-Z][a-z]{2}\d\d \d\d:\d\d|[^\]\n]{0,40}\d\d:\d\d:\d\d"
    rf" \d{{4}}|{_ISO})\]"
    r"(?:\[ *[TC]\d+\])?:? *)?"
    r"(?P<program>kernel: ?(?:\[ *\d+\.\d+\] )?)?"
)
# "python3[4711]: segfault at": fifteen letters that the process chose, before what the kernel says
# of it.
_OF_A_PROCESS = re.compile(r".{1,15}(?=\[\d+\]: )")


class Traceback(Enum):
    """Where a log is that may be printing a traceback of which no process ends: of a request which
    failed alone, or one that the interpreter ignores.
    """

    NONE = "in none"
    IGNORED = "before one that the interpreter goes on after, by its own word"
    BEGUN = "in one, whose first frame will tell whose it is"
    REQUEST = "in one of a request"
    OVER = "at the exception that ended it, or what chains another one to it"

    @property
    def is_one(self) -> bool:
        """Whether the last line belongs to it."""
        return self in (Traceback.REQUEST, Traceback.OVER)

    def after(self, told: Said) -> Traceback:
        """Where it is after one more line of the server."""
        text, is_bare = told.text, not told.is_framed
        begins = Traceback.BEGUN if is_bare and _TRACEBACK.match(text) else Traceback.NONE
        if is_bare and _IGNORED.match(text):
            return Traceback.IGNORED
        match self:
            case Traceback.IGNORED if begins is Traceback.BEGUN:
                return Traceback.REQUEST
            case Traceback.BEGUN if _REQUEST_FRAMES.match(text):
                return Traceback.REQUEST
            case Traceback.REQUEST if is_bare and begins is Traceback.NONE:
                return Traceback.REQUEST if not text or text[0].isspace() else Traceback.OVER
            case Traceback.OVER if not text.strip() or goes_on(told):
                return Traceback.OVER
            case _:
                return begins


def said(line: str) -> Said:
    """The line of a server without what its logger wrote in front of it."""
    found = _PREFIX.match(line)
    assert found, "it matches nothing, too"
    rank = found["rank"] if found["ranks"] is None else found["ranks"]
    told = found["process"] or found["torch"] or found["carrier"]
    speaker = told or (rank.strip() if rank is not None else None)
    # What a process or torch put its name to is as good as bare: whatever it printed has it.
    is_framed = rank is not None or bool(found["level"] or found["warning"] or found["site"])
    return Said(speaker, line[found.end() :], found["file"], is_framed)


def is_access(line: str) -> bool:
    """Whether it only tells that somebody asked something: uvicorn's line, whatever was asked."""
    return _ACCESS.match(line) is not None


def is_about_a_request(line: str) -> bool:
    """Whether it tells of one request alone: what was asked, or why it was refused."""
    if is_access(line):
        return True
    told = said(line)
    if told.file and _REQUEST_FILES.fullmatch(told.file):
        return True
    # what goes on after a message that ended in a line end: ", self.rid='...'"
    if not told.is_framed:
        return told.text.startswith(", ")
    return _ABOUT_A_REQUEST.match(told.text) is not None


def goes_on(told: Said) -> bool:
    """Whether a line may be the rest of what was said about a request: of a text that has line
    ends.
    """
    if told.is_framed or told.speaker is not None or _EXCEPTION.match(told.text):
        return False
    return not (
        _TRACEBACK.match(told.text) or _OF_ITS_OWN.match(told.text) or _NCCL.match(told.text)
    )


def is_a_requests_frame(text: str) -> bool:
    """Whether a frame is one in which a traceback of one request begins."""
    return _REQUEST_FRAMES.match(text) is not None


def is_exception(text: str) -> bool:
    """Whether it is an exception as the interpreter prints it."""
    return _EXCEPTION.match(text) is not None


def goes_on_after(text: str) -> bool:
    """Whether it says of what failed that it was ignored, or that something else does; an exception
    that a process ends of may say so, and does not.
    """
    return _SURVIVED.search(text) is not None and not is_exception(text)


def evidence(told: Said) -> tuple[str, bool]:
    """The words that may tell of a death, and whether they count only from the first one on.

    What a logger framed counts by its first words, or as the exception that it is. What comes
    without a frame was printed by the interpreter, a library or a compiler, and may say it
    anywhere.
    """
    text = told.text
    return text, told.is_framed and not (_EXCEPTION.match(text) or _NCCL.match(text))


def kernels(line: str, *, surely: bool = False) -> str | None:
    """The kernel's own words, if it wrote the line: by its stamp, or by the words that it begins
    with.

    `surely`: it came from the kernel, however it begins. What a process calls itself is left out.
    """
    found = _KERNELS.match(line)
    assert found, "it matches nothing, too"
    text = line[found.end() :]
    stamped = found["facility"] or found["stamp"] or found["program"]
    if not (surely or stamped or BEGINS.match(text)):
        return None
    process = _OF_A_PROCESS.match(text)
    return f"process{text[process.end() :]}" if process else text
