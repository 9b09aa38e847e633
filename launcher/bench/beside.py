"""A run beside what others got: which published figures are of the same thing, and what differs.
Pure.

Alike must be model, precision, GPU and how many, and the concurrency; all else is said beside the
figure. The first is the one whose load is most alike, of those the one that speculates alike, of
those the one with the least that differs, of those the newest. Only output tokens a second of the
whole server are compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from launcher.bench.record import Beside, Level, Run
from launcher.knowledge import gpus
from launcher.knowledge.bench_points import Point, drafts

FIGURE = "output_tok_s"
NEAR = 1.25  # by how much lengths may differ and be called alike
MOST = 2  # figures a concurrency


def beside(run: Run, levels: Sequence[Level], points: Sequence[Point]) -> tuple[Beside, ...]:
    """The figures of others that ours stand beside, the most alike first."""
    return tuple(one for level in levels for one in _of_level(run, level, points))


def _of_level(run: Run, level: Level, points: Sequence[Point]) -> list[Beside]:
    alike = [point for point in points if is_alike(run, point, level.concurrency)]
    alike.sort(key=lambda point: point.date, reverse=True)
    alike.sort(key=lambda point: _apart(run, level, point))
    return [_beside(run, level, point, differences(run, level, point)) for point in alike[:MOST]]


def _apart(run: Run, level: Level, point: Point) -> tuple[int, int, int]:
    """How far a figure is from ours: by its load, by its speculation, by all that differs."""
    return (
        _load_apart(level, point),
        _drafts_apart(_drafted(run, level), drafts(point.config)),
        len(differences(run, level, point)),
    )


def _load_apart(level: Level, point: Point) -> int:
    """How many lengths of a request are other ones, or are not told; decoding alone has none."""
    pairs = ((point.input, level.input_tokens), (point.output, level.output_tokens))
    return sum(theirs is None or not _is_near(theirs, ours) for theirs, ours in pairs)


def _is_near(theirs: int, ours: int) -> bool:
    return theirs / NEAR <= ours <= theirs * NEAR


def _drafts_apart(ours: int | None, theirs: int | None) -> int:
    """0: alike; 1: both draft, another number of tokens or one that is not told; 2: one does not
    draft.
    """
    if 0 in (ours, theirs):
        return 0 if ours == theirs else 2
    return 0 if ours == theirs and ours is not None else 1


def is_alike(run: Run, point: Point, concurrency: int) -> bool:
    """Whether a figure may stand beside the run's at that concurrency at all: it is of the same,
    and is one to reach.
    """
    same = (point.model, point.precision, point.gpu, point.gpus, point.concurrency)
    ours = (run.version, run.precision, run.gpu, run.gpus, concurrency)
    return point.is_target and same == ours and point.measured.get(FIGURE, 0) > 0


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
        note=point.note,
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
        *_of_drafts(_drafted(run, level), drafts(point.config)),
        *_of_load(level, point),
        *_of_figure(point),
    ]


def _of_server(run: Run, point: Point) -> Iterator[str]:
    if point.engine != run.engine:
        yield f"theirs is {point.engine}"
    if not point.is_of(run.model):
        yield f"their checkpoint: {point.checkpoint}"
    if point.edition and point.edition not in run.edition:
        yield f"their boards are {point.edition}"
    if (said := point.release) != run.release:
        yield f"release {said}"
    if point.config and point.config != config(run):
        yield f"their options: {point.config}"


def _drafted(run: Run, level: Level) -> int | None:
    """Tokens that ours drafts a step. An option that names a place is not in its record; that some
    were accepted is.
    """
    told = drafts(config(run))
    return None if told == 0 and level.accept_length else told


def _of_drafts(ours: int | None, theirs: int | None) -> Iterator[str]:
    if _drafts_apart(ours, theirs) == 2:
        yield (
            "theirs drafts no tokens, ours does" if ours != 0 else "theirs drafts tokens, ours none"
        )
    elif _drafts_apart(ours, theirs) == 1 and None not in (ours, theirs):
        yield f"theirs drafts {theirs} tokens a step, ours {ours}"


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
        if theirs is not None and not _is_near(theirs, ours):
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
