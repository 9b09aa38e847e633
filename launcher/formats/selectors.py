"""The GPUs that a pod asks of its node, by the labels that GPU feature discovery puts there, or by
what it claims.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from launcher.formats.around import GPU
from launcher.formats.claims import Claim
from launcher.formats.nodes import List, Node, Table
from launcher.formats.pod import labels_of
from launcher.formats.yamltext import get, word
from launcher.knowledge import gpus

LABEL = f"{GPU}.product"
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


def asked(above: Sequence[Table], claim: Claim | None) -> tuple[str, ...]:
    """The products, as gpus.toml calls them, that the tables around a container let it have; none
    where they do not say so, or name a board that is in no row: a part of one, a shared one.
    """
    labels = [label for table in above for label in _labels(table)]
    boards = [board.replace(" ", "-") for board in claim.boards] if claim else []
    named = {one: [id for id in gpus.products() if one in labels_of(id)] for one in labels + boards}
    return (
        tuple(sorted({id for ids in named.values() for id in ids})) if all(named.values()) else ()
    )


def _labels(table: Table) -> Iterator[str]:
    if chosen := word(get(get(table, "nodeSelector"), LABEL)):
        yield chosen
    required = get(get(get(table, "affinity"), "nodeAffinity"), REQUIRED)
    for term in _items(get(required, "nodeSelectorTerms")):
        for one in _items(get(term, "matchExpressions")):
            if word(get(one, "key")) == LABEL and word(get(one, "operator")) == "In":
                yield from map(word, _items(get(one, "values")))


def _items(node: Node | None) -> Sequence[Node]:
    return node.items if isinstance(node, List) else ()
