"""Options without a program before them: whether they are an engine's, or anybody's."""

from __future__ import annotations

import pytest

from launcher.engines.target import Target
from launcher.errors import Exit, UserError
from launcher.formats.reading import read
from launcher.lint.run import judge

SERVICES = (
    "services:\n  e:\n    image: vllm/vllm-openai:v0.26.0\n    command: --model m --port 8000\n"
)
WATCH = "  w:\n    image: {}\n    command:\n    - {}\n    - {}\n"
PROMETHEUS = WATCH.format("prom/prometheus", "--config.file=/p.yml", "--storage.tsdb.path=/d")
CACHE = WATCH.format("redis:8", "--port=6379", "--host=0.0.0.0")
UNIT = "[Service]\nExecStart={}\nExecStartPost=/opt/wait-ready.py --model m --tp 8 --timeout 9\n"


@pytest.mark.parametrize(
    "text",
    [
        f"services:\n{PROMETHEUS}",
        f"services:\n{CACHE}",
        "FROM vllm/vllm-openai:v0.26.0\nRUN pip install --no-cache-dir x\n",
        "FROM lmsysorg/sglang:v0.5.16\nRUN cd /x \\\n && git apply --verbose a.diff\n",
        "FROM x\nRUN prepare --model-path m --tp-size 8\n",
        "```bash\ndocker compose up -d --build\n```\n",
        "```\n+--------------+\n| --> and here |\n+--------------+\n```\n",
        "hf download a/b --local-dir /m\n",
        "hf download a/b --revision main\n",
        "kubectl create secret generic s --from-literal=A=b\n",
        "uv pip install --upgrade sglang\n",
        "sudo helm install x --version 1 --set a=b\n",
        "git clone --depth 1 https://x.test/y\n",
        "uvicorn app:app --host 0.0.0.0 --port 80\n",
        'import sys\nif "--api-key" in sys.argv or any(a == "--tp" for a in sys.argv):\n    go()\n',
        UNIT.format("/opt/serve.sh"),
        "--build\n",
        "just deploy --build --watch\n",
        "anything-new fetch a/b --revision main --api-key x\n",
        "zellij --layout x --session y\n",
        "--storage.tsdb.path /d --config.file /p.yml\n",
    ],
)
def test_options_of_another_program_are_no_launch(text: str) -> None:
    with pytest.raises(UserError, match="no launch of SGLang or vLLM") as raised:
        judge(text, Target("0.5.20", "sm100"))

    assert raised.value.status == Exit.CONFIG


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (SERVICES + PROMETHEUS, "--model m --port 8000"),
        (SERVICES + CACHE, "--model m --port 8000"),
        (UNIT.format("/usr/bin/sglang serve --model-path m"), "--model-path m"),
        ("git clone --depth 1 x\n--model-path m --tp 8\n", "--model-path m --tp 8"),
    ],
)
def test_another_program_beside_a_launch_is_no_launch(text: str, words: str) -> None:
    assert [" ".join(one.words) for one in read(text).launches] == [words]


@pytest.mark.parametrize(
    "text",
    [
        "--tp 8 --kv-cache-dtype fp8_e4m3",
        "--tensor-paralel-size 8",
        "--tp 8 --nobody-has-it",
        "--host 0.0.0.0 --port 80",
    ],
)
def test_options_of_an_engine_are_a_launch_slips_and_all(text: str) -> None:
    [launch] = read(text).launches

    assert " ".join(launch.words) == text


SENTENCES = [
    "--moe-backend is the actual engine control. Primary mitigation: it fails at once.",
    "- use --tensor-parallel-size where the model does not fit one card, and --max-num-seqs to hold it down (the default is large).",
    "Set --kv-cache-dtype to what the kernels of this card take, or leave the choice to the engine.",
]


@pytest.mark.parametrize("sentence", SENTENCES)
def test_options_within_a_sentence_are_no_command(sentence: str) -> None:
    assert not [one for one in read(f"{sentence}\n").launches if "the" in one.words]


@pytest.mark.parametrize(
    "words",
    [
        "--model m --dtype auto --tool-call-parser hermes --load-format safetensors",
        "--tp-size 8 --cuda-graph-bs-decode 1 2 4 8 16 32 --model-path a/b",
        "--tensor-parallel-size 8 --served-model-name glm large default --max-num-seqs 8",
    ],
)
def test_options_with_words_for_values_are_a_command(words: str) -> None:
    [launch] = read(f"{words}\n").launches

    assert launch.words == tuple(words.split())


@pytest.mark.parametrize(
    "said", ["sglang serve --model-path", "vllm serve --port 1 --max-num-seqs"]
)
def test_a_sentence_that_names_an_option_starts_no_server(said: str) -> None:
    text = f"The variable is passed\nto `{said}`. Where it is not set, nothing is started.\n"

    assert read(text).launches == ()
    assert read(text.replace("`.", " 8`.")).launches


def told(text: str) -> list[tuple[str, tuple[str, ...]]]:
    return [(one.engine, one.words) for one in read(text).launches]


SGLANG, VLLM = "--disable-radix-cache", "--enforce-eager"


@pytest.mark.parametrize(("one", "other"), [(SGLANG, VLLM), (VLLM, SGLANG)])
def test_options_that_sentences_tell_of_are_each_of_their_own_engine(one: str, other: str) -> None:
    line = "- **A tip** of somebody: add `{}` here, since it helps at near-zero cost [(jump)](u)\n"

    found = told(line.format(one) + line.format(other))

    assert found == [("sglang" if said == SGLANG else "vllm", (said,)) for said in (one, other)]


def test_options_a_line_each_are_of_one_launch_whosever_they_are() -> None:
    words = ("--tp-size", "8", SGLANG, VLLM)
    lines = f"--tp-size 8\n{SGLANG}\n{VLLM}\n"

    assert told(lines) == [("sglang", words)]


def test_what_is_said_of_options_is_none_of_them() -> None:
    text = "vllm_args:\n  max-num-seqs: 8\n  {}: {}\n"
    sentence = "so many were tried, and none of them was served well"

    assert told(text.format("reason", sentence)) == [("vllm", ("--max-num-seqs", "8"))]
    assert told(text.format("reason", "short"))[0][1][2:] == ("--reason", "short")
    named = told(text.format("served-model-name", sentence))[0][1]
    assert named[2:] == ("--served-model-name", sentence)


@pytest.mark.parametrize(
    "option",
    ["--eval-mode --eval-profile x", "--jinja", "--speculative-num-steps", "--hf-revision a"],
)
def test_options_of_nobody_that_a_sentence_tells_of_are_no_launch(option: str) -> None:
    sentence = f"- It all goes through **that one** (`{option}`) on its own port, as said above.\n"

    assert told(sentence) == []
    assert told(f"{sentence}- Then add `{SGLANG}` here, it helps at near-zero cost.\n") == [
        ("sglang", (SGLANG,))
    ]
