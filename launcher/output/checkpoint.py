"""`glm5-serve model`: is a checkpoint whole, and what it claims to be."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launcher import counting
from launcher.config.load import PlanRequest
from launcher.config.select import FALLBACK
from launcher.config.target import planned
from launcher.doctor.checks import judge
from launcher.engines import traits
from launcher.engines.engine import NAMES, dialect
from launcher.engines.target import Target
from launcher.errors import Exit, UserError
from launcher.host.collectors.checkpoint import checkpoint
from launcher.host.collectors.digests import digest, promised
from launcher.host.facts import Host, Model
from launcher.knowledge import models
from launcher.output import doctor
from launcher.output.terminal import is_drawn_on, restored
from launcher.plan.findings import Finding, Severity, to_json, verdict

CHECKS = (
    "model-folder model-config model-files model-headers model-pointers model-downloads"
    " model-quantisation model-claims model-mtp model-tokenizer"
).split()


THINKING = {
    "switch": "can be asked not to: enable_thinking",
    "always": "always; reasoning_effort = low, high or max says how long",
    "": "not known",
}


@dataclass(frozen=True)
class Hashed:
    """What came of comparing files with the hub's digests."""

    same: int
    unknown: tuple[str, ...]
    wrong: tuple[str, ...]


def run(folder: str, environ: Mapping[str, str], *, hashes: bool, as_json: bool) -> int:
    """Judge a checkpoint's folder, or a hub id in the cache, and print it; exit 1 if it is not
    whole.
    """
    models.require_no_address(folder)
    ask = PlanRequest(FALLBACK, (f"flags.model-path={folder}", 'rules.skip=["quantization"]'))
    plan, _ = planned(ask, environ, Target())
    seen = checkpoint(plan.model, environ)
    if not seen.path.known and not as_json:
        raise _absent(plan.model, str(seen.path.unknown))
    findings = judge(Host(observed=plan.model, model=seen), plan, only=CHECKS)
    if hashes and seen.path.known:
        findings.append(_of_hashes(compare(Path(seen.path.get()), quiet=as_json)))
    if as_json:
        print(
            json.dumps(
                {**to_json(findings, None, plan.model), "model": _told(seen, plan.model)},
                indent=1,
            )
        )
    else:
        _show(seen, plan.model, findings)
    whole = seen.path.known and verdict(findings) is not Severity.FAIL
    return Exit.FINE if whole else Exit.NO


def _absent(model: str, why: str) -> UserError:
    if "would download" in why and not models.is_id(model):
        fix = "give a folder that has config.json, or ORG/NAME as on the hub"
        return UserError(f"there is no {model} here", fix=fix, status=Exit.NO)
    if "permission denied" in why:
        return UserError(why, fix="run it as a user who may read that, or `chmod a+rX` it")
    is_id = "would download" in why
    fix = f"`glm5-serve fetch {model}`" if is_id else "give a folder that has config.json"
    return UserError(why.partition(": the engine")[0], fix=fix, status=Exit.NO)


def about(seen: Model, named: str) -> list[tuple[str, str]]:
    """What is known of a checkpoint by its files, its row or its name, a line each."""
    row = models.known(named)
    family = traits.of(seen, named).family
    return [
        ("quantised", traits.quantisation(seen, named) or "not known"),
        ("MTP", {True: "in it", False: "not in it", None: "not known"}[_mtp(seen, named)]),
        ("thinking", THINKING[traits.thinking(seen, family, named)]),
        ("parsers", _in_options(_parsers(seen, named) or {})),
        *(("warning", one.what) for one in (row.warnings if row else ())),
        *(("remark", remark) for remark in (row.remarks if row else ())),
    ]


def _told(seen: Model, named: str) -> dict[str, Any]:
    config = seen.config.otherwise({})
    family, row = traits.of(seen, named).family, models.known(named)
    return {
        "path": seen.path.otherwise(""),
        "architecture": config.get("architectures", "?"),
        "layers": config.get("num_hidden_layers", "?"),
        "family": family.id if family else None,
        "quantisation": traits.quantisation(seen, named),
        "excluded": list(seen.excluded.otherwise(())),
        "dtypes": seen.dtypes.otherwise({}),
        "mtp": _mtp(seen, named),
        "shards": seen.shards.otherwise(0),
        "bytes": seen.bytes.otherwise(0),
        "parsers": _parsers(seen, named),
        "thinking": traits.thinking(seen, family, named) or None,
        "warnings": [one.what for one in row.warnings] if row else [],
        "remarks": list(row.remarks) if row else [],
    }


def _mtp(seen: Model, named: str) -> bool | None:
    """Whether it has the layers for multi-token prediction, None where nobody knows."""
    row = models.known(named)
    return row.mtp if row and not seen.mtp.known else seen.mtp.value


def _in_options(parsers: Mapping[str, tuple[str, ...]]) -> str:
    """The options that name them, once where all engines call them so."""
    said = {
        engine: "--reasoning-parser {} --tool-call-parser {}".format(*named)
        for engine, named in parsers.items()
    }
    if len({*said.values()}) == 1 and {*said} == {*NAMES}:
        return next(iter(said.values()))
    each = (f"{dialect(engine).name} {options}" for engine, options in said.items())
    return ", ".join(each) or "not known"


def _parsers(seen: Model, named: str) -> Mapping[str, tuple[str, ...]] | None:
    """What it thinks and calls tools in, by engine: choices of --reasoning-parser and
    --tool-call-parser.
    """
    family = traits.of(seen, named).family
    return (family.of_name(named).parsers or None) if family else None


def _model(told: Mapping[str, Any]) -> str:
    """What its config.json says that it is; some say nothing."""
    kind, layers = told["architecture"], told["layers"]
    parts = (kind if kind != "?" else "no architecture named", f"{layers} layers")
    return ", ".join(parts if layers != "?" else parts[:1])


def _show(seen: Model, named: str, findings: list[Finding]) -> None:
    from launcher.output import console as terminal

    console = terminal.console(sys.stdout)
    told = _told(seen, named)
    dtypes = ", ".join(
        f"{size / 2**30:.1f} GiB {kind}"
        for kind, size in sorted(told["dtypes"].items(), key=lambda one: -one[1])
    )
    lines = [
        ("folder", told["path"] or "not there"),
        ("model", _model(told)),
        (
            "weights",
            f"{told['bytes'] / 2**30:.1f} GiB in {told['shards']}"
            f" file{'s' * (told['shards'] != 1)}: {dtypes or 'no tensors'}",
        ),
        ("left out", ", ".join(told["excluded"][:6]) or "nothing"),
        *about(seen, named),
    ]
    for name, text in lines:
        console.print(terminal.row(name, text))
    console.print()
    doctor.show(console, findings, "integrity and metadata", every=True)


def compare(folder: Path, *, quiet: bool) -> Hashed:
    """Compare each file with the digest that the hub gave for it, with a bar on standard error."""
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    from launcher.output.console import console

    files = list(promised(folder))
    known = [(path, wanted) for path, wanted in files if wanted]
    wrong = []
    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    hidden = quiet or not is_drawn_on(sys.stderr)
    with restored(), Progress(*columns, console=console(sys.stderr), disable=hidden) as bar:
        task = bar.add_task("", total=sum(path.stat().st_size for path, _ in known))
        for path, wanted in known:
            try:
                if digest(path, wanted, lambda size: bar.advance(task, size)) != wanted:
                    wrong.append(f"{path.name} is not what the hub has")
            except OSError as error:
                wrong.append(
                    f"{path.name} cannot be read: {(error.strerror or str(error)).lower()}"
                )
    return Hashed(
        len(known) - len(wrong),
        tuple(path.name for path, wanted in files if not wanted),
        tuple(wrong),
    )


def _of_hashes(seen: Hashed) -> Finding:
    title = "Every file has the digest that the hub gave for it."
    fix = "delete these files and fetch them again: `glm5-serve fetch`"
    if any("permission denied" in one for one in seen.wrong):
        fix = "let this user read them (`chmod a+r`): what is in them is not known"
    if seen.wrong:
        return Finding(
            "model-hashes", Severity.FAIL, title, "; ".join(seen.wrong[:5]), fix, group="model"
        )
    if not seen.same:
        why = "no digests were kept: the folder was not made by huggingface_hub"
        return Finding("model-hashes", Severity.UNKNOWN, title, why, group="model")
    told = f"{counting.of(seen.same, 'file')}" + (
        f"; no digest of {', '.join(seen.unknown[:5])}" if seen.unknown else ""
    )
    return Finding("model-hashes", Severity.OK, title, told, group="model")
