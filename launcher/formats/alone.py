"""A container with an engine alone in it: a plan's words and variables, in the engine's image."""

from __future__ import annotations

import re
from collections.abc import Iterator

from launcher.engines.engine import dialect, runtime
from launcher.engines.options import version
from launcher.formats import shell
from launcher.formats.spec import HUB, KEPT, KEY, Group, Mount, Probes, Spec, Wish, called
from launcher.plan.plan import Plan, for_node
from launcher.redact.keys import CHARACTERS

# Options that name a file or folder that is only read.
READ = re.compile(
    r"(.*-)?(model|model-path|tokenizer|tokenizer-path|template|config-path|graph-file)"
)


def spec(plan: Plan, wish: Wish) -> Spec:
    """The container of a plan that was resolved for the folder RUN.

    Raises UserError for what cannot be in one.
    """
    ready, start = _ready(plan), round(plan.policy.start_timeout)
    entry, command = _command(plan)
    mounts = tuple(beside(plan))
    return Spec(
        name=called(plan.name),
        head=(*head(plan, wish), *_of_health(plan, ready)),
        image=wish.image,
        entry=entry,
        command=command,
        env=plan.env,
        model=_model(plan, wish),
        mounts=mounts,
        gpus=plan.gpus,
        every_gpu="CUDA_VISIBLE_DEVICES" in plan.env,
        product=plan.gpu,
        rdma=wish.rdma,
        claims=wish.claims,
        models=wish.models,
        key_file=plan.key_file,
        port=plan.port,
        # a follower's /health says 200 whatever happens
        probes=None
        if plan.follows
        else Probes(plan.host, plan.port, ready, "/health", ready, start),
        group=_group(plan),
        follows=plan.follows,
        start=start,
        drain=round(plan.policy.stop_timeout),
        # nothing else starts it again
        restart="always" if runtime(plan.engine).ends_well else "on-failure",
        capabilities=("IPC_LOCK",) if wish.rdma else (),
    )


def _group(plan: Plan) -> Group | None:
    if not plan.nodes:
        return None
    scale = dialect(plan.engine).scale
    interfaces = {node.interface for node in plan.nodes}
    return Group(
        size=len(plan.nodes),
        first=plan.nodes[0].address,
        port=plan.rendezvous,
        rank=f"--{scale.rank}",
        own_address=scale.own_address,
        follower=_command(for_node(plan, 1))[1],
        interface=interfaces.pop() if len(interfaces) == 1 else "",
    )


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
    in no argument, and in no variable that `inspect` or `describe` shows. Without one, or with
    more than one word, nothing starts: an empty key is none.
    """
    variable = dialect(plan.engine).key.variable
    if variable:
        given = f"{variable}=\"$(tr -d '[:space:]' < {KEY})\" && export {variable}"
    else:
        written = shell.written_key(KEY, plan.key_config or "", dialect(plan.engine).key.file)
        given = " ".join(written.split("\n  "))
    wrong = f"echo {KEY}: wanted the API key alone, one word >&2; exit 78"
    asked = f'case "$(set -f; echo $(cat {KEY}))" in ""|*[!={CHARACTERS}]*) {wrong};; esac'
    return f'{asked}; {given} && exec "$@"'


def _model(plan: Plan, wish: Wish) -> Mount:
    """Where the weights come from: their folder, or the hub's cache."""
    if plan.model.startswith("/"):
        return Mount(plan.model, plan.model)
    own = plan.env.get("HF_HUB_CACHE") or plan.env.get("HF_HOME")
    return Mount(own or wish.hub, own or HUB, is_writable=True)


def beside(plan: Plan) -> Iterator[Mount]:
    """What else it sees: compiled kernels, which are kept, and the files that options name."""
    for name, place in KEPT.items():
        yield Mount(f"{called(plan.name)}-{name}", place, is_writable=True)
    told = [path for name, path in _paths(plan) if READ.fullmatch(name) and path != plan.model]
    yield from (Mount(path, path) for path in dict.fromkeys(told))


def _paths(plan: Plan) -> Iterator[tuple[str, str]]:
    """The options that name a place of the host, and which."""
    for setting in plan.settings:
        own = setting.option and setting.value != plan.key_config
        if own and setting.value.startswith("/"):
            yield setting.option, setting.value


def head(plan: Plan, wish: Wish) -> Iterator[str]:
    """What whoever reads the file should know of the plan, a line each."""
    engine = dialect(plan.engine).name
    made = ", ".join(filter(None, (plan.arch, f"{engine} {plan.release}")))
    yield f"glm5-serve: profile {plan.name}, {made}"
    yield from (f"note: {note}" for note in (*plan.notes, *wish.notes))
    if plan.model and not plan.model.startswith("/"):
        what = f"{plan.model} is taken from the hub's cache, or downloaded into it"
        folder = f"--set flags.{dialect(plan.engine).option_of('model_path')}=/models/X"
        yield f"{what}: `glm5-serve fetch` first, or a folder ({folder})"
    for name, path in _paths(plan):
        if not READ.fullmatch(name):
            yield f"--{name} {path} is inside the container: give it a volume to keep it"


def _of_health(plan: Plan, ready: str) -> Iterator[str]:
    if plan.follows:
        yield f"it follows {plan.nodes[0].name}, which answers for all: nothing asks this one"
    elif ready == "/health":
        name = dialect(plan.engine).name
        yield f"{name} {plan.release} has no /ready: /health alone says whether it serves"
