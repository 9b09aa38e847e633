"""What a script sets where a test decides is known only where the test changes nothing."""

from __future__ import annotations

import pytest

from launcher.formats.reading import read


@pytest.mark.parametrize(
    ("script", "value"),
    [
        ('B=$((2 * 16))\n[ "$B" -gt 64 ] && B=64', "$B"),
        ("B=6\n[[ $Q ]] || B=64", "$B"),
        ("B=32\nif [ $Q = 1 ]; then B=64; fi", "$B"),
        ("export B=32\nif foo; then export B=64; fi", "$B"),
        ("B=32\nif [ $Q = 1 ]; then B=32; fi", "32"),
        ('if [ -z "$B" ]; then B=8; fi', "8"),
        ("B=--y\nif foo; then B+=' --z'; fi", "--y --z"),
        ("B=32\n[ -d x ] && A=1", "32"),
        ("B=32\ncd x && B=64", "64"),
        ("B=32\nif foo; then B=64; fi\nB=16", "16"),
    ],
)
def test_a_value_that_a_test_decides_is_unknown(script: str, value: str) -> None:
    [launch] = read(f"{script}\nsglang serve --x $B\n").launches

    assert " ".join(launch.words[1:]) == value
    assert bool(launch.outside) is (value == "$B")


def test_a_launch_that_a_test_decides_has_the_values_of_its_branch() -> None:
    [launch] = read("B=1\nif foo; then B=2; sglang serve --x $B; fi\n").launches

    assert launch.words == ("--x", "2")
