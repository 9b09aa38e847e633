"""Law: what `lint` prints of a script without its keys is the same script: a shell makes the same
commands of it, with the same words but for the keys, and what `--fix` changed is changed in it.
"""

from __future__ import annotations

import re
import subprocess
from functools import cache

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from launcher.engines.target import Target
from launcher.formats.bash import Script
from launcher.lint.fix import fixed
from launcher.lint.run import judge
from launcher.redact.keyspelling import HIDDEN

KEY = "sk-prod-9988xyz"
# How a script may come by its key; K stands for one that is written out.
VALUES = (
    "K",
    '"K"',
    "'K'",
    "$OTHER",
    '"${OTHER}"',
    "${OTHER:-K}",
    '"${OTHER:-K}"',
    "${OTHER:-$DEEP}",
    "${API_KEY:-${DEEP:-K}}",
    '"${API_KEY:-$(cat /root/.api_key 2>/dev/null)}"',
    "${API_KEY:-$(cat f)}",
    "$(cat /run/secrets/key)",
    '"$(cat "$HOME/my keys/api_key" || echo none)"',
    "$(echo K)",
    "$(printf %s 'K')",
    "`cat key`",
    '"$(vault kv get -field=key secret/glm5)"',
    '"${KEYS[0]}"',
    "${OTHER:?no key}",
    '"$(head -c 8 <(cat f) | tr -d "()")"',
)
# What stands around it; VALUE is the key's, START the start of a server.
SERVE = "vllm serve nvidia/GLM-5.2-NVFP4 --tensor-parallel-size 8 --swap-space 4"
SCRIPTS = (
    "API_KEY=VALUE\nSTART --api-key $API_KEY\n",
    "export VLLM_API_KEY=VALUE; START\n",
    "VLLM_API_KEY=VALUE \\\n  HF_TOKEN=VALUE \\\n  START\n",
    "START --api-key VALUE --port 8001\n",
    "START --api-key=VALUE&&echo up\n",
    "START \\\n  --api-key VALUE \\\n  --port 8001\n",
    "ARGS=(--api-key VALUE --port 8001)\nSTART ${ARGS[@]}\n",
    "KEY=VALUE;START --api-key $KEY|tee log\n",
    "cat > key.env <<EOF\nAPI_KEY=VALUE\nPORT=8001\nEOF\nSTART\n",
    "cat > run.sh <<'EOF'\nHF_TOKEN=VALUE START\nEOF\nchmod +x run.sh\n",
    'API_KEY=VALUE\n[ -n "$API_KEY" ] || { echo "no key (export API_KEY=... or API_KEY=$(cat f))"; exit 1; }\nSTART\n',
    'curl -H "Authorization: Bearer K" http://h/v1/models\nSTART\n',
    "(export API_KEY=VALUE;START)\n",
    "docker run -e HF_TOKEN=VALUE vllm/vllm-openai:v0.33.0 --model m --swap-space 4\n",
)


def words(text: str) -> list[list[str]]:
    """The commands of a script as they are written, and the text of its variables."""
    return [[word.value for word in one.words] for one in Script(text).commands()]


@cache
def is_shell(text: str) -> bool:
    said = subprocess.run(["bash", "-n"], input=text, text=True, capture_output=True, timeout=60)
    return said.returncode == 0 and "here-document" not in said.stderr


def shape(text: str) -> str:
    """What is left of a script where all that may be a key is one letter."""
    return re.sub(r"\bK\b", "", text.replace(KEY, "K").replace(HIDDEN, "K"))


@pytest.mark.parametrize("script", SCRIPTS)
@given(value=st.sampled_from(VALUES))
@settings(max_examples=len(VALUES), deadline=None, suppress_health_check=[*HealthCheck])
def test_a_script_without_its_keys_is_the_same_script(script: str, value: str) -> None:
    text = script.replace("VALUE", value).replace("START", SERVE)
    text = re.sub(r"\bK\b", KEY, text)
    hidden = judge(text, Target("0.33.0", "sm100")).hidden(text)

    assert KEY not in hidden
    assert shape(hidden) == shape(text)
    assert [len(one) for one in words(hidden)] == [len(one) for one in words(text)]
    assert is_shell(hidden) == is_shell(text)


@pytest.mark.parametrize("script", SCRIPTS)
def test_what_is_fixed_is_the_same_script_but_for_that(script: str) -> None:
    for value in VALUES:
        text = script.replace("VALUE", value).replace("START", SERVE)
        text = re.sub(r"\bK\b", KEY, text)
        made = fixed(text, Target("0.33.0", "sm100", "b200"))
        gone = {"--swap-space", "4"} if made.changes else set()

        assert [set(one) - gone for one in words(text)] == [
            set(one) - gone for one in words(made.text)
        ]
        assert is_shell(made.text) == is_shell(text)
