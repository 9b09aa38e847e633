"""Last words, real ones, and the cause that must be found in them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from conftest import GLM5_SERVE
from hypothesis import given
from hypothesis import strategies as st

from launcher.diagnose import UNKNOWN, WEIGHTS, diagnose, signatures
from launcher.evidence import Known

DEATHS = tomllib.loads((Path(__file__).parent / "data/deaths.toml").read_text())["death"]
CAUSES = {death["cause"] for death in DEATHS}


def lines(cause: str) -> list[str]:
    """The first sample of a cause."""
    return str(next(death["text"] for death in DEATHS if death["cause"] == cause)).splitlines()


@pytest.mark.parametrize("death", DEATHS, ids=lambda death: f"{death['cause']} {death['source'][:24]}")
def test_a_real_death_is_recognized(death: dict[str, str]) -> None:
    found = diagnose(death["text"].splitlines())

    assert found.cause == death["cause"]
    assert found.evidence
    assert all(line in death["text"] for line in found.evidence)
    assert "{" not in found.fix


def test_forty_causes_and_more_have_a_real_sample() -> None:
    assert len(CAUSES - {UNKNOWN}) >= 40


def test_what_has_no_sample_is_a_note_or_was_only_read() -> None:
    for id in set(signatures()) - CAUSES:
        signature = signatures()[id]
        assert signature.weight not in WEIGHTS or signature.known == Known.READ, id


def test_signatures_keep_to_the_vocabulary() -> None:
    for signature in signatures().values():
        assert signature.weight in {*WEIGHTS, "consequence", "note"}
        assert signature.then in {"never", "again", "reboot"}
        assert signature.known in set(Known)
        assert not signature.knob or re.fullmatch(r"(raise|lower) --[a-z-]+", signature.knob)
        assert not signature.knob or signature.knob.split()[0].upper() in signature.fix
        assert signature.what
        assert signature.source


def test_opposite_ooms_want_opposite_moves() -> None:
    assert diagnose(lines("no-memory-for-kv")).knob == "raise --mem-fraction-static"
    assert diagnose(lines("graph-out-of-memory")).knob == "lower --mem-fraction-static"
    assert diagnose(lines("gpu-out-of-memory")).knob == "lower --mem-fraction-static"
    assert diagnose(lines("load-out-of-memory")).knob is None


def test_a_root_cause_wins_over_its_consequences_wherever_it_stands() -> None:
    reset = "[2026-11-24 05:10:03 TP{}] RuntimeError: [gloo/transport/tcp/pair.cc:537] Connection reset by peer"
    peers = [reset.format(rank) for rank in range(7)]
    root = lines("illegal-memory-access")

    for told in (root + peers, peers + root):
        found = diagnose(told)
        assert found.cause == "illegal-memory-access"
        assert "peer-gone" not in found.evidence


def test_the_kernels_word_weighs_more_than_the_servers() -> None:
    found = diagnose([*lines("illegal-memory-access"), *lines("gpu-fell-off-bus")])

    assert (found.cause, found.then) == ("gpu-fell-off-bus", "reboot")
    assert "illegal-memory-access" in found.also


def test_eight_ranks_that_say_the_same_are_one_evidence() -> None:
    said = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB."
    told = [f"[2026-11-24 05:10:03 TP{rank}] {said}" for rank in range(8)]

    assert diagnose(told).evidence == (told[0],)


def test_only_the_last_start_counts() -> None:
    first = ["[2026-11-24 05:00:00] server_args=ServerArgs(model_path='x')", *lines("no-memory-for-kv")]
    second = ["[2026-11-24 06:00:00] server_args=ServerArgs(model_path='x')", *lines("port-taken")]

    assert diagnose(first + second).cause == "port-taken"


def test_the_options_that_sglang_prints_are_no_complaint() -> None:
    args = "[2026-11-24 05:00:00] server_args={'x': 1, " + "'pad': 0, " * 400 + "'y': 'CUDA out of memory'}"

    assert diagnose([args]).cause == UNKNOWN


def test_an_unknown_death_shows_the_last_words_of_the_rank_that_died_first() -> None:
    told = [
        "[2026-11-24 05:10:00 TP3] Scheduler hit an exception: Traceback (most recent call last):",
        '  File "scheduler.py", line 1, in run',
        "FrobnicationError: the flux capacitor is empty",
        "[2026-11-24 05:10:01 TP0] Scheduler hit an exception: Traceback (most recent call last):",
        "BarError: a consequence",
        "[2026-11-24 05:10:01] Received sigquit from a child process. It usually means the child failed.",
    ]
    found = diagnose(told)

    assert found.cause == UNKNOWN
    assert "TP3" in found.what
    assert found.evidence[-1] == "FrobnicationError: the flux capacitor is empty"
    assert found.also == ("child-failed",)


def test_nothing_is_unknown() -> None:
    found = diagnose([])

    assert (found.cause, found.evidence) == (UNKNOWN, ())


@given(st.lists(st.text(max_size=80), max_size=30))
def test_no_text_is_a_traceback(told: list[str]) -> None:
    assert diagnose(told).fix


def run(*words: str, text: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([GLM5_SERVE, "diagnose", *words], input=text, capture_output=True, check=False)


def test_the_command_tells_cause_evidence_and_fix() -> None:
    done = run("-", text="\n".join(lines("triton-shared-memory")).encode())

    assert done.returncode == 0
    assert done.stdout.startswith(b"cause      triton-shared-memory: ")
    assert b"106496 bytes are wanted, 101376 there" in done.stdout


def test_json_has_the_cause_the_evidence_and_the_fix(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    log.write_text("\n".join(lines("no-memory-for-kv")))
    told = json.loads(run(str(log), "--json").stdout)

    assert told["cause"] == "no-memory-for-kv"
    assert told["evidence"] == [
        "ValueError: Loaded weights leave no GPU memory for the KV cache under --mem-fraction-static=0.88."
    ]
    assert told["knob"] == "raise --mem-fraction-static"
    assert told["fix"].startswith("RAISE")


@pytest.mark.parametrize("words", [("/nowhere/log",), ("/",)])
def test_what_cannot_be_read_is_one_clear_message(words: tuple[str, ...]) -> None:
    done = run(*words)

    assert done.returncode == 2
    assert done.stderr.count(b"\n") == 2
    assert b"Traceback" not in done.stderr


def test_binary_rubbish_and_long_lines_are_unknown_and_quick() -> None:
    done = run("-", "--json", text=bytes(range(256)) * 100 + b"x" * 50_000_000)

    assert done.returncode == 1
    assert json.loads(done.stdout)["cause"] == UNKNOWN


def test_a_key_in_a_log_is_not_repeated() -> None:
    done = run("-", text=b"Traceback (most recent call last):\nError: api_key='sk-secret-123'\n")

    assert b"sk-secret-123" not in done.stdout


def test_the_supervisor_may_ask_it() -> None:
    """It needs the standard library alone, and never ours beyond this."""
    code = "import sys, launcher.diagnose; print([m for m in sys.modules if m.split('.')[0] in ('rich', 'click')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "[]\n"
