"""What a call costs beside other methods."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from grpc_health.v1 import health_pb2

from extractor._pb.penultimate.v1 import penultimate_pb2 as pb
from extractor._pb.penultimate.v1.penultimate_pb2_grpc import ExtractorStub

HEALTH = health_pb2.DESCRIPTOR.services_by_name["Health"]


async def test_only_health_checks_have_tasks_of_their_own(stub: ExtractorStub) -> None:
    """Each call goes through all such tasks: one a method took 1 to 2 % of the service's images a second."""
    await stub.GetInfo(pb.GetInfoRequest())
    coroutines: list[Any] = [task.get_coro() for task in asyncio.all_tasks()]
    waiting = Counter(coroutine.__qualname__ for coroutine in coroutines)
    assert waiting["AioServer._request_call"] == 1, waiting
    assert waiting["AioServer._request_registered_call"] == len(HEALTH.methods)
