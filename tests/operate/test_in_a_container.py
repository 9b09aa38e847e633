"""`glm5-serve up` as the first process of a container: the Containerfile is built, and what `render`
writes is run.
"""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator

import pytest
import requests
from conftest import RIG, ROOT, World, until
from rig.containers import HOST_NETWORK, LIMITS, Podman, why_not

BASE, IMAGE = "localhost/base:1", "localhost/glm5-serve:1"
BUILD_WITHIN = 300  # seconds: pip installs glm5-serve into the image


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
    build = ("build", *HOST_NETWORK, *LIMITS, "--build-arg", f"BASE={BASE}", "-t", IMAGE)
    podman(*build, "-f", ROOT / "Containerfile", ROOT, timeout=BUILD_WITHIN)
    key = world.folder / "key"
    key.write_text("sk-of-a-test\n")
    key.chmod(0o600)
    words = f"render -p stub --format docker --supervised --image {IMAGE} --api-key-file {key}"
    written = world.run(*words.split())
    assert written.returncode == 0, written.stderr
    script = podman.script(written.stdout)
    script = script.replace("--detach", f"--detach --volume {RIG}:{RIG}:ro", 1)

    started = subprocess.run(
        ["sh", "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
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
