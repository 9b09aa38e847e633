"""Moving data between ranks, in the engine's interpreter: `doctor --deep` runs it, and reads what
it says.

usage: fabric_rank.py BACKEND RANKS FOLDER

It imports torch, then forks: one process that copies between every pair of GPUs (nccl), then a
process a rank. Each says on stdout, in lines that begin with MARK, what it is about to do and what
came of it; torch and NCCL may print between. Nothing here has a deadline: whoever reads it has.

For tests, GLM5_DEEP_FAULT="hang:2@all-reduce 4096" (or wrong, or die) makes rank 2 do that at that
step.
"""

from __future__ import annotations

import sys

if __name__ == "__main__":
    sys.path.pop(0)  # our folder: its profile.py would be taken for Python's own

import datetime
import json
import os
import signal
import time
from functools import partial
from typing import Any, Callable  # noqa: UP035  where Python 3.9 has it, too

MARK = "@deep "
SIZES = (8, 64, 512, 4096, 32768, 262144, 2097152, 16777216, 67108864)  # bytes
COPY = 64 << 20  # bytes
ROW = 6144  # numbers of a token's all-reduce: GLM-5's hidden size, in bfloat16
ROWS = (1, 8, 32, 128)  # tokens of a step: 12 KiB to 1.5 MiB
IPC_RANKS = (2, 4, 8)  # that FlashInfer's PCIe IPC all-reduce is made for
DEVICE, COPIER = -1, -2  # who speaks, where it is no rank
FOR_EVER = datetime.timedelta(days=1)  # our reader has the deadline, and says which step it was


def say(**words: Any) -> None:
    """One line, in one write: lines of several processes do not mix."""
    os.write(1, (MARK + json.dumps(words) + "\n").encode())


def step(name: str, rank: int, act: Callable[[bool], Any]) -> None:
    """Announce, act, and tell: seconds an operation took, and what was wrong with its data.

    An act is told whether to send wrong data.
    """
    say(step=name, rank=rank)
    fault, _, place = os.environ.get("GLM5_DEEP_FAULT", "").partition(":")
    here = place == f"{rank}@{name}"
    if here and fault == "hang":
        signal.pause()
    if here and fault == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    seconds, wrong = act(here and fault == "wrong") or (None, None)
    say(step=name, rank=rank, done=True, seconds=seconds, wrong=wrong)


def tried(work: Callable[[], None], rank: int) -> None:
    """Do the work of one process; an exception is told in one line."""
    try:
        work()
    except BaseException as error:
        text = str(error).strip().splitlines() or [""]
        say(rank=rank, error=f"{type(error).__name__}: {text[0][:300]}")
        os._exit(1)
    os._exit(0)


def copies(count: int) -> None:
    """Copy a pattern from each GPU to each other one and back, and compare."""
    import torch

    for one in range(count):
        for two in range(count):
            if one != two:
                step(f"copy {one}->{two}", COPIER, partial(_copy, torch, one, two))


def _copy(torch: Any, one: int, two: int, spoil: bool) -> tuple[float, str | None]:
    sent = torch.arange(COPY // 4, dtype=torch.int32, device=f"cuda:{one}") * (16 * one + two + 1)
    target = torch.empty_like(sent, device=f"cuda:{two}")
    target.copy_(sent)
    _wait(torch, one, two)
    begin = time.perf_counter()
    target.copy_(sent)
    _wait(torch, one, two)
    seconds = time.perf_counter() - begin
    if spoil:
        target += 1
    # Compared on the host and through it, so that a broken path between the two cannot agree with
    # itself.
    arrived = bool((target.cpu() == sent.cpu()).all())
    back = torch.empty_like(sent)
    back.copy_(target)
    _wait(torch, one, two)
    wrong = None if arrived else "other data arrived than was sent"
    return seconds, wrong or (
        None if bool((back.cpu() == sent.cpu()).all()) else "other data came back"
    )


def _wait(torch: Any, *devices: int) -> None:
    for device in devices:
        torch.cuda.synchronize(device)


def rank_of(backend: str, rank: int, ranks: int, folder: str) -> None:
    """One rank: find the others, exchange (gloo), all-reduce every size."""
    import torch
    import torch.distributed as group

    cuda = backend == "nccl"
    device = f"cuda:{rank}" if cuda else "cpu"
    if cuda:
        torch.cuda.set_device(rank)

    def join(_: bool) -> None:
        place = f"file://{folder}/rendezvous"
        group.init_process_group(
            backend, init_method=place, rank=rank, world_size=ranks, timeout=FOR_EVER
        )
        group.barrier()  # NCCL connects at the first collective

    step("init", rank, join)
    if not cuda:
        exchanges(torch, group, rank, ranks)
    for size in SIZES:
        step(
            f"all-reduce {size}",
            rank,
            partial(_all_reduce, torch, group, rank, ranks, size, device),
        )
    paths(torch, group, rank, ranks, backend, device)
    group.destroy_process_group()


def paths(torch: Any, group: Any, rank: int, ranks: int, backend: str, device: str) -> None:
    """The all-reduces of decoding, by the backend and by PCIe IPC where the engine brings that.

    As SGLang 0.5.23 uses it (pcie_ipc_ar.py); run by two ranks on one H200, not between GPUs.
    """

    def by_group(data: Any) -> Any:
        group.all_reduce(data)
        return data

    _path(torch, by_group, backend, rank, ranks, device)
    if backend != "nccl":
        return
    work = _ipc(torch, group, ranks)
    if isinstance(work, str):
        say(no_ipc=work)
        return
    _path(torch, work.all_reduce, "ipc", rank, ranks, device)
    torch.cuda.synchronize()
    work.destroy()


def _ipc(torch: Any, group: Any, ranks: int) -> Any:
    """FlashInfer's workspace; a text that says why there is none."""
    if ranks not in IPC_RANKS:
        return f"it is for 2, 4 or 8 GPUs, not {ranks}"
    try:
        from flashinfer.comm import PcieIpcAllReduceWorkspace

        return PcieIpcAllReduceWorkspace(
            group=group.group.WORLD,
            max_numel=ROW * ROWS[-1],
            dtype=torch.bfloat16,
            tune_batches=ROWS,
            tune_cache=None,
        )
    except Exception as error:
        return f"{type(error).__name__}: {str(error)[:200]}"


def _path(torch: Any, reduce: Any, name: str, rank: int, ranks: int, device: str) -> None:
    for rows in ROWS:
        act = partial(_reduce_rows, torch, reduce, rank, ranks, rows, device)
        step(f"path {name} {rows * ROW * 2}", rank, act)


def _reduce_rows(
    torch: Any, reduce: Any, rank: int, ranks: int, rows: int, device: str, spoil: bool
) -> tuple[float, str | None]:
    """Seconds of one; the sum of the ranks' own numbers is exact in bfloat16."""

    def wait() -> None:
        if device != "cpu":
            torch.cuda.synchronize()

    data = torch.full((rows, ROW), float(rank + 1 + spoil), dtype=torch.bfloat16, device=device)
    told, wanted = reduce(data.clone()), float(ranks * (ranks + 1) // 2)
    wrong = None if bool((told == wanted).all()) else f"not all of it is the sum, {wanted:g}"
    for _ in range(3):
        reduce(data)
    wait()
    begin = time.perf_counter()
    for _ in range(20):
        reduce(data)
    wait()
    return (time.perf_counter() - begin) / 20, wrong


def exchanges(torch: Any, group: Any, rank: int, ranks: int) -> None:
    """Each rank sends a pattern to each other one: what copies are to GPUs."""
    for one in range(ranks):
        for two in range(ranks):
            pattern = torch.arange(1024, dtype=torch.int32) * (16 * one + two + 1)
            if one != two and rank == one:
                step(f"copy {one}->{two}", rank, partial(_send, group, pattern, two))
            elif one != two and rank == two:
                step(f"copy {one}->{two}", rank, partial(_receive, group, pattern, one))


def _send(group: Any, pattern: Any, to: int, spoil: bool) -> None:
    group.send(pattern + spoil, dst=to)


def _receive(group: Any, pattern: Any, source: int, _: bool) -> tuple[None, str | None]:
    arrived = pattern.clone().zero_()
    group.recv(arrived, src=source)
    return None, None if bool((arrived == pattern).all()) else "other data arrived than was sent"


def _all_reduce(
    torch: Any, group: Any, rank: int, ranks: int, size: int, device: str, spoil: bool
) -> tuple[float, str | None]:
    """Small whole numbers, so that the sum is exact and a rank that is missing or double shows."""
    base = (torch.arange(size // 4, device=device) % 97 + 1).to(torch.float32)
    data = base * (rank + 1) + spoil
    group.all_reduce(data)
    wanted = base * (ranks * (ranks + 1) // 2)
    bad = (data != wanted).nonzero()
    wrong = None
    if len(bad):
        at = int(bad[0])
        wrong = (
            f"{len(bad)} of {size // 4} numbers, the first is {float(data[at])}, wanted"
            f" {float(wanted[at])}"
        )
    times = 20 if size <= 32768 else 5
    begin = time.perf_counter()
    for _ in range(times):
        group.all_reduce(data)
    if device != "cpu":
        torch.cuda.synchronize()
    return (time.perf_counter() - begin) / times, wrong


def fork(work: Callable[[], None], rank: int) -> int:
    """Do the work in a process of its own; its number."""
    pid = os.fork()
    if pid == 0:
        tried(work, rank)
    return pid


def main(backend: str, ranks: int, folder: str) -> None:
    """Import once, then fork: no CUDA was touched yet, so each process may start its own."""

    def load(_: bool) -> None:
        import torch
        import torch.distributed

        say(torch=torch.__version__)

    step("import", DEVICE, load)
    if backend == "nccl":
        _ended({fork(lambda: _devices(ranks), DEVICE): DEVICE})
        _ended({fork(lambda: copies(ranks), COPIER): COPIER})
    _ended(
        {fork(partial(rank_of, backend, rank, ranks, folder), rank): rank for rank in range(ranks)}
    )


def _devices(ranks: int) -> None:
    import torch

    say(devices=torch.cuda.device_count())
    for device in range(ranks):
        torch.ones(1, device=f"cuda:{device}")


def _ended(processes: dict[int, int]) -> None:
    """Wait for all of them; tell the first that did not end well, and end with it."""
    while processes:
        pid, status = os.wait()
        rank = processes.pop(pid, None)
        code = os.waitstatus_to_exitcode(status)
        if rank is not None and code:
            say(rank=rank, died=code)
            if rank < 0:
                os._exit(1)


if __name__ == "__main__":
    tried(lambda: main(sys.argv[1], int(sys.argv[2]), sys.argv[3]), DEVICE)
