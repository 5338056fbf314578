"""Heads through both clients, against our server over the stand-in."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from classifiers.service import HeadsService
from classifiers.store.versions import delete, rollback
from extractor import errors
from extractor.client import AsyncClient, Client, HeadInput, Stage
from extractor.server import Server
from extractor.settings import DataFolder, ServiceLimits
from tests.service.conftest import PATIENCE_S, StandIn
from tests.service.test_heads import COLOURS, OTHER, embed_numbers, pictures, save

Ask = Callable[..., Any]


@pytest.fixture
def data(tmp_path: Path) -> DataFolder:
    return DataFolder(tmp_path / "data")


@pytest.fixture
def address(stand_in: StandIn, data: DataFolder) -> Iterator[str]:
    """Our server, on an event loop in a thread of its own."""
    embed_numbers(stand_in)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def run(work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, loop).result(PATIENCE_S)

    async def start() -> Server:
        server = Server(
            stand_in,
            "127.0.0.1:0",
            services=[lambda embedder, calls: HeadsService(data, embedder, calls)],
            limits=ServiceLimits(items_per_call=50),
        )
        await server.start()
        await server.warm()
        return server

    server = run(start())
    yield server.address
    run(server.stop(grace=1))
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def blocking(address: str, method: str, *args: Any, name: str, fingerprint: Any, **how: Any) -> Any:
    with Client(address) as client:
        if method == "heads":
            return client.heads()
        return getattr(client.head(name, fingerprint=fingerprint), method)(*args, **how)


def awaiting(address: str, method: str, *args: Any, name: str, fingerprint: Any, **how: Any) -> Any:
    async def ask() -> Any:
        async with AsyncClient(address) as client:
            if method == "heads":
                return await client.heads()
            return await getattr(client.head(name, fingerprint=fingerprint), method)(*args, **how)

    return asyncio.run(ask())


@pytest.fixture(params=[blocking, awaiting])
def ask(request: pytest.FixtureRequest, address: str) -> Ask:
    """Asks by a new client of either kind: `ask(method, *args, name="colours", **how)`."""

    def ask(
        method: str, *args: Any, name: str = "colours", fingerprint: str | None = None, **how: Any
    ) -> Any:
        return request.param(address, method, *args, name=name, fingerprint=fingerprint, **how)

    return ask


def examples(count: int = 40) -> list[tuple[Any, str]]:
    return [(image, label) for label in COLOURS for image in pictures(label, count)]


def test_a_head_is_fitted_used_and_promoted(ask: Ask, tmp_path: Path) -> None:
    """From images, files and vectors together; what cannot be read is listed."""
    file = tmp_path / "some red.img"
    file.write_bytes(b"\xc8\x14\x15")
    vector = np.array([20, 20, 201], np.float32)
    more = [(file, "red"), (vector, "blue"), (tmp_path / "absent.png", "red"), (b"none", "blue")]
    stages: list[Stage] = []
    fitted = ask("fit", iter([*examples(), *more]), kind="ridge", progress=stages.append)
    assert (fitted.version, fitted.head.serving, fitted.fitted.kind) == (1, 1, "ridge")
    assert stages[-1].images == 83
    assert [each.image for each in fitted.left_out][:1] == [str(tmp_path / "absent.png")]
    assert len(fitted.left_out) == 2
    second = ask("fit", examples())
    assert (second.version, second.head.serving) == (2, 1)
    assert ask("promote").serving == 2
    assert ask("info").answering.version == 2
    (red, blue) = ask("classify", [file, pictures("blue", 1, 5)[0]])
    assert (red.label, blue.label, red.verdict.version) == ("red", "blue", 2)
    assert [head.name for head in ask("heads")] == ["colours"]


@pytest.mark.parametrize(
    ("method", "given"), [("classify", "x.png"), ("classify", np.ones(3)), ("fit", "ab")]
)
def test_a_single_input_in_place_of_a_list_is_refused(ask: Ask, method: str, given: Any) -> None:
    """Its letters are not taken for paths."""
    with pytest.raises(errors.InvalidArgument, match="must be a list, not a single"):
        ask(method, given)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("labelled/brick/0.jpg", "row 80 .* and is 'labelled/brick/0.jpg'"),
        ((b"x", "red", 0.5), "row 80 .* and is 3 things"),
        ((b"x", 7), "row 80 .* a label of int: labels are text"),
        (None, "row 80 .* and is None"),
    ],
)
def test_a_row_that_is_no_input_with_its_label_is_named(
    ask: Ask, data: DataFolder, row: Any, said: str
) -> None:
    """gRPC draws the rows elsewhere; nothing is fitted on those before it."""
    with pytest.raises(errors.InvalidArgument, match=said):
        ask("fit", [*examples(), row])
    assert not list(data.heads.glob("colours"))


def test_what_a_fit_on_the_server_does_not_take_is_said(ask: Ask) -> None:
    with pytest.raises(TypeError, match=r"takes no weights, groups; it takes name, kind, .*multi_label"):
        ask("fit", examples(2), weights=[1], groups=[2])


def test_what_the_callers_own_rows_raise_reaches_the_caller(ask: Ask) -> None:
    def rows() -> Iterator[tuple[Any, str]]:
        yield from examples(2)
        raise KeyError("no such label")

    with pytest.raises(KeyError, match="no such label"):
        ask("fit", rows())


def test_many_inputs_are_answered_in_order_each_in_its_place(
    ask: Ask, data: DataFolder, tmp_path: Path
) -> None:
    """More than go into one request; what cannot be read fails alone, and is never sent."""
    save(data)
    save(data, "same")
    images = [
        image for pair in zip(pictures("red", 40, 5), pictures("blue", 40, 5), strict=True) for image in pair
    ]
    inputs = [*images, tmp_path / "absent.png", b"none", HeadInput(), np.zeros((2, 2), np.float32)]
    found = ask("classify", iter(inputs), beside=["same"], top=1, reject=False)
    assert [each.label for each in found[:80]] == ["red", "blue"] * 40
    assert {tuple(verdict.head for verdict in each.verdicts) for each in found[:80]} == {("colours", "same")}
    assert {len(verdict.answers) for each in found[:80] for verdict in each.verdicts} == {1}
    kinds = [errors.NotFound, errors.InvalidImage, errors.InvalidArgument, errors.InvalidArgument]
    assert [type(each.error) for each in found[80:]] == kinds
    with pytest.raises(errors.NotFound):
        _ = found[80].label


def remember(stand_in: StandIn, images: list[bytes]) -> None:
    for image in images:
        stand_in.known[hashlib.sha256(image).digest()] = np.frombuffer(image, np.uint8).astype(np.float32)


def test_images_that_the_server_remembers_are_not_sent(ask: Ask, data: DataFolder, stand_in: StandIn) -> None:
    """Their digests are, and what is not remembered follows; every answer is in its place."""
    save(data)
    images = [
        image for pair in zip(pictures("red", 42, 5), pictures("blue", 42, 5), strict=True) for image in pair
    ]
    new = images[7::10]
    remember(stand_in, [image for image in images if image not in new])
    lost = HeadInput(digest=b"never seen" * 3 + b"..")
    found = ask(
        "classify",
        [*images[:40], np.array([20, 20, 200], np.float32), lost, *images[40:], b"none"],
        reject=False,
    )
    assert len(stand_in.submitted) == len(new) + 1
    assert isinstance(found.pop(41).error, errors.NotFound)
    assert found.pop(40).label == "blue"
    assert isinstance(found.pop().error, errors.InvalidImage)
    assert [each.label for each in found] == ["red", "blue"] * 42
    assert [each.cached for each in found] == [image not in new for image in images]
    assert [each.digest for each in found] == [hashlib.sha256(image).digest() for image in images]


def test_where_nothing_is_remembered_images_are_soon_sent_without_asking(
    ask: Ask, data: DataFolder, monkeypatch: pytest.MonkeyPatch, stand_in: StandIn
) -> None:
    """And a few images are never asked for: the question would take longer."""
    save(data)
    asked: list[int] = []
    look_up = stand_in.lookup
    monkeypatch.setattr(stand_in, "lookup", lambda digests: [asked.append(len(digests)), look_up(digests)][1])
    ask("classify", pictures("red", 3, 5))
    assert not asked
    found = ask("classify", [image for label in COLOURS for image in pictures(label, 400, 6)])
    assert len(found) == 800
    assert sum(asked) <= 6 * 16


def test_what_a_head_does_not_know_is_unknown(ask: Ask, data: DataFolder) -> None:
    save(data)
    green = np.array([20, 250, 20], np.float32)
    assert [each.label for each in ask("classify", [green])] == ["unknown"]
    assert ask("classify", [green], reject=False)[0].label in COLOURS


def test_drift_is_asked_for(ask: Ask, data: DataFolder) -> None:
    save(data)
    assert ask("drift").distance is None
    ask("classify", [HeadInput(vector=[10, 200, at], id=f"green {at}") for at in range(60)])
    drift = ask("drift")
    assert (drift.images, drift.name, drift.version) == (60, "colours", 1)
    assert drift.distance.moved
    assert drift.unusual[0].id.startswith("green")


def test_what_a_deleted_version_was_asked_is_not_counted_as_another_version_s(
    ask: Ask, data: DataFolder
) -> None:
    save(data)
    save(data, promote=True)
    ask("classify", [HeadInput(vector=[10, 200, at], id=f"green {at}") for at in range(40)])
    assert (ask("drift").version, ask("drift").images) == (2, 40)
    rollback("colours", data)
    delete("colours", 2, data)
    save(data, promote=True)
    assert (ask("drift").version, ask("drift").images, ask("drift").seen) == (3, 0, 0)


def test_errors_are_those_of_the_library(ask: Ask, data: DataFolder) -> None:
    with pytest.raises(errors.NotFound, match="absent"):
        ask("info", name="absent")
    with pytest.raises(errors.InvalidArgument, match="oracle"):
        ask("fit", examples(), kind="oracle")
    with pytest.raises(errors.InvalidArgument, match="top"):
        ask("classify", [], top=0)
    save(data, "foreign", OTHER)
    with pytest.raises(errors.FingerprintMismatch) as mismatch:
        ask("classify", [b"abc"], name="foreign")
    assert (mismatch.value.expected, mismatch.value.found) == (StandIn.fingerprint, OTHER)
    vector = np.array([200, 20, 20], np.float32)
    assert ask("classify", [vector], name="foreign", fingerprint=OTHER)[0].label == "red"


def test_of_several_heads_the_one_that_does_not_fit_is_named(ask: Ask, data: DataFolder) -> None:
    save(data)
    save(data, "foreign", OTHER)
    with pytest.raises(errors.FingerprintMismatch, match="the head 'foreign'") as mismatch:
        ask("classify", [b"abc"], beside=["foreign"])
    assert (mismatch.value.expected, mismatch.value.found) == (StandIn.fingerprint, OTHER)


def test_each_of_several_servers_has_its_own_heads(address: str) -> None:
    with Client([address, "127.0.0.1:1"]) as client:
        with pytest.raises(errors.InvalidArgument, match="its own collections and heads"):
            client.head("colours")
        with pytest.raises(errors.InvalidArgument, match="its own collections and heads"):
            client.heads()
