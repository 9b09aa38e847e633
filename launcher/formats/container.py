"""What `docker run` and its kin give to an image: its words and variables."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from launcher.engines.engine import NAMES, dialect
from launcher.formats import around, unread
from launcher.formats.around import Around
from launcher.formats.words import Piece, Word, rest_of, values
from launcher.knowledge import models

CONTAINERS = ("docker", "podman", "nerdctl")
VERBS = ("run", "exec", "create")
IMAGES = NAMES  # as their names have them
ENTERED = {image: name for name in NAMES for image in dialect(name).images}
TAGGED = ENTERED | {name: name for name in NAMES}  # whose tags are releases
_PROGRAM = re.compile(r"(?:.*/)?(?:\w*sh|env|tini|python[\d.]*|[\w-]+\.(?:sh|py))")
# sglang:v0.5.20, sglang==0.5.20, and how images are called as files: lmsysorg+sglang+v0.5.5.sqsh;
# sglang-runtime and sglang-router have numbers of their own.
TAG = re.compile(rf"(?:^|[/+])(?:{'|'.join(TAGGED)})(?:\[[\w,]+\])?(?:[:+]v?|==)(\d+\.\d+\.\d+)")
# A release that a text pins elsewhere: `pip install sglang[all]==0.5.9`, `sglang: 0.5.9` of
# check_env, an image that is pulled. `>=` pins none, and sglang-router has numbers of its own.
PINNED = re.compile(
    rf"(?<![\w.-])({'|'.join(TAGGED)})(?:\[[\w,]+\])?(?:==|:[ \t]*[\"']?v?)"
    r"(\d+\.\d+\.\d+(?:\.?post\d+)?)(?![\w.]*\.\d)",
    re.IGNORECASE,
)
# Whose images of an engine have the numbers of another program: LMCache's own releases.
_OWN_NUMBERS = re.compile(r"(?:^|/)lmcache/")
# How the builds of one release are called beside it: by CUDA, machine, contents.
_BUILDS = re.compile(
    r"(?:\.?(?:post|rc|dev)\d+)?(?:[-.](?:cu(?:da)?[\d.]+|rocm[\d.]*|mi\w+|npu|cpu|xpu|xeon|a\d|910b"
    r"|amd64|arm64|aarch64|x86-64|runtime|openai|blackwell|hopper|gb?\d{3}|ubuntu[\d.]+|srt|slim"
    r"|prod|official|py3(?:\.\d+)?))*"
)
# Options of `docker run` and podman-run(1) that take no value.
SWITCHES = frozenset(
    "d detach i interactive t tty it ti dit itd rm privileged init P publish-all read-only help"
    " no-healthcheck oom-kill-disable sig-proxy disable-content-trust q quiet replace no-hosts"
    " tls-verify".split()
)
# Options of theirs that no engine has: before them stands no image yet.
OWN = frozenset(
    "v volume e env env-file p publish name rm gpus network net ipc pid shm-size ulimit restart d"
    " detach it i t ti interactive tty entrypoint mount cap-add cap-drop privileged u user w"
    " workdir h hostname add-host security-opt runtime cpuset-cpus cpuset-mems memory m pull init"
    " log-opt log-driver tmpfs stop-timeout health-cmd group-add expose read-only".split()
)
_GLUED = re.compile(r"-e[A-Za-z_]\w*=|-p\d+:\d|-v[/.$~]")
_LIST = re.compile(r"\$\{\w+\[[@*]\][^{}]*\}|\$[@*]|\$\{[@*]\}")  # several words: no image
OF_HOST = "the network of the host"


@dataclass(frozen=True)
class Container:
    """A command in a container: the words behind its image, and what was said before it."""

    form: str
    words: tuple[Word, ...]
    variables: Mapping[str, Word]
    engine: str  # of its image, "" for others
    enters: bool  # its words are the arguments of what its image starts by itself
    starts: bool  # its image starts an engine by itself, and nothing was put in its place
    image: str
    name: str
    shares: str
    notes: tuple[str, ...]
    around: Around


def container(words: Sequence[Word]) -> Container | None:
    """What a command gives to a container; None for a command of another kind."""
    said = values(words)
    start = next(
        (at for at, word in enumerate(said) if word.rpartition("/")[2] in CONTAINERS), None
    )
    if start is None:
        return None
    verb = next((at for at in range(start + 1, len(said)) if said[at] in VERBS), None)
    if verb is None:
        return None
    options, image = _options(words, verb + 1)
    told = {name: value.value for name, value in options if value}
    label = said[image] if image < len(said) else ""
    on_host = "host" in (told.get("network"), told.get("net"))
    entries = [value for name, value in options if name == "entrypoint"]
    entry = [value for value in entries if value and value.value]
    is_own = said[verb] != "exec" and not entries
    return Container(
        f"docker {said[verb]}",
        (*entry, *words[image + 1 :]),
        dict(_variable(value) for name, value in options if name in ("e", "env") and value),
        engine_of(label) or taken_by(words[image + 1 :]),
        is_own and enters(label, words[image + 1 :]),
        is_own and starts(label),
        label,
        told.get("name", ""),
        OF_HOST if on_host else "",
        tuple(
            unread.of_variables(value.value)
            for name, value in options
            if name == "env-file" and value
        ),
        around.of_docker(
            [(name, value.value) for name, value in options if value and value.known],
            on_host=on_host,
        ),
    )


def _variable(word: Word) -> tuple[str, Word]:
    name, equals, _ = word.value.partition("=")
    outside = Word((Piece(f"${name}", known=False),))
    return name, rest_of(word, len(name) + 1) if equals else outside


def _options(words: Sequence[Word], at: int) -> tuple[list[tuple[str, Word | None]], int]:
    """The options of `docker run`, and where its image stands."""
    options: list[tuple[str, Word | None]] = []
    while at < len(words) and (_is_option(words[at]) or _are_options(words, at)):
        text = words[at].value
        name, equals, _ = text.lstrip("-").partition("=")
        if not _is_option(words[at]):
            pass  # whatever they are
        elif name in SWITCHES and not equals:
            options.append((name, None))
        elif not text.startswith("--") and len(name) > 1:  # -eA=b
            options.append((name[0], rest_of(words[at], 2)))
        elif equals:
            options.append((name, rest_of(words[at], text.index("=") + 1)))
        else:
            at += 1
            options.append((name, words[at] if at < len(words) else None))
        at += 1
    return options, at


def _is_option(word: Word) -> bool:
    return word.value.startswith("-") and word.value != "--"


def _are_options(words: Sequence[Word], at: int) -> bool:
    """Whether a word that comes from outside is more options, and no image: that comes later."""
    if words[at].known or at + 1 == len(words):
        return False
    after = words[at + 1].value
    is_own = after.startswith("-") and after.lstrip("-").partition("=")[0] in OWN
    is_own = is_own or _GLUED.match(after) is not None or _are_options(words, at + 1)
    is_list = _LIST.fullmatch(words[at].value) is not None and not after.startswith("-")
    later = (word.value for word in words[at + 1 :] if word.known)
    return is_own or is_list or any(starts(one) or TAG.search(one) for one in later)


def engine_of(image: str) -> str:
    """The engine that an image is of, "" for others."""
    return next((engine for engine in IMAGES if engine in image.lower()), "")


def starts(image: str) -> bool:
    """Whether an image starts an engine by itself: what follows it are that one's arguments."""
    return any(name in image.lower() for name in ENTERED)


def enters(image: str, words: Sequence[Word]) -> bool:
    """Whether the words behind an image are arguments of the engine that it starts: options, or a
    model where the image is one that starts it. Of an image that is not known they tell it alone.
    """
    first = words[0] if words else Word(())
    if image and not engine_of(image):
        return bool(taken_by(words))
    if first.value.startswith("-"):
        return bool(engine_of(image))
    has_options = words[1:2] and words[1].value.startswith("--")
    is_model = "/" in first.value or not first.known or has_options
    is_its_own = starts(image) or _is_of_options(engine_of(image), values(words[1:]))
    return is_its_own and bool(is_model) and not _PROGRAM.fullmatch(first.value)


def taken_by(words: Sequence[Word]) -> str:
    """The engine whose arguments words are by themselves: a model, named by an option or before
    them, and options that are no other program's; "" where nobody can tell.
    """
    if not words or _PROGRAM.fullmatch(words[0].value):
        return ""
    counts = {name: _count(name, words) for name in NAMES}
    best = max(counts, key=lambda name: counts[name])
    return best if counts[best][0] else ""


def _count(engine: str, words: Sequence[Word]) -> tuple[int, int]:
    """How many of the words are options of an engine, and how many as it spells them first; 0 where
    it would not be started by them.
    """
    spoken, first = dialect(engine), words[0]
    known, model = spoken.options, spoken.option_of("model_path")
    given = [known.reads(word, "").name for word in values(words) if word.startswith("--")]
    taken = [known.canonical(word[2:]) for word in given if known.has(word)]
    is_first = bool(spoken.positional) and (not first.known or _is_model(first.value))
    telling = [name for name in taken if name.count("-") > 1 or name in spoken.roles]
    is_one = is_first or model in taken
    if not (is_one and {*telling} - {model} and 2 * len(taken) > len(given)):
        return 0, 0
    return len(taken), sum(f"--{name}" in given for name in taken)


def _is_model(word: str) -> bool:
    """Whether a word looks like a checkpoint: an id on the hub, or a folder of models."""
    return models.is_id(word) or (word.startswith("/") and "model" in word.lower())


def _is_of_options(engine: str, words: Sequence[str]) -> bool:
    """Whether words are options of an engine that takes its model before them."""
    if not engine or not dialect(engine).positional:
        return False
    known = dialect(engine).options
    named = [known.reads(word, "").name for word in words if word.startswith("--")]
    return len(named) > 1 and all(map(known.has, named))


def release_of(image: str) -> str | None:
    """The release that the tag of an engine's image names."""
    if _OWN_NUMBERS.search(image):
        return None
    tags = TAG.findall(image.lower()) if engine_of(image) and not re.search(r"\s", image) else []
    return str(tags[-1]) if tags else None


def unreleased(image: str) -> str:
    """An image that is none of an engine's releases, nor its newest; "" for all others, and where
    nobody knows which it is.
    """
    image = re.sub(r"\$\{\w+:?-([^{}]*)\}", r"\1", image)  # what it is where nothing is set
    last = image.lower().rpartition("/")[2]  # whichever registry it is from
    name, _, tag = last.partition("@")[0].partition(":")
    is_newest = name in TAGGED and tag.partition("-")[0] in ("", "latest") and "@" not in image
    is_open = re.search(r"[${<]", last)
    return "" if is_open or is_newest or _is_released(image) else image


def _is_released(image: str) -> bool:
    """Whether a tag is a release's, and not that of somebody's own build of one."""
    found = [*TAG.finditer(image.lower())]
    rest = image.lower()[found[-1].end() :].partition("@")[0].replace("_", "-") if found else ""
    return bool(release_of(image)) and _BUILDS.fullmatch(rest.removesuffix(".sqsh")) is not None


def pinned(text: str) -> dict[str, str]:
    """The one release of each engine that a text pins; none where it pins several."""
    found: dict[str, set[str]] = {}
    for engine, release in PINNED.findall(text):
        found.setdefault(TAGGED[engine.lower()], set()).add(release)
    return {engine: said.pop() for engine, said in found.items() if len(said) == 1}
