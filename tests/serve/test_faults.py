"""The fault matrix: each fault put into a running server, the stand-in, and the real SGLang and vLLM
with one and two ranks.

In each cell: it is found, the right thing is done, nothing is left behind, the state file is sound.
One server of each engine lives through all of its cells. `make faults` runs them all and writes
what it saw into docs/faults.md; `make test` leaves out most of those with a real engine
(`matrix`): they take most of an hour.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
from conftest import GLM5_SERVE, LONGEST, NEEDS, ROOT, TESTS, end, next_line, remove, running, until
from kinds import KINDS, SGLANG_PHASES
from rig.mounts import mounted
from served import ENGINES, LONG, Served, Story, seconds_of

PAGE = ROOT / "docs/faults.md"
SGLANG, VLLM = ("real1", "real2"), ("vllm1", "vllm2")
REAL = (*SGLANG, *VLLM)
DAILY = ("real2",)  # what is run each time of a fault in which the engines hardly differ
OF_EACH = ("real2", "vllm2")  # and of one in which they do
pytestmark = pytest.mark.timeout(LONGEST)  # a server may be started several times
ONE = ("stub", "real1", "vllm1")  # where it plays no part how many ranks there are
STOPPING = '"state": "stopping"'  # as it is told
seen: dict[tuple[str, str], str] = {}  # (fault, engine) -> what the table says


@pytest.fixture(scope="module", autouse=True)
def table() -> Iterator[None]:
    """Written when the cells have run, if it is asked for: `write` anew, `update` those that
    ran.
    """
    yield
    if (how := os.environ.get("GLM5_SERVE_FAULTS")) in ("write", "update"):
        before = told(PAGE.read_text()) if how == "update" else {}
        PAGE.write_text(page({**before, **seen}, f"{date.today()}"))


@pytest.fixture(scope="module")
def engine(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    """One server for all the cells of its engine: of the module's scope, so that pytest runs them
    in a row.
    """
    served = Served(tmp_path_factory.mktemp(request.param), request.param)
    yield served
    end(served)


@pytest.fixture
def served(engine: Served) -> Iterator[Served]:
    """A ready server, and afterwards one that left nothing behind."""
    engine.ensure_ready()
    yield engine
    engine.sound()


@pytest.fixture
def anyhow(engine: Served) -> Iterator[Served]:
    """A server in whatever state the cell before left it: a start of the real one takes a quarter
    of a minute.
    """
    engine.mend()
    yield engine
    engine.sound()


def cells(*engines: str, daily: Collection[str] = ()) -> pytest.MarkDecorator:
    """A test per engine; of those with a real one only the `daily` ones are run each time."""

    def marks(engine: str) -> list[pytest.MarkDecorator]:
        if engine not in REAL:
            return []
        kind = KINDS[engine].kind
        return [
            pytest.mark.engine(kind),
            NEEDS[kind],
            *([] if engine in daily else [pytest.mark.matrix]),
        ]

    marked = [pytest.param(engine, marks=marks(engine)) for engine in engines or ENGINES]
    return pytest.mark.parametrize("engine", marked, indirect=True, scope="module")


def note(served: Served, fault: str, found: str, seconds: float | None, did: str) -> None:
    """A line of the table."""
    after = "" if seconds is None else f" in {seconds:.1f} s" if seconds >= 0.1 else " in < 0.1 s"
    seen[fault, served.engine] = f"{found}{after}: {did}"


# -- starts that fail ------------------------------------------------------------------------------


@cells(*ONE)
def test_exec_fails(served: Served) -> None:
    def inject() -> None:
        served.python.unlink()
        served.restart_by_death()

    before = len(served.told())

    def back() -> bool:
        return any(
            "could not be executed" in event.get("how", "") for event in served.told()[before:]
        )

    with ThreadPoolExecutor() as pool:
        story = pool.submit(served.after, inject)
        until(back, "the launcher says that it cannot be executed", LONG)
        served.restore_python()
        note(
            served,
            "exec fails",
            "exec's own error",
            story.result(LONG).seconds,
            "tried again until it was back",
        )


@cells()
@pytest.mark.parametrize("phase", SGLANG_PHASES)
def test_it_exits_while_it_starts(anyhow: Served, phase: str) -> None:
    def dead(events: list[dict[str, Any]]) -> bool:
        return any(event["event"] == "death" and event["run"] == run for event in events)

    run = anyhow.break_a_start(*anyhow.kind.phases[phase], "exit:3")
    story = anyhow.until_told(dead, f"the death of run {run}")

    assert anyhow.has_struck()
    note(
        anyhow,
        f"exits at {phase}",
        "process gone",
        _since_the_strike(anyhow, story.events[-1]),
        "started again",
    )


def _since_the_strike(served: Served, event: dict[str, Any]) -> float:
    """Seconds from the sabotage's strike to an event."""
    return max(0.0, seconds_of(event["time"]) - served.struck_at())


@cells()
@pytest.mark.parametrize("phase", SGLANG_PHASES)
def test_it_hangs_while_it_starts(anyhow: Served, phase: str) -> None:
    run = anyhow.break_a_start(*anyhow.kind.phases[phase], "hang")
    hung = _found_hung(anyhow, run)

    stacks = Path(hung.rpartition("stacks in ")[2]).read_text()
    assert "== " in stacks
    assert "strike" in stacks, "the stacks show where it hangs"
    note(anyhow, f"hangs at {phase}", _quoted(hung), None, "stacks kept, killed, started again")


@cells("stub")
@pytest.mark.parametrize("do", ["exit:3", "hang"])
def test_it_ends_or_hangs_while_graphs_are_captured(anyhow: Served, do: str) -> None:
    """A phase that the real servers have on GPUs alone."""
    anyhow.ensure_ready()
    anyhow.faults(graphs=True)
    run = anyhow.break_a_start("Capture cuda graph begin", "server", do)
    if do == "hang":
        hung = _found_hung(anyhow, run)
        assert hung.startswith("graphs has not moved for ")
        note(anyhow, "hangs at graphs", _quoted(hung), None, "stacks kept, killed, started again")
    else:
        story = anyhow.until_told(
            lambda told: ("death", run) in [(e["event"], e.get("run")) for e in told], "it died"
        )
        after = _since_the_strike(anyhow, story.events[-1])
        assert story.events[-1]["how"] == "exited with status 3"
        note(anyhow, "exits at graphs", "process gone", after, "started again")


@cells("stub")
def test_it_hangs_in_the_smoke_test(served: Served) -> None:
    """The real servers log no word then by which to strike them."""
    served.run("down")
    served.write_profile("[smoke]\nwithin = 1")
    assert served.run("up", "-p", "stub", "-d").returncode == 0
    served.faults(hang_at="chat")
    story = served.after(served.restart_by_death, mend_when="no answer within 1 s")

    assert "the smoke test got no answer within 1 s" in story.text
    assert "sglang::TP0" in _stacks(story)
    note(
        served,
        "hangs at smoke",
        '"no answer within 1 s"',
        None,
        "stacks kept, killed, started again",
    )


def _quoted(hung: str) -> str:
    """The finding without what differs from run to run."""
    found = re.match(r"\w+ has not moved for \d+ s: .*?(?=; |$)", hung)
    assert found, hung
    return f'"{found[0]}"'


def _stacks(story: Story) -> str:
    """What was kept of a server that hung."""
    found = re.search(r"stacks in (\S+)", story.text)
    assert found, story.text
    text = Path(found[1]).read_text()
    assert text.startswith("== ")
    return text


def _found_hung(served: Served, run: int) -> str:
    """Wait until a start is found hung; the reason that is told."""

    def told(events: list[dict[str, Any]]) -> bool:
        found = [
            event for event in events if event.get("state") == "stopping" and event["run"] == run
        ]
        return any("stacks in" in event["reason"] for event in found)

    hung = served.until_told(told, f"run {run} is found hung").reasons[-1]
    assert "no compiler at work (seen for " in hung
    return hung


@cells(*REAL)
def test_a_rank_spins_while_it_starts(anyhow: Served) -> None:
    run = anyhow.break_a_start(*anyhow.kind.phases["distributed"], "spin")
    hung = _found_hung(anyhow, run)

    assert re.search(r"1 of \d ranks spin at \d+ % CPU", hung)
    note(
        anyhow,
        "a rank spins (as NCCL does)",
        "quiet, and CPU time",
        None,
        "stacks kept, killed, started again",
    )


@cells(*ONE)
def test_the_port_is_taken_between_check_and_bind(served: Served) -> None:
    def inject() -> None:
        served.restart_by_death()
        until(bound, "the port is free for a moment", LONG)
        taken.listen()

    def named(event: dict[str, Any]) -> bool:
        """By the launcher before it launches, or, a moment later, by the server's death."""
        return event.get("cause") == "port-taken" or " is in use by pid " in event.get("reason", "")

    def bound() -> bool:
        for _ in range(20_000):
            with contextlib.suppress(OSError):
                taken.bind(("127.0.0.1", served.port))
                return True
        return False

    with socket.socket() as taken, ThreadPoolExecutor() as pool:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        story = pool.submit(served.after, inject)
        until(lambda: any(map(named, served.told())), "it is named", LONG)
        taken.close()
        note(
            served,
            "port taken meanwhile",
            "port-taken, or in use",
            None,
            "tried again until it was free",
        )
        assert story.result(LONG).events


@cells(*ONE)
def test_bad_arguments(served: Served) -> None:
    served.run("down")
    served.write_profile("[doctor]\nallow = ['engine-options']")
    up = served.run("up", "-p", "stub", "-d", "--set", "flags.no-such-option=true")

    assert up.returncode == 1
    assert "bad-option" in served.status()["last_error"]
    assert not served.processes()
    note(served, "bad arguments", "bad-option", None, "failed, not tried again")


# -- deaths ----------------------------------------------------------------------------------------


@cells(daily=OF_EACH)
def test_a_rank_is_killed(served: Served) -> None:
    story = served.after(served.rank().kill)

    # the server looks after its ranks, too: a launcher that gets a processor late finds both dead
    assert served.kind.titles in story.text or story.causes == ["rank-killed"]
    assert "died" in story.reasons[0]
    note(served, "rank killed", "its pidfd", story.seconds, "the rest killed, started again")


@cells(daily=("vllm2",))
def test_the_detokenizer_or_the_engine_core_is_killed(served: Served) -> None:
    victim = served.members(served.kind.other)[0]
    story = served.after(victim.kill)

    assert "died" in story.reasons[0]
    note(
        served,
        "detokenizer, engine core killed",
        "its pidfd",
        story.seconds,
        "the rest killed, started again",
    )


@cells(*REAL, daily=DAILY)
def test_a_rank_runs_out_of_gpu_memory(served: Served) -> None:
    """At a request, or, where a rank logs nothing of that (vLLM), while it starts."""

    def inject() -> None:
        if served.engine in VLLM:
            served.sabotage(*served.kind.phases["weights"], "raise")
            served.restart_by_death()
            return
        served.sabotage("Prefill batch", "rank", "raise")
        with pytest.raises(requests.RequestException):
            served.ask(64)

    story = served.after(inject)
    assert served.has_struck()
    if served.engine in SGLANG:
        assert "lower --mem-fraction-static" in [event.get("knob") for event in story.events]
    (cause,) = {"gpu-out-of-memory", "load-out-of-memory"} & {*story.causes}
    did = "knob told, started again" if served.engine in SGLANG else "started again"
    note(served, "rank out of GPU memory", cause, None, did)


@cells()
def test_the_parent_is_killed(served: Served) -> None:
    story = served.after(served.server().kill)

    assert story.causes
    note(served, "parent killed", "waitpid", story.seconds, "ranks killed, started again")


# -- hangs -----------------------------------------------------------------------------------------


@cells(*REAL)
def test_a_rank_is_stopped(served: Served) -> None:
    story = served.after(served.rank().suspend)

    assert "health checks in a row failed" in story.text
    assert "stopped by a signal" in story.text
    assert served.kind.rank in _stacks(story)
    assert story.causes in (
        ["hang"],
        ["server-hung"],
    ), "SGLang's log may have complained of it already"
    note(
        served,
        "rank stopped",
        "health checks and silence",
        story.seconds,
        "stacks kept, killed, started again",
    )


@cells(*REAL, daily=OF_EACH)
def test_a_rank_is_stopped_with_a_request_in_flight(served: Served) -> None:
    with served.asked(timeout=300, again=True) as asked:
        story = served.after(served.rank().suspend)
        assert asked.exception(LONG) is not None, "it was in flight"
    assert "no work for" in story.text
    assert served.kind.rank in _stacks(story)
    note(
        served,
        "rank stopped under load",
        "health checks and silence",
        story.seconds,
        "stacks kept, killed, started again",
    )


@cells(*VLLM, daily=OF_EACH)
def test_the_engine_core_is_stopped_with_a_request_in_flight(served: Served) -> None:
    """Its API server answers 200 for ever."""
    with served.asked(timeout=300, again=True) as asked:
        story = served.after(served.members(served.kind.other)[0].suspend)
        assert asked.exception(LONG) is not None, "it was in flight"
    assert "no work for" in story.text
    assert served.kind.other in _stacks(story)
    note(
        served,
        "engine core stopped under load",
        "its counters and silence",
        story.seconds,
        "stacks kept, killed, started again",
    )


@cells(*SGLANG)
def test_health_is_503(served: Served) -> None:
    """The detokenizer stopped: everything answers, nothing comes out.

    vLLM says 503 only when its engine has died, of which the kernel tells first.
    """
    story = served.after(served.members("sglang::detokenizer")[0].suspend)

    assert "/health says 503" in story.text
    assert "sglang::" in _stacks(story)
    note(served, "health 503", "/health and silence", None, "stacks kept, killed, started again")


@cells("stub")
def test_health_is_503_from_the_stand_in(served: Served) -> None:
    story = served.after(lambda: served.faults(health_status=503), mend_when=STOPPING)

    assert "/health says 503" in story.text
    assert "sglang::" in _stacks(story)
    note(served, "health 503", "/health and silence", None, "stacks kept, killed, started again")


def _later(seconds: float, work: Callable[[], object]) -> None:
    time.sleep(seconds)
    work()


@cells(daily=("vllm2",))
def test_the_whole_server_is_stopped(served: Served) -> None:
    """Health slow without an end: the port is open, and nobody answers."""
    story = served.after(served.server().suspend)

    assert re.search(r"no answer (to /\w+ )?within", story.text), story.text
    assert served.kind.titles in _stacks(story)
    note(
        served,
        "health slow",
        "no answer, and silence",
        story.seconds,
        "stacks kept, killed, started again",
    )


@cells("stub")
def test_running_requests_without_a_token(served: Served) -> None:
    """Numbers that a real server tells rightly."""
    load = {"dp_rank": 0, "num_running_reqs": 3, "num_used_tokens": 100, "timestamp": 1.0}
    story = served.after(lambda: served.faults(loads=[load]), mend_when=STOPPING)

    assert "3 requests run on replica 0, and nothing moved for" in story.text
    assert "sglang::TP0" in _stacks(story)
    note(
        served,
        "generates nothing",
        "/v1/loads and silence",
        None,
        "stacks kept, killed, started again",
    )


# -- what is no fault ------------------------------------------------------------------------------


@cells(*SGLANG, daily=DAILY)
def test_a_paused_server_is_left_alone(served: Served) -> None:
    url = f"http://127.0.0.1:{served.port}"
    requests.post(
        f"{url}/pause_generation", json={"mode": "in_place"}, timeout=60
    ).raise_for_status()
    served.unmoved(12)
    assert "paused" in served.status()["reason"]
    requests.post(f"{url}/continue_generation", json={}, timeout=60).raise_for_status()
    served.unmoved(4)
    note(served, "generation paused", "/ready", None, "left alone")


@cells(*VLLM)
def test_a_paused_vllm_is_left_alone_with_its_requests_and_without(served: Served) -> None:
    """It can be paused in its developer mode alone."""
    url = f"http://127.0.0.1:{served.port}"
    served.run("down")
    up = served.run("up", "-p", "stub", "-d", "--set", "env.VLLM_SERVER_DEV_MODE=1")
    assert up.returncode == 0, up.stderr
    with served.asked(1200, timeout=120) as asked:
        requests.post(f"{url}/pause?mode=keep", timeout=60).raise_for_status()
        served.unmoved(12)
        assert "paused" in served.peek()["reason"]
        requests.post(f"{url}/resume", timeout=60).raise_for_status()
        assert asked.result(LONG) == 1200
    requests.post(f"{url}/pause", timeout=60).raise_for_status()
    served.unmoved(25)  # two questions for a token that does not come
    assert "paused" in served.peek()["reason"]
    requests.post(f"{url}/resume", timeout=60).raise_for_status()
    served.unmoved(4)
    assert served.ask() >= 1
    note(served, "generation paused", "/is_paused", None, "left alone")
    served.run("down")


@cells("stub")
def test_a_paused_stand_in_is_left_alone(served: Served) -> None:
    served.faults(paused=True)
    until(lambda: "paused" in served.peek()["reason"], "it is told")
    served.unmoved(2)
    note(served, "generation paused", "/ready", None, "left alone")


@cells(*REAL)
def test_a_rank_under_a_debugger_is_left_alone(served: Served) -> None:
    code = f"""
import ctypes, os, sys, time
libc = ctypes.CDLL(None, use_errno=True)
assert libc.ptrace(16, {served.rank().pid}, None, None) == 0
os.waitpid({served.rank().pid}, 0x40000000)
print("attached", flush=True)
sys.stdin.read()
libc.ptrace(17, {served.rank().pid}, None, None)
"""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with running(sys.executable, "-c", code, **pipes) as debugger:
        assert next_line(debugger) == "attached\n"
        until(lambda: "under a debugger" in served.peek()["reason"], "it is excused", LONG)
        served.unmoved(6)
        debugger.stdin.close()
        debugger.wait(60)
    served.unmoved(4)
    note(served, "under a debugger", "TracerPid", None, "left alone")


@cells(*REAL, daily=OF_EACH)
def test_a_busy_server_is_left_alone(served: Served) -> None:
    with ThreadPoolExecutor(6) as pool:
        asked = [pool.submit(served.ask, 400, LONG) for _ in range(6)]
        served.unmoved(6)
        assert [request.result(LONG) for request in asked] == [400] * 6
    note(served, "busy", "tokens come", None, "left alone")


# -- wrong output ----------------------------------------------------------------------------------


@cells(daily=DAILY)
def test_wrong_output(served: Served) -> None:
    """The tiny model answers rightly, so its questions want something else."""
    served.run("down")
    served.faults(answer="!" * 40)
    if served.is_real:
        served.write_profile(
            '[smoke]\nquestions = [{ ask = "What is the capital of France?", expect = "lyon" }]'
        )
    up = served.run("up", "-p", "stub", "-d")

    assert up.returncode == 1
    assert served.status()["reason"].startswith("wrong output: ")
    shown = served.run("events", "stub", "--starts", "--json").stdout
    assert json.loads(shown)["starts"][-1]["outcome"] == "failed"
    assert "; wrong-output: asked" in served.run("events", "stub").stdout
    assert not served.processes()
    note(served, "generates garbage", "the smoke test", None, "never ready, not tried again")


@cells(*VLLM, daily=OF_EACH)
def test_the_first_request_kills_it(served: Served) -> None:
    """Its attention has no kernel for heads of 16, and `/health` says 200 before that is found."""
    served.run("down")
    before = len(served.told())
    served.write_profile(restart_limit=0)
    small = ("flags.load-format=dummy", 'flags.hf-overrides={"head_dim": 16}')
    up = served.run("up", "-p", "stub", "-d", *(word for one in small for word in ("--set", one)))

    assert up.returncode == 1
    assert "ready" not in [event.get("state") for event in served.told()[before:]]
    assert not served.processes()
    note(served, "the first request kills it", "a token that never came", None, "never ready")


@cells("stub")
def test_no_token_at_all(served: Served) -> None:
    """A real server that answers has one."""
    served.faults(tokens=0)
    began = time.time()
    story = served.after(lambda: served.restart_by_death() or _later(3, served.faults))

    # one that has not moved tells what a probe found before it was killed
    ready = next(e for e in story.events if e.get("state") == "ready" and e.get("moved"))
    assert seconds_of(ready["time"]) - began >= 3
    note(served, "no first token", "/generate", None, "not ready until there was one")


# -- logs and disks --------------------------------------------------------------------------------


@cells(*ONE)
def test_a_flood_in_the_log(served: Served) -> None:
    megabytes = 1024 if "GLM5_SERVE_FAULTS" in os.environ else 448  # more than is kept
    served.sabotage(*served.kind.phases["warmup"], f"flood:{megabytes}")
    served.after(served.restart_by_death)

    size = sum(path.stat().st_size for path in served.instance.glob("server.log*"))
    assert size < 6 * 68 << 20, "what is kept is bounded"
    note(served, "log flood", f"{megabytes} MB", None, f"read through, {size >> 20} MB kept, ready")


@cells(*ONE)
def test_a_line_of_50_megabytes(served: Served) -> None:
    served.sabotage(*served.kind.phases["warmup"], "line:50")
    served.after(served.restart_by_death)

    assert served.launcher().memory_info().rss < 150 << 20
    assert "[line cut]" in "".join(path.read_text() for path in served.instance.glob("server.log*"))
    note(served, "log line of 50 MB", "cut at 1 MiB", None, "ready")


@cells(*ONE)
def test_a_full_disk(served: Served) -> None:
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    served.run("down")
    shutil.rmtree(served.state)
    served.state.mkdir()
    with mounted(served.state, "-t", "tmpfs", "-o", "size=1m", "tmpfs"):
        try:
            up = served.run("up", "-p", "stub", "-d", "--allow", "disk-space")
            assert up.returncode == 0, up.stderr
            fill = f"while printf %4096s >> {served.state}/filler; do :; done"
            subprocess.run(["sh", "-c", fill], check=False, stderr=subprocess.DEVNULL, timeout=60)
            old = served.server()
            old.kill()
            until(lambda: not psutil.pid_exists(old.pid), "it is gone")
            until(lambda: _generates(served), "a new server serves, disk or no disk", LONG)
            json.loads((served.instance / "state.json").read_text())
        finally:
            served.run("down", "--now")
    assert not served.processes()
    note(served, "disk full", "ENOSPC", None, "goes on serving; state file whole")


def _generates(served: Served) -> bool:
    try:
        return served.ask(4, 10) == 4 if served.is_real else served.ask() >= 1
    except requests.RequestException:
        return False


@cells(*ONE)
def test_the_state_folder_is_removed(served: Served) -> None:
    launcher, server = served.launcher(), served.server()
    remove(served.instance)
    server.kill()
    until(lambda: not server.is_running(), "it is gone")
    until(lambda: served.status()["state"] == "ready", "a new server serves, and is told of", LONG)
    assert served.launcher() == launcher
    note(
        served,
        "state folder removed",
        "its lock is gone",
        None,
        "recreated, with the lock; goes on serving",
    )


@cells(*ONE)
def test_the_key_file_is_removed(served: Served) -> None:
    served.run("down")
    key = served.folder / "key"
    key.write_text("sekret-0123456789")
    key.chmod(0o600)
    served.write_profile(f'[access]\napi_key_file = "{key}"')
    assert served.run("up", "-p", "stub", "-d").returncode == 0
    key.unlink()

    refused = served.run("restart")
    assert refused.returncode == 78
    assert "cannot read the API key file" in refused.stderr
    assert served.status()["state"] == "ready", "what runs goes on"
    served.after(served.restart_by_death)
    bare = requests.get(f"http://127.0.0.1:{served.port}/v1/models", timeout=60)
    assert bare.status_code == 401, "it is as guarded as before"
    served.run("down")
    note(
        served,
        "key file removed",
        "at `restart`",
        None,
        "refused; a death starts again with the key it has",
    )


# -- the launcher itself ---------------------------------------------------------------------------


@cells()
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("state", ["starting", "ready", "backoff", "stopping"])
def test_the_launcher_is_signalled(anyhow: Served, state: str, number: signal.Signals) -> None:
    BRING[state](anyhow)
    launcher = anyhow.launcher()
    assert anyhow.peek()["state"] == state
    launcher.send_signal(number)
    anyhow.until_nothing_is_left()

    seen, killed = anyhow.status(), number == signal.SIGKILL
    assert seen["state"] == ("dead" if killed else "stopped")
    if state == "stopping" and not killed:
        assert seen["reason"].startswith("stop asked for by SIGTERM")
    did = {"ready": "drained and stopped", "stopping": "drained once"}.get(state, "stopped")
    note(
        anyhow,
        f"launcher {number.name} while {state}",
        "signal",
        None,
        "left nothing" if killed else did,
    )


def _bring_it_to_a_start(served: Served) -> None:
    """One that is under way and goes on for longer than this takes."""
    if served.status()["state"] in ("ready", "starting"):
        served.break_a_start(*served.kind.phases["weights"], "hang")
    else:
        served.sabotage(*served.kind.phases["weights"], "hang")
        served.start("up", "-p", "stub", "-d")
    until(served.has_struck, "it starts, and hangs", LONG)


def _bring_it_to_a_pause(served: Served) -> None:
    """The second death in a row: its command cannot be executed."""
    served.run("down", "--now")
    served.write_profile(backoff=60, backoff_max=60)
    assert served.run("up", "-p", "stub", "-d").returncode == 0
    served.python.unlink()
    served.restart_by_death()
    until(lambda: served.peek()["state"] == "backoff", "it waits", LONG)


def _bring_it_to_a_stop(served: Served) -> None:
    """It drains."""
    served.ensure_ready()
    if served.is_real:
        ThreadPoolExecutor().submit(served.ask, 1900, 60)
        until(served.in_flight, "it is asked")
    else:
        served.faults(drain=3)
    served.launcher().send_signal(signal.SIGTERM)
    until(lambda: served.peek()["state"] == "stopping", "it drains")


BRING: dict[str, Callable[[Served], None]] = {
    "starting": _bring_it_to_a_start,
    "ready": Served.ensure_ready,
    "backoff": _bring_it_to_a_pause,
    "stopping": _bring_it_to_a_stop,
}


@cells()
def test_the_launcher_is_stopped_for_a_while(served: Served) -> None:
    launcher, server = served.launcher(), served.server()
    launcher.suspend()
    time.sleep(served.patience)
    launcher.resume()
    served.unmoved(2)
    launcher.suspend()
    server.kill()
    time.sleep(0.5)
    story = served.after(launcher.resume)
    note(
        served,
        "launcher STOP and CONT",
        "what happened meanwhile",
        story.seconds,
        "no false kill; started again",
    )


@cells(*VLLM)  # of SGLang: test_real_engine.py
def test_a_request_in_flight_is_answered_before_it_goes(served: Served) -> None:
    tokens = served.tokens_of(1.5)  # less than its `shutdown-timeout`
    with served.asked(tokens) as asked:
        assert served.run("down").returncode == 0
        assert asked.result(LONG) == tokens
    note(served, "a request in flight at `down`", "its own count, and its client", None, "answered")


@cells(*VLLM)
def test_a_request_in_flight_is_answered_before_it_is_restarted(served: Served) -> None:
    tokens = served.tokens_of(1.5)  # less than its `shutdown-timeout`
    with served.asked(tokens) as asked:
        assert served.run("restart").returncode == 0
        assert asked.result(LONG) == tokens
    note(
        served,
        "a request in flight at `restart`",
        "its own count, and its client",
        None,
        "answered",
    )


@cells()
@pytest.mark.parametrize("asked", ["down", "restart"])
def test_it_is_asked_to_end_or_restart_while_it_starts(served: Served, asked: str) -> None:
    """One that hangs: nothing but the asking ends it."""
    _bring_it_to_a_start(served)
    done = served.run(asked)

    assert done.returncode == 0, done.stderr
    if asked == "down":
        assert served.status()["state"] == "stopped"
        assert not served.processes()
    else:
        assert served.status()["state"] == "ready"
    did = "stopped" if asked == "down" else "killed, started again"
    note(served, f"`{asked}` while starting", "the command", None, did)


@cells(*ONE)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
@pytest.mark.parametrize("state", ["starting", "ready"])
def test_the_launcher_is_interrupted(anyhow: Served, state: str, number: signal.Signals) -> None:
    """As by a terminal that is closed: the same as SIGTERM."""
    BRING[state](anyhow)
    anyhow.launcher().send_signal(number)
    anyhow.until_nothing_is_left()

    assert anyhow.status()["state"] == "stopped"
    assert number.name in anyhow.status()["reason"]
    did = "drained and stopped" if state == "ready" else "stopped"
    note(anyhow, f"launcher {number.name} while {state}", "signal", None, did)


@cells(*ONE)
@pytest.mark.parametrize("state", ["starting", "backoff", "stopping"])
def test_the_launcher_is_stopped_in_another_state(served: Served, state: str) -> None:
    """What was said or due meanwhile is taken in before anything is judged."""
    if state == "starting":
        served.faults(load_seconds=served.patience + 3)
        served.restart_by_death()

        def loads() -> bool:  # the real one takes its time anyway
            weights = "weights" in [event.get("phase") for event in served.told()[-3:]]
            return weights or (served.is_real and served.peek()["state"] == "starting")

        until(loads, "it starts, and loads", LONG)
    else:
        BRING[state](served)
    launcher, restarts = served.launcher(), served.peek()["restarts"]
    launcher.suspend()
    time.sleep(served.patience + 1)
    served.restore_python()
    assert served.peek()["state"] == state
    if state == "stopping":
        launcher.resume()
        served.until_nothing_is_left()
        assert served.status()["state"] == "stopped"
    else:
        goes_on = (
            launcher.resume
            if state == "starting"
            else lambda: launcher.resume() or served.run("restart")
        )
        goes_on()
        until(lambda: served.peek()["state"] == "ready", "it goes on as if nothing had been", LONG)
        assert served.peek()["restarts"] == restarts + (state == "backoff"), "no false kill"
    note(served, f"launcher STOP while {state}", "what happened meanwhile", None, "goes on")


@cells()
def test_a_second_launcher(served: Served) -> None:
    second = served.run("up", "-p", "stub")

    assert second.returncode == 1
    assert "is already up: ready" in second.stderr
    served.unmoved(1)
    note(served, "two launchers", "flock", None, "the second refused")


@cells()
def test_it_is_deaf_to_sigterm(served: Served) -> None:
    if served.is_real:
        served.sabotage(served.kind.listens, "server", "deaf")
        served.after(served.restart_by_death)
    else:
        served.faults(deaf=True)
    down = served.run("down")

    assert down.returncode == 0
    assert not served.processes()
    if served.is_real:  # it says itself that it has no request left: no need to wait longer
        assert "not gone within" not in served.status()["reason"]
    else:
        assert "not gone within 4 s: killed" in served.status()["reason"]
    found = "no request and no client left" if served.is_real else "not gone within `stop_timeout`"
    note(served, "TERM-deaf", found, None, "killed, nothing left")


@cells()
def test_a_client_holds_a_deaf_server_for_as_long_as_the_policy_allows(served: Served) -> None:
    """Whoever is connected may wait for an answer: a server that does not leave is not killed under
    it early.
    """
    if served.is_real:
        served.sabotage(served.kind.listens, "server", "deaf")
        served.after(served.restart_by_death)
        # uvicorn closes a connection that asked nothing after five seconds; this one asks
        with served.asked(again=True) as asked:
            down = served.run("down")
            assert asked.exception(LONG) is not None, "it was in flight"
    else:
        served.faults(deaf=True, loads=[{"dp_rank": 0, "num_running_reqs": 0}])
        with socket.create_connection(("127.0.0.1", served.port), 60):
            down = served.run("down")
    assert down.returncode == 0
    assert "not gone within 4 s: killed" in served.status()["reason"]
    note(
        served,
        "TERM-deaf, a client connected",
        "not gone within `stop_timeout`",
        None,
        "killed, nothing left",
    )


@cells(*ONE)
def test_no_file_descriptors_are_left(served: Served) -> None:
    launcher, before_it = served.launcher(), len(served.told())
    before = launcher.rlimit(psutil.RLIMIT_NOFILE)

    def inject() -> None:
        launcher.rlimit(psutil.RLIMIT_NOFILE, (launcher.num_fds(), before[1]))
        served.restart_by_death()

    with ThreadPoolExecutor() as pool:
        story = pool.submit(served.after, inject)
        until(
            lambda: "too many open files" in json.dumps(served.told()[before_it:]).lower(),
            "it is named",
            LONG,
        )
        launcher.rlimit(psutil.RLIMIT_NOFILE, before)
        story.result(LONG)
    note(
        served,
        "file descriptors exhausted",
        "EMFILE at the launch",
        None,
        "tried again until there were some",
    )


@cells("stub")
def test_the_clock_jumps(served: Served) -> None:
    """The launcher's: what it runs plays no part."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler for the clock that jumps")
    served.run("down")
    clock, library = served.folder / "clock", served.folder / "clock.so"
    source = TESTS / "rig/clock.c"
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-Wall", "-Werror", "-o", library, source, "-ldl"],
        check=True,
        timeout=60,
    )
    environ = {"LD_PRELOAD": str(library), "CLOCK_FILE": str(clock)}
    assert served.run("up", "-p", "stub", "-d", **environ).returncode == 0
    for days in (400, -400):
        fresh = clock.with_suffix(".new")
        fresh.write_text(str(days * 86400))
        fresh.replace(clock)
        served.unmoved(1.5)
        read = json.loads((served.instance / "readings.json").read_text())
        assert abs(read["at"] - time.time() - days * 86400) < 3600, "the launcher's clock jumped"
    (last,) = served.run("events", "-n", "1", "--json").stdout.splitlines()
    clock.unlink()
    assert json.loads(last)["state"] == "ready"
    note(served, "clock jumps 400 days", "monotonic time", None, "nothing happens")


@cells("stub")
def test_the_engine_is_updated_under_it(served: Served) -> None:
    """It asks for the release: what runs plays no part."""
    stub = served.folder / "engine"
    shutil.rmtree(stub, ignore_errors=True)
    shutil.copytree(TESTS / "rig/stub", stub)
    served.run("down")
    text = served.profile.read_text().replace(f"{TESTS}/rig/stub", str(stub))
    served.profile.write_text(text)
    assert served.run("up", "-p", "stub", "-d").returncode == 0
    (stub / "sglang-0.5.23.dist-info").rename(stub / "sglang-0.5.99.dist-info")
    metadata = stub / "sglang-0.5.99.dist-info/METADATA"
    metadata.write_text(metadata.read_text().replace("0.5.23", "0.5.99"))
    served.after(served.restart_by_death)

    log = served.instance / "launcher.log"
    until(
        lambda: "the engine is SGLang 0.5.99 now, the plan was made for 0.5.23" in log.read_text(),
        "it is told",
    )
    note(
        served,
        "engine updated under it",
        "its release at a launch",
        None,
        "told; `restart` makes a new plan",
    )


# -- the table -------------------------------------------------------------------------------------


def page(found: dict[tuple[str, str], str], day: str) -> str:
    """The table as Markdown, of the day of the last run."""
    head = f"""# Faults

Each cell is a test (`tests/serve/test_faults.py`, all of them by `make faults`): the fault is put into a
running server, and the test asserts how it is found, what is done, that no process is left behind, and that the
state file can be read. Written by a run on a machine with two cores, last on {day}. Times are from the fault to the
first word about it, under the tests' impatient policy (a phase of the real server may be quiet for 12 s, health checks
every half second). `-`: it cannot be made there, the number of ranks plays no part in it, or no run has filled it yet.

"""
    columns = ("fault", *(kind.column for kind in KINDS.values()))
    head += f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}\n"
    faults = dict.fromkeys(fault for fault, _ in found)
    rows = [
        "| " + " | ".join([fault, *(found.get((fault, e), "-") for e in ENGINES)]) + " |"
        for fault in faults
    ]
    return head + "\n".join(rows) + "\n"


def told(page: str) -> dict[tuple[str, str], str]:
    """The cells of a page."""
    rows = [line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("| ")][
        1:
    ]
    return {
        (fault, e): cell
        for fault, *cells in rows
        for e, cell in zip(ENGINES, cells, strict=True)
        if cell != "-"
    }


def test_a_page_is_read_as_it_was_written() -> None:
    text = PAGE.read_text()
    [day] = re.findall(r"last on (\S+)\. ", text)

    assert page(told(text), day) == text


def test_the_page_has_a_row_for_every_fault() -> None:
    rows = re.findall(r"^\| ([^|]+) \|", PAGE.read_text(), re.MULTILINE)[1:]
    noted = set(re.findall(r'note\(\s*(?:served|anyhow), f?"([^"{]+)', Path(__file__).read_text()))

    assert len(rows) >= 25
    for fault in noted:
        assert any(row.startswith(fault.strip()) for row in rows), fault


def test_glm5_serve_is_what_the_cells_run() -> None:
    assert GLM5_SERVE.exists()
