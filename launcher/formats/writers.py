"""The forms that a plan can be written in, by the name that `render --format` has for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from launcher.formats import shell, systemd
from launcher.plan.plan import Plan

WRITERS: Mapping[str, Callable[[Plan], str]] = {"shell": shell.write, "systemd": systemd.write}
