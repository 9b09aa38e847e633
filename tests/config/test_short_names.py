"""A short option of the engine in a profile is told with the long one to write."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import World


@pytest.mark.parametrize(
    ("extends", "name", "told"),
    [
        ("8xpro6000-vllm", "O", "flags.O: the short -O, write flags.optimization-level"),
        ("8xpro6000-vllm", "Oo", "flags.Oo: not an option name, did you mean oo?"),
        ("8xpro6000", "O", "flags.O: not an option name, did you mean o?"),
    ],
)
def test_the_long_name_is_told(
    world: World, tmp_path: Path, extends: str, name: str, told: str
) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(f'extends = "{extends}"\n[flags]\n{name} = 3\n')
    said = world.run("profiles", "validate", str(file), COLUMNS="200")

    assert said.returncode == 78
    assert told in said.stderr
    file.write_text(f'extends = "{extends}"\n')
    assert "short" not in world.run("profiles", "validate", str(file)).stderr
