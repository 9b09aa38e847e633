"""Which image of an engine's release runs under a driver."""

from __future__ import annotations

import pytest

from launcher.engines.engine import NAMES, dialect
from launcher.formats.container import engine_of, release_of
from launcher.knowledge import images

RELEASES = [(name, release) for name in NAMES for release in dialect(name).options.releases]


def test_every_row_is_good_and_none_is_looked_at_before_it_begins() -> None:
    assert not images.table().complaints
    for row in images.table().rows:
        assert row.engine in NAMES
        assert row.has(row.since)
        assert row.has(row.checked)
        assert "latest" not in row.image


@pytest.mark.parametrize(("engine", "release"), RELEASES)
def test_an_image_names_its_engine_and_release(engine: str, release: str) -> None:
    known = images.cudas(engine, release)

    assert known or (engine, release) == ("sglang", "0.5.8")
    for cuda in known:
        image = images.image(engine, release, cuda) or ""
        assert (engine_of(image), release_of(image)) == (engine, release)


@pytest.mark.parametrize(
    ("engine", "release", "cuda", "tag"),
    [
        ("sglang", "0.5.23", 13, "v0.5.23"),
        ("sglang", "0.5.23", 12, None),
        ("sglang", "0.5.20", 12, None),
        ("sglang", "0.5.19", 13, "v0.5.19-cu130"),
        ("sglang", "0.5.19", 12, "v0.5.19-cu129"),
        ("sglang", "0.5.15.post1", 13, "v0.5.15.post1-cu130"),
        ("sglang", "0.5.23+cu130", 13, "v0.5.23"),
        ("sglang", "0.5.8", 13, None),
        ("sglang", "", 13, None),
        ("vllm", "0.33.0", 13, "v0.33.0"),
        ("vllm", "0.33.0", 12, "v0.33.0-cu129"),
        ("vllm", "0.19.1", 13, "v0.19.1-cu130"),
        ("vllm", "0.19.1", 12, "v0.19.1"),
        ("vllm", "0.16.0", 13, None),
        ("other", "0.5.23", 13, None),
    ],
)
def test_a_release_has_the_images_that_were_seen(
    engine: str, release: str, cuda: int, tag: str | None
) -> None:
    image = images.image(engine, release, cuda)

    assert (image and image.rpartition(":")[2]) == tag


@pytest.mark.parametrize(
    ("driver", "cuda"),
    [("580.95.05", 13), ("580", 13), ("610.43.02", 13), ("579.9", 12), ("570.86", 12), ("565.57.01", None)],
)  # fmt: skip
def test_a_driver_decides(driver: str, cuda: int | None) -> None:
    assert images.of_driver(driver) == cuda
