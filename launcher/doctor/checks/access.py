"""Who can reach the server, and whether it can listen."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from launcher.address import is_loopback
from launcher.doctor.checks.judging import Verdict, fail, ok, warn
from launcher.engines.engine import dialect
from launcher.host.facts import Host
from launcher.plan.plan import Plan

GROUP = "access"
PORT_FIXES = {  # by the words of launcher/host/port.py
    " is in use by ": "stop that process, or choose another port: --set flags.port=N",
    " is for privileged users": "choose a port from 1024 on: --set flags.port=N",
    "": "set flags.host to an address of this host (`ip addr`), or to 127.0.0.1",
}


def port_free(host: Host, plan: Plan) -> Verdict:
    """The server's address is free.

    A stale server on the port answers for the new one, or the new one ends after it has loaded.

    Tested: with ports in use, privileged, and of other hosts.
    """
    obstacle = host.system.port_obstacle.get()
    if obstacle is None:
        return ok(f"{plan.host} port {plan.port}")
    return fail(obstacle, fix=next(fix for words, fix in PORT_FIXES.items() if words in obstacle))


def access_guarded(host: Host, plan: Plan) -> Verdict:
    """Nobody but this host reaches what no key guards.

    SGLang's admin endpoints (load weights, flush the cache, shut down) are open where there is no
    key. vLLM's key guards a few prefixes (/v1): /invocations generates for whoever gets there.

    Tested: `up` refuses it; vLLM 0.32.0 was asked without its key. Source: the engines' routes.
    """
    if is_loopback(plan.host):
        return ok(f"{plan.host} is this host alone")
    found = exposed(plan)
    if found is None:
        return ok(f"a key is required ({plan.key_file})")
    if plan.open_without_key:
        return warn(f"{found.seen}, as access.open_without_key says", fix=found.fix)
    return fail(f"profile {plan.name} binds {found.seen}", fix=found.or_explicitly)


@dataclass(frozen=True)
class Exposed:
    """What more than this host reaches without a key, and what to do."""

    seen: str
    fix: str

    @property
    def or_explicitly(self) -> str:
        """What to do, or to say, where nobody has said yet that it shall be open."""
        return f"{self.fix}; or say it explicitly: --set access.open_without_key=true"


def exposed(plan: Plan) -> Exposed | None:
    """What no key guards; None where this host alone reaches it, or a key guards all."""
    if is_loopback(plan.host) or (plan.key_file and not dialect(plan.engine).unguarded):
        return None
    return _beside_key(plan) if plan.key_file else _without_key(plan)


def _without_key(plan: Plan) -> Exposed:
    seen = f"{plan.host} without an API key: whoever reaches port {plan.port} may use the model and"
    # the nodes of a group reach each other: none of them can be loopback's
    other = " (on each host)" if plan.nodes else ", or bind loopback: --set flags.host=127.0.0.1"
    fix = f"add a key: --set access.api_key_file=/FILE{other}"
    return Exposed(f"{seen} {dialect(plan.engine).serves}", fix)


def _beside_key(plan: Plan) -> Exposed:
    seen = f"{plan.host} with an API key, which does not guard {dialect(plan.engine).unguarded}"
    loopback = "bind loopback (--set flags.host=127.0.0.1), behind"
    if plan.nodes:
        loopback = f"close port {plan.port} to all but the nodes (a firewall), before it"
    return Exposed(seen, f"{loopback} a proxy that lets /v1 alone through")


def access_key(host: Host, plan: Plan) -> Verdict:
    """The API key's file holds a key, and is this user's alone.

    Who else may read it may use the model; without it the server is not started.

    Tested: with files that are missing, open to others, another user's, or no key.
    """
    if not plan.key_file:
        return ok("none is asked for")
    if obstacle := host.system.key_obstacle.get():
        mode = f"`chmod 600 {shlex.quote(plan.key_file)}`"
        return fail(
            obstacle, fix=f"put the key alone on one line of a file of this user, then {mode}"
        )
    return ok(plan.key_file)
