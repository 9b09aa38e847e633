"""What a release's parser makes of one option of somebody's command."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from dataclasses import replace

from launcher.engines import parts
from launcher.engines.dialect import Dialect, Gone
from launcher.engines.engine import NAMES, counterparts, dialect
from launcher.engines.issues import Shows
from launcher.engines.options import Given, Option, Release, nearest_name, version
from launcher.engines.values import misfit, of_member
from launcher.knowledge import forks, models, others
from launcher.knowledge.wrappers import Wrapper
from launcher.lint.concerns import Concern, Verdict
from launcher.plan.evidence import Known

WHEEL = "the wheel of each release"
NO_PART = re.compile(r"(--[\w-]+) has no ([\w.-]+)")
GONE = " any more"
LAST_COUNTS = "given again further on: the last one counts"
MEANT = "did you mean"  # of a slip
GLUED = re.compile(r"(--?[a-zA-Z][\w-]*?)(-?\d[\w.]*)")  # `-tp8`: an option, and a number


def of_option(
    given: Given, stead: Given | None, within: Release, *, hints: bool, is_open: bool = False
) -> Iterator[Concern]:
    """What the release's parser makes of it; `stead`: what counts in its stead, if anything does;
    `hints`: look for what an unknown name means; `is_open`: nobody knows whether the two differ.
    """
    known = Known.RUN if within.name == within.catalogue.newest else Known.READ
    if given.option is None:
        told = _nameless(given, within, hints=hints)
        yield replace(told, known=known) if told.source == WHEEL else told
        return
    when = _refused_when(given, given.option)
    if given.problem and not (stead and when is Shows.LOAD):
        instead = "one of its choices" if given.option.choices else "a value that it takes"
        part, history = _of_part(given, within)
        why = f"{given.problem}{history}"
        instead = _own(within).gone_parts.get(part, "leave it out") if part else instead
        yield Concern(Verdict.WRONG, why, known, WHEEL, when, instead)
    if given.option.deprecated:
        yield Concern(
            Verdict.DEPRECATED,
            "a coming release refuses it",
            known,
            WHEEL,
            Shows.PARSE,
            given.option.instead,
        )
    elif not (within.accepts(given.read) or given.is_positional):
        name = given.option.name
        why = (
            f"an abbreviation: argparse takes it for {name} while no other option starts like that"
        )
        yield Concern(Verdict.ABBREVIATED, why, known, WHEEL, instead=name)
    if stead:
        is_same = (stead.setting, stead.member, stead.values) == (
            given.setting,
            given.member,
            given.values,
        )
        why = "given again further on" if is_same else _lost(given, stead, within)
        is_inert = is_same or (is_open and why == LAST_COUNTS)
        verdict = Verdict.INERT if is_inert else Verdict.CONFLICTS
        yield Concern(verdict, why, known, WHEEL, Shows.PARSE)


def _of_part(given: Given, within: Release) -> tuple[str, str]:
    """The part of a JSON option that the release has not, as `option.part`, and which releases
    have it; "" and "" for another problem, or for a slip.
    """
    found = NO_PART.fullmatch(given.problem or "")
    if not found:
        return "", ""
    option, part = found.groups()
    there = [
        name
        for name in within.catalogue.releases
        if (known := within.catalogue.release(name).options.get(option)) and part in known.parts
    ]
    before = [name for name in there if version(name) < version(within.name)]
    if before:
        return f"{option[2:]}.{part}", f"{GONE}: {before[-1]} was the last"
    return f"{option[2:]}.{part}", f" before {there[0]}" if there else ""


def _refused_when(given: Given, option: Option) -> Shows:
    """When a value is refused: what counts alone is looked at after argparse, to which JSON is fine
    whatever is within.
    """
    is_json = option.type == "json" and bool(given.values)
    is_within = is_json and (given.member or not misfit("", "json", (), given.values[0]))
    return Shows.LOAD if option.late or is_within else Shows.PARSE


def unjudged(given: Given) -> str:
    """What of an option's value nobody here judges, in words; "" where all of it is judged, or is
    no JSON.
    """
    option, text = given.option, " ".join(given.values)
    if option is None or given.problem or option.takes == "nothing":
        return ""
    if given.member:
        text = json.dumps({given.member: of_member(given.member, text)})
    found = parts.unjudged(option.parts, text)
    if not found:
        return ""
    return f"what {' and '.join(found)} holds" if all(found) else "what is within"


def _lost(given: Given, stead: Given, within: Release) -> str:
    """Why what is given does not count beside what does."""
    if within.catalogue.positional and (given.is_positional or stead.is_positional):
        return f"{given.word} and {stead.word} both name the model: one of them is refused"
    if stead.member and not given.member:
        return f"given in parts, too ({stead.word}): they alone count, wherever they stand"
    if given.member and stead.read != given.read:
        return f"given in parts by another of its names, too: {stead.word} counts alone"
    return LAST_COUNTS


def passed_over(given: Given, wrapper: Wrapper, within: Release) -> str | None:
    """Why the release's parser never sees what a launch through a program with options of its own
    gives; None where it does.
    """
    if given.option:
        name = within.catalogue.canonical(given.name.lstrip("-"))
        is_its_own = bool(given.values) and wrapper.takes(name, " ".join(given.values))
        return f"{wrapper.name} reads it" if given.problem and is_its_own else None
    if wrapper.has(given.word) and not within.catalogue.has(given.read):
        return f"{wrapper.name} reads it"
    if is_unjudged(given, within):
        engine = within.catalogue.engine
        return f"not judged: no release of {engine} has it, {wrapper.name} may"
    return None


def of_its_fork(given: Given, known: Collection[str]) -> forks.Fork | None:
    """The fork, among those that a launch may be, which has an option that the release lacks, or a
    value that it refuses.
    """
    if given.option and not (given.problem and given.option.choices):
        return None
    word = given.read or given.word
    found = [forks.of_choice(one) for one in given.values] if given.option else []
    return next((one for one in (forks.of_option(word), *found) if one and one.id in known), None)


def is_unjudged(given: Given, within: Release) -> bool:
    """Whether an option is none of any release, nor of a fork, nor short for one."""
    is_option = given.option is None and given.word.startswith("-")
    known = within.catalogue.accepted_by(given.read) or within.candidates(given.read)
    return is_option and not known and not forks.of_option(given.word)


def may_be_built_in(given: Given, within: Release) -> bool:
    """Whether a build that is none of the releases may take what none of them does: no slip, and
    nothing that is known to be another program's.
    """
    word = given.read or given.word
    if given.option:
        if NO_PART.fullmatch(given.problem or ""):  # no slip
            return not _of_part(given, within)[1].startswith(GONE)
        if given.option.parts and given.problem:
            return _refused_when(given, given.option) is Shows.LOAD and MEANT not in given.problem
        problem = given.problem or ""
        return bool(problem and given.option.choices) and MEANT not in problem
    if given.is_positional or (given.problem or "").startswith("ambiguous"):
        return False
    releases = within.catalogue.accepted_by(word)
    if any(version(name) < version(within.name) for name in releases):
        return False
    known = gone_option(word, within) or forks.of_option(word) or others.of_option(word)
    return not (known or _carried(word, within) or nearest_name(word, within))


def _nameless(given: Given, within: Release, *, hints: bool) -> Concern:
    """A word that is no option of this release: taken away, not there yet, ambiguous, or never
    heard of.
    """
    word, known = given.read or given.word, Known.READ
    instead = within.replacement(word)
    if given.is_positional:
        fix = "leave it out" if not word.startswith("-") else "write it as two words, or with ="
        fix = named_model(given, within).replace("=", " ", 1) or fix
        return Concern(Verdict.UNKNOWN, given.problem or "", known, WHEEL, Shows.PARSE, fix)
    there = within.catalogue.accepted_by(word)
    here = version(within.name)
    earlier = [name for name in there if version(name) < here]
    later = [name for name in there if version(name) > here]
    other = others.of_option(word) if within.catalogue.has_others else None
    if (given.problem or "").startswith("ambiguous"):
        before = f"removed after {earlier[-1]}; " if earlier else ""
        return Concern(
            Verdict.AMBIGUOUS,
            f"{before}{given.problem}",
            known,
            WHEEL,
            Shows.PARSE,
            instead or (other.advice(word, within.catalogue.engine) if other else None),
        )
    if earlier:
        back = f", and back with {later[0]}" if later else ""
        why = f"removed after {earlier[-1]}{back}: the arguments are refused"
        matters = re.fullmatch(_own(within).matters, word.lstrip("-"))
        left_out = None if matters else "leave it out: nothing is known to take its place"
        return Concern(Verdict.REMOVED, why, known, WHEEL, Shows.PARSE, instead or left_out)
    if later:
        why = f"not in {within.name}: it comes with {later[0]}"
        return Concern(Verdict.UNKNOWN, why, known, WHEEL, Shows.PARSE, instead or "leave it out")
    if gone := gone_option(word, within):
        why = f"no release from {within.catalogue.releases[0]} on has it: the arguments are refused"
        return Concern(Verdict.UNKNOWN, why, known, WHEEL, Shows.PARSE, gone.advice)
    if fork := forks.of_option(word):
        return _of_fork(word, fork, within.catalogue.engine)
    if other:
        return _of_other(word, other, within.catalogue.engine)
    if carried := _carried(word, within):
        return carried
    if apart := glued(given.word, within):
        why = f"{word} is one word: no option to the parser, which wants its value apart"
        return Concern(Verdict.UNKNOWN, why, known, WHEEL, Shows.PARSE, f"{' '.join(apart)}")
    near = nearest_name(word, within) if hints else None
    why = f"no release from {within.catalogue.releases[0]} on has it: the arguments are refused"
    return Concern(
        Verdict.UNKNOWN,
        why,
        known,
        WHEEL,
        Shows.PARSE,
        f"did you mean {near}?" if near else "correct it, or leave it out",
    )


def named_model(given: Given, within: Release) -> str:
    """The option with its value in one word, for a model that stands where the release's parser
    wants an option; "" for what is none.
    """
    is_model = models.is_id(given.word) or given.word.startswith(("/", "./", "~/"))
    if given.option or not given.is_positional or not is_model:
        return ""
    return f"--{_own(within).option_of('model_path')}={given.word}"


def glued(word: str, within: Release) -> tuple[str, str] | None:
    """The option, and its value, that a word without a blank is meant to be: `-tp8`."""
    found = GLUED.fullmatch(word)
    option = within.options.get(found[1]) if found else None
    if not found or option is None or option.takes == "nothing":
        return None
    wrong = misfit(option.name, option.type, option.choices, found[2])
    return None if wrong else (found[1], found[2])


def gone_option(word: str, within: Release) -> Gone | None:
    """What is known of an option that older releases had than those that are known."""
    return None if within.accepts(word) else _own(within).gone.get(word.lstrip("-"))


def _own(within: Release) -> Dialect:
    """The engine of a release."""
    [own] = [name for name in NAMES if dialect(name).options is within.catalogue]
    return dialect(own)


def _of_fork(word: str, fork: forks.Fork, engine: str) -> Concern:
    ours = fork.instead.get(word.lstrip("-"))
    why = f"{fork.name} have it, no release of {engine}: the arguments are refused"
    fix = f"leave it out, or run that fork{f'; {engine} has {ours}' if ours else ''}"
    known, source = Known.of(fork.evidence), fork.source
    return Concern(Verdict.UNKNOWN, why, known, source, Shows.PARSE, fix)


def _carried(word: str, within: Release) -> Concern | None:
    """What is said of an option that another engine has."""
    [own] = [name for name in NAMES if dialect(name).options is within.catalogue]
    for name in NAMES:
        theirs, engine = dialect(name).options, within.catalogue.engine
        if name != own and theirs.has(theirs.reads(word, "").name):
            canonical = theirs.canonical(theirs.reads(word, "").name.lstrip("-"))
            why = (
                f"it is {theirs.engine}'s, no release of {engine} has it: the arguments are refused"
            )
            fix = counterparts(name, own).advice(canonical, engine)
            return Concern(Verdict.UNKNOWN, why, Known.READ, WHEEL, Shows.PARSE, fix)
    return None


def _of_other(word: str, other: others.Other, engine: str) -> Concern:
    why = f"it is {other.name}'s, no release of {engine} has it: the arguments are refused"
    known, fix = Known.of(other.evidence), other.advice(word, engine)
    return Concern(Verdict.UNKNOWN, why, known, other.source, Shows.PARSE, fix)
