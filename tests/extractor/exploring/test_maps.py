"""Maps: true places, and a page that needs nothing and harms nobody."""

import json
import re
import sys
from base64 import b64decode

import numpy as np
import pytest
from PIL import Image
from sklearn.decomposition import PCA

from extractor.errors import InvalidArgument
from extractor.exploring.axes import principal_axes
from extractor.exploring.maps import lay_out, require_method, spread
from extractor.exploring.pages import page
from extractor.exploring.pictures import picture_of, small_jpeg
from tests.extractor.exploring.conftest import PARTS, encoded, perturbed


def content(html: str) -> dict:
    return json.loads(re.search(r'<script id="data" type="application/json">(.*?)</script>', html)[1])


def coordinates(data: dict) -> np.ndarray:
    return np.frombuffer(b64decode(data["points"]), "<u2").reshape(-1, 2)


def test_the_axes_are_scikit_learn_s(planted, read) -> None:
    """Directions but for their signs, and the variance along them."""
    rows = read(planted.parts)
    axes, judge = principal_axes(rows, 5), PCA(5, svd_solver="full").fit(rows.tile(0, 64).astype(np.float64))
    assert np.abs((axes.directions.T * judge.components_).sum(axis=1)).min() > 0.99999
    np.testing.assert_allclose(axes.explained, judge.explained_variance_ratio_, rtol=1e-4)


def test_points_are_projections_and_say_how_much_they_keep(planted, read) -> None:
    """Over several tiles; the method names the share of the variance."""
    rows = read(perturbed(planted.parts, 1500)[:, :200])
    layout = lay_out(rows)
    units = np.concatenate(list(rows.tiles(500))).astype(np.float64)
    judge = PCA(2).fit(units)
    np.testing.assert_allclose(np.abs(layout.points), np.abs(judge.transform(units)), atol=1e-3)
    assert f"{judge.explained_variance_ratio_.sum():.0%} of the variance" in layout.method


def test_what_looks_alike_lies_near_each_other(planted, read) -> None:
    """Parts of one picture are nearer than those of two: grass and the astronaut."""
    points = lay_out(
        read(np.concatenate([planted.parts[:PARTS], planted.parts[5 * PARTS : 6 * PARTS]]))
    ).points
    one, other = points[:PARTS], points[PARTS:]
    apart = np.linalg.norm(one.mean(axis=0) - other.mean(axis=0))
    assert apart > 3 * max(one.std(), other.std())


def test_of_too_many_images_some_are_chosen(planted, read) -> None:
    """The same ones each time, at the places they have among all."""
    rows = read(perturbed(planted.parts, 1500)[:, :64])
    few, again, all_ = lay_out(rows, most=100), lay_out(rows, most=100), lay_out(rows)
    assert len(few.places) == 100
    np.testing.assert_array_equal(few.places, again.places)
    np.testing.assert_allclose(few.points, all_.points[few.places], atol=1e-6)
    assert content(page("many", rows, few, {}))["total"] == 1500


def test_pictures_are_spread_over_the_map() -> None:
    """A lonely point has one though nearly all others are elsewhere."""
    points = np.zeros((1000, 2), np.float32)
    points[:990] += np.random.default_rng(0).normal(0, 0.01, (990, 2))
    points[990:] = [[x, 5] for x in range(10)]
    chosen = spread(points, 50)
    assert len(chosen) == len(set(chosen)) == 50
    assert set(range(990, 1000)) <= set(chosen.tolist())
    assert spread(points, 0).tolist() == []
    assert len(spread(points, 5000)) == 1000


def test_the_page_holds_everything(planted, read) -> None:
    """Points in a square of one scale both ways, ids, labels by frequency, pictures."""
    labels = ["b", "a", "a", None, "c"]
    rows = read(planted.whole[:5], labels=labels, ids=list("vwxyz"))
    layout = lay_out(rows)
    data = content(page("five", rows, layout, {1: b"jpeg"}))
    assert (data["title"], data["total"], data["ids"]) == ("five", 5, list("vwxyz"))
    assert data["labels"][0] == "a"
    assert [data["labels"][code] if code >= 0 else None for code in data["codes"]] == labels
    assert {key: b64decode(value) for key, value in data["pictures"].items()} == {"1": b"jpeg"}
    scale = 65535 / np.ptp(layout.points, axis=0).max()
    expected = (layout.points - layout.points.mean(axis=0)) * scale
    found = coordinates(data).astype(float)
    np.testing.assert_allclose(found - found.mean(axis=0), expected, atol=1)


def test_the_page_asks_nobody_for_anything(planted, read) -> None:
    """No address in it, and a policy that forbids to ask."""
    rows = read(planted.whole[:2])
    html = page("two", rows, lay_out(rows), {})
    assert "default-src 'none'" in html
    assert not re.search(r"https?:|//[a-z]|@import|<link|src=\"[^\"]", html)
    assert "{{" not in html


def test_the_picture_under_the_pointer_is_meant_and_an_empty_card_is_hidden(planted, read) -> None:
    """Both ways of pointing ask for what is drawn there; no layout of a narrow screen outdoes `hidden`."""
    html = page("two", rows := read(planted.whole[:2]), lay_out(rows), {})
    assert re.findall(r"(?:hover|pin)\((\w+)\([^)]*\b(?:x, y|offsetY), ", html) == ["under", "under"]
    assert "#hover[hidden], #pinned[hidden] { display: none; }" in html


def test_names_cannot_become_code(planted, read) -> None:
    """Neither an id nor a label ends the element it stands in."""
    evil = "</script><script>alert(1)</script>\u2028<!--"
    rows = read(planted.whole[:2], labels=[evil, None], ids=[evil, "b"])
    html = page("evil", rows, lay_out(rows), {})
    assert html.count("<script") == 2
    assert "alert(1)" in content(html)["ids"][0]


@pytest.mark.parametrize("count", [1, 2])
def test_a_map_of_one_point_is_a_map(planted, read, count: int) -> None:
    """Also when all images are the same."""
    rows = read([planted.whole[0]] * count)
    data = content(page("one", rows, lay_out(rows), {}))
    assert np.abs(coordinates(data).astype(int) - 32768).max() <= 1


def test_umap_that_is_not_there_is_said(planted, read, monkeypatch: pytest.MonkeyPatch) -> None:
    """With how to get it, and what else there is."""
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(InvalidArgument, match=r"run `pip install '\.\[map\]'` in penult"):
        lay_out(read(planted.whole), "umap")
    with pytest.raises(InvalidArgument, match=r"in penultimate's folder, or use PCA"):
        require_method("umap")
    require_method("pca")


def test_a_picture_is_the_thumbnail_else_the_file() -> None:
    """Else nothing."""
    from types import SimpleNamespace

    def album(thumbnail, file):
        known = SimpleNamespace(file=file and SimpleNamespace(source=file))
        return SimpleNamespace(thumbnail=lambda _: thumbnail, known=lambda _: known)

    assert picture_of(album(b"jpeg", "a.png"), "a") == b"jpeg"
    assert picture_of(album(None, "a.png"), "a") == "a.png"
    assert picture_of(album(None, None), "a") is None


def test_a_small_jpeg_keeps_the_shape() -> None:
    """What cannot be read gives none."""
    import io

    jpeg = small_jpeg(encoded(Image.new("RGB", (300, 100), "red")), 60)
    with Image.open(io.BytesIO(jpeg)) as image:
        assert (image.format, image.size) == ("JPEG", (60, 20))
    assert small_jpeg(b"no picture", 60) is small_jpeg("/no/such.jpg", 60) is small_jpeg(None, 60) is None
