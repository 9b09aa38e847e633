"""Whether a unit would start, as its user sees it; without a systemd."""

from __future__ import annotations

import json
import os
import pwd
import subprocess
from pathlib import Path
from typing import Any

import pytest

from launcher.config import layers
from launcher.errors import Exit, UserError
from launcher.operate import unit_check
from launcher.operate.unit_check import Checked, Said
from launcher.operate.unit_files import Wish
from launcher.output import unit as screen

ME = pwd.getpwuid(os.geteuid()).pw_name


def test_its_environment_is_what_the_unit_says() -> None:
    usual, other = (unit_check.environment(Wish("stub", user=who)) for who in ("glm5-serve", "ai"))

    assert usual["HOME"] == usual["XDG_CACHE_HOME"] == "/var/cache/glm5-serve"
    assert other["HOME"] == other["XDG_CACHE_HOME"] == "/var/cache/glm5-serve-ai"
    for told in (usual, other):
        assert told["GLM5_SERVE_STATE_DIR"] == "/var/lib/glm5-serve"
        assert told["PYTHONNOUSERSITE"] == "1"
        assert not {*os.environ} - {"PATH", "HOME", "LANG", "XDG_CACHE_HOME"} & {*told}


def test_it_is_doctor_in_the_units_home() -> None:
    """The packaged demo lies in the caches of whoever made it, and not in the unit's."""
    found = unit_check.check(Wish("cpu-demo", user=ME))
    said = {one.id: one.evidence for one in found.failed}

    assert found.user == ME
    home = "/var/cache/glm5-serve" if ME == "glm5-serve" else f"/var/cache/glm5-serve-{ME}"
    assert home in said["engine-python"]
    assert home in said["model-folder"]


def test_a_profile_that_is_refused_is_told_as_what_keeps_it_from_starting() -> None:
    with pytest.raises(UserError, match="it will not start: no profile 'nope'") as caught:
        unit_check.check(Wish("nope", user=ME))

    assert caught.value.status == Exit.NO
    assert "glm5-serve profiles" in caught.value.fix


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What doctor is asked; it finds one failure, and two warnings."""
    words: list[list[str]] = []
    row = {"evidence": "e", "fix": "f", "allowed": False}
    found = [
        row | {"id": "port-free", "severity": "fail"},
        row | {"id": "model-tokenizer", "severity": "warn"},
        row | {"id": "cpu-governor", "severity": "warn"},
        row | {"id": "disk-speed", "severity": "fail", "allowed": True},
        row | {"id": "cpu-count", "severity": "ok"},
    ]

    def run(command: list[str], **how: Any) -> subprocess.CompletedProcess[str]:
        words.append(command)
        return subprocess.CompletedProcess(command, 1, json.dumps({"findings": found}), "")

    monkeypatch.setattr(subprocess, "run", run)
    return words


def test_the_key_is_judged_by_root_and_named_to_doctor(
    asked: list[list[str]], tmp_path: Path
) -> None:
    key = tmp_path / "key"
    key.write_text("secret")
    key.chmod(0o644)
    with pytest.raises(UserError, match="is open to others"):
        unit_check.check(Wish("cpu-demo", user=ME, api_key_file=key))
    key.chmod(0o600)
    unit_check.check(Wish("cpu-demo", user=ME, api_key_file=key))

    assert len(asked) == 1
    assert f"access.api_key_file={key}" in asked[0]
    assert asked[0][asked[0].index("--skip") + 1] == "access-key"


def test_what_fails_and_what_is_the_units_own_is_kept(asked: list[list[str]]) -> None:
    found = unit_check.check(Wish("cpu-demo", user=ME))

    assert [one.id for one in found.failed] == ["port-free"]
    assert [one.id for one in found.warned] == ["model-tokenizer"]
    assert found.others == 1
    assert "--serving" not in asked[0]


def test_it_is_shown_and_refused(capsys: pytest.CaptureFixture[str]) -> None:
    wish = Wish("8xpro6000")
    bad = Said("fail", "model-folder", "not there", "put it there")
    screen.show(Checked("glm5-serve", (), (bad,), 1), wish)
    assert "1 more warning about the host: " in capsys.readouterr().out
    screen.show(Checked("glm5-serve", (), (), 3), wish)
    assert (
        "3 warnings about the host: `glm5-serve doctor --profile 8xpro6000`"
        in capsys.readouterr().out
    )
    with pytest.raises(UserError, match="installed, but it will not start: model-folder") as no:
        screen.show(Checked("glm5-serve", (bad,), (), 0), wish)

    assert no.value.status == Exit.NO
    assert "systemctl start glm5-serve@8xpro6000.service" in no.value.fix
    assert "put it there" in capsys.readouterr().out


def test_a_key_of_roots_in_the_profile_becomes_a_credential(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layers, "HOST", tmp_path)
    key = tmp_path / "key"
    key.write_text("secret")
    (tmp_path / "mine.toml").write_text(
        f'extends = "8xpro6000"\n[access]\napi_key_file = "{key}"\n'
    )
    wish, other = Wish("mine"), Path("/other/key")

    handed = key if os.geteuid() == 0 else None
    assert unit_check.with_key(wish).api_key_file == handed
    assert unit_check.with_key(Wish("mine", api_key_file=other)).api_key_file == other
    assert unit_check.with_key(Wish("mine", root=tmp_path)).api_key_file is None
    (tmp_path / "mine.toml").write_text("[flags\n")
    with pytest.raises(UserError, match="not valid TOML"):
        unit_check.with_key(wish)
