"""`bench` with the stand-in engine and a stand-in for its load generator: what is believed, what is
not, and that nothing is left.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import stat
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import psutil
import pytest
import requests
from conftest import FULL, ROOT, World, end, needs_full_disk, until
from rig.mounts import mounted

from launcher.engines.engine import generator as generator_of
from launcher.engines.generator import Wanted
from launcher.engines.server import Server
from launcher.errors import UserError
from launcher.operate import bench_alone, bench_run
from launcher.statedir.folder import StateDir

KEY = "sk-quite-secret-4711"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The stand-in, ready, for all tests that leave it so."""
    made = World(tmp_path_factory.mktemp("bench"))
    done = made.run("up", "-p", "stub", "-d")
    assert done.returncode == 0, done.stderr
    yield made
    end(made)


@pytest.fixture
def up(served: World) -> World:
    """The same, without a fault."""
    served.faults()
    return served


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def generator(world: World, **faults: Any) -> None:
    world.faults(bench=faults)


SHORT = ("bench", "stub", "--rounds", "3", "--concurrency", "2")


def test_what_is_sound_is_measured_and_trusted(up: World) -> None:
    done = up.run(*SHORT, "--json")
    told = lines(done.stdout)
    schema = json.loads((ROOT / "docs/bench.schema.json").read_text())

    assert done.returncode == 0, done.stdout + done.stderr
    assert [one["line"] for one in told] == ["run", "round", "round", "round", "level", "verdict"]
    for one in told:
        jsonschema.validate(one, schema)
    assert told[-1]["trusted"]
    assert told[-1]["ended"] == "complete"
    assert told[4]["requests"] == 24
    assert "nobody's figure is known for a CPU" in told[-1]["remark"]


def test_a_person_gets_a_table_and_the_verdict(up: World) -> None:
    done = up.run(*SHORT, COLUMNS="80")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "at once" in done.stdout
    assert "trusted" in done.stdout
    assert "round 3:" in done.stderr


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ("dies", "gave no result: exited with status 1; it said last: RuntimeError: half way"),
        ("cut", "cannot be read"),
        ("refused", "8 of 8 requests failed: Unauthorized"),
        ("empty", "1 of 8 answers are empty"),
        ("loop", "1 of 8 answers are no text"),
        ("swapped", "answers are wrong: "),
        ("hours", "it measured 10,000.00 s, and ran for "),
    ],
)
def test_what_is_not_sound_is_not_to_be_trusted(up: World, how: str, why: str) -> None:
    generator(up, how=how)

    done = up.run(*SHORT, "--json")
    verdict = lines(done.stdout)[-1]

    assert done.returncode == 1, done.stdout + done.stderr
    assert not verdict["trusted"]
    assert any(why in reason for reason in verdict["reasons"]), verdict


def test_a_generator_that_hangs_is_killed_with_all_that_it_started(up: World) -> None:
    generator(up, how="hangs")

    done = up.run(*SHORT, "--within", "10", "--json", timeout=90)

    assert done.returncode == 1, done.stderr
    assert "was not done within 10 s" in lines(done.stdout)[-1]["reasons"][0]
    assert not of_bench(up)


def test_a_result_that_is_far_too_large_is_not_read() -> None:
    """Nor does it take memory: eight answers of 32 tokens have no gigabyte."""
    write = "import os, sys; os.truncate(sys.argv[1], 1 << 30)"
    made = replace(
        generator_of("sglang"),
        argv=lambda wanted: (sys.executable, "-c", write, str(wanted.result)),
    )
    wanted = Wanted("", None, "", "", "", "", ("What?",) * 8, 32, 1, {}, Path(), Path())
    ran = bench_run.run(made, wanted, os.environ, Server("::1", 1), 60, lambda _: None)

    assert ran.sample is None
    assert "has 1,024 MiB: answers are longer than their tokens can be" in ran.why
    assert 0 < ran.took < 60


def of_bench(world: World) -> list[psutil.Process]:
    """What is left of a generator: all that is not the server's or its launcher's."""
    found = []
    for process in world.processes():
        try:
            words = " ".join(process.cmdline())
        except psutil.Error:
            continue
        if "benchmark" in words or "time.sleep(600)" in words:
            found.append(process)
    return found


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT, signal.SIGKILL])
def test_whatever_ends_it_no_child_is_left_and_what_was_measured_is_kept(
    up: World, tmp_path: Path, number: signal.Signals
) -> None:
    pid, kept = tmp_path / "pid", tmp_path / "kept.jsonl"
    (own := tmp_path / "tmp").mkdir()
    started = up.start(*SHORT, "--save", str(kept), "--json", TMPDIR=str(own))
    until(lambda: kept.exists() and '"round"' in kept.read_text(), "a round is kept")
    generator(up, how="slow", pid=str(pid))
    until(pid.exists, "the next round runs")

    started.send_signal(number)
    started.wait(30)
    until(lambda: not of_bench(up), "the generator is gone")
    until(lambda: not list(own.iterdir()), "its folder is, too")

    told = lines(kept.read_text())
    assert told[0]["line"] == "run"
    assert told[1]["line"] == "round"
    if number != signal.SIGKILL:
        assert started.returncode == 130
        assert told[-1]["ended"] == "interrupted"


def test_a_key_reaches_the_server_and_nothing_that_is_kept(world: World) -> None:
    key = world.folder / "key"
    key.write_text(KEY)
    key.chmod(0o600)
    assert world.run("up", "-p", "stub", "-d", "--api-key-file", str(key)).returncode == 0
    kept = world.folder / "kept.jsonl"

    done = world.run(*SHORT, "--save", str(kept), "--json")

    assert done.returncode == 0, done.stdout + done.stderr
    assert KEY not in done.stdout + done.stderr + kept.read_text()
    assert str(world.folder) not in kept.read_text()
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600

    generator(world, how="dies")
    died = world.run(*SHORT)
    assert died.returncode == 1
    assert KEY not in died.stdout + died.stderr

    generator(world, how="refused")
    kept.unlink()
    refused = world.run(*SHORT, "--save", str(kept), "--json")
    assert refused.returncode == 1
    assert "Unauthorized: bad key [redacted]" in refused.stdout
    assert "Unauthorized: bad key [redacted]" in kept.read_text()
    assert KEY not in refused.stdout + refused.stderr + kept.read_text()


def test_no_process_of_it_has_the_key_among_its_words(world: World) -> None:
    """What `ps` shows to everybody."""
    key = world.folder / "key"
    key.write_text(KEY)
    key.chmod(0o600)
    assert world.run("up", "-p", "stub", "-d", "--api-key-file", str(key)).returncode == 0
    bench = world.start(*SHORT)
    seen: set[str] = set()
    while bench.poll() is None:  # no bound: pytest's limit
        for process in psutil.Process(bench.pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                seen.add(" ".join(process.cmdline()))

    assert any("--output-details" in words for words in seen), seen
    assert not [words for words in seen if KEY in words]


@contextlib.contextmanager
def asked_by_another(world: World) -> Iterator[None]:
    """Somebody's long answer is under way."""
    world.faults(busy=True, slowly={"pieces": 400, "seconds": 0.1})
    url = f"http://127.0.0.1:{world.port}"
    body = {"messages": [{"role": "user", "content": "slowly"}], "stream": True}
    with requests.post(f"{url}/v1/chat/completions", json=body, stream=True, timeout=60):
        counted = lambda: requests.get(f"{url}/v1/loads", timeout=60).json()["loads"][0]
        until(lambda: counted()["num_running_reqs"], "it is under way")
        yield
    world.faults()


def test_it_is_refused_while_others_ask(up: World) -> None:
    with asked_by_another(up):
        refused = up.run(*SHORT, "--save", str(up.folder))
        anyway = up.run(*SHORT, "--anyway", "--json")

    assert refused.returncode == 1
    assert "1 request in flight" in refused.stderr
    assert not list(up.folder.glob("bench-*")), "a file that nothing came into"
    assert anyway.returncode == 0, anyway.stdout + anyway.stderr
    assert "--anyway" in lines(anyway.stdout)[0]["notes"][0]


def test_a_second_one_is_told_of_the_first(up: World, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    generator(up, how="slow", pid=str(pid))
    first = up.start(*SHORT)
    until(pid.exists, "the first one measures")
    up.faults()

    refused = up.run(*SHORT)
    anyway = up.run(*SHORT, "--anyway", "--json")
    first.kill()
    first.communicate(timeout=60)
    until(lambda: not of_bench(up), "its generator is gone with it")
    after = up.run(*SHORT)

    assert refused.returncode == 1
    assert f"being measured by another bench, pid {first.pid} since 20" in refused.stderr
    assert "wait until it is over, or --anyway" in refused.stderr
    assert f"pid {first.pid} since" in " ".join(lines(anyway.stdout)[0]["notes"])
    assert anyway.returncode == 0, anyway.stderr
    assert after.returncode == 0, "a lock is gone with its process: " + after.stderr


@pytest.mark.parametrize("there", ["", "{", '{"pid": 1}', '{"pid": "\\u001b[31m", "since": 3}'])
def test_whatever_stands_in_the_lock_it_is_held(world: World, there: str) -> None:
    instance = StateDir(world.state, "stub")
    instance.folder.mkdir(parents=True)
    lock = instance.folder / bench_alone.FILE
    lock.write_text(there)
    with lock.open() as other:
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with pytest.raises(UserError, match="measured by another bench: each would"):
            bench_alone.claim(instance, anyway=False)


def test_where_no_lock_can_be_had_that_is_said(world: World) -> None:
    instance = StateDir(world.state, "stub")
    (instance.folder / bench_alone.FILE).mkdir(parents=True)

    assert "nobody can tell" in bench_alone.claim(instance, anyway=False)


def test_a_server_that_drips_is_measured_no_longer_than_it_may(up: World) -> None:
    """All that is asked has one deadline: by itself each question takes ten seconds."""
    up.faults(drips=["/v1/loads", "/metrics"])
    began = time.monotonic()
    done = up.run(*SHORT, "--within", "10", "--json")

    assert time.monotonic() - began < 20, "10 s, and what a command takes to start"

    assert done.returncode == 1, done.stdout + done.stderr
    assert "no time was left to measure it" in lines(done.stdout)[-1]["reasons"][0]


def test_counters_that_are_gone_are_not_believed(up: World, tmp_path: Path) -> None:
    """It drips from when the first round runs on: nobody counted with it."""
    counted = 'sglang:generation_tokens_total{tp_rank="0"} 1000.0\n'
    pid, told = tmp_path / "pid", tmp_path / "told"
    up.faults(metrics=counted, bench={"pid": str(pid), "after": str(told)})
    started = up.start(*SHORT, "--json")
    until(pid.exists, "a round runs")
    up.faults(drips=["/metrics"])
    told.touch()
    said, _ = started.communicate(timeout=120)

    assert started.returncode == 1
    assert "its counters, which it had before, cannot be read" in said


def test_a_server_that_dies_under_it_is_named(world: World) -> None:
    pid = world.folder / "pid"
    assert world.run(*SHORT).stderr.startswith("error  stub is not ready")
    world.write_profile(backoff=60, backoff_max=60)
    assert world.run("up", "-p", "stub", "-d").returncode == 0
    generator(world, how="slow", pid=str(pid))
    started = world.start(*SHORT, "--within", "10", "--json")
    until(pid.exists, "a round runs")
    world.faults(exit_at="serve", exit_code=-9)

    said, _ = started.communicate(timeout=60)

    assert started.returncode == 1
    assert "the server did not stay up: backoff" in said


@needs_full_disk
def test_a_disk_that_takes_no_more_is_told(tmp_path: Path) -> None:
    from launcher.operate.bench_files import Created

    made = Created(tmp_path / "file")
    full_disk = os.open(FULL, os.O_WRONLY)
    os.dup2(full_disk, made._file)
    os.close(full_disk)
    with made:
        made.write(b"x")

    assert made.failed == f"{tmp_path}/file could not be written: no space left on device"
    assert not made.path.exists()


def test_on_a_full_disk_it_is_measured_and_told(up: World) -> None:
    """What there is no room for is not there, and no part of it."""
    full = up.folder / "full"
    full.mkdir()
    with mounted(full, "-t", "tmpfs", "-o", "size=4k,mode=755", "none"):
        (full / "filler").write_bytes(b"x" * 4096)
        done = up.run(*SHORT, "--save", f"{full}/x.jsonl", "--plot", f"{full}/d/")
        left = [str(one.relative_to(full)) for one in full.rglob("*")]

    assert done.returncode == 78, done.stdout + done.stderr
    assert "x.jsonl could not be written: no space left on device" in done.stderr
    assert ".png could not be written: no space left on device" in done.stderr
    assert "trusted" in done.stdout
    assert sorted(left) == ["d", "filler"]


def test_a_record_is_never_written_over(up: World, tmp_path: Path) -> None:
    kept = tmp_path / "kept.jsonl"
    kept.write_text("mine")

    refused = up.run(*SHORT, "--save", str(kept))

    assert refused.returncode == 78
    assert "is there already" in refused.stderr
    assert kept.read_text() == "mine"


def test_two_records_of_one_server_are_compared(up: World, tmp_path: Path) -> None:
    kept = [str(tmp_path / name) for name in ("a.jsonl", "b.jsonl")]
    for path in kept:
        done = up.run("bench", "stub", "--concurrency", "2", "--save", path)
        assert done.returncode == 0, done.stdout + done.stderr

    done = up.run("bench", "--compare", *kept, "--json")
    (told,) = lines(done.stdout)

    assert told["verdict"] in ("better", "worse", "not told apart")
    assert told["rounds"] == [4, 4]

    cut = tmp_path / "cut.jsonl"  # as a full disk leaves it
    whole = Path(kept[1]).read_bytes().splitlines(keepends=True)
    cut.write_bytes(b"".join(whole[:4]) + whole[4][:20])
    done = up.run("bench", "--compare", kept[0], str(cut), "--json")

    assert "it has no verdict" in done.stderr + done.stdout, "its rounds are read"


def test_two_that_are_up_are_measured_in_turn(up: World) -> None:
    done = up.run("bench", "--compare", "stub", "stub", "--rounds", "3", "--concurrency", "2")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "not told apart; 3 and 3 rounds cannot tell" in done.stdout
    assert "rounds in turn" in done.stdout


def test_a_picture_is_made(up: World, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    picture = tmp_path / "plot.png"

    done = up.run("bench", "stub", "--rounds", "3", "--plot", str(picture), COLUMNS="80")

    assert done.returncode == 0, done.stdout + done.stderr
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert "latency against throughput" in done.stdout
