"""To be replaced."""

from launcher.engines.sglang.memory import MEMORY

__all__ = ["MEMORY"]
