"""A bad row of a table costs itself and is told; the good ones stay."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from launcher.knowledge import rows


@dataclass(frozen=True)
class Row:
    key: str | int
    size: int
    names: tuple[str, ...]


def _made(key: str | int, row: Mapping[str, Any]) -> Row:
    rows.only(row, ("size", "names"))
    return Row(key, int(row["size"]), tuple(row.get("names", ())))


def _read(tmp_path: Path, text: str, table: str | None = None) -> rows.Table[Row]:
    (tmp_path / "things.toml").write_text(text)
    return rows.read(tmp_path / "things.toml", table, _made, lambda row: row.names)


@pytest.mark.parametrize(
    ("bad", "complaint"),
    [
        ("[bad]", "things.toml, bad: no size"),
        ("[bad]\nsize = 1\ncolour = 2", "things.toml, bad: colour: no such key"),
        ("[bad]\nsize = 'x'", "things.toml, bad: invalid literal for int() with base 10: 'x'"),
        ("[bad]\nsize = []", "things.toml, bad: int() argument must be"),
        ("[bad]\nsize = 1\nnames = ['n']", "things.toml, bad: n is in good, too"),
    ],
)
def test_a_bad_row_is_told_and_left_out(tmp_path: Path, bad: str, complaint: str) -> None:
    good = "[good]\nsize = 1\nnames = ['n']\n"
    told = _read(tmp_path, f"{good}{bad}\n[last]\nsize = 2\n")
    assert [row.key for row in told.rows] == ["good", "last"]
    assert len(told.complaints) == 1
    assert told.complaints[0].startswith(complaint)


def test_a_bad_row_takes_nothing_from_a_later_one(tmp_path: Path) -> None:
    told = _read(tmp_path, "[bad]\nnames = ['n']\n[good]\nsize = 1\nnames = ['n']\n")
    assert [row.key for row in told.rows] == ["good"]


def test_rows_of_an_array_have_numbers(tmp_path: Path) -> None:
    told = _read(tmp_path, "[[row]]\nsize = 1\n[[row]]\nsiez = 1\n", "row")
    assert told == rows.Table((Row(1, 1, ()),), ("things.toml, 2: siez: no such key",))


def test_what_is_no_table_is_told(tmp_path: Path) -> None:
    assert _read(tmp_path, "good = 1").complaints == ("things.toml, good: no table",)


def test_a_file_that_is_no_toml_has_no_rows(tmp_path: Path) -> None:
    told = _read(tmp_path, "[good\n")
    assert told.rows == ()
    assert told.complaints[0].startswith("things.toml: ")
