"""Every benchmark of the service runs whole, with few images: the figures themselves mean nothing here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.servers import BARE, OURS, PEERS, PEERS_PYTHON
from extractor.settings import DataFolder

ROOT = Path(__file__).parent.parent.parent
FEW = ["--distinct", "20", "--precision", "fp32"]
SERVERS = [
    OURS,
    BARE,
    *(
        pytest.param(name, marks=pytest.mark.skipif(not PEERS_PYTHON.exists(), reason="`make peers` first"))
        for name in PEERS
    ),
]


def figures(name: str, data: DataFolder, file: Path, *options: str) -> dict[str, Any]:
    """What a benchmark found."""
    command = [sys.executable, "-m", f"benchmarks.{name}", "--data", str(data.root), "--json", str(file)]
    done = subprocess.run([*command, *FEW, *options], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(file.read_text())


@pytest.mark.parametrize("server", SERVERS)
def test_servers_are_compared_with_the_limit(server: str, data: DataFolder, tmp_path: Path) -> None:
    """Each server gives the limit's vectors, and has a row beside it."""
    options = ("--servers", server, "--rounds", "1", "--round", "16")
    found = figures("compare", data, tmp_path / "json", *options)
    rows = {row["server"].partition(",")[0]: row for row in found["tables"]["16 in flight"]}
    assert set(rows) == {"limit", server}
    assert rows[server]["of the limit"] > 0
    assert rows[server]["memory MB"] > 50


def test_the_tail_counts_every_request(data: DataFolder, tmp_path: Path) -> None:
    """At a small part of the peak, all are answered."""
    options = ("--servers", OURS, "--share", "0.2", "--seconds", "2", "--rounds", "1", "--peak", "40")
    (row,) = figures("tail", data, tmp_path / "json", *options)["tables"]["open loop at 20% of the peak"]
    assert row["not answered"] == 0
    assert row["p99 ms"] >= row["p50 ms"] > 0


def test_overload_knows_what_became_of_each_request(data: DataFolder, tmp_path: Path) -> None:
    """Some are in time, some are not, none is lost, and one more is answered after all."""
    options = ("--servers", OURS, "--times", "4", "--seconds", "2", "--deadline", "0.2", "--peak", "40")
    options += ("--rounds", "1")
    (row,) = figures("overload", data, tmp_path / "json", *options)["tables"]["every request with 0.2 s"]
    assert row["refused"] + row["late"] > 0
    assert row["failed"] == 0
    assert row["one after, ms"] < 60_000


@pytest.mark.skipif(not PEERS_PYTHON.exists(), reason="`make peers` first")
def test_decoding_is_compared_by_its_pixels(data: DataFolder, tmp_path: Path) -> None:
    """Ours gives the pixels of resizing the whole picture; OpenCV's areas do not."""
    found = figures("decode", data, tmp_path / "json", "--rounds", "1", "--images", "20", "--large", "1")
    rows = {row["way"]: row for row in found["tables"]["decode, check, resize, crop"]}
    assert rows["ours"]["same pixels"] == "yes"
    assert rows["OpenCV: INTER_AREA"]["same pixels"] == "no"
    large = {
        row["way"]: row["same pixels"] for row in found["tables"]["the same, photos of 12 million pixels"]
    }
    assert (large["ours"], large["ours, fast profile"]) == ("yes", "no")


def test_the_service_is_measured_computed_and_remembered(data: DataFolder, tmp_path: Path) -> None:
    """Remembered images are found by each way that there is, and memory is read to the last image."""
    options = ("--rounds", "1", "--round", "16", "--calls", "10", "--images", "300")
    found = figures("service", data, tmp_path / "json", *options)
    ways = {row["way"]: row["images/s"] for row in found["tables"]["remembered"]}
    assert ways["sent in Embed"] > ways["computed"]
    assert found["tables"]["memory"][-1]["images"] == 300
    assert {"single call over in process, ms", "bare call over in process, ms"} <= set(found)


def test_a_bare_server_can_refuse(data: DataFolder, tmp_path: Path) -> None:
    """With a bound it is measured a second time, and then refuses what is over it."""
    options = ("--servers", BARE, "--times", "4", "--seconds", "2", "--rounds", "1", "--peak", "40")
    options += ("--deadline", "0.5")
    rows = figures("overload", data, tmp_path / "json", *options)["tables"]["every request with 0.5 s"]
    assert [row["server"] for row in rows] == [BARE, f"{BARE}, bounded"]
    assert rows[0]["refused"] == 0 < rows[1]["refused"]
    assert rows[1]["failed"] == 0
