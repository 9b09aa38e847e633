"""A container as objects of Kubernetes, one a document. How such files are read: `tree.py`."""

from __future__ import annotations

import re
from collections.abc import Iterator

from launcher.errors import Exit, UserError
from launcher.formats import claims
from launcher.formats.pod import SECRET, boards_of, labels, pod, pod_of_group
from launcher.formats.spec import Group, Spec
from launcher.formats.yamltext import Object, document

START_MARGIN = 1800  # seconds beyond the start: pulling an image of tens of GB
LEADS = {"leaderworkerset.sigs.k8s.io/worker-index": "0"}  # a follower answers 404
KINDS = {
    "pvc": (
        "CLAIM or CLAIM/FOLDER",
        re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?(/[\w.@-]+)*"),
    ),
    "hostPath": ("/FOLDER of the nodes", re.compile(r"/[^\x00-\x1f\x7f]*")),
    "image": ("REFERENCE, an OCI image", re.compile(r"[A-Za-z0-9][\w.:/@-]{0,254}")),
}


def write(spec: Spec) -> str:
    """A Deployment, and what belongs to it. Raises UserError for what no cluster can run."""
    _require(spec)
    return document([*spec.head, *_how(spec)], *_objects(spec))


def _objects(spec: Spec) -> Iterator[Object]:
    if spec.claims:
        claimed = claims.claimed(spec.gpus, boards_of(spec.product))
        yield _object("resource.k8s.io/v1", "ResourceClaimTemplate", spec, claimed)
    yield _group(spec, spec.group) if spec.group else _deployment(spec)
    yield _object(
        "v1",
        "Service",
        spec,
        {
            "selector": labels(spec) | (LEADS if spec.group else {}),
            "ports": [{"name": "http", "port": spec.port, "targetPort": "http"}],
        },
    )
    yield _object(
        "policy/v1",
        "PodDisruptionBudget",
        spec,
        {
            "maxUnavailable": 1,
            # one that never became ready keeps no node from being drained
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": {"matchLabels": labels(spec)},
        },
    )
    yield _object("networking.k8s.io/v1", "NetworkPolicy", spec, _policy(spec))


def _object(version: str, kind: str, spec: Spec, body: Object) -> Object:
    metadata = {"name": spec.name, "labels": labels(spec)}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, "spec": body}


def _policy(spec: Spec) -> Object:
    """Who may reach it: pods of its namespace, its port alone."""
    # the nodes of a group meet at ports that nobody knows before
    group = [{"from": [{"podSelector": {"matchLabels": labels(spec)}}]}] if spec.group else []
    allowed = {"from": [{"podSelector": {}}], "ports": [{"protocol": "TCP", "port": "http"}]}
    return {
        "podSelector": {"matchLabels": labels(spec)},
        "policyTypes": ["Ingress"],
        "ingress": [allowed, *group],
    }


def _deployment(spec: Spec) -> Object:
    return _object(
        "apps/v1",
        "Deployment",
        spec,
        {
            "replicas": 1,
            # there is no spare node with GPUs for a surge
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1},
            },
            "minReadySeconds": 10,
            "progressDeadlineSeconds": spec.start + START_MARGIN,
            "selector": {"matchLabels": labels(spec)},
            "template": {"metadata": {"labels": labels(spec)}, "spec": pod(spec)},
        },
    )


def _group(spec: Spec, group: Group) -> Object:
    """Several nodes that are started, and started again, together."""
    template = {
        "size": group.size,
        "restartPolicy": "RecreateGroupOnPodRestart",
        "leaderTemplate": _template(spec, group, spec.command, leads=True),
        "workerTemplate": _template(spec, group, group.follower, leads=False),
    }
    return _object(
        "leaderworkerset.x-k8s.io/v1",
        "LeaderWorkerSet",
        spec,
        {
            "replicas": 1,
            # a leader is ready when the others have joined: with LeaderReady they never start
            "startupPolicy": "LeaderCreated",
            "rolloutStrategy": {
                "type": "RollingUpdate",
                "rollingUpdateConfiguration": {"maxUnavailable": 1, "maxSurge": 0},
            },
            "leaderWorkerTemplate": template,
        },
    )


def _template(spec: Spec, group: Group, words: tuple[str, ...], *, leads: bool) -> Object:
    made = pod_of_group(spec, group, words, leads=leads)
    return {"metadata": {"labels": labels(spec)}, "spec": made}


# -- said ------------------------------------------------------------------------------------------


def _how(spec: Spec) -> Iterator[str]:
    if spec.group:
        crd = "kubectl get crd leaderworkersets.leaderworkerset.x-k8s.io"
        yield f"it wants the LeaderWorkerSet controller in the cluster: {crd}"
        yield "its pods listen to 0.0.0.0 and find each other by name, not by the profile's hosts"
    if spec.group and spec.group.interface:
        yield "in the network of its nodes no NetworkPolicy holds: their firewall does"
    if spec.key_file:
        made = f"--from-file={SECRET}={spec.key_file}"
        yield f"the key: kubectl create secret generic {spec.name}-key {made}"
    if not boards_of(spec.product) and spec.gpus:
        yield "no product of GPU is known for this plan: nodes are not chosen by theirs"
    if spec.claims:
        wants = f"Kubernetes {claims.SINCE} or later, and NVIDIA's driver of DRA"
        yield f"GPUs are claimed by the device class {claims.CLASS}: {wants} (not run here)"
    yield _weights(spec)
    if spec.models.startswith("image:"):
        yield "an image as a volume wants Kubernetes 1.35 or later: before, it may be left out"
    yield "no CPU and memory are requested: add what your nodes leave it, by kustomize"


def _weights(spec: Spec) -> str:
    """Where the weights have to lie, and how."""
    place = spec.models or f"hostPath:{spec.model.source}"
    if not spec.model.is_writable:
        return f"{place} is the model's folder itself: its config.json lies right there"
    own = "" if spec.models else "each node downloads the model for itself, or say --models: "
    return f"{own}{place} is the hub's cache, shown at {spec.model.target}, and is written to"


def _is_place(kind: str, value: str) -> bool:
    shape = KINDS[kind][1] if kind in KINDS else None
    return bool(shape and shape.fullmatch(value)) and ".." not in value.split("/")


def _require(spec: Spec) -> None:
    if spec.follows:
        what = "a LeaderWorkerSet has all nodes in it, and --node-rank names a follower"
        raise UserError(what, fix="leave --node-rank out", status=Exit.USAGE)
    if spec.group and spec.rdma and not spec.group.interface:
        what = "RDMA is in the network of the nodes, which have other interfaces than a pod"
        fix = "--set nodes.interface=NAME: the one between the nodes, on all of them"
        raise UserError(what, fix=fix, status=Exit.USAGE)
    kind, _, value = spec.models.partition(":")
    if spec.models and not _is_place(kind, value):
        kinds = ", ".join(f"{name}:{what}" for name, (what, _) in KINDS.items())
        what = f"--models {spec.models}: no place that is known"
        raise UserError(what, fix=f"one of {kinds}", status=Exit.USAGE)
    if kind == "image" and spec.model.is_writable:
        what = "an image holds the folder of one model, and this one is a hub's id"
        fix = "as the profile's model /models/NAME: where the image is shown"
        raise UserError(what, fix=fix, status=Exit.USAGE)
    if spec.claims and not spec.gpus:
        what = "--dra claims GPUs, and this plan runs on the CPU"
        raise UserError(what, fix="leave --dra out", status=Exit.USAGE)
    if spec.every_gpu:
        what = "CUDA_VISIBLE_DEVICES chooses GPUs of a host, and a cluster does that itself"
        fix = "take it out of the profile: a pod sees its own, numbered from 0"
        raise UserError(what, fix=fix, status=Exit.CONFIG)
