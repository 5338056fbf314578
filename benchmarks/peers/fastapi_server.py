"""A naive FastAPI server: the handler decodes and runs in a thread of its pool, under uvicorn.

Tuned: uvloop and httptools, no access log, and a thread a core instead of forty (`PEER_THREADS`).
"""

from __future__ import annotations

import os

import anyio.to_thread
import uvicorn
from fastapi import FastAPI, Request, Response

from benchmarks.peers.model import CORES, PORT, QUEUE, Model

app = FastAPI()
model = Model(CORES)
limiter = anyio.CapacityLimiter(int(os.environ.get("PEER_THREADS", CORES)))


@app.post("/embed")  # type: ignore[untyped-decorator]
async def embed(request: Request) -> Response:
    photo = await request.body()
    vector = await anyio.to_thread.run_sync(model.embed, photo, limiter=limiter)
    return Response(vector, media_type="application/octet-stream")


if __name__ == "__main__":
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=PORT,
        log_level="error",
        access_log=False,
        loop="uvloop",
        http="httptools",
        limit_concurrency=QUEUE or None,
    )
