"""What `render --format kubernetes` writes is changed by kustomize as its page says."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from test_containers import nodes, objects, planned, written

from launcher.plan.plan import Plan

MEMORY = "/spec/template/spec/containers/0/resources/requests/memory"
LEADER = f"/spec/leaderWorkerTemplate/leaderTemplate{MEMORY.removeprefix('/spec/template')}"


def changed(plan: Plan, folder: Path, target: dict[str, str], path: str) -> dict[str, Any]:
    """The objects in another namespace, twice as many, and with memory of their own."""
    if not shutil.which("kubectl"):
        pytest.skip("no kubectl here: the package kubernetes-client has it")
    (folder / "glm5.yaml").write_text(written(plan, "kubernetes"))
    patch = [
        {"op": "replace", "path": "/spec/replicas", "value": 2},
        {"op": "add", "path": path, "value": "512Gi"},
    ]
    told = {"namespace": "inference", "resources": ["glm5.yaml"]}
    # as old releases know it, too
    told["patchesJson6902"] = [{"target": target, "patch": json.dumps(patch)}]
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(told))
    made = subprocess.run(
        ["kubectl", "kustomize", folder], capture_output=True, text=True, timeout=60, check=False
    )
    assert made.returncode == 0, made.stderr
    return objects(made.stdout)


def test_a_deployment(tmp_path: Path) -> None:
    plan = planned("8xb200")
    target = {"group": "apps", "version": "v1", "kind": "Deployment", "name": "glm5-8xb200"}
    before, after = objects(written(plan, "kubernetes")), changed(plan, tmp_path, target, MEMORY)

    assert {one["metadata"]["namespace"] for one in after.values()} == {"inference"}
    assert after["Deployment"]["spec"]["replicas"] == 2
    [container] = after["Deployment"]["spec"]["template"]["spec"]["containers"]
    assert container["resources"]["requests"]["memory"] == "512Gi"
    # all else is as it was, to the last dollar
    [was] = before["Deployment"]["spec"]["template"]["spec"]["containers"]
    assert (container["args"], container["command"]) == (was["args"], was["command"])
    assert after["Service"]["spec"] == before["Service"]["spec"]


def test_a_group(tmp_path: Path) -> None:
    target = {"group": "leaderworkerset.x-k8s.io", "version": "v1", "kind": "LeaderWorkerSet"}
    after = changed(nodes("2x8xb200"), tmp_path, target | {"name": "glm5-2x8xb200"}, LEADER)

    group = after["LeaderWorkerSet"]
    assert (group["spec"]["replicas"], group["metadata"]["namespace"]) == (2, "inference")
