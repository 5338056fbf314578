"""`penultimate duplicates`, `outliers`, `clusters` and `map`, from the arguments to the exit code."""

import json
import random
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import click
import numpy as np
import pytest
import skimage.data
from PIL import Image

from extractor.cli.clusters import _said
from extractor.cli.duplicates import _heading
from extractor.cli.main import penultimate as commands
from extractor.cli.main import run
from extractor.collections import Collection
from extractor.exploring.clusters import Cluster, Clusters
from extractor.exploring.duplicates import Group, Member
from extractor.settings import DEFAULT_BACKBONE, DataFolder

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Parts of a cat, a cup and an astronaut; the whole cat, as JPEG, and a copy of its file."""
    folder = tmp_path_factory.mktemp("photos")
    rng = random.Random(0)
    for name in ("chelsea", "coffee", "astronaut"):
        picture = Image.fromarray(getattr(skimage.data, name)())
        for number in range(5):
            left, top = rng.randrange(picture.width // 3), rng.randrange(picture.height // 3)
            box = (left, top, left + picture.width * 2 // 3, top + picture.height * 2 // 3)
            picture.crop(box).save(folder / f"{name}-{number}.png")
    cat = Image.fromarray(skimage.data.chelsea())
    cat.save(folder / "whole.png")
    cat.save(folder / "whole.jpg", quality=90)
    shutil.copy(folder / "whole.png", folder / "whole again.png")
    return folder


@pytest.fixture(scope="module")
def things(tmp_path_factory: pytest.TempPathFactory, exported_data: DataFolder, photos: Path) -> DataFolder:
    """A data folder with the photos in the collection \"things\", and one that is empty."""
    data = DataFolder(tmp_path_factory.mktemp("data"))
    data.backbones.symlink_to(exported_data.backbones)
    with pytest.raises(SystemExit):
        run(commands, ["index", "things", str(photos), "--precision", "fp32", "--data", str(data.root)])
    Collection.create(data, "empty", fingerprint="e" * 64, dim=1280, backbone=DEFAULT_BACKBONE).close()
    return data


@pytest.fixture
def call(things: DataFolder, capsys: pytest.CaptureFixture[str]) -> Run:
    def called(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            run(commands, [*map(str, arguments), "--data", str(things.root)])
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return called


def size(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


def test_duplicates(call: Run, photos: Path, tmp_path: Path) -> None:
    """The whole cat, its JPEG and its copy are a group; the two files of the same bytes are marked."""
    sheet = tmp_path / "sheet.png"
    code, out, err = call("duplicates", "things", "--threshold", 0.97, "--sheet", sheet)
    lines = [line.split(maxsplit=3) for line in out.splitlines() if "whole" in line]
    assert code == 0
    assert {line[0] for line in lines} == {"1"}
    assert ["1", "1.0000", "first", str(photos / "whole again.png")] in lines
    assert ["1", "1.0000", "same", str(photos / "whole.png")] in lines
    assert f"wrote {sheet}" in err
    assert "18 were compared" in err
    assert size(sheet)[0] > 3 * 150


def test_a_reader_that_leaves_early_misses_no_sheet_and_no_summary(
    call: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of `penultimate duplicates things --sheet twins.png | head -1`."""
    sheet, whole = tmp_path / "twins.png", tmp_path / "whole.png"
    summary = call("duplicates", "things", "--threshold", 0.9, "--sheet", whole)[2].splitlines()[-1]
    echo = click.echo

    def echo_once(text: str, *, err: bool = False) -> None:
        if not err and "score" not in text:
            raise BrokenPipeError
        echo(text, err=err)

    monkeypatch.setattr("click.echo", echo_once)
    code, out, err = call("duplicates", "things", "--threshold", 0.9, "--sheet", sheet)
    assert (code, out.count("\n")) == (0, 1)
    assert (err.splitlines()[0], err.splitlines()[-1]) == (f"wrote {sheet}", summary)
    assert sheet.read_bytes() == whole.read_bytes()


def test_duplicates_as_json(call: Run, photos: Path) -> None:
    """Exact ones alone at a threshold that no near one reaches."""
    code, out, _ = call("duplicates", "things", "--threshold", 1, "--json")
    found = json.loads(out)
    assert code == 0
    assert (found["collection"], found["threshold"], found["items"]) == ("things", 1.0, 18)
    (group,) = found["groups"]
    assert (group["exact"], group["lowest"]) == (True, 1.0)
    assert [member["id"] for member in group["members"]] == [
        str(photos / "whole again.png"),
        str(photos / "whole.png"),
    ]


def test_one_image_is_checked(call: Run, photos: Path, tmp_path: Path) -> None:
    """It need not be in the collection, and is not put there."""
    new = tmp_path / "new.jpg"
    with Image.open(photos / "whole.png") as cat:
        cat.save(new, quality=88)
    sheet = tmp_path / "sheet.webp"
    code, out, err = call("duplicates", "things", "--image", new, "--json", "--sheet", sheet)
    found = {Path(member["id"]).name for member in json.loads(out)["duplicates"]}
    assert code == 0
    assert {"whole.png", "whole.jpg", "whole again.png"} <= found
    assert not any(member["exact"] for member in json.loads(out)["duplicates"])
    assert sheet.exists()
    code, out, err = call("duplicates", "things", "--image", photos / "whole.jpg")
    assert re.search(r"1\.0000  same   .*whole\.jpg", out)
    code, out, err = call("duplicates", "things", "--image", photos / "coffee-0.png", "--threshold", 1)
    assert err.startswith("1 duplicate of")


def test_no_duplicates_draw_nothing(call: Run, things: DataFolder, tmp_path: Path) -> None:
    """And that is no failure."""
    sheet = tmp_path / "sheet.png"
    with Collection.open(things, "things") as full:
        made = {"fingerprint": full.fingerprint, "dim": full.dim, "backbone": full.backbone}
        item = full.get(next(iter(full.items())).id)
    with Collection.create(things, "one", **made) as one:
        one.add([item])
    code, out, err = call("duplicates", "one", "--sheet", sheet)
    assert (code, out) == (0, "")
    assert "0 groups" in err
    assert not sheet.exists()


def test_outliers(call: Run, tmp_path: Path) -> None:
    """As many as asked for, the oddest first, with what is usual."""
    sheet = tmp_path / "odd.jpg"
    code, out, err = call("outliers", "things", "--top", 4, "-k", 3, "--sheet", sheet)
    distances = [float(line.split()[1]) for line in out.splitlines()[1:]]
    assert code == 0
    assert len(distances) == 4
    assert distances == sorted(distances, reverse=True)
    assert "mean distance to the 3 nearest; half of the 18 images" in err
    assert sheet.exists()
    _, out, _ = call("outliers", "things", "--json")
    found = json.loads(out)
    assert (found["k"], len(found["outliers"])) == (10, 18)


def test_clusters(call: Run, tmp_path: Path) -> None:
    """Three kinds; a sheet of all, and one for each."""
    sheet, sheets = tmp_path / "all.png", tmp_path / "each"
    code, out, err = call("clusters", "things", "-k", 3, "--sheet", sheet, "--sheets", sheets, "--json")
    found = json.loads(out)
    kinds = [
        {"cat" if name.startswith(("chelsea", "whole")) else name.split("-")[0] for name in names}
        for names in (
            [Path(member["id"]).name for member in cluster["members"]] for cluster in found["clusters"]
        )
    ]
    assert code == 0
    assert sorted(map(sorted, kinds)) == [["astronaut"], ["cat"], ["coffee"]]
    assert sorted(file.name for file in sheets.iterdir()) == [f"cluster-{n}.png" for n in (1, 2, 3)]
    assert sheet.exists()
    assert "3 clusters; silhouette 0." in err
    code, _, err = call("clusters", "things", "--sheets", sheets)
    assert (code, err) == (1, f"Error: the folder {sheets} is not empty: name a new one with --sheets\n")


def test_clusters_finds_how_many(call: Run) -> None:
    """And says how many numbers were tried."""
    code, out, err = call("clusters", "things")
    assert code == 0
    assert out.splitlines()[0].split() == ["cluster", "images", "most", "typical"]
    assert len(out.splitlines()) == 4
    assert "the best of 3 numbers tried" in err


def test_map(call: Run, photos: Path, tmp_path: Path) -> None:
    """One file with every image in it, and pictures for as many as asked."""
    out = tmp_path / "made" / "map.html"
    code, _, err = call("map", "things", out, "--pictures", 4)
    data = json.loads(re.search(r'application/json">(.*?)</script>', out.read_text("utf-8"))[1])
    assert code == 0
    assert set(data["ids"]) == {str(file) for file in photos.iterdir()}
    assert len(data["pictures"]) == 4
    said = rf"the folder {out.parent} is not there: it is made\nwrote {out} \(18 images, 0\.\d MB\)\n"
    assert re.fullmatch(said, err)


def test_a_map_of_some_points(call: Run, tmp_path: Path) -> None:
    """The page says of how many."""
    call("map", "things", tmp_path / "map.html", "--points", 7, "--pictures", 0)
    data = json.loads(re.search(r'application/json">(.*?)</script>', (tmp_path / "map.html").read_text())[1])
    assert (len(data["ids"]), data["total"], data["pictures"]) == (7, 18, {})


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["duplicates", "empty"], "the collection 'empty' is empty: add images with `penultimate index"),
        (["outliers", "empty"], "the collection 'empty' is empty"),
        (["clusters", "empty"], "the collection 'empty' is empty"),
        (["map", "empty", "a.html"], "the collection 'empty' is empty"),
        (["duplicates", "none"], "there is no collection 'none'"),
        (["duplicates", "things", "--sheet", "a.gif"], "a sheet is written as .png"),
        (["duplicates", "things", "--image", "no.jpg"], "no such file: no.jpg"),
        (
            ["outliers", "things", "-k", "18"],
            "each of 18 images has 17 neighbours, so k is 1 to that, not 18",
        ),
        (["clusters", "things", "-k", "19"], "18 images make 1 to 18 clusters, not 19"),
        (["map", "things", "map.pdf"], "a map is written as .html, not 'map.pdf'"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(call: Run, arguments: list[str], sentence: str) -> None:
    """On standard error; nothing on standard output; exit code 1."""
    code, out, err = call(*arguments)
    assert (code, out) == (1, "")
    assert err.startswith("Error: ")
    assert sentence in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["duplicates", "things", "--threshold", "1.5"], "1.5 is not in the range"),
        (["duplicates", "things", "--threshold", "0"], "0.0 is not in the range"),
        (["outliers", "things", "-k", "0"], "0 is not in the range"),
        (["clusters", "things", "-k", "many"], "'many' is neither 'auto' nor a whole number from 1 on"),
        (["clusters", "things", "-k", "0"], "'0' is neither"),
    ],
)
def test_options_that_make_no_sense_are_wrong_usage(call: Run, arguments: list[str], words: str) -> None:
    """Exit code 2."""
    code, _, err = call(*arguments)
    assert code == 2
    assert words in err


def test_a_method_that_is_not_there_is_said_before_the_collection_is_read(
    call: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is none of this name, and that is not what is said."""
    monkeypatch.setitem(sys.modules, "umap", None)
    code, _, err = call("map", "none", tmp_path / "a.html", "--method", "umap")
    assert (code, err.startswith("Error: UMAP is not installed")) == (1, True)


@pytest.mark.parametrize(
    ("command", "at"),
    [
        (["outliers", "things"], "extractor.exploring.rows.Rows.append"),
        (["clusters", "things"], "extractor.collections.Collection.open"),
        (["map", "things", "a.html"], "extractor.exploring.maps.require_method"),
    ],
)
def test_ctrl_c_says_what_is_true(
    command: list[str],
    at: str,
    things: DataFolder,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Nothing was embedded that could be remembered."""

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(at, interrupted)
    with pytest.raises(SystemExit) as ended:
        run(commands, [*command, "--data", str(things.root)])
    assert ended.value.code == 130
    assert capsys.readouterr().err.splitlines()[-1] == "Interrupted. The collection is as it was."


def test_ctrl_c_of_an_export_promises_no_embeddings(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It makes a bundle, whole or not at all."""

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setitem(sys.modules, "extractor.backbones.export", SimpleNamespace(export=interrupted))
    with pytest.raises(SystemExit) as ended:
        run(commands, ["export"])
    assert ended.value.code == 130
    assert capsys.readouterr().err == "Interrupted. No bundle was made or changed.\n"


def test_clusters_that_do_not_differ_are_fewer_and_said_to_overlap() -> None:
    """Why there are not as many as were asked for, and what a low silhouette means."""
    one = Cluster(np.arange(3), np.zeros(3, np.float32), [])
    fewer, overlapping = _said(Clusters([one] * 2, 0.07, {}), 5)
    assert fewer == "2 clusters instead of 5: the others would be empty, since no more images differ"
    assert overlapping == "silhouette 0.07, so they overlap: there are no clusters to speak of"
    assert list(_said(Clusters([one], 0.8, {2: 0.8}), None)) == [
        "1 cluster, the best of 1 number tried",
        "silhouette 0.80",
    ]


def test_a_group_that_is_a_chain_is_headed_as_one() -> None:
    """Not as images that are alike."""
    chain = Group([Member("a", 1.0, exact=True), Member("b", 0.72, exact=False)] * 10)
    assert (
        _heading(1, chain, 0.95)
        == "1: 20 images, 16 shown, linked through others: down to 0.72 like the first"
    )
    twins = Group([Member("a", 1.0, exact=True), Member("b", 0.97, exact=False)])
    assert _heading(2, twins, 0.95) == "2: 2 images, alike"
