"""A host whose unit serves with the stand-in engine, however glm5-serve was installed there."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rig.systemd_host import SystemdHost

UNIT = "glm5-serve@stub.service"
STATE = "/var/lib/glm5-serve"
PORT = 31000
STUB = "/srv/stub"  # the stand-in engine, where the unit's user gets
START_WITHIN = 600  # seconds


def profile(python: str) -> str:
    """The stand-in engine's profile, for an interpreter of that host."""
    return f"""
[engine]
python = "{python}"
[flags]
model-path = "/srv/model"
served-model-name = "stub"
device = "cpu"
tp-size = 2
port = {PORT}
[supervision]
probe_interval = 0.2
backoff = 0.05
stall_timeout = 0.5
stop_timeout = 10
[env]
PYTHONPATH = "{STUB}"
STUB_FAULTS = "{STATE}/faults.json"
"""


class UnitHost(SystemdHost):
    """Such a host; the profile, `stub`, is for the interpreter `python`."""

    python = "/opt/glm5-serve/bin/python3"
    binds: Mapping[str, Path] = {STUB: Path(__file__).parent / "stub"}

    def lay(self) -> None:
        """The profile, and a model that it finds complete."""
        self.write("/etc/glm5-serve/profiles/stub.toml", profile(self.python))
        for name in ("config.json", "tokenizer.json"):
            self.write(f"/srv/model/{name}", "{}")
        self.run("sh", "-c", r"printf '\2\0\0\0\0\0\0\0{}' > /srv/model/model.safetensors")
        self.faults()

    def faults(self, **faults: object) -> None:
        """What the stand-in does wrong from now on."""
        self.write(f"{STATE}/faults.json", json.dumps(faults))

    def start(self) -> subprocess.CompletedProcess[str]:
        """Start the unit; whether it became ready is for the test to judge."""
        return self.run("systemctl", "start", UNIT, check=False, timeout=START_WITHIN)

    def state(self) -> dict[str, Any]:
        """What the launcher wrote down last."""
        return dict(json.loads(self.run("cat", f"{STATE}/stub/state.json").stdout))

    def exists(self, path: str) -> bool:
        """Whether there is something at a path."""
        return self.run("test", "-e", path, check=False).returncode == 0
