"""GPUs that a pod claims by their kind (dynamic resource allocation), in place of a count of
`nvidia.com/gpu`: how the claim is written, and how it is read.

Sources: Kubernetes' schema of resource.k8s.io/v1, which 1.34 has first; the device class and the
attributes are those of NVIDIA's driver (dra-driver-nvidia-gpu, deviceinfo.go). Not run: from the
source.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from launcher.formats.nodes import List, Node, Table
from launcher.formats.yamltext import Object, get, of, word

SINCE = "1.34"  # the release of Kubernetes that has the API as v1
CLASS = "gpu.nvidia.com"  # NVIDIA's device class of whole GPUs, and whose attributes they are
CLAIM = "gpus"
PRODUCT = re.compile(rf'device\.attributes\["{CLASS}"\]\.productName (?:in (\[.*\])|== (".*"))')
TEMPLATES = ("ResourceClaimTemplate", "ResourceClaim")


def claimed(gpus: int, boards: Sequence[str]) -> Object:
    """The `spec` of a ResourceClaimTemplate: so many GPUs of one node, each one of these boards as
    the driver calls them; any where no board is known.
    """
    exactly: Object = {"deviceClassName": CLASS, "count": gpus}
    if boards:
        one_of = f'device.attributes["{CLASS}"].productName in {json.dumps([*boards])}'
        exactly["selectors"] = [{"cel": {"expression": one_of}}]
    return {"spec": {"devices": {"requests": [{"name": CLAIM, "exactly": exactly}]}}}


@dataclass(frozen=True)
class Claim:
    """So many GPUs, each of one of these boards; any where none is named."""

    gpus: int
    boards: tuple[str, ...]


def read(roots: Iterable[Node]) -> dict[str, Claim]:
    """The claims of some documents by the names of their objects; those that do not say how many
    GPUs they are of are left out.
    """
    made = {}
    for root in roots:
        if isinstance(root, Table) and word(get(root, "kind")) in TEMPLATES:
            spec = get(root, "spec")
            asked = [*_asked(get(get(get(spec, "spec") or spec, "devices"), "requests"))]
            if claim := _joined(asked):
                made[word(get(get(root, "metadata"), "name"))] = claim
    return made


def _asked(requests: Node | None) -> Iterator[Claim | None]:
    """The GPUs of each request; None where their number is left to the cluster."""
    for request in _items(requests):
        exactly = get(request, "exactly") or request  # as v1beta1 had it
        if word(get(exactly, "deviceClassName")) == CLASS:
            count = word(get(exactly, "count")) or "1"
            is_told = word(get(exactly, "allocationMode")) in ("", "ExactCount")
            is_number = count.isascii() and count.isdecimal() and len(count) < 5
            boards = tuple(_boards(get(exactly, "selectors")))
            yield Claim(int(count), boards) if is_told and is_number else None


def _boards(selectors: Node | None) -> Iterator[str]:
    for selector in _items(selectors):
        found = PRODUCT.fullmatch(word(get(get(selector, "cel"), "expression")).strip())
        yield from re.findall(r'"([^"]*)"', found[1] or found[2]) if found else ()


def of_container(
    tables: Sequence[Table], above: Sequence[Table], known: Mapping[str, Claim]
) -> Claim | None:
    """The GPUs that a container has by the claims of its pod; None where that is not told."""
    named = {word(get(one, "name")) for one in _items(get(of(tables, "resources"), "claims"))}
    return _joined(
        known.get(word(get(one, "resourceClaimTemplateName") or get(one, "resourceClaimName")))
        for one in _items(of([*reversed(above)], "resourceclaims"))
        if word(get(one, "name")) in named
    )


def _joined(claims: Iterable[Claim | None]) -> Claim | None:
    """All of them as one; None where there is none, or one of them tells no number."""
    told = [*claims]
    known = [claim for claim in told if claim]
    if not told or len(known) < len(told):
        return None
    boards = (board for claim in known for board in claim.boards)
    return Claim(sum(claim.gpus for claim in known), tuple(dict.fromkeys(boards)))


def _items(node: Node | None) -> Sequence[Node]:
    return node.items if isinstance(node, List) else ()
