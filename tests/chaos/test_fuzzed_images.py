"""Damaged image files: a vector, or an error that says what is wrong with the file; nothing else, ever."""

from __future__ import annotations

from contextlib import suppress

import grpc
import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from extractor import images
from extractor._pb.penultimate.v1 import penultimate_pb2 as pb
from extractor._pb.penultimate.v1.penultimate_pb2_grpc import ExtractorStub
from extractor.backbones.bundle import Bundle
from extractor.errors import InvalidImage
from tests.chaos.conftest import PATIENCE_S, Album
from tests.chaos.mutations import SEEDS, damaged_files
from tests.service.conftest import ServerProcess

THE_CALLERS = {pb.ImageError.INVALID_IMAGE, pb.ImageError.IMAGE_TOO_LARGE, pb.ImageError.UNSUPPORTED_FORMAT}


def test_the_undamaged_files_are_pictures(bundle: Bundle) -> None:
    """Or damaging them would test nothing."""
    for seed in SEEDS:
        assert images.decode(seed, bundle.manifest.preprocessing).any()


@pytest.mark.filterwarnings("ignore")  # as in the server, not errors: Pillow warns of much that it can read
@settings(max_examples=4000, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(data=damaged_files)
def test_a_damaged_file_is_pixels_or_invalid(bundle: Bundle, data: bytes) -> None:
    """The decoder raises nothing but what is the caller's to mend."""
    spec = bundle.manifest.preprocessing
    with suppress(InvalidImage):
        pixels = images.decode(data, spec)
        assert pixels.shape == (spec.height, spec.width, 3)
        assert pixels.dtype == np.uint8


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(files=st.lists(damaged_files, min_size=8, max_size=24))
@example(files=SEEDS)
def test_the_server_survives_damaged_files(fuzzed: ServerProcess, album: Album, files: list[bytes]) -> None:
    """Each has its own result, none is the server's fault, and a good neighbour has its vector."""
    with grpc.insecure_channel(fuzzed.address) as channel:
        request = pb.EmbedRequest(images=[*files, album.file(0)])
        reply = ExtractorStub(channel).Embed(request, timeout=PATIENCE_S)
    *damaged, good = reply.results
    assert len(damaged) == len(files)
    for result in damaged:
        if result.WhichOneof("outcome") == "error":
            assert result.error.code in THE_CALLERS, result.error
            assert result.error.reason
        else:
            assert np.isfinite(np.frombuffer(result.embedding, "<f4")).all()
    album.check(0, good)
