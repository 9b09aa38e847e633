"""A supervised server that a fault is put into: the stand-in engine, or a real one."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil
import requests
from conftest import World, until, whole_lines
from kinds import KINDS

from launcher.engines.engine import runtime
from launcher.engines.server import Server

ENGINES = tuple(KINDS)
LONG = 180.0  # seconds before a test gives up; never a measurement


class Served(World):
    """A world whose profile, `stub`, runs one of the engines under a policy that does not wait
    long.
    """

    def __init__(self, folder: Path, engine: str) -> None:
        self.engine = engine
        self.kind = KINDS[engine]
        self.is_real = self.kind.is_real
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
            "probe_interval": 0.5 if self.is_real else 0.2,
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
        return f"""[engine]
kind = "{self.kind.kind}"
python = "{self.python}"
{self.kind.table}
[flags]
served-model-name = "tiny"
port = {self.port}
{self.kind.flags.replace("{folder}", str(self.folder))}"""

    def _env(self) -> str:
        env = {
            name: text.replace("{folder}", str(self.folder)) for name, text in self.kind.env.items()
        }
        return "\n".join(f'{name} = "{text}"' for name, text in env.items())

    def restore_python(self) -> None:
        """The engine's interpreter: a script, so that it can be taken away."""
        self.python.write_text(f'#!/bin/sh\nexec {self.kind.python} "$@"\n')
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
        """The engine's first process."""
        return psutil.Process(self.status()["pids"]["server"])

    def members(self, title: str) -> list[psutil.Process]:
        """Its processes of that title; the stand-in's ranks have theirs as a name."""
        found = [p for p in self.server().children(recursive=True) if title in self.title(p)]
        return sorted(found, key=self.title)

    def title(self, process: psutil.Process) -> str:
        try:
            first = "".join(process.cmdline()[:1])
            return first if self.kind.titles in first else process.name()
        except psutil.Error:
            return ""

    def rank(self) -> psutil.Process:
        """The last rank."""
        found = until(lambda: self.members(self.kind.rank), "it has ranks")
        return list[psutil.Process](found)[-1]

    def launcher(self) -> psutil.Process:
        return psutil.Process(self.peek()["pids"]["launcher"])

    def ask(self, tokens: int = 8, timeout: float = 60) -> int:
        """How many tokens come."""
        how = {"ignore_eos": True, "temperature": 0}
        if self.kind.kind == "vllm":
            path, body = "/v1/completions", {"prompt": "The", "max_tokens": tokens, **how}
        else:
            how["max_new_tokens"] = tokens
            path, body = "/generate", {"text": "The", "sampling_params": how}
        answer = requests.post(f"http://127.0.0.1:{self.port}{path}", json=body, timeout=timeout)
        answer.raise_for_status()
        told = answer.json()
        return int((told.get("usage") or told["meta_info"])["completion_tokens"])

    def tokens_of(self, seconds: float) -> int:
        """How many take it about so long, by how long a few take."""
        began, few = time.monotonic(), 100
        self.ask(few)
        return min(1900, max(few, int(few * seconds / (time.monotonic() - began))))

    def in_flight(self) -> int | None:
        """How many requests it says that it has."""
        return runtime(self.kind.kind).in_flight(Server("127.0.0.1", self.port))

    @contextlib.contextmanager
    def asked(
        self, tokens: int = 1900, timeout: float = 60, *, again: bool = False
    ) -> Iterator[Future[int]]:
        """With a request that takes it some seconds in flight; `again`: one after the other, until
        one fails, for a machine may be fast.
        """

        def ask() -> int:
            answered = self.ask(tokens, timeout)
            while again:  # no bound: until one fails
                answered = self.ask(tokens, timeout)
            return answered

        with ThreadPoolExecutor() as pool:
            answer = pool.submit(ask)
            until(self.in_flight, "it is asked")
            yield answer

    # What is done to it.

    def sabotage(self, on: str, who: str, do: str) -> None:
        """Break the process that logs a line, once."""
        self.since = len(self.told())
        fresh = self.sabotage_file.with_suffix(".new")
        fresh.write_text(json.dumps({"on": on, "who": who, "do": do}))
        fresh.replace(self.sabotage_file)

    def break_a_start(self, on: str, who: str, do: str) -> int:
        """Break the start that is under way, if it has not come too far yet, or else a new one; the
        number of the run that is struck.

        It strikes once, and only a start says such lines: one that became ready nevertheless had
        said it before, and then it is the next one that is struck. Neither need be the run that was
        seen first: on a busy host one may end before it gets there.
        """
        until(self._is_on_its_way, "it starts, or is ready", LONG)
        self.sabotage(on, who, do)
        until(lambda: self.has_struck() or self.peek()["state"] == "ready", "one of the two", LONG)
        if not self.has_struck():
            self.restart_by_death()
            until(self.has_struck, "the next start is struck", LONG)
        return self._run_at(self.struck_at())

    def _run_at(self, moment: float) -> int:
        """The run that started last before a moment; each launcher counts from 1."""
        starts = [event for event in self.told() if event.get("state") == "starting"]
        *_, last = (int(e["run"]) for e in starts if seconds_of(e["time"]) <= moment)
        return last

    def _is_on_its_way(self) -> bool:
        """Whether a run starts, or is ready, and no word was told of its end."""
        if self.status()["state"] in ("stopped", "failed", "dead"):
            self.ensure_ready()
        *_, last = (event for event in self.told() if event["event"] in ("state", "death"))
        return last.get("state") in ("starting", "ready")

    def has_struck(self) -> bool:
        """Whether the sabotage was taken by the process that it was for."""
        return not self.sabotage_file.exists()

    def struck_at(self) -> float:
        """When it last was, in seconds since the epoch: told by the file that was taken away."""
        return max(path.stat().st_ctime for path in self.folder.glob("sabotage.json.*"))

    def restart_by_death(self) -> None:
        """Have the launcher start it anew."""
        self.server().kill()

    # What became of it.

    def told(self) -> list[dict[str, Any]]:
        """Every event, oldest first."""
        path = self.instance / "events.jsonl"
        return [json.loads(line) for line in whole_lines(path)] if path.exists() else []

    def after(
        self, inject: Callable[[], object], goal: str = "ready", mend_when: str = ""
    ) -> Story:
        """Put a fault in and wait until it is in state `goal` after having been in another.

        `mend_when`: what tells that the fault was found; from then on the stand-in has it no more.
        """
        before, restarts, at = len(self.told()), self.peek()["restarts"], time.time()
        shared = self.shared()
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
        assert not [path for path in shared if path.exists()], "its shared memory is left behind"
        return story

    def shared(self) -> set[Path]:
        """The files of shared memory that its processes have mapped."""
        found: set[Path] = set()
        for process in self.processes():
            with contextlib.suppress(OSError):
                maps = Path(f"/proc/{process.pid}/maps").read_text().splitlines()
                found |= {
                    Path(line[line.index("/dev/shm/") :]) for line in maps if "/dev/shm/" in line
                }
        return {path for path in found if path.exists()}

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
        until(lambda: not self.orphans(), f"no orphans: {self.orphans()}")

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
