"""The all-reduces of `doctor --deep` by two ranks that share one GPU: NCCL refuses that, CUDA IPC does not.

usage: one_gpu.py FABRIC_RANK FOLDER    FABRIC_RANK: launcher/doctor/fabric_rank.py

What the ranks are called with there is called here, with gloo in place of NCCL: so that FlashInfer's workspace is made, used
and taken down on a host with one GPU, too. Its times say nothing: the ranks take turns.
"""

from __future__ import annotations

import importlib.util
import os
import sys


def main(program: str, folder: str, ranks: int = 2) -> None:
    spec = importlib.util.spec_from_file_location("fabric_rank", program)
    assert spec
    assert spec.loader
    ours = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(ours)

    def work(rank: int) -> None:
        import torch
        import torch.distributed as group

        torch.cuda.set_device(0)
        group.init_process_group(
            "gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=ranks
        )
        ours.paths(torch, group, rank, ranks, "nccl", "cuda:0")
        group.destroy_process_group()

    children = {}
    for rank in range(ranks):
        children[ours.fork(lambda rank=rank: work(rank), rank)] = rank
    ends = [os.wait()[1] for _ in children]  # no bound: whoever runs it has one
    sys.exit(max(map(os.waitstatus_to_exitcode, ends)))


if __name__ == "__main__":
    main(*sys.argv[1:])
