"""Who can reach the server, and whether it can listen."""

from __future__ import annotations

from launcher.address import is_loopback
from launcher.checks.judging import Verdict, fail, ok, warn
from launcher.facts import Host
from launcher.plan import Plan

GROUP = "access"


def port_free(host: Host, plan: Plan) -> Verdict:
    """The server's address is free.

    A stale server on the port answers for the new one, or the new one ends after it has loaded.

    Run here: with ports in use, privileged, and of other hosts.
    """
    obstacle = host.system.port_obstacle.get()
    if obstacle is None:
        return ok(f"{plan.host} port {plan.port}")
    return fail(obstacle, fix="stop that process, or choose another address: --set flags.port=N")


def access_guarded(host: Host, plan: Plan) -> Verdict:
    """Nobody but this host reaches the server without a key.

    SGLang's admin endpoints (load weights, flush the cache, shut down) are open to whoever reaches the port.

    Run here: `up` refuses it. Read: SGLang's routes.
    """
    if plan.key_file:
        return ok(f"a key is required ({plan.key_file})")
    if is_loopback(plan.host):
        return ok(f"{plan.host} is this host alone")
    fix = "--api-key-file FILE, or --set flags.host=127.0.0.1"
    if plan.open_without_key:
        return warn(f"{plan.host} without a key, as access.open_without_key says", fix=fix)
    return fail(f"profile {plan.name} listens on {plan.host} without a key", fix=fix)


def access_remote_code(host: Host, plan: Plan) -> Verdict:
    """The checkpoint's own code is not run.

    --trust-remote-code executes Python that the checkpoint brings; GLM-5 is in SGLang and needs none.

    Read: SGLang has the architecture from 0.5.9.
    """
    if plan.flag("trust-remote-code") is not None:
        return warn("--trust-remote-code is set", fix="set flags.trust-remote-code = false")
    return ok("not asked for")
