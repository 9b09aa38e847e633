"""Every launch of a text is found, named and judged; what was not read is said."""

from __future__ import annotations

import json

import pytest
from conftest import World

from launcher.api.lint import lint, to_json
from launcher.cli.plan import FORMS
from launcher.engines.target import Target
from launcher.formats.reading import MOST, read
from launcher.formats.writers import CONTAINERS, WRITERS
from launcher.lint.run import judge

LEADER = """apiVersion: leaderworkerset.x-k8s.io/v1
spec:
  leaderWorkerTemplate:
    leaderTemplate:
      spec:
        containers:
        - name: sglang
          image: lmsysorg/sglang:v0.5.20
          command: [bash, -c, "python3 -m sglang.launch_server --model-path m --nnodes 2 --node-rank $(LWS_WORKER_INDEX)"]
          env:
          - {name: HF_TOKEN, valueFrom: {secretKeyRef: {name: hf, key: token}}}
          envFrom:
          - configMapRef: {name: x}
    workerTemplate:
      spec:
        containers:
        - name: sglang
          command: ["sglang", "serve"]
          args: ["--model-path", "m", "--tp-size", "{{ tp }}"]
"""
TWO = """services:
  prefill:
    image: lmsysorg/sglang:v0.5.20
    env_file: x.env
    command: >
      python3 -m sglang.launch_server --model-path m
      --disaggregation-mode prefill --port ${PORT:-30000}
  decode:
    image: lmsysorg/sglang:v0.5.20
    command: ["--model-path", "m", "--disaggregation-mode", "decode", "--price", "$$5"]
"""
QUADLET = """[Container]
Image=docker.io/lmsysorg/sglang:v0.5.22
ContainerName=glm
Environment=NCCL_DEBUG=WARN
Exec=python3 -m sglang.launch_server --model-path m --port %i
"""
DOCKERFILE = """FROM lmsysorg/sglang:v0.5.16
ENV A=1 \\
    B="x y"
ENTRYPOINT ["python3", "-m", "sglang.launch_server"]
CMD ["--model-path", "m", "--tp", "8"]
"""
CELL = """  flags: [
   "--model-path {{MODEL_NAME}}",
   "--mem-fraction-static 0.92",
  ]
"""
CHART = """server:
  image: lmsysorg/sglang:v0.5.20
  extraArgs:
  - --model-path
  - m
  - --tp-size
  - "8"
"""
WRITTEN = "cat > run.sh <<'EOF'\n#!/bin/sh\nexec sglang serve --model-path m --tp 4\nEOF\nchmod +x run.sh\n"
IMAGE = (
    "docker run --gpus all -p 30000:30000 -v /m:/m lmsysorg/sglang:v0.5.21 --model-path m --tp 2"
)


def told(text: str) -> list[tuple[str, str, list[str]]]:
    return [(one.name, one.form, list(one.words)) for one in read(text).launches]


def test_each_pod_of_a_group_is_a_launch_of_its_own() -> None:
    leader, worker = read(LEADER).launches

    assert (leader.name, worker.name) == ("leaderTemplate sglang", "workerTemplate sglang")
    assert leader.words[-1] == "$(LWS_WORKER_INDEX)"
    assert leader.outside == {"$(LWS_WORKER_INDEX)"}
    assert leader.env == {"HF_TOKEN": "valueFrom secretKeyRef hf"}
    assert not leader.variables["HF_TOKEN"].known
    assert leader.notes == ("variables of configMapRef x are not read",)
    assert worker.words[-1] == "{{ tp }}"
    assert not worker.arguments[-1].known


def test_each_service_of_a_compose_file_is_a_launch_with_its_name() -> None:
    prefill, decode = read(TWO).launches

    assert (prefill.name, decode.name) == ("prefill", "decode")
    assert prefill.words[-2:] == ("--port", "30000")
    assert prefill.notes == ("variables of x.env are not read",)
    assert decode.words[-1] == "$5"
    assert {one.release for one in (prefill, decode)} == {"0.5.20"}


@pytest.mark.parametrize(
    ("text", "form", "words"),
    [
        (QUADLET, "quadlet", ["--model-path", "m", "--port", "%i"]),
        (DOCKERFILE, "dockerfile", ["--model-path", "m", "--tp", "8"]),
        (CELL, "options", ["--model-path", "{{MODEL_NAME}}", "--mem-fraction-static", "0.92"]),
        (CHART, "options", ["--model-path", "m", "--tp-size", "8"]),
        (WRITTEN, "shell", ["--model-path", "m", "--tp", "4"]),
        (IMAGE, "docker run", ["--model-path", "m", "--tp", "2"]),
    ],
)
def test_a_launch_is_read_in_the_form_that_it_has(text: str, form: str, words: list[str]) -> None:
    [(_, found, said)] = told(text)

    assert (found, said) == (form, words)


def test_a_text_is_read_to_where_it_says_and_no_further() -> None:
    found = read("sglang serve --model-path m\n" + "#" * MOST)

    assert [one.words for one in found.launches] == [("--model-path", "m")]
    [note] = found.unread
    assert note.startswith(f"only the first {MOST} characters were read: ")


def test_a_unit_that_runs_a_script_names_the_script() -> None:
    found = read("[Service]\nExecStart=/opt/start-glm.sh\n")

    assert not found.launches
    assert found.unread == ("/opt/start-glm.sh is run by the unit, and not read",)


PIECES = {
    "parentheses": "(", "braces": "{ ", "expansions": "${", "substitutions": "$(", "quotes": '"', "dollars": "$",
    "branches": "if true; then ", "items": "case x in a) b;; ", "loops": "for a in 1 2 3; do ", "words": "a ",
    "commands": "sglang serve --model-path m\n", "templates": "{{", "placeholders": "<a", "documents": "<<A\n",
    "signs": "%(a)s", "fences": "```yaml\na: b\n```\n", "unclosed fences": "```\n--x\n", "triple quotes": "\'\'\'",
    "lists": '["sglang.launch_server", "--x", ', "additions": 'x += ["--a"]\n', "tables": "tp-size: 8\nport: 1\n",
    "written files": "cat > f <<EOF\nsglang serve\nEOF\n", "printed": 'echo "sglang serve --a"\n', "tags": "<details>",
    "statements": "{{- if }}\n", "programs": "[program:x]\ncommand=sglang serve\n", "alternatives": "{a,b}", "bytes": "\0\x7f\xff",
    "doubling": "A=$A$A\n", "dashes": "- ", "brackets": "[ ", "anchors": "b: *a\n",
}  # fmt: skip


@pytest.mark.parametrize("piece", PIECES.values(), ids=PIECES)
def test_a_hostile_text_ends_soon(piece: str) -> None:
    """As long as what is read at most, a fourth of it in a tree; the bound is the one of every
    test.
    """
    shell, tree = "A=xx\nsglang serve --model-path m ", "a: &a [x]\ncommand: [sglang, serve]\n"
    for head, length in ((shell, MOST), (tree, MOST // 4)):
        found = read(head + piece * (length // len(piece)))

        assert len(found.launches) <= 100


def test_two_launches_are_judged_and_the_worst_decides(world: World) -> None:
    text = (
        "sglang serve --model-path zai-org/GLM-5 --tp-size 8 --port 1 &\n"
        "sglang serve --model-path zai-org/GLM-5 --tp-size 8 --bogus 1 &\n"
    )
    script = world.folder / "two.sh"
    script.write_text(text)
    said = world.run("lint", str(script), "--release", "0.5.23", "--json")
    shown = world.run("lint", str(script), "--release", "0.5.23")

    assert said.returncode == shown.returncode == 1
    launches = json.loads(said.stdout)["launches"]
    assert [one["line"] for one in launches] == [1, 2]
    assert "2 launches, 1 will not run, or not correctly" in shown.stdout


def test_a_key_is_shown_nowhere(world: World) -> None:
    script = world.folder / "key.sh"
    script.write_text(
        "HF_TOKEN=hf_sekret sglang serve --model-path zai-org/GLM-5 --api-key sekret-1 --host 0.0.0.0"
    )
    for words in ((), ("--json",), ("--release", "0.5.23"), ("--release", "0.5.23", "--json")):
        said = world.run("lint", str(script), *words)

        assert "sekret" not in said.stdout + said.stderr
        assert "[redacted]" in said.stdout


KEY = "sekret-0123456789"
PLACES = [
    "L --api-key {key}", "L --api-key={key}", "L --api_key {key}", "L --apikey {key}", "L --API-KEY={key}",
    "L --api-key 'a\n{key}'", "L --api-key $(echo {key})", "L --api-key <(echo {key})", "L api-key={key}",
    "L --tp {key} --api-key {key}", "https_proxy=http://u:{key}@p:1 L", "HTTPS_PROXY=http://{key}@p:1 L",
    "L --tokenizer-path '/m?token={key}'", "HF_TOKEN={key} L", "L --json-model-override-args '{{\"api_key\": \"{key}\"}}'",
    "export HF_TOKEN={key}; L", "docker run -e HF_TOKEN={key} sglang:v0.5.23 --model-path zai-org/GLM-5 --api-key {key}",
]  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
def test_a_key_is_not_shown_wherever_it_stands(place: str) -> None:
    """As a program sees it; a person is shown the same texts."""
    text = place.format(key=KEY).replace("L", "sglang serve --model-path zai-org/GLM-5", 1)
    told = to_json(lint(text, Target("0.5.23", "sm120")))

    assert told["launches"]
    assert "fix" in told
    assert KEY not in json.dumps(told)


def test_many_unknown_options_are_judged_soon() -> None:
    """The bound is the one of every test; each looked up among all names would take a minute."""
    text = f"sglang serve {' '.join(f'--x{number} 1' for number in range(900))}"
    [judged] = judge(text, Target(None, "sm120")).launches

    assert all(len(entries) == 900 for entries in judged.releases.values())


def test_values_from_outside_are_not_judged_and_stay(world: World) -> None:
    script = world.folder / "wrapper.sh"
    script.write_text(
        "sglang serve --model-path $MODEL --tp-size ${TP} --port $((PORT + 1)) $EXTRA"
    )
    said = world.run("lint", str(script), "--release", "0.5.23")

    assert said.returncode == 0, said.stdout
    assert "filled in from outside, unknown here: " in said.stdout
    assert "nothing to change" in said.stdout


def test_a_container_that_publishes_a_port_still_listens_to_it(world: World) -> None:
    script = world.folder / "published.sh"
    script.write_text(f"{IMAGE} --host 0.0.0.0")
    said = world.run("lint", str(script), "--release", "0.5.23", "--json")
    [launch] = json.loads(said.stdout)["launches"]
    words = launch["releases"]["0.5.23"]["instead"]["argv"]

    assert words[words.index("--host") + 1] == "0.0.0.0"


def test_the_command_offers_every_form_that_can_be_written() -> None:
    assert set(FORMS) == {*WRITERS, *CONTAINERS, "json"}


ODD_WORDS = """x-common: &c
  image: lmsysorg/sglang:v0.5.20
  environment: &e {NCCL_DEBUG: INFO, A: yes, B: "0o17", C: '1e3', D: !!binary aGVsbG8=, E: on, F: !!binary "?"}
x-more: &m
  environment: {NCCL_DEBUG: TRACE, A: no}
services:
  a:
    <<: [*c, *m]
    environment:
      <<: *e
      NCCL_DEBUG: WARN
    command: [python3, -m, sglang.launch_server, --model-path, !!binary bQ==, --port, "8001", --tp, &tp 8]
"""


def test_odd_words_of_yaml_are_what_a_container_gets() -> None:
    """No word becomes a truth or a number, a text in base64 is that text, and what stands in the
    nearest table counts.
    """
    (found,) = read(ODD_WORDS).launches

    assert [word.value for word in found.arguments] == "--model-path m --port 8001 --tp 8".split()
    told = {name: word.value for name, word in found.variables.items()}
    assert told == {
        "NCCL_DEBUG": "WARN",
        "A": "yes",
        "B": "0o17",
        "C": "1e3",
        "D": "hello",
        "E": "on",
        "F": "?",
    }
