"""The option that names a file with more options, which an engine looks for before its parser."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from launcher.engines.engine import NAMES, dialect
from launcher.engines.issues import Shows
from launcher.engines.options import Given, Release
from launcher.lint.concerns import Concern, Verdict
from launcher.plan.evidence import Known

# Both engines look for a word that is just `--config`, and take the one behind it: vLLM 0.16.0 and
# 0.32.0, SGLang 0.5.23.
SOURCE = "the engine's argparse_utils.py, or server_args_config_parser.py"
NO_YAML = re.compile(r"[\w./~+-]*(?<!\.yaml)(?<!\.yml)", re.IGNORECASE)


def of_file(given: Given, givens: Sequence[Given], within: Release) -> Iterator[Concern]:
    """What becomes of the file that it names, if it is that option."""
    [engine] = [dialect(name) for name in NAMES if dialect(name).options is within.catalogue]
    word = f"--{engine.config}"
    if given.name != word or not given.values:
        return
    if not _is_read(given, word):
        why = f"nobody reads the file: {engine.name} looks for {word} as a word of its own"
        yield _said(Verdict.INERT, why, f"{word} {given.values[0]}")
    elif sum(one.name == word and _is_read(one, word) for one in givens) > 1:
        yield _said(Verdict.BREAKS, f"more than one {word} is refused", "put them into one file")
    elif NO_YAML.fullmatch(given.values[0]):
        yield _said(Verdict.BREAKS, "a file that ends in neither .yaml nor .yml is refused", "")


def has_file(givens: Sequence[Given], engine: str) -> bool:
    """Whether the engine reads more options from a file, which nobody looks into here."""
    word = f"--{dialect(engine).config}"
    return any(one.name == word and _is_read(one, word) for one in givens)


def _is_read(given: Given, word: str) -> bool:
    return given.word == word and given.count > 1


def _said(verdict: Verdict, why: str, fix: str) -> Concern:
    return Concern(verdict, why, Known.READ, SOURCE, Shows.PARSE, fix or None)
