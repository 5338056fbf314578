"""Messages of callers and of servers: values, or an error that is the other side's."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import atheris

with atheris.instrument_imports():
    from extractor import wire
    from extractor._pb.inference import open_inference_pb2 as inference
    from extractor._pb.penultimate.v1 import penultimate_pb2 as pb
    from extractor.errors import InternalError, PenultimateError
    from extractor.kserve import messages

from fuzz.engine import run

REQUESTS = (pb.EmbedRequest, pb.LookupRequest, pb.GetInfoRequest, inference.ModelInferRequest)


def of_a_caller(data: bytes) -> None:
    """As the server reads it; nothing of it may look like the server's own fault."""
    for kind in REQUESTS:
        try:
            read_request(wire.parse(kind, data))
        except InternalError:
            raise
        except PenultimateError:
            pass
    wire.said_size({wire.SIZE: data.decode("latin-1")}, 0)


def read_request(request: Any) -> None:
    if isinstance(request, inference.ModelInferRequest):
        messages.unpack_images(request, messages.unpack(request).count)
    elif hasattr(request, "form"):
        wire.check_form(request.form)


def of_a_server(data: bytes) -> None:
    """As a client reads it; garbage is an error that says so."""
    with suppress(PenultimateError):
        reply = wire.parse(pb.EmbedResponse, data)
        wire.unpack_results(reply, len(reply.results))
    with suppress(PenultimateError):
        found = wire.parse(pb.LookupResponse, data)
        wire.unpack_rows(found, len(found.embeddings))
    with suppress(PenultimateError):
        wire.unpack_info(wire.parse(pb.GetInfoResponse, data))


def seeds() -> list[bytes]:
    image = pb.ImageResult(digest=bytes(32), embedding=bytes(8), numerics="cpu/fp32")
    infer = inference.ModelInferRequest(model_name="efficientnet_lite0")
    infer.inputs.add(name="image", datatype="BYTES", shape=[1]).contents.bytes_contents.append(b"abc")
    infer.parameters["datatype"].string_param = "FP16"
    raw = inference.ModelInferRequest(raw_input_contents=[b"\3\0\0\0abc"])
    raw.inputs.add(name="image", datatype="BYTES", shape=[1, 1])
    known = (
        pb.EmbedRequest(images=[b"a", b""], form=pb.VectorForm(number=pb.VectorForm.FLOAT16)),
        pb.LookupRequest(digests=[bytes(32)], fingerprint="ab" * 32),
        pb.EmbedResponse(dim=2, results=[image, pb.ImageResult(error=pb.ImageError(reason="no picture"))]),
        pb.LookupResponse(dim=2, embeddings=[bytes(8), b""], numerics=["cpu/fp32", ""]),
        infer,
        raw,
    )
    return [message.SerializeToString() for message in known]


def read(data: bytes) -> None:
    of_a_caller(data)
    of_a_server(data)


if __name__ == "__main__":
    run("messages", read, seeds())
