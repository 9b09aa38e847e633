"""What is shown, and records that are kept and read again."""

from __future__ import annotations

import io
import json
import re
import tempfile
from dataclasses import asdict, replace
from pathlib import Path

import jsonschema
import pytest
from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st
from rig.terminal import COLOUR, ENDLESS, WIDTHS, Stream, faults

from launcher.bench.compare import compared
from launcher.bench.figures import level_of
from launcher.bench.record import Beside, Level, Line, Objective, Round, Run, Times, Verdict
from launcher.errors import UserError
from launcher.operate import bench_compare, bench_files
from launcher.output import bench as screens
from launcher.output.bench_plot import figure, has_points, terminal

RUN = Run(
    time="2026-11-26T20:00:00.000Z",
    glm5_serve="0.1.0",
    profile="8xpro6000-glm52",
    engine="sglang",
    release="0.5.23",
    generator="sglang.benchmark.serving",
    model="glm-5.2-nvfp4",
    version="GLM-5.2",
    precision="nvfp4",
    gpu="rtx-pro-6000",
    gpus=8,
    edition="NVIDIA RTX PRO 6000 Blackwell Server Edition",
    driver="580.95.05",
    scenario="balanced",
    tokens=512,
    objective=Objective(2000, 50),
    options={"tp-size": "8"},
    facts="0" * 16,
    plan="1" * 16,
)


def level(concurrency: int, speed: float) -> Level:
    return Level(
        concurrency=concurrency,
        rounds=4,
        requests=32,
        input_tokens=2011,
        output_tokens=498,
        output_tok_s=speed,
        slowest=speed * 0.98,
        fastest=speed * 1.02,
        ttft_ms=Times(1234.5, 2345.6, 3456.7),
        tpot_ms=Times(12.34, 123.4, 1234.5),
        goodput_req_s=1.5,
        good=30,
        one_piece=0,
        counted=True,
        accept_length=2.81,
        cache_hits=0.42,
        joules_per_token=12.34,
    )


def rounds(concurrency: int, speeds: list[float]) -> list[Round]:
    return [
        Round(
            concurrency=concurrency,
            round=number,
            seconds=10.0,
            requests=8,
            input_tokens=16000,
            output_tokens=4000,
            output_tok_s=speed,
            ttft_ms=Times(1, 2, 3),
            tpot_ms=Times(1, 2, 3),
            goodput_req_s=0.8,
            good=8,
            one_piece=0,
            counted=True,
            accept_length=None,
            cache_hits=None,
            watts=None,
            joules_per_token=None,
            texts="2" * 16,
        )
        for number, speed in enumerate(speeds, 1)
    ]


VERDICT = Verdict(
    trusted=True,
    reasons=(),
    held="each answer is sound, tokens are as the server's own counters say",
    ended="complete",
    beside=(
        Beside(
            concurrency=1,
            ours=39.6,
            theirs=87.9,
            share=0.4505,
            point="lil-52-mtp0-c1",
            what="8x RTX PRO 6000 Blackwell, GLM-5.2 NVFP4, vllm fork v20",
            differs=("theirs is a fork", "at a context of 0"),
            source="rtx6kpro",
            note="other load on the host",
        ),
    ),
    remark="",
    causes=("GPUs 0, 1: 140 W of 600 W, though it is always busy",),
)


def record(speeds: list[float], at: int = 1, verdict: Verdict = VERDICT) -> list[Line]:
    """A run at one concurrency, with the figures of its rounds."""
    made = rounds(at, speeds)
    return [RUN, *made, level_of(made), verdict]


(ROUND,) = rounds(1, [40.0])
LINES: list[Line] = [
    RUN,
    *rounds(1, [39.5, 39.6, 39.7, 39.6]),
    level(1, 39.6),
    level(8, 1188.1),
    level(256, 4749.3),
    VERDICT,
]


def shown(lines: list[Line], *, as_json: bool = False) -> None:
    screen = screens.Screen(as_json=as_json)
    for line in lines:
        screen.show(line)
    screen.close()
    screen.report()


def test_a_table_with_all_its_columns_fits_80(capsys: pytest.CaptureFixture[str]) -> None:
    shown(LINES)
    out = capsys.readouterr().out.splitlines()
    head = next(number for number, line in enumerate(out) if line.startswith("at once"))

    assert all(len(line.rstrip()) <= 80 for line in out[head : head + 4]), out[head : head + 4]
    for word in ("accept", "hits", "J/tok", "1,188.1", "1,234/2,346/3,457", "94%"):
        assert any(word in line for line in out[head : head + 4]), word


def test_it_keeps_to_its_columns_and_loses_no_word(monkeypatch: pytest.MonkeyPatch) -> None:
    def on(columns: int, lines: list[Line]) -> str:
        stream = Stream(is_terminal=True)
        monkeypatch.setenv("COLUMNS", str(columns))
        monkeypatch.setattr("sys.stdout", stream)
        shown(lines)
        return COLOUR.sub("", stream.getvalue())

    one = [RUN, level(8, 1188.1), VERDICT]  # without a plot, whose marks depend on its width
    for columns in WIDTHS:
        assert not faults(on(ENDLESS, one), on(columns, one), columns)
        assert max(map(len, on(columns, LINES).splitlines())) <= columns


def test_the_verdict_stands_beside_others_and_tells_what_was_seen(
    capsys: pytest.CaptureFixture[str],
) -> None:
    shown(LINES)
    out = capsys.readouterr().out

    assert "trusted   each answer is sound" in out
    assert "45% of 87.9 tok/s, 1 at once: 8x RTX PRO 6000" in out
    assert "differs: theirs is a fork; at a context of 0 (lil-52-mtp0-c1: rtx6kpro)" in out
    assert "note: other load on the host" in " ".join(out.split())
    assert "seen      GPUs 0, 1: 140 W of 600 W" in out


def test_what_is_not_to_be_trusted_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    shown([RUN, replace(VERDICT, trusted=False, reasons=("1 of 8 answers are empty",))])
    out = capsys.readouterr().out

    assert "not to be trusted\n          1 of 8 answers are empty" in out
    assert "trusted   each" not in out


def test_json_is_a_line_each_by_the_published_schema(capsys: pytest.CaptureFixture[str]) -> None:
    shown(LINES, as_json=True)
    schema = json.loads((ROOT / "docs/bench.schema.json").read_text())
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    assert len(told) == len(LINES)
    for one in told:
        jsonschema.validate(one, schema)
        assert [*one][:2] == ["schema", "line"]


def test_the_published_schema_is_made_from_the_classes() -> None:
    assert (ROOT / "docs/bench.schema.json").read_text() == bench_files.schema()


def test_a_plot_wants_two_points_and_room() -> None:
    assert terminal([level(1, 10)], 80) == ""
    assert terminal([level(1, 10), level(8, 20)], 30) == ""
    assert "\x1b" not in terminal([level(1, 10), level(8, 20)], 80)
    assert all(len(line) <= 80 for line in terminal([level(1, 10), level(8, 20)], 80).split("\n"))


def test_no_axis_of_a_plot_goes_below_nothing() -> None:
    same = [level(at, 20.0) for at in (1, 8)]
    slower = [*same, replace(level(64, 900.0), tpot_ms=Times(0.2, 1, 1))]
    whole = [replace(one, tpot_ms=Times(None, None, None)) for one in same]

    for told in (same, slower):
        plot = terminal(told, 80)
        assert "0.0" in plot
        assert not re.search(r"-\d", plot), plot
    assert terminal(whole, 80) == ""
    assert not has_points(whole)


def test_the_name_of_a_point_stands_within_the_frame() -> None:
    pytest.importorskip("matplotlib")
    drawn = figure([level(2, 30.0)], "stub")
    drawn.savefig(io.BytesIO(), format="png")
    (axes,) = drawn.axes
    (name,) = axes.texts

    assert axes.bbox.x1 >= name.get_window_extent().x1


def test_answers_in_one_piece_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    whole = replace(level(1, 40), one_piece=30, good=0, tpot_ms=Times(None, None, None))
    shown([RUN, whole, VERDICT])
    told = " ".join(capsys.readouterr().out.split())

    assert "30 of 32 answers came in one piece" in told
    assert "-/-/-" in told
    shown(LINES)
    assert "in one piece" not in capsys.readouterr().out


@pytest.mark.parametrize("held", ["as its counters say", "by its usage alone"])
def test_what_is_trusted_says_what_was_held_against_what(
    capsys: pytest.CaptureFixture[str], held: str
) -> None:
    shown([RUN, level(1, 40), replace(VERDICT, held=held)])

    assert f"trusted   {held}" in capsys.readouterr().out


def kept(path: Path, lines: list[Line]) -> Path:
    with bench_files.Saved(path, {"USER": "somebody"}) as saved:
        for line in lines:
            saved.line(line)
    return path


def test_a_record_comes_back(tmp_path: Path) -> None:
    found = bench_files.record(kept(tmp_path / "r.jsonl", LINES))

    assert [found.run, *found.rounds, *found.levels, found.verdict] == LINES
    assert found.speeds(1) == [39.5, 39.6, 39.7, 39.6]


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[]", "null\n", '{"schema": 1, "line": "odd"}', json.dumps(asdict(VERDICT))],
)
def test_what_is_no_record_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text(text)

    with pytest.raises(UserError, match="is no record of a bench"):
        bench_files.record(path)


@pytest.mark.parametrize("odd", [-1, 10**30])
@pytest.mark.parametrize("of", range(len(LINES)))
def test_no_figure_is_less_than_nothing_or_beyond_all_measure(
    tmp_path: Path, of: int, odd: int
) -> None:
    path = tmp_path / "r.jsonl"
    lines = [json.loads(json.dumps(asdict(line))) for line in LINES]
    for name, value in lines[of].items():
        if isinstance(value, bool) or not isinstance(value, int | float) or name == "schema":
            continue
        told = [*lines[:of], lines[of] | {name: odd}, *lines[of + 1 :]]
        path.write_text("".join(f"{json.dumps(line)}\n" for line in told))
        with pytest.raises(UserError, match=f"line {of + 1}"):
            bench_files.record(path)


@given(data=st.binary(max_size=300))
def test_any_bytes_are_a_record_or_refused(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    path = tmp_path_factory.mktemp("any") / "r.jsonl"
    path.write_bytes(data)

    with pytest.raises(UserError):
        bench_files.record(path)


def test_records_are_compared_and_equal_ones_not_told_apart(tmp_path: Path) -> None:
    same, fast = record([40, 41, 40, 41]), record([50, 51, 50, 51])
    a, b, c = (
        kept(tmp_path / name, lines) for name, lines in (("a", same), ("b", same), ("c", fast))
    )

    assert [one.verdict for one in bench_compare.of_records(a, b)] == ["not told apart"]
    assert [one.verdict for one in bench_compare.of_records(a, c)] == ["better"]
    assert [one.verdict for one in bench_compare.of_records(c, a)] == ["worse"]


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ([RUN, level(1, 40), replace(VERDICT, trusted=False)], "is not to be trusted"),
        ([RUN, level(1, 40)], "it has no verdict"),
        ([replace(RUN, scenario="long"), *record([40.0])[1:]], "b of long"),
        (record([40.0], 64), "no concurrency in common"),
        (record([40.0], verdict=replace(VERDICT, reasons=("a slip",))), "says why it is not: a sl"),
        (
            [RUN, replace(ROUND, wrong=("2 answers are empty",)), level_of([ROUND]), VERDICT],
            "contradicts itself: it is trusted, and round 1 at concurrency 1 is not: 2 answers are",
        ),
        ([RUN, ROUND, replace(level_of([ROUND]), good=1), VERDICT], "not those of its rounds"),
        ([RUN, ROUND, VERDICT], "of another concurrency"),
        ([RUN, ROUND, level_of([ROUND]), level(8, 40), VERDICT], "of another concurrency"),
    ],
)
def test_what_cannot_be_compared_is_refused(tmp_path: Path, lines: list[Line], why: str) -> None:
    good = kept(tmp_path / "a", record([40.0] * 4))

    with pytest.raises(UserError, match=why):
        bench_compare.of_records(good, kept(tmp_path / "b", lines))


def test_a_comparison_is_shown_with_its_noise(capsys: pytest.CaptureFixture[str]) -> None:
    told = [compared(8, [40, 41, 40, 41], [50, 51, 50, 51], paired=False)]
    screens.compared(told, "a.jsonl", "b.jsonl", as_json=False, paired=False)
    out = capsys.readouterr().out

    for word in ("A  a.jsonl", "40.5 (2%)", "1.247 (", "B is better", "at most 5%"):
        assert word in out, (word, out)


def test_hosts_and_users_are_not_in_a_record(tmp_path: Path) -> None:
    odd = replace(RUN, options={"note": "node7.acme.example at 10.1.2.3 by somebody"})
    text = kept(tmp_path / "r.jsonl", [odd]).read_text()

    assert "10.1.2.3" not in text
    assert "somebody" not in text


COMPARABLE = record([39.5, 39.6, 39.7, 39.6])


def test_what_a_reader_must_know_of_a_record_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    busy = replace(RUN, notes=("1 request of others in flight when it began (--anyway)",))
    short = replace(VERDICT, ended="interrupted")
    a = kept(tmp_path / "a", [busy, *COMPARABLE[1:]])
    b = kept(tmp_path / "b", record([40.0] * 4, verdict=short))
    notes, told = bench_compare.notes(a, b), bench_compare.of_records(a, b)
    screens.compared(told, "a", "b", (), notes, as_json=False, paired=False)
    out = " ".join(capsys.readouterr().out.split())

    assert "note of A: 1 request of others in flight when it began (--anyway)" in out
    assert "note of B: it ended before its time: interrupted" in out
    assert bench_compare.notes(good := kept(tmp_path / "c", COMPARABLE), good) == ()
    assert bench_compare.notes(a, a) == (f"A and B: {busy.notes[0]}",)


def test_options_that_differ_are_named_and_a_plan_that_does_in_what_no_record_has(
    tmp_path: Path,
) -> None:
    """They are what one compares for."""

    def told(*runs: Run) -> tuple[str, ...]:
        folder = Path(tempfile.mkdtemp(dir=tmp_path))
        a, b = (kept(folder / str(at), [run, *COMPARABLE[1:]]) for at, run in enumerate(runs))
        return bench_compare.differences(a, b)

    few = replace(RUN, options=RUN.options | {"max-running-requests": "2", "x": ""}, plan="other")
    assert told(RUN, few) == (
        "--max-running-requests: not set in A, 2 in B",
        "--x: not set in A, set in B",
    )
    [unseen] = told(RUN, replace(RUN, plan="other"))
    assert unseen.startswith("variables, or options that name a place")
    assert told(RUN, RUN) == ()


def test_what_differs_between_two_records_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a = kept(tmp_path / "a.jsonl", COMPARABLE)
    b = kept(
        tmp_path / "b.jsonl",
        [replace(RUN, release="0.5.22", driver=None, tokens=1024), *COMPARABLE[1:]],
    )
    differs = bench_compare.differences(a, b)
    screens.compared(bench_compare.of_records(a, b), "a", "b", differs, as_json=False, paired=False)
    out = capsys.readouterr().out

    assert differs == (
        "release: 0.5.23 in A, 0.5.22 in B",
        "driver: 580.95.05 in A, unknown in B",
        "tokens: 512 in A, 1024 in B",
    )
    assert out.count("differs   ") == 3
    assert bench_compare.differences(a, a) == ()


@pytest.mark.parametrize("sign", ["\x1b[31m", "\x07", "\x9b2J", "\u202e"])
@pytest.mark.parametrize("is_escaped", [True, False])
def test_control_characters_of_a_record_reach_no_terminal(
    tmp_path: Path, sign: str, is_escaped: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    text = json.dumps(asdict(replace(RUN, release=f"0.5{sign}")), ensure_ascii=is_escaped)
    path = tmp_path / "r.jsonl"
    path.write_text("\n".join([text, *(json.dumps(asdict(line)) for line in COMPARABLE[1:])]))
    good = kept(tmp_path / "good.jsonl", COMPARABLE)
    try:
        differs = bench_compare.differences(good, path)
    except UserError:
        return
    told = bench_compare.of_records(good, path)
    screens.compared(told, "a", "b", differs, as_json=False, paired=False)

    assert differs, "it was read"
    assert sign[0] not in capsys.readouterr().out
