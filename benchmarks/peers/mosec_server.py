"""mosec: worker processes behind its Rust server.

Tuned: a worker a core that decodes and runs the network, one image a batch (on a CPU a larger one is slower).
With `PEER_STAGES=2` some decode and others run the network, which is slower here by what it costs to pass
the pixels on. `--capacity` is its own bound on the queue.
"""

from __future__ import annotations

import os
import sys

import numpy as np
from mosec import Server, Worker
from numpy.typing import NDArray

from benchmarks.peers.model import CORES, PORT, QUEUE, THREADS, Model


class Raw(Worker):  # type: ignore[misc]
    """Bytes on the wire, no JSON."""

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()

    def serialize(self, data: bytes) -> bytes:
        return data

    def deserialize(self, data: bytes) -> bytes:
        return data


class Decode(Raw):
    def forward(self, data: bytes) -> NDArray[np.uint8]:
        return self.model.decode(data)


class Infer(Raw):
    def forward(self, data: NDArray[np.uint8]) -> bytes:
        return self.model.infer(data)


class Both(Raw):
    def forward(self, data: bytes) -> bytes:
        return self.model.embed(data)


if __name__ == "__main__":
    sys.argv += ["--address", "127.0.0.1", "--port", str(PORT), "--log-level", "error"]
    sys.argv += ["--capacity", str(QUEUE)] if QUEUE else []
    server = Server()
    stages = [Decode, Infer] if os.environ.get("PEER_STAGES") == "2" else [Both]
    for stage in stages:
        server.append_worker(stage, num=THREADS or CORES)
    server.run()
