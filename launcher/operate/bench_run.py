"""One run of an engine's load generator: a child of ours, in the engine's environment, with a
deadline; nothing is left of it, however it or we end.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from launcher.engines.generator import Generator, Sample, Wanted
from launcher.engines.server import SAID, Server
from launcher.printable import logged
from launcher.serve.session import ProcessTree

GRACE = 5.0  # seconds from SIGTERM to SIGKILL: neither generator needs them
BEAT = 0.5  # seconds between looks
SETTINGS = 16 << 20  # bytes of a result beside its answers, at most
A_TOKEN = 256  # bytes of a token in it, at most: its text, escaped, and its time
KEPT = 8192  # bytes of its output: the end says why it failed


@dataclass(frozen=True)
class Ran:
    """What came of it: a sample, or why there is none; the seconds that it took by our clock."""

    sample: Sample | None
    why: str = ""
    took: float = 0.0


@contextlib.contextmanager
def files(wanted: Wanted) -> Iterator[Wanted]:
    """The same with files in a folder that nobody else may look into."""
    folder = Path(tempfile.mkdtemp(prefix="glm5-bench-"))
    try:
        yield replace(wanted, file=folder / "prompts.jsonl", result=folder / "result.json")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def run(
    generator: Generator,
    wanted: Wanted,
    environ: Mapping[str, str],
    server: Server,
    within: float,
    beat: Callable[[float], None],
) -> Ran:
    """Have it run once, for at most so many seconds; `beat` hears how long it has.

    Both its files, and their folder, are removed with its last process, also where this one is
    killed: SGLang writes the server's key into its result, which is read by a descriptor that was
    there before. Raises OSError where nothing can be started.
    """
    with files(wanted) as placed, contextlib.ExitStack() as undo:
        result = os.open(placed.result, os.O_RDONLY | os.O_CREAT | os.O_EXCL, 0o600)
        undo.callback(os.close, result)
        placed.file.touch(mode=0o600)
        placed.file.write_text(generator.prompts(placed))
        secret = {generator.variable: server.key} if server.key else {}
        began = time.monotonic()
        tree = ProcessTree(
            generator.argv(placed),
            {**environ, **secret},
            unwanted=[str(one) for one in (placed.file, placed.result, placed.file.parent)],
        )
        said, how = _watched(tree, within, beat)
        took = time.monotonic() - began
        most = SETTINGS + A_TOKEN * wanted.tokens * len(wanted.prompts)
        return replace(_read(generator, result, most, _end(said, server), how), took=took)


def _watched(tree: ProcessTree, within: float, beat: Callable[[float], None]) -> tuple[bytes, str]:
    """What it said last, KEPT bytes at most, and how it ended, in words."""
    began, said = time.monotonic(), b""
    late = ""
    try:
        while tree.listen():
            select.select([tree.control.fileno(), tree.output], [], [], BEAT)
            said = (said + b"".join(tree.pieces()))[-KEPT:]
            took = time.monotonic() - began
            beat(took)
            if took > within:
                late = late or f"it was not done within {within:.0f} s and was ended"
                tree.kill() if took > within + GRACE else tree.terminate()
    finally:
        tree.kill()
        while tree.listen():
            select.select([tree.control], [], [], 1.0)
            said = (said + b"".join(tree.pieces()))[-KEPT:]
        died = tree.close()
    return said, late or died.how


def _read(generator: Generator, result: int, most: int, last: str, how: str) -> Ran:
    """The sample in a result of so many bytes at most, whatever the exit status was."""
    if (size := os.fstat(result).st_size) > most:
        what = f"the result of {generator.name} has {size >> 20:,} MiB"
        return Ran(None, f"{what}: answers are longer than their tokens can be")
    with os.fdopen(os.dup(result), "rb") as file:
        text = file.read(most)
    if not text:
        return Ran(None, f"{generator.name} gave no result: {how}; it said last: {last}")
    try:
        return Ran(generator.read(text.decode(errors="replace")))
    except (ValueError, RecursionError):
        return Ran(
            None, f"the result of {generator.name} cannot be read: {how}; it said last: {last}"
        )


def _end(said: bytes, server: Server) -> str:
    """The last line that it printed. Where more was said than is kept, the first word of it may be
    half a key.
    """
    text = said.decode(errors="replace")
    if len(said) >= KEPT:
        text = text[len(text.split(None, 1)[0]) :] if text.strip() else ""
    lines = [logged(one).strip() for one in server.words(text, len(text)).splitlines()]
    return next((one for one in reversed(lines) if one), "nothing")[:SAID]
