"""What a layer gives is known, not guessed: which axis holds the channels, which tokens are the patches."""

from __future__ import annotations

import functools
from typing import Any

import pytest

from extractor.backbones.export.layers import Output, find_layer, fit_size, layers_of, outputs
from extractor.backbones.export.networks import import_torchvision
from extractor.errors import InvalidArgument


@functools.cache
def listed(backbone: str) -> dict[str, Output]:
    return {output.layer: output for output in layers_of(backbone)}


def facts(output: Output) -> tuple[object, ...]:
    return output.shape, output.kind, output.prefix, output.class_token


@pytest.mark.parametrize(
    ("backbone", "layer", "expected"),
    [
        ("efficientnet_lite0", "blocks.4", ((112, 14, 14), "map", 0, False)),
        ("efficientnet_lite0", "global_pool", ((1280,), "vector", 0, False)),
        ("vgg16", "avgpool", ((512, 7, 7), "map", 0, False)),
        ("vgg16", "classifier.3", ((4096,), "vector", 0, False)),
        ("inception_v3", "Mixed_7c", ((2048, 8, 8), "map", 0, False)),
        ("convnext_tiny", "features.3", ((192, 28, 28), "map", 0, False)),
        ("convnext_tiny", "features.3.0.block.2", ((28, 28, 192), "map, channels last", 0, False)),
        ("swin_t", "features.5", ((14, 14, 384), "map, channels last", 0, False)),
        ("swin_t", "permute", ((768, 7, 7), "map", 0, False)),
        ("vit_b_16", "conv_proj", ((768, 14, 14), "map", 0, False)),
        ("vit_b_16", "encoder.layers.encoder_layer_5", ((197, 768), "tokens", 1, True)),
        ("timm/swin_tiny_patch4_window7_224", "layers.2", ((14, 14, 384), "map, channels last", 0, False)),
        ("timm/vit_small_patch14_reg4_dinov2", "blocks.5", ((1374, 384), "tokens", 5, True)),
        ("timm/vit_small_patch14_reg4_dinov2", "patch_embed", ((1369, 384), "tokens", 0, False)),
        ("timm/mixer_s16_224", "blocks.3", ((196, 512), "tokens", 0, False)),
        ("timm/pvt_v2_b0", "stages.1.blocks.0", ((784, 64), "tokens", 0, False)),
    ],
)
def test_the_axes_of_a_layer_are_known(backbone: str, layer: str, expected: tuple[object, ...]) -> None:
    """Maps with channels first or last, rows of tokens with class token and registers, vectors."""
    assert facts(listed(backbone)[layer]) == expected


@pytest.mark.parametrize(
    ("backbone", "layer"),
    [
        ("resnet50", "layer1.0.relu"),  # runs three times
        ("timm/swin_tiny_patch4_window7_224", "layers.0.blocks.0.attn.qkv"),  # of windows, not pictures
        ("timm/mixer_s16_224", "blocks.3.mlp_tokens"),  # tokens are its last axis
        ("timm/swin_tiny_patch4_window7_224", "layers.2.blocks.0.mlp"),  # how many tokens is said nowhere
        ("timm/cait_xxs24_224", "blocks.3.attn.proj_l"),  # from each token to each
    ],
)
def test_what_is_not_known_is_not_listed(backbone: str, layer: str) -> None:
    """A layer that runs several times, or whose axes cannot be told apart."""
    assert layer not in listed(backbone)


def test_layers_are_listed_in_the_order_of_the_run_with_shapes_for_the_size() -> None:
    """First the first convolution, last the classifier; maps are smaller for a smaller picture."""
    own, small = layers_of("efficientnet_lite0"), layers_of("efficientnet_lite0", 96)
    assert [output.layer for output in own] == [output.layer for output in small]
    assert (own[0].layer, own[-1].layer) == ("conv_stem", "classifier")
    assert (own[0].shape, small[0].shape) == ((32, 112, 112), (32, 48, 48))


def test_as_many_channels_as_places_are_no_trouble_where_the_picture_may_be_wider() -> None:
    """At 64 pixels the first map is 32 x 32 x 32: its width alone grows with the picture's."""
    known = {output.layer: output for output in layers_of("efficientnet_lite0", 64)}
    assert facts(known["conv_stem"]) == ((32, 32, 32), "map", 0, False)


@pytest.mark.parametrize(
    ("backbone", "size", "reason"),
    [
        ("vit_b_16", 320, "takes pictures of 224 px and no other size"),
        ("inception_v3", 224, "takes pictures of 299 px and no other size"),
        ("timm/mixer_s16_224", 256, "does not take pictures of 256 x 256 pixels: "),
    ],
)
def test_a_size_that_the_network_does_not_take_is_refused(backbone: str, size: int, reason: str) -> None:
    """In one sentence."""
    with pytest.raises(InvalidArgument, match=reason):
        layers_of(backbone, size)


def timm_network(name: str) -> Any:
    import_torchvision()
    import timm
    import torch

    torch.manual_seed(0)
    return timm.create_model(name).eval().requires_grad_(False)


def test_a_transformer_interpolates_its_positions_as_its_library_does() -> None:
    """As timm builds the network for that size from the same weights."""
    import timm
    import torch
    from timm.models.vision_transformer import checkpoint_filter_fn

    network = timm_network("vit_tiny_patch16_224")
    asked = timm.create_model("vit_tiny_patch16_224", img_size=160).eval().requires_grad_(False)
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    asked.load_state_dict(checkpoint_filter_fn(state, asked))
    fit_size(network, 160, 160)
    assert facts(outputs(network, 160, 160)["blocks.3"]) == ((101, 192), "tokens", 1, True)
    pictures = torch.rand(1, 3, 160, 160, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(network(pictures), asked(pictures))


def test_the_maps_of_a_picture_that_is_not_square_have_its_proportions() -> None:
    """Channels first, channels last, and the tokens of a transformer of one size."""
    network = timm_network("test_convnext")
    known = outputs(network, 96, 128)
    assert facts(known["stages.0"]) == ((24, 24, 32), "map", 0, False)
    assert facts(known["stages.0.blocks.0.norm"])[:2] == ((24, 32, 24), "map, channels last")
    tokens = {output.layer: output for output in layers_of("timm/vit_base_patch16_sapiens2", 96)}["blocks.3"]
    assert (tokens.kind, tokens.shape) == ("tokens", (8 * 6 + tokens.prefix, 768))


def test_a_layer_that_is_not_there_is_answered_with_those_like_it() -> None:
    """A slip of the finger costs no search."""
    known = {name: Output(name, "Block", (4,), "vector") for name in ("stages.1", "stages.2", "head")}
    with pytest.raises(InvalidArgument, match=r"no layer 'stage.2' to be cut at; there are stages\.2"):
        find_layer(known, "stage.2")
