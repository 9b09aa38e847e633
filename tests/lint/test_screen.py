"""What `lint` prints: with each finding what to do about it, and how bad it is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from launcher.engines.target import Target
from launcher.output.lint import Ask, run

OPEN = "vllm serve zai-org/GLM-5.2-FP8 --tensor-parallel-size 8 --kv-cache-dtype fp8"
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
        ("is open to the network", "instead 127.0.0.1, or a key"),
        ("requests at a time", "instead --max-num-seqs 16"),
        ("start up after 600 s", "instead VLLM_ENGINE_READY_TIMEOUT_S=3600"),
        ("aborts the requests in flight", "instead --shutdown-timeout 100"),
    ):
        [at] = [at for at, line in enumerate(lines) if finding in line]
        assert lines[at].startswith("risky: "), "not as bad as what it stands under"
        assert lines[at + 1].startswith(remedy)


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
    assert {"--shutdown-timeout 100", "VLLM_ENGINE_READY_TIMEOUT_S=3600"} <= {
        (concern["instead"] or "").partition(" (")[0] for concern in told
    }


def test_a_table_over_releases_has_a_line_for_each_finding(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = printed(capsys, tmp_path, OPEN, "all-releases").splitlines()

    assert max(map(len, lines)) < 300
