"""What runs, and is asked by another shell: its plan, and how it answers."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from functools import partial
from pathlib import Path

from launcher import nesting
from launcher.engines.server import Server
from launcher.errors import Exit, UserError, in_words
from launcher.files import guarded
from launcher.host.peer import Peer
from launcher.operate import control
from launcher.plan import plan
from launcher.redact.keys import read_key
from launcher.serve.smoke import Result, examine, explained
from launcher.statedir.folder import StateDir
from launcher.statedir.status import BEING_LAUNCHED


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


def smoke(instance: StateDir) -> Result:
    """Ask a running server its questions.

    Raises UserError when it is not up, or its profile asks none.
    """
    control.require_started(instance, "smoke")
    if not instance.is_held():
        fix = f"`glm5-serve up --profile {instance.name}`"
        raise UserError(f"{instance.name} is not up", fix=fix, status=Exit.NO)
    made = plan_of(instance)
    if not made.smoke:
        fix = "set smoke.enabled = true and its questions, then `glm5-serve restart`"
        raise UserError(f"profile {instance.name} has no smoke test", fix=fix)
    from launcher.operate import web  # requests takes its time

    said: dict[str, str] = {}  # asked again it is for how it is answered: cut, or with reasoning

    def talk(
        server: Server, method: str, path: str, body: str | None, within: float
    ) -> tuple[int, bytes]:
        status, answer = web.talk(server, method, path, body, within)
        with contextlib.suppress(ValueError, LookupError, TypeError):  # a stream, a tool's call
            asked = str(nesting.of_json(body or "")["messages"][-1]["content"])
            told = str(nesting.of_json(answer)["choices"][0]["message"]["content"])
            said.setdefault(asked, server.words(told, len(told)))
        return status, answer

    key = read_key(Path(made.key_file)) if made.key_file else None
    peer = Peer(partial(control.processes, instance))  # nobody else gets the key
    result = examine(
        Server(made.host, made.port, key, peer),
        made.model_name,
        made.smoke,
        made.parsers,
        talk=talk,
    )
    result = replace(result, answers=tuple(said.items()))
    return result if result.ok else replace(result, detail=explained(result.detail, made.suspects))
