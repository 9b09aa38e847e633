"""Options of `docker run` that come from outside stand before an image, and are none."""

from __future__ import annotations

import pytest

from launcher.engines.engine import NAMES, dialect
from launcher.engines.target import Target
from launcher.formats.container import OWN
from launcher.formats.launches import Launch
from launcher.formats.reading import read
from launcher.lint.run import judge

ENGINE = "--model /model --tensor-parallel-size 8"
OWN_OPTIONS = (
    "-v /m:/model",
    "-v/m:/model",
    '-v "$M":/model',
    "--volume=/m:/model",
    "-e A=1 --rm",
    "-eA=1",
    "-p8000:8000",
    "-it",
    "--gpus all",
    "--shm-size=32g --network host",
    "--name x",
)


def told(text: str) -> Launch:
    """The one launch of a command."""
    [launch] = read(f"{text}\n").launches
    return launch


@pytest.mark.parametrize("outside", ["$OPTS", '"${ARGS[@]}"', "${ARGS[*]}", "$A $B"])
@pytest.mark.parametrize("options", OWN_OPTIONS)
@pytest.mark.parametrize("image", ["my/vllm:1", "$IMAGE", "own-build"])
def test_what_stands_behind_options_from_outside_is_dockers(
    outside: str, options: str, image: str
) -> None:
    launch = told(f"docker run {outside} {options} {image} {ENGINE}")

    assert launch.image == image
    assert launch.words == tuple(ENGINE.split())


@pytest.mark.parametrize("image", ["my/vllm:1", "$IMAGE"])
def test_a_list_is_no_image(image: str) -> None:
    launch = told(f'docker run "${{ARGS[@]}}" {image} {ENGINE}')

    assert launch.image == image


@pytest.mark.parametrize(
    "rest", [ENGINE, "-tp 8 --model /model --max-model-len 4096", f"vllm serve {ENGINE}"]
)
def test_an_image_from_outside_is_one(rest: str) -> None:
    assert told(f"docker run --rm $IMAGE {rest}").image == "$IMAGE"


def test_no_engine_has_an_option_of_dockers() -> None:
    both = {
        name
        for name in OWN
        if len(name) > 1 and any(dialect(one).options.accepted_by(f"--{name}") for one in NAMES)
    }

    assert not both


def test_variables_of_glued_options_reach_the_server() -> None:
    launch = told(f"docker run -eA=1 -e=B=2 -e C=3 --env=D=4 my/vllm:1 {ENGINE}")

    assert launch.env == {"A": "1", "B": "2", "C": "3", "D": "4"}


def test_nothing_of_dockers_is_refused_as_the_engines() -> None:
    text = f"docker run $OPTS -e NCCL_P2P_LEVEL=SYS -v /m:/model my/vllm:1 {ENGINE}\n"

    [judged] = judge(text, Target("0.33.0", "sm120")).launches

    [entries] = judged.releases.values()
    assert not [entry for entry in entries if entry.verdict.is_refused]
