"""One model over several hosts, seen from one of them: `doctor/group.py` judges them together."""

from __future__ import annotations

from collections.abc import Mapping

from launcher.doctor.checks.judging import Verdict, fail, ok, warn
from launcher.engines.engine import dialect
from launcher.host.facts import Host, Interface, UnobservedError
from launcher.plan.plan import Plan

GROUP = "nodes"
UNNAMED = "the profile names no address of its nodes ([nodes])"

ANOTHER = "say which node this host is (--set nodes.rank=N), or correct nodes.hosts (`ip -br addr`)"
MEETING_FIXES = {  # by the words of launcher/host/port.py
    " is in use by ": "stop that process, or choose another port: --set nodes.port=N",
    " is for privileged users": "choose a port from 1024 on: --set nodes.port=N",
    "": ANOTHER,
}


def is_wide(plan: Plan) -> bool:
    """Whether a plan is for several hosts, however it says so."""
    return bool(plan.nodes) or _count(plan) > 1


def _count(plan: Plan) -> int:
    told = plan.flag("nnodes") or "1"
    return int(told) if told.isdecimal() else 1


def _shown(networks: tuple[Interface, ...]) -> str:
    told = (f"{one.name} {address}" for one in networks for address in one.addresses)
    return ", ".join(told) or "none"


def node_address(host: Host, plan: Plan) -> Verdict:
    """The host has the address of its node.

    The other nodes wait for it there; started as another node than it is, it waits for itself.

    Tested: in network namespaces, as the node that it is and as another.
    """
    node = plan.node
    if node is None:
        raise UnobservedError(UNNAMED)
    networks = host.system.networks.get()
    having = [one for one in networks if node.address in one.addresses]
    if not having:
        what = f"node {plan.rank} is {node.address}; this host has {_shown(networks)}"
        return fail(what, fix=ANOTHER)
    found = having[0]
    if node.interface not in ("", *(one.name for one in having)):
        what = f"{node.address} is on {found.name}, the profile names {node.interface}"
        return fail(what, fix="correct nodes.interface, or leave it out")
    if not found.up:
        return fail(f"{found.name} with {node.address} is down", fix=f"ip link set {found.name} up")
    return ok(f"{found.name} {node.address}")


def node_network(host: Host, plan: Plan) -> Verdict:
    """The engine tells the other nodes an address of the network between them.

    By itself it tells that of the default route. Where this is another network, both sides wait for
    ever and print nothing: torch and NCCL have long connected.

    Tested: a namespace whose default route leads elsewhere is refused. Observed: SGLang 0.5.23
    waits there. Reported: MiaAI-Lab/Qwen3.8-Flash-Next-Dual-DGX-Sparks#3.
    """
    variables = host.environment.variables.get()
    name, networks = dialect(plan.engine).scale.own_address, host.system.networks.get()
    told = variables.get(name) or host.system.outward.get()
    said = f"{name}={variables[name]}" if name in variables else f"the default route's {told}"
    between = _between(plan, networks, variables)
    if name not in variables and not between and len(networks) > 1:
        what = f"{name} is not set, and this host has {_shown(networks)}"
        return warn(what, fix=f"set {name} to its address on the network between the nodes")
    if told is None:
        fix = f"set {name} to its address on the network between the nodes"
        return fail(f"{name} is not set, and there is no default route", fix=fix)
    if between and told not in between:
        what = f"the other nodes are told {said}; the network between them is of {between[0]}"
        return fail(what, fix=f"set {name}={between[0]}")
    if not any(told in one.addresses for one in networks):
        what = f"the other nodes are told {said}; this host has {_shown(networks)}"
        return fail(what, fix=f"set {name} to an address of this host")
    return ok(said)


def _between(
    plan: Plan, networks: tuple[Interface, ...], variables: Mapping[str, str]
) -> tuple[str, ...]:
    """The addresses of this host on the network between the nodes, as far as anybody says which."""
    if plan.node:
        return (plan.node.address,)
    named = variables.get("GLOO_SOCKET_IFNAME") or variables.get("NCCL_SOCKET_IFNAME", "")
    return next((one.addresses for one in networks if one.name == named.lstrip("=")), ())


def node_rendezvous(host: Host, plan: Plan) -> Verdict:
    """The nodes reach each other at the rendezvous.

    A port that is taken, or closed between them, is told by the engine only when its time is over.

    Tested: on values. Observed: what SGLang 0.5.23 says of a node that waits alone.
    """
    if not plan.nodes:
        raise UnobservedError(UNNAMED)
    obstacle = host.system.rendezvous_obstacle.get()
    first = f"{plan.nodes[0].address} port {plan.rendezvous}"
    if obstacle is None:
        return ok(first)
    if plan.follows:
        fix = "open all ports between the nodes: the engine takes others, too, at random"
        return fail(obstacle, fix=fix)
    return fail(
        obstacle, fix=next(fix for words, fix in MEETING_FIXES.items() if words in obstacle)
    )


def node_stages(host: Host, plan: Plan) -> Verdict:
    """Tensor parallelism stays within a host.

    Across hosts each layer pays two all-reduces over the wire; a pipeline stage a host sends one
    activation. Hosts that NVLink joins (NVL72) are another matter, and nothing here tells them.

    Source: SGLang's ranks over nodes; reported: vLLM's recipe for two hosts is tp 8, pp 2.
    """
    count = _count(plan)
    role = next((name for name, of in dialect(plan.engine).roles.items() if of == "pp_size"), "")
    stages = plan.flag(role) or "1"
    if not plan.gpus:
        return ok("no GPU")
    if not stages.isdecimal() or int(stages) % count:
        what = f"{stages} pipeline stages over {count} hosts: tensor parallelism crosses the wire"
        return warn(what, fix=f"--set flags.{role}={count}, and as many tensor ranks as a host has")
    return ok(f"{stages} pipeline stages over {count} hosts")
