"""Writes tests/data/leaderworkerset.json: the fields and types of LeaderWorkerSet's API.

    python scripts/leaderworkerset.py v0.9.0 CRD.yaml

CRD.yaml is SOURCE at that tag. Of its 1.3 MB most are templates of pods: those are Kubernetes' own,
and left out.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import yaml

FILE = Path(__file__).parents[1] / "tests/data/leaderworkerset.json"
SOURCE = "kubernetes-sigs/lws, config/crd/bases/leaderworkerset.x-k8s.io_leaderworkersets.yaml"
POD = ("leaderTemplate", "workerTemplate", "volumeClaimTemplates")
KEPT = ("type", "enum", "required", "items", "minimum", "maximum", "minLength", "default")


def strict(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema of a CRD as JSON Schema that refuses what it does not name."""
    made = {key: value for key, value in schema.items() if key in KEPT}
    if schema.get("x-kubernetes-int-or-string"):
        made["type"] = ["integer", "string"]
    if isinstance(made.get("items"), dict):
        made["items"] = strict(made["items"])
    if "properties" in schema:
        made["properties"] = {
            name: {} if name in POD else strict(inner)
            for name, inner in schema["properties"].items()
        }
        made["additionalProperties"] = False
    return made


def main(tag: str, crd: str) -> None:
    """Write the file."""
    told = yaml.load(Path(crd).read_text(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    [version] = [one for one in told["spec"]["versions"] if one["name"] == "v1"]
    schema = strict(version["schema"]["openAPIV3Schema"])
    schema["properties"]["metadata"] = {"type": "object"}
    made = {"source": f"{SOURCE} at {tag}", "schema": schema}
    FILE.write_text(json.dumps(made, indent=1) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
