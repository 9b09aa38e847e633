"""What a vLLM is started with, by an interpreter that keeps what it was given."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from conftest import World, free_port, until

RECORDS = """#!{python}
import json, os, pathlib, sys
if "vllm.entrypoints.cli.main" not in sys.argv:
    os.execv("{python}", ["{python}", *sys.argv[1:]])
said = {{"argv": sys.argv[1:], "env": dict(os.environ)}}
pathlib.Path("{record}").write_text(json.dumps(said))
sys.exit(3)
"""


def test_the_key_and_the_programs_beside_the_interpreter_come_by_the_environment(
    world: World, tmp_path: Path
) -> None:
    record, python = tmp_path / "record.json", tmp_path / "env/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text(RECORDS.format(python=sys.executable, record=record))
    python.chmod(0o755)
    installed = tmp_path / "site/vllm-0.32.0.dist-info"
    installed.mkdir(parents=True)
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: vllm\nVersion: 0.32.0\n")
    key = tmp_path / "key"
    key.write_text("sekret-0123456789\n")
    key.chmod(0o600)
    port = free_port()
    (world.profile.parent / "v.toml").write_text(f"""[engine]
kind = "vllm"
device = "cpu"
python = "{python}"
[flags]
model = "{world.folder}/model"
port = {port}
[env]
PYTHONPATH = "{installed.parent}"
[smoke]
enabled = false
""")
    up = world.run("up", "-p", "v", "--api-key-file", str(key))
    until(record.exists, f"it was started: {up.stderr}")
    said = json.loads(record.read_text())

    assert said["env"]["VLLM_API_KEY"] == "sekret-0123456789"
    assert said["env"]["PATH"].split(":")[0] == str(python.parent)
    assert "sekret" not in " ".join(said["argv"])
    assert said["argv"][2:4] == ["serve", f"{world.folder}/model"]
    assert not (world.state / "v/config.yaml").exists()
    assert "sekret" not in up.stdout + up.stderr + (world.state / "v/server.log").read_text()
    shown = world.run("render", "-p", "v", "--api-key-file", str(key)).stdout
    assert f"VLLM_API_KEY=\"$(tr -d '[:space:]' < {key})\"" in shown
    assert f'PATH={python.parent}:"$PATH"' in shown
