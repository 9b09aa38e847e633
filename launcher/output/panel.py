"""What `top` shows as lines: instances, GPUs, and what happened last."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence

from launcher import counting
from launcher.capacity.memory import GIB
from launcher.engines.engine import NAMES, dialect
from launcher.engines.figures import SINCE_START, First
from launcher.operate.holders import Holder, is_free
from launcher.operate.top import Gpus, Shown
from launcher.operate.watch import Seen
from launcher.output import starts
from launcher.output.bars import BLOCKS, Line, Part, Signs, bar, duration, flow
from launcher.output.events import COLOURS, clock, what
from launcher.statedir.readings import GpuReading
from launcher.statedir.state import StateRecord
from launcher.statedir.times import seconds_since

NONE = "no server has been started yet: `glm5-serve up --profile NAME` brings one up"
OLD = 5.0  # seconds after which figures are no longer those of now
BROAD = 120  # columns that have room for longer bars and addresses
BROADER = 160  # and for names of products
NAME = 30  # columns of a product's name
HOT = 85.0  # degrees
# Why clocks are not higher, as the driver names it (`nvml_questions.CLOCK_REASONS`), and whether
# that is worth a look.
SLOWED = {
    "gpu_idle": ("idle", "dim"),
    "applications_clocks": ("clocks set", "yellow"),
    "sw_power_cap": ("power limit", ""),
    "hw_slowdown": ("slowed by hardware", "red"),
    "sync_boost": ("sync boost", ""),
    "sw_thermal_slowdown": ("hot (driver)", "red"),
    "hw_thermal_slowdown": ("hot (hardware)", "red"),
    "hw_power_brake": ("power brake", "red"),
    "display_clock": ("display", ""),
}


def lines(shown: Shown, width: int, signs: Signs = BLOCKS, now: float | None = None) -> list[Line]:
    """All of it, laid out for so many columns: what somebody else wrote may be longer. `now`:
    seconds since 1970.
    """
    now = time.time() if now is None else now
    made: list[Line] = [] if shown.instances else [((NONE, ""),), ()]
    for seen in shown.instances:
        made += [*instance(seen, width, signs, now), ()]
    made += gpus(shown.gpus, width, signs)
    names = len(shown.instances) > 1
    told = [(what(event), event) for event in shown.events]
    if told := [(text, event) for text, event in told if text]:
        made += [(), (("last events", "dim"),)]
        made += [
            ((f"{of.profile}  " if names else "", "bold"), (f"{clock(of.time, now)}  {text}", ""))
            for text, of in told
        ]
    return made


def instance(seen: Seen, width: int, signs: Signs, now: float) -> list[Line]:
    """One instance: how it is, and its figures where it is ready."""
    record = seen.record
    elapsed = seconds_since(record.since, now)
    since = f"  {duration(elapsed)}" if elapsed is not None else ""
    since = f"  last seen{since[1:]} ago" if since and record.state == "dead" else since
    state = (record.state, f"bold {COLOURS.get(record.state, 'red')}")
    worse = ("  degraded", "bold red") if _degraded(record) else ("", "")
    head: Line = ((record.profile, "bold"), ("  ", ""), state, worse, (since, ""))
    made = [*flow([head, *_identity(record)], width, "")]
    if record.state == "starting" and record.start:
        told = starts.to_come(record.start, elapsed or 0.0)
        made.append(((f"  {told}", ""),))
        made += starts.phases(record.start, elapsed or 0.0, signs)
    elif record.state != "ready" and record.reason:
        made.append(((f"  {record.reason}", ""),))
    made += flow(_figures(seen, signs), width)
    return [*made, *(((f"  {text}", style),) for text, style in _doubts(seen))]


def _degraded(record: StateRecord) -> str:
    """Why it is degraded; "" where it is not, or nobody asks."""
    return record.canary.reason if record.canary and record.canary.degraded else ""


def _identity(record: StateRecord) -> Iterator[Line]:
    if record.engine:
        name = dialect(record.engine).name if record.engine in NAMES else record.engine
        yield ((" ".join(filter(None, (name, record.release))), "dim"),)
    if record.endpoint and record.is_up:
        yield ((record.endpoint, "dim"),)
    if record.model:
        yield ((record.model, "dim"),)


def _figures(seen: Seen, signs: Signs) -> Iterator[Line]:
    if (figures := seen.figures) is None:
        return
    style = "dim" if seen.age > OLD else ""
    if seen.rates.tokens is not None:
        yield ((f"{seen.rates.tokens:,.1f}", style or "bold"), (" tok/s", style))
    if figures.running is not None:
        yield ((f"running {figures.running}", style),)
    if figures.waiting is not None:
        yield ((f"waiting {figures.waiting}", style or ("yellow" if figures.waiting else "")),)
    if figures.kv is not None:
        yield ((f"KV {bar(figures.kv, 10, signs)} {100 * figures.kv:.0f} %", style),)
    if seen.rates.hits is not None:
        yield ((f"cache hits {100 * seen.rates.hits:.0f} %", style),)
    if seen.rates.accept:
        yield ((f"accept length {seen.rates.accept:.2f}", style),)
    if seen.first:
        yield ((first(seen.first), style),)


def first(told: First) -> str:
    """How long clients wait for a first token: half of them at most so long."""
    half = f"<= {told.at_most:g} s" if told.at_most < math.inf else "beyond its buckets"
    over = "since its start" if told.over == SINCE_START else f"in {told.over:.0f} s"
    return f"first token {half} ({told.requests} {over})"


def _doubts(seen: Seen) -> Iterator[Part]:
    """What is wrong with its answers; why figures are missing, or not those of now."""
    if why := _degraded(seen.record):
        yield why, "red"
    if seen.why and seen.figures is None:
        yield f"no metrics: {seen.why}", "yellow"
    elif seen.figures and seen.age > OLD:
        why = seen.why or "its scheduler has published none since"
        yield f"metrics are {duration(seen.age)} old: {why}", "yellow"
    for lack in seen.figures.lacks if seen.figures else ():
        yield lack, "dim"


def gpus(seen: Gpus, width: int, signs: Signs) -> list[Line]:
    """A line for each GPU; where there is none, why."""
    if not seen.gpus:
        return [((seen.why, "dim"),)] if seen.why else []
    wide = _wide(width)
    title = f"GPU {'memory GiB':<{wide + 8}} {'use':<{wide + 6}} {'power W':<{wide + 9}}"
    broad = f" {'address':12}" if width >= BROAD else ""
    broader = f"  {'product':{NAME}}" if width >= BROADER else ""
    head: Line = ((f"{title}   C   MHz link   {broad}{broader} clocks", "dim"),)
    old: Line = ((f"GPUs as they were {duration(seen.age)} ago", "dim"),)
    return [
        *((old,) if seen.age > OLD else ()),
        head,
        *(_gpu(gpu, width, signs) for gpu in seen.gpus),
        *flow(_held(seen), width),
    ]


def _held(seen: Gpus) -> Iterator[Line]:
    """Whose the GPUs are, those of one holder together: `GPU 0-3: 8xpro6000`, `4-7: free`."""
    by_holder: dict[Part, list[int]] = {}
    for gpu in seen.gpus:
        by_holder.setdefault(_holder(gpu, seen.holders.get(gpu.index, ())), []).append(gpu.index)
    for number, (holder, indexes) in enumerate(by_holder.items()):
        yield ((f"{'' if number else 'GPU '}{counting.ranges(indexes)}: ", "dim"), holder)


def _holder(gpu: GpuReading, holders: Sequence[Holder]) -> Part:
    """Who holds a GPU: instances by their names, other processes by pid and name."""
    ours = dict.fromkeys(one.instance for one in holders if one.instance)
    others = [f"{one.pid} {one.name or '(not seen here)'}" for one in holders if not one.instance]
    if others:
        word = "another process, " if len(others) == 1 else "other processes, "
        return " and ".join((*ours, word + ", ".join(others))), "yellow"
    if ours:
        return " and ".join(ours), "bold"
    if is_free(gpu):
        return "free", "green"
    if gpu.used is None:
        return "not known whose", "dim"
    return "memory in use by a process that the driver does not show here", "yellow"


def _wide(width: int) -> int:
    """Columns of a bar."""
    return 6 if width < BROAD else 12


def _gpu(gpu: GpuReading, width: int, signs: Signs) -> Line:
    wide = _wide(width)
    memory = f"{_whole(gpu.used, GIB)}/{_whole(gpu.total, GIB)}"
    power = f"{_whole(gpu.power)}/{_whole(gpu.limit)}"
    use = "" if gpu.utilization is None else f"{gpu.utilization:.0f} %"
    hot = "red" if gpu.temperature is not None and gpu.temperature >= HOT else ""
    return (
        (f"{gpu.index:>3} ", ""),
        (bar(_share(gpu.used, gpu.total), wide, signs), "cyan"),
        (f" {memory:<7} ", ""),
        (bar(_share(gpu.utilization, 100), wide, signs), "green"),
        (f" {use:<5} ", ""),
        (bar(_share(gpu.power, gpu.limit), wide, signs), "yellow"),
        (f" {power:<8}", ""),
        (f" {_whole(gpu.temperature):>3}", hot),
        (f" {_whole(gpu.clock):>5} ", ""),
        _link(gpu),
        *(((f" {gpu.bdf or '':12}", "dim"),) if width >= BROAD else ()),
        *(((f"  {_short(gpu.name):{NAME}}", "dim"),) if width >= BROADER else ()),
        *_slowed(gpu.slowed),
    )


def _short(name: str | None) -> str:
    return (name or "").removeprefix("NVIDIA ")[:NAME]


def _whole(value: float | None, unit: float = 1.0) -> str:
    return "?" if value is None else f"{value / unit:.0f}"


def _share(part: float | None, whole: float | None) -> float | None:
    return part / whole if part is not None and whole else None


def _link(gpu: GpuReading) -> Part:
    """Generation and lanes, and what they could be where that is more. A GPU at rest goes down to
    an older generation; lanes that are missing stay so.
    """
    generation = _of(gpu.link_gen, gpu.link_gen_max)
    lanes = _of(gpu.link_width, gpu.link_width_max)
    text = f"{generation}x{lanes}" if gpu.link_gen or gpu.link_width else "?"
    return f"{text:<7}", "yellow" if "/" in lanes else ""


def _of(now: int | None, most: int | None) -> str:
    if now is None:
        return "?"
    return f"{now}/{most}" if most and now < most else f"{now}"


def _slowed(reasons: Sequence[str]) -> list[Part]:
    """Why its clocks are not higher."""
    told = [SLOWED.get(reason, (reason, "")) for reason in reasons]
    told.sort(key=lambda part: part[1] != "red")  # the edge of the screen takes the rest
    return [(f"{', ' if n else ' '}{text}", style) for n, (text, style) in enumerate(told)]
