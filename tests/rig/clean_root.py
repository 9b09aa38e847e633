"""Debian as its installer leaves it, and a person at it: a real systemd over a root file system that
mmdebstrap made, where `op`, who may use sudo, types the commands of pages into a shell.

The file systems are kept in the cache, and never written to: each host has its own layer over one.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import uv
from conftest import ENGINE
from rig.systemd_host import SystemdHost

from launcher.paths import home

ROOT = Path(__file__).parents[2]
STUB = Path(__file__).parent / "stub"
KEPT = home(os.environ, "XDG_CACHE_HOME", ".cache") / "roots"
SUITES = ("bookworm", "trixie")
# What every Debian server has, and pages take for granted; Python is not among it.
PACKAGES = "systemd-sysv dbus sudo procps curl ca-certificates"
MADE_WITHIN = 600  # seconds to make a root
TYPED_WITHIN = 600  # seconds for a line of a page: some install packages
# As this machine reaches its packages.
OUTSIDE = ("/etc/resolv.conf", "/etc/pip.conf", "/etc/ssl/certs/ca-certificates.crt")
OP = """
set -eu
printf '127.0.0.1 localhost\\n127.0.1.1 %s\\n' "$(uname -n)" > /etc/hosts
useradd --create-home --shell /bin/bash op
echo 'op ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/op
echo 'APT::Get::Assume-Yes "true";' > /etc/apt/apt.conf.d/op  # who is asked says yes
mkdir /home/op/glm5-serve
tar -C /home/op/glm5-serve -x
chown -R op: /home/op
"""
# An environment becomes that of the demo's engine, with the Python that it was made by.
ENGINE_IN = """
set -eu
echo /opt/python/lib > /etc/ld.so.conf.d/00-python.conf  # for a shared libpython
ldconfig
mkdir -p "$1/bin"
rm -rf "$1"/lib* "$1"/bin/python*
ln -s /opt/engine/lib "$1/lib"
ln -s /opt/python/bin/python3 "$1/bin/python"
echo 'home = /opt/python/bin' > "$1/pyvenv.cfg"
cp /opt/engine/.made "$1"
"""
STAND_IN_IN = 'echo /srv/stub > "$(echo "$1"/lib/python3*/site-packages)/stub.pth"'
MODEL_AS = 'mkdir -p "$(dirname "$1")" && cp -r /opt/model "$1" && chmod -R a+rX "$1"'


def why_not() -> str:
    """Why there is no clean Debian here; "" where there is one."""
    return "" if shutil.which("mmdebstrap") else "no mmdebstrap here: `apt install mmdebstrap`"


def root(suite: str) -> Path:
    """Debian's root file system of a release, made where it is not yet."""
    made = KEPT / suite
    if not made.exists():
        told = subprocess.run(
            ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"],
            check=True, capture_output=True, text=True, timeout=60,
        ).stdout.split()  # fmt: skip
        mirror = next(one for one in told if one.endswith("debian/"))
        fresh = KEPT / f"{suite}.{os.getpid()}"
        fresh.mkdir(parents=True)
        include = f"--include={','.join(PACKAGES.split())}"
        command = ["mmdebstrap", "--quiet", "--variant=minbase", "--format=directory", include]
        subprocess.run([*command, suite, fresh, mirror], check=True, timeout=MADE_WITHIN)
        try:
            fresh.rename(made)
        except OSError:  # somebody else made it meanwhile
            shutil.rmtree(fresh)
    return made


def checkout() -> bytes:
    """This tree as somebody has it who cloned it, as a tar."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, timeout=60).stdout
    there = [name for name in names.split(b"\0") if name and (ROOT / os.fsdecode(name)).exists()]
    tar = ["tar", "--create", "--null", "--files-from=-"]
    return subprocess.run(
        tar, cwd=ROOT, input=b"\0".join(there), check=True, capture_output=True, timeout=60
    ).stdout


class CleanHost(SystemdHost):
    """Such a host, its checkout in ~/glm5-serve."""

    def __init__(self, suite: str) -> None:
        self.lower = root(suite)
        self.binds = {
            "/srv/stub": STUB,
            "/opt/uv": Path(uv.find_uv_bin()).parent,
            "/opt/python": Path(sys.base_prefix),
            "/opt/engine": ENGINE / "engine",
            "/opt/model": ENGINE / "model",
        }

    def __enter__(self) -> CleanHost:
        super().__enter__()
        for path in OUTSIDE:
            if (file := Path(path)).exists():
                self.write(path, file.read_text())
        subprocess.run(
            self.within("sh", "-c", OP),
            input=checkout(),
            check=True,
            timeout=60,
            capture_output=True,
        )
        return self

    def typed(self, command: str, network: bool = False) -> list[str]:
        """The words that run a line as `op`, in the checkout."""
        shell = f"cd ~/glm5-serve && export SSL_CERT_FILE={OUTSIDE[-1]} && {command}"
        return self.within("runuser", "-l", "op", "-c", shell, network=network)

    def type(self, command: str, network: bool = False) -> subprocess.CompletedProcess[str]:
        """Type a line; what it printed stands in its stdout, however it ended."""
        return subprocess.run(
            self.typed(command, network),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=TYPED_WITHIN,
            check=False,
        )

    def has(self, package: str) -> None:
        """Have a package of Debian's, that was there before."""
        get = "apt-get -qq update && apt-get -qq install --no-install-recommends"
        self.run("sh", "-c", f"{get} {package}", network=True, timeout=TYPED_WITHIN)

    def give(self, path: Path, place: str) -> None:
        """Have `op` get a file from elsewhere, below the checkout."""
        at = f"/home/op/glm5-serve/{place}"
        with path.open("rb") as file:
            copy = self.within("sh", "-c", f'mkdir -p "$(dirname {at})" && cat > {at}')
            subprocess.run(copy, stdin=file, check=True, timeout=60)

    def place_engine(self, folder: str) -> None:
        """Have an environment hold the real engine, which wants CUDA's packages otherwise."""
        self.run("sh", "-c", ENGINE_IN, "-", folder)

    def place_stand_in(self, folder: str) -> None:
        """Have an environment hold the stand-in engine."""
        self.run("sh", "-c", STAND_IN_IN, "-", folder)

    def place_model(self, folder: str) -> None:
        """The tiny model, in place of one that is downloaded."""
        self.run("sh", "-c", MODEL_AS, "-", folder)
