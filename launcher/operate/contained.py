"""A plan in a form of `render`: for a container also its image, and what of the host it sees."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import astuple, dataclass, replace
from pathlib import Path

from launcher import __version__
from launcher.address import is_loopback
from launcher.config import layers
from launcher.config import nodes as several
from launcher.config.load import PlanRequest
from launcher.config.replicas import DEVICES
from launcher.config.target import TargetOptions, planned, recorded
from launcher.doctor.checks.access import exposed
from launcher.engines.engine import dialect
from launcher.errors import Exit, UserError
from launcher.formats import alone, supervised
from launcher.formats.pod import NODES_CACHE
from launcher.formats.spec import RUN, Spec, Wish
from launcher.formats.writers import CONTAINERS, WRITERS
from launcher.host.facts import Driver
from launcher.knowledge import drivers, images
from launcher.lint.notes import noted
from launcher.plan.plan import Plan
from launcher.redact.keys import read_key
from launcher.statedir.replica import split

ANYWHERE = "flags.host=0.0.0.0"
_IMAGE = re.compile(r"[A-Za-z0-9][\w.:/@-]{0,254}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_RESOURCE = re.compile(r"[a-z0-9.-]+/[A-Za-z0-9._-]+")  # Kubernetes': a domain, and a name
_DEVICE = re.compile(r"/dev/[\w./-]+")


@dataclass(frozen=True)
class Asked:
    """What was said of the container; None: nothing."""

    image: str | None = None
    digest: str | None = None
    cuda: int | None = None
    rdma: str | None = None
    models: str | None = None
    claims: bool = False  # GPUs by a claim of Kubernetes (DRA)
    supervised: bool = False  # `up` in it, and not the engine alone


@dataclass(frozen=True)
class Rendered:
    """A plan, and its text in the form that was asked for; "" as JSON."""

    plan: Plan
    text: str


def rendered(
    ask: PlanRequest, environ: Mapping[str, str], aim: TargetOptions, form: str, asked: Asked
) -> Rendered:
    """The plan of a profile, in one of the forms of `formats/writers.py`, or as JSON.

    Raises UserError for what cannot be had in that form.
    """
    _require(asked, form)
    if form not in CONTAINERS:
        plan = noted(planned(ask, environ, aim)[0])
        if form == "systemd":
            _require_own_gpus(plan)
            _require_guard(plan)
        return Rendered(plan, WRITERS[form](plan) if form in WRITERS else "")
    plan = noted(planned(ask, environ, aim, Path(RUN))[0])
    notes: tuple[str, ...] = ()
    if form != "kubernetes":
        _require_own_gpus(plan)
        _require_guard(plan)
    else:
        _require_one(plan)
        if here := [*_of_host(plan)]:
            notes = tuple(f"{what}: a pod is asked at its own address" for what, _ in here)
            settings = (*ask.settings, *(setting for _, setting in here))
            ask = replace(ask, settings=settings)
        plan = noted(planned(ask, environ, aim, Path(RUN))[0], form)
        _require_key(plan)
        plan = _without_hosts(plan)
    chosen = _image(plan, asked, aim)
    wish = Wish(
        image=chosen.image,
        hub=_hub(environ) if form != "kubernetes" else f"{NODES_CACHE}/huggingface",
        rdma=asked.rdma or "",
        models=asked.models or "",
        claims=asked.claims,
        notes=(*notes, *_of_gateway(plan), *_of_key(plan), *chosen.notes),
    )
    return Rendered(plan, CONTAINERS[form](_spec(plan, wish, asked)))


def _spec(plan: Plan, wish: Wish, asked: Asked) -> Spec:
    if asked.supervised:
        return supervised.spec(plan, wish, layers.PACKAGED)
    return alone.spec(plan, wish)


def _of_host(plan: Plan) -> Iterator[tuple[str, str]]:
    """What listens to this host alone, in words, and the setting that opens it."""
    if is_loopback(plan.host) or (plan.nodes and plan.host == plan.nodes[0].address):
        yield f"it listens to 0.0.0.0, not to {plan.host}", ANYWHERE
    host, _, port = plan.health_listen.rpartition(":")
    if port and is_loopback(host.strip("[]")):
        told = f"/ready and /live are at 0.0.0.0, not at {host}"
        yield told, f'access.health_listen="0.0.0.0:{port}"'


def _require(asked: Asked, form: str) -> None:
    """Raise UserError (usage) for what the form has no place for."""
    if form not in CONTAINERS and any(astuple(asked)):
        what = f"--format {form} is no container: --image and its kin say nothing there"
        raise UserError(what, fix=f"--format {', '.join(CONTAINERS)}", status=Exit.USAGE)
    if asked.models and form != "kubernetes":
        what = f"--models is of --format kubernetes: with {form} the model is where it is"
        raise UserError(
            what,
            fix="leave it out: a folder that the profile names is handed in",
            status=Exit.USAGE,
        )
    if asked.claims and form != "kubernetes":
        what = f"--dra is of --format kubernetes: with {form} the GPUs are this host's"
        raise UserError(what, fix="leave --dra out", status=Exit.USAGE)
    wanted = _RESOURCE if form == "kubernetes" else _DEVICE
    if asked.rdma and not wanted.fullmatch(asked.rdma):
        example = "rdma/hca_shared_devices_a" if form == "kubernetes" else "/dev/infiniband"
        what = f"--rdma {asked.rdma} is nothing that {form} hands in"
        raise UserError(what, fix=f"for example --rdma {example}", status=Exit.USAGE)
    for name, value, shape, fix in (
        ("--image", asked.image, _IMAGE, "as `docker pull` takes it: registry/name:tag"),
        ("--digest", asked.digest, _DIGEST, "sha256: and 64 hexadecimal digits"),
    ):
        if value is not None and not shape.fullmatch(value):
            raise UserError(f"{name} {value!r} is none", fix=fix, status=Exit.USAGE)


def _require_one(plan: Plan) -> None:
    if split(plan.name)[1]:
        what = f"{plan.name} is a replica, which shares a host with others: a cluster has its own"
        fix = f"-p {split(plan.name)[0]} --set replicas=1; `kubectl scale` makes more of it"
        raise UserError(what, fix=fix, status=Exit.USAGE)


def _require_own_gpus(plan: Plan) -> None:
    """Raise UserError for a replica whose GPUs nobody knows: all would have the host's first."""
    if split(plan.name)[1] and plan.gpus and DEVICES not in plan.env:
        what = f"which GPUs {plan.name} would have is unknown: the host's are not seen here"
        fix = f"name those of all replicas: `--set env.{DEVICES}=0,1,...`"
        raise UserError(what, fix=fix, status=Exit.CONFIG)


def _require_guard(plan: Plan) -> None:
    """Raise UserError for what `up` would refuse: nobody judges the host before this starts."""
    found = None if plan.open_without_key else exposed(plan)
    if found:
        what = f"profile {plan.name} binds {found.seen}"
        raise UserError(what, fix=found.or_explicitly, status=Exit.CONFIG)


def _without_hosts(plan: Plan) -> Plan:
    """The plan without what is to be said of the hosts of a profile: pods are on others."""
    said = {*several.notes(plan)}
    return replace(plan, notes=tuple(note for note in plan.notes if note not in said))


def _of_gateway(plan: Plan) -> Iterator[str]:
    if plan.gateway:
        adds = f"`glm5-serve gateway up --worker http://HOST:{plan.port}` adds it"
        yield f"no gateway finds a server in a container by itself: {adds}"


def _of_key(plan: Plan) -> Iterator[str]:
    """What is the matter with the key's file, as it is seen here."""
    try:
        if plan.key_file and not plan.doubt:
            read_key(Path(plan.key_file))
    except UserError as error:
        yield f"{error.what} (seen here: it has to be right where this file is used)"


def _require_key(plan: Plan) -> None:
    """In a cluster whoever reaches the pod may use it."""
    if not plan.key_file and not plan.open_without_key:
        what = f"without a key {dialect(plan.engine).serves} are open to the cluster"
        fix = "--api-key-file FILE (it becomes a Secret), or access.open_without_key = true"
        raise UserError(what, fix=fix, status=Exit.CONFIG)


# -- the image -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Chosen:
    image: str
    notes: tuple[str, ...] = ()


def _image(plan: Plan, asked: Asked, aim: TargetOptions) -> _Chosen:
    """The image that was named, or the release's own for the driver. Raises UserError."""
    if asked.supervised and not asked.image:
        return _built(plan, asked, aim)
    chosen = _Chosen(asked.image) if asked.image else _released(plan, asked.cuda, aim)
    if asked.digest and "@" in chosen.image:
        what = f"--image {chosen.image} has a digest, --digest says another"
        raise UserError(what, fix="leave one of them out", status=Exit.USAGE)
    if asked.digest:
        return replace(chosen, image=f"{chosen.image}@{asked.digest}")
    told = () if "@" in chosen.image else ("the tag may be moved: --digest sha256:... pins it",)
    return replace(chosen, notes=(*chosen.notes, *told))


def _built(plan: Plan, asked: Asked, aim: TargetOptions) -> _Chosen:
    """The image of ours that is to be built on the release's own."""
    base = _image(plan, replace(asked, supervised=False), aim)
    image = f"localhost/glm5-serve:{__version__}-{plan.engine}-{plan.release}".replace("+", "-")
    built = f"build it in the repository: make dist DISTS=image BASE={base.image} IMAGE={image}"
    elsewhere = "other machines pull it from a registry: push it there, and name it by --image"
    return _Chosen(image, (*base.notes, built, elsewhere))


def _released(plan: Plan, cuda: int | None, aim: TargetOptions) -> _Chosen:
    name, release = dialect(plan.engine).name, plan.release or ""
    known = images.cudas(plan.engine, release)
    if not plan.gpus or not known:
        what = f"no image of {name} {release} is known" + ("" if plan.gpus else " for a CPU")
        raise UserError(what, fix="--image NAME: one that has it", status=Exit.CONFIG)
    runs = cuda or _of_driver(aim)
    fits = [one for one in known if runs is None or one <= runs]
    if cuda not in (None, *known) or not fits:
        _refuse(plan, cuda or runs or 0, known)
    notes = [] if runs else [_assumed(fits[0])]
    return _Chosen(images.image(plan.engine, release, cuda or fits[0]) or "", tuple(notes))


def _assumed(cuda: int) -> str:
    driver = drivers.minimum(f"{cuda}.0").driver
    return f"assumed: a driver of {driver} or later, for CUDA {cuda} (--cuda, --facts FILE)"


def _refuse(plan: Plan, cuda: int, known: tuple[int, ...]) -> None:
    name = dialect(plan.engine).name
    has = " and ".join(f"CUDA {one}" for one in known)
    what = f"{name} {plan.release} has no image for CUDA {cuda}: {has} alone"
    raise UserError(what, fix=" or ".join(_instead(plan, cuda, known)), status=Exit.CONFIG)


def _instead(plan: Plan, cuda: int, known: tuple[int, ...]) -> Iterator[str]:
    if cuda < min(known):
        yield f"driver {drivers.minimum(f'{min(known)}.0').driver} or later"
    if newest := images.newest(plan.engine, cuda):
        yield f"--release {newest}"
    yield "--image NAME"


def _of_driver(aim: TargetOptions) -> int | None:
    """The newest CUDA that the host's driver runs; None: nobody knows the driver."""
    version = _driver(aim).version
    if not version.known:
        return None
    if found := images.of_driver(version.get()):
        return found
    least = drivers.minimum(None)
    what = f"driver {version.get()} runs no image of these engines: {least.why}"
    raise UserError(what, fix=f"driver {least.driver} or later", status=Exit.CONFIG)


def _driver(aim: TargetOptions) -> Driver:
    if aim.facts:
        return recorded(aim.facts).driver
    if aim.gpu or aim.arch:  # another host than this one
        return Driver()
    from launcher.host.observe import observe_driver

    return observe_driver()


def _hub(environ: Mapping[str, str]) -> str:
    """The hub's cache of who renders it."""
    home = environ.get("HOME") or "/root"
    return environ.get("HF_HOME") or f"{home}/.cache/huggingface"
