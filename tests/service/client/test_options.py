"""What a call can be told: its time, its form, and who watches."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from extractor import errors
from extractor._pb.penultimate.v1 import penultimate_pb2 as pb
from extractor.client import AsyncClient, Client
from extractor.results import Result

PATIENCE_S = 60

Embed = Callable[..., list[Result]]


@pytest.mark.parametrize("timeout", [0, -1, float("nan")])
@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_a_timeout_is_positive(kind: Any, timeout: float) -> None:
    """Anything else is refused with the value."""
    with pytest.raises(errors.InvalidArgument, match=f"timeout is {timeout}"):
        kind(timeout=timeout)


@pytest.mark.parametrize("timeout", [float("inf"), 1e12])
def test_a_timeout_may_be_as_long_as_one_likes(embed: Embed, scripted: Any, timeout: float) -> None:
    """Also longer than gRPC can count."""
    assert embed(scripted.address, [b"a"], timeout=timeout)[0].ok
    assert embed(scripted.address, [b"a"], {"timeout": timeout})[0].ok


def test_a_call_may_have_a_timeout_of_its_own(embed: Embed, scripted: Any) -> None:
    """It is in place of the client's, and has to be a time as well."""
    given_up = threading.Event()
    scripted.before = lambda number, context: bool(given_up.wait(PATIENCE_S))
    with pytest.raises(errors.DeadlineExceeded, match="timeout"):
        embed(scripted.address, [b"a"], {"timeout": 0.3}, timeout=PATIENCE_S)
    given_up.set()
    with pytest.raises(errors.InvalidArgument, match="timeout is 0"):
        embed(scripted.address, [b"a"], {"timeout": 0})


def test_lookup_and_info_take_a_timeout_too(scripted: Any) -> None:
    """The same in both clients."""

    async def ask() -> None:
        async with AsyncClient(scripted.address) as client:
            assert await client.lookup([bytes(32)], timeout=PATIENCE_S) == [None]
            assert (await client.info(timeout=PATIENCE_S)).dim == 1

    asyncio.run(ask())
    with Client(scripted.address) as client:
        assert client.lookup([bytes(32)], timeout=PATIENCE_S) == [None]
        assert client.info(timeout=PATIENCE_S).dim == 1


def test_progress_is_told_to_a_function(embed: Embed, scripted: Any) -> None:
    """How many results there are, and will be; None where the images cannot be counted beforehand."""
    told: list[tuple[int, int | None]] = []
    embed(scripted.address, [b"a"] * 20, {"progress": lambda *numbers: told.append(numbers)})
    assert told == [(number, 20) for number in range(1, 21)]
    told.clear()
    embed(scripted.address, iter([b"a"] * 3), {"progress": lambda *numbers: told.append(numbers)})
    assert told == [(1, None), (2, None), (3, None)]


def test_progress_may_be_a_bar(embed: Embed, scripted: Any, capfd: pytest.CaptureFixture[str]) -> None:
    """On standard error, with the count; without being asked for, there is none."""
    embed(scripted.address, [b"a"] * 20)
    assert not capfd.readouterr().err
    embed(scripted.address, [b"a"] * 20, {"progress": True})
    said = capfd.readouterr()
    assert "20/20" in said.err
    assert not said.out


@pytest.mark.parametrize("known", [True, False])
def test_vectors_may_travel_as_halves_and_at_unit_length(embed: Embed, scripted: Any, known: bool) -> None:
    """Both are asked of the server, for what it computes and what it remembers; float32 comes back."""
    images = [bytes(3001)] * 4
    if known:
        scripted.known = {hashlib.sha256(images[0]).digest(): 3001}
    for result in embed(scripted.address, images, float16=True):
        assert result.embedding.dtype == np.float32
        assert result.embedding[0] == 3000  # eleven bits of 3001
    asked = scripted.lookups if known else scripted.requests
    assert asked[-1].form == pb.VectorForm(number=pb.VectorForm.FLOAT16)
    assert embed(scripted.address, images, unit_length=True)[0].embedding[0] == 1
    assert asked[-1].form == pb.VectorForm(unit_length=True)
    embed(scripted.address, images)
    assert not asked[-1].HasField("form")
