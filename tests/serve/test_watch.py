"""What tells a hang from work: processes, tokens, GPUs; and what is told to systemd."""

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
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import World, next_line, running, until
from rig.nvml import scenario

from launcher.diagnose.diagnosis import diagnose
from launcher.engines import activity
from launcher.engines.activity import Load
from launcher.engines.sglang.log import LOG
from launcher.engines.sglang.runtime import RUNTIME
from launcher.engines.witness import said
from launcher.knowledge.xid import xids
from launcher.serve import gpu_monitor, procfs, stacks
from launcher.serve.gpu_monitor import GpuNews, GpuWatch, address_in, fatal, pid_in
from launcher.serve.gpu_monitor_child import read_kernel
from launcher.serve.journald import is_connected
from launcher.serve.procfs import Member, Vitals
from launcher.serve.sdnotify import Notifier
from launcher.statedir.readings import GpuReading

RANKS = RUNTIME.ranks
RANK = Member(10, "sglang::scheduler_TP0", "R", 100.0, 1 << 30, 0, 0, is_rank=True)
IDLE = replace(RANK, state="S")


def seen(at: float, *members: Member) -> Vitals:
    return Vitals(at, members)


# -- processes -------------------------------------------------------------------------------------


def test_a_rank_that_only_spins_does_not_move() -> None:
    before, after = seen(0, RANK), seen(10, replace(RANK, cpu=110.0))

    assert procfs.signs(before, after, "distributed") is None
    assert (
        procfs.finding(before, after)
        == "1 of 1 ranks spin at 100 % CPU; no disk read or written, no compiler at work (seen for"
        " 10 s)"
    )


@pytest.mark.parametrize(
    ("change", "sign"),
    [
        ({"read": 2 << 20}, "reads from disk"),
        ({"written": 4096}, "writes to disk"),
        ({"resident": 2 << 30}, "its memory changes"),
        ({"name": "ptxas", "cpu": 110.0, "is_rank": False}, "compiles (ptxas)"),
        ({"name": "python3", "cpu": 110.0, "is_rank": False}, "a helper process works"),
    ],
)
def test_what_reads_grows_or_compiles_moves(change: dict[str, object], sign: str) -> None:
    after = replace(RANK, **change)  # type: ignore[arg-type]
    before = replace(RANK, name=after.name, is_rank=after.is_rank)

    assert procfs.signs(seen(0, before), seen(10, after), "weights") == sign


def test_what_was_read_written_or_compiled_meanwhile_is_told() -> None:
    compiler = Member(11, "ptxas", "S", 0.0, 0, 0, 0)
    after = replace(IDLE, read=IDLE.read + (3 << 20), written=512 << 10)

    assert (
        procfs.finding(seen(0, IDLE, compiler), seen(4, after, compiler))
        == "1 ranks wait, none uses the processor; 3.0 MiB read, 0.5 MiB written, ptxas at work"
        " (seen for 4 s)"
    )


def test_imports_use_the_processor_and_nothing_else() -> None:
    before, after = seen(0, RANK), seen(10, replace(RANK, cpu=110.0))

    assert procfs.signs(before, after, "process") == "uses the processor"
    assert procfs.signs(before, seen(10, RANK), "process") is None


def test_a_process_that_comes_is_a_sign() -> None:
    assert (
        procfs.signs(seen(0, RANK), seen(1, RANK, replace(RANK, pid=11)), "kv")
        == "processes came or went"
    )


def test_ranks_that_wait_stop_or_sleep_in_the_driver_are_told_apart() -> None:
    def told(state: str) -> str:
        member = replace(IDLE, state=state)
        return procfs.finding(seen(0, member), seen(10, member))

    assert told("S").startswith("1 ranks wait, none uses the processor")
    assert told("T").startswith("sglang::scheduler_TP0 stopped by a signal")
    assert told("D").startswith("sglang::scheduler_TP0 in uninterruptible sleep")


def test_open_connections_are_counted_until_the_client_lets_go() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert procfs.clients("127.0.0.1", port) == 0
        server.settimeout(60)
        client = socket.create_connection(("127.0.0.1", port), 60)
        accepted, _ = server.accept()
        assert procfs.clients("127.0.0.1", port) == 1
        client.shutdown(socket.SHUT_WR)  # it said all, and waits for the answer
        assert until(lambda: procfs.clients("127.0.0.1", port) == 1, "half closed")
        client.close()
        accepted.close()
        until(lambda: procfs.clients("127.0.0.1", port) == 0, "nobody is left")


def test_a_proxy_on_another_address_is_no_server_of_ours() -> None:
    with socket.create_server(("127.0.0.2", 0)) as proxy:
        port = proxy.getsockname()[1]
        with socket.create_connection(("127.0.0.2", port), 60):
            assert procfs.clients("127.0.0.1", port) == 0
            assert procfs.clients("127.0.0.2", port) == 1
            assert procfs.clients("0.0.0.0", port) == 1, (
                "who listens on all addresses has all of the port"
            )


def test_what_a_rank_forks_is_no_rank() -> None:
    """Between fork and exec it has the rank's name, and then ends as it should."""
    code = """
import ctypes, os, sys, time
ctypes.CDLL(None).prctl(15, b"sglang::TP0", 0, 0, 0)
child = os.fork()
if child:
    print(child, flush=True)
time.sleep(60)
"""
    with running(
        sys.executable, "-c", code, stdout=subprocess.PIPE, start_new_session=True
    ) as rank:
        child = int(next_line(rank))
        assert procfs.name_of(child, RANKS) == procfs.name_of(rank.pid, RANKS) == "sglang::TP0"
        assert (procfs.is_rank(rank.pid, RANKS), procfs.is_rank(child, RANKS)) == (True, False)
        os.killpg(rank.pid, signal.SIGKILL)


def test_a_debugger_from_outside_excuses_silence() -> None:
    assert "under a debugger" in (procfs.debugger(seen(0, replace(RANK, traced_by=1))) or "")
    assert procfs.debugger(seen(0, RANK)) is None
    assert procfs.debugger(seen(0, replace(RANK, traced_by=2**22 - 1))) is None, "that one is gone"
    crash_handler = replace(RANK, pid=1, name="python3")
    assert procfs.debugger(seen(0, crash_handler, replace(RANK, traced_by=1))) is None, (
        "it is one of its own"
    )


def test_a_compiler_excuses_silence_while_it_uses_the_processor() -> None:
    ninja = Member(11, "ninja", "S", 3.0, 0, 0, 0)
    ptxas = Member(12, "ptxas", "R", 0.2, 0, 0, 0)

    assert procfs.compiler(seen(0, RANK, ninja), seen(9, RANK, ninja)) is None, (
        "it is only called so"
    )
    assert procfs.compiler(seen(0, RANK, ninja), seen(9, RANK, replace(ninja, cpu=3.01))) == "ninja"
    assert procfs.compiler(seen(0, RANK, ninja), seen(9, RANK, ninja, ptxas)) == "ptxas", (
        "it came and worked"
    )
    assert procfs.compiler(seen(0, RANK), seen(9, RANK, replace(ptxas, cpu=0.0))) is None
    assert procfs.compiler(seen(0, RANK), seen(9, replace(RANK, cpu=200.0))) is None


def test_why_there_is_no_stack_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stacks, "YAMA", tmp_path / "ptrace_scope")
    (tmp_path / "ptrace_scope").write_text("1\n")
    stacks.keep(tmp_path / "stacks", [replace(RANK, pid=2**22 - 1)])

    text = (tmp_path / "stacks").read_text()
    assert text.startswith("== sglang::scheduler_TP0 pid 4194303 state R")
    assert "no stack: " in text
    assert text.endswith("; kernel.yama.ptrace_scope is 1: only root, or CAP_SYS_PTRACE, may\n")


def test_real_processes_are_seen_as_they_are() -> None:
    code = "x = bytearray(64 << 20); print('up', flush=True)\nwhile True: pass"
    with running(sys.executable, "-c", code, stdout=subprocess.PIPE) as child:
        assert next_line(child) == "up\n"
        before = procfs.look([child.pid, 2**22 - 1], time.monotonic(), RANKS)
        assert before.members[0].resident > 64 << 20

        def sign() -> str | None:
            return procfs.signs(
                before, procfs.look([child.pid], time.monotonic(), RANKS), "process"
            )

        assert until(sign, "it gets a processor").startswith(
            ("uses the processor", "the host is short of")
        )


RANK_OF = "open('/proc/self/comm', 'w').write('sglang::sched'); print('up', flush=True)\n"
SPINS = "while True: pass"
ONE_CPU = "import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])\n"


def stood_in_line(*code: str) -> float:
    """The share of two seconds in which the first of these programs, a rank, stood in line."""
    with contextlib.ExitStack() as stack:
        rank, *_ = [
            stack.enter_context(running(sys.executable, "-c", one, stdout=subprocess.PIPE))
            for one in code
        ]
        assert next_line(rank) == "up\n"
        before = procfs.in_line([rank.pid, 2**22 - 1], time.monotonic(), RANKS)
        time.sleep(2)
        after = procfs.in_line([rank.pid], time.monotonic(), RANKS)
        return before.share(after)


def test_a_rank_without_a_processor_stands_in_line_and_one_that_sleeps_does_not() -> None:
    beside = [ONE_CPU + SPINS] * 5

    assert stood_in_line(ONE_CPU + RANK_OF + SPINS, *beside) > 0.5
    assert stood_in_line(ONE_CPU + RANK_OF + "import signal; signal.pause()", *beside) < 0.5


def test_what_the_kernel_does_not_count_is_no_line() -> None:
    assert procfs.InLine(0.0, {}).until(procfs.InLine(5.0, {7: 3.0})) == 0
    assert procfs.InLine(0.0, {7: 1.0}).until(procfs.InLine(5.0, {7: 1.0})) == 0
    assert procfs.InLine(0.0, {7: 1.0, 8: 0.0}).until(procfs.InLine(5.0, {7: 1.5, 8: 9.0})) == 5


# -- tokens ----------------------------------------------------------------------------------------

PREFILL = (
    "[2026-11-24 05:06:00 TP0] Prefill batch, #new-seq: 1, #new-token: 8192, #cached-token: 12,"
    " token usage: 0.0, #running-req: 0, #queue-req: 0, #pending-token: 92000, cuda graph: False"
)


def silence(line: str) -> float | None:
    return activity.expected_silence(said(line), LOG)


def test_a_chunk_of_a_prompt_excuses_silence_for_as_long_as_the_slowest_would_take() -> None:
    assert silence(PREFILL) == pytest.approx(8192 / 400)
    decode = (
        "[2026-11-24 05:06:00 TP0] Decode batch, #running-req: 6, #token: 1920, token usage: 0.94"
    )
    assert silence(decode) == 0
    assert silence('INFO:     127.0.0.1:1 - "GET /health HTTP/1.1" 200 OK') is None


def test_pauses_are_read_off_the_access_log() -> None:
    assert LOG.pause('INFO:     127.0.0.1:5 - "POST /pause_generation HTTP/1.1" 200 OK') is True
    assert LOG.pause('INFO:     127.0.0.1:5 - "POST /continue_generation HTTP/1.1" 200 OK') is False
    assert (
        LOG.pause('INFO:     127.0.0.1:5 - "POST /pause_generation HTTP/1.1" 401 Unauthorized')
        is None
    )


def test_a_server_that_takes_itself_apart_says_so() -> None:
    drained = (
        "Gracefully exiting... Remaining number of requests {}. Remaining requests"
        " remaining_rids=[]."
    )

    assert activity.is_draining(said(f"[2026-11-24 01:00:00] {drained.format(0)}"), LOG)
    assert not activity.is_draining(said(f"[2026-11-24 01:00:00] {drained.format(10)}"), LOG)


def test_a_replica_that_publishes_nothing_new_while_requests_run_is_stuck() -> None:
    busy, idle = Load(0, 2, {"num_used_tokens": 7}), Load(1, 0, {"num_used_tokens": 7})
    state = activity.update(
        activity.update(activity.Activity(), [busy, idle], 0.0), [busy, idle], 40.0
    )

    assert state.stuck(29, 30) is None
    assert state.stuck(31, 30) == "2 requests run on replica 0, and nothing moved for 31 s"
    assert activity.update(state, [], 31.0).stuck(71, 30) is None, "no answer is no stillness"
    moved = activity.update(state, [Load(0, 2, {"num_used_tokens": 8}), idle], 40.0)
    assert moved.stuck(69, 30) is None


# -- GPUs ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scenario.library(tmp_path_factory.mktemp("nvml"))


@pytest.fixture
def watched(library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[GpuWatch]:
    """A watch over eight GPUs, of which the third falls off the bus after a second."""
    host = scenario.host(8, mem_used=2 << 30)
    host["event.0"] = "1000 2 xid 79"
    host["event.1"] = "1100 4 xid 13"
    for name, value in scenario.environ(library, scenario.write(tmp_path / "host", host)).items():
        monkeypatch.setenv(name, value)
    watch = GpuWatch()
    yield watch
    watch.close()


def test_samples_and_faults_of_gpus_are_told(watched: GpuWatch) -> None:
    told: list[GpuNews] = []

    def heard() -> bool:
        told.extend(watched.hear())
        return len([news for news in told if news.xid is not None]) == 2

    until(heard, "two faults")
    assert len(watched.gpus) == 8
    assert watched.gpus[3].total == 97887 << 20
    assert watched.gpus[3].power == 39.0
    faults = [news for news in told if news.xid is not None]
    assert faults[0] == GpuNews(xid=79, gpu=2, bdf=watched.gpus[2].bdf)
    assert (fatal(faults[0].line) or "").startswith("a GPU fell off the PCIe bus (Xid 79)")
    assert fatal(faults[1].line) is None


def test_memory_is_waited_for(watched: GpuWatch, library: Path, tmp_path: Path) -> None:
    until(lambda: list(watched.hear()) or watched.gpus, "a sample")
    watched.remember()
    assert watched.still_held() is None
    scenario.write(tmp_path / "host", scenario.host(8, mem_used=92 << 30))
    watched.poke()
    assert watched.still_held() == "the driver has not said how much GPU memory is in use"
    until(
        lambda: list(watched.hear()) or "GPU" in (watched.still_held() or "")[:3],
        "a younger sample",
        20,
    )
    assert watched.still_held() == "GPU 0 still holds 90.0 GiB"


def test_a_gpu_of_somebody_else_is_not_ours(watched: GpuWatch) -> None:
    watched.gpus = tuple(GpuReading(n, f"0000:0{n}:00.0", pids=(n,)) for n in range(8))

    assert watched.is_ours("0000:03:00.0", {3}, wanted=2)
    assert not watched.is_ours("0000:04:00.0", {3}, wanted=2)
    assert watched.is_ours("0000:04:00.0", set(), wanted=8)


def test_what_the_gpus_do_is_evidence(watched: GpuWatch) -> None:
    assert watched.in_words() is None
    watched.gpus = (
        GpuReading(0, utilization=100, power=92.4),
        GpuReading(1, utilization=99, power=95.0),
    )
    assert watched.in_words() == "GPUs 99 to 100 % busy at 92 to 95 W each"
    watched.gpus = (GpuReading(0, power=95.0),)
    assert watched.in_words() == "95 to 95 W each"


def test_without_a_driver_the_watch_ends_with_a_reason() -> None:
    watch = GpuWatch()
    told: list[GpuNews] = []
    with pytest.raises(EOFError):
        until(lambda: told.extend(watch.hear()), "its end")
    watch.close()
    assert told[-1].end


def test_kernel_lines_are_judged_by_the_same_table() -> None:
    line = "NVRM: Xid (PCI:0000:61:00): 79, GPU has fallen off the bus."

    assert address_in(line) == "0000:61:00.0"
    assert fatal(line)
    assert fatal("NVRM: Xid (PCI:0000:61:00): 43, pid=1, name=python3, Ch 00000008") is None


def test_the_number_alone_is_enough_of_some_xids() -> None:
    """NVML's events have no words: which of the driver's faults stop the service by their
    number.
    """
    told = {n: fatal(GpuNews(n, 5, "0000:61:00.0").line) for n in range(1, 200)}

    wanted = {n for n, row in xids().items() if row.advice == "reboot"} - {*range(144, 151), 154}
    assert (
        {n for n, what in told.items() if what}
        == wanted
        >= {8, 62, 64, 74, 79, 95, 119, 120, 140, 175}
    )
    assert fatal(GpuNews(79).line), "a GPU that is gone has no address any more"


def test_what_the_kernel_killed_is_known_by_its_pid(monkeypatch: pytest.MonkeyPatch) -> None:
    memcg = "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=x,task=postgres,pid=4711,uid=70"

    monkeypatch.setattr(gpu_monitor, "HOSTS_PIDS", str(gpu_monitor.PIDS.readlink()))
    assert pid_in(memcg) == 4711
    assert pid_in("Out of memory: Killed process 4711 (python3) total-vm:1kB") == 4711
    assert pid_in("oom_reaper: reaped process 4711 (python3), now anon-rss:0kB") == 4711
    assert (
        pid_in("oom-kill:constraint=CONSTRAINT_NONE,task=,pid=4711,uid=1,pid=4712,uid=70") == 4712
    ), "a name"
    assert pid_in("Killed process 4711[1]: segfault at 0 in libnccl.so.2") is None, "a name"
    assert (
        address_in("PCI:0000:61:00[1]: segfault at 0 ip 0 sp 0 error 4 in libnccl.so.2") is None
    ), "a name"
    thread = "python3[4711]: segfault at 7f79 ip 00007f7c sp 00007f7c error 4 in libnccl.so.2"
    assert pid_in(thread) is None, "that is a thread, of whomever"
    assert (
        pid_in("nvidia-nvswitch1: SXid (PCI:0000:aa:00.0): 24007, Severity 1 Engine instance 12")
        is None
    )
    monkeypatch.setattr(gpu_monitor, "HOSTS_PIDS", "pid:[1]")
    assert pid_in(memcg) is None, "in a container it is a pid of the host"


def test_the_kernels_log_is_read_for_what_is_about_gpus_and_memory(
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Records as /dev/kmsg gives them, one a read: priority, number, time, flags; the line; its
    fields.
    """
    fell_off = "NVRM: Xid (PCI:0000:61:00): 79, GPU has fallen off the bus."
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with ours, theirs:
        for text in ("usb 1-1: new device", fell_off):
            theirs.send(f"3,1234,5678901,-;{text}\n SUBSYSTEM=pci\n".encode())
        # of facility 1: whoever may write there
        theirs.send(f"12,1235,5678902,-;{fell_off}\n".encode())
        theirs.send(f"6,1236,5678903,-;usb 1-1: Product: {fell_off}\n".encode())
        ours.setblocking(False)
        read_kernel(ours.fileno())

    assert json.loads(capfd.readouterr().out) == {"kernel": fell_off}


def test_an_ecc_error_is_told_as_an_xid(
    library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = scenario.host(8) | {"event.0": "500 5 ecc2 1"}
    for name, value in scenario.environ(library, scenario.write(tmp_path / "host", host)).items():
        monkeypatch.setenv(name, value)
    watch, told = GpuWatch(), list[GpuNews]()
    until(lambda: told.extend(watch.hear()) or told, "the error")
    watch.close()

    assert (told[0].xid, told[0].gpu) == (48, 5)
    assert diagnose([told[0].line]).cause == "gpu-memory-contained"
    assert fatal(told[0].line) is None, "95 will say so, if it was not contained"


def test_a_gpu_that_falls_off_the_bus_stops_the_server_for_good(
    world: World, library: Path
) -> None:
    plan = json.loads(world.run("render", "-p", "stub", "--json").stdout)
    world.instance.mkdir(parents=True)
    (world.instance / "plan.json").write_text(json.dumps(plan | {"gpus": 8}))
    host = scenario.host(8) | {"event.0": "3000 5 xid 79"}
    environ = scenario.environ(library, scenario.write(world.folder / "host", host))
    words = [sys.executable, "-P", "-m", "launcher.supervise", str(world.instance), "plain"]
    with running(
        *words, env=world.environ | environ, stderr=subprocess.PIPE, text=True
    ) as launcher:
        _, said = launcher.communicate(timeout=60)

    assert launcher.returncode == 1
    states = [event["state"] for event in world.events()]
    assert states == ["starting", "ready", "stopping", "failed"]
    assert "a GPU fell off the PCIe bus (Xid 79)" in world.events()[-1]["reason"]
    assert "reboot the host" in said
    assert world.events("gpu")[0]["xid"] == 79
    assert not world.processes()


def test_a_hang_tells_what_doctor_suspects_and_what_the_gpus_do(
    world: World, library: Path
) -> None:
    world.write_profile(restart_limit=0, **{"stall_timeouts.warmup": 1.5})
    world.faults(tokens=0)
    plan = json.loads(world.run("render", "-p", "stub", "--json").stdout)
    suspects = ["iommu-translation: IOMMU group type is DMA"]
    world.instance.mkdir(parents=True)
    (world.instance / "plan.json").write_text(json.dumps(plan | {"gpus": 8, "suspects": suspects}))
    environ = scenario.environ(library, scenario.write(world.folder / "host", scenario.host(8)))
    words = [sys.executable, "-P", "-m", "launcher.supervise", str(world.instance), "plain"]
    done = subprocess.run(
        words, env=world.environ | environ, stderr=subprocess.DEVNULL, timeout=60, check=False
    )

    assert done.returncode == 1
    reason = world.status()["reason"]
    assert "warmup has not moved for 1.5 s" in reason
    assert re.search(r"GPUs \d+ to \d+ % busy at 39 to 39 W each", reason)
    assert suspects[0] in reason
    assert [event["cause"] for event in world.events("death")] == ["hang"]


# -- systemd ---------------------------------------------------------------------------------------


def test_a_service_manager_is_told_what_happens(tmp_path: Path) -> None:
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(path))
        manager.settimeout(60)
        told = Notifier(
            {
                "NOTIFY_SOCKET": str(path),
                "WATCHDOG_USEC": "4000000",
                "WATCHDOG_PID": str(os.getpid()),
            }
        )
        assert told.every == 2.0
        told.tell("READY=1", "STATUS=ready")
        told.extend(1.5)
        assert manager.recv(100) == b"READY=1\nSTATUS=ready"
        assert manager.recv(100) == b"EXTEND_TIMEOUT_USEC=1500000"
        told.close()


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"NOTIFY_SOCKET": "/no/such"},
        {"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "1", "WATCHDOG_PID": "1"},
    ],
)
def test_nobody_to_tell_is_no_trouble(environ: dict[str, str]) -> None:
    told = Notifier(environ)

    told.tell("READY=1")
    assert told.every is None
    told.close()


def test_the_journal_is_known_by_its_stream() -> None:
    stat = os.fstat(sys.stderr.fileno())

    assert is_connected(sys.stderr, {"JOURNAL_STREAM": f"{stat.st_dev}:{stat.st_ino}"})
    assert not is_connected(sys.stderr, {"JOURNAL_STREAM": "8:1"})
    assert not is_connected(sys.stderr, {})


# -- what clients write into the log of a real server ----------------------------------------------

CLIENTS = [
    (
        '[2026-11-24 05:10:07] INFO:     10.1.2.3:51244 - "GET /_kgspIsHeartbeatTimedOut HTTP/1.1"'
        " 401 Unauthorized"
    ),
    '[2026-11-24 05:10:07] INFO:     10.1.2.3:51244 - "GET /x?code=802 HTTP/1.1" 401 Unauthorized',
    (
        "[2026-11-24 05:10:07 TP0] Hit invalid regex: key_string='(NVRM: Xid (PCI:0000:01:00):"
        " 79,', e=RuntimeError()"
    ),
    "[2026-11-24 05:10:07] Model attempted to call undefined function: x",
    "NVRM: Xid (PCI:0000:01:00): 79, GPU has fallen off the bus.",  # the rest of that name
    "RuntimeError: CUDA error: no kernel image is available for execution on the device",
]
EXCUSES = [
    '[2026-11-24 05:10:07] Failed to parse "POST /pause_generation HTTP/1.1" 200 OK',
    (
        '[2026-11-24 05:10:07] INFO:     10.1.2.3:51244 - "GET /x?"POST /pause_generation HTTP/1.1"'
        " 200 OK"
    ),
    (
        "[2026-11-24 05:10:07] Error parsing tool call: Prefill batch, #new-seq: 1, #new-token:"
        " 99999999999"
    ),
]


def print_as(server: int, lines: list[str]) -> None:
    """Write into the log as the server does."""
    with Path(f"/proc/{server}/fd/1").open("w") as output:
        output.write("".join(f"{line}\n" for line in lines))


def up(world: World) -> int:
    """The pid of a server that is up and ready."""
    done = world.run("up", "-p", "stub", "-d")
    assert done.returncode == 0, done.stderr
    return int(world.status()["pids"]["server"])


def test_what_clients_write_ends_no_service(world: World) -> None:
    server = up(world)
    print_as(server, CLIENTS)
    os.kill(server, signal.SIGKILL)
    world.until_state("ready", restarts=1)

    print_as(int(world.status()["pids"]["server"]), CLIENTS)
    done = world.run("restart", "-p", "stub")
    assert done.returncode == 0, done.stderr
    world.until_state("ready", restarts=2)


def test_what_clients_write_excuses_no_hang(world: World) -> None:
    server = up(world)
    print_as(server, EXCUSES)
    world.faults(hang_at="health")
    until(lambda: world.events("death"), "it is found hung")
    world.faults()
    world.until_state("ready", restarts=1)

    assert world.events("death")[-1]["cause"] == "hang"


def test_a_process_that_is_only_called_a_compiler_excuses_no_hang(world: World) -> None:
    """It sleeps beside a server that hangs."""
    ninja, python = world.folder / "ninja", world.folder / "python"
    shutil.copy(shutil.which("sleep") or "/bin/sleep", ninja)
    python.write_text(
        f'#!/bin/sh\ncase "$*" in *sglang.launch_server*) {ninja} 600 & esac\nexec {sys.executable}'
        ' "$@"\n'
    )
    python.chmod(0o755)
    world.profile.write_text(world.profile.read_text().replace(sys.executable, str(python)))
    up(world)
    assert "ninja" in {process.name() for process in world.processes()}
    world.faults(hang_at="health")
    until(lambda: world.events("death"), "it is found hung")

    assert world.events("death")[-1]["cause"] == "hang"


def test_a_death_that_only_the_kernel_could_explain_says_where_to_look(world: World) -> None:
    """Where nobody may read the kernel's log, its OOM killer is a SIGKILL like any other."""
    os.kill(up(world), signal.SIGKILL)
    world.until_state("ready", restarts=1)
    death = world.events("death")[-1]

    assert death["cause"] == "process-lost"
    assert "journalctl -k" in death["fix"]
