"""A supervised server that a fault is put into: the stand-in engine, or the real SGLang with one or
two ranks.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil
import requests
from conftest import ENGINE, RIG, World, until

ENGINES = ("stub", "real1", "real2")
LONG = 180.0  # seconds before a test gives up; never a measurement
PHASES = {  # a line of the log that opens each phase, and who says it
    "process": ("server_args=", "server"),
    "distributed": ("Init parallel begin", "rank"),
    "weights": ("Load weight begin", "rank"),
    "kv": ("KV Cache is allocated", "rank"),
    "warmup": ("Uvicorn running on", "server"),
}


class Served(World):
    """A world whose profile, `stub`, runs one of the engines under a policy that does not wait
    long.
    """

    def __init__(self, folder: Path, engine: str) -> None:
        self.engine = engine
        self.ranks = 1 if engine == "real1" else 2
        self.is_real = engine != "stub"
        self.sabotage_file = folder / "sabotage.json"
        self.python = folder / "python"
        self.since = 0  # how much had been told when it was last broken
        super().__init__(folder)
        self.restore_python()

    @property
    def patience(self) -> float:
        """Seconds that a phase may be quiet, here."""
        return 12.0 if self.is_real else 5.0

    def write_profile(self, text: str = "", **supervision: float) -> None:
        policy: dict[str, float] = {
            "probe_interval": 0.5 if self.is_real else 0.1,
            "failure_threshold": 2,
            "stall_timeout": 3 if self.is_real else 0.5,
            "restart_limit": 1000,
            "backoff": 0.2,
            "backoff_max": 0.5,
            "stop_timeout": 4,
            "start_timeout": 170,
        }
        policy |= {
            f"stall_timeouts.{phase}": self.patience
            for phase in ("distributed", "weights", "kv", "compile", "graphs", "warmup")
        }
        # imports take their time on a busy machine
        policy["stall_timeouts.process"] = 20 if self.is_real else 4
        if self.is_real and "[smoke]" not in text:
            text += (
                '\n[smoke]\nquestions = [{ ask = "What is the capital of France?", expect ='
                ' "paris" }]'
            )
        lines = "\n".join(f"{name} = {value}" for name, value in (policy | supervision).items())
        self.profile.write_text(
            f"{self._flags()}\n[supervision]\n{lines}\n[env]\n{self._env()}\n{text}\n"
        )

    def _flags(self) -> str:
        if not self.is_real:
            flags = f'model-path = "{self.folder}/model"\ntp-size = 2'
        else:
            flags = f"""model-path = "{ENGINE}/model"
dtype = "bfloat16"
attention-backend = "torch_native"
mem-fraction-static = 0.1
max-total-tokens = 8192
tp-size = {self.ranks}"""
        return f"""[engine]
python = "{self.python}"
[flags]
served-model-name = "tiny"
device = "cpu"
port = {self.port}
{flags}"""

    def _env(self) -> str:
        if not self.is_real:
            path, more = f"{RIG}/stub:{RIG}/sabotage", f'STUB_FAULTS = "{self.faults_file}"'
        else:
            path = f"{RIG}/sabotage"
            more = 'SGLANG_USE_CPU_ENGINE = "1"\nSGLANG_HEALTH_CHECK_TIMEOUT = "3"'
            more += '\nSGLANG_CPU_OMP_THREADS_BIND = "0|1"' if self.ranks == 2 else ""
        return f'PYTHONPATH = "{path}"\nSABOTAGE = "{self.sabotage_file}"\n{more}'

    def restore_python(self) -> None:
        """The engine's interpreter: a script, so that it can be taken away."""
        engine = (
            ENGINE / "engine/bin/python"
            if self.is_real
            else Path(shutil.which("python3") or "/usr/bin/python3")
        )
        self.python.write_text(f'#!/bin/sh\nexec {engine} "$@"\n')
        self.python.chmod(0o755)

    # What it is.

    def peek(self) -> dict[str, Any]:
        """What `status` would say of a living launcher, without a process for it."""
        return dict(json.loads((self.instance / "state.json").read_text()))

    def mend(self) -> None:
        """Without a fault in it."""
        self.faults()
        self.sabotage_file.unlink(missing_ok=True)
        self.restore_python()
        self.write_profile()

    def ensure_ready(self) -> None:
        """Up and ready, without a fault in it."""
        self.mend()
        on_its_way = ("starting", "backoff")
        if self.status()["state"] in on_its_way:
            until(
                lambda: self.peek()["state"] not in on_its_way,
                "the start that is under way ends",
                LONG,
            )
        if self.status()["state"] != "ready":
            self.run("down", "--now")
            up = self.run("up", "-p", "stub", "-d", timeout=LONG)
            assert up.returncode == 0, (
                up.stderr + (self.instance / "server.log").read_text()[-3000:]
            )

    def run(self, *words: str | Path, timeout: float = LONG, **environ: str) -> Any:
        return super().run(*words, timeout=timeout, **environ)

    def server(self) -> psutil.Process:
        """SGLang's first process."""
        return psutil.Process(self.status()["pids"]["server"])

    def members(self, title: str) -> list[psutil.Process]:
        """Its processes of that title; the stand-in's ranks have theirs as a name."""
        found = [p for p in self.server().children(recursive=True) if title in self.title(p)]
        return sorted(found, key=self.title)

    @staticmethod
    def title(process: psutil.Process) -> str:
        try:
            return (
                next(iter(process.cmdline()), "")
                if "sglang::" in "".join(process.cmdline()[:1])
                else process.name()
            )
        except psutil.Error:
            return ""

    def rank(self) -> psutil.Process:
        """The last rank."""
        return self.members("sglang::scheduler" if self.is_real else "sglang::TP")[-1]

    def launcher(self) -> psutil.Process:
        return psutil.Process(self.peek()["pids"]["launcher"])

    def ask(self, tokens: int = 8, timeout: float = 60) -> int:
        """How many tokens come."""
        body = {
            "text": "The",
            "sampling_params": {"max_new_tokens": tokens, "ignore_eos": True, "temperature": 0},
        }
        answer = requests.post(f"http://127.0.0.1:{self.port}/generate", json=body, timeout=timeout)
        answer.raise_for_status()
        return int(answer.json()["meta_info"]["completion_tokens"])

    # What is done to it.

    def sabotage(self, on: str, who: str, do: str) -> None:
        """Break the process that logs a line, once."""
        self.since = len(self.told())
        fresh = self.sabotage_file.with_suffix(".new")
        fresh.write_text(json.dumps({"on": on, "who": who, "do": do}))
        fresh.replace(self.sabotage_file)

    def break_a_start(self, on: str, who: str, do: str) -> int:
        """Break the start that is under way, if it has not come too far yet, or else a new one; the
        run's number.

        It strikes once, and only a start says such lines: one that became ready nevertheless had
        said it before, and then it is the next one that is struck.
        """
        run = int(until(self._last_start, "it starts, or is ready", LONG)["run"])
        self.sabotage(on, who, do)
        until(lambda: self.has_struck() or self._is_ready(run), "it is struck, or ready", LONG)
        if self.has_struck():
            return run
        self.restart_by_death()
        return run + 1

    def _last_start(self) -> dict[str, Any] | None:
        """What was told of the run that starts, or is ready; None after any word of its end."""
        if self.status()["state"] in ("stopped", "failed", "dead"):
            self.ensure_ready()
        *_, last = (event for event in self.told() if event["event"] in ("state", "death"))
        return last if last.get("state") in ("starting", "ready") else None

    def _is_ready(self, run: int) -> bool:
        seen = self.peek()
        return (seen["state"], seen["run"]) == ("ready", run)

    def has_struck(self) -> bool:
        """Whether the sabotage was taken by the process that it was for."""
        return not self.sabotage_file.exists()

    def restart_by_death(self) -> None:
        """Have the launcher start it anew."""
        self.server().kill()

    # What became of it.

    def told(self) -> list[dict[str, Any]]:
        """Every event, oldest first."""
        path = self.instance / "events.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def after(
        self, inject: Callable[[], object], goal: str = "ready", mend_when: str = ""
    ) -> Story:
        """Put a fault in and wait until it is in state `goal` after having been in another.

        `mend_when`: what tells that the fault was found; from then on the stand-in has it no more.
        """
        before, restarts, at = len(self.told()), self.peek()["restarts"], time.time()
        inject()
        if mend_when:
            until(
                lambda: mend_when in json.dumps(self.told()[before:]),
                f"it is told: {mend_when}",
                LONG,
            )
            self.faults()

        def over() -> Story | None:
            events = self.told()[before:]
            moves = [
                event for event in events if event["event"] == "state" and event.get("moved", True)
            ]
            there = [event for event in moves if event["state"] == goal]
            again = goal != "ready" or any(event["restarts"] > restarts for event in there)
            return Story(events, at) if there and again and moves[-1]["state"] == goal else None

        story = until(over, f"state {goal}; told since: {self.told()[before:]}", LONG)
        assert isinstance(story, Story)
        return story

    def until_told(self, enough: Callable[[list[dict[str, Any]]], bool], what: str) -> Story:
        """Wait until enough was told since the last sabotage; the story up to there."""
        until(lambda: enough(self.told()[self.since :]), what, LONG)
        events = self.told()[self.since :]
        return Story(next(events[:n] for n in range(len(events) + 1) if enough(events[:n])), 0.0)

    def unmoved(self, seconds: float) -> None:
        """Nothing happens to it for a while."""
        restarts, end = self.peek()["restarts"], time.monotonic() + seconds
        while time.monotonic() < end:
            seen = self.peek()
            assert (seen["state"], seen["restarts"]) == ("ready", restarts), seen["reason"]
            time.sleep(0.2)

    def sound(self) -> None:
        """The state file can be read, and no process lives that is not of the present run."""
        seen = self.status()
        if (self.instance / "state.json").exists():
            assert self.peek()["schema"] == 1
            assert seen["state"] in (
                "starting",
                "ready",
                "stopping",
                "backoff",
                "failed",
                "stopped",
                "dead",
            )
        else:
            assert seen["reason"] == "never started here", "the small disk that it lay on is gone"
        if seen["state"] == "ready":
            assert self.ask() >= 1
        until(lambda: not self.orphans(), f"no orphans: {self.orphans()}", 20)

    def orphans(self) -> list[psutil.Process]:
        """Processes of no run, or of one that is over; those that were started here to watch are
        none.

        The launcher is a subreaper: who got away from an earlier run is its child now.
        """
        launcher = self.status()["pids"].get("launcher")
        family = {launcher, *(started.pid for started in self.started)}
        with contextlib.suppress(psutil.NoSuchProcess):
            runs = (
                [p for p in psutil.Process(launcher).children() if p.name() == "glm5-reaper"]
                if launcher
                else []
            )
            for run in sorted(runs, key=psutil.Process.create_time)[-1:]:
                family |= {run.pid, *(process.pid for process in run.children(recursive=True))}
        return [process for process in self.processes() if process.pid not in family]


class Story:
    """What was told after a fault: how it was found, after how long, and what was done."""

    def __init__(self, events: list[dict[str, Any]], at: float) -> None:
        self.events = events
        first = next(
            event for event in events if event["event"] in ("state", "death", "smoke", "gpu")
        )
        self.seconds = max(0.0, seconds_of(first["time"]) - at)
        self.reasons = [event["reason"] for event in events if event["event"] == "state"]
        self.causes = [event["cause"] for event in events if event["event"] == "death"]

    @property
    def text(self) -> str:
        """All reasons and causes."""
        return " | ".join([*self.reasons, *self.causes])


def seconds_of(text: str) -> float:
    """The moment that an event tells, in seconds since the epoch."""
    return datetime.fromisoformat(text).timestamp()
