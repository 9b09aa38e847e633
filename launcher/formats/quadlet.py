"""A container as a unit of podman (`.container`), which systemd runs. How such units are read:
`systemd.py`.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from launcher import printable
from launcher.errors import Exit, UserError
from launcher.formats.spec import KEY, RESTARTS, RUN, SHM_GIB, STACK, Mount, Spec
from launcher.formats.systemd import quoted, stated

START_MARGIN = 900  # seconds that pulling the image may take: tens of GB
# It leaves out all that follows an empty word, and writes a semicolon so that a command ends there.
LOST = frozenset({"", ";"})
STOP_MARGIN = 30  # seconds of systemd's beyond podman's


def write(spec: Spec) -> str:
    """A unit for /etc/containers/systemd. Raises UserError for words that quadlet loses."""
    if lost := LOST & {*spec.command}:
        what = f"an option has the value {min(lost)!r}, which quadlet (podman 5.4) does not pass on"
        fix = "leave the option out, or another --format"
        raise UserError(what, fix=fix, status=Exit.CONFIG)
    how = (
        f"put it into /etc/containers/systemd/{spec.name}.container (podman 5 or later), then",
        f"`systemctl daemon-reload` and `systemctl start {spec.name}`, which returns when it"
        f" {'serves' if spec.probes else 'runs'}",
    )
    head = [printable.line(f"# {line}") for line in (*spec.head, *spec.before, *how)]
    return "\n".join([*head, *_unit(spec), "", *_container(spec), "", *_service(spec)]) + "\n"


def _unit(spec: Spec) -> Iterator[str]:
    yield "[Unit]"
    yield f"Description={stated(spec.name)}"
    yield "Wants=network-online.target nvidia-persistenced.service"
    yield "After=network-online.target nvidia-persistenced.service nvidia-fabricmanager.service"
    yield "StartLimitIntervalSec=1h"
    yield f"StartLimitBurst={RESTARTS}"


def _container(spec: Spec) -> Iterator[str]:
    yield "[Container]"
    yield f"Image={spec.image}"
    yield f"ContainerName={spec.name}"
    yield "Network=host"
    yield from (f"AddDevice=nvidia.com/gpu={which}" for which in _gpus(spec))
    yield f"ShmSize={SHM_GIB}g"
    yield "Ulimit=memlock=-1:-1"
    yield f"Ulimit=stack={STACK}:{STACK}"
    if spec.rdma:
        yield f"AddDevice={spec.rdma}"
    yield from (f"AddCapability=CAP_{name}" for name in spec.capabilities)
    yield from (f"Volume={_mount(one)}" for one in (spec.model, *spec.mounts))
    if spec.key_file:
        yield f"Volume={_mount(Mount(spec.key_file, KEY))}"
    if spec.copies_key:
        yield f"Tmpfs={RUN}:mode=0700"
    yield from _health(spec)
    yield f"StopTimeout={spec.stop}"
    yield from (f"Environment={quoted(f'{name}={value}')}" for name, value in spec.env.items())
    if spec.entry:
        yield f"Entrypoint={spec.entry[0]}"
    yield f"Exec={_lines((*spec.entry[1:], *spec.command))}"


def _health(spec: Spec) -> Iterator[str]:
    if spec.probes:
        yield f"HealthCmd={shlex.join(spec.probes.command)}"
        yield "HealthInterval=15s"
        yield f"HealthTimeout={spec.probes.patience + 5}s"
        yield f"HealthStartPeriod={spec.start}s"
        yield "HealthOnFailure=none"
        yield "Notify=healthy"


def _service(spec: Spec) -> Iterator[str]:
    yield "[Service]"
    yield f"TimeoutStartSec={spec.start + START_MARGIN}"
    # quadlet hands StopTimeout= to podman alone: systemd would kill podman after 90 s
    yield f"TimeoutStopSec={spec.stop + STOP_MARGIN}"
    yield f"Restart={spec.restart}"
    yield from ("RestartSec=10",) if spec.restart != "no" else ()
    yield ""
    yield "[Install]"
    yield "WantedBy=multi-user.target"


def _gpus(spec: Spec) -> list[str]:
    return ["all"] if spec.every_gpu else [*map(str, range(spec.gpus))]


def _mount(mount: Mount) -> str:
    return f"{mount.source}:{mount.target}" + ("" if mount.is_writable else ":ro")


def _lines(words: tuple[str, ...]) -> str:
    lines: list[list[str]] = [[]]
    for word in words:
        if word.startswith("--") and lines[-1]:
            lines.append([])
        lines[-1].append(quoted(word))
    return " \\\n  ".join(" ".join(line) for line in lines)
