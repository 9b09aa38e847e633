"""What the engine's interpreter has, told by itself: it runs there, without this package, on Python 3.9 and later.

It imports nothing of SGLang or torch (that takes seconds and a GPU): metadata and files only. One line of JSON in
the shape of launcher.facts.Engine.
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
from typing import Any, Callable  # noqa: UP035  where Python 3.9 has it, too

PACKAGES = (
    "sglang torch flashinfer-python flashinfer-cubin flashinfer-jit-cache sglang-kernel sgl-kernel sgl-deep-gemm "
    "deep-gemm transformers triton nvidia-nccl-cu12 nvidia-nccl-cu13 nvidia-cutlass-dsl xgrammar safetensors "
    "apache-tvm-ffi"
).split()
MOST_FILES = 20000  # of a cache that are counted


def versions() -> dict[str, str]:
    """The versions of the packages that matter, of those that are installed."""
    found = {}
    for name in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    if "sglang" not in found and importlib.util.find_spec("sglang"):
        found["sglang"] = "unknown"  # on the path without its metadata: a source tree
    return found


def torch_cuda() -> Any:
    """The CUDA that torch was built for, from its own file of versions; None without CUDA."""
    spec = importlib.util.find_spec("torch")
    if not spec or not spec.origin:
        return {"unknown": "torch is not installed"}
    with open(os.path.join(os.path.dirname(spec.origin), "version.py"), encoding="utf-8") as file:
        found = re.search(r"^cuda\b[^=]*= *(?:'([^']*)'|\"([^\"]*)\"|None)", file.read(), re.MULTILINE)
    if not found:
        return {"unknown": "torch/version.py does not name its CUDA"}
    return found.group(1) or found.group(2)


def pins() -> Any:
    """What SGLang's metadata asks of other packages with a version, and what is there."""
    try:
        asked = importlib.metadata.requires("sglang") or []
    except importlib.metadata.PackageNotFoundError:
        return {"unknown": "SGLang has no metadata here"}
    try:
        from packaging.requirements import Requirement
    except ImportError:
        try:
            from pip._vendor.packaging.requirements import Requirement  # type: ignore[assignment]
        except ImportError:
            return {"unknown": "neither packaging nor pip is installed there, which read requirements"}
    found = []
    for text in asked:
        wanted = Requirement(text)
        if not wanted.specifier or (wanted.marker and not wanted.marker.evaluate({"extra": ""})):
            continue
        try:
            here = importlib.metadata.version(wanted.name)
        except importlib.metadata.PackageNotFoundError:
            here = None
        met = here is not None and wanted.specifier.contains(here, prereleases=True)
        found.append(
            {"package": wanted.name, "wanted": str(wanted.specifier), "installed": here, "satisfied": met}
        )
    return found


def tools() -> dict[str, str | None]:
    """Where the programs are that compile kernels."""
    home = os.environ.get("CUDA_HOME") or os.environ.get("CUDA_PATH") or "/usr/local/cuda"
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), os.path.dirname(sys.executable)])
    return {
        "nvcc": shutil.which("nvcc", path=os.path.join(home, "bin") + os.pathsep + path),
        "ninja": shutil.which("ninja", path=path),
        "gcc": shutil.which("gcc", path=path) or shutil.which("cc", path=path),
    }


def installed_at() -> Any:
    """When FlashInfer's files last changed, seconds since the epoch."""
    spec = importlib.util.find_spec("flashinfer")
    if not spec or not spec.origin:
        return {"unknown": "flashinfer is not installed"}
    return os.stat(spec.origin).st_ctime


def caches() -> list[dict[str, Any]]:
    """The folders of compiled kernels that there are."""
    home = os.path.expanduser("~")
    places = [
        os.path.join(os.environ.get("FLASHINFER_WORKSPACE_BASE", home), ".cache", "flashinfer"),
        os.environ.get("TRITON_CACHE_DIR") or os.path.join(home, ".triton", "cache"),
        os.environ.get("SGLANG_DG_CACHE_DIR") or os.path.join(home, ".cache", "deep_gemm"),
        os.environ.get("TVM_FFI_CACHE_DIR") or os.path.join(home, ".cache", "tvm-ffi"),
    ]
    return [cache(place) for place in places if os.path.isdir(place)]


def cache(place: str) -> dict[str, Any]:
    """One folder: how many files, and when the newest was written."""
    newest, files = 0.0, 0
    for folder, _, names in os.walk(place):
        for name in names:
            try:
                newest = max(newest, os.stat(os.path.join(folder, name)).st_mtime)
            except OSError:
                continue
            files += 1
        if files > MOST_FILES:
            break
    return {"path": place, "newest": newest, "files": files}


def answer(question: Callable[[], Any]) -> Any:
    """An answer, or why there is none."""
    try:
        return question()
    except Exception as error:
        return {"unknown": f"{type(error).__name__}: {error}"}


if __name__ == "__main__":
    questions = {
        "packages": versions,
        "torch_cuda": torch_cuda,
        "pins": pins,
        "tools": tools,
        "installed_at": installed_at,
        "caches": caches,
    }
    told = {name: answer(question) for name, question in questions.items()}
    told["python_version"] = ".".join(map(str, sys.version_info[:3]))
    print("\n" + json.dumps(told))
