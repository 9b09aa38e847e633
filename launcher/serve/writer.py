"""File work in a thread of its own: a disk that hangs must not stop the thread that decides.

What waits for the disk is bounded. A newer state takes the place of an older one that was not
written yet; of what happened, and of the server's output, what does not fit is dropped, counted and
told.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable

MOST_WAITING = 2000  # pieces of work; an idle server has one every few seconds

Work = Callable[[], None]


class Writer:
    """Does pieces of work one after the other.

    `complain` is called in its thread with what one raised.
    """

    def __init__(self, complain: Callable[[Exception], None]) -> None:
        self._complain = complain
        self._todo: OrderedDict[object, Work] = OrderedDict()
        self._news = threading.Condition()
        self._since: float | None = None  # when the present piece was begun
        self._closing = False
        self.dropped = 0  # pieces that found no room
        self._thread = threading.Thread(target=self._run, name="glm5-writer", daemon=True)
        self._thread.start()

    def put(self, work: Work, key: str | None = None) -> bool:
        """Have `work` done, soon; what waits under the same `key` is not done any more.

        False: there is no room.

        Never waits.
        """
        with self._news:
            if key not in self._todo and len(self._todo) >= MOST_WAITING:
                self.dropped += 1
                return False
            self._todo[object() if key is None else key] = work
            self._news.notify()
        return True

    def stuck(self) -> float:
        """Seconds that the disk has not answered for, in the piece of work that is under way; 0
        without one.
        """
        since = self._since
        return 0.0 if since is None else time.monotonic() - since

    def close(self, within: float) -> bool:
        """Have what waits done, for at most `within` seconds; whether it was."""
        with self._news:
            self._closing = True
            self._news.notify()
        self._thread.join(within)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while True:
            with self._news:
                while not self._todo:
                    if self._closing:
                        return
                    self._news.wait()
                _, work = self._todo.popitem(last=False)
            self._since = time.monotonic()
            try:
                work()
            except Exception as error:
                self._complain(error)
            finally:
                self._since = None
