"""What the engine's interpreter has, told by itself: it runs there, without this package, on Python 3.9 and later.

It imports nothing of SGLang or torch (that takes seconds and a GPU): metadata and files only, and those by hand,
for importlib.metadata and all of packaging would double its time. One line of JSON in the shape of
launcher.facts.Engine.
"""

from __future__ import annotations

import ast
import contextlib
import importlib.util
import json
import os
import re
import shutil
import sys
from itertools import islice, takewhile
from operator import eq, ge, gt, le, lt, ne
from typing import Any, Callable, Iterator  # noqa: UP035  where Python 3.9 has them, too

PACKAGES = (
    "sglang torch flashinfer-python flashinfer-cubin flashinfer-jit-cache sglang-kernel sgl-kernel sgl-deep-gemm "
    "deep-gemm transformers triton nvidia-nccl-cu12 nvidia-nccl-cu13 nvidia-cudnn-cu12 nvidia-cudnn-cu13 "
    "nvidia-cutlass-dsl xgrammar safetensors huggingface-hub nvidia-ml-py apache-tvm-ffi tokenspeed-mla"
).split()
MOST_FILES = 20000  # of a cache that are counted
REQUIREMENT = re.compile(r"([\w.-]+)\s*(?:\[[^]]*\])?\s*\(?([^;()@]*)\)?\s*(?:;(.*))?$")
CLAUSE = re.compile(r"(==|!=|<=|>=|<|>)\s*([\w.*+!-]+)$")
COMPARE = {"==": eq, "!=": ne, "<=": le, ">=": ge, "<": lt, ">": gt}
IN_MARKERS: dict[Any, Any] = {ast.Eq: eq, ast.NotEq: ne, ast.LtE: le, ast.GtE: ge, ast.Lt: lt, ast.Gt: gt}
MARKERS = {
    "sys_platform": sys.platform,
    "platform_machine": os.uname().machine,
    "platform_system": os.uname().sysname,
    "os_name": os.name,
    "implementation_name": sys.implementation.name,
    "python_version": ".".join(map(str, sys.version_info[:2])),
    "python_full_version": ".".join(map(str, sys.version_info[:3])),
    "extra": "",
}


def canonical(name: str) -> str:
    """A distribution's name as PEP 503 writes it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def distributions() -> dict[str, str]:
    """The metadata of each installed distribution; as for imports, the first on the path counts."""
    found: dict[str, str] = {}
    for place in sys.path:
        with contextlib.suppress(OSError):  # zip files, folders that are not there
            for name in os.listdir(place or "."):
                if name.endswith((".dist-info", ".egg-info")):
                    found.setdefault(canonical(name.rpartition(".")[0].split("-")[0]), os.path.join(place, name))
    return found


INSTALLED = distributions()


def metadata(name: str) -> list[tuple[str, str]]:
    """The fields of a distribution's metadata; none where it is not installed."""
    folder = INSTALLED.get(canonical(name), "")
    for path in (os.path.join(folder, "METADATA"), os.path.join(folder, "PKG-INFO"), folder):
        with contextlib.suppress(OSError), open(path, encoding="utf-8", errors="replace") as file:
            lines = [line.rstrip().partition(": ") for line in takewhile(lambda line: line.strip("\r\n"), file)]
            return [(field, text) for field, _, text in lines]
    return []


def version(name: str) -> str | None:
    """The version of a distribution, None where it is not installed."""
    return dict(metadata(name)).get("Version")


def packages() -> dict[str, str]:
    """The versions of the packages that matter, of those that are installed."""
    seen = {name: version(name) for name in PACKAGES}
    found = {name: said for name, said in seen.items() if said}
    if "sglang" not in found and package("sglang"):
        found["sglang"] = "unknown"  # on the path without its metadata: a source tree
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
        found = re.search(r"^cuda\b[^=]*= *(?:'([^']*)'|\"([^\"]*)\"|None)", file.read(), re.MULTILINE)
    if not found:
        return {"unknown": "torch/version.py does not name its CUDA"}
    return found.group(1) or found.group(2)


def pins() -> Any:
    """What SGLang's metadata asks of other packages with a version, and what is there."""
    if not INSTALLED.get("sglang", "").endswith(".dist-info"):
        return {"unknown": "SGLang has no metadata here"}
    order = version_order()
    asked = [pin(text, order) for field, text in metadata("sglang") if field == "Requires-Dist"]
    return [made for made in asked if made]


def pin(text: str, order: Callable[[str], Any]) -> dict[str, Any] | None:
    """One requirement; None where it asks for no version, is not for this machine, or cannot be judged."""
    parts = REQUIREMENT.match(text)
    name, wanted, marker = parts.groups() if parts else ("", "", None)
    if not (("==" in wanted or ">=" in wanted) or (wanted and canonical(name) in PACKAGES)):
        return None
    here = version(name)
    try:
        if marker and not holds(ast.parse(marker.strip(), mode="eval").body, order):
            return None
        met = here is not None and all(meets(here, clause.strip(), order) for clause in wanted.split(","))
    except (ValueError, KeyError, SyntaxError, AttributeError, TypeError):
        return None
    return {"package": canonical(name), "wanted": wanted.strip(), "installed": here, "satisfied": met}


def version_order() -> Callable[[str], Any]:
    """What makes versions comparable: packaging's, if one is there, else numbers alone."""
    try:
        from packaging.version import Version
    except ImportError:
        try:
            from pip._vendor.packaging.version import Version  # type: ignore[assignment]
        except ImportError:
            return numbers
    return Version


def numbers(text: str) -> tuple[int, ...]:
    """A version of numbers only, without zeros at its end. Raises ValueError for any other."""
    parts = [int(part) for part in text.split(".")]
    while parts[1:] and parts[-1] == 0:
        parts.pop()
    return tuple(parts)


def meets(here: str, clause: str, order: Callable[[str], Any]) -> bool:
    """Whether a version meets one clause (PEP 440). A local part, +cu130, counts only where one is asked for."""
    how, wanted = CLAUSE.match(clause).groups()  # type: ignore[union-attr]  # AttributeError: not judged
    if "+" not in wanted:
        here = here.partition("+")[0]
    if wanted.endswith(".*"):
        return bool(COMPARE[how](f"{here}.".startswith(wanted[:-1]), True))
    return bool(COMPARE[how](order(here), order(wanted)))


def holds(node: Any, order: Callable[[str], Any]) -> bool:
    """Whether a marker (PEP 508) is true here, without extras: its grammar is one of Python's expressions."""
    if isinstance(node, ast.BoolOp):
        return (all if isinstance(node.op, ast.And) else any)(holds(part, order) for part in node.values)
    sides = (node.left, node.comparators[0])
    left, right = (MARKERS[side.id] if isinstance(side, ast.Name) else side.value for side in sides)
    if any(isinstance(side, ast.Name) and side.id.startswith("python_") for side in sides):
        left, right = order(left), order(right)
    return bool(IN_MARKERS[type(node.ops[0])](left, right))


def tools() -> dict[str, str | None]:
    """Where the programs are that compile kernels."""
    path = os.environ.get("PATH", os.defpath)
    cuda = os.environ.get("CUDA_HOME") or os.environ.get("CUDA_PATH")
    places = {
        "nvcc": [*([os.path.join(cuda, "bin")] if cuda else []), path, "/usr/local/cuda/bin"],
        "ninja": [path, os.path.dirname(sys.executable), os.path.join(package("ninja") or "/", "data/bin")],
        "gcc": [path],
    }
    return {name: shutil.which(name, path=os.pathsep.join(where)) for name, where in places.items()}


def installed_at() -> Any:
    """When FlashInfer was installed, seconds since the epoch: the newest file of its metadata or package."""
    folder = INSTALLED.get("flashinfer-python") or package("flashinfer")
    if folder is None:
        return {"unknown": "flashinfer is not installed"}
    with os.scandir(folder) as entries:
        return max([os.stat(folder).st_mtime, *(entry.stat().st_mtime for entry in entries)])


def caches() -> list[dict[str, Any]]:
    """The folders of compiled kernels that there are."""
    return [cache(place) for place in dict.fromkeys(places()) if place and os.path.isdir(place)]


def places() -> list[str]:
    """Where FlashInfer, Triton, Inductor, DeepGEMM, TVM and SGLang itself keep their kernels.

    From 0.5.18 on SGLang moves the first four into its own folder (its environ.py: third_party_cache_defaults).
    """
    home, get = os.path.expanduser("~"), os.environ.get
    own = os.path.expanduser(get("SGLANG_CACHE_DIR") or "~/.cache/sglang")
    moved = moves_caches()
    return [
        os.path.join(get("FLASHINFER_WORKSPACE_BASE") or (own if moved else home), ".cache/flashinfer"),
        get("TRITON_CACHE_DIR") or os.path.join(*((own, "triton") if moved else (home, ".triton/cache"))),
        get("TORCHINDUCTOR_CACHE_DIR") or (os.path.join(own, "inductor") if moved else ""),
        get("SGLANG_DG_CACHE_DIR") or os.path.join(own if moved else os.path.join(home, ".cache"), "deep_gemm"),
        get("TVM_FFI_CACHE_DIR") or os.path.join(home, ".cache/tvm-ffi"),
        os.path.expanduser(get("SGLANG_JIT_CACHE_DIR") or "~/.cache/sglang/jit"),
    ]


def moves_caches() -> bool:
    """Whether this SGLang sets the others' variables."""
    with contextlib.suppress(OSError), open(f"{package('sglang')}/srt/environ.py", encoding="utf-8") as file:
        return "third_party_cache_defaults" in file.read()
    return False


def cache(place: str, most: int = MOST_FILES) -> dict[str, Any]:
    """One folder: how many files (at most `most` are looked at), and when the newest was written."""
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
    told = {"python_version": MARKERS["python_full_version"]}
    for asked in (packages, torch_cuda, pins, tools, installed_at, caches):
        told[asked.__name__] = answer(asked)
    print(flush=True)  # what start-up hooks left of a line ends here
    sys.stdout.buffer.write(json.dumps(told, ensure_ascii=False).encode("utf-8", "replace") + b"\n")
