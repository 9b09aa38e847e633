"""A start that was refused, left as the state of its instance: where a service manager made it,
nobody reads what it prints.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from launcher.errors import UserError, in_words
from launcher.operate.whose import is_managed
from launcher.serve.sdnotify import Notifier
from launcher.statedir import verdict
from launcher.statedir.folder import StateDir
from launcher.statedir.home import state_home
from launcher.statedir.replica import split


@contextlib.contextmanager
def told(name: str, environ: Mapping[str, str]) -> Iterator[None]:
    """Have what refuses the start of a profile, or of a gateway, be in its state, its events and
    its metrics; where a launcher is up that changes nothing. A refusal on somebody's terminal is
    told there alone.
    """
    try:
        yield
    except (UserError, OSError) as error:
        if is_managed(environ):
            why = in_words(error)
            if isinstance(error, UserError):
                what = error.what.removesuffix("; nothing was started")
                why = f"{what}; fix: {error.fix.partition(chr(10))[0]}"
            Notifier(environ).tell(f"STATUS=failed: {why}")
            with contextlib.suppress(UserError):
                _leave(name, environ, why)
        raise


def _leave(name: str, environ: Mapping[str, str], why: str) -> None:
    word, number = split(name)
    bare = Path(word).name.removesuffix(".toml")  # a profile may be a path
    instance = StateDir(state_home(environ), f"{bare}@{number}" if number else bare)
    verdict.leave(instance, "failed", f"its start was refused: {' '.join(why.split())}")
