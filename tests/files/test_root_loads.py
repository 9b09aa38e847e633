"""What a Python loads is as much the program as its file is: root runs none whose modules, `.pth`
files, configuration, libraries or tools another user may change.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import PATIENCE, World, until

from launcher.errors import Exit
from launcher.files import loaded, programs

OTHER = 65534
PYTHON = Path("/usr/bin/python3")
pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not PYTHON.exists(), reason="only root could become more by it"
)


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder of root's, where /tmp is a sticky one above it."""
    with tempfile.TemporaryDirectory(prefix="glm5-loads-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture
def venv(place: Path) -> Path:
    """An environment of root's; its folder of packages is `lib/packages`."""
    made = place / "venv"
    made_by = [str(PYTHON), "-m", "venv", "--without-pip", str(made)]
    subprocess.run(made_by, check=True, timeout=PATIENCE, capture_output=True)
    (made / "lib/packages").symlink_to(next(made.glob("lib/python3*/site-packages")))
    return made


def give(path: Path, text: str | None = None) -> Path:
    """A file, or a folder where there is no text, that is another user's."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if text is None:
        path.mkdir(exist_ok=True)
    elif not path.is_symlink():
        path.write_text(text)
    os.chown(path, OTHER, OTHER, follow_symlinks=False)
    return path


def refused(python: Path, **environ: str) -> str:
    with pytest.raises(programs.NoProgramError) as no:
        programs.find_python(str(python), {"PATH": "/usr/bin:/bin", "HOME": "/root", **environ})
    assert "root will not run" in str(no.value)
    assert f"(uid {OTHER})" in str(no.value) or "others may write" in str(no.value)
    return str(no.value)


def runs(python: Path, **environ: str) -> bool:
    environ = {"PATH": "/usr/bin:/bin", "HOME": "/root", **environ}
    return programs.find_python(str(python), environ) == str(python)


@pytest.mark.parametrize("name", [*loaded.LISTS, "PYTHONPATH"])
@pytest.mark.parametrize("own", [False, True])
def test_no_variable_names_what_another_user_may_change(place: Path, name: str, own: bool) -> None:
    his = place / "his" if own else give(place / "his")
    named = his / "named"
    if own:
        named.mkdir(parents=True)

    if own:
        assert runs(PYTHON, **{name: f"{named}"})
        give(named)
    assert f"{name} names {named}: " in refused(PYTHON, **{name: str(named)})


def test_of_several_names_each_counts(place: Path) -> None:
    library = give(place / "his/x.so", "")
    for value in (f"/usr/lib/a.so:{library}", f"a.so {library}", f"{place}/$LIB/b.so:{library}"):
        assert f"LD_PRELOAD names {library}: " in refused(PYTHON, LD_PRELOAD=value)
    assert runs(PYTHON, LD_PRELOAD="libjemalloc.so.2", LD_LIBRARY_PATH="/usr/local/nvidia/lib64:")
    assert runs(PYTHON, PYTHONPATH=f"{place}:", CC="gcc -m64", NCCL_NET_PLUGIN="aws-ofi")


def of_a_variable(venv: Path) -> dict[str, str]:
    return {"PYTHONPATH": str(give(venv.parent / "pp"))}


def of_a_module(venv: Path) -> dict[str, str]:
    give(venv.parent / "pp/sitecustomize.py", "")
    return {"PYTHONPATH": str(venv.parent / "pp")}


def of_a_package(venv: Path) -> dict[str, str]:
    (venv.parent / "pp/sglang").mkdir(parents=True)
    (venv.parent / "pp/sglang/__init__.py").touch()
    give(venv.parent / "pp/sglang")
    return {"PYTHONPATH": str(venv.parent / "pp")}


def of_the_packages(venv: Path) -> dict[str, str]:
    give((venv / "lib/packages").resolve())
    return {}


def of_one_package(venv: Path) -> dict[str, str]:
    give(venv / "lib/packages/sglang")
    return {}


def of_a_link(venv: Path) -> dict[str, str]:
    (venv / "lib/packages/sglang").symlink_to(give(venv.parent / "his"))
    return {}


def of_a_pth(venv: Path) -> dict[str, str]:
    give(venv / "lib/packages/z.pth", "import os\n")
    return {}


def of_a_folder_in_a_pth(venv: Path) -> dict[str, str]:
    his = give(venv.parent / "his")
    (venv / "lib/packages/z.pth").write_text(f"# a note\n\n{his}\n")
    return {}


def of_code_in_a_pth(venv: Path) -> dict[str, str]:
    his = give(venv.parent / "his")
    (venv / "lib/packages/z.pth").write_text(f"import sys; sys.path.insert(0, '{his}')\n")
    return {}


def of_a_pth_behind_a_pth(venv: Path) -> dict[str, str]:
    more = venv.parent / "more"
    give(more / "his.pth", "import os\n")
    (venv / "lib/packages/z.pth").write_text(f"import site; site.addsitedir('{more}')\n")
    return {}


def of_an_editable_install(venv: Path) -> dict[str, str]:
    info = venv / "lib/packages/sglang-0.5.23.dist-info"
    info.mkdir()
    his = give(venv.parent / "his tree")
    told = f'{{"dir_info": {{"editable": true}}, "url": "file://{venv.parent}/his%20tree"}}'
    (info / "direct_url.json").write_text(told)
    assert his.exists()
    return {}


def of_the_configuration(venv: Path) -> dict[str, str]:
    give(venv / "pyvenv.cfg", (venv / "pyvenv.cfg").read_text())
    return {}


def of_the_home(venv: Path) -> dict[str, str]:
    his = give(venv.parent / "his/bin")
    text = (venv / "pyvenv.cfg").read_text().replace("home = /usr/bin", f"home = {his}")
    (venv / "pyvenv.cfg").write_text(text)
    return {}


def of_the_base(venv: Path) -> dict[str, str]:
    """Its modules, where the base is one that was built elsewhere."""
    base = venv.parent / "base"
    (base / "bin").mkdir(parents=True)
    give(base / f"lib/{(venv / 'lib/packages').resolve().parent.name}/os.py", "")
    text = (venv / "pyvenv.cfg").read_text().replace("home = /usr/bin", f"home = {base}/bin")
    (venv / "pyvenv.cfg").write_text(text)
    return {}


def of_the_environment(venv: Path) -> dict[str, str]:
    os.chown(venv, OTHER, OTHER)
    return {}


def of_a_link_on_the_way(venv: Path) -> dict[str, str]:
    """In a sticky folder a link may be another's."""
    shared = venv.parent / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    (shared / "python").symlink_to(PYTHON)
    give(shared / "python", "")
    (venv / "bin/python3").unlink()
    (venv / "bin/python3").symlink_to(shared / "python")
    return {}


def of_a_tool(venv: Path) -> dict[str, str]:
    give(venv.parent / "tools/ninja", "#!/bin/sh\n").chmod(0o755)
    return {"PATH": f"{venv.parent}/tools:/usr/bin"}


def of_the_user_site(venv: Path) -> dict[str, str]:
    text = (venv / "pyvenv.cfg").read_text().replace("= false", "= true")
    (venv / "pyvenv.cfg").write_text(text)
    give(venv.parent / "home" / ".local/lib" / (venv / "lib/packages").resolve().parent.name)
    give(next(venv.parent.glob("home/.local/lib/python3*")) / "site-packages")
    return {"HOME": str(venv.parent / "home")}


CHANGES = [change for name, change in sorted(globals().items()) if name.startswith("of_")]


@pytest.mark.parametrize("change", CHANGES)
def test_nothing_that_an_environment_loads_is_another_users(
    venv: Path, change: Callable[[Path], dict[str, str]]
) -> None:
    assert runs(venv / "bin/python3")
    environ = change(venv)

    refused(venv / "bin/python3", **environ)
    pid = os.fork()
    if pid == 0:  # who is not root runs what he likes
        os.setuid(OTHER)
        os._exit(0 if programs.untrusted(str(venv / "bin/python3"), environ, "/") == "" else 1)
    assert os.waitpid(pid, 0)[1] == 0  # no bound: it looks at files


def test_what_is_healthy_runs(venv: Path) -> None:
    """Data of others beside modules, roots' group, a base whose packages are not used, folders that
    are not there.
    """
    python, data = venv / "bin/python3", venv.parent / "data"
    give(data / "set")
    give(data / "set.json", "{}")
    (venv / "lib/packages").resolve().chmod(0o775)
    (venv / "lib/packages/z.pth").write_text("/nowhere/at/all\nimport os; os.environ.get('x')\n")
    give(venv.parent / "home/.local/lib/python3.11/site-packages")

    assert runs(python, PYTHONPATH=f"{data}:/nowhere", HOME=str(venv.parent / "home"))
    shutil.copytree(venv, venv.parent / "copy", symlinks=True)
    assert runs(venv.parent / "copy/bin/python3")
    assert runs(PYTHON)
    assert runs(PYTHON, PYTHONPATH=f"{venv.parent}:relative")


def test_it_takes_no_time(venv: Path) -> None:
    """Of some thousand packages: no start gets slower by it."""
    for number in range(2000):
        (venv / f"lib/packages/package_{number}").mkdir()
        (venv / f"lib/packages/package_{number}-1.dist-info").mkdir()
    began = time.process_time()
    assert runs(venv / "bin/python3")

    assert time.process_time() - began < 1  # some 30 ms


PROFILE = '[engine]\npython = "{}"\n[flags]\nmodel-path = "m"\ntp-size = 1\n[env]\n{}\n'
COMMANDS = ("render -p", "profiles validate", "facts -p", "doctor -p", "up -d -p")


@pytest.mark.parametrize("words", COMMANDS)
@pytest.mark.parametrize("by", ["variable", "packages"])
def test_no_command_runs_it(world: World, venv: Path, words: str, by: str) -> None:
    """Those that print do so all the same: of the newest release that is known."""
    ran = venv.parent / "ran"
    program = f"import os; open({str(ran)!r}, 'w').write(str(os.getuid()))\n"
    his = venv.parent / "his"
    give(his / "sitecustomize.py", program)
    give(his)
    name = f'PYTHONPATH = "{his}"' if by == "variable" else ""
    if by == "packages":
        (venv / "lib/packages/z.pth").write_text(program)
        give((venv / "lib/packages").resolve())
    profile = venv.parent / "p.toml"
    profile.write_text(PROFILE.format(venv / "bin/python3", name))
    done = world.run(*words.split(), str(profile))

    assert not ran.exists()
    if words.startswith("up"):
        assert done.returncode == Exit.CONFIG, done.stderr
        assert "root will not run" in done.stderr
        assert "chown -R root" in done.stderr
    elif not words.startswith(("doctor", "facts")):
        assert (done.returncode, done.stderr) == (0, "") or "release is unknown" in done.stdout
    else:
        assert "root will not run" in done.stdout


def test_a_launch_and_a_measurement_look_again(world: World) -> None:
    """What was root's when it was brought up may be another's later."""
    folder = world.folder / "mine"
    folder.mkdir()
    text = world.profile.read_text().replace('PYTHONPATH = "', f'PYTHONPATH = "{folder}:')
    world.profile.write_text(text)
    assert world.run("up", "-p", "stub", "-d").returncode == Exit.FINE
    server = world.status()["pids"]["server"]
    give(folder)
    measured = world.run("bench", "stub")
    os.kill(server, 9)

    def says() -> bool:
        return "root will not run it" in (world.instance / "launcher.log").read_text()

    until(says, "it refuses")
    assert measured.returncode == Exit.CONFIG
    assert "root will not run it" in measured.stderr
