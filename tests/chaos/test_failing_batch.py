"""A run of the network that fails: its culprits fail, and whoever was in the batch with them is answered."""

from __future__ import annotations

import io
import re

import grpc
import pytest
from PIL import Image

from extractor._pb.penultimate.v1 import penultimate_pb2 as pb
from extractor._pb.penultimate.v1.penultimate_pb2_grpc import ExtractorStub
from tests.chaos.conftest import PATIENCE_S, Album, FaultyServer

CULPRITS = {3, 17, 18, 40}


@pytest.fixture
def black() -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (8, 8)).save(stream, "PNG")
    return stream.getvalue()


def test_only_the_culprits_of_a_failed_batch_fail(faulty: FaultyServer, album: Album, black: bytes) -> None:
    """Each with the server's own fault as its reason; the log has the batch that failed, and its trace."""
    images = [black + bytes([n]) if n in CULPRITS else album.file(n) for n in range(48)]
    with grpc.insecure_channel(faulty.address) as channel:
        reply = ExtractorStub(channel).Embed(pb.EmbedRequest(images=images), timeout=PATIENCE_S)
    for number, result in enumerate(reply.results):
        if number in CULPRITS:
            assert result.error.code == pb.ImageError.INTERNAL
            assert (
                "injected" not in result.error.reason
            )  # what went wrong inside is not the caller's business
        else:
            album.check(number, result)
    log = faulty.log.read_text()
    assert re.search(r"a batch of [2-8] failed and is retried by halves", log)
    assert log.count("injected into a run of 1") >= len(CULPRITS)


def test_failing_batches_of_one_caller_leave_the_others_alone(
    faulty: FaultyServer, album: Album, black: bytes
) -> None:
    """A caller of whose pictures all fail, beside one of whose none does, again and again."""
    with grpc.insecure_channel(faulty.address) as channel:
        embed = ExtractorStub(channel).Embed
        bad = [
            embed.future(
                pb.EmbedRequest(images=[black + bytes([call, n]) for n in range(8)]), timeout=PATIENCE_S
            )
            for call in range(10)
        ]
        good = [
            embed.future(
                pb.EmbedRequest(images=[album.file(8 * call + n) for n in range(8)]), timeout=PATIENCE_S
            )
            for call in range(10)
        ]
        for call in range(10):
            for n, result in enumerate(good[call].result().results):
                album.check(8 * call + n, result)
            assert [result.error.code for result in bad[call].result().results] == [
                pb.ImageError.INTERNAL
            ] * 8
