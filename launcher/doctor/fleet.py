"""Judging several hosts over ssh: each for a profile, and all beside each other."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from launcher.config.load import PlanRequest, load
from launcher.config.select import Offer
from launcher.doctor.checks import judge, known_ids
from launcher.doctor.group import Difference, differences
from launcher.doctor.run import DoctorOptions, Examined, as_node, of_host, together
from launcher.engines.engine import NAMES, dialect
from launcher.errors import Exit, UserError
from launcher.files import guarded, places, reading
from launcher.files.reading import reason
from launcher.host import facts_json, inventory
from launcher.host.facts import Driver, Host
from launcher.host.remote import PROFILE, Answer, Ask, ask
from launcher.host.remote_refusals import Unreachable
from launcher.plan.findings import Finding, Severity, verdict
from launcher.redact.secrets import hide_data


@dataclass(frozen=True)
class Judged:
    """A host that was asked, and what checks say of it; nothing where it was not reached."""

    answer: Answer
    seen: Examined | None = None
    findings: tuple[Finding, ...] = ()

    @property
    def name(self) -> str:
        """As somebody called it."""
        return self.answer.target.name

    @property
    def unreachable(self) -> Unreachable | None:
        """Why nothing is known of it."""
        return self.answer.seen if isinstance(self.answer.seen, Unreachable) else None

    @property
    def verdict(self) -> Severity:
        """The worst that is found; of a host that was not reached all is unknown."""
        return Severity.UNKNOWN if self.unreachable else verdict(self.findings)


@dataclass(frozen=True)
class Fleet:
    """All hosts, what is not alike, and what was not read of the list of hosts."""

    hosts: tuple[Judged, ...]
    differences: tuple[Difference, ...]
    notes: tuple[str, ...]
    together: tuple[Finding, ...] = ()  # of hosts that are the nodes of one plan

    @property
    def verdict(self) -> Severity:
        """The worst of all; a difference is a warning."""
        alike = Severity.WARN if self.differences else Severity.OK
        return max(alike, verdict(self.together), *(one.verdict for one in self.hosts))


def fleet(words: DoctorOptions, environ: Mapping[str, str]) -> Fleet:
    """Ask the hosts, judge them, and keep their facts where that is wanted. Raises UserError."""
    known_ids((*words.only, *words.skip, *words.allow))
    _require_alone(words)
    listed = inventory.hosts(words.hosts or "")
    answers = ask(listed.targets, _ask(words, environ), environ)
    if words.save:
        _save(words.save, answers)
    seen = {one.target.name: one.seen for one in answers if isinstance(one.seen, Host)}
    offer = None if words.profile else Offer(environ)  # once, not for each host
    judged = tuple(_judged(one, words, environ, offer) for one in answers)
    plans = [one.seen.plan for one in judged if one.seen and one.seen.plan.nodes]
    group = together(plans[0], seen, words) if plans else []
    return Fleet(judged, tuple(differences(seen)), listed.notes, tuple(group))


def _require_alone(words: DoctorOptions) -> None:
    given = {
        "--from": words.pasted,
        "--facts": words.facts,
        "--sysroot": words.sysroot,
        "--deep": words.deep,
        "--fix": words.fix,
        "--format npd": words.format == "npd",
    }
    if others := [name for name, value in given.items() if value]:
        fix = (
            "leave it out; of one host: --save DIR, then `glm5-serve doctor --facts DIR/HOST.json`"
        )
        raise UserError(f"{others[0]} is not of --hosts", fix=fix, status=Exit.USAGE)


def _require_readable(config: Path) -> None:
    """Raise UserError (usage) for what ssh could not read, or would wait for."""
    try:
        reading.opened(config).close()
    except OSError as error:
        what = f"--ssh-config {config}: {reading.reason(error)}"
        raise UserError(what, fix="a file as ~/.ssh/config is", status=Exit.USAGE) from None


def _ask(words: DoctorOptions, environ: Mapping[str, str]) -> Ask:
    """What the hosts are asked; the program that a profile names is run there only where nobody
    else may have written the profile.
    """
    if words.save and (why := places.obstacle(words.save)):
        what = f"cannot keep facts where --save says: it names {why}"
        raise UserError(what, fix="give --save a folder that you may write")
    if words.ssh_config:
        _require_readable(words.ssh_config)
    packages = [name for one in NAMES for name in dialect(one).packages]
    told = Ask(
        words.remote,
        words.deadline,
        packages=tuple(dict.fromkeys(packages)),
        sudo=words.sudo,
        config=words.ssh_config,
    )
    if words.profile is None:
        return told
    composed = load(PlanRequest(words.profile, tuple(words.settings)), environ)
    return replace(
        told,
        profile=words.profile if PROFILE.fullmatch(words.profile) else None,
        python="" if composed.doubt else composed.profile.engine.python,
        model=composed.profile.flags.model_path,
    )


def _judged(
    answer: Answer, words: DoctorOptions, environ: Mapping[str, str], offer: Offer | None
) -> Judged:
    if isinstance(answer.seen, Unreachable):
        return Judged(answer)
    best: Callable[[Driver, Mapping[str, str], str | None], str | None] = lambda seen, _, engine: (
        offer.best(seen, engine) if offer else None
    )
    seen = as_node(of_host(answer.seen, words.profile, words.settings, environ, best))
    found = judge(seen.host, seen.plan, only=words.only, skip=words.skipped, allow=words.allow)
    return Judged(answer, seen, tuple(found))


def _save(folder: Path, answers: list[Answer]) -> None:
    """A facts file a host, as `doctor --facts` reads it. Raises UserError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for one in answers:
            if isinstance(one.seen, Host):
                text = json.dumps(hide_data(facts_json.to_json(one.seen)), indent=1)
                guarded.replace(folder / f"{one.target.name}.json", text.encode())
    except OSError as error:
        what = f"cannot keep facts in {folder}: {reason(error)}"
        raise UserError(what, fix="give --save a folder that you may write") from None
