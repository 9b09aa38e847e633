"""Import-only stand-in for SGLang's compiled kernels, which have no build for a CPU without AMX.

SGLang's torch-native layers run instead; a kernel that is called all the same says so.
"""

from collections.abc import Callable

__version__ = "0.4.10"


def __getattr__(name: str) -> Callable[..., None]:
    if name.startswith("__"):
        raise AttributeError(name)

    def missing(*_: object, **__: object) -> None:
        raise NotImplementedError(f"sgl_kernel.{name} has no CPU build here")

    missing.__name__ = name
    return missing
