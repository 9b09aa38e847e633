"""Tests of `directives.toml`: what more has to be so for a directive to be told of. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from launcher.engines.engine import dialect
from launcher.engines.match import Case
from launcher.formats import spans, unread
from launcher.formats.directives import Directive, Directives
from launcher.formats.launches import Launch
from launcher.knowledge import needs

START = 90.0  # seconds that systemd gives a start where nothing is said
HIDDEN = re.compile(r"""(?:^|[\s=:@+!"'-])((?:%h|/(?:home|root|run/user))(?:/[^\s"';,:]*)?)""")
WRITABLE = ("ReadWritePaths", "ReadWriteDirectories", "StateDirectory", "CacheDirectory",
    "LogsDirectory", "RuntimeDirectory", "BindPaths", "TemporaryFileSystem")  # fmt: skip
BOUND = ("BindPaths", "BindReadOnlyPaths")
WAITS = re.compile(r"\b(?:until|while)\b|--retry\b|wait-for|/(?:health|ready|v1/models)\b")
LOCAL = re.compile(r"any|localhost|127\.0\.0\.\d+(?:/\d+)?|0\.0\.0\.0/0|127\.0\.0\.0/8")
NODES = ("nvidiactl", "nvidia-uvm", "nvidia0")
Found = Directive | None


@dataclass(frozen=True)
class Seen:
    """A launch with what stands beside it; `unknown` options and variables come from outside."""

    directives: Directives
    launch: Launch
    case: Case
    is_large: bool
    unknown: frozenset[str]

    @property
    def ranks(self) -> int:
        """How many GPUs it takes on this node, 1 where nobody knows."""
        named = dialect(self.case.target.engine).option_of
        sizes = {*map(named, ("tp_size", "pp_size", "dp_size", "nnodes"))}
        return 1 if self.unknown & sizes else self.case.gpus

    @property
    def sets_more(self) -> bool:
        """Whether a file that is not read may set variables."""
        return unread.sets_variables(self.launch.notes)

    def says(self, key: str) -> bool:
        """Whether a switch is on."""
        found = self.directives.last(key)
        return found is not None and spans.boolean(found.value) is True


def number(said: Directive) -> float | None:
    """What a directive says as seconds, bytes or a count; a limit's hard one."""
    text = said.value.rpartition(":")[2]
    if said.key.startswith("Timeout") or "stop" in said.key.lower():
        return spans.seconds(text)
    return spans.size(text)


def _start(seen: Seen) -> float:
    """Seconds that a start may take."""
    found = seen.directives.last("TimeoutStartSec", "TimeoutSec")
    told = spans.seconds(found.value) if found else START
    return (told or math.inf) if told is not None else START


def _start_ends(seen: Seen, keys: tuple[str, ...]) -> Found:
    return seen.directives.last(*keys) if _start(seen) < math.inf else None


def _start_endless(seen: Seen, keys: tuple[str, ...]) -> Found:
    return None if _start(seen) < math.inf else seen.directives.last(*keys)


def _start_short(seen: Seen, keys: tuple[str, ...]) -> Found:
    return seen.directives.last(*keys) if _start(seen) < needs.LOAD else None


def _post_waits(seen: Seen, keys: tuple[str, ...]) -> Found:
    posts = [one for one in seen.directives.said if one.key in keys]
    found = next((one for one in posts if WAITS.search(one.value)), None)
    if found and _start(seen) < needs.LOAD:
        return Directive(found.section, found.key, "that waits")
    return None


def _restarts(seen: Seen) -> bool:
    found = seen.directives.last("Restart")
    return found is not None and found.value != "no"


def _oneshot_restarts(seen: Seen, keys: tuple[str, ...]) -> Found:
    found = seen.directives.last("Restart")
    is_refused = found is not None and found.value in ("always", "on-success")
    return seen.directives.last(*keys) if is_refused else None


def _oneshot_waits(seen: Seen, keys: tuple[str, ...]) -> Found:
    return None if _oneshot_restarts(seen, keys) else seen.directives.last(*keys)


def _is_set(seen: Seen, keys: tuple[str, ...]) -> Found:
    found = seen.directives.last(*keys)
    told = spans.seconds(found.value) if found else None
    return found if told and told < math.inf else None


def _not_restarted(seen: Seen, keys: tuple[str, ...]) -> Found:
    found = seen.directives.last("Restart")
    if found:
        return found if found.value == "no" else None
    is_complete = seen.directives.has("WantedBy") and not seen.directives.is_part
    kind = seen.directives.last("Type")
    is_once = kind is not None and kind.value == "oneshot"
    return Directive("Service", "Restart", "") if is_complete and not is_once else None


def _no_limit(seen: Seen, keys: tuple[str, ...]) -> Found:
    for one in (found for key in keys if (found := seen.directives.last(key))):
        if _restarts(seen) and spans.seconds(one.value) == 0:
            return one
    return None


def _limit_unreached(seen: Seen, keys: tuple[str, ...]) -> Found:
    said = seen.directives
    burst, pause = said.last("StartLimitBurst"), said.last("RestartSec")
    span = said.last("StartLimitIntervalSec", "StartLimitInterval")
    many = spans.seconds(burst.value) if burst else 5
    within = spans.seconds(span.value) if span else 10
    between = spans.seconds(pause.value) if pause else 0.1
    if not (many and within and between and _restarts(seen)):
        return None
    return (burst or span) if many * between >= within else None


def _workers_told(seen: Seen, keys: tuple[str, ...]) -> Found:
    found = seen.directives.last("KillMode") or Directive("Service", "KillMode", "")
    drains = (seen.case.number("shutdown-timeout") or 0) > 0
    is_known = drains and seen.ranks > 1 and not seen.directives.is_part
    return found if is_known and found.value in ("", "control-group") else None


def _gpus_unbound(seen: Seen, keys: tuple[str, ...]) -> Found:
    bound = any("/dev/nvidia" in word for word in seen.directives.words(*BOUND))
    return None if bound or not seen.case.gpus else seen.directives.last(*keys)


def _devices_closed(seen: Seen, keys: tuple[str, ...]) -> Found:
    allowed = [word for word in seen.directives.words("DeviceAllow") if "-" in word or "/" in word]
    policy = seen.directives.last("DevicePolicy")
    is_closed = policy is not None and policy.value in ("closed", "strict")
    others = any(re.search(r"kfd|drm|dri/|dxg|davinci", word) for word in allowed)
    if not (is_closed or allowed) or not seen.case.gpus:
        return None
    through = all(any(_lets(word, node) for word in allowed) for node in NODES)
    named = any("nvidia" in word for word in allowed)
    if through or (others and not named) or any("%" in word for word in allowed):
        return None
    return policy if is_closed else seen.directives.last("DeviceAllow")


def _lets(allowed: str, node: str) -> bool:
    """Whether what is let through has a device: one of its kind, for the GPUs themselves."""
    if allowed.startswith("char-"):
        group = allowed.removeprefix("char-")
        if node != "nvidia-uvm" and group in ("nvidia", "nvidia-frontend", "nvidiactl"):
            return True  # all of them have the number 195
        return fnmatchcase(node, group)
    name = allowed.removeprefix("/dev/")
    is_gpu = node == "nvidia0" and re.fullmatch(r"nvidia\d+", name) is not None
    return is_gpu or fnmatchcase(node, name)


def _home_hidden(seen: Seen, keys: tuple[str, ...]) -> Found:
    found = seen.directives.last(*keys)
    is_hidden = found and (spans.boolean(found.value) is True or found.value == "tmpfs")
    bound = [word.lstrip("-").split(":") for word in seen.directives.words(*BOUND)]
    there = [parts[1] if len(parts) > 1 else parts[0] for parts in bound]
    told = [one.value for one in seen.directives.said if one.key == "ExecStart"]
    told += [seen.launch.variables[name].value for name in seen.launch.variables if name != "PATH"]
    told += [one.value for one in seen.directives.said if one.key == "WorkingDirectory"]
    for path in (path for text in told for path in HIDDEN.findall(text)) if is_hidden else ():
        if found and not any(path == one or path.startswith(f"{one}/") for one in there):
            return Directive(
                found.section, found.key, f"{found.value}, and {path.replace('%h', 'HOME')}"
            )
    return None


def _no_tmp(seen: Seen, keys: tuple[str, ...]) -> Found:
    tmp = seen.directives.last("PrivateTmp")
    is_own = tmp is not None and (spans.boolean(tmp.value) is not False)
    paths = [word.lstrip("-+").partition(":")[0] for word in seen.directives.words(*WRITABLE)]
    is_open = any(path in ("/tmp", "/", "/tmp/") for path in paths)
    works = seen.directives.has("WorkingDirectory") and bool(paths)
    spared = is_own or is_open or works or seen.says("DynamicUser") or seen.sets_more
    return None if spared or seen.directives.is_part else seen.directives.last(*keys)


def _nothing_writable(seen: Seen, keys: tuple[str, ...]) -> Found:
    spared = seen.directives.has(*WRITABLE) or seen.sets_more or seen.directives.is_part
    return None if spared else seen.directives.last(*keys)


def _no_home(seen: Seen, keys: tuple[str, ...]) -> Found:
    spared = seen.sets_more or seen.directives.is_part or seen.directives.has("User")
    return None if spared else seen.directives.last(*keys)


def _alone_in_network(seen: Seen, keys: tuple[str, ...]) -> Found:
    shared = seen.directives.has("JoinsNamespaceOf", "NetworkNamespacePath")
    return None if shared else seen.directives.last(*keys)


def _families(seen: Seen, keys: tuple[str, ...]) -> Found:
    said = seen.directives.last(*keys)
    allowed, denied = _listed(seen.directives, keys[0])
    wanted = ["AF_UNIX", "AF_INET", *(["AF_NETLINK"] if seen.ranks > 1 else [])]
    if said and allowed is not None:
        missing = [one for one in wanted if one not in allowed]
    else:
        missing = [one for one in wanted if one in denied]
    if not said or not missing:
        return None
    return Directive(said.section, said.key, f"{said.value} (without {', '.join(missing)})")


def _listed(directives: Directives, key: str) -> tuple[set[str] | None, set[str]]:
    """What a filter of systemd lets through, None where it is all but what it keeps back."""
    allowed: set[str] | None = None
    denied: set[str] = set()
    for one in (one for one in directives.said if one.key == key):
        words = one.value.split()
        if not words:
            allowed, denied = None, set()
        elif words[0].startswith("~"):
            taken = {words[0][1:], *words[1:]}
            denied, allowed = denied | taken, None if allowed is None else allowed - taken
        else:
            allowed = ({*words} | (allowed or set())) - {"none"}
    return allowed, denied


def _loopback_denied(seen: Seen, keys: tuple[str, ...]) -> Found:
    denied = [one for one in seen.directives.words(*keys) if LOCAL.fullmatch(one)]
    allowed = any(LOCAL.fullmatch(one) for one in seen.directives.words("IPAddressAllow"))
    return seen.directives.last(*keys) if denied and not allowed else None


def _few_calls(seen: Seen, keys: tuple[str, ...]) -> Found:
    allowed, denied = _listed(seen.directives, keys[0])
    is_few = allowed is not None and "@system-service" not in allowed and len(allowed) < 100
    return seen.directives.last(*keys) if is_few or "@system-service" in denied else None


def _memory_short(seen: Seen, keys: tuple[str, ...]) -> Found:
    for found in (one for key in keys if (one := seen.directives.last(key))):
        told = spans.size(found.value)
        if told is not None and 0 < told < seen.ranks * needs.PER_RANK * bool(seen.case.gpus):
            return found
    return None


def _shm_short(seen: Seen, keys: tuple[str, ...]) -> Found:
    found = seen.directives.last(*keys)
    shares = seen.directives.last("ipc", "--ipc")
    is_own = not (shares and shares.value == "host") and not seen.directives.has("shm")
    told = spans.size(found.value) if found else None
    is_short = told is not None and 0 < told < needs.shm(seen.ranks)
    return found if is_own and is_short else None


def _few_processors(seen: Seen, keys: tuple[str, ...]) -> Found:
    for found in (one for key in keys if (one := seen.directives.last(key))):
        many = _processors(found)
        if many is not None and 0 < many < seen.ranks:
            return found
    return None


def _processors(said: Directive) -> float | None:
    if said.key == "CPUQuota":
        share = re.fullmatch(r"(\d{1,7}(?:\.\d+)?)%", said.value)
        return float(share[1]) / 100 if share else None
    if said.key in ("cpus", "--cpus"):
        return spans.seconds(said.value)
    return spans.numbers(said.value)


def _users_raise(seen: Seen, keys: tuple[str, ...]) -> Found:
    found = seen.directives.last(*keys)
    told = number(found) if found else None
    is_raised = told is not None and told >= needs.LOCKED
    return found if is_raised and seen.directives.is_users else None


def _users_unit(seen: Seen, keys: tuple[str, ...]) -> Found:
    return seen.directives.last(*keys) if seen.directives.is_users else None


TESTS: Mapping[str, Callable[[Seen, tuple[str, ...]], Found]] = {
    "start-ends": _start_ends,
    "start-endless": _start_endless,
    "start-short": _start_short,
    "post-waits": _post_waits,
    "oneshot-restarts": _oneshot_restarts,
    "oneshot-waits": _oneshot_waits,
    "is-set": _is_set,
    "not-restarted": _not_restarted,
    "no-limit": _no_limit,
    "limit-unreached": _limit_unreached,
    "workers-told": _workers_told,
    "gpus-unbound": _gpus_unbound,
    "devices-closed": _devices_closed,
    "home-hidden": _home_hidden,
    "no-tmp": _no_tmp,
    "nothing-writable": _nothing_writable,
    "no-home": _no_home,
    "alone-in-network": _alone_in_network,
    "families": _families,
    "loopback-denied": _loopback_denied,
    "few-calls": _few_calls,
    "memory-short": _memory_short,
    "shm-short": _shm_short,
    "few-processors": _few_processors,
    "users-raise": _users_raise,
    "users-unit": _users_unit,
}
