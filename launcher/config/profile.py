"""What a profile may say: its keys, their types and defaults. Unknown keys are refused."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PositiveInt,
    StringConstraints,
)

from launcher import counting
from launcher.address import LAST_PORT, is_any, is_host, is_loopback, listening, numeric
from launcher.engines.engine import NAMES, dialect
from launcher.gateway import DEFAULT, LEAVE_WITHIN
from launcher.plan.plan import ENGINE, POINTS
from launcher.plan.policy import CANARIES, LEAST_EVERY, Policy, StallTimeouts


def _no_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("a NUL byte cannot be passed to a program")
    return text


def _no_option(text: str) -> str:
    if text.startswith("-"):
        raise ValueError("argparse takes an item that begins with a dash for an option")
    return text


def _a_pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from None
    return text


def _an_address(text: str) -> str:
    listening(text)
    return text


def _a_host(text: str) -> str:
    if not is_host(text):
        raise ValueError("wanted an address or a name of this host, as 127.0.0.1 is")
    return text


def _an_ip_address(text: str) -> str:
    if not numeric(text) or is_loopback(text) or is_any(text):
        raise ValueError("wanted the address by which the other hosts reach it: 10.0.0.1")
    return text


def _a_pace(seconds: float) -> float:
    if 0 < seconds < LEAST_EVERY:
        raise ValueError(f"wanted 0 for no questions, or {LEAST_EVERY:g} and more")
    return seconds


def _as_host(value: object) -> object:
    return {"address": value} if isinstance(value, str) else value


def _whole_number_as_text(value: object) -> object:
    if isinstance(value, bool):
        # NCCL reads its numbers with strtol: "true" is 0 there, silently (src/misc/param.cc).
        raise ValueError('write "1" or "0": programs read true and false as text, NCCL as 0')
    return str(value) if isinstance(value, int) else value


def _no_endless_number(value: str | float) -> str | float:
    if counting.is_endless(value) if isinstance(value, str) else abs(value) > counting.LARGEST:
        raise ValueError("a number that no option takes: wanted 18 digits at most")
    return value


Text = Annotated[str, AfterValidator(_no_nul)]
Number = Annotated[float, Field(allow_inf_nan=False), AfterValidator(_no_endless_number)]
Item = Annotated[Text, AfterValidator(_no_option)]
Whole = Annotated[int, AfterValidator(_no_endless_number)]
FlagText = Annotated[Text, AfterValidator(_no_endless_number)]
FlagValue = bool | Whole | Number | FlagText | list[Whole | Number | Item]
NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"  # of a state folder
MONTH = 30 * 24 * 3600.0  # seconds; more patience than that is a typing error
JOINED_WITHIN = 60.0  # seconds that a node takes to give up after its engine's own timeout
Positive = Annotated[float, Field(gt=0, le=MONTH)]
NotNegative = Annotated[float, Field(ge=0, le=MONTH)]
Ranks = Annotated[int, Field(ge=1, le=1024)]
Interface = Annotated[Text, StringConstraints(pattern=r"^[^\s/:=,^]{1,15}$")]
VariableName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def _known(name: str) -> str:
    if name not in NAMES:
        raise ValueError(f"wanted {' or '.join(NAMES)}")
    return name


def _a_point(name: str) -> str:
    if name not in POINTS:
        raise ValueError(f"wanted {', '.join(POINTS[:-1])} or {POINTS[-1]}")
    return name


class Engine(_Table):
    """Which engine, and the interpreter that has it."""

    kind: Annotated[Text, AfterValidator(_known)] = ENGINE
    """Which engine serves it."""
    device: Literal["cuda", "cpu"] = "cuda"  # as it is built; SGLang has an option for it
    """What the engine was built for."""
    # An equals sign would make the pasted command an assignment.
    python: Annotated[Text, Field(pattern=r"^[^=]+$")] = "python3"
    """The interpreter that has the engine: a path, or a name that is looked up in PATH."""


class Access(_Table):
    """Who may talk to the server."""

    api_key_file: Text | None = None
    """The file with the key that clients must send, alone on one line; mode 0600."""
    open_without_key: bool = False
    """Let it listen on another address than loopback without a key."""
    health_listen: Annotated[Text, AfterValidator(_an_address)] | None = None
    """Where the launcher answers /ready and /live: ADDRESS:PORT."""


class Needs(_Table):
    """What the host must have. How many GPUs follows from the flags."""

    arch: Annotated[Text, Field(pattern=r"^sm\d{2,3}$")] | None = None
    """The architecture of the GPUs: sm100, sm103 or sm120. Without it, that of this host's."""
    gpu_memory_gib: Annotated[float, Field(ge=0, le=4096)] = 0.0
    """How much memory each GPU must have, in GiB."""


class Doctor(_Table):
    """How doctor judges for this profile: `allow` lists checks whose failure does not stop `up`."""

    allow: list[Annotated[Text, Field(pattern=r"^[a-z0-9-]+$")]] = []
    """Checks that may fail without keeping it from being started."""


class Rules(_Table):
    """What rules may choose: all that is left open, unless it is switched off or a setting is
    skipped.
    """

    enabled: bool = True
    """Whether rules choose what the profile leaves open."""
    skip: list[Annotated[Text, Field(pattern=r"^[A-Za-z0-9_-]+$")]] = []
    """Options and variables that no rule shall set."""


class Stalls(_Table):
    """How long each phase of a start may go without a sign of life, in seconds."""

    process: Positive = StallTimeouts.process
    """Until its processes are up: imports, and the driver."""
    distributed: Positive = StallTimeouts.distributed
    """While the ranks find each other."""
    weights: Positive = StallTimeouts.weights
    """While weights are loaded."""
    kv: Positive = StallTimeouts.kv
    """While the KV cache is allocated."""
    compile: Positive = StallTimeouts.compile
    """While kernels are tuned or compiled."""
    graphs: Positive = StallTimeouts.graphs
    """While CUDA graphs are captured."""
    warmup: Positive = StallTimeouts.warmup
    """While the first batch runs."""


class Supervision(_Table):
    """How patient the launcher is; times in seconds. `policy.Policy` says what each one does."""

    start_timeout: Positive = Policy.start_timeout
    """How long a start may take altogether."""
    stop_timeout: NotNegative = Policy.stop_timeout
    """How long running requests may take to finish before they are killed."""
    drain_delay: NotNegative = Policy.drain_delay
    """How long /ready says 503 before the server is told to stop."""
    probe_interval: Positive = Policy.probe_interval
    """Between two health checks."""
    failure_threshold: PositiveInt = Policy.failure_threshold
    """How many health checks in a row must fail."""
    stall_timeout: Positive = Policy.stall_timeout
    """How long one that fails them may do nothing, and a check take, that within 10 to 25 s."""
    restart_limit: Annotated[int, Field(ge=0)] = Policy.restart_limit
    """How many deaths within `restart_window` it is started again after."""
    restart_window: Positive = Policy.restart_window
    """How long a death counts."""
    backoff: NotNegative = Policy.backoff
    """The pause before the second restart; it doubles with each."""
    backoff_max: NotNegative = Policy.backoff_max
    """The longest pause."""
    read_ahead: bool = Policy.read_ahead
    """Whether the checkpoint is read into memory while the server imports."""
    stall_timeouts: Stalls = Stalls()
    """How long each phase of a start may go without a sign of life."""


class NodeHost(_Table):
    """One host of several: its address on the network between them, and the interface that has it;
    without one it is looked for where the node starts.
    """

    address: Annotated[Text, AfterValidator(_an_ip_address)]
    """Its address on the network between the hosts."""
    name: Annotated[Text, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")] | None = None
    """How it is called; else by its address."""
    interface: Interface | None = None
    """The interface with that address; else it is looked for."""


class Nodes(_Table):
    """One model over several hosts, of which the first one leads and answers. Times in seconds.

    `rank` says which of them this is, `port` is that of the rendezvous on the first one. Between
    hosts with RoCE or InfiniBand `hca` names the adapters, and `gid_index` the address of RoCE.
    """

    hosts: Annotated[
        list[Annotated[NodeHost, BeforeValidator(_as_host)]], Field(min_length=2, max_length=64)
    ]
    """All hosts in the order of their ranks, each an address or a table."""
    rank: Annotated[int, Field(ge=0)] | None = None
    """Which of them this host is; `up --node-rank N` says it, too."""
    interface: Interface | None = None
    """The interface of every host, where all call it the same."""
    port: Annotated[int, Field(ge=1, le=LAST_PORT)] = 20000
    """The port of the rendezvous on the first host."""
    dist_timeout: Annotated[int, Field(ge=10, le=86400)] = 300
    """How long a node waits for the others."""
    follower_timeout: Positive = Policy.follower_timeout
    """How long the first host may be silent until it counts as lost."""
    hca: list[Annotated[Text, Field(pattern=r"^[A-Za-z0-9_:]+$")]] = []
    """The InfiniBand or RoCE adapters that NCCL takes."""
    gid_index: Annotated[int, Field(ge=0, le=255)] | None = None
    """The address of RoCE that NCCL takes."""

    @property
    def names(self) -> list[str]:
        """How the hosts are called: by their addresses where nothing else is said."""
        return [host.name or host.address for host in self.hosts]


class Question(_Table):
    """One question of the smoke test, asked at temperature 0; `expect` is a regular expression, any
    case.
    """

    ask: Annotated[Text, Field(min_length=1)]
    """What it is asked."""
    expect: Annotated[Text, AfterValidator(_a_pattern)] = "."
    """What its answer must match."""


class Smoke(_Table):
    """What a server must answer before it is called ready."""

    enabled: bool = True
    """Whether it is asked at all."""
    within: Positive = 120.0
    """How long all answers may take, in seconds."""
    questions: list[Question] = [
        Question(ask="What is the capital of France? Answer with one word.", expect="paris"),
        Question(ask="What is 17 + 25? Answer with the number only.", expect="42"),
        Question(
            ask="Write the days of the week, in English, separated by commas.",
            expect="monday.*friday",
        ),
    ]
    """What it is asked."""


class Canary(_Table):
    """What a server is asked while it serves: one question every so many seconds, 0 for none;
    `asks` are kinds of them (`policy.CANARIES`), `act` is what is done where it answers wrongly.
    """

    every: Annotated[NotNegative, AfterValidator(_a_pace)] = 60.0
    """Seconds between two questions, 1 at least; 0 for none."""
    act: Literal["tell", "restart"] = "tell"
    """What a wrong answer brings: a word, or a restart."""
    asks: list[Literal["fact", "context", "tools", "reasoning"]] = list(CANARIES)  # type: ignore[arg-type]
    """The kinds of questions."""


class Flags(BaseModel):
    """The engine's own options by their canonical names.

    The ones that the launcher itself reads are typed, under names that do not depend on the engine
    (`by_role`).
    """

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)
    __pydantic_extra__: dict[str, FlagValue] = Field(init=False)

    model_path: Annotated[Text, Field(min_length=1)]
    """The checkpoint: a folder, or a hub id."""
    served_model_name: Text | None = None
    """What clients call the model; else its path."""
    host: Annotated[Text, AfterValidator(_a_host)] = "127.0.0.1"
    """The address that it listens on. Another than loopback wants a key."""
    port: Annotated[int, Field(ge=1, le=LAST_PORT)] | None = None
    """The port that it listens on; else the engine's own."""
    device: Text | None = None
    """The engine's own word for where it runs."""
    tp_size: Ranks = 1
    """How many GPUs share each layer."""
    pp_size: Ranks = 1
    """How many groups of GPUs share the layers."""
    dp_size: Ranks = 1
    """How many replicas it has, or how many parts of the attention."""
    enable_dp_attention: bool = False
    """Whether `dp-size` is that of the attention alone."""
    nnodes: Ranks = 1
    """How many hosts; `[nodes]` sets it."""


def by_role(flags: Mapping[str, object], engine: str) -> Mapping[str, object]:
    """Options as `Flags` has them: those that it types by its names for them."""
    roles = dialect(engine).roles
    return {roles.get(name, name): value for name, value in flags.items()}


class Profile(_Table):
    """A profile after its layers were put together."""

    description: Text = ""
    """One line for `glm5-serve profiles`."""
    unverified: Text | None = None  # why nobody knows that it works
    """Why nobody knows that it works."""
    extends: Text | None = None
    """The profile that it begins with: a name, or a path from this file's folder."""
    operating_point: Annotated[Text, AfterValidator(_a_point)] = "balanced"
    """What the rules choose for."""
    replicas: Annotated[int, Field(ge=1, le=64)] = 1  # servers of it on one host
    """How many servers of it run on one host."""
    gateway: Annotated[Text, Field(pattern=NAME)] | None = None  # that sends it requests
    """The name of the gateway that sends it requests."""
    engine: Engine = Engine()
    """Which engine, and where it is."""
    access: Access = Access()
    """Who may talk to it."""
    needs: Needs = Needs()
    """What it asks of the GPUs."""
    doctor: Doctor = Doctor()
    """Which checks may fail."""
    rules: Rules = Rules()
    """What may be chosen for it."""
    supervision: Supervision = Supervision()
    """How long what may take, in seconds."""
    smoke: Smoke = Smoke()
    """What it must answer before it is called ready."""
    canary: Canary = Canary()
    """What it is asked while it serves."""
    nodes: Nodes | None = None
    """The hosts of one model over several."""
    flags: Flags
    """The engine's own options, without their dashes; `false` leaves one out."""
    env: dict[VariableName, Annotated[Text, BeforeValidator(_whole_number_as_text)]] = {}
    """Variables of the server's environment; no secrets."""
    why: dict[str, Text] = {}
    """A reason for a flag or variable that is set here; `render --explain` shows it."""

    @property
    def gpus(self) -> int:
        """How many GPUs of this host the ranks take: one each, none with `device = "cpu"`.

        Data-parallel replicas have GPUs of their own unless it is only the attention that is
        replicated.
        """
        flags = self.flags
        if "cpu" in (self.engine.device, flags.device):
            return 0
        replicas = 1 if flags.enable_dp_attention else flags.dp_size
        return max(1, flags.tp_size * flags.pp_size * replicas // flags.nnodes)

    @property
    def behind(self) -> str:
        """The gateway that it is behind, "" for none; replicas are behind one in any case, and of
        several hosts the first alone, for the others answer nobody.
        """
        if self.nodes and self.nodes.rank:
            return ""
        return self.gateway or (DEFAULT if self.replicas > 1 else "")

    def policy(self) -> Policy:
        """The patience as the state machine takes it."""
        said = self.supervision.model_dump(exclude={"stall_timeouts"})
        stalls = StallTimeouts(**self.supervision.stall_timeouts.model_dump())
        leave = LEAVE_WITHIN if self.behind else Policy.leave_within
        made = Policy(**said, leave_within=leave, stall_timeouts=stalls, smoke=self.smoke.enabled)
        if self.nodes is None:
            return made
        # A node waits in the rendezvous for the others as long as the engine does.
        waits = max(stalls.distributed, self.nodes.dist_timeout + JOINED_WITHIN)
        return replace(
            made,
            stall_timeouts=replace(stalls, distributed=waits),
            follower_timeout=self.nodes.follower_timeout,
        )


def known_keys(location: tuple[str | int, ...]) -> list[str]:
    """The keys that may stand in the table that holds `location`."""
    model: Any = Profile
    for part in location[:-1]:
        field = model.model_fields.get(part)
        model = field.annotation if field else None
        model = next((one for one in get_args(model) if hasattr(one, "model_fields")), model)
        if model is None or not hasattr(model, "model_fields"):
            return []
    return list(model.model_fields)
