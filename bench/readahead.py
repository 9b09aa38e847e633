"""Reading a checkpoint ahead: beside fio, and what it does for import-then-load (as root: the page
cache is dropped before each).

Ours and fio (buffered, as many threads of the same pieces) read the same files in turn; they change
places in each pair, because a shared disk has moods. Aim: <= 1.1 of fio's time. Then a loader that
imports for IMPORTS seconds and copies every file out of a mapping as safetensors does, with ours
beside it and without, cold; and the same with all of it cached, where both must take as long. The
interval is that of the ratios' medians over resampled pairs (bootstrap, 95 %).

usage: bench/readahead.py [PAIRS [GIB [FOLDER]]]
"""

from __future__ import annotations

import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

RESAMPLED = 2000
IMPORTS = 3.0  # seconds; SGLang's take longer
GIVE_UP = 600  # seconds
SHARD = 1 << 30  # bytes
LOADER = """
import mmap, sys, time
time.sleep(float(sys.argv[1]))
for path in sys.argv[2:]:
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as all_of_it:
        for begin in range(0, len(all_of_it), 1 << 22):
            bytes(all_of_it[begin:begin + (1 << 22)])
"""


def made(folder: Path, count: int) -> list[Path]:
    """Files that no disk can compress, written to it."""
    files = [folder / f"model-{n + 1:05}-of-{count:05}.safetensors" for n in range(count)]
    for path in files:
        with path.open("wb") as file:
            for _ in range(SHARD >> 24):
                file.write(random.randbytes(1 << 24))
            os.fsync(file.fileno())
    return files


def dropped() -> None:
    """Without what is cached of any file."""
    os.sync()
    Path("/proc/sys/vm/drop_caches").write_text("1")


def reader(folder: Path) -> subprocess.Popen[bytes]:
    """Ours, as the launcher starts it."""
    request = {"models": [str(folder)], "patterns": ["*.safetensors"], "natural": False}
    request |= {"ranks": 1, "copies": False}
    command = [sys.executable, "-P", "-m", "launcher.serve.readahead_child", json.dumps(request)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def all_read(process: subprocess.Popen[bytes]) -> None:
    """Wait for its end, which must be that all is in memory."""
    assert process.stdout
    *_, line = process.stdout  # its stdin stays open: it ends with that
    process.communicate()
    last = json.loads(line)
    if last["end"]:
        sys.exit(f"not all was read: {last['end']}")


def seconds(work: Callable[[], object]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began


def fio(files: list[Path]) -> None:
    """Four threads, each its part of the files, by pieces of 4 MiB through the page cache."""
    jobs = [
        f"[part{n}]\nfilename={':'.join(map(str, files[n::4]))}\n"
        for n in range(min(4, len(files)))
    ]
    head = "[global]\nrw=read\nioengine=psync\nbs=4M\ninvalidate=0\nthread\n"
    head += "file_service_type=sequential\n"
    with tempfile.NamedTemporaryFile("w", suffix=".fio") as job:
        job.write(head + "".join(jobs))
        job.flush()
        subprocess.run(
            ["fio", "--readonly", job.name], check=True, stdout=subprocess.DEVNULL, timeout=GIVE_UP
        )


def load(folder: Path, files: list[Path], *, ahead: bool) -> None:
    """Import, then load; ours beside it or not."""
    beside = reader(folder) if ahead else None
    command = [sys.executable, "-c", LOADER, str(IMPORTS), *map(str, files)]
    subprocess.run(command, check=True, timeout=GIVE_UP)
    if beside:
        beside.kill()
        beside.communicate()


def pairs(
    title: str, count: int, ours: Callable[[], object], other: Callable[[], object], *, cold: bool
) -> None:
    """Both in turn, and what came of it."""
    took: dict[Callable[[], object], list[float]] = {ours: [], other: []}
    for number in range(count):
        for work in (ours, other) if number % 2 else (other, ours):
            if cold:
                dropped()
            took[work].append(seconds(work))
    ratios = [mine / its for mine, its in zip(took[ours], took[other], strict=True)]
    medians = sorted(statistics.median(random.choices(ratios, k=count)) for _ in range(RESAMPLED))
    low, high = medians[RESAMPLED // 40], medians[-RESAMPLED // 40]
    mine, its = (statistics.median(took[work]) for work in (ours, other))
    print(
        f"{title:<34} {mine:6.2f} s  {its:6.2f} s  ratio {statistics.median(ratios):.3f}"
        f"  [{low:.3f}, {high:.3f}]  {count} pairs",
        flush=True,
    )


def main() -> None:
    """Measure, and print a row each."""
    words = sys.argv[1:]
    count, size = (int(words[0]) if words else 7), (int(words[1]) if words[1:] else 4)
    if os.geteuid() or not shutil.which("fio"):
        sys.exit("wanted: root, to drop the page cache, and fio (apt install fio)")
    with tempfile.TemporaryDirectory(dir=words[2] if words[2:] else None) as name:
        folder = Path(name)
        files = made(folder, size)
        ours = lambda: all_read(reader(folder))
        with_it = lambda: load(folder, files, ahead=True)
        without = lambda: load(folder, files, ahead=False)
        print(f"{f'{size} GiB':<34}    ours     other")
        pairs("cold: read, beside fio", count, ours, lambda: fio(files), cold=True)
        pairs("cold: import-then-load, without", count, with_it, without, cold=True)
        without()
        pairs("warm: import-then-load, without", count, with_it, without, cold=False)


if __name__ == "__main__":
    main()
