"""A saved run as rows of `bench_points.toml`, for whoever adds it there. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from launcher.bench.beside import config
from launcher.bench.record import Level, Run

Value = str | int | float | bool


def rows_of(run: Run, levels: Sequence[Level]) -> list[Mapping[str, Value]]:
    """A row a concurrency; none of a run whose model, precision or GPU is not known."""
    if not (run.version and run.precision and run.gpu):
        return []
    return [_row(run, level) for level in levels]


def _row(run: Run, level: Level) -> Mapping[str, Value]:
    day = run.time[:10]
    told: dict[str, Value | None] = {
        "id": f"{run.plan[:8]}-{run.facts[:8]}-{run.scenario}-c{level.concurrency}",
        "model": run.version,
        "precision": run.precision,
        "checkpoint": run.model,
        "gpu": run.gpu,
        "gpus": run.gpus,
        "edition": run.edition,
        "engine": run.engine,
        "release": run.release or "unknown",
        "config": config(run),
        "generator": f"{run.generator}, by glm5-serve {run.glm5_serve} bench",
        "dataset": f"scenario {run.scenario}",
        "input": level.input_tokens,
        "output": level.output_tokens,
        "concurrency": level.concurrency,
        "output_tok_s": level.output_tok_s,
        "ttft_ms": level.ttft_ms.p50,
        "tpot_ms": level.tpot_ms.p50,
        "goodput_req_s": level.goodput_req_s,
        "accept_length": level.accept_length,
        "joules_per_token": level.joules_per_token,
        "judged": True,
        "evidence": "observed",
        "trust": "judged by bench",
        "date": day,
        "source": f"a record of glm5-serve bench, {day}",
    }
    return {name: value for name, value in told.items() if value is not None}


def text_of(rows: Sequence[Mapping[str, Value]]) -> str:
    """Rows as TOML."""
    return "\n".join(
        "[[point]]\n" + "".join(f"{name} = {json.dumps(value)}\n" for name, value in row.items())
        for row in rows
    )
