"""The archive for a bug report: all that is needed, and nothing that is secret."""

from __future__ import annotations

import json
import socket
import tarfile
from pathlib import Path

import pytest
from conftest import World
from hypothesis import given
from hypothesis import strategies as st

from launcher.scrubber import Scrubber

KEY = "sk-planted-0123456789abcdef"
PLANTED = {
    "HF_TOKEN": "hf_PlantedPlantedPlanted1234",
    "AWS_SECRET_ACCESS_KEY": "planted/aws+key/987654",
    "MY_PASSWORD": "planted-password-55",
}
LINES = [
    f"server_args={{'api_key': '{KEY}', 'admin_api_key': 'planted-admin-key'}}",
    f"Authorization: Bearer {KEY}",
    "downloading with hf_AnotherPlantedToken12345678",
    "proxy https://planted-user:planted-pass@proxy.example/",
    "NVRM: GPU at PCI:0000:9b:00: GPU-509665ad-b600-ac93-3616-d754b23d636d",
    "NVRM: GPU Board Serial Number: 1650124014249",
    "token=planted-token-value&x=1",
    "connect to 10.11.12.13 from aa:bb:cc:dd:ee:ff in /home/planteduser/models",
    f"host {socket.gethostname()} says no",
]
SECRETS = [
    KEY, *PLANTED.values(), "planted-admin-key", "hf_AnotherPlanted", "planted-pass", "planted-token-value",
    "509665ad", "1650124014249", "10.11.12.13", "aa:bb:cc:dd:ee:ff", "planteduser",
]  # fmt: skip


def texts(archive: Path) -> dict[str, str]:
    """The files of a bundle by name."""
    with tarfile.open(archive) as bundle:
        members = {member.name.partition("/")[2]: bundle.extractfile(member) for member in bundle}
        return {name: file.read().decode() for name, file in members.items() if file}


@pytest.fixture
def bundle(world: World) -> dict[str, str]:
    """A bundle of a server with secrets planted everywhere."""
    file = world.folder / "key"
    file.write_text(KEY)
    file.chmod(0o600)
    world.faults(lines=LINES)
    world.run("up", "-p", "stub", "-d", "--api-key-file", str(file), **PLANTED)
    for text in (world.instance / "server.log", world.instance / "launcher.log", world.instance / "stacks-1.txt"):
        with text.open("a") as log:
            log.write("\n".join([*LINES, *PLANTED.values()]) + "\n")
    events = world.instance / "events.jsonl"
    events.write_text(events.read_text() + json.dumps({"event": "warning", "reason": " ".join(LINES)}) + "\n")
    done = world.run("bundle", "-p", "stub", "-o", "out.tar.gz", "--json", **PLANTED)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["bundle"] == "out.tar.gz"
    assert (world.folder / "out.tar.gz").stat().st_mode & 0o777 == 0o600
    return texts(world.folder / "out.tar.gz")


def test_no_planted_secret_is_in_it(bundle: dict[str, str]) -> None:
    for name, text in bundle.items():
        found = [secret for secret in SECRETS if secret in text]
        assert not found, (name, found)
        assert len(socket.gethostname()) < 6 or socket.gethostname() not in text, name


def test_it_has_what_a_report_needs(bundle: dict[str, str]) -> None:
    assert {"README.txt", "plan.json", "state.json", "events.jsonl", "server.log", "stacks-1.txt"} <= set(bundle)
    assert {"facts.json", "doctor.json", "diagnosis.json", "kernel.txt", "version.txt"} <= set(bundle)
    assert json.loads(bundle["facts.json"])["schema"] == 1
    assert json.loads(bundle["doctor.json"])["findings"]
    assert "why" in json.loads(bundle["plan.json"])["settings"][0]
    assert "cause" in json.loads(bundle["diagnosis.json"])
    assert "Load weight begin" in bundle["server.log"]


def test_a_plan_and_facts_can_be_judged_again(bundle: dict[str, str], world: World) -> None:
    (world.folder / "facts.json").write_text(bundle["facts.json"])

    judged = world.run("doctor", "--facts", "facts.json", "-p", "stub", "--json")
    assert json.loads(judged.stdout)["findings"], judged.stderr


def test_only_the_last_starts_are_in_it(world: World) -> None:
    for _ in range(3):
        world.run("up", "-p", "stub", "-d")
        world.run("down")
    world.run("bundle", "-o", "out.tar.gz", "--starts", "2")

    assert texts(world.folder / "out.tar.gz")["server.log"].count("=== glm5-serve: run ") == 2


def test_a_broken_instance_still_makes_a_bundle(world: World) -> None:
    world.run("up", "-p", "stub", "-d")
    world.run("down")
    (world.instance / "plan.json").write_text("{")
    (world.instance / "state.json").write_text("\0")
    done = world.run("bundle", "-p", "stub", "-o", "out.tar.gz")

    assert done.returncode == 0, done.stderr
    assert texts(world.folder / "out.tar.gz")["doctor.json"].startswith("not collected: ")


def test_what_cannot_be_written_is_one_clear_message(world: World) -> None:
    never = world.run("bundle", "-p", "stub")
    world.run("up", "-p", "stub", "-d")
    nowhere = world.run("bundle", "-o", "nowhere/out.tar.gz")

    assert (never.returncode, nowhere.returncode) == (1, 78)
    assert "cannot write nowhere/out.tar.gz" in nowhere.stderr
    assert not list(world.folder.glob(".out*"))


@pytest.mark.parametrize(
    "text", ["--mem-fraction-static 0.9", "PCI:0000:61:00", "127.0.0.1:8000", "0.5.23", "token usage: 0.94"]
)
def test_what_is_needed_stays(text: str) -> None:
    assert Scrubber(None, {}).clean(text) == text


@given(st.text(alphabet=st.characters(codec="ascii", categories=["L", "N"]), min_size=8), st.text(), st.text())
def test_a_known_secret_never_survives(secret: str, before: str, after: str) -> None:
    assert secret not in Scrubber(secret, {}).clean(f"{before} {secret} {after}").replace("[redacted]", "")
