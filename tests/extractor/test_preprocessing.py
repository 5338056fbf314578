"""What is usual leaves no trace in a fingerprint; what is unknown is refused."""

import re
from dataclasses import asdict, replace

import pytest

from extractor.backbones.bundle import Bundle, Manifest
from extractor.preprocessing import Preprocessing
from extractor.settings import DEFAULT_BACKBONE, DataFolder

SPEC = Preprocessing(224, 224, 256, "bicubic", (0.5,) * 3, (0.5,) * 3)


def with_decode(manifest: Manifest, decode: str) -> Manifest:
    return replace(manifest, preprocessing=replace(manifest.preprocessing, decode=decode))  # type: ignore[arg-type]


def test_the_usual_decoding_and_resize_are_not_written_down() -> None:
    """Manifests and fingerprints are those of before there was a choice."""
    assert not {"decode", "resize", "resize_longer"} & SPEC.facts().keys()
    assert {**SPEC.facts(), "decode": "exact", "resize": "shorter", "resize_longer": None} == asdict(SPEC)
    assert replace(SPEC, resize="squash").facts() == {**SPEC.facts(), "resize": "squash"}


def test_the_default_backbone_has_the_fingerprint_that_it_always_had(data: DataFolder) -> None:
    """Hashed as before there was a choice: the ONNX file, six facts of the preprocessing, the layer."""
    import hashlib
    import json

    manifest = Bundle.of(data, DEFAULT_BACKBONE).manifest
    six = ("height", "width", "resize_shorter", "interpolation", "mean", "std")
    facts = {name: getattr(manifest.preprocessing, name) for name in six}
    hashed = json.dumps([manifest.files["model.onnx"], facts, manifest.layer], sort_keys=True)
    assert manifest.fingerprint == hashlib.sha256(hashed.encode()).hexdigest()
    assert set(json.loads(manifest.to_json())["preprocessing"]) == set(six)


@pytest.mark.parametrize("decode", ["fast", "gpu"])
def test_another_decoding_has_a_fingerprint_of_its_own(decode: str, data: DataFolder) -> None:
    """Its vectors are others; the manifest that is written says so, and is read back."""
    usual = Bundle.of(data, DEFAULT_BACKBONE).manifest
    other = with_decode(usual, decode)
    assert other.fingerprint != usual.fingerprint
    assert Manifest.from_json(other.to_json()) == other


def test_a_decoding_of_a_later_version_is_refused() -> None:
    """The sentence has the value and what is known."""
    sentence = "its pictures are decoded by 'warp', and this version knows exact, fast, gpu"
    with pytest.raises(ValueError, match=re.escape(sentence)):
        replace(SPEC, decode="warp")  # type: ignore[arg-type]


def test_a_resize_of_a_later_version_is_refused() -> None:
    """The sentence has the value and what is known."""
    sentence = "its pictures are resized by 'seam', and this version knows shorter, squash, pad"
    with pytest.raises(ValueError, match=re.escape(sentence)):
        replace(SPEC, resize="seam")  # type: ignore[arg-type]


def test_the_longer_side_of_the_box_lies_as_the_input_does() -> None:
    """Without one the box is square, whatever the input is."""
    assert SPEC.box == replace(SPEC, height=256).box == (256, 256)
    assert replace(SPEC, height=300, resize_longer=320).box == (320, 256)
    assert replace(SPEC, width=300, resize_longer=320).box == (256, 320)
    assert replace(SPEC, height=300, resize_longer=320).facts()["resize_longer"] == 320
