"""What stands beside a server's command in a unit, a service of compose or a `docker run`, and
decides whether it starts, sees its GPUs, stops without loss and comes back.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from launcher.formats.nodes import Scalar, Table
from launcher.formats.yamltext import get, of, word

# Who is started by a unit.
ENGINE, SHELL, DOCKER, PODMAN, QUADLET = "engine", "shell", "docker", "podman", "quadlet"
OTHER = "other"  # a container that no unit starts, or a program that stays behind
_SHELLS = frozenset(("sh", "bash", "dash", "zsh", "ash"))
# They hand a program to the background, and may well be what `Type=forking` wants.
_BACKGROUND = frozenset(("tmux", "screen", "start-stop-daemon", "daemonize", "nohup", "setsid"))
_NOTIFIES = re.compile(r"systemd-notify|sd_?notify|&[ \t]*(?:$|['\";)]|wait\b)")
# A value that somebody fills in: a specifier, a variable, a template.
_OPEN = re.compile(r"%[A-Za-z]|\$|\{\{|<[A-Z_]+>")
_USERS = re.compile(r"systemctl[ \t]+--user|\.config/(?:systemd/user|containers/systemd)")
OF_COMPOSE = "restart stop_signal stop_grace_period shm_size ipc mem_limit cpus cpuset init".split()
OF_DOCKER = ("restart", "stop-signal", "stop-timeout", "shm-size", "ipc", "memory", "cpus",
    "cpuset-cpus")  # fmt: skip
_SHORT = {"m": "memory"}
OWN_SHM = "/dev/shm"


@dataclass(frozen=True)
class Directive:
    """One of them, and the section that it stands in."""

    section: str
    key: str
    value: str

    @property
    def is_open(self) -> bool:
        """Whether its value is filled in elsewhere."""
        return _OPEN.search(self.value.replace("%%", "")) is not None


@dataclass(frozen=True)
class Directives:
    """All of them in their order; `by` is who is started, `is_part` that a drop-in says it."""

    said: tuple[Directive, ...] = ()
    by: str = ""
    is_part: bool = False
    is_users: bool = False  # the unit of a user's own manager

    @property
    def is_unit(self) -> bool:
        """Whether they are of a unit of systemd."""
        return self.by in (ENGINE, SHELL, DOCKER, PODMAN, QUADLET, OTHER) and bool(self.said)

    def last(self, *keys: str) -> Directive | None:
        """What holds of a key that has one value; None where nothing, or nothing any more, is."""
        found = [one for one in self.said if one.key in keys]
        return found[-1] if found and found[-1].value else None

    def words(self, *keys: str) -> list[str]:
        """The words of a key that takes lists: lines add up, an empty one starts again."""
        made: list[str] = []
        for one in self.said:
            if one.key in keys:
                made = [*made, *one.value.split()] if one.value else []
        return made

    def has(self, *keys: str) -> bool:
        """Whether one of the keys is set to something."""
        return any(self.words(key) for key in keys)


def of_unit(text: str, said: Sequence[Directive], command: Sequence[str]) -> Directives:
    """Those of a unit that starts a command; () for that of a quadlet."""
    starts = [one.value for one in said if one.key == "ExecStart"]
    installed = next((one for one in reversed(said) if one.key == "WantedBy"), None)
    named = {one.key for one in said}
    is_default = installed is not None and installed.value.split() == ["default.target"]
    return Directives(
        tuple(made for one in said for made in _of_podman(one)),
        _starts(command) if command else QUADLET,
        "" in starts or not {"ExecStart", "Image"} & named,
        bool(_USERS.search(text)) or (is_default and not {"User", "DynamicUser", "Group"} & named),
    )


def _of_podman(one: Directive) -> Iterator[Directive]:
    """A line as it is, and what one of a quadlet says in podman's own words."""
    yield one
    if one.section != "Container":
        return
    if one.key == "Ulimit":
        limit, _, number = one.value.partition("=")
        yield Directive(one.section, f"--ulimit {limit}", number)
    elif one.key in ("Volume", "Tmpfs", "Mount") and OWN_SHM in one.value:
        yield Directive(one.section, "shm", OWN_SHM)
    elif one.key == "PodmanArgs":
        pairs = [word.lstrip("-").partition("=") for word in one.value.split() if "=" in word]
        yield from _of_options([(name, value) for name, _, value in pairs])


def _starts(command: Sequence[str]) -> str:
    names = [one.rpartition("/")[2] for one in command]
    if engine := next((one for one in names[:4] if one in (DOCKER, PODMAN)), ""):
        return engine
    if names[0] in _BACKGROUND:
        return OTHER
    if names[0] in _SHELLS:
        return OTHER if _NOTIFIES.search(" ".join(command)) else SHELL
    return ENGINE


def of_tables(tables: Sequence[Table]) -> Directives:
    """Those of a service of compose."""
    return Directives(tuple(_of_compose(tables)))


def _of_compose(tables: Sequence[Table]) -> Iterator[Directive]:
    for key in OF_COMPOSE:
        node = of(tables, key)
        if isinstance(node, Scalar) and not node.is_null:
            yield Directive("", key, word(node))
    limits = get(get(of(tables, "deploy"), "resources"), "limits")
    for key, name in (("memory", "mem_limit"), ("cpus", "cpus")):
        if isinstance(node := get(limits, key), Scalar):
            yield Directive("", name, word(node))
    ulimits = of(tables, "ulimits")
    for key in ("memlock", "nofile"):
        node = get(ulimits, key)
        node = node if isinstance(node, Scalar) else get(node, "hard")
        if isinstance(node, Scalar):
            yield Directive("", f"ulimits.{key}", word(node))
    if any(OWN_SHM in said for said in _mounted(tables)):
        yield Directive("", "shm", OWN_SHM)


def _mounted(tables: Sequence[Table]) -> Iterator[str]:
    for key in ("volumes", "tmpfs"):
        node = of(tables, key)
        for item in getattr(node, "items", [node] if isinstance(node, Scalar) else []):
            yield word(item) if isinstance(item, Scalar) else word(get(item, "target"))


def of_docker(options: Sequence[tuple[str, str]]) -> Directives:
    """Those of a `docker run`, by its options."""
    return Directives(tuple(_of_options(options)))


def _of_options(options: Sequence[tuple[str, str]]) -> Iterator[Directive]:
    for short, value in options:
        name = _SHORT.get(short, short)
        if name in OF_DOCKER:
            yield Directive("", f"--{name}", value)
        elif name == "ulimit":
            limit, _, number = value.partition("=")
            yield Directive("", f"--ulimit {limit}", number)
        elif name in ("v", "volume", "mount", "tmpfs") and OWN_SHM in value:
            yield Directive("", "shm", OWN_SHM)
