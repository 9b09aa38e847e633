"""Options that say where something listens or is asked: what can be no port, host or HOST:PORT is
told before an engine reads it, whose own words come after minutes, in a log.

The address and port of the server itself are typed: `profile.Flags`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from launcher.address import LAST_PORT, is_host
from launcher.config.layers import Layer
from launcher.config.words import shown
from launcher.engines.dialect import Dialect

TYPED = ("host", "port")
HOSTS = ("master-addr", "data-parallel-address", "remote-instance-weight-loader-seed-instance-ip")
WITH_PORT = ("dist-init-addr", "nccl-init-addr")


def errors(
    flags: Mapping[str, object], origin: Mapping[str, Layer], engine: Dialect
) -> Iterator[str]:
    """What no engine can listen on, or ask, a line each. An option that is left out (false) has no
    value, and one that is no option of this engine is told elsewhere.
    """
    for name, value in flags.items():
        if value is False or name in TYPED:
            continue
        told = _of(name, engine)
        if told and not told[0](value):
            place = f"{origin[f'flags.{name}'].place}: " if f"flags.{name}" in origin else ""
            yield f"{place}flags.{name}: {told[1]}, not {shown(value)}"


def _of(name: str, engine: Dialect) -> tuple[Callable[[object], bool], str] | None:
    """Whether a value of that option can be right, and what is wanted; None where it is neither."""
    if name in HOSTS:
        return _is_host, "wanted the address or the name of a host: 10.0.0.1"
    if name in WITH_PORT:
        return _has_port, "wanted an address and a port: 10.0.0.1:20000"
    if name.endswith("-port") and _is_number(name, engine):
        return _is_port, f"wanted a port, 0 to {LAST_PORT}"
    return None


def _is_number(name: str, engine: Dialect) -> bool:
    releases = engine.options.accepted_by(f"--{name}")
    known = engine.options.release(releases[-1]).options[f"--{name}"] if releases else None
    return known is not None and known.type == "int"


def _is_port(value: object) -> bool:
    """A number, or one as text: on the command line the two are alike."""
    return not isinstance(value, bool) and _number(str(value)) is not None


def _number(text: str) -> int | None:
    """The port that a text names, if it is one."""
    is_one = text.isascii() and text.isdigit() and len(text) <= len(str(LAST_PORT))
    return int(text) if is_one and int(text) <= LAST_PORT else None


def _is_host(value: object) -> bool:
    return isinstance(value, str) and is_host(value)


def _has_port(value: object) -> bool:
    if not isinstance(value, str):
        return False
    host, _, port = value.removeprefix("tcp://").rpartition(":")
    return is_host(host) and bool(_number(port))
