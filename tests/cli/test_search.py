"""`penultimate search`: queries, filters, tables, JSON and sheets."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from extractor.cli import search
from extractor.settings import DataFolder

Run = Callable[..., tuple[int, str, str]]


def test_more_neighbours_than_items(call: Run, photos: Path) -> None:
    """All there are, as JSON, best first."""
    call("index", "things", photos)
    _, out, _ = call("search", "things", photos / "2-b.jpg", "-k", 100, "--json")
    found = json.loads(out)
    assert (found["collection"], found["query"]) == ("things", str(photos / "2-b.jpg"))
    assert [match["rank"] for match in found["matches"]] == [1, 2, 3, 4, 5, 6]
    scores = [match["score"] for match in found["matches"]]
    assert scores == sorted(scores, reverse=True)


def test_a_sheet_is_written_on_request(call: Run, photos: Path, tmp_path: Path) -> None:
    """In a folder that is made for it, if need be."""
    call("index", "things", photos)
    sheet = tmp_path / "out" / "sheet.png"
    code, _, err = call("search", "things", photos / "0-a.png", "-k", 3, "--sheet", sheet)
    made = f"the folder {sheet.parent} is not there: it is made\n"
    assert (code, err) == (0, f"{made}wrote {sheet}\n")
    with Image.open(sheet) as image:
        assert image.width > 4 * 150


def test_k_under_one_is_wrong_usage(call: Run, photos: Path) -> None:
    """Exit code 2, as for any option that makes no sense."""
    code, _, err = call("search", "things", photos / "0-a.png", "-k", 0)
    assert code == 2
    assert "0 is not in the range" in err


def test_a_read_only_data_folder_can_be_searched(penultimate, photos: Path, data: DataFolder) -> None:
    """And adding to it is refused in one sentence, with nothing half done."""
    assert penultimate("index", "things", str(photos)).returncode == 0
    folder = data.collections / "things"
    (folder / "items.sqlite").chmod(0o400)
    folder.chmod(0o500)
    done = penultimate("search", "things", str(photos / "1-a.png"), "-k", "2")
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(f"{photos / '1-b.jpg'}\n")
    Image.new("RGB", (50, 50), "red").save(photos / "new.png")
    done = penultimate("index", "things", str(photos))
    assert done.returncode == 1
    assert "Error: the collection 'things' cannot be written here" in done.stderr
    assert f"make the folder {folder} writable" in done.stderr
    folder.chmod(0o700)


@pytest.fixture
def things(call: Run, photos: Path) -> Path:
    """The photos, in the collection `things`: cats labelled, the others not."""
    call("index", "things", photos)
    call("collections", "set", "things", photos / "0-a.png", photos / "0-b.jpg", "--label", "cat")
    return photos


def paths(out: str) -> list[str]:
    return [Path(match["id"]).name for match in json.loads(out)["matches"]]


def test_several_queries_are_averaged_less_what_is_unwanted(call: Run, things: Path) -> None:
    """A cat and a cup find both first; without the cup, the cat's copy is nearer than any cup."""
    _, out, _ = call("search", "things", things / "0-a.png", things / "1-a.png", "-k", 4, "--json")
    assert {name[0] for name in paths(out)} == {"0", "1"}
    _, out, _ = call("search", "things", things / "0-a.png", "--unlike", things / "1-a.png", "--json")
    assert {name[0] for name in paths(out)[-2:]} == {"1"}


def test_filters_scores_and_labels(call: Run, things: Path) -> None:
    """Only what the filter means and what is alike enough; a label has a column of its own."""
    _, out, _ = call("search", "things", things / "1-a.png", "--filter", "label = 'cat'", "--json")
    assert sorted(paths(out)) == ["0-a.png", "0-b.jpg"]
    _, out, _ = call("search", "things", things / "0-a.png", "--min-score", "0.99", "--json")
    assert "0-a.png" in paths(out)
    assert not {name[0] for name in paths(out)} & {"1", "2"}
    _, out, _ = call("search", "things", things / "0-a.png", "-k", 1)
    assert out.splitlines()[0].split() == ["rank", "score", "distance", "label", "id"]
    assert out.splitlines()[1].split()[3] == "cat"
    code, _, err = call("search", "things", things / "0-a.png", "--filter", "label =")
    assert (code, "column 8" in err) == (1, True)


def test_an_item_is_searched_with_without_the_network(
    call: Run, things: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its id, also when its file is gone; a file that has changed is embedded as it is now."""
    monkeypatch.setattr(search, "open_source", lambda *_, **__: pytest.fail("the network was loaded"))
    (things / "2-a.png").unlink()
    _, out, _ = call("search", "things", things / "2-a.png", "-k", 2, "--json")
    assert paths(out) == ["2-a.png", "2-b.jpg"]
    monkeypatch.undo()
    (things / "0-a.png").write_bytes((things / "2-b.jpg").read_bytes())
    _, out, _ = call("search", "things", things / "0-a.png", "-k", 1, "--json")
    assert paths(out) == ["2-b.jpg"]


@pytest.mark.parametrize(
    ("named", "why"),
    [
        (["--backbone", "nosuch"], "'nosuch'"),
        (["--server", "127.0.0.1:1"], "127.0.0.1:1"),
    ],
)
def test_what_is_named_has_to_be_there_also_for_an_item(
    call: Run, things: Path, named: list[str], why: str
) -> None:
    """Its vector needs no network, but who names one wants to know that it cannot be used."""
    code, out, err = call("search", "things", things / "0-a.png", *named)
    assert (code, out) == (1, "")
    assert why in err


def test_a_sheet_tells_what_is_wanted_from_what_is_not(call: Run, things: Path, tmp_path: Path) -> None:
    """Below each other at the left, framed in two colours; the neighbours go on beside them."""
    sheet = tmp_path / "sheet.png"
    queries = (things / "0-a.png", "--unlike", things / "1-a.png")
    code, _, _ = call("search", "things", *queries, "-k", 6, "--sheet", sheet)
    assert code == 0
    with Image.open(sheet) as image:
        frames = {colour for _, colour in image.crop((32, 0, 36, image.height)).getcolors()}
    assert {(0x15, 0x65, 0xC0), (0xC6, 0x28, 0x28)} < frames


def test_a_sheet_speaks_of_what_is_unlike_only_where_something_is(
    call: Run, things: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a single query it is its own distance, of several that to their average."""
    legends: list[str] = []
    monkeypatch.setattr("extractor.sheets.neighbour_sheet", lambda *_, legend, **__: legends.append(legend))
    cat, cup = things / "0-a.png", things / "1-a.png"
    for queries in ([cat], [cat, cup], [cat, "--unlike", cup]):
        call("search", "things", *queries, "-k", 1, "--sheet", "sheet.png")
    assert "distance to the query" in legends[0]
    assert legends[1].endswith("distance to their average.")
    assert legends[2].endswith("distance to their average, less that of what is unlike.")
