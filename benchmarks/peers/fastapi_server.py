"""A naive FastAPI server: the handler decodes and runs in a thread of its pool, under uvicorn.

Tuned: uvloop and httptools, no access log. Its forty threads are a little faster here than one a core.
"""

from __future__ import annotations

import anyio.to_thread
import uvicorn
from fastapi import FastAPI, Request, Response

from benchmarks.peers.model import CORES, PORT, QUEUE, THREADS, Model

app = FastAPI()
model = Model(CORES)
limiter = anyio.CapacityLimiter(THREADS or 40)


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
