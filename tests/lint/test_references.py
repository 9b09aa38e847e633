"""A key that stands elsewhere is named, and not masked as if it were one."""

from __future__ import annotations

from conftest import World

POD = """apiVersion: v1
kind: Pod
metadata: {name: a}
spec:
  containers:
  - name: s
    image: vllm/vllm-openai:v0.33.0
    env:
    - name: HF_TOKEN
      valueFrom: {secretKeyRef: {name: hf, key: token}}
    args: ["--model", "m", "-tp", "8"]
"""


def test_a_reference_stays_and_a_key_is_masked_once(world: World) -> None:
    (world.folder / "pod.yaml").write_text(POD)
    (world.folder / "a.sh").write_text("HF_TOKEN=hf_x vllm serve m -tp 8\n")
    of_pod = world.run("lint", "pod.yaml", "--to", "sglang").stdout
    of_shell = world.run("lint", "a.sh", "--to", "sglang").stdout

    assert of_pod.startswith('HF_TOKEN="valueFrom secretKeyRef hf" ')
    assert of_shell.startswith("HF_TOKEN=[redacted] ")
