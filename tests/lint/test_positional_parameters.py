"""What a shell hands on to its script (`bash -c 'exec vllm serve "$@"' -- ...`) is judged."""

from __future__ import annotations

import pytest

from launcher.engines.target import Target
from launcher.formats.reading import read
from launcher.lint.fix import fixed

MODEL = "nvidia/GLM-5.2-NVFP4"
ARGUMENTS = f"{MODEL} --tensor-parallel-size 8 --host 127.0.0.1 --no-enable-prefix-cachnig"
LISTED = ", ".join(ARGUMENTS.split())
POD = "spec: {{containers: [{{image: x, command: [{}], args: [{}]}}]}}"
ALL = """'exec vllm serve "$@"'"""
FIRST = """'exec vllm serve "$0" "$@"'"""
COMMANDS = {
    "a shell": f"bash -c {ALL} -- {ARGUMENTS}",
    "a login shell": f"/bin/bash -lc {ALL} bash {ARGUMENTS}",
    "the name, too": f"sh -c {FIRST} {ARGUMENTS}",
    "numbers": f"""bash -c 'exec vllm serve "$1" "${{2}}" "$3" --host "$5" "$6"' -- {ARGUMENTS}""",
    "docker": f"docker run --entrypoint bash vllm/vllm-openai:v0.33.0 -c {ALL} -- {ARGUMENTS}",
    "kubernetes": POD.format(f"/bin/bash, -c, {ALL}, --", LISTED),
    "kubernetes, $0": POD.format(f"/bin/bash, -c, {FIRST}", LISTED),
    "compose": "services: {a: {image: x, entrypoint: [bash, -c, "
    + ALL.replace("$", "$$")
    + f", --], command: [{LISTED}]}}}}",
}


@pytest.mark.parametrize("form", COMMANDS)
def test_what_is_handed_on_is_read(form: str) -> None:
    [launch] = read(COMMANDS[form]).launches

    assert list(launch.words) == ARGUMENTS.split()
    assert not launch.references


@pytest.mark.parametrize("form", COMMANDS)
def test_it_is_mended_where_it_stands(form: str) -> None:
    found = fixed(COMMANDS[form] + "\n", Target("0.33.0", "sm100", "b200", engine="vllm"))

    assert not found.obstacles
    assert found.text == COMMANDS[form].replace("cachnig", "caching") + "\n"


@pytest.mark.parametrize(
    "text",
    [
        """#!/bin/bash\nexec vllm serve "$@"\n""",
        """bash -c 'exec vllm serve "$@"' --\n""",
        """bash -c 'exec vllm serve "$@"'\n""",
        POD.format(f"/bin/bash, -c, {ALL}, --", ""),
    ],
)
def test_what_nobody_hands_on_stays_open(text: str) -> None:
    [launch] = read(text).launches
    assert launch.references == ("$@",)


def test_a_script_without_parameters_takes_none() -> None:
    [launch] = read(f"bash -c 'exec vllm serve {MODEL} -tp 8' -- --no-such-option").launches
    assert list(launch.words) == [MODEL, "-tp", "8"]
