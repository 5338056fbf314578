"""A variant has one name, which says all about it."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extractor.backbones.variant import POOLINGS, Variant, split_name
from extractor.errors import InvalidArgument, PenultimateError

LAYER_NAMES = st.from_regex(r"[a-z0-9_]{1,8}(\.[A-Z0-9_]{1,4}){0,2}", fullmatch=True) | st.sampled_from(
    ["flip", "fast", "plain", "exact", "320px", "avg", "layer3", "layer3.0.conv1"]
)
LAYERS = st.builds(":".join, st.tuples(LAYER_NAMES, st.sampled_from(POOLINGS))) | LAYER_NAMES


@st.composite
def variants(draw: st.DrawFn) -> Variant:
    layers = draw(st.lists(LAYERS, max_size=4, unique_by=lambda text: text.removesuffix(":avg")))
    return Variant(
        tuple(layers),
        draw(st.none() | st.integers(32, 4096)),
        draw(st.sampled_from(["plain", "flip", "flips"])),
        draw(st.sampled_from(["exact", "fast"])),
    )


@given(variants())
def test_the_name_says_all(variant: Variant) -> None:
    """It is read back as the same variant, so that no two have one name; and a folder can bear it."""
    assert split_name("resnet50" + variant.suffix) == ("resnet50", variant)
    assert len(variant.suffix) <= 120
    assert re.fullmatch(r"[A-Za-z0-9_.@+-]*", variant.suffix)


@given(variants(), variants())
def test_different_variants_have_different_names(one: Variant, other: Variant) -> None:
    """The suffix is equal only where the variants are."""
    assert (one.suffix == other.suffix) == (one == other)


@given(st.text() | st.text("@+-_.px0123flipastegmcv", max_size=30))
def test_any_other_name_is_refused_or_is_the_variant_it_says(text: str) -> None:
    """What is accepted as a name is a variant's only name."""
    try:
        _, variant = split_name(f"resnet50@{text}")
    except PenultimateError:
        return
    assert variant.suffix == f"@{text}"


@pytest.mark.parametrize(
    ("variant", "suffix", "layer", "options"),
    [
        (Variant(), "", "global_pool", ""),
        (Variant(("layer3",)), "@layer3-avg", "layer3:avg", " --layer layer3:avg"),
        (
            Variant(("layer3", "layer4:max")),
            "@layer3-avg+layer4-max",
            "layer3:avg+layer4:max",
            " --layer layer3:avg --layer layer4:max",
        ),
        (
            Variant(size=320, views="flip", profile="fast"),
            "@320px@flip@fast",
            "global_pool",
            " --size 320 --views flip --profile fast",
        ),
    ],
)
def test_names_as_people_see_them(variant: Variant, suffix: str, layer: str, options: str) -> None:
    """The folder's suffix, the manifest's layer, and the options that make it."""
    assert (variant.suffix, variant.layer, variant.options) == (suffix, layer, options)


def test_a_layer_without_a_pooling_is_its_average() -> None:
    """Two ways to say it, one variant."""
    assert Variant(("layer3",)) == Variant(("layer3:avg",))


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"layers": ("layer3:median",)}, "'median' is no pooling of the layer layer3: there are avg, max"),
        ({"layers": ("layer3:",)}, "'' is no pooling"),
        ({"layers": ("../x",)}, "cannot be the name of a layer"),
        ({"layers": ("",)}, "cannot be the name of a layer"),
        ({"layers": ("layer3", "layer3:avg")}, "layer3:avg is named twice"),
        ({"layers": tuple(f"stages.{i}.blocks.0" for i in range(7))}, "too long for the name of a folder"),
        ({"size": 31}, "an input of 31 pixels cannot be: choose 32 to 4,096"),
        ({"size": 4097}, "an input of 4097 pixels"),
        ({"views": "ten"}, "'ten' cannot be chosen for views: there are plain, flip, flips"),
        ({"profile": "quick"}, "'quick' cannot be chosen for profile: there are exact, fast"),
    ],
)
def test_what_cannot_be_is_refused_with_what_can(facts: dict[str, object], reason: str) -> None:
    """One sentence that names the value."""
    with pytest.raises(InvalidArgument, match=reason):
        Variant(**facts)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "right"),
    [
        ("resnet50@flip@320px", "write '@320px@flip'"),
        ("resnet50@exact", "write ''"),
        ("resnet50@0320px", "cannot be the name of a layer|is not how"),
        ("resnet50@layer3", "write '@layer3-avg'"),
        ("resnet50@", "cannot be the name of a layer"),
    ],
)
def test_another_spelling_is_corrected(name: str, right: str) -> None:
    """There is one name for one variant; the sentence has it."""
    with pytest.raises(InvalidArgument, match=right):
        split_name(name)
