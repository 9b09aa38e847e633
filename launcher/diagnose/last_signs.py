"""What the end of a log tells of a server that served and said of no death: whether it still does.

Batches, tokens and requests are evidence. That it answers who asks how it is (/health, /metrics,
/v1/models) is none: the front of a server says so while nothing is generated.
"""

from __future__ import annotations

from launcher import counting
from launcher.diagnose.pulse import Pulse
from launcher.diagnose.shapes import WAITING
from launcher.diagnose.verdict import SERVED
from launcher.knowledge import families

STUCK = 6  # lines in a row, of which the engine writes one each ten seconds
MINUTES = 180  # seconds without a token, or a batch, after which those who wait are told
PROBES = 60  # questions how it is, where no line has a time
ASK = "`glm5-serve smoke`, or one request for a single token, tells whether it generates"
ANSWERS = "after it only who asks how it is was answered, which is no sign that it generates"
HANGS = (
    "look for an Xid in `journalctl -k`; `glm5-serve doctor --deep` proves the way between the GPUs"
)
_STUCK = (
    "it served, and to its end told {} of requests that wait and of no token: a step hangs, or"
    " reads a very long prompt"
)
_LEFT = (
    "it served, and its last figures tell of {waiting} that wait; then {since} came but answers"
    " to who asks how it is, and those are no sign that it generates: a step hangs, or whoever"
    " waited has left"
)
_ASKED_ALONE = (
    f"{SERVED}, as far as a log can tell: {{since}} came but answers to who asks how it is, which"
    " are no sign that it generates, and no request"
)


def judge(pulse: Pulse) -> tuple[str, str, str]:
    """The family, what it is, and what to do, of a server that is up as far as anybody said."""
    waiting, since = _waiting(pulse), _since(pulse)
    if pulse.stuck >= STUCK:
        return "hang", _STUCK.format(f"{pulse.stuck} times in a row"), f"{ASK}; {HANGS}"
    if pulse.stuck_for >= MINUTES:
        return "hang", _STUCK.format(f"for {pulse.stuck_for // 60} min"), f"{ASK}; {HANGS}"
    if waiting and since:
        return "hang", _LEFT.format(waiting=waiting, since=since), f"{ASK}; {HANGS}"
    if since and pulse.probed_for:
        return families.SERVES, _ASKED_ALONE.format(since=since), ASK
    return families.SERVES, SERVED, ""


def _waiting(pulse: Pulse) -> str:
    """How many requests the last line about batches leaves without an answer, in words."""
    line = pulse.batch
    found = WAITING.search(line.decode(errors="replace") if isinstance(line, bytes) else line)
    many = int(next(filter(None, found.groups()), 0)) if found else 0
    return counting.of(many, "request") if many else "requests" if pulse.stuck else ""


def _since(pulse: Pulse) -> str:
    """For how long nothing came but probes, in words; empty where that is not long."""
    if pulse.probed_for >= MINUTES:
        return f"for {pulse.probed_for // 60} min nothing"
    is_many = pulse.probes >= PROBES and not pulse.probed_for
    return f"nothing in {pulse.probes} lines" if is_many else ""
