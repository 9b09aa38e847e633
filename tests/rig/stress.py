"""The tests again and again beside a load on every core: what is a measure of time in disguise
fails in the end.

usage: stress.py [--times N] [--loops N] [--] ARGUMENTS OF PYTEST...
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator

# ends with whoever began it
LOOP = "import os\nwhile os.getppid() == {parent}:\n for _ in range(1_000_000): pass"
LONGEST = 3600.0  # seconds that all tests may take once, beside the load


@contextlib.contextmanager
def load(loops: int) -> Iterator[None]:
    """Processes that do nothing but use a processor."""
    words = [sys.executable, "-c", LOOP.format(parent=os.getpid())]
    started = [subprocess.Popen(words) for _ in range(loops)]
    try:
        yield
    finally:
        for process in started:
            process.kill()
            process.wait(60)


def once(words: list[str]) -> tuple[str, list[str]]:
    """Run the tests; pytest's closing line, and the tests that failed."""
    command = [sys.executable, "-m", "pytest", "-q", *words]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, timeout=LONGEST)
    failed = re.findall(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.MULTILINE)
    if done.returncode:
        print(done.stdout, flush=True)
        failed = failed or [f"pytest itself, with status {done.returncode}"]
    return done.stdout.rstrip().rpartition("\n")[2], failed


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--loops", type=int, default=os.cpu_count() or 1)
    asked, words = parser.parse_known_args()
    failures: Counter[str] = Counter()
    with load(asked.loops):
        for turn in range(1, asked.times + 1):
            began = time.monotonic()
            said, failed = once([word for word in words if word != "--"])
            failures.update(failed)
            print(f"{turn} of {asked.times}  {time.monotonic() - began:5.0f} s  {said}", flush=True)
    for test, times in failures.most_common():
        print(f"failed {times} times  {test}")
    print(f"{asked.times} runs beside {asked.loops} busy loops: {sum(failures.values())} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
