"""What `bench` tells, a line each: the run, its rounds, each concurrency, the verdict.

`--json` prints them and `--save` keeps them; docs/bench.schema.json is made from these classes.
Milliseconds and seconds, tokens a second, watts and joules; null is what nobody knows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

SCHEMA = 1


@dataclass(frozen=True)
class Times:
    """Milliseconds that a half, 95 and 99 of a hundred did not exceed."""

    p50: float | None
    p95: float | None
    p99: float | None


@dataclass(frozen=True)
class Objective:
    """What a good request keeps: milliseconds to the first token, and for each one after."""

    ttft_ms: float
    tpot_ms: float


@dataclass(frozen=True, kw_only=True)
class Run:
    """What is measured: no host, no user, no key and no path is named.

    `facts` and `plan` are digests: alike where the host's GPUs and the plan are.
    """

    schema: int = SCHEMA
    line: Literal["run"] = "run"
    time: str
    glm5_serve: str
    profile: str
    engine: str
    release: str | None
    generator: str
    model: str  # the checkpoint's own name
    version: str | None  # of GLM-5: GLM-5.2; None: it is none
    precision: str | None
    gpu: str | None  # of gpus.toml; None: unknown, or none
    gpus: int  # 0: it runs on the CPU
    edition: str  # of the boards, as the driver names them
    driver: str | None
    scenario: str
    tokens: int  # that an answer may have
    objective: Objective
    options: dict[str, str]
    facts: str
    plan: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Round:
    """One run of the load generator at one concurrency.

    `good` requests kept the objective; of answers in `one_piece` nobody knows the time of a token;
    `counted`: the server's own counters were read; `texts` is a digest of all answers; `wrong` says
    why its figures are worth nothing.
    """

    schema: int = SCHEMA
    line: Literal["round"] = "round"
    concurrency: int
    round: int
    seconds: float
    requests: int
    input_tokens: int
    output_tokens: int
    output_tok_s: float
    ttft_ms: Times
    tpot_ms: Times
    goodput_req_s: float
    good: int
    one_piece: int
    counted: bool
    accept_length: float | None
    cache_hits: float | None
    watts: float | None
    joules_per_token: float | None
    texts: str
    wrong: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Level:
    """All rounds at one concurrency: medians, and the slowest and the fastest round.

    Tokens are those of a request in the mean.
    """

    schema: int = SCHEMA
    line: Literal["level"] = "level"
    concurrency: int
    rounds: int
    requests: int
    input_tokens: int
    output_tokens: int
    output_tok_s: float
    slowest: float
    fastest: float
    ttft_ms: Times
    tpot_ms: Times
    goodput_req_s: float
    good: int
    one_piece: int
    counted: bool
    accept_length: float | None
    cache_hits: float | None
    joules_per_token: float | None


@dataclass(frozen=True)
class Beside:
    """A figure of others beside ours: `share` is ours by theirs, `differs` what is not alike."""

    concurrency: int
    ours: float
    theirs: float
    share: float
    point: str
    what: str
    differs: tuple[str, ...]
    source: str
    note: str = ""  # what a reader of the figure must know


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Whether the figures may be believed, and why not; how they are beside those of others, and
    what makes it slow by what was seen.

    `held` says what figures were held against. `ended` is complete, interrupted, or why nothing
    more was measured.
    """

    schema: int = SCHEMA
    line: Literal["verdict"] = "verdict"
    trusted: bool
    reasons: tuple[str, ...]
    held: str  # "": nothing is trusted
    ended: str
    beside: tuple[Beside, ...]
    remark: str  # why there is nothing beside it; ""
    causes: tuple[str, ...]


Line = Run | Round | Level | Verdict
