"""The interpreter that has SGLang, and the releases in it."""

from __future__ import annotations

from launcher.doctor.checks.judging import Verdict, fail, ok, sample, version, warn
from launcher.engines.engine import dialect
from launcher.engines.options import Given, Release, nearest_name
from launcher.host.facts import Host, UnobservedError
from launcher.knowledge import drivers
from launcher.plan.plan import Plan

GROUP = "engine"
DAY = 86400.0  # seconds
# seconds; compiling kernels at the first start took 10 to 30 minutes (NVIDIA's GKE recipe)
WATCHDOG_WANTED = 1200


def release(host: Host, name: str) -> str:
    """The release of that engine that is installed. Raises UnobservedError."""
    engine = dialect(name)
    seen = host.engine.packages.get().get(engine.package)
    if seen is None:
        raise UnobservedError(f"{engine.name} is not installed")
    if not version(seen):
        raise UnobservedError(f"{engine.name}'s version is {seen}")
    return seen


def engine_python(host: Host, plan: Plan) -> Verdict:
    """The engine's interpreter runs.

    It is the program that the server is.

    Tested: with interpreters that are missing, hang, or are none.
    """
    seen = host.engine.python
    if not seen.known and not seen.is_unseen:
        fix = (
            "set engine.python in the profile to the python of the environment that has"
            f" {dialect(plan.engine).name}"
        )
        if "did not answer within" in str(seen.unknown):
            fix = "try it by hand; a file system that hangs is the usual reason"
        return fail(str(seen.unknown), fix=fix)
    return ok(f"{seen.get()}, Python {host.engine.python_version.get()}")


def engine_installed(host: Host, plan: Plan) -> Verdict:
    """The engine is installed there.

    The launcher never imports it: it runs in that environment.

    Tested: with and without.
    """
    engine, packages = dialect(plan.engine), host.engine.packages.get()
    if seen := packages.get(engine.package):
        return ok(f"{engine.name} {seen}")
    where, wanted = host.engine.python.get(), f"{engine.package}>={engine.wanted}"
    return fail(
        f"{where} has no {engine.package}",
        fix=f"`{where} -m pip install '{wanted}'`, or set engine.python",
    )


def engine_known(host: Host, plan: Plan) -> Verdict:
    """The SGLang release is one that these checks know.

    Options and kernels change with each release: an unknown one is judged as the newest known.

    Source: 0.5.8 to 0.5.23.
    """
    engine, seen = dialect(plan.engine), release(host, plan.engine)
    newest = engine.options.newest
    if version(seen)[:3] > version(newest):
        return warn(
            f"{engine.name} {seen} is newer than {newest}", fix="look for a newer glm5-serve"
        )
    return ok(f"{engine.name} {seen}")


def engine_options(host: Host, plan: Plan) -> Verdict:
    """The SGLang release accepts the profile's command line.

    Options are renamed and removed with nearly every release; SGLang ends at once with a usage
    message then.

    Tested: the catalogue of options is held against the parser of 0.5.23. Source: those of the
    others.
    """
    seen, catalogue = release(host, plan.engine), dialect(plan.engine).options
    known = catalogue.release(catalogue.nearest(seen))
    problems = [word for word in known.given(plan.arguments) if word.problem]
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
    """What SGLang's metadata asks for is installed.

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
        return warn(
            f"not found: {', '.join(missing)}", fix="; ".join(how[name] for name in missing)
        )
    return ok(", ".join(f"{name} {path}" for name, path in tools.items() if path))


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

    SGLang's watchdog kills a scheduler that compiles for longer than its 300 s: it looks like a
    hang.

    Reported: NVIDIA's GKE recipe (10 to 30 minutes, watchdog 1800). Others met the kill at 300 s.
    """
    compiled = any(cache.files for cache in host.engine.caches.otherwise(()))
    timeout = float(plan.flag("watchdog-timeout") or 300)
    if not compiled and timeout < WATCHDOG_WANTED:
        fix = "set flags.watchdog-timeout = 1800"
        return warn(f"no compiled kernels yet, watchdog-timeout is {timeout:.0f} s", fix=fix)
    return ok(f"watchdog-timeout {timeout:.0f} s" + (", kernels are compiled" if compiled else ""))
