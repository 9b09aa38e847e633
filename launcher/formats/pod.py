"""The pod of a container: what it runs, its probes, its volumes, and the nodes that it fits."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from launcher.address import bracketed
from launcher.formats.around import GPU
from launcher.formats.claims import CLAIM
from launcher.formats.spec import KEY, PROBE_TIMEOUT, RUN, SHM_GIB, Group, Mount, Probes, Spec
from launcher.formats.yamltext import Object
from launcher.knowledge import gpus

PRE_STOP = 15  # seconds in which endpoints and gateways learn that it goes
END = 90  # seconds that the end itself may take, after the drain
START_PERIOD = 10  # seconds between two looks at a server that starts
SECRET = "api-key"  # the key of the Secret, and the file's name
NODES_CACHE = "/var/cache/glm5-serve"
LEADER, RANK = "$(LWS_LEADER_ADDRESS)", "$(LWS_WORKER_INDEX)"  # of LeaderWorkerSet, in each pod
GROUP_MARGIN = 1800  # seconds until the others of a group have their image, tens of GB, and a name
# Becomes `glm5-serve up` once each pod of the group has an address: NAME-0 leads, NAME-0-1 follows
# (LeaderWorkerSet's pod_utils.go and controller_utils.go; not run in a cluster).
FIND = """\
leader=${LWS_LEADER_ADDRESS%%.*} domain=${LWS_LEADER_ADDRESS#*.} at=0 hosts=
while [ "$at" -lt "$LWS_GROUP_SIZE" ]; do
  name=$leader.$domain; [ "$at" = 0 ] || name=$leader-$at.$domain
  until found=$(getent hosts "$name"); do echo "no address of $name yet" >&2; sleep 2; done
  hosts="$hosts${hosts:+, }\\"${found%% *}\\"" at=$((at + 1))
done
exec "$@" --node-rank "$LWS_WORKER_INDEX" --set "nodes.hosts=[$hosts]"
"""
INTERFACES = ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME")


def labels(spec: Spec) -> dict[str, str]:
    """What tells its pods from others."""
    return {"app.kubernetes.io/name": "glm5-serve", "app.kubernetes.io/instance": spec.name}


def pod_of_group(spec: Spec, group: Group, words: tuple[str, ...], *, leads: bool) -> Object:
    """The pod of one node of several: they find each other as LeaderWorkerSet tells them."""
    made = pod(spec)
    [container] = made["containers"]
    if spec.own_init:
        _supervise(container)
    else:
        container["args"] = [*_told(words, group)]
        container["env"] = [*_own_env(spec, group)]
        for name in () if leads else ("startupProbe", "readinessProbe", "livenessProbe", "ports"):
            container.pop(name, None)  # a follower answers nobody, and its /health is always 200
    if group.interface:
        made |= {"hostNetwork": True, "dnsPolicy": "ClusterFirstWithHostNet"}
    return made


def _supervise(container: Object) -> None:
    """Have a launcher know the pods of its group; it answers for a follower, too."""
    container["command"] = ["/bin/sh", "-c", plain(FIND), "glm5-serve", *container["command"]]
    startup = container["startupProbe"]
    startup["failureThreshold"] += GROUP_MARGIN // startup["periodSeconds"]


def _told(words: tuple[str, ...], group: Group) -> Iterator[str]:
    """The words of a node, with the addresses of pods in place of those of hosts."""
    meeting = f"{bracketed(group.first)}:{group.port}"
    for before, word in pairwise(("", *words)):
        if before == group.rank:
            yield RANK
        elif before == "--host":
            yield "0.0.0.0"
        elif word in (group.first, meeting):
            yield LEADER + (f":{group.port}" if word == meeting else "")
        else:
            yield plain(word)


def _own_env(spec: Spec, group: Group) -> Iterator[Object]:
    address = {"valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}
    yield {"name": group.own_address} | address
    # in a network of its own a pod has one interface, and it is found
    left_out = {group.own_address, *(() if group.interface else INTERFACES)}
    for name, value in spec.env.items():
        if name not in left_out:
            yield {"name": name, "value": plain(value)}


def pod(spec: Spec) -> Object:
    """The pod of a server that has all of its GPUs on one node."""
    made: Object = {
        "terminationGracePeriodSeconds": PRE_STOP + spec.drain + END,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "affinity": _affinity(spec),
    }
    if spec.gpus:
        made["tolerations"] = [{"key": GPU, "operator": "Exists", "effect": "NoSchedule"}]
    if spec.claims:
        template = {"resourceClaimTemplateName": spec.name}
        made["resourceClaims"] = [{"name": CLAIM} | template]
    return made | {"containers": [_container(spec)], "volumes": [*_volumes(spec)]}


def _affinity(spec: Spec) -> Object:
    term = {
        "topologyKey": "kubernetes.io/hostname",
        "labelSelector": {"matchLabels": labels(spec)},
    }
    apart = {
        "preferredDuringSchedulingIgnoredDuringExecution": [
            {"weight": 100, "podAffinityTerm": term}
        ]
    }
    made: Object = {"podAntiAffinity": apart}
    # a claim names its boards itself
    if chosen := [] if spec.claims else labels_of(spec.product):
        wanted = {"key": f"{GPU}.product", "operator": "In", "values": chosen}
        terms = {"nodeSelectorTerms": [{"matchExpressions": [wanted]}]}
        made["nodeAffinity"] = {"requiredDuringSchedulingIgnoredDuringExecution": terms}
    return made


def boards_of(product: str | None) -> list[str]:
    """The boards of a product as the driver names them."""
    known = gpus.products().get(product or "")
    return [edition.seen for edition in known.editions] if known else []


def labels_of(product: str | None) -> list[str]:
    """The boards of a product as GPU feature discovery labels nodes (blanks are dashes)."""
    return [board.replace(" ", "-") for board in boards_of(product)]


def _container(spec: Spec) -> Object:
    counted = {GPU: spec.gpus} if spec.gpus and not spec.claims else {}
    resources = counted | ({spec.rdma: 1} if spec.rdma else {})
    made: Object = {"name": "server", "image": spec.image}
    if spec.entry:
        made["command"] = [*map(plain, spec.entry)]
    made["args"] = [*map(plain, spec.command)]
    if spec.env:
        made["env"] = [{"name": name, "value": plain(value)} for name, value in spec.env.items()]
    made["ports"] = _ports(spec)
    if resources:
        made["resources"] = {"requests": resources, "limits": dict(resources)}
    if spec.claims:
        made.setdefault("resources", {})["claims"] = [{"name": CLAIM}]
    if spec.probes:
        made |= _probes(spec.probes, made["ports"][-1]["name"])
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
    asked = spec.probes.port if spec.probes else spec.port
    return [served] if asked == spec.port else [served, {"name": "health", "containerPort": asked}]


def plain(text: str) -> str:
    """A value in which Kubernetes puts nothing: `$(NAME)` is the variable, `$$` a dollar."""
    return text.replace("$", "$$")


def _probes(probes: Probes, port: str) -> Object:
    def asking(path: str, period: int, timeout: int, failures: int) -> Object:
        return {
            "httpGet": {"path": path, "port": port},
            "periodSeconds": period,
            "timeoutSeconds": timeout,
            "failureThreshold": failures,
        }

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
    part = spec.models.partition("/")[2] if spec.models.startswith("pvc:") else ""
    yield _at("model", spec.model) | ({"subPath": part} if part else {})
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
        claim = value.partition("/")[0]
        return {"persistentVolumeClaim": {"claimName": claim} | read_only}
    if kind == "image":
        return {"image": {"reference": value, "pullPolicy": "IfNotPresent"}}
    made = "DirectoryOrCreate" if spec.model.is_writable else "Directory"
    return {"hostPath": {"path": value, "type": made}}
