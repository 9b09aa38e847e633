"""`doctor --hosts` against the real sshd: three hosts, one that hangs, one that is not there."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import jsonschema
import pytest
from conftest import ROOT, World, until
from rig.healthy import having, host
from rig.sshd import SSHD, Fleet, fleet, key, sessions

from launcher.host import facts_json
from launcher.host.facts import Interface

pytestmark = pytest.mark.skipif(not SSHD, reason="no sshd (apt install openssh-server)")
ODD = """case "$*" in
-q) sed 's/98.02.67.00.0A/98.02.6A.00.01/' {0}/nvidia_smi_q.txt ;;
"topo -m") cat {0}/nvidia_topo.txt ;;
esac"""
HANGS = """case "$*" in -q) exec sleep 600 ;; esac"""
ONLY = ("--only", "pcie-width", "--only", "switch-writes")  # what does not depend on this machine
DEADLINE = 5.0
SLACK = 30.0  # seconds that this machine may take to judge, busy as it is
SCHEMA = json.loads((ROOT / "docs/fleet.schema.json").read_text())


@dataclass(frozen=True)
class Asked:
    """What came of asking all of them once."""

    status: int
    seconds: float
    told: dict[str, Any]
    kept: Path  # where facts were saved
    left: frozenset[Path]  # files that are new on the hosts

    def of(self, name: str) -> dict[str, Any]:
        """What is told of one host."""
        (found,) = [one for one in self.told["hosts"] if one["host"] == name]
        return dict(found)


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    folder = tmp_path_factory.mktemp("fleet")
    with fleet(folder) as made:
        made.host("h1")
        made.host("h2")
        made.host("odd", **{"nvidia-smi": ODD})
        made.host("hung", **{"nvidia-smi": HANGS})
        made.host("closed", accepts=key(folder / "other"))
        made.host("changed", known=folder / "other")
        (folder / "facts.json").write_text(json.dumps(facts_json.to_json(host())))
        tells = f'[ "$*" = "facts -p 8xpro6000" ] && cat {folder}/facts.json'
        made.host("telling", **{"glm5-serve": tells})
        made.silent("deaf")
        made.alias("down")
        yield made


@pytest.fixture(scope="module")
def asked(hosts: Fleet, tmp_path_factory: pytest.TempPathFactory) -> Asked:
    """All hosts, asked once; what one of them does is none of the others' business."""
    world = World(tmp_path_factory.mktemp("world"))
    before = files(hosts)
    names = "h1,telling,hung,deaf,down,closed,changed,h3.invalid"
    kept = world.folder / "kept"
    begin = time.monotonic()
    said = ask(world, hosts, names, "--json", "-p", "8xpro6000", *ONLY, "--save", str(kept))
    took = time.monotonic() - begin
    told = json.loads(said.stdout)
    jsonschema.validate(told, SCHEMA)
    return Asked(said.returncode, took, told, kept, files(hosts) - before)


def files(hosts: Fleet) -> frozenset[Path]:
    return frozenset(path for path in hosts.folder.rglob("*") if path.suffix != ".log")


def ask(world: World, hosts: Fleet, names: str, *words: str) -> Any:
    given = ("--ssh-config", str(hosts.config), "--deadline", f"{DEADLINE:g}", *words)
    return world.run("doctor", "--hosts", names, *given)


def test_the_odd_one_out_is_told_first_then_a_table_then_what_to_do(
    world: World, hosts: Fleet
) -> None:
    said = ask(world, hosts, "h1,odd,h2", *ONLY)
    lines = said.stdout.splitlines()

    assert said.returncode == 0, said.stderr
    assert lines[0] == "3 hosts: 3 warn"
    assert "VBIOS  odd: 98.02.6A.00.01; h1, h2: 98.02.67.00.0A" in lines[3]
    table = [line.split() for line in lines if line.startswith(("host ", "h1 ", "h2 ", "odd "))]
    assert table[0] == ["host", "verdict", "not", "seen", "PCIe"]
    assert [row[:2] for row in table[1:]] == [["odd", "warn"], ["h1", "warn"], ["h2", "warn"]]
    assert "switch-writes  odd, h1, h2: 4 Broadcom PEX890xx" in said.stdout


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("deaf", "timeout"),
        ("down", "refused"),
        ("closed", "permission-denied"),
        ("changed", "host-key-changed"),
        ("h3.invalid", "name-unknown"),
    ],
)
def test_a_host_that_is_not_reached_says_why(asked: Asked, name: str, kind: str) -> None:
    told = asked.of(name)

    assert told["unreachable"]["kind"] == kind
    assert told["unreachable"]["fix"]
    assert (told["verdict"], told["report"]) == ("unknown", None)


def test_all_is_over_by_the_deadline(asked: Asked) -> None:
    assert all(one["seconds"] < DEADLINE + SLACK for one in asked.told["hosts"])
    assert asked.seconds < DEADLINE + SLACK


def test_what_is_not_reached_is_unknown_and_nothing_at_all_is_a_no(
    world: World, hosts: Fleet, asked: Asked
) -> None:
    assert (asked.told["verdict"], asked.status) == ("unknown", 0)
    assert ask(world, hosts, "telling,down", "-p", "8xpro6000", *ONLY, "--strict").returncode == 1
    assert ask(world, hosts, "down", *ONLY).returncode == 1


def test_a_driver_that_hangs_costs_its_host_the_gpus_and_nobody_else(asked: Asked) -> None:
    told = asked.of("hung")

    assert told["unreachable"] is None
    assert "nvidia-smi-q did not end" in told["report"]["observed"]
    assert "hangs" in json.dumps(told["report"]["findings"])
    assert asked.of("h1")["verdict"] == "warn"


def test_nothing_is_left_on_the_hosts(hosts: Fleet, asked: Asked) -> None:
    """A program there that did not end has a limit of its own: ten seconds."""
    assert asked.left == frozenset()
    until(lambda: not sessions(hosts.folder), "nothing runs there")


def test_facts_are_kept_for_each_host_and_judged_the_same_from_there(
    world: World, asked: Asked
) -> None:
    kept = asked.kept / "h1.json"
    again = world.run("doctor", "-p", "8xpro6000", "--facts", kept, "--json", *ONLY)

    assert {path.name for path in asked.kept.iterdir()} == {"h1.json", "hung.json", "telling.json"}
    assert json.loads(again.stdout)["findings"] == asked.of("h1")["report"]["findings"]


def test_its_own_glm5_serve_is_asked_where_it_is(world: World, hosts: Fleet, asked: Asked) -> None:
    words = ("-p", "8xpro6000", *ONLY, "--json", "--remote", "facts")
    told = json.loads(ask(world, hosts, "h1,telling", *words).stdout)["hosts"]

    assert asked.of("telling")["report"]["observed"] == "telling, by its glm5-serve"
    assert asked.of("telling")["verdict"] == told[1]["verdict"] == "ok"
    assert "by a script" in asked.of("h1")["report"]["observed"]
    assert told[0]["unreachable"]["kind"] == "not-installed"


def test_an_inventory_leads_there_and_prometheus_has_each_host(
    world: World, hosts: Fleet, tmp_path: Path
) -> None:
    file = tmp_path / "inventory.ini"
    file.write_text("[gpu]\nfirst ansible_host=h1\nh2\nodd\ndown\n[others]\ndeaf\n")
    said = ask(world, hosts, f"@{file}:gpu", *ONLY, "--format", "prometheus").stdout

    assert 'glm5_serve_doctor_reached{host="first"} 1.0' in said
    assert 'glm5_serve_doctor_reached{host="down"} 0.0' in said
    assert 'glm5_serve_doctor_odd{area="VBIOS",host="odd",value="98.02.6A.00.01"} 1.0' in said
    assert "deaf" not in said


@pytest.mark.parametrize("word", ["-oProxyCommand=touch evil", "a;touch evil", "$(touch evil)"])
def test_a_name_that_is_an_option_or_a_command_is_refused(world: World, word: str) -> None:
    said = world.run("doctor", f"--hosts={word}")

    assert said.returncode == 2
    assert "is no name of a host" in said.stderr
    assert not list(world.folder.rglob("evil"))


@pytest.mark.parametrize("other", [("--deep",), ("--fix",), ("--facts", "x"), ("--format", "npd")])
def test_what_is_of_one_host_is_refused_for_several(world: World, other: tuple[str, ...]) -> None:
    said = world.run("doctor", "--hosts", "a,b", *other)

    assert said.returncode == 2
    assert "is not of --hosts" in said.stderr


@pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("setpriv"), reason="only root can be another"
)
def test_an_ordinary_user_may_look(hosts: Fleet) -> None:
    """Everything it needs is the user's own: no state folder, no agent, no home."""
    # /usr/bin/python3: this test's own may lie in root's home (as in tests/operate/test_identity.py)
    words = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "/usr/bin/python3"]
    words += ["-m", "launcher"]
    environ = os.environ | {
        "PYTHONPATH": f"{ROOT}:{Path(click.__file__).parents[1]}",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    probe = subprocess.run(
        [*words, "--version"], capture_output=True, timeout=60, check=False, env=environ
    )
    if probe.returncode:
        pytest.skip("another user may not enter this checkout, or run its Python")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        text = hosts.config.read_text()
        for file in (hosts.user, hosts.known):
            mine = Path(folder, file.name)
            shutil.copy(file, mine)
            os.chown(mine, 65534, 65534)
            text = text.replace(str(file), str(mine))
        Path(folder, "config").write_text(text)
        words += ["doctor", "--hosts", "h1,down", "--ssh-config", f"{folder}/config", "--json"]
        said = subprocess.run(
            [*words, *ONLY], capture_output=True, timeout=120, check=False, env=environ
        )
    h1, down = json.loads(said.stdout)["hosts"]

    assert h1["unreachable"] is None
    assert down["unreachable"]["kind"] == "refused"


def test_hosts_of_a_profile_with_nodes_are_judged_as_the_nodes_that_they_are(
    world: World, hosts: Fleet
) -> None:
    """Which is which their addresses say, whatever the order is in which they are named."""
    for name, address, driver in (
        ("n2", "192.0.2.2", "590.48.01"),
        ("n1", "192.0.2.1", "595.58.03"),
    ):
        seen = having(
            host(),
            system__networks=(Interface("eth1", (address,), 1500, True),),
            system__outward=address,
            driver__version=driver,
        )
        file = hosts.folder / f"{name}.json"
        file.write_text(json.dumps(facts_json.to_json(seen)))
        hosts.host(name, **{"glm5-serve": f"cat {file}"})
    said = ask(world, hosts, "n2,n1", "-p", "2x8xpro6000", "--json")
    told = json.loads(said.stdout)
    jsonschema.validate(told, SCHEMA)
    nodes = [
        found
        for one in told["hosts"]
        for found in one["report"]["findings"]
        if found["id"] == "node-address"
    ]
    together = {found["id"]: found["severity"] for found in told["together"]}

    assert [found["severity"] for found in nodes] == ["ok", "ok"]
    assert together["nodes-found"] == "ok"
    assert together["same-driver"] == "warn"
