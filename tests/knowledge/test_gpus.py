"""GPUs by product: each is found by what a driver, a bus or a table shows of it, and no other."""

from __future__ import annotations

import datetime
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rig import healthy

from launcher.engines.target import ARCHS, of, of_parts
from launcher.host.facts import Driver, Gpu, Model, System, known
from launcher.host.parsers.smitable import table as smi_table
from launcher.knowledge import gpus, rows
from launcher.knowledge.gpus import Edition, Product
from launcher.plan.evidence import Known

PRODUCTS = gpus.table().rows
EDITIONS = [(product, edition) for product in PRODUCTS for edition in product.editions]
# As nvidia-smi's table prints them, in a column of so many letters.
COLUMN = 23


def test_every_row_is_sound() -> None:
    assert gpus.table().complaints == ()
    assert len(PRODUCTS) >= 10


@pytest.mark.parametrize("product", PRODUCTS, ids=lambda one: one.id)
def test_a_row_says_how_it_is_known_and_when_somebody_looked(product: Product) -> None:
    assert product.evidence in {one.value for one in Known}
    assert product.source
    assert isinstance(product.checked, datetime.date)
    assert 0 < product.free < product.memory
    assert all(edition.power_w > 0 for edition in product.editions)
    assert not any(edition.pci for edition in product.editions) or "pci.ids" in product.source


@pytest.mark.parametrize(("product", "edition"), EDITIONS, ids=lambda one: getattr(one, "seen", ""))
def test_an_edition_is_found_by_its_name_and_its_pci_ids(
    product: Product, edition: Edition
) -> None:
    assert gpus.which(None, edition.seen) is product
    assert gpus.capability(edition.seen) == product.capability
    for id in edition.pci:
        assert re.fullmatch("10de:[0-9a-f]{4}", id)
        assert gpus.which(id) is product
        assert gpus.which(id, "a name that nobody knows", 1, "1.0") is product


@pytest.mark.parametrize(("product", "edition"), EDITIONS, ids=lambda one: getattr(one, "seen", ""))
def test_a_name_that_the_table_cut_is_found_with_its_memory(
    product: Product, edition: Edition
) -> None:
    if len(edition.seen) <= COLUMN:
        return
    cut = edition.seen[: COLUMN + 1] + "..."

    assert gpus.which(None, cut, product.memory) is product
    assert gpus.which(None, cut, product.memory + (1 << 30)) is None


@pytest.mark.parametrize("product", PRODUCTS, ids=lambda one: one.id)
def test_memory_and_capability_tell_where_nothing_else_does(product: Product) -> None:
    assert gpus.which(None, None, product.memory, product.capability) is product
    assert gpus.which(None, None, product.memory, "1.0") is None


@pytest.mark.parametrize(
    "name",
    [
        "NVIDIA RTX PRO 4500 Blackwell",
        "NVIDIA GeForce RTX 5080",
        "NVIDIA RTX PRO 6000D Blackwell Workstation Edition",
        "NVIDIA GB300-WS",
        "NVIDIA A100-SXM4-80GB",
        "Blackwell",
        "...",
        "",
    ],
)
def test_a_card_in_no_row_stays_unknown(name: str) -> None:
    assert gpus.which(None, name, 97887 << 20, "12.0") is None
    assert gpus.which("10de:ffff", name) is None


@given(st.text(max_size=40), st.integers(0, 1 << 40) | st.none())
def test_no_text_is_a_card_but_those_that_are(name: str, memory: int | None) -> None:
    found = gpus.which(None, name, memory)

    assert found is None or any(name in (edition.seen,) for edition in found.editions)


SMI = """\
| NVIDIA-SMI 595.58.03              Driver Version: 595.58.03      CUDA Version: 13.2     |
|   0  NVIDIA RTX PRO 6000 Blac...    On  |   00000000:01:00.0 Off |                  Off |
| 30%   32C    P8             16W /  300W |      15MiB /  97887MiB |      0%      Default |
"""


def test_a_pasted_table_tells_the_product() -> None:
    [told] = smi_table(SMI)["driver"]["gpus"]

    assert (told["capability"], told["memory_total"]) == ("12.0", 97887 << 20)
    gpu = Gpu(0, capability=known("12.0"), memory_total=known(97887 << 20))
    seen = of_parts(Driver(gpus=known((gpu,))), System(), Model())
    assert (seen.arch, seen.gpu) == ("sm120", "rtx-pro-6000")


def test_a_host_has_a_product_where_all_its_gpus_are_of_it() -> None:
    host = healthy.host()
    assert of(host).gpu == "rtx-pro-6000"
    others = (*host.driver.gpus.get()[:7], Gpu(7, name=known("NVIDIA GeForce RTX 5080")))
    assert of_parts(Driver(gpus=known(others)), System(), Model()).gpu is None


def test_an_architecture_is_taken_for_its_first_product_that_is_large_enough() -> None:
    taken = {arch: gpus.least(arch) for arch in ARCHS}

    assert {arch: one and one.id for arch, one in taken.items()} == {
        "sm100": "b200",
        "sm103": "b300",
        "sm120": "rtx-pro-6000",
    }
    larger = gpus.least("sm103", 270 << 30)
    assert larger is not None
    assert larger.id == "gb300"
    assert gpus.least("sm120", 1 << 40) is None
    assert gpus.least("sm90") is gpus.products()["h100"]
    assert gpus.least(None) is None


GOOD: dict[str, Any] = {
    "name": "X",
    "capability": "12.0",
    "memory_mib": 1024 * 64,
    "link": "pcie5",
    "editions": [{"seen": "NVIDIA X", "power_w": 1}],
    "evidence": "source",
    "source": "s",
    "checked": datetime.date(2026, 1, 1),
}


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"memory_mib": None}, "memory_mib"),
        ({"memory": 1}, "memory: no such key"),
        ({"capability": "sm120"}, "capability: 'sm120' is none of CUDA's, such as 12.0"),
        ({"link": "pcie"}, "link: 'pcie' is not one of pcie5, nvlink"),
        ({"editions": [{"seen": "NVIDIA X", "watts": 1}]}, "watts"),
        ({"healthy": {"copy": 1.0}}, "busbw"),
    ],
)
def test_a_row_that_is_none_is_refused(row: dict[str, Any], says: str) -> None:
    bad = {key: value for key, value in (GOOD | row).items() if value is not None}
    with pytest.raises((KeyError, ValueError, TypeError), match=re.escape(says)):
        gpus.product("x", bad)


def test_no_two_rows_have_one_name_or_pci_id(tmp_path: Any) -> None:
    text = gpus.FILE.read_text()
    file = tmp_path / "gpus.toml"
    file.write_text(
        text + text[text.index("[b200]") :].replace("[b200]", "[b201]", 1).split("\n\n")[0]
    )
    told = rows.read(file, None, gpus.product, gpus.claims)

    assert told.complaints == ("gpus.toml, b201: NVIDIA B200 is in b200, too",)
    assert len(told.rows) == len(PRODUCTS)


@pytest.mark.parametrize(
    ("text", "id"),
    [
        ("RTX PRO 6000", "rtx-pro-6000"),
        ("NVIDIA RTX PRO 6000 Blackwell", "rtx-pro-6000"),
        ("pro6000", "rtx-pro-6000"),
        ("rtx5090", "rtx-5090"),
        ("NVIDIA B200", "b200"),
        ("6000", None),
        ("", None),
    ],
)
def test_a_product_is_called_as_screens_print_it(text: str, id: str | None) -> None:
    found = gpus.called(text)

    assert (found.id if found else None) == id
