"""A launch of vLLM is called one in every form, and not judged by another engine's options."""

from __future__ import annotations

import pytest

from launcher.engines.target import Target
from launcher.errors import Exit, UserError
from launcher.lint.run import judge

VLLM = {
    "command": "vllm serve zai-org/GLM-5 --tensor-parallel-size 8",
    "module": "python3 -m vllm.entrypoints.openai.api_server --model m --max-model-len 8",
    "image": "docker run --gpus all vllm/vllm-openai:v0.32.0 --model m --tensor-parallel-size 8",
    "image with a program": "docker run --entrypoint vllm vllm/vllm-openai serve m --port 1",
    "dynamo": "python -m dynamo.vllm --model m",
    "wrapped": "numactl -N 0 nohup vllm serve m --port 1 > log 2>&1 &",
    "shell in tmux": "tmux new -d -s x 'vllm serve m --port 1'",
    "compose": "services: {a: {image: 'vllm/vllm-openai:v0.32.0', command: [--model, m, --port, '1']}}",
    "compose with a program": "services: {a: {command: vllm serve m --port 1}}",
    "pod": "apiVersion: v1\nspec: {containers: [{name: a, image: vllm/vllm-openai, args: [--model, m]}]}",
    "pod with a script": "spec: {containers: [{command: [bash, -c, 'vllm serve m --port 1']}]}",
    "quadlet": "[Container]\nImage=docker.io/vllm/vllm-openai:v0.32.0\nExec=--model m --port 1",
    "unit": "[Service]\nExecStart=/opt/venv/bin/vllm serve m --port 1",
    "supervisord": "[program:a]\ncommand=vllm serve m --port 1",
    "Dockerfile": 'FROM vllm/vllm-openai:v0.32.0\nCMD ["--model", "m", "--port", "1"]',
    "chart": "image: {repository: vllm/vllm-openai, tag: v0.32.0}\nextraArgs: [--model, m, --port, '1']",
    "chart as a table": "image: vllm/vllm-openai\nextraArgs: {model: m, port: 1}",
    "list of words": 'cmd = ["vllm", "serve", "m", "--port", "1"]',
    "Markdown": "```\nvllm serve m --port 1\n```",
    "ansible": "- name: a\n  shell: vllm serve m --port 1",
}  # fmt: skip


@pytest.mark.parametrize("form", VLLM)
def test_a_launch_of_another_engine_is_called_one(form: str) -> None:
    with pytest.raises(UserError, match="it starts vllm, whose options are others") as refused:
        judge(VLLM[form], Target("0.5.23", "sm120"), "it")

    assert refused.value.status == Exit.CONFIG
