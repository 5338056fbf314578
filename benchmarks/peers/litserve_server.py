"""LitServe: worker processes behind its FastAPI server.

Tuned: a worker a core, one image a batch (on a CPU a larger one is slower), bytes in and out without JSON.
A third worker and its fast queue (ZeroMQ) gain nothing here. It has no bound on its queue.
"""

# No postponed annotations: LitServe reads the types of the methods below.
from typing import Annotated

import litserve
from fastapi import Body, Response

from benchmarks.peers.model import CORES, PORT, THREADS, Model


class Embed(litserve.LitAPI):  # type: ignore[misc]
    def setup(self, device: str) -> None:  # noqa: ARG002 - LitServe passes it by name
        self.model = Model()

    def decode_request(self, request: Annotated[bytes, Body(media_type="application/octet-stream")]) -> bytes:
        return request

    def predict(self, x: bytes) -> bytes:
        return self.model.embed(x)

    def encode_response(self, output: bytes) -> Response:
        return Response(output, media_type="application/octet-stream")


if __name__ == "__main__":
    server = litserve.LitServer(
        Embed(api_path="/embed"),
        accelerator="cpu",
        devices=1,
        workers_per_device=THREADS or CORES,
        timeout=False,
    )
    server.run(host="127.0.0.1", port=PORT, log_level="error", generate_client_file=False, access_log=False)
