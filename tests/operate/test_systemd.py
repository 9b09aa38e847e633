"""The units on a real systemd: start, readiness, watchdog, stop, refusal, order, journal,
upgrade.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ENGINE, GLM5_SERVE, ROOT, World, needs_engine, needs_vllm, until
from rig.unit_host import PORT, STATE, UNIT, UnitHost, profile

from launcher.errors import UserError
from launcher.operate import systemd, unit_files
from launcher.operate.unit_files import SHIPPED, Wish, files, remarks

PATIENCE = "stop_timeout = 30\nprobe_interval = 1\nstall_timeout = 5\nbackoff = 0"
# Where an operator installs it: this test's own interpreter may lie in root's home, where no other
# user gets.
OPT = "/opt/glm5-serve"
COMMAND = f"{OPT}/bin/glm5-serve"
INSTALL = f"""
set -eu
mkdir -p {OPT}/bin {OPT}/lib/python3.{sys.version_info[1]}/site-packages
echo /opt/python/lib > /etc/ld.so.conf.d/00-python.conf  # a shared libpython is looked for in root's home, too
ldconfig
ln -s /opt/python/bin/python3 {OPT}/bin/python
install -m 755 {Path(sys.executable).parent}/py-spy {OPT}/bin/
echo "home = /opt/python/bin" > {OPT}/pyvenv.cfg
printf '%s\n' {OPT}/src {OPT}/deps > {OPT}/lib/python3.{sys.version_info[1]}/site-packages/glm5-serve.pth
printf '#!{OPT}/bin/python\nfrom launcher.cli import main\nmain()\n' > {COMMAND}
chmod 755 {COMMAND}
"""
PROFILE = profile(f"{OPT}/bin/python")


class Host(UnitHost):
    """A host with the units installed for the stand-in engine."""

    python = f"{OPT}/bin/python"
    binds = UnitHost.binds | {
        "/opt/python": Path(sys.base_prefix),
        f"{OPT}/deps": Path(sysconfig.get_path("purelib")),
        f"{OPT}/src": ROOT,
    }

    def prepare(self, *words: str, user: str | None = None) -> None:
        """Install as an operator would, for the unit's default user where no other is said."""
        self.run("sh", "-c", INSTALL)
        self.lay()
        who = ["--user", user] if user else []
        self.run(COMMAND, "systemd", "install", "--profile", "stub", *who, *words)

    def drop_in(self, text: str) -> None:
        self.write(f"/etc/systemd/system/{UNIT}.d/test.conf", text)
        self.systemctl("daemon-reload")

    def status(self) -> dict[str, object]:
        said = self.run(COMMAND, "status", "-p", "stub", "--json", check=False)
        return dict(json.loads(said.stdout))

    def pids(self) -> list[str]:
        group = self.show(UNIT, "ControlGroup")["ControlGroup"]
        if not group:
            return []
        return self.run(
            "sh", "-c", f"cat /sys/fs/cgroup{group}/cgroup.procs", check=False
        ).stdout.split()


@pytest.fixture
def host() -> Iterator[Host]:
    with Host() as booted:
        yield booted


def test_start_blocks_until_it_is_ready_and_stop_drains_and_leaves_nothing(host: Host) -> None:
    host.prepare()
    host.faults(generate_seconds=0.7)
    began = time.monotonic()
    started = host.start()

    assert started.returncode == 0, host.journal("-u", UNIT)
    assert time.monotonic() - began >= 0.7, "systemctl waited for the first token"
    shown = host.show(UNIT, "ActiveState", "SubState", "StatusText", "NRestarts")
    assert (shown["ActiveState"], shown["SubState"]) == ("active", "running")
    assert shown["StatusText"].startswith("ready: generated 1 token")
    assert host.status()["state"] == "ready"

    host.faults(drain=1.0)
    began = time.monotonic()
    host.systemctl("stop", UNIT)
    assert time.monotonic() - began >= 1.0, "it drained"
    assert host.show(UNIT, "ActiveState", "Result") == {
        "ActiveState": "inactive",
        "Result": "success",
    }
    assert host.pids() == []
    assert "Draining" in host.run("cat", f"{STATE}/stub/server.log").stdout


@pytest.mark.parametrize("user", [None, "root", "daemon"])
def test_whoever_the_unit_runs_as_it_serves_and_root_may_look_after_it(
    host: Host, user: str | None
) -> None:
    host.prepare(user=user)
    assert host.start().returncode == 0, host.journal("-u", UNIT)
    seen = host.status()
    assert seen["state"] == "ready"
    pids = seen["pids"]
    assert isinstance(pids, dict)
    who = host.run(
        "stat", "-c", "%U", f"/proc/{pids['launcher']}", f"/proc/{pids['server']}"
    ).stdout.split()
    assert who == [user or "glm5-serve"] * 2

    assert host.run(COMMAND, "restart", "-p", "stub").returncode == 0
    assert host.status()["restarts"] == 1
    for words in (
        ["smoke"],
        ["events"],
        ["logs"],
        ["bundle", "-o", "/root/bundle.tar.gz"],
        ["metrics"],
    ):
        assert (
            host.run(COMMAND, *words, *(["-p", "stub"] if words != ["metrics"] else [])).returncode
            == 0
        )
    assert host.run("stat", "-c", "%U", "/root/bundle.tar.gz").stdout == "root\n"
    assert host.run(COMMAND, "down", "-p", "stub").returncode == 0
    assert host.show(UNIT, "ActiveState", "Result") == {
        "ActiveState": "inactive",
        "Result": "success",
    }


def test_where_a_control_group_is_handed_on_the_kernel_knows_who_belongs_to_the_server(
    host: Host,
) -> None:
    """Nothing that is left of a launcher and a reaper that were killed escapes, whatever it calls
    itself.
    """
    host.prepare()
    host.write(f"{STATE}/faults.json", json.dumps({"escape": True}))
    scope = ("systemd-run", "--scope", "--quiet", "-p", "Delegate=yes", "--unit", "hand", COMMAND)
    up = host.run(*scope, "up", "-p", "stub", "-d", "--set", "flags.tp-size=3", check=False)
    assert up.returncode == 0, up.stderr
    session = json.loads(host.run("cat", f"{STATE}/stub/state.json").stdout)["session"]
    inside = host.run("cat", f"{session['cgroup']}/cgroup.procs").stdout.split()
    pids = host.status()["pids"]
    assert isinstance(pids, dict)
    assert {str(pids["server"]), str(session["reaper"])} < set(inside)
    assert len(inside) >= 5

    host.run("kill", "-STOP", str(pids["launcher"]))
    host.run("kill", "-KILL", str(session["reaper"]))
    host.run("kill", "-KILL", str(pids["launcher"]))
    host.run(COMMAND, "down", "-p", "stub", "--now", check=False)
    until(lambda: not host.run("pgrep", "-f", "sglang", check=False).stdout, "nothing is left")


def test_a_bug_of_the_launcher_is_no_end(host: Host) -> None:
    """Exit 70 is ours: systemd starts it again, and the journal has the traceback."""
    host.prepare()
    host.drop_in(
        "[Service]\nRestartSec=0\nExecStart=\n"
        f"ExecStart=sh -c 'test -e {STATE}/stub/once && exec {COMMAND} up --profile stub; "
        f"touch {STATE}/stub/once; exit 70'\n"
    )
    host.start()

    until(lambda: host.status()["state"] == "ready", "it is started again")
    assert host.show(UNIT, "NRestarts")["NRestarts"] == "1"


def test_a_long_start_that_moves_outlives_the_timeout(host: Host) -> None:
    host.prepare()
    host.drop_in("[Service]\nTimeoutStartSec=12\n")
    host.faults(load_seconds=16)

    assert host.start().returncode == 0, host.journal("-u", UNIT)


def test_a_hung_launcher_is_replaced_by_the_watchdog(host: Host) -> None:
    host.prepare()
    host.drop_in("[Service]\nWatchdogSec=5\nRestartSec=0\n")
    host.start()
    before = host.pids()
    host.systemctl("kill", "--kill-whom=main", "--signal=STOP", UNIT)

    until(lambda: host.show(UNIT, "NRestarts")["NRestarts"] == "1", "systemd restarts it")
    until(lambda: host.status()["state"] == "ready", "it is ready again")
    assert not set(before) & set(host.pids()), "nothing of the first one lives"
    assert "Watchdog timeout" in host.journal("-u", UNIT)


def test_a_killed_launcher_is_replaced_and_leaves_nothing(host: Host) -> None:
    host.prepare()
    host.drop_in("[Service]\nRestartSec=0\n")
    host.start()
    before = host.pids()
    host.systemctl("kill", "--kill-whom=main", "--signal=KILL", UNIT)

    until(lambda: host.show(UNIT, "NRestarts")["NRestarts"] == "1", "systemd restarts it")
    until(lambda: host.status()["state"] == "ready", "it is ready again")
    assert not set(before) & set(host.pids())


def test_what_doctor_refuses_is_failed_and_not_tried_again(host: Host) -> None:
    host.prepare()
    host.run("rm", "/srv/model/config.json")

    assert host.start().returncode == 1
    shown = host.show(UNIT, "ActiveState", "Result", "ExecMainStatus", "NRestarts")
    assert shown == {
        "ActiveState": "failed",
        "Result": "exit-code",
        "ExecMainStatus": "78",
        "NRestarts": "0",
    }
    assert "/srv/model has no config.json" in host.journal("-u", UNIT)


def test_a_refused_start_is_told_by_the_state_too(host: Host) -> None:
    """Nobody reads the journal for an alert."""
    host.prepare()
    assert host.start().returncode == 0
    host.run("sed", "-i", "s/^tp-size/tp-sizee/", "/etc/glm5-serve/profiles/stub.toml")
    assert host.systemctl("restart", UNIT, check=False).returncode == 1

    seen = host.status()
    assert seen["state"] == "failed"
    assert "its start was refused: 1 check fails: engine-options" in str(seen["reason"])
    assert "its start was refused" in host.run(COMMAND, "events", "-p", "stub", "-n", "1").stdout
    assert 'state="failed"} 1.0' in host.run(COMMAND, "metrics").stdout


def test_what_is_up_by_hand_and_its_unit_do_not_take_it_from_each_other(host: Host) -> None:
    host.prepare()
    by_hand = host.run(COMMAND, "up", "stub", "-d")
    assert f"note: {UNIT} is there for stub, too" in by_hand.stderr
    host.run(COMMAND, "down", "stub")
    profile = "/etc/glm5-serve/profiles/other.toml"
    text = host.run("sed", f"s/{PORT}/{PORT + 1}/", "/etc/glm5-serve/profiles/stub.toml").stdout
    host.write(profile, text)
    host.run(COMMAND, "up", "other", "-d")
    install = host.run(COMMAND, "systemd", "install", "other", check=False)
    assert install.returncode == 1
    assert "other is up, started by hand, as root (uid 0)" in install.stderr
    # of a package, or enabled by hand: systemd has given the folder away before anything is run
    other = UNIT.replace("stub", "other")
    assert host.systemctl("start", other, check=False).returncode == 1
    assert "was given to glm5-serve" in host.journal("-u", other)
    seen = host.run(COMMAND, "status", "-p", "other", check=False)
    assert "its launcher" in seen.stdout
    down = host.run(COMMAND, "down", "--now", "-p", "other")
    assert "other is down: its launcher" in down.stdout
    host.systemctl("reset-failed", other)
    host.systemctl("start", other)

    up = host.run(COMMAND, "up", "other", "-d", check=False)
    assert up.returncode == 78
    assert "other is already up" in up.stderr
    assert f"`systemctl restart {other}`" in up.stderr
    host.run("chown", "-R", "root", f"{STATE}/other")
    assert host.run(COMMAND, "down", "-p", "other").returncode == 0
    assert host.show(other, "ActiveState")["ActiveState"] == "inactive"


def test_a_server_that_gave_up_is_failed_and_not_tried_again(host: Host) -> None:
    host.prepare()
    host.faults(exit_at="parse", exit_code=2)

    assert host.start().returncode == 1
    shown = host.show(UNIT, "ActiveState", "ExecMainStatus", "NRestarts")
    assert shown == {"ActiveState": "failed", "ExecMainStatus": "1", "NRestarts": "0"}


def test_a_dead_server_is_the_launchers_to_restart(host: Host) -> None:
    host.prepare()
    host.start()
    server = host.status()["pids"]["server"]  # type: ignore[index]
    host.run("kill", "-9", str(server))

    until(
        lambda: host.status().get("restarts") == 1 and host.status()["state"] == "ready",
        "it is ready again",
    )
    assert host.show(UNIT, "NRestarts", "ActiveState") == {
        "NRestarts": "0",
        "ActiveState": "active",
    }


def test_the_journal_has_fields(host: Host) -> None:
    host.prepare()
    host.start()
    host.run("kill", "-9", str(host.status()["pids"]["server"]))  # type: ignore[index]
    until(lambda: host.journal("-q", "GLM5_EVENT=death"), "the death is in the journal")
    told = [
        json.loads(line) for line in host.journal("-o", "json", "GLM5_PROFILE=stub").splitlines()
    ]

    ready = next(entry for entry in told if entry.get("GLM5_STATE") == "ready")
    assert ready["MESSAGE"].startswith("ready ")
    assert (ready["PRIORITY"], ready["_SYSTEMD_UNIT"]) == ("6", UNIT)
    death = next(entry for entry in told if entry["GLM5_EVENT"] == "death")
    assert (death["GLM5_CAUSE"], death["PRIORITY"]) == ("process-lost", "4")


def test_it_starts_after_the_gpus_are_initialized(host: Host) -> None:
    host.prepare()
    slow = "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=sleep 0.5\n"
    for name in ("nvidia-persistenced", "nvidia-fabricmanager", "glm5-serve-host"):
        host.write(f"/etc/systemd/system/{name}.service", slow)
    host.systemctl("daemon-reload")
    host.systemctl("start", "--no-block", "nvidia-fabricmanager", "glm5-serve-host")
    host.start()

    began = int(
        host.show(UNIT, "ExecMainStartTimestampMonotonic")["ExecMainStartTimestampMonotonic"]
    )
    for name in ("nvidia-persistenced", "nvidia-fabricmanager", "glm5-serve-host"):
        ready = int(
            host.show(f"{name}.service", "ActiveEnterTimestampMonotonic")[
                "ActiveEnterTimestampMonotonic"
            ]
        )
        assert 0 < ready <= began, name


def test_the_key_comes_as_a_credential(host: Host) -> None:
    key = "sekret-0123456789"
    host.write("/etc/glm5-serve/stub.key", key, mode="600")
    host.prepare("--api-key-file", "/etc/glm5-serve/stub.key")
    host.faults(record=f"{STATE}/stub/record.json")
    assert host.start().returncode == 0, host.journal("-u", UNIT)

    recorded = json.loads(host.run("cat", f"{STATE}/stub/record.json").stdout)
    assert key not in json.dumps(recorded)
    assert not {"NOTIFY_SOCKET", "WATCHDOG_USEC", "CREDENTIALS_DIRECTORY"} & set(recorded["env"])
    asked = (
        "curl -s -o /dev/null -w %{{http_code}} -H 'Authorization: Bearer {}'"
        f" http://127.0.0.1:{PORT}/v1/models"
    )
    assert host.run("sh", "-c", asked.format(key)).stdout == "200"
    assert host.run("sh", "-c", asked.format("wrong")).stdout == "401"
    assert key not in host.journal("-u", UNIT)


def test_a_package_upgrade_under_a_running_service_changes_nothing(host: Host) -> None:
    host.prepare()
    host.start()
    host.run("mount", "-t", "tmpfs", "tmpfs", f"{OPT}/src/launcher")
    host.run(
        "kill",
        "-9",
        str(json.loads(host.run("cat", f"{STATE}/stub/state.json").stdout)["pids"]["server"]),
    )

    def again() -> bool:
        seen = json.loads(host.run("cat", f"{STATE}/stub/state.json").stdout)
        return bool(seen["state"] == "ready" and seen["restarts"] == 1)

    until(again, "it was restarted by a launcher whose files are gone")
    host.systemctl("stop", UNIT)
    assert host.show(UNIT, "Result")["Result"] == "success"


def test_limits_are_asked_for(host: Host) -> None:
    host.prepare()
    shown = host.show(
        *(
            UNIT,
            "LimitCORE",
            "LimitNOFILE",
            "LimitMEMLOCK",
            "KillMode",
            "OOMPolicy",
            "Type",
            "NotifyAccess",
        ),
        "OOMScoreAdjust",
    )

    assert shown["LimitMEMLOCK"] == "infinity"
    assert shown["LimitNOFILE"] == "1048576"
    assert (shown["LimitCORE"], shown["KillMode"], shown["OOMPolicy"]) == ("0", "mixed", "continue")
    assert (shown["Type"], shown["NotifyAccess"]) == ("notify", "main")
    assert shown["OOMScoreAdjust"] == "-900", "the kernel spares the launcher"


def test_the_server_may_not_do_what_the_launcher_may(host: Host) -> None:
    host.prepare()
    host.start()
    pids = host.status()["pids"]
    assert isinstance(pids, dict)
    none, traces = "0" * 16, f"{1 << 19:016x}"  # CAP_SYS_PTRACE

    def sets(pid: object) -> list[str]:
        return host.run(
            "sh", "-c", f"grep -E 'Cap(Prm|Eff|Amb)' /proc/{pid}/status"
        ).stdout.split()[1::2]

    assert sets(pids["launcher"]) == [traces, traces, none]
    for pid in (pids["server"], *pids["others"]):
        assert sets(pid) == [none] * 3, "not even root's"


def test_systemd_finds_nothing_to_complain_about(host: Host) -> None:
    host.prepare()
    for name in (UNIT, "glm5-serve-metrics.service"):
        verified = host.run("systemd-analyze", "verify", name, check=False)
        assert (verified.returncode, verified.stderr) == (0, "")
        safe = host.run("systemd-analyze", "security", "--threshold=26", name, check=False)
        assert safe.returncode == 0, safe.stdout[-200:]


def test_the_figures_are_served(host: Host) -> None:
    host.prepare()
    host.run("rm", "-r", STATE)
    get = (
        "import urllib.request as u;"
        " print(u.urlopen('http://127.0.0.1:9464/metrics').read().decode())"
    )
    host.systemctl("start", "glm5-serve-metrics")
    host.run(f"{OPT}/bin/python", "-c", get)  # it listens: that is what it was waited for
    host.faults()
    host.start()

    said = until(
        lambda: host.run(f"{OPT}/bin/python", "-c", get, check=False).stdout.strip(),
        "the exporter answers",
    )
    assert 'glm5_serve_ready{engine="sglang",profile="stub"} 1.0' in said
    assert host.systemctl("is-failed", "glm5-serve-metrics", check=False).stdout.strip() == "active"


# The engine in the cache of whoever runs the tests, where another user gets.
SHOW_ENGINE = f"""
set -eu
mkdir -p /opt/$0/engine/bin /opt/$0/engine/lib /opt/cpu-demo/model
install -m 644 -t /opt/cpu-demo/model {ENGINE}/model/*
mount --bind {ENGINE.parent}/$0/engine/lib /opt/$0/engine/lib
ln -s /opt/python/bin/python3 /opt/$0/engine/bin/python
echo "home = /opt/python/bin" > /opt/$0/engine/pyvenv.cfg
"""


def serve_really(host: Host, name: str) -> None:
    """Start the real engine of a demo's profile under the unit, as its default user."""
    host.prepare()
    real = (ROOT / f"profiles/{name}.toml").read_text().replace("{cache}", "/opt")
    host.run("sh", "-c", SHOW_ENGINE, name)
    host.write(
        "/etc/glm5-serve/profiles/stub.toml", f"{real}\n".replace("stop_timeout = 30", PATIENCE)
    )
    assert host.start().returncode == 0, host.journal("-u", UNIT)


@pytest.mark.engine
@needs_engine
def test_the_hardening_lets_the_real_server_serve_and_its_stacks_be_kept(host: Host) -> None:
    serve_really(host, "cpu-demo")
    (rank,) = host.run("pgrep", "-f", "^sglang::scheduler").stdout.split()
    host.run("kill", "-STOP", rank)

    def died() -> dict[str, object] | None:
        found = host.journal("-q", "-o", "json", "GLM5_EVENT=death").splitlines()
        return json.loads(found[0]) if found else None

    until(died, "it is found hung and killed")
    stacks = host.run("cat", f"{STATE}/stub/stacks-1.txt").stdout
    assert "sglang::scheduler" in stacks
    assert "event_loop" in stacks, "py-spy may read it"
    host.systemctl("stop", UNIT)


@pytest.mark.engine("vllm")
@needs_vllm
def test_the_real_vllm_serves_as_the_units_user_and_its_death_leaves_nothing(host: Host) -> None:
    serve_really(host, "cpu-demo-vllm")
    assert host.show(UNIT, "StatusText")["StatusText"].startswith("ready: ")
    (core,) = host.run("pgrep", "-f", "^VLLM::EngineCore").stdout.split()
    assert host.run("stat", "-c", "%U", f"/proc/{core}").stdout == "glm5-serve\n"
    mapped = f"grep -o '/dev/shm/.*' /proc/{core}/maps | grep -v deleted | sort -u"
    shared = host.run("sh", "-c", mapped, check=False).stdout.split()
    assert shared, "by which its API server, its core and its worker talk"

    host.run("kill", "-KILL", str(host.status()["pids"]["server"]))  # type: ignore[index]
    until(lambda: host.journal("-q", "GLM5_EVENT=death"), "its death is told")
    assert not host.run("sh", "-c", f"ls {' '.join(shared)} 2>/dev/null", check=False).stdout
    host.systemctl("stop", UNIT)
    assert host.pids() == []


def test_uninstall_leaves_nothing(host: Host) -> None:
    host.prepare()
    host.start()
    said = host.run(COMMAND, "systemd", "uninstall", "--profile", "stub")

    assert "removed /etc/systemd/system/glm5-serve@.service" in said.stdout
    assert host.run("sh", "-c", "ls /etc/systemd/system | grep glm5", check=False).stdout == ""
    assert host.run("pgrep", "-f", "sglang", check=False).stdout == ""


def test_a_profile_whose_file_is_gone_can_be_uninstalled(host: Host) -> None:
    host.prepare()
    host.start()
    host.run("rm", "/etc/glm5-serve/profiles/stub.toml")
    done = host.run(COMMAND, "systemd", "uninstall", "--profile", "stub", check=False)

    assert (done.returncode, done.stderr) == (0, "")
    assert host.run("pgrep", "-f", "sglang", check=False).stdout == ""
    assert host.run("sh", "-c", "ls /etc/systemd/system | grep glm5", check=False).stdout == ""


def test_what_a_profile_extends_must_be_found_by_the_unit(host: Host) -> None:
    host.write("/etc/glm5-serve/profiles/stub.toml", 'extends = "mine"')
    host.write("/root/.config/glm5-serve/profiles/mine.toml", PROFILE)
    host.run("sh", "-c", INSTALL)
    install = ("env", "HOME=/root", COMMAND, "systemd", "install", "-p", "stub")
    refused = host.run(*install, check=False)

    assert refused.returncode == 78
    assert "extends: no profile 'mine'" in refused.stderr


def test_install_says_as_the_units_user_what_would_keep_it_from_starting(host: Host) -> None:
    host.prepare()
    install = (COMMAND, "systemd", "install", "-p", "stub")
    fine = host.run(*install)
    assert "checked as user glm5-serve" in fine.stdout
    assert f"next   systemctl start {UNIT}" in fine.stderr

    host.run("chmod", "700", "/srv/model")
    bad = host.run(*install, check=False)
    assert bad.returncode == 1
    assert "error  installed, but it will not start: model-" in bad.stderr
    assert host.start().returncode != 0, "it was right"
    assert host.run(*install, "--no-check").returncode == 0

    host.run("chmod", "755", "/srv/model")
    host.systemctl("reset-failed", UNIT)
    assert host.run(*install).returncode == 0
    assert host.start().returncode == 0, host.journal("-u", UNIT)


def test_a_key_of_roots_that_the_profile_names_is_handed_on(host: Host) -> None:
    made = "init --extends /srv/base.toml --host 0.0.0.0 --make-key stub".split()
    host.write("/srv/base.toml", PROFILE)
    host.prepare()
    host.run(COMMAND, *made, "--force", "--port", str(PORT))
    key = "/etc/glm5-serve/keys/stub"
    installed = host.run(COMMAND, "systemd", "install", "-p", "stub")

    drop_in = f"/etc/systemd/system/{UNIT}.d/api-key.conf"
    assert host.run("cat", drop_in).stdout == f"[Service]\nLoadCredential=api-key:{key}\n"
    assert "checked as user glm5-serve" in installed.stdout
    assert host.run("stat", "-c", "%a %U", key).stdout == "600 root\n"
    assert host.start().returncode == 0, host.journal("-u", UNIT)


def test_restart_leaves_a_stopped_unit_to_systemd(host: Host) -> None:
    host.prepare()
    assert host.start().returncode == 0, host.journal("-u", UNIT)
    host.systemctl("stop", UNIT)
    said = host.run(COMMAND, "restart", "stub", check=False)

    assert said.returncode == 1
    assert f"`systemctl start {UNIT}`" in said.stderr
    assert host.run("pgrep", "-f", "sglang", check=False).stdout == ""


def lay(host: Host, *wishes: Wish) -> None:
    """Write what `install` would, also for users who cannot reach this interpreter."""
    for wish in wishes:
        for path, text in files(wish).items():
            host.write(str(path), text)
    host.systemctl("daemon-reload")


def test_each_profile_has_its_own_user_and_folders(host: Host) -> None:
    # systemd gives StateDirectory=, and all that is in it, to the unit's user: profiles must not
    # take it in turns.
    lay(host, Wish("a", user="daemon"), Wish("b", user="root"))
    asked = f'ExecStart=sh -c "echo x > {STATE}/%i/mine && echo x > $HOME/mine && exec sleep inf"\n'
    for name in ("a", "b", "a"):
        drop_in = f"/etc/systemd/system/glm5-serve@{name}.service.d/z.conf"
        host.write(drop_in, f"[Service]\nType=exec\nExecStart=\n{asked}")
        host.systemctl("daemon-reload")
        host.systemctl("restart", f"glm5-serve@{name}")

    paths = [
        f"{STATE}/a",
        f"{STATE}/b",
        "/var/cache/glm5-serve-daemon",
        "/var/cache/glm5-serve-root",
    ]
    until(
        lambda: host.run("ls", *(f"{path}/mine" for path in paths), check=False).returncode == 0,
        "files",
    )
    said = host.run("stat", "-c", "%U", *(f"{path}/mine" for path in paths)).stdout.split()
    assert said == ["daemon", "root", "daemon", "root"]
    assert host.run("stat", "-c", "%U %a", STATE).stdout == "root 755\n"


def test_another_user_for_one_profile_changes_no_other(host: Host) -> None:
    lay(host, Wish("a", user="daemon"), Wish("b", user="root"), Wish("c"))
    users = {name: host.show(f"glm5-serve@{name}.service", "User")["User"] for name in "abcd"}

    assert users == {"a": "daemon", "b": "root", "c": "glm5-serve", "d": "glm5-serve"}


def test_the_figures_keep_their_reader_and_others_are_told(tmp_path: Path) -> None:
    first, second = (Wish("a", user="x", root=tmp_path), Wish("b", root=tmp_path))
    assert remarks(first) == []
    (path,) = (path for path in files(first) if path.name == "glm5-serve-metrics.service")
    path.parent.mkdir(parents=True)
    path.write_text(files(first)[path])

    assert files(second)[path] == path.read_text()
    assert "User=x\n" in path.read_text()
    (remark,) = remarks(second)
    assert "runs as x, to whom what glm5-serve serves is closed" in remark
    assert remarks(first) == remarks(Wish("b", root=tmp_path, metrics=False)) == []


def test_odd_paths_are_written_as_systemd_reads_them(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = "/opt/my 100% venv; x/glm5-serve"
    host.run("install", "-D", "-m", "755", "/bin/true", odd)
    monkeypatch.setattr(unit_files, "command", lambda: odd)
    lay(
        host,
        Wish("stub", user="root", api_key_file=Path("/etc/../etc/my 100%i keys/k"), metrics=True),
    )

    for name in (UNIT, "glm5-serve-metrics.service"):
        verified = host.run("systemd-analyze", "verify", name, check=False)
        assert (verified.returncode, verified.stderr) == (0, "")
    assert (
        f"path={odd} ; argv[]={odd} up --profile stub ;"
        in host.show(UNIT, "ExecStart")["ExecStart"]
    )
    where = "/org/freedesktop/systemd1/unit/glm5_2dserve_40stub_2eservice"
    asked = (
        "org.freedesktop.systemd1",
        where,
        "org.freedesktop.systemd1.Service",
        "LoadCredential",
    )
    read = host.run("busctl", "get-property", *asked).stdout
    assert read == 'a(ss) 1 "api-key" "/etc/my 100%i keys/k"\n'


@pytest.mark.parametrize("odd", ["/opt/o'clock", '/opt/"x"', "/opt/back\\slash"])
def test_a_path_that_systemd_would_not_run_is_refused(
    monkeypatch: pytest.MonkeyPatch, odd: str
) -> None:
    monkeypatch.setattr(unit_files.programs, "find", lambda *_: f"{odd}/glm5-serve")
    with pytest.raises(
        UserError, match="systemd runs nothing that has a quote, a backslash or a control char"
    ):
        unit_files.command()


@pytest.fixture
def root(world: World) -> Path:
    """Another root, with the stub's profile where its unit will look."""
    made = world.folder / "root"
    (made / "etc/glm5-serve/profiles").mkdir(parents=True)
    for name in ("stub", "other"):
        (made / f"etc/glm5-serve/profiles/{name}.toml").write_text(world.profile.read_text())
    return made


def test_print_shows_what_install_writes(world: World, root: Path) -> None:
    which = ("-p", "stub", "--root", str(root))
    words = (*which, "--user", "root")
    printed = world.run("systemd", "print", *words)
    assert printed.returncode == 0, printed.stderr
    assert world.run("systemd", "install", *words).returncode == 0

    for path in root.rglob("systemd/**/*.*"):
        assert path.is_dir() or f"# {path}\n{path.read_text()}" in printed.stdout
    assert f"ExecStart={GLM5_SERVE} up --profile %i" in printed.stdout
    assert world.run("systemd", "uninstall", *which).returncode == 0
    assert not [path for path in (root / "etc/systemd/system").iterdir() if "glm5" in path.name]


def test_the_shared_files_go_with_the_last_profile(world: World, root: Path) -> None:
    at = ("--root", str(root))
    units = root / "etc/systemd/system"
    for name in ("stub", "other"):
        assert world.run("systemd", "install", "-p", name, "--user", "root", *at).returncode == 0
    (units / "glm5-serve@other.service.d/override.conf").write_text("# somebody's own\n")

    world.run("systemd", "uninstall", "-p", "stub", *at)
    assert (units / "glm5-serve@.service").exists()
    assert not (units / "glm5-serve@stub.service.d").exists()
    world.run("systemd", "uninstall", "-p", "other", *at)
    left = [str(path.relative_to(units)) for path in units.rglob("*") if path.is_file()]
    assert left == ["glm5-serve@other.service.d/override.conf"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("-p", "nosuch"), "nosuch"),
        (("-p", "stub"), "stub.toml, where the unit does not look"),
        (("-p", "/x/y.toml"), "/x/y.toml is a path, but a unit finds its profile by name"),
        (("-p", "a b"), "profile name 'a b' cannot name a folder"),
        (
            ("-p", "cpu-demo", "--user", "root", "--api-key-file", "/no/key"),
            "there is no key file /no/key",
        ),
        (
            ("-p", "cpu-demo", "--user", "root", "--root", "/proc"),
            "--root names /proc, which keeps no files",
        ),
    ],
)
def test_what_is_in_the_way_is_one_clear_message(
    world: World, words: tuple[str, ...], says: str
) -> None:
    refused = world.run("systemd", "install", *words)

    assert refused.returncode in (2, 78)
    assert says in refused.stderr
    assert refused.stderr.count("\n") == 2


def test_a_key_that_the_unit_would_refuse_keeps_it_from_being_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = tmp_path / "key"
    key.write_text("sekret-0123456789")
    key.chmod(0o644)
    monkeypatch.setattr(systemd, "place", lambda path, body: pytest.fail(f"wrote {path}"))
    wish = Wish("cpu-demo", "root", key)

    with pytest.raises(UserError, match="is open to others"):
        systemd.install(wish, (), print)


def test_a_path_is_refused_with_what_to_do_instead(world: World) -> None:
    for verb in ("print", "install", "uninstall"):
        refused = world.run("systemd", verb, "-p", str(world.profile))
        assert "put the file into /etc/glm5-serve/profiles, then `--profile stub`" in refused.stderr


def test_a_command_that_the_user_cannot_reach_is_refused(world: World, tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    closed = tmp_path / "closed/bin"
    closed.mkdir(parents=True)
    wish = (
        "from pathlib import Path; from launcher.operate import systemd, unit_files; unit_files.command = lambda:"
        f" '{closed}/glm5-serve';"
    )
    code = (
        f"{wish} systemd.install(unit_files.Wish('stub', root=Path('{tmp_path}/root')), (), print)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )

    assert "cannot reach" in done.stderr
    assert not (tmp_path / "root").exists()


def test_the_host_unit_has_what_doctor_found() -> None:
    made = files(
        Wish("stub"), ["setpci -s 0000:60:01.1 ECAP_ACS+6.w=0:c", "sysctl -w vm.swappiness=0"]
    )
    text = next(text for path, text in made.items() if path.name == "glm5-serve-host.service")

    assert (
        "ExecStart=setpci -s 0000:60:01.1 ECAP_ACS+6.w=0:c\nExecStart=sysctl -w vm.swappiness=0\n"
        in text
    )
    assert "Before=nvidia-persistenced.service" in text


def test_every_exception_of_the_hardening_says_why() -> None:
    text = (SHIPPED / "glm5-serve@.service").read_text()

    for word in (
        "PrivateDevices=yes",
        "MemoryDenyWriteExecute=yes",
        "RemoveIPC=yes",
        "ProcSubset=pid",
        "PrivateUsers=yes",
        "IPAddressDeny=",
        "pidfd_getfd",
    ):
        assert re.search(rf"^# .*{word}", text, re.MULTILINE), word


def test_what_is_let_through_is_let_through(host: Host) -> None:
    host.prepare()
    calls = host.show(UNIT, "SystemCallFilter")["SystemCallFilter"].split()

    assert {"ptrace", "process_vm_readv", "kcmp", "pidfd_getfd"} <= set(calls)
