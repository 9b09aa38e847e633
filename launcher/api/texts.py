"""`lint`, `diagnose`, `doctor` and `fit` for who has texts and no host: a page in a browser.

Each gives what its command prints with --json. Nothing is looked at but the text and the tables of
this package: no host, no environment, no clock. Raises UserError as the commands do.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from launcher.api import doctor as judged
from launcher.api import fit as fitting
from launcher.api import lint as linted
from launcher.config import layers
from launcher.config.target import TargetOptions, elsewhere
from launcher.diagnose import verdict
from launcher.diagnose.text import diagnose_text
from launcher.doctor.checks import judge as judge_host
from launcher.doctor.run import of_host
from launcher.errors import UserError
from launcher.formats.reading import read
from launcher.host import facts_json, parsers
from launcher.host.facts import Host
from launcher.knowledge import gpus
from launcher.redact.bundle import Scrubber

# Whose profiles are not looked up.
NOBODY = {"HOME": "/nonexistent", "GLM5_SERVE_STATE_DIR": "/nonexistent/state"}
PLACE = "this text"
PATIENT = 1 << 20  # bytes of a text that are asked what they are
# What people paste of a host and nothing else has: a log may have lines of the other outputs.
OF_A_HOST = frozenset(
    name for name, *_ in parsers.READERS if name.startswith(("nvidia-smi", "lspci", "lscpu"))
) - {"nvidia-smi's complaint"}


def lint(
    text: str, *, release: str | None = None, gpu: str | None = None, every: bool = False
) -> dict[str, Any]:
    """A launch judged for a release and GPUs; with `every` for all releases."""
    aim = TargetOptions.of(release or None, gpu or None, None, None)
    return linted.to_json(linted.lint(text, elsewhere(aim), PLACE, every=every))


def diagnose(log: bytes) -> dict[str, Any]:
    """Why a server died."""
    return verdict.to_json(diagnose_text([log]))


def doctor(texts: Mapping[str, bytes], *, profile: str | None = None) -> dict[str, Any]:
    """A host judged by what people paste, or by its facts; each text with a name."""
    seen = of_host(host(texts), profile or None, (), NOBODY)
    return judged.to_json(seen, judge_host(seen.host, seen.plan))


def fit(
    texts: Mapping[str, bytes], *, profile: str | None = None, release: str | None = None
) -> dict[str, Any]:
    """Whether a profile's model fits the GPUs of a host, by the same texts as `doctor`."""
    aim = TargetOptions(release=release or None, facts=host(texts))
    return fitting.to_json(fitting.estimate(fitting.FitRequest(profile or None, aim=aim), NOBODY))


def host(texts: Mapping[str, bytes]) -> Host:
    """The host that texts tell of: its facts, or what people paste, the longest first."""
    if len(texts) == 1 and _is_facts(only := next(iter(texts.values())).decode(errors="replace")):
        return facts_json.loads(only, PLACE)
    named = sorted(texts.items(), key=lambda one: -len(one[1]))
    return parsers.of_texts(named, PLACE)


def _is_facts(text: str) -> bool:
    return text.lstrip().startswith("{") and '"driver"' in text and '"schema"' in text


def kind(text: bytes) -> str:
    """What a text most likely is: `lint`, `diagnose` or `doctor`."""
    begun = text[:PATIENT]
    told = begun.decode(errors="replace")
    if _is_facts(told):
        return "doctor"
    outputs = {name for name, known_by, _ in parsers.READERS if known_by.search(told)}
    if outputs & OF_A_HOST:
        return "doctor"
    found = diagnose_text([begun])
    if found.is_known or found.phase:
        return "diagnose"
    if read(told).launches:
        return "lint"
    return "doctor" if outputs - {"environment", "kernel log"} else "diagnose"


def shareable(text: str) -> str:
    """A text for others: a launch without its keys, anything else without names of hosts,
    addresses and serial numbers, too.
    """
    try:
        judgement = linted.lint(text, elsewhere(TargetOptions()), PLACE).judgement
    except UserError:
        return Scrubber(None, {}, hosts=()).clean(text)
    return judgement.hidden(text)


def choices() -> dict[str, list[str]]:
    """What may be chosen: GPUs, and profiles."""
    products = [one.id for one in gpus.products().values() if one.is_blackwell]
    return {"gpus": products, "profiles": [one.name for one in layers.all_profiles(NOBODY)]}
