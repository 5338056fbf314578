"""What both clients send to heads, and how the answers come to their places."""

from __future__ import annotations

import hashlib
import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
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


@dataclass(slots=True)
class Request:
    """Some inputs that go together, asked for by digest first where that pays.

    Attributes
    ----------
    question : ClassifyRequest
        All but the inputs.
    inputs : dict of int to HeadInput
        Those without an answer yet, by their places.
    answered : list of Answered
        What came so far; a later answer to an input takes the place of an earlier one.
    """

    question: pb.ClassifyRequest
    inputs: dict[int, pb.HeadInput]
    answered: list[Answered] = field(default_factory=list)

    @property
    def images(self) -> int:
        """How many of the inputs are images, which the server may remember."""
        return sum(map(_is_image, self.inputs.values()))

    @property
    def size(self) -> int:
        """Bytes of the inputs."""
        return sum(message.ByteSize() for message in self.inputs.values())

    def whole(self) -> bytes:
        """The request as it travels, with its images."""
        return self._message(self.inputs.values())

    def by_digest(self) -> bytes:
        """The request with 32 bytes in place of each image."""
        return self._message(map(_by_digest, self.inputs.values()))

    def recalled(self, answer: pb.ClassifyResponse) -> int:
        """Take the answer to `by_digest`; of how many images it was the answer, which need not be sent."""
        messages.check_count(answer, len(self.inputs))
        self.answered.append((list(self.inputs), answer))
        before = self.images
        self.inputs = {
            place: message
            for (place, message), result in zip(self.inputs.items(), answer.results, strict=True)
            if _is_image(message) and result.error.code == pb.HeadError.NOT_FOUND
        }
        return before - self.images

    def _message(self, inputs: Iterable[pb.HeadInput]) -> bytes:
        message = pb.ClassifyRequest(inputs=inputs)
        message.MergeFrom(self.question)
        return message.SerializeToString()


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

    def requests(self) -> Iterator[Request]:
        """Requests, lazily; an input that cannot be sent is answered here."""
        for some in _together(self._sendable(), self._info):
            yield Request(self._question, dict(some))

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
        known = FitOptions.__dataclass_fields__
        if unknown := [name for name in how if name not in known]:
            raise TypeError(
                f"a fit on the server takes no {', '.join(unknown)}; it takes {', '.join(known)}. Groups, "
                "splits, weights of single images and views are for `fit-head`, where the images are"
            )
        return FitOptions(self.name, fingerprint=self._fingerprint, **how)

    def _asked(self, method: str, message: bytes) -> list[str]:
        """The heads that a request is for."""
        return list(pb.ClassifyRequest.FromString(message).heads) if method == "Classify" else [self.name]

    def _explained(self, error: FingerprintMismatch, asked: Iterable[HeadInfo]) -> FingerprintMismatch:
        """Which of the heads does not fit, where the client takes it for another server."""
        for info in asked:
            there = info.answering
            if there.fingerprint != error.expected:
                return FingerprintMismatch(
                    f"the head {info.name!r}",
                    error.expected,
                    there.fingerprint,
                    f"It takes the embeddings of the backbone {there.backbone!r}",
                )
        return error


class FitRequests(Iterator[bytes]):
    """The requests of a fit, lazily; what cannot be sent is added to `left_out`.

    gRPC draws them in a place of its own and loses what is raised there, so it is kept.

    Parameters are those of `fit_requests`.

    Attributes
    ----------
    error : Exception or None
        What drawing them raised.
    """

    def __init__(
        self,
        examples: Iterable[tuple[Example, str]],
        options: FitOptions,
        info: Info,
        left_out: list[LeftOut],
    ) -> None:
        self._requests = fit_requests(examples, options, info, left_out)
        self.error: Exception | None = None

    def __next__(self) -> bytes:
        try:
            return next(self._requests)
        except StopIteration:
            raise
        except Exception as error:
            self.error = error
            raise


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

    Raises
    ------
    InvalidArgument
        When one of the examples is no input with its label.
    """

    def sendable() -> Iterator[tuple[str, pb.HeadInput]]:
        for example, label in itertools.starmap(_pair, enumerate(examples)):
            try:
                yield label, pack_example(example, info)
            except PenultimateError as error:
                left_out.append(LeftOut(printable(_named(example)), str(error)))

    yield pb.FitRequest(options=messages.pack_options(options)).SerializeToString()
    for some in _together(sendable(), info):
        inputs = [pb.LabelledInput(input=message, label=label) for label, message in some]
        yield pb.FitRequest(inputs=inputs).SerializeToString()


def _pair(place: int, row: Any) -> tuple[Example, str]:
    """An example as it has to be; raises InvalidArgument, naming the row."""
    told = f"row {place} of the examples must be an input and its label, (image, label), and is"
    if isinstance(row, str | bytes | os.PathLike) or not isinstance(row, Iterable):
        raise InvalidArgument(f"{told} {printable(repr(row)[:80])}")
    parts = list(row)
    if len(parts) != 2:
        raise InvalidArgument(f"{told} {len(parts)} things")
    example, label = parts
    if not isinstance(label, str):
        raise InvalidArgument(f"{told} one with a label of {type(label).__name__}: labels are text")
    return example, label


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


def _is_image(message: pb.HeadInput) -> bool:
    return message.HasField("image")


def _by_digest(message: pb.HeadInput) -> pb.HeadInput:
    if not _is_image(message):
        return message
    return pb.HeadInput(digest=hashlib.sha256(message.image).digest(), id=message.id)


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
