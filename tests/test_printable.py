"""What others wrote reaches no terminal, journal or list of errors but as text that a reader can
see.
"""

from __future__ import annotations

import ast
import io
import json
import re
import socket
import struct
import unicodedata
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import World
from hypothesis import given, settings
from hypothesis import strategies as st

from launcher import printable
from launcher.config.layers import Layer, unprintable
from launcher.config.load import PlanRequest
from launcher.config.select import Row
from launcher.config.target import planned
from launcher.engines.target import Target
from launcher.formats import shell
from launcher.output import console as terminal
from launcher.output import doctor, profiles, status
from launcher.output import events as console
from launcher.output.live import LiveScreen
from launcher.output.screens import PlainScreen
from launcher.plan.findings import Finding, Severity
from launcher.serve import journald as journal
from launcher.serve import sdnotify
from launcher.statedir.events import Event
from launcher.statedir.state import StateRecord

LAUNCHER = Path(__file__).parents[1] / "launcher"
CLIPBOARD = "\x1b]52;c;ZXZpbA==\x07"
TURNED = "\u202egnp.exe"
MARKUP = "[red]x[/red] [link=https://evil.example]y[/link] :skull: \\[bold]"
HOSTILE = f"{CLIPBOARD}{TURNED}\x9b31m\u2028{MARKUP}\ud800\r\x00"
STYLE = re.compile(r"\x1b\[[0-9;]*m")


def commands(text: str) -> list[str]:
    """The characters that a terminal, or the order of reading, obeys; what we style ourselves left
    out.
    """
    obeyed = {"Cc", "Cf", "Cs", "Zl", "Zp"}
    return [
        char
        for char in STYLE.sub("", text)
        if char != "\n" and unicodedata.category(char) in obeyed
    ]


@given(st.text(st.characters()))
def test_a_line_is_one_line_that_can_be_seen_and_printed(text: str) -> None:
    shown = printable.line(text)

    assert shown.isprintable()
    shown.encode()
    assert printable.line(shown) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("no change: Größe 5 GiB, 模型 🚀", "no change: Größe 5 GiB, 模型 🚀"),
        ("\x1b[2J", r"\x1b[2J"),
        ("a\nready", r"a\nready"),
        ("\x9b\x7f\0", r"\x9b\x7f\x00"),
        ("\u202e\u2066\u200b", r"\u202e\u2066\u200b"),
        ("\ud800\udcff", r"\ud800\udcff"),
        ("\u2028\u2029\x85", r"\u2028\u2029\x85"),
        ("a\tb\u00a0c\u3000d", "a       b c d"),
    ],
)
def test_what_would_be_obeyed_is_shown(text: str, shown: str) -> None:
    assert printable.line(text) == shown


def test_line_ends_that_are_meant_stay() -> None:
    assert printable.lines("p has 2 errors:\n  a\r\n  b\x1b") == "p has 2 errors:\n  a\\r\n  b\\x1b"


def test_the_colours_of_a_log_are_left_out_and_nothing_else_is() -> None:
    assert printable.logged(f"\x1b[1;32mINFO\x1b[0m {CLIPBOARD}") == r"INFO \x1b]52;c;ZXZpbA==\x07"


@given(st.text(st.characters()))
def test_whatever_is_drawn_commands_nothing(text: str) -> None:
    stream = io.StringIO()
    screen = terminal.console(stream)
    screen.print(text)
    screen.print(text, style="bold")
    screen.print(terminal.row("name", text))

    assert commands(stream.getvalue()) == []


def test_markup_of_others_is_text() -> None:
    stream = io.StringIO()
    terminal.console(stream).print(MARKUP)

    assert stream.getvalue() == f"{MARKUP}\n"


FINDINGS = [
    Finding("one", severity, HOSTILE, HOSTILE, HOSTILE, HOSTILE, HOSTILE, allowed)
    for severity in Severity
    for allowed in (False, True)
]
EVENTS: list[dict[str, object]] = [
    {"event": "state", "state": HOSTILE, "reason": HOSTILE},
    {"event": "state", "state": "starting", "profile": HOSTILE, "reason": HOSTILE, "log": HOSTILE},
    {"event": "state", "state": "ready", "moved": True, "seconds": {HOSTILE: 1.0}, "url": HOSTILE},
    {"event": "phase", "phase": HOSTILE, "seconds": {HOSTILE: 1.0, "process": 2.0}},
    {"event": "progress", "phase": "weights", "progress": {"done": 1, "total": 2, "left": HOSTILE}},
    {
        "event": "death",
        "run": HOSTILE,
        "how": HOSTILE,
        "cause": HOSTILE,
        "what": HOSTILE,
        "fix": HOSTILE,
    },
    {"event": "smoke", "ok": False, "detail": HOSTILE, "seconds": 1.0},
    {"event": "gpu", "line": HOSTILE},
    {"event": "warning", "reason": HOSTILE},
    {"event": HOSTILE, "time": HOSTILE},
    {"event": "smoke", "ok": 1, "detail": [], "seconds": "x"},
    {"event": "state", "state": "ready", "moved": True, "seconds": {"a": "b"}, "url": 1},
]


@pytest.mark.parametrize("every", [False, True])
def test_findings_of_a_hostile_host_command_nothing(every: bool) -> None:
    stream = io.StringIO()
    doctor.show(terminal.console(stream), FINDINGS, HOSTILE, every=every)

    assert commands(stream.getvalue()) == []
    assert r"\x1b]52;c;ZXZpbA==" in stream.getvalue()
    assert "[link=https://evil.example]" in stream.getvalue()


@pytest.mark.parametrize("event", EVENTS, ids=range(len(EVENTS)))
def test_an_event_of_any_shape_is_one_line_in_every_screen(
    event: dict[str, object], capsys: pytest.CaptureFixture[str]
) -> None:
    told = Event.from_json(event)
    assert str(console.dated(told)).isprintable()
    live = LiveScreen()
    live.show(Event("state", {"state": "starting", "reason": "r", "log": "l"}, profile="p"))
    live.show(told)
    live.show(Event("state", {"state": "stopped", "reason": "end"}))
    PlainScreen().show(told)
    said = capsys.readouterr()

    assert commands(said.out + said.err) == []


@pytest.mark.parametrize("odd", [HOSTILE, "x\n  restarts    0", [], {"a": 1}, None, 1 << 70])
def test_a_state_file_of_any_kind_is_shown_and_forges_no_line(
    odd: object, capsys: pytest.CaptureFixture[str]
) -> None:
    names = (
        "profile",
        "reason",
        "since",
        "endpoint",
        "model",
        "restarts",
        "start",
        "last_error",
        "server_log",
    )
    pids = {"launcher": odd, "server": odd, "others": [odd]}
    me = {"pid": 1, "start_ticks": 1, "boot_id": HOSTILE}
    seen = {**dict.fromkeys(names, odd), "schema": 1, "state": HOSTILE, "pids": pids}
    status.status(StateRecord.from_json(seen | {"launcher": me}), as_json=False)
    said = capsys.readouterr().out

    assert commands(said) == []
    assert len(said.splitlines()) == 9


def test_profiles_of_others_are_listed_as_they_are_called(
    capsys: pytest.CaptureFixture[str],
) -> None:
    row = Row(HOSTILE, "host", "/h", False, HOSTILE, False, HOSTILE, f"a\nb{HOSTILE}")
    profiles.listed([row], {"HOME": "/h"}, every=True, as_json=False)
    said = capsys.readouterr().out

    assert commands(said) == []
    assert len(said.splitlines()) == 3


def test_the_one_console_is_the_only_one() -> None:
    """A console of rich's own takes strings for markup and hands on whatever a terminal obeys."""
    made = {
        path.name for path in LAUNCHER.rglob("*.py") if re.search(r"\bConsole\(", path.read_text())
    }
    marked = {path.name for path in LAUNCHER.rglob("*.py") if "from_markup" in path.read_text()}

    assert (made, marked) == ({"console.py"}, set())


def test_text_objects_of_richs_own_are_made_of_our_words_alone() -> None:
    """`words` and `row` make one line of what others wrote; a bare Text keeps its line ends."""
    for path in LAUNCHER.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id == "Text"
            ):
                assert path.name == "console.py", f"{path}:{node.lineno}"


def fields(data: bytes) -> dict[str, str]:
    """A datagram of the journal's protocol, as systemd reads it."""
    read: dict[str, str] = {}
    while data:
        head, _, rest = data.partition(b"\n")
        name, sign, value = head.partition(b"=")
        if not sign:
            (size,) = struct.unpack_from("<Q", rest)
            value, rest = rest[8 : 8 + size], rest[8 + size :]
            assert rest[:1] == b"\n"
            rest = rest[1:]
        assert name.decode() not in read, "a field of somebody else's"
        read[name.decode()], data = value.decode(), rest
    return read


@settings(max_examples=50)
@given(st.text(st.characters()), st.text(st.characters()))
def test_a_journal_entry_has_our_fields_alone(message: str, value: str) -> None:
    fake = Path(f"\0glm5-journal-{id(object())}")
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journald,
        pytest.MonkeyPatch.context() as patch,
    ):
        journald.bind(str(fake))
        journald.settimeout(60)
        patch.setattr(journal, "SOCKET", str(fake))
        journal.send(message, {"PRIORITY": 6, "GLM5_REASON": value})
        read = fields(journald.recv(1 << 20))

    seen = {
        name: text.encode(errors="replace").decode()
        for name, text in (("MESSAGE", message), ("R", value))
    }
    assert read == {"MESSAGE": seen["MESSAGE"], "PRIORITY": "6", "GLM5_REASON": seen["R"]}


def test_what_a_journal_entry_says_is_one_line() -> None:
    line = console.in_words(Event("warning", {"reason": "a\nMESSAGE=b"}))

    assert line is not None
    assert "\n" not in line


def test_what_systemd_is_told_is_the_word_that_was_meant(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(60)
        told = sdnotify.Notifier({"NOTIFY_SOCKET": str(tmp_path / "notify")})
        told.tell(f"STATUS=x\nMAINPID=1{HOSTILE}", "READY=1")
        told.close()
        status, ready = manager.recv(1 << 16).decode().split("\n")

    assert (status.startswith("STATUS=x\\nMAINPID=1"), status.isprintable(), ready) == (
        True,
        True,
        "READY=1",
    )


def test_a_release_or_a_note_of_others_adds_no_command_to_a_printed_one() -> None:
    made = planned(PlanRequest("card"), {"HOME": "/h"}, Target("0.5.23"))[0]
    text = shell.write(
        replace(made, release=f"0.5.23\nrm -rf ~{HOSTILE}", notes=(f"x\nrm -rf ~{HOSTILE}",))
    )
    comments = [line for line in text.splitlines() if line.startswith("#")]

    assert "\n".join(text.splitlines()[2:]) == "\n".join(shell.write(made).splitlines()[1:])
    assert len(comments) == 2
    assert commands(text) == []


def test_what_a_dying_server_says_commands_no_terminal(world: World) -> None:
    world.write_profile(restart_limit=0)
    world.faults(lines=[f"RuntimeError: {CLIPBOARD}{TURNED}"], exit_at="load", exit_code=1)
    said = [
        world.run("up", "-p", "stub", "-d"),
        *(world.run(name) for name in ("status", "events", "logs")),
    ]

    assert r"\x1b]52;c;ZXZpbA==" in said[-1].stdout, "it is in the log"
    assert [commands(each.stdout + each.stderr) for each in said] == [[], [], [], []]


def test_what_a_checkpoint_says_commands_no_terminal(world: World) -> None:
    config = {
        "architectures": [CLIPBOARD],
        "model_type": f"x{CLIPBOARD}",
        "num_hidden_layers": TURNED,
    }
    (world.folder / "model/config.json").write_text(json.dumps(config))
    (world.folder / f"model/{MARKUP.replace('/', '-')}\x1b[2J.safetensors").write_bytes(b"x")
    said = world.run("model", str(world.folder / "model"))

    assert r"\x1b]52;c;ZXZpbA==" in said.stdout
    assert commands(said.stdout + said.stderr) == []


def test_a_refusal_shows_what_it_is_about(world: World) -> None:
    refused = world.run("render", "-p", f"./{CLIPBOARD}")

    assert r"\x1b]52;c;ZXZpbA==\x07" in refused.stderr
    assert commands(refused.stderr) == []


@pytest.mark.parametrize(
    ("tree", "said"),
    [
        ({"flags": {"model-path": "m\x1b]52;"}}, r"here: flags.model-path: has \x1b in it"),
        ({"flags": {"x": ["a", "\u202e"]}}, r"here: flags.x: has \u202e in it"),
        ({"env": {"A\x07": "b"}}, r"has \x07 in it"),
        ({"engine": {"python": "/a\x00b"}}, r"engine.python: has \x00 in it"),
    ],
)
def test_what_nobody_would_see_in_a_command_is_refused(tree: dict[str, object], said: str) -> None:
    layer = Layer("here", tree)
    ((table, values),) = tree.items()
    assert isinstance(values, dict)
    (error,) = unprintable(tree, {f"{table}.{name}": layer for name in values})

    assert said in error


def test_prose_and_lines_are_no_such_thing() -> None:
    fine = {
        "flags": {"model-path": "/größe/模型", "json": '{\n\t"a": 1\n}'},
        "why": {"x": "\u200b"},
        "description": "\x1b",
    }

    assert unprintable(fine, {}) == []


# Colours of ours are left out by `commands`; a tab and the carriage return before a line's end are a
# part of a program that is shown as it should be.
PROGRAM_ENDS = re.compile(r"\t|\r(?=\n)")
LAUNCHES = {
    "a flag": f"vllm serve m --foo '{HOSTILE}'\n",
    "a comment": f"# {HOSTILE}\nvllm serve m --swap-space 4\n",
    "a variable": f"export A='{HOSTILE}'\nvllm serve m --swap-space 4\n",
    "a name": f"vllm serve m '--{HOSTILE}' 1 --swap-space 4\n",
    "compose": "services:\n  'a\\x1b':\n    image: vllm/vllm-openai:v0.33.0\n    command: --model m\n",
    "Windows": "vllm serve m \\\r\n\t--swap-space 4 \x1b[2J\r\n",
}


def hostile_files(world: World) -> None:
    """A file of each kind that a command reads, with what a terminal obeys wherever it may be."""
    text = HOSTILE.encode("utf-8", "replace").decode().replace("\0", "")
    for name, launch in LAUNCHES.items():
        (world.folder / f"launch-{name.replace(' ', '-')}").write_text(
            launch.encode("utf-8", "replace").decode().replace("\0", ""), newline=""
        )
    (world.folder / "log").write_text(f"RuntimeError: {text}\n{text}\nNVRM: Xid (PCI:{text}): 79\n")
    (world.folder / "pasted").write_text(f"[ 1.0] NVRM: Xid (PCI:0000:61:00): 79, {text}\n" * 3)
    (world.folder / "facts").write_text(json.dumps({"schema": 1, "kernel": {"cmdline": text}}))
    escaped = json.dumps(text)[1:-1].replace("\\ud800", "")
    described = world.profile.with_name("odd.toml")
    described.write_text(f'description = "{escaped}"\n[flags]\nmodel-path = "m{escaped}"\n')
    world.profile.with_name("fine.toml").write_text(
        f'description = "{escaped}"\n[flags]\nmodel-path = "m"\nserved-model-name = "m"\n'
    )


def test_no_command_prints_what_a_terminal_obeys(world: World) -> None:
    """The law: whatever it is fed, standard output and error have no control characters but ends of
    lines, and colours of ours.
    """
    hostile_files(world)
    files = sorted(path.name for path in world.folder.glob("launch-*"))
    ways = ("--fix", "--profile", "--all-releases", "--json", "--to=sglang")
    every = [
        *(("lint", file, *how) for file in files for how in ((), *((way,) for way in ways))),
        *((*words, *how) for how in ((), ("--json",)) for words in (
            ("diagnose", "log"), ("doctor", "--from", "pasted"), ("doctor", "--facts", "facts"),
            ("profiles",), ("profiles", "show", "odd"), ("profiles", "validate", "odd"),
            ("profiles", "show", "fine"), ("profiles", "validate", "fine"), ("diff", "fine", "odd"),
            ("fit", "fine"), ("status", "-p", CLIPBOARD), ("lint", f"no{CLIPBOARD}"),
        )),
        ("render", "fine"), ("render", "odd"), ("render", "fine", "--set", f"flags.x={CLIPBOARD}"),
        ("facts", "--from", "pasted"), ("checks", CLIPBOARD), (CLIPBOARD,), ("down", "-p", CLIPBOARD),
    ]  # fmt: skip
    for words in every:
        said = world.run(*words)
        shown = PROGRAM_ENDS.sub("", said.stdout + said.stderr)

        assert commands(shown) == [], words
        assert said.returncode != 70, (words, said.stderr)


def test_a_program_that_is_shown_keeps_its_tabs_and_ends_of_lines() -> None:
    assert printable.program("a\tb\r\nc\rd\x1b\n") == "a\tb\r\nc\\rd\\x1b\n"


def test_more_than_anybody_reads_is_cut_and_it_says_how_much() -> None:
    assert printable.cut("a" * 1000) == "a" * 1000
    assert printable.cut("a" * 1_001_000) == "a" * 1000 + "… (1,000,000 more characters)"


def test_hostile_lengths_are_cut_where_they_are_shown(world: World) -> None:
    """A word, a name, a description, a path of a megabyte fills no screen."""
    long = "x" * 1_000_000
    world.profile.with_name("long.toml").write_text(
        f'description = "{long}"\n[flags]\nmodel-path = "m"\nserved-model-name = "m"\n{long[:9000]} = 1\n'
    )
    (world.folder / "launch").write_text(f"vllm serve m --foo={long[:60_000]} '--{long[:5000]}'\n")
    (world.folder / "log").write_text(f"RuntimeError: {long}\n")
    for words in (
        ("profiles",), ("profiles", "validate", "long"), ("lint", "launch"), ("diagnose", "log"),
        ("lint", "launch", "--all-releases"), ("lint", long[:100_000]), ("profiles", "show", long[:100_000]),
    ):  # fmt: skip
        said = world.run(*words)

        assert max(map(len, (said.stdout + said.stderr).splitlines())) < 5000, words


@pytest.mark.parametrize(
    ("value", "is_fine"),
    [
        ("/m\nx", False), ("/m\x1b", False), ("/m\u009b", False), ("/m", True), ("/größe/模型", True),
        ('{\n\t"a": 1\n}', True), ("{% if x %}\n{% endif %}", True),
    ],
)  # fmt: skip
def test_a_value_of_several_lines_is_json_or_a_template(
    value: str, is_fine: bool, world: World
) -> None:
    profile = world.profile.with_name("p.toml")
    profile.write_text(
        f'[flags]\nmodel-path = "/m"\nserved-model-name = "m"\nchat-template = {json.dumps(value)}\n'
        if is_fine and "\n" in value
        else f'[flags]\nmodel-path = {json.dumps(value)}\nserved-model-name = "m"\n'
    )
    said = world.run("profiles", "validate", "p")

    assert (said.returncode == 78) is not is_fine, said.stderr
    assert is_fine or [line[:5] for line in said.stderr.splitlines() if line[0] != " "] == [
        "error",
        "fix  ",
    ]
    assert is_fine or "a character that nobody would see" in said.stderr
