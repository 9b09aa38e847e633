"""What stands beside a server's command in a unit, a service of compose or a `docker run` decides
whether it starts, sees its GPUs, stops without loss and comes back.
"""

from __future__ import annotations

import pytest
from conftest import ROOT

from launcher.engines.engine import NAMES, dialect
from launcher.engines.target import Target
from launcher.formats import spans
from launcher.knowledge.directives import KINDS, syntax, table
from launcher.lint.concerns import Verdict
from launcher.lint.confined import TESTS
from launcher.lint.lint import Entry
from launcher.lint.run import Judged, judge
from launcher.plan.evidence import Known

SGLANG = (
    "/opt/sglang/bin/python -m sglang.launch_server --model-path nvidia/GLM-5-NVFP4 --tp-size 8"
)
VLLM = "/opt/vllm/bin/vllm serve nvidia/GLM-5-NVFP4 --tensor-parallel-size 8 --host 127.0.0.1"
COMMANDS = {"sglang": SGLANG, "vllm": VLLM}
INSTALL = "[Install]\nWantedBy=multi-user.target\n"
ROWS = table().rows
ABOUT = {key for row in ROWS for key in row.keys} | {
    key for one in syntax().rows for key in one.keys
}


def unit(service: str, command: str = SGLANG, top: str = "", install: str = INSTALL) -> str:
    restart = "" if "Restart=" in service else "Restart=always\n"
    lines = service.replace("; ", "\n")
    return f"[Unit]\nDescription=m\n{top}\n[Service]\n{restart}{lines}\nExecStart={command}\n\n{install}"


def compose(more: str, command: str = SGLANG) -> str:
    return f"services:\n  m:\n    command: {command}\n{more}\n"


def judged(text: str) -> Judged:
    [one] = judge(text, Target(None, "sm100")).launches
    return one


def entries(text: str) -> list[Entry]:
    [told] = judged(text).releases.values()
    return [one for one in told if one.concerns and one.name in ABOUT]


def said(text: str) -> dict[str, Verdict]:
    return {one.name: one.verdict for one in entries(text)}


def test_every_row_can_be_read_and_names_what_there_is() -> None:
    assert table().complaints == syntax().complaints == ()
    for row in ROWS:
        assert row.engine in ("", *NAMES)
        assert row.test in ("", *TESTS)
        assert row.verdict == "note" or row.verdict in {*Verdict}
        assert Known.of(row.evidence)
        assert row.fix or row.verdict == "note"
    assert {one.kind for one in syntax().rows} <= {*KINDS}
    assert {row.test for row in ROWS} - {""} == {*TESTS}


# -- what is told ----------------------------------------------------------------------------------

TOLD = {
    "notify": ("Type=notify", "Type", Verdict.BREAKS),
    "notify-reload": ("Type=notify-reload; TimeoutStartSec=30min", "Type", Verdict.BREAKS),
    "notify, without end": ("Type=notify; TimeoutStartSec=infinity", "Type", Verdict.RISKY),
    "forking": ("Type=forking", "Type", Verdict.BREAKS),
    "oneshot, restarted": ("Type=oneshot", "Type", Verdict.BREAKS),
    "oneshot": ("Type=oneshot; Restart=on-failure", "Type", Verdict.RISKY),
    "waits for the load": (
        "ExecStartPost=/bin/sh -c 'until curl -sf localhost:30000/health; do sleep 1; done'",
        "ExecStartPost",
        Verdict.BREAKS,
    ),
    "watchdog": ("WatchdogSec=2min", "WatchdogSec", Verdict.BREAKS),
    "runtime": ("RuntimeMaxSec=1d", "RuntimeMaxSec", Verdict.RISKY),
    "not restarted": ("Restart=no", "Restart", Verdict.RISKY),
    "restarted where it never is": ("Restart=on-success", "Restart", Verdict.RISKY),
    "kill process": ("KillMode=process", "KillMode", Verdict.RISKY),
    "kill none": ("KillMode=mixed; KillMode=none", "KillMode", Verdict.RISKY),
    "no kill": ("SendSIGKILL=off", "SendSIGKILL", Verdict.RISKY),
    "kill at once": ("KillSignal=SIGKILL", "KillSignal", Verdict.RISKY),
    "little time": ("TimeoutStopSec=10", "TimeoutStopSec", Verdict.RISKY),
    "little time in words": ("TimeoutStopSec=5s 500ms", "TimeoutStopSec", Verdict.RISKY),
    "no devices": ("PrivateDevices=true", "PrivateDevices", Verdict.BREAKS),
    "no devices, one of many": ("PrivateDevices=no; PrivateDevices=1", "PrivateDevices", Verdict.BREAKS),
    "closed": ("DevicePolicy=closed", "DevicePolicy", Verdict.BREAKS),
    "strict, another's": ("DevicePolicy=strict; DeviceAllow=/dev/null rw", "DevicePolicy", Verdict.BREAKS),
    "auto, another's": ("DeviceAllow=char-pts rw", "DeviceAllow", Verdict.BREAKS),
    "taken back": ("DeviceAllow=char-nvidia* rw; DeviceAllow=; DevicePolicy=closed", "DevicePolicy", Verdict.BREAKS),
    "without uvm": ("DevicePolicy=closed; DeviceAllow=/dev/nvidia0; DeviceAllow=/dev/nvidiactl", "DevicePolicy", Verdict.BREAKS),
    "no code": ("MemoryDenyWriteExecute=yes", "MemoryDenyWriteExecute", Verdict.RISKY),
    "home of the cache": ("ProtectHome=yes; Environment=HF_HOME=/home/x/hf", "ProtectHome", Verdict.BREAKS),
    "home of root": ("ProtectHome=tmpfs; WorkingDirectory=/root", "ProtectHome", Verdict.BREAKS),
    "home by its specifier": ("ProtectHome=yes; WorkingDirectory=%h/m", "ProtectHome", Verdict.BREAKS),
    "no /tmp": ("ProtectSystem=strict; ReadWritePaths=/var/cache/m", "ProtectSystem", Verdict.BREAKS),
    "nothing to write": ("ProtectSystem=strict; PrivateTmp=yes", "ProtectSystem", Verdict.RISKY),
    "no home": ("DynamicUser=yes; Environment=HF_HOME=/srv/hf", "DynamicUser", Verdict.BREAKS),
    "alone": ("PrivateNetwork=yes", "PrivateNetwork", Verdict.BREAKS),
    "no AF_UNIX": ("RestrictAddressFamilies=AF_INET AF_INET6", "RestrictAddressFamilies", Verdict.BREAKS),
    "no AF_NETLINK": ("RestrictAddressFamilies=AF_INET; RestrictAddressFamilies=AF_UNIX", "RestrictAddressFamilies", Verdict.BREAKS),
    "denied": ("RestrictAddressFamilies=~AF_NETLINK AF_PACKET", "RestrictAddressFamilies", Verdict.BREAKS),
    "none": ("RestrictAddressFamilies=none", "RestrictAddressFamilies", Verdict.BREAKS),
    "no addresses": ("IPAddressDeny=any", "IPAddressDeny", Verdict.BREAKS),
    "no loopback": ("IPAddressDeny=any; IPAddressAllow=10.0.0.0/8", "IPAddressDeny", Verdict.BREAKS),
    "few calls": ("SystemCallFilter=@basic-io @network-io", "SystemCallFilter", Verdict.RISKY),
    "memlock": ("LimitMEMLOCK=64K", "LimitMEMLOCK", Verdict.RISKY),
    "nofile": ("LimitNOFILE=1024", "LimitNOFILE", Verdict.RISKY),
    "hard limit": ("LimitNOFILE=1024:4096", "LimitNOFILE", Verdict.RISKY),
    "memory": ("MemoryMax=16G", "MemoryMax", Verdict.BREAKS),
    "memory, slowed": ("MemoryHigh=16G; MemoryMax=512G", "MemoryHigh", Verdict.BREAKS),
    "quota": ("CPUQuota=400%", "CPUQuota", Verdict.RISKY),
    "cpus": ("AllowedCPUs=0-3", "AllowedCPUs", Verdict.RISKY),
    "limit": ("StartLimitInterval=0", "StartLimitInterval", Verdict.RISKY),
}  # fmt: skip


@pytest.mark.parametrize("name", TOLD)
def test_a_directive_that_does_harm_is_told(name: str) -> None:
    service, key, verdict = TOLD[name]

    assert said(unit(service)) == {key: verdict}


@pytest.mark.parametrize("name", TOLD)
def test_the_same_in_another_order_and_after_a_comment_is_told(name: str) -> None:
    service, key, verdict = TOLD[name]
    text = unit(f"# {key}=what somebody wrote before; ; {service}").replace(
        "[Service]", "[Service]\n; x"
    )

    assert said(text)[key] is verdict


def test_a_number_of_seconds_is_told_with_its_unit() -> None:
    assert "killed after 10 s" in entries(unit("TimeoutStopSec=10"))[0].why
    assert "1min 30s have passed" in entries(unit("WatchdogSec=1min 30s"))[0].why


def test_a_restart_that_misses_status_0_is_told_of_vllm_alone() -> None:
    for how in ("on-failure", "on-abnormal"):
        assert said(unit(f"Restart={how}", VLLM)) == {"Restart": Verdict.RISKY}
        assert said(unit(f"Restart={how}", SGLANG)) == {}
    assert "status 0" in entries(unit("Restart=on-failure", VLLM))[0].why
    assert said(compose("    restart: on-failure:5", VLLM)) == {"restart": Verdict.RISKY}


def test_a_drain_wants_its_workers_left_alone() -> None:
    drains = f"{VLLM} --shutdown-timeout 60"

    assert said(unit("TimeoutStopSec=120", drains)) == {"KillMode": Verdict.RISKY}
    assert said(unit("TimeoutStopSec=120; KillMode=mixed", drains)) == {}
    assert said(unit("TimeoutStopSec=120", VLLM)) == {}


def test_a_unit_that_is_not_complete_is_not_told_what_it_lacks() -> None:
    assert said(unit("", install="").replace("Restart=always", "")) == {}
    lacking = said(unit("").replace("Restart=always\n", ""))
    assert lacking == {"Restart": Verdict.RISKY}
    dropped = (
        unit("").replace("Restart=always\n", "").replace("ExecStart=", "ExecStart=\nExecStart=")
    )
    assert said(dropped) == {}


# -- what systemd ignores --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("service", "top", "key"),
    [
        ("", "Restart=always", "Restart"),
        ("", "PrivateDevices=no", "PrivateDevices"),
        ("StartLimitIntervalSec=1h", "", "StartLimitIntervalSec"),
        ("Restart=always # for ever", "", "Restart"),
        ("KillMode=control_group", "", "KillMode"),
        ("PrivateDevices=ja", "", "PrivateDevices"),
        ("TimeoutStopSec=5 minuten", "", "TimeoutStopSec"),
        ("MemoryMax=640GB", "", "MemoryMax"),
        ("WantedBy=multi-user.target", "", "WantedBy"),
        ("RestartSec=30", "StartLimitIntervalSec=60\nStartLimitBurst=5", "StartLimitBurst"),
    ],
)
def test_a_line_that_does_nothing_is_inert(service: str, top: str, key: str) -> None:
    assert said(unit(service, top=top)) == {key: Verdict.INERT}


def test_a_misspelt_directive_is_told_with_the_right_one() -> None:
    [told] = judged(unit("killmode=mixed")).releases.values()
    [one] = [entry for entry in told if entry.name == "killmode"]

    assert (one.verdict, one.instead) == (Verdict.INERT, "KillMode=")


def test_quadlet_refuses_what_belongs_to_the_service() -> None:
    text = f"[Container]\nImage=lmsysorg/sglang:v0.5.23\nRestart=always\nExec={SGLANG}\n"
    assert said(text) == {"Restart": Verdict.BREAKS}


# -- quadlets, compose, docker ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "service", "told"),
    [
        ("Notify=true", "", {"Notify": Verdict.BREAKS}),
        ("Notify=healthy", "", {"Notify": Verdict.BREAKS}),
        ("Notify=healthy", "TimeoutStartSec=2h", {}),
        ("Notify=healthy", "TimeoutStartSec=infinity", {}),
        ("ShmSize=64m", "", {"ShmSize": Verdict.BREAKS}),
        ("ShmSize=64m\nPodmanArgs=--ipc=host", "", {}),
        ("ShmSize=32g\nUlimit=memlock=-1:-1", "", {}),
        ("Ulimit=memlock=65536", "", {"--ulimit memlock": Verdict.RISKY}),
        ("StopSignal=SIGKILL", "", {"StopSignal": Verdict.RISKY}),
        ("StopTimeout=5", "", {"StopTimeout": Verdict.RISKY}),
        ("", "PrivateDevices=yes\nMemoryDenyWriteExecute=yes", {}),
    ],
)
def test_a_quadlet_is_judged_as_podman_and_systemd_read_it(
    lines: str, service: str, told: dict[str, Verdict]
) -> None:
    text = (
        f"[Container]\nImage=lmsysorg/sglang:v0.5.23\n{lines}\nExec={SGLANG}\n"
        f"[Service]\nRestart=on-failure\n{service}\n{INSTALL}"
    )
    assert {**said(text), **{one.name: one.verdict for one in _limits(text)}} == told


def _limits(text: str) -> list[Entry]:
    [told] = judged(text).releases.values()
    return [one for one in told if one.concerns and one.name.startswith("--ulimit")]


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ("    restart: always", {"restart": Verdict.RISKY}),
        ("    restart: unless-stopped", {"restart": Verdict.RISKY}),
        ("    restart: on-failure:5", {}),
        ('    restart: "no"', {}),
        ("    stop_grace_period: 5s", {"stop_grace_period": Verdict.RISKY}),
        ("    stop_grace_period: 2m", {}),
        ("    stop_signal: SIGKILL", {"stop_signal": Verdict.RISKY}),
        ("    shm_size: 1gb", {"shm_size": Verdict.BREAKS}),
        ("    shm_size: 1gb\n    ipc: host", {}),
        ("    shm_size: ${SHM}", {}),
        ("    shm_size: 1gb\n    tmpfs: [/dev/shm]", {}),
        ("    mem_limit: 16g", {"mem_limit": Verdict.BREAKS}),
        ("    deploy: {resources: {limits: {memory: 16g}}}", {"mem_limit": Verdict.BREAKS}),
        ("    mem_limit: 512g", {}),
        ('    cpus: "4"', {"cpus": Verdict.RISKY}),
        ("    ulimits: {memlock: 65536}", {"ulimits.memlock": Verdict.RISKY}),
        ("    ulimits: {memlock: {soft: -1, hard: -1}, stack: 67108864}", {}),
        ("    ulimits: {nofile: {soft: 1024, hard: 4096}}", {"ulimits.nofile": Verdict.RISKY}),
    ],
)
def test_a_service_of_compose(more: str, told: dict[str, Verdict]) -> None:
    assert said(compose(more)) == told


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("--restart always", {"--restart": Verdict.RISKY}),
        ("--restart=on-failure:5 --shm-size 32g --ulimit memlock=-1", {}),
        ("--shm-size 64m", {"--shm-size": Verdict.BREAKS}),
        ("--shm-size 64m --ipc=host", {}),
        ("-m 16g", {"--memory": Verdict.BREAKS}),
        ("--stop-signal SIGKILL", {"--stop-signal": Verdict.RISKY}),
        ("--stop-timeout 5", {"--stop-timeout": Verdict.RISKY}),
        ("--ulimit nofile=1024:1024", {"--ulimit nofile": Verdict.RISKY}),
        ("--cpuset-cpus 0-3", {"--cpuset-cpus": Verdict.RISKY}),
    ],
)
def test_a_docker_run(options: str, told: dict[str, Verdict]) -> None:
    assert said(f"docker run {options} lmsysorg/sglang:v0.5.23 {SGLANG}\n") == told


def test_a_vllm_that_docker_restarts_without_end_is_a_note() -> None:
    text = compose("    restart: unless-stopped", VLLM)

    assert said(text) == {}
    assert any("restart: unless-stopped has no end" in note for note in judged(text).notes)
    small = text.replace("nvidia/GLM-5-NVFP4", "Qwen/Qwen3-0.6B")
    assert not any("has no end" in note for note in judged(small).notes)


# -- keys ------------------------------------------------------------------------------------------


def test_a_key_in_a_unit_is_readable_for_all() -> None:
    text = unit("Environment=HF_TOKEN=hf_abcdefghijklmnop")
    [told] = judged(text).releases.values()
    [one] = [entry for entry in told if entry.name == "HF_TOKEN"]

    assert "systemctl show" in one.why
    for other in ("EnvironmentFile=/etc/m.env", "Environment=HF_TOKEN_PATH=/etc/token"):
        assert "systemctl show" not in str(judged(unit(other)).releases)
    assert "systemctl show" not in str(judged(f"HF_TOKEN=hf_abcdefghijk {SGLANG}\n").releases)


# -- a user's own units ----------------------------------------------------------------------------

USERS = "[Install]\nWantedBy=default.target\n"


def test_a_users_unit_wants_lingering() -> None:
    text = unit("LimitMEMLOCK=infinity", install=USERS)

    assert said(text) == {"LimitMEMLOCK": Verdict.INERT}
    assert any("enable-linger" in note for note in judged(text).notes)


@pytest.mark.parametrize(
    "install", [INSTALL, USERS.replace("default", "multi-user.target default")]
)
def test_a_unit_of_the_system_does_not(install: str) -> None:
    assert not any("linger" in note for note in judged(unit("", install=install)).notes)
    own = unit("User=m", install=USERS)
    assert not any("linger" in note for note in judged(own).notes)


# -- what is left alone ----------------------------------------------------------------------------

HEALTHY = {
    "plain": "User=m; RestartSec=10; LimitNOFILE=65535",
    "exec": "Type=exec; TimeoutStopSec=5min 20s; KillMode=mixed; LimitMEMLOCK=infinity",
    "booleans that say no": "PrivateDevices=no; MemoryDenyWriteExecute=0; PrivateNetwork=off; DynamicUser=n",
    "harmless hardening": "NoNewPrivileges=yes; PrivateTmp=yes; ProtectKernelModules=yes; ProtectClock=true",
    "of systemd's later releases": "RestartSteps=5; RestartMaxDelaySec=5min; PrivatePIDs=no; X-Mine=1",
    "devices": "DevicePolicy=closed; DeviceAllow=char-nvidia* rw",
    "devices by name": "DeviceAllow=/dev/nvidiactl; DeviceAllow=/dev/nvidia-uvm; DeviceAllow=/dev/nvidia0 /dev/nvidia1",
    "devices by group": "DevicePolicy=closed; DeviceAllow=char-nvidiactl; DeviceAllow=char-nvidia-uvm",
    "devices of AMD": "DevicePolicy=closed; DeviceAllow=char-kfd; DeviceAllow=char-drm",
    "bound devices": "PrivateDevices=yes; BindPaths=/dev/nvidia0 /dev/nvidiactl /dev/nvidia-uvm",
    "home for reading": "ProtectHome=read-only; Environment=HF_HOME=/home/x/hf",
    "home of nothing": "ProtectHome=yes; Environment=HF_HOME=/srv/hf",
    "home bound": "ProtectHome=tmpfs; BindReadOnlyPaths=/home/x/hf; Environment=HF_HOME=/home/x/hf",
    "strict": "ProtectSystem=strict; PrivateTmp=yes; CacheDirectory=m; Environment=HOME=%C/m",
    "made user": "DynamicUser=yes; CacheDirectory=m; Environment=HOME=%C/m",
    "made user, variables elsewhere": "DynamicUser=yes; CacheDirectory=m; EnvironmentFile=/etc/m.env",
    "families": "RestrictAddressFamilies=AF_UNIX AF_INET; RestrictAddressFamilies=AF_INET6 AF_NETLINK",
    "families taken back": "RestrictAddressFamilies=AF_INET; RestrictAddressFamilies=",
    "families denied": "RestrictAddressFamilies=~AF_PACKET AF_BLUETOOTH",
    "addresses": "IPAddressDeny=any; IPAddressAllow=localhost; IPAddressAllow=10.0.0.0/8",
    "calls": "SystemCallFilter=@system-service; SystemCallFilter=~@privileged; SystemCallErrorNumber=EPERM",
    "memory": "MemoryMax=80%; CPUQuota=3200%; AllowedCPUs=0-31",
    "memory without end": "MemoryMax=infinity; TimeoutStartSec=0",
    "limit": "StartLimitBurst=3; RestartSec=1",
    "post": "ExecStartPost=/bin/logger started",
    "post with time": "TimeoutStartSec=2h; ExecStartPost=/bin/sh -c 'until curl -f localhost; do sleep 1; done'",
    "from outside": "PrivateDevices={{ private }}; MemoryMax=${MEMORY}; Type=$TYPE",
    "no watchdog": "WatchdogSec=0; RuntimeMaxSec=infinity",
}  # fmt: skip


@pytest.mark.parametrize("engine", NAMES)
@pytest.mark.parametrize("name", HEALTHY)
def test_a_healthy_unit_is_left_alone(name: str, engine: str) -> None:
    assert said(unit(HEALTHY[name], COMMANDS[engine])) == {}


@pytest.mark.parametrize("engine", NAMES)
def test_the_shipped_unit_has_nothing_that_harms_an_engine(engine: str) -> None:
    """It knows what a server wants: one that starts the engine itself keeps all its hardening."""
    made = (ROOT / "systemd/glm5-serve@.service").read_text()
    lines = [
        line
        for line in made.splitlines()
        if not line.startswith(("ExecStart=", "Type=", "NotifyAccess=", "Restart", "WatchdogSec="))
    ]
    at = lines.index("[Service]") + 1
    lines[at:at] = ["Type=exec", "Restart=always", f"ExecStart={COMMANDS[engine]}"]

    assert said("\n".join(lines)) == {}


def test_a_program_that_tells_systemd_itself_may_be_waited_for() -> None:
    shell = "/bin/sh -c 'systemd-notify --ready; exec {}'"
    for kind in ("notify", "forking"):
        assert said(unit(f"Type={kind}", shell.format(SGLANG))) == {}
    assert said(unit("Type=forking", f"/usr/bin/tmux new-session -d {SGLANG}")) == {}
    assert said(unit("Type=notify", f"/bin/sh -c 'cd /srv; exec {SGLANG}'")) == {
        "Type": Verdict.BREAKS
    }


def test_what_hardens_docker_does_not_reach_the_container() -> None:
    docker = f"/usr/bin/docker run --rm --shm-size 32g lmsysorg/sglang:v0.5.23 {SGLANG}"
    hard = "PrivateDevices=yes; MemoryDenyWriteExecute=yes; ProtectHome=yes; LimitNOFILE=1048576"

    assert said(unit(hard, docker)) == {}
    assert said(unit("Type=notify", docker)) == {"Type": Verdict.BREAKS}
    assert said(unit("Type=notify", docker.replace("docker", "podman"))) == {}


def test_one_gpu_wants_less() -> None:
    one = SGLANG.replace("--tp-size 8", "--tp-size 1")
    for service in ("AllowedCPUs=0-3", "RestrictAddressFamilies=AF_UNIX AF_INET", "MemoryMax=16G"):
        assert said(unit(service, one)) == {}
    assert said(unit("AllowedCPUs=0-3", SGLANG.replace("size 8", "size $TP"))) == {}


@pytest.mark.parametrize("engine", NAMES)
def test_any_word_of_a_unit_can_be_read(engine: str) -> None:
    """Whatever stands there, it is judged or left alone."""
    for key in sorted(ABOUT):
        for value in ("", "1", "x", "-1", "%i", "~", "a:b:c", "9" * 30, "\u00e4", "=", "infinity"):
            said(unit(f"{key}={value}", COMMANDS[engine]))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("5min 20s", 320), ("90", 90), ("1m30s", 90), ("1.5h", 5400), ("500ms", 0.5), ("2d", 172800)],
)
def test_times_are_read_as_systemd_does(text: str, seconds: float) -> None:
    assert spans.seconds(text) == pytest.approx(seconds)
    assert spans.seconds(f"{text} x") is None


@pytest.mark.parametrize("release", dialect("vllm").options.releases[-1:])
def test_what_breaks_by_a_directive_is_not_sound(release: str) -> None:
    text = unit("PrivateDevices=yes", VLLM)
    found = judge(text, Target(release, "sm100", engine="vllm"))

    assert not found.is_sound


def test_the_page_names_what_is_judged() -> None:
    page = (ROOT / "docs/lint.md").read_text()
    keys = {key for row in ROWS for key in row.keys if "." not in key and " " not in key}

    assert sorted(key for key in keys - {"StartLimitInterval"} if f"`{key}`" not in page) == []


# -- reported --------------------------------------------------------------------------------------


def test_reported_units_are_told_what_their_reporters_found() -> None:
    """vllm#48966, vllm#12474, nixpkgs#331069 and spark-vllm-docker#257, each in its shape."""
    ended = unit("User=vllm; Restart=on-failure; RestartSec=10", VLLM)
    kept = unit("User=run; RestrictAddressFamilies=AF_INET AF_INET6; IPAddressDeny=any", VLLM)
    hard = unit("PrivateDevices=true; DevicePolicy=closed; MemoryDenyWriteExecute=true", VLLM)
    looped = compose("    restart: unless-stopped\n    runtime: nvidia", VLLM)

    assert "always" in (entries(ended)[0].instead or "")
    assert {*said(kept)} == {"RestrictAddressFamilies", "IPAddressDeny"}
    assert {"PrivateDevices", "DevicePolicy"} < {*said(hard)}
    assert any("some 35 times" in note for note in judged(looped).notes)
