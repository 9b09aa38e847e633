"""Breaks the Python process that it is in, at a line of its own log.

In PYTHONPATH, every interpreter imports it.

$SABOTAGE names a JSON file {"on": text of the line, "who": "rank", "core" or "server",
"do": what}. It is taken away by the process that it strikes, so that it strikes once:

    exit:N  kill  stop (SIGSTOP)  hang  spin  deaf (to SIGTERM)  raise (out of GPU memory)  flood:MB
    line:MB  garble (while there is a file $SABOTAGE.garble, each token is read as another one)
"""

import json
import logging
import os
import signal
import time
from pathlib import Path

FILE = os.environ.get("SABOTAGE")


def said(text):
    """Called with each line after it was logged."""
    try:
        plan = json.loads(Path(FILE).read_text())
        if plan["on"] not in text or not is_meant(plan["who"]):
            return
        Path(FILE).rename(f"{FILE}.{os.getpid()}")
    except (OSError, ValueError, TypeError):
        return
    strike(plan["do"])


RANKS, CORE = ("sglang::scheduler", "VLLM::Worker"), "VLLM::EngineCore"


def is_meant(who):
    title = Path("/proc/self/cmdline").read_bytes().split(b"\0")[0].decode()
    rank = title.startswith(RANKS)
    if who == "core":
        return title.startswith(CORE)
    if who == "server" or "STUB_FAULTS" in os.environ:  # the stand-in's server speaks for its ranks
        return not (rank or title.startswith(CORE))
    return rank


def strike(what):
    what, _, much = what.partition(":")
    if what == "exit":
        os._exit(int(much))
    elif what in ("kill", "stop"):
        os.kill(os.getpid(), signal.SIGKILL if what == "kill" else signal.SIGSTOP)
    elif what == "hang":
        time.sleep(1e6)
    elif what == "spin":
        while True:
            pass
    elif what == "deaf":
        import ctypes

        ctypes.CDLL(None).signal(signal.SIGTERM, ctypes.c_void_p(1))
    elif what == "raise":
        raise RuntimeError(
            "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of"
            " 94.97 GiB"
        )
    elif what == "garble":
        garble(Path(f"{FILE}.garble"))
    elif what in ("flood", "line"):
        end = b"\n" if what == "flood" else b""
        piece = b"x" * 4095 + end
        for _ in range(int(much) * 256):
            os.write(2, piece)
        os.write(2, b"\n")


def garble(wanted):
    from torch.nn import functional

    embedding = functional.embedding

    def other(ids, weight, *rest, **named):
        read = weight.shape[0] - 1 - ids if wanted.exists() else ids
        return embedding(read, weight, *rest, **named)

    functional.embedding = other


if FILE:
    handle = logging.Logger.handle

    def after(logger, record):
        handle(logger, record)
        said(record.getMessage())

    logging.Logger.handle = after
