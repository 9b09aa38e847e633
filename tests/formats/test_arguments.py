"""Options of a server that stand in a variable, and what is said of them."""

from __future__ import annotations

import pytest

from launcher.formats.reading import MOST, read

OPTIONS = "--model-path zai-org/GLM-5-FP8 --tp-size 8"


@pytest.mark.parametrize(
    "text",
    [
        f'SGLANG_ARGS="{OPTIONS}"\n',
        f"SGLANG_ARGS={OPTIONS}\n",
        f"# an env file\nPORT=8000\nexport SGLANG_ARGS='{OPTIONS}'\n",
        f"environment:\n  - SGLANG_ARGS={OPTIONS}\n",
        f'environment:\n  SGLANG_ARGS: "{OPTIONS}"\n',
        f"ENV SGLANG_ARGS={OPTIONS}\n",
    ],
)
def test_options_in_a_variable_are_a_launch_where_there_is_no_other(text: str) -> None:
    [found] = read(text).launches

    assert found.words == tuple(OPTIONS.split())
    assert found.name in ("SGLANG_ARGS", "")  # "": by the form of the file
    assert text.splitlines()[found.line - 1].count("SGLANG_ARGS")


def test_beside_a_launch_it_is_said_that_nobody_here_reads_them() -> None:
    text = (
        "services:\n  s:\n    image: vllm/vllm-openai:v0.33.0\n    environment:\n"
        "      VLLM_ARGS: '--tensor-parallel-size 8'\n    command: --model x/y --port 8000\n"
    )
    made = read(text)

    assert [one for one in made.unread if "VLLM_ARGS (line 5) holds options" in one]
    assert [one.words[1] for one in made.launches] == ["x/y"]


@pytest.mark.parametrize(
    "text",
    [
        'EXTRA_ARGS="--tensor-parallel-size 8"\nvllm serve x/y $EXTRA_ARGS\n',
        'EXTRA_ARGS="--tensor-parallel-size 8"\nvllm serve x/y "${EXTRA_ARGS}"\n',
        'extraArgs: "--tensor-parallel-size 8"\ncommand: ["vllm", "serve", "{{ .Values.extraArgs }}"]\n',
        'NVCC_FLAGS="--use_fast_math -O3"\nvllm serve x/y\n',
        'CURL_OPTS="--fail --silent"\nvllm serve x/y\n',
        "services:\n  s:\n    image: vllm/vllm-openai:v0.33.0\n    command: --model x/y --port 8000\n",
    ],
)
def test_nothing_is_said_of_a_variable_that_is_used_or_is_another_programs(text: str) -> None:
    assert not [one for one in read(text).unread if "holds options" in one]


def test_a_command_beyond_what_is_read_is_none_and_never_half_of_one() -> None:
    long = "vllm serve x/y --hf-overrides '" + '{"a":' * 20000 + "1" + "}" * 20000 + "'\n"
    first = "vllm serve a/b --port 8000\n"
    split = "vllm serve c/d " + "\\\n  --port 8001 " * 8000 + "\n"

    assert len(long) > MOST
    assert not read(long).launches
    for text in (first + long, first + split):
        made = read(text)
        assert [one.words[0] for one in made.launches] == ["a/b"]
        assert [one for one in made.unread if "were read: 1 line" in one]
