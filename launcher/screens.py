"""What the commands that look print: for a person, or as JSON for a script."""

from __future__ import annotations

import json
import sys
import time
from calendar import timegm
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from launcher import layers
from launcher.console import timeline
from launcher.errors import RefusalError
from launcher.plan import Plan, shell, to_json

if TYPE_CHECKING:
    from rich.console import Console

SCHEMA = 1


def profiles(environ: Mapping[str, str], *, as_json: bool) -> None:
    """Every profile, in order of look-up; a name found twice means the first."""
    rows: list[dict[str, Any]] = []
    for found in layers.all_profiles(environ):
        try:
            said = str(layers.read(found).values.get("description", ""))
        except RefusalError as refusal:
            said = f"broken: {refusal.what}"
        hidden = any(row["name"] == found.name for row in rows)
        rows.append(
            {
                "name": found.name,
                "place": found.place,
                "path": str(found.path),
                "shadowed": hidden,
                "description": said,
            }
        )
    if as_json:
        print(json.dumps({"schema": SCHEMA, "profiles": rows}, indent=1))
        return
    table = _table("name", "from", "what")
    for row in rows:
        place = f"{row['place']}, shadowed" if row["shadowed"] else row["place"]
        table.add_row(row["name"], place, row["description"])
    console = _console()
    console.print(table)
    console.print("[dim]looked in[/] " + ", ".join(str(folder) for _, folder in layers.places(environ)))


def plan(shown: Plan, *, as_json: bool, explain: bool) -> None:
    """A plan: to paste, to parse, or to understand."""
    if as_json:
        print(json.dumps(to_json(shown), indent=1))
    elif explain:
        table = _table("flag or variable", "value", "set by", "why")
        for setting in shown.settings:
            table.add_row(setting.name, setting.value, _place(setting.layer), setting.why)
        _console().print(table)
    else:
        print(shell(shown), end="")


def _place(layer: str) -> str:
    """A packaged profile by its name; another place in full."""
    packaged = f"{layers.PACKAGED}/"
    return layer.removeprefix(packaged).removesuffix(".toml") if layer.startswith(packaged) else layer


def status(seen: Mapping[str, Any], *, as_json: bool) -> None:
    """How an instance is."""
    if as_json:
        print(json.dumps(seen, indent=1))
        return
    from rich.text import Text

    console = _console()
    state, since = seen["state"], seen.get("since")
    colour = {"ready": "green", "starting": "cyan", "stopping": "yellow", "backoff": "yellow"}.get(state, "red")
    head = Text.assemble((seen["profile"], "bold"), "  ", (state, f"bold {colour}"))
    console.print(head + Text(f"  since {since} ({_ago(since)})" if since else ""))
    rows: list[tuple[str, str]] = [("reason", seen["reason"] or "-")]
    if "endpoint" in seen:
        rows.append(("endpoint", f"{seen['endpoint']}/v1  model {seen['model']}"))
        rows.append(("restarts", str(seen["restarts"])))
        rows.append(("start", _start(seen["start"])))
        rows.append(("last error", seen["last_error"] or "-"))
        rows.append(("server log", seen["server_log"]))
    for name, text in rows:
        console.print(Text(f"  {name:<11} {text}"))
    for pid, role in _roles(seen["pids"]):
        console.print(Text(f"  {'process':<11} {pid:<8} {role}"))


def _start(start: Mapping[str, Any]) -> str:
    phases = ", ".join(f"{name} {took:.1f}" for name, took in timeline(start["seconds"]))
    return f"{sum(start['seconds'].values()):.1f} s: {phases}"


def _roles(pids: Mapping[str, Any]) -> list[tuple[int, str]]:
    import psutil

    roles = []
    for pid in [pids.get("launcher"), pids.get("server"), *pids.get("others", ())]:
        if pid is not None and psutil.pid_exists(pid):
            try:
                process = psutil.Process(pid)
                # SGLang's ranks put their title where the command line was; the name keeps 15 characters of it.
                title = next((word for word in process.cmdline()[:1] if "::" in word), process.name())
                resident = process.memory_info().rss / 2**20
            except psutil.Error:
                continue
            role = {pids.get("launcher"): "launcher", pids.get("server"): "server"}.get(pid, title)
            roles.append((pid, f"{role}, {resident:.0f} MiB"))
    return roles


def _ago(since: str) -> str:
    seconds = int(time.time() - timegm(time.strptime(since[:19], "%Y-%m-%dT%H:%M:%S")))
    for unit, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= unit:
            return f"{seconds // unit} {name}"
    return f"{max(seconds, 0)} s"


def _table(*columns: str) -> Any:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _console() -> Console:
    from rich.console import Console

    # Off a terminal nothing is folded: lines are for grep there.
    return Console(highlight=False, width=None if sys.stdout.isatty() else 1000)
