from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class HeadInput(_message.Message):
    __slots__ = ("image", "digest", "vector", "id")
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    VECTOR_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    image: bytes
    digest: bytes
    vector: bytes
    id: str
    def __init__(self, image: _Optional[bytes] = ..., digest: _Optional[bytes] = ..., vector: _Optional[bytes] = ..., id: _Optional[str] = ...) -> None: ...

class ClassifyRequest(_message.Message):
    __slots__ = ("heads", "inputs", "fingerprint", "top", "no_reject")
    HEADS_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    TOP_FIELD_NUMBER: _ClassVar[int]
    NO_REJECT_FIELD_NUMBER: _ClassVar[int]
    heads: _containers.RepeatedScalarFieldContainer[str]
    inputs: _containers.RepeatedCompositeFieldContainer[HeadInput]
    fingerprint: str
    top: int
    no_reject: bool
    def __init__(self, heads: _Optional[_Iterable[str]] = ..., inputs: _Optional[_Iterable[_Union[HeadInput, _Mapping]]] = ..., fingerprint: _Optional[str] = ..., top: _Optional[int] = ..., no_reject: bool = ...) -> None: ...

class ClassifyResponse(_message.Message):
    __slots__ = ("heads", "results")
    HEADS_FIELD_NUMBER: _ClassVar[int]
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    heads: _containers.RepeatedCompositeFieldContainer[AnsweringHead]
    results: _containers.RepeatedCompositeFieldContainer[ClassifyResult]
    def __init__(self, heads: _Optional[_Iterable[_Union[AnsweringHead, _Mapping]]] = ..., results: _Optional[_Iterable[_Union[ClassifyResult, _Mapping]]] = ...) -> None: ...

class AnsweringHead(_message.Message):
    __slots__ = ("name", "version")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: int
    def __init__(self, name: _Optional[str] = ..., version: _Optional[int] = ...) -> None: ...

class ClassifyResult(_message.Message):
    __slots__ = ("digest", "cached", "classifications", "error")
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    CACHED_FIELD_NUMBER: _ClassVar[int]
    CLASSIFICATIONS_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    digest: bytes
    cached: bool
    classifications: _containers.RepeatedCompositeFieldContainer[Classification]
    error: HeadError
    def __init__(self, digest: _Optional[bytes] = ..., cached: bool = ..., classifications: _Optional[_Iterable[_Union[Classification, _Mapping]]] = ..., error: _Optional[_Union[HeadError, _Mapping]] = ...) -> None: ...

class Classification(_message.Message):
    __slots__ = ("labels", "unknown", "score", "answers")
    LABELS_FIELD_NUMBER: _ClassVar[int]
    UNKNOWN_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    ANSWERS_FIELD_NUMBER: _ClassVar[int]
    labels: _containers.RepeatedScalarFieldContainer[str]
    unknown: bool
    score: float
    answers: _containers.RepeatedCompositeFieldContainer[ClassProbability]
    def __init__(self, labels: _Optional[_Iterable[str]] = ..., unknown: bool = ..., score: _Optional[float] = ..., answers: _Optional[_Iterable[_Union[ClassProbability, _Mapping]]] = ...) -> None: ...

class ClassProbability(_message.Message):
    __slots__ = ("label", "probability", "synset")
    LABEL_FIELD_NUMBER: _ClassVar[int]
    PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    SYNSET_FIELD_NUMBER: _ClassVar[int]
    label: str
    probability: float
    synset: str
    def __init__(self, label: _Optional[str] = ..., probability: _Optional[float] = ..., synset: _Optional[str] = ...) -> None: ...

class HeadError(_message.Message):
    __slots__ = ("code", "reason")
    class Code(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        CODE_UNSPECIFIED: _ClassVar[HeadError.Code]
        INVALID_IMAGE: _ClassVar[HeadError.Code]
        IMAGE_TOO_LARGE: _ClassVar[HeadError.Code]
        UNSUPPORTED_FORMAT: _ClassVar[HeadError.Code]
        INTERNAL: _ClassVar[HeadError.Code]
        DEADLINE_EXCEEDED: _ClassVar[HeadError.Code]
        INVALID_ARGUMENT: _ClassVar[HeadError.Code]
        NOT_FOUND: _ClassVar[HeadError.Code]
    CODE_UNSPECIFIED: HeadError.Code
    INVALID_IMAGE: HeadError.Code
    IMAGE_TOO_LARGE: HeadError.Code
    UNSUPPORTED_FORMAT: HeadError.Code
    INTERNAL: HeadError.Code
    DEADLINE_EXCEEDED: HeadError.Code
    INVALID_ARGUMENT: HeadError.Code
    NOT_FOUND: HeadError.Code
    CODE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    code: HeadError.Code
    reason: str
    def __init__(self, code: _Optional[_Union[HeadError.Code, str]] = ..., reason: _Optional[str] = ...) -> None: ...

class FitRequest(_message.Message):
    __slots__ = ("options", "inputs")
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    options: FitOptions
    inputs: _containers.RepeatedCompositeFieldContainer[LabelledInput]
    def __init__(self, options: _Optional[_Union[FitOptions, _Mapping]] = ..., inputs: _Optional[_Iterable[_Union[LabelledInput, _Mapping]]] = ...) -> None: ...

class FitOptions(_message.Message):
    __slots__ = ("name", "kind", "scale", "seed", "test_size", "balanced", "promote", "fingerprint", "collection", "no_report", "multi_label", "class_weight")
    class ClassWeightEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    SCALE_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    TEST_SIZE_FIELD_NUMBER: _ClassVar[int]
    BALANCED_FIELD_NUMBER: _ClassVar[int]
    PROMOTE_FIELD_NUMBER: _ClassVar[int]
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    NO_REPORT_FIELD_NUMBER: _ClassVar[int]
    MULTI_LABEL_FIELD_NUMBER: _ClassVar[int]
    CLASS_WEIGHT_FIELD_NUMBER: _ClassVar[int]
    name: str
    kind: str
    scale: str
    seed: int
    test_size: float
    balanced: bool
    promote: bool
    fingerprint: str
    collection: str
    no_report: bool
    multi_label: bool
    class_weight: _containers.ScalarMap[str, float]
    def __init__(self, name: _Optional[str] = ..., kind: _Optional[str] = ..., scale: _Optional[str] = ..., seed: _Optional[int] = ..., test_size: _Optional[float] = ..., balanced: bool = ..., promote: bool = ..., fingerprint: _Optional[str] = ..., collection: _Optional[str] = ..., no_report: bool = ..., multi_label: bool = ..., class_weight: _Optional[_Mapping[str, float]] = ...) -> None: ...

class LabelledInput(_message.Message):
    __slots__ = ("input", "label")
    INPUT_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    input: HeadInput
    label: str
    def __init__(self, input: _Optional[_Union[HeadInput, _Mapping]] = ..., label: _Optional[str] = ...) -> None: ...

class FitProgress(_message.Message):
    __slots__ = ("stage", "fitted")
    STAGE_FIELD_NUMBER: _ClassVar[int]
    FITTED_FIELD_NUMBER: _ClassVar[int]
    stage: Stage
    fitted: Fitted
    def __init__(self, stage: _Optional[_Union[Stage, _Mapping]] = ..., fitted: _Optional[_Union[Fitted, _Mapping]] = ...) -> None: ...

class Stage(_message.Message):
    __slots__ = ("line", "images", "seconds")
    LINE_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    line: str
    images: int
    seconds: float
    def __init__(self, line: _Optional[str] = ..., images: _Optional[int] = ..., seconds: _Optional[float] = ...) -> None: ...

class Fitted(_message.Message):
    __slots__ = ("head", "version", "left_out", "against_serving", "seconds", "folder", "files")
    class SecondsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    HEAD_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    LEFT_OUT_FIELD_NUMBER: _ClassVar[int]
    AGAINST_SERVING_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    FOLDER_FIELD_NUMBER: _ClassVar[int]
    FILES_FIELD_NUMBER: _ClassVar[int]
    head: HeadInfo
    version: int
    left_out: _containers.RepeatedCompositeFieldContainer[LeftOut]
    against_serving: str
    seconds: _containers.ScalarMap[str, float]
    folder: str
    files: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, head: _Optional[_Union[HeadInfo, _Mapping]] = ..., version: _Optional[int] = ..., left_out: _Optional[_Iterable[_Union[LeftOut, _Mapping]]] = ..., against_serving: _Optional[str] = ..., seconds: _Optional[_Mapping[str, float]] = ..., folder: _Optional[str] = ..., files: _Optional[_Iterable[str]] = ...) -> None: ...

class LeftOut(_message.Message):
    __slots__ = ("image", "reason")
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    image: str
    reason: str
    def __init__(self, image: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class ListHeadsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListHeadsResponse(_message.Message):
    __slots__ = ("heads",)
    HEADS_FIELD_NUMBER: _ClassVar[int]
    heads: _containers.RepeatedCompositeFieldContainer[HeadInfo]
    def __init__(self, heads: _Optional[_Iterable[_Union[HeadInfo, _Mapping]]] = ...) -> None: ...

class GetHeadRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class HeadInfo(_message.Message):
    __slots__ = ("name", "serving", "versions")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SERVING_FIELD_NUMBER: _ClassVar[int]
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    name: str
    serving: int
    versions: _containers.RepeatedCompositeFieldContainer[HeadVersion]
    def __init__(self, name: _Optional[str] = ..., serving: _Optional[int] = ..., versions: _Optional[_Iterable[_Union[HeadVersion, _Mapping]]] = ...) -> None: ...

class HeadVersion(_message.Message):
    __slots__ = ("version", "kind", "classes", "fingerprint", "backbone", "dim", "created", "metrics")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    CLASSES_FIELD_NUMBER: _ClassVar[int]
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    BACKBONE_FIELD_NUMBER: _ClassVar[int]
    DIM_FIELD_NUMBER: _ClassVar[int]
    CREATED_FIELD_NUMBER: _ClassVar[int]
    METRICS_FIELD_NUMBER: _ClassVar[int]
    version: int
    kind: str
    classes: _containers.RepeatedScalarFieldContainer[str]
    fingerprint: str
    backbone: str
    dim: int
    created: str
    metrics: str
    def __init__(self, version: _Optional[int] = ..., kind: _Optional[str] = ..., classes: _Optional[_Iterable[str]] = ..., fingerprint: _Optional[str] = ..., backbone: _Optional[str] = ..., dim: _Optional[int] = ..., created: _Optional[str] = ..., metrics: _Optional[str] = ...) -> None: ...

class PromoteRequest(_message.Message):
    __slots__ = ("name", "version")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: int
    def __init__(self, name: _Optional[str] = ..., version: _Optional[int] = ...) -> None: ...

class GetDriftRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class Drift(_message.Message):
    __slots__ = ("name", "version", "images", "seen", "distance", "classes", "ratio", "unknown", "expected_unknown", "unusual")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    SEEN_FIELD_NUMBER: _ClassVar[int]
    DISTANCE_FIELD_NUMBER: _ClassVar[int]
    CLASSES_FIELD_NUMBER: _ClassVar[int]
    RATIO_FIELD_NUMBER: _ClassVar[int]
    UNKNOWN_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_UNKNOWN_FIELD_NUMBER: _ClassVar[int]
    UNUSUAL_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: int
    images: int
    seen: int
    distance: DriftTest
    classes: DriftTest
    ratio: float
    unknown: float
    expected_unknown: float
    unusual: _containers.RepeatedCompositeFieldContainer[Unusual]
    def __init__(self, name: _Optional[str] = ..., version: _Optional[int] = ..., images: _Optional[int] = ..., seen: _Optional[int] = ..., distance: _Optional[_Union[DriftTest, _Mapping]] = ..., classes: _Optional[_Union[DriftTest, _Mapping]] = ..., ratio: _Optional[float] = ..., unknown: _Optional[float] = ..., expected_unknown: _Optional[float] = ..., unusual: _Optional[_Iterable[_Union[Unusual, _Mapping]]] = ...) -> None: ...

class DriftTest(_message.Message):
    __slots__ = ("method", "statistic", "p_value")
    METHOD_FIELD_NUMBER: _ClassVar[int]
    STATISTIC_FIELD_NUMBER: _ClassVar[int]
    P_VALUE_FIELD_NUMBER: _ClassVar[int]
    method: str
    statistic: float
    p_value: float
    def __init__(self, method: _Optional[str] = ..., statistic: _Optional[float] = ..., p_value: _Optional[float] = ...) -> None: ...

class Unusual(_message.Message):
    __slots__ = ("id", "digest", "distance", "label")
    ID_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    DISTANCE_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    id: str
    digest: bytes
    distance: float
    label: str
    def __init__(self, id: _Optional[str] = ..., digest: _Optional[bytes] = ..., distance: _Optional[float] = ..., label: _Optional[str] = ...) -> None: ...
