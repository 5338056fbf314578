from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.exceptions import SkipTestWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import check_estimator

from classifiers import Dataset, EmbeddingTransformer, embed, train
from extractor.errors import FingerprintMismatch, InvalidArgument, NotFound


def test_rows_follow_the_images_and_broken_ones_are_named(pixels, painted: Path) -> None:
    (painted / "red/3.png").write_text("no picture")
    (painted / "blue/4.png").write_bytes((painted / "blue/4.png").read_bytes()[:40])
    features = embed(pixels, Dataset.read(painted))
    assert features.X.shape == (22, 6)
    assert [Path(image).parent.name for image in features.images] == features.y.tolist()
    assert np.array_equal(features.X[5], pixels.embed([features.images[5]])[0].embedding)
    assert {(Path(each.image).name, each.reason) for each in features.rejected} == {
        ("3.png", "not a picture"),
        ("4.png", "not a picture"),
    }


def test_a_picture_under_two_labels_is_left_out_on_both_sides(pixels, painted: Path) -> None:
    shutil.copy(painted / "red/0.png", painted / "blue/copy.png")
    features = embed(pixels, Dataset.read(painted))
    assert len(features.images) == 23
    assert {each.reason for each in features.rejected} == {"the same picture has the labels blue, red"}
    assert len(features.rejected) == 2


def test_copies_under_one_label_stay(pixels, painted: Path) -> None:
    shutil.copy(painted / "red/0.png", painted / "red/copy.png")
    features = embed(pixels, Dataset.read(painted))
    assert (len(features.images), features.copies, features.rejected) == (25, 1, [])


def test_nothing_left_is_an_error_that_gives_the_first_reason(pixels) -> None:
    with pytest.raises(InvalidArgument, match=r"the first: gone.png: no such file"):
        embed(pixels, Dataset(["gone.png"], ["a"]))


def test_test_pictures_are_never_trained_on(pixels, painted: Path) -> None:
    features = embed(pixels, Dataset.read(painted))
    test = features.take(np.array([0, 1, 12, 13]))
    training = train("h", features, test, backbone="pixels")
    assert training.head.manifest.fitting["train"] == 20
    assert [each.reason for each in training.rejected] == ["the same picture is among the test images"] * 4


def test_a_group_that_is_among_the_test_images_is_not_trained_on(pixels, painted: Path) -> None:
    """Also where each side has a source of its own."""
    dataset = Dataset.read(painted)
    groups = [f"patient {row % 6}" if row < 20 else "" for row in range(22)]
    known = embed(pixels, replace(dataset.take(range(22)), groups=groups))
    test = embed(pixels, replace(dataset.take([22]), groups=["patient 4"]))
    assert len(set(known.groups)) == 6 + 2
    left = train("h", *known.tested_on(test).parted(), backbone="pixels").rejected
    assert [each.image for each in left] == [dataset.images[row] for row in (4, 10, 16)]
    assert left == train("h", known, test, backbone="pixels").rejected


def test_features_of_two_backbones_are_not_mixed(pixels, painted: Path) -> None:
    features = embed(pixels, Dataset.read(painted))
    pixels.fingerprint = "e" * 64
    with pytest.raises(FingerprintMismatch, match=r"eeeeeeeeeeee.*ffffffffffff"):
        train("h", features, embed(pixels, Dataset.read(painted)), backbone="pixels")


def test_the_transformer_tells_scikit_learn_what_it_is(pixels, painted: Path) -> None:
    """That it needs no fit, takes what is no matrix, and how its columns are called."""
    transformer = EmbeddingTransformer(pixels)
    tags = get_tags(transformer)
    assert (tags.requires_fit, tags.input_tags.two_d_array, tags.input_tags.string) == (False, False, True)
    with pytest.warns(SkipTestWarning, match="Can't test estimator EmbeddingTransformer"):
        check_estimator(transformer)  # which has no images
    columns = transformer.get_feature_names_out()
    assert len(columns) == transformer.transform([painted / "red" / "1.png"]).shape[1]
    assert columns[0] == "embeddingtransformer0"


def test_images_go_through_a_grid_search(pixels, painted: Path) -> None:
    """Clones share the source, which could not be copied."""
    dataset = Dataset.read(painted)
    pipeline = Pipeline([("embed", EmbeddingTransformer(pixels)), ("classify", LogisticRegression())])
    search = GridSearchCV(pipeline, {"classify__C": [0.1, 1.0]}, cv=2).fit(dataset.images, dataset.labels)
    assert search.score(dataset.images, dataset.labels) == 1
    assert search.best_estimator_["embed"].source is pixels


def test_the_transformer_raises_what_is_wrong_with_an_image(pixels) -> None:
    with pytest.raises(NotFound, match=r"gone.png"):
        EmbeddingTransformer(pixels).transform(["gone.png"])
    assert EmbeddingTransformer(pixels).transform([]).shape == (0, 6)
