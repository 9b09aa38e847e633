"""No command shows a secret of any form, whatever text of others it stands in; the rest of the line
stays, and what only sounds like a secret does, too.
"""

from __future__ import annotations

import json
from itertools import cycle, islice

import pytest
from conftest import World
from hypothesis import given
from hypothesis import strategies as st

from launcher.diagnose import verdict
from launcher.diagnose.text import diagnose_text
from launcher.engines.target import Target
from launcher.lint.run import judge
from launcher.output import diagnosis
from launcher.redact.keyspelling import HIDDEN
from launcher.redact.secrets import Lines, hide, hide_data

# A line with a secret in it; what of the line tells something is behind the bar.
FORMS = {
    "a variable": "export HF_TOKEN=hf_PLANTEDplantedPLANTED01 for the hub|export HF_TOKEN= for the hub",
    "a header": "sent Authorization: Bearer PLANTED.0123-x_y|sent Authorization: Bearer",
    "a bare bearer": "with Bearer PLANTED0123 it said 401|with Bearer it said 401",
    "a secret of AWS": "AWS_SECRET_ACCESS_KEY=PLANTED/x+y0123 in us-west-2|AWS_SECRET_ACCESS_KEY= in us-west-2",
    "a URL": "cannot reach https://user:PLANTED-pw@hub.example/api: 407|cannot reach https:// hub.example/api: 407",
    "a password": "connect failed: password=PLANTED1 port=5432|connect failed: password= port=5432",
    "a key of OpenAI": "Incorrect API key provided: sk-proj-PLANTEDplantedplanted|Incorrect API key provided",
    "a key of small letters": "the key sk-PLANTEDabcdefghijklmnop was refused|was refused",
    "a key with digits": "key sk-proj-PLANTED0123-abc_def was refused|was refused",
    "a token of the hub": "401 for hf_PLANTEDplantedPLANTED01, gated|401 for gated",
    "an option": "argv --hf-token PLANTED0123 --port 8000|argv --hf-token --port 8000",
    "a list of arguments": "['--api-key', 'PLANTED0123', '--port', '8000']|--api-key --port 8000",
    "a dictionary": "{'api_key': 'PLANTED0123', 'port': 1}|api_key port",
    "JSON": '{"password": "two words PLANTED", "level": "info"}|password level info',
    "JSON in JSON": r'{"body": "{\"api_key\":\"PLANTED0123\"}", "n": 1}|body api_key',
    "a parameter": "GET https://b.example/x?X-Amz-Signature=PLANTED&a=b 403|GET https://b.example/x 403",
    "a cookie": "Set-Cookie: sid=PLANTED0123; Path=/|Set-Cookie:",
    "a key of GitHub": "clone by ghp_PLANTEDplanted0123 failed|clone by failed",
    "a key of NVIDIA": "pull with nvapi-PLANTED0123456 failed|pull with failed",
    "a JSON web token": "jwt eyJhbGciOiJIUzI1NiJ9.PLANTEDpayload.PLANTEDsign expired|jwt expired",
    "a private key": r"key -----BEGIN PRIVATE KEY-----\nPLANTED\n-----END PRIVATE KEY----- read|key",
}  # fmt: skip
LINES = [form.partition("|")[0] for form in FORMS.values()]
PRIVATE = ["-----BEGIN RSA PRIVATE KEY-----", "PLANTEDplanted+/01", "PLANTED=", "-----END RSA PRIVATE KEY-----"]  # fmt: skip
INNOCENT = """
#token: 1920, token usage: 0.94, gen throughput (token/s): 35.12, max_total_num_tokens=180191
max_tokens=4096 max_new_tokens=16 num_tokens: 12 input_token_logprobs=[1, 2]
tokenizer='zai-org/GLM-5' tokenizer_mode=auto tokenizer: auto TOKENIZERS_PARALLELISM=false
KV cache: key=bf16 value=bf16 kv_cache_dtype=fp8_e4m3 token_to_kv_pool=MHATokenToKVPool
zai-org/GLM-5-NVFP4 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b commit 3fa9b1c
KeyError: 'model.layers.0.self_attn.k_proj.weight'
eos_token_id=151329, eos_token='<|endoftext|>', skip_tokenizer_init=False
api_key=None, 'api_key': None, an api_key is required
git+https://host:main/x@v1 http://127.0.0.1:8000/v1
torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.
"""


def tells(text: str, form: str) -> bool:
    """Whether what a line tells besides its secret is in a text."""
    return all(word in text for word in FORMS[form].partition("|")[2].split())


@pytest.mark.parametrize("form", FORMS)
def test_a_secret_of_each_form_is_hidden_and_the_rest_stays(form: str) -> None:
    line = FORMS[form].partition("|")[0]
    hidden = hide(line)

    assert "PLANTED" in line
    assert "PLANTED" not in hidden
    assert HIDDEN in hidden
    assert tells(hidden, form)
    assert hide(hidden) == hidden
    assert "PLANTED" not in json.dumps(hide_data({"a": [line], "b": {"c": line}}))


@given(st.sampled_from(LINES), st.text(max_size=30), st.text(max_size=30))
def test_whatever_stands_around_it(line: str, before: str, after: str) -> None:
    assert "PLANTED" not in hide(f"{before}\n{line} {after}\n{after}")


@pytest.mark.parametrize("text", INNOCENT.strip().splitlines())
def test_what_is_no_secret_stays(text: str) -> None:
    assert hide(text) == text
    assert Lines().hide(text) == text


@pytest.mark.parametrize("head", ["", "[2026-11-24 03:10:11 TP0] "])
def test_a_private_key_is_hidden_line_by_line_and_what_others_say_between_stays(head: str) -> None:
    between = f"{head}NCCL WARN it died"
    scrubber = Lines()
    shown = [
        scrubber.hide(line)
        for line in (*(head + one for one in PRIVATE[:2]), between, *PRIVATE[2:])
    ]

    assert "PLANTED" not in "".join(shown)
    assert shown[2] == between
    assert scrubber.hide("after") == "after", "it is over"


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("line", ["RuntimeError: {}", "[2026-11-24 03:10:11 TP0] RuntimeError: {}"])
def test_a_diagnosis_shows_none(form: str, line: str) -> None:
    log = line.format(FORMS[form].partition("|")[0])
    found = diagnose_text([f"{log}\n".encode()])
    shown = diagnosis.text(found)

    assert "PLANTED" not in shown + json.dumps(verdict.to_json(found))
    assert tells(shown, form), "it is the evidence"


def test_a_diagnosis_shows_no_line_of_a_private_key() -> None:
    found = diagnose_text(["\n".join([*PRIVATE, "end"]).encode()])

    assert "PLANTED" not in diagnosis.text(found)
    assert "end" in diagnosis.text(found)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("how", ["# {}", "echo '{}'", "vllm serve n --chat-template '{}'"])
def test_lint_shows_none(form: str, how: str) -> None:
    line = FORMS[form].partition("|")[0].replace("'", '"')
    text = f"{how.format(line)}\nvllm serve m -tp 8\n"
    hidden = judge(text, Target("0.33.0", "sm100")).hidden(text)

    assert "PLANTED" not in hidden
    assert hidden.endswith("\nvllm serve m -tp 8\n")


@pytest.mark.parametrize("line", [
    "foo --api-key PLANTED0123|tee log", "(foo password=PLANTED0123);ls", "foo --hf-token PLANTED0123&&bar",
    "foo --api-key \\\n  PLANTED0123 \\\n  --port 1", "foo --hf-token PLANTED0123\\\n", "# API_KEY=PLANTED0123 or ...",
])  # fmt: skip
def test_lint_leaves_what_stands_beside_one_in_a_shell(line: str) -> None:
    text = f"{line}\nvllm serve m -tp 8\n"
    hidden = judge(text, Target("0.33.0", "sm100")).hidden(text)

    assert hidden == text.replace("PLANTED0123", HIDDEN)


@pytest.mark.parametrize("text", [
    "use --api-key=... or API_KEY=...", "--api-key \\\n --port 8001", "Authorization: Bearer", "'authorization': 'Basic '",
])  # fmt: skip
def test_a_place_for_a_secret_is_none(text: str) -> None:
    assert hide(text) == text


def test_a_name_that_stands_for_a_secret_is_none() -> None:
    text = 'curl -H "Authorization: Bearer $KEY" http://h/\nvllm serve m --api-key ${KEY}\n'

    assert judge(text, Target("0.33.0", "sm100")).hidden(text) == text


def test_no_command_shows_what_a_server_printed(world: World) -> None:
    """Not the file either; a log, a state and events that an older launcher left are no other."""
    world.write_profile(restart_limit=0)
    world.faults(lines=[*LINES, *PRIVATE], exit_at="load", exit_code=1)
    said = [world.run("up", "-p", "stub", "-d")]
    assert "PLANTED" not in (world.instance / "server.log").read_text()
    assert "Set-Cookie" in (world.instance / "server.log").read_text()

    with (world.instance / "server.log").open("a") as log:
        log.write("\n".join([*LINES, *PRIVATE]) + "\n")
    with (world.instance / "events.jsonl").open("a") as events:
        for line in LINES:
            events.write(
                json.dumps({"event": "warning", "reason": line, "time": "", "profile": ""}) + "\n"
            )
    state = json.loads((world.instance / "state.json").read_text())
    state |= {"reason": LINES[1], "last_error": "; ".join(LINES)}
    (world.instance / "state.json").write_text(json.dumps(state))
    commands = [("logs", "-n", "999"), ("logs", "-f", "-n", "999"), ("status",), ("events", "-n", "999"),
                ("events", "-f", "-n", "999"), ("diagnose", str(world.instance / "server.log"))]  # fmt: skip
    for words in commands:
        said += [world.run(*words), world.run(*words, "--json")]

    for one in said:
        assert "PLANTED" not in one.stdout + one.stderr, one.args
    assert said[1].stdout.count("Set-Cookie") == 2
    assert "reason" in said[5].stdout
    assert said[7].stdout.count("Set-Cookie") == 1


@pytest.mark.parametrize("words", [
    ("lint", "{}"), ("diagnose", "{}"), ("render", "-p", "./{}"), ("doctor", "--from", "{}"), ("up", "{}"),
    ("render", "-p", "stub", "--set", "{}"), ("render", "-p", "stub", "--set", "flags.port={}"), ("model", "{}"),
    ("profiles", "validate", "{}"), ("{}",), ("status", "-p", "{}"), ("logs", "-p", "{}"),
])  # fmt: skip
def test_no_refusal_repeats_one(words: tuple[str, ...], world: World) -> None:
    for line in islice(cycle(LINES), 4):
        said = world.run(*(word.format(line) for word in words))

        assert said.returncode != 0
        assert "PLANTED" not in said.stdout + said.stderr


def test_doctor_shows_none_of_a_pasted_text(world: World) -> None:
    pasted = world.folder / "pasted.txt"
    kernel = [
        f"[   10.{at:06}] NVRM: Xid (PCI:0000:61:00): 79, {line}" for at, line in enumerate(LINES)
    ]
    pasted.write_text(
        "\n".join([*LINES, *kernel, "BOOT_IMAGE=/vmlinuz ro " + " ".join(LINES)]) + "\n"
    )
    for words in (
        ("doctor",),
        ("doctor", "--all"),
        ("doctor", "--json"),
        ("doctor", "--fix"),
        ("facts",),
    ):
        said = world.run(*words, "--from", str(pasted))

        assert said.stdout
        assert "PLANTED" not in said.stdout + said.stderr
