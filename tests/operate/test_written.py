"""What an instance has written is shown in time, whatever it has become."""

from __future__ import annotations

import os
import shutil

from conftest import World

WITHIN = 60.0  # seconds; a file of terabytes is not read in that time


def test_files_of_any_size_are_shown_by_their_ends(world: World) -> None:
    """Whoever owns the folder makes them: one line without an end, of no length that fits."""
    world.run("up", "stub", "--detach")
    world.run("down")
    for name in ("server.log", "events.jsonl"):
        os.truncate(world.instance / name, 3 << 40)
    for words in (["logs", "-n", "3"], ["events"], ["events", "-n", "2", "--json"]):
        shown = world.run(*words, "-p", "stub", timeout=WITHIN)

        nothing = "nothing of " in shown.stderr  # of blanks without an end
        assert shown.returncode == (words[0] == "events"), shown.stderr
        assert nothing is (words[0] == "events")
        assert len(shown.stdout) < 1 << 20
    assert "bytes more, without a line end" in world.run("logs", "-n", "1").stdout


def test_events_that_lead_elsewhere_cost_their_instance_alone(world: World) -> None:
    world.run("up", "stub", "--detach")
    events = world.instance / "events.jsonl"
    events.unlink()
    events.symlink_to("/root/closed/to/others" if os.geteuid() else "/proc/1/fd/none/x")
    shown = world.run("top", "--once")

    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.startswith("stub")


def test_a_plan_of_another_instance_starts_nothing(world: World) -> None:
    world.run("up", "stub", "--detach")
    world.run("down")
    other = world.state / "other"
    shutil.copytree(world.instance, other)
    refused = world.run("restart", "-p", "other")

    assert refused.returncode == 78
    assert "is the plan of stub, not of other" in refused.stderr
    assert world.status()["state"] == "stopped"
