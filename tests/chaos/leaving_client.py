"""A client process that sends many requests at once and says so; it waits to be killed."""

from __future__ import annotations

import signal
import sys

import grpc

from extractor._pb.penultimate.v1 import penultimate_pb2 as pb
from extractor._pb.penultimate.v1.penultimate_pb2_grpc import ExtractorStub


def main(address: str, count: str) -> None:
    picture = sys.stdin.buffer.read()
    with grpc.insecure_channel(address) as channel:
        requests = [
            # JPEG readers pass over what follows the picture's end
            pb.EmbedRequest(images=[picture + number.to_bytes(4, "big")])
            for number in range(int(count))
        ]
        calls = [
            ExtractorStub(channel).Embed.future(
                request, metadata=(("penultimate-request-bytes", str(request.ByteSize())),)
            )
            for request in requests
        ]
        calls[0].result()
        sys.stdout.write("answered\n")
        sys.stdout.flush()
        signal.pause()


if __name__ == "__main__":
    main(*sys.argv[1:])
