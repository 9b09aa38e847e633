"""What is told of a death, whichever news of it came first: that of the server, or of its ranks."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from launcher.diagnose.diagnosis import diagnose
from launcher.serve.postmortem import Postmortem
from launcher.serve.session import UNREAPED, Died
from launcher.serve.states import Next, Past, Stopping

LOST = "the server died"
LATE = Stopping(Past(run=1), LOST, 2.0, Next.RETRY, killed=True, cause="process-lost")


@pytest.mark.parametrize("state", [None, LATE])
@pytest.mark.parametrize(
    ("died", "cause"),
    [
        (Died(3, "exited with status 3"), "unknown"),
        (Died(-9, "was killed by SIGKILL"), "process-lost"),
        (UNREAPED, "reaper-killed"),
    ],
)
def test_a_death_has_one_cause_also_where_its_ranks_were_seen_to_go_first(
    state: Stopping | None, died: Died, cause: str
) -> None:
    assert told(state, died, ["the server"]) == cause


def test_a_rank_that_died_first_is_the_cause() -> None:
    died = Died(-9, "was killed by SIGKILL")  # by its supervisor

    assert told(LATE, died, ["sglang::scheduler_TP1"]) == "process-lost"


def told(state: Stopping | None, died: Died, lost: list[str]) -> str:
    """The cause of the death that is recorded of a log that knows none."""
    causes: list[str] = []
    recorder = SimpleNamespace(
        death=lambda _picture, _run, _how, why, *_more: causes.append(why.cause),
        complain=lambda _what: None,
    )
    service: Any = SimpleNamespace(
        state=state, recorder=recorder, picture=lambda: None, gone=None, last_error=None
    )
    run: Any = SimpleNamespace(number=1, lost=lost, stacks=None)
    Postmortem(service, gpus=SimpleNamespace())._judged(run, died, None, diagnose(["x"], []))  # type: ignore[arg-type]
    return causes[0]
