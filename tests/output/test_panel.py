"""What `top` shows, as text: at 80 and 160 columns, with and without UTF-8."""

from __future__ import annotations

import math
import os
import re
from dataclasses import replace

import pytest
from conftest import TESTS
from hypothesis import given
from hypothesis import strategies as st

from launcher.engines.figures import Figures, First, Rates
from launcher.host.collectors.nvml_questions import CLOCK_REASONS
from launcher.operate.holders import Holder
from launcher.operate.top import Gpus, Shown
from launcher.operate.watch import Seen
from launcher.output import panel, starts, status
from launcher.output.bars import ASCII, BLOCKS, bar, signs_for
from launcher.output.console import hung, paper, words
from launcher.statedir.events import Event
from launcher.statedir.readings import GpuReading
from launcher.statedir.starts import PastStart, Usual, Waited
from launcher.statedir.state import Canary, LauncherRecord, Progress, StartRecord, StateRecord

NOW = 1_795_726_862.0  # 2026-11-26 21:01:02 UTC
READY = StateRecord(
    profile="8xpro6000",
    state="ready",
    since="2026-11-26T17:00:00.000Z",
    reason="generated 1 token",
    endpoint="http://127.0.0.1:30000",
    model="glm-5",
    engine="sglang",
    release="0.5.23",
)
BUSY = Seen(
    READY,
    Figures(running=12, waiting=3, kv=0.61),
    Rates(tokens=1512.34, hits=0.42, accept=3.1),
    First(0.4, 31, 60.0),
    age=0.2,
)
STARTING = Seen(
    replace(
        READY,
        profile="8xpro6000@2",
        state="starting",
        since="2026-11-26T21:00:30.000Z",
        start=StartRecord(
            {"process": 9.8, "distributed": 1.2, "weights": 1.0},
            "weights",
            Progress(12, 47, "01:10"),
            {"distributed": Waited(), "weights": Waited(read=104 << 30)},
            Usual(3, {"process": 9.5, "distributed": 1.1, "weights": 52.0, "graphs": 30.0}),
            gpus=8,
        ),
    )
)
GPU = GpuReading(
    0,
    "0000:01:00.0",
    used=88 << 30,
    total=95 << 30,
    utilization=98,
    power=412.0,
    temperature=61,
    name="NVIDIA RTX PRO 6000 Blackwell Server Edition",
    limit=600.0,
    clock=2310,
    clock_max=2430,
    link_gen=5,
    link_gen_max=5,
    link_width=16,
    link_width_max=16,
)
EIGHT = (
    *(replace(GPU, index=n, bdf=f"0000:{n:02x}:00.0") for n in range(5)),
    replace(GPU, index=5, power=140.0, slowed=("hw_power_brake", "sw_thermal_slowdown")),
    replace(GPU, index=6, link_width=8, temperature=88, slowed=("sw_power_cap",)),
    GpuReading(
        7,
        "0000:07:00.0",
        used=1 << 29,
        total=95 << 30,
        utilization=0,
        power=39.0,
        limit=600.0,
        link_gen=1,
        link_gen_max=5,
        link_width=16,
        link_width_max=16,
        slowed=("gpu_idle",),
    ),
)
HOLDERS = {
    **{n: (Holder(100 + n, "sglang::schedul", "8xpro6000"),) for n in range(4)},
    4: (Holder(4711, "python3", None),),
    5: (Holder(105, "sglang::schedul", "8xpro6000@2"), Holder(4712, None, None)),
    6: (Holder(106, "sglang::schedul", "8xpro6000@2"),),
}
EVENTS = (
    Event(
        "state",
        {"state": "starting", "reason": "first start", "log": "/s/server.log"},
        "2026-11-26T21:00:30.000Z",
        "8xpro6000@2",
    ),
    Event("warning", {"reason": "1 GPU is slow"}, "2026-11-26T21:01:00.000Z", "8xpro6000"),
)
THREE = Shown(
    "2026-11-26T21:01:02.000Z",
    (
        BUSY,
        STARTING,
        Seen(StateRecord("cpu-demo", "failed", "2026-11-26T19:00:00.000Z", "no memory for KV")),
    ),
    Gpus(EIGHT, age=7.0, holders=HOLDERS),
    EVENTS,
)


def text(shown: Shown, width: int = 80, signs: panel.Signs = BLOCKS) -> str:
    screen = paper(width)
    made = [words(*line) for line in panel.lines(shown, width, signs, NOW)]
    return "".join(f"{part.plain}\n" for line in made for part in hung(screen, line))


def one(seen: Seen, **more: object) -> str:
    return text(replace(THREE, instances=(seen,), gpus=Gpus(), events=(), **more))


def test_one_rank_waits_for_no_other() -> None:
    alone = replace(STARTING.record.start or StartRecord({}), gpus=1)
    seen = replace(STARTING, record=replace(STARTING.record, start=alone))

    assert "waits for the other ranks" in one(STARTING)
    assert "waits for" not in one(seen)


@pytest.mark.parametrize(
    ("name", "width", "signs"),
    [("top-80", 80, BLOCKS), ("top-160", 160, BLOCKS), ("top-80-ascii", 80, ASCII)],
)
def test_three_instances_and_eight_gpus(name: str, width: int, signs: panel.Signs) -> None:
    golden = TESTS / f"golden/{name}.txt"
    made = text(THREE, width, signs)
    if os.environ.get("GLM5_SERVE_GOLDEN"):
        golden.write_text(made)

    assert made == golden.read_text()
    assert made.isascii() == (signs is ASCII)


def test_a_server_that_hangs_has_figures_of_an_age() -> None:
    said = one(replace(BUSY, age=42.0, why="no answer within 1 s"))

    assert "running 12" in said
    assert "metrics are 42 s old: no answer within 1 s" in said


def test_a_scheduler_that_published_nothing_is_said() -> None:
    assert "metrics are 42 s old: its scheduler has published none since" in one(
        replace(BUSY, age=42.0)
    )


def test_who_is_not_asked_is_said() -> None:
    assert "no metrics: port 30000 is held by nc" in one(
        Seen(READY, why="port 30000 is held by nc")
    )


def test_what_may_not_be_read_is_said() -> None:
    said = one(replace(BUSY, figures=Figures(lacks=("/v1/loads says 401",))))

    assert "/v1/loads says 401" in said
    assert "running" not in said


def test_a_degraded_server_is_said_with_the_reason() -> None:
    canary = Canary(60.0, degraded=True, reason="2 wrong answers in a row")
    said = one(replace(BUSY, record=READY.but(canary=canary)))

    assert said.startswith("8xpro6000  ready  degraded  4 h")
    assert "2 wrong answers in a row" in said
    assert "degraded" not in one(replace(BUSY, record=READY.but(canary=Canary(60.0))))


def test_no_gpu_is_said_once() -> None:
    shown = replace(THREE, gpus=Gpus(why="no GPU is to be seen: NVML Shared Library Not Found"))

    assert text(shown).count("no GPU") == 1
    assert "memory GiB" not in text(shown)


def test_a_start_that_nothing_is_known_of_has_no_estimate() -> None:
    start = replace(STARTING.record.start or StartRecord({}), usual=None)
    said = one(Seen(STARTING.record.but(start=start)))

    assert "no earlier start here tells how long it takes" in said
    assert "usually" not in said


def test_first_tokens_beyond_all_buckets_are_no_number() -> None:
    assert panel.first(First(math.inf, 3, 0.0)) == (
        "first token beyond its buckets (3 since its start)"
    )


def test_whose_a_gpu_is_says_no_more_than_is_known() -> None:
    of = lambda gpu, *held: text(replace(THREE, gpus=Gpus((gpu,), holders={0: held})))
    used = replace(GPU, pids=(7, 8))
    others = of(used, Holder(7, "python3", None), Holder(8, "ollama", None))

    assert "\n  GPU 0: other processes, 7 python3, 8 ollama\n" in others
    assert "\n  GPU 0: free\n" in of(replace(GPU, used=1 << 20))
    assert "\n  GPU 0: memory in use by a process that the driver does not show here\n" in of(GPU)
    assert "\n  GPU 0: not known whose\n" in of(replace(GPU, used=None))


def test_a_stopped_server_has_no_address() -> None:
    assert "http" not in one(Seen(READY.but(state="stopped")))
    assert "http" in one(Seen(READY.but(state="backoff")))


def test_where_there_is_no_server_there_are_gpus() -> None:
    said = text(replace(THREE, instances=(), events=()))

    assert said.startswith("no server has been started yet: `glm5-serve up --profile NAME`")
    assert "  4: another process, 4711 python3" in said


def test_each_reason_for_low_clocks_has_words() -> None:
    assert {*panel.SLOWED} == {*CLOCK_REASONS.values()}


def test_an_unknown_gpu_is_drawn_as_that() -> None:
    said = text(replace(THREE, gpus=Gpus((GpuReading(3),))))

    assert "  3        ?/?" in said


@given(st.none() | st.floats(0, 10), st.integers(0, 200))
def test_a_bar_has_its_width(share: float | None, width: int) -> None:
    assert len(bar(share, width, BLOCKS)) == width


def test_bars_are_drawn_with_what_the_terminal_can_show() -> None:
    assert signs_for("utf-8") is BLOCKS
    assert signs_for("ascii") is signs_for("latin-1") is signs_for("no-such") is ASCII


def test_the_age_of_a_start_stands_once_beside_its_phases() -> None:
    """Of a first start: in its head, and of its one phase."""
    began = StartRecord({"process": 12.0}, "process")
    record = StateRecord("stub", "starting", "2026-11-26T21:00:50.000Z", start=began)
    said = one(Seen(record))

    assert len(re.findall(r"\b12(\.0)? s\b", said)) == 2
    assert "  no earlier start here tells how long it takes" in said


def test_a_start_that_was_stopped_as_asked_for_is_no_error() -> None:
    styles = {
        outcome: starts._result(
            PastStart("", 1, outcome, "why", "m", "sglang", None, {"process": 1.0})
        )[0]
        for outcome in ("ready", "stopped", "failed")
    }

    assert styles == {
        "ready": ("ready", "green"),
        "stopped": ("stopped", ""),
        "failed": ("failed", "red"),
    }


def test_a_reason_is_not_repeated_as_the_last_error() -> None:
    record = StateRecord("stub", "failed", reason="died twice: no memory", last_error="no memory")
    record = replace(record, launcher=LauncherRecord(1, 1, ""))

    assert dict(status._rows(record))["last error"] == "the reason says it"
    assert dict(status._rows(replace(record, reason="gave up")))["last error"] == "no memory"


def test_a_start_that_takes_its_usual_time_is_due_and_not_in_0_s() -> None:
    usual = Usual(3, {"process": 10.0, "weights": 5.0})

    assert starts.left(usual, "weights", 1.0).startswith("about 4 s left by ")
    assert starts.left(usual, "weights", 4.9).startswith("due by ")
    late = starts.left(usual, "weights", 90.0)
    assert late.startswith("due by the median of the last 3 starts; weights takes longer"), late
