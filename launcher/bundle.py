"""One archive with all that a bug report needs, fit to be sent to strangers."""

from __future__ import annotations

import io
import json
import os
import re
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path

from launcher import __version__, factfile, plan, report
from launcher.checks import judge
from launcher.deathlog import RUN
from launcher.diagnose import diagnose, to_json
from launcher.errors import Exit, RefusalError
from launcher.facts import Driver, Host
from launcher.instance import Instance, parsed
from launcher.keys import read_key
from launcher.look import drivers, look
from launcher.scrubber import Scrubber

LARGEST = 32 << 20  # bytes of one file: the end of it, where the trouble is
READ_ME = """What `glm5-serve bundle` collected. Keys, names of hosts and users, addresses and serial numbers were
replaced, as far as they can be told; look through it before you send it. The same number is the same thing in all
files: [host 1] is the host that this comes from.

facts.json      what was observed of the host: `glm5-serve doctor --facts facts.json` judges it again
doctor.json     what doctor thought of it            plan.json       what ran, each value with its reason
diagnosis.json  why it died, as far as is known      state.json      how it was
events.jsonl    what happened                        server.log      what the server printed
stacks-N.txt    what hung processes did              kernel.txt      the kernel's words about GPUs and memory
"""


def make(instance: Instance, output: Path | None, starts: int, environ: Mapping[str, str]) -> Path:
    """Write the archive of an instance and give its path. Raises RefusalError where it cannot be written.

    What cannot be collected is told in its place: a broken host is what bundles are for.
    """
    if not instance.folder.is_dir():
        fix = "`glm5-serve status` lists what was up here"
        raise RefusalError(f"nothing was ever up as {instance.name}", fix=fix, status=Exit.NO)
    stem = f"glm5-serve-{instance.name}-{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}"
    path = output or Path(f"{stem}.tar.gz")
    scrubber = Scrubber(_key(instance), environ, _env(instance))
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        file = os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
        with file, tarfile.open(fileobj=file, mode="w:gz") as archive:
            for name, text in _parts(instance, starts, environ):
                clean = scrubber.clean_json if ".json" in name else scrubber.clean
                _add(archive, f"{stem}/{name}", clean(text))
        fresh.replace(path)
    except OSError as error:
        fix = "choose another place: --output FILE"
        raise RefusalError(f"cannot write {path}: {error.strerror}", fix=fix) from None
    finally:
        fresh.unlink(missing_ok=True)
    return path


def _parts(instance: Instance, starts: int, environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    log = _log(instance, starts)
    seen = cache(lambda: _host(instance, environ))
    yield "README.txt", READ_ME
    yield "version.txt", f"glm5-serve {__version__}\n"
    yield "server.log", log  # before the others: it names other hosts
    for path in (instance.plan, instance.state, instance.readings, instance.launcher_log):
        if path.exists():
            yield path.name, _end(path)
    for path in sorted(instance.folder.glob("events.jsonl*")) + sorted(instance.folder.glob("stacks-*.txt")):
        yield path.name, _end(path)
    yield "diagnosis.json", json.dumps(to_json(diagnose(log.splitlines(), _of_gpus(instance))), indent=1)
    yield "facts.json", _or_why(lambda: json.dumps(factfile.to_json(seen()), indent=1))
    yield "doctor.json", _or_why(lambda: _doctor(_plan(instance), seen()))
    yield "kernel.txt", _or_why(lambda: "\n".join(seen().kernel.log.get()))


def _doctor(made: plan.Plan, host: Host) -> str:
    return json.dumps(report.to_json(judge(host, made), made.name, host.observed), indent=1)


def _host(instance: Instance, environ: Mapping[str, str]) -> Host:
    made = _plan(instance)
    return look(made, environ, drivers() if made.gpus else Driver())


def _plan(instance: Instance) -> plan.Plan:
    return plan.loads(instance.plan.read_text())


def _or_why(collect: Callable[[], str]) -> str:
    """What was collected, or why not: the rest is worth having without it."""
    try:
        return collect()
    except Exception as error:
        return f"not collected: {type(error).__name__}: {error}\n"


def _key(instance: Instance) -> str | None:
    try:
        file = _plan(instance).key_file
        return read_key(Path(file)) if file else None
    except (OSError, ValueError, KeyError, TypeError, RefusalError):
        return None


def _env(instance: Instance) -> dict[str, str]:
    try:
        return dict(_plan(instance).env)
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _log(instance: Instance, starts: int) -> str:
    """What the server printed in its last starts, over the files that its log became."""
    rotated = [path for path in instance.folder.glob("server.log.*") if path.suffix[1:].isdigit()]
    older = sorted(rotated, key=lambda path: int(path.suffix[1:]), reverse=True)
    text = "".join(_end(path) for path in (*older, instance.server_log) if path.exists())
    begins = [found.start() for found in re.finditer(f"^{RUN}", text, re.MULTILINE)]
    text = text[begins[-starts] if len(begins) >= starts else 0 :]
    return text if len(text) <= LARGEST else text[-LARGEST:].partition("\n")[2]


def _of_gpus(instance: Instance) -> list[str]:
    """What the kernel and NVML told of this server's GPUs and processes since the last start."""
    told: list[str] = []
    for event in parsed(_end(instance.events).splitlines()) if instance.events.exists() else ():
        if event.get("state") == "starting":
            told = []
        elif event.get("event") == "gpu" and event.get("ours"):
            told.append(str(event.get("line")))
    return told


def _end(path: Path) -> str:
    """The last lines of a file. None is cut: half a key would not be known for one."""
    try:
        with path.open("rb") as file:
            if (beyond := path.stat().st_size - LARGEST) > 0:
                file.seek(beyond)
                file.readline()
            return file.read().decode(errors="replace")
    except OSError as error:
        return f"not readable: {error.strerror}\n"


def _add(archive: tarfile.TarFile, name: str, text: str) -> None:
    data = text.encode(errors="replace")
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode, entry.mtime = len(data), 0o600, int(time.time())
    archive.addfile(entry, io.BytesIO(data))
