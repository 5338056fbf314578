"""What gRPC's server answers, and at what cost."""

from __future__ import annotations

import asyncio
from typing import Any

from extractor._pb.penultimate.v1 import penultimate_pb2 as pb
from extractor._pb.penultimate.v1.penultimate_pb2_grpc import ExtractorStub


async def test_one_task_waits_for_calls_however_many_methods_there_are(stub: ExtractorStub) -> None:
    """Each call goes through all of them, which took 1 to 2 % of the service's images a second."""
    await stub.GetInfo(pb.GetInfoRequest())
    coroutines: list[Any] = [task.get_coro() for task in asyncio.all_tasks()]
    names = [coroutine.__qualname__ for coroutine in coroutines]
    assert sum("_request" in name for name in names) == 1, names
