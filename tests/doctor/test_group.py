"""Hosts judged together: the odd one out, and nothing from what nobody saw."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from conftest import World
from hypothesis import given
from hypothesis import strategies as st
from rig.healthy import having, host, plan, with_gpus

from launcher.doctor.group import AREAS, differences, judge_group
from launcher.doctor.run import merged
from launcher.host import facts_json
from launcher.host.facts import Host, Interface, unknown
from launcher.plan.findings import Finding, Severity

H = host()
TWO = plan('nodes.hosts=["10.0.0.1", "10.0.0.2"]', "flags.host=false", "flags.pp-size=2")
OTHER = having(H, system__networks=(Interface("eth1", ("10.0.0.2",), 9000, True),))
ONE_THING: dict[str, tuple[dict[str, Any], Severity]] = {
    "same-driver": ({"driver__version": "590.48.01"}, Severity.WARN),
    "same-driver-flavour": ({"driver__flavour": "proprietary"}, Severity.WARN),
    "same-engine": ({"engine__packages": {"sglang": "0.5.22", "torch": "2.14.1"}}, Severity.FAIL),
    "same-libraries": ({"engine__packages": {"sglang": "0.5.23", "torch": "2"}}, Severity.WARN),
    "same-kernel": ({"kernel__release": "6.8.0-1"}, Severity.WARN),
    "same-kernel-flags": ({"kernel__cmdline": "ro iommu=off root=/dev/sdz"}, Severity.WARN),
    "same-checkpoint": ({"model__fingerprint": "ffff"}, Severity.FAIL),
    "same-locked-memory": ({"system__limits": {"memlock": 8 << 20}}, Severity.WARN),
    "same-cpu": ({"system__cpu_model": "another"}, Severity.WARN),
    "same-numa-nodes": ({"system__numa_nodes": 8}, Severity.WARN),
    "clocks-kept": ({"system__clock_error": None}, Severity.WARN),
}


def found(one: Host, two: Host) -> dict[str, Severity]:
    return {it.id: it.severity for it in judge_group(TWO, {"a": one, "b": two})}


@pytest.mark.parametrize("id", ONE_THING)
def test_one_thing_that_differs_is_one_finding(id: str) -> None:
    changed, severity = ONE_THING[id]

    seen = found(H, having(OTHER, **changed))
    assert seen[id] is severity
    # The MTUs of H are those of two networks; of packages all that hang together may differ.
    others = {name for name, how in seen.items() if how is not Severity.OK} - {id, "same-mtu"}
    assert others <= {"same-libraries", "same-engine"}


def test_the_odd_one_is_named_first() -> None:
    hosts = {"a": H, "b": having(H, driver__version="590.48.01"), "c": H}

    (told,) = differences(hosts)
    assert told.odd == ("b",)
    assert told.in_words().startswith("b: 590.48.01; a, c: ")


def test_of_two_nobody_knows_which_one_is_odd() -> None:
    (told,) = differences({"a": H, "b": having(H, driver__version="590.48.01")})

    assert told.odd == ("a", "b")


def test_another_disk_or_console_is_no_other_kernel_flag() -> None:
    base = H.kernel.cmdline.get()
    other = having(H, kernel__cmdline=f"{base} root=UUID=77 console=ttyS0 quiet")

    assert differences({"a": H, "b": other}) == []


def test_gpus_that_differ_are_refused() -> None:
    other = with_gpus(OTHER, 3, name="NVIDIA B200")

    assert found(H, other)["same-gpus"] is Severity.FAIL


@pytest.mark.parametrize(
    ("gpus", "changed", "area", "value"),
    [
        (
            range(1),
            {"vbios": "98.02.6A.00.01"},
            "VBIOS",
            "7 of 8: 98.02.67.00.0A, 1 of 8: 98.02.6A",
        ),
        (range(8), {"ecc": False}, "ECC", "False"),
        (range(8), {"link_gen_max": 4}, "link generation", "4"),
        (range(8), {"power_limit": 450.0}, "power limit", "450 W"),
        (range(1), {"link_width": 8}, "link width", "8 to 16 lanes"),
    ],
)
def test_what_differs_of_gpus_is_told_of_the_odd_host(
    gpus: range, changed: dict[str, Any], area: str, value: str
) -> None:
    (told,) = differences({"a": H, "b": with_gpus(H, *gpus, **changed), "c": H})

    assert (told.area.name, told.odd) == (area, ("b",))
    assert told.in_words().startswith(f"b: {value}")


def test_a_gpu_that_does_not_answer_is_no_difference() -> None:
    lost = with_gpus(H, 2, vbios=unknown("GPU is lost"))

    assert differences({"a": H, "b": lost, "c": H}) == []


def test_without_gpus_nobody_compares_any() -> None:
    cpu = plan('nodes.hosts=["10.0.0.1", "10.0.0.2"]', "flags.host=false", profile="cpu-demo")

    ids = {one.id for one in judge_group(cpu, {"a": Host(), "b": Host()})}
    assert ids.isdisjoint({"same-gpus", "same-driver", "same-power-limit"})


def test_an_address_that_no_host_has_or_two_have_is_wrong() -> None:
    (nobody,) = (it for it in judge_group(TWO, {"a": H, "b": H}) if it.id == "nodes-found")

    assert nobody.severity is Severity.FAIL
    assert "10.0.0.1 is on a and b" in nobody.evidence
    assert "10.0.0.2 is on none of a, b" in nobody.evidence
    assert found(H, OTHER)["nodes-found"] is Severity.OK


@given(st.lists(st.sampled_from(["a", "b", "c"]), max_size=3, unique=True))
def test_hosts_of_which_nothing_is_known_differ_in_nothing(names: list[str]) -> None:
    hosts = {name: Host() for name in names}

    assert differences(hosts) == []
    told = judge_group(TWO, hosts)
    assert {it.severity for it in told} <= {Severity.UNKNOWN}
    assert bool(told) == (len(hosts) > 1)


def test_hosts_that_are_alike_are_well() -> None:
    assert differences({"a": H, "b": H, "c": H}) == []
    names = {area.name for area in AREAS}
    assert len(names) == len(AREAS)


def test_what_several_hosts_have_alike_is_said_once() -> None:
    alike = Finding("a", Severity.WARN, "t", "x is 1", "f", group="g")
    other = Finding("b", Severity.FAIL, "t", "y is 2", "f", group="h")
    fine = Finding("c", Severity.OK, "t", "37 GiB", group="g")
    told = {
        "one": [alike, other, fine],
        "two": [alike, replace(fine, evidence="38 GiB")],
    }

    said = [(it.id, it.evidence) for it in merged(told)]
    assert said == [("a", "one, two: x is 1"), ("c", "one, two"), ("b", "one: y is 2")]


def test_facts_of_two_hosts_are_judged_together(world: World) -> None:
    words = (
        "doctor", "-p", "8xpro6000", "--set", 'nodes.hosts=["10.0.0.1", "10.0.0.2"]', "--set",
        "flags.host=false", "--set", "flags.pp-size=2",
    )  # fmt: skip
    one, two = world.folder / "gpu1.json", world.folder / "gpu2.json"
    one.write_text(json.dumps(facts_json.to_json(H)))
    two.write_text(json.dumps(facts_json.to_json(having(OTHER, driver__version="590.48.01"))))

    said = world.run(*words, "--facts", one, "--facts", two, "--json")
    found = {it["id"]: it for it in json.loads(said.stdout)["findings"]}
    assert "gpu2: 590.48.01" in found["same-driver"]["evidence"]
    assert found["node-address"]["evidence"] == "gpu1, gpu2"
    refused = world.run(*words, "--facts", one, "--facts", two, "--fix")
    assert refused.returncode == 2
    assert "of several hosts" in refused.stderr
