"""From what was asked to the plan and the instance it is for: the same for `render`, `up` and
`doctor`.

The engine is asked once for a plan: by `observe_target` where its host is judged, too, else for its
release alone.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from launcher import counting
from launcher.config import layers
from launcher.config.composed import Composed
from launcher.config.load import PlanRequest, load
from launcher.config.profile import Profile
from launcher.config.resolve import resolve
from launcher.engines.engine import NAMES, dialect
from launcher.engines.target import ARCHS, Target, of, of_engine, of_parts
from launcher.errors import Exit, UserError, in_words
from launcher.files import reading
from launcher.host import facts_json
from launcher.host.facts import Driver, Engine, Host, Model, System
from launcher.knowledge import gpus
from launcher.plan.plan import Plan
from launcher.statedir.folder import StateDir
from launcher.statedir.home import state_home

# As Python packages are numbered: 0.5.23, 0.5.15.post1, 0.5.24rc0, 0.5.23+cu130.
RELEASE = re.compile(
    r"[0-9]{1,4}(\.[0-9]{1,6}){1,3}(\.?(a|b|rc|post|dev)[0-9]{1,9})*(\+[a-z0-9.]+)?"
)
LARGEST = 64 << 20  # bytes of facts; a host has some hundred thousand
FALLBACK = "sm120"  # what this is made for, where neither --arch nor this host says others
VISIBLE = "CUDA_VISIBLE_DEVICES"
NVIDIA = "0x10de"  # its PCI vendor id


@dataclass(frozen=True)
class TargetOptions:
    """Another host than this one: a release, a GPU or its architecture, or what was
    observed.
    """

    release: str | None = None
    arch: str | None = None
    facts: Path | Host | None = None  # a file of them, or what it says
    gpu: str | None = None  # a product of gpus.toml; `arch` is then its own
    engine: str | None = None  # that the release is said of; None: nobody says

    @classmethod
    def of(
        cls, release: str | None, gpu: str | None, arch: str | None, facts: Path | None
    ) -> TargetOptions:
        """What was said on a command line; as `gpu` an architecture will do.

        Raises UserError (usage) for what is not known.
        """
        if gpu in ARCHS:
            if arch not in (None, gpu):
                what = f"--gpu {gpu}, --arch says {arch}"
                raise UserError(what, fix="leave one of them out", status=Exit.USAGE)
            gpu, arch = None, gpu
        product = _product(gpu, arch) if gpu is not None else None
        version, engine = _release(release) if release is not None else (None, None)
        made = cls(
            version,
            product.arch if product else arch,
            facts,
            product.id if product else None,
            engine,
        )
        require_known(made)
        return made

    def to(self, release: str | None, arch: str | None) -> TargetOptions:
        """The same with another release, or another architecture."""
        said = (self.release, self.engine) if release is None else _release(release)
        return replace(
            self,
            release=said[0],
            engine=said[1],
            arch=arch or self.arch,
            gpu=None if arch else self.gpu,
        )


def _release(text: str) -> tuple[str, str | None]:
    """`0.5.23`, `v0.5.23`, `sglang==0.5.23` as `0.5.23`, and the engine that it is said of. Raises
    UserError (usage).
    """
    package, pinned, version = (part.strip() for part in text.lower().rpartition("=="))
    engine = next((name for name in NAMES if dialect(name).package == package), None)
    if pinned and engine is None:
        raise UserError(
            f"--release {text}: {package or 'nothing'} is not an engine that is started here",
            fix=_example(),
            status=Exit.USAGE,
        )
    return version.removeprefix("v"), engine


def _example(*engines: str) -> str:
    """A release of one of these; of any, where none is meant."""
    known = [dialect(name) for name in engines or NAMES]
    of = " or ".join(f"{one.options.newest} of {one.name}" for one in known)
    return f"--release wants a release, for example {of}"


def _product(gpu: str, arch: str | None) -> gpus.Product:
    """The product that is meant. Raises UserError (usage) for none, and one of another `arch`."""
    product = gpus.called(gpu)
    told = None if product else gpus.capability(gpu.upper())
    if told and (seen := gpus.arch(told)) not in ARCHS:
        raise UserError(f"no rules for {seen}: {gpu}", fix=_meant(seen), status=Exit.USAGE)
    if product is None:
        raise UserError(
            f"--gpu {gpu}: not a GPU that is known here",
            fix=f"{_near(gpu)}one of {', '.join(_made_for())}, or an architecture:"
            f" {', '.join(ARCHS)}",
            status=Exit.USAGE,
        )
    if not product.is_blackwell:
        raise UserError(
            f"--gpu {gpu}: {product.name} is {product.arch}, which is not Blackwell",
            fix=f"NVFP4 needs Blackwell: {', '.join(_made_for())}",
            status=Exit.USAGE,
        )
    if arch not in (None, product.arch):
        raise UserError(
            f"--gpu {gpu} is {product.arch}, --arch says {arch}",
            fix="leave one of them out",
            status=Exit.USAGE,
        )
    return product


def _near(gpu: str) -> str:
    near = difflib.get_close_matches(gpu.lower(), _made_for(), n=1)
    return f"did you mean {near[0]}? " if near else ""


def _made_for() -> list[str]:
    return [product.id for product in gpus.products().values() if product.is_blackwell]


@dataclass(frozen=True)
class Seen:
    """What was observed here before a plan was made.

    Who judges the host for it takes it from here.
    """

    target: Target = field(default_factory=Target)
    engine: Engine = field(default_factory=Engine)
    driver: Driver | None = None  # None: not asked yet


def planned(
    ask: PlanRequest,
    environ: Mapping[str, str],
    aim: TargetOptions | Target | None = None,
    folder: Path | None = None,
) -> tuple[Plan, StateDir]:
    """The plan for what was asked, and the instance it is for. Nothing is written. In a container
    its `folder` is another one.

    It is made for what is installed and seen here, where `aim` does not say another host. Raises
    UserError.
    """
    composed = load(ask, environ)
    instance = instance_of(composed, environ)
    asks = composed.doubt is None
    target = (
        aim
        if isinstance(aim, Target)
        else targeted(composed.profile, environ, aim or TargetOptions(), asks=asks)
    )
    folder = folder or instance.folder
    return resolve(composed, ask, folder, layers.ours(environ), target), instance


def instance_of(composed: Composed, environ: Mapping[str, str]) -> StateDir:
    """The instance that a profile is for. Raises UserError for a name that only replicas have."""
    if "@" in composed.name and not composed.replica:
        what = f"profile name {composed.name!r} is that of a replica"
        raise UserError(what, fix="rename the file: without @", status=Exit.USAGE)
    return StateDir(state_home(environ), composed.name)


def observe_target(
    composed: Composed,
    environ: Mapping[str, str],
    driver: Driver | None = None,
    asked: Callable[[], Engine] | None = None,
) -> Seen:
    """What a profile is resolved for here, and what was asked to know it. Nothing raises.

    The `driver` is given by who has observed it already, `asked` by who has had the engine asked
    already; else both are asked at the same time.
    """
    if asked is None:
        with engine_asked(composed, environ) as asked:
            return observe_target(composed, environ, driver, asked)
    profile = composed.profile
    driver = driver or _driver(profile)
    engine = asked()
    target = here(profile, environ, of_engine(engine, profile.engine.kind), driver)
    return Seen(target, engine, driver)


@contextmanager
def engine_asked(composed: Composed, environ: Mapping[str, str]) -> Iterator[Callable[[], Engine]]:
    """Have a profile's interpreter asked what it has; called, it waits for the answer. Nothing
    raises. It is not run where others may have written the profile that names it.
    """
    from launcher.host.collectors import engine

    if composed.doubt:
        yield Engine
        return
    kind, python = composed.profile.engine.kind, composed.profile.engine.python
    env = {**environ, **composed.profile.env}
    with engine.engine_asked(python, env, *_packages(kind)) as answer:
        yield answer


def observe_engine(name: str, python: str, env: Mapping[str, str]) -> Engine:
    """What an interpreter has of an engine, and whether it has others. Nothing raises."""
    from launcher.host.collectors.engine import engine

    return engine(python, env, *_packages(name))


def _packages(name: str) -> tuple[str, list[str]]:
    """An engine's own package, and those that matter beside it, other engines among them."""
    known = dialect(name)
    every = [dialect(one).package for one in NAMES]
    return known.package, [*dict.fromkeys((*known.packages, *every))]


def require_own(composed: Composed) -> None:
    """What is to be started nobody else may have written. Raises UserError."""
    if doubt := composed.doubt:
        raise UserError(
            f"profile {composed.name} names programs to run, and others may have written it:"
            f" {doubt.what}",
            fix=(
                f"read it, then {doubt.fix}, or put a copy into a folder that only you and root"
                " write"
            ),
        )


def targeted(
    profile: Profile, environ: Mapping[str, str], aim: TargetOptions, *, asks: bool = True
) -> Target:
    """What a profile is resolved for.

    Raises UserError for a release or an architecture that is none.

    A release or an architecture that was said is that of another host: what this one looks like is
    left out then, but for the checkpoint, which is the same there. Where it `asks` nothing, the
    interpreter that the profile names is not run, and the release unknown.
    """
    require_known(aim)
    if aim.engine not in (None, profile.engine.kind):
        own, said = dialect(profile.engine.kind), dialect(aim.engine)
        what = f"--release {said.package}=={aim.release}: the profile is of {own.name}"
        raise UserError(what, fix=_example(profile.engine.kind), status=Exit.USAGE)
    if aim.facts:
        seen = of(recorded(aim.facts), profile.engine.kind)
    elif aim == TargetOptions():
        installed = _installed(profile, environ) if asks else None
        seen = here(profile, environ, installed, _driver(profile))
    else:
        installed = _installed(profile, environ) if asks and not aim.release else None
        seen = Target(release=installed, model=_model(profile, environ))
    return _with(seen, aim)


def _with(seen: Target, aim: TargetOptions) -> Target:
    """The target with what was said in place of what was seen."""
    product = gpus.products()[aim.gpu] if aim.gpu else None
    if aim.arch:
        memory = product.memory if product else None
        seen = replace(seen, arch=aim.arch, gpu=aim.gpu, memory=memory)
        seen = replace(seen, count=None, shown={})
    return replace(seen, release=aim.release or seen.release)


def elsewhere(aim: TargetOptions, driver: Callable[[], Driver] = Driver) -> Target:
    """The target of a command that is somebody's: what is installed here says nothing about it, but
    the GPUs that the `driver` of this host shows may, where nothing says others.
    """
    seen = _with(of(recorded(aim.facts)) if aim.facts else Target(), aim)
    return seen if seen.arch else _of_gpus(seen, driver())


def _of_gpus(target: Target, driver: Driver) -> Target:
    here = of_parts(driver, System(), Model())
    if here.arch not in ARCHS:
        return replace(target, arch=FALLBACK, is_guess=True)
    return replace(target, arch=here.arch, gpu=here.gpu, memory=here.memory)


def require_known(aim: TargetOptions) -> None:
    """Raise UserError (usage) for a release that is none, or an architecture without rules."""
    if aim.release is not None and not RELEASE.fullmatch(aim.release):
        raise UserError(f"{aim.release!r} is not a release", fix=_example(), status=Exit.USAGE)
    if aim.arch is not None and aim.arch not in ARCHS:
        raise UserError(f"no rules for {aim.arch}", fix=_meant(aim.arch), status=Exit.USAGE)


def _meant(arch: str) -> str:
    """What to say in place of an architecture without rules."""
    meant, has_rules = gpus.called(arch), f"--arch {', '.join(ARCHS)}"
    if meant and meant.arch in ARCHS:
        return f"{meant.name} is {meant.arch}: say {meant.arch}"
    if arch in gpus.BLACKWELL:
        return f"it is Blackwell, and not supported: what is known here is of {has_rules}"
    return f"NVFP4 needs Blackwell: {has_rules}"


def recorded(path: Path | Host) -> Host:
    """The facts of a host, from the file that `glm5-serve facts` made, or as they are at hand.

    Raises UserError.
    """
    if isinstance(path, Host):
        return path
    try:
        text = reading.read_text(path, LARGEST, errors="replace")
    except OSError as error:
        fix = "`glm5-serve facts > FILE` makes such a file"
        raise UserError(
            f"cannot read {path}: {in_words(error)}", fix=fix, status=Exit.USAGE
        ) from None
    return facts_json.loads(text, str(path))


def here(
    profile: Profile, environ: Mapping[str, str], installed: str | None, driver: Driver | None
) -> Target:
    """What is seen on this host, as far as rules ask for it: quick, and nothing raises."""
    addresses = _addresses() if profile.nodes else {}
    if not profile.gpus:
        return Target(release=installed, addresses=addresses)
    from launcher.host.collectors.system import layout

    shown = driver if driver and is_open(profile) else Driver()
    system = layout(Path("/")) if has_gpus() else System()
    seen = of_parts(shown, system, _model(profile, environ))
    devices = _devices(profile, driver)
    seen = replace(seen, release=installed, addresses=addresses, devices=devices)
    return _measured(seen, profile, environ)


def _measured(seen: Target, profile: Profile, environ: Mapping[str, str]) -> Target:
    """The target with what `doctor --deep` found between these GPUs, where it was of as many."""
    from launcher.host.collectors import fabric

    of = fabric.here() if has_gpus() and fabric.has_any(environ) else ""
    found, why = fabric.kept(environ, of) if of else (None, "")
    if found and VISIBLE in environ:
        found, why = None, f"{VISIBLE} is set here, and {found} is of all GPUs: not used"
    if found and found.ranks != profile.gpus:
        why = (
            f"{found} is of {counting.of(found.ranks, 'GPU')}, this takes {profile.gpus}: not used"
        )
        found = None
    return replace(seen, measured=found, unmeasured=why)


def _devices(profile: Profile, driver: Driver | None) -> tuple[str, ...]:
    """The GPUs of this host, where replicas of a profile share them."""
    if profile.replicas == 1:
        return ()
    from launcher.host.collectors.pci import pcie
    from launcher.host.observe import observe_driver

    return of_parts(driver or observe_driver(), System(), Model(), pcie()).devices


def _addresses() -> dict[str, str]:
    """The interfaces of this host by their addresses."""
    from launcher.host.collectors.network import interfaces

    found = interfaces().otherwise(())
    return {address: one.name for one in found for address in one.addresses}


def _model(profile: Profile, environ: Mapping[str, str]) -> Model:
    """What the checkpoint's own files say, where it lies here."""
    from launcher.host.collectors.checkpoint import said

    return said(profile.flags.model_path, {**environ, **profile.env})


def said_of_folder(path: str) -> Model:
    """What the config.json of a folder says, where it lies here; nothing of a hub id."""
    from launcher.host.collectors.checkpoint import said

    return said(path, {}) if path.startswith("/") and Path(path).is_dir() else Model()


def is_open(profile: Profile) -> bool:
    """Whether a profile leaves the architecture to the GPUs that there are: rules ask the driver
    only then.
    """
    return bool(profile.gpus) and not profile.needs.arch


def _driver(profile: Profile) -> Driver | None:
    if not is_open(profile):
        return None
    from launcher.host.observe import observe_driver

    return observe_driver()


def has_gpus(root: Path = Path("/")) -> bool:
    """Whether this is a host with NVIDIA hardware: its sockets say nothing about another one's."""
    for file in (root / "sys/bus/pci/devices").glob("*/vendor"):
        try:
            if file.read_text().strip() == NVIDIA:
                return True
        except OSError:
            continue
    return False


def _installed(profile: Profile, environ: Mapping[str, str]) -> str | None:
    from launcher.host.collectors.release import release

    package = dialect(profile.engine.kind).package
    return release(package, profile.engine.python, {**environ, **profile.env})
