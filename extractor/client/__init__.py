"""Clients of the service: `Client` blocks, `AsyncClient` is for asyncio; both have the same names.

Images travel several in a request, with a bounded number of requests under
way (`packing`). Where servers remember most images, their digests are sent and
not they (`recall`). What can fail for the moment, as when there is no server or
its queue is full, is tried again for as long as `timeout` says (`patience`), at
another address where there are several (`peers`).
"""

from extractor.client.async_collection import AsyncRemoteCollection
from extractor.client.async_head import AsyncRemoteHead
from extractor.client.asynchronous import AsyncClient
from extractor.client.blocking import Client
from extractor.client.collection import RemoteCollection
from extractor.client.head import RemoteHead
from extractor.client.packing import REQUEST_IMAGES, REQUESTS_UNDER_WAY
from extractor.collections_wire.values import Added, Found, Neighbour, NewItem, Query, Record, Summary
from extractor.heads_wire.values import Classified, Drift, Fitted, HeadInfo, HeadInput, Stage, Verdict
from extractor.wire import Info

__all__ = [
    "REQUESTS_UNDER_WAY",
    "REQUEST_IMAGES",
    "Added",
    "AsyncClient",
    "AsyncRemoteCollection",
    "AsyncRemoteHead",
    "Classified",
    "Client",
    "Drift",
    "Fitted",
    "Found",
    "HeadInfo",
    "HeadInput",
    "Info",
    "Neighbour",
    "NewItem",
    "Query",
    "Record",
    "RemoteCollection",
    "RemoteHead",
    "Stage",
    "Summary",
    "Verdict",
]
