"""The smoke test: what a healthy server says passes, and each known way to be wrong is named."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from conftest import ROOT, World, until
from hypothesis import given
from hypothesis import strategies as st

from launcher.serve.smoke import garbage, quoted

Wrong = list[tuple[dict[str, Any], str]]
WRONG: Wrong = [
    ({"answer": ""}, "the answer is empty"),
    ({"answer": "   \n"}, "the answer is empty"),
    ({"answer": "!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!"}, "the same letters again and again"),
    ({"answer": "foo bar " * 20}, "the same"),
    ({"answer": "P\ufffdris"}, "broken UTF-8"),
    ({"answer": "Pa\x01ris"}, "control characters"),
    ({"answer": "Парис Paris 巴黎 パリ باريس"}, "a mixture of"),
    ({"answer": "<think>it is Paris</think>Paris"}, "reasoning is in the answer"),
    ({"answer": "Berlin, of course"}, "wanted 'paris'"),
    ({"answer": "The"}, "got 'The', one token"),
    ({"stream": "Lyon"}, "a streamed answer differs"),
]


def is_told_of_each(world: World, wrong: Wrong, **always: Any) -> None:
    """Each wrong answer in turn of one server, which is up, is named by the command: it asks and
    judges as `up` does.
    """
    for fault, told in wrong:
        world.faults(**always, **fault)
        done = world.run("smoke", "--json")
        assert (done.returncode, told in json.loads(done.stdout)["detail"]) == (1, True), done


def test_each_wrong_answer_is_named(world: World) -> None:
    world.run("up", "-p", "stub", "-d")

    is_told_of_each(world, WRONG)


AT_A_START = [WRONG[0], WRONG[5], WRONG[-1]]  # nothing, what is to be quoted, a stream


@pytest.mark.parametrize(("fault", "told"), AT_A_START, ids=[told for _, told in AT_A_START])
def test_a_server_that_answers_wrongly_is_not_announced_ready(
    world: World, fault: dict[str, Any], told: str
) -> None:
    world.faults(**fault)
    up = world.run("up", "-p", "stub", "-d")

    assert up.returncode == 1
    seen = world.status()
    assert seen["state"] == "failed"
    assert seen["reason"].startswith("wrong output: ")
    assert told in seen["reason"]
    assert not [e for e in world.events() if e["state"] == "ready"]
    assert not world.processes()
    assert [e["ok"] for e in world.events("smoke")] == [False]
    (death,) = world.events("death")
    assert death["cause"] == "wrong-output"
    assert told in death["what"]
    assert seen["last_error"] == seen["reason"].removesuffix("; not tried again")


PARSERS = 'reasoning-parser = "glm45"\ntool-call-parser = "glm47"\n'
PARSED_WRONG: Wrong = [
    ({"concluded": ""}, "with reasoning, the answer is empty"),
    ({"concluded": "<think>France</think>Paris"}, "reasoning is in the answer"),
    (
        {"thought": "", "concluded": "So, France has had many capitals. " * 12 + "Paris"},
        "not apart from the answer",
    ),
    ({"thought": "the the the the the the the the the"}, "the same"),
    ({"tool_call": ""}, "a tool call was not parsed"),
    ({"tool_call": "fly"}, "a tool call came out wrong"),
    ({"arguments": "[]"}, "a tool call came out wrong"),
    ({"arguments": "{city"}, "an answer that is none"),
]


def with_parsers(world: World) -> None:
    text = world.profile.read_text()
    world.profile.write_text(text.replace("tp-size = 2\n", f"tp-size = 2\n{PARSERS}"))


def test_a_parser_that_does_not_work_is_found(world: World) -> None:
    """At a start, and each way not to work by the command."""
    with_parsers(world)
    fault, told = PARSED_WRONG[0]
    world.faults(**fault)

    assert world.run("up", "-p", "stub", "-d").returncode == 1
    assert told in world.status()["reason"]
    world.faults()
    assert world.run("up", "-p", "stub", "-d").returncode == 0
    assert world.status()["smoke"]["detail"] == "7 of 7 answers correct"
    is_told_of_each(world, PARSED_WRONG)


ALWAYS = ("--set", "flags.model-path=RadixArk/GLM-5.3-NVFP4")


@pytest.mark.parametrize("key", ["reasoning_content", "reasoning"])
def test_a_model_that_always_thinks_is_given_room_and_little_to_think(
    world: World, key: str
) -> None:
    with_parsers(world)
    world.faults(always=True, reasoning=key)

    assert world.run("up", "-p", "stub", "-d", *ALWAYS).returncode == 0
    assert world.status()["smoke"]["detail"] == "6 of 6 answers correct"


def test_a_model_that_always_thinks_needs_no_parser_to_be_right(world: World) -> None:
    world.faults(always=True)

    assert world.run("up", "-p", "stub", "-d", *ALWAYS).returncode == 0
    assert world.status()["smoke"]["detail"] == "4 of 4 answers correct"


def test_one_that_always_thinks_and_is_wrong_is_found(world: World) -> None:
    with_parsers(world)
    world.faults(always=True)
    world.run("up", "-p", "stub", "-d", *ALWAYS)

    wrong: Wrong = [
        ({"answer": "Berlin", "concluded": "Berlin"}, "wanted 'paris'"),
        ({"thought": "the the the the the the the the the"}, "the same"),
        ({"concluded": ""}, "the answer is empty"),
    ]
    is_told_of_each(world, wrong, always=True)


def test_a_model_taken_for_one_that_can_be_asked_not_to_think_is_told(world: World) -> None:
    """What an always-thinking stand-in says to the questions for others."""
    with_parsers(world)
    world.faults(always=True)

    assert world.run("up", "-p", "stub", "-d").returncode == 1
    assert "the answer is empty" in world.status()["reason"]


def test_a_model_that_reasons_beyond_the_ceiling_is_not_wrong(world: World) -> None:
    with_parsers(world)
    world.faults(concluded="", finish="length")

    assert world.run("up", "-p", "stub", "-d").returncode == 0


def test_a_server_that_never_answers_hangs_and_is_started_again(world: World) -> None:
    world.write_profile("[smoke]\nwithin = 0.4", restart_limit=1)
    world.faults(hang_at="chat")

    assert world.run("up", "-p", "stub", "-d").returncode == 1
    seen = world.status()
    assert "the smoke test got no answer within 0.4 s" in seen["reason"]
    assert "2 deaths within" in seen["reason"]
    assert [e["cause"] for e in world.events("death")] == ["hang", "hang"]
    assert "sglang::TP0" in Path(world.events("death")[0]["stacks"]).read_text()
    assert not world.processes()


def test_a_profile_may_ask_its_own_questions_or_none(world: World) -> None:
    world.faults(answer="Berlin")
    world.write_profile(
        '[smoke]\nquestions = [{ ask = "capital of Germany?", expect = "^berlin$" }]'
    )
    assert world.run("up", "-p", "stub", "-d").returncode == 0
    said = " ".join(world.run("smoke").stdout.split())
    assert "ok 3 of 3 answers correct; 2 of them asked in another way: as a stream" in said
    world.run("down")

    world.write_profile("[smoke]\nenabled = false")
    assert world.run("up", "-p", "stub", "-d").returncode == 0
    assert "smoke" not in world.status()["start"]["seconds"]
    none = world.run("smoke")
    assert none.returncode == 78
    assert "has no smoke test" in none.stderr


def test_a_server_that_turns_wrong_is_found_by_the_command(world: World) -> None:
    world.run("up", "-p", "stub", "-d")
    world.faults(answer="Berlin")
    done = world.run("smoke", "--json")

    assert done.returncode == 1
    told = json.loads(done.stdout)
    assert told["ok"] is False
    assert "wanted 'paris'" in told["detail"]


def test_a_server_that_starts_is_not_called_wrong(world: World) -> None:
    world.faults(hang_at="load")
    world.start("up", "stub")
    world.until_state("starting")
    until((world.instance / "plan.json").exists, "it has a plan")
    done = world.run("smoke")

    assert done.returncode == 1
    assert re.match(r"error  stub is not ready: starting( for \d+ s)?, ", done.stderr), done.stderr
    assert "wait until `glm5-serve status --profile stub` says ready" in done.stderr
    assert "nobody listens" not in done.stdout + done.stderr


def test_a_key_that_was_changed_is_told_with_what_takes_it(world: World) -> None:
    key = world.folder / "key"
    key.write_text("first-0123456789")
    key.chmod(0o600)
    world.run("up", "stub", "--detach", "--api-key-file", key)
    assert world.run("smoke").returncode == 0
    key.write_text("second-0123456789")
    done = world.run("smoke", "--json")
    detail = json.loads(done.stdout)["detail"]

    assert done.returncode == 1
    assert f"{key} has another key now than the server read at its start" in detail
    assert "`glm5-serve restart --profile stub`" in detail
    assert world.run("restart", "--profile", "stub").returncode == 0
    assert world.run("smoke").returncode == 0


def test_a_question_that_is_no_pattern_is_refused(world: World) -> None:
    world.write_profile('[smoke]\nquestions = [{ ask = "x", expect = "(" }]')
    refused = world.run("render", "-p", "stub")

    assert refused.returncode == 78
    assert "not a regular expression" in refused.stderr


@pytest.mark.parametrize(
    "text",
    [
        "Paris",
        "42",
        "La capitale de la France est Paris.",
        "巴黎",
        "ha ha ha",
        "1, 2, 3, 4, 5, 6, 7, 8, 9, 10",
        "a |> f <| b, x < |y| > z, <|>",
    ],
)
def test_text_is_no_garbage(text: str) -> None:
    assert garbage(text) is None


@pytest.mark.parametrize(
    "token", ["<\uff5cbegin\u2581of\u2581sentence\uff5c>", "<|endoftext|>", "<|user|>"]
)
def test_control_tokens_in_an_answer_are_garbage(token: str) -> None:
    assert token in (garbage(f"The capital of France is Paris.{token}It lies on the Seine") or "")


def test_every_event_keeps_to_the_schema(world: World) -> None:
    schema = json.loads((ROOT / "docs/events.schema.json").read_text())
    world.faults(exit_at="serve", exit_code=-9)
    world.write_profile(restart_limit=1, backoff=0)
    world.run("up", "-p", "stub", "-d")
    world.faults()
    world.run("up", "-p", "stub", "-d", "--json")
    world.run("down")

    told = [json.loads(line) for line in (world.instance / "events.jsonl").read_text().splitlines()]
    assert {event["event"] for event in told} >= {"state", "phase", "death", "smoke"}
    for event in told:
        jsonschema.validate(event, schema)


def test_events_are_shown_filtered_and_followed(world: World) -> None:
    world.run("up", "-p", "stub", "-d")
    follow = world.start("events", "-f", "--kind", "state", "--json")
    world.run("down")
    said, _ = follow.communicate(timeout=30)

    *lines, last = said.splitlines()
    assert last == "stub is not up: nothing more comes"
    assert [json.loads(line)["state"] for line in lines] == [
        "starting",
        "ready",
        "stopping",
        "stopped",
    ]
    lines = world.run("events", "-n", "2").stdout.splitlines()
    assert len(lines) == 2
    assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  stopped ", lines[1])
    assert json.loads(world.run("events", "--kind", "smoke", "--json").stdout)["ok"] is True


def test_events_of_what_was_never_up_are_refused(world: World) -> None:
    refused = world.run("events", "-p", "stub")

    assert refused.returncode == 1
    assert "no events of stub" in refused.stderr


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("\x01" * 300, r"'\x01 (300 times)'"),
        ("So: " + "ha " * 40 + "end", "'So: ha (40 times) end'"),
        ("The capital of France is Paris.", "'The capital of France is Paris.'"),
        ("x" * 5 + "y" * 7, "'xxxxxyyyyyyy'"),
    ],
)
def test_what_repeats_is_quoted_once(said: str, told: str) -> None:
    assert quoted(said) == told


@given(st.text())
def test_a_quotation_is_never_long(said: str) -> None:
    assert len(quoted(said)) <= 10 * 80 + 2  # of an escape's ten letters each
