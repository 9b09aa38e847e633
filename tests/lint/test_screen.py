"""What `lint` prints: with each finding what to do about it, and how bad it is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import World

from launcher.engines.target import Target
from launcher.lint.run import judge
from launcher.output.lint import Ask, run

OPEN = "vllm serve zai-org/GLM-5.2-FP8 --tensor-parallel-size 8 --kv-cache-dtype fp8"
PLAIN = "python3 -m sglang.launch_server --model-path m"
NO_FIX = "--fix changes nothing: what is"
NONE = f"{OPEN} --host 127.0.0.1 --max-num-seqs 16 --shutdown-timeout 100"


def printed(capsys: pytest.CaptureFixture[str], folder: Path, text: str, how: str = "show") -> str:
    (folder / "a.sh").write_text(text)
    release = None if how == "all-releases" else "0.23.0"
    run(Ask(str(folder / "a.sh"), how), Target(release, "sm120", "rtx-pro-6000"))
    return capsys.readouterr().out


def test_each_finding_has_what_to_do_behind_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [line.strip() for line in printed(capsys, tmp_path, OPEN).splitlines()]

    for finding, remedy in (
        ("is open to the network", "instead a key (`up --api-key-file`)"),
        ("requests at a time", "instead --max-num-seqs 16"),
        ("start up after 600 s", "instead VLLM_ENGINE_READY_TIMEOUT_S=5400"),
        ("aborts the requests in flight", "instead --shutdown-timeout 100"),
    ):
        [at] = [at for at, line in enumerate(lines) if finding in line]
        assert lines[at].startswith("risky: "), "not as bad as what it stands under"
        assert lines[at + 1].startswith(remedy)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"{PLAIN} --host 0.0.0.0", f"{NO_FIX} risky starts, and is yours to decide"),
        (f"{PLAIN} --tp 1 --context-len 9", f"{NO_FIX} abbreviated starts, and is yours to decide"),
        (
            f"SAFETENSORS_FAST_GPU=1 {PLAIN} --host 0.0.0.0",
            f"{NO_FIX} risky or inert starts, and is yours to decide",
        ),
        (PLAIN, "nothing to change"),
    ],
)
@pytest.mark.parametrize("how", ["show", "fix"])
def test_why_nothing_is_changed_agrees_with_what_was_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, said: str, how: str
) -> None:
    (tmp_path / "a.sh").write_text(text)
    run(Ask(str(tmp_path / "a.sh"), how), Target("0.5.23", "sm120", "rtx-pro-6000"))
    shown = capsys.readouterr()

    assert said in (shown.out if how == "show" else shown.err).splitlines()


def test_what_one_remedy_helps_is_told_it_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = printed(capsys, tmp_path, OPEN)

    assert said.count("instead install vllm>=0.32.0") == 1
    assert "instead --max-num-seqs" not in printed(capsys, tmp_path, NONE)


def test_json_has_what_to_do_for_each_finding(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.sh").write_text(OPEN)
    run(Ask(str(tmp_path / "a.sh"), as_json=True), Target("0.23.0", "sm120", "rtx-pro-6000"))

    [launch] = json.loads(capsys.readouterr().out)["launches"]
    told = launch["releases"]["0.23.0"]["entries"][0]["concerns"]
    assert {"--shutdown-timeout 100", "VLLM_ENGINE_READY_TIMEOUT_S=5400"} <= {
        (concern["instead"] or "").partition(" (")[0] for concern in told
    }


def test_a_table_over_releases_has_a_line_for_each_finding(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = printed(capsys, tmp_path, OPEN, "all-releases").splitlines()

    assert max(map(len, lines)) < 300


@pytest.mark.parametrize("key", ["key", "a", "network", "secret"])
def test_a_key_that_is_a_word_is_masked_as_a_value_and_not_in_our_sentences(key: str) -> None:
    text = f"vllm serve m --host 0.0.0.0 --api-key {key}"
    [judged] = judge(text, Target("0.32.0", "sm120")).launches
    [entries] = judged.releases.values()
    named = {one.name: one for one in entries}

    assert judged.hidden(f"--api-key {key}") == "--api-key [redacted]"
    for one in entries:
        assert judged.sentence(one.why) == one.why
    assert "open to the network, and the key" in judged.sentence(named["--host"].why)


def test_a_key_is_masked_in_our_sentences() -> None:
    [judged] = judge("vllm serve m --api-key sk-1", Target("0.32.0", "sm120")).launches

    assert judged.sentence("not sk-1, --api-key sk-2") == "not [redacted], --api-key [redacted]"


def test_a_word_that_another_option_has_too_is_masked_where_it_is_named() -> None:
    [judged] = judge(
        "vllm serve m --max-num-seqs sekret --api-key sekret", Target("0.32.0", "sm120")
    ).launches
    [entries] = judged.releases.values()

    assert not [one for one in entries if "sekret" in judged.sentence(one.why)]


def test_a_word_that_is_a_value_in_some_releases_alone_has_its_row(world: World) -> None:
    (world.folder / "launch.sh").write_text("vllm serve m --swap-space 4 x\n")
    said = world.run("lint", "launch.sh", "--all-releases")

    assert said.returncode == 1, said.stderr
    assert "--swap-space 4" in said.stdout
    assert [line for line in said.stdout.splitlines() if line.startswith("x ")]


FOUR = "".join(
    f"vllm serve zai-org/GLM-5-FP8 -tp 8 --trust-remote-code --swap-space {space} --port {port}\n"
    for port, space in ((1, 4), (2, 4), (3, 4), (4, 16))
)


def test_what_was_said_of_one_launch_is_said_of_the_next_by_its_place(
    world: World, tmp_path: Path
) -> None:
    script = tmp_path / "four.sh"
    script.write_text(FOUR)
    shown = " ".join(world.run("lint", script, "--gpu", "b200").stdout.split())

    assert [f"(line {number})" in shown for number in range(1, 6)] == [True] * 4 + [False]
    assert shown.count("removed after 0.16.0") == 2  # --swap-space 4, and 16
    assert shown.count("--trust-remote-code as of line 1") == 3
    assert shown.count("--swap-space 4 as of line 1") == 2
    assert shown.count("told to stop, vLLM aborts") == 1
    assert shown.count("the newest known") == 1
    assert shown.count("note: also what is noted of line 1") == 3


def test_of_one_launch_nothing_is_said_by_its_place(world: World, tmp_path: Path) -> None:
    script = tmp_path / "one.sh"
    script.write_text(FOUR.splitlines()[0])
    shown = world.run("lint", script, "--gpu", "b200").stdout

    assert "line 1" not in shown.partition("--fix")[0].partition("@@")[0]
    assert "as of" not in shown
