"""The GPUs of a service, watched while it is kept up: what happens to them becomes events, and
whether the memory of a run that is gone is back.
"""

from __future__ import annotations

from launcher.serve import gpu_monitor
from launcher.serve.events import GpuFaulted
from launcher.serve.gpu_monitor import GpuNews, GpuWatch
from launcher.serve.service import Service


class Gpus:
    """The watch over them, if there are any and a driver that could tell of them."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._watch: GpuWatch | None = None
        self._is_blind = False  # there is no driver that could tell anything of them

    def watch(self) -> None:
        """Have them watched, if there are any: again, should the watch have died."""
        if self._service.plan.gpus and not self._watch and not self._is_blind:
            self._watch = GpuWatch()
            self._service.loop.on(self._watch.output, self._hear)

    @property
    def are_watched(self) -> bool:
        return self._watch is not None

    @property
    def watcher(self) -> int:
        """The process that watches them; 0: none does."""
        return self._watch.pid if self._watch else 0

    def poke(self) -> None:
        """Ask for a sample at once."""
        if self._watch:
            self._watch.poke()

    def still_held(self) -> str | None:
        """The GPU whose memory is not back yet, in words."""
        return self._watch.still_held() if self._watch else None

    def in_words(self) -> str | None:
        """What they do; None where nobody knows."""
        return self._watch.in_words() if self._watch else None

    def close(self) -> None:
        """Watch them no more."""
        if self._watch:
            self._watch.close()

    def _hear(self) -> None:
        service = self._service
        assert self._watch
        try:
            for told in self._watch.hear():
                self._take(self._watch, told)
        except EOFError:
            self._end(self._watch)
            return
        if self._watch.before is None or not (service.run or service.gone):
            self._watch.remember()
        service.recorder.gpus = self._watch.gpus

    def _end(self, watch: GpuWatch) -> None:
        service = self._service
        service.loop.off(watch.output)
        watch.close()
        self._watch, service.recorder.gpus = None, ()
        if not self._is_blind:
            service.recorder.complain(
                "the watch over the GPUs ended; the next launch begins another"
            )

    def _take(self, watch: GpuWatch, told: GpuNews) -> None:
        service = self._service
        if told.end is not None:
            self._is_blind = True
            service.recorder.complain(f"the GPUs cannot be watched: {told.end}")
            return
        ours = self._is_ours(watch, told)
        service.recorder.gpu(service.picture(), told, ours=ours)
        if not ours:
            return
        if service.run:
            service.run.kernel.append(told.line)
        if what := gpu_monitor.fatal(told.line):
            service.feed(GpuFaulted(service.clock.now(), what))

    def _is_ours(self, watch: GpuWatch, told: GpuNews) -> bool:
        """Whether it is about this service, as far as can be told."""
        run = self._service.run
        if bdf := told.bdf or gpu_monitor.address_in(told.line):
            members = set(run.session.members()) if run else set()
            return watch.is_ours(bdf, members, self._service.plan.gpus)
        pid = gpu_monitor.pid_in(told.line)  # the kernel kills others, too
        return pid is None or (run is not None and pid in run.met)
