"""Records of `bench` on disk: lines of JSON, mode 0600, without keys and names; written as they
come, so that what was measured is kept whatever ends it.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Annotated, Self

from pydantic import Field, TypeAdapter, ValidationError

from launcher import printable
from launcher.bench.record import SCHEMA, Level, Line, Round, Run, Verdict
from launcher.errors import Exit, UserError
from launcher.files.placing import target
from launcher.files.reading import reason, whole
from launcher.redact.bundle import Scrubber

LARGEST = 64 << 20  # bytes of a record; one has some ten thousand
MOST = 1e15  # of whatever is counted or measured
LINES: TypeAdapter[Line] = TypeAdapter(Annotated[Line, Field(discriminator="line")])


@dataclass(frozen=True)
class Record:
    """A record that was read."""

    run: Run
    rounds: tuple[Round, ...]
    levels: tuple[Level, ...]
    verdict: Verdict | None  # None: it was killed before it said one

    def speeds(self, concurrency: int) -> list[float]:
        """Output tokens a second of each round."""
        return [one.output_tok_s for one in self.rounds if one.concurrency == concurrency]


class Created:
    """A new file, open; it goes again if nothing came into it. A disk that takes no more is told
    once.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.failed = ""
        self._wrote = False
        self._file = created(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._file)
        if not self._wrote:
            with contextlib.suppress(OSError):
                self.path.unlink()

    @property
    def is_whole(self) -> bool:
        """Whether all that was put down is there."""
        return self._wrote and not self.failed

    def write(self, data: bytes) -> None:
        """Put bytes down."""
        try:
            while data and not self.failed:
                data = data[os.write(self._file, data) :]
                self._wrote = True
        except OSError as error:
            how = "is not complete" if self._wrote else "could not be written"
            self.failed = f"{self.path} {how}: {reason(error)}"


class Saved(Created):
    """A record that is being written."""

    def __init__(self, path: Path, environ: Mapping[str, str]) -> None:
        super().__init__(path)
        self._scrubber = Scrubber(None, environ)

    def line(self, told: Line | object) -> None:
        """Put a line down; what is none is not kept."""
        if isinstance(told, Run | Round | Level | Verdict):
            text = self._scrubber.clean_json(json.dumps(asdict(told)))
            self.write(json.dumps(json.loads(text)).encode() + b"\n")


def place(said: str, profile: str, ending: str, *, only: bool = False) -> Path:
    """The file that is meant: in a folder one of its own. A name may end otherwise, but for an
    `only` one. Raises UserError.
    """
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    name = f"bench-{profile}-{stamp}.{ending}"
    return target(said, name, f".{ending}" if only else "").absolute()


def created(path: Path) -> int:
    """A descriptor of a new file, for its owner alone. Raises UserError."""
    try:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise UserError(f"{path} is there already", fix="name another file") from None
    except OSError as error:
        raise UserError(
            f"cannot write {path}: {reason(error)}", fix="name a file in a folder that is yours"
        ) from None


def record(path: Path) -> Record:
    """A record; without its last line where that was cut, as a full disk does. Raises UserError for
    what is none.
    """
    text = whole(str(path), LARGEST, "give a file that `glm5-serve bench --save` wrote")
    told = text.splitlines()
    if told and not text.endswith("\n") and not _is_whole(told[-1]):
        del told[-1]
    lines = [_line(path, number, one) for number, one in enumerate(told, 1) if one]
    runs = [one for one in lines if isinstance(one, Run)]
    if len(runs) != 1 or not isinstance(lines[0], Run):
        raise _no_record(path, "it does not begin with one run")
    verdicts = [one for one in lines if isinstance(one, Verdict)]
    return Record(
        runs[0],
        tuple(one for one in lines if isinstance(one, Round)),
        tuple(one for one in lines if isinstance(one, Level)),
        verdicts[-1] if verdicts else None,
    )


def _is_whole(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _line(path: Path, number: int, text: str) -> Line:
    try:
        made = LINES.validate_json(text)
        told = json.dumps(asdict(made), allow_nan=False)
    except (ValidationError, RecursionError, ValueError, OverflowError):
        raise _no_record(path, f"line {number} is no line of a record") from None
    if printable.line(text) != text:
        raise _no_record(path, f"line {number} has control characters")
    if any(not 0 <= figure <= MOST for figure in _figures(json.loads(told))):
        raise _no_record(path, f"line {number} has a figure that nothing was measured with")
    if made.schema != SCHEMA:
        raise _no_record(path, f"line {number} is of schema {made.schema}, this reads {SCHEMA}")
    return made


def _figures(data: object) -> Iterator[float]:
    """Every number in what JSON gives."""
    if isinstance(data, dict | list):
        for part in data.values() if isinstance(data, dict) else data:
            yield from _figures(part)
    elif isinstance(data, int | float):
        yield data


def _no_record(path: Path, why: str) -> UserError:
    fix = "give a file that `glm5-serve bench --save` wrote"
    return UserError(f"{path} is no record of a bench: {why}", fix=fix, status=Exit.USAGE)


def schema() -> str:
    """docs/bench.schema.json, of each line."""
    title = "A line of `glm5-serve bench --json` and of the file that `--save` writes"
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title}
    return json.dumps({**head, **LINES.json_schema(mode="serialization")}, indent=1) + "\n"
