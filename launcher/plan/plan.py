"""What will run: the exact command and environment, where each value comes from, and the patience
it gets.

A plan is a value that goes to a file and back (`to_json`, `from_json`): the supervisor reads it
from there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any

from launcher import __version__, nesting
from launcher.plan.policy import CanaryPolicy, Policy, StallTimeouts

SCHEMA = 1
RANK = "nodes.rank="  # how the words of a command say which node is meant
NO_REASON = "no reason given there"
# What a profile is resolved for: one client, many of them, or as many tokens a second as there are.
POINTS = ("latency", "balanced", "throughput")
ENGINE = "sglang"  # what is started where nothing is said (`engines/engine.py` has their names)


@dataclass(frozen=True)
class Setting:
    """One flag (`--tp-size`) or variable of the plan: its value, the layer that set it, and why.

    `option` is the canonical name of a flag, however it is spelled for the release; "" for a
    variable. A rule also says how it is known (`evidence.Known`), its source, and what others say
    against it.
    """

    name: str
    value: str
    layer: str
    why: str
    known: str | None = None
    source: str | None = None
    against: str | None = None
    option: str = ""


@dataclass(frozen=True)
class Node:
    """One host of several that serve a model together, and what it alone is told.

    `interface` has its address on the network between them, "" where nobody knows which; `host` is
    where its server listens. `arguments` stand last in its command.
    """

    name: str
    address: str
    interface: str
    host: str
    arguments: tuple[str, ...]
    env: dict[str, str]
    settings: tuple[Setting, ...]


@dataclass(frozen=True)
class Plan:
    """Everything the supervisor needs; `words` are what `up` was told, so that a restart asks for
    the same.
    """

    name: str
    program: tuple[str, ...]  # an interpreter and what it runs
    arguments: tuple[str, ...]
    env: dict[str, str]
    host: str
    port: int
    model: str
    model_name: str
    policy: Policy
    settings: tuple[Setting, ...]
    words: dict[str, Any]
    key_file: str | None = None
    key_config: str | None = None
    open_without_key: bool = False
    health_listen: str = ""  # where its launcher says whether it is ready; "": nowhere
    gateway: str = ""  # the gateway that sends it requests, by name; "": none does
    gpus: int = 0  # that it shards over; 0: it runs on the CPU
    arch: str | None = None  # of these GPUs: sm100, sm103, sm120; None: any Blackwell
    needs_arch: str | None = None  # that its profile says it needs, whatever GPUs there are
    gpu: str | None = None  # the product that it was resolved for, as gpus.toml calls it
    gpu_memory: int = 0  # bytes that each must have
    state: str = ""  # the folder where its instance keeps its files
    allowed: tuple[str, ...] = ()  # checks whose failure does not keep it from being started
    ruled: bool = (
        False  # rules chose what its profile left open; otherwise it is as somebody wrote it
    )
    point: str = ""  # the operating point that rules chose for, of POINTS; "": none did
    left_out: tuple[str, ...] = ()  # what the point would have, and why it is not in the plan
    measured: tuple[str, ...] = ()  # between its GPUs, and what of it is not used or contradicts
    engine: str = ENGINE
    release: str | None = (
        None  # the release that it was resolved for; None: written before that was kept
    )
    # `within` and `questions` of the smoke test; empty: none
    smoke: dict[str, Any] = field(default_factory=dict)
    suspects: tuple[
        str, ...
    ] = ()  # what is known to make a plan like this hang or garble on this host
    doubt: str = ""  # about who wrote its profile: what that names is not run
    traits: tuple[
        str, ...
    ] = ()  # of its model (traits.py): "glm-5", "sparse-attention", "nvfp4", ...
    notes: tuple[str, ...] = ()  # what the one who starts it should know about how it was resolved
    nodes: tuple[Node, ...] = ()  # the hosts that serve it together; (): this one alone
    rank: int = 0  # which of them it is for
    rendezvous: int = 0  # the port where they find each other, on the first of them

    @property
    def node(self) -> Node | None:
        """The node that it is for; None where one host serves alone."""
        return self.nodes[self.rank] if self.nodes else None

    @property
    def follows(self) -> bool:
        """Whether another node leads: this one answers nobody."""
        return self.rank > 0

    @property
    def argv(self) -> tuple[str, ...]:
        """What is run, word for word."""
        return (*self.program, *self.arguments)

    @property
    def python(self) -> str:
        """The engine's interpreter."""
        return self.program[0]

    @property
    def parsers(self) -> frozenset[str]:
        """Which of the engine's parsers are on: "reasoning", "tools"."""
        asked = {"reasoning": self.flag("reasoning-parser"), "tools": self.flag("tool-call-parser")}
        return frozenset(name for name, parser in asked.items() if parser)

    def flag(self, *names: str) -> str | None:
        """The value of the first of these options that is set, "" for a switch; None if none is.

        Options are known by their canonical names (`options.Catalogue.canonical`) alone.
        """
        return next((self._flags[name] for name in names if name in self._flags), None)

    @cached_property
    def _flags(self) -> dict[str, str]:
        return {setting.option: setting.value for setting in self.settings if setting.option}


def for_node(plan: Plan, rank: int) -> Plan:
    """The plan of another of its nodes: only what a node alone is told differs.

    Raises IndexError for a node that it does not have.
    """
    if rank not in range(len(plan.nodes)):
        raise IndexError(f"no node {rank} among {len(plan.nodes)}")
    old, new = plan.nodes[plan.rank], plan.nodes[rank]
    shared = plan.arguments[: len(plan.arguments) - len(old.arguments)]
    asked = [word for word in plan.words.get("settings", ()) if not word.startswith(RANK)]
    return replace(
        plan,
        rank=rank,
        arguments=(*shared, *new.arguments),
        env={name: value for name, value in plan.env.items() if name not in old.env} | new.env,
        settings=tuple(one for one in plan.settings if one not in old.settings) + new.settings,
        host=new.host,
        words=plan.words | {"settings": [*asked, f"{RANK}{rank}"]},
    )


def words_of(name: str, value: object) -> list[str]:
    """A flag and its value as argparse takes them; a false one is left out.

    A value that begins with a dash is joined with `=`, or argparse would take it for an option.
    """
    match value:
        case False:
            return []
        case True:
            return [f"--{name}"]
        case list():
            return [f"--{name}", *map(str, value)] if value else []
        case _:
            text = str(value)
            return [f"--{name}={text}"] if text.startswith("-") else [f"--{name}", text]


def differences(old: Plan, new: Plan) -> list[str]:
    """What would run otherwise, a line each: `-` as it is, `+` as it would be."""
    before, after = _parts(old), _parts(new)
    lines = []
    for name in dict.fromkeys([*before, *after]):
        if before.get(name) != after.get(name):
            lines += [f"- {name} {before[name]}".rstrip()] if name in before else []
            lines += [f"+ {name} {after[name]}".rstrip()] if name in after else []
    return lines


def changed(old: Plan, new: Plan) -> list[tuple[str, Setting | None, Setting | None]]:
    """The flags and variables whose value differs: name, how it was set, how it will be.

    However each of them spells it, a flag is one by its canonical name.
    """
    before, after = (
        {f"--{setting.option}" if setting.option else setting.name: setting for setting in settings}
        for settings in (old.settings, new.settings)
    )
    return [
        (name, before.get(name), after.get(name))
        for name in dict.fromkeys([*before, *after])
        if (before[name].value if name in before else None)
        != (after[name].value if name in after else None)
    ]


def _parts(plan: Plan) -> dict[str, str]:
    said = asdict(plan.policy)
    stalls, canary = said.pop("stall_timeouts"), plan.policy.canary
    del said["canary"]
    patience = {f"supervision.{name}": f"{value:g}" for name, value in said.items()}
    patience |= {
        f"supervision.stall_timeouts.{phase}": f"{value:g}" for phase, value in stalls.items()
    }
    patience["canary"] = f"{canary.every:.10g} {canary.act} {', '.join(canary.asks)}"
    patience["smoke"] = ", ".join(question["ask"] for question in plan.smoke.get("questions", ()))
    return (
        {setting.name: setting.value for setting in plan.settings}
        | {"python": plan.python}
        | patience
    )


def to_json(plan: Plan) -> dict[str, Any]:
    """The plan as JSON data, versioned by `schema`, with the `version` of who made it. It holds
    the path of a key, never a key.
    """
    return {"schema": SCHEMA, "version": __version__, **asdict(plan)}


def from_json(data: Mapping[str, Any]) -> Plan:
    """The plan that `to_json` gave.

    Raises ValueError for another schema, KeyError or TypeError for no plan.
    """
    fields = dict(data)
    fields.pop("version", None)  # of who made it
    if (schema := fields.pop("schema", None)) != SCHEMA:
        raise ValueError(f"a plan of schema {schema}, wanted {SCHEMA}")
    policy = dict(fields["policy"])
    policy["stall_timeouts"] = StallTimeouts(**policy["stall_timeouts"])
    asked = policy["canary"]
    policy["canary"] = CanaryPolicy(**{**asked, "asks": tuple(asked["asks"])})
    fields["policy"] = Policy(**policy)
    fields["settings"] = tuple(Setting(**setting) for setting in fields["settings"])
    fields["nodes"] = tuple(_node(node) for node in fields.get("nodes", ()))
    for name in ("program", "arguments"):
        fields[name] = tuple(fields[name])
    for name in ("allowed", "left_out", "measured", "notes", "suspects", "traits"):
        fields[name] = tuple(fields.get(name, ()))
    return Plan(**fields)


def _node(data: Mapping[str, Any]) -> Node:
    settings = tuple(Setting(**setting) for setting in data["settings"])
    return Node(**{**data, "arguments": tuple(data["arguments"]), "settings": settings})


def maker(text: str) -> str | None:
    """The version of glm5-serve that wrote a plan's file, whatever its schema; None where it says
    none.

    Raises ValueError.
    """
    data = nesting.of_json(text)
    return data.get("version") if isinstance(data, dict) else None


def loads(text: str) -> Plan:
    """A plan from the text of its file."""
    return from_json(nesting.of_json(text))
