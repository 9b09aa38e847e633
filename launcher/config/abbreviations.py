"""Options that an author abbreviated, as argparse lets people do, by the names that the release
takes them for.
"""

from __future__ import annotations

from dataclasses import replace

from pydantic import ValidationError

from launcher.config import errors
from launcher.config.composed import Composed
from launcher.config.profile import by_role
from launcher.engines.options import Release
from launcher.engines.target import Target
from launcher.errors import UserError


def spelled_out(composed: Composed, target: Target) -> Composed:
    """The profile with each abbreviation as the option that the release, which is known, takes it
    for.

    Raises UserError where that one is set, too: which of them would count is an accident.
    """
    if not target.release or target.doubt:
        return composed
    meant = {name: _meant(name, target.known) for name in composed.flags}
    if all(name == option for name, option in meant.items()):
        return composed
    for name, option in meant.items():
        if option != name and list(meant.values()).count(option) > 1:
            place = composed.origin[f"flags.{name}"].place
            raise UserError(
                f"{place}: flags.{name}: {composed.dialect.name} {target.nearest} takes it for"
                f" {option}, which is set, too",
                fix=f"write flags.{option} in its place",
            )
    flags = {meant[name]: value for name, value in composed.flags.items()}
    origin = composed.origin | {
        f"flags.{option}": composed.origin[f"flags.{name}"] for name, option in meant.items()
    }
    passed = {name: value for name, value in flags.items() if value is not False}
    try:
        kind = composed.profile.engine.kind
        typed = type(composed.profile.flags).model_validate(by_role(passed, kind))
    except ValidationError as wrong:
        told = errors.in_words(wrong, origin, composed.path, composed.dialect)
        raise UserError("; ".join(told), fix="correct it where it stands") from None
    profile = composed.profile.model_copy(update={"flags": typed})
    return replace(composed, profile=profile, flags=flags, origin=origin)


def _meant(name: str, known: Release) -> str:
    """The canonical name of what argparse takes a name for, itself where that is no other."""
    found = known.candidates(f"--{name}")
    is_own = known.accepts(known.renamed(f"--{name}")) or len(found) != 1
    return name if is_own else known.catalogue.canonical(found[0].name[2:])
