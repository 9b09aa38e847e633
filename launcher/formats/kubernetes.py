"""A container as objects of Kubernetes, one a document. How such files are read: `tree.py`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from launcher.errors import Exit, UserError
from launcher.formats.around import GPU
from launcher.formats.spec import KEY, PROBE_TIMEOUT, RUN, SHM_GIB, Mount, Spec
from launcher.formats.yamltext import document
from launcher.knowledge import gpus

PRE_STOP = 15  # seconds in which endpoints and gateways learn that it goes
END = 90  # seconds that the end itself may take, after the drain
START_PERIOD = 10  # seconds between two looks at a server that starts
START_MARGIN = 1800  # seconds beyond the start: pulling an image of tens of GB
SECRET = "api-key"  # the key of the Secret, and the file's name
NODES_CACHE = "/var/cache/glm5-serve"
KINDS = {"pvc": "a claim's name", "hostPath": "a folder of the nodes", "image": "an OCI image"}
Object = dict[str, Any]


def write(spec: Spec) -> str:
    """A Deployment, and what belongs to it. Raises UserError for what no cluster can run."""
    _require(spec)
    return document([*spec.head, *_how(spec)], *_objects(spec))


def _objects(spec: Spec) -> Iterator[Object]:
    yield _deployment(spec)
    yield _object(
        "v1",
        "Service",
        spec,
        {
            "selector": _labels(spec),
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
            "selector": {"matchLabels": _labels(spec)},
        },
    )
    yield _object("networking.k8s.io/v1", "NetworkPolicy", spec, _policy(spec))


def _object(version: str, kind: str, spec: Spec, body: Object) -> Object:
    metadata = {"name": spec.name, "labels": _labels(spec)}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, "spec": body}


def _labels(spec: Spec) -> dict[str, str]:
    return {"app.kubernetes.io/name": "glm5-serve", "app.kubernetes.io/instance": spec.name}


def _policy(spec: Spec) -> Object:
    """Who may reach it: pods of its namespace, its port alone."""
    allowed = {"from": [{"podSelector": {}}], "ports": [{"protocol": "TCP", "port": "http"}]}
    return {
        "podSelector": {"matchLabels": _labels(spec)},
        "policyTypes": ["Ingress"],
        "ingress": [allowed],
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
            "selector": {"matchLabels": _labels(spec)},
            "template": {"metadata": {"labels": _labels(spec)}, "spec": _pod(spec)},
        },
    )


def _pod(spec: Spec) -> Object:
    made: Object = {
        "terminationGracePeriodSeconds": PRE_STOP + spec.drain + END,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "affinity": _affinity(spec),
    }
    if spec.gpus:
        made["tolerations"] = [{"key": GPU, "operator": "Exists", "effect": "NoSchedule"}]
    return made | {"containers": [_container(spec)], "volumes": [*_volumes(spec)]}


def _affinity(spec: Spec) -> Object:
    term = {
        "topologyKey": "kubernetes.io/hostname",
        "labelSelector": {"matchLabels": _labels(spec)},
    }
    apart = {
        "preferredDuringSchedulingIgnoredDuringExecution": [
            {"weight": 100, "podAffinityTerm": term}
        ]
    }
    made: Object = {"podAntiAffinity": apart}
    if labels := products(spec.product):
        wanted = {"key": f"{GPU}.product", "operator": "In", "values": labels}
        terms = {"nodeSelectorTerms": [{"matchExpressions": [wanted]}]}
        made["nodeAffinity"] = {"requiredDuringSchedulingIgnoredDuringExecution": terms}
    return made


def products(product: str | None) -> list[str]:
    """The boards of a product as GPU feature discovery labels nodes (blanks are dashes)."""
    known = gpus.products().get(product or "")
    return [edition.seen.replace(" ", "-") for edition in known.editions] if known else []


def _container(spec: Spec) -> Object:
    resources = ({GPU: spec.gpus} if spec.gpus else {}) | ({spec.rdma: 1} if spec.rdma else {})
    made: Object = {"name": "server", "image": spec.image}
    if spec.entry:
        made["command"] = [*map(_plain, spec.entry)]
    made["args"] = [*map(_plain, spec.command)]
    if spec.env:
        made["env"] = [{"name": name, "value": _plain(value)} for name, value in spec.env.items()]
    made["ports"] = _ports(spec)
    if resources:
        made["resources"] = {"requests": resources, "limits": dict(resources)}
    made |= _probes(spec)
    made["lifecycle"] = {"preStop": {"sleep": {"seconds": PRE_STOP}}}
    # memory is pinned for the GPUs: a pod has no limit of its own to raise
    capabilities = {"drop": ["ALL"], "add": sorted({"IPC_LOCK", *spec.capabilities})}
    made["securityContext"] = {
        "allowPrivilegeEscalation": False,
        "capabilities": capabilities,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    return made | {"volumeMounts": [*_volume_mounts(spec)]}


def _ports(spec: Spec) -> list[Object]:
    """The server's, and last the one where it is asked, where that is another."""
    served = {"name": "http", "containerPort": spec.port}
    asked = {"name": "health", "containerPort": spec.probes.port}
    return [served] if spec.port == spec.probes.port else [served, asked]


def _plain(text: str) -> str:
    """A value in which Kubernetes puts nothing: `$(NAME)` is the variable, `$$` a dollar."""
    return text.replace("$", "$$")


def _probes(spec: Spec) -> Object:
    port = _ports(spec)[-1]["name"]

    def asking(path: str, period: int, timeout: int, failures: int) -> Object:
        return {
            "httpGet": {"path": path, "port": port},
            "periodSeconds": period,
            "timeoutSeconds": timeout,
            "failureThreshold": failures,
        }

    probes = spec.probes
    looks = -(-probes.within // START_PERIOD)
    often = 5 if probes.patience == 5 else START_PERIOD
    return {
        # while it goes on the two others wait: without it liveness kills every load
        "startupProbe": asking(probes.begun, START_PERIOD, min(probes.patience, 10), looks),
        "readinessProbe": asking(probes.ready, often, probes.patience, 2),
        "livenessProbe": asking(probes.alive, 30, PROBE_TIMEOUT, 4),
    }


# -- volumes ---------------------------------------------------------------------------------------


def _volumes(spec: Spec) -> Iterator[Object]:
    memory = {"medium": "Memory"}
    yield {"name": "shm", "emptyDir": memory | {"sizeLimit": f"{SHM_GIB}Gi"}}
    yield {"name": "model"} | _source(spec)
    for number, mount in enumerate(spec.mounts):
        folder = f"{NODES_CACHE}/{mount.source}"
        own = {"path": folder, "type": "DirectoryOrCreate"}
        yield {
            "name": f"mount-{number}",
            "hostPath": own if mount.is_volume else {"path": mount.source},
        }
    if spec.key_file:
        secret = {"secretName": f"{spec.name}-key", "defaultMode": 0o400}
        yield {"name": "key", "secret": secret}
    if spec.copies_key:
        yield {"name": "run", "emptyDir": memory | {"sizeLimit": "1Mi"}}


def _volume_mounts(spec: Spec) -> Iterator[Object]:
    yield {"name": "shm", "mountPath": "/dev/shm"}
    for number, mount in enumerate(spec.mounts):
        yield _at(f"mount-{number}", mount)
    # after the cache, in which the hub's is
    yield _at("model", spec.model)
    if spec.key_file:
        yield {"name": "key", "mountPath": KEY.rpartition("/")[0], "readOnly": True}
    if spec.copies_key:
        yield {"name": "run", "mountPath": RUN}


def _at(name: str, mount: Mount) -> Object:
    made: Object = {"name": name, "mountPath": mount.target}
    return made if mount.is_writable else made | {"readOnly": True}


def _source(spec: Spec) -> Object:
    """Where the weights are: on the nodes at their own path, where nobody says another place."""
    kind, _, value = (spec.models or f"hostPath:{spec.model.source}").partition(":")
    if kind == "pvc":
        read_only = {} if spec.model.is_writable else {"readOnly": True}
        return {"persistentVolumeClaim": {"claimName": value} | read_only}
    if kind == "image":
        return {"image": {"reference": value, "pullPolicy": "IfNotPresent"}}
    made = "DirectoryOrCreate" if spec.model.is_writable else "Directory"
    return {"hostPath": {"path": value, "type": made}}


# -- said ------------------------------------------------------------------------------------------


def _how(spec: Spec) -> Iterator[str]:
    if spec.key_file:
        made = f"--from-file={SECRET}={spec.key_file}"
        yield f"the key: kubectl create secret generic {spec.name}-key {made}"
    if not products(spec.product) and spec.gpus:
        yield "no product of GPU is known for this plan: nodes are not chosen by theirs"
    if spec.models.startswith("image:"):
        yield "an image as a volume wants Kubernetes 1.35 or later: before, it may be left out"
    yield "no CPU and memory are requested: add what your nodes leave it, by kustomize"


def _require(spec: Spec) -> None:
    kind, colon, value = spec.models.partition(":")
    if spec.models and not (kind in KINDS and colon and value):
        kinds = ", ".join(f"{name}:{what}" for name, what in KINDS.items())
        what = f"--models {spec.models}: no place that is known"
        raise UserError(what, fix=f"one of {kinds}", status=Exit.USAGE)
    if kind == "image" and spec.model.is_writable:
        what = "an image holds the folder of one model, and this one is a hub's id"
        fix = "--set flags.model-path=/models/NAME: where the image is shown"
        raise UserError(what, fix=fix, status=Exit.USAGE)
    if spec.every_gpu:
        what = "CUDA_VISIBLE_DEVICES chooses GPUs of a host, and a cluster does that itself"
        fix = "take it out of the profile: a pod sees its own, numbered from 0"
        raise UserError(what, fix=fix, status=Exit.CONFIG)
