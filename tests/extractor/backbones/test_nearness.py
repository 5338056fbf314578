"""A profile's vectors are near the exact ones, and how near is measured on pictures that it changes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from extractor import images
from extractor.backbones import nearness
from extractor.backbones.bundle import Bundle
from extractor.backbones.session import Session, open_session
from extractor.preprocessing import Decode


@pytest.fixture(scope="module")
def session(bundle: Bundle) -> Session:
    return open_session(bundle, "cpu", "fp32")[0]


def in_profile(bundle: Bundle, profile: Decode, min_cosine: float = nearness.MIN_COSINE) -> Bundle:
    """The same network, whose pictures are decoded otherwise."""
    manifest = bundle.manifest
    preprocessing = replace(manifest.preprocessing, decode=profile)
    figures = {**manifest.min_cosine, profile: min_cosine}
    return Bundle(bundle.path, replace(manifest, preprocessing=preprocessing, min_cosine=figures))


def test_the_fast_profile_is_near_the_exact_one(bundle: Bundle, session: Session) -> None:
    """On enlarged real pictures, which it halves and quarters; small ones are the same."""
    found = nearness.measured(in_profile(bundle, "fast"), session.run)
    assert found.pictures == 4
    assert 0.998 < found.smallest <= found.median < 1
    assert found.bound == nearness.MIN_COSINE
    assert not found.trouble
    assert f"{found.smallest:.6f} at the least" in str(found)


def test_a_profile_under_its_bound_is_told(bundle: Bundle, session: Session) -> None:
    """The bound is the manifest's own figure for the profile."""
    found = nearness.measured(in_profile(bundle, "fast", min_cosine=0.99999), session.run)
    assert found.trouble == "under the bound: export it without --profile"


def test_the_golden_test_of_a_fast_bundle_is_as_strict_as_any(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It judges the processor, on pixels that are decoded exactly, even where the profile reduces."""
    usual = open_session(bundle, "cpu", "fp32")[1]
    monkeypatch.setattr(images, "_SPARE", 0.25)
    fast = in_profile(bundle, "fast")
    spec, first = fast.manifest.preprocessing, fast.golden()[0].image
    assert not np.array_equal(images.decode(first, spec), images.decode(first, spec.exact))
    assert open_session(fast, "cpu", "fp32")[1] == usual


def test_the_exact_profile_has_no_bound_of_its_own() -> None:
    """So that manifests stay as they were."""
    assert nearness.bounds("exact") == {}
    assert nearness.bounds("fast") == {"fast": nearness.MIN_COSINE}
