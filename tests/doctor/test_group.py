"""Hosts beside each other: which one is odd, and what is not a difference."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rig.healthy import having, host, with_gpus

from launcher.doctor.group import ASPECTS, Difference, differences
from launcher.host.facts import Host, known, unknown

H = having(host(), engine__packages={**host().engine.packages.get(), "nvidia-nccl-cu13": "2.28.3"})
EVERY = range(8)


def cmdline(*words: str) -> Host:
    return having(H, kernel__cmdline=" ".join(words))


# What is different on the odd host, and what is said of it.
ODD: tuple[tuple[str, Host, str], ...] = (
    ("driver-release", having(H, driver__version="580.65.06"), "580.65.06"),
    ("driver-flavour", having(H, driver__flavour="proprietary"), "proprietary"),
    ("gpu-vbios", with_gpus(H, 3, vbios="98.02.6A.00.01"), "1 of 8: 98.02.6A.00.01"),
    ("gpu-firmware", with_gpus(H, *EVERY, gsp="580.65.06"), "580.65.06"),
    ("gpu-power-limit", with_gpus(H, *EVERY, power_limit=450.0), "450 W"),
    ("gpu-ecc", with_gpus(H, 0, ecc=False), "1 of 8: False"),
    ("gpu-product", with_gpus(H, 0, name="NVIDIA B200"), "1 of 8: NVIDIA B200"),
    ("gpu-memory", with_gpus(H, *EVERY, memory_total=180 << 30), "180 GiB"),
    ("link-width", with_gpus(H, 5, link_width=8), "1 of 8: 8 lanes"),
    ("link-generation", with_gpus(H, *EVERY, link_gen_max=4), "4"),
    ("gpu-count", having(H, driver__gpus=H.driver.gpus.get()[:7]), "7 GPUs"),
    ("kernel-release", having(H, kernel__release="6.8.0-1"), "6.8.0-1"),
    ("kernel-words", having(H, kernel__cmdline="root=UUID=1 quiet"), "quiet"),
    ("cpu-model", having(H, system__cpu_model="other"), "other"),
    ("numa-nodes", having(H, system__numa_nodes=8), "8"),
    ("memlock", having(H, system__limits={"memlock": 8 << 20}), "8 MiB"),
    ("mtu", having(H, system__mtus={"eno1": 9000}), "1x 9000"),
    ("engine-release", having(H, engine__packages={"sglang": "0.5.20"}), "sglang 0.5.20"),
    ("engine-torch", having(H, engine__packages={"torch": "2.7.0"}), "torch 2.7.0"),
    (
        "engine-nccl",
        having(H, engine__packages={"nvidia-nccl-cu13": "2.27.0"}),
        "nvidia-nccl-cu13 2.27.0",
    ),
    ("checkpoint", having(H, model__fingerprint="ffffffffffffffff"), "ffffffffffffffff"),
)


def by_id(found: list[Difference]) -> dict[str, Difference]:
    return {one.aspect.id: one for one in found}


@pytest.mark.parametrize(("id", "odd", "value"), ODD, ids=[row[0] for row in ODD])
def test_the_odd_one_out_is_named_with_what_it_has(id: str, odd: Host, value: str) -> None:
    found = by_id(differences({"a": H, "b": odd, "c": H}))[id]

    assert found.odd == ("b",)
    assert found.groups[0][1] == ("a", "c")
    assert value in found.groups[1][0]


def test_every_aspect_has_such_a_host() -> None:
    assert {row[0] for row in ODD} == {aspect.id for aspect in ASPECTS}


def test_hosts_that_are_alike_differ_in_nothing() -> None:
    assert differences({"a": H, "b": H, "c": H}) == []
    assert differences({"a": H}) == differences({}) == []


def test_of_two_that_differ_neither_is_the_odd_one() -> None:
    (found,) = differences({"a": H, "b": having(H, driver__version="580.65.06")})

    assert found.odd == ()
    assert dict(found.groups) == {"595.58.03": ("a",), "580.65.06": ("b",)}


def test_what_nobody_knows_is_not_different() -> None:
    assert differences({"a": H, "b": Host(), "c": H}) == []


@pytest.mark.parametrize(
    "same",
    [
        lambda: cmdline("BOOT_IMAGE=/vmlinuz-b", "root=UUID=77", "iommu=pt", "quiet"),
        lambda: cmdline("quiet", "iommu=pt", "root=/dev/sda1"),
    ],
)
def test_the_disk_a_kernel_was_started_from_is_its_own(same: Callable[[], Host]) -> None:
    assert differences({"a": cmdline("root=UUID=1", "iommu=pt", "quiet"), "b": same()}) == []


def test_interfaces_of_containers_and_names_of_cards_are_a_hosts_own() -> None:
    other = {"enp1s0": 1500, "docker0": 1450, "veth12": 9000}
    assert differences({"a": H, "b": having(H, system__mtus=other)}) == []


def test_a_gpu_that_does_not_answer_is_no_difference() -> None:
    gpus = list(H.driver.gpus.get())
    gpus[2] = replace(gpus[2], vbios=unknown("GPU is lost"))
    lost = replace(H, driver=replace(H.driver, gpus=known(tuple(gpus))))

    assert "gpu-vbios" not in by_id(differences({"a": H, "b": lost, "c": H}))


@given(st.lists(st.sampled_from(["1.0", "2.0", "3.0", ""]), max_size=8))
def test_each_host_is_in_one_group_and_the_odd_are_fewer_than_half(versions: list[str]) -> None:
    """The law: nobody who was seen is left out, nobody unknown is counted."""
    hosts = {
        f"h{at}": having(H, driver__version=version)
        if version
        else replace(H, driver=replace(H.driver, version=unknown("not seen")))
        for at, version in enumerate(versions)
    }
    seen = {name for name, version in zip(hosts, versions, strict=True) if version}
    for found in differences(hosts):
        told = [name for _, names in found.groups for name in names]
        assert sorted(told) == sorted(seen)
        assert len({*versions} - {""}) == len(found.groups) > 1
        assert 2 * len(found.odd) < len(told)
