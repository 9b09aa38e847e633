"""A launch as a profile: the way from somebody's command to `glm5-serve up`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from launcher.config.profile import Profile, by_role
from launcher.config.words import wanted
from launcher.engines.engine import dialect
from launcher.engines.members import whole
from launcher.engines.options import Option
from launcher.engines.translation import NUMBERS
from launcher.errors import Exit, UserError
from launcher.formats.edits import Edit
from launcher.formats.launches import Launch
from launcher.lint.by_option import canonical_name
from launcher.lint.rewrite import GUESS, rewrite
from launcher.lint.run import Judged
from launcher.plan.plan import ENGINE
from launcher.redact.secrets import SECRET_VARIABLE

INTEGER = re.compile(r"-?[0-9]{1,18}")
EXAMPLE = "--gpu rtx-pro-6000"
HERE = "`glm5-serve render --profile ./NAME.toml` shows what becomes of it"


def profile(judged: Judged, place: str) -> tuple[str, tuple[str, ...]]:
    """TOML that says what a launch says, changed where its release refuses it or it breaks there,
    and a line for each change, and for each word that has no place in it.

    Keys are left out, and variables that it hands on, with the place where they go. Raises
    UserError where a value comes from outside, or no command can be written.
    """
    launch, target = judged.launch, judged.target
    if outside := _outside(launch, judged):
        seen = ", ".join(outside[:6])
        fix = "a profile has none of these: write the values, or run lint where they are set"
        raise UserError(f"values come from outside: {seen}", fix=fix)
    found = rewrite(launch, target, judged.before)
    if found.obstacle:
        fix = "correct it first: `glm5-serve lint` says what each flag is"
        if found.obstacle == GUESS:
            fix = f"say which: --gpu PRODUCT (for example {EXAMPLE}), or --arch"
        raise UserError(f"no profile: {judged.hidden(found.obstacle)}", fix=fix, status=Exit.NO)
    flags, secrets = _flags(found.launch, judged)
    env = {
        name: text
        for name, text in found.launch.env.items()
        if not SECRET_VARIABLE.search(name)
        and not _holds_key(text, judged)
        and not _is_handed_on(name, found.launch)
    }
    secrets += [_of_variable(name) for name in found.launch.env if name not in env]
    _require_profile(flags, env, launch.engine)
    name = dialect(launch.engine).name
    engine = {} if launch.engine == ENGINE else {"kind": launch.engine}
    needs = {} if target.is_guess or not target.arch else {"arch": target.arch}
    said = (*_changes(launch, found.edits), *_strays(found.launch, judged))
    made = "\n".join(
        [
            f"# From {place}, for {name} {target.release}. {HERE}",
            *secrets,
            *table("engine", engine),
            *table("needs", needs),
            *table("flags", flags),
            *table("env", env),
        ]
    )
    return made, said


def _changes(launch: Launch, edits: Sequence[Edit]) -> Iterator[str]:
    """What became of the words that the release refuses, or that break there, and why."""
    for edit in edits:
        old = [edit.variable] if edit.variable else launch.words[edit.at : edit.at + edit.count]
        new = [edit.value or ""] if edit.variable else edit.words
        became = f"now {' '.join(new)}" if any(new) else "left out"
        yield f"{' '.join(old) or launch.engine}: {became}: {edit.why}"
        launch = edit.applied(launch)


def _strays(launch: Launch, judged: Judged) -> Iterator[str]:
    """Words that are no option of the release."""
    within, secret = judged.target.known, dialect(launch.engine).secrets
    for given in whole(launch.given(within)):
        if not given.option and canonical_name(given, within) not in secret:
            yield f"{given.word}: left out: no option of {within.catalogue.engine} {within.name}"


def _outside(launch: Launch, judged: Judged) -> list[str]:
    """What comes from outside, but for keys: a profile has none of these."""
    within = judged.target.known
    secret = {
        value
        for given in launch.given(within)
        if canonical_name(given, within) in dialect(launch.engine).secrets
        for value in given.values
    }
    words = [word for word in launch.arguments if word.value.partition("=")[2] not in secret]
    words = [word for word in words if word.value not in secret]
    words += [
        word
        for name, word in launch.variables.items()
        if not SECRET_VARIABLE.search(name) and not _is_handed_on(name, launch)
    ]
    return [piece.text for word in words for piece in word.pieces if not piece.known]


def _is_handed_on(name: str, launch: Launch) -> bool:
    """Whether a variable is that of whoever starts it, by its own name: `docker run -e HF_HOME`."""
    word = launch.variables[name]
    return not word.known and word.value in (f"${name}", f"${{{name}}}")


def _holds_key(text: str, judged: Judged) -> bool:
    """Whether a value, or a part of it, is a key: the password of a URL, a member of JSON."""
    return judged.hidden(text) != text


def _of_variable(name: str) -> str:
    return f"# {name} is left out: export it where `up` is started"


def _of_secret(name: str) -> str:
    return f"# --{name} is left out: write the key into a file and say `up --api-key-file FILE`"


def _of_value(name: str) -> str:
    said = f"`up --set flags.{name}=VALUE`, which others on the host can read"
    return f"# --{name} is left out, for a key is in its value: {said}"


def _flags(launch: Launch, judged: Judged) -> tuple[dict[str, Any], list[str]]:
    """The options by canonical name, and what is to be said of those that hold keys."""
    within = judged.target.known
    secret = dialect(launch.engine).secrets
    flags: dict[str, Any] = {}
    found = []
    for given in whole(launch.given(within)):
        name = canonical_name(given, within)
        if name in secret:
            found.append(_of_secret(name))
        elif any(_holds_key(value, judged) for value in given.values):
            found.append(_of_value(name))
        elif given.option:
            flags[name] = _value(given.option, given.values)
    return flags, found


def _value(option: Option, words: Sequence[str]) -> Any:
    if option.takes == "nothing" or not words:
        return True
    values = [_typed(option, word) for word in words]
    return values if len(values) > 1 else values[0]


def _typed(option: Option, value: str) -> Any:
    if option.type in ("float", *NUMBERS) and INTEGER.fullmatch(value):
        return int(value)
    return float(value) if option.type == "float" else value


def _require_profile(flags: Mapping[str, Any], env: Mapping[str, str], engine: str) -> None:
    try:
        Profile.model_validate({"flags": by_role(flags, engine), "env": env})
    except ValidationError as error:
        what, fix = _refused(error.errors()[0], engine)
        raise UserError(f"no profile: {what}", fix=fix) from None


def _refused(problem: Any, engine: str) -> tuple[str, str]:
    """What a profile does not take, and what to do."""
    roles = {role: name for name, role in dialect(engine).roles.items()}
    name = ".".join(roles.get(part, part) for part in map(str, problem["loc"]))
    if problem["type"] == "missing":
        what = f"--{dialect(engine).option_of('model_path')} is missing"
        return what, "give it the whole command: a profile names a model"
    if isinstance(given := problem["input"], list):
        return f"{name} has {len(given)} values, and a profile one", "leave the others out"
    return f"{name}: {wanted(problem)}", "`glm5-serve lint` says what each flag is"


def table(name: str, values: Mapping[str, Any]) -> Iterator[str]:
    """The lines of a table of TOML, a blank one first; none for one without values."""
    if values:
        yield f"\n[{name}]"
        # JSON's texts, numbers and lists are TOML's, too.
        yield from (
            f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in values.items()
        )
