"""What the engine's interpreter has, told by itself: it runs there, without this package, on Python
3.9 and later.

It imports nothing of the engine or torch (that takes seconds and a GPU): metadata and files only.
Its arguments are the engine's package and those that matter beside it. One line of JSON in the
shape of launcher.host.facts.Engine.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import json
import os
import re
import shutil
import sys
from itertools import islice
from typing import Any, Callable, Iterator  # noqa: UP035  where Python 3.9 has them, too

ENGINE, *PACKAGES = sys.argv[1:] or [""]  # the engine's own, and those that matter
MOST_FILES = 20000  # of a cache that are counted


def version(name: str) -> str | None:
    """The version of a distribution, None where it is not installed."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def packages() -> dict[str, str]:
    """The versions of the packages that matter, of those that are installed."""
    seen = {name: version(name) for name in PACKAGES}
    found = {name: said for name, said in seen.items() if said}
    if ENGINE not in found and package(ENGINE):
        found[ENGINE] = "unknown"  # on the path without its metadata: a source tree
    return found


def package(name: str) -> str | None:
    """The folder that `import name` would take; a folder without __init__.py is none."""
    spec = importlib.util.find_spec(name)
    return os.path.dirname(spec.origin) if spec and spec.origin else None


def torch_cuda() -> Any:
    """The CUDA that torch was built for, from its own file of versions; None without CUDA."""
    folder = package("torch")
    if folder is None:
        return {"unknown": "torch is not installed"}
    with open(os.path.join(folder, "version.py"), encoding="utf-8") as file:
        found = re.search(
            r"^cuda\b[^=]*= *(?:'([^']*)'|\"([^\"]*)\"|None)", file.read(), re.MULTILINE
        )
    if not found:
        return {"unknown": "torch/version.py does not name its CUDA"}
    return found.group(1) or found.group(2)


def pins() -> Any:
    """What the engine's metadata asks of other packages with a version, and what is there."""
    try:
        asked = importlib.metadata.requires(ENGINE) or []
    except importlib.metadata.PackageNotFoundError:
        return {"unknown": f"{ENGINE} has no metadata here"}
    try:
        from packaging.requirements import Requirement
    except ImportError:
        try:
            from pip._vendor.packaging.requirements import Requirement  # type: ignore[assignment]
        except ImportError:
            return {
                "unknown": "neither packaging nor pip is installed there, which read requirements"
            }
    return [made for text in asked if (made := pin(Requirement(text)))]


def pin(wanted: Any) -> dict[str, Any] | None:
    """One requirement; None where it asks for no version, or is not for this machine."""
    if not wanted.specifier or (wanted.marker and not wanted.marker.evaluate({"extra": ""})):
        return None
    here = version(wanted.name)
    met = here is not None and wanted.specifier.contains(here, prereleases=True)
    name = re.sub(r"[-_.]+", "-", wanted.name).lower()
    return {"package": name, "wanted": str(wanted.specifier), "installed": here, "satisfied": met}


def tools() -> dict[str, str | None]:
    """Where the programs are that compile kernels."""
    path = os.environ.get("PATH", os.defpath)
    cuda = os.environ.get("CUDA_HOME") or os.environ.get("CUDA_PATH")
    places = {
        "nvcc": [*([os.path.join(cuda, "bin")] if cuda else []), path, "/usr/local/cuda/bin"],
        "ninja": [
            path,
            os.path.dirname(sys.executable),
            os.path.join(package("ninja") or "/", "data/bin"),
        ],
        "gcc": [path],
    }
    return {name: shutil.which(name, path=os.pathsep.join(where)) for name, where in places.items()}


def installed_at() -> Any:
    """When FlashInfer came here, seconds since the epoch: the times of its files are those of the
    wheel.
    """
    folder = package("flashinfer")
    return os.stat(folder).st_ctime if folder else {"unknown": "flashinfer is not installed"}


def caches() -> list[dict[str, Any]]:
    """The folders of compiled kernels that there are."""
    return [cache(place) for place in dict.fromkeys(places()) if place and os.path.isdir(place)]


def places() -> list[str]:
    """Where FlashInfer, Triton, Inductor, DeepGEMM, TVM and the engine itself keep their kernels.

    From 0.5.18 on SGLang moves the first four into its own folder (its environ.py:
    third_party_cache_defaults).
    """
    home, get = os.path.expanduser("~"), os.environ.get
    own = os.path.expanduser(get("SGLANG_CACHE_DIR") or "~/.cache/sglang")
    moved = ENGINE == "sglang" and moves_caches()
    return [
        os.path.join(
            get("FLASHINFER_WORKSPACE_BASE") or (own if moved else home), ".cache/flashinfer"
        ),
        get("TRITON_CACHE_DIR")
        or os.path.join(*((own, "triton") if moved else (home, ".triton/cache"))),
        get("TORCHINDUCTOR_CACHE_DIR") or (os.path.join(own, "inductor") if moved else ""),
        of_vllm()
        if ENGINE == "vllm"
        else get("SGLANG_DG_CACHE_DIR")
        or os.path.join(own if moved else os.path.join(home, ".cache"), "deep_gemm"),
        get("TVM_FFI_CACHE_DIR") or os.path.join(home, ".cache/tvm-ffi"),
        os.path.expanduser(get("SGLANG_JIT_CACHE_DIR") or "~/.cache/sglang/jit"),
    ]


def of_vllm() -> str:
    """Where vLLM has DeepGEMM keep its kernels (0.32.0, utils/deep_gemm.py)."""
    get = os.environ.get
    root = get("VLLM_CACHE_ROOT") or os.path.join(get("XDG_CACHE_HOME") or "~/.cache", "vllm")
    return get("DG_JIT_CACHE_DIR") or os.path.join(os.path.expanduser(root), "deep_gemm")


def moves_caches() -> bool:
    """Whether this SGLang sets the others' variables."""
    with (
        contextlib.suppress(OSError),
        open(f"{package('sglang')}/srt/environ.py", encoding="utf-8") as file,
    ):
        return "third_party_cache_defaults" in file.read()
    return False


def cache(place: str, most: int = MOST_FILES) -> dict[str, Any]:
    """One folder: how many files (at most `most` are looked at), and when the newest was
    written.
    """
    times = list(islice(file_times(place), most))
    return {"path": place, "newest": max(times, default=0.0), "files": len(times)}


def file_times(place: str) -> Iterator[float]:
    """When each file below a folder was written."""
    for folder, _, names in os.walk(place):
        for name in names:
            with contextlib.suppress(OSError):
                yield os.stat(os.path.join(folder, name)).st_mtime


def answer(question: Callable[[], Any]) -> Any:
    """An answer, or why there is none."""
    try:
        return question()
    except Exception as error:
        return {"unknown": f"{type(error).__name__}: {error}"}


if __name__ == "__main__":
    told: dict[str, Any] = {"python_version": ".".join(map(str, sys.version_info[:3]))}
    for asked in (packages, torch_cuda, pins, tools, installed_at, caches):
        told[asked.__name__] = answer(asked)
    print(flush=True)  # what start-up hooks left of a line ends here
    sys.stdout.buffer.write(json.dumps(told, ensure_ascii=False).encode("utf-8", "replace") + b"\n")
