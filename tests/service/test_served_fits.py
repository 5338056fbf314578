"""What a fit on the server leaves beside its head, and that it is fitted as `fit-head` fits."""

from __future__ import annotations

import asyncio
import csv
import errno
import hashlib
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import pytest_asyncio

from classifiers.service.gauges import DriftGauges
from classifiers.service.local_files import ELSEWHERE, with_local_names
from classifiers.store import bundle
from classifiers.store.versions import versions
from classifiers.training.train import STAGES, Training, train
from extractor._pb.penultimate.v1 import heads_pb2 as pb
from extractor._pb.penultimate.v1.heads_pb2_grpc import HeadsStub
from extractor.settings import DataFolder
from tests.service.conftest import StandIn
from tests.service.test_heads import (
    asking,
    by_vector,
    coloured,
    embed_numbers,
    failing,
    fitted,
    fitting_on,
    labelled_rows,
    said,
    started,
)


@pytest.fixture
def data(tmp_path: Path) -> DataFolder:
    return DataFolder(tmp_path / "data")


@pytest_asyncio.fixture
async def stub(stand_in: StandIn, data: DataFolder) -> AsyncIterator[HeadsStub]:
    embed_numbers(stand_in)
    server = await started(stand_in, data, DriftGauges())
    async with grpc.aio.insecure_channel(server.address) as channel:
        stub = HeadsStub(channel)
        stub.address = server.address
        yield stub
    await server.stop(grace=1)


def split_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "split.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


async def test_a_served_fit_leaves_what_fit_head_leaves(data: DataFolder, stub: HeadsStub) -> None:
    """Report, split and rows beside the head; each stage is said with the time since the call began."""
    *stages, last = await said(stub, fitting_on(coloured()))
    folder = data.heads.parent / last.fitted.folder
    assert last.fitted.folder == "heads/colours/versions/0001"
    assert {"report.html", "report.json", "split.csv", "rows.parquet"} < set(last.fitted.files)
    assert sorted(file.name for file in folder.iterdir()) == list(last.fitted.files)
    assert json.loads((folder / "report.json").read_text())["seconds"]["embed"] >= 0
    assert {"embed", "duplicates", "sweep", "fit", "test", "report"} < set(last.fitted.seconds)
    lines = [each.stage.line for each in stages]
    before = ["ready", "embedding", "looking for near", "fitting on 120"]
    order = [*before, *STAGES.values(), "making the report", "writing"]
    places = [next(at for at, line in enumerate(lines) if line.startswith(part)) for part in order]
    assert places == sorted(places)
    times = [each.stage.seconds for each in stages]
    assert times == sorted(times)
    without = await fitted(stub, fitting_on(coloured(), no_report=True))
    assert "split.csv" in without.files
    assert "report.html" not in without.files


async def test_near_copies_of_a_served_fit_are_never_parted(data: DataFolder, stub: HeadsStub) -> None:
    """Each vector comes twice, a thousandth longer the second time."""
    rows = np.random.default_rng(4).normal(size=(80, 3))
    inputs = [
        (by_vector(*(row * scale), id=f"{at} {scale}"), "left" if row[0] < 0 else "right")
        for at, row in enumerate(rows)
        for scale in (1, 1.001)
    ]
    await fitted(stub, fitting_on(inputs, no_report=True))
    parts: dict[str, set[str]] = {}
    for row in split_of(data.heads / "colours/versions/0001"):
        parts.setdefault(row["path"].split()[0], set()).add(row["part"])
    assert len(parts) == 80
    assert all(len(each) == 1 for each in parts.values())
    assert {part for each in parts.values() for part in each} == {"train", "test"}


async def test_a_served_fit_takes_several_labels_an_image(data: DataFolder, stub: HeadsStub) -> None:
    """Named as in a table, in any order; the report is of several labels, too."""
    rows = np.random.default_rng(4).normal(size=(80, 3))
    inputs = [
        (
            by_vector(*row, id=f"{at}"),
            "|".join(["up"] * bool(row[1] > 0) + ["right"] * bool(row[0] > 0)) or "|",
        )
        for at, row in enumerate(rows)
    ]
    last = await fitted(stub, fitting_on(inputs, multi_label=True))
    assert list(last.head.versions[0].classes) == ["right", "up"]
    report = json.loads((data.heads.parent / last.folder / "report.json").read_text())
    assert report["multi_label"]
    asked = asking(by_vector(3, 3, 0), by_vector(-3, -3, 0), no_reject=True)
    answer = await stub.Classify(asked)
    assert [list(each.classifications[0].labels) for each in answer.results] == [["right", "up"], []]


async def test_a_served_fit_takes_what_each_class_counts(data: DataFolder, stub: HeadsStub) -> None:
    fit = fitting_on(coloured(), no_report=True, class_weight={"red": 3})
    assert (await fitted(stub, fit)).version == 1
    facts = bundle.read_facts(data.heads / "colours/versions/0001")
    assert facts["fitting"]["class_weight"] == {"red": 3.0}
    both = fitting_on(coloured(), balanced=True, class_weight={"red": 3})
    error = await failing(said(stub, both), grpc.StatusCode.INVALID_ARGUMENT)
    assert "`balanced` says what each class counts, and so does `class_weight`" in error.details()


async def test_a_damaged_head_is_mended_by_a_fit_and_a_promotion(data: DataFolder, stub: HeadsStub) -> None:
    await fitted(stub, fitting_on(coloured(), no_report=True))
    (data.heads / "colours/versions/0001/manifest.json").write_text("{")
    await failing(stub.GetHead(pb.GetHeadRequest(name="colours")), grpc.StatusCode.DATA_LOSS)
    second = await fitted(stub, fitting_on(coloured(), no_report=True))
    assert (second.version, [each.version for each in second.head.versions]) == (2, [2])
    assert "version 1 answers nothing; let version 2 answer" in second.against_serving
    promoted = await stub.Promote(pb.PromoteRequest(name="colours"))
    assert (promoted.serving, [each.version for each in promoted.versions]) == (2, [2])


async def test_a_fit_for_which_the_disk_has_no_room_changes_nothing(
    data: DataFolder, stub: HeadsStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The caller is told; the version before answers, nothing is left, and the next fit works."""
    await fitted(stub, fitting_on(coloured(), no_report=True))
    before = sorted(data.heads.rglob("*"))

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("classifiers.store.versions.write_head", full)
        error = await failing(
            said(stub, fitting_on(coloured(), no_report=True)), grpc.StatusCode.INVALID_ARGUMENT
        )
    assert "No space left" in error.details()
    assert sorted(data.heads.rglob("*")) == before
    assert bundle.read_head(data.heads / "colours/versions/0001").manifest.classes == ["blue", "red"]
    assert (await fitted(stub, fitting_on(coloured(), no_report=True))).version == 2


async def test_of_two_fits_of_one_name_at_once_one_is_told_to_come_again(
    data: DataFolder, stub: HeadsStub
) -> None:
    """Neither touches the other's version."""
    outcomes = await asyncio.gather(
        *(fitted(stub, fitting_on(coloured(), no_report=True)) for _ in range(2)), return_exceptions=True
    )
    refused = [each for each in outcomes if isinstance(each, grpc.RpcError)]
    made = [each.version for each in outcomes if isinstance(each, pb.Fitted)]
    assert {each.code() for each in refused} <= {grpc.StatusCode.RESOURCE_EXHAUSTED}
    assert made == versions("colours", data) == list(range(1, len(made) + 1))
    assert made


@pytest.fixture(scope="module")
def training() -> Training:
    return train("colours", labelled_rows(), backbone="stand-in", test_size=0.5)


def test_a_report_reads_only_files_that_are_what_was_sent(training: Training, tmp_path: Path) -> None:
    """Or a caller could have any picture of the server's put into it by its name."""
    sent, other = tmp_path / "sent", tmp_path / "other"
    sent.write_bytes(b"the picture that was sent")
    other.write_bytes(b"another")
    digest = hashlib.sha256(b"the picture that was sent").hexdigest()
    names = [str(sent), str(other), str(tmp_path), "sent", "/dev/zero", "", "no\0file"]
    known = training.known.take(np.arange(len(names)))
    claimed = replace(known, images=names, digests=np.array([digest] * len(names)))
    named = with_local_names(replace(training, known=claimed)).known.images
    assert named == [str(sent), *(ELSEWHERE + name for name in names[1:])]


async def test_names_and_labels_of_any_length_are_not_kept(data: DataFolder, stub: HeadsStub) -> None:
    """They would be, a thousand of them in memory and on disk, and one for each image of a fit."""
    rows = [
        *coloured(),
        (by_vector(1, 2, 3, id="x" * 5000), "red"),
        (by_vector(4, 5, 6, id="long"), "y" * 5000),
    ]
    made = await fitted(stub, fitting_on(rows, no_report=True))
    assert [each.image for each in made.left_out][-1] == "long"
    assert [each.reason.partition(" bytes")[0][-5:] for each in made.left_out] == ["5,000", "5,000"]
    answer = await stub.Classify(asking(by_vector(1, 2, 3, id="x" * 5000), by_vector(200, 20, 20, id="x")))
    assert [each.error.code for each in answer.results] == [pb.HeadError.INVALID_ARGUMENT, 0]


async def test_a_list_of_heads_has_no_tables_and_a_head_has(data: DataFolder, stub: HeadsStub) -> None:
    """Of many classes and versions they would fill the message."""
    await fitted(stub, fitting_on(coloured(), no_report=True))
    (listed,) = (await stub.ListHeads(pb.ListHeadsRequest())).heads
    whole = await stub.GetHead(pb.GetHeadRequest(name="colours"))
    assert json.loads(listed.versions[0].metrics).keys() & {"accuracy", "confusion"} == {"accuracy"}
    assert json.loads(whole.versions[0].metrics).keys() > {"accuracy", "confusion", "classes"}


async def test_options_come_once(data: DataFolder, stub: HeadsStub) -> None:
    requests = fitting_on(coloured())
    requests[1].options.name = "another"
    error = await failing(said(stub, requests), grpc.StatusCode.INVALID_ARGUMENT)
    assert "only the first request" in error.details()
    assert not list(data.heads.glob("[!.]*"))
