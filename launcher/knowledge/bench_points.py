"""What others measured (`bench_points.toml`): one row a figure, with its source and what it is
worth.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from launcher.knowledge import gpus, models, rows

FILE = Path(__file__).with_name("bench_points.toml")
TEXTS = (
    "id model precision gpu engine release config generator evidence trust date source"
).split()
OPTIONAL = "checkpoint edition dataset note".split()
COUNTS = "concurrency input output context".split()
OTHERS = "gpus derived judged target accept_length_simulated".split()
# Tokens a second of the whole server, milliseconds and seconds, shares.
MEASURED = tuple(
    (
        "output_tok_s total_tok_s total_tok_s_per_gpu ttft_ms tpot_ms ttft_p50_ms ttft_median_ms"
        " itl_ms itl_median_ms ttft_8k_s ttft_32k_s ttft_128k_s prefill_tok_s prefill_32k_tok_s"
        " prefill_64k_tok_s interactivity_tok_s_user gpu_kv_hit accept_length acceptance"
        " kv_tokens_per_rank joules_per_token goodput_req_s"
    ).split()
)
KEYS = (*TEXTS, *OPTIONAL, *COUNTS, *OTHERS, *MEASURED)
# A load that stands where nothing reads it.
_LOAD = re.compile(r"\d (?:in|out)\b|-(?:input|output)-len\b")
# How `config` tells of speculation: in its own words, or in an engine's options.
_SPECULATES = re.compile(
    r"\bspec(?:ulative-algorithm|ulative-config|-method)? (?!none\b)", re.IGNORECASE
)
_DEPTHS = tuple(
    re.compile(text, re.IGNORECASE)
    for text in (
        r"speculative-num-steps (\d+)",
        r"num_speculative_tokens\"?: ?(\d+)",
        r"\bspec-tokens (\d+)",
        r"\bspec \w+ k(\d+)",
        r"\bspec [a-z]+ ?(\d+)",
    )
)


@dataclass(frozen=True)
class Point:
    """A figure that somebody measured; tokens of a request and of what came before it, None where
    the source does not say.
    """

    id: str
    model: str
    precision: str
    gpu: str  # of gpus.toml
    gpus: int
    engine: str
    release: str
    config: str
    generator: str
    trust: str
    date: str
    source: str
    measured: Mapping[str, float]
    derived: tuple[str, ...]
    judged: bool
    evidence: str
    checkpoint: str = ""
    edition: str = ""
    dataset: str = ""
    note: str = ""
    concurrency: int | None = None
    input: int | None = None
    output: int | None = None
    context: int | None = None
    accept_length_simulated: float | None = None
    is_target: bool = True  # false: a host that is known to be slow

    def is_of(self, checkpoint: str) -> bool:
        """Whether it may be a figure of the checkpoint of that name, as `models.checkpoint` has
        it: not where the row names another one, as one with fewer experts is.
        """
        named = models.is_id(self.checkpoint)
        return not named or models.checkpoint(self.checkpoint) == checkpoint


def drafts(config: str) -> int | None:
    """Tokens that are drafted a step, by options as a row has them: 0 where nothing speculates,
    None where how many is not told.
    """
    if not _SPECULATES.search(config):
        return 0
    found = next((one for depth in _DEPTHS if (one := depth.search(config))), None)
    return int(found[1]) if found else None


@cache
def table() -> rows.Table[Point]:
    """All rows, and what is wrong with those that are none."""
    return rows.read(FILE, "point", point, lambda one: [one.id])


def point(number: str | int, row: Mapping[str, Any]) -> Point:
    """A row. Raises one of `rows.BAD` for what is none."""
    rows.only(row, KEYS)
    gpu = rows.text("gpu", row["gpu"])
    if gpu not in gpus.products():
        raise ValueError(f"gpu: {gpu!r} is in no row of gpus.toml")
    if found := _LOAD.search(rows.text("generator", row["generator"])):
        raise ValueError(f"generator: {found[0]!r} is of a load: write input and output")
    simulated = row.get("accept_length_simulated")
    told: dict[str, Any] = {name: rows.text(name, row[name]) for name in TEXTS}
    told |= {name: rows.text(name, row.get(name, "")) for name in OPTIONAL}
    told |= {name: _count(name, row[name]) for name in COUNTS if name in row}
    return Point(
        **told,
        gpus=_count("gpus", row["gpus"]),
        measured={name: _number(name, row[name]) for name in MEASURED if name in row},
        derived=rows.texts("derived", row.get("derived", [])),
        judged=row["judged"] is True,
        is_target=row.get("target", True) is True,
        accept_length_simulated=None if simulated is None else _number("simulated", simulated),
    )


def _count(name: str, told: Any) -> int:
    if type(told) is not int or told < 0:
        raise TypeError(f"{name}: {told!r} is no number of things")
    return told


def _number(name: str, told: Any) -> float:
    if type(told) not in (int, float) or told < 0:
        raise TypeError(f"{name}: {told!r} is no figure")
    return float(told)
