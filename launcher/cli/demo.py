"""The main job on any machine."""

from __future__ import annotations

import os
import sys

import click

from launcher.cli.options import json_option
from launcher.engines.engine import NAMES
from launcher.errors import Exit


@click.command()
@click.option(
    "--engine",
    "engines",
    type=click.Choice(NAMES),
    multiple=True,
    help="Which one; may be given again.",
)
@click.option("--prepare", is_flag=True, help="Make engine and model only.")
@json_option
def demo(engines: tuple[str, ...], prepare: bool, as_json: bool) -> int:
    """Bring a real engine up on this machine's CPU, ask it something, take it down.

    Needs no GPU. The first time it downloads the engine (3.2 GB; on x86-64 PyPI's torch has CUDA
    libraries of several GB more) into the cache, and teaches a tiny model three sentences; the
    next time takes half a minute. Removing that folder of the cache removes all of it.
    """
    from launcher.operate.demo_engine import of
    from launcher.output import demo as screens

    for recipe in of(engines, os.environ):
        if prepare:
            screens.prepare(recipe, sys.stderr if as_json else sys.stdout)
        elif status := screens.tour(recipe, os.environ, as_json=as_json):
            return status
    return Exit.FINE


COMMANDS: tuple[click.Command, ...] = (demo,)
