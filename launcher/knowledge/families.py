"""The kinds of ends that a server comes to: every log is of one, whether or not its cause is
known.
"""

from __future__ import annotations

from collections.abc import Mapping

UNKNOWN, STOPPED, SERVES, NO_LOG = "unknown", "stopped", "serves", "no-log"

FAMILIES: Mapping[str, str] = {
    STOPPED: "asked to stop",
    SERVES: "still serves",
    "gpu-memory": "GPU memory",
    "host-memory": "host memory, or a limit of it",
    "no-kernel": "kernel not built for this GPU",
    "cuda-fault": "CUDA fault",
    "hardware": "hardware: GPU, link or host",
    "hang": "hang, or a collective that timed out",
    "rendezvous": "rendezvous: ranks that do not find each other",
    "checkpoint": "checkpoint or tokenizer",
    "packages": "mismatch of packages, driver or container",
    "compiler": "compiler",
    "bad-argument": "bad argument",
    "disk": "disk or files",
    "network": "network or hub",
    "native-crash": "native crash",
    "killed": "killed from outside",
    "engine": "exception in the engine's own code",
    NO_LOG: "no log",
    UNKNOWN: "unknown",
}
