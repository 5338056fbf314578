"""`penultimate export` and `penultimate backbones`, as a user meets them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from extractor.backbones import catalogue
from extractor.backbones.bundle import Bundle
from extractor.cli.bundles import bundle_bytes, size_text
from extractor.settings import DEFAULT_BACKBONE, DataFolder


def penultimate(
    *arguments: str | os.PathLike[str], variables: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "extractor.cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **(variables or {})},
    )


def test_export_makes_the_bundle_and_says_so(tmp_path: Path, bundle: Bundle) -> None:
    """JSON alone on standard output, what is being done on standard error, a good bundle in the folder."""
    done = penultimate("export", "--data", tmp_path, "--json")
    assert done.returncode == 0
    report = json.loads(done.stdout)
    assert report["made"] is True
    assert report["fingerprint"] == bundle.fingerprint
    assert report["path"] == str(tmp_path / "backbones" / DEFAULT_BACKBONE)
    assert report["golden_cosine"] >= 0.9999
    assert [line[-1] for line in done.stderr.splitlines()] == ["…"] * 3
    Bundle.open(Path(report["path"]))


def test_export_of_what_is_there_is_reported_as_that(exported_data: DataFolder, bundle: Bundle) -> None:
    """The data folder may come from the environment; the text names path, fingerprint and agreement."""
    done = penultimate("export", variables={"PENULTIMATE_DATA": str(exported_data.root)})
    assert done.returncode == 0
    assert done.stderr == ""
    for part in (
        "was there already",
        str(bundle.path),
        bundle.fingerprint,
        "smallest cosine",
        "float32[1280]",
        f"{size_text(bundle_bytes(bundle))} on disk",
    ):
        assert part in done.stdout


def test_an_export_says_whose_the_weights_are(tmp_path: Path, exported_data: DataFolder) -> None:
    """In both reports; and that a bundle of one's own file is not the published one, where none is given."""
    weights = catalogue.find(DEFAULT_BACKBONE).weights
    report = json.loads(penultimate("export", "--data", exported_data.root, "--json").stdout)
    assert report["weights"] == weights.source
    file = weights.find()
    assert file is not None
    own = "a file of the user's: mine.pth"
    shutil.copyfile(file, tmp_path / "mine.pth")
    made = penultimate("export", "--data", tmp_path, "--weights", tmp_path / "mine.pth", "--json")
    assert json.loads(made.stdout)["weights"] == own
    assert "mine.pth" not in made.stderr
    found = penultimate("export", "--data", tmp_path)
    assert f"weights      {own}" in found.stdout.splitlines()
    assert found.stderr == (
        "the bundle there is of a file of yours, mine.pth, not of the published weights: "
        "--force makes it of those\n"
    )


def test_a_wrong_name_lists_the_right_ones(tmp_path: Path) -> None:
    """One line on standard error, exit code 1, nothing written."""
    done = penultimate("export", "resnet", "--data", tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Error: there is no backbone 'resnet'; there are efficientnet_lite0,")
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_backbones_tells_what_is_exported(exported_data: DataFolder, bundle: Bundle) -> None:
    """The table and the JSON name every backbone, its cost, and the exported one's fingerprint."""
    table = penultimate("backbones", "--data", exported_data.root).stdout.splitlines()
    assert table[0].split() == (
        ["name", "source", "input", "resize", "dim", "parameters", "licence", "size", "weights", "exported"]
    )
    assert "4,652,008" in table[1]
    assert table[1].endswith(bundle.fingerprint[:12])
    assert f"  {size_text(bundle_bytes(bundle))} on disk  " in table[1]
    assert " of weights  " in table[2]
    rows = json.loads(penultimate("backbones", "--data", exported_data.root, "--json").stdout)
    assert [(row["name"], row["input_px"], row["exported"]) for row in rows[:3]] == [
        ("efficientnet_lite0", 224, True),
        ("efficientnet_lite1", 240, False),
        ("efficientnet_lite2", 260, False),
    ]
    assert len(table) == len(rows) + 1 > 15
    assert rows[0]["weights_here"] is True


@pytest.mark.parametrize(
    ("count", "shown"),
    [(170, "0.2 kB"), (42_300, "42 kB"), (999_000, "999 kB"), (4_660_000, "4.7 MB"), (553_400_000, "553 MB")],
)
def test_no_network_is_shown_without_size(count: int, shown: str) -> None:
    """A small one of a user's own is not "0 MB"."""
    assert size_text(count) == shown


def test_backbones_reports_damage_and_goes_on(tmp_path: Path) -> None:
    """A damaged bundle is marked in the list; it is no reason to list nothing."""
    (tmp_path / "backbones" / DEFAULT_BACKBONE).mkdir(parents=True)
    done = penultimate("backbones", "--data", tmp_path, "--json")
    assert done.returncode == 0
    assert "manifest.json is damaged" in json.loads(done.stdout)[0]["damage"]
    assert penultimate("backbones", "--data", tmp_path).stdout.splitlines()[1].endswith("damaged")
