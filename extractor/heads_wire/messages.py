"""Messages of the `Heads` service to values and back."""

from __future__ import annotations

import json
from collections.abc import Iterable

import numpy as np

from extractor import errors
from extractor._pb.penultimate.v1 import heads_pb2 as pb
from extractor.errors import InvalidArgument, PenultimateError
from extractor.heads_wire.values import (
    Classified,
    ClassProbability,
    Drift,
    DriftTest,
    FitOptions,
    Fitted,
    HeadInfo,
    HeadInput,
    HeadVersion,
    LeftOut,
    Stage,
    Unusual,
    Verdict,
)
from extractor.results import Vector

SERVICE = pb.DESCRIPTOR.services_by_name["Heads"].full_name

# What is wrong with one image; leaves stand before their base.
_CODES: list[tuple[type[PenultimateError], pb.HeadError.Code]] = [
    (errors.ImageTooLarge, pb.HeadError.IMAGE_TOO_LARGE),
    (errors.UnsupportedFormat, pb.HeadError.UNSUPPORTED_FORMAT),
    (errors.InvalidImage, pb.HeadError.INVALID_IMAGE),
    (errors.DeadlineExceeded, pb.HeadError.DEADLINE_EXCEEDED),
    (errors.InvalidArgument, pb.HeadError.INVALID_ARGUMENT),
    (errors.NotFound, pb.HeadError.NOT_FOUND),
]


def pack_error(error: PenultimateError) -> pb.HeadError:
    """Why one image failed."""
    code = next((code for kind, code in _CODES if isinstance(error, kind)), pb.HeadError.INTERNAL)
    return pb.HeadError(code=code, reason=str(error))


def unpack_error(message: pb.HeadError) -> PenultimateError:
    """What `pack_error` packed."""
    kind = next((kind for kind, code in _CODES if code == message.code), errors.InternalError)
    return kind(message.reason)


def pack_input(what: HeadInput) -> pb.HeadInput:
    """The message of an input, whose image is bytes by now."""
    if sum([what.image is not None, what.vector is not None, bool(what.digest)]) != 1:
        raise InvalidArgument("an input is an image, a vector or a digest: give one of the three")
    if what.vector is not None:
        vector = np.asarray(what.vector, "<f4")
        if vector.ndim != 1:
            raise InvalidArgument(f"a vector has one dimension, and this one the shape {vector.shape}")
        return pb.HeadInput(vector=vector.tobytes(), id=what.id)
    if what.digest:
        return pb.HeadInput(digest=what.digest, id=what.id)
    assert isinstance(what.image, bytes)
    return pb.HeadInput(image=what.image, id=what.id)


def unpack_vector(data: bytes, dim: int) -> Vector:
    """The numbers of a vector; raises InvalidArgument unless they are `dim` finite ones."""
    if len(data) != 4 * dim:
        raise InvalidArgument(
            f"a vector came as {len(data)} bytes; those of this backbone have {dim} numbers of float32, "
            f"which are {4 * dim} bytes"
        )
    vector = np.frombuffer(data, "<f4").astype(np.float32, copy=False)
    if not np.isfinite(vector).all():
        raise InvalidArgument("a vector has numbers that are not finite")
    return vector


def check_count(message: pb.ClassifyResponse, count: int) -> None:
    """Raise InternalError unless an answer has `count` results."""
    if len(message.results) != count:
        raise errors.InternalError(f"the server answered {count} images with {len(message.results)} results")


def unpack_classified(message: pb.ClassifyResponse, count: int) -> list[Classified]:
    """The results in an answer; raises InternalError unless they are `count`, each of every head."""
    check_count(message, count)
    return [_unpack_result(result, message.heads) for result in message.results]


def _unpack_result(message: pb.ClassifyResult, heads: Iterable[pb.AnsweringHead]) -> Classified:
    if message.HasField("error"):
        return Classified([], unpack_error(message.error), message.digest)
    pairs = zip(heads, message.classifications, strict=True)
    verdicts = [_unpack_verdict(found, head) for head, found in pairs]
    return Classified(verdicts, None, message.digest, message.cached)


def _unpack_verdict(message: pb.Classification, head: pb.AnsweringHead) -> Verdict:
    return Verdict(
        head=head.name,
        version=head.version,
        labels=list(message.labels),
        unknown=message.unknown,
        score=message.score if message.HasField("score") else None,
        answers=[ClassProbability(each.label, each.probability, each.synset) for each in message.answers],
    )


def pack_info(info: HeadInfo) -> pb.HeadInfo:
    """The message that describes a head."""
    return pb.HeadInfo(name=info.name, serving=info.serving, versions=map(_pack_version, info.versions))


def _pack_version(version: HeadVersion) -> pb.HeadVersion:
    return pb.HeadVersion(
        version=version.version,
        kind=version.kind,
        classes=version.classes,
        fingerprint=version.fingerprint,
        backbone=version.backbone,
        dim=version.dim,
        created=version.created,
        metrics=json.dumps(version.metrics, ensure_ascii=False, separators=(",", ":")),
    )


def unpack_info(message: pb.HeadInfo) -> HeadInfo:
    """What `pack_info` packed."""
    return HeadInfo(message.name, message.serving, [_unpack_version(each) for each in message.versions])


def _unpack_version(message: pb.HeadVersion) -> HeadVersion:
    return HeadVersion(
        version=message.version,
        kind=message.kind,
        classes=list(message.classes),
        fingerprint=message.fingerprint,
        backbone=message.backbone,
        dim=message.dim,
        created=message.created,
        metrics=json.loads(message.metrics or "{}"),
    )


def pack_options(options: FitOptions) -> pb.FitOptions:
    """The message that says how to fit."""
    return pb.FitOptions(**{name: getattr(options, name) for name in options.__dataclass_fields__})


def unpack_options(message: pb.FitOptions) -> FitOptions:
    """What `pack_options` packed, or another caller; what it leaves out has its default."""
    given = {field.name: value for field, value in message.ListFields()}
    return FitOptions(**{"name": "", **given, "class_weight": dict(message.class_weight)})


def pack_stage(stage: Stage) -> pb.FitProgress:
    """The message that says how far a fit is."""
    return pb.FitProgress(stage=pb.Stage(line=stage.line, images=stage.images, seconds=stage.seconds))


def pack_fitted(fitted: Fitted) -> pb.FitProgress:
    """The last message of a fit."""
    return pb.FitProgress(
        fitted=pb.Fitted(
            head=pack_info(fitted.head),
            version=fitted.version,
            left_out=[pb.LeftOut(image=each.image, reason=each.reason) for each in fitted.left_out],
            against_serving=fitted.against_serving,
            seconds=fitted.seconds,
            folder=fitted.folder,
            files=fitted.files,
        )
    )


def unpack_progress(message: pb.FitProgress) -> Stage | Fitted:
    """What `pack_stage` or `pack_fitted` packed."""
    if message.HasField("stage"):
        return Stage(message.stage.line, message.stage.images, message.stage.seconds)
    fitted = message.fitted
    return Fitted(
        head=unpack_info(fitted.head),
        version=fitted.version,
        left_out=[LeftOut(each.image, each.reason) for each in fitted.left_out],
        against_serving=fitted.against_serving,
        seconds=dict(fitted.seconds),
        folder=fitted.folder,
        files=list(fitted.files),
    )


def pack_drift(drift: Drift) -> pb.Drift:
    """The message that says how far live images have moved."""
    return pb.Drift(
        name=drift.name,
        version=drift.version,
        images=drift.images,
        seen=drift.seen,
        distance=_pack_test(drift.distance),
        classes=_pack_test(drift.classes),
        ratio=drift.ratio,
        unknown=drift.unknown,
        expected_unknown=drift.expected_unknown,
        unusual=[pb.Unusual(**each._asdict()) for each in drift.unusual],
    )


def unpack_drift(message: pb.Drift) -> Drift:
    """What `pack_drift` packed."""
    given = {field.name for field, _ in message.ListFields()}
    return Drift(
        name=message.name,
        version=message.version,
        images=message.images,
        seen=message.seen,
        distance=_unpack_test(message.distance) if "distance" in given else None,
        classes=_unpack_test(message.classes) if "classes" in given else None,
        ratio=message.ratio if "ratio" in given else None,
        unknown=message.unknown if "unknown" in given else None,
        expected_unknown=message.expected_unknown if "expected_unknown" in given else None,
        unusual=[Unusual(each.id, each.digest, each.distance, each.label) for each in message.unusual],
    )


def _pack_test(test: DriftTest | None) -> pb.DriftTest | None:
    return pb.DriftTest(**test._asdict()) if test else None


def _unpack_test(message: pb.DriftTest) -> DriftTest:
    return DriftTest(message.method, message.statistic, message.p_value)
