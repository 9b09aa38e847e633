"""What is to be said of the directives beside a server's command: whether it starts, sees its GPUs,
stops without loss and comes back. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator

from launcher.engines.engine import runtime
from launcher.engines.issues import Shows
from launcher.engines.match import Case
from launcher.engines.slips import near
from launcher.formats import spans
from launcher.formats.directives import ENGINE, QUADLET, SHELL, Directive, Directives
from launcher.formats.launches import Launch
from launcher.formats.words import Word
from launcher.knowledge.directives import Row, Syntax, syntax, table
from launcher.lint.concerns import Concern, Verdict
from launcher.lint.confined import TESTS, Seen, number
from launcher.plan.evidence import Known
from launcher.redact.secrets import SECRET_VARIABLE

Said = tuple[str, str, Concern]
NOTE = "note"  # the verdict of a row that is told before the entries
LEGACY = ("StartLimitInterval", "StartLimitBurst", "StartLimitAction")  # [Service] has them, too
VERIFIED = "systemd-analyze verify of systemd 252"


def told(launch: Launch, case: Case, *, is_large: bool, unknown: frozenset[str]) -> Iterator[Said]:
    """What breaks, is risky or does nothing; `unknown` options and variables come from outside."""
    seen = Seen(launch.around.directives, launch, case, is_large, unknown)
    if not seen.directives.said:
        return
    if seen.directives.is_unit:
        yield from _ignored(seen.directives)
    for row, found in _rows(seen):
        if row.verdict != NOTE:
            value = found.value
            is_time = found.key.endswith("Sec") or "stop" in found.key.lower()
            what = row.what.format(value=f"{value} s" if is_time and value.isdecimal() else value)
            known, shows = Known.of(row.evidence), Shows(row.shows)
            concern = Concern(Verdict(row.verdict), what, known, row.source, shows, row.fix)
            yield found.key, value, concern


def notes(launch: Launch, case: Case, *, is_large: bool) -> Iterator[str]:
    """What is to be known of them before anything else."""
    seen = Seen(launch.around.directives, launch, case, is_large, frozenset())
    for row, found in _rows(seen) if seen.directives.said else ():
        if row.verdict == NOTE:
            yield row.what.format(value=found.value)


def shown_keys(launch: Launch) -> Iterator[tuple[str, Concern]]:
    """The variables of a unit that hold a key or a token: whoever asks systemd is told them."""
    if launch.around.directives.by not in (ENGINE, SHELL, QUADLET):
        return
    for name, word in launch.variables.items():
        if SECRET_VARIABLE.search(name) and _is_written(word):
            why = "every user of the host reads it: `systemctl show` has a unit's Environment="
            fix = "EnvironmentFile= with a file of mode 0600, or LoadCredential="
            yield name, Concern(Verdict.RISKY, why, Known.READ, "systemd.exec(5)", Shows.AFTER, fix)


def _is_written(word: Word) -> bool:
    return word.known and len(word.value) > 3 and not word.value.startswith("/")


def _rows(seen: Seen) -> Iterator[tuple[Row, Directive]]:
    for row in table().rows:
        if _holds(row, seen) and (found := _found(row, seen)) and not found.is_open:
            yield row, found


def _holds(row: Row, seen: Seen) -> bool:
    """Whether a row is of this engine, model and kind of unit."""
    ends_well = runtime(seen.case.target.engine).ends_well
    return (
        (not row.by or seen.directives.by in row.by)
        and row.engine in ("", seen.case.target.engine)
        and row.ends_well in (None, ends_well)
        and (not row.large or seen.is_large)
        and (not row.several or seen.ranks > 1)
        and not {*row.spares} & {*seen.launch.variables}
    )


def _found(row: Row, seen: Seen) -> Directive | None:
    """The directive that a row is told of."""
    said = seen.directives.last(*row.keys)
    if row.test and not row.values and row.below is None:
        return TESTS[row.test](seen, row.keys)
    if said is None or not _is_of(row, said):
        return None
    return said if not row.test or TESTS[row.test](seen, row.keys) else None


def _is_of(row: Row, said: Directive) -> bool:
    if row.below is not None:
        told = number(said)
        return told is not None and 0 < told < row.below
    is_so = spans.boolean(said.value)
    if "yes" in row.values or "no" in row.values:
        return is_so is ("yes" in row.values) or said.value in row.values
    return said.value.partition(":")[0] in row.values


def _ignored(directives: Directives) -> Iterator[Said]:
    """Lines that systemd does not take: of another section, misspelt, with a value that is none."""
    rows = syntax().rows
    sections = {key: one.section for one in reversed(rows) for key in one.keys}
    for said in directives.said:
        if said.section not in ("Unit", "Service", "Install", "Container"):
            continue
        where = sections.get(said.key)
        own = next((one for one in rows if said.key in one.keys), None)
        if where and where != said.section and not _is_elsewhere(said, directives):
            yield _line(said, f"systemd ignores it in [{said.section}]", f"put it into [{where}]")
        elif where is None and said.section != "Container" and (meant := near(said.key, sections)):
            if meant.lower() == said.key.lower() or meant in _judged():
                yield _line(said, "systemd does not know it, and ignores it", f"{meant}=")
        elif own and where == said.section and not _is_taken(own, said):
            fix = " or ".join(own.values) if own.values else f"a value, and no comment ({own.kind})"
            yield _line(said, "systemd does not take this value, and ignores the line", fix)


def _is_elsewhere(said: Directive, directives: Directives) -> bool:
    """Whether another section has a key of this name, too."""
    if said.section == "Container":  # quadlet has its own: Environment=, Notify=
        return said.key not in ("Restart", "RestartSec", "TimeoutStartSec", "TimeoutStopSec")
    is_legacy = said.section == "Service" and said.key in LEGACY
    return is_legacy or (directives.by == QUADLET and said.section not in ("Unit", "Service"))


def _judged() -> set[str]:
    return {key for row in table().rows for key in row.keys if key[0].isupper()}


def _is_taken(own: Syntax, said: Directive) -> bool:
    """Whether systemd takes a value; an empty one takes back, one from outside is not known."""
    if not said.value or said.is_open:
        return True
    match own.kind:
        case "bool":
            return spans.boolean(said.value) is not None
        case "span":
            return spans.seconds(said.value) is not None
        case "size":
            is_share = said.value.endswith("%")
            is_decimal = said.value[-1:] in "Bb" and said.value[-2:-1].isalpha()
            return is_share or (spans.size(said.value) is not None and not is_decimal)
        case "word":
            return said.value in own.values
    return True


def _line(said: Directive, why: str, fix: str) -> Said:
    refuses = said.section == "Container"
    why = f"quadlet refuses the unit for {said.key}= in [Container]" if refuses else why
    verdict = Verdict.BREAKS if refuses else Verdict.INERT
    concern = Concern(verdict, why, Known.RUN, VERIFIED, Shows.PARSE, fix)
    return said.key, said.value, concern
