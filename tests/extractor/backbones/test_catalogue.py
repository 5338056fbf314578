"""The catalogue's facts, and that reading them costs nothing."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from extractor.backbones import catalogue
from extractor.backbones.catalogue import BACKBONES, TIMM, Backbone
from extractor.backbones.export import export, networks, timm_models
from extractor.backbones.export.weights import weights_of
from extractor.backbones.origins import HuggingFaceFile, PackageFile, TorchHubFile
from extractor.errors import InvalidArgument, NotFound
from extractor.settings import DEFAULT_BACKBONE, DataFolder, checked_name

SAMPLE = catalogue.find("timm/vit_small_patch14_dinov2")


@pytest.mark.parametrize(
    ("name", "side", "resize"),
    [
        ("efficientnet_lite0", 224, 256),
        ("efficientnet_lite1", 240, 272),
        ("efficientnet_lite2", 260, 292),
    ],
)
def test_preprocessing_is_the_one_of_the_published_accuracy(name: str, side: int, resize: int) -> None:
    """Input size and resize follow the crop fraction; inputs are (x - 127) / 128."""
    spec = catalogue.find(name).preprocessing
    assert (spec.height, spec.width, spec.resize_shorter, spec.interpolation) == (
        side,
        side,
        resize,
        "bicubic",
    )
    assert [255 * mean for mean in spec.mean] == pytest.approx([127] * 3)
    assert [255 * std for std in spec.std] == pytest.approx([128] * 3)


def test_weights_from_tensorflow_get_tensorflow_padding() -> None:
    """The plain architectures load these weights too, and lose 7 points of accuracy."""
    lite = [backbone for backbone in BACKBONES if backbone.source == "efficientnet-lite"]
    assert [backbone.architecture for backbone in lite] == [f"tf_efficientnet_lite{n}" for n in range(3)]


def test_names_are_unique_safe_and_hold_the_default() -> None:
    """Every name can be a folder's name."""
    names = [backbone.name for backbone in BACKBONES]
    assert len(set(names)) == len(names)
    assert DEFAULT_BACKBONE in names
    folders = [backbone.folder for backbone in BACKBONES]
    assert [checked_name("backbone", folder) for folder in folders] == folders
    assert len({folder.casefold() for folder in folders}) == len(folders)


def test_an_unknown_name_lists_the_known() -> None:
    """A typing error is answered with what there is."""
    with pytest.raises(NotFound, match=r"'resnet'; there are efficientnet_lite0, efficientnet_lite1"):
        catalogue.find("resnet")


def test_weights_are_found_without_importing_their_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is found in an installed package, whose code is not run; else the answer is None."""
    package = tmp_path / "some_weights_of_a_test"
    package.mkdir()
    (package / "__init__.py").write_text("raise SystemExit('imported')")
    weights = PackageFile("some-weights", "1", f"{package.name}/models/w.pth", "", 0, "CC0-1.0")
    assert weights.find() is None
    monkeypatch.syspath_prepend(str(tmp_path))
    assert weights.find() is None
    (package / "models").mkdir()
    (package / "models" / "w.pth").write_bytes(b"w")
    assert weights.find() == package / "models" / "w.pth"


def test_torch_is_imported_by_nothing_but_an_export() -> None:
    """The commands, the catalogue and even the export's module come without torch."""
    code = (
        "import sys, extractor.cli, extractor.cli.backbones, extractor.cli.export, "
        "extractor.backbones.catalogue, extractor.backbones.export\n"
        "extractor.cli.backbones.command.main(['--data', 'nowhere'], standalone_mode=False)\n"
        "print(sorted({'torch', 'torchvision', 'timm', 'onnx'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def of_source(source: str) -> list[Any]:
    return [pytest.param(row, id=row.name) for row in BACKBONES if row.source == source]


def size_of(network: Any) -> int:
    return sum(tensor.numel() for tensor in network.parameters())


@pytest.mark.parametrize("row", of_source("torchvision"))
def test_what_is_copied_from_torchvision_is_what_it_says(row: Backbone) -> None:
    """Its best weights, their transform and size; the width of what their last layer is given."""
    networks.import_torchvision()
    import torch
    from torchvision.models import get_model, get_model_weights

    published = get_model_weights(row.architecture).DEFAULT
    rule = published.transforms()
    assert [row.input_px] == rule.crop_size
    assert [row.resize_shorter] == rule.resize_size
    assert row.interpolation == rule.interpolation.value
    assert (row.mean, row.std) == (tuple(rule.mean), tuple(rule.std))
    assert row.parameters == published.meta["num_params"]
    assert row.min_px == max(published.meta["min_size"])
    assert isinstance(row.weights, TorchHubFile)
    assert (row.weights.name, row.weights.url) == (str(published), published.url)
    assert round(row.weights.size / 2**20, 3) == published.meta["_file_size"]
    with torch.device("meta"):
        network = get_model(row.architecture, **row.options)
    last = networks.classifier(network)
    assert last is not None
    assert (last.in_features, size_of(network)) == (row.dim, row.parameters)


@pytest.mark.parametrize("row", of_source("timm"))
def test_what_is_copied_from_timm_is_what_it_says(row: Backbone) -> None:
    """A listed model is described as it would be if it were not listed."""
    found = timm_models.described(row.architecture.partition(".")[0])
    assert replace(found, weights=row.weights) == row
    assert isinstance(found.weights, HuggingFaceFile)
    assert found.weights.licence.casefold() == row.weights.licence.casefold()
    assert replace(found.weights, licence=row.weights.licence) == row.weights


@pytest.mark.parametrize("row", of_source("efficientnet-lite"))
def test_what_is_copied_for_the_bundled_weights_is_what_timm_says(row: Backbone) -> None:
    """All but mean and deviation: timm's own weights were trained on other inputs."""
    described = timm_models.described(row.architecture)
    own = {key: getattr(row, key) for key in ("name", "source", "architecture", "weights", "mean", "std")}
    assert replace(described, **own) == row


@pytest.mark.parametrize("row", BACKBONES, ids=lambda row: row.name)
def test_the_transform_of_another_size_keeps_the_part_of_the_picture(row: Backbone) -> None:
    """Resize and crop of the library's own steps are the catalogue's, at the usual size and a larger one."""
    larger = row if not row.resizable else row.at(row.input_px + 14 * 9)
    for asked in {row.input_px: row, larger.input_px: larger}.values():
        rule = networks.transform(asked)
        if hasattr(rule, "transforms"):
            resize, crop = (step.size for step in rule.transforms[:2])
        else:
            (resize,), crop = rule.resize_size, rule.crop_size
        assert (resize, next(iter(crop))) == (asked.resize_shorter, asked.input_px)


def test_inception_is_never_given_another_size_by_mistake() -> None:
    """299 px is what it is for; it would run on 224 and say nothing."""
    row = catalogue.find("inception_v3")
    assert (row.preprocessing.height, row.preprocessing.width) == (299, 299)
    with pytest.raises(InvalidArgument, match="inception_v3 takes pictures of 299 px and no other size"):
        row.at(224)
    assert row.at(299) is row


def test_a_size_below_what_the_network_takes_is_refused() -> None:
    """The library says which; one that is allowed keeps the same part of the picture."""
    row = catalogue.find("densenet121")
    assert row.at(448).resize_shorter == 512
    with pytest.raises(InvalidArgument, match="densenet121 needs pictures of at least 29 px, not 28"):
        row.at(28)


def test_any_model_of_timm_can_be_found_by_name_or_folder() -> None:
    """With the tag of its weights or without; its facts are timm's."""
    row = timm_models.find("timm/resnet10t")
    assert (row.folder, row.architecture) == ("timm--resnet10t", "resnet10t.c3_in1k")
    assert (row.input_px, row.resize_shorter, row.dim) == (176, 201, 512)
    assert row.weights.source == "timm/resnet10t.c3_in1k on the Hugging Face hub: model.safetensors"
    assert timm_models.find("timm--resnet10t") == row
    tagged = timm_models.find("timm/resnet10t.c3_in1k")
    assert replace(tagged, name=row.name) == row
    assert timm_models.find("vgg16") is catalogue.find("vgg16")


@pytest.mark.parametrize(
    ("name", "tag", "file", "begins"),
    [
        ("gcvit_xxtiny", "in1k", "gcvit_xxtiny_224_nvidia-d1d86009.pth", "d1d86009"),
        ("legacy_xception", "tf_in1k", "xception-43020ad28.pth", "43020ad28"),
        (
            "vit_giant_patch16_gap_224",
            "in22k_ijepa",
            "IN22K-vit.g.16-600e.pth.tar",
            "",
        ),
    ],
)
def test_weights_that_timm_publishes_by_an_address_have_that_address(
    name: str, tag: str, file: str, begins: str
) -> None:
    """Where there is no repository; a number of epochs in the file's name is not taken for a SHA-256."""
    row = timm_models.find(TIMM + name)
    assert row.architecture == f"{name}.{tag}"
    assert isinstance(row.weights, TorchHubFile)
    assert row.weights.url.startswith("https://")
    assert row.weights.source == f"{name}.{tag} of timm: {row.weights.url}"
    assert (row.weights.kept.name, row.weights.sha256_begins) == (file, begins)


def test_a_model_without_published_weights_takes_one_s_own(tmp_path: Path) -> None:
    """It has no tag, so its name alone says what it is; without a file, one sentence says what to do."""
    networks.import_torchvision()
    import timm
    import torch

    row = timm_models.find("timm/test_mambaout")
    assert (row.architecture, timm_models.find("timm/nfnet_f0").architecture) == ("test_mambaout", "nfnet_f0")
    with pytest.raises(InvalidArgument) as refused:
        weights_of(row)
    assert str(refused.value) == (
        "timm publishes no weights of timm/test_mambaout: give a file with --weights FILE"
    )
    torch.save(timm.create_model("test_mambaout").state_dict(), tmp_path / "w.pth")
    bundle, made = export("timm/test_mambaout", DataFolder(tmp_path), weights=tmp_path / "w.pth")
    assert made
    assert bundle.manifest.dim == row.dim


@pytest.mark.parametrize(
    ("name", "error", "sentence"),
    [
        ("timm/resnet10", NotFound, r"has no model 'resnet10'; it has .*resnet10t"),
        ("timm/resnet10t.nowhere", NotFound, "has no weights 'nowhere' for resnet10t"),
        ("timm/hf-hub:some/model", NotFound, "has no model 'hf-hub:some/model'"),
        ("timm/", NotFound, "has no model ''"),
    ],
)
def test_what_timm_does_not_have_is_said(name: str, error: type[Exception], sentence: str) -> None:
    """Nothing is looked for on a network."""
    with pytest.raises(error, match=sentence):
        timm_models.find(name)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"crop_mode": "corners"}, "it crops by corners"),
        ({"interpolation": "random"}, "it resizes by random"),
        ({"input_size": (1, 96, 96)}, "it takes 1 channels"),
    ],
)
def test_no_rule_is_claimed_that_is_not_ours(
    change: dict[str, Any], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a later timm may publish is refused with what it is."""
    networks.import_torchvision()
    import timm.models

    published = replace(timm.models.get_pretrained_cfg("resnet10t"), **change)  # type: ignore[type-var]
    monkeypatch.setattr(timm.models, "get_pretrained_cfg", lambda _name: published)
    with pytest.raises(InvalidArgument, match=f"timm/resnet10t cannot be used: {sentence}$"):
        timm_models.find("timm/resnet10t")


def test_pictures_are_prepared_for_every_model_of_timm_as_timm_says() -> None:
    """Of all its names, with tags and without: the sizes in its own steps are those of our rule."""
    networks.import_torchvision()
    import timm
    from timm.data import create_transform, resolve_data_config
    from timm.models import get_pretrained_cfg

    names = {*timm.list_models(), *timm.list_models(pretrained=True)}
    cfgs: list[Any] = [get_pretrained_cfg(name) for name in names]
    rules = {(cfg.input_size, cfg.crop_pct, cfg.crop_mode, cfg.interpolation): cfg for cfg in cfgs}
    modes = {cfg.crop_mode for cfg in rules.values()}
    assert modes == {"center", "squash", "border"}
    for cfg in rules.values():
        found = replace(SAMPLE, **timm_models.preparation(cfg))
        resize, crop = create_transform(**resolve_data_config({}, pretrained_cfg=cfg.to_dict())).transforms[
            :2
        ]
        box = resize.size if isinstance(resize.size, tuple) else (resize.size, resize.size)
        assert (found.preprocessing.box, found.shape) == (box, tuple(crop.size))
        assert (type(resize).__name__ == "ResizeKeepRatio") == (cfg.crop_mode == "border")
        assert str(resize.interpolation).endswith(found.interpolation.upper()) or (
            resize.interpolation.value == found.interpolation
        )


@pytest.mark.parametrize(
    ("name", "shape", "resize", "smaller"),
    [
        ("timm/vit_base_patch16_sapiens2", (1024, 768), "squash", (512, 384)),
        ("timm/deepseek_vit_412m", (546, 546), "pad", (384, 384)),
    ],
)
def test_models_that_pad_or_take_no_squares_are_described(
    name: str, shape: tuple[int, int], resize: str, smaller: tuple[int, int]
) -> None:
    """A size is that of the shorter side; the input keeps its proportions, and the library prepares it so."""
    row = timm_models.find(name)
    assert (row.shape, row.resize) == (shape, resize)
    assert row.at(min(shape)) is row
    asked = row.at(384)
    assert asked.shape == asked.preprocessing.box == smaller
    assert tuple(networks.transform(asked).transforms[0].size) == smaller
    assert tuple(networks.transform(asked).transforms[1].size) == smaller


def test_names_are_checked_without_torch() -> None:
    """A name of timm's may be right; any other must be in the list."""
    catalogue.check("timm/anything")
    catalogue.check("timm--anything")
    with pytest.raises(NotFound, match="any model of timm as timm/NAME"):
        catalogue.check("anything")
