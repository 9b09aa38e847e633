"""GPUs that a pod claims (DRA): what Kubernetes knows of the claim, and what is read out of one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml
from test_containers import LWS, PROFILES, Wish, nodes, objects, planned, written

from launcher.config.layers import PACKAGED
from launcher.errors import UserError
from launcher.formats import alone, claims, supervised
from launcher.formats.kubernetes import write
from launcher.formats.reading import read
from launcher.plan.plan import Plan

WISH = Wish("docker.io/lmsysorg/sglang:v0.5.23", claims=True)
HAVE_IT = ("1.34.0", "1.37.0")
ON_GPUS = [name for name in PROFILES if planned(name).gpus]
SHAPES: dict[str, Callable[[Plan], str]] = {
    "alone": lambda plan: write(alone.spec(plan, WISH)),
    "supervised": lambda plan: write(supervised.spec(plan, WISH, PACKAGED)),
}


def pod(text: str) -> dict[str, Any]:
    return dict(objects(text)["Deployment"]["spec"]["template"]["spec"])


@pytest.mark.parametrize("version", HAVE_IT)
@pytest.mark.parametrize("shape", SHAPES)
def test_kubernetes_knows_every_field_of_a_claim(shape: str, version: str) -> None:
    for name in ("8xpro6000", "8xb200-vllm", "4xb300-glm53-flash"):
        for made in objects(SHAPES[shape](planned(name))).values():
            kubernetes_validate.validate(made, version, strict=True)


def test_kubernetes_has_the_api_only_from_the_release_that_is_named() -> None:
    folder = Path(kubernetes_validate.__file__).parent / "kubernetes-json-schema"
    since = {
        path.name.removeprefix("v").rpartition(".")[0]
        for path in folder.glob("v*-local")
        if (path / "resourceclaimtemplate-resource-v1.json").exists()
    }
    assert min(since, key=lambda release: int(release.rpartition(".")[2])) == claims.SINCE
    assert f"Kubernetes {claims.SINCE} or later" in SHAPES["alone"](planned("8xb200"))


@pytest.mark.parametrize("name", ON_GPUS)
def test_a_claim_comes_back_with_its_gpus_and_their_product(name: str) -> None:
    if (plan := planned(name)).nodes:
        return  # below
    [launch] = read(SHAPES["alone"](plan)).launches

    assert launch.around.gpus
    assert (launch.around.gpus.count, launch.around.products) == (plan.gpus, (plan.gpu,))


@pytest.mark.parametrize("shape", SHAPES)
def test_what_is_claimed_is_not_counted_nor_chosen_by_labels(shape: str) -> None:
    made = pod(SHAPES[shape](planned("8xb200")))
    [container] = made["containers"]

    assert container["resources"] == {"claims": [{"name": "gpus"}]}
    assert "nodeAffinity" not in made["affinity"]
    counted = written(planned("8xb200"), "kubernetes")
    assert "laim" not in counted
    assert container["resources"] != pod(counted)["containers"][0]["resources"]


def test_each_pod_of_a_group_has_a_claim_of_its_own() -> None:
    plan = nodes("2x8xb200")
    made = objects(write(alone.spec(plan, WISH)))
    group = made["LeaderWorkerSet"]

    jsonschema.validate(group, LWS)
    for template in ("leaderTemplate", "workerTemplate"):
        one = group["spec"]["leaderWorkerTemplate"][template]["spec"]
        kubernetes_validate.validate(
            {"apiVersion": "v1", "kind": "Pod", "metadata": {}, "spec": one}, "1.37.0", strict=True
        )
        [claim] = one["resourceClaims"]
        name = made["ResourceClaimTemplate"]["metadata"]["name"]
        assert claim["resourceClaimTemplateName"] == name


def test_without_gpus_nothing_is_claimed() -> None:
    with pytest.raises(UserError, match="runs on the CPU") as told:
        write(alone.spec(planned("cpu-demo"), WISH))

    assert told.value.fix == "leave --dra out"


@pytest.mark.parametrize(
    "change",
    [
        {"allocationMode": "All"},
        {"count": 12345678},
        {"deviceClassName": "mig.nvidia.com"},
    ],
    ids=str,
)
def test_a_claim_that_tells_no_number_of_whole_gpus_tells_nothing(change: dict[str, Any]) -> None:
    made = [*yaml.safe_load_all(SHAPES["alone"](planned("8xb200")))]
    made[0]["spec"]["spec"]["devices"]["requests"][0]["exactly"] |= change
    [launch] = read(yaml.safe_dump_all(made)).launches

    assert launch.around.gpus is None


def test_a_claim_that_nobody_wrote_down_here_tells_nothing() -> None:
    made = [*yaml.safe_load_all(SHAPES["alone"](planned("8xb200")))][1:]
    [launch] = read(yaml.safe_dump_all(made)).launches

    assert launch.around.gpus is None
    assert launch.around.products == ()
