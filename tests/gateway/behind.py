"""Two replicas of the stand-in engine, and the real smg in front of them."""

from __future__ import annotations

import json
import subprocess
from typing import Any

from conftest import World, free_port, until

PIECES, PAUSE = 12, 0.05  # of a slow stream, and seconds between them


class Behind(World):
    """A world with two replicas of its profile, and a gateway."""

    def __post_init__(self) -> None:
        while (after := free_port()) != self.port + 1:  # the second replica's
            self.port = after
        super().__post_init__()
        self.gateway_port = free_port()
        self.faults()

    def faults(self, **faults: Any) -> None:
        super().faults(busy=True, slowly={"pieces": PIECES, "seconds": PAUSE}, **faults)

    def write_profile(self, text: str = "", **supervision: float) -> None:
        super().write_profile(text, **supervision)
        made = self.profile.read_text()
        self.profile.write_text(f"replicas = 2\n{made}")

    def gateway_up(self, *words: str) -> subprocess.CompletedProcess[str]:
        places = f"127.0.0.1:{self.gateway_port}", f"127.0.0.1:{free_port()}"
        listen = ("--listen", places[0], "--metrics-listen", places[1])
        return self.run("gateway", "up", "--detach", *listen, *words)

    def up(self, *words: str) -> None:
        done = self.run("up", "stub", "--detach", *words)
        assert done.returncode == 0, done.stderr

    def behind(self) -> dict[str, Any]:
        told = json.loads(self.run("gateway", "status", "--json").stdout)
        return {one["name"]: one for one in told["workers"]}

    def until_routed(self, *names: str) -> None:
        def routed() -> bool:
            told = self.behind()
            return {name for name in told if told[name]["gateway"] == "routed"} == {*names}

        until(routed, f"{names} get requests; now {self.behind()}")

    def warnings(self, name: str) -> str:
        lines = (self.state / name / "events.jsonl").read_text().splitlines()
        told = [event for event in map(json.loads, lines) if event["event"] == "warning"]
        return "\n".join(event["reason"] for event in told)
