"""The laws of every screen: no line is longer than the terminal, no word is lost on a narrow one,
and into a pipe nothing is folded and nothing coloured.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from itertools import cycle

import pytest
from conftest import ROOT, World
from rig.terminal import ENDLESS, WIDTHS, faults, screen, told

from launcher.doctor.checks import every_check
from launcher.host import observe
from launcher.host.collectors import release
from launcher.host.collectors.nvml import driver
from launcher.host.facts import Driver

HOSTS = ROOT / "tests/hosts"
LAUNCH = """CUDA_VISIBLE_DEVICES=0,1,2,3,4,5,6,7 python3 -m sglang.launch_server --tp-size 8 \\
  --model-path nvidia/GLM-5-NVFP4 --attention-backend fa3 --kv-cache-dtype fp8_e4m3 \\
  --speculative-algorithm EAGLE --enable-flashinfer-allreduce-fusion --mem-fraction-static 0.95
"""
# Not what is to be pasted or kept: `render`, `lint --to` and `--fix`, `facts`, `systemd print`.
COMMANDS = [
    "--help",
    "up --help",
    "bench --help",
    "systemd install --help",
    "up nope",
    "stat",
    "profiles",
    "profiles --all",
    "profiles show 8xpro6000-glm52",
    "profiles validate card",
    "checks",
    "diff card 8xpro6000",
    "diff 8xb200 --release 0.5.17 --to-release 0.5.23",
    "fit 8xpro6000",
    "fit 8xb300-glm52-vllm",
    "render 8xpro6000 --explain",
    "render 8xb300-glm52-vllm --explain",
    "model model",
    "model nobody/has-this-one",
    "lint launch.sh",
    "lint launch.sh --all-releases",
    f"diagnose {ROOT}/tests/diagnose/cases/97-negative-kv-tokens.log",
    f"diagnose {HOSTS}/asus8x/dmesg.txt",
    "gateway status nope",
    "down",
    "events",
    "bench",
    "doctor --hosts 127.0.0.1:1 --deadline 5",
    "demo --help",
]
JUDGED = [
    *(f"--facts {HOSTS}/asus8x.json -p {name}" for name in ("8xpro6000", "8xb200", "card")),
    f"--facts {HOSTS}/asus8x.json -p 8xpro6000 --all",
    *(
        f"--from {path}{named}"  # without a profile all are tried, and the one that fits is told
        for path, named in zip(
            sorted(HOSTS.glob("cases/*")), cycle(("", " -p 8xpro6000", " -p 8xb200")), strict=False
        )
    ),
    f"--from {HOSTS}/intel2_hangs",
    f"--from {HOSTS}/rtxpro6000_collect_env",
]


def require_laws(world: World, *words: str, widths: Iterable[int] = WIDTHS) -> None:
    environ = world.environ
    wide = screen(words, ENDLESS, environ, world.folder)
    for columns in widths:
        narrow = screen(words, columns, environ, world.folder)
        assert not faults(wide, narrow, columns), (words, columns, narrow)
    piped = screen(words, None, environ, world.folder)
    assert "\x1b" not in piped
    assert told(piped) == told(wide), words
    if "--help" not in words:  # click folds it anywhere
        assert len(piped.splitlines()) <= len(wide.splitlines()), words


@functools.cache
def no_gpus() -> Driver:
    return driver()


@pytest.fixture
def asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """This host has neither an engine nor a driver to ask (conftest.py): no screen asks again."""
    monkeypatch.setattr(release, "release", lambda *_: None)
    monkeypatch.setattr(observe, "driver", lambda _: no_gpus())


@pytest.mark.usefixtures("asked_once")
@pytest.mark.parametrize(("words", "wide"), [*zip(COMMANDS, cycle(WIDTHS[1:]), strict=False)])
def test_a_screen_keeps_to_its_columns_and_loses_no_word(
    world: World, words: str, wide: int
) -> None:
    """Each in the narrowest of the widths, where most is folded, and in one of the others."""
    (world.folder / "launch.sh").write_text(LAUNCH)

    require_laws(world, *words.split(), widths=[WIDTHS[0], wide])


@pytest.mark.usefixtures("asked_once")
@pytest.mark.parametrize(("words", "columns"), [*zip(JUDGED, cycle(WIDTHS), strict=False)])
def test_a_judgement_keeps_to_its_columns_and_loses_no_word(
    world: World, words: str, columns: int
) -> None:
    """Each host in one of the widths, by turns: all are drawn by the same few lines."""
    require_laws(world, "doctor", *words.split(), widths=[columns])


def test_each_check_is_explained_in_so_many_columns(world: World) -> None:
    """Each in one of the widths, by turns."""
    for check, columns in zip(every_check(), cycle(WIDTHS), strict=False):
        require_laws(world, "checks", check.id, widths=[columns])


def test_what_is_said_of_a_server_keeps_to_its_columns(world: World) -> None:
    world.run("up", "stub", "--detach")
    for words in ("status", "smoke", "top --once", "events", "up stub", "doctor stub --serving"):
        require_laws(world, *words.split())
    world.run("down")
    refused = "up stub --set flags.model-path=/no/model --set flags.port=9"
    for words in ("status", "events", "events --starts", "top --once", "bench", "down", refused):
        require_laws(world, *words.split())


def test_the_law_finds_what_it_is_for() -> None:
    wide = "one word more\nnext   glm5-serve up\n"

    assert faults(wide, "one\nword more\nnext   glm5-serve up --a-long-one\n", 12) == []
    assert faults(wide, "one word m\n", 12) == ["lost: more"]
    assert faults(wide, "one word more\n", 12) == ["too long: one word more"]
