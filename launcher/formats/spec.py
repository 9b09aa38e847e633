"""What a container of a plan's server is made of, whatever form it is written in."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from launcher.address import to_ask
from launcher.engines.engine import dialect, runtime
from launcher.engines.options import version
from launcher.errors import Exit, UserError
from launcher.formats import shell
from launcher.plan.plan import Plan

RUN = "/run/glm5-serve"  # in memory, and the container's own: what is made of the key
KEY = "/run/secrets/glm5-serve/api-key"  # where the file with the key is shown
CACHE = "/root/.cache"  # of kernels that are compiled: a start without it compiles them again
HUB = f"{CACHE}/huggingface"
SHM_GIB = 32  # NCCL's and the engine's own; a container has 64 MiB by itself
STACK = 67108864  # bytes, as the engines' documentation has it
MARGIN = 60  # seconds that the end itself may take, after the drain
RESTARTS = 5
PROBE_TIMEOUT = 25  # seconds: SGLang's /health takes 1 s when idle, and waits behind a prefill
# Options that name a file or folder that is only read.
READ = re.compile(
    r"(.*-)?(model|model-path|tokenizer|tokenizer-path|template|config-path|graph-file)"
)
# What a path must not have to stand in `--mount`, `Volume=` and a volume of Kubernetes.
UNFIT = re.compile(r"[:,\"\\%$\x00-\x1f\x7f]")


@dataclass(frozen=True)
class Wish:
    """What an operator says beside the plan."""

    image: str
    hub: str = HUB  # the hub's cache on the host
    rdma: str = ""  # the device that is handed in, or what the cluster calls it; "": none
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
class Spec:
    """A container; times in seconds."""

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
    models: str
    key_file: str | None
    host: str
    port: int
    ready: str  # the path of the address that says whether it serves
    alive: str  # and of the one that says whether it still does anything
    start: int
    drain: int
    restart: str  # on-failure, always or no

    @property
    def stop(self) -> int:
        """How long a stop may take before it is killed."""
        return self.drain + MARGIN

    @property
    def ready_timeout(self) -> int:
        """How long the answer of `ready` may take."""
        return PROBE_TIMEOUT if self.ready == self.alive else 5

    def url(self, path: str) -> str:
        """Where the container itself asks its server."""
        host = to_ask(self.host)
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}{path}"


def of_plan(plan: Plan, wish: Wish) -> Spec:
    """The container of a plan that was resolved for the folder RUN: the engine alone in it.

    Raises UserError for what cannot be in one.
    """
    ready = _ready(plan)
    entry, command = _command(plan)
    model, mounts = _model(plan, wish), tuple(_mounts(plan))
    for path in (model.source, *(mount.source for mount in mounts), plan.key_file or ""):
        _require_fit(path)
    return Spec(
        name=called(plan.name),
        head=tuple(_head(plan, wish, ready)),
        image=wish.image,
        entry=entry,
        command=command,
        env=plan.env,
        model=model,
        mounts=mounts,
        gpus=plan.gpus,
        every_gpu="CUDA_VISIBLE_DEVICES" in plan.env,
        product=plan.gpu,
        rdma=wish.rdma,
        models=wish.models,
        key_file=plan.key_file,
        host=plan.host,
        port=plan.port,
        ready=ready,
        alive="/health",
        start=round(plan.policy.start_timeout),
        drain=round(plan.policy.stop_timeout),
        # nothing else starts it again
        restart="always" if runtime(plan.engine).ends_well else "on-failure",
    )


def called(name: str) -> str:
    """A profile's name as one of a container and of Kubernetes' objects (RFC 1123)."""
    return re.sub(r"[^a-z0-9]+", "-", f"glm5-{name.lower()}").strip("-")[:50].rstrip("-")


def _ready(plan: Plan) -> str:
    since = runtime(plan.engine).ready_since
    has_one = since and version(plan.release or since) >= version(since)
    return "/ready" if has_one else "/health"


def _command(plan: Plan) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What is started in place of the image's own, and what it gets."""
    known = dialect(plan.engine)
    program = ("python3", *known.program)  # the image's, wherever the host's is
    if plan.key_file:
        return ("/bin/sh",), ("-c", _with_key(plan), "glm5-serve", *program, *plan.arguments)
    if known.images:
        return (), plan.arguments
    return (), (*program, *plan.arguments)


def _with_key(plan: Plan) -> str:
    """What hands the key over and becomes the server: the file is read inside, so that the key is
    in no argument, and in no variable that `inspect` or `describe` shows.
    """
    variable = dialect(plan.engine).key.variable
    if variable:
        given = f"{variable}=\"$(tr -d '[:space:]' < {KEY})\" && export {variable}"
    else:
        written = shell.written_key(KEY, plan.key_config or "", dialect(plan.engine).key.file)
        given = " ".join(written.split("\n  "))
    return f'test -s {KEY} && {given} && exec "$@"'


def _model(plan: Plan, wish: Wish) -> Mount:
    if plan.model.startswith("/"):
        return Mount(plan.model, plan.model)
    own = plan.env.get("HF_HUB_CACHE") or plan.env.get("HF_HOME")
    return Mount(own or wish.hub, own or HUB, is_writable=True)


def _mounts(plan: Plan) -> Iterator[Mount]:
    yield Mount(f"{called(plan.name)}-cache", CACHE, is_writable=True)
    told = [path for name, path in _paths(plan) if READ.fullmatch(name) and path != plan.model]
    yield from (Mount(path, path) for path in dict.fromkeys(told))


def _paths(plan: Plan) -> Iterator[tuple[str, str]]:
    """The options that name a place of the host, and which."""
    for setting in plan.settings:
        own = setting.option and setting.value != plan.key_config
        if own and setting.value.startswith("/"):
            yield setting.option, setting.value


def _head(plan: Plan, wish: Wish, ready: str) -> Iterator[str]:
    engine = dialect(plan.engine).name
    made = ", ".join(filter(None, (plan.arch, f"{engine} {plan.release}")))
    yield f"glm5-serve: profile {plan.name}, {made}"
    yield from (f"note: {note}" for note in (*plan.notes, *wish.notes))
    if ready == "/health":
        yield f"{engine} {plan.release} has no /ready: /health alone says whether it serves"
    if plan.model and not plan.model.startswith("/"):
        what = f"{plan.model} is taken from the hub's cache, and downloaded where it is not there"
        yield f"{what}: `glm5-serve fetch` first, or a folder (--set flags.model-path=/models/X)"
    for name, path in _paths(plan):
        if not READ.fullmatch(name):
            yield f"--{name} {path} is inside the container: give it a volume to keep it"


def _require_fit(path: str) -> None:
    if UNFIT.search(path):
        what = f"{path!r} cannot be shown to a container: it has a colon, a comma, a quote, $ or %"
        raise UserError(what, fix="give it another path", status=Exit.CONFIG)
