"""One archive with all that a bug report needs, fit to be sent to strangers."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import re
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import BinaryIO

from launcher import __version__
from launcher.config.target import observe_engine
from launcher.diagnose.diagnosis import diagnose
from launcher.diagnose.verdict import to_json
from launcher.doctor.checks import judge
from launcher.doctor.ours import spared
from launcher.engines.log import RUN
from launcher.errors import Exit, UserError
from launcher.files import guarded
from launcher.files.placing import target
from launcher.files.reading import reason
from launcher.gateway import NAME as GATEWAY
from launcher.gateway.manifest import FILE
from launcher.host import facts_json
from launcher.host.collectors.kernel import kernel_log
from launcher.host.facts import Driver, Engine, Fact, Host
from launcher.host.observe import observe, observe_driver
from launcher.plan import findings, plan
from launcher.redact.bundle import Scrubber
from launcher.redact.keys import read_key
from launcher.statedir.events import parsed
from launcher.statedir.folder import StateDir

LARGEST = 32 << 20  # bytes of one file: the end of it, where the trouble is
READ_ME = """What `glm5-serve bundle` collected. Keys, names of hosts and users, addresses and serial numbers were
replaced, as far as they can be told; look through it before you send it. The same number is the same thing in all
files: [host 1] is the host that this comes from.

facts.json      what was observed of the host: `glm5-serve doctor --facts facts.json` judges it again
doctor.json     what doctor thought of it            plan.json       what ran, each value with its reason
diagnosis.json  why it died, as far as is known      state.json      how it was
events.jsonl    what happened                        server.log      what the server printed
stacks-N.txt    what hung processes did              kernel.txt      the kernel's words about GPUs and memory
starts.json     how long the last starts took
"""


@dataclass(frozen=True)
class Output:
    """An archive that was begun: by root, perhaps, who then became the user that is served."""

    path: Path
    is_new: bool  # none was in its place
    file: BinaryIO
    kernel: Fact[tuple[str, ...]]  # what only root may read


@contextlib.contextmanager
def begun(instance: StateDir, output: str | None) -> Iterator[Output]:
    """A new file to write the archive of an instance to, in place of an older one.

    Raises UserError.

    It is gone, or empty, where what is done with it fails.
    """
    path = target(output or "./", f"{_stem(instance)}.tar.gz")
    place, is_new = path.absolute(), not os.path.lexists(path)
    if not is_new:
        _require_there(instance)  # before an older archive goes
    try:
        if kind := guarded.strange(path):
            raise FileExistsError(errno.EEXIST, f"it is {kind}")
        path.unlink(missing_ok=True)
        descriptor = os.open(
            path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
        )
    except OSError as error:
        fix = "choose another place: --output FILE"
        raise UserError(f"cannot write {path}: {reason(error)}", fix=fix) from None
    with os.fdopen(descriptor, "wb") as file:
        try:
            yield Output(path, is_new, file, kernel_log())
        except BaseException:
            with contextlib.suppress(OSError):
                os.truncate(descriptor, 0)
                place.unlink()
            raise


def make(instance: StateDir, output: Output, starts: int, environ: Mapping[str, str]) -> None:
    """Write the archive of an instance. Raises UserError where it cannot be written.

    What cannot be collected is told in its place: a broken host is what bundles are for.
    """
    _require_there(instance)
    stem = _stem(instance)
    scrubber = Scrubber(_key(instance), environ, _env(instance))
    try:
        with tarfile.open(fileobj=output.file, mode="w:gz") as archive:
            for name, text in _parts(instance, starts, environ, output.kernel):
                clean = scrubber.clean_json if ".json" in name else scrubber.clean
                _add(archive, f"{stem}/{name}", clean(text))
        output.file.flush()
    except OSError as error:
        fix = "choose another place: --output FILE"
        raise UserError(f"cannot write {output.path}: {reason(error)}", fix=fix) from None


def _require_there(instance: StateDir) -> None:
    if not instance.folder.is_dir():
        fix = "`glm5-serve status` lists what was up here"
        what = f"no server has been started yet as {instance.name}"
        raise UserError(what, fix=fix, status=Exit.NO)


def _stem(instance: StateDir) -> str:
    return f"glm5-serve-{instance.name}-{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}"


def _parts(
    instance: StateDir, starts: int, environ: Mapping[str, str], kernel: Fact[tuple[str, ...]]
) -> Iterator[tuple[str, str]]:
    log = _log(instance, starts)
    seen = cache(lambda: _host(instance, environ, kernel))
    yield "README.txt", READ_ME
    yield "version.txt", f"glm5-serve {__version__}\n"
    # Before the others: it names other hosts. Control characters stay in it: they are evidence, and
    # `diagnose` reads it as it stood; a file commands no terminal, `glm5-serve logs` shows escapes.
    yield "server.log", log
    workers = instance.folder / FILE  # of a gateway
    told = (instance.plan, instance.state, instance.readings, instance.starts)
    for path in (*told, instance.launcher_log, workers):
        if path.exists():
            yield path.name, _end(path)
    for path in sorted(instance.folder.glob("events.jsonl*")) + sorted(
        instance.folder.glob("stacks-*.txt")
    ):
        yield path.name, _end(path)
    yield (
        "diagnosis.json",
        json.dumps(to_json(diagnose(log.split("\n"), _of_gpus(instance))), indent=1),
    )
    yield "facts.json", _or_why(lambda: json.dumps(facts_json.to_json(seen()), indent=1))
    yield "doctor.json", _or_why(lambda: _doctor(_plan(instance), seen(), environ))
    yield "kernel.txt", _or_why(lambda: "\n".join(seen().kernel.log.get()))


def _doctor(made: plan.Plan, host: Host, environ: Mapping[str, str]) -> str:
    found = spared(judge(host, made), host, made, environ)
    return json.dumps(findings.to_json(found, made.name, host.observed), indent=1)


def _host(instance: StateDir, environ: Mapping[str, str], kernel: Fact[tuple[str, ...]]) -> Host:
    made = _plan(instance)
    env = {**environ, **made.env}
    is_unasked = made.doubt or made.engine == GATEWAY  # which is no engine, and beside us
    engine = Engine() if is_unasked else observe_engine(made.engine, made.python, env)
    host = observe(made, environ, observe_driver() if made.gpus else Driver(), engine)
    return replace(host, kernel=replace(host.kernel, log=kernel)) if kernel.known else host


def _plan(instance: StateDir) -> plan.Plan:
    return plan.loads(guarded.read(instance.plan).decode())


def _or_why(collect: Callable[[], str]) -> str:
    """What was collected, or why not: the rest is worth having without it."""
    try:
        return collect()
    except Exception as error:
        return f"not collected: {type(error).__name__}: {error}\n"


def _key(instance: StateDir) -> str | None:
    try:
        file = _plan(instance).key_file
        return read_key(Path(file)) if file else None
    except (OSError, ValueError, KeyError, TypeError, UserError):
        return None


def _env(instance: StateDir) -> dict[str, str]:
    try:
        return dict(_plan(instance).env)
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _log(instance: StateDir, starts: int) -> str:
    """What the server printed in its last starts, over the files that its log became."""
    rotated = [path for path in instance.folder.glob("server.log.*") if path.suffix[1:].isdigit()]
    older = sorted(rotated, key=lambda path: int(path.suffix[1:]), reverse=True)
    text = "".join(_end(path) for path in (*older, instance.server_log) if path.exists())
    begins = [found.start() for found in re.finditer(f"^{RUN}", text, re.MULTILINE)]
    text = text[begins[-starts] if len(begins) >= starts else 0 :]
    return text if len(text) <= LARGEST else text[-LARGEST:].partition("\n")[2]


def _of_gpus(instance: StateDir) -> list[str]:
    """What the kernel and NVML told of this server's GPUs and processes since the last start."""
    told: list[str] = []
    for event in parsed(_end(instance.events).splitlines()) if instance.events.exists() else ():
        match event.kind, event.fields:
            case "state", {"state": "starting"}:
                told = []
            case "gpu", {"ours": True, "line": line}:
                told.append(str(line))
    return told


def _end(path: Path) -> str:
    """The last lines of a file. None is cut: half a key would not be known for one."""
    try:
        with os.fdopen(guarded.opened(path), "rb") as file:
            if (beyond := os.fstat(file.fileno()).st_size - LARGEST) > 0:
                file.seek(beyond)
                file.readline()
            return file.read(LARGEST).decode(errors="replace")
    except OSError as error:
        return f"not readable: {reason(error)}\n"


def _add(archive: tarfile.TarFile, name: str, text: str) -> None:
    data = text.encode(errors="replace")
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode, entry.mtime = len(data), 0o600, int(time.time())
    archive.addfile(entry, io.BytesIO(data))
