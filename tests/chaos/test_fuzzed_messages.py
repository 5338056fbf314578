"""Anything as the request of any method of any service: the caller's mistake, never the server's fault."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from extractor._pb.penultimate.v1 import penultimate_pb2 as pb
from extractor._pb.penultimate.v1.penultimate_pb2_grpc import ExtractorStub
from tests.chaos.conftest import PATIENCE_S, Album
from tests.service.conftest import ServerProcess

NEVER = {"INTERNAL", "UNKNOWN", "UNAVAILABLE", "DATA_LOSS", "CANCELLED", "DEADLINE_EXCEEDED"}
"""A status that says more of the server than of the request."""


@pytest.fixture(scope="module")
def channel(fuzzed: ServerProcess) -> Any:
    with grpc.insecure_channel(fuzzed.address) as channel:
        yield channel


@pytest.fixture(scope="module")
def methods(channel: grpc.Channel) -> list[MethodDescriptor]:
    """Every method that the server says it has."""
    database = ProtoReflectionDescriptorDatabase(channel)
    pool = DescriptorPool(database)
    services = [pool.FindServiceByName(name) for name in sorted(database.get_services())]
    return [method for service in services for method in service.methods if is_ours(service.full_name)]


def is_ours(service: str) -> bool:
    """Health and reflection are gRPC's own, and answer as gRPC does."""
    return not service.startswith("grpc.")


def answer(channel: grpc.Channel, method: MethodDescriptor, request: bytes) -> str:
    """How the call ends, or OK once it has been answered; to the wire, every method is a stream."""
    call = channel.stream_stream(f"/{method.containing_service.full_name}/{method.name}")(
        iter([request]), timeout=PATIENCE_S
    )
    try:
        next(call)
    except (StopIteration, grpc.RpcError):
        return str(call.code().name)
    call.cancel()
    return "OK"


def still_answers(channel: grpc.Channel, album: Album) -> None:
    reply = ExtractorStub(channel).Embed(pb.EmbedRequest(images=[album.file(0)]), timeout=PATIENCE_S)
    album.check(0, reply.results[0])


def test_all_our_services_are_found(methods: list[MethodDescriptor]) -> None:
    """Or the others here would test nothing."""
    names = {f"{method.containing_service.full_name}/{method.name}" for method in methods}
    assert {
        *(f"penultimate.v1.Extractor/{name}" for name in ("Embed", "EmbedStream", "Lookup", "GetInfo")),
        "inference.GRPCInferenceService/ModelInfer",
    } <= names


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(data=st.binary(max_size=200))
def test_any_bytes_are_the_callers_mistake(
    channel: grpc.Channel, methods: list[MethodDescriptor], album: Album, data: bytes
) -> None:
    """As the request of every method."""
    for method in methods:
        assert answer(channel, method, data) not in NEVER, method.full_name
    still_answers(channel, album)


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_odd_messages_are_the_callers_mistake(
    channel: grpc.Channel, methods: list[MethodDescriptor], album: Album, data: st.DataObject
) -> None:
    """Of the right type, with whatever their fields can hold."""
    for method in methods:
        request = data.draw(messages(method.input_type), label=method.full_name)
        assert answer(channel, method, request.SerializeToString()) not in NEVER, method.full_name
    still_answers(channel, album)


def messages(kind: Descriptor, depth: int = 3) -> st.SearchStrategy[Message]:
    """Messages of a type, with any of their fields set to anything."""
    fields = {field.name: _field(field, depth) for field in kind.fields if depth or not field.message_type}
    return st.fixed_dictionaries({}, optional=fields).map(
        lambda values: message_factory.GetMessageClass(kind)(**values)
    )


def _field(field: FieldDescriptor, depth: int) -> st.SearchStrategy[Any]:
    if field.message_type and field.message_type.GetOptions().map_entry:
        key, value = (_one(field.message_type.fields_by_name[name], depth) for name in ("key", "value"))
        return st.dictionaries(key, value, max_size=3)
    one = _one(field, depth)
    return st.lists(one, max_size=4) if field.is_repeated else one


def _one(field: FieldDescriptor, depth: int) -> st.SearchStrategy[Any]:
    numbers = {
        FieldDescriptor.CPPTYPE_INT32: st.integers(-(2**31), 2**31 - 1),
        FieldDescriptor.CPPTYPE_INT64: st.integers(-(2**63), 2**63 - 1),
        FieldDescriptor.CPPTYPE_UINT32: st.integers(0, 2**32 - 1),
        FieldDescriptor.CPPTYPE_UINT64: st.integers(0, 2**64 - 1),
        FieldDescriptor.CPPTYPE_DOUBLE: st.floats(),
        FieldDescriptor.CPPTYPE_FLOAT: st.floats(width=32),
        FieldDescriptor.CPPTYPE_BOOL: st.booleans(),
        FieldDescriptor.CPPTYPE_ENUM: st.integers(0, 5),
    }
    if field.message_type:
        return messages(field.message_type, depth - 1)
    if field.type == FieldDescriptor.TYPE_BYTES:
        return st.binary(max_size=40) | st.just(bytes(32))
    if field.type == FieldDescriptor.TYPE_STRING:
        return st.text(max_size=20) | st.sampled_from(WORDS)
    return numbers[field.cpp_type]


WORDS = ["image", "error", "embedding", "BYTES", "FP32", "UINT8", "efficientnet_lite0", "1", "binary_data"]
"""What lets a message of the Open Inference Protocol pass the first of its checks."""
