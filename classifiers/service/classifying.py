"""One request to classify: what its inputs are, by each head that is asked."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence

import numpy as np

from classifiers.distribution.live import Sighting
from classifiers.heads import Answer, Classification, Head
from classifiers.service.inputs import Input, Inputs, needs_embedder
from classifiers.service.roster import Answering
from classifiers.service.watched import Watched
from extractor._pb.penultimate.v1 import heads_pb2 as pb
from extractor.call import Call
from extractor.errors import FingerprintMismatch, InvalidArgument
from extractor.heads_wire import messages as wire
from extractor.results import Vector
from extractor.submission import Submits

TOP = 5
"""Classes of an answer, where the caller does not say."""

QUICK = 2 * 10**6
"""Numbers of heads, times rows, up to which answers take no thread: changing over would take longer."""

ANSWER_BYTES = 40
"""What a class of an answer may have beside its label."""


def check_size(heads: Sequence[Answering], request: pb.ClassifyRequest, most: int) -> None:
    """Raise InvalidArgument where the answer may have more than `most` bytes."""
    top, classes = request.top or TOP, [len(each.head.manifest.classes) for each in heads]
    answers = [
        2 * min(top, count) * (ANSWER_BYTES + each.label_bytes)
        for count, each in zip(classes, heads, strict=True)
    ]
    if (size := len(request.inputs) * (sum(answers) + ANSWER_BYTES)) > most:
        raise InvalidArgument(
            f"the answer may have {size:,} bytes, and a message at most {most:,}: ask for fewer classes "
            "(`top`), or split the call into several"
        )


def check_fingerprints(heads: Sequence[Answering], request: pb.ClassifyRequest, embedder: Submits) -> None:
    """Refuse heads that were not fitted on what the request brings.

    Raises
    ------
    FingerprintMismatch
    """
    in_use = {embedder.fingerprint} if needs_embedder(request.inputs) else set()
    if any(each.HasField("vector") for each in request.inputs):
        in_use.add(request.fingerprint or embedder.fingerprint)
    for each in heads:
        manifest = each.head.manifest
        for fingerprint in in_use - {manifest.fingerprint}:
            raise FingerprintMismatch(
                f"the head {each.name!r} (version {each.version})",
                expected=fingerprint,
                found=manifest.fingerprint,
                advice=f"It takes the embeddings of the backbone {manifest.backbone!r}",
            )


async def classify(
    heads: Sequence[Answering],
    request: pb.ClassifyRequest,
    call: Call,
    embedder: Submits,
    watched: Watched,
) -> pb.ClassifyResponse:
    """One result for each input, in order; each is embedded once, however many heads there are."""
    inputs = await Inputs(request.inputs, embedder, call, heads[0].head.manifest.dim).read()
    rows = [each.vector for each in inputs if each.vector is not None]
    top, reject = request.top or TOP, not request.no_reject

    def answer() -> pb.ClassifyResponse:
        if not rows:
            return _pack(heads, inputs, [])
        X = np.stack(rows)
        found = [each.head.judge(X, top, reject=reject) for each in heads]
        for each, classifications in zip(heads, found, strict=True):
            watched.note(each, _sightings(each.head, X, classifications, inputs))
        return _pack(heads, inputs, found)

    if len(rows) * sum(each.size for each in heads) <= QUICK:
        return answer()
    return await asyncio.to_thread(answer)


def _sightings(
    head: Head, X: Vector, found: Sequence[Classification], inputs: Sequence[Input]
) -> Iterator[Sighting]:
    """What is noted of the inputs of a head that measures distances."""
    if head.rejection is None:
        return
    scores = [each.score for each in found]
    distances = head.rejection.distances(X).tolist() if scores[0] is None else scores
    good = (each for each in inputs if each.vector is not None)
    for each, distance, classification in zip(good, distances, found, strict=True):
        yield Sighting(distance, classification.answers[0].index, each.digest, each.id)


def _pack(
    heads: Sequence[Answering], inputs: Sequence[Input], found: Sequence[Sequence[Classification]]
) -> pb.ClassifyResponse:
    by_row = zip(*found, strict=True)
    return pb.ClassifyResponse(
        heads=[pb.AnsweringHead(name=each.name, version=each.version) for each in heads],
        results=[_pack_result(each, next(by_row) if each.vector is not None else ()) for each in inputs],
    )


def _pack_result(each: Input, found: Sequence[Classification]) -> pb.ClassifyResult:
    if each.error:
        return pb.ClassifyResult(digest=each.digest, error=wire.pack_error(each.error))
    return pb.ClassifyResult(
        digest=each.digest, cached=each.cached, classifications=map(_pack_classification, found)
    )


def _pack_classification(found: Classification) -> pb.Classification:
    return pb.Classification(
        labels=found.labels,
        unknown=found.unknown,
        score=found.score,
        answers=map(_pack_answer, found.answers),
    )


def _pack_answer(answer: Answer) -> pb.ClassProbability:
    return pb.ClassProbability(label=answer.label, probability=answer.probability, synset=answer.synset)
