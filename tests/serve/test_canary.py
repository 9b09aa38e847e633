"""The canary alone: what its answers mean, over named histories and over ten thousand healthy ones."""

from __future__ import annotations

import json
import pickle
import random
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from conftest import TESTS
from hypothesis import given
from hypothesis import strategies as st

from launcher.diagnose.verdict import KILLED_FOR
from launcher.engines.signs import Signs
from launcher.plan.policy import CANARIES, LEAST_EVERY, CanaryPolicy, Policy
from launcher.serve import canary
from launcher.serve.canary import Canary, Degraded, Look, Said, fairly
from launcher.serve.events import (
    Action,
    AskCanary,
    CanaryHeard,
    Event,
    Exited,
    Probe,
    ProbeResult,
    RequestReceived,
    SmokeResult,
    Started,
    Terminate,
    Ticked,
)
from launcher.serve.lifecycle import step
from launcher.serve.states import Idle, Next, Ready, State, Stopping
from launcher.serve.timing import wakes_at
from launcher.serve.wishes import Request

POLICY = CanaryPolicy(every=60.0, asks=CANARIES)
PROVED = frozenset(CANARIES)
RIGHT = Look(Said.RIGHT, "right, 100 tokens", 100, 2.0, Signs((0, 0), 0.02, 3.5))
WRONG = Look(Said.WRONG, "asked 'What is 17 + 25?', wanted '42', got '43'")
UNKNOWN = Look(Said.UNKNOWN, "no answer within 120 s")
RECORDED: dict[str, Any] = json.loads((TESTS / "data/canary_latencies.json").read_text())


@dataclass
class Bird:
    """A canary that is asked by a clock of its own."""

    policy: CanaryPolicy = POLICY
    proved: frozenset[str] = PROVED
    now: float = 0.0
    kinds: list[str] = field(default_factory=list)  # as they were asked
    state: Canary = field(init=False)

    def __post_init__(self) -> None:
        made = canary.begin(self.policy, self.proved, self.now)
        assert made
        self.state = made

    def hears(self, *looks: Look) -> Canary:
        """What it is after these answers, each when it is due."""
        for look in looks:
            self.now = max(self.now, canary.wakes_at(self.state, self.policy) or 0.0)
            self.state, question = canary.ask(self.state, self.now)
            self.kinds.append(question.kind)
            self.state = canary.hear(self.state, look, self.now + look.seconds, self.policy)
        return self.state

    def settled(self) -> Bird:
        """After as many answers as say what is usual."""
        self.hears(*[RIGHT] * 15)
        return self


def slower(times: float) -> Look:
    return replace(RIGHT, seconds=2.0 * times, signs=Signs((0, 0), 0.02 * times, 3.5))


def test_questions_of_all_kinds_come_in_turn_and_none_is_far() -> None:
    bird = Bird()
    bird.hears(*[RIGHT] * 6)

    assert bird.kinds == ["context", "tools", "reasoning"] * 2, "a fact is asked with reasoning"
    for asks in (("fact",), ("fact", "context"), ("fact", "context", "tools")):
        other = Bird(replace(POLICY, asks=asks))
        other.hears(*[RIGHT] * 3)
        assert set(other.kinds) == set(asks)


def test_two_wrong_answers_in_a_row_are_degraded_and_the_second_is_asked_for_soon() -> None:
    bird = Bird().settled()
    once = bird.hears(WRONG)
    assert once.degraded is None
    assert once.at == bird.now + canary.AGAIN
    twice = bird.hears(WRONG)

    assert bird.kinds[-1] == bird.kinds[-2]
    assert twice.degraded == Degraded(bird.now, WRONG.detail, "wrong-output")
    assert twice.degraded.cause in KILLED_FOR


@given(st.floats(LEAST_EVERY, 1e6))
def test_two_wrong_answers_in_a_row_are_no_blink(every: float) -> None:
    bird = Bird(replace(POLICY, every=every)).settled()
    bird.hears(WRONG)
    first = bird.now
    bird.hears(WRONG)

    assert bird.state.degraded
    assert LEAST_EVERY <= bird.now - first <= canary.AGAIN


def test_one_wrong_answer_is_an_accident() -> None:
    bird = Bird().settled()

    for _ in range(9):
        assert bird.hears(WRONG, RIGHT, RIGHT).degraded is None


def test_it_is_fine_again_when_what_was_wrong_is_right() -> None:
    bird = Bird().settled()
    kind = "tools"
    while bird.kinds[-1] != kind:  # no bound: it is asked in turn
        bird.hears(RIGHT)
    bird.hears(RIGHT, RIGHT, WRONG, WRONG)
    assert bird.kinds[-1] == kind
    assert bird.hears(RIGHT, RIGHT).degraded, "other kinds were right all the time"

    assert bird.hears(RIGHT).degraded is None
    assert bird.kinds[-1] == kind


@pytest.mark.parametrize("kind", ["context", "tools", "reasoning"])
def test_what_breaks_one_kind_alone_is_found_within_three_canaries(kind: str) -> None:
    for before in range(3):
        bird = Bird().settled()
        bird.hears(*[RIGHT] * before)
        asked = 0
        while not bird.state.degraded:  # no bound: three, and the second look at the wrong one
            due = bird.state.next
            assert due
            asked += bird.state.suspect is None
            bird.hears(WRONG if due.kind == kind else RIGHT)

        assert asked <= 3


@pytest.mark.parametrize(
    ("look", "told"),
    [
        (slower(2.2), "a step takes 44 ms, 20 ms after this start"),
        (slower(2.2), "79.5 tok/s for a request, 175 after this start"),
        (
            replace(RIGHT, signs=Signs((0, 0), 0.02, 1.6)),
            "1.60 tokens of a step are accepted, 3.50 after this start",
        ),
    ],
    ids=["one slow rank", "half the speed", "accept length"],
)
def test_a_sign_that_is_half_of_what_it_was_is_degraded_after_three_looks(
    look: Look, told: str
) -> None:
    bird = Bird().settled()
    assert bird.hears(look, look).degraded is None
    worse = bird.hears(look).degraded

    assert worse
    assert (worse.cause, worse.since) == ("slow-output", pytest.approx(bird.now + look.seconds))
    assert told in worse.what
    assert bird.hears(slower(1.2)).degraded is None


def test_the_answers_own_speed_counts_where_the_engine_counts_no_steps() -> None:
    uncounted = replace(RIGHT, signs=Signs((0, 0), None, None))
    bird = Bird()
    bird.hears(*[uncounted] * 15)
    worse = bird.hears(*[replace(uncounted, seconds=4.4)] * 3).degraded

    assert worse
    assert worse.what == "22.7 tok/s for a request, 50 after this start"
    busy = Bird()
    served = replace(uncounted, signs=Signs((2, 9), None, None))
    busy.hears(*[served] * 15)
    assert busy.hears(*[replace(served, seconds=9.0)] * 9).degraded is None, "others are served"
    unknown = replace(RIGHT, signs=None, seconds=99.0)
    assert Bird().settled().hears(*[unknown] * 9).degraded is None


def test_what_is_not_much_slower_or_not_for_long_is_fine() -> None:
    bird = Bird().settled()

    assert bird.hears(*[slower(1.9)] * 30).degraded is None
    assert bird.hears(*[slower(9.0), slower(9.0), RIGHT] * 30).degraded is None


def test_a_degraded_speed_must_come_near_to_what_it_was() -> None:
    bird = Bird().settled()
    bird.hears(*[slower(2.5)] * 3)

    assert bird.hears(*[slower(1.8)] * 9).degraded
    assert bird.hears(RIGHT).degraded is None


def test_other_loads_are_other_signs() -> None:
    bird = Bird().settled()
    busy = replace(RIGHT, tokens=100, seconds=20.0, signs=Signs((4, 9), 0.2, None))

    assert bird.hears(*[busy] * 9).degraded is None, "a batch of sixteen was never seen before"
    slow = replace(busy, signs=Signs((4, 9), 0.45, None))
    assert bird.hears(*[slow] * 3).degraded


def test_no_answer_is_no_wrong_answer() -> None:
    bird = Bird().settled()

    assert bird.hears(*[UNKNOWN] * 99).degraded is None
    assert bird.hears(WRONG, UNKNOWN, UNKNOWN, WRONG).degraded, "and hides none"


def test_a_kind_that_was_never_right_is_not_asked_any_more() -> None:
    """A small model need not copy eight lines; what it never could is no decline."""
    bird = Bird(proved=frozenset({"tools", "reasoning"}))
    state = bird.hears(WRONG, RIGHT, RIGHT, RIGHT, RIGHT)

    assert (state.degraded, state.unasked) == (None, {"context"})
    assert bird.kinds == ["context", "reasoning", "tools", "reasoning", "tools"]
    alone = Bird(replace(POLICY, asks=("context",)), frozenset())
    assert canary.wakes_at(alone.hears(WRONG), POLICY) is None


def test_without_questions_or_a_pace_there_is_none() -> None:
    assert canary.begin(CanaryPolicy(), PROVED, 0.0) is None
    assert canary.begin(CanaryPolicy(every=60.0), PROVED, 0.0) is None
    assert canary.begin(CanaryPolicy(asks=CANARIES), PROVED, 0.0) is None


def recorded(name: str) -> list[Look]:
    """Answers of a healthy server, as they came, and what the launcher makes of them."""
    return [
        fairly(
            Look(Said.RIGHT, "", tokens, seconds, Signs((requests, share), step, accepted)),
            *(in_line or (0.0,)),
            0.0,
        )
        for tokens, seconds, step, accepted, requests, share, *in_line in RECORDED["looks"][name]
    ]


@pytest.mark.parametrize("name", sorted(RECORDED["looks"]))
@pytest.mark.parametrize("seed", range(3))
def test_ten_thousand_healthy_canaries_raise_no_alarm(name: str, seed: int) -> None:
    """Answers as slow as those that were recorded, drawn at random."""
    drawn, looks, bird = random.Random(seed), recorded(name), Bird()
    for _ in range(10_000):
        state = bird.hears(drawn.choice(looks))
        assert state.degraded is None, state.degraded


@pytest.mark.parametrize("name", sorted(RECORDED["looks"]))
def test_healthy_canaries_raise_no_alarm_in_the_order_in_which_they_came(name: str) -> None:
    """A start at every third place of the record: what makes a host slow for a while makes several
    so, and starts beside each other hear nearly the same.
    """
    looks = recorded(name)
    for start in range(0, len(looks), 3):
        bird = Bird()
        for look in (*looks[start:], *looks[:start]):
            state = bird.hears(look)
            assert state.degraded is None, (start, state.degraded)


# -- in the machine --------------------------------------------------------------------------------

ASKED = Policy(smoke=True, probe_interval=1e6, drain_delay=0.0, canary=POLICY)
READY: tuple[Event, ...] = (
    Started(0.0),
    ProbeResult(1.0, 1, ok=True, detail="generated 1 token"),
    SmokeResult(2.0, 1, ok=True, detail="7 of 7 answers correct"),
)


def play(*events: Event, policy: Policy = ASKED) -> tuple[State, list[Action]]:
    """The state after a history, and everything that was done on the way."""
    state: State = Idle()
    done: list[Action] = []
    for event in events:
        state, actions = step(state, event, policy)
        done += actions
    return state, done


def canaries(*looks: Look, policy: Policy = ASKED) -> tuple[State, list[Action]]:
    """A ready server after these answers to its canary."""
    state, done = play(*READY, policy=policy)
    for look in looks:
        assert isinstance(state, Ready)
        due = wakes_at(state, policy)
        assert due is not None
        state, actions = step(state, Ticked(due), policy)
        [asked] = actions
        assert isinstance(asked, AskCanary)
        state, _ = step(state, CanaryHeard(due + 1, 1, asked.question, look), policy)
        done += actions
    return state, done


def test_it_is_asked_every_so_many_seconds_while_it_is_ready() -> None:
    state, _ = play(*READY)
    assert wakes_at(state, ASKED) == 62.0
    state, done = canaries(RIGHT, RIGHT)

    assert isinstance(state, Ready)
    assert [type(action) for action in done].count(AskCanary) == 2


def test_a_day_of_answers_leaves_no_more_behind_than_an_hour() -> None:
    """Every health check and every canary of 24 h, each when the machine wants it."""
    policy = replace(ASKED, probe_interval=10.0)
    state, _ = play(*READY, policy=policy)
    sizes, seen = [], Counter[type]()
    for end in (3600.0, 24 * 3600.0):
        while (now := wakes_at(state, policy)) is not None and now < end:
            state, actions = step(state, Ticked(now), policy)
            for action in actions:
                seen[type(action)] += 1
                heard: Event = ProbeResult(now + 0.1, 1, ok=True)
                if isinstance(action, AskCanary):
                    heard = CanaryHeard(now + 1, 1, action.question, RIGHT)
                state, _ = step(state, heard, policy)
        sizes.append(len(pickle.dumps(state)))

    assert isinstance(state, Ready)
    assert min(seen[Probe], seen[AskCanary]) > 1000
    assert sizes[1] <= sizes[0] * 1.05


def test_wrong_answers_are_told_and_nothing_else_is_done() -> None:
    state, done = canaries(RIGHT, WRONG, WRONG, RIGHT, RIGHT)

    assert isinstance(state, Ready)
    assert Terminate() not in done


def test_where_it_shall_be_started_again_it_drains_and_counts_as_a_death() -> None:
    policy = replace(ASKED, canary=replace(POLICY, act="restart"), restart_limit=1)
    proven = replace(RIGHT, signs=None)
    state, _ = canaries(proven, proven, proven, WRONG, WRONG, policy=policy)
    due = wakes_at(state, policy)
    assert due is not None
    state, actions = step(state, Ticked(due), policy)

    assert actions == (Terminate(),)
    assert isinstance(state, Stopping)
    assert (state.then, state.cause) == (Next.RETRY, "wrong-output")
    assert state.reason == f"degraded: {WRONG.detail}"
    state, _ = step(state, Exited(due + 9, 0, "exited with status 0"), policy)
    assert state.past.deaths == (due + 9,)


def test_no_canary_overlaps_a_drain_and_what_one_says_late_changes_nothing() -> None:
    state, _ = play(*READY)
    state, [asked] = step(state, Ticked(62.0), ASKED)
    assert isinstance(asked, AskCanary)
    state, _ = step(state, RequestReceived(63.0, Request.STOP, "SIGTERM"), ASKED)
    late = CanaryHeard(64.0, 1, asked.question, WRONG)

    assert step(state, late, ASKED) == (state, ())
    for now in range(64, 64 + int(ASKED.stop_timeout)):
        state, actions = step(state, Ticked(float(now)), ASKED)
        assert not [one for one in actions if isinstance(one, AskCanary)]


def test_who_asks_and_does_not_come_back_is_not_waited_for() -> None:
    state, _ = play(*READY, Ticked(62.0))
    due = wakes_at(state, ASKED)
    assert due == 62.0 + POLICY.within + canary.LOST
    state, _ = step(state, Ticked(due), ASKED)

    assert isinstance(state, Ready)
    assert state.canary
    assert (state.canary.asking, state.canary.degraded) == (None, None)
    assert wakes_at(state, ASKED) == due + 60


def test_a_follower_and_a_server_without_questions_are_not_asked() -> None:
    for policy in (ASKED.as_follower(), replace(ASKED, canary=CanaryPolicy())):
        state, done = play(*READY[:2], *READY[2:], Ticked(1e5), policy=policy)
        assert isinstance(state, Ready)
        assert state.canary is None
        assert not [action for action in done if isinstance(action, AskCanary)]


EVENTS = st.one_of(
    st.builds(ProbeResult, st.floats(0, 1e5), st.just(1), st.booleans(), st.text(max_size=9)),
    st.builds(Ticked, st.floats(0, 1e5)),
)


@given(st.lists(EVENTS, max_size=20))
def test_nothing_but_its_own_answers_degrades_a_server(events: list[Event]) -> None:
    """Whatever clients have the log or the health check say."""
    state, _ = play(*READY, *events)

    if isinstance(state, Ready):
        assert state.canary
        assert (state.canary.degraded, state.canary.wrong) == (None, {})


@given(st.lists(st.sampled_from([RIGHT, WRONG, UNKNOWN, slower(3)]), max_size=60))
def test_it_is_degraded_exactly_while_two_are_wrong_or_three_slow(looks: list[Look]) -> None:
    bird = Bird(replace(POLICY, asks=("tools",)))
    bird.hears(*[RIGHT] * 5)
    wrong, slow = 0, 0
    for look in looks:
        worse = bird.hears(look).degraded is not None
        wrong = wrong + 1 if look is WRONG else wrong if look is UNKNOWN else 0
        judged = look.said is Said.RIGHT
        slow = (slow + 1 if look is not RIGHT else 0) if judged else slow
        assert worse == (wrong >= 2 or slow >= 3)
