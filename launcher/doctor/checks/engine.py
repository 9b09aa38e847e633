"""The interpreter that has the engine, and the releases in it."""

from __future__ import annotations

from collections.abc import Sequence

from launcher.doctor.checks.judging import (
    Verdict,
    fail,
    is_for_blackwell,
    made_by_demo,
    ok,
    sample,
    version,
    warn,
)
from launcher.engines import traits
from launcher.engines.engine import NAMES, dialect
from launcher.engines.options import Given, Release, nearest_name
from launcher.host.facts import Host, UnobservedError
from launcher.knowledge import drivers
from launcher.plan.plan import Plan

GROUP = "engine"
DAY = 86400.0  # seconds
LOADERS = frozenset(("instanttensor", "fastsafetensors"))  # load formats that are packages
# seconds; compiling kernels at the first start took 10 to 30 minutes (NVIDIA's GKE recipe)
START_WANTED = 1200


def release(host: Host, name: str) -> str:
    """The release of that engine that is installed. Raises UnobservedError."""
    engine = dialect(name)
    seen = host.engine.packages.get().get(engine.package)
    if seen is None:
        raise UnobservedError(f"{engine.name} is not installed")
    if not version(seen):
        raise UnobservedError(f"{engine.name}'s version is {seen}")
    return seen


def before_all(seen: str, plan: Plan) -> str:
    """That an installed release is older than all that are known; "" where it is not."""
    engine = dialect(plan.engine)
    oldest = engine.options.releases[0]
    if version(seen)[:3] >= version(oldest):
        return ""
    return f"{engine.name} {seen} is older than {oldest}, the oldest that is known"


def engine_python(host: Host, plan: Plan) -> Verdict:
    """The engine's interpreter runs.

    It is the program that the server is.

    Tested: with interpreters that are missing, hang, or are none.
    """
    seen = host.engine.python
    if not seen.known and not seen.is_unseen:
        fix = made_by_demo(plan.python, plan) or (
            "set engine.python in the profile to the python of the environment that has"
            f" {dialect(plan.engine).name}"
        )
        if "did not answer within" in str(seen.unknown):
            fix = "try it by hand; a file system that hangs is the usual reason"
        elif "root will not run" in str(seen.unknown):
            fix = (
                "give what is named to root (`chown -R root`), take it out of the profile or the"
                " environment, or serve as a user of its own: `glm5-serve systemd install`"
            )
        return fail(str(seen.unknown), fix=fix)
    return ok(f"{seen.get()}, Python {host.engine.python_version.get()}")


def engine_installed(host: Host, plan: Plan) -> Verdict:
    """The engine is installed there.

    The launcher never imports it: it runs in that environment.

    Tested: with and without.
    """
    engine, packages = dialect(plan.engine), host.engine.packages.get()
    there = [f"{name} {packages[name]}" for name in engine.variants if name in packages]
    if there and not plan.gpus:
        return ok(", ".join(there))
    seen = packages.get(engine.package)
    if seen and not there:
        return ok(f"{engine.name} {seen}")
    where, fix = host.engine.python.get(), _own_environment(plan.engine)
    if there:
        return fail(f"{where} has {', '.join(there)}, which knows no GPU", fix=fix)
    others = [dialect(name) for name in NAMES if name != plan.engine]
    if its := [other for other in others if other.package in packages]:
        return fail(f"{where} has {its[0].name}, and no {engine.package}", fix=fix)
    return fail(f"{where} has no {engine.package}", fix=fix)


def own_environment(name: str) -> tuple[str, str]:
    """The folder of an engine's environment, and what pip is to install there: every page says the
    same.
    """
    engine = dialect(name)
    return f"/opt/{engine.package}", f"{engine.package}=={engine.options.newest}"


def _own_environment(name: str) -> str:
    """How the release that the rules know best gets an environment of its own: the system's Python
    takes no packages (Debian), and the launcher's own may have other releases of the same.
    """
    folder, wanted = own_environment(name)
    return (
        f"`python3 -m venv {folder} && {folder}/bin/pip install '{wanted}'`, then engine.python:"
        f" `--set engine.python={folder}/bin/python`, or in the profile"
    )


def engine_alone(host: Host, plan: Plan) -> Verdict:
    """No other engine is in its environment.

    Each pins its own torch, FlashInfer and transformers: what was installed last decides for both.

    Source: the metadata of SGLang 0.5.23 and vLLM 0.33.0.
    """
    packages, own = host.engine.packages.get(), dialect(plan.engine).package
    others = [dialect(name).package for name in NAMES if name != plan.engine]
    seen = [f"{name} {packages[name]}" for name in others if name in packages]
    if own in packages and seen:
        fix = "an environment for each: set engine.python to the python of this one's"
        return warn(f"{own} {packages[own]}, and {', '.join(seen)}", fix=fix)
    return ok("none")


def engine_known(host: Host, plan: Plan) -> Verdict:
    """The engine's release is one that these checks know.

    Options and kernels change with each release: a newer one is judged as the newest known, and of
    an older one little is known.

    Source: SGLang 0.5.8 to 0.5.23, vLLM 0.16.0 to 0.33.0.
    """
    engine, seen = dialect(plan.engine), release(host, plan.engine)
    newest = engine.options.newest
    if version(seen)[:3] > version(newest):
        return warn(
            f"{engine.name} {seen} is newer than {newest}", fix="look for a newer glm5-serve"
        )
    if older := before_all(seen, plan):
        return warn(older, fix=_own_environment(plan.engine))
    return ok(f"{engine.name} {seen}")


def engine_options(host: Host, plan: Plan) -> Verdict:
    """The engine's release accepts the profile's command line.

    Options are renamed and removed between releases; the engine ends at once with a usage message
    then.

    Tested: the catalogues of options are held against the parsers of SGLang 0.5.23 and vLLM 0.32.0.
    Source: those of the others.
    """
    seen, catalogue = release(host, plan.engine), dialect(plan.engine).options
    known = catalogue.release(catalogue.nearest(seen))
    problems = [word for word in known.given(plan.arguments) if word.problem]
    if not problems and (older := before_all(seen, plan)):
        raise UnobservedError(f"{older}: which options it takes nobody looked at")
    if not problems:
        return ok(f"{len(plan.arguments)} words as {known.name} takes them")
    evidence = "; ".join(str(word.problem) for word in problems)
    fix = "; ".join(dict.fromkeys(_mended(word, known) for word in problems))
    is_known = version(seen)[:3] == version(known.name)
    return fail(evidence, fix=fix) if is_known else warn(evidence, fix=fix)


def _mended(given: Given, known: Release) -> str:
    name = given.word.lstrip("-")
    near = (
        None if given.option else known.replacement(given.word) or nearest_name(given.word, known)
    )
    if near:
        return f"write {near} for {given.word}"
    there = known.catalogue.accepted_by(given.word)
    if given.option is None and there:
        return (
            f"set flags.{name} = false, or install a release that has it ({there[0]} to"
            f" {there[-1]})"
        )
    return f"correct flags.{name}" if given.option else f"set flags.{name} = false"


def engine_pins(host: Host, plan: Plan) -> Verdict:
    """What the engine's metadata asks for is installed.

    A flashinfer, torch or kernel package of another release fails at import, or worse, in its
    numbers.

    Tested: on real installed metadata.
    """
    odd = [pin for pin in host.engine.pins.get() if not pin.satisfied]
    if odd:
        seen = sample(
            [f"{pin.package} {pin.installed or 'is missing'}, wanted {pin.wanted}" for pin in odd]
        )
        exact = " ".join(f"'{pin.package}{pin.wanted}'" for pin in odd[:4])
        fix = f"`{host.engine.python.otherwise('python')} -m pip install {exact}`"
        return warn(seen, fix=fix)
    return ok(f"{len(host.engine.pins.get())} requirements met")


def engine_cuda(host: Host, plan: Plan) -> Verdict:
    """Torch is built for a CUDA that knows Blackwell.

    Builds before CUDA 12.8 have no sm_120 and no sm_100 code: "no kernel image is available".

    Reported: NVIDIA's Blackwell compatibility guide.
    """
    built = host.engine.torch_cuda.get()
    if not is_for_blackwell(host, plan):
        return ok(f"CUDA {built or 'none'}; no GPU here is Blackwell, which wants a new one")
    if built is None or not drivers.reaches(built, drivers.least_cuda()):
        fix = "install torch from PyTorch's cu130 index"
        return fail(
            f"torch is built {'without CUDA' if built is None else f'for CUDA {built}'}", fix=fix
        )
    return ok(f"CUDA {built}")


def engine_flashinfer(host: Host, plan: Plan) -> Verdict:
    """FlashInfer and its packages of compiled kernels are of one release.

    flashinfer-cubin or flashinfer-jit-cache of another release is refused at import, or compiled
    for again.

    Source: FlashInfer compares the versions when it is imported.
    """
    packages = host.engine.packages.get()
    parts = ("flashinfer-python", "flashinfer-cubin", "flashinfer-jit-cache")
    seen = {name: packages[name].partition("+")[0] for name in parts if name in packages}
    if len(set(seen.values())) > 1:
        wanted = seen.get("flashinfer-python", "")
        listing = ", ".join(f"{name} {release}" for name, release in seen.items())
        return fail(
            listing, fix=f"install all of them as {wanted}, the release that the engine pins"
        )
    return ok(", ".join(f"{name} {release}" for name, release in seen.items()) or "not installed")


def engine_loader(host: Host, plan: Plan) -> Verdict:
    """The package of the loader that is asked for is installed.

    InstantTensor and fastsafetensors come beside the engines, and are missed minutes into a start.

    Source: weight_utils.py of SGLang 0.5.23 and of vLLM 0.32.0 import them when loading begins.
    """
    name = (plan.flag("load-format") or "auto").lower()
    if name not in LOADERS:
        return ok(f"the engine's own: {name}")
    seen = host.engine.packages.get().get(name)
    if seen is None:
        fix = f"`pip install {name}` beside the engine, or leave load-format out"
        return fail(f"{name} is not installed", fix=fix)
    return ok(f"{name} {seen}")


def engine_compilers(host: Host, plan: Plan) -> Verdict:
    """What compiles kernels at the first start is there.

    FlashInfer and DeepGEMM compile for SM120 when they are first used: without nvcc, ninja and a
    compiler they fail then.

    Source: FlashInfer's JIT calls ninja and nvcc.
    """
    tools = host.engine.tools.get()
    missing = [name for name in ("nvcc", "ninja", "gcc") if tools.get(name) is None]
    if missing:
        how = {
            "nvcc": f"the CUDA toolkit ({drivers.least_cuda()} or later)",
            "ninja": "`pip install ninja`",
            "gcc": "`apt install g++`",
        }
        seen, fix = f"not found: {', '.join(missing)}", "; ".join(how[name] for name in missing)
        lost = _uncompiled(host, plan, missing)
        return fail(f"{seen}; {lost}", fix=fix) if lost else warn(seen, fix=fix)
    return ok(", ".join(f"{name} {path}" for name, path in tools.items() if path))


def _uncompiled(host: Host, plan: Plan, missing: Sequence[str]) -> str:
    """What the engine cannot do on these GPUs without what is missing; "" where it can."""
    needs = plan.arch == "sm120" and traits.SPARSE in plan.traits
    if not needs or missing == ["gcc"] or "flashinfer-cubin" in host.engine.packages.get():
        return ""
    return dialect(plan.engine).uncompiled


def engine_caches(host: Host, plan: Plan) -> Verdict:
    """Compiled kernels are not older than the packages they came from.

    After an update stale ones were used again: a fix that is installed does not arrive.

    Reported: rtx6kpro common-issues, flashinfer#2716 (NaN).
    """
    installed = host.engine.installed_at.get()
    stale = [
        cache.path
        for cache in host.engine.caches.get()
        if cache.files and cache.newest < installed - DAY
    ]
    if stale:
        return warn(
            f"older than flashinfer: {sample(stale)}",
            fix=f"`rm -r {stale[0]}`; the next start compiles again",
        )
    return ok(f"{len(host.engine.caches.get())} caches")


def engine_first_start(host: Host, plan: Plan) -> Verdict:
    """A first start has time to compile.

    SGLang's watchdog kills a scheduler that compiles for longer than its 300 s, and vLLM gives its
    own start up after 600 s: it looks like a hang.

    Reported: NVIDIA's GKE recipe (10 to 30 minutes, watchdog 1800). Others met the kill at 300 s.
    Source: vLLM's core_client.py.
    """
    compiled = any(cache.files for cache in host.engine.caches.otherwise(()))
    name, own = dialect(plan.engine).start_limit
    limit = float(plan.flag(name) or plan.env.get(name) or own)
    if plan.gpus and not compiled and limit < START_WANTED:
        fix = f"set {'env' if name.isupper() else 'flags'}.{name} = 1800"
        return warn(f"no compiled kernels yet, {name} is {limit:.0f} s", fix=fix)
    return ok(f"{name} {limit:.0f} s" + (", kernels are compiled" if compiled else ""))
