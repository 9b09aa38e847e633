"""A plan as text for a shell. How somebody's shell is read: `formats/bash.py`."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from launcher import printable
from launcher.engines.engine import dialect
from launcher.plan.plan import Plan


def write(plan: Plan) -> str:
    """The plan as text to paste into a shell: the same bytes reach the same program as under
    `up`.
    """
    head = [
        f"# glm5-serve: profile {plan.name}",
        plan.arch,
        f"{dialect(plan.engine).name} {plan.release}" if plan.release else None,
    ]
    lines = [printable.line(", ".join(part for part in head if part))]
    # a second line would be a command
    lines += [printable.line(f"# note: {note}") for note in plan.notes]
    if script := key_script(plan):
        lines.append(script)
    folder, env = plan.python.rpartition("/")[0], dict(plan.env)
    words = [f'PATH={shlex.quote(folder)}:"$PATH"'] if folder and "PATH" not in env else []
    if folder and "PATH" in env:
        env["PATH"] = f"{folder}:{env['PATH']}"
    words += [f"{name}={shlex.quote(value)}" for name, value in env.items()]
    if plan.key_file and (variable := dialect(plan.engine).key.variable):
        words.append(f"{variable}=\"$(tr -d '[:space:]' < {shlex.quote(plan.key_file)})\"")
    words.append(shlex.join(plan.program))
    words.extend(_options(plan.arguments))
    return "\n".join([*lines, " \\\n  ".join(words)]) + "\n"


def key_script(plan: Plan) -> str:
    """What puts the API key where the engine reads it; "" without one."""
    if not plan.key_config:
        return ""
    return written_key(plan.key_file or "", plan.key_config, dialect(plan.engine).key.file)


def written_key(key_file: str, file: str, form: str) -> str:
    """What writes the key of one file into another, in a form with %s for it."""
    # The braces keep the umask of the shell it is pasted into.
    folder, key, made = map(shlex.quote, (file.rpartition("/")[0], key_file, file))
    printed = shlex.quote(form.replace("\n", "\\n"))
    return (
        f"(umask 077 && mkdir -p {folder} &&\n"
        f"  printf {printed} \"$(tr -d '[:space:]' < {key})\" > {made})"
    )


def _options(arguments: Sequence[str]) -> list[str]:
    lines: list[list[str]] = []
    for word in arguments:
        if word.startswith("--") or not lines:
            lines.append([])
        lines[-1].append(shlex.quote(word))
    return [" ".join(line) for line in lines]
