"""What stands around a command decides, too: GPUs, published ports, probes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.engines.engine import dialect
from launcher.engines.issues import Shows
from launcher.engines.target import Target
from launcher.lint.concerns import Verdict
from launcher.lint.lint import Entry
from launcher.lint.run import judge

NEWEST = dialect("sglang").options.newest
WORDS = "python3 -m sglang.launch_server --model-path m --tp-size 8"
LISTED = "[python3, -m, sglang.launch_server, --model-path, m, --tp-size, '8', --host, 0.0.0.0]"


def entries(text: str) -> list[Entry]:
    [judged] = judge(text, Target(NEWEST, "sm100")).launches
    [told] = judged.releases.values()
    return [entry for entry in told if entry.concerns]


def said_of(text: str, name: str) -> list[Entry]:
    return [entry for entry in entries(text) if entry.name == name]


def docker(options: str, more: str = "") -> str:
    return f"docker run {options} lmsysorg/sglang:v{NEWEST} {WORDS} {more}"


def pod(more: str, words: str = LISTED) -> str:
    return f"apiVersion: v1\nkind: Pod\nspec:\n  containers:\n  - command: {words}\n{more}"


def serving(model: str, text: str) -> str:
    return text.replace("--model-path, m,", f"--model-path, {model},")


GLM = "nvidia/GLM-5.2-NVFP4"


def limited(count: str, key: str = "limits") -> str:
    return pod(f"    resources: {{{key}: {{nvidia.com/gpu: {count}}}}}\n")


def compose(more: str, words: str = LISTED) -> str:
    return f"services:\n  a:\n    command: {words}\n{more}"


def reserved(devices: str) -> str:
    return compose(
        f"    deploy: {{resources: {{reservations: {{devices: [{{{devices}, capabilities: [gpu]}}]}}}}}}\n"
    )


# --- GPUs ---

FEW = {
    "docker run --gpus": (docker("--gpus 2"), "2"),
    "with an equals sign": (docker("--gpus=4"), "4"),
    "devices": (docker("""--gpus '"device=0,1"'"""), "2"),
    "devices without quotes": (docker("--gpus device=0,1,2"), "3"),
    "podman's devices": (docker("--device nvidia.com/gpu=0 --device nvidia.com/gpu=1"), "2"),
    "variable of docker run": (docker("-e NVIDIA_VISIBLE_DEVICES=0,1"), "2"),
    "variable of compose": (compose("    environment: {NVIDIA_VISIBLE_DEVICES: '0,1'}\n"), "2"),
    "limit of a pod": (limited('"4"'), "4"),
    "request of a pod": (limited("1", "requests"), "1"),
    "count of compose": (reserved("driver: nvidia, count: 2"), "2"),
    "ids of compose": (reserved("driver: nvidia, device_ids: ['0', '3', '5']"), "3"),
    "list of compose": (compose("    gpus: [{driver: nvidia, count: 2}]\n"), "2"),
    "srun": (f"srun --gres=gpu:4 {WORDS}", "4"),
    "srun a node": (f"srun --gpus-per-node=h100:2 {WORDS}", "2"),
    "sbatch": (f"#!/bin/bash\n#SBATCH --gres=gpu:b200:4\n{WORDS}", "4"),
}
ENOUGH = {
    "as many": docker("--gpus 8"),
    "all": docker("--gpus all"),
    "all of podman": docker("--device nvidia.com/gpu=all"),
    "not told": docker(""),
    "from outside": docker("--gpus $COUNT"),
    "all of the variable": docker("-e NVIDIA_VISIBLE_DEVICES=all"),
    "none of the variable": docker("-e NVIDIA_VISIBLE_DEVICES=void"),
    "a shell, which has no runtime": f"NVIDIA_VISIBLE_DEVICES=0,1 {WORDS}",
    "on nodes of their own": docker("--gpus 4", "--nnodes 2 --node-rank 0 --dist-init-addr a:1"),
    "on who knows how many nodes": docker("--gpus 4", "--nnodes $NODES"),
    "of Ray": docker("--gpus 4", "--use-ray"),
    "limit": limited("8"),
    "limit of a template": limited('"{{ .Values.gpus }}"'),
    "MIG": pod("    resources: {limits: {nvidia.com/mig-1g.10gb: 1}}\n"),
    "all of compose": reserved("driver: nvidia, count: all"),
    "another kind of device": reserved("driver: cdi, count: 1"),
    "a job's GPUs of all nodes": f"#!/bin/bash\n#SBATCH --gpus=4\n{WORDS}",
}


@pytest.mark.parametrize("form", FEW)
def test_fewer_gpus_than_ranks_break(form: str) -> None:
    text, count = FEW[form]
    [said] = [one for one in entries(text) if one.concerns[0].id == "more-ranks-than-gpus"]

    assert said.verdict is Verdict.BREAKS
    assert f"sees {count} GPUs, and its ranks on this node want 8" in said.why
    assert "CUDA_VISIBLE" not in (said.instead or "")


@pytest.mark.parametrize("form", ENOUGH)
def test_enough_gpus_or_unknown_ones_are_not_told(form: str) -> None:
    told = [one for entry in entries(ENOUGH[form]) for one in entry.concerns]
    assert "more-ranks-than-gpus" not in {one.id for one in told}


@given(st.integers(0, 20))
def test_a_limit_is_told_where_it_is_below_the_ranks(count: int) -> None:
    assert bool(said_of(limited(str(count)), "nvidia.com/gpu")) == (count < 8)


# --- ports ---


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (docker("-p 8000:8000", "--host 0.0.0.0"), "-p"),
        (docker("--publish=127.0.0.1:8000:8000/tcp", "--host 0.0.0.0"), "-p"),
        (docker("-p 30000:8000", "--host 0.0.0.0 --port 30000"), "-p"),
        (compose('    ports: ["8000:8000"]\n'), "ports"),
        (compose("    ports: [{target: 8000, published: 8000}]\n"), "target"),
        (pod("    ports: [{containerPort: 8000}]\n"), "containerPort"),
    ],
)
def test_a_published_port_that_nobody_listens_to_is_told(text: str, name: str) -> None:
    [said] = said_of(text, name)

    assert (said.verdict, said.when) == (Verdict.RISKY, Shows.AFTER)
    assert "reaches nobody: the server listens to port 30000" in said.why
    assert "publish 30000" in (said.instead or "")


@pytest.mark.parametrize(
    "text",
    [
        docker("-p 8000:30000", "--host 0.0.0.0"),
        docker("-p 8000:8000", "--host 0.0.0.0 --port 8000"),
        docker("-p 8998:8998 -p 29000-31000:29000-31000", "--host 0.0.0.0"),
        docker("-p 8000:$PORT", "--host 0.0.0.0"),
        docker("-p 8000:8000", "--host 0.0.0.0 --port $PORT"),
        docker("--network host -p 8000:8000", "--host 0.0.0.0"),
        docker("-p 20000:20000", "--host 0.0.0.0 --nnodes 2 --node-rank 1"),
        docker("", "--host 0.0.0.0"),
        compose('    ports: ["${PORT:-8000}:30000"]\n'),
        compose('    network_mode: host\n    ports: ["8000:8000"]\n'),
        pod("    ports: [{containerPort: 9000}, {containerPort: 30000}]\n"),
    ],
)
def test_a_port_that_leads_to_the_server_is_not_told(text: str) -> None:
    assert not [one for one in entries(text) if "reaches nobody" in one.why]


def test_a_server_that_listens_inside_alone_is_reached_by_nobody() -> None:
    [said] = said_of(docker("-p 30000:30000"), "-p")

    assert "listens to 127.0.0.1 of its container alone" in said.why


# --- probes ---

HTTP = "httpGet: {path: /health, port: 8000}"
MANY = "failureThreshold: 180, periodSeconds: 10"


@pytest.mark.parametrize(
    "more",
    [
        f"    readinessProbe: {{{HTTP}}}\n",
        f"    startupProbe: {{{HTTP}, {MANY}}}\n",
        "    ports: [{name: web, containerPort: 8000}]\n    readinessProbe: {tcpSocket: {port: web}}\n",
        "    readinessProbe: {exec: {command: [curl, 'http://localhost:8000/health']}}\n",
        "    healthcheck: {test: curl -f http://localhost:8000/health}\n",
    ],
)
def test_a_probe_that_asks_another_port_is_told(more: str) -> None:
    [said] = [one for one in entries(pod(more)) if "asks port 8000" in one.why]

    assert said.verdict is Verdict.RISKY
    assert "listens to 30000" in said.why


@pytest.mark.parametrize(
    ("more", "seconds"),
    [
        ("livenessProbe: {httpGet: {port: 30000}}", 30),
        ("livenessProbe: {httpGet: {port: 30000}, initialDelaySeconds: 120, periodSeconds: 30}", 210),
        ("startupProbe: {httpGet: {port: 30000}, failureThreshold: 6}", 60),
        ("livenessProbe: {httpGet: {port: 30000}, initialDelaySeconds: 600}", None),
        ("livenessProbe: {httpGet: {port: 30000}, periodSeconds: '{{ .Values.s }}'}", None),
        ("readinessProbe: {httpGet: {port: 30000}}", None),
        ("ports: [{containerPort: 30000}]", None),
    ],
)  # fmt: skip
def test_a_probe_that_kills_a_load_is_told(more: str, seconds: int | None) -> None:
    text = serving(GLM, pod(f"    {more}\n"))
    told = [one.why for one in entries(text) if "kills the server" in one.why]

    assert len(told) == (seconds is not None)
    assert not told or f"after {seconds} s" in told[0]


@pytest.mark.parametrize("model", ["Qwen/Qwen3-0.6B", "m"])
def test_how_long_a_small_or_unknown_model_loads_is_not_known(model: str) -> None:
    text = serving(model, pod("    livenessProbe: {httpGet: {port: 30000}}\n"))
    assert not [one for one in entries(text) if "kills the server" in one.why]


def test_a_startup_probe_waits_for_the_liveness_probe() -> None:
    live = "    livenessProbe: {httpGet: {port: 30000}}\n"
    starts = f"    startupProbe: {{httpGet: {{port: 30000}}, {MANY}}}\n"

    assert said_of(serving(GLM, pod(live)), "livenessProbe")
    assert not [one for one in entries(serving(GLM, pod(live + starts))) if "Probe" in one.name]


# --- keys ---


@pytest.mark.parametrize("name", ["API_KEY", "SGLANG_API_KEY", "VLLM_API_KEY"])
def test_a_key_in_a_variable_guards_nothing(name: str) -> None:
    key = f"{name}=0123456789abcdef"
    [said] = said_of(f"{key} {WORDS} --host 0.0.0.0", name)

    assert said.verdict is Verdict.RISKY
    assert "takes no key from a variable" in said.why
    for guarded in ("", "--host 0.0.0.0 --api-key k", "--host 127.0.0.1"):
        told = [one.why for one in entries(f"{key} {WORDS} {guarded}")]
        assert not [why for why in told if "takes no key" in why]


VLLM = "docker run {} vllm/vllm-openai:v0.32.0 zai-org/GLM-5-FP8 --tensor-parallel-size 8 {}"


@pytest.mark.parametrize(
    ("gpus", "words", "is_told"),
    [
        ("--gpus 4", "", True),
        ("--gpus 8", "", False),
        ("--gpus 4", "--nnodes 2 --node-rank 0 --master-addr h", False),
        ("--gpus 4", "--distributed-executor-backend ray", False),
        ("--gpus 4", "--distributed-executor-backend mp", True),
        ("--gpus 4", "--data-parallel-backend ray", False),
        ("--gpus 4", "--data-parallel-size 2 --data-parallel-size-local 1", False),
        ("--gpus 4", "--data-parallel-size 2 --data-parallel-rank 1", False),
        ("--gpus 4", "--data-parallel-size 2 --data-parallel-hybrid-lb", False),
    ],
)
def test_fewer_gpus_than_ranks_break_vllm_too(gpus: str, words: str, is_told: bool) -> None:
    told = [one for one in entries(VLLM.format(gpus, words)) if "sees 4 GPUs" in one.why]

    assert bool(told) == is_told
