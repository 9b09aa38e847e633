"""What systemd itself says of a unit: which step failed, which time ran out, who asked it to stop."""

from __future__ import annotations

import pytest

from launcher.diagnose.diagnosis import diagnose
from launcher.diagnose.text import diagnose_text
from launcher.diagnose.verdict import Diagnosis
from launcher.engines.failures import failures
from launcher.knowledge import codes
from launcher.knowledge.families import SERVES, STOPPED

JOURNAL = "Nov 24 05:10:00 node1 systemd[1]: "
UNIT = f"{JOURNAL}llm.service: "
KILLED = f"{UNIT}Main process exited, code=killed, status=9/KILL"
OOM = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB"


def said(*lines: str) -> Diagnosis:
    return diagnose_text(["\n".join(lines).encode()])


@pytest.mark.parametrize("code", sorted(codes.of("systemd").by_number.items()))
def test_each_step_before_the_program_has_a_cause(code: tuple[int, codes.Code]) -> None:
    number, row = code
    (name,) = row.names
    ended = f"{UNIT}Main process exited, code=exited, status={number}/{name}"
    stepped = f"{UNIT}Failed at step {name} spawning /opt/vllm/bin/vllm: No such process"
    for lines in ([ended], [stepped], [stepped, ended], [f"{UNIT}Control{ended[len(UNIT) + 4 :]}"]):
        found = said(*lines, f"{UNIT}Failed with result 'exit-code'.")
        assert (found.cause, found.then) == (row.cause, "never"), lines
        assert "{" not in found.what + found.fix


@pytest.mark.parametrize("status", ["1/FAILURE", "2/INVALIDARGUMENT", "143/n/a", "78/CONFIG"])
def test_the_status_of_the_program_itself_is_no_step(status: str) -> None:
    found = said(f"{UNIT}Main process exited, code=exited, status={status}")
    assert not found.cause.startswith("unit-")


def test_the_program_and_the_reason_are_told() -> None:
    found = said(f"{UNIT}Failed at step EXEC spawning /opt/x/bin/vllm: Permission denied")
    assert "/opt/x/bin/vllm: Permission denied" in found.what
    assert "namei -l /opt/x/bin/vllm" in found.fix
    found = said(f"{UNIT}Failed to set up mount namespacing: /data/x: No such file or directory")
    assert (found.cause, "/data/x: No such file" in found.what) == ("unit-namespace-refused", True)


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        ("start operation timed out. Terminating.", "unit-start-timed-out"),
        ("State 'start' timed out. Terminating.", "unit-start-timed-out"),
        ("State 'stop-sigterm' timed out. Killing.", "unit-stop-timed-out"),
        ("State 'final-sigterm' timed out. Killing.", "unit-stop-timed-out"),
        ("Stopping timed out. Killing.", "unit-stop-timed-out"),
        ("Processes still around after SIGKILL. Ignoring.", "unit-stop-timed-out"),
        ("Watchdog timeout (limit 30s)!", "unit-watchdog"),
        ("State 'stop-watchdog' timed out. Killing.", "unit-watchdog"),
        ("Found left-over process 47 (VLLM::Worker_TP) in control group while", "unit-left-over"),
        ("Start request repeated too quickly.", "unit-given-up"),
        ("Failed with result 'start-limit-hit'.", "unit-given-up"),
        ("Failed with result 'protocol'.", "unit-not-notified"),
        ("Failed to load environment files: No such file or directory", "unit-file-missing"),
    ],
)
def test_each_word_of_systemd_has_its_own_cause(line: str, cause: str) -> None:
    result = f"{UNIT}Failed with result 'timeout'."
    for lines in ([line], [line, KILLED[len(UNIT) :]]):
        found = said(*(UNIT + each for each in lines), *([result] if "time" in line else []))
        assert found.cause == cause
    assert said(f"{UNIT}{line}", OOM).cause in ("gpu-out-of-memory", cause)


def test_a_start_and_a_stop_that_took_too_long_want_other_settings() -> None:
    told = failures()
    start, stop = told["unit-start-timed-out"], told["unit-stop-timed-out"]

    assert "TimeoutStartSec=" in start.fix
    assert "TimeoutStopSec=" not in start.fix
    assert "TimeoutStopSec=" in stop.fix
    assert "TimeoutStartSec" not in stop.fix
    assert said(f"{UNIT}Failed with result 'timeout'.").cause == "unit-timed-out"


@pytest.mark.parametrize("asked", [[], [f"{JOURNAL}Stopping llm.service - a model..."]])
def test_who_was_stopped_and_took_too_long_is_told_so(asked: list[str]) -> None:
    works = "[2026-11-24 05:09:00 TP0] Decode batch, #running-req: 1, #token: 7, #queue-req: 0"
    found = said(works, *asked, f"{UNIT}State 'stop-sigterm' timed out. Killing.", KILLED)

    assert (found.cause, found.family) == ("unit-stop-timed-out", STOPPED)


@pytest.mark.parametrize("cause", ["unit-given-up", "unit-left-over", "unit-timed-out"])
def test_what_the_server_itself_says_comes_before_what_systemd_makes_of_it(cause: str) -> None:
    line = {
        "unit-given-up": "Start request repeated too quickly.",
        "unit-left-over": "Found left-over process 47 (python3) in control group while starting",
        "unit-timed-out": "Failed with result 'timeout'.",
    }[cause]
    for lines in ([f"{UNIT}{line}", OOM], [OOM, f"{UNIT}{line}"]):
        found = diagnose(lines)
        assert (found.cause, cause in found.also) == ("gpu-out-of-memory", True)


ENDED = [f"{UNIT}Deactivated successfully.", f"{UNIT}Succeeded."]


@pytest.mark.parametrize("ended", ENDED)
def test_a_unit_that_ends_well_and_was_not_asked_to_ended_by_itself(ended: str) -> None:
    started = f"{JOURNAL}Started llm.service - a model."
    asked = f"{JOURNAL}Stopping llm.service - a model..."
    other = f"{JOURNAL}Started fwupd.service - Firmware update daemon."

    assert said(started, ended).cause == "unit-ended-by-itself"
    for lines in ([ended], [started, asked, ended], [started, other, ended]):
        found = said(*lines)
        assert (found.is_known, found.family) == (False, STOPPED)
    assert said(started, OOM, ended).cause == "gpu-out-of-memory"


def test_a_unit_that_starts_serves_and_stops_has_nothing_to_explain() -> None:
    ready = "(APIServer pid=1) INFO:     Application startup complete."
    started = f"{JOURNAL}Started llm.service - a model."
    assert said(started, ready).family == SERVES
    stops = [f"{JOURNAL}Stopping llm.service - a model...", ENDED[0]]
    assert said(started, ready, *stops).family == STOPPED


# -- asked to stop ---------------------------------------------------------------------------------

CORE = "(EngineCore pid=90) INFO 11-24 10:00:00 [core.py:1455] "
TRIGGERED = "[shutdown] EngineCore: trigger received signal={}"
DEAD = "(APIServer pid=1) ERROR 11-24 10:00:00 [async_llm.py:7] AsyncLLM output_handler failed."


@pytest.mark.parametrize("signal", ["SIGTERM", "SIGINT"])
@pytest.mark.parametrize("before", [CORE, ""], ids=["logged", "pasted"])
def test_a_signal_from_outside_is_a_stop_whoever_outlives_it(before: str, signal: str) -> None:
    ready = "(APIServer pid=1) INFO:     Application startup complete."
    found = said(ready, before + TRIGGERED.format(signal), DEAD)

    assert (found.is_known, found.family) == (False, STOPPED)
    assert "loginctl enable-linger" in found.fix
    gone = "(APIServer pid=1) WARNING 11-24 10:00:00 [core_client.py:817] [shutdown] MPClient:"
    died = said(ready, f"{gone} engine core exited unexpectedly; starting", CORE + TRIGGERED, DEAD)
    assert died.family != STOPPED


def test_a_login_that_ends_is_told_where_the_server_was_stopped() -> None:
    left = [f"{JOURNAL}Stopping user@1000.service - User Manager for UID 1000...", "x"]
    found = said(*left)
    assert found.family == STOPPED
    assert "last login ended" in found.what
    works = "[2026-11-24 05:19:00 TP0] Decode batch, #running-req: 1, #token: 7, #queue-req: 0"
    assert "login" not in said(f"{JOURNAL}session-4.scope: Deactivated successfully.", works).what
