"""What a container is made of, whatever form it is written in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from launcher.address import to_ask
from launcher.errors import Exit, UserError

RUN = "/run/glm5-serve"  # in memory, and the container's own: what is made of the key
KEY = "/run/secrets/glm5-serve/api-key"  # where the file with the key is shown
CACHE = "/root/.cache"
# Kernels that are compiled: a start without them compiles them again. Triton's are
# elsewhere but for newer releases of SGLang.
KEPT = {"cache": CACHE, "triton": "/root/.triton"}
HUB = f"{CACHE}/huggingface"
SHM_GIB = 32  # NCCL's and the engine's own; a container has 64 MiB by itself
STACK = 67108864  # bytes, as the engines' documentation has it
MARGIN = 60  # seconds that the end itself may take, after the drain
RESTARTS = 5
PROBE_TIMEOUT = 25  # seconds: SGLang's /health takes 1 s when idle, and waits behind a prefill
# What a path must not have to stand in `--mount`, `Volume=` and a volume of Kubernetes.
UNFIT = re.compile(r"[:,\"\\%$\x00-\x1f\x7f]")


@dataclass(frozen=True)
class Wish:
    """What an operator says beside the plan."""

    image: str
    hub: str = HUB  # the hub's cache on the host
    rdma: str = ""  # the device that is handed in, or what the cluster calls it; "": none
    claims: bool = False  # of a cluster: GPUs by a claim (DRA), and not by their count
    models: str = ""  # of a cluster: where the model's folder is; "": on its nodes, at its own path
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Mount:
    """A folder or a file of the host that the container sees, or a volume by its name."""

    source: str
    target: str
    is_writable: bool = False

    @property
    def is_volume(self) -> bool:
        """Whether it is a volume that the container's engine keeps."""
        return not self.source.startswith("/")


@dataclass(frozen=True)
class Probes:
    """Where a container is asked, and how long a start may take until it first answers, seconds."""

    host: str
    port: int
    ready: str  # the path that says whether it serves
    alive: str  # the one that says whether it still does anything
    begun: str  # the one that answers first
    within: int

    @property
    def patience(self) -> int:
        """Seconds that the answer of `ready` may take: an engine's /health generates."""
        return PROBE_TIMEOUT if self.ready == "/health" else 5

    @property
    def command(self) -> tuple[str, ...]:
        """What asks `ready` from inside."""
        host = to_ask(self.host)
        address = f"[{host}]" if ":" in host else host
        url = f"http://{address}:{self.port}{self.ready}"
        return "curl", "-fsS", "-m", str(self.patience), url


@dataclass(frozen=True)
class Group:
    """Containers on several nodes that serve one model; each has words of its own."""

    size: int
    first: str  # the address of the node that leads, as words have it
    port: int  # where they find each other, on that node
    rank: str  # the option that says which node one is
    own_address: str  # the variable with the address that a node tells the others
    follower: tuple[str, ...]  # the words of one that follows
    interface: str  # the same on all of them, "" where it differs or nobody said


@dataclass(frozen=True)
class Spec:
    """A container; times in seconds. Raises UserError where it is made with an unfit path."""

    name: str  # fit for a container, and for an object of Kubernetes
    head: tuple[str, ...]  # what who reads the file should know, a line each
    image: str
    entry: tuple[str, ...]  # in place of what the image starts by itself; (): that
    command: tuple[str, ...]
    env: Mapping[str, str]
    model: Mount  # where its weights come from
    mounts: tuple[Mount, ...]  # all else
    gpus: int  # none: it runs on the CPU
    every_gpu: bool  # a variable of the plan chooses among all of the host's
    product: str | None
    rdma: str
    claims: bool
    models: str
    key_file: str | None
    port: int  # of the server
    probes: Probes | None  # None: no answer of it tells anything, as it follows another node
    start: int
    drain: int
    restart: str  # on-failure, always or no
    capabilities: tuple[str, ...] = ()  # beside those that containers have
    own_init: bool = False  # its first process reaps and hands signals on by itself
    group: Group | None = None  # of one model over several nodes
    follows: bool = False  # another node of these leads

    def __post_init__(self) -> None:
        for mount in (self.model, *self.mounts):
            require_fit(mount.source)
        require_fit(self.key_file or "")

    @property
    def copies_key(self) -> bool:
        """Whether what it starts makes something of the key, which memory alone is to hold."""
        return bool(self.key_file) and not self.own_init

    @property
    def before(self) -> tuple[str, ...]:
        """What a host has to have before the first start, a line each."""
        if not self.model.is_writable:
            return ()
        return (f"before the first start: mkdir -p {self.model.source}",)

    @property
    def stop(self) -> int:
        """How long a stop may take before it is killed."""
        return self.drain + MARGIN


def called(name: str) -> str:
    """A profile's name as one of a container and of Kubernetes' objects (RFC 1123)."""
    return re.sub(r"[^a-z0-9]+", "-", f"glm5-{name.lower()}").strip("-")[:50].rstrip("-")


def require_fit(path: str) -> None:
    """Raise UserError for a path that some form would read as another."""
    if UNFIT.search(path):
        what = f"{path!r} cannot be shown to a container: it has a colon, a comma, a quote, $ or %"
        raise UserError(what, fix="give it another path", status=Exit.CONFIG)
