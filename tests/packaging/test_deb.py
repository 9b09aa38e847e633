"""The wheelhouse and the Debian package, installed where there is no network: and the package on a real
systemd, upgraded under a service that runs, removed and purged.
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT, until
from rig import dist
from rig.systemd_host import why_not
from rig.unit_host import STATE, UNIT, UnitHost

from launcher import __version__
from launcher.operate import systemd, unit_files
from launcher.operate.unit_files import Wish, files


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with everything."""
    folder = tmp_path_factory.mktemp("dist")
    dist.make(folder, "python", "deb")
    return folder


@pytest.fixture
def host() -> Iterator[UnitHost]:
    with UnitHost() as booted:
        yield booted


@pytest.mark.systemd
def test_a_package_is_upgraded_under_a_service_and_taken_away_again(
    host: UnitHost, made: Path, tmp_path: Path
) -> None:
    new = dist.deb(made)
    host.run("dpkg", "-i", str(dist.predecessor(new, tmp_path)))
    assert host.run("glm5-serve", "--version").stdout.startswith("glm5-serve, version 0.0.9")
    assert host.show("glm5-serve-metrics.service", "ActiveState") == {"ActiveState": "inactive"}
    host.lay()

    said = host.run("glm5-serve", "systemd", "install", "--profile", "stub").stdout
    assert not host.exists("/etc/systemd/system/glm5-serve@.service"), said
    shown = host.show(UNIT, "FragmentPath")["FragmentPath"]
    assert shown.endswith("lib/systemd/system/glm5-serve@.service")
    host.systemctl("start", UNIT)
    before = host.show(UNIT, "MainPID", "ActiveState")
    assert before["ActiveState"] == "active"

    said = host.run("dpkg", "-i", str(new)).stdout
    assert f"{UNIT} goes on as it is: `systemctl restart {UNIT}`" in said
    assert host.show(UNIT, "MainPID", "ActiveState") == before
    assert host.state()["launcher"]["version"] == dist.BEFORE
    assert host.run("glm5-serve", "status").returncode == 0

    host.run("kill", "-9", str(host.state()["pids"]["server"]))
    until(lambda: (s := host.state())["state"] == "ready" and s["restarts"] == 1, "it is again")
    host.run("glm5-serve", "restart")
    assert host.state()["launcher"]["version"] == __version__
    assert host.show(UNIT, "MainPID", "ActiveState") == before, "the same process took over"
    time.sleep(1)  # short: systemd would have noticed by now
    assert host.show(UNIT, "ActiveState", "NRestarts") == {
        "ActiveState": "active",
        "NRestarts": "0",
    }

    host.run("dpkg", "-r", "glm5-serve")
    assert host.show(UNIT, "ActiveState")["ActiveState"] != "active"
    assert host.run("pgrep", "-f", "sglang", check=False).stdout == ""
    assert not host.exists("/opt/glm5-serve")
    assert not host.exists("/usr/bin/glm5-serve")
    assert host.exists(f"{STATE}/stub/events.jsonl")

    users = "/home/op/.local/state/glm5-serve"
    host.run("mkdir", "-p", "/var/cache/glm5-serve/huggingface", "/var/cache/glm5-serve/x", users)
    host.run("dpkg", "-P", "glm5-serve")
    for gone in (
        "/var/lib/glm5-serve",
        "/var/cache/glm5-serve/x",
        f"/etc/systemd/system/{UNIT}.d",
    ):
        assert not host.exists(gone)
    for kept in (
        "/etc/glm5-serve/profiles/stub.toml",
        "/var/cache/glm5-serve/huggingface",
        users,
    ):
        assert host.exists(kept)
    assert host.run("id", "glm5-serve").returncode == 0
    assert host.systemctl("--failed", "--plain", "--no-legend").stdout == ""


@pytest.mark.systemd
def test_a_wheelhouse_wants_no_network(tmp_path: Path) -> None:
    if reason := why_not():
        pytest.skip(reason)
    dist.make(tmp_path, "python", "wheelhouse")
    (house,) = tmp_path.glob("*wheelhouse*.tar")
    with tarfile.open(house) as tar:
        assert {(one.uid, one.mtime) for one in tar} == {(0, next(iter(tar)).mtime)}
        tar.extractall(tmp_path, filter="data")
    folder = house.with_suffix("")
    assert f"--find-links {folder.name} glm5-serve" in (folder / "INSTALL").read_text()
    assert (folder / "Containerfile").read_text() == (ROOT / "Containerfile").read_text()

    venv = tmp_path / "venv"
    offline = ["unshare", "-n", "env", "PIP_CONFIG_FILE=/dev/null", "PIP_FIND_LINKS="]
    subprocess.run([sys.executable, "-m", "venv", venv], check=True, timeout=120)
    install = ["install", "-q", "--no-index", "--find-links", folder.name, "glm5-serve"]
    subprocess.run([*offline, venv / "bin/pip", *install], check=True, cwd=tmp_path, timeout=120)
    subprocess.run([*offline, venv / "bin/pip", "check"], check=True, timeout=60)
    assert run(*offline, venv / "bin/glm5-serve", "--version").startswith("glm5-serve, version")
    assert "8xpro6000" in run(*offline, venv / "bin/glm5-serve", "profiles")


def run(*words: str | Path) -> str:
    return subprocess.run(words, check=True, capture_output=True, text=True, timeout=60).stdout


def test_units_that_the_package_has_are_not_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unit_files, "command", lambda: unit_files.WRITTEN_AS)
    monkeypatch.setattr(systemd, "_require_reach", lambda wish: None)  # of this interpreter
    shipped = tmp_path / "usr/lib/systemd/system"
    shipped.mkdir(parents=True)
    for name in (unit_files.SERVICE, unit_files.METRICS):
        (shipped / name).write_text((unit_files.SHIPPED / name).read_text())
    wish = Wish("8xpro6000", root=tmp_path)
    stale = wish.units / unit_files.SERVICE
    stale.parent.mkdir(parents=True)
    stale.write_text("[Service]\nExecStart=/opt/old/bin/glm5-serve up --profile %i\n")

    names = {path.name for path in files(wish)}
    assert names == {"user.conf", "glm5-serve.conf"}
    said: list[str] = []
    systemd.install(wish, (), said.append)
    assert not stale.exists()
    assert f"removed {stale}: the package has it" in said

    other = {path.name for path in files(Wish("8xpro6000", user="daemon", root=tmp_path))}
    assert other == {"user.conf", unit_files.METRICS}, "the metrics are read by another user"


@pytest.mark.scale
def test_lintian_finds_no_error_and_no_warning(made: Path) -> None:
    lintian = ["lintian", "--fail-on", "error,warning", "--allow-root", dist.deb(made)]
    try:
        done = subprocess.run(lintian, capture_output=True, text=True, timeout=300, check=False)
    except FileNotFoundError:
        pytest.skip("no lintian here")
    assert done.returncode == 0, done.stdout


@pytest.mark.scale
def test_the_same_commit_makes_the_same_package(made: Path, tmp_path: Path) -> None:
    dist.make(tmp_path, "python", "deb")
    for path in made.iterdir():
        assert path.read_bytes() == (tmp_path / path.name).read_bytes(), path.name
