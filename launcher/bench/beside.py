"""A run beside what others got: which published figures are of the same thing, and what differs.
Pure.

Alike must be model, precision, GPU and how many, and the concurrency; all else is said beside the
figure. Only output tokens a second of the whole server are compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from launcher.bench.record import Beside, Level, Run
from launcher.knowledge import gpus
from launcher.knowledge.bench_points import Point

FIGURE = "output_tok_s"
NEAR = 1.25  # by how much lengths may differ and be called alike
MOST = 2  # figures a concurrency


def beside(run: Run, levels: Sequence[Level], points: Sequence[Point]) -> tuple[Beside, ...]:
    """The figures of others that ours stand beside, the most alike first."""
    return tuple(one for level in levels for one in _of_level(run, level, points))


def _of_level(run: Run, level: Level, points: Sequence[Point]) -> list[Beside]:
    alike = [point for point in points if is_alike(run, point, level.concurrency)]
    told = [(differences(run, level, point), point) for point in alike]
    told.sort(key=lambda one: len(one[0]))
    return [_beside(run, level, point, differs) for differs, point in told[:MOST]]


def is_alike(run: Run, point: Point, concurrency: int) -> bool:
    """Whether a figure may stand beside the run's at that concurrency at all."""
    same = (point.model, point.precision, point.gpu, point.gpus, point.concurrency)
    ours = (run.version, run.precision, run.gpu, run.gpus, concurrency)
    return same == ours and point.measured.get(FIGURE, 0) > 0


def _beside(run: Run, level: Level, point: Point, differs: Sequence[str]) -> Beside:
    theirs = point.measured[FIGURE]
    return Beside(
        concurrency=level.concurrency,
        ours=level.output_tok_s,
        theirs=theirs,
        share=round(level.output_tok_s / theirs, 4),
        point=point.id,
        what=f"{whose(run)}, {point.engine} {point.release}, {point.date}",
        differs=tuple(differs),
        source=point.source,
    )


def whose(run: Run) -> str:
    """The host and the model of a run: "8x RTX PRO 6000 Blackwell, GLM-5.2 NVFP4"."""
    product = gpus.products().get(run.gpu or "")
    card = product.name if product else "an unknown GPU"
    host = f"{run.gpus}x {card}" if run.gpus else "a CPU"
    return f"{host}, {run.version or run.model} {(run.precision or '').upper()}".rstrip()


def differences(run: Run, level: Level, point: Point) -> list[str]:
    """What is not alike between the run and a figure, a short text each."""
    return [
        *_of_server(run, point),
        *_of_load(level, point),
        *_of_figure(point),
    ]


def _of_server(run: Run, point: Point) -> Iterator[str]:
    if point.engine != run.engine:
        yield f"theirs is {point.engine}"
    if point.edition and point.edition not in run.edition:
        yield f"their boards are {point.edition}"
    if (said := point.release) != run.release:
        yield f"release {said}"
    if point.config and point.config != config(run):
        yield f"their options: {point.config}"


def config(run: Run) -> str:
    """A run's options as a figure's `config` has them."""
    return ", ".join(f"{name} {value}".rstrip() for name, value in run.options.items())


def _of_load(level: Level, point: Point) -> Iterator[str]:
    if point.context is not None and point.input is None:
        zero = "decoding alone, no serving" if point.context == 0 else "before the first token"
        yield f"at a context of {point.context:,}: {zero}"
    for name, theirs, ours in (
        ("input", point.input, level.input_tokens),
        ("output", point.output, level.output_tokens),
    ):
        if theirs is not None and not theirs / NEAR <= ours <= theirs * NEAR:
            yield f"{theirs:,} tokens of {name}, ours {ours:,}"
    if point.input is None and point.context is None:
        yield "their load is not told"
    if point.dataset == "random":
        yield "random text"


def _of_figure(point: Point) -> Iterator[str]:
    if point.accept_length_simulated is not None:
        yield f"accepted drafts pinned to {point.accept_length_simulated:g}: not what users get"
    if FIGURE in point.derived:
        yield "computed from their other figures"
    if not point.judged:
        yield "nobody judged their text"
