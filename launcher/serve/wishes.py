"""What an operator can ask a launcher for, and the signals that say so."""

from __future__ import annotations

import signal
from enum import Enum


class Request(Enum):
    """What the operator asks for while a model is up."""

    STOP = "stop"
    RESTART = "restart"
    KILL = "kill"


# What `down --now` sends: no terminal, no log rotation and no service manager sends it by itself.
NOW = signal.SIGRTMIN
# What `down` sends, so that events and status tell it from anybody's SIGTERM; as unlikely as NOW.
DOWN = signal.SIGRTMAX
# How a wish reaches the launcher. One that comes twice is the same wish: only NOW kills.
WISHES = {
    signal.SIGTERM: Request.STOP,
    signal.SIGINT: Request.STOP,
    signal.SIGHUP: Request.STOP,  # the terminal was closed
    signal.SIGQUIT: Request.STOP,
    DOWN: Request.STOP,
    signal.SIGUSR1: Request.RESTART,
    NOW: Request.KILL,
}
