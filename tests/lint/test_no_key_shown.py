"""A key in a launch stands in nothing that `lint` prints, however the launch is written."""

from __future__ import annotations

import tomllib
from itertools import cycle
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from launcher.engines.engine import NAMES
from launcher.engines.target import Target
from launcher.errors import UserError
from launcher.lint.run import judge
from launcher.output.lint import Ask, run

NAMED = ("VLLM_API_KEY", "SGLANG_API_KEY", "HF_TOKEN", "MY_SECRET", "OPENAI_API_KEY", "DB_PASSWORD")
SERVE = "vllm serve m -tp 8 --swap-space 4"
RUN = "docker run --gpus all"
IMAGE = "vllm/vllm-openai:v0.33.0 --model m -tp 8 --swap-space 4"
POD = """apiVersion: v1
kind: Pod
metadata: {name: a}
spec:
  containers:
"""
# Each with NAME and KEY in it; some hand the variable on, some do not.
FORMS = {
    "set": f"NAME=KEY\n{SERVE}\n",
    "quoted": f"NAME='KEY'\n{SERVE}\n",
    "exported": f"export NAME=KEY\n{SERVE}\n",
    "under another name": f"export NAME=KEY\nexport OTHER=x-$NAME\n{SERVE[:21]}\n",
    "before": f"NAME=KEY {SERVE}\n",
    "env": f"env NAME=KEY {SERVE}\n",
    "default": f"export NAME=${{NAME:-KEY}}\n{SERVE}\n",
    "default of an option": f"{SERVE} --api-key ${{NAME:-KEY}}\n",
    "option": f"{SERVE} --api-key KEY\n",
    "joined": f"{SERVE} --api-key=KEY\n",
    "two keys": f"{SERVE} --api-key KEY KEY\n",
    "option by variable": f"X=KEY\n{SERVE} --api-key $X\n",
    "option and variable": f"NAME=KEY\n{SERVE} --api-key KEY\n",
    "member of an option": f"{SERVE} --kv-transfer-config.kv_connector_extra_config.api_key KEY\n",
    "option of another engine": f"{SERVE} --ssl-keyfile-password KEY\n",
    "sglang": "NAME=KEY\npython3 -m sglang.launch_server --model-path m --tp 8 --api-key KEY\n",
    "misspelt": f"{SERVE} --api_key KEY\n",
    "options": "--model-path m --tp-size 8 --api-key KEY\n",
    "not handed on": f"export NAME=KEY\n{RUN} {IMAGE}\n",
    "neither": f"NAME=KEY\n{RUN} {IMAGE}\n",
    "handed on": f"{RUN} -e NAME=KEY {IMAGE}\n",
    "password of a url": f"{SERVE} --chat-template https://user:KEY@example.com/x.jinja\n",
    "parameter of a url": f"{SERVE} --otlp-traces-endpoint 'http://h:4317/?token=KEY'\n",
    "member of JSON": f"""{SERVE} --hf-overrides '{{"api_key": "KEY", "a": 1}}'\n""",
    "password in JSON": f"""{SERVE} --hf-overrides '{{"a": {{"db_password": "KEY"}}}}'\n""",
    "token in JSON": f"""{SERVE} --additional-config '{{"hf_token": "KEY"}}'\n""",
    "url in a variable": f"export PROXY=http://user:KEY@h:3128\n{SERVE}\n",
    "container": f"{RUN} {IMAGE} --api-key KEY\n",
    "other command": f"curl -H 'Authorization: Bearer KEY' http://h/\nNAME=KEY\n{SERVE}\n",
    "another launch": f"{SERVE}\n{SERVE} --port 9 --api-key KEY\nNAME=KEY {SERVE}\n",
    "compose": "services:\n  a:\n    image: vllm/vllm-openai:v0.33.0\n"
    "    environment:\n      NAME: KEY\n    command: --model m -tp 8\n",
    "compose list": "services:\n  a:\n    image: vllm/vllm-openai:v0.33.0\n"
    "    environment:\n      - NAME=KEY\n    command: --model m -tp 8 --swap-space 4\n"
    "  b:\n    image: x\n    environment: {NAME: KEY}\n",
    "pod": f"{POD}  - name: s\n    image: vllm/vllm-openai:v0.33.0\n"
    "    env:\n    - name: NAME\n      value: KEY\n    args: [--model, m, -tp, '8']\n",
    "pod's other container": f"{POD}  - name: f\n    image: x\n    env:\n"
    "    - name: NAME\n      value: 'KEY'\n"
    "  - name: s\n    image: vllm/vllm-openai:v0.33.0\n    args: [--model, m, --swap-space, '4']\n",
    "unit": f"[Service]\nEnvironment=NAME=KEY\nExecStart=/usr/bin/{SERVE}\n",
    "dockerfile": 'FROM vllm/vllm-openai:v0.33.0\nENV NAME=KEY\nCMD ["--model", "m", "-tp", "8"]\n',
    "heredoc": f"NAME=KEY\nbash <<E\n{SERVE}\nE\n",
    "shell in shell": f"NAME=KEY bash -c '{SERVE}'\n",
}
WAYS = ("show", "all-releases", "fix", "profile", "to")
KEYS = st.from_regex(r"[A-Za-z0-9]{3}[A-Za-z0-9._~+/-]{9,30}[A-Za-z0-9]", fullmatch=True)


def filled(form: str, name: str, key: str) -> str:
    """A launch with a key: what stands in its place is no part of any name."""
    return FORMS[form].replace("KEY", "\0").replace("NAME", name).replace("\0", key)


def everything(file: Path, capsys: pytest.CaptureFixture[str], ways: tuple[str, ...]) -> str:
    """All that is printed of a file, in each of these ways."""
    said = []
    for how in ways:
        for as_json in (False, True):
            for to in NAMES if how == "to" else ("",):
                try:
                    run(Ask(str(file), how, as_json, to), Target(None, "sm100"))
                except UserError as error:
                    said.append(str(error))
                said += capsys.readouterr()
    return "\n".join(said)


@pytest.mark.parametrize(("form", "name"), [*zip(FORMS, cycle(NAMED), strict=False)])
def test_no_key_is_printed(
    form: str, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In each way that there is; of all releases every other form, since they take the longest."""
    ways = tuple(way for way in WAYS if way != "all-releases" or [*FORMS].index(form) % 2 == 0)
    file = tmp_path / "launch"
    file.write_text(filled(form, name, "sk-prod-9988"))

    assert "9988" not in everything(file, capsys, ways).replace(str(tmp_path), "")


@pytest.mark.parametrize(
    "value",
    [
        '{"eos_token": "</s>", "max_tokens": "12", "cache_key": "request"}',
        '{"num_nextn_predict_layers": 1}',
        "https://example.com/a.jinja?version=2",
        "/models/secret/x.jinja",
    ],
)
def test_what_is_no_key_stays_in_a_profile(
    value: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "launch").write_text(f"{SERVE} --hf-overrides '{value}'\n")
    run(Ask(str(tmp_path / "launch"), "profile"), Target("0.33.0", "sm100"))

    made = tomllib.loads(capsys.readouterr().out)
    assert made["flags"]["hf-overrides"] == value


@given(st.sampled_from(sorted(FORMS)), st.sampled_from(NAMED), KEYS)
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_whatever_the_key_is(form: str, name: str, key: str) -> None:
    assume("token" not in form or not key.isdigit())  # `max_token` is a number, and no secret
    key = key.replace("/", "-") if "url" in form else key  # a URL's password has none of these
    text = filled(form, name, key)
    judgement = judge(text, Target("0.33.0", "sm100"))

    assert key not in judgement.hidden(text)
    for judged in judgement.launches:
        for entries in judged.releases.values():
            for entry in entries:
                said = (judged.sentence(one.instead or "") for one in entry.concerns)
                shown = " ".join((judged.hidden(f"{entry.name} {entry.value}"), *said))
                assert key not in shown


@given(st.sampled_from(sorted(FORMS)), st.sampled_from(NAMED))
@settings(max_examples=40, deadline=None)
def test_what_is_hidden_once_stays_as_it_is(form: str, name: str) -> None:
    text = filled(form, name, "sk-prod-9988")
    hidden = judge(text, Target("0.33.0", "sm100")).hidden

    assert hidden(hidden(text)) == hidden(text)
