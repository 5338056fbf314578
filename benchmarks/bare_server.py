"""What gRPC takes: a server that does the work of the limit for each call, and nothing else.

It neither checks nor counts, times or remembers anything; messages are the
bytes themselves. Otherwise it is built as ours: asyncio, uvloop, threads that
decode and run. What it costs beyond the work comes with gRPC, the threads, and
the caches that the work has emptied.
"""

from __future__ import annotations

import argparse
import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import uvloop

from benchmarks.limit import Limit, Work
from benchmarks.servers import BARE_METHOD
from extractor.settings import DataFolder, cores


class Bare:
    """Answers calls by `work`, in as many threads as there are cores.

    Parameters
    ----------
    work : callable
    queue : int
        Calls that may be under way before more are refused; 0 for any number.
    """

    def __init__(self, work: Work, queue: int) -> None:
        self._work, self._queue, self._under_way = work, queue, 0
        self._threads = ThreadPoolExecutor(cores())

    def handlers(self) -> grpc.GenericRpcHandler:
        """Refuses before a message is received, as ours does."""
        method: grpc.RpcMethodHandler[bytes, bytes] = grpc.stream_unary_rpc_method_handler(self._embed)
        service, name = BARE_METHOD.strip("/").split("/")
        return grpc.method_handlers_generic_handler(service, {name: method})

    async def _embed(self, _: object, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        if self._queue and self._under_way >= self._queue:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "full")
        self._under_way += 1
        try:
            photo = await context.read()
            return await asyncio.get_running_loop().run_in_executor(self._threads, self._answer, photo)
        finally:
            self._under_way -= 1

    def _answer(self, photo: bytes) -> bytes:
        return self._work(photo).tobytes()


async def serve(bare: Bare) -> None:
    server = grpc.aio.server()
    server.add_generic_rpc_handlers([bare.handlers()])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"listening on 127.0.0.1:{port}", flush=True)
    await server.wait_for_termination()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=lambda text: DataFolder(Path(text)), required=True)
    parser.add_argument("--numerics", required=True, help="such as cpu/fp32")
    parser.add_argument("--queue", type=int, default=0)
    given = parser.parse_args()
    provider, precision = given.numerics.split("/")
    bare = Bare(Limit(given.data, provider, precision, []).work, given.queue)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(bare))


if __name__ == "__main__":
    main()
