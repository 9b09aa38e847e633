"""On a host without a processor to spare the canary compares no speed: it is not the server's."""

from __future__ import annotations

from dataclasses import replace

import pytest

from launcher.engines.signs import Signs
from launcher.serve.canary import CROWDED, Look, Said, fairly
from launcher.serve.procfs import InLine

SEEN = Look(Said.RIGHT, "right, 40 tokens", 40, 2.0, Signs((0, 0), 0.01, 3.0))
SPEECHLESS = replace(SEEN, tokens=0, signs=None)


@pytest.mark.parametrize(("of_it", "told"), [(0.9, SEEN), (1.1, SPEECHLESS)])
def test_a_rank_that_stood_in_line_for_a_fifth_tells_no_speed(of_it: float, told: Look) -> None:
    before = InLine(100.0, {7: 5.0})
    after = InLine(110.0, {7: 5.0 + 10 * CROWDED * of_it})

    assert fairly(SEEN, before.share(after), 0.0) == told


def test_nor_does_a_launcher_that_did_not_run_meanwhile() -> None:
    assert fairly(SEEN, 0.0, 1.0) == SPEECHLESS
