"""The environment that the server would run with, and NCCL's own configuration files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from launcher.host.collectors.files import lines
from launcher.host.environment import tells
from launcher.host.facts import Environment, known

FILES = ("NCCL_GRAPH_FILE", "NCCL_TOPO_FILE", "NCCL_CONF_FILE")


def environment(root: Path, environ: Mapping[str, str], home: str) -> Environment:
    """The variables of `environ` that matter, and the files NCCL reads besides, in the order that
    counts.
    """
    variables = {name: value for name, value in sorted(environ.items()) if tells(name)}
    own = variables.get("NCCL_CONF_FILE") or f"{home}/.nccl.conf"
    conf = {
        path: settings for path in (own, "/etc/nccl.conf") if (settings := _settings(root, path))
    }
    missing = tuple(
        f"{name}={variables[name]}"
        for name in FILES
        if name in variables and not _there(variables[name])
    )
    return Environment(known(variables), known(conf), known(missing))


def _there(path: str) -> bool:
    try:
        return Path(path).is_file()
    except (OSError, ValueError):
        return False


def _settings(root: Path, path: str) -> dict[str, str]:
    """A configuration as NCCL reads it: NAME=VALUE to the end of the line, `#` in the first column
    (param.cc).
    """
    pairs = (
        line.partition("=") for line in lines(root, path.lstrip("/")) if not line.startswith("#")
    )
    return {name: value for name, equals, value in pairs if equals}
