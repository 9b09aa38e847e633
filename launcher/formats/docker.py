"""A container as a script that runs it with Docker. How such commands are read: `container.py`."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from launcher import printable
from launcher.formats.spec import KEY, RESTARTS, RUN, SHM_GIB, STACK, Mount, Spec


def write(spec: Spec) -> str:
    """A script that starts the container, detached."""
    head = [printable.line(f"# {line}") for line in (*spec.head, *spec.before, *_how(spec))]
    words = [shlex.join(one) for one in (*_options(spec), (spec.image,), *_given(spec))]
    return "\n".join(["#!/bin/sh", *head, " \\\n  ".join(["docker run", *words])]) + "\n"


def _how(spec: Spec) -> Iterator[str]:
    yield f"stop: docker stop {spec.name} (drains); again: docker rm {spec.name}, then this"
    if spec.gpus:
        yield "podman: --device nvidia.com/gpu=all in place of --gpus"


def _options(spec: Spec) -> Iterator[tuple[str, ...]]:
    """Each option of `docker run` with its value."""
    yield ("--detach",)
    yield "--name", spec.name
    # a server that is PID 1 and still loads would not hear SIGTERM
    yield from () if spec.own_init else (("--init",),)
    yield "--restart", restart(spec)
    yield "--stop-timeout", str(spec.stop)
    yield "--network", "host"
    yield from (("--gpus", gpus(spec)),) if spec.gpus else ()
    yield "--shm-size", f"{SHM_GIB}g"
    yield "--ulimit", "memlock=-1"
    yield "--ulimit", f"stack={STACK}"
    if spec.rdma:
        yield "--device", spec.rdma
    yield from (("--cap-add", name) for name in spec.capabilities)
    yield from (("--mount", _mount(one)) for one in (spec.model, *spec.mounts))
    if spec.key_file:
        yield "--mount", _mount(Mount(spec.key_file, KEY))
    if spec.copies_key:
        yield "--tmpfs", f"{RUN}:mode=0700"
    yield from _health(spec)
    yield from (("--env", f"{name}={value}") for name, value in spec.env.items())
    if spec.entry:
        yield "--entrypoint", spec.entry[0]


def _health(spec: Spec) -> Iterator[tuple[str, str]]:
    if spec.probes:
        yield "--health-cmd", shlex.join(spec.probes.command)
        yield "--health-interval", "15s"
        yield "--health-timeout", f"{spec.probes.patience + 5}s"
        yield "--health-start-period", f"{spec.start}s"


def _given(spec: Spec) -> Iterator[tuple[str, ...]]:
    """What stands behind the image, an option and its value together."""
    line: list[str] = []
    for word in (*spec.entry[1:], *spec.command):
        if word.startswith("--") and line:
            yield tuple(line)
            line = []
        line.append(word)
    yield from (tuple(line),) if line else ()


def gpus(spec: Spec) -> str:
    """So many of the host's, or all, among which a variable chooses."""
    return "all" if spec.every_gpu else str(spec.gpus)


def restart(spec: Spec) -> str:
    """The policy; `always` would start it again at boot though somebody stopped it."""
    named = {"on-failure": f"on-failure:{RESTARTS}", "always": "unless-stopped"}
    return named.get(spec.restart, spec.restart)


def _mount(mount: Mount) -> str:
    kind = "volume" if mount.is_volume else "bind"
    made = f"type={kind},source={mount.source},target={mount.target}"
    return made if mount.is_writable else f"{made},readonly"
