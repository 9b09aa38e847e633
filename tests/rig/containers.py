"""podman, with a store of its own that goes away, and an image of this machine's own Python.

No image is pulled. What a machine without systemd or with fewer rights cannot do is left out of the
commands: health checks (podman has systemd's timers ask) and the limit of locked memory.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
from pathlib import Path

import pip

PROGRAMS = "sh mkdir rm cat tr env ls test id sleep".split()
STORAGE = """\
[storage]
driver = "overlay"
graphroot = "{folder}/root"
runroot = "{folder}/run"
"""
LIMITS = ("nofile=1024:1024", "nproc=4096:4096")  # what this machine may give
ENGINE = """\
[containers]
default_ulimits = {limits}
[engine]
runtime = "runc"
tmp_dir = "{folder}/tmp"
"""
LEFT_OUT = (
    "--health-cmd",
    "--health-interval",
    "--health-timeout",
    "--health-start",
    "--ulimit memlock",
)
ETC = "passwd group hosts nsswitch.conf".split()


def why_not() -> str:
    """Why no container can be run here; "" where one can."""
    missing = [name for name in ("podman", "runc") if not shutil.which(name)]
    if missing or os.geteuid() != 0:
        return f"no {' and no '.join(missing)}" if missing else "podman is run as root here"
    return ""


class Podman:
    """Containers and images below a folder of their own: whatever runs podman in its environment
    has these.
    """

    def __init__(self) -> None:
        self.folder = folder = Path(tempfile.mkdtemp(prefix="pod"))  # podman wants it short
        self.environ = dict(os.environ)
        for name, text in (("STORAGE_CONF", STORAGE), ("CONF", ENGINE)):
            (file := folder / name).write_text(text.format(folder=folder, limits=[*LIMITS]))
            self.environ[f"CONTAINERS_{name}"] = str(file)

    def __call__(self, *words: str | Path, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """Run one command of podman, which must succeed."""
        done = self.run("podman", *words, timeout=timeout)
        assert done.returncode == 0, (
            f"podman {words[0]}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
        )
        return done

    def run(
        self, *words: str | Path, timeout: float = 60, **environ: str
    ) -> subprocess.CompletedProcess[str]:
        """Run anything that runs podman."""
        return subprocess.run(
            words,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            env=self.environ | environ,
        )

    def script(self, text: str) -> str:
        """A script for Docker, as this podman runs it here."""
        lines = [one for one in text.splitlines() if not one.strip().startswith(LEFT_OUT)]
        run = " ".join(["podman run", *(f"--ulimit {limit}" for limit in LIMITS)])  # one hides all
        return "\n".join(lines).replace("docker run", run, 1)

    def close(self) -> None:
        """Take everything away."""
        self("rm", "--all", "--force", "--time", "0")
        self("system", "reset", "--force")
        shutil.rmtree(self.folder)

    def base(self, name: str) -> None:
        """An image with this machine's Python, its pip, and a shell."""
        root = self.folder / "base"
        _python(root)
        for program in filter(None, map(shutil.which, PROGRAMS)):
            _copy(Path(program), root, to=Path("/usr/bin") / Path(program).name)
        (root / "bin").symlink_to("usr/bin")
        for file in ETC:
            if (found := Path("/etc") / file).exists():
                _copy(found, root)
        for folder in ("tmp", "proc", "dev", "sys", "root", "run", "var/lib"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        with tarfile.open(self.folder / "base.tar", "w") as made:
            made.add(root, ".")
        self("import", self.folder / "base.tar", name)


def _python(root: Path) -> None:
    stdlib = Path(sysconfig.get_path("stdlib"))
    left_out = shutil.ignore_patterns("test", "tests", "__pycache__", "site-packages", "config-*")
    inside = root / stdlib.relative_to("/")
    shutil.copytree(stdlib, inside, ignore=left_out, symlinks=True)
    shutil.copytree(Path(pip.__file__).parent, inside / "site-packages/pip")
    python = Path(sys.executable).resolve()
    for file in (python, *inside.glob("lib-dynload/*.so")):
        _copy(file, root, to=python if file == python else None)
    (root / "usr/bin").mkdir(parents=True, exist_ok=True)
    (root / "usr/bin/python3").unlink(missing_ok=True)
    (root / "usr/bin/python3").symlink_to(python)
    # what wheels load, and no program of these names
    for library in "librt.so.1 libpthread.so.0 libdl.so.2 libutil.so.1 libresolv.so.2 libstdc++.so.6 libgcc_s.so.1 libnss_files.so.2 libnss_dns.so.2".split():
        for folder in ("/lib/x86_64-linux-gnu", "/usr/lib64", "/lib64"):
            if (found := Path(folder) / library).exists():
                _copy(found, root)
                break


def _copy(file: Path, root: Path, to: Path | None = None) -> None:
    """A file at its own place below the root, with the libraries that it wants."""
    if not file.is_relative_to(root):
        inside = root / (to or file).relative_to("/")
        inside.parent.mkdir(parents=True, exist_ok=True)
        if not inside.exists():
            shutil.copy(file, inside)
    said = subprocess.run(["ldd", file], capture_output=True, text=True, timeout=60, check=False)
    for word in said.stdout.split():
        if word.startswith("/") and not (root / word[1:]).exists():
            (root / word[1:]).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(word, root / word[1:])
