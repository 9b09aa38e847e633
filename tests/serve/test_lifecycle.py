"""The machine alone: histories with names, and laws over thousands of histories without."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from conftest import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st

from launcher.diagnose.verdict import KILLED_FOR
from launcher.engines.log import PHASES
from launcher.plan.policy import LEAST_ANSWER, LOOKED_FOR, MOST_ANSWER, Policy, StallTimeouts
from launcher.serve.events import (
    Action,
    Drained,
    Event,
    Examine,
    Exited,
    GpuFaulted,
    Kill,
    Launch,
    Leave,
    Left,
    NodeLost,
    Probe,
    ProbeResult,
    Progressed,
    RankDied,
    ReadyHinted,
    Record,
    RequestReceived,
    RestartAdvice,
    SmokeResult,
    StacksSaved,
    Started,
    StartFailed,
    Terminate,
    Ticked,
)
from launcher.serve.lifecycle import step
from launcher.serve.states import (
    Backoff,
    Ended,
    Idle,
    Next,
    Past,
    Proving,
    Ready,
    Starting,
    State,
    Stopping,
)
from launcher.serve.timing import ASK_WITHIN, SLOW, wakes_at
from launcher.serve.wishes import Request

POLICY = Policy(
    start_timeout=100,
    stop_timeout=10,
    probe_interval=5,
    failure_threshold=2,
    stall_timeout=8,
    restart_limit=2,
    restart_window=1000,
    backoff=1,
    backoff_max=8,
    stall_timeouts=StallTimeouts(process=200),
    smoke=False,
)
BEGUN = Started(0.0)
TIMES = st.floats(allow_nan=False)
ANSWERED = ProbeResult(1.0, 1, ok=True, detail="generated 1 token")


def play(*events: Event, policy: Policy = POLICY) -> tuple[State, list[Action]]:
    """The state after a history, and everything that was done on the way."""
    state: State = Idle()
    done: list[Action] = []
    for event in events:
        state, actions = step(state, event, policy)
        done += actions
    return state, done


def killed(now: float) -> Exited:
    return Exited(now, -9, "was killed by SIGKILL")


def stop(now: float) -> RequestReceived:
    return RequestReceived(now, Request.STOP, "SIGTERM")


def test_a_server_is_asked_until_it_answers_and_is_ready_then() -> None:
    state, done = play(
        BEGUN, Ticked(0.5), ProbeResult(0.6, 1, ok=False), Ticked(1.2), ProbeResult(1.3, 1, ok=True)
    )

    assert isinstance(state, Ready)
    assert done == [Launch(1), Probe(1, first=True), Probe(1, first=True)]


def test_its_own_word_that_it_is_ready_has_it_asked_at_once() -> None:
    _, done = play(BEGUN, ReadyHinted(0.01))

    assert done == [Launch(1), Probe(1, first=True)]


def test_one_question_at_a_time() -> None:
    _, done = play(BEGUN, ReadyHinted(0.01), ReadyHinted(0.02), Ticked(5.0))

    assert done.count(Probe(1, first=True)) == 1


def test_a_server_that_says_no_before_it_is_ready_is_not_tried_again() -> None:
    state, done = play(BEGUN, Exited(1.0, 2, "exited with status 2"))

    assert state.name == "stopped"
    assert isinstance(state, Ended)
    assert state.failed
    assert state.reason == "exited with status 2 before it was ready; not tried again"
    assert done == [Launch(1)]


def test_a_server_killed_before_it_is_ready_is_tried_again() -> None:
    state, done = play(BEGUN, killed(1.0))

    assert isinstance(state, Starting)
    assert state.past.restarts == 1
    assert done == [Launch(1), Launch(2)]


def test_a_server_that_says_why_it_kills_itself_is_not_tried_again() -> None:
    state, _ = play(
        BEGUN, Exited(1.0, -9, "was killed by SIGKILL (ValueError: no)", "ValueError: no")
    )

    assert isinstance(state, Ended)
    assert state.failed


@pytest.mark.parametrize(
    "gone", [Exited(5.0, 1, "exited with status 1"), Exited(5.0, -9, "SIGKILL", "Error: x")]
)
def test_a_server_that_once_was_ready_is_tried_again_whatever_it_says(gone: Exited) -> None:
    state, _ = play(BEGUN, ANSWERED, killed(2.0), Ticked(3.0), gone)

    assert isinstance(state, Backoff)


def test_a_ready_server_that_leaves_by_itself_is_tried_again() -> None:
    state, _ = play(BEGUN, ANSWERED, Exited(2.0, 0, "exited with status 0"))

    assert isinstance(state, Starting)
    assert state.past.deaths == (2.0,)


def test_pauses_double_up_to_their_limit() -> None:
    assert [POLICY.backoff_before(n) for n in (1, 2, 3, 4, 5, 6, 999)] == [0, 1, 2, 4, 8, 8, 8]


def test_after_a_first_death_it_is_launched_at_once() -> None:
    state, done = play(BEGUN, ANSWERED, killed(2.0))

    assert isinstance(state, Starting)
    assert done[-1] == Launch(2)


def test_without_a_pause_it_is_launched_at_once() -> None:
    state, done = play(BEGUN, ANSWERED, killed(2.0), killed(3.0), policy=replace(POLICY, backoff=0))

    assert isinstance(state, Starting)
    assert done[-1] == Launch(3)


def test_a_spent_budget_ends_it() -> None:
    state, done = play(BEGUN, killed(1), killed(3), Ticked(4), killed(6))

    assert isinstance(state, Ended)
    assert state.failed
    assert state.reason == "was killed by SIGKILL; 3 deaths within 1000 s, 2 allowed: gave up"
    assert done == [Launch(1), Launch(2), Launch(3)]


def test_old_deaths_are_forgotten() -> None:
    state, _ = play(
        BEGUN, killed(1), killed(3), Ticked(5), ProbeResult(6, 3, ok=True), killed(1006)
    )

    assert isinstance(state, Starting)
    assert state.past.deaths == (1006,)


def test_starts_that_fail_late_and_slowly_are_not_tried_for_ever() -> None:
    """Each takes longer than the window; not one becomes ready."""
    history = [
        event for n in range(1, 9) for event in (killed(2000.0 * n), Ticked(2000.0 * n + 1000))
    ]
    state, done = play(BEGUN, *history)

    assert isinstance(state, Ended)
    assert "3 deaths in a row without being ready, 2 allowed: gave up" in state.reason
    assert len([action for action in done if isinstance(action, Launch)]) == 3


@pytest.mark.parametrize(
    "before",
    [
        (BEGUN, ANSWERED, RankDied(2, 1, "sglang::scheduler_TP3")),
        (BEGUN, ANSWERED, RequestReceived(2, Request.RESTART, "SIGUSR1")),
        (BEGUN, Ticked(100.0)),
    ],
    ids=["a rank died of it", "while it drains for a restart", "while stacks are kept"],
)
def test_a_gpu_that_is_gone_ends_it_whatever_was_under_way(before: tuple[Event, ...]) -> None:
    state, done = play(*before, GpuFaulted(101, "GPU 3 fell off the bus: reboot"), killed(102))

    assert state == Ended(
        state.past, "GPU 3 fell off the bus: reboot; not tried again", failed=True
    )
    assert [type(action) for action in done].count(Kill) == 1


def test_a_gpu_that_is_gone_ends_a_pause() -> None:
    state, _ = play(BEGUN, killed(1), killed(2), GpuFaulted(3, "GPU 3 fell off the bus: reboot"))

    assert state == Ended(state.past, "GPU 3 fell off the bus: reboot", failed=True)


def test_a_restart_that_is_asked_for_while_a_hung_one_is_killed_takes_the_new_plan() -> None:
    asked = RequestReceived(101, Request.RESTART, "SIGUSR1")
    state, done = play(BEGUN, Ticked(100.0), asked, StacksSaved(102, 1, ""), killed(103))

    assert isinstance(state, Starting)
    assert done[-1] == Launch(2, fresh=True)


def test_the_last_word_about_work_counts_not_the_longest_excuse() -> None:
    begun = (BEGUN, ANSWERED, Progressed(2, 1, "warmup", 4000.0), Progressed(3, 1, "warmup", 3.0))
    state, _ = play(*begun, ProbeResult(12, 1, ok=False), ProbeResult(13, 1, ok=False))

    assert isinstance(state, Stopping), (
        "a chunk of a prompt excused it once; tokens came after that"
    )


def test_a_start_that_takes_too_long_is_killed_and_counts_as_a_death() -> None:
    state, done = play(BEGUN, ReadyHinted(1), Ticked(100.0))
    assert isinstance(state, Stopping)
    assert done[-1] == Record(1)

    state, actions = step(state, StacksSaved(100.5, 1, "8 ranks spin"), POLICY)
    assert actions == (Kill(),)
    state, _ = step(state, killed(101), POLICY)
    assert isinstance(state, Starting)
    assert state.reason == "after: not ready within 100 s: 8 ranks spin"


def test_a_phase_that_does_not_move_is_hung() -> None:
    policy = replace(POLICY, stall_timeouts=StallTimeouts(distributed=90))
    moved = Progressed(5, 1, "distributed")
    state, done = play(BEGUN, moved, ReadyHinted(6), Ticked(94.9), policy=policy)
    assert isinstance(state, Starting)
    state, done = play(BEGUN, moved, ReadyHinted(6), Ticked(95), policy=policy)

    assert state.reason == "distributed has not moved for 90 s"
    assert done[-1] == Record(1)


def test_a_phase_that_moves_is_slow_and_not_hung() -> None:
    policy = replace(POLICY, stall_timeouts=StallTimeouts(weights=30))
    signs = [Progressed(float(now), 1, "weights") for now in range(5, 95, 20)]

    assert isinstance(play(BEGUN, *signs, ReadyHinted(90), Ticked(99), policy=policy)[0], Starting)


def test_stacks_that_do_not_come_are_not_waited_for() -> None:
    state, done = play(BEGUN, ReadyHinted(1), Ticked(100.0), Ticked(159.9))
    assert done.count(Kill()) == 0

    assert step(state, Ticked(160.0), POLICY)[1] == (Kill(),)


def test_a_stop_does_not_wait_for_stacks() -> None:
    state, done = play(BEGUN, ReadyHinted(1), Ticked(100.0), stop(101), killed(102))

    assert done[-1] == Kill()
    assert isinstance(state, Ended)


def test_a_dead_rank_takes_the_others_along() -> None:
    state, done = play(BEGUN, ANSWERED, RankDied(3, 1, "sglang::scheduler_TP3"))

    assert done[-1] == Kill()
    state, _ = step(state, killed(3.1), POLICY)
    assert isinstance(state, Starting)
    assert state.reason == "after: sglang::scheduler_TP3 died"


@pytest.mark.parametrize("before", [(), (ANSWERED, killed(2))])
def test_what_would_fail_again_is_not_tried_again(before: tuple[Event, ...]) -> None:
    no = Exited(4, -9, "was killed", "no-memory-for-kv: nothing left", RestartAdvice.NEVER)
    for history in ((no,), (RankDied(3.5, 2 if before else 1, "sglang::scheduler_TP0"), no)):
        state, _ = play(BEGUN, *before, *history)

        assert isinstance(state, Ended)
        assert state.failed
        assert "not tried again" in state.reason


def test_a_ready_server_is_tried_again_even_after_what_would_be_final_at_a_start() -> None:
    state, _ = play(
        BEGUN,
        ANSWERED,
        Exited(4, -9, "was killed", "disk-full: a disk is full", RestartAdvice.NEVER),
    )

    assert isinstance(state, Starting)


def test_what_needs_a_reboot_is_never_tried_again() -> None:
    dead = Exited(4, -9, "was killed (gpu-fell-off-bus)", "gpu-fell-off-bus", RestartAdvice.REBOOT)
    state, _ = play(BEGUN, ANSWERED, dead)

    assert isinstance(state, Ended)
    assert state.reason == "was killed (gpu-fell-off-bus); the host must be rebooted first"


def test_a_gpu_that_fell_off_the_bus_ends_it() -> None:
    state, done = play(BEGUN, ANSWERED, GpuFaulted(3, "GPU 3 fell off the bus: reboot"))
    assert done[-1] == Kill()

    state, _ = step(state, killed(4), POLICY)
    assert state == Ended(
        state.past, "GPU 3 fell off the bus: reboot; not tried again", failed=True
    )


def test_a_start_whose_port_is_gone_is_over() -> None:
    state, done = play(BEGUN, StartFailed(3, 1, "error while attempting to bind"), killed(3.1))

    assert done[1:] == [Kill(), Launch(2)]
    assert isinstance(state, Starting)


def test_wrong_output_is_never_called_ready() -> None:
    policy = replace(POLICY, smoke=True)
    wrong = SmokeResult(2, 1, ok=False, detail="the answer is empty")
    state, done = play(BEGUN, ANSWERED, wrong, killed(3), policy=policy)

    assert done == [Launch(1), Examine(1), Kill()]
    assert isinstance(state, Ended)
    assert state.reason == "wrong output: the answer is empty; not tried again"


def test_what_once_was_right_may_be_right_again() -> None:
    policy = replace(POLICY, smoke=True)
    right = (ANSWERED, SmokeResult(2, 1, ok=True, detail="5 of 5 answers correct"))
    again = (
        killed(3),
        ProbeResult(4, 2, ok=True),
        SmokeResult(5, 2, ok=False, detail="garbage"),
        killed(6),
    )
    state, _ = play(BEGUN, *right, policy=policy)
    assert isinstance(state, Ready)
    assert state.reason == "generated 1 token, 5 of 5 answers correct"

    assert isinstance(play(BEGUN, *right, *again, policy=policy)[0], Backoff)


def test_a_smoke_test_without_an_answer_is_a_hang_and_no_wrong_output() -> None:
    policy = replace(POLICY, smoke=True)
    silent = SmokeResult(2, 1, ok=False, detail="no answer within 120 s", silent=True)
    state, done = play(BEGUN, ANSWERED, silent, policy=policy)

    assert done[-1] == Record(1)
    assert isinstance(state, Stopping)
    assert (state.then, state.cause) == (Next.RETRY, "hang")
    assert state.reason == "the smoke test got no answer within 120 s"


def test_a_health_check_that_never_comes_back_is_no_miss_and_another_is_made() -> None:
    asking = (BEGUN, ANSWERED, Ticked(6))
    state, _ = play(*asking, Ticked(6 + ASK_WITHIN))
    assert isinstance(state, Ready)
    assert (state.failures, state.asking) == (0, False)
    assert state.reason == "its health is unknown: a health check did not come back within 90 s"

    state, done = play(*asking, Ticked(96), Ticked(101), Ticked(191), Ticked(196))
    assert done == [Launch(1), *[Probe(1, first=False)] * 3]


WHY = [
    (RankDied(3, 1, "sglang::scheduler_TP1"), "process-lost"),
    (NodeLost(3, 1, "node 1 is not reached"), "node-lost"),
    (GpuFaulted(3, "a GPU fell off the bus"), "gpu-fault"),
]


@pytest.mark.parametrize(("event", "cause"), WHY)
def test_why_it_was_killed_is_kept_for_the_record(event: Event, cause: str) -> None:
    state, _ = play(BEGUN, ANSWERED, event)

    assert isinstance(state, Stopping)
    assert state.cause == cause
    assert cause in KILLED_FOR
    assert cause in KILLED_FOR


def test_a_smoke_test_without_an_end_is_a_hang() -> None:
    policy = replace(POLICY, smoke=True, stall_timeouts=StallTimeouts(warmup=50))

    assert play(BEGUN, ANSWERED, Ticked(51), policy=policy)[1][-1] == Record(1)


def test_misses_in_a_row_are_a_death() -> None:
    state, _ = play(
        BEGUN, ANSWERED, Ticked(6), ProbeResult(7, 1, ok=False, detail="503"), Ticked(12)
    )
    assert state.reason == "1 of 2 health checks failed: 503"
    state, actions = step(state, ProbeResult(13, 1, ok=False, detail="503"), POLICY)

    assert actions == (Record(1),)
    assert state.reason == "2 health checks in a row failed, the last one: 503; no work for 12 s"


@pytest.mark.parametrize("probe_interval", [0.3, 10.0, 60.0])
@pytest.mark.parametrize("stall_timeout", [2.0, 30.0, 200.0])
@pytest.mark.parametrize("failure_threshold", [1, 2, 5])
def test_a_hang_is_seen_when_it_is_said_to_be(
    probe_interval: float, stall_timeout: float, failure_threshold: int
) -> None:
    """Of a server that hangs as soon as it has answered, and leaves each check without an answer
    for all of its time.
    """
    policy = replace(
        Policy(smoke=False),
        probe_interval=probe_interval,
        stall_timeout=stall_timeout,
        failure_threshold=failure_threshold,
    )
    state, _ = step(Starting(Past(1), "first start", 0.0, 0.0), ANSWERED, policy)
    assert isinstance(state, Ready)
    now, told, answers_at = state.last_progress, 0.0, math.inf
    began, done = now, ()
    while Record(1) not in done:
        now = min(wakes_at(state, policy) or math.inf, answers_at)
        assert now < began + 1000
        if now == answers_at:
            answers_at = math.inf
            event = ProbeResult(now, 1, ok=False, detail="no answer")
            state, done = step(state, event, policy)
            continue
        state, done = step(state, Ticked(now), policy)
        if Probe(1, first=False) in done:
            answers_at = now + policy.answer_within + LOOKED_FOR
        if not told and "no answer to a health check for 5 s" in getattr(state, "reason", ""):
            told = now

    assert now - began == pytest.approx(policy.hang_within)
    assert told == pytest.approx(began + probe_interval + 5)


@pytest.mark.parametrize(
    ("stall_timeout", "within"), [(0.3, 10), (2, 10), (15, 15), (30, 25), (600, 25)]
)
def test_a_check_may_take_the_stall_timeout_within_bounds(
    stall_timeout: float, within: float
) -> None:
    assert Policy(stall_timeout=stall_timeout).answer_within == within


def test_pages_say_how_long_a_hang_goes_on() -> None:
    page = " ".join((ROOT / "docs/supervision.md").read_text().split())
    short = Policy(probe_interval=1, stall_timeout=5)
    bounds = f"({LEAST_ANSWER:g} s at least, {MOST_ANSWER:g} s at most)"

    assert f"acted on {Policy().hang_within:g} s after it hung at most" in page
    assert f"= {Policy().hang_within:g} s, with `probe_interval = 1`" in page
    assert f"`stall_timeout = 5` {short.hang_within:g} s." in page
    assert f"told in `status` and events after {SLOW:g} s" in page
    assert bounds in page
    keys = " ".join((ROOT / "docs/profile.md").read_text().split())
    assert f"and a check take, that within {LEAST_ANSWER:g} to {MOST_ANSWER:g} s." in keys


def test_a_late_answer_takes_back_that_there_was_none() -> None:
    asked = play(BEGUN, ANSWERED, Ticked(6))[0]
    late = step(asked, Ticked(11), POLICY)[0]
    assert isinstance(late, Ready)
    assert late.reason == "no answer to a health check for 5 s; it may take 10 s"
    for word, says in (
        (ProbeResult(11.1, 1, ok=True, detail="200", took=4.99), "answers again"),
        (ProbeResult(12, 1, ok=True, detail="200", took=6), "answers slowly"),
        (ProbeResult(12, 1, ok=False, detail="", excuse="it prefills"), "no answer, but it"),
        (ProbeResult(12, 1, ok=False, detail="gone"), "1 of 2 health checks failed: gone"),
    ):
        heard = step(late, word, POLICY)[0]
        assert isinstance(heard, Ready)
        assert heard.reason.startswith(says)
        later = step(step(heard, Ticked(heard.ask_at), POLICY)[0], Ticked(heard.ask_at + 6), POLICY)
        told = later[0]
        assert isinstance(told, Ready)
        assert told.reason == heard.reason or says == "answers again", "it is told already"


def test_more_misses_than_the_threshold_are_not_told_as_a_share_of_it() -> None:
    state, _ = play(BEGUN, ANSWERED)
    missed = ProbeResult(2, 1, ok=False, detail="503")
    said = []
    for _ in range(3):
        state, actions = step(state, missed, POLICY)
        said.append(state.reason)
        assert actions == ()

    assert said == [
        "1 of 2 health checks failed: 503",
        "2 of 2 health checks failed: 503",
        "3 health checks in a row failed, the last one: 503",
    ]


@pytest.mark.parametrize("share", [0.0, 0.5, 0.9])
def test_silence_is_counted_by_the_time_that_the_host_gave(share: float) -> None:
    """A server that stands in line for a processor is no hang; one that hangs and spins is found
    all the same, as much later as it got less.
    """
    state, _ = play(BEGUN, ANSWERED)
    now, done = 1.0, ()
    while not done:
        now += 5.0
        state, _ = step(state, Ticked(now), POLICY)
        miss = ProbeResult(now, 1, ok=False, detail="503", starved=share * 5.0)
        state, done = step(state, miss, POLICY)
        assert now < 200

    assert done == (Record(1),)
    assert now - 1.0 == pytest.approx(POLICY.stall_timeout / (1 - share), abs=7.5)


def test_it_is_told_that_the_host_is_short_of_processors() -> None:
    state, _ = play(
        BEGUN, ANSWERED, Ticked(6), ProbeResult(7, 1, ok=False, detail="503", starved=5)
    )

    assert state.reason == (
        "1 of 2 health checks failed: 503; the host is short of processors: 5 s were spent in line"
    )
    unknown, _ = play(
        BEGUN, ANSWERED, Ticked(6), ProbeResult(7, 1, ok=False, asked=False, starved=5)
    )
    assert isinstance(unknown, Ready)
    assert unknown.last_progress == 1 + 5


def test_misses_alone_kill_nobody_who_works() -> None:
    works = Progressed(12, 1, "warmup")
    state, _ = play(
        BEGUN,
        ANSWERED,
        Ticked(6),
        MISS,
        Ticked(12),
        works,
        ProbeResult(13, 1, ok=False),
        Ticked(14),
    )

    assert isinstance(state, Ready)
    assert state.failures == 2


def test_a_long_prefill_may_be_silent() -> None:
    begun = Progressed(5, 1, "warmup", until=300)
    misses = [
        event
        for now in range(6, 290, 2)
        for event in (Ticked(now), ProbeResult(now + 1, 1, ok=False))
    ]
    state, done = play(BEGUN, ANSWERED, begun, *misses)

    assert isinstance(state, Ready)
    assert Record(1) not in done


def test_an_excuse_is_no_miss() -> None:
    paused = [
        event
        for now in range(6, 900, 6)
        for event in (Ticked(now), replace(MISS, now=now + 1.0, excuse="p"))
    ]
    state, _ = play(BEGUN, ANSWERED, *paused)

    assert isinstance(state, Ready)
    assert (state.failures, state.reason) == (0, "no answer, but p")


def test_one_answer_forgives_all_misses() -> None:
    miss, hit = ProbeResult(7, 1, ok=False), ProbeResult(13, 1, ok=True)
    state, _ = play(BEGUN, ANSWERED, Ticked(6), miss, Ticked(12), hit)

    assert isinstance(state, Ready)
    assert (state.failures, state.reason) == (0, "answers again")


def test_an_answer_meant_for_an_earlier_run_is_ignored() -> None:
    before, _ = play(BEGUN, ReadyHinted(0.5), killed(1))
    after, actions = step(before, ANSWERED, POLICY)

    assert (after, actions) == (before, ())


def test_a_stop_lets_it_drain() -> None:
    state, done = play(BEGUN, ANSWERED, stop(2), Ticked(11.9))
    assert done[-1] == Terminate()
    state, _ = step(state, Exited(12, 0, "exited with status 0"), POLICY)

    assert state == Ended(state.past, "stop asked for by SIGTERM")


def test_a_drained_server_need_not_leave_by_itself() -> None:
    state, done = play(BEGUN, ANSWERED, stop(2), Drained(3, 1), killed(3.1))

    assert done[-2:] == [Terminate(), Kill()]
    assert state == Ended(state.past, "stop asked for by SIGTERM")


def test_a_stubborn_server_is_killed_once() -> None:
    _, done = play(BEGUN, ANSWERED, stop(2), Ticked(12), Ticked(13), Ticked(99))

    assert done.count(Kill()) == 1


def test_a_stop_while_it_waits_ends_it_at_once() -> None:
    state, done = play(BEGUN, killed(1), killed(1.2), stop(1.5))

    assert isinstance(state, Ended)
    assert not state.failed
    assert done == [Launch(1), Launch(2)]


def test_a_restart_drains_is_no_death_and_reads_the_plan_again() -> None:
    again = RequestReceived(2, Request.RESTART, "SIGUSR1")
    state, done = play(BEGUN, ANSWERED, again, Exited(3, 0, "exited with status 0"))

    assert isinstance(state, Starting)
    assert state.past.deaths == ()
    assert done[-2:] == [Terminate(), Launch(2, fresh=True)]


def test_a_stop_wins_over_a_restart() -> None:
    state, done = play(
        BEGUN, ANSWERED, RequestReceived(2, Request.RESTART, "SIGUSR1"), stop(2.5), killed(3)
    )

    assert isinstance(state, Ended)
    assert done.count(Terminate()) == 1


def test_a_restart_while_it_waits_is_immediate() -> None:
    _, done = play(BEGUN, killed(1), killed(1.05), RequestReceived(1.1, Request.RESTART, "SIGUSR1"))

    assert done[-1] == Launch(3, fresh=True)


@pytest.mark.parametrize("status", [0, None, -15])
def test_only_a_no_of_its_own_is_final_before_it_is_ready(status: int | None) -> None:
    assert isinstance(play(BEGUN, Exited(1.0, status, "left"))[0], Starting)


def test_a_stubborn_server_is_said_to_be_one() -> None:
    state, _ = play(BEGUN, ANSWERED, stop(2), Ticked(12))

    assert state.reason == "stop asked for by SIGTERM; not gone within 10 s: killed"


MISS = ProbeResult(7.0, 1, ok=False)
DUE: list[tuple[tuple[Event, ...], float]] = [
    ((BEGUN,), 0.5),
    ((BEGUN, ReadyHinted(1)), 91.0),
    ((BEGUN, Ticked(0.5), ProbeResult(3.0, 1, ok=False)), 3.5),
    ((BEGUN, Ticked(0.5), ReadyHinted(2.9), ProbeResult(3.0, 1, ok=False)), 3.05),
    ((BEGUN, ANSWERED), 6.0),
    ((BEGUN, ANSWERED, Ticked(6), MISS), 8.0),
    ((BEGUN, ANSWERED, Ticked(6)), 11.0),
    ((BEGUN, ANSWERED, Ticked(6), Ticked(11)), 96.0),
    ((BEGUN, ANSWERED, stop(2)), 12.0),
    ((BEGUN, killed(1), killed(2)), 3.0),
    ((BEGUN, ReadyHinted(5), Progressed(2, 1, "distributed")), 92.0),
    ((BEGUN, ReadyHinted(1), Ticked(100)), 160.0),
]


@pytest.mark.parametrize(("events", "due"), DUE)
def test_everything_has_its_time_and_nothing_happens_before(
    events: tuple[Event, ...], due: float
) -> None:
    state, _ = play(*events)

    assert wakes_at(state, POLICY) == pytest.approx(due)
    assert step(state, Ticked(due - 0.01), POLICY) == (state, ())
    assert step(state, Ticked(due + 0.01), POLICY)[0] != state


@pytest.mark.parametrize(
    "events", [(BEGUN, ANSWERED, stop(2), Ticked(12)), (BEGUN, stop(1), killed(2))]
)
def test_there_is_nothing_to_wake_for_while_the_end_is_due(events: tuple[Event, ...]) -> None:
    assert wakes_at(play(*events)[0], POLICY) is None


def test_an_answer_of_an_earlier_run_forgives_no_miss() -> None:
    missed, _ = play(
        BEGUN,
        ANSWERED,
        killed(2),
        ProbeResult(4, 2, ok=True),
        Ticked(9),
        ProbeResult(10, 2, ok=False),
    )

    assert step(missed, ProbeResult(11, 1, ok=True), POLICY) == (missed, ())


def test_a_stop_before_the_first_launch_is_the_end() -> None:
    assert step(Idle(), stop(0), POLICY) == (Ended(Idle().past, "stop asked for by SIGTERM"), ())


HAPPENINGS = st.lists(
    st.tuples(
        st.sampled_from(
            "tick tick gone no final reboot hint yes miss stale stop restart wake wake lost stir"
            " kept sane insane struck doomed excused drained left away together".split()
        ),
        st.floats(0.01, 60),
    ),
    max_size=60,
)
POLICIES = st.builds(
    Policy,
    start_timeout=st.floats(1, 100),
    stop_timeout=st.floats(0, 50),
    leave_within=st.sampled_from([0.0, 0.0, 20.0]),
    probe_interval=st.floats(0.1, 20),
    failure_threshold=st.integers(1, 4),
    restart_limit=st.integers(0, 4),
    restart_window=st.floats(1, 500),
    backoff=st.floats(0, 10),
    backoff_max=st.floats(0, 100),
    stall_timeout=st.floats(0.1, 60),
    stall_timeouts=st.builds(StallTimeouts, process=st.floats(1, 60), warmup=st.floats(1, 60)),
    smoke=st.booleans(),
)


def happen(what: str, now: float, state: State) -> Event:
    """The event of that name, if the world can bring it about in this state; else time passes."""
    run, alive = state.past.run, isinstance(state, Starting | Proving | Ready | Stopping)
    match what:
        case "gone" if alive:
            return killed(now)
        case "no" if alive:
            return Exited(now, 1, "exited with status 1")
        case "final" if alive:
            return Exited(now, -9, "was killed by SIGKILL", "no-memory-for-kv", RestartAdvice.NEVER)
        case "reboot" if alive:
            return Exited(
                now, -9, "was killed by SIGKILL", "gpu-fell-off-bus", RestartAdvice.REBOOT
            )
        case "drained" if alive:
            return Drained(now, run)
        case "left" if alive:
            return Left(now, run)
        case "lost" if alive:
            return RankDied(now, run, "sglang::scheduler_TP1")
        case "away" if alive:
            return NodeLost(now, run, "node 1 is not reached")
        case "together" if alive:
            return Exited(now, 1, "exited", "DistStoreError", RestartAdvice.TOGETHER)
        case "stir" if alive:
            return Progressed(now, run, "weights")
        case "kept" if alive:
            return StacksSaved(now, run, "spins")
        case "sane" | "insane" if alive:
            return SmokeResult(now, run, what == "sane", what)
        case "struck":
            return GpuFaulted(now, "a GPU fell off the bus")
        case "doomed" if alive:
            return StartFailed(now, run, "the port is taken")
        case "excused" if alive:
            return ProbeResult(now, run, ok=False, excuse="paused")
        case "hint" if alive:
            return ReadyHinted(now)
        case "yes" | "miss":
            return ProbeResult(now, run, ok=what == "yes", detail=what)
        case "stale":
            return ProbeResult(now, run - 1, ok=True)
        case "stop":
            return stop(now)
        case "restart":
            return RequestReceived(now, Request.RESTART, "SIGUSR1")
    return Ticked(now)


def history(
    happenings: list[tuple[str, float]], policy: Policy
) -> list[tuple[State, Event, State, tuple[Action, ...]]]:
    """A whole life, step by step."""
    state, actions = step(Idle(), BEGUN, policy)
    lived = [(Idle(), BEGUN, state, actions)]
    now = 0.0
    for what, pause in happenings:
        wake = wakes_at(state, policy)
        now = max(now, wake) if what == "wake" and wake is not None else now + pause
        event = happen(what, now, state)
        before, (state, actions) = state, step(state, event, policy)
        lived.append((before, event, state, actions))
    return lived


@pytest.mark.parametrize(("runs", "why"), [(0, "first start"), (7, "started")])
def test_runs_count_on_where_another_launcher_left_off(runs: int, why: str) -> None:
    begun, _ = step(Idle(Past(run=runs, before=runs)), Started(0), POLICY)
    died, _ = step(begun, killed(5), POLICY)
    again, _ = step(died, Ticked(50), POLICY)

    assert (begun.past.run, begun.past.restarts, begun.reason) == (runs + 1, 0, why)
    assert (again.past.run, again.past.restarts) == (runs + 2, 1)


@settings(max_examples=600, deadline=None)
@given(HAPPENINGS, POLICIES)
def test_laws_of_every_life(happenings: list[tuple[str, float]], policy: Policy) -> None:
    lives, stopped, killed_in = False, False, set()
    for before, event, state, actions in history(happenings, policy):
        lives = lives and not isinstance(event, Exited)
        launches = [action for action in actions if isinstance(action, Launch)]
        assert not (launches and (lives or len(launches) > 1)), "two servers at once"
        assert not (launches and stopped), "launched after a stop was asked for"
        lives = lives or bool(launches)
        stopped = stopped or (isinstance(event, RequestReceived) and event.request is Request.STOP)
        if Kill() in actions:
            assert state.past.run not in killed_in, "killed twice"
            killed_in.add(state.past.run)
        if any(
            isinstance(action, Kill | Terminate | Probe | Record | Examine) for action in actions
        ):
            assert lives, "something was asked of a server that is not there"
        assert isinstance(state, Ended) or len(state.past.deaths) <= policy.restart_limit, (
            "budget overdrawn"
        )
        assert lives or isinstance(state, Ended | Backoff), "waits for a server that is not there"
        if isinstance(before, Ended):
            assert (state, actions) == (before, ()), "rose from the dead"
        wake = wakes_at(state, policy)
        if wake is not None:
            woken, did = step(state, Ticked(wake), policy)
            assert woken != state or did, "woken for nothing, for ever"
        elif not isinstance(state, Ended):
            assert lives, "sleeps for ever"


@settings(max_examples=300, deadline=None)
@given(HAPPENINGS, POLICIES)
def test_a_stop_always_leads_to_the_end(
    happenings: list[tuple[str, float]], policy: Policy
) -> None:
    *_, (_, event, state, _) = history(happenings, policy)
    now = event.now
    state, _ = step(state, stop(now), policy)
    state, _ = step(state, Ticked(now + 1000), policy)
    state, _ = step(state, killed(now + 1001), policy)

    assert isinstance(state, Ended)


def left(now: float) -> Exited:
    return Exited(now, 1, "exited with status 1", "DistStoreError", RestartAdvice.TOGETHER)


def test_a_group_that_does_not_come_together_is_tried_for_ever_and_is_no_death() -> None:
    state: State = Idle()
    state, _ = step(state, BEGUN, POLICY)
    for at in range(1, 50):
        state, _ = step(state, left(at * 100), POLICY)
        assert isinstance(state, Backoff)
        assert 0 < state.until - at * 100 <= POLICY.backoff_max
        state, done = step(state, Ticked(state.until), POLICY)
        assert done == (Launch(at + 1),)
    assert state.past.deaths == ()


def test_a_lost_node_takes_the_others_down_and_is_no_death_of_them() -> None:
    state, done = play(BEGUN, ANSWERED, NodeLost(30, 1, "node 1 is not reached for 20 s"))

    assert isinstance(state, Stopping)
    assert done[-1] == Kill()
    state, _ = step(state, left(31), POLICY)
    assert isinstance(state, Backoff)
    assert state.reason.startswith("node 1 is not reached for 20 s")
    assert state.past.deaths == ()


def test_a_node_that_was_lost_in_an_earlier_run_takes_nobody_down() -> None:
    state, _ = play(BEGUN, ANSWERED, NodeLost(30, 7, "node 1"))

    assert isinstance(state, Ready)


def test_a_group_that_is_stopped_while_it_waits_stays_down() -> None:
    state, _ = play(BEGUN, left(1), stop(2))

    assert isinstance(state, Ended)
    assert not state.failed


def test_who_follows_is_lost_when_the_first_node_was_silent_for_its_time() -> None:
    policy = replace(POLICY, follower_timeout=20, smoke=True).as_follower()
    state, _ = play(BEGUN, ANSWERED, policy=policy)
    assert isinstance(state, Ready), "without a smoke test of its own"
    lost, now = state, 1.0
    while isinstance(lost, Ready):
        now += 1
        lost, _ = step(lost, Ticked(now), policy)
        lost, _ = step(lost, ProbeResult(now, 1, ok=False, detail="not reached"), policy)
    assert 20 <= now - 1 <= 25


@pytest.mark.parametrize("event", [BEGUN, killed(1), ReadyHinted(1), ANSWERED, stop(1), Ticked(1)])
def test_every_event_has_an_answer_in_every_state(event: Event) -> None:
    past = Idle().past
    for state in (
        Idle(),
        Starting(past, "", 0.0),
        Proving(past, "", 0.0, ""),
        Ready(past, "", 5.0, 5.0),
        Backoff(past, "", 9.0),
        Ended(past, ""),
        play(BEGUN, stop(0.5))[0],
    ):
        assert step(state, event, POLICY)


PASTS = st.builds(
    Past,
    run=st.integers(0, 3),
    deaths=st.lists(TIMES, max_size=4).map(tuple),
    consecutive_failures=st.integers(0, 3),
)
STATES = st.one_of(
    st.builds(Idle, past=PASTS),
    st.builds(
        Starting,
        PASTS,
        st.text(),
        TIMES,
        st.sampled_from(list(PHASES)),
        TIMES,
        st.booleans(),
        TIMES,
    ),
    st.builds(Proving, PASTS, st.text(), TIMES, st.text()),
    st.builds(Ready, PASTS, st.text(), TIMES, TIMES, st.booleans(), st.integers(0, 5)),
    st.builds(
        Stopping, PASTS, st.text(), TIMES, st.sampled_from(Next), st.booleans(), st.booleans()
    ),
    st.builds(Backoff, PASTS, st.text(), TIMES),
    st.builds(Ended, PASTS, st.text(), st.booleans()),
)
EVENTS = st.one_of(
    st.builds(Started, TIMES),
    st.builds(
        Exited,
        TIMES,
        st.none() | st.integers(-64, 255),
        st.text(),
        st.none() | st.text(),
        st.sampled_from(RestartAdvice),
    ),
    st.builds(Drained, TIMES, st.integers(-1, 4)),
    st.builds(Left, TIMES, st.integers(-1, 4)),
    st.builds(RankDied, TIMES, st.integers(-1, 4), st.text()),
    st.builds(Progressed, TIMES, st.integers(-1, 4), st.sampled_from([*PHASES, "?"]), TIMES),
    st.builds(StacksSaved, TIMES, st.integers(-1, 4), st.text()),
    st.builds(SmokeResult, TIMES, st.integers(-1, 4), st.booleans(), st.text()),
    st.builds(GpuFaulted, TIMES, st.text()),
    st.builds(StartFailed, TIMES, st.integers(-1, 4), st.text()),
    st.builds(ReadyHinted, TIMES),
    st.builds(ProbeResult, TIMES, st.integers(-1, 4), st.booleans(), st.text()),
    st.builds(RequestReceived, TIMES, st.sampled_from(Request), st.text()),
    st.builds(Ticked, TIMES),
)


@settings(max_examples=300, deadline=None)
@given(STATES, st.lists(EVENTS, max_size=5), POLICIES)
def test_no_event_in_no_state_is_a_traceback(
    state: State, events: list[Event], policy: Policy
) -> None:
    """What the world cannot bring about, too: `test_laws_of_every_life` has what it can."""
    for event in events:
        state, actions = step(state, event, policy)
        wake = wakes_at(state, policy)
        assert all(isinstance(action, Action) for action in actions)
        assert wake is None or wake == wake


@settings(max_examples=300, deadline=None)
@given(HAPPENINGS, POLICIES)
def test_the_budget_is_counted_from_what_happened(
    happenings: list[tuple[str, float]], policy: Policy
) -> None:
    """The deaths are counted here from the events, not from the state's own book."""
    died: list[float] = []
    served, barren = False, 0
    for before, event, state, _ in history(happenings, policy):
        if isinstance(state, Ready):
            served, barren = True, 0
        if isinstance(event, Exited):
            young = isinstance(before, Starting | Proving) or (
                isinstance(before, Stopping) and not before.again
            )
            says_no = (
                not served
                and event.advice is RestartAdvice.AGAIN
                and bool(event.said or (event.status or 0) > 0)
            )
            final = event.advice is RestartAdvice.REBOOT or (
                young and (says_no or event.advice is RestartAdvice.NEVER)
            )
            asked_for = isinstance(before, Stopping) and before.then is not Next.RETRY
            if not (final or asked_for or event.advice is RestartAdvice.TOGETHER):
                died.append(event.now)
                barren += 1
                recent = [at for at in died if event.now - at < policy.restart_window]
                assert (max(len(recent), barren) > policy.restart_limit) == isinstance(state, Ended)


def test_a_server_is_told_to_go_once_others_had_time_to_see_it() -> None:
    waits = replace(POLICY, drain_delay=3)
    state, done = play(BEGUN, ANSWERED, stop(10), Ticked(12.9), policy=waits)
    assert (state.name, done[-1]) == ("stopping", Launch(1))
    assert wakes_at(state, waits) == 13

    state, actions = step(state, Ticked(13.1), waits)
    assert actions == (Terminate(),)
    assert wakes_at(state, waits) == 13.1 + waits.stop_timeout


BEHIND = replace(POLICY, leave_within=20)


def test_a_server_behind_a_gateway_is_told_to_go_when_it_has_left_that() -> None:
    state, done = play(BEGUN, ANSWERED, stop(10), policy=BEHIND)
    assert (state.name, done[-1]) == ("stopping", Leave(1))
    assert step(state, Ticked(11), BEHIND) == (state, ())

    state, actions = step(state, Left(12, 1), BEHIND)
    assert (actions, wakes_at(state, BEHIND)) == ((), 12)
    state, actions = step(state, Ticked(12), BEHIND)
    assert actions == (Terminate(),)
    assert wakes_at(state, BEHIND) == 12 + BEHIND.stop_timeout


def test_a_gateway_that_does_not_let_go_is_not_waited_for_without_end() -> None:
    state, _ = play(BEGUN, ANSWERED, stop(10), policy=BEHIND)

    until = 10 + BEHIND.leave_within + BEHIND.stop_timeout
    assert wakes_at(state, BEHIND) == until
    assert step(state, Ticked(until), BEHIND)[1] == (Terminate(),)


def test_others_have_their_time_to_see_it_beside_a_gateway() -> None:
    both = replace(BEHIND, drain_delay=8)
    state, _ = play(BEGUN, ANSWERED, stop(10), Left(12, 1), policy=both)

    assert wakes_at(state, both) == 18


def test_what_an_earlier_run_left_says_nothing_of_this_one() -> None:
    state, _ = play(BEGUN, ANSWERED, stop(10), policy=BEHIND)

    assert step(state, Left(12, 7), BEHIND) == (state, ())


def test_one_that_was_not_ready_has_nobody_to_leave() -> None:
    state, done = play(BEGUN, stop(10), policy=BEHIND)

    assert (state.name, done[-1]) == ("stopping", Terminate())


def test_one_that_dies_before_it_is_told_has_gone_all_the_same() -> None:
    state, _ = play(BEGUN, ANSWERED, stop(10), killed(11), policy=replace(POLICY, drain_delay=3))

    assert (state.name, isinstance(state, Ended)) == ("stopped", True)
