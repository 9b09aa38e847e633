"""What must hold on this host before the server is started; each obstacle is one refusal.

`doctor` judges the host itself; this is only what the plan names: interpreter, model, key, address.
"""

from __future__ import annotations

import errno
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path

from launcher import ownership, programs
from launcher.address import is_loopback
from launcher.errors import RefusalError
from launcher.keys import read_key
from launcher.plan import Plan

# find_spec does not run the package: importing SGLang takes seconds and torch.
_ASK_ENGINE = """
import importlib.metadata, importlib.util
if importlib.util.find_spec("sglang") is None: raise SystemExit(3)
try: print(importlib.metadata.version("sglang"))
except importlib.metadata.PackageNotFoundError: print("unknown")
"""
_ENGINE_DEADLINE = 60  # seconds; a cold network file system may need many


def require(plan: Plan, environ: Mapping[str, str], *, port: bool = True) -> str:
    """The version of the engine's SGLang. Raises RefusalError for the first thing in the way.

    Without `port`, the address is taken to be the plan's own already.
    """
    _require_guarded(plan)
    _require_model(plan)
    if port and (obstacle := port_obstacle(plan)):
        raise obstacle
    return engine_version(plan, environ)


def require_folder() -> None:
    """The server is `python -m`, which imports from the current folder before all else. Raises RefusalError."""
    fix = "cd to another folder, your home for example: Python imports from the current one"
    try:
        doubt = ownership.of_current_folder()
    except OSError as error:
        raise RefusalError(f"the current folder cannot be used: {error.strerror}", fix=fix) from None
    if doubt:
        raise RefusalError(f"the current folder is not yours alone: {doubt.what}", fix=fix)


def _require_guarded(plan: Plan) -> None:
    if plan.key_file:
        read_key(Path(plan.key_file))
    elif not is_loopback(plan.host) and not plan.open_without_key:
        raise RefusalError(
            f"profile {plan.name} binds {plan.host} without an API key: whoever reaches port {plan.port} may "
            "use the model and SGLang's admin endpoints",
            fix="add --api-key-file FILE, or bind loopback (--set flags.host=127.0.0.1), or say it in so many "
            "words: --set access.open_without_key=true",
        )


def _require_model(plan: Plan) -> None:
    model = plan.model
    # "org/name" is looked up on the hub by SGLang; everything else that looks like a path is one.
    if not (model.startswith(("/", ".", "~")) or model.count("/") > 1):
        return
    if not Path(model).is_dir():
        there = "a file" if Path(model).exists() else "not there"
        raise RefusalError(
            f"the model folder {model} is {there}",
            fix="set flags.model-path to a folder with config.json, or to a hub id like org/name",
        )
    if not (Path(model) / "config.json").is_file():
        raise RefusalError(
            f"the model folder {model} has no config.json",
            fix="download the checkpoint again, or set flags.model-path to the folder that has it",
        )


def port_obstacle(plan: Plan) -> RefusalError | None:
    """Why the plan's address cannot be listened on, None if it can."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            plan.host, plan.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as uvicorn does
            tried.bind(address)
            tried.listen(1)
    except OSError as error:
        return _port_refusal(plan, error)
    return None


def _port_refusal(plan: Plan, error: OSError) -> RefusalError:
    where = f"{plan.host} port {plan.port}"
    if error.errno == errno.EADDRINUSE:
        return RefusalError(
            f"{where} is in use by {_holder(plan.port)}",
            fix="stop that process, or choose another port: --set flags.port=N",
        )
    if error.errno == errno.EACCES:
        return RefusalError(
            f"{where} is for privileged users", fix="choose a port from 1024 on: --set flags.port=N"
        )
    return RefusalError(
        f"cannot listen on {where}: {error.strerror}",
        fix="set flags.host to an address of this host (`ip addr`), or to 127.0.0.1",
    )


def _holder(port: int) -> str:
    import psutil

    for connection in psutil.net_connections("tcp"):
        if connection.status == psutil.CONN_LISTEN and connection.laddr[1:2] == (port,) and connection.pid:
            try:
                process = psutil.Process(connection.pid)
                return f"pid {process.pid} ({' '.join(process.cmdline())[:120]}), user {process.username()}"
            except psutil.Error:
                break
    return "a process that this user may not see"


def engine_version(plan: Plan, environ: Mapping[str, str]) -> str:
    """The SGLang version that the engine's interpreter would run, asked in a child: nothing is imported here."""
    env = {**environ, **plan.env}
    try:
        path = programs.find(plan.python, env)
    except programs.NoProgramError as error:
        raise RefusalError(
            f"the engine's interpreter {error}",
            fix="set engine.python in the profile to the python of the environment that has SGLang",
        ) from None
    try:
        asked = subprocess.run(
            [path, "-c", _ASK_ENGINE],
            env=env,
            cwd=programs.ROOT,
            capture_output=True,
            text=True,
            timeout=_ENGINE_DEADLINE,
            check=False,
        )
    except OSError as error:
        why = error.strerror
        raise RefusalError(f"{path} cannot be executed: {why}", fix="set engine.python to a python") from None
    except subprocess.TimeoutExpired:
        raise RefusalError(
            f"{path} did not say its SGLang version within {_ENGINE_DEADLINE} s",
            fix="try it by hand; a file system that hangs is the usual reason",
        ) from None
    if asked.returncode == 3:
        raise RefusalError(
            f"{path} has no sglang",
            fix=f"`{path} -m pip install sglang`, or set engine.python to the environment that has it",
        )
    if asked.returncode != 0 or not asked.stdout.strip():
        said = (asked.stderr.strip() or "nothing").splitlines()[-1]
        raise RefusalError(f"{path} is no working python: it said {said}", fix="set engine.python to one")
    return asked.stdout.strip()
