"""Import-only stand-in: SGLang imports torchvision at start-up, and never calls it to serve text.

Any name of any submodule exists and is an empty class; `InterpolationMode` is an enum, because its
members are read when modules are imported.
"""

import enum
import importlib.abc
import importlib.machinery
import sys
import types

__version__ = "0.28.0"
_MODES = ("nearest", "nearest-exact", "bilinear", "bicubic", "box", "hamming", "lanczos")


def _attribute(module: types.ModuleType, name: str) -> type:
    if name.startswith("__"):
        raise AttributeError(name)
    if name == "InterpolationMode":
        made: type = enum.Enum(name, {mode.upper().replace("-", "_"): mode for mode in _MODES})
    else:
        made = type(name, (), {"__init__": lambda self, *_, **__: None})
    setattr(module, name, made)
    return made


class _Submodules(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, fullname, path=None, target=None):
        if fullname.startswith(f"{__name__}."):
            return importlib.machinery.ModuleSpec(fullname, self, is_package=True)
        return None

    def create_module(self, spec):
        module = types.ModuleType(spec.name)
        module.__path__ = []
        module.__getattr__ = lambda name: _attribute(module, name)
        return module

    def exec_module(self, module):
        pass


sys.meta_path.append(_Submodules())
