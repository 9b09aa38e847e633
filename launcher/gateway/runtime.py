"""How a running smg is watched: it answers `/liveness`, and whatever else there is to say of it is
said of its workers.

Endpoints as in smg 1.13.0 (run).
"""

from __future__ import annotations

import re

from launcher.engines.activity import Allowed
from launcher.engines.engine import runtime as engine
from launcher.engines.figures import Figures
from launcher.engines.key import Key
from launcher.engines.loading import Loading
from launcher.engines.log import Log
from launcher.engines.runtime import Runtime
from launcher.engines.server import Answer, Server, talk
from launcher.gateway import NAME

NEVER = r"(?!)"
LOG = Log(
    name=NAME,
    opens=(),
    bars=(),
    ready="",
    doom=re.compile(NEVER),
    limits=lambda text: None,
    busy=lambda text: None,
    pause=lambda line: None,
    drained=re.compile(NEVER),
    marks=NEVER,
    places=(),
    start_words=NEVER,
    stop_words=NEVER,
    work_words=NEVER,
    idle_words="",
    stuck_words="",
    reads_words="",
    waiting_words="",
    work=1,
    exception_words=NEVER,
    death_words=NEVER,
    request_words=NEVER,
    request_files=NEVER,
)


def alive(server: Server, within: float) -> Answer:
    """Whether it listens: one without any worker does, and says so to its clients."""
    status, _ = talk(server, "GET", "/liveness", None, within)
    return Answer(status == 200, "listens" if status == 200 else f"/liveness says {status}")


RUNTIME = Runtime(
    name=NAME,
    package=NAME,
    log=LOG,
    ranks="smg::",  # its one process: "smg::router"
    shared=(),
    key=Key(),  # its program reads the file
    first_token=alive,
    alive=alive,
    leads=alive,
    paused=lambda _: False,
    in_flight=lambda server: 0,  # each has a client that is connected, and those are counted
    figures=lambda server, within, *, whole: Figures(),  # its workers have them
    allowed=lambda plan: Allowed(pauses=False),
    loading=lambda plan: Loading(),
    ready_since="",
    ends_well=False,
    readiness=lambda plan: "/readiness",  # 503 without a worker
)


def runtime(name: str) -> Runtime:
    """How what a plan starts is watched: an engine's server, or the gateway. Raises ValueError for
    what is neither.
    """
    return RUNTIME if name == NAME else engine(name)
