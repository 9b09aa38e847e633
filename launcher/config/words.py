"""What pydantic finds wrong with a value, in our words: the one place that reads its errors.

Its own ("Input should be a valid integer") are for who writes models. A kind of error that is not
known here is said without them: that the value cannot be used.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from launcher.printable import cut

LONGEST = 80  # characters of a value that are shown
UNKNOWN = "cannot be used here"
# By the kind of an error; what stands in braces is of its context.
WANTED = {
    "bool_type": "wanted true or false",
    "dict_type": "wanted a table",
    "finite_number": "wanted a number, and a finite one",
    "float_type": "wanted a number",
    "greater_than": "wanted more than {gt}",
    "greater_than_equal": "wanted {ge} or more",
    "int_type": "wanted a whole number",
    "less_than_equal": "wanted {le} or less",
    "list_type": "wanted a list",
    "literal_error": "wanted {expected}",
    "model_type": "wanted a table",
    "string_too_short": "wanted some text",
    "string_type": "wanted text",
    "string_unicode": "wanted text in UTF-8",
    "too_long": "wanted {max_length} of them or fewer",
    "too_short": "wanted {min_length} of them or more",
}
# What a pattern of the models asks for.
PATTERNS = {
    r"^[A-Za-z0-9][A-Za-z0-9._-]*$": "wanted letters, digits and . _ -, no sign first",
    r"^[A-Za-z0-9_-]+$": "wanted letters, digits, _ and -",
    r"^[A-Za-z0-9_:]+$": "wanted the name of an adapter, as ibv_devices prints it: mlx5_0",
    r"^[A-Za-z_][A-Za-z0-9_]*$": "wanted the name of a variable: letters, digits and _",
    r"^[^=]+$": "wanted a program whose path has no = in it",
    r"^[^\s/:=,^]{1,15}$": "wanted the name of an interface, as `ip link` prints it: eth0",
    r"^[a-z0-9-]+$": "wanted the id of a check: `glm5-serve checks` lists them",
    r"^sm\d{2,3}$": "wanted an architecture: sm100, sm103 or sm120",
}


def wanted(problem: Mapping[str, Any], *, is_secret: bool = False) -> str:
    """What belongs there, and what stands there instead unless that is a secret, of an error of
    pydantic's as `ValidationError.errors` has it.
    """
    kind, context = problem["type"], problem.get("ctx", {})
    match kind:
        case "value_error":
            what = str(context["error"])
        case "string_pattern_mismatch":
            what = PATTERNS.get(context["pattern"], UNKNOWN)
        case "too_short" if isinstance(problem["input"], str):
            what = WANTED["string_too_short"]
        case "missing":
            return "is required"
        case "extra_forbidden":
            return "unknown key"
        case _:
            what = WANTED.get(kind, UNKNOWN).format_map(
                {name: _number(value) for name, value in context.items()}
            )
    return what if is_secret else f"{what}, not {shown(problem['input'])}"


def shown(value: Any) -> str:
    """A value as an operator writes it, as much of it as anybody reads."""
    if isinstance(value, str):
        return repr(cut(value, LONGEST))
    try:
        return cut(json.dumps(value, default=str), LONGEST)
    except (RecursionError, TypeError, ValueError):
        return "what stands there"


def _number(value: Any) -> Any:
    """A bound without the decimals that it does not have."""
    if isinstance(value, float) and value.is_integer():
        return f"{value:,.0f}" if value >= 1e6 else f"{value:.0f}"
    return value
