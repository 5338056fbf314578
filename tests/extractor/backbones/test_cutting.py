"""A cut network gives what its layers give, pooled; the exported one gives the same."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from extractor import images
from extractor.backbones import catalogue
from extractor.backbones.bundle import Bundle
from extractor.backbones.export import export
from extractor.backbones.export.cutting import changed, cut
from extractor.backbones.export.networks import import_torchvision, original, penultimate, transform
from extractor.backbones.variant import Cut, Variant
from extractor.errors import InvalidArgument, NotFound
from extractor.results import Vector
from extractor.settings import DEFAULT_BACKBONE, DataFolder

ROW = catalogue.find(DEFAULT_BACKBONE)
PICTURES = ("astronaut", "chelsea", "coffee", "rocket", "text")
STAGES = (2, 3, 4)
CUT = Variant(tuple(f"blocks.{stage}:{pooling}" for stage in STAGES for pooling in ("avg", "max")))
LARGE = Variant(size=320, views="flip")


def picture(name: str) -> Image.Image:
    from skimage import data

    return Image.fromarray(getattr(data, name)()).convert("RGB")


def cosine(a: Vector, b: Vector) -> float:
    return float(a.astype(np.float64) @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


@pytest.fixture(scope="module")
def lite() -> Any:
    weights = ROW.weights.find()
    assert weights is not None
    return original(ROW, weights)


@pytest.fixture(scope="module")
def resnet() -> Any:
    return library_network("resnet18")


def library_network(name: str) -> Any:
    """A network of torchvision or timm with seeded weights."""
    import_torchvision()
    import timm
    import torch
    import torchvision

    torch.manual_seed(0)
    timm_name = name.removeprefix("timm/")
    if timm_name != name:
        return timm.create_model(timm_name).eval().requires_grad_(False)
    return torchvision.models.get_model(name, weights=None).eval().requires_grad_(False)


def pictures_of(size: int, count: int = 2) -> Any:
    import torch

    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(3))


def at(network: Any, *cuts: str, size: int) -> Any:
    return cut(network, map(Cut.parse, cuts), (size, size))(pictures_of(size))


def test_maps_are_pooled_over_their_places(resnet: Any) -> None:
    """avg, max and gem of torchvision's own intermediate maps, one after the other as named."""
    import torch
    from torchvision.models.feature_extraction import create_feature_extractor

    found = at(resnet, "layer3:max", "layer2", "layer2:gem", size=96)
    maps = create_feature_extractor(resnet, ["layer2", "layer3"])(pictures_of(96))
    two, three = maps["layer2"], maps["layer3"]
    gem = (two.double().clamp(min=1e-6) ** 3).mean((2, 3)) ** (1 / 3)
    expected = torch.cat([three.amax((2, 3)), two.mean((2, 3)), gem.float()], dim=1)
    torch.testing.assert_close(found, expected)


def test_a_layer_gives_its_own_output_and_not_what_the_next_made_of_it(resnet: Any) -> None:
    """torchvision's ReLU writes over its input; the normalisation before it has negative values."""
    import torch

    found = at(resnet, "bn1", size=64)
    expected = resnet.bn1(resnet.conv1(pictures_of(64))).mean((2, 3))
    assert (expected < 0).any()
    torch.testing.assert_close(found, expected)


def test_maps_with_channels_last_are_pooled_over_their_places() -> None:
    """Swin's blocks give [n, height, width, channels]."""
    import torch
    from torchvision.models.feature_extraction import create_feature_extractor

    swin = library_network("swin_t")
    found = at(swin, "features.3", "features.3:max", size=64)
    blocks = create_feature_extractor(swin, ["features.3"])(pictures_of(64))["features.3"]
    torch.testing.assert_close(found, torch.cat([blocks.mean((1, 2)), blocks.amax((1, 2))], dim=1))


def test_tokens_of_the_picture_are_pooled_without_those_before_them() -> None:
    """cls is the first token; class token and registers take no part in the other poolings."""
    import torch

    network = library_network("timm/vit_tiny_patch16_224")
    found = at(network, "blocks.5:cls", "blocks.5", "blocks.5:max", size=224)
    patches, prefix = network.forward_intermediates(
        pictures_of(224), indices=[5], return_prefix_tokens=True, intermediates_only=True, output_fmt="NLC"
    )[0]
    expected = torch.cat([prefix[:, 0], patches.mean(1), patches.amax(1)], dim=1)
    torch.testing.assert_close(found, expected)


def test_a_vector_is_taken_as_it_is(resnet: Any) -> None:
    """The logits of a network are a layer, too."""
    import torch

    torch.testing.assert_close(at(resnet, "fc", size=64), resnet(pictures_of(64)))


def test_gem_stays_finite_where_its_powers_would_not(resnet: Any) -> None:
    """Values of 1,000 have a third power that float16 does not hold."""
    import torch

    from extractor.backbones.export.cutting import gem

    large = torch.full((1, 2, 4, 4), 1000.0, dtype=torch.float16)
    torch.testing.assert_close(gem(large, (2, 3)), torch.full((1, 2), 1000.0, dtype=torch.float16))


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        ("layer9", "no layer 'layer9' to be cut at; there are layer4, layer3"),
        ("layer1.0.relu", "no layer 'layer1.0.relu'"),
        ("fc:max", "the layer fc gives one vector: there is nothing for max to pool"),
        ("layer3:cls", r"the layer layer3 has no class token \(cls\): choose avg, max or gem"),
    ],
)
def test_a_cut_that_cannot_be_is_refused(resnet: Any, layer: str, reason: str) -> None:
    """In one sentence that says what can be."""
    with pytest.raises(InvalidArgument, match=reason):
        at(resnet, layer, size=64)


def test_a_layer_whose_axes_are_not_known_is_refused() -> None:
    """It would be pooled over the channels."""
    mixer = library_network("timm/mixer_s16_224")
    with pytest.raises(InvalidArgument, match=r"\[512, 196\] does not say which axis is the channels'"):
        at(mixer, "blocks.1.mlp_tokens", size=224)


def test_both_views_give_the_mean_and_mirroring_changes_nothing(resnet: Any) -> None:
    """A picture and its mirror image have one embedding."""
    import torch

    plain = penultimate(resnet)
    both = changed(plain, resnet, Variant(views="flip"), (64, 64))
    pictures = pictures_of(64, count=3)
    found = both(pictures)
    torch.testing.assert_close(found, (plain(pictures) + plain(pictures.flip(3))) / 2)
    torch.testing.assert_close(both(pictures.flip(3)), found)


def test_four_views_give_the_mean_and_turning_upside_down_changes_nothing(resnet: Any) -> None:
    import torch

    plain = penultimate(resnet)
    all_views = changed(plain, resnet, Variant(views="flips"), (64, 64))
    pictures = pictures_of(64, count=3)
    views = [pictures, pictures.flip(2), pictures.flip(3), pictures.flip(2, 3)]
    expected = sum(plain(view) for view in views) / 4
    for view in views:
        torch.testing.assert_close(all_views(view), expected)


def stages(network: Any, pixels: Any) -> Vector:
    """Avg and max of three stages, by running the network's parts one after the other."""
    import torch

    vectors, features = [], network.bn1(network.conv_stem(pixels))
    for number, stage in enumerate(network.blocks):
        features = stage(features)
        if number in STAGES:
            vectors += [features.mean((2, 3)), features.amax((2, 3))]
    return torch.cat(vectors, dim=1)[0].numpy()


def both_views(network: Any, pixels: Any) -> Vector:
    """The network's own embeddings of the picture and of its mirror image."""
    views = [
        network.forward_head(network.forward_features(view), pre_logits=True)
        for view in (pixels, pixels.flip(3))
    ]
    return ((views[0] + views[1]) / 2)[0].numpy()


@pytest.fixture(scope="module")
def variants(tmp_path_factory: pytest.TempPathFactory) -> dict[Variant, Bundle]:
    """Exported once, with the real weights."""
    data = DataFolder(tmp_path_factory.mktemp("data"))
    return {variant: export(DEFAULT_BACKBONE, data, variant)[0] for variant in (CUT, LARGE)}


@pytest.mark.parametrize("name", PICTURES)
@pytest.mark.parametrize(
    ("variant", "size", "judge"), [(CUT, 224, stages), (LARGE, 320, both_views)], ids=["cut", "large"]
)
def test_the_exported_variant_gives_the_vectors_of_the_original(
    variants: dict[Variant, Bundle], lite: Any, variant: Variant, size: int, judge: Any, name: str
) -> None:
    """Cosine at least 0.9999 to PyTorch behind timm's own transform, which is made for the size."""
    import onnxruntime

    image = picture(name)
    prepare = transform(ROW.at(size))
    for step in prepare.transforms[:2]:
        image = step(image)
    assert image.size == (size, size)
    expected = judge(lite, prepare(picture(name))[None])
    session = onnxruntime.InferenceSession(str(variants[variant].model), providers=["CPUExecutionProvider"])
    vector = session.run(None, {"images": np.asarray(image)[None]})[0][0]
    assert vector.shape == (variants[variant].manifest.dim,) == expected.shape
    assert cosine(vector, expected) >= 0.9999
    np.testing.assert_allclose(vector, expected, atol=5e-3)


@pytest.mark.parametrize("variant", [CUT, LARGE], ids=["cut", "large"])
def test_a_variant_passes_its_self_test_with_our_own_decoding(
    variants: dict[Variant, Bundle], variant: Variant
) -> None:
    """Any number of pictures at once, decoded by the manifest's rule."""
    import onnxruntime

    bundle = variants[variant]
    session = onnxruntime.InferenceSession(str(bundle.model), providers=["CPUExecutionProvider"])
    pixels = np.stack([images.decode(one.image, bundle.manifest.preprocessing) for one in bundle.golden()])
    found = session.run(None, {"images": pixels})[0]
    assert min(one.cosine(row) for one, row in zip(bundle.golden(), found, strict=True)) >= 0.9999


def test_the_manifest_of_a_variant_says_what_it_is(variants: dict[Variant, Bundle], bundle: Bundle) -> None:
    """Its name, cut and size; the resize keeps the part that the crop shows; every fingerprint is another."""
    one, large = (variants[variant].manifest for variant in (CUT, LARGE))
    assert one.backbone == (
        "efficientnet_lite0@blocks.2-avg+blocks.2-max+blocks.3-avg+blocks.3-max+blocks.4-avg+blocks.4-max"
    )
    assert one.layer == "blocks.2:avg+blocks.2:max+blocks.3:avg+blocks.3:max+blocks.4:avg+blocks.4:max"
    assert one.dim == 2 * (40 + 80 + 112)
    assert (large.backbone, large.layer, large.dim) == ("efficientnet_lite0@320px@flip", "global_pool", 1280)
    spec = large.preprocessing
    assert (spec.height, spec.width, spec.resize_shorter) == (320, 320, 365)
    assert len({one.fingerprint, large.fingerprint, bundle.fingerprint}) == 3


def test_only_the_usual_cut_has_the_classifier(variants: dict[Variant, Bundle], bundle: Bundle) -> None:
    """Of a larger input's embedding it still gives logits; of other layers it does not."""
    np.testing.assert_array_equal(variants[LARGE].classifier().weights, bundle.classifier().weights)
    with pytest.raises(NotFound, match="is cut at blocks"):
        variants[CUT].classifier()


def test_a_graph_holds_only_what_its_layers_need_and_each_weight_once(
    variants: dict[Variant, Bundle], bundle: Bundle
) -> None:
    """What comes after the last layer is left out; the mirrored view has the weights of the other."""
    sizes = {variant: one.model.stat().st_size for variant, one in variants.items()}
    whole = bundle.model.stat().st_size
    assert sizes[CUT] < whole / 3
    assert sizes[LARGE] < whole + 4096


def test_a_variant_that_is_there_is_left_alone(variants: dict[Variant, Bundle]) -> None:
    """It is found by its name; the plain backbone beside it is another bundle."""
    data = DataFolder(variants[CUT].path.parent.parent)
    assert export(DEFAULT_BACKBONE, data, CUT) == (variants[CUT], False)
    assert Bundle.of(data, DEFAULT_BACKBONE + CUT.suffix) == variants[CUT]
    with pytest.raises(NotFound, match="penultimate export efficientnet_lite0 --data"):
        Bundle.of(data, DEFAULT_BACKBONE)


def test_a_variant_may_be_asked_for_by_its_name(variants: dict[Variant, Bundle]) -> None:
    """The name that every other command takes; saying it twice is refused."""
    data = DataFolder(variants[CUT].path.parent.parent)
    assert export(DEFAULT_BACKBONE + CUT.suffix, data) == (variants[CUT], False)
    with pytest.raises(InvalidArgument, match="says already what is changed: leave out --size 320"):
        export(DEFAULT_BACKBONE + CUT.suffix, data, LARGE)


def test_a_size_that_the_network_has_anyway_makes_no_variant(tmp_path: Path) -> None:
    """Two names for one network would be two bundles of one fingerprint."""
    with pytest.raises(InvalidArgument, match="takes pictures of 224 px anyway: leave the size out"):
        export(DEFAULT_BACKBONE, DataFolder(tmp_path), Variant(size=224))


def test_a_layer_that_is_not_there_leaves_nothing_behind(tmp_path: Path) -> None:
    """The export ends with the reason, and makes no bundle."""
    data = DataFolder(tmp_path)
    with pytest.raises(InvalidArgument, match=r"no layer 'blocks\.9'"):
        export(DEFAULT_BACKBONE, data, Variant(("blocks.9",)))
    assert not [entry for entry in data.backbones.iterdir() if entry.is_dir()]


NETWORKS = [
    ("timm/vit_tiny_patch16_224", ("blocks.5:cls", "blocks.11:gem"), 160, "flip"),
    ("swin_t", ("features.5", "features.3:gem"), 96, "flip"),
    ("timm/swin_tiny_patch4_window7_224", ("layers.2:max", "layers.1"), 224, "plain"),
    ("convnext_tiny", ("features.3.0.block.2:max", "features.7"), 96, "plain"),
    ("densenet121", ("features.denseblock3", "features.norm5:gem"), 64, "flip"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "layers", "size", "views"), NETWORKS, ids=[row[0] for row in NETWORKS])
def test_networks_of_every_layout_are_exported_as_they_are_cut(
    tmp_path: Path, name: str, layers: tuple[str, ...], size: int, views: Any
) -> None:
    """Channels first and last, tokens; ONNX Runtime gives PyTorch's vectors for any number of pictures."""
    import onnxruntime

    from extractor.backbones.export.graph import write_graph
    from extractor.backbones.export.layers import fit_size
    from extractor.preprocessing import Preprocessing

    network = library_network(name)
    fit_size(network, size, size)
    embedding = changed(penultimate(network), network, Variant(layers, size, views), (size, size))
    spec = Preprocessing(size, size, size, "bicubic", (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    with warnings.catch_warnings(action="ignore"):
        write_graph(embedding, spec, tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"), providers=["CPUExecutionProvider"])
    pixels = np.random.default_rng(5).integers(0, 256, (3, size, size, 3), dtype=np.uint8)
    found = session.run(None, {"images": pixels})[0]
    import torch

    given = (torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255 - 0.5) / 0.25
    expected = embedding(given).numpy()
    assert min(map(cosine, found, expected)) >= 0.9999
