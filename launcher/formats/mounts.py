"""Which folder of the host a path inside a container is: what `docker run`, compose, quadlets and
pods mount there. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath

from launcher.formats.nodes import List, Node, Scalar, Table
from launcher.formats.yamltext import get, of, word

# Folders of the host, or volumes, as the text names them, by where they are inside.
Mounts = Mapping[str, str]
_PLAIN = re.compile(r"/[^$`{}<>*]*")  # a path that nothing has to be filled into
# `source:target:options`; a colon within `${MODELS:-/srv}` is none between them.
_PART = r"(?:\$\{[^}]*\}|[^:])*"
_VOLUME = re.compile(rf"(?P<source>{_PART}):(?P<target>{_PART})")
_NAMES = {"src": "source", "dst": "target", "destination": "target"}


def on_host(path: str, mounts: Mounts) -> str:
    """The path on the host; "" for one that is inside alone, or nobody knows where."""
    found = mounted(path, mounts)
    return found if _PLAIN.fullmatch(found) else ""


def mounted(path: str, mounts: Mounts) -> str:
    """The same as the text names it, which may have to be filled in (`$MODELS/GLM-5.2`), or be a
    volume.
    """
    inside = PurePosixPath(path)
    at = [one for one in map(PurePosixPath, mounts) if inside.is_relative_to(one)]
    if not at:
        return ""
    nearest = max(at, key=lambda one: len(one.parts))
    folder = mounts[str(nearest)]
    return str(PurePosixPath(folder, inside.relative_to(nearest))) if folder else ""


def of_options(options: Iterable[tuple[str, str]]) -> Mounts:
    """By the options of `docker run`: -v, --volume and --mount."""
    made: dict[str, str] = {}
    for name, value in options:
        if name in ("v", "volume"):
            made |= of_volume(value)
        elif name == "mount":
            pairs = (part.partition("=")[::2] for part in value.split(","))
            told = {_NAMES.get(key, key): text for key, text in pairs}
            made |= _mount(told.get("source", ""), told.get("target", ""))
    return made


def of_volume(text: str) -> Mounts:
    """`/data/glm:/model:ro`; what has no path of the host, a volume by its name, is nowhere."""
    found = _VOLUME.match(text)
    return _mount(found["source"], found["target"]) if found else {}


def of_tables(tables: Sequence[Table], around: Sequence[Table]) -> Mounts:
    """By the tables of a service of compose or a container of Kubernetes, whose pod is `around`."""
    made: dict[str, str] = {}
    listed = of(tables, "volumes")
    for item in listed.items if isinstance(listed, List) else []:
        if isinstance(item, Scalar):
            made |= of_volume(item.value)
        else:
            made |= _mount(word(get(item, "source")), word(get(item, "target")))
    mounted, folders = of(tables, "volumemounts"), _folders(around)
    for item in mounted.items if isinstance(mounted, List) else []:
        folder = folders.get(word(get(item, "name")), "")
        source = str(PurePosixPath(folder, word(get(item, "subPath")))) if folder else ""
        made |= _mount(source, word(get(item, "mountPath")))
    return made


def _folders(around: Sequence[Table]) -> dict[str, str]:
    """The folders of the host that the volumes of a pod are, by their names."""
    made: dict[str, str] = {}
    for table in around:
        listed: Node | None = get(table, "volumes")
        for item in listed.items if isinstance(listed, List) else []:
            if not isinstance(item, Scalar):
                made[word(get(item, "name"))] = word(get(get(item, "hostPath"), "path"))
    return made


def _mount(source: str, target: str) -> Mounts:
    if not target.startswith("/"):
        return {}
    return {str(PurePosixPath(target)): source}
