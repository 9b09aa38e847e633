"""PCIe and IOMMU facts from trees with real configuration space, held against lspci on the same
tree.
"""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rig.pcitree import GPU_CLASS, Tree, build, configuration, gpu_address, port_address

from launcher.host.collectors import pciconfig
from launcher.host.collectors.pci import pcie
from launcher.host.facts import Function, known

GPU, PORT = gpu_address(3), port_address(3)


def seen(folder: Path, **changed: Any) -> dict[str, Function]:
    functions = pcie(build(folder / "tree", replace(Tree(), **changed))).functions.get()
    return {function.bdf: function for function in functions}


def one(root: Path, bdf: str) -> Function:
    return next(function for function in pcie(root).functions.get() if function.bdf == bdf)


def changed_file(folder: Path, bdf: str, name: str, change: Callable[[bytes], bytes]) -> Function:
    """The function as it is seen when one of its files holds something else."""
    root = build(folder / "tree", Tree())
    file = root / "sys/bus/pci/devices" / bdf / name
    file.write_bytes(change(file.read_bytes()))
    return one(root, bdf)


def test_gpus_and_the_bridges_above_them_are_seen(tmp_path: Path) -> None:
    found = seen(tmp_path)

    assert [function.kind for function in found.values()] == ["root port"] * 8 + ["gpu"] * 8
    assert found[GPU].above == (PORT,)
    assert (found[GPU].id, found[PORT].id) == ("10de:2bb5", "1022:153e")


def test_a_switch_is_seen_part_by_part(tmp_path: Path) -> None:
    found = seen(tmp_path, switches=True)

    assert [found[bdf].kind for bdf in found[GPU].above] == [
        "root port",
        "switch upstream",
        "switch downstream",
    ]
    assert found[gpu_address(2)].above[:2] == found[GPU].above[:2]


def test_a_healthy_gpu_knows_every_fact(tmp_path: Path) -> None:
    gpu = seen(tmp_path)[GPU]

    assert (gpu.driver, gpu.present, gpu.iommu_type, gpu.numa) == (
        known("nvidia"),
        known(True),
        known("identity"),
        known(0),
    )
    assert (gpu.speed, gpu.width, gpu.bar1, gpu.bar1_max) == (
        known(32.0),
        known(16),
        known(128 << 30),
        known(256 << 30),
    )
    assert (gpu.aer_fatal, gpu.aer_correctable, gpu.power_control, gpu.acs) == (
        known(0),
        known(3),
        known("on"),
        known(None),
    )


@pytest.mark.parametrize(
    ("changed", "bdf", "fact", "value"),
    [
        ({"iommu_of": {GPU: "DMA-FQ"}}, GPU, "iommu_type", "DMA-FQ"),
        ({"iommu": None}, GPU, "iommu_type", None),
        (
            {"acs_of": {PORT: 0x1D}},
            PORT,
            "acs",
            ("SrcValid", "ReqRedir", "CmpltRedir", "UpstreamFwd"),
        ),
        ({"acs_of": {PORT: 0}}, PORT, "acs", ()),
        ({"gen_of": {GPU: 1}}, GPU, "speed", 2.5),
        ({"width_of": {GPU: 8}}, GPU, "width", 8),
        ({"bar1": 256 << 20}, GPU, "bar1", 256 << 20),
        ({"driver": "vfio-pci"}, GPU, "driver", "vfio-pci"),
        ({"driver": None}, GPU, "driver", None),
        ({"gone": (GPU,)}, GPU, "present", False),
    ],
)
def test_one_thing_changed_is_one_fact_changed(
    tmp_path: Path, changed: dict[str, Any], bdf: str, fact: str, value: object
) -> None:
    assert getattr(seen(tmp_path, **changed)[bdf], fact) == known(value)


@pytest.mark.parametrize(
    ("size", "why"), [(64, "run as root"), (256, "there is no extended space")]
)
def test_configuration_space_that_is_cut_is_unknown_and_never_off(
    tmp_path: Path, size: int, why: str
) -> None:
    """Without root the kernel gives 64 bytes: a bridge whose ACS nobody sees may redirect."""
    found = seen(tmp_path, space_of={PORT: size, GPU: size})

    assert (
        found[PORT].acs.unknown == f"only {size} bytes of configuration space are readable: {why}"
    )
    assert found[GPU].bar1_max.unknown == found[PORT].acs.unknown
    assert (found[PORT].kind, found[PORT].present) == ("root port", known(True))


def test_a_bridge_whose_bytes_do_not_say_is_named_by_its_place(tmp_path: Path) -> None:
    whole = seen(tmp_path, switches=True)[GPU].above
    found = seen(tmp_path / "cut", switches=True, space_of=dict.fromkeys(whole, 64))

    assert [found[bdf].kind for bdf in whole] == ["root port", "bridge", "bridge"]


def test_a_device_that_is_gone_says_nothing_about_itself(tmp_path: Path) -> None:
    """All ones are no capability list: "it has no ACS" would be a guess, and x63 no width."""
    found = seen(tmp_path, gone=(GPU, PORT))

    assert (
        found[PORT].acs.unknown
        == found[GPU].bar1_max.unknown
        == "configuration space reads all ones"
    )
    assert found[GPU].width.unknown == "not readable: 63 is no number of lanes"
    assert found[GPU].speed.unknown == "not readable: 'Unknown' is no speed"


@pytest.mark.parametrize(
    "header", [b"\xff\xff\xff\xff", b"\x01\0\x02\x10", b"\x01\0\xc2\xff", b"\x01\0\x42\0"]
)
def test_a_broken_list_of_capabilities_hides_what_it_may_hold(
    tmp_path: Path, header: bytes
) -> None:
    """All ones, a circle, a last entry without room, a step back into the first 256 bytes."""
    port = changed_file(
        tmp_path, PORT, "config", lambda space: space[:0x100] + header + space[0x104:]
    )

    assert port.acs.unknown == "the list of its extended capabilities is broken"


@pytest.mark.parametrize(
    ("file", "text", "fact"),
    [
        ("current_link_speed", "Unknown", "speed"),
        ("current_link_speed", "nan GT/s", "speed"),
        ("current_link_width", "", "width"),
        ("resource", "what", "bar1"),
        ("resource", "0x0 0x0 0x0\n0x10 0x5 0x14220c\n" + "0x0 0x0 0x0\n" * 4, "bar1"),
        ("config", "", "present"),
        ("aer_dev_fatal", "\0", "aer_fatal"),
        ("numa_node", "one", "numa"),
    ],
)
def test_a_file_that_makes_no_sense_costs_its_fact_alone(
    tmp_path: Path, file: str, text: str, fact: str
) -> None:
    gpu = changed_file(tmp_path, GPU, file, lambda _: text.encode())

    assert not getattr(gpu, fact).known
    assert gpu.driver.known


@pytest.mark.parametrize("row", ["0x0 0x0 0x0", "0x0 0x1fffffffff 0x2014220c"])
def test_a_window_that_got_no_address_is_none(tmp_path: Path, row: str) -> None:
    """The 64 MiB of registers at BAR 0 are not the window to the memory."""
    rows = ["0xb0000000 0xb3ffffff 0x40200", row] + ["0x0 0x0 0x0"] * 4
    gpu = changed_file(tmp_path, GPU, "resource", lambda _: "\n".join(rows).encode())

    assert (gpu.bar1, gpu.bar1_max) == (known(0), known(256 << 30))


def test_the_largest_size_is_that_of_the_window_asked_for() -> None:
    """Two BARs: 0 up to 64 MiB, 1 up to 256 TiB, which takes a bit of the control register."""
    space = bytearray(4096)
    struct.pack_into("<IIIII", space, 0x100, 0x10015, 1 << 10, 0 | 2 << 5, 1 << 31, 1 | 1 << 16)

    assert [pciconfig.largest_bar(bytes(space), bar) for bar in range(3)] == [
        64 << 20,
        256 << 40,
        None,
    ]


def test_what_stands_before_the_break_of_a_list_is_known() -> None:
    space = bytearray(4096)
    struct.pack_into("<IHHI", space, 0x100, 0x1000D | 0x200 << 20, 0x5F, 0x1D, 0)
    space[0x200:0x204] = b"\xff" * 4

    assert pciconfig.hidden(bytes(space), pciconfig.ACS) is None
    assert pciconfig.hidden(bytes(space), pciconfig.RESIZABLE_BAR)


def test_a_revision_of_all_ones_is_a_device_that_is_gone(tmp_path: Path) -> None:
    gpu = changed_file(tmp_path, GPU, "config", lambda space: space[:8] + b"\xff" + space[9:])

    assert gpu.present == known(False)


def test_the_name_of_the_tree_is_no_bridge_and_a_bridge_has_no_window(tmp_path: Path) -> None:
    found = seen(tmp_path / PORT)

    assert found[GPU].above == (PORT,)
    assert found[PORT].bar1.unknown == "it is no GPU"


def test_an_nvswitch_is_seen_and_the_sound_of_a_gpu_is_not(tmp_path: Path) -> None:
    assert changed_file(tmp_path, GPU, "class", lambda _: b"0x068000").kind == "nvswitch"
    with pytest.raises(StopIteration):
        changed_file(tmp_path / "sound", GPU, "class", lambda _: b"0x040300")


def test_a_device_without_a_group_among_others_with_one_is_unknown(tmp_path: Path) -> None:
    root = build(tmp_path / "tree", Tree())
    (root / f"sys/bus/pci/devices/{GPU}/iommu_group").unlink()

    assert "this device is in none" in str(one(root, GPU).iommu_type.unknown)


def test_devices_that_nobody_can_name_are_not_no_gpus(tmp_path: Path) -> None:
    root = build(tmp_path / "tree", Tree(gpus=1))
    (root / f"sys/bus/pci/devices/{gpu_address(0)}/vendor").unlink()

    assert "/vendor: no such file" in str(pcie(root).functions.unknown)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    root = build(tmp_path / "tree", Tree())
    (root / f"sys/bus/pci/devices/{GPU}/config").unlink()

    assert (
        one(root, GPU).acs.unknown
        == f"/sys/bus/pci/devices/{GPU}/config: no such file or directory"
    )


def test_an_empty_tree_is_unknown(tmp_path: Path) -> None:
    found = pcie(tmp_path)

    assert not found.functions.known
    assert not found.iommus.known
    assert not found.aspm.known


def test_translation_that_is_off_has_no_units(tmp_path: Path) -> None:
    root = build(tmp_path / "tree", Tree(iommu=None))

    assert pcie(root).iommus == known(())
    assert pcie(root).aspm == known("default")


def test_this_machine_can_be_looked_at() -> None:
    assert isinstance(pcie().functions.otherwise(()), tuple)


def lspci(root: Path) -> dict[str, str]:
    if shutil.which("lspci") is None:
        pytest.skip("lspci is not installed (pciutils)")
    said = subprocess.run(
        ["lspci", "-A", "linux-sysfs", "-O", f"sysfs.path={root}/sys/bus/pci", "-D", "-vvv"],
        text=True,
        capture_output=True,
        check=True,
        timeout=60,
    )
    return {block.split()[0]: block for block in said.stdout.strip().split("\n\n")}


@pytest.mark.parametrize("switches", [False, True])
def test_lspci_reads_the_same_from_the_same_bytes(tmp_path: Path, switches: bool) -> None:
    tree = Tree(
        switches=switches,
        acs_of={PORT: 0x1D},
        gen_of={GPU: 1},
        width_of={GPU: 8},
        iommu_of={GPU: "DMA"},
    )
    root = build(tmp_path / "tree", tree)
    blocks = lspci(root)

    for function in pcie(root).functions.get():
        said = blocks[function.bdf]
        controls = re.findall(r"ACSCtl:\t(.*)", said)
        bits = (
            tuple(word.rstrip("+") for word in controls[0].split() if word.endswith("+"))
            if controls
            else None
        )
        link = f"Speed {function.speed.get():g}GT/s", f"Width x{function.width.get()}"
        assert function.acs == known(bits)
        assert all(part in re.findall(r"LnkSta:.*", said)[0] for part in link)
        assert f"Speed {function.speed_max.get():g}GT/s, Width x{function.width_max.get()}," in said
        assert f"NUMA node: {function.numa.get()}" in said
        assert f"IOMMU group: {function.iommu_group.get()}" in said
        assert f"Kernel driver in use: {function.driver.get()}" in said
        if function.kind != "gpu":
            assert function.kind.split()[-1] in said.lower()
            continue
        assert re.findall(r"Region 1: .*\[size=(\d+)G\]", said) == [str(function.bar1.get() >> 30)]
        assert re.findall(r"BAR 1: .* (\d+)GB", said) == [str(function.bar1_max.get() >> 30)]


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.binary(max_size=400) | st.binary(min_size=4096, max_size=4096))
def test_any_bytes_are_decoded(space: bytes) -> None:
    pciconfig.port(space)
    pciconfig.acs(space)
    pciconfig.gone(space)
    pciconfig.hidden(space, pciconfig.ACS)
    for bar in range(6):
        pciconfig.largest_bar(space, bar)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.integers(0, 4095), st.integers(0, 255)), max_size=30))
def test_any_damage_to_real_bytes_is_decoded(damage: list[tuple[int, int]]) -> None:
    space = bytearray(configuration(Tree(), GPU, 0x10DE, 0x2BB5, GPU_CLASS))
    for place, value in damage:
        space[place] = value

    assert pciconfig.acs(bytes(space)) is None or isinstance(pciconfig.acs(bytes(space)), tuple)
    pciconfig.largest_bar(bytes(space), 1)
