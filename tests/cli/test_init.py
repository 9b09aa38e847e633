"""A profile of one's own: written, shown, checked, and found again."""

from __future__ import annotations

import json
import os
import pty
import stat
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from conftest import PATIENCE, ROOT, World

from launcher.cli import cli
from launcher.config import layers
from launcher.errors import Exit, UserError
from launcher.host.collectors import release
from launcher.operate import init as making

RECORDED = ROOT / "tests/hosts/asus8x.json"
PACKAGED = sorted(path.stem for path in (ROOT / "profiles").iterdir())


@dataclass
class Operator:
    """Root, or who has this home: whoever runs the tests writes below `folder` alone."""

    folder: Path

    @property
    def profiles(self) -> Path:
        here = "etc/glm5-serve" if os.geteuid() == 0 else "config/glm5-serve"
        return self.folder / here / "profiles"

    def __call__(self, *words: str) -> Result:
        return CliRunner().invoke(cli, words)

    def refused(self, *words: str) -> UserError:
        told = self(*words).exception
        assert isinstance(told, UserError), told
        return told


@pytest.fixture
def operator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Operator:
    monkeypatch.setattr(layers, "HOST", tmp_path / "etc/glm5-serve/profiles")
    for name, value in (("HOME", "home"), ("XDG_CONFIG_HOME", "config"), ("XDG_CACHE_HOME", "c")):
        monkeypatch.setenv(name, str(tmp_path / value))
    return Operator(tmp_path)


def test_it_is_six_lines_that_extend_a_packaged_one(operator: Operator) -> None:
    (operator.folder / "model").mkdir()
    python, model = sys.executable, str(operator.folder / "model")
    ran = operator(
        "init", "mine", "--extends", "8xpro6000", "--model", model, "--port", "8001",
        "--engine-python", python,
    )  # fmt: skip

    path = operator.profiles / "mine.toml"
    written = path.read_text()
    assert ran.exit_code == 0, ran.output
    assert f"wrote {path}\n" in ran.stdout
    assert len([line for line in written.splitlines() if line and line[0] not in "#["]) == 5
    assert tomllib.loads(written) == {
        "extends": "8xpro6000",
        "engine": {"python": python},
        "flags": {"model-path": model, "host": "127.0.0.1", "port": 8001},
    }
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert [*operator.profiles.iterdir()] == [path]
    for command in ("doctor", "fit", "up"):
        assert f"glm5-serve {command} mine" in ran.stderr
    plan = json.loads(operator("render", "mine", "--json").stdout)
    assert (plan["name"], plan["model"], plan["port"]) == ("mine", model, 8001)


@pytest.mark.parametrize("name", PACKAGED)
def test_whatever_is_packaged_may_be_extended(
    operator: Operator, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No interpreter here has an engine, and none is asked for it."""
    monkeypatch.setattr(release, "release", lambda *_: None)
    ran = operator("init", "mine", "--extends", name, "--host", "127.0.0.1", "--json")
    if name.startswith("2x"):
        assert isinstance(ran.exception, UserError)
        assert "for several hosts" in ran.exception.what
        return

    assert ran.exit_code == 0, ran.exception
    told = json.loads(ran.stdout)
    assert Path(told["path"]).is_file()
    assert operator("profiles", "validate", "mine").exception is None


def test_nothing_is_overwritten_without_force(operator: Operator) -> None:
    words = ("init", "mine", "--extends", "8xpro6000")
    operator(*words, "--port", "1")
    path = operator.profiles / "mine.toml"
    before = path.read_text()
    told = operator.refused(*words, "--port", "2")

    assert (told.status, told.what) == (Exit.CONFIG, f"{path} is there already")
    assert path.read_text() == before
    assert operator(*words, "--port", "2", "--force").exit_code == 0
    assert tomllib.loads(path.read_text())["flags"]["port"] == 2


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        ("init mine --extends nope", 2, "no profile 'nope'"),
        ("init", 2, "no profile is for the GPUs here"),
        ("init --extends card", 2, "which name?"),
        ("init a/b --extends card", 2, "is no name for a profile"),
        ("init a.toml --extends card", 2, "is no name for a profile"),
        ("init a@2 --extends 8xb200", 2, "is no name for a profile"),
        ("init .x --extends 8xb200", 2, "cannot name a folder"),
        ("init mine --extends 8xb200 --host 0.0.0.0", 2, "there is no key"),
        ("init mine --extends 8xb200 --api-key-file missing", 78, "cannot read the API key file"),
        ("init mine --extends 8xb200 --engine-python a=b", 78, "engine.python"),
        ("profiles validate nope", 2, "no profile 'nope'"),
        ("profiles validate", 2, "which profile?"),
        ("profiles card", 2, "card is a profile"),
        ("profiles frobnicate", 2, "no command 'frobnicate'"),
        ("profiles show nope", 2, "no profile 'nope'"),
    ],
)
def test_what_cannot_be_written_or_found_is_refused_and_nothing_is_left(
    operator: Operator, words: str, status: int, says: str
) -> None:
    told = operator.refused(*words.split())

    assert (told.status, says in told.what) == (status, True), told.what
    assert told.fix
    assert not [path for path in operator.folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize("words", [(), ("--host", "::"), ("--facts", str(RECORDED))])
@pytest.mark.parametrize("access", ['api_key_file = "/nowhere/key"', "open_without_key = true"])
def test_an_inherited_key_counts(operator: Operator, access: str, words: tuple[str, ...]) -> None:
    """Whatever lets the extended profile be reached from elsewhere lets its child, too."""
    operator.profiles.mkdir(parents=True)
    base = operator.profiles / "base.toml"
    base.write_text(f'extends = "8xpro6000"\n[access]\n{access}\n[flags]\nhost = "0.0.0.0"\n')

    ran = operator("init", "two", "--extends", "base", *words)

    assert ran.exit_code == 0, ran.exception
    made = json.loads(operator("render", "two", "--json").stdout)
    assert made["host"] == (words[1] if "--host" in words else "0.0.0.0")
    assert made["key_file"] == ("/nowhere/key" if "key_file" in access else None)


def test_an_open_address_is_told_by_where_it_stands(operator: Operator) -> None:
    operator.profiles.mkdir(parents=True)
    (operator.profiles / "base.toml").write_text(
        'extends = "8xpro6000"\n[flags]\nhost = "0.0.0.0"\n'
    )

    inherited = operator.refused("init", "two", "--extends", "base")
    said = operator.refused("init", "two", "--extends", "8xpro6000", "--host", "0.0.0.0")

    assert inherited.what.startswith("host 0.0.0.0 of base lets others")
    assert said.what.startswith("--host 0.0.0.0 lets others")
    assert not (operator.profiles / "two.toml").exists()


def test_a_key_is_random_and_closed_to_others(operator: Operator) -> None:
    words = ("--extends", "8xpro6000", "--host", "0.0.0.0", "--make-key")
    for name in ("one", "other"):
        assert operator("init", name, *words).exit_code == 0
    keys = [operator.profiles.with_name("keys") / name for name in ("one", "other")]
    profile = tomllib.loads((operator.profiles / "one.toml").read_text())

    assert profile["access"] == {"api_key_file": str(keys[0])}
    assert keys[0].read_text() != keys[1].read_text()
    for key in keys:
        assert len(key.read_text().strip()) >= 32
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
        assert stat.S_IMODE(key.parent.stat().st_mode) == 0o700
    told = operator.refused("init", "one", *words, "--force")
    assert told.what == f"{keys[0]} is there already"


def test_a_key_is_not_left_where_the_profile_is_not_written(operator: Operator) -> None:
    operator.profiles.parent.mkdir(parents=True)
    operator.profiles.write_text("a file, where a folder should be")
    told = operator.refused("init", "mine", "--extends", "8xpro6000", "--make-key")

    assert "cannot write" in told.what
    assert not [*operator.profiles.with_name("keys").iterdir()]


def test_a_folder_that_others_may_write_gets_no_profile(operator: Operator) -> None:
    operator.profiles.mkdir(parents=True)
    operator.profiles.chmod(0o777)
    told = operator.refused("init", "mine", "--extends", "8xpro6000")

    assert "others may write" in told.what
    assert "chmod go-w" in told.fix
    assert not [*operator.profiles.iterdir()]


def test_a_name_that_leads_elsewhere_is_refused(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = operator.folder / "config/glm5-serve/profiles"
    monkeypatch.setattr(making, "folder", lambda environ: user)  # as for who is not root
    host = operator.folder / "etc/glm5-serve/profiles"
    host.mkdir(parents=True)
    (host / "mine.toml").write_text('extends = "card"')

    assert "is looked at first" in operator.refused("init", "mine", "--extends", "8xb200").what


def test_on_a_terminal_it_asks_for_what_is_not_given(world: World) -> None:
    ours, theirs = pty.openpty()
    answers = "\n\n0.0.0.0\n8123\n\n\n"  # extends, model, address, port, Python, key
    code = (
        "import sys, pathlib; from launcher.config import layers;"
        f" layers.HOST = pathlib.Path({str(world.folder)!r}, 'config/glm5-serve/profiles');"
        " from launcher.cli import main; main()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, "init", "mine"],
        stdin=theirs, stdout=subprocess.PIPE, stderr=theirs, env=world.environ, cwd=world.folder,
    )  # fmt: skip
    os.close(theirs)
    os.write(ours, b"stub" + answers.encode())
    out, _ = process.communicate(timeout=PATIENCE)
    screen = os.read(ours, 1 << 16).decode()  # no bound: who wrote it has ended
    os.close(ours)

    assert process.returncode == 0, screen
    assert "profile to extend" in screen
    written = tomllib.loads((world.profile.parent / "mine.toml").read_text())
    key = world.profile.parent.with_name("keys") / "mine"
    assert written["extends"] == "stub"
    assert written["flags"]["port"] == 8123
    assert written["access"]["api_key_file"] == str(key)
    assert key.read_text().strip()
    assert out.decode().splitlines() == [f"wrote {key}", f"wrote {world.profile.parent}/mine.toml"]


def test_show_says_where_from_what_it_extends_and_who_sets_what(operator: Operator) -> None:
    operator("init", "mine", "--extends", "8xpro6000-glm52", "--port", "8009")
    path = operator.profiles / "mine.toml"
    told: dict[str, Any] = json.loads(operator("profiles", "show", "mine", "--json").stdout)
    values = {one["key"]: (one["value"], one["place"]) for one in told["values"]}

    assert (told["path"], told["text"]) == (str(path), path.read_text())
    assert told["extends"] == ["8xpro6000-glm52", "8xpro6000"]
    assert values["flags.port"] == (8009, str(path))
    assert values["flags.tp-size"] == (8, "8xpro6000")
    assert values["flags.context-length"] == (196608, "8xpro6000-glm52")
    shown = operator("profiles", "show", "mine").stdout
    assert path.read_text() in shown
    assert "8xpro6000-glm52 <- 8xpro6000" in shown


def test_a_broken_profile_is_shown_and_its_errors_are_told(operator: Operator) -> None:
    operator.profiles.mkdir(parents=True)
    text = 'extends = "card"\nnonsense = 1\n[flags]\nport = "x"\n'
    (operator.profiles / "broken.toml").write_text(text)
    ran = operator("profiles", "show", "broken")

    assert text in ran.stdout
    assert isinstance(ran.exception, UserError)
    assert "2 errors" in ran.exception.what
    for word in ("nonsense: unknown key", "flags.port"):
        assert word in operator.refused("profiles", "validate", "broken").what


@pytest.mark.parametrize(
    ("flags", "status", "note"),
    [
        ("", 0, ""),
        ("max-running-requests = 8", 0, ""),
        ("max-runing-requests = 8", 1, "--max-running-requests"),
        ("tp-size = 7", 1, "--tp-size 7"),
        ("mem-fraction-static = 7.0", 1, "--mem-fraction-static"),
    ],
)
def test_validate_says_what_the_engine_would_refuse(
    operator: Operator, flags: str, status: int, note: str
) -> None:
    operator.profiles.mkdir(parents=True)
    path = operator.profiles / "mine.toml"
    path.write_text(f'extends = "8xpro6000"\n[flags]\n{flags}\n')
    for named in ("mine", str(path)):
        words = ["profiles", "validate", named, "--release", "0.5.23"]
        ran = CliRunner().invoke(cli, [*words, "--json"], standalone_mode=False)
        told = json.loads(ran.stdout)

        assert (ran.return_value, told["starts"]) == (status, status == 0), told
        said = CliRunner().invoke(cli, words, standalone_mode=False)
        assert said.return_value == status
        assert ("valid" in said.stdout, "would not start" in said.stdout) == (
            not status,
            bool(status),
        )
        assert not note or any(note in one for one in told["notes"])
