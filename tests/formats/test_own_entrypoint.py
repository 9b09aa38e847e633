"""An image that starts an engine by itself gets what follows it as arguments, a program as well."""

from __future__ import annotations

import pytest

from launcher.engines.target import Target
from launcher.formats.launches import Launch
from launcher.formats.reading import read
from launcher.lint.concerns import Verdict
from launcher.lint.fix import fixed
from launcher.lint.lint import Entry
from launcher.lint.run import judge

TARGET = Target("0.32.0", "sm100")
IMAGE = "vllm/vllm-openai:v0.32.0"
GIVEN = "zai-org/GLM-5 --host 127.0.0.1 --tensor-parallel-size 8"
LISTED = ", ".join(f'"{word}"' for word in GIVEN.split())
POD = "apiVersion: v1\nspec: {{containers: [{{name: a, image: '{image}', {rest}}}]}}"


def forms(image: str, program: str) -> dict[str, str]:
    """The same launch in each form that names an image, behind a program."""
    listed = "".join(f'"{word}", ' for word in program.split()) + LISTED
    return {
        "docker run": f"docker run --gpus all {image} {program} {GIVEN}",
        "podman in a unit": f"[Service]\nExecStart=/usr/bin/podman run {image} {program} {GIVEN}",
        "compose": f"services:\n  a:\n    image: {image}\n    command: {program} {GIVEN}",
        "compose, a list": f"services:\n  a:\n    image: {image}\n    command: [{listed}]",
        "pod": POD.format(image=image, rest=f"args: [{listed}]"),
        "quadlet": f"[Container]\nImage={image}\nExec={program} {GIVEN}",
        "Dockerfile": f"FROM {image}\nCMD [{listed}]",
        "Markdown": f"```bash\ndocker run {image} {program} {GIVEN}\n```",
    }


PROGRAMS = (
    "vllm serve",
    "serve",
    "python3 -m vllm.entrypoints.openai.api_server",
    "exec vllm serve",
)
AGAIN = {
    f"{form}, {program}": text
    for program in PROGRAMS
    for form, text in forms(IMAGE, program).items()
}


def refused(text: str) -> list[Entry]:
    [judged] = judge(text, TARGET).launches
    [entries] = judged.releases.values()
    return [entry for entry in entries if entry.verdict.is_refused]


@pytest.mark.parametrize("form", AGAIN)
def test_a_program_that_an_image_starts_by_itself_is_refused_once(form: str) -> None:
    [entry] = refused(AGAIN[form])

    assert form.endswith(entry.name)
    assert entry.verdict is Verdict.UNKNOWN
    assert "the image starts `vllm serve` by itself" in entry.why


@pytest.mark.parametrize("form", AGAIN)
def test_fix_leaves_out_the_program_and_nothing_else(form: str) -> None:
    found = fixed(AGAIN[form], TARGET)

    assert not found.obstacles
    assert not refused(found.text)
    [launch] = read(found.text).launches
    assert " ".join(launch.words) == GIVEN


SHELLS = {
    "docker run": f"docker run {IMAGE} bash -c 'vllm serve {GIVEN}'",
    "docker run with its input": f"docker run -i {IMAGE} bash <<E\nvllm serve {GIVEN}\nE",
    "docker run with env": f"docker run {IMAGE} env A=1 vllm serve {GIVEN}",
    "compose": f"services:\n  a:\n    image: {IMAGE}\n    command: bash -c 'vllm serve {GIVEN}'",
    "compose, a list": f"services: {{a: {{image: '{IMAGE}', command: [bash, -c, 'vllm serve {GIVEN}']}}}}",
    "pod": POD.format(image=IMAGE, rest=f"args: [bash, -c, 'vllm serve {GIVEN}']"),
    "pod, one word": POD.format(image=IMAGE, rest=f"args: ['vllm serve {GIVEN}']"),
    "quadlet": f"[Container]\nImage={IMAGE}\nExec=bash -c 'vllm serve {GIVEN}'",
    "Dockerfile": f'FROM {IMAGE}\nCMD ["bash", "-c", "vllm serve {GIVEN}"]',
    "Dockerfile, a line": f"FROM {IMAGE}\nCMD vllm serve {GIVEN}",
}  # fmt: skip


@pytest.mark.parametrize("form", SHELLS)
def test_a_shell_that_an_image_gets_as_arguments_does_not_run(form: str) -> None:
    [entry] = refused(SHELLS[form])

    assert "it is not run" in entry.why
    assert fixed(SHELLS[form], TARGET).text == SHELLS[form]


RIGHT = {
    "another entrypoint": f"docker run --entrypoint vllm {IMAGE} serve {GIVEN}",
    "a shell as entrypoint": f"docker run --entrypoint bash {IMAGE} -c 'vllm serve {GIVEN}'",
    "no entrypoint": f"docker run --entrypoint '' {IMAGE} vllm serve {GIVEN}",
    "in a container that runs": f"docker exec vllm-openai vllm serve {GIVEN}",
    "compose": f"services: {{a: {{image: '{IMAGE}', entrypoint: [vllm, serve], command: [{LISTED}]}}}}",
    "compose, a shell": f"services: {{a: {{image: '{IMAGE}', entrypoint: [bash, -c], command: ['vllm serve {GIVEN}']}}}}",
    "pod": POD.format(image=IMAGE, rest=f"command: [vllm, serve], args: [{LISTED}]"),
    "pod, a shell": POD.format(image=IMAGE, rest=f"command: [bash, -c], args: ['vllm serve {GIVEN}']"),
    "quadlet": f"[Container]\nImage={IMAGE}\nEntrypoint=vllm\nExec=serve {GIVEN}",
    "Dockerfile": f'FROM {IMAGE}\nENTRYPOINT ["vllm", "serve"]\nCMD [{LISTED}]',
    "Dockerfile, a line": f"FROM {IMAGE}\nENTRYPOINT vllm serve {GIVEN}",
    "slurm": f"srun --container-image={IMAGE} vllm serve {GIVEN}",
    **{f"another image, {form}": text for form, text in forms("rocm/vllm:latest", "vllm serve").items()},
    **{
        f"SGLang's, {form}": text.replace("zai-org", "--model-path zai-org").replace("tensor-parallel-size", "tp")
        for form, text in forms("lmsysorg/sglang:v0.5.23", "sglang serve").items()
        if "[" not in text or "quadlet" in form
    },
}  # fmt: skip


@pytest.mark.parametrize("form", RIGHT)
def test_a_program_is_right_where_the_image_starts_none(form: str) -> None:
    assert not [entry for entry in refused(RIGHT[form]) if "the image starts" in entry.why]


def one(text: str) -> Launch:
    [launch] = read(text).launches
    return launch


@pytest.mark.parametrize("image", ["ee2917e260bb", "registry.local/mine:1"])
def test_serve_alone_with_an_image_that_nobody_knows_is_a_launch_with_a_doubt(image: str) -> None:
    launch = one(f"docker run {image} serve {GIVEN}")

    assert (launch.engine, " ".join(launch.words)) == ("vllm", GIVEN)
    assert any(
        "`serve` is right where the image starts `vllm` by itself" in n for n in launch.notes
    )


def test_nothing_is_a_launch_for_a_word_that_is_no_server() -> None:
    for text in (
        "docker run registry.local/mine:1 server --port 1",
        "docker exec mine serve a/m --port 1",
        "services: {a: {image: mine, command: [serve, --port, '80']}}",
    ):
        assert not [found for found in read(text).launches if found.form != "options"]


ONE_WORD = "services:\n  a:\n    image: {}\n    command:\n    - zai-org/GLM-5\n    - --dtype auto\n    - --host=127.0.0.1\n    - --tensor-parallel-size=8\n"


def test_an_option_and_its_value_in_one_word_is_told_and_mended() -> None:
    text = ONE_WORD.format(IMAGE)
    [entry] = refused(text)

    assert "--dtype and its value are one word" in entry.why
    assert "- --dtype=auto\n" in fixed(text, TARGET).text
    assert not refused(text.replace("--dtype auto", "--dtype=auto"))


@pytest.mark.parametrize("more", ["$ARGS", '"$@"', '"${A[@]}"', "${D:+-e D=1}"])
@pytest.mark.parametrize("image", ["vllm/vllm-openai:v0.32.0", "lmsysorg/sglang:v0.5.20"])
def test_a_variable_before_options_of_docker_is_no_image(more: str, image: str) -> None:
    model = "--model m/x" if "vllm" in image else "python3 -m sglang.launch_server --model-path m/x"
    (launch,) = read(f"docker run --rm {more} -v /m:/m {image} {model} --port 8000").launches

    assert launch.form == "docker run"
    assert launch.engine in image
    assert list(launch.words)[-2:] == ["--port", "8000"]
    assert "-v" not in launch.words
