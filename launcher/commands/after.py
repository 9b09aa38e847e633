"""What happened: why it died."""

from __future__ import annotations

import click

from launcher.options import json_option


@click.command("diagnose")
@click.argument("file")
@json_option
def diagnose_command(file: str, as_json: bool) -> int:
    """Say why a server died: the cause, its evidence, what to do.

    FILE, or - for standard input: the log of SGLang, vLLM or NCCL, or of the kernel (`journalctl -k`). Exit 1 if
    the cause is not known; what died first is shown then.
    """
    from launcher import diagnosescreen

    return diagnosescreen.run(file, as_json=as_json)
