"""What gRPC's server answers: the services, health, and what it can be asked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import grpc
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health, health_pb2
from grpc_health.v1.health_pb2_grpc import add_HealthServicer_to_server
from grpc_reflection.v1alpha import reflection, reflection_pb2
from grpc_reflection.v1alpha.reflection_pb2_grpc import add_ServerReflectionServicer_to_server

from extractor.health import Health


class Methods:
    """What a server answers, found by name when a call comes.

    For each method that is registered with gRPC a task of its own waits for
    calls, and with every call the server goes through all those tasks: 22 of
    them cost 0.1 ms of a loaded processor. What is found by name shares one
    task and one queue, so health checks alone are registered: they wait
    behind no flood. Stands in for the server where generated code adds a service.

    Parameters
    ----------
    server : grpc.aio.Server
    """

    def __init__(self, server: grpc.aio.Server) -> None:
        self._server = server

    def add(self, service: str, methods: Mapping[str, grpc.RpcMethodHandler[Any, Any]]) -> None:
        """Answer for a service's methods."""
        self.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(service, dict(methods))])

    def add_health(self, answers: Health) -> None:
        """Answer health checks, which have a queue of their own."""
        add_HealthServicer_to_server(answers, self._server)

    def add_reflection(self, services: Iterable[str], contracts: Iterable[FileDescriptor]) -> None:
        """Tell who asks what these services, health and reflection itself can be asked."""
        pool = DescriptorPool()  # the process-wide one lacks some of it (see tests/generate_proto.py)
        for contract in (*contracts, health_pb2.DESCRIPTOR, reflection_pb2.DESCRIPTOR):
            pool.AddSerializedFile(contract.serialized_pb)
        names = (*services, health.SERVICE_NAME, reflection.SERVICE_NAME)
        add_ServerReflectionServicer_to_server(reflection.aio.ReflectionServicer(names, pool=pool), self)

    def add_generic_rpc_handlers(self, handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        """As the server's."""
        self._server.add_generic_rpc_handlers(tuple(handlers))

    def add_registered_method_handlers(self, service: str, methods: Mapping[str, Any]) -> None:
        """Leave unregistered what generated code has added by name before."""
