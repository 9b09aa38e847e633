"""What helps against an open port where the server is in a container: loopback in there is its own."""

from __future__ import annotations

import pytest
from conftest import World

from launcher.engines.target import Target
from launcher.formats.reading import read
from launcher.lint.lint import lint

SGLANG = "python3 -m sglang.launch_server --model-path zai-org/GLM-5 --tp-size 8 --host 0.0.0.0"
VLLM = "vllm serve zai-org/GLM-5 --tensor-parallel-size 8 --host 0.0.0.0"
ENGINES = [
    ("sglang", "lmsysorg/sglang:v0.5.23", SGLANG),
    ("vllm", "vllm/vllm-openai:v0.33.0", VLLM),
]
KEYS = ["", " --api-key s3cr3t"]


def compose(image: str, command: str, ports: str) -> str:
    return f"services:\n  llm:\n    image: {image}\n    entrypoint: {command} --port 8000\n{ports}"


def advice(text: str, engine: str) -> str:
    """What is said to do about all of a launch."""
    [launch] = read(text).launches
    release = {"sglang": "0.5.23", "vllm": "0.33.0"}[engine]
    told = lint(launch, Target(release, "sm100", engine=engine))
    return "\n".join(one.instead or "" for entry in told for one in entry.concerns)


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize(("engine", "image", "command"), ENGINES)
def test_a_published_port_is_to_be_the_hosts_loopback(
    engine: str, image: str, command: str, key: str
) -> None:
    in_compose = compose(image, command + key, '    ports: ["80:8000"]\n')
    said = advice(in_compose, engine)
    assert 'ports: "127.0.0.1:80:8000"' in said
    assert "--host 127" not in said

    said = advice(f"docker run -p 8000:8000 {image} {command}{key} --port 8000", engine)
    assert "-p 127.0.0.1:8000:8000" in said
    assert "--host 127" not in said


@pytest.mark.parametrize("port", ['"127.0.0.1:8000:8000"', '"[::1]:8000:8000"', '"127.0.0.1::8000"',
    "{target: 8000, published: 8000, host_ip: 127.0.0.1}"])  # fmt: skip
@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize(("engine", "image", "command"), ENGINES)
def test_of_a_port_that_is_on_loopback_nothing_is_said(
    engine: str, image: str, command: str, key: str, port: str
) -> None:
    said = advice(compose(image, command + key, f"    ports: [{port}]\n"), engine)
    assert "127.0.0.1" not in said
    assert "proxy" not in said

    both = advice(compose(image, command + key, f'    ports: [{port}, "8001:8000"]\n'), engine)
    assert "127.0.0.1" in both, "another one is open"


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize(("engine", "image", "command"), ENGINES)
def test_in_the_hosts_network_or_without_a_container_it_is_the_servers_loopback(
    engine: str, image: str, command: str, key: str
) -> None:
    for text in (
        compose(image, command + key, "    network_mode: host\n"),
        f"docker run --network host {image} {command}{key} --port 8000",
        f"{command}{key} --port 8000",
    ):
        said = advice(text, engine)
        assert "127.0.0.1" in said
        assert "-p 127" not in said
        assert "ports:" not in said


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize(("engine", "image", "command"), ENGINES)
def test_a_pod_is_not_told_to_listen_to_itself(
    engine: str, image: str, command: str, key: str
) -> None:
    words = ", ".join(f"{command}{key} --port 8000".split())
    pod = (
        "apiVersion: v1\nkind: Pod\nmetadata: {name: llm}\nspec:\n  containers:\n"
        f"  - name: llm\n    image: {image}\n    command: [{words}]\n"
        "    ports: [{containerPort: 8000}]\n"
    )
    said = advice(pod.replace("8000]\n", '"8000"]\n'), engine)
    assert "127.0.0.1" not in said
    assert "NetworkPolicy" in said


@pytest.mark.parametrize("profile", ["8xpro6000", "8xpro6000-vllm"])
def test_no_note_of_a_rendered_pod_tells_it_to(world: World, profile: str) -> None:
    key = world.folder / "key"
    key.write_text("s3cr3t-s3cr3t-s3cr3t\n")
    key.chmod(0o600)
    aim = ("--format", "kubernetes", "--arch", "sm120", "--api-key-file", str(key))
    said = world.run("render", "-p", profile, "--set", "flags.host=0.0.0.0", *aim)
    told = [line for line in said.stdout.splitlines() if line.startswith("# note")]

    assert said.returncode == 0, said.stderr
    assert any("NetworkPolicy" in line for line in told)
    assert not [line for line in told if "127.0.0.1" in line.partition("fix:")[2]]
