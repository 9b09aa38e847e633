"""What runs, and is asked by another shell: its plan, and how it answers."""

from __future__ import annotations

import contextlib
import time
from dataclasses import replace
from functools import partial
from http import HTTPStatus
from pathlib import Path

from launcher import counting, nesting
from launcher.engines.server import Server
from launcher.errors import Exit, UserError, in_words
from launcher.files import guarded
from launcher.host.peer import Peer
from launcher.operate import control, whose
from launcher.plan import plan
from launcher.redact.keys import read_key
from launcher.serve.smoke import Result, examine, explained
from launcher.statedir.folder import StateDir
from launcher.statedir.status import BEING_LAUNCHED
from launcher.statedir.times import seconds_since

# States of a server that is up, and answers nobody yet, or any more.
NOT_YET = ("starting", "backoff", "stopping")


def plan_of(instance: StateDir) -> plan.Plan:
    """What runs. Raises UserError."""
    try:
        return plan.loads(guarded.read(instance.plan).decode())
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        if isinstance(error, FileNotFoundError) and instance.look().reason == BEING_LAUNCHED:
            raise UserError(
                f"{instance.name} is being launched, and has no plan yet",
                fix=f"wait until `glm5-serve status --profile {instance.name}` says ready",
                status=Exit.NO,
            ) from None
        why = in_words(error)
        raise UserError(
            f"{instance.plan} cannot be read: {why}",
            fix=f"`glm5-serve down --profile {instance.name}`, then `up`",
            status=Exit.NO,
        ) from None


def require_answering(instance: StateDir) -> None:
    """Raise UserError for a server that is up, and has not come so far, or is going: it would not
    answer, and nothing is wrong with it.
    """
    seen = instance.look()
    if seen.state not in NOT_YET:
        return
    seconds = seconds_since(seen.since, time.time()) if seen.since else None
    took = f" for {counting.span(round(seconds))}" if seconds is not None else ""
    fix = f"wait until `glm5-serve status --profile {instance.name}` says ready"
    if seen.state == "stopping":
        fix = f"`glm5-serve up --profile {instance.name}`, once it is down"
    raise UserError(
        f"{instance.name} is not ready: {seen.state}{took}, {seen.reason}", fix=fix, status=Exit.NO
    )


def smoke(instance: StateDir) -> Result:
    """Ask a running server its questions.

    Raises UserError when it is not up, or its profile asks none.
    """
    whose.require_own(instance, "smoke")
    if not instance.is_held():
        fix = f"`glm5-serve up --profile {instance.name}`"
        raise UserError(f"{instance.name} is not up", fix=fix, status=Exit.NO)
    made = plan_of(instance)
    key = read_key(Path(made.key_file)) if made.key_file else None
    require_answering(instance)
    if not made.smoke:
        fix = "set smoke.enabled = true and its questions, then `glm5-serve restart`"
        raise UserError(f"profile {instance.name} has no smoke test", fix=fix)
    from launcher.operate import web  # requests takes its time

    statuses = set[int]()
    said: dict[str, str] = {}  # asked again it is for how it is answered: cut, or with reasoning

    def talk(
        server: Server, method: str, path: str, body: str | None, within: float
    ) -> tuple[int, bytes]:
        status, answer = web.talk(server, method, path, body, within)
        statuses.add(status)
        with contextlib.suppress(ValueError, LookupError, TypeError):  # a stream, a tool's call
            asked = str(nesting.of_json(body or "")["messages"][-1]["content"])
            told = str(nesting.of_json(answer)["choices"][0]["message"]["content"])
            said.setdefault(asked, server.words(told, len(told)))
        return status, answer

    peer = Peer(partial(control.processes, instance))  # nobody else gets the key
    result = examine(
        Server(made.host, made.port, key, peer),
        made.model_name,
        made.smoke,
        made.parsers,
        talk=talk,
    )
    result = replace(result, answers=tuple(said.items()))
    if HTTPStatus.UNAUTHORIZED in statuses:
        result = replace(result, detail=f"{result.detail}; {_of_key(instance, made)}")
    return result if result.ok else replace(result, detail=explained(result.detail, made.suspects))


def _of_key(instance: StateDir, made: plan.Plan) -> str:
    """Why a server refuses the key that its profile's file has now: it read it at its start."""
    again = f"`glm5-serve restart --profile {instance.name}` has it take the present one"
    if made.key_file:
        return f"{made.key_file} has another key now than the server read at its start: {again}"
    return f"it wants a key, and its plan has none: {again}"
