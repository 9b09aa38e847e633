"""Whoever can write the folder where somebody stands chooses neither a profile nor a program that
is run.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import GLM5_SERVE, PATIENCE, RIG, World, warm

from launcher.config import layers
from launcher.doctor import fabric_rank
from launcher.errors import Exit, UserError
from launcher.files import programs
from launcher.host.collectors.engine import engine
from launcher.host.collectors.release import release
from launcher.operate import unit_files
from launcher.serve import stacks

NOBODY = 65534
SHADOWS = (
    "json.py",
    "email.py",
    "importlib.py",
    "sglang/__init__.py",
    "torch/__init__.py",
    "sitecustomize.py",
)
PROFILE = '[engine]\npython = "{}"\n[flags]\nmodel-path = "m"\ntp-size = 8\n'


class Trap:
    """A folder that others may write, with everything in it that could be taken for something
    else.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "trap"
        self.mark = folder / "ran"
        self.folder.mkdir()
        for name in SHADOWS:
            self.write(name, f"open({str(self.mark)!r}, 'a').write('{name} ')\n")
        for name in ("python3", "python", "py-spy", "glm5-serve", "systemctl", "evil"):
            self.write(name, f"#!/bin/sh\necho {name} >> {self.mark}\n").chmod(0o755)
        for name in ("8xpro6000", "8xpro6000.toml", "parent", "parent.toml", "p.toml"):
            self.write(name, PROFILE.format(self.folder / "evil"))
        self.folder.chmod(0o777)
        self.give(NOBODY)

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return path

    def give(self, uid: int) -> None:
        if os.geteuid() == 0:
            for path in (self.folder, *self.folder.rglob("*")):
                os.chown(path, uid, uid)

    @property
    def ran(self) -> str:
        return self.mark.read_text() if self.mark.exists() else ""


@pytest.fixture
def trap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Trap:
    made = Trap(tmp_path)
    monkeypatch.chdir(made.folder)
    return made


LOOKING = (
    "render -p 8xpro6000",
    "fit -p 8xpro6000 --model nvidia/GLM-5-NVFP4",
    "doctor -p 8xpro6000",
    "diff 8xpro6000 b300",
    "diff p.toml ./8xpro6000",
    "render -p ./8xpro6000",
    "doctor -p 8xpro6000.toml",
    "facts -p p.toml",
    "profiles",
)


@pytest.mark.parametrize(
    ("words", "path"),
    [*((words, "") for words in LOOKING), (LOOKING[0], ".:"), (LOOKING[0], ":"), (LOOKING[2], ":")],
)
def test_commands_that_only_look_run_nothing_of_it(
    world: World, trap: Trap, words: str, path: str
) -> None:
    """The first of them is executed there; the others are forked: what an interpreter imports
    before it has words is the same for all.
    """
    environ = world.environ | {"PATH": path + os.environ["PATH"]}
    ran = (
        subprocess.run(
            [GLM5_SERVE, *words.split()],
            env=environ,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        if words == LOOKING[0]
        else warm().run(words.split(), environ, trap.folder, PATIENCE)
    )

    assert (trap.ran, ran.returncode in (Exit.FINE, Exit.NO, Exit.USAGE)) == ("", True), ran.stderr


def test_a_bare_name_is_never_a_file_here(trap: Trap) -> None:
    found = layers.find("8xpro6000", {"HOME": "/nowhere"})
    assert (found.place, found.path) == ("packaged", layers.PACKAGED / "8xpro6000.toml")

    with pytest.raises(UserError, match="no profile 'parent': none of that name") as refused:
        layers.find("parent", {"HOME": "/nowhere"})
    assert refused.value.status == Exit.USAGE
    assert "for the file here `./parent`" in refused.value.fix
    for word in ("./parent", "parent.toml", str(trap.folder / "parent")):
        assert layers.find(word, {}).path.parent == trap.folder.resolve()


@pytest.mark.parametrize("parent", ["parent", "parent.toml"])
def test_what_a_profile_extends_is_not_looked_for_here(
    trap: Trap, tmp_path: Path, parent: str
) -> None:
    child = tmp_path / "child.toml"
    child.write_text(f'extends = "{parent}"\n')
    with pytest.raises(UserError, match="extends: no profile"):
        layers.lineage(layers.find(str(child), {"HOME": "/nowhere"}), {"HOME": "/nowhere"})


def test_a_path_that_a_profile_extends_lies_beside_it(trap: Trap, tmp_path: Path) -> None:
    (tmp_path / "child.toml").write_text('extends = "parent.toml"\n')
    (tmp_path / "parent.toml").write_text(PROFILE.format("mine"))
    parent, _ = layers.lineage(layers.find(str(tmp_path / "child.toml"), {}), {})

    assert parent.values["engine"] == {"python": "mine"}


@pytest.mark.parametrize(
    "environ",
    [
        {"XDG_CONFIG_HOME": "."},
        {"HOME": ""},
        {"HOME": "."},
        {"XDG_CONFIG_HOME": "", "HOME": "x"},
        {},
    ],
)
def test_no_variable_makes_it_the_users_place(trap: Trap, environ: dict[str, str]) -> None:
    assert all(folder.is_absolute() for _, folder in layers.places(environ))


def interpreter(environ: dict[str, str]) -> object:
    told = engine("python3", environ, "sglang", ["sglang"]).packages.otherwise({}).get("sglang")
    return told, release("sglang", "python3", environ)


@pytest.mark.parametrize("asked", [interpreter])
def test_the_engines_interpreter_imports_nothing_of_it(
    trap: Trap, asked: Callable[[dict[str, str]], object]
) -> None:
    environ = {
        **os.environ,
        "PATH": str(Path(sys.executable).parent),
        "PYTHONPATH": str(RIG / "stub"),
    }

    assert asked(environ) == ("0.5.23", "0.5.23")
    assert asked(environ | {"PYTHONPATH": f":{RIG}/stub:."}) == ("0.5.23", "0.5.23")
    assert trap.ran == ""


def test_a_proof_that_moves_data_imports_nothing_of_it(trap: Trap) -> None:
    program = fabric_rank.__file__
    words = [sys.executable, program, "gloo", "1", str(trap.folder.parent)]
    subprocess.run(words, capture_output=True, check=False, timeout=60)

    assert trap.ran == ""


@pytest.mark.parametrize(
    "module", ["launcher.host.collectors.nvml_child", "launcher.serve.gpu_monitor_child"]
)
def test_what_asks_the_driver_imports_nothing_of_it(trap: Trap, module: str) -> None:
    subprocess.run(
        [sys.executable, "-P", "-m", module],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        timeout=60,
    )

    assert trap.ran == ""


@pytest.mark.parametrize("entry", ["", ".", "../trap"])
def test_a_relative_entry_of_path_leads_to_no_program(trap: Trap, entry: str) -> None:
    here, there = {"PATH": f"{entry}:/usr/bin:/bin"}, {"PATH": f"/usr/bin:/bin:{entry}"}
    with pytest.raises(programs.NoProgramError, match="is found by the relative entry"):
        programs.find("python3", here)
    assert "is found by the relative entry" in str(
        engine("python3", here, "sglang", []).python.unknown
    )
    assert release("sglang", "python3", here) is None
    assert programs.find("sh", here).startswith(("/usr/bin/", "/bin/"))
    with pytest.raises(programs.NoProgramError, match="is found by the relative entry"):
        programs.find("evil", there)


def test_a_relative_path_is_run_from_a_folder_of_ones_own_alone(trap: Trap) -> None:
    with pytest.raises(
        programs.NoProgramError, match="evil lies in the current folder, which is not yours alone"
    ):
        programs.find("./evil", {})
    trap.give(os.geteuid())
    trap.folder.chmod(0o755)

    assert programs.find("./evil", {}) == str(trap.folder / "evil")


def test_what_is_lent_a_capability_or_put_into_a_unit_is_none_of_it(
    trap: Trap, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f":{os.environ['PATH']}")
    monkeypatch.setattr(sys, "executable", "/nowhere/python")

    assert stacks._py_spy() is None
    with pytest.raises(UserError, match="no command for systemd to run"):
        unit_files.command()


def up(world: World, folder: Path) -> subprocess.CompletedProcess[str]:
    words = [GLM5_SERVE, "up", "-p", "stub", "-d"]
    return subprocess.run(
        words,
        cwd=folder,
        env=world.environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("owner", "mode"),
    [(0, 0o777), (0, 0o1777), *([(NOBODY, 0o755), (0, 0o775)] if os.geteuid() == 0 else [])],
)
def test_nothing_is_started_from_a_folder_that_others_may_write(
    world: World, tmp_path: Path, owner: int, mode: int
) -> None:
    folder = tmp_path / "here"
    folder.mkdir()
    if os.geteuid() == 0:  # another owner, or group, is for root to give
        os.chown(folder, owner, NOBODY)
    folder.chmod(mode)
    refused = up(world, folder)

    assert refused.returncode == Exit.CONFIG
    assert f"the current folder is not yours alone: {folder} is owned by" in refused.stderr
    assert "`cd /`, or to a folder that is yours alone" in refused.stderr
    assert refused.stderr.count("\n") == 2
    assert not (world.instance / "plan.json").exists()


def test_a_folder_that_is_gone_is_said_to_be(world: World, tmp_path: Path) -> None:
    words = (
        f"mkdir {tmp_path}/here && cd {tmp_path}/here && rmdir {tmp_path}/here && exec {GLM5_SERVE}"
        " up -p stub"
    )
    refused = subprocess.run(
        ["sh", "-c", words],
        env=world.environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert refused.returncode == Exit.CONFIG
    assert "the current folder cannot be used" in refused.stderr


def test_a_folder_of_ones_own_is_as_good_as_ever(world: World) -> None:
    """Relative paths of a profile mean the folder where it is brought up."""
    world.folder.chmod(0o755)
    (world.folder / "python").symlink_to(sys.executable)
    words = ("--set", "flags.model-path=./model", "--set", "engine.python=./python")
    brought = world.run("up", "-p", "stub", "-d", *words)

    assert (brought.returncode, world.status()["state"]) == (0, "ready"), brought.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root could become more by it")
@pytest.mark.parametrize("what", ["file", "folder", "link"])
def test_root_runs_no_interpreter_that_another_user_may_change(tmp_path: Path, what: str) -> None:
    """Not even to ask its release: a root profile may name the service user's own environment."""
    folder = tmp_path / "venv/bin"
    folder.mkdir(parents=True)
    python = folder / "python"
    if what == "link":
        python.symlink_to("/bin/sh")
    else:
        python.write_text("#!/bin/sh\n")
        python.chmod(0o755)
    assert programs.find(str(python), {}) == str(python)
    os.chown(folder if what == "folder" else python, 65534, 65534, follow_symlinks=False)

    with pytest.raises(
        programs.NoProgramError, match=r"is a program that root will not run: .* \(uid 65534\)"
    ):
        programs.find(str(python), {})
