"""What ssh is told, and what its words and a host's answers mean; no host is asked here."""

from __future__ import annotations

import gc
import json
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import TESTS
from hypothesis import given
from hypothesis import strategies as st
from rig.healthy import host as healthy
from rig.healthy import plan as healthy_plan

from launcher.doctor.checks.driver import driver_answers
from launcher.host import facts_json, parsers
from launcher.host.collectors.checkpoint import checkpoint
from launcher.host.facts import Host, Interface, known
from launcher.host.inventory import Target
from launcher.host.remote import SCRIPT, Ask, ask, command, script
from launcher.host.remote_refusals import ROWS, Unreachable, Way, refusal
from launcher.host.remote_reply import Reply, parts, read

MARK = "glm5-0123"
H1 = Way(Target("h1", "h1"))
SMI = (TESTS / "hosts/asus8x/nvidia_smi_q.txt").read_bytes()
FACTS = json.dumps(facts_json.to_json(healthy())).encode()
# OpenSSH 9.2 and 10.0, as they print it.
SAID = {
    "host-key-changed": "@@@@@@\n@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\nOffending key\nHost key verification failed.",
    "host-key-unknown": "No ED25519 host key is known for h1 and you have requested strict checking.\nHost key verification failed.",
    "ssh-config": "/x: line 3: Bad configuration option: nonsense\n/x: terminating, 1 bad configuration options",
    "key-file-open": "@ WARNING: UNPROTECTED PRIVATE KEY FILE! @\nroot@h1: Permission denied (publickey).",
    "jump-host": "channel 0: open failed: connect failed: Connection refused\nstdio forwarding failed",
    "permission-denied": "root@h1: Permission denied (publickey,password).",
    "name-unknown": "ssh: Could not resolve hostname h1: Name or service not known",
    "refused": "ssh: connect to host h1 port 22: Connection refused",
    "no-route": "ssh: connect to host h1 port 22: No route to host",
    "timeout": "Connection timed out during banner exchange\nConnection to h1 port 22 timed out",
    "no-agreement": "Unable to negotiate with h1 port 22: no matching key exchange method found. Their offer: x",
    "no-shell": "This account is currently not available.",
    "closed": "kex_exchange_identification: Connection closed by remote host",
}  # fmt: skip


def part(name: str, said: bytes, status: int | None = 0) -> bytes:
    end = b"" if status is None else f"\n{MARK} end {name} {status}\n".encode()
    return f"\n{MARK} begin {name}\n".encode() + said + end


def complete() -> bytes:
    return f"\n{MARK} complete\n".encode()


def of(said: bytes, errors: str = "", status: int | None = 0) -> Host | Unreachable:
    return read(Reply(said, errors, status, 1.0), MARK, H1, 30.0, has_agent=True)


@pytest.mark.parametrize("kind", [row.kind for row in ROWS])
def test_each_way_of_not_being_reached_has_a_message_of_its_own(kind: str) -> None:
    said = refusal(H1, SAID[kind], has_agent=True)

    assert said.kind == kind
    assert said.what
    assert said.fix


LED = Way(Target("root@127.0.0.1:31022", "127.0.0.1", "root", 31022), Path("my ssh/config"))
CHANGED = (
    f"{SAID['host-key-changed']}\nOffending ED25519 key in /home/op/kn own:3\n"
    "Host key for [127.0.0.1]:31022 has changed and you have requested strict checking.\n"
)


@pytest.mark.parametrize(
    ("way", "errors", "fix"),
    [
        (LED, SAID["host-key-unknown"], "ssh -F 'my ssh/config' -p 31022 root@127.0.0.1 once"),
        (LED, SAID["permission-denied"], "ssh-copy-id -F 'my ssh/config' -p 31022 root@127.0.0.1,"),
        (LED, SAID["permission-denied"], "USER@127.0.0.1:31022"),
        (LED, SAID["refused"], "root@127.0.0.1:PORT"),
        (LED, SAID["host-key-changed"], "ssh-keygen -R '[127.0.0.1]:31022'"),
        (LED, CHANGED, "ssh-keygen -f '/home/op/kn own' -R '[127.0.0.1]:31022'"),
        (Way(Target("n1", "fd00::1", "op")), SAID["no-shell"], "USER@[fd00::1]"),
        (Way(Target("n1", "fd00::1", "op")), SAID["no-route"], "ping fd00::1"),
        (Way(Target("n1", "fd00::1", "op")), "what", "ssh -v op@fd00::1 says"),
        (H1, SAID["host-key-changed"], "ssh-keygen -R h1, then ssh h1 once"),
    ],
)
def test_a_fix_is_a_command_that_leads_where_ssh_was_led(way: Way, errors: str, fix: str) -> None:
    assert fix in refusal(way, errors, has_agent=True).fix


def test_that_no_agent_runs_is_told_where_a_key_is_refused_and_nowhere_else() -> None:
    told = {
        kind for kind, text in SAID.items() if "agent" in refusal(H1, text, has_agent=False).what
    }

    assert told == {"permission-denied"}


def test_words_of_ssh_that_are_not_known_are_told_as_they_are() -> None:
    said = refusal(H1, "first\nsomething \x1b[31mnew\n\n", has_agent=True)

    assert said.kind == "other"
    assert "something \\x1b[31mnew" in said.what


def test_ssh_is_told_to_ask_nobody_and_to_forward_nothing() -> None:
    words = command("ssh", Target("h", "10.0.0.1", "ops", 2222), Ask(deadline=30))
    options = {words[at + 1] for at, word in enumerate(words) if word == "-o"}

    assert {
        "BatchMode=yes",
        "ConnectTimeout=10",
        "ForwardAgent=no",
        "ClearAllForwardings=yes",
    } <= options
    assert any(option.startswith("ServerAliveInterval=") for option in options)
    assert words[-7:] == ["-l", "ops", "-p", "2222", "--", "10.0.0.1", "sh -s"]


def test_who_holds_the_pipes_of_ssh_after_the_deadline_holds_nobody_up(tmp_path: Path) -> None:
    """As a ProxyCommand that leaves its group; what a loop leaves open fails this test."""
    (tmp_path / "ssh").write_text("#!/bin/sh\nsetsid sleep 40 &\nsleep 40\n")
    (tmp_path / "ssh").chmod(0o755)
    environ = {"PATH": f"{tmp_path}:/usr/bin:/bin"}

    (said,) = ask([Target("h", "h")], Ask(deadline=1), environ)
    gc.collect()
    assert isinstance(said.seen, Unreachable)
    assert (said.seen.kind, said.seconds < 30) == ("deadline", True)


def test_what_a_profile_says_stands_in_no_argument() -> None:
    what = Ask(profile="mine", python="/opt/venv/bin/python", model="/models/secret-project")
    words = " ".join(command("ssh", Target("h", "h"), what))

    assert not any(text in words for text in ("mine", "venv", "secret-project"))


@given(st.text(alphabet=st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_whatever_a_path_is_the_shell_has_it_as_it_is(path: str) -> None:
    text = script(Ask(model=path), MARK).decode().partition("SUDO=")[0]
    asks = f'{text}printf "%s" "$MODEL"'.encode()
    said = subprocess.run(["sh", "-s"], input=asks, capture_output=True, check=True, timeout=60)

    assert said.stdout.decode() == path


def test_its_own_facts_are_taken_as_they_are() -> None:
    seen = of(b"Welcome to h1!\n" + part("facts", FACTS))

    assert isinstance(seen, Host)
    assert seen.observed == "h1, by its glm5-serve"
    assert seen.driver == healthy().driver


def test_outputs_of_tools_are_read_as_if_pasted() -> None:
    seen = of(part("nvidia-smi-q", SMI) + complete())

    assert isinstance(seen, Host)
    assert seen.observed == "h1, by a script over ssh"
    assert len(seen.driver.gpus.get()) == 8


def test_where_its_own_glm5_serve_fails_the_script_tells() -> None:
    seen = of(part("facts", b"", 78) + part("nvidia-smi-q", SMI) + complete())

    assert isinstance(seen, Host)


@pytest.mark.parametrize("status", [None, 124, 137])
def test_a_driver_that_hangs_is_told_with_all_that_came_before(status: int | None) -> None:
    """The host answers, and its GPUs are why it is looked at: that is not "unreachable"."""
    seen = of(part("lscpu", b"Vendor ID: AuthenticAMD\nCPU(s): 8\n") + part("nvidia-smi-q", SMI[:3000], status), "", None)  # fmt: skip

    assert isinstance(seen, Host)
    assert seen.system.cpus == known(8)
    assert "the driver or a GPU hangs" in str(seen.driver.gpus.unknown)
    assert "nvidia-smi-q did not end" in seen.observed


def test_where_nvidia_smi_hangs_nobody_is_told_to_install_a_driver() -> None:
    seen = of(part("lscpu", b"CPU(s): 8\n") + part("nvidia-smi-q", b"", 124) + complete())

    assert isinstance(seen, Host)
    said = driver_answers(seen, healthy_plan())
    assert "hangs" in said.evidence
    assert "Xid" in said.fix
    assert "reboot" in said.fix
    assert "install" not in said.fix


def test_a_flood_of_errors_is_one_too() -> None:
    seen = of(b"", "y\n" * (1 << 15), None)

    assert isinstance(seen, Unreachable)
    assert (seen.kind, "without an end" in seen.what) == ("endless", True)


@pytest.mark.parametrize(
    ("said", "status", "kind"),
    [
        (b"", None, "deadline"),
        (b"Welcome\n", None, "deadline"),
        (b"y\n" * (1 << 16), None, "endless"),
        (b"\0" * (1 << 20), None, "endless"),
        (b"y\n" * (1 << 16), 255, "other"),
        (b"", 255, "other"),
        (b"This account is for git.\n", 0, "nothing"),
        (part("own", b"") + complete(), 0, "nothing"),
        (part("facts", b"", 127), 0, "not-installed"),
        (part("facts", b"", 78), 0, "facts"),
        (part("facts", b"{"), 0, "facts"),
        (part("facts", b'{"schema": 99}'), 0, "facts"),
        (part("facts", FACTS[:100], None), None, "deadline"),
    ],
)
def test_what_is_no_answer_says_what_it_is(said: bytes, status: int | None, kind: str) -> None:
    seen = of(said, "", status)

    assert isinstance(seen, Unreachable)
    assert seen.kind == kind
    assert seen.what
    assert seen.fix


@given(st.binary(max_size=300), st.sampled_from([None, 0, 1, 255]), st.text(max_size=80))
def test_whatever_a_host_prints_it_is_a_host_or_says_why_not(
    noise: bytes, status: int | None, errors: str
) -> None:
    """The law; and nothing that is printed can end an answer without knowing the mark."""
    assert isinstance(of(noise, errors, status), Host | Unreachable)
    found, ended = parts(part("a", noise.replace(MARK.encode(), b"")) + complete(), MARK)
    assert [one.name for one in found] == ["a"]
    assert ended


def test_the_script_is_one_that_any_shell_reads() -> None:
    for shell in filter(None, map(shutil.which, ("dash", "bash", "busybox"))):
        words = [shell, "sh", "-n"] if shell.endswith("busybox") else [shell, "-n"]
        subprocess.run([*words, str(SCRIPT)], check=True, timeout=60)
    if checker := shutil.which("shellcheck"):
        subprocess.run([checker, "-s", "sh", str(SCRIPT)], check=True, timeout=60)


def test_the_script_and_the_collector_give_a_checkpoint_one_fingerprint(tmp_path: Path) -> None:
    folder = tmp_path / "GLM-5 $(id) 'NVFP4'"
    (folder / "sub").mkdir(parents=True)
    for name, text in {
        "config.json": '{"model_type": "glm"}',
        "a b.json": "{}",
        "tokenizer.model": "x",
        "model-00001-of-00001.safetensors": "\x02\0\0\0\0\0\0\0{}",
        ".hidden.json": "{}",
        "README.md": "not of it",
    }.items():
        (folder / name).write_text(text)
    (folder / "link.json").symlink_to(folder / "config.json")
    with (folder / "huge.json").open("wb") as file:
        file.truncate(3 << 30)
    text = script(Ask(how="script", model=str(folder), python=""), MARK)
    told = subprocess.run(["sh", "-s"], input=text, capture_output=True, check=True, timeout=120)
    seen = read(Reply(told.stdout, "", 0, 1.0), MARK, H1, 30.0, has_agent=True)

    assert isinstance(seen, Host)
    assert seen.model.path == known(str(folder))
    assert seen.model.fingerprint == checkpoint(str(folder), {}).fingerprint


@pytest.mark.parametrize(
    "line", ["mtu", "address", "address eth0", "package", "package a b c", "file x y", "memlock -1", "iommu", "model", "swappiness 9" * 40]
)  # fmt: skip
def test_lines_of_the_script_that_are_garbled_tell_nothing(line: str) -> None:
    seen = parsers.of_texts(
        [("own", f"glm5-serve collect 1\nswappiness 60\n{line}\n".encode())], "h"
    )

    assert seen.system.swappiness == known(60)
    assert not seen.system.networks.known
    assert not seen.engine.packages.known
    assert not seen.model.fingerprint.known


def test_networks_are_those_with_an_address() -> None:
    text = (
        "glm5-serve collect 1\nmtu lo 65536\nstate lo unknown\naddress lo 127.0.0.1\n"
        "mtu eth0 9000\nstate eth0 up\naddress eth0 10.0.0.1\naddress eth0 fe80::1\n"
        "mtu eth1 1500\nstate eth1 down\n"
    )
    seen = parsers.of_texts([("own", text.encode())], "h").system

    assert seen.interfaces == known(("eth0", "eth1", "lo"))
    assert seen.networks == known((Interface("eth0", ("10.0.0.1", "fe80::1"), 9000, True),))
