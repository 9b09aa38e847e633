"""Every row of the tables against every line in which a client's text stands: none is believed.

Random text (`test_witness.py`) finds one row in many runs; here each alternative of each row is
tried once, as short as it can be.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import islice

import pytest
from test_witness import ACCESS, LIFE, SGLANG, UNHEARD_OF, VLLM, fill, samples, shapes

from launcher.diagnose.diagnosis import diagnose
from launcher.engines.failures import failures

MOST = 60  # texts of one pattern
SAMPLE = {
    "CATEGORY_DIGIT": "7",
    "CATEGORY_SPACE": " ",
    "CATEGORY_WORD": "w",
    "CATEGORY_NOT_DIGIT": "d",
    "CATEGORY_NOT_SPACE": "s",
    "CATEGORY_NOT_WORD": ".",
}


def shortest(pattern: str) -> list[str]:
    """Texts that a pattern matches, as short as can be: one of each of its alternatives."""
    made = islice(_texts(re._parser.parse(pattern)), MOST)  # type: ignore[attr-defined]
    return [text for text in dict.fromkeys(made) if text and re.search(pattern, text)]


def _texts(parts: Iterable[tuple[object, object]]) -> Iterator[str]:
    """Of a sequence: the first text of each part, and each further one of one part."""
    each = [[*islice(_of(str(kind), value), MOST)] or [""] for kind, value in parts]
    yield "".join(texts[0] for texts in each)
    for at, texts in enumerate(each):
        for text in texts[1:]:
            yield "".join(
                [*(one[0] for one in each[:at]), text, *(one[0] for one in each[at + 1 :])]
            )


def _of(kind: str, value: object) -> Iterator[str]:
    match kind, value:
        case "LITERAL", int(code):
            yield chr(code)
        case "NOT_LITERAL", int(code):
            yield "x" if chr(code) != "x" else "y"
        case "ANY", _:
            yield " "  # where a word has to end
        case "IN", list(members):
            yield _member(members)
        case "CATEGORY", name:
            yield SAMPLE[str(name)]
        case "BRANCH", (_, list(branches)):
            for branch in branches:
                yield from _texts(branch)
        case "SUBPATTERN", (_, _, _, inner):
            yield from _texts(inner)
        case (("MAX_REPEAT" | "MIN_REPEAT"), (int(least), _, inner)):
            yield from () if least else ("",)
            yield from (text * max(least, 1) for text in _texts(inner))
        case _:  # a place, or what stands around it
            yield ""


def _member(members: list[tuple[object, object]]) -> str:
    """A character of a set."""
    if str(members[0][0]) == "NEGATE":
        refused = {chr(value) for kind, value in members[1:] if str(kind) == "LITERAL"}  # type: ignore[call-overload]
        return next(char for char in "x ~" if char not in refused)
    kind, value = members[0]
    return chr(value[0]) if str(kind) == "RANGE" else next(_of(str(kind), value))  # type: ignore[index]


TEXTS = sorted({text for pattern in shapes() for text in shortest(pattern)} | {*samples()})


def test_there_is_a_text_of_every_row_of_the_tables() -> None:
    without = {
        row.id
        for row in failures().values()
        if row.pattern and not any(map(row.pattern.search, shortest(row.pattern.pattern)))
    }
    assert without == set()


def believed(lines: list[str], kernel: list[str] | None = None) -> tuple[object, ...]:
    found = diagnose(lines, kernel)
    return found.cause, found.what, found.then, found.knob


@pytest.mark.parametrize("form", UNHEARD_OF)
def test_no_row_is_believed_in_a_line_that_nobody_listed(form: str) -> None:
    """Neither as the supervisor reads its server, nor in a file that may be of several."""
    for kernel in ([], None):
        without = believed(LIFE, kernel)
        wrong = {
            text: told
            for text in TEXTS
            if (told := believed([*LIFE, fill(form, lambda text=text: text, whole=False)], kernel))
            != without
        }
        assert wrong == {}


@pytest.mark.parametrize("form", [*ACCESS, *SGLANG, *VLLM])
def test_no_row_is_believed_in_a_line_about_a_request(form: str) -> None:
    lines = [fill(form, lambda text=text: text, whole=form in ACCESS) for text in TEXTS]

    for kernel in ([], None):
        assert believed([*LIFE, *lines, *LIFE[-2:]], kernel) == believed(LIFE, kernel)
