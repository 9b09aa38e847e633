"""One model over several hosts: what all of its nodes are told, and what each of them alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from launcher.address import is_loopback, listening, numeric
from launcher.config.layers import Layer
from launcher.config.profile import NodeHost, Nodes, Profile
from launcher.engines.dialect import Dialect, Scale
from launcher.engines.options import Release
from launcher.errors import Exit, UserError
from launcher.plan.plan import Node, Plan, Setting, words_of

GLOO, NCCL = "GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"
HCA, GID = "NCCL_IB_HCA", "NCCL_IB_GID_INDEX"
JOINT = {
    HCA: "the adapters between the hosts: NCCL would take any that is up",
    GID: "RoCE: which of an adapter's addresses is that of the network between the hosts",
}
# Why a node has what it has, by what is set; the engine's own in `Scale.why`.
REASONS = {
    "host": "its own address: the other nodes ask the first one whether it is ready",
    GLOO: "gloo, by which the nodes find each other, takes the host name's address otherwise",
    NCCL: "NCCL takes the first interface that is up otherwise; = means this very name",
}


def require_several(name: str, values: Mapping[str, Any], origin: Mapping[str, Layer]) -> None:
    """Raise UserError (usage) where a node is asked for of a profile that has none."""
    rank = origin.get("nodes.rank")
    if rank and rank.place.startswith("-") and "hosts" not in values["nodes"]:
        what = f"profile {name} is of one host, and has no node {values['nodes']['rank']}"
        fix = "leave --node-rank out; a profile of several has nodes.hosts, as 2x8xpro6000 has"
        raise UserError(what, fix=fix, status=Exit.USAGE)


def errors(
    profile: Profile, flags: Mapping[str, Any], origin: Mapping[str, Layer], engine: Dialect
) -> Iterator[str]:
    """What is wrong with the hosts of a profile, and what it says twice, a line each."""
    nodes = profile.nodes
    if nodes is None:
        return
    said = (*_of_hosts(nodes), *_said_twice(profile, flags, engine))
    for key, text in (*said, *_one_port(profile, flags, engine)):
        place = origin[key].place if key in origin else origin["nodes.hosts"].place
        yield f"{place}: {key}: {text}"


def _of_hosts(nodes: Nodes) -> Iterator[tuple[str, str]]:
    addresses = [_plain(host) for host in nodes.hosts]
    yield from _of_no_host(addresses)
    for at, (name, address) in enumerate(zip(nodes.names, addresses, strict=True)):
        if address in addresses[:at]:
            yield "nodes.hosts", f"{address} is there twice: each node is another host"
        elif name in nodes.names[:at]:
            yield "nodes.hosts", f"two hosts are called {name}: give each its own name"
    if nodes.rank is not None and nodes.rank >= len(nodes.hosts):
        known = ", ".join(f"{at} ({name})" for at, name in enumerate(nodes.names))
        yield "nodes.rank", f"there is no node {nodes.rank}; nodes.hosts has {known}"


def _plain(host: NodeHost) -> str:
    """Its address as the kernel spells it: fd00:0:0::1 is fd00::1."""
    return str(numeric(host.address))


def _of_no_host(addresses: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Addresses that other hosts cannot reach one host by."""
    families: dict[int, str] = {}
    for address, at in zip(addresses, map(numeric, addresses), strict=True):
        assert at
        families.setdefault(at.version, address)
        if at.is_multicast or at.is_reserved:
            yield "nodes.hosts", f"{address} is the address of no host"
        elif at.version == 6 and at.is_link_local and not at.scope_id:
            yield "nodes.hosts", f"{address} leads nowhere without an interface: take a global one"
    if len(families) > 1:
        ends = f"{families[4]} is IPv4, {families[6]} is IPv6"
        yield "nodes.hosts", f"{ends}: all nodes meet in one, so give each an address of that"


def _one_port(
    profile: Profile, flags: Mapping[str, Any], engine: Dialect
) -> Iterator[tuple[str, str]]:
    """What else would listen at the port of the rendezvous, on the first node."""
    assert profile.nodes
    own = engine.option_of("port")
    taken = {f"flags.{name}": value for name, value in flags.items() if name.endswith("-port")}
    taken[f"flags.{own}"] = profile.flags.port or engine.port
    if place := profile.access.health_listen:
        taken["access.health_listen"] = listening(place)[1]
    for key, port in taken.items():
        if str(port) == str(profile.nodes.port):  # a text where it was quoted
            yield "nodes.port", f"{port} is {key}, too: the rendezvous wants a port of its own"


def _said_twice(
    profile: Profile, flags: Mapping[str, Any], engine: Dialect
) -> Iterator[tuple[str, str]]:
    assert profile.nodes
    scale = engine.scale
    own = {*_common(scale, profile.nodes), *scale.follower, scale.rank}
    for name in own & {*flags}:
        yield f"flags.{name}", "[nodes] says it for each node: leave it out"
    for name in {scale.own_address, GLOO, NCCL, HCA, GID} & {*profile.env}:
        yield f"env.{name}", "[nodes] says it for each node: leave it out"
    if flags.get("host") and is_loopback(profile.flags.host):
        what = f"{profile.flags.host} is reached by no other node"
        yield "flags.host", f"{what}: 0.0.0.0, or nothing, which is each node's own address"


def _common(scale: Scale, nodes: Nodes) -> Mapping[str, Any]:
    first = _plain(nodes.hosts[0])
    return scale.common(first, nodes.port, len(nodes.hosts), nodes.dist_timeout)


@dataclass(frozen=True)
class Spread:
    """What all nodes are told beside what the profile says, and the layers that say it."""

    profile: Profile
    flags: dict[str, Any]
    origin: dict[str, Layer]


def spread(
    profile: Profile, flags: dict[str, Any], origin: dict[str, Layer], engine: Dialect
) -> Spread:
    """The profile with what all of its nodes have in common; the same for one host."""
    nodes = profile.nodes
    if nodes is None:
        return Spread(profile, flags, origin)
    added = dict(_common(engine.scale, nodes))
    env = {HCA: ",".join(nodes.hca)} if nodes.hca else {}
    env |= {GID: str(nodes.gid_index)} if nodes.gid_index is not None else {}
    layer = Layer(origin["nodes.hosts"].place, {"why": {**engine.scale.why, **JOINT}})
    typed = profile.flags.model_copy(update={"nnodes": len(nodes.hosts)})
    return Spread(
        profile.model_copy(update={"flags": typed, "env": {**profile.env, **env}}),
        flags | added,
        origin
        | {f"flags.{name}": layer for name in added}
        | {f"env.{name}": layer for name in env},
    )


def too_new(profile: Profile, engine: Dialect, known: Release) -> set[str]:
    """The options for several nodes that a release does not have yet."""
    ours = _common(engine.scale, profile.nodes) if profile.nodes else {}
    return {name for name in ours if not known.accepts(f"--{name}")}


def nodes_of(
    profile: Profile,
    flags: Mapping[str, Any],
    engine: Dialect,
    here: Mapping[str, str],
    place: str,
) -> tuple[Node, ...]:
    """Its nodes, the one that leads first; none for one host.

    `here` has the interfaces of this host by their addresses, for those that name none.
    """
    nodes = profile.nodes
    if nodes is None:
        return ()
    listens = profile.flags.host if flags.get("host") else ""
    seen = [_with_interface(host, nodes, here) for host in nodes.hosts]
    return tuple(
        _node(nodes.names[rank], host, listens, engine.scale, place, rank, cuda=profile.gpus > 0)
        for rank, host in enumerate(seen)
    )


def _with_interface(host: NodeHost, nodes: Nodes, here: Mapping[str, str]) -> NodeHost:
    """The host with its interface: its own, that of all, or the one that has its address."""
    address = _plain(host)
    interface = host.interface or nodes.interface or here.get(address)
    return host.model_copy(update={"address": address, "interface": interface})


def _node(
    name: str, host: NodeHost, listens: str, scale: Scale, place: str, rank: int, *, cuda: bool
) -> Node:
    options = {scale.rank: rank, **(scale.follower if rank else {})}
    options |= {} if listens else {"host": host.address}
    env = {scale.own_address: host.address}
    if host.interface:
        env |= {GLOO: host.interface, **({NCCL: f"={host.interface}"} if cuda else {})}
    words = {option: words_of(option, value) for option, value in options.items()}
    why = {**REASONS, **scale.why}
    settings = [
        Setting(said[0], " ".join(said[1:]), place, why[option], option=option)
        for option, said in words.items()
    ]
    settings += [Setting(variable, value, place, why[variable]) for variable, value in env.items()]
    return Node(
        name,
        host.address,
        host.interface or "",
        listens or host.address,
        tuple(word for said in words.values() for word in said),
        env,
        tuple(settings),
    )


def notes(plan: Plan) -> Iterator[str]:
    """What to know of a plan over several nodes."""
    node = plan.node
    if node is None:
        return
    role = f"follows {plan.nodes[0].name}, which answers" if plan.follows else "leads, and answers"
    called = node.address if node.name == node.address else f"{node.name}, {node.address}"
    yield f"node {plan.rank} of {len(plan.nodes)} ({called}): {role}; each is started on its host"
    if not node.interface:
        yield (
            f"no interface with {node.address} is seen here: which one the engine shall use is"
            " found where the node is started, or said by nodes.interface"
        )
