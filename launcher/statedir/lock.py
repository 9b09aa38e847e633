"""Who holds an instance: its one launcher, by a lock on a file that the kernel lets go for it."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
from pathlib import Path
from typing import NamedTuple

from launcher.files import guarded

OURS = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)  # what a process that asks may lack itself


class Claim(NamedTuple):
    """What makes a process the one launcher of an instance, as long as it keeps these descriptors
    open.
    """

    lock: int  # of the lock file
    name: int | None  # of the name (see `namelock`), where one is to be had

    @property
    def descriptors(self) -> tuple[int, ...]:
        return (self.lock,) if self.name is None else (self.lock, self.name)

    def release(self) -> None:
        """Let another launcher have it."""
        for descriptor in self.descriptors:
            os.close(descriptor)


class Lock:
    """The lock file of an instance, and flock(2) on it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def take(self) -> int:
        """A descriptor that holds it, as long as it is open. Raises BlockingIOError where another
        launcher does, OSError where the file is not to be had.
        """
        lock = guarded.opened(self.path, os.O_RDWR | os.O_CREAT)
        try:
            for attempt in range(10):  # `status` holds the lock for an instant when it looks
                with contextlib.suppress(BlockingIOError):
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    return lock
                time.sleep(0.01 * attempt)
            raise BlockingIOError(f"{self.path} is held")
        except BaseException:
            os.close(lock)
            raise

    def is_held(self) -> bool:
        """Whether a launcher is alive. The kernel answers: no pid is compared.

        Raises OSError where this process itself lacks what it takes to ask: that is no "no".
        """
        try:
            lock = guarded.opened(self.path)
        except OSError as error:
            if error.errno in OURS:
                raise
            return False
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(lock)
        return False

    def is_on(self, descriptor: int) -> bool:
        """Whether what is held on a descriptor is still this file: the folder may be another
        now.
        """
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            return os.path.samestat(self.path.lstat(), os.fstat(descriptor))
        return False

    def sign(self, descriptor: int) -> None:
        """Write into it what the state file of its holder will have, too. Raises OSError."""
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, os.urandom(8).hex().encode(), 0)

    def signature(self) -> str:
        """What its holder wrote into it; "" for nothing."""
        with contextlib.suppress(OSError):
            return guarded.read(self.path, 64).decode(errors="replace")
        return ""
