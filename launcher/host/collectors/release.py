"""The release of an engine alone, for who asks for nothing else: the supervisor, which is small."""

from __future__ import annotations

from collections.abc import Mapping

from launcher.files import programs
from launcher.host.collectors.child import ask


def release(
    package: str, python: str, env: Mapping[str, str], deadline: float = 20.0
) -> str | None:
    """The release of an engine's package that an interpreter has; None where there is none, or
    nobody can tell.
    """
    asked = "import importlib.metadata as m, sys; p = sys.argv[1]; print('release', m.version(p))"
    try:
        answer = ask([programs.find_python(python, env), "-c", asked, package], deadline, env)
    except (OSError, ValueError, programs.NoProgramError):
        return None
    told = [
        line.split()
        for line in answer.said.decode(errors="replace").splitlines()
        if line.startswith("release ")
    ]
    return told[-1][1] if told and len(told[-1]) == 2 else None
