"""What both clients send to heads, and how the answers come to their places."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, TypeAlias, TypeVar

import numpy as np

from extractor import sources
from extractor._pb.penultimate.v1 import heads_pb2 as pb
from extractor.client.packing import Room
from extractor.errors import (
    FingerprintMismatch,
    ImageTooLarge,
    InvalidArgument,
    PenultimateError,
    UnreadableFile,
)
from extractor.heads_wire import messages
from extractor.heads_wire.values import Classified, Example, FitOptions, HeadInfo, HeadInput, LeftOut
from extractor.lists import listed
from extractor.text import printable
from extractor.wire import Info

TOGETHER = Room(16, 2 * 2**20)
"""Inputs, and bytes of them, in a request."""

AROUND = 16 * 2**10
"""Bytes of a request beside its inputs, of names mostly."""

K = TypeVar("K")

Answered: TypeAlias = "tuple[list[int], pb.ClassifyResponse]"
"""The places of one request's inputs, and its answer."""


class Inquiry:
    """Inputs to be classified by some heads, and what became of each, one after the other.

    Parameters
    ----------
    inputs : iterable of Example
    question : ClassifyRequest
        What all requests share.
    info : Info
        Says what the server takes.
    """

    def __init__(self, inputs: Iterable[Example], question: pb.ClassifyRequest, info: Info) -> None:
        self._inputs, self._question, self._info = listed(inputs, "inputs"), question, info
        self._results: list[Classified | None] = []

    def requests(self) -> Iterator[tuple[list[int], bytes]]:
        """Requests, and the places of their inputs; one that cannot be sent is answered here."""
        for some in _together(self._sendable(), self._info):
            request = pb.ClassifyRequest(inputs=[message for _, message in some])
            request.MergeFrom(self._question)
            yield [place for place, _ in some], request.SerializeToString()

    def fill(self, places: Sequence[int], answer: pb.ClassifyResponse) -> None:
        """Put the answers of one request in their places."""
        for place, result in zip(places, messages.unpack_classified(answer, len(places)), strict=True):
            self._results[place] = result

    def answers(self) -> list[Classified]:
        """One for each input, once all are there."""
        return [result for result in self._results if result is not None]

    def _sendable(self) -> Iterator[tuple[int, pb.HeadInput]]:
        for place, example in enumerate(self._inputs):
            self._results.append(None)
            try:
                yield place, pack_example(example, self._info)
            except PenultimateError as error:
                self._results[place] = Classified([], error)


class HeadBase:
    """A head by its name, and the requests about it; parameters as of `RemoteHead`."""

    def __init__(self, name: str, fingerprint: str | None) -> None:
        self.name = name
        self._fingerprint = fingerprint or ""

    def _question(self, heads: Sequence[str], top: int, *, reject: bool) -> pb.ClassifyRequest:
        if top < 1:
            raise InvalidArgument(f"top, the number of classes, must be at least 1, not {top}")
        names = [self.name, *(each for each in heads if each != self.name)]
        return pb.ClassifyRequest(heads=names, fingerprint=self._fingerprint, top=top, no_reject=not reject)

    def _promotion(self, version: int | None) -> pb.PromoteRequest:
        return pb.PromoteRequest(name=self.name, version=version or 0)

    def _fit_options(self, how: dict[str, Any]) -> FitOptions:
        return FitOptions(self.name, fingerprint=self._fingerprint, **how)

    def _explained(self, error: FingerprintMismatch, info: HeadInfo) -> FingerprintMismatch:
        """What does not fit together, which the client takes for another server."""
        there = info.answering
        return FingerprintMismatch(
            f"the head {self.name!r}",
            error.expected,
            there.fingerprint,
            f"It takes the embeddings of the backbone {there.backbone!r}",
        )


def fit_requests(
    examples: Iterable[tuple[Example, str]], options: FitOptions, info: Info, left_out: list[LeftOut]
) -> Iterator[bytes]:
    """The requests of a fit, lazily; what cannot be sent is added to `left_out`.

    Parameters
    ----------
    examples : iterable of tuple
        An input and its label.
    options : FitOptions
    info : Info
        Says what the server takes.
    left_out : list of LeftOut
    """

    def sendable() -> Iterator[tuple[str, pb.HeadInput]]:
        for example, label in examples:
            try:
                yield label, pack_example(example, info)
            except PenultimateError as error:
                left_out.append(LeftOut(printable(_named(example)), str(error)))

    yield pb.FitRequest(options=messages.pack_options(options)).SerializeToString()
    for some in _together(sendable(), info):
        inputs = [pb.LabelledInput(input=message, label=label) for label, message in some]
        yield pb.FitRequest(inputs=inputs).SerializeToString()


def pack_example(example: Example, info: Info) -> pb.HeadInput:
    """The message of an input; raises what is wrong with it."""
    if isinstance(example, np.ndarray):
        return messages.pack_input(HeadInput(vector=example))
    whole = example if isinstance(example, HeadInput) else HeadInput(image=example)
    image = whole.image if whole.image is None or isinstance(whole.image, bytes) else _bytes(whole.image)
    if image and len(image) > (most := min(info.image_bytes, _message_room(info))):
        raise ImageTooLarge(f"the image has {len(image):,} bytes, and the server takes at most {most:,}")
    return messages.pack_input(replace(whole, image=image, id=printable(_named(whole))))


def _together(packed: Iterable[tuple[K, pb.HeadInput]], info: Info) -> Iterator[list[tuple[K, pb.HeadInput]]]:
    """Inputs in groups that fit into a request each, lazily, in order."""
    most, room = min(TOGETHER.images, info.items_per_call), min(TOGETHER.bytes, _message_room(info))
    some: list[tuple[K, pb.HeadInput]] = []
    size = 0
    for key, message in packed:
        more = message.ByteSize()
        if some and (len(some) == most or size + more > room):
            yield some
            some, size = [], 0
        some.append((key, message))
        size += more
    if some:
        yield some


def _message_room(info: Info) -> int:
    """Bytes for inputs in a message, with some kibibytes for what is around them."""
    return info.message_bytes - AROUND


def _named(example: Example) -> str:
    """What an input is called of itself: a path is."""
    if isinstance(example, HeadInput):
        return example.id or (_named(example.image) if example.image is not None else "")
    return os.fsdecode(example) if isinstance(example, str | os.PathLike) else ""


def _bytes(image: Any) -> bytes:
    try:
        return sources.read(image)
    except PenultimateError:
        raise
    except Exception as unknown:
        raise UnreadableFile(f"an image cannot be read ({type(unknown).__name__}: {unknown})") from unknown
