"""What the commands that look print: for a person, or as JSON for a script."""

from __future__ import annotations

import json
import sys
import time
from calendar import timegm
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from launcher import layers
from launcher.console import timeline
from launcher.plan import Plan, Setting, changed, shell, to_json

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

SCHEMA = 1
BROAD = 160  # columns that a table of reasons wants; below, each stands under its setting


def profiles(rows: Sequence[Mapping[str, Any]], environ: Mapping[str, str], *, as_json: bool) -> None:
    """Every profile, in order of look-up, and whether this host has what it needs."""
    from rich.text import Text

    if as_json:
        print(json.dumps({"schema": SCHEMA, "profiles": rows}, indent=1))
        return
    table = _table("name", "needs", "fits here", "from", "what")
    for row in rows:
        place = f"{row['place']}, shadowed" if row["shadowed"] else row["place"]
        fits = Text("yes", "green") if row["fits"] else Text(f"no: {row['obstacle']}", "dim")
        table.add_row(row["name"], Text(row["needs"]), fits, place, Text(row["description"]))
    console = _console()
    console.print(table)
    console.print("[dim]looked in[/] " + ", ".join(str(folder) for _, folder in layers.places(environ)))


def plan(shown: Plan, *, as_json: bool, explain: bool) -> None:
    """A plan: to paste, to parse, or to understand."""
    if as_json:
        print(json.dumps(to_json(shown), indent=1))
    elif explain:
        _explain(shown)
    else:
        print(shell(shown), end="")


def _explain(shown: Plan) -> None:
    """Each value with its reason; what a rule set also with how that is known, and what speaks against it."""
    from rich.padding import Padding
    from rich.text import Text

    console = _console()
    console.print(Text.assemble((shown.name, "bold"), "  ", _for_whom(shown)))
    for note in shown.notes:
        console.print(Text(f"note: {note}", "yellow"))
    if console.width < BROAD:
        for setting in shown.settings:
            head = Text(f"{setting.name} {setting.value}".rstrip(), "bold")
            console.print(head.append(f"  {_place(setting.layer)}", "not bold cyan"))
            console.print(Padding.indent(_reason(setting), 4))
        return
    table = _table("flag or variable", "value", "set by", "why")
    for setting in shown.settings:
        table.add_row(Text(setting.name), Text(setting.value), Text(_place(setting.layer)), _reason(setting))
    console.print(table)


def _reason(setting: Setting) -> Text:
    from rich.text import Text

    why = Text(setting.why)
    if setting.known:
        why.append(f" ({setting.known}: {setting.source})", "dim")
    if setting.against:
        why.append(f" against: {setting.against}", "yellow")
    return why


def difference(before: Plan, after: Plan, *, as_json: bool) -> bool:
    """What another plan would run otherwise, and why; whether anything differs."""
    changes = changed(before, after)
    if as_json:
        rows = [{"name": name, "before": _told(old), "after": _told(new)} for name, old, new in changes]
        told = {"schema": SCHEMA, "before": before.name, "after": after.name, "changes": rows}
        print(json.dumps(told, indent=1))
        return bool(changes)
    from rich.text import Text

    console = _console()
    for sign, colour, plan in (("-", "red", before), ("+", "green", after)):
        console.print(Text(f"{sign} {plan.name} ({_for_whom(plan)})", colour))
    for name, *sides in changes:
        for sign, colour, setting in zip("-+", ("red", "green"), sides, strict=True):
            if setting:
                known = f" ({setting.known})" if setting.known else ""
                line = Text(f"{sign} {f'{name} {setting.value}':<52}", colour)
                console.print(line.append(f" {setting.why}{known}", "dim"))
    if not changes:
        console.print("no difference")
    return bool(changes)


def _for_whom(plan: Plan) -> str:
    return ", ".join(part for part in (plan.arch, f"SGLang {plan.sglang}" if plan.sglang else "") if part)


def _told(setting: Setting | None) -> dict[str, Any] | None:
    return asdict(setting) if setting else None


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
