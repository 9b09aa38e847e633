"""Which variables of the environment are ours; asked at every start, and so without imports."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

# All that are read, beside those that set a profile's value.
KNOWN = ("GLM5_SERVE_STATE_DIR", "GLM5_SERVE_TRACEBACK", "GLM5_SERVE_SESSION")
PREFIX, VALUES = "GLM5_SERVE_", "GLM5_SERVE__"


def unread(environ: Mapping[str, str]) -> Iterator[str]:
    """A line for each variable that begins as ours do and is none, with the nearest that is."""
    for name in environ:
        if name.startswith(PREFIX) and not name.startswith(VALUES) and name not in KNOWN:
            from difflib import get_close_matches

            table = name.removeprefix(PREFIX)
            near = get_close_matches(name, KNOWN, 1, 0.8)
            meant = near[0] if near else f"{VALUES}{table}" if "__" in table else ""
            hint = f", did you mean {meant}?" if meant else ""
            yield f"{name} is no variable of glm5-serve, and is not read{hint}"
