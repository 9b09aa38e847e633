"""`lint --to`: one engine's command in another's words, and what has none there is named."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
from conftest import World

from launcher.config.layers import PACKAGED
from launcher.config.load import PlanRequest, load
from launcher.config.resolve import resolve
from launcher.engines.engine import NAMES, counterparts, dialect
from launcher.engines.target import Target
from launcher.formats.launches import Launch
from launcher.formats.reading import read
from launcher.knowledge import models
from launcher.lint.by_option import canonical_name
from launcher.lint.translate import Command, translate
from launcher.plan.plan import Plan

PROFILES = sorted(path.stem for path in PACKAGED.glob("*.toml"))
NAMED = {  # a checkpoint of each family whose parsers both engines have
    "glm-5": "GLM-5",
    "glm-5.3-flash": "GLM-5.3-Flash",
    "glm-4.5": "GLM-4.5",
    "deepseek-v3.2": "DeepSeek-V3.2",
}
OTHER = {"sglang": "vllm", "vllm": "sglang"}


def planned(name: str) -> Plan:
    ask = PlanRequest(str(PACKAGED / f"{name}.toml"), ())
    composed = load(ask, {"HOME": "/home/op"})
    engine = composed.profile.engine.kind
    at = Target(dialect(engine).options.newest, "sm120", engine=engine)
    return resolve(composed, ask, Path("/state"), {}, at)


def of(engine: str, words: str) -> Command:
    known = dialect(engine).options
    launch = Launch.of(shlex.split(words))
    launch = Launch(launch.arguments, launch.variables, engine=engine)
    return translate(launch, known.release(known.newest), OTHER[engine])


def given(command: Command) -> dict[str, tuple[str, ...]]:
    """What a command says, by canonical name, after its program."""
    known = dialect(command.engine).options.release(command.release)
    words = command.argv[1 + len(dialect(command.engine).program) :]
    told = known.given(words)
    assert not [one.problem for one in told if one.problem]
    return {canonical_name(one, known): one.values for one in told}


@pytest.mark.parametrize("name", PROFILES)
def test_every_option_of_a_profile_is_translated_or_named(name: str) -> None:
    plan = planned(name)
    release = dialect(plan.engine).options.release(plan.release)
    launch = Launch.of(plan.arguments, plan.env)
    launch = Launch(launch.arguments, launch.variables, engine=plan.engine)
    made = translate(launch, release, OTHER[plan.engine])

    there = given(made)  # and the other engine takes it
    between = counterparts(plan.engine, OTHER[plan.engine])
    pairs = {pair.source: pair.to for pair in between.pairs}
    special = {name for one in between.specials for name in one.names}
    said = " ".join(made.said)
    for one in release.given(plan.arguments):
        option = canonical_name(one, release)
        assert pairs.get(option) in there or option in special or f"--{option}" in said


@pytest.mark.parametrize("engine", NAMES)
def test_a_round_trip_keeps_what_both_have(engine: str) -> None:
    words = {
        "sglang": "--model-path m --tp-size 8 --context-length 128k --max-running-requests 16"
        " --served-model-name a --kv-cache-dtype fp8_e4m3 --disable-radix-cache --host 0.0.0.0"
        " --port 1234 --speculative-algorithm EAGLE --speculative-num-steps 3"
        " --speculative-eagle-topk 1 --speculative-num-draft-tokens 4 --tool-call-parser glm47"
        " --dist-init-addr h:5 --nnodes 2 --ep-size 8",
        "vllm": "m -tp 8 --max-model-len 8K --max-num-seqs 16 --served-model-name a"
        " --no-enable-prefix-caching --host 0.0.0.0 --port 1234 --enable-expert-parallel"
        """ --speculative-config '{"method": "mtp", "num_speculative_tokens": 3}'"""
        " --tool-call-parser glm47 --enable-auto-tool-choice --master-addr h --master-port 5",
    }[engine]
    known = dialect(engine).options
    before = known.release(known.newest).given(shlex.split(words))
    there = of(engine, words)
    back = of(OTHER[engine], shlex.join(there.argv[1 + len(dialect(there.engine).program) :]))

    kept = given(back)
    numbers = {"128k": "128000", "8K": "8192"}
    for one in before:
        name = canonical_name(one, known.release(known.newest))
        assert kept[name] == tuple(numbers.get(value, value) for value in one.values), name


def test_what_listens_where_nobody_said_it_is_written_out() -> None:
    to_vllm, to_sglang = given(of("sglang", "--model-path m")), given(of("vllm", "m"))

    assert (to_vllm["host"], to_vllm["port"]) == (("127.0.0.1",), ("30000",))
    assert (to_sglang["host"], to_sglang["port"]) == (("0.0.0.0",), ("8000",))


@pytest.mark.parametrize(
    ("engine", "words", "said"),
    [
        ("sglang", "--mem-fraction-static 0.9", "--mem-fraction-static: left out: SGLang's is of"),
        ("vllm", "--gpu-memory-utilization 0.9", "--gpu-memory-utilization: left out:"),
        ("vllm", "--max-model-len auto", "--context-length: left out: --context-length wants"),
        ("sglang", "--tool-call-parser qwen99", "--tool-call-parser: left out:"),
        ("sglang", "--speculative-algorithm NGRAM", "--speculative-algorithm: left out: NGRAM"),
        ("vllm", "--speculative-config '[1]'", "--speculative-config: left out: it is not JSON"),
        ("vllm", "--served-model-name a b", "--served-model-name: b is left out"),
        ("vllm", "--no-such 1", "--no-such: left out: no option of vLLM"),
    ],
)
def test_what_has_no_counterpart_is_named(engine: str, words: str, said: str) -> None:
    first = "m" if engine == "vllm" else "--model-path m"
    told = of(engine, f"{first} {words}").said

    assert any(line.startswith(said) for line in told), told


def test_every_name_of_the_table_is_an_option_by_its_one_name() -> None:
    for source, to in OTHER.items():
        ours, theirs = dialect(source).options, dialect(to).options
        between = counterparts(source, to)
        for pair in between.pairs:
            assert (ours.canonical(pair.source), theirs.canonical(pair.to)) == (
                pair.source,
                pair.to,
            )
            assert ours.accepted_by(f"--{pair.source}")
            assert theirs.accepted_by(f"--{pair.to}")
        for name in between.alone:
            assert ours.accepted_by(f"--{name}"), name


def test_what_is_filled_in_from_outside_is_filled_in_there(world: World) -> None:
    text = 'vllm serve "$MODEL" -tp $TP --max-model-len ${CTX} --max-num-seqs "$(nproc)"'
    (world.folder / "open.sh").write_text(text)
    said = world.run("lint", "open.sh", "--to", "sglang").stdout

    for word in ('--model-path "$MODEL"', '--tp-size "$TP"', '--context-length "${CTX}"'):
        assert word in said
    assert '--max-running-requests "$(nproc)"' in said


def test_a_server_that_has_a_key_keeps_it(world: World) -> None:
    for before, after in (("k-0123456789", "[redacted]"), ("$KEY", '"$KEY"')):
        text = f"VLLM_API_KEY={before} vllm serve m -tp 8 --host 0.0.0.0\n"
        (world.folder / "keyed.sh").write_text(text)
        said = world.run("lint", "keyed.sh", "--to", "sglang")

        assert said.stdout.rstrip().endswith(f"--api-key {after}")
        assert ("[redacted] is no key: before this is run" in said.stderr) == ("$" not in before)
        assert "VLLM_API_KEY" not in said.stderr


def test_the_command_is_printed_and_what_is_left_out_beside_it(world: World) -> None:
    text = "SGLANG_X=1 NCCL_IB_DISABLE=1 python3 -m sglang.launch_server --model-path m --tp 8 --enable-metrics"
    (world.folder / "serve.sh").write_text(text)
    (world.folder / "open.sh").write_text('vllm serve "$MODEL" --kv-cache-dtype fp8')
    left_open = world.run("lint", "open.sh", "--to", "sglang").stdout
    said = world.run("lint", "serve.sh", "--to", "vllm")
    told = json.loads(world.run("lint", "serve.sh", "--to", "vllm", "--json").stdout)
    again = world.run("lint", "serve.sh", "--to", "sglang")

    assert '--model-path "$MODEL" --kv-cache-dtype fp8_e4m3' in left_open
    assert said.returncode == 0
    assert said.stdout.startswith("NCCL_IB_DISABLE=1 python3 -m vllm.entrypoints.cli.main serve m")
    assert "--tensor-parallel-size 8" in said.stdout
    assert "--enable-metrics: left out: vLLM always serves /metrics" in said.stderr
    assert "SGLANG_X: left out" in said.stderr
    assert told["commands"][0]["engine"] == "vllm"
    assert (again.returncode, "starts SGLang already" in again.stderr) == (78, True)


@pytest.mark.parametrize(
    "words",
    [
        "m -tp 16 --nnodes 2 --node-rank 1 --headless --master-addr h",
        "m -tp 16 --nnodes 2 --node-rank 1 --headless --host 10.0.0.2 --port 9",
        "m --headless --data-parallel-start-rank 1",
    ],
)
def test_a_node_that_only_works_listens_to_nobody(words: str) -> None:
    assert not {"host", "port"} & {*given(of("vllm", words))}


def test_a_node_of_sglang_that_only_works_is_told_so_to_vllm() -> None:
    words = "--model-path m --tp 16 --nnodes 2 --dist-init-addr h:5 --node-rank {}"
    worker, first = (given(of("sglang", words.format(rank))) for rank in (1, 0))

    assert "headless" in worker
    assert not {"host", "port"} & {*worker}
    assert "headless" not in first
    assert {"host", "port"} <= {*first}
    assert (worker["node-rank"], first["node-rank"]) == (("1",), ("0",))


@pytest.mark.parametrize(
    ("engine", "words", "there"),
    [
        ("sglang", "--tp 8 --dp 8 --enable-dp-attention", "tp 1 dp 8 ep"),
        ("sglang", "--tp 16 --dp 4 --enable-dp-attention --ep-size 16", "tp 4 dp 4 ep"),
        ("sglang", "--tp 8 --attn-dp-size 8", "tp 1 dp 8 ep"),
        ("sglang", "--tp 4 --dp 2", "tp 4 dp 2"),
        ("sglang", "--tp 8 --dp 1 --enable-dp-attention", "tp 8 dp 1"),
        ("sglang", "--tp 8 --ep-size 8", "tp 8 ep"),
        ("vllm", "-tp 1 -dp 8 --enable-expert-parallel", "tp 8 dp-attention 8 ep 8"),
        ("vllm", "-dp 8 --enable-expert-parallel", "tp 8 dp-attention 8 ep 8"),
        ("vllm", "-tp 2 -dp 4 --enable-expert-parallel", "tp 8 dp-attention 4 ep 8"),
        ("vllm", "-tp 4 -dp 2", "tp 4 dp 2"),
        ("vllm", "-tp 8 --enable-expert-parallel", "tp 8 ep 8"),
    ],
)
def test_ranks_are_as_many_gpus_there(engine: str, words: str, there: str) -> None:
    first = "m" if engine == "vllm" else "--model-path m"
    told = given(of(engine, f"{first} {words}"))
    names = {
        "vllm": {
            "tp": "tensor-parallel-size",
            "dp": "data-parallel-size",
            "ep": "enable-expert-parallel",
        },
        "sglang": {
            "tp": "tp-size",
            "dp": "dp-size",
            "dp-attention": "attn-dp-size",
            "ep": "ep-size",
        },
    }[OTHER[engine]]

    said = [" ".join((short, *told[name])) for short, name in names.items() if name in told]
    assert " ".join(said) == there


@pytest.mark.parametrize(
    ("engine", "words"),
    [
        ("sglang", "--tp 8 --dp 3 --enable-dp-attention"),
        ("sglang", "--tp $TP --dp 8 --enable-dp-attention"),
        ("vllm", "-tp $TP -dp 8 --enable-expert-parallel"),
    ],
)
def test_ranks_that_come_to_no_number_are_left_out_and_said(engine: str, words: str) -> None:
    first = "m" if engine == "vllm" else "--model-path m"
    made = of(engine, f"{first} {words}")

    assert not {"tp-size", "tensor-parallel-size", "dp-size", "data-parallel-size"} & {*given(made)}
    assert [line for line in made.said if "left out" in line]


@pytest.mark.parametrize(
    ("engine", "words", "kept"),
    [
        ("sglang", "--cuda-graph-max-bs 32", ("max-cudagraph-capture-size", "32")),
        ("sglang", "--cuda-graph-bs 1 2", ("cudagraph-capture-sizes", "1")),
        ("vllm", "--swap-space 16", None),
    ],
)
def test_a_name_of_another_release_is_read_as_lint_reads_it(
    engine: str, words: str, kept: tuple[str, str] | None
) -> None:
    made = of(engine, f"{'m' if engine == 'vllm' else '--model-path m'} {words}")
    told = {name: " ".join(values[:1]) for name, values in given(made).items()}

    assert kept is None or kept in told.items()
    assert kept or made.said == ("--swap-space: left out: vLLM 0.33.0 does not have it",)


def test_what_is_left_out_is_called_as_its_author_wrote_it() -> None:
    said = of("vllm", "m --disable-log-requests --gpu-memory-util 0.9").said

    assert [line.partition(":")[0] for line in said] == [
        "--disable-log-requests",
        "--gpu-memory-util",
    ]


def test_what_stands_around_a_command_is_said_to_be_left_out(world: World) -> None:
    image = "vllm/vllm-openai:v0.33.0"
    text = f"docker run --gpus all -p 9000:8000 -v /m:/m --shm-size 32g {image} --model /m/G -tp 8"
    (world.folder / "in.sh").write_text(text)
    said = world.run("lint", "in.sh", "--to", "sglang").stderr

    assert f"docker run: left out, as this is the command alone: image {image}" in said
    assert "port 9000:8000, mount /m, and what else it says" in said
    assert not [line for line in of("vllm", "m -tp 8").said if "command alone" in line]


@pytest.mark.parametrize("family", [one for one in models.families() if len(one.parsers) > 1])
def test_a_known_model_gets_its_own_parsers_whatever_stood_there(family: models.Family) -> None:
    """By each engine's names; where they were the model's own before, nothing is said of it."""
    name = NAMED[family.id]
    parsers = family.of_name(name).parsers
    for source, to in OTHER.items():
        model = f"--{dialect(source).option_of('model_path')} org/{name}"
        for before, is_own in ((parsers[source], True), (("qwen3", "pythonic"), False)):
            reasons, calls = before
            made = of(source, f"{model} --reasoning-parser {reasons} --tool-call-parser {calls}")
            there = given(made)

            assert (*there["reasoning-parser"], *there["tool-call-parser"]) == parsers[to]
            assert bool([line for line in made.said if "in place of" in line]) != is_own


def test_a_parser_from_outside_or_of_an_unknown_model_stays() -> None:
    words = "--model-path zai-org/GLM-5 --reasoning-parser $P --tool-call-parser glm47"
    other = "--model-path m --reasoning-parser glm45 --tool-call-parser glm45"

    assert not [line for line in of("sglang", words).said if "in place of" in line]
    assert given(of("sglang", other))["tool-call-parser"] == ("glm45",)


def test_limits_of_the_other_engine_that_nothing_sets_are_said() -> None:
    """Of vLLM's two; SGLang has neither."""
    [ours] = read("sglang serve --model-path zai-org/GLM-5 --tp-size 8").launches
    [theirs] = read("vllm serve zai-org/GLM-5 -tp 8").launches
    known = dialect("sglang").options
    to_vllm = translate(ours, known.release(known.newest), "vllm").said
    known = dialect("vllm").options
    to_sglang = translate(theirs, known.release(known.newest), "sglang").said

    names = ("VLLM_ENGINE_READY_TIMEOUT_S: not set", "--shutdown-timeout: not set")
    assert [any(line.startswith(name) for line in to_vllm) for name in names] == [True, True]
    assert not [line for line in to_sglang if "not set" in line]
