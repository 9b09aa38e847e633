"""`glm5-serve up` as the first process of a container: `make dist` builds it of the wheel, with no
network, and what `render` writes is run.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

import pytest
import requests
from conftest import RIG, ROOT, World, until
from rig.containers import Podman, why_not

from launcher import __version__

BASE, IMAGE = "localhost/base:1", "localhost/glm5-serve:1"
BUILD_WITHIN = 300  # seconds: wheels are downloaded once


@pytest.fixture
def podman() -> Iterator[Podman]:
    if reason := why_not():
        pytest.skip(reason)
    made = Podman()
    yield made
    made.close()


def said(url: str) -> str:
    with contextlib.suppress(requests.RequestException):
        return requests.get(url, timeout=60).text
    return ""


@pytest.mark.scale
@pytest.mark.timeout(2 * BUILD_WITHIN)
def test_what_is_rendered_runs_and_drains_and_keeps_the_key_inside(
    podman: Podman, world: World
) -> None:
    podman.base(BASE)
    make = (sys.executable, ROOT / "scripts/dist.py", "image")
    told = {"DIST": str(world.folder / "dist"), "BASE": BASE, "IMAGE": IMAGE}
    made = podman.run(*make, timeout=BUILD_WITHIN, **told)
    assert made.returncode == 0, made.stdout[-2000:] + made.stderr[-2000:]
    version = podman("run", "--rm", "--network=none", IMAGE, "--version").stdout
    assert version.startswith(f"glm5-serve, version {__version__}")
    key = world.folder / "key"
    key.write_text("sk-of-a-test\n")
    key.chmod(0o600)
    words = f"render -p stub --format docker --supervised --image {IMAGE} --api-key-file {key}"
    written = world.run(*words.split())
    assert written.returncode == 0, written.stderr
    script = podman.script(written.stdout)
    script = script.replace("--detach", f"--detach --volume {RIG}:{RIG}:ro", 1)

    started = podman.run("sh", "-c", script)
    assert started.returncode == 0, started.stderr
    health = f"http://127.0.0.1:{world.port + 1}"
    try:
        until(lambda: said(f"{health}/ready") == "ready\n", "the server is ready")
    except AssertionError as error:
        error.add_note(podman("logs", "glm5-stub").stderr)
        raise
    asked = requests.post(f"http://127.0.0.1:{world.port}/generate", json={}, timeout=60)
    assert asked.status_code == 401
    assert podman("top", "glm5-stub", "pid,args").stdout.count("\n1 ") == 1
    assert "sk-of-a-test" not in podman("inspect", "glm5-stub").stdout
    assert "sk-of-a-test" not in podman("top", "glm5-stub", "args").stdout

    podman("stop", "glm5-stub")
    assert "stop asked for by SIGTERM" in podman("logs", "glm5-stub").stderr
    state = podman("inspect", "--format", "{{.State.Status}} {{.State.ExitCode}}", "glm5-stub")
    assert state.stdout == "exited 0\n"
