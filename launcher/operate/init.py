"""`glm5-serve init`: a profile of one's own, a few lines that extend another one."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shlex
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from launcher.address import is_host, is_loopback
from launcher.config import layers
from launcher.config.load import PlanRequest
from launcher.config.target import planned
from launcher.engines.engine import dialect
from launcher.engines.target import Target
from launcher.errors import Exit, UserError, in_words
from launcher.files import ownership, places
from launcher.files.placing import place
from launcher.lint.migrate import table
from launcher.lint.notes import noted
from launcher.plan.plan import Plan
from launcher.redact.keys import read_key
from launcher.statedir.folder import StateDir

HEAD = "# Made by `glm5-serve init`; `glm5-serve profiles show {name}` says what it comes to.\n"


@dataclass(frozen=True)
class Draft:
    """What shall stand in a profile beside what it extends."""

    name: str
    extends: str
    model: str
    host: str
    port: int
    key_file: Path | None = None
    python: str | None = None  # the engine's interpreter, where it is another one
    is_guarded: bool = False  # what it extends has a key, or is open on purpose
    host_said: bool = False  # or else it is that of what it extends

    @property
    def is_open(self) -> bool:
        """Whether others than this host reach it, without a key."""
        return not is_loopback(self.host) and not (self.key_file or self.is_guarded)


def begun(name: str, extends: str, environ: Mapping[str, str]) -> tuple[Draft, Plan]:
    """A draft that says what the extended profile says, and that one's plan. Raises UserError."""
    if layers.is_path(name) or "@" in name or not name.isprintable():
        fix = "a bare name of letters, digits and . _ -"
        raise UserError(f"{name!r} is no name for a profile", fix=fix, status=Exit.USAGE)
    StateDir(Path("/"), name)  # its folder has that name
    base = extends
    if layers.is_path(extends):
        base = str(Path(extends).absolute())
    plan, _ = planned(PlanRequest(base), environ, Target())
    if plan.nodes:
        fix = f"copy it, and write its [nodes]: `glm5-serve profiles show {extends}`"
        raise UserError(f"{extends} is for several hosts, whose addresses it wants", fix=fix)
    is_guarded = bool(plan.key_file) or plan.open_without_key
    return Draft(name, base, plan.model, plan.host, plan.port, is_guarded=is_guarded), plan


def model_of(text: str) -> str:
    """A model as a profile names it: a folder here by its full path, a hub id as it is."""
    is_folder = text.startswith((".", "/")) or Path(text).is_dir()
    return str(Path(text).absolute()) if is_folder else text


def folder(environ: Mapping[str, str]) -> Path:
    """Where this user's own profiles lie: root's are the host's, which the units find, too."""
    where = dict(layers.places(environ))
    return where["host"] if os.geteuid() == 0 else where["user"]


def key_of(name: str, environ: Mapping[str, str]) -> Path:
    """Where the key of a profile lies if nobody says another place."""
    return folder(environ).with_name("keys") / name


def key_at(said: str, name: str) -> Path:
    """The file with a key that somebody means; in a folder (or with a slash) that of `name`."""
    path = Path(said).expanduser().absolute()
    return path / name if said.endswith(os.sep) or path.is_dir() else path


def text(draft: Draft, engine: str) -> str:
    """The profile as TOML: some six lines."""
    access = {"api_key_file": str(draft.key_file)} if draft.key_file else {}
    flags = {
        dialect(engine).option_of("model_path"): draft.model,
        "host": draft.host,
        "port": draft.port,
    }
    lines = [
        *table("engine", {"python": draft.python} if draft.python else {}),
        *table("access", access),
        *table("flags", flags),
    ]
    extends = f"extends = {json.dumps(draft.extends, ensure_ascii=False)}"
    return HEAD.format(name=draft.name) + "\n".join([extends, *lines]) + "\n"


def checked(draft: Draft, body: str, environ: Mapping[str, str]) -> Plan:
    """What the profile would come to on this host, with what is to be said of it. Nothing is
    written. Raises UserError naming every error of it.
    """
    if not is_host(draft.host):
        fix = "--host 127.0.0.1, or another address or name of this host"
        raise UserError(f"--host {draft.host!r} is no address", fix=fix, status=Exit.USAGE)
    if draft.is_open:
        extends = Path(draft.extends).stem
        whose = f"--host {draft.host}" if draft.host_said else f"host {draft.host} of {extends}"
        raise UserError(
            f"{whose} lets others than this host ask it, and there is no key",
            fix="--make-key makes one, --api-key-file FILE names one; or --host 127.0.0.1",
            status=Exit.USAGE,
        )
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch).resolve() / f"{draft.name}.toml"
        path.write_text(body, encoding="utf-8")
        try:
            plan = noted(planned(PlanRequest(str(path)), environ)[0])
        except UserError as error:
            raise UserError(error.what.replace(f"{path}: ", ""), fix=error.fix) from None
    return replace(plan, notes=(*plan.notes, *_absent(draft.model)))


def _absent(model: str) -> Iterator[str]:
    """That there is no such folder yet."""
    try:
        Path(model).stat()
    except (FileNotFoundError, NotADirectoryError):
        if model.startswith("/"):
            fetch = f"`glm5-serve fetch ORG/NAME --to {shlex.quote(model)}`"
            yield f"{model} is not here yet: {fetch} downloads one into it"
    except OSError:
        return


def make_key(path: Path) -> None:
    """Write a random key, for this user alone. Raises UserError where there is a file already."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        place(path, f"{secrets.token_urlsafe(32)}\n", 0o600, over=False)
    except FileExistsError:
        fix = f"--api-key-file {path} takes the key that is there"
        raise UserError(f"{path} is there already", fix=fix) from None
    except OSError as error:
        raise UserError(
            f"cannot write {path}: {in_words(error)}", fix="--api-key-file FILE"
        ) from None


def write(
    draft: Draft, body: str, environ: Mapping[str, str], *, new_key: bool, force: bool
) -> Path:
    """Put a profile where its name is looked up; the path. All of it or nothing, the key included.

    Raises UserError where a profile of that name is, or is looked up before, and where others may
    write.
    """
    path = folder(environ) / f"{draft.name}.toml"
    _require_found(draft.name, path, environ)
    if os.path.lexists(path) and not force:
        fix = "--force replaces it; or give another name"
        raise UserError(f"{path} is there already", fix=fix)
    made = contextlib.ExitStack()
    with made:
        if draft.key_file and new_key:
            make_key(draft.key_file)
            made.callback(draft.key_file.unlink)
        elif draft.key_file:
            read_key(draft.key_file)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            doubt = ownership.of_file(path.parent.resolve())
            if doubt:
                what = f"no profile is read from where others may write: {doubt.what}"
                raise UserError(what, fix=doubt.fix)
            place(path, body, over=force)
        except OSError as error:
            fix = "is there a disk that is full, or not yours? HOME, XDG_CONFIG_HOME name another"
            why = places.obstacle(path.parent) or in_words(error)
            raise UserError(f"cannot write {path}: {why}", fix=fix) from None
        made.pop_all()
    return path


def _require_found(name: str, path: Path, environ: Mapping[str, str]) -> None:
    """Raise UserError where the name leads to a profile in a place that is looked at first."""
    for _, place_ in layers.places(environ):
        first = place_ / f"{name}.toml"
        if first == path:
            return
        if first.is_file():
            fix = "give another name"
            raise UserError(f"{first} has that name, and is looked at first", fix=fix)


def having(draft: Draft, **said: Any) -> Draft:
    """The draft with what was said, None being nothing."""
    if python := said.get("python"):
        _require_program(python)
    said = {key: value for key, value in said.items() if value is not None}
    return replace(draft, **said, host_said=draft.host_said or "host" in said)


def _require_program(python: str) -> None:
    """Raise UserError for what stands there and can be no interpreter; it need not be there yet,
    and a bare name is looked up when it is run.
    """
    if os.sep not in python:
        return
    path = Path(python).expanduser()
    places.require_file("--engine-python", path, writing=False)
    if path.exists() and not os.access(path, os.X_OK):
        what = f"--engine-python names {path}, which cannot be executed"
        raise UserError(what, fix="have it name the python of the engine's environment")
