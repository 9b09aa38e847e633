"""What the host says to it: facts, and doctor's judgement."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from launcher import folding
from launcher.cli import complete
from launcher.cli.options import (
    Seconds,
    allow_option,
    check_option,
    fleet_options,
    is_up,
    json_option,
    source_options,
    that_is_up,
)
from launcher.errors import Exit, UserError

if TYPE_CHECKING:
    from launcher.doctor.run import DoctorOptions


@click.command()
@source_options
@fleet_options
@click.option("--deep", is_flag=True, help="Prove peer-to-peer and all-reduce by moving data.")
@click.option(
    "--backend",
    type=click.Choice(["nccl", "gloo"]),
    help="For --deep; gloo needs no GPU, and is what a profile without GPUs is tried with.",
)
@click.option(
    "--deadline",
    metavar="SECONDS",
    type=Seconds(1, 3600),
    default=30.0,
    help="Of a phase of --deep; of a host of --hosts.",
)
@check_option("--only", "Judge by this check alone; may be given again.")
@check_option("--skip", "Leave this check out.")
@allow_option
@click.option("--serving", is_flag=True, help="A server runs: leave out what looks for its room.")
@click.option("--all", "every", is_flag=True, help="Show what is ok, too.")
@click.option(
    "--fix", is_flag=True, help="Print a script that fixes what can be fixed; nothing is run."
)
@click.option("--strict", is_flag=True, help="Exit 1 for warnings and unknowns, too.")
@click.option(
    "--format",
    type=click.Choice(["text", "npd", "prometheus"]),
    default="text",
    help="For node-problem-detector, or node_exporter's textfile collector.",
)
@json_option
def doctor(**words: Any) -> int:
    """Say what will hang, crash, corrupt or slow this profile on this host, and how to fix it.

    Exit 1 if a check fails. With --hosts, other hosts are judged over ssh.
    """
    from launcher.doctor.run import DoctorOptions, doctor
    from launcher.output import nextstep
    from launcher.output.doctor import report
    from launcher.redact.secrets import hide

    said = DoctorOptions(**words)
    if said.as_json and said.format != "text":
        raise click.UsageError(f"--json and --format {said.format}: give one of them")
    if said.hosts is not None:
        return _fleet(said)
    is_of_a_start = said.is_of_a_start
    if not (said.profile or said.pasted or said.facts or said.sysroot):
        said = replace(said, profile=that_is_up())
    tell: Callable[[str], None] = lambda line: folding.tell(hide(line), sys.stderr)
    try:
        status = report(*doctor(said, os.environ, tell), said)
        if status == Exit.FINE and is_of_a_start and not is_up(str(said.profile)):
            nextstep.tell((f"up {shlex.quote(str(said.profile))}", "start it, and keep it up"))
        return status
    except UserError as refusal:
        if said.format != "npd":
            raise
        from launcher.output.plugins import UNKNOWN, npd_refused

        print(npd_refused(refusal))  # the plugin's message; a status of its own
        return UNKNOWN


def _fleet(said: DoctorOptions) -> int:
    from launcher.doctor.fleet import fleet
    from launcher.output.fleet import report

    return report(fleet(said, os.environ), said)


@click.command()
@source_options
@click.option("--json", is_flag=True, hidden=True, expose_value=False)  # it prints nothing else
def facts(
    profile: str | None,
    settings: tuple[str, ...],
    sysroot: Path | None,
    facts: tuple[Path, ...],
    pasted: str | None,
) -> None:
    """Print what was observed about this host, as JSON: `doctor --facts` judges it anywhere."""
    from launcher.doctor.run import Source, observed
    from launcher.host import facts_json
    from launcher.redact.secrets import hide_data

    if len(facts) > 1:
        raise click.UsageError("facts are those of one host: give one --facts")
    source = Source(sysroot, next(iter(facts), None), pasted)
    profile = profile or (that_is_up() if source == Source() else None)
    host = observed(profile, settings, source, os.environ)
    print(json.dumps(hide_data(facts_json.to_json(host)), indent=1))


@click.command()
@click.argument("id", required=False, shell_complete=complete.checks)
@click.option("--markdown", is_flag=True, help="Print the page docs/checks.md.")
@json_option
def checks(id: str | None, markdown: bool, as_json: bool) -> None:
    """List doctor's checks, or explain one."""
    from launcher.output import checks as checkpages

    if markdown and (id or as_json):
        raise click.UsageError("--markdown prints the page of all checks: give it alone")
    if markdown:
        print(checkpages.page())
    else:
        checkpages.show(id, as_json=as_json)


COMMANDS: tuple[click.Command, ...] = (doctor, facts, checks)
