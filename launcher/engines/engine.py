"""The engines that are known, by their names: a folder and a case in each `match` are one more."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from launcher.engines.log import Log

if TYPE_CHECKING:
    from launcher.engines.dialect import Dialect
    from launcher.engines.generator import Generator
    from launcher.engines.runtime import Runtime
    from launcher.engines.translation import Counterparts

NAMES = ("sglang", "vllm")  # who uses parts of another before it


def log(name: str) -> Log:
    """How an engine's log speaks. Raises ValueError for one that is not known."""
    match name:
        case "sglang":
            from launcher.engines.sglang.log import LOG

            return LOG
        case "vllm":
            from launcher.engines.vllm.log import LOG

            return LOG
    _unknown(name)


def failures(name: str) -> Path:
    """The table of what ends a server of an engine alone."""
    return Path(__file__).with_name(name) / "failures.toml"


def runtime(name: str) -> Runtime:
    """How an engine's server is watched. Raises ValueError for one that is not known."""
    match name:
        case "sglang":
            from launcher.engines.sglang.runtime import RUNTIME

            return RUNTIME
        case "vllm":
            from launcher.engines.vllm.runtime import RUNTIME

            return RUNTIME
    _unknown(name)


def dialect(name: str) -> Dialect:
    """How an engine is told what to do. Raises ValueError for one that is not known."""
    match name:
        case "sglang":
            from launcher.engines.sglang.dialect import DIALECT

            return DIALECT
        case "vllm":
            from launcher.engines.vllm.dialect import DIALECT

            return DIALECT
    _unknown(name)


def generator(name: str) -> Generator:
    """How an engine's own load generator is used. Raises ValueError for one that is not known."""
    match name:
        case "sglang":
            from launcher.engines.sglang.bench import GENERATOR

            return GENERATOR
        case "vllm":
            from launcher.engines.vllm.bench import GENERATOR

            return GENERATOR
    _unknown(name)


def counterparts(source: str, to: str) -> Counterparts:
    """What an engine's options are in another's words. Raises ValueError where nobody knows."""
    match source, to:
        case ("sglang", "vllm") | ("vllm", "sglang"):
            from launcher.engines.vllm.counterparts import counterparts

            return counterparts(source)
    _unknown(to)


def _unknown(name: str) -> NoReturn:
    raise ValueError(f"{name!r} is not an engine that is started here: {', '.join(NAMES)}")
