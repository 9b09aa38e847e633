"""What the gateway is started with: pure.

The values were run with smg 1.13.0; its own defaults (every address, a health check a minute) do
not fit servers that are restarted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from launcher.gateway import DEFAULT, NAME
from launcher.gateway.manifest import FILE
from launcher.plan.plan import Plan, Setting
from launcher.plan.policy import Policy

READY, HEALTH = "/ready", "/health"  # what workers are asked by; vLLM has the second alone
PROGRAM = Path(__file__).with_name("program.py")
POLICY = Policy(
    start_timeout=60.0,
    stop_timeout=180.0,  # long answers are finished
    probe_interval=5.0,
    stall_timeout=15.0,
    smoke=False,
)


@dataclass(frozen=True)
class Options:
    """What an operator says of a gateway. `workers` are the URLs of those that are none of this
    host's instances.
    """

    name: str = DEFAULT
    host: str = "127.0.0.1"
    port: int = 8080
    metrics_host: str = "127.0.0.1"
    metrics_port: int = 29000
    health: str = ""  # "": by its workers
    workers: tuple[str, ...] = ()
    key_file: str | None = None
    open_without_key: bool = False

    @classmethod
    def of(cls, plan: Plan) -> Options:
        """The options that a gateway's plan was made of."""
        said: Mapping[str, Any] = plan.words["gateway"]
        return cls(**{**said, "workers": tuple(said["workers"])})


def plan(options: Options, folder: Path, python: str, release: str | None) -> Plan:
    """The plan of a gateway whose instance keeps its files in `folder`."""
    told = tuple(_settings(options, folder))
    guarded = ("--key-file", options.key_file) if options.key_file else ()
    return Plan(
        name=options.name,
        program=(python, "-P", str(PROGRAM)),
        arguments=(*guarded, *(word for one in told for word in (one.name, one.value) if word)),
        env={"NO_COLOR": "1"},
        host=options.host,
        port=options.port,
        model="",
        model_name="that of its workers",
        policy=POLICY,
        settings=told,
        words={"profile": options.name, "gateway": asdict(options)},
        key_file=options.key_file,
        open_without_key=options.open_without_key,
        state=str(folder),
        engine=NAME,
        release=release,
    )


def _settings(options: Options, folder: Path) -> Iterator[Setting]:
    """Each option of smg's that is given, and why."""
    mine, list_ = "glm5-serve", str(folder / FILE)
    for name, value, why in (
        ("host", options.host, "smg's own default is every address"),
        ("port", str(options.port), "where clients ask"),
        ("prometheus-host", options.metrics_host, "smg's own default is every address"),
        ("prometheus-port", str(options.metrics_port), "its metrics"),
        ("discovery-provider", "file", "workers come and go while it serves"),
        ("discovery-file", list_, "written by this gateway's launcher alone"),
        ("discovery-check-interval-secs", "2", "it is reread at once where the kernel tells"),
        ("disable-tokenizer-autoload", "", "requests are passed on as they are"),
        ("health-check-endpoint", options.health, "/ready says 503 as soon as a server drains"),
        ("health-check-interval-secs", "2", "smg's own 60 s feed a dead server for minutes"),
        ("health-check-timeout-secs", "5", "/health of some takes a second"),
        ("health-failure-threshold", "2", "one slow answer is no fault"),
        ("health-success-threshold", "1", "a server that is back is used at once"),
        ("worker-startup-check-interval", "1", "a server is listed when it is ready"),
        ("shutdown-grace-period-secs", f"{POLICY.stop_timeout:g}", "as long as the launcher waits"),
        ("log-level", "warn", "on `info` it writes a line a request"),
    ):
        yield Setting(f"--{name}", value, mine, why)
