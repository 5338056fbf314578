"""The baseline sees colours and roughly where they are, and nothing else."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from classifiers.evaluation.baselines import DIM, GRID, JOINT, LEVELS, Colours, colour_features
from extractor.errors import InvalidImage, NotFound

JOINT_END = JOINT**3
CHANNELS_END = JOINT_END + 3 * LEVELS


def plain(red: int, green: int, blue: int) -> np.ndarray:
    return np.full((128, 128, 3), (red, green, blue), np.uint8)


def png(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def test_one_colour_is_one_bin_of_each_histogram() -> None:
    """In the bins that its values fall into, and in every cell of the coarse picture."""
    vector = colour_features(plain(255, 64, 7))
    assert vector.shape == (DIM,)
    assert vector.dtype == np.float32
    joint, channels = vector[:JOINT_END], vector[JOINT_END:CHANNELS_END].reshape(3, LEVELS)
    assert np.flatnonzero(joint).tolist() == [3 * JOINT**2 + 1 * JOINT + 0]
    assert [np.flatnonzero(channel).tolist() for channel in channels] == [[31], [8], [0]]
    assert vector[:CHANNELS_END].sum() == pytest.approx(4)
    assert np.allclose(vector[CHANNELS_END:].reshape(-1, 3), np.array([255, 64, 7]) / 255)


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1))
def test_a_histogram_holds_roots_of_shares(seed: int) -> None:
    """The squares of each of the four add up to one."""
    vector = colour_features(np.random.default_rng(seed).integers(0, 256, (64, 64, 3), np.uint8))
    shares = vector[:CHANNELS_END].astype(np.float64) ** 2
    assert shares[:JOINT_END].sum() == pytest.approx(1)
    assert shares[JOINT_END:].reshape(3, LEVELS).sum(axis=1) == pytest.approx([1, 1, 1])


def test_the_coarse_picture_says_where() -> None:
    """A white patch lights the cell that it lies in; the histograms do not tell where it is."""
    here, there = plain(0, 0, 0), plain(0, 0, 0)
    here[16:32, 48:64] = there[96:112, 0:16] = 255
    vectors = [colour_features(pixels) for pixels in (here, there)]
    cells = [vector[CHANNELS_END:].reshape(GRID, GRID, 3) for vector in vectors]
    assert [np.argwhere(each[..., 0]).tolist() for each in cells] == [[[1, 3]], [[6, 0]]]
    assert np.array_equal(vectors[0][:CHANNELS_END], vectors[1][:CHANNELS_END])


def test_real_pictures_of_any_size_and_mode_are_embedded(pictures: list[Path]) -> None:
    """In order, with their digests; grey ones have three channels alike."""
    with Colours() as colours:
        results = colours.embed(pictures)
    for file, result in zip(pictures, results, strict=True):
        assert result.digest == hashlib.sha256(file.read_bytes()).digest()
        assert result.embedding is not None, file.name
        assert result.embedding.shape == (colours.dim,)
        assert np.isfinite(result.embedding).all()
    (grey,) = (
        result.embedding for file, result in zip(pictures, results, strict=True) if file.name == "camera.png"
    )
    red, green, blue = grey[JOINT_END:CHANNELS_END].reshape(3, LEVELS)
    assert np.array_equal(red, green)
    assert np.array_equal(green, blue)


def test_what_is_no_picture_fails_alone(tmp_path: Path) -> None:
    """Between two that are fine."""
    good = png(plain(1, 2, 3))
    first, bad, gone, last = Colours().embed([good, b"text", tmp_path / "gone.png", good])
    assert first.ok
    assert last.ok
    assert isinstance(bad.error, InvalidImage)
    assert bad.digest == hashlib.sha256(b"text").digest()
    assert isinstance(gone.error, NotFound)
