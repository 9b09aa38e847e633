"""How a host's GPUs hang together, as doctor draws it."""

from __future__ import annotations

import json
from dataclasses import replace

from conftest import TESTS

from launcher.doctor.topology import drawn
from launcher.host.facts import Driver, Fact, Function, Gpu, Host, Pcie
from launcher.host.facts_json import from_json

ASUS = from_json(json.loads((TESTS / "hosts/asus8x.json").read_text()))


def board(number: int, *above: str, numa: int = 0, width: int = 16) -> Function:
    return Function(
        f"0000:{number:02x}:00.0",
        "gpu",
        "10de:2bb5",
        above,
        speed_max=Fact(32.0),
        width=Fact(width),
        width_max=Fact(16),
        numa=Fact(numa),
    )


def host(*functions: Function, topology: tuple[tuple[str, ...], ...] = ()) -> Host:
    gpus = tuple(
        Gpu(index, bdf=Fact(one.bdf))
        for index, one in enumerate(one for one in functions if one.kind == "gpu")
    )
    return Host(driver=Driver(gpus=Fact(gpus), topology=Fact(topology)), pcie=Pcie(Fact(functions)))


def test_eight_gpus_below_four_switches_of_two_sockets() -> None:
    assert drawn(ASUS) == [
        ("NUMA node 0", "switch 01:00.0: GPU0 GPU1"),
        ("", "switch 71:00.0: GPU2 GPU3"),
        ("NUMA node 1", "switch 81:00.0: GPU4 GPU5"),
        ("", "switch f1:00.0: GPU6 GPU7"),
        ("each GPU", "PCIe 5.0 x16"),
        (
            "GPU to GPU",
            "PIX below one switch (4 pairs), NODE within a NUMA node (8 pairs),"
            " SYS between NUMA nodes (16 pairs)",
        ),
    ]


def test_a_port_for_each_is_not_told_and_a_narrow_link_is() -> None:
    seen = host(
        board(1, "0000:00:01.0"),
        board(2, "0000:00:02.0", width=8),
        topology=(("X", "NV18"), ("NV18", "X")),
    )

    assert drawn(seen) == [
        ("NUMA node 0", "GPU0 (PCIe 5.0 x16) GPU1 (PCIe 5.0 x8 of x16)"),
        ("GPU to GPU", "NV18 NVLink (1 pair)"),
    ]


def test_without_a_driver_they_are_called_by_their_place_on_the_bus() -> None:
    seen = replace(host(board(1), board(2, numa=-1)), driver=Driver())

    assert drawn(seen) == [
        ("NUMA node ?", "GPU at 02:00.0"),
        ("NUMA node 0", "GPU at 01:00.0"),
        ("each GPU", "PCIe 5.0 x16"),
    ]


def test_one_gpu_or_a_bus_that_nobody_looked_at_is_not_drawn() -> None:
    assert drawn(host(board(1))) == []
    assert drawn(Host()) == []
