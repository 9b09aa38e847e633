"""A launch that comes to another server than the engine's is named, and not judged as one of it."""

from __future__ import annotations

import pytest

from launcher.engines.engine import NAMES, dialect
from launcher.engines.target import Target
from launcher.errors import UserError
from launcher.formats.reading import read
from launcher.lint.concerns import Verdict
from launcher.lint.run import judge

DIFFUSION = (
    "--num-gpus 2",
    "--ulysses-degree=2",
    "--vae-use-tiling",
    "--model-type diffusion",
    "--model-type=diffusion",
    "--text-encoder-cpu-offload",
    "--port 3 --ring-degree 1 --tp-size 2",
)


@pytest.mark.parametrize("words", DIFFUSION)
def test_what_the_diffusion_server_alone_has_tells_it(words: str) -> None:
    found = read(f"sglang serve --model-path Qwen/Qwen-Image {words}\n")

    assert found.launches == ()
    [note] = found.unread
    assert note.startswith("line 1 starts SGLang's diffusion server (--")
    assert note.endswith("): not judged")


@pytest.mark.parametrize(
    "text",
    [
        "vllm serve Qwen/Qwen3-Omni --omni --port 8091",
        "python3 -m vllm.entrypoints.cli.main serve m --omni",
        "docker run --gpus all vllm/vllm-omni:v0.18.0 --model m --omni --port 1",
    ],
)
def test_vllm_omni_is_another_server(text: str) -> None:
    with pytest.raises(UserError, match=r"line 1 starts vLLM-Omni \(--omni\): not judged"):
        judge(f"{text}\n", Target())


def test_it_takes_no_other_launch_along() -> None:
    found = read("vllm serve a --omni\nvllm serve b --port 1\n")

    assert [one.words for one in found.launches] == [("b", "--port", "1")]
    assert found.unread == ("line 1 starts vLLM-Omni (--omni): not judged",)


@pytest.mark.parametrize(
    "text",
    [
        "python3 -m sglang.launch_server --model-path m --num-gpus 2",  # it starts no other
        "sglang serve --model-path zai-org/GLM-5 --num-gpus 2",  # no model of that server's
        "python3 -m vllm.entrypoints.openai.api_server --model m --omni",
    ],
)
def test_what_starts_the_engine_all_the_same_is_refused(text: str) -> None:
    [judged] = judge(f"{text}\n", Target()).launches
    [entries] = judged.releases.values()

    assert Verdict.UNKNOWN in {one.verdict for one in entries}


@pytest.mark.parametrize("engine", NAMES)
def test_no_option_of_an_engine_tells_another_server(engine: str) -> None:
    spoken = dialect(engine)
    for front in spoken.fronts.values():
        for release in map(spoken.options.release, spoken.options.releases):
            assert not [name for name in release.options if front.started((name,))]
