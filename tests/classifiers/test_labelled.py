"""The sources of `fit-head`, through the command."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from classifiers.cli import command as fit_head
from classifiers.data.augmentation import AUGMENTATIONS
from classifiers.data.dataset import Rejected
from classifiers.data.labelled_items import from_collection
from extractor.cli import options
from extractor.cli.classify import command as classify
from extractor.cli.fitting import echo_left_out
from extractor.cli.heads.export import export
from extractor.cli.heads.transfer import transfer
from extractor.collections import Collection, Filter, Item
from extractor.collections.item import FileStamp
from extractor.errors import InvalidArgument
from extractor.settings import DataFolder

DIM = 6


@pytest.fixture
def shelf(store: DataFolder) -> Callable[..., Collection]:
    """`shelf(labels)`: a collection `shelf` of items about a centre for each label."""

    def shelve(labels: list[str | None]) -> Collection:
        rng = np.random.default_rng(0)
        centres = {label: rng.normal(0, 5, DIM) for label in dict.fromkeys(labels)}
        target = Collection.create(store, "shelf", fingerprint="f" * 64, dim=DIM, backbone="pixels")
        target.add(
            Item(f"{row}", rng.normal(size=DIM) + centres[label], label=label, metadata={"row": row})
            for row, label in enumerate(labels)
        )
        return target

    return shelve


def versions(store: DataFolder, name: str) -> list[Path]:
    return sorted((store.heads / name / "versions").glob("[0-9]*"))


def split_rows(store: DataFolder) -> list[dict[str, str]]:
    with (versions(store, "h")[0] / "split.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def write_table(painted: Path, header: str, of: Callable[[str, int], str]) -> Path:
    rows = [of(label, i) for label in ("red", "blue") for i in range(12)]
    (painted / "t.csv").write_text("\n".join([header, *rows]))
    return painted / "t.csv"


def test_a_collection_is_fitted_on_without_embedding(invoke, shelf, pixels) -> None:
    shelf(["a", "b"] * 12 + [None] * 3).close()
    code, out, err = invoke(fit_head, "--collection", "shelf", "--name", "h", "--json", "--no-report")
    facts = json.loads(out)
    assert code == 0, err
    assert (facts["backbone"], facts["fingerprint"]) == ("pixels", "f" * 64)
    assert facts["fitting"]["train"] + facts["fitting"]["test"] == 24
    assert "3 items of the collection 'shelf' have no label and are passed over" in err
    assert pixels.computed == 0


def test_a_filter_chooses_the_items(shelf) -> None:
    with shelf(["a", "b"] * 12 + [None] * 3) as target:
        features, unlabelled = from_collection(target, Filter.parse("row >= 10 or label = 'a'"))
    assert features.images == [str(row) for row in range(24) if row >= 10 or row % 2 == 0]
    assert unlabelled == 3


def test_a_collection_without_labels_says_how_to_give_them(shelf) -> None:
    with (
        shelf([None, None]) as target,
        pytest.raises(InvalidArgument, match="penultimate collections set shelf"),
    ):
        from_collection(target)


def test_a_filter_on_a_field_that_no_item_has_says_so(shelf) -> None:
    with (
        shelf(["a", "b"] * 12) as target,
        pytest.raises(InvalidArgument, match="no item has a field 'labl'"),
    ):
        from_collection(target, Filter.parse("labl = 1"))


def test_weights_of_classes_that_change_no_answer_are_said_to(invoke, painted: Path) -> None:
    said = "counts all classes alike: --class-weight has a say only in its setting and in how sure it is"
    for kind, noted in (("knn", True), ("ridge", False)):
        weighted = ("--class-weight", '{"red": 3}', "--head", kind)
        code, _, err = invoke(fit_head, painted, "--name", "h", *weighted, "--no-report")
        assert code == 0, err
        assert (said in err) == noted


def test_test_images_of_another_backbone_than_the_collections_are_refused(
    invoke, shelf, painted: Path, pixels
) -> None:
    shelf(["red", "blue"] * 12).close()
    pixels.fingerprint = "e" * 64
    code, _, err = invoke(fit_head, "--collection", "shelf", "--test", painted, "--name", "h", "--no-report")
    assert code == 1
    assert "ffffffffffff" in err
    assert "eeeeeeeeeeee" in err


def test_a_matrix_is_fitted_on_and_never_mixed(invoke, painted: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    X = np.repeat([[0, 0, 0], [5, 5, 5]], 12, axis=0) + rng.normal(size=(24, 3))
    X[5, 1] = np.nan
    np.savez(tmp_path / "m.npz", X=X, y=np.repeat(["low", "high"], 12))
    code, out, err = invoke(fit_head, tmp_path / "m.npz", "--name", "m", "--json", "--no-report")
    assert code == 3
    assert err.splitlines()[0] == f"left out: {tmp_path}/m.npz, row 6: it has values that are not finite"
    assert json.loads(out)["metrics"]["accuracy"] == 1
    code, _, err = invoke(classify, "m", painted / "red/0.png")
    assert code == 1
    assert "ffffffffffff" in err


def test_the_splits_of_a_table_are_kept(invoke, painted: Path, store: DataFolder) -> None:
    source = write_table(
        painted,
        "path,label,split",
        lambda label, i: f"{label}/{i}.png,{label},{'test' if i < 4 else 'train'}",
    )
    code, out, err = invoke(fit_head, source, "--name", "h", "--json", "--no-report")
    facts = json.loads(out)
    assert code == 0, err
    assert (facts["fitting"]["train"], facts["fitting"]["test"]) == (16, 8)
    assert not facts["fitting"]["refitted_on_all"]
    rows = split_rows(store)
    assert {Path(row["path"]).stem for row in rows if row["part"] == "test"} == {"0", "1", "2", "3"}


def test_an_earlier_split_is_taken_again(invoke, painted: Path, store: DataFolder) -> None:
    invoke(fit_head, painted, "--name", "h", "--seed", 5, "--no-report")
    first = versions(store, "h")[0] / "split.csv"
    code, out, err = invoke(fit_head, painted, "--name", "h", "--split", first, "--json", "--no-report")
    assert code == 0, err
    assert json.loads(out)["fitting"]["refitted_on_all"]
    assert (versions(store, "h")[1] / "split.csv").read_text() == first.read_text()


def test_groups_of_a_table_are_on_one_side(invoke, painted: Path, store: DataFolder) -> None:
    source = write_table(painted, "path,label,group", lambda label, i: f"{label}/{i}.png,{label},{i // 2}")
    code, _, err = invoke(fit_head, source, "--name", "h", "--no-report")
    assert code == 0, err
    rows = split_rows(store)
    sides: dict[int, set[str]] = {}
    for row in rows:
        sides.setdefault(int(Path(row["path"]).stem) // 2, set()).add(row["part"])
    assert all(len(parts) == 1 for parts in sides.values())


def test_an_image_may_have_several_labels(invoke, painted: Path) -> None:
    """Each is red or blue, and even or odd, which cannot be seen."""
    source = write_table(
        painted, "path,label", lambda label, i: f"{label}/{i}.png,{label}|{'odd' if i % 2 else 'even'}"
    )
    code, out, err = invoke(fit_head, source, "--name", "h", "--multi-label", "--json", "--no-report")
    facts = json.loads(out)
    assert code == 0, err
    assert facts["classes"] == ["blue", "even", "odd", "red"]
    recall = {each["label"]: each["recall"] for each in facts["metrics"]["classes"]}
    assert recall["blue"] == recall["red"] == 1
    _, out, _ = invoke(fit_head, source, "--name", "h", "--multi-label", "--no-report")
    assert "micro F1" in out
    code, out, err = invoke(classify, "h", painted / "red/1.png", "--no-reject")
    assert code == 0, err
    assert "red" in out


def test_classes_are_weighted(invoke, painted: Path) -> None:
    for said, kept in (("balanced", "balanced"), ('{"red": 3}', {"red": 3})):
        code, out, err = invoke(
            fit_head, painted, "--name", "h", "--class-weight", said, "--json", "--no-report"
        )
        assert code == 0, err
        assert json.loads(out)["fitting"]["class_weight"] == kept


def many_classes(painted: Path) -> Path:
    return write_table(painted, "path,label", lambda label, i: f"{label}/{i}.png,{label} {i}")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((many_classes,), "24 classes .* is this a column of ids"),
        ((), "name a SOURCE or a --collection, and not both"),
        (("painted", "--collection", "shelf"), "name a SOURCE or a --collection, and not both"),
        (("painted", "--filter", "label = 'a'"), "--filter is about the items of a --collection"),
        (("painted", "--split", "s.csv", "--test", "t"), "--split says what is tested on"),
        (("painted", "--split", "/none/s.csv"), "no such file: /none/s.csv"),
        (("--collection", "none"), "there is no collection 'none'"),
        (("painted", "--class-weight", "red"), "say balanced, or JSON"),
        (("painted", "--class-weight", '{"green": 2}'), "a weight is given for 'green'"),
        (("painted", "--class-weight", '{"red": -2}'), "none of them below zero"),
        (("painted", "--multi-label", "--class-weight", "balanced"), "classes are not weighted"),
    ],
)
def test_what_cannot_be_is_one_sentence_and_saves_nothing(
    invoke, painted: Path, store: DataFolder, arguments: tuple, says: str
) -> None:
    said = [painted if each == "painted" else each(painted) if callable(each) else each for each in arguments]
    code, out, err = invoke(fit_head, *said, "--name", "h", "--no-report")
    assert (code in (1, 2), out) == (True, "")
    assert len([line for line in err.splitlines() if line.startswith("Error: ")]) == 1
    assert re.search(says, err)
    assert not versions(store, "h")


def test_a_class_of_one_image_is_left_out_and_the_others_are_fitted(invoke, painted: Path, paint) -> None:
    paint("painted/green/0.png", (60, 180, 60), 900)
    code, out, err = invoke(fit_head, painted, "--name", "h", "--json", "--no-report")
    assert code == 3
    assert json.loads(out)["classes"] == ["blue", "red"]
    assert "green/0.png: its class 'green' has only one usable image" in err


@pytest.mark.parametrize("label", ["..", "a/b", "Zürich, «天»", "C:\\x", "~", "-1.5", "con", "<script>"])
def test_a_label_may_be_called_anything(invoke, painted: Path, label: str) -> None:
    with (painted / "t.csv").open("w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream)
        table.writerow(["path", "label"])
        table.writerows(
            [f"{c}/{i}.png", label if c == "red" else c] for c in ("red", "blue") for i in range(12)
        )
    code, out, err = invoke(fit_head, painted / "t.csv", "--name", "h", "--json")
    assert code == 0, err
    assert label in json.loads(out)["classes"]
    code, out, _ = invoke(classify, "h", painted / "red/1.png", "--json", "--no-reject")
    assert json.loads(out)[0]["label"] == label


def test_views_are_fitted_on_and_pictures_are_tested_on(invoke, painted: Path, pixels, store) -> None:
    code, plain, err = invoke(fit_head, painted, "--name", "h", "--json", "--no-report")
    assert (code, err.splitlines()) == (0, ["fitting on 24 images: settings by cross-validation …"])
    assert "augment" not in plain
    said = ("--augment", "hflip,brightness", "--augment", "hflip")
    code, out, err = invoke(fit_head, painted, "--name", "h", *said, "--json", "--no-report")
    one, other = json.loads(plain), json.loads(out)
    assert code == 0
    assert "fitting on 24 images and their augmented views (3 each): settings by cross-validation …" in err
    assert {"augment": ["hflip", "brightness"], "views": 3, "unviewed": 0}.items() <= other["fitting"].items()
    assert {name: other["fitting"][name] for name in ("train", "test", "copies", "groups")} == {
        name: one["fitting"][name] for name in ("train", "test", "copies", "groups")
    }
    assert other["metrics"]["n"] == 6
    first, second = ((version / "split.csv").read_text() for version in versions(store, "h"))
    assert first == second
    assert pixels.computed == 24 + 24 + 3 * 24


def test_the_report_says_which_views_were_fitted_on(invoke, painted: Path, store: DataFolder) -> None:
    code, out, err = invoke(fit_head, painted, "--name", "h", "--augment", "flips")
    assert code == 0, err
    assert "augmented views, fitted on too: flips (3 each)" in out
    report = versions(store, "h")[0] / "report.json"
    assert json.loads(report.read_text())["card"]["augment"] == ["flips"]
    assert "augmented views" in report.with_name("report.html").read_text()


def test_a_collection_is_fitted_on_with_views_where_its_pictures_are(
    invoke, painted: Path, pixels, store: DataFolder, shelf
) -> None:
    """Two are gone: these are fitted on as they are; where all are, it is said."""
    files = sorted(painted.rglob("*.png"))
    with Collection.create(store, "album", fingerprint="f" * 64, dim=DIM, backbone="pixels") as album:
        for file, result in zip(files, pixels.embed(list(map(str, files))), strict=True):
            stamp = FileStamp.of(str(file))
            album.add(
                [
                    Item(
                        file.name + file.parent.name,
                        result.embedding,
                        digest=result.digest,
                        file=stamp,
                        label=file.parent.name,
                    )
                ]
            )
    for file in files[:2]:
        file.unlink()
    said = ("--name", "h", "--augment", "flips", "--json", "--no-report")
    code, out, err = invoke(fit_head, "--collection", "album", *said)
    fitting = json.loads(out)["fitting"]
    assert code == 0, err
    assert "2 of 24 images have no views: they are fitted on as they are" in err
    assert (fitting["views"], fitting["unviewed"], fitting["train"], fitting["test"]) == (3, 2, 18, 6)
    shelf(["a", "b"] * 12).close()
    code, out, err = invoke(fit_head, "--collection", "shelf", *said)
    assert (code, out) == (1, "")
    assert "augmented views are made of pictures, and none of these is at hand" in err


def test_views_are_kept_when_a_head_moves_or_learns_a_class(
    invoke, painted: Path, pixels, paint, store: DataFolder, monkeypatch, tmp_path: Path
) -> None:
    for kind in ("ridge", "logistic"):
        invoke(fit_head, painted, "--name", kind, "--head", kind, "--augment", "hflip", "--no-report")
    for i in range(4):
        paint(f"green/{i}.png", (60, 180, 60), 900 + i)
    code, _, err = invoke(fit_head, tmp_path / "green", "--name", "ridge", "--add-class", "green")
    assert code == 1
    assert "fitted on augmented views, too, of which it keeps nothing" in err
    assert "--augment hflip" in err
    assert len(versions(store, "ridge")) == 1
    code, _, err = invoke(fit_head, tmp_path / "green", "--name", "logistic", "--add-class", "green")
    assert code == 0, err
    pixels.fingerprint = "e" * 64
    monkeypatch.setattr("extractor.cli.heads.transfer.open_source", lambda *_, **__: pixels)
    code, _, err = invoke(transfer, "ridge")
    assert code == 0, err
    fitting = json.loads((versions(store, "ridge")[1] / "manifest.json").read_text())["fitting"]
    assert (fitting["augment"], fitting["views"], fitting["unviewed"]) == (["hflip"], 1, 0)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("painted", "--augment", "mixup"), "'mixup' is no augmentation: choose of hflip, vflip, flips"),
        (("painted", "--augment", ""), "'' is no augmentation"),
        (("m.npz", "--augment", "flips"), "--augment changes pictures, and .*m.npz has vectors"),
        (("painted", "--augment", "flips", "--add-class", "c"), "--add-class fits nothing again"),
    ],
)
def test_views_that_cannot_be_are_refused_before_anything_is_embedded(
    invoke, painted: Path, pixels, store: DataFolder, tmp_path: Path, arguments: tuple, says: str
) -> None:
    np.savez(tmp_path / "m.npz", embeddings=np.eye(DIM), labels=["a", "b"] * 3)
    places = {"painted": painted, "m.npz": tmp_path / "m.npz"}
    code, out, err = invoke(fit_head, *(places.get(each, each) for each in arguments), "--name", "h")
    assert (code, out, pixels.computed) == (2, "", 0)
    assert re.search(says, err)
    assert not versions(store, "h")


def test_the_help_names_every_augmentation(invoke) -> None:
    _, out, _ = invoke(fit_head, "--help")
    assert all(name in " ".join(out.split()) for name in AUGMENTATIONS)


@pytest.mark.parametrize("named", [True, False])
def test_vectors_of_an_exported_backbone_make_a_head_of_it(
    invoke, store: DataFolder, tmp_path: Path, named: bool
) -> None:
    """A file says the name; one that does not, the fingerprint of a backbone that is here."""
    said = {"backbone": "pixels"} if named else {}
    rng = np.random.default_rng(0)
    X = rng.normal(size=(24, DIM)) + 5 * np.repeat([[0], [1]], 12, axis=0)
    source = tmp_path / "lab.npz"
    np.savez(source, embeddings=X, labels=["a"] * 12 + ["b"] * 12, fingerprint="f" * 64, **said)
    if not named:
        bundle = store.backbones / "pixels"
        bundle.mkdir(parents=True)
        (bundle / "manifest.json").write_text(json.dumps({"fingerprint": "f" * 64}))
        (store.backbones / "broken").mkdir()
        (store.backbones / "broken/manifest.json").write_text("{")
    code, out, err = invoke(fit_head, source, "--name", "h", "--json", "--no-report")
    assert code == 0, err
    assert json.loads(out)["backbone"] == "pixels"


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_column_that_is_not_used_is_named(invoke, painted: Path, tmp_path: Path, suffix: str) -> None:
    table = [
        [f"{label}/{i}.png", label, "test" if i < 4 else "train", "x"]
        for label in ("red", "blue")
        for i in range(12)
    ]
    source, header = painted / f"t.{suffix}", ["path", "Label", "splt", "camera"]
    if suffix == "csv":
        source.write_text("\n".join(map(",".join, [header, *table])))
    else:
        pq.write_table(pa.table(dict(zip(header, zip(*table, strict=True), strict=True))), source)
    code, _, err = invoke(fit_head, source, "--name", "h", "--no-report")
    assert code == 0, err
    assert f"note: columns of {source} that are not used: splt (is it split?), camera" in err


def test_a_head_on_vectors_of_ones_own_speaks_of_no_images(
    invoke, pixels, painted: Path, store: DataFolder, tmp_path: Path, monkeypatch
) -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(24, DIM)) + 5 * np.repeat([[0], [1]], 12, axis=0)
    np.savez(tmp_path / "own.npz", embeddings=X, labels=["a"] * 12 + ["b"] * 12)
    code, out, err = invoke(fit_head, tmp_path / "own.npz", "--name", "h", "--no-report")
    assert code == 0, err
    assert "penultimate classify" not in out
    assert "it takes vectors like those of own.npz, not images: load_head('h').predict(X)" in out
    monkeypatch.setattr("extractor.cli.classify.open_source", options.open_source)
    code, _, err = invoke(classify, "h", painted)
    assert code == 1
    assert "the vectors are of the file own.npz, which names no backbone" in err
    code, _, err = invoke(export, "h", "--onnx", tmp_path / "h.onnx", "--with-backbone")
    assert code == 1
    assert "the vectors are of the file own.npz, which names no backbone: leave --with-backbone out" in err
    monkeypatch.setattr("extractor.cli.heads.transfer.open_source", lambda *_, **__: pixels)
    code, _, err = invoke(transfer, "h")
    assert code == 1
    assert "was fitted on the vectors of own.npz, and another backbone takes images" in err


def test_of_many_that_are_left_out_the_first_are_listed_and_all_counted(capsys) -> None:
    echo_left_out(Rejected(f"{at:03}.png", "not a picture") for at in range(170))
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "left out: 000.png: not a picture"
    assert lines[-1] == "left out: 150 images more, 170 in all; --json lists them"
    assert len(lines) == 21


def test_what_is_left_out_is_listed_as_one_counts(capsys) -> None:
    names = [
        "b.csv, row 2",
        "a.csv, row 10",
        "a.csv, row 4",
        "a.csv, row 04b",
        "7",
        "a.csv",
        "1/x10y",
        "1/x9z",
    ]
    echo_left_out(Rejected(name, "bad") for name in names)
    listed = [
        line.removeprefix("left out: ").removesuffix(": bad") for line in capsys.readouterr().err.splitlines()
    ]
    assert listed == [
        "1/x9z",
        "1/x10y",
        "7",
        "a.csv",
        "a.csv, row 4",
        "a.csv, row 04b",
        "a.csv, row 10",
        "b.csv, row 2",
    ]
