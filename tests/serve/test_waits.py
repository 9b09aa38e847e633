"""What the processes of a start waited for."""

from __future__ import annotations

from dataclasses import replace

from conftest import World, until
from hypothesis import example, given
from hypothesis import strategies as st

from launcher.engines import startup
from launcher.output.starts import _parts, meanwhile
from launcher.serve.procfs import Member, Vitals
from launcher.serve.waits import between
from launcher.statedir.starts import Waited
from launcher.statedir.state import StartRecord

RANK = Member(10, "sglang::scheduler_TP0", "S", 5.0, 1 << 30, 100, 0, is_rank=True)


def looks(before: tuple[Member, ...], after: tuple[Member, ...]) -> Waited:
    return between(Vitals(0.0, before), Vitals(2.0, after))


def test_bytes_are_those_that_were_moved_meanwhile() -> None:
    after = replace(RANK, read=100 + (3 << 20), written=4096)

    assert looks((RANK,), (after,)) == Waited(read=3 << 20, written=4096)


def test_who_came_since_did_it_all_since_and_who_went_takes_nothing_back() -> None:
    new = replace(RANK, pid=11, read=7)

    assert looks((RANK,), (RANK, new)) == Waited(read=7)
    assert looks((RANK, new), (RANK,)) == Waited()


def test_a_compiler_that_works_is_told_one_that_waits_is_not() -> None:
    compiler = Member(12, "ptxas", "R", 1.0, 0, 0, 0)

    assert looks((RANK, compiler), (RANK, replace(compiler, cpu=2.0))).compiling == 2.0
    assert looks((RANK, compiler), (RANK, compiler)).compiling == 0.0


def test_sleep_in_a_driver_and_a_line_for_processors_are_told() -> None:
    assert looks((RANK,), (replace(RANK, state="D"),)).asleep == 2.0
    assert looks((RANK,), (replace(RANK, waited=1.5),)).starved == 1.5


def test_what_they_did_counts_for_the_phase_that_it_was() -> None:
    start = startup.waited(startup.begin(0.0), Waited(read=1))
    start = replace(start, began={**start.began, "weights": 5.0})
    start = startup.waited(startup.waited(start, Waited(read=2)), Waited(read=3, asleep=2.0))

    assert start.waits == {"process": Waited(read=1), "weights": Waited(read=5, asleep=2.0)}


def test_what_a_phase_waits_for_is_told_while_it_goes_on(world: World) -> None:
    world.faults(hang_at="load")
    world.write_profile(stall_timeout=60)
    world.start("up", "-p", "stub")

    until(
        lambda: "weights" in ((world.status().get("start") or {}).get("waits") or {}), "it is told"
    )


def test_of_a_start_that_is_over_status_tells_what_it_waited_for() -> None:
    waits = {"process": Waited(starved=40.0), "weights": Waited(read=3 << 30, starved=2.0)}
    start = StartRecord(seconds={"process": 50.0, "weights": 10.0}, waits=waits)

    assert meanwhile(start) == "disk: 3.0 GiB read (51.2 MiB/s), in line for a processor: 42 s"
    assert meanwhile(replace(start, waits={"process": Waited(read=3 << 20, starved=0.4)})) == ""


@given(st.lists(st.floats(0, 1e4), min_size=1, max_size=9), st.integers(0, 200))
@example([5e-324], 1)
def test_the_picture_of_a_longer_phase_is_no_shorter(seconds: list[float], room: int) -> None:
    parts = _parts(seconds, sum(seconds) or 1.0, room)

    assert sum(parts) in (room, 0)
    for one, columns in zip(seconds, parts, strict=True):
        assert all(
            more >= columns for other, more in zip(seconds, parts, strict=True) if other > one
        )
