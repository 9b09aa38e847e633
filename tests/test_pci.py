"""PCIe and IOMMU facts from trees with real configuration space, held against lspci on the same tree."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rig.pcitree import Tree, build, gpu_address, port_address

from launcher.facts import Function, known
from launcher.probes import pciconfig
from launcher.probes.pci import pcie

GPU, PORT = gpu_address(3), port_address(3)


def seen(folder: Path, **changed: Any) -> dict[str, Function]:
    functions = pcie(build(folder / "tree", replace(Tree(), **changed))).functions.get()
    return {function.bdf: function for function in functions}


def test_gpus_and_the_bridges_above_them_are_seen(tmp_path: Path) -> None:
    found = seen(tmp_path)

    assert [function.kind for function in found.values()] == ["root port"] * 8 + ["gpu"] * 8
    assert found[GPU].above == (PORT,)
    assert (found[GPU].id, found[PORT].id) == ("10de:2bb5", "1022:153e")


def test_a_switch_is_seen_part_by_part(tmp_path: Path) -> None:
    found = seen(tmp_path, switches=True)

    assert [found[bdf].kind for bdf in found[GPU].above] == ["root port", "switch upstream", "switch downstream"]
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
        ({"acs_of": {PORT: 0x1D}}, PORT, "acs", ("SrcValid", "ReqRedir", "CmpltRedir", "UpstreamFwd")),
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


@pytest.mark.parametrize("size", [64, 256])
def test_configuration_space_that_is_cut_is_unknown_and_never_off(tmp_path: Path, size: int) -> None:
    """Without root the kernel gives 64 bytes: a bridge whose ACS nobody sees may redirect."""
    port = seen(tmp_path, space_of={PORT: size})[PORT]

    assert port.acs.unknown == f"only {size} bytes of configuration space are readable: run as root"
    assert port.kind == "root port"


@pytest.mark.parametrize(
    ("file", "text", "fact"),
    [
        ("current_link_speed", "Unknown", "speed"),
        ("current_link_width", "", "width"),
        ("resource", "what", "bar1"),
        ("aer_dev_fatal", "\0", "aer_fatal"),
        ("numa_node", "one", "numa"),
    ],
)
def test_a_file_that_makes_no_sense_costs_its_fact_alone(tmp_path: Path, file: str, text: str, fact: str) -> None:
    root = build(tmp_path / "tree", Tree())
    (root / f"sys/bus/pci/devices/{GPU}/{file}").write_text(text)
    gpu = next(one for one in pcie(root).functions.get() if one.bdf == GPU)

    assert not getattr(gpu, fact).known
    assert gpu.driver.known


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    root = build(tmp_path / "tree", Tree())
    (root / f"sys/bus/pci/devices/{GPU}/config").unlink()
    gpu = next(one for one in pcie(root).functions.get() if one.bdf == GPU)

    assert gpu.acs.unknown == f"/sys/bus/pci/devices/{GPU}/config: no such file or directory"


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
    )
    return {block.split()[0]: block for block in said.stdout.strip().split("\n\n")}


@pytest.mark.parametrize("switches", [False, True])
def test_lspci_reads_the_same_from_the_same_bytes(tmp_path: Path, switches: bool) -> None:
    tree = Tree(switches=switches, acs_of={PORT: 0x1D}, gen_of={GPU: 1}, width_of={GPU: 8}, iommu_of={GPU: "DMA"})
    root = build(tmp_path / "tree", tree)
    blocks = lspci(root)

    for function in pcie(root).functions.get():
        said = blocks[function.bdf]
        controls = re.findall(r"ACSCtl:\t(.*)", said)
        bits = tuple(word.rstrip("+") for word in controls[0].split() if word.endswith("+")) if controls else None
        assert function.acs == known(bits)
        assert f"Speed {function.speed.get():g}GT/s" in re.findall(r"LnkSta:.*", said)[0]
        assert f"Width x{function.width.get()}" in re.findall(r"LnkSta:.*", said)[0]
        assert f"NUMA node: {function.numa.get()}" in said
        assert f"IOMMU group: {function.iommu_group.get()}" in said
        assert ("[size=128G]" in said) == (function.bar1.get() == 128 << 30)
        assert function.kind.split()[-1] in said.lower() or function.kind == "gpu"


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.binary(max_size=400) | st.binary(min_size=4096, max_size=4096))
def test_any_bytes_are_decoded(space: bytes) -> None:
    pciconfig.port(space)
    pciconfig.acs(space)
    pciconfig.gone(space)
    for bar in range(6):
        pciconfig.largest_bar(space, bar)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.integers(0, 4095), st.integers(0, 255)), max_size=30))
def test_any_damage_to_real_bytes_is_decoded(damage: list[tuple[int, int]]) -> None:
    from rig.pcitree import GPU_CLASS, configuration

    space = bytearray(configuration(Tree(), GPU, 0x10DE, 0x2BB5, GPU_CLASS))
    for place, value in damage:
        space[place] = value

    assert pciconfig.acs(bytes(space)) is None or isinstance(pciconfig.acs(bytes(space)), tuple)
    pciconfig.largest_bar(bytes(space), 1)
