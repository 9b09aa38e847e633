"""What people type who know docker, kubectl, systemctl and journalctl, what is left out, and what is
a file that cannot be read: two lines each, in process.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import click
import pytest
from conftest import ROOT

from launcher import cli
from launcher.cli import profiles, refusals
from launcher.cli.groups import Group
from launcher.config import layers
from launcher.errors import Exit, UserError
from launcher.operate import init, written
from launcher.statedir.events import Event
from launcher.statedir.folder import StateDir
from launcher.statedir.times import local, moment

GROUPS = {name: one for name, one in cli.every_command().items() if isinstance(one, click.Group)}


@dataclass
class Said:
    """What a command said, in this process."""

    status: int
    out: str
    err: str

    @property
    def fix(self) -> str:
        found = re.findall(r"\Aerror  .+\nfix    (.+)\n\Z", self.err)
        assert len(found) == 1, self.err
        return str(found[0])


Run = Callable[..., Said]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    monkeypatch.setenv("GLM5_SERVE_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> Said:
        monkeypatch.setattr(sys, "argv", ["glm5-serve", *words])
        return Said(cli._run(), *capsys.readouterr())

    return run


def commands() -> list[tuple[str, click.Command]]:
    below = (
        (f"{name} {sub}", one) for name in GROUPS for sub, one in GROUPS[name].commands.items()
    )
    return [*((n, c) for n, c in cli.every_command().items() if n not in GROUPS), *below]


@pytest.mark.parametrize("words", ["", "systemd", "gateway"])
def test_a_group_alone_prints_its_help_and_nothing_else(run: Run, words: str) -> None:
    said = run(*words.split())

    assert (said.status, said.out) == (Exit.USAGE, "")
    assert said.err.startswith("Usage: glm5-serve")
    assert not re.search(r"^(error|fix) ", said.err, re.MULTILINE)


@pytest.mark.parametrize("columns", [40, 80, 120])
def test_help_cuts_no_words(run: Run, monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    for name in ("", *GROUPS):
        said = run(*name.split(), "--help").out
        assert not re.search(r"\w\.\.\.$", said, re.MULTILINE), said
        assert max(map(len, said.splitlines())) < max(columns, 60)


def test_an_option_without_its_value_leads_to_its_own_commands_help(run: Run) -> None:
    """Of every command the first option that takes a value."""
    seen = 0
    for name, command in commands():
        options = [one for one in command.params if isinstance(one, click.Option)]
        for option in [one for one in options if not one.is_flag and not one.hidden][:1]:
            said = run(*name.split(), option.opts[-1])
            assert said.status == Exit.USAGE
            assert said.fix == f"`glm5-serve {name} --help`"
            seen += 1
    assert seen > 20


def test_what_is_missing_is_told_in_two_lines(run: Run) -> None:
    seen = 0
    for name, command in commands():
        if any(isinstance(one, click.Argument) and one.required for one in command.params):
            assert run(*name.split()).fix.endswith(f"`glm5-serve {name} --help`")
            seen += 1
    assert seen > 4
    assert run("completion").fix.startswith("bash, zsh, fish: ")
    assert "'SHELL': 'csh' is not one of" in run("completion", "csh").err
    assert (
        run("gateway", "status").err == "error  no gateway is up\nfix    `glm5-serve gateway up`\n"
    )
    assert "no gateway other is up" in run("gateway", "status", "other").err


@pytest.mark.parametrize("group", refusals.OF_A_GROUP)
def test_a_word_of_another_tool_gets_ours_below_a_group(run: Run, group: str) -> None:
    known = GROUPS[group]
    for word, ours in refusals.OF_A_GROUP[group].items():
        assert word not in known.commands
        assert ours.strip("`").split()[0] in {*cli.every_command(), "rm", "systemctl"}
        assert ours.removeprefix("`").partition("`")[0].split()[0] in run(group, word, "x").fix
    near = run(
        group, "statuss" if group == "gateway" else "shwo" if group == "profiles" else "prnt"
    )
    assert re.fullmatch(rf"`glm5-serve {group} (status|show|print)`", near.fix)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("get pods", "`glm5-serve status`"),
        ("describe x", "`glm5-serve status`"),
        ("exec x", "`glm5-serve render` prints what is run"),
        ("logs --since 5m", "`glm5-serve events --since`"),
        ("down a b", "one at a time: `glm5-serve down --help`"),
        ("down --all", "name each: `glm5-serve status` lists them"),
        ("logs --folow", "did you mean --follow?"),
    ],
)
def test_a_habit_is_guided(run: Run, words: str, says: str) -> None:
    said = run(*words.split())

    assert said.status == Exit.USAGE
    assert says in said.fix


# -- files that cannot be read ----------------------------------------------------------------------

READS = (
    "lint {}", "lint {} --fix", "lint {} --write", "diagnose {}", "doctor --from {}",
    "doctor --facts {}", "doctor --facts {} --facts {}", "facts --facts {}", "facts --from {}",
    "fit 8xpro6000 --facts {}", "render 8xpro6000 --facts {}", "diff 8xpro6000 --facts {}",
    "profiles validate 8xpro6000 --facts {}", "doctor --hosts @{}", "bench --compare {} {}",
)  # fmt: skip


@pytest.mark.parametrize("words", READS)
def test_a_file_that_cannot_be_read_is_told_alike(run: Run, words: str, tmp_path: Path) -> None:
    said = run(*words.replace("{}", "nope.jsonl").split())

    assert (said.status, said.out) == (Exit.USAGE, "")
    assert said.err.startswith("error  cannot read nope.jsonl: no such file or directory\nfix    ")


def test_one_spelling_of_what_the_kernel_says() -> None:
    """`strerror` begins with a capital: `errors.in_words` and `reading.reason` do not."""
    theirs = ("launcher/serve/reaper.py",)  # standard library alone, and read by a machine
    for path in (ROOT / "launcher").rglob("*.py"):
        if "{error.strerror}" in path.read_text() and str(path.relative_to(ROOT)) not in theirs:
            assert path.name == "roster.py", path  # its own words, of an unfit file


# -- events --since ---------------------------------------------------------------------------------


def test_a_moment_is_so_long_ago_or_a_time_of_this_host() -> None:
    now = 1_800_000_000.5
    assert moment("5m", now) == "2027-01-15T07:55:00.000Z"
    assert [moment(said, now)[:19] for said in ("30s", "2h", "1d")] == [
        "2027-01-15T07:59:30", "2027-01-15T06:00:00", "2027-01-14T08:00:00",
    ]  # fmt: skip
    assert moment("2026-11-27T01:02:03.123Z", now) == "2026-11-27T01:02:03.000Z"
    assert local(moment("2026-11-27 12:00", now)) == "2026-11-27 12:00:00"
    assert local(moment("2026-11-27", now)) == "2026-11-27 00:00:00"
    for none in ("5x", "", "yesterday", "-5m", "2026-13-01"):
        with pytest.raises(ValueError, match="wanted 30s, 5m"):
            moment(none, now)


def test_events_since_are_all_of_them_unless_a_number_is_said(tmp_path: Path) -> None:
    instance = StateDir(tmp_path, "stub")
    instance.folder.mkdir(mode=0o700)
    for second in range(60):
        instance.tell(
            Event("warning", {"reason": "x"}, f"2026-11-27T01:00:{second:02d}.000Z", "stub")
        )
    told = [*written.events(instance, None, (), "2026-11-27T01:00:05.000Z", follow=False)]

    assert len(told) == 55
    assert told[0].time == "2026-11-27T01:00:05.000Z"
    last = written.events(instance, 2, (), "2026-11-27T01:00:05.000Z", follow=False)
    assert [one.time[17:19] for one in last] == ["58", "59"]
    assert not [*written.events(instance, None, (), moment("1s", time.time()), follow=False)]


# -- init -------------------------------------------------------------------------------------------


def test_no_answer_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def ended(*_: object) -> str:
        raise EOFError

    monkeypatch.setattr("click.termui.visible_prompt_func", ended)
    with pytest.raises(UserError, match="no answer: nothing was written"):
        profiles._ask("port", 8000)
    monkeypatch.setattr("click.termui.visible_prompt_func", lambda *_: (_ for _ in ()).throw(
        KeyboardInterrupt
    ))  # fmt: skip
    with pytest.raises(click.Abort):
        profiles._ask("port", 8000)


def test_a_model_folder_that_is_not_there_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environ = {"HOME": str(tmp_path)}
    monkeypatch.setattr(layers, "HOST", tmp_path / "etc")
    (tmp_path / "there").mkdir()

    def notes(model: str) -> list[str]:
        draft, base = init.begun("mine", "8xpro6000", environ)
        draft = init.having(draft, model=init.model_of(model))
        plan = init.checked(draft, init.text(draft, base.engine), environ)
        return [note for note in plan.notes if "not here yet" in note]

    assert notes("/no/such") == [
        "/no/such is not here yet: `glm5-serve fetch ORG/NAME --to /no/such` downloads one into it"
    ]
    assert notes(str(tmp_path / "there")) == notes("nvidia/GLM-5-NVFP4") == []


def test_a_key_in_a_folder_is_that_of_the_profile(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()

    assert init.key_at(f"{tmp_path}/keys/", "mine") == tmp_path / "keys/mine"
    assert init.key_at(f"{tmp_path}/there", "mine") == tmp_path / "there/mine"
    assert init.key_at(f"{tmp_path}/key", "mine") == tmp_path / "key"
    init.make_key(init.key_at(f"{tmp_path}/keys/", "mine"))
    assert (tmp_path / "keys").stat().st_mode & 0o777 == 0o700


def test_groups_are_ours() -> None:
    assert all(isinstance(one, Group) for one in GROUPS.values())


def test_no_number_of_seconds_is_none() -> None:
    """`nan` passes each bound of a range, and waits for ever; so does `inf` without a last one."""
    numbers = [
        (name, option)
        for name, command in commands()
        for option in command.params
        if isinstance(option.type, (click.types.FloatParamType, click.FloatRange))
    ]

    assert len(numbers) > 2
    for name, option in numbers:
        for said in ("nan", "inf", "-inf"):
            with pytest.raises(click.BadParameter):
                option.type.convert(said, option, click.Context(click.Command(name)))
