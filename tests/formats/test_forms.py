"""Each form in which people pass launches on: how many there are, what they are called, what they
get, and what of them was not read.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from launcher.formats.launches import Launch
from launcher.formats.reading import read

IMAGE = "lmsysorg/sglang:v0.5.20"


@dataclass(frozen=True)
class Wanted:
    """One launch: form, name, words (all, or the first), variables and notes."""

    form: str
    words: str
    name: str = ""
    env: dict[str, str] = field(default_factory=dict)
    release: str | None = None
    notes: tuple[str, ...] = ()
    outside: str = ""
    line: int = 1


def of(launch: Launch) -> Wanted:
    return Wanted(
        launch.form,
        " ".join(launch.words),
        launch.name,
        launch.env,
        launch.release,
        launch.notes,
        " ".join(sorted(launch.outside)),
        launch.line,
    )


CONFIG = """model-path: nvidia/GLM-5.2-NVFP4
tensor-parallel-size: 8
trust-remote-code: true
enable-dp-attention: false
cuda-graph-bs: [1, 2]
revision: null
"""
RECIPE = f"""name: agg
model: {{path: glm, container: "{IMAGE}-cu130"}}
backend:
  type: sglang
  prefill_environment: {{NCCL_DEBUG: INFO}}
  sglang_config:
    prefill:
      model-path: /model/
      tensor_parallel_size: 4
    decode:
      kv-cache-dtype: "fp8_e4m3"
"""
STACK = """\
servingEngineSpec:
  modelSpec:
  - name: "one"
    repository: "lmcache/vllm-openai"
    tag: "v0.3.7"
    vllmConfig:
      maxModelLen: 4096
      enablePrefixCaching: true
      v1: 1
      extraArgs:
        - "--max-num-seqs"
        - "8"
    requestGPU: 8
  - name: "two"
    repository: "vllm/vllm-openai"
    tag: "v0.32.0"
    modelURL: "m"
    vllmConfig:
      extraArgs:
        - "--limit-mm-per-prompt"
        - '{"image":5}'
        - --tool-call-parser glm47
        - "--served-model-name"
        - m
        - n
  - name: "three"
    vllmConfig: {extraArgs: ["--max-num-seqs", "8"]}
"""
CHART = """sglang:
  image: {repository: lmsysorg/sglang, tag: v0.5.20-cu130}
  serverArgs:
    model-path: m
    tp-size: 8
    trust-remote-code: true
  env: {NCCL_DEBUG: INFO}
"""
STRING = f'engine:\n  image: {IMAGE}\n  extraArgs: "--model-path m --tp 8"\n'
SERVICE = f"""apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
spec:
  predictor:
    containers:
    - name: kserve-container
      image: {IMAGE}
      command: [python3, -m, sglang.launch_server]
      args: [--model-path, m]
      env:
      - {{name: K, valueFrom: {{configMapKeyRef: {{name: cm, key: k}}}}}}
"""
RAY = f"""apiVersion: ray.io/v1
kind: RayCluster
spec:
  headGroupSpec:
    template: {{spec: {{containers: [{{name: head, image: "{IMAGE}", command: [bash, -lc, "sglang serve --nnodes 2"]}}]}}}}
  workerGroupSpecs:
  - template: {{spec: {{containers: [{{name: w, image: "{IMAGE}", command: [bash, -lc, "sglang serve --nnodes 2"]}}]}}}}
"""
DYNAMO = """apiVersion: nvidia.com/v1alpha1
kind: DynamoGraphDeployment
spec:
  envs: [{name: NCCL_DEBUG, value: INFO}]
  services:
    Frontend:
      extraPodSpec: {mainContainer: {image: "nvcr.io/nvidia/ai-dynamo/sglang-runtime:0.7.0"}}
    decode:
      envs: [{name: A, value: "0"}]
      extraPodSpec:
        mainContainer:
          image: nvcr.io/nvidia/ai-dynamo/sglang-runtime:0.7.0
          command: [python3, -m, dynamo.sglang]
          args: [--model-path, m]
"""
ANSIBLE = f"""- hosts: gpu
  tasks:
  - name: one
    ansible.builtin.shell: |
      nohup python3 -m sglang.launch_server --tp-size {{{{ tp | default(8) }}}} > log 2>&1 &
  - name: two
    community.docker.docker_container:
      name: glm
      image: {IMAGE}
      command: sglang serve --model-path m
      env: {{A: "1"}}
  - name: three
    ansible.builtin.command: {{cmd: sglang serve --port 1}}
  - name: four
    ansible.builtin.command:
      argv: [sglang, serve, --port, 2]
"""
SUPERVISOR = """[supervisord]
nodaemon=true
[program:glm]
command=/opt/venv/bin/python -m sglang.launch_server --model-path m
  --port %(ENV_PORT)s
environment=A="1",B='x y'
[program:other]
command = sglang serve --model-path n ; a remark
"""
WORKFLOW = """jobs:
  test:
    steps:
    - name: launch
      env: {NCCL_DEBUG: INFO}
      run: |
        sglang serve --model-path ${{ inputs.model }} &
"""
TASK = f"""{{"containerDefinitions": [{{"name": "glm", "image": "{IMAGE}", "command": ["--model-path", "m"],
 "entryPoint": ["python3", "-m", "sglang.launch_server"], "environment": [{{"name": "A", "value": "1"}}]}}]}}"""
HELM = f"""{{{{- with .Values.server }}}}
apiVersion: apps/v1
metadata:
  name: {{{{ include "helm.fullname" $ }}}}
  labels:
    {{{{- include "helm.labels" $ | nindent 4 }}}}
spec:
  containers:
  - name: server
    image: {IMAGE}
    command: [bash, -c]
    args:
    - |
      sglang serve --model-path m \\
        {{{{- range .args }}}}
        {{{{ . }}}} \\
        {{{{- end }}}}
        --port 8000
{{{{- end }}}}
"""
NOTEBOOK = '{"cells": [{"cell_type": "code", "source": ["!sglang serve \\\\\\n", "  --tp 8"]}]}'
RUNNER = """import os
import subprocess
cmd = [
    python_bin, "-m", "sglang.launch_server",
    "--model-path", model,  # it's the model
    *(extra or []),
]
if tp:
    cmd += ["--tp-size", str(tp)]
cmd.extend(["--host", "0.0.0.0"])
cmd.append("--trust-remote-code")
subprocess.Popen(cmd, env={**os.environ, "NCCL_P2P_LEVEL": "SYS"})
"""
FILLED = """from sglang.utils import launch_server_cmd
command = f"python3 -m sglang.launch_server --model-path {path} --port 1"
if parser:
    command += f" --reasoning-parser {parser}"
"""
HCL = f"""task "glm" {{
  config {{
    image = "{IMAGE}"
    args = ["-m", "sglang.launch_server", "--model-path", "m"]
  }}
}}
"""
LOGGED = """launcher_cmd: ['sglang serve --tp 8 --x \\'{"a": true, "b": 8}\\' --y']"""
UNQUOTED = """cat > /etc/containers/systemd/glm.container <<EOF
[Container]
Image=lmsysorg/sglang:v0.5.20
Exec=sglang serve --tp-size ${N:-5}
EOF
"""
ISSUE = """### Reproduce
```bash
export A=1
sglang serve --port 1
```
and
~~~yaml
services:
  two: {image: "lmsysorg/sglang:v0.5.20", command: ["--model-path", "m"]}
~~~
```ini
[Service]
ExecStart=/usr/bin/sglang serve --port 3
```
```
docker run lmsysorg/sglang:v0.5.20 sglang serve --port 4
```
"""
FORUM = "> I run\n>\n> ```\n> sglang serve \\\n>   --tp 8\n> ```\n> and more\n"
DIFF = "@@ -1,2 +1,2 @@\n-$ sglang serve ---port 1\n+$ sglang serve --port 1\n"
PAGE = "<details><summary>it</summary>\n\n<pre><code>sglang serve --tp 8</code></pre>\n</details>"
ON_HOST = "is run by the unit"

FORMS: dict[str, tuple[str, list[Wanted]]] = {
    "config": (
        CONFIG,
        [
            Wanted(
                "config",
                "--model-path nvidia/GLM-5.2-NVFP4 --tensor-parallel-size 8 --trust-remote-code"
                " --cuda-graph-bs 1 2",
            )
        ],
    ),
    "recipe": (
        RECIPE,
        [
            Wanted(
                "options",
                "--model-path /model/ --tensor-parallel-size 4",
                "prefill",
                {"NCCL_DEBUG": "INFO"},
                "0.5.20",
                line=8,
            ),
            Wanted("options", "--kv-cache-dtype fp8_e4m3", "decode", release="0.5.20", line=11),
        ],
    ),
    "chart": (
        CHART,
        [
            Wanted(
                "options",
                "--model-path m --tp-size 8 --trust-remote-code",
                env={"NCCL_DEBUG": "INFO"},
                release="0.5.20",
                line=4,
            )
        ],
    ),
    "chart with a string": (
        STRING,
        [Wanted("options", "--model-path m --tp 8", release="0.5.20", line=3)],
    ),
    "chart of the vLLM production stack": (
        STACK,
        [
            Wanted("options", "--max-model-len 4096 --enable-prefix-caching --max-num-seqs 8", "one", line=7),
            Wanted(
                "options",
                '--limit-mm-per-prompt {"image":5} --tool-call-parser glm47 --served-model-name m n',
                "two",
                release="0.32.0",
                line=20,
            ),
            Wanted("options", "--max-num-seqs 8", "three", line=27),
        ],
    ),
    "kind of the vLLM production stack": (
        'kind: VLLMRuntime\nspec:\n  extraArgs:\n  - "--max-num-seqs"\n  - "8"\n',
        [Wanted("options", "--max-num-seqs 8", line=4)],
    ),
    "inference service": (
        SERVICE,
        [
            Wanted(
                "kubernetes",
                "--model-path m",
                "kserve-container",
                {"K": "valueFrom configMapKeyRef cm"},
                "0.5.20",
                line=8,
            )
        ],
    ),
    "ray cluster": (
        RAY,
        [
            Wanted("kubernetes", "--nnodes 2", "head", release="0.5.20", line=5),
            Wanted("kubernetes", "--nnodes 2", "workerGroupSpecs w", release="0.5.20", line=7),
        ],
    ),
    "dynamo": (
        DYNAMO,
        [
            Wanted(
                "kubernetes", "--model-path m", "decode", {"NCCL_DEBUG": "INFO", "A": "0"}, line=13
            )
        ],
    ),
    "ansible": (
        ANSIBLE,
        [
            Wanted(
                "ansible",
                "--tp-size {{ tp | default(8) }}",
                "one",
                outside="{{ tp | default(8) }}",
                line=5,
            ),
            Wanted("ansible", "--model-path m", "glm", {"A": "1"}, "0.5.20", line=10),
            Wanted("ansible", "--port 1", "three", line=13),
            Wanted("ansible", "--port 2", "four", line=16),
        ],
    ),
    "supervisord": (
        SUPERVISOR,
        [
            Wanted(
                "supervisord",
                "--model-path m --port %(ENV_PORT)s",
                "glm",
                {"A": "1", "B": "x y"},
                outside="%(ENV_PORT)s",
                line=4,
            ),
            Wanted("supervisord", "--model-path n", "other", line=8),
        ],
    ),
    "workflow": (
        WORKFLOW,
        [
            Wanted(
                "workflow",
                "--model-path ${{ inputs.model }}",
                "launch",
                {"NCCL_DEBUG": "INFO"},
                outside="${{ inputs.model }}",
                line=7,
            )
        ],
    ),
    "task definition": (
        TASK,
        [Wanted("task definition", "--model-path m", "glm", {"A": "1"}, "0.5.20", line=2)],
    ),
    "helm template": (
        HELM,
        [
            Wanted(
                "kubernetes",
                "--model-path m {{ . }} --port 8000",
                "server",
                release="0.5.20",
                outside="{{ . }}",
                line=14,
            )
        ],
    ),
    "notebook": (NOTEBOOK, [Wanted("shell", "--tp 8")]),
    "python": (
        RUNNER,
        [
            Wanted(
                "python",
                "--model-path model *(extra or []) --tp-size str(tp) --host 0.0.0.0"
                " --trust-remote-code",
                env={"NCCL_P2P_LEVEL": "SYS"},
                outside="*(extra or []) model str(tp)",
                line=3,
            )
        ],
    ),
    "python string": (
        FILLED,
        [
            Wanted(
                "python",
                "--model-path {path} --port 1 --reasoning-parser {parser}",
                outside="{parser} {path}",
                line=2,
            )
        ],
    ),
    "hcl": (
        HCL,
        [
            Wanted(
                "list",
                "--model-path m",
                release="0.5.20",
                notes=("the release is 0.5.20, which this text names for sglang",),
                line=4,
            )
        ],
    ),
    "logged": (LOGGED, [Wanted("list", '--tp 8 --x {"a": true, "b": 8} --y')]),
    "quadlet in a script": (
        UNQUOTED,
        [Wanted("quadlet", "--tp-size 5", "glm.container", release="0.5.20", line=4)],
    ),
    "issue": (
        ISSUE,
        [
            Wanted("shell", "--port 1", env={"A": "1"}, line=4),
            Wanted("compose", "--model-path m", "two", release="0.5.20", line=9),
            Wanted("systemd", "--port 3", line=13),
            Wanted("docker run", "--port 4", env={}, release="0.5.20", line=16),
        ],
    ),
    "forum": (FORUM, [Wanted("shell", "--tp 8", line=4)]),
    "diff": (DIFF, [Wanted("shell", "--port 1", line=3)]),
    "web page": (PAGE, [Wanted("shell", "--tp 8", line=3)]),
    "powershell": ("sglang serve `\n  --tp 8 `\n  --port 1\n", [Wanted("shell", "--tp 8 --port 1")]),
    "cmd": ("sglang serve ^\r\n  --tp 8\r\n", [Wanted("shell", "--tp 8")]),
    "procfile": ("web: sglang serve --port $PORT\n", [Wanted("yaml", "--port $PORT", "web", outside="$PORT")]),
}  # fmt: skip


@pytest.mark.parametrize("name", FORMS)
def test_every_launch_of_a_form_is_read_with_its_name_and_values(name: str) -> None:
    text, wanted = FORMS[name]
    found = read(text)

    assert [of(one) for one in found.launches] == wanted
    assert found.unread == ()


@pytest.mark.parametrize("name", FORMS)
def test_a_word_that_has_a_place_stands_there(name: str) -> None:
    text, _ = FORMS[name]
    for launch in read(text).launches:
        for word in (*launch.arguments, *launch.variables.values()):
            if word.span:
                assert text[slice(*word.span)] in (word.value, word.value.replace("-", "_"))


WRAPPED = {
    "numactl --cpunodebind=0 --membind=0 @": ("shell", {}),
    "taskset -c 0-15 @": ("shell", {}),
    "nsys profile -o x --trace=cuda @": ("shell", {}),
    "uv run --with sglang @": ("shell", {}),
    "conda run -n x @": ("shell", {}),
    "torchrun --nproc-per-node 8 -m sglang.launch_server --model-path m": ("shell", {}),
    "env A=1 @": ("shell", {"A": "1"}),
    "A=1 @": ("shell", {"A": "1"}),
    "sudo -E A=1 @": ("shell", {"A": "1"}),
    "nohup @ > log 2>&1 &": ("shell", {}),
    "exec @": ("shell", {}),
    "time stdbuf -oL @": ("shell", {}),
    "timeout 3600 @": ("shell", {}),
    "tmux new -d -s x 'A=1 @'": ("shell", {"A": "1"}),
    "tmux send-keys -t x '@' C-m": ("shell", {}),
    "screen -dm @": ("shell", {}),
    "screen -dmS x bash -c '@'": ("shell", {}),
    "ssh host 'A=1 @'": ("shell", {"A": "1"}),
    "ssh -t host @": ("shell", {}),
    "srun --nodes=2 @": ("shell", {}),
    "docker exec -e A=1 -it glm @": ("docker exec", {"A": "1"}),
    "docker exec glm bash -c '@'": ("docker exec", {}),
    "kubectl exec -it pod -- @": ("shell", {}),
    "!@": ("shell", {}),
    "$ @": ("shell", {}),
    "> @": ("shell", {}),
    "systemd-run --user -E A=1 @": ("shell", {"A": "1"}),
    "root  1234  5.0  0.1 1 7 ?  Sl 10:00 0:05 @": ("shell", {}),
}  # fmt: skip
PROGRAMS = (
    "python3 -m sglang.launch_server",
    "sglang serve",
    "python3 -m dynamo.sglang",
    "python3 /opt/sglang/launch_server.py",
)


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("wrapped", WRAPPED)
def test_what_starts_a_server_for_another_is_seen_through(wrapped: str, program: str) -> None:
    form, env = WRAPPED[wrapped]
    found = read(wrapped.replace("@", f"{program} --model-path m"))

    assert [of(one) for one in found.launches] == [Wanted(form, "--model-path m", env=env)]


@pytest.mark.parametrize(
    ("text", "notes"),
    [
        ("sglang serve --config /c.yaml", ("options of /c.yaml are not read",)),
        ("sglang serve --config=/c.yaml --tp 8", ()),
        ("docker run --env-file a.env x/sglang:v1 sglang serve -x", ("variables of a.env are not read",)),
        ("set -a; . ./glm.env; set +a; sglang serve", ("./glm.env is sourced, and not read",)),
        ("source /etc/x.env\nsglang serve", ("/etc/x.env is sourced, and not read",)),
        (
            "services: {a: {env_file: [x.env, {path: y.env}], command: sglang serve --tp 8}}",
            ("variables of x.env are not read", "variables of y.env are not read"),
        ),
        (
            "containers: [{envFrom: [{secretRef: {name: s}}], args: [sglang, serve]}]",
            ("variables of secretRef s are not read",),
        ),
        (
            "[Service]\nEnvironmentFile=-/etc/x.env\nExecStart=sglang serve",
            ("variables of /etc/x.env are not read",),
        ),
    ],
)  # fmt: skip
def test_what_stands_in_another_file_is_said(text: str, notes: tuple[str, ...]) -> None:
    [launch] = read(text).launches

    assert launch.notes == notes


@pytest.mark.parametrize(
    ("text", "unread"),
    [
        ("import sglang as sgl\nsgl.Engine(model_path='m')\n", "sgl.Engine("),
        ("server_args=ServerArgs(model_path='m', tp_size=8)", "ServerArgs("),
        ("bash /opt/start.sh m 8000\n", "/opt/start.sh is run, and not read"),
        ("./start-glm.sh\n", "./start-glm.sh is run, and not read"),
        ('R=a\nexec bash "$R/serve.sh"\n', "a/serve.sh is run, and not read"),
        ("exec env A=1 bash -e ./x.sh 1\n", "./x.sh is run, and not read"),
        ("sudo nohup ./x.sh &\n", "./x.sh is run, and not read"),
        ("srun --nodes=2 x.sh\n", "x.sh is run, and not read"),
        ("services: {a: {command: [sglang, serve\n", "it is no valid YAML"),
    ],
)
def test_what_starts_a_server_and_is_no_launch_is_said(text: str, unread: str) -> None:
    found = read(text)

    assert not found.launches
    assert [one for one in found.unread if one.startswith(unread)]


def pod(*ports: str, more: str = "") -> str:
    containers = "".join(
        f"  - {{name: c{at}, args: [sglang, serve, --tp, 8{port}]}}\n"
        for at, port in enumerate(ports)
    )
    return f"apiVersion: v1\nkind: Pod\nspec:\n  {more}\n  containers:\n{containers}"


def test_two_servers_of_a_pod_on_one_port_are_told() -> None:
    told = [one.notes for one in read(pod("", ", --port, 30000", ", --port, 1")).launches]

    said = "listens to port 30000 of the pod at line 5, as {} does: only one of them can"
    assert told == [(said.format("c1"),), (said.format("c0"),), ()]


@pytest.mark.parametrize(
    "text",
    [
        pod("", ", --port, 1"),
        pod("") + "---\n" + pod(""),
        "services: {a: {command: sglang serve}, b: {command: sglang serve}}",
        "docker run --net=host x/sglang sglang serve --nnodes 2 --node-rank 0\n"
        "docker run --net=host x/sglang sglang serve --nnodes 2 --node-rank 1\n",
        pod(", --port, '{{ one }}'", ", --port, '{{ two }}'"),
    ],
)
def test_servers_that_share_no_network_are_not_told_of_their_ports(text: str) -> None:
    assert [one.notes for one in read(text).launches] == [(), ()]


def test_servers_on_the_network_of_the_host_are_told_of_their_port() -> None:
    text = "docker run --network host --name {0} x/sglang sglang serve --port 1\n"
    one, two = read(text.format("a") + text.format("b")).launches

    assert "listens to port 1 of the network of the host, as b does" in one.notes[0]
    assert "as a does" in two.notes[0]


def test_a_printed_command_is_a_launch_where_there_is_no_other() -> None:
    text = 'echo "run: sglang serve --port 1"\n'
    [alone] = read(text).launches
    [real] = read(f"{text}sglang serve --port 2\n").launches

    assert (alone.words, real.words) == (("--port", "1"), ("--port", "2"))
    assert alone.notes == ("the script prints this command, and does not run it",)


@pytest.mark.parametrize(
    "holder",
    [
        "<N>",
        "<...>",
        "<YOUR_KEY>",
        "<node0 ip>",
        "<your-model-path>",
        "YOUR_KEY",
        "{{ x }}",
        "${{ secrets.X }}",
    ],
)
def test_a_placeholder_is_a_value_from_outside(holder: str) -> None:
    [launch] = read(f"export A={holder}\nB={holder} sglang serve --x {holder} --y 1").launches

    assert launch.words == ("--x", holder, "--y", "1")
    assert launch.outside == {holder}
    assert not any(launch.variables[name].known for name in ("A", "B"))


@pytest.mark.parametrize(
    "text",
    [
        "docker run lmsysorg/sglang:dev python3 -m sglang.bench_serving --port 1",
        "python -m sglang_router.launch_router --pd-disaggregation",
        "docker run -it lmsysorg/sglang:dev bash",
        "pip install sglang==0.5.20",
    ],
)
def test_what_is_no_server_is_no_launch(text: str) -> None:
    assert not [one for one in read(text).launches if one.form != "options"]


@pytest.mark.parametrize(
    ("image", "release"),
    [
        ("lmsysorg/sglang:v0.5.20-cu130", "0.5.20"),
        ("10.0.0.1:5000/aip/sglang:0.5.2rc0", "0.5.2"),
        ("nvcr.io/nvidia/ai-dynamo/sglang-runtime:0.7.0", None),
        ("lmsysorg/sglang:latest", None),
        ("x/sglang-router:v0.3.0", None),
    ],
)
def test_a_release_is_that_of_the_engine_itself(image: str, release: str | None) -> None:
    [launch] = read(f"docker run {image} sglang serve --tp 8").launches

    assert launch.release == release


def test_line_ends_of_windows_are_told_where_a_shell_reads_them() -> None:
    script = "sglang serve --model-path m \\\n  --tp-size 8\n"
    file = 'FROM lmsysorg/sglang:v0.5.23\nCMD ["sglang", "serve", "--model-path", "m"]\n'
    for text, is_told in ((script, True), (file, False)):
        [launch] = read(text.replace("\n", "\r\n")).launches
        assert any("dos2unix" in note for note in launch.notes) == is_told
        [plain] = read(text).launches
        assert not any("dos2unix" in note for note in plain.notes)
        assert launch.words == plain.words


def test_what_stands_in_earlier_documents_hides_none_of_a_later_one() -> None:
    """A node that is gone leaves its place in memory to another one."""
    service = "kind: Service\nspec: {ports: [{port: 8000}], selector: {app: a}}\n---\n"
    pod = (
        "kind: Pod\nspec:\n  containers:\n  - command: [bash, -c]\n    args:\n    - |\n"
        "      vllm serve m/x --tensor-parallel-size 8\n"
        '    resources: {limits: {nvidia.com/gpu: "4"}}\n'
    )
    for number in range(40):
        (launch,) = read(service * number + pod).launches
        assert (launch.form, launch.engine) == ("kubernetes", "vllm"), number
