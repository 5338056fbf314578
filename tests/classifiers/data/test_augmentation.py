from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from classifiers import Dataset, Features, Recipe, embed, train
from classifiers.data.augmentation import AUGMENTATIONS, BRIGHTNESS, CROP, SIDE, views_of, with_views
from classifiers.data.targets import Labelled
from classifiers.training.selection import choose
from extractor import Embedder
from extractor.errors import FingerprintMismatch, InvalidArgument, InvalidImage
from extractor.results import ImageLike, Result
from extractor.settings import DataFolder
from tests.classifiers.conftest import PixelStatistics

DIM = 6


class Looking(PixelStatistics):
    """Keeps the pictures that it is given as bytes, which views are."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[np.ndarray] = []

    def stream(self, images: Iterable[ImageLike]) -> Iterator[Result]:
        for image in images:
            if isinstance(image, bytes):
                self.seen.append(np.asarray(Image.open(io.BytesIO(image))))
            yield self._one(image)


def views_in(folder: Path, picture: Image.Image, *augment: str, **saved: object) -> list[np.ndarray]:
    """The views of a picture that was saved, and of another, which is passed over."""
    folder.mkdir()
    picture.save(folder / "picture.png", **saved)
    source = Looking()
    features = embed(source, Dataset([str(folder / "picture.png")], ["a"]), augment=augment)
    assert features.views.shape == (1, len(source.seen), DIM)
    return source.seen


@pytest.fixture
def picture() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8))


def test_each_view_is_what_its_name_says(picture, tmp_path: Path) -> None:
    pixels = np.asarray(picture)
    flips = views_in(tmp_path / "flips", picture, "flips")
    turns = views_in(tmp_path / "turns", picture, "rotations")
    crops = views_in(tmp_path / "crops", picture, "crops")
    lights = views_in(tmp_path / "lights", picture, "brightness")
    assert [view.tolist() for view in flips] == [
        each.tolist() for each in (pixels[:, ::-1], pixels[::-1], pixels[::-1, ::-1])
    ]
    assert [view.tolist() for view in turns] == [np.rot90(pixels, times).tolist() for times in (1, 2, 3)]
    assert [view.tolist() for view in crops] == [
        pixels[top : top + 18, left : left + 27].tolist() for top in (0, 2) for left in (0, 3)
    ]
    assert CROP == 0.9
    for view, factor in zip(lights, BRIGHTNESS, strict=True):
        assert np.abs(view - np.minimum(pixels * factor, 255)).max() <= 0.5


def test_a_view_that_two_augmentations_share_is_made_once() -> None:
    assert views_of(["hflip", "flips", "rotations"]) == (
        *("hflip", "vflip", "turned-180"),
        *("turned-90", "turned-270"),
    )
    assert sum(len(views_of([name])) for name in AUGMENTATIONS) == 14
    with pytest.raises(InvalidArgument, match=r"'mixup' is no augmentation: choose of hflip, vflip, flips"):
        views_of(["mixup"])


def test_a_view_is_of_the_upright_picture(picture, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    (seen,) = views_in(tmp_path / "turned", picture, "hflip", exif=exif)
    assert seen.tolist() == np.rot90(np.asarray(picture), -1)[:, ::-1].tolist()


def test_a_grey_picture_has_grey_views_and_a_large_one_moderate_ones(tmp_path: Path) -> None:
    grey = Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 9), np.uint8))
    (seen,) = views_in(tmp_path / "grey", grey, "hflip")
    (small,) = views_in(tmp_path / "large", Image.new("L", (3 * SIDE, 2 * SIDE), 9), "hflip")
    assert seen.tolist() == np.asarray(grey)[:, ::-1].tolist()
    assert small.shape == (SIDE, 3 * SIDE // 2)


def test_views_stand_beside_their_rows(painted: Path, pixels) -> None:
    """A mirrored picture has the same statistics; a darker one has lower ones."""
    features = embed(pixels, Dataset.read(painted), augment=["hflip", "brightness"])
    plain = embed(pixels, Dataset.read(painted))
    assert (features.X == plain.X).all()
    assert np.allclose(features.views[:, 0], plain.X, atol=1e-3)
    assert (features.views[:, 1, :3] < plain.X[:, :3]).all()
    assert (features.augment, features.views.shape, features.unviewed) == (
        ("hflip", "brightness"),
        (24, 3, 6),
        0,
    )
    assert (plain.augment, plain.views.shape, plain.unviewed) == ((), (24, 0, 6), 0)
    some = np.array([5, 1])
    assert (features.take(some).views == features.views[some]).all()


def test_rows_whose_picture_is_gone_or_another_have_no_views(painted: Path, pixels, paint) -> None:
    features = embed(pixels, Dataset.read(painted))
    gone, other = (features.images.index(str(painted / name)) for name in ("red/3.png", "blue/4.png"))
    Path(features.images[gone]).unlink()
    paint("painted/blue/4.png", (60, 60, 180), 777)
    found = with_views(pixels, features, ["flips"])
    assert np.flatnonzero(np.isnan(found.views).any(axis=(1, 2))).tolist() == sorted((gone, other))
    assert found.unviewed == 2
    assert np.allclose(found.views[0], features.X[0], atol=1e-3)


def test_a_row_with_a_view_that_fails_has_none(painted: Path, pixels, monkeypatch) -> None:
    features = embed(pixels, Dataset.read(painted))
    given = iter(range(3 * 24))
    one = pixels._one

    def failing(image: ImageLike) -> Result:
        if next(given) == 4:
            return Result(None, InvalidImage("no"), None, False, pixels.fingerprint)
        return one(image)

    monkeypatch.setattr(pixels, "_one", failing)
    found = with_views(pixels, features, ["flips"])
    assert np.isnan(found.views[1]).all()
    assert found.unviewed == 1


def test_what_has_no_picture_at_all_is_refused(painted: Path, pixels) -> None:
    features = embed(pixels, Dataset.read(painted))
    for file in painted.rglob("*.png"):
        file.unlink()
    with pytest.raises(
        InvalidArgument, match="augmented views are made of pictures, and none of these is at"
    ):
        with_views(pixels, features, ["flips"])
    with pytest.raises(FingerprintMismatch):
        with_views(PixelStatistics("e" * 64), features, ["flips"])


def test_what_is_fitted_on_are_rows_and_their_views_alike() -> None:
    rng = np.random.default_rng(0)
    X, views = rng.normal(size=(4, 3)).astype(np.float32), rng.normal(size=(4, 2, 3)).astype(np.float32)
    views[2] = np.nan
    rows = Labelled.of(
        X, ["a", "b", "a", "b"], weights=[1, 2, 3, 2], groups=["p", "q", "p", "r"], views=views
    )
    fitted = rows.augmented()
    assert rows.fitted == len(fitted.X) == 12
    assert (fitted.X.reshape(4, 3, 3)[:, 0] == X).all()
    assert (fitted.X.reshape(4, 3, 3)[[0, 1, 3], 1:] == views[[0, 1, 3]]).all()
    assert (fitted.X.reshape(4, 3, 3)[2] == X[2]).all()
    assert fitted.y.tolist() == np.repeat([0, 1, 0, 1], 3).tolist()
    assert fitted.groups.tolist() == np.repeat(["p", "q", "p", "r"], 3).tolist()
    assert fitted.weights.tolist() == np.repeat([0.5, 1, 1.5, 1], 3).tolist()
    assert fitted.augmented() is fitted


def noise(n: int, views: int) -> Features:
    """Embeddings that say nothing of their labels, with views that are copies of them."""
    rng = np.random.default_rng(1)
    X = rng.normal(size=(n, 20)).astype(np.float32)
    plain = rows_of(X, rng.choice(["a", "b"], n), "n")
    copies = np.repeat(X[:, None], views, axis=1)
    return replace(plain, augment=("flips",), views=copies) if views else plain


def test_no_view_is_fitted_on_while_its_picture_is_held_out() -> None:
    """The nearest neighbour would give every label away."""
    features = noise(800, 2)
    rows = Labelled.of(features.X, features.y, views=features.views)
    told = choose(rows, Recipe("knn")).logits.argmax(axis=1) == rows.y
    training = train("h", features, backbone="b", recipe=Recipe("knn"))
    assert told.mean() < 0.6
    assert training.metrics.accuracy < 0.65


def test_figures_and_counts_are_of_the_pictures_alone() -> None:
    """Views that are copies change no fit, and so nothing at all but what is said of them."""
    plain, augmented = (train("h", noise(200, views), backbone="b") for views in (0, 2))
    one, other = plain.head.manifest, augmented.head.manifest
    said = {"augment": ["flips"], "views": 2, "unviewed": 0}
    assert other.fitting == one.fitting | said
    assert other.metrics == one.metrics
    assert augmented.choice.logits.shape == (150, 2)
    assert plain.head.statistics is not None
    assert augmented.head.statistics is not None
    assert augmented.head.statistics.counts.tolist() == plain.head.statistics.counts.tolist()
    assert plain.head.rejection is not None
    assert augmented.head.rejection is not None
    assert augmented.head.rejection.measured == plain.head.rejection.measured


def test_views_teach_what_the_pictures_alone_do_not() -> None:
    """A class is seen from one side in training and from the other in the test."""
    rng = np.random.default_rng(2)
    labels = np.repeat(["a", "b"], 60)
    sign = np.where(labels == "a", 1.0, -1.0)
    thing, side = sign + rng.normal(0, 0.3, 120), 3 * sign + rng.normal(0, 0.3, 120)
    X, mirrored = (np.column_stack([thing, seen]).astype(np.float32) for seen in (side, -side))
    test = rows_of(mirrored, labels, "t")
    blind = rows_of(X, labels, "k")
    seen = replace(blind, augment=("hflip",), views=mirrored[:, None])
    assert train("h", blind, test, backbone="b").metrics.accuracy < 0.3
    assert train("h", seen, test, backbone="b").metrics.accuracy > 0.95


def rows_of(X: np.ndarray, labels: np.ndarray, kind: str) -> Features:
    digests = np.array([f"{kind}{row:063}" for row in range(len(X))])
    return Features(X, labels, digests, digests.tolist(), "f" * 64, [])


def test_a_second_fit_embeds_no_view_again(data: DataFolder, pictures, tmp_path: Path) -> None:
    """Real weights: the mirror image is near its picture, and what was computed once is remembered."""
    dataset = Dataset([str(file) for file in pictures[:3]], ["a", "b", "a"])
    with Embedder(data=data, provider="cpu", cache="disk") as source:
        first = embed(source, dataset, augment=["hflip"])
        computed = source.computed
        again = embed(source, dataset, augment=["hflip"])
        assert source.computed == computed
    assert (first.views == again.views).all()
    flat, seen = first.X, first.views[:, 0]
    cosine = (flat * seen).sum(1) / np.linalg.norm(flat, axis=1) / np.linalg.norm(seen, axis=1)
    assert (cosine > 0.8).all()
    assert (cosine < 0.99999).all()


@pytest.mark.parametrize("kind", ["knn", "nearest-mean", "ridge", "mlp", "linear-svm", "auto"])
def test_every_kind_is_fitted_on_views(kind) -> None:
    rng = np.random.default_rng(3)
    labels = np.repeat(["a", "b"], 20)
    X = (rng.normal(size=(40, 4)) + 4 * (labels == "a")[:, None]).astype(np.float32)
    views = X[:, None] + rng.normal(0, 0.1, (40, 2, 4)).astype(np.float32)
    features = replace(rows_of(X, labels, "k"), augment=("brightness",), views=views)
    training = train("h", features, backbone="b", recipe=Recipe(kind))
    assert training.metrics.accuracy == 1
    assert training.metrics.n == 10


def test_several_labels_an_image_are_fitted_on_views() -> None:
    rng = np.random.default_rng(4)
    y = rng.random((60, 3)) < 0.5
    X = np.hstack([5 * y, rng.normal(size=(60, 2))]).astype(np.float32)
    plain = replace(rows_of(X, y, "k"), classes=("a", "b", "c"))
    features = replace(plain, augment=("hflip",), views=X[:, None] + np.float32(0.1))
    training = train("h", features, backbone="b")
    assert training.metrics.accuracy == 1
    assert training.head.manifest.fitting["views"] == 1
