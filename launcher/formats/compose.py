"""A container as a file of compose. How such files are read: `tree.py`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from launcher.formats.docker import gpus, restart
from launcher.formats.spec import KEY, RUN, SHM_GIB, STACK, Mount, Probes, Spec
from launcher.formats.yamltext import document

SECRET = "api-key"


def write(spec: Spec) -> str:
    """One service, its volumes, and the file with its key."""
    made: dict[str, Any] = {"name": spec.name, "services": {"server": _service(spec)}}
    made["volumes"] = {one.source: {} for one in spec.mounts if one.is_volume}
    if spec.key_file:
        made["secrets"] = {SECRET: {"file": spec.key_file}}
    how = "start: docker compose up --detach --wait; stop: docker compose down (drains)"
    return document([*spec.head, *spec.before, how], made)


def _service(spec: Spec) -> dict[str, Any]:
    return dict(_keys(spec))


def _keys(spec: Spec) -> Iterator[tuple[str, Any]]:
    yield "image", spec.image
    yield "container_name", spec.name
    yield "init", not spec.own_init  # as with `docker run`
    yield "restart", restart(spec)
    yield "stop_grace_period", f"{spec.stop}s"
    yield "network_mode", "host"
    yield "shm_size", f"{SHM_GIB}g"
    yield "ulimits", {"memlock": -1, "stack": STACK}
    if spec.rdma:
        yield "devices", [spec.rdma]
    if spec.capabilities:
        yield "cap_add", [*spec.capabilities]
    if spec.gpus:
        yield "deploy", {"resources": {"reservations": {"devices": [_gpus(spec)]}}}
    yield "volumes", [_mount(one) for one in (spec.model, *spec.mounts)]
    if spec.key_file:
        yield "secrets", [{"source": SECRET, "target": KEY}]
    if spec.copies_key:
        yield "tmpfs", [f"{RUN}:mode=0700"]
    if spec.probes:
        yield "healthcheck", _healthcheck(spec.probes, spec.start)
    if spec.env:
        yield "environment", {name: _plain(value) for name, value in spec.env.items()}
    if spec.entry:
        yield "entrypoint", [*map(_plain, spec.entry)]
    yield "command", [*map(_plain, spec.command)]


def _plain(text: str) -> str:
    """A value in which compose puts nothing."""
    return text.replace("$", "$$")


def _gpus(spec: Spec) -> dict[str, Any]:
    count = gpus(spec)
    return {
        "driver": "nvidia",
        "count": int(count) if count.isdecimal() else count,
        "capabilities": ["gpu"],
    }


def _mount(mount: Mount) -> dict[str, Any]:
    made: dict[str, Any] = {"type": "volume" if mount.is_volume else "bind"}
    made |= {"source": mount.source, "target": mount.target}
    if not mount.is_writable:
        made["read_only"] = True
    if not mount.is_volume:
        made["bind"] = {"create_host_path": False}  # an empty folder is no model
    return made


def _healthcheck(probes: Probes, start: int) -> dict[str, Any]:
    """It says how the server is; compose restarts nothing for it."""
    return {
        "test": ["CMD", *probes.command],
        "interval": "15s",
        "timeout": f"{probes.patience + 5}s",
        "retries": 3,
        "start_period": f"{start}s",
    }
