"""Anybody's launch command: read in every form, judged for a release, and written as it should be."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from conftest import World
from hypothesis import example, given, settings
from hypothesis import strategies as st

from launcher.engines.engine import dialect
from launcher.engines.issues import Shows
from launcher.engines.target import ARCHS, Target
from launcher.formats.launches import Launch
from launcher.formats.reading import read
from launcher.lint.concerns import Verdict
from launcher.lint.lint import Entry, lint
from launcher.lint.rewrite import rewrite
from launcher.plan.evidence import Known

CATALOGUE = dialect("sglang").options
CARD = r"""#!/bin/bash
export NCCL_IB_DISABLE=1
export NCCL_P2P_LEVEL=PHB
export NCCL_ALLOC_P2P_NET_LL_BUFFERS=1 NCCL_MIN_NCHANNELS=8   # two on a line
export OMP_NUM_THREADS=8
export SAFETENSORS_FAST_GPU=1

python3 -m sglang.launch_server \
  --model lukealonso/GLM-5-NVFP4 \
  --served-model-name glm-5 \
  --reasoning-parser glm45 \
  --tool-call-parser glm47 \
  --trust-remote-code \
  --tp 8 \
  --mem-fraction-static 0.95 \
  --max-running-requests 8 \
  --kv-cache-dtype fp8_e4m3 \
  --quantization modelopt_fp4 \
  --attention-backend flashinfer \
  --moe-runner-backend flashinfer_cutlass \
  --disable-custom-all-reduce \
  --enable-flashinfer-allreduce-fusion \
  --host 0.0.0.0 \
  --port 8000 2>&1 | tee server.log &
"""
MODEL = "--model-path lukealonso/GLM-5-NVFP4 --quantization modelopt_fp4"
FLASH = "--model-path nvidia/GLM-5.3-Flash-NVFP4"
NEWEST = CATALOGUE.newest


def launch(text: str) -> Launch:
    [found] = read(text).launches
    return found


def entries(text: str, sglang: str = NEWEST, arch: str = "sm120") -> dict[str, Entry]:
    return {entry.name: entry for entry in lint(launch(text), Target(sglang, arch))}


def one(words: str, name: str, sglang: str = NEWEST, arch: str = "sm120") -> Entry:
    return entries(f"{MODEL} {words}", sglang, arch)[name]


# --- what the published card does ---


def test_the_published_card_on_0_5_23_and_sm120() -> None:
    seen = entries(CARD)

    fusion = seen["--enable-flashinfer-allreduce-fusion"]
    assert (fusion.verdict, fusion.when) == (Verdict.BREAKS, Shows.AFTER)
    assert "raises ValueError" in fusion.why
    attention = seen["--attention-backend"]
    assert (attention.verdict, attention.when) == (Verdict.BREAKS, Shows.OUTPUT)
    assert "drops the sparse path" in attention.why
    assert "packed fp8 KV cache in another layout" in attention.why
    assert "leaves about 1.5 to 4.7 GiB" in seen["--mem-fraction-static"].why
    assert "cuts peer-to-peer between sockets" in seen["NCCL_P2P_LEVEL"].why
    inert = {name for name, entry in seen.items() if entry.verdict is Verdict.INERT}
    assert inert == {"NCCL_ALLOC_P2P_NET_LL_BUFFERS", "SAFETENSORS_FAST_GPU"}
    assert "open to the network, with SGLang's admin endpoints" in seen["--host"].why
    assert seen["--trust-remote-code"].verdict is Verdict.NEEDLESS
    assert seen["--tp"].instead == "--tp-size"


def test_the_card_is_changed_where_it_breaks_and_nowhere_else() -> None:
    """Advice stays advice: the open host, the full memory and the short NCCL level are his."""
    card = launch(CARD)
    found = rewrite(card, Target(NEWEST, "sm120"))

    gone = {*card.words} - {*found.launch.words}
    assert gone == {"--enable-flashinfer-allreduce-fusion", "--attention-backend", "flashinfer"}
    assert not {*found.launch.words} - {*card.words}
    assert found.launch.env == card.env


@pytest.mark.parametrize("arch", ARCHS)
@pytest.mark.parametrize("release", CATALOGUE.releases[2:])  # those that have the model
def test_what_it_writes_instead_has_nothing_to_say_no_to(release: str, arch: str) -> None:
    found = rewrite(launch(CARD), Target(release, arch))
    assert not found.obstacle

    again = lint(found.launch, Target(release, arch))
    assert not [entry for entry in again if entry.verdict.says_no]
    assert all(edit.why for edit in found.edits)


@pytest.mark.parametrize("release", CATALOGUE.releases[:2])
def test_a_release_that_does_not_load_the_model_is_no_matter_of_its_flags(release: str) -> None:
    found = rewrite(launch(CARD), Target(release, "sm120"))
    assert found.obstacle.startswith("--model lukealonso/GLM-5-NVFP4: ")


# --- verdicts ---


@pytest.mark.parametrize(
    ("words", "name", "sglang", "verdict", "says"),
    [
        ("--mem-fraction-statc 0.9", "--mem-fraction-statc", NEWEST, Verdict.UNKNOWN, "no release"),
        ("--nsa-prefill-backend trtllm", "--nsa-prefill-backend", "0.5.23", Verdict.REMOVED, "removed after 0.5.19"),
        ("--cuda-graph-max-bs 8", "--cuda-graph-max-bs", "0.5.23", Verdict.AMBIGUOUS, "removed after 0.5.19"),
        ("--cuda-graph-max-bs 8", "--cuda-graph-max-bs", "0.5.14", Verdict.DEPRECATED, "a coming release refuses it"),
        ("--attn-dp-size 8", "--attn-dp-size", "0.5.16", Verdict.UNKNOWN, "it comes with 0.5.22"),
        ("--kv-cache-dtype fp8", "--kv-cache-dtype", NEWEST, Verdict.WRONG, "no choice fp8"),
        ("--kv-cache-dtype fp8_e5m2", "--kv-cache-dtype", NEWEST, Verdict.BREAKS, "bfloat16 or fp8_e4m3"),
        ("--port http", "--port", NEWEST, Verdict.WRONG, "whole number"),
        ("--tp-size 6", "--tp-size", NEWEST, Verdict.BREAKS, "do not divide"),
        ("--tp-size 4 --tp 8", "--tp-size", NEWEST, Verdict.CONFLICTS, "given again"),
        ("--api-key sekret", "--api-key", NEWEST, Verdict.RISKY, "`ps`"),
        ("--moe-runner-backend flashinfer_trtllm", "--moe-runner-backend", NEWEST, Verdict.BREAKS, "SM100 only"),
        ("--moe-runner-backend b12x", "--moe-runner-backend", NEWEST, Verdict.WRONG, "no choice b12x"),
        ("--page-size 16", "--page-size", NEWEST, Verdict.INERT, "64 whatever"),
        ("--tool-call-parser glm45", "--tool-call-parser", NEWEST, Verdict.RISKY, "glm47"),
        ("--speculative-algorithm EAGLE", "--speculative-algorithm", NEWEST, Verdict.BREAKS, "no layer 78"),
        ("--enable-dp-attention", "--enable-dp-attention", "0.5.20", Verdict.INERT, "above 1"),
        ("--disable-cuda-graph --cuda-graph-max-bs-decode 8", "--cuda-graph-max-bs-decode", NEWEST, Verdict.INERT, "no graph"),
        ("--speculative-num-steps 4 --speculative-num-draft-tokens 6", "--speculative-num-draft-tokens", NEWEST, Verdict.INERT, "plus one: 5"),
        ("--enable-metrics stray", "stray", NEWEST, Verdict.UNKNOWN, "expected"),
    ],
)  # fmt: skip
def test_a_flag(words: str, name: str, sglang: str, verdict: Verdict, says: str) -> None:
    entry = one(words, name, sglang)

    assert entry.verdict is verdict
    assert says in entry.why


@pytest.mark.parametrize(
    ("variable", "sglang", "verdict", "says"),
    [
        ("NCCL_P2P_LEVEL=FAR", NEWEST, Verdict.INERT, "ignores 'FAR'"),
        ("NCCL_P2P_DISABLE=1", NEWEST, Verdict.RISKY, "deadlock"),
        ("NCCL_DISABLE_P2P=1", NEWEST, Verdict.INERT, "NCCL_P2P_DISABLE=1"),
        ("NCCL_IB_DISABLE=true", NEWEST, Verdict.RISKY, "reads it as 0"),
        ("NCCL_PROTO=LL128", NEWEST, Verdict.RISKY, "corrupts"),
        ("NCCL_DEBUG=INFO", NEWEST, Verdict.RISKY, "costs speed"),
        ("CUDA_LAUNCH_BLOCKING=1", NEWEST, Verdict.RISKY, "slower"),
        ("SGLANG_ENABLE_DEEP_GEMM=0", NEWEST, Verdict.INERT, "SGLANG_ENABLE_JIT_DEEPGEMM"),
        ("SGLANG_ENABLE_SPEC_V2=True", NEWEST, Verdict.INERT, "0.5.20 was the last"),
        ("SGLANG_ENABLE_PCIE_IPC_ALLREDUCE=1", "0.5.20", Verdict.INERT, "0.5.21 does"),
        ("SGL_ENABLE_JIT_DEEPGEMM=0", NEWEST, Verdict.NEEDLESS, "takes it for SGLANG_ENABLE_JIT_DEEPGEMM"),
        ("SGLANG_DISABLE_DEEP_GEMM=1", NEWEST, Verdict.INERT, "SGLANG_ENABLE_JIT_DEEPGEMM=0 turns it off"),
        ("SGLANG_ENABLE_PCIE_IPC_ALLREDUC=1", NEWEST, Verdict.INERT, "did you mean SGLANG_ENABLE_PCIE_IPC_ALLREDUCE"),
        ("MY_OWN=/x", NEWEST, Verdict.FINE, "others"),
        ("HF_HOME=/x", NEWEST, Verdict.FINE, "SGLang reads it"),
    ],
)  # fmt: skip
def test_a_variable(variable: str, sglang: str, verdict: Verdict, says: str) -> None:
    name = variable.partition("=")[0]
    entry = entries(f"{variable} python3 -m sglang.launch_server {MODEL}", sglang)[name]

    assert entry.verdict is verdict
    assert says in entry.why


def test_a_variable_that_the_command_is_made_of_is_not_called_useless() -> None:
    for used, verdict in (("$SGLANG_OPTS", Verdict.FINE), ("", Verdict.INERT)):
        text = f"export SGLANG_OPTS=--log-requests\nsglang serve {MODEL} {used}"
        assert entries(text)["SGLANG_OPTS"].verdict is verdict


def test_the_card_over_the_releases() -> None:
    def when(name: str, sglang: str) -> Verdict:
        return entries(CARD, sglang)[name].verdict

    assert when("--enable-flashinfer-allreduce-fusion", "0.5.13") is Verdict.INERT
    assert when("--enable-flashinfer-allreduce-fusion", "0.5.14") is Verdict.BREAKS
    assert when("--attention-backend", "0.5.16") is Verdict.FINE
    assert when("--attention-backend", "0.5.17") is Verdict.BREAKS
    assert when("--kv-cache-dtype", "0.5.12") is Verdict.RISKY


# --- forms ---

DOCKER = (
    "docker run --gpus all --shm-size 32g -e NCCL_P2P_LEVEL=SYS -e HF_TOKEN --env=OMP_NUM_THREADS=4 "
    "lmsysorg/sglang:v0.5.16-cu130 python3 -m sglang.launch_server --model-path m --tp 8"
)
COMPOSE = """services:
  glm:
    image: lmsysorg/sglang:v0.5.20
    environment:
      - NCCL_P2P_LEVEL=SYS
      - OMP_NUM_THREADS=4
    command: >
      python3 -m sglang.launch_server
      --model-path m
      --tp 8
"""
POD = """apiVersion: v1
kind: Pod
spec:
  containers:
  - name: glm
    image: lmsysorg/sglang:v0.5.20
    command: ["python3", "-m", "sglang.launch_server"]
    args: ["--model-path", "m", "--tp", "8"]
    env:
    - {name: NCCL_P2P_LEVEL, value: SYS}
    - {name: OMP_NUM_THREADS, value: 4}
"""
UNIT = """[Service]
Environment=NCCL_P2P_LEVEL=SYS "OMP_NUM_THREADS=4"
ExecStart=/opt/sglang/bin/python -m sglang.launch_server \\
    --model-path m \\
    --tp 8
"""
FORUM = """This works for me:

```bash
$ NCCL_P2P_LEVEL=SYS OMP_NUM_THREADS=4 python -m sglang.launch_server —model-path “m” --tp 8
```
"""
ARRAYS = """
export NCCL_P2P_LEVEL=SYS OMP_NUM_THREADS=${THREADS:-4}
MODEL=m
ARGS=(--model-path "$MODEL" --tp 8)
exec sglang serve "${ARGS[@]}"
"""
NESTED = """docker run -e NCCL_P2P_LEVEL=SYS img bash -c "export OMP_NUM_THREADS=4
python -m sglang.launch_server --model-path m --tp 8" """


@pytest.mark.parametrize("text", [DOCKER, COMPOSE, POD, UNIT, FORUM, ARRAYS, NESTED])
def test_a_launch_is_found_in_every_form(text: str) -> None:
    found = launch(text)

    assert found.words == ("--model-path", "m", "--tp", "8")
    assert {name: found.env.get(name) for name in ("NCCL_P2P_LEVEL", "OMP_NUM_THREADS")} == {
        "NCCL_P2P_LEVEL": "SYS",
        "OMP_NUM_THREADS": "4",
    }


def test_the_release_of_an_image_is_taken_from_its_tag() -> None:
    assert [launch(text).release for text in (DOCKER, COMPOSE, POD)] == [
        "0.5.16",
        "0.5.20",
        "0.5.20",
    ]


def test_options_alone_are_enough() -> None:
    assert launch("--model-path m --tp 8").words == ("--model-path", "m", "--tp", "8")
    assert launch('["--model-path", "m", "--tp", "8"]').words == ("--model-path", "m", "--tp", "8")


def test_a_variable_that_is_not_exported_is_inert() -> None:
    shell = entries(f"NCCL_P2P_LEVEL=SYS\npython3 -m sglang.launch_server {MODEL}")[
        "NCCL_P2P_LEVEL"
    ]
    docker = entries(
        f"export NCCL_P2P_LEVEL=SYS\ndocker run img python -m sglang.launch_server {MODEL}"
    )

    assert (shell.verdict, shell.instead) == (Verdict.INERT, "export NCCL_P2P_LEVEL=SYS")
    assert docker["NCCL_P2P_LEVEL"].instead == "-e NCCL_P2P_LEVEL=SYS"


def test_what_cannot_be_read_is_noted_and_the_rest_is_judged() -> None:
    comment = launch(
        "python -m sglang.launch_server \\\n  --model-path m \\\n  # --tp 4\n  --tp 8\n"
    )
    blank = launch("python -m sglang.launch_server \\ \n  --model-path m\n")
    quote = launch("python -m sglang.launch_server --model-path 'm --tp 8")

    assert "comment inside" in comment.notes[0]
    assert "blank after a backslash" in blank.notes[0]
    assert "line 1 is not what bash understands" in quote.notes[0]
    assert {found.words[0] for found in (comment, blank, quote)} == {"--model-path"}


# --- the command ---


def test_lint_prints_what_is_wrong_and_exits_1(world: World) -> None:
    (world.folder / "card.sh").write_text(CARD)
    said = world.run("lint", "card.sh", "--arch", "sm120", "--release", "0.5.23")

    assert said.returncode == 1
    assert "breaks, after load    --enable-flashinfer-allreduce-fusion" in said.stdout
    assert "2 breaks, 3 risky, 2 inert, 1 needless, 1 abbreviated, 13 fine" in said.stdout
    assert "\n-  --attention-backend flashinfer \\\n" in said.stdout
    assert "\n+" not in said.stdout


def test_all_releases_are_a_table(world: World) -> None:
    (world.folder / "card.sh").write_text(CARD)
    said = world.run("lint", "card.sh", "--arch", "sm120", "--all-releases")

    assert said.returncode == 1
    assert any(line.split()[:2] == ["0.5.9-0.5.13", "inert"] for line in said.stdout.splitlines())
    row = next(line for line in said.stdout.splitlines() if line.startswith("--enable-flashinfer"))
    assert row.split()[1:] == ["-"] * 5 + ["x"] * 10


def test_the_json_has_an_entry_a_flag_or_variable(world: World) -> None:
    (world.folder / "card.sh").write_text(CARD)
    said = json.loads(
        world.run("lint", "card.sh", "--arch", "sm120", "--release", "0.5.23", "--json").stdout
    )

    told: list[dict[str, Any]] = said["launches"][0]["releases"]["0.5.23"]["entries"]
    assert said["schema"] == 1
    assert len(told) == 22
    assert {"name", "value", "verdict", "when", "why", "known", "source", "instead"} <= set(told[0])
    assert {entry["known"] for entry in told} <= {known.value for known in Known}
    instead = said["launches"][0]["releases"]["0.5.23"]["instead"]
    assert instead["env"]["NCCL_P2P_LEVEL"] == "PHB"
    assert "--enable-flashinfer-allreduce-fusion" not in instead["argv"]
    assert said["fix"]["text"].count("\n") == CARD.count("\n") - 2
    assert [change["new"] for change in said["fix"]["changes"]] == ["", ""]


def test_what_is_well_exits_0(world: World) -> None:
    rendered = world.run("render", "-p", "8xpro6000", "--release", "0.5.23").stdout
    (world.folder / "ours.sh").write_text(rendered)
    said = world.run("lint", "ours.sh", "--release", "0.5.23", "--arch", "sm120")

    assert said.returncode == 0, said.stdout
    assert "nothing to change" in said.stdout


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        (("nowhere.sh",), 2, "cannot read nowhere.sh"),
        (("empty.sh",), 78, "no launch of SGLang"),
        (("card.sh", "--release", "newest"), 2, "'newest' is not a release"),
        (("card.sh", "--arch", "sm90"), 2, "NVFP4 needs Blackwell"),
        (("card.sh", "--arch", "sm121"), 2, "not supported: what is known here"),  # a Blackwell
    ],
)
def test_what_cannot_be_judged_is_said(
    world: World, words: tuple[str, ...], status: int, says: str
) -> None:
    for name, text in (
        ("card.sh", CARD),
        ("empty.sh", "echo hello"),
    ):
        (world.folder / name).write_text(text)
    said = world.run("lint", *words)

    assert said.returncode == status
    assert says in said.stderr
    assert "Traceback" not in said.stderr


WORDS = """python3_-m_sglang.launch_server --model-path --tp 8 export A= $A ${A[@]} " ' docker_run -e ( ) | ; command: -_
ExecStart= ``` # { } [ &x *x \\"""
PIECES = st.sampled_from(
    [
        *(word.replace("_", " ") for word in WORDS.split()),
        "\n",
        *sorted(CATALOGUE.release(NEWEST).options)[:40],
    ]
)


@given(st.lists(PIECES | st.text(max_size=8), max_size=30).map(" ".join))
@example("a: &a [*a, *a]\ncommand: *a")
@example("\n".join(["A=x", *["A=$A$A"] * 40, "python3 -m sglang.launch_server --model-path $A"]))
@example("ExecStart=")
@example("A=(A=(")
@settings(deadline=None, max_examples=150)
def test_no_text_is_a_traceback(text: str) -> None:
    target = Target(NEWEST, "sm120")
    for found in read(text).launches:
        if found.engine == "sglang":
            rewrite(found, target)


@given(st.binary(max_size=400))
def test_no_bytes_are_a_traceback(data: bytes) -> None:
    read(data.decode("utf-8", "replace"))


HOSTILE = [
    "\\''" + "a" * 100 + "\n",
    "'",
    '"',
    "$((",
    "${a",
    "$(",
    "`",
    "\\\n",
    "- ",
    "{",
    "[",
    "a=$a$a;",
    "| ",
    "#\n",
    "--a ",
    "<<E\n",
]


@pytest.mark.parametrize("piece", HOSTILE)
def test_reading_takes_time_that_grows_with_the_length_and_no_faster(piece: str) -> None:
    def cost(length: int) -> float:
        text = "python -m sglang.launch_server --model-path m " + piece * (length // len(piece))
        began = time.process_time()
        read(text)
        return time.process_time() - began

    assert cost(1 << 15) <= 5 * cost(1 << 14) + 0.2, (
        "twice as long a text takes about twice as long"
    )
    if piece in ("'", "#\n", "\\\n"):  # whatever stands in it
        assert cost(8 << 20) <= 6 * cost(1 << 15) + 0.5, (
            "what is longer than any launch is not read to its end"
        )
