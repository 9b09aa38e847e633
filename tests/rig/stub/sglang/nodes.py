"""The stand-in's other nodes: they find each other as torch's store has it, each dies of a
connection that is reset, and a network that is gone is told to nobody.
"""

import os
import signal
import socket
import threading
import time

ECHO_WITHIN = 20.0  # seconds after which SGLang gives up on its own /health


class Nodes:
    """The connections between the nodes; of one node alone there are none."""

    def __init__(self, arguments, log):
        self.rank, self.log = arguments.node_rank or 0, log
        self.links = []
        if (arguments.nnodes or 1) > 1:
            host, _, port = arguments.dist_init_addr.rpartition(":")
            meet = self.wait if self.rank == 0 else self.join
            meet((host.strip("[]"), int(port)), arguments.nnodes, arguments.dist_timeout)
        for link in self.links:
            threading.Thread(target=self.watch, args=(link,), daemon=True).start()

    def wait(self, address, count, seconds):
        """The first node: all others within so many seconds, or the end."""
        until = time.monotonic() + seconds
        with socket.create_server(address) as store:
            while len(self.links) < count - 1:
                store.settimeout(max(0.01, until - time.monotonic()))
                try:
                    link = store.accept()[0]
                    link.settimeout(60)
                    if link.recv(1):  # whoever only looks whether it is open says nothing
                        self.links.append(link)
                except TimeoutError:
                    joined = f"{len(self.links) + 1}/{count} clients joined."
                    self.end(
                        f"DistStoreError: Timed out after {seconds} seconds waiting for clients. {joined}"
                    )

    def join(self, address, count, seconds):
        """Another node: the first one within so many seconds, or the end."""
        until = time.monotonic() + seconds
        while not self.links:
            try:
                self.links.append(socket.create_connection(address, 1))
                self.links[0].sendall(b"!")
            except OSError:
                time.sleep(0.1)
            if time.monotonic() > until:
                self.end(f"DistNetworkError: The client socket has timed out after {seconds}000ms")

    def end(self, error):
        print(f"torch.distributed.{error}", flush=True)
        os._exit(1)

    def watch(self, link):
        """Answer what the first node sends; die with the connection."""
        link.settimeout(None)
        try:
            while said := link.recv(1):
                if self.rank:
                    link.sendall(said)
                else:
                    self.heard = time.monotonic()
        except OSError:
            pass
        self.log("RuntimeError: Connection closed by peer")
        os.kill(os.getpid(), signal.SIGKILL)

    def work(self):
        """Whether all others take part, which takes as long as they need."""
        asked = time.monotonic()
        self.heard = 0.0
        for link in self.links:
            link.sendall(b".")
        while self.links and self.heard < asked:
            if time.monotonic() > asked + ECHO_WITHIN:
                return False
            time.sleep(0.02)
        return True
