"""A real systemd as PID 1 of private namespaces, over an overlay of this machine's own root.

Nothing is written to the machine: a tmpfs takes the writes and goes away with the namespace, and so
does every process, also when the test itself is killed. It needs root, a writable cgroup2
hierarchy, and util-linux.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

BOOT = r"""
set -eu
ST=$1; R=$ST/root
mount -t tmpfs -o size=2g,mode=700 tmpfs $ST/rw; mkdir $ST/rw/up $ST/rw/work
mount -t overlay overlay -o lowerdir=$2,upperdir=$ST/rw/up,workdir=$ST/rw/work $R
while IFS=: read -r place from; do
    [ -z "$place" ] || { mkdir -p "$R$place"; mount --bind -o ro "$from" "$R$place"; }
done <<X
$BINDS
X
mount -t proc -o nosuid,nodev,noexec proc $R/proc
mount --bind $R/proc/sys $R/proc/sys; mount -o remount,bind,ro $R/proc/sys
mount -t sysfs -o ro,nosuid,nodev,noexec sysfs $R/sys
mount -t cgroup2 -o nosuid,nodev,noexec cgroup2 $R/sys/fs/cgroup
mount -t tmpfs -o mode=755,nosuid tmpfs $R/dev
for d in null zero full random urandom tty; do touch $R/dev/$d; mount --bind /dev/$d $R/dev/$d; done
mkdir $R/dev/pts $R/dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts $R/dev/pts; ln -s pts/ptmx $R/dev/ptmx
ln -s /proc/self/fd $R/dev/fd
for i in 0:stdin 1:stdout 2:stderr; do ln -s /proc/self/fd/${i%%:*} $R/dev/${i##*:}; done
mount -t tmpfs -o mode=1777 tmpfs $R/dev/shm
mount -t tmpfs -o mode=755 tmpfs $R/run
touch $R/dev/console; mount --bind $ST/console.log $R/dev/console
rm -rf $R/etc/systemd/system/*.wants $R/var/log/journal; rm -f $R/etc/machine-id
printf '%032x\n' $$ > $R/etc/machine-id
mkdir -p $R/etc/systemd/system $R/etc/tmpfiles.d
# systemd-tmpfiles would empty /tmp, and systemd-sysctl write settings that are not ours alone.
for c in tmp.conf x11.conf systemd-tmp.conf; do ln -sf /dev/null $R/etc/tmpfiles.d/$c; done
cat > $R/etc/systemd/system/rig.target <<X
[Unit]
Wants=systemd-journald.service dbus.socket
After=systemd-journald.service dbus.socket
AllowIsolate=yes
X
for u in $MASK; do ln -sf /dev/null $R/etc/systemd/system/$u; done
ip link set lo up 2>/dev/null || true
mkdir -p $R/.old; cd $R; pivot_root . .old; umount -l /.old; rmdir /.old
# In a container systemd leaves this to whoever made it; without it credentials never reach a service.
mount --make-rshared /
exec env -i container=rig PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    /lib/systemd/systemd --show-status=no --unit=rig.target
"""
MASKED = (
    "systemd-udevd.service systemd-udev-trigger.service systemd-udevd-kernel.socket"
    " systemd-udevd-control.socket systemd-timesyncd.service systemd-logind.service"
    " systemd-sysctl.service systemd-modules-load.service systemd-networkd.service"
    " systemd-networkd.socket systemd-resolved.service getty.target apt-daily.timer"
    " apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer fstrim.timer man-db.timer"
    " systemd-oomd.service"
)
ENVIRON = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "TERM": "dumb"}


def why_not() -> str | None:
    """Why no systemd can be booted here; None when it can."""
    if os.geteuid() != 0:
        return "a systemd in namespaces needs root"
    tools = ("unshare", "nsenter", "setpriv", "systemctl", "ip", "dbus-daemon")
    if missing := [tool for tool in tools if shutil.which(tool) is None]:
        return (
            f"no {', '.join(missing)} here: the packages systemd, dbus, iproute2 and util-linux"
            " have them"
        )
    return None if cgroups() else "no cgroup2 hierarchy that may be written"


def cgroups() -> Path | None:
    """Where cgroup2 is mounted, if a group can be made there."""
    with contextlib.suppress(OSError, StopIteration):
        mounts = Path("/proc/mounts").read_text().splitlines()
        place = Path(next(line.split()[1] for line in mounts if line.split()[2] == "cgroup2"))
        probe = place / f"rig-probe.{os.getpid()}"  # others may try at the same time
        probe.mkdir()
        probe.rmdir()
        return place
    return None


class SystemdHost:
    """`with SystemdHost() as host:` boots in a third of a second."""

    lower: Path = Path("/")  # the root file system that it is laid over
    binds: Mapping[str, Path] = MappingProxyType({})  # place -> a folder of this machine, to read

    def __enter__(self) -> SystemdHost:
        if reason := why_not():
            pytest.skip(reason)
        self.folder = Path(tempfile.mkdtemp(prefix="rig-systemd."))
        for name in ("rw", "root"):
            (self.folder / name).mkdir()
        console = self.folder / "console.log"
        console.touch()
        place = cgroups()
        assert place
        self.cgroup = place / self.folder.name
        self.cgroup.mkdir()
        spaces = [
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
            "--uts",
            "--ipc",
            "--cgroup",
            "--net",
        ]
        words = ["setpriv", "--pdeathsig", "KILL", "unshare", *spaces, "--propagation", "private"]
        enter = f'echo $$ > {self.cgroup}/cgroup.procs && exec "$@"'
        binds = "\n".join(f"{place}:{folder}" for place, folder in self.binds.items())
        with console.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    "sh",
                    "-c",
                    enter,
                    "-",
                    *words,
                    "bash",
                    "-c",
                    BOOT,
                    "boot",
                    str(self.folder),
                    str(self.lower),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "MASK": MASKED, "BINDS": binds},
                start_new_session=True,
            )
        end = time.monotonic() + 60
        while not self._is_up():
            if self.process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(console.read_text()[-2000:])
            time.sleep(0.03)
        return self

    def _is_up(self) -> bool:
        children = (
            Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        )
        if not children or Path(f"/proc/{children[0]}/comm").read_text().strip() != "systemd":
            return False
        self.pid1 = int(children[0])
        state = self.run("systemctl", "is-system-running", "--wait", check=False).stdout.strip()
        return state in ("running", "degraded")

    def within(self, *words: str, network: bool = False) -> list[str]:
        """The words that run a command in there; with this machine's network in place of none."""
        spaces = "-m -p -u -i -C -r -w" if network else "-m -p -u -i -n -C -r -w"
        return ["nsenter", "-t", str(self.pid1), *spaces.split(), "--", *words]

    def run(
        self,
        *words: str,
        check: bool = True,
        timeout: float = 120,
        network: bool = False,
        **how: Any,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in there."""
        return subprocess.run(
            self.within(*words, network=network),
            check=check,
            timeout=timeout,
            text=True,
            capture_output=True,
            env=ENVIRON,
            start_new_session=True,
            **how,
        )

    def systemctl(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run systemctl in there."""
        return self.run("systemctl", "--no-pager", *words, check=check)

    def show(self, unit: str, *properties: str) -> dict[str, str]:
        """Properties of a unit."""
        said = self.systemctl("show", unit, "-p", ",".join(properties)).stdout
        return dict(line.split("=", 1) for line in said.splitlines() if "=" in line)

    def write(self, path: str, text: str, mode: str = "644") -> None:
        """Write a file in there."""
        quoted = shlex.quote(path)
        self.run(
            "sh",
            "-c",
            f"mkdir -p $(dirname {quoted}) && cat > {quoted} && chmod {mode} {quoted}",
            input=text,
        )

    def journal(self, *words: str) -> str:
        """What the journal holds."""
        return self.run("journalctl", "--no-pager", *words, check=False).stdout

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            # the kernel kills everything else in its PID namespace
            os.kill(self.pid1, signal.SIGKILL)
        self.process.wait(60)
        folders = sorted(
            (path for path in self.cgroup.rglob("*") if path.is_dir()), key=lambda p: -len(p.parts)
        )
        for path in (*folders, self.cgroup):
            path.rmdir()
        shutil.rmtree(self.folder, ignore_errors=True)
