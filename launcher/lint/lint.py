"""Judging somebody's launch command for a release and an architecture, and writing the one that
should be.
"""

from __future__ import annotations

import difflib
import re
import shlex
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launcher.config.layers import Layer
from launcher.config.profile import Profile, by_role
from launcher.config.resolve import Composed, PlanRequest, resolve
from launcher.engines import issues, traits
from launcher.engines.descriptions import MEANINGS
from launcher.engines.engine import NAMES, dialect
from launcher.engines.issues import Shows
from launcher.engines.match import Case
from launcher.engines.options import Given, Option, Release
from launcher.engines.remedy import Remedy
from launcher.engines.tables import complaints
from launcher.engines.target import Target
from launcher.errors import UserError
from launcher.formats import shell
from launcher.formats.launches import Launch
from launcher.knowledge import forks, nccl
from launcher.lint import room
from launcher.lint.concerns import Concern, Verdict, guesses, of_issue
from launcher.lint.parsing import WHEEL, of_option
from launcher.plan.evidence import Known
from launcher.plan.plan import Plan, Setting
from launcher.plan.policy import Policy
from launcher.redact.keys import SECRET_VARIABLE

MOST_HINTS = 20  # unknown options of a launch whose meaning is looked for
ON_A_HOST = ("shell", "systemd", "options")  # forms of a launch that is in no container
OF_OTHERS = "for others than the engine and NCCL"
OUTSIDE = "filled in from outside: unknown here"
TELLING = (
    "NCCL_",
    "SGLANG_",
    "SGL_",
    "CUDA_",
    "PYTORCH_",
    "TORCH_",
    "OMP_",
    "FLASHINFER_",
    "SAFETENSORS_",
)


@dataclass(frozen=True)
class Entry:
    """What becomes of one flag or variable; `concerns` are all that was found, the worst first."""

    name: str  # as it stands in the command, `--tp` or `NCCL_P2P_LEVEL`
    value: str
    verdict: Verdict
    why: str
    known: Known
    source: str
    when: Shows | None = None
    instead: str | None = None
    concerns: tuple[Concern, ...] = ()


def lint(launch: Launch, target: Target, others: Sequence[Launch] = ()) -> list[Entry]:
    """One entry for each flag and variable of a launch, in its order; the `others` are of the same
    text.
    """
    within = target.known
    givens = within.given(launch.words)
    told = _told(_case(launch, givens, target, within), within, _open_names(launch, givens, within))
    if not launch.references:
        for name, concern in _of_room(launch, givens, target, others):
            told[name].append(concern)
    entries = []
    unknown = 0
    for at, given in enumerate(givens):
        value, name = " ".join(given.values), given.name.lstrip("-")
        if launch.outside & {given.word, *given.values}:
            entries.append(Entry(given.word, value, Verdict.FINE, OUTSIDE, Known.READ, WHEEL))
            continue
        unknown += given.option is None
        concerns = [
            *of_option(given, givens[at + 1 :], within, hints=unknown <= MOST_HINTS),
            *told[canonical_name(given, within)],
        ]
        entries.append(_entry(given.word, value, name, concerns, given.option))
    for name, word in launch.variables.items():
        entries.append(_entry(name, word.value, name, told[name], None))
    for name, value in launch.hidden.items():
        if name.startswith(TELLING) and name not in launch.env:
            why = "is set, but not exported: the server does not get it"
            instead = f"export {name}={value}" if launch.form == "shell" else f"-e {name}={value}"
            concern = Concern(
                Verdict.INERT,
                why,
                Known.READ,
                "how shells and containers pass variables",
                instead=instead,
            )
            entries.append(_entry(name, value, name, [concern], None))
    return entries


def _of_room(
    launch: Launch, givens: Sequence[Given], target: Target, others: Sequence[Launch]
) -> Iterator[tuple[str, Concern]]:
    """What can be said of the GPUs' memory, and of what."""
    within = target.known
    plan = as_plan(launch, givens, target, within)
    beside = [
        (f"the launch of line {one.line}", as_plan(one, within.given(one.words), target, within))
        for one in others
        if one.engine == launch.engine and not one.references
    ]
    blamed = "tp-size" if plan.flag("tp-size") is not None else "model-path"
    found = room.concern(plan, target) or room.shared(plan, target, beside)
    if found:
        yield blamed, found


def _open_names(launch: Launch, givens: Sequence[Given], within: Release) -> frozenset[str]:
    """The options and variables whose values come from outside."""
    variables = {name for name, word in launch.variables.items() if not word.known}
    options = {canonical_name(one, within) for one in givens if launch.outside & {*one.values}}
    return frozenset(variables | options)


def _entry(
    word: str, value: str, name: str, concerns: Sequence[Concern], option: Option | None
) -> Entry:
    if not concerns:
        default = f"; default {option.default}" if option and option.default is not None else ""
        why = MEANINGS.get(name, "accepted" if option else _of_whom(name)) + default
        return Entry(word, value, Verdict.FINE, why, Known.READ, WHEEL)
    ranked = sorted(concerns, key=lambda concern: -concern.verdict.rank)
    worst = ranked[0]
    why = "; ".join(dict.fromkeys(concern.why for concern in ranked))
    return Entry(
        word,
        value,
        worst.verdict,
        why,
        worst.known,
        worst.source,
        worst.when,
        worst.instead,
        tuple(ranked),
    )


def _of_whom(name: str) -> str:
    """Whose variable it is, for one that nothing is said of."""
    if name in nccl.NAMES:
        return "NCCL reads it"
    engines = (dialect(known) for known in NAMES)
    return next(
        (f"{one.name} reads it" for one in engines if one.options.read_by(name)),
        f"for {fork.name}" if (fork := forks.of_variable(name)) else OF_OTHERS,
    )


def _told(case: Case, within: Release, unknown: frozenset[str]) -> defaultdict[str, list[Concern]]:
    """What issues and guesses say, by the canonical name of the option, or the variable."""
    told: defaultdict[str, list[Concern]] = defaultdict(list)
    for name, concern in guesses(case):
        told[name].append(concern)
    for issue in issues.issues(case):
        if not unknown & {*issue.blames, *issue.when.names}:
            told[issue.name].append(of_issue(issue, within))
    return told


def canonical_name(given: Given, within: Release) -> str:
    """The one name of what a command line gives, abbreviated or not."""
    return within.catalogue.canonical(given.name.lstrip("-"))


def as_plan(launch: Launch, givens: Sequence[Given], target: Target, within: Release) -> Plan:
    """The launch as a plan, for issues to be found in: its flags under their canonical names."""
    settings = {}
    for given in givens:
        if given.word.startswith("-"):
            name = canonical_name(given, within)
            settings[name] = Setting(
                given.word, " ".join(given.values), "the command", "", option=name
            )
    values = {name: setting.value for name, setting in settings.items()}

    def count(name: str) -> int:
        return max(1, int(values[name])) if values.get(name, "").isdecimal() else 1

    model = traits.of(target.model, values.get("model-path", ""))
    replicas = 1 if "enable-dp-attention" in values else count("dp-size")
    return Plan(
        name="the command",
        program=("python3", *dialect(target.engine).program),
        arguments=launch.words,
        env=dict(launch.env),
        host=values.get("host", "127.0.0.1"),
        port=0,
        model=values.get("model-path", ""),
        model_name="",
        policy=Policy(),
        settings=tuple(settings.values()),
        words={},
        gpus=max(1, count("tp-size") * count("pp-size") * replicas // count("nnodes")),
        arch=target.arch,
        engine=target.engine,
        gpu=target.gpu,
        release=target.nearest,
        traits=tuple(sorted(model.traits)),
        notes=(model.note,) if model.note else (),
    )


def _case(launch: Launch, givens: Sequence[Given], target: Target, within: Release) -> Case:
    return issues.of_plan(as_plan(launch, givens, target, within), target.release)


def notes(launch: Launch, target: Target) -> tuple[str, ...]:
    """What is assumed, or not known, about the launch as a whole."""
    within = target.known
    givens = within.given(launch.words)
    old = issues.unchecked(_case(launch, givens, target, within))
    of_old = (
        f"nobody looked at {issue.id} for SGLang {target.release}: up to {issue.checked}"
        f" {issue.what}"
        for issue in old
    )
    left_out = (f"left out: {what}" for what in complaints())
    outside = ", ".join(launch.references[:6])
    filled = (f"filled in from outside, unknown here: {outside}",) if outside else ()
    plan = as_plan(launch, givens, target, within)
    doubt = None if outside else room.doubt(plan, target)
    return (*filled, *plan.notes, *((doubt,) if doubt else ()), *of_old, *left_out)


def better(launch: Launch, entries: Sequence[Entry], target: Target) -> Plan | None:
    """The command that should be: what the release accepts of it, with the first remedy of each
    issue, and what rules choose.

    None without a model.
    """
    within = target.known
    if obstacle(launch, target):
        return None
    flags = dict(
        kept for given in within.given(launch.words) if (kept := _kept_flag(given, within))
    )
    env = dict(launch.env)
    for concern in (concern for entry in entries for concern in entry.concerns):
        # In a container loopback is the container's: a port that is published would reach nobody.
        is_published = (
            launch.form not in ON_A_HOST and concern.remedy and "host" in concern.remedy.set
        )
        if concern.remedy and not is_published:
            _apply(concern.remedy, flags, env, within)
    place = "the command"
    tree = {"flags": flags, "env": env}
    try:
        named = {"engine": {"kind": target.engine}, "flags": by_role(flags, target.engine)}
        profile = Profile.model_validate(tree | named)
    except ValueError:
        return None
    names = [*(f"flags.{name}" for name in flags), *(f"env.{name}" for name in env)]
    origin = dict.fromkeys(names, Layer(place, tree))
    composed = Composed(place, Path(place), profile, flags, origin)
    try:
        plan = resolve(composed, PlanRequest(place), Path(), {}, target)
    except UserError:
        return None
    again = lint(Launch.of(plan.arguments, plan.env), target)
    return None if any(entry.verdict.says_no for entry in again) else plan


def obstacle(launch: Launch, target: Target) -> str:
    """Why no command is written in place of a launch; "" where nothing is in the way."""
    if launch.references:
        return f"values come from outside: {', '.join(launch.references[:6])}"
    named = {canonical_name(given, target.known) for given in target.known.given(launch.words)}
    return "" if "model-path" in named else "without --model-path there is nothing to start"


def secrets(launch: Launch, target: Target) -> tuple[str, ...]:
    """The keys and tokens in a launch, which nobody is to be shown."""
    options = {_letters(name) for name in dialect(target.engine).secrets}
    given = (
        value
        for one in target.known.given(launch.words)
        if {_letters(one.word.partition("=")[0]), _letters(one.name)} & options
        for value in (*one.values, one.word.partition("=")[2])
    )
    variables = (
        word.value
        for name, word in launch.variables.items()
        if word.known and SECRET_VARIABLE.search(name)
    )
    named = re.compile(r"\$\w+|\$\{\w+\}|\{\{[^{}]*\}\}|<[\w-]+>")  # shows no more than a name
    found = {value for value in (*given, *variables) if value and not named.fullmatch(value)}
    return tuple(sorted(found, key=len, reverse=True))


def _letters(name: str) -> str:
    """A name however somebody spells it: `--api_key` is `--api-key`."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _apply(remedy: Remedy, flags: dict[str, Any], env: dict[str, str], within: Release) -> None:
    for name in remedy.unset:
        (env if name.isupper() else flags).pop(name, None)
    for name, value in remedy.set.items():
        if name.isupper():
            env[name] = value
        elif option := within.options.get(within.renamed(f"--{name}")):
            flags[name] = _value(option, [value] if value else [])


def _kept_flag(given: Given, within: Release) -> tuple[str, Any] | None:
    """The flag under its canonical name, with its value as a profile would write it; None where the
    release refuses it under every name that it has for it.
    """
    word = given.word if given.option else within.renamed(given.word)
    words = [f"{word}={given.values[0]}"] if len(given.values) == 1 else [word, *given.values]
    again = within.given(words)[0]
    if again.option is None or again.problem:
        return None
    return within.catalogue.canonical(again.name[2:]), _value(again.option, again.values)


def _value(option: Option, words: Sequence[str]) -> Any:
    if option.takes == "nothing":
        return True
    values = [_typed(option, word) for word in words]
    return values if option.takes == "many" else values[0] if values else True


def _typed(option: Option, value: str) -> Any:
    if option.type in ("int", "float", "size") and value.isascii() and value.isdigit():
        return int(value)
    try:
        return float(value) if option.type == "float" else value
    except ValueError:
        return value


def difference(
    launch: Launch, plan: Plan, hidden: Callable[[str], str] = lambda text: text
) -> list[str]:
    """The command as it stands and as it should be, a flag or variable a line, as a diff; `hidden`
    takes the secrets out of a text.
    """
    after = [
        line.strip().removesuffix(" \\")
        for line in hidden(shell.write(plan)).split("\n")
        if line and not line.startswith("#")
    ]
    lines = difflib.unified_diff(
        list(map(hidden, _listed(launch))), after, lineterm="", n=len(after) + len(launch.words)
    )
    return [f"{line[0]} {line[1:]}" for line in list(lines)[3:]]


def _listed(launch: Launch) -> list[str]:
    lines = [f"{name}={value}" for name, value in launch.env.items()]
    lines.append(shlex.join(("python3", *dialect(launch.engine).program)))
    for word in launch.words:
        if word.startswith("--") or len(lines) == len(launch.env) + 1:
            lines.append(word)
        else:
            lines[-1] += f" {word}"
    return lines
