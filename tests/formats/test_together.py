"""The nodes of one server meet at one address."""

from __future__ import annotations

import pytest

from launcher.formats.reading import read

ADDRESSES = {"sglang serve --model-path m": "--dist-init-addr", "vllm serve m": "--master-addr"}


def nodes(program: str, *of: tuple[object, str], count: int = 2) -> str:
    option = ADDRESSES[program]
    return "".join(
        f"{program} --nnodes {count} --node-rank {rank} {option} {address}\n"
        for rank, address in of
    )


def told(text: str) -> list[bool]:
    return [
        any("wait for each other in vain" in n for n in one.notes) for one in read(text).launches
    ]


@pytest.mark.parametrize("program", ADDRESSES)
@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("10.0.0.1:5000", "10.0.0.2:5000"),
        ("10.0.0.1:5000", "10.0.0.1:5001"),
        ("head:5000", "head:5001"),
        ("[fd00::1]:5000", "[fd00::2]:5000"),
        ("10.0.0.1", "10.0.0.2"),
    ],
)
def test_nodes_that_wait_at_different_addresses_are_told(
    program: str, one: str, other: str
) -> None:
    assert told(nodes(program, (0, one), (1, other))) == [False, True]
    assert told(nodes(program, (0, one), (1, one), (2, other), count=3)) == [False, False, True]


@pytest.mark.parametrize("program", ADDRESSES)
@pytest.mark.parametrize(
    "of",
    [
        [(0, "10.0.0.1:5000"), (1, "10.0.0.1:5000")],
        [(0, "0.0.0.0:5000"), (1, "10.0.0.1:5000")],  # as the first node names itself
        [(0, "localhost:5000"), (1, "10.0.0.1:5000")],
        [(0, "head:5000"), (1, "10.0.0.1:5000")],
        [(0, "$HEAD:5000"), (1, "10.0.0.1:5000")],
        [(0, "<head>:$PORT"), (1, "<head>:5000")],
        [("$RANK", "10.0.0.1:5000"), ("$RANK", "10.0.0.2:5000")],
        # prefill and decode, each of two nodes
        [(0, "10.0.0.1:1"), (1, "10.0.0.1:1"), (0, "10.0.0.3:1"), (1, "10.0.0.3:1")],
    ],
)
def test_nodes_that_may_meet_are_not(program: str, of: list[tuple[object, str]]) -> None:
    text = nodes(program, *of).replace("<head>", "'<head>'")

    assert told(text) == [False] * len(of)


def test_servers_of_one_node_each_meet_nobody() -> None:
    text = nodes("sglang serve --model-path m", (0, "10.0.0.1:1"), (0, "10.0.0.2:1"), count=1)

    assert told(text) == [False, False]
