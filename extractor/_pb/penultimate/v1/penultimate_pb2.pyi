from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class EmbedRequest(_message.Message):
    __slots__ = ("images", "fingerprint", "form")
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    FORM_FIELD_NUMBER: _ClassVar[int]
    images: _containers.RepeatedScalarFieldContainer[bytes]
    fingerprint: str
    form: VectorForm
    def __init__(self, images: _Optional[_Iterable[bytes]] = ..., fingerprint: _Optional[str] = ..., form: _Optional[_Union[VectorForm, _Mapping]] = ...) -> None: ...

class VectorForm(_message.Message):
    __slots__ = ("number", "unit_length")
    class Number(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        NUMBER_UNSPECIFIED: _ClassVar[VectorForm.Number]
        FLOAT16: _ClassVar[VectorForm.Number]
    NUMBER_UNSPECIFIED: VectorForm.Number
    FLOAT16: VectorForm.Number
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    UNIT_LENGTH_FIELD_NUMBER: _ClassVar[int]
    number: VectorForm.Number
    unit_length: bool
    def __init__(self, number: _Optional[_Union[VectorForm.Number, str]] = ..., unit_length: bool = ...) -> None: ...

class EmbedResponse(_message.Message):
    __slots__ = ("fingerprint", "numerics", "dim", "results", "form")
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    NUMERICS_FIELD_NUMBER: _ClassVar[int]
    DIM_FIELD_NUMBER: _ClassVar[int]
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    FORM_FIELD_NUMBER: _ClassVar[int]
    fingerprint: str
    numerics: str
    dim: int
    results: _containers.RepeatedCompositeFieldContainer[ImageResult]
    form: VectorForm
    def __init__(self, fingerprint: _Optional[str] = ..., numerics: _Optional[str] = ..., dim: _Optional[int] = ..., results: _Optional[_Iterable[_Union[ImageResult, _Mapping]]] = ..., form: _Optional[_Union[VectorForm, _Mapping]] = ...) -> None: ...

class ImageResult(_message.Message):
    __slots__ = ("digest", "embedding", "error", "cached", "numerics", "timings")
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    EMBEDDING_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    CACHED_FIELD_NUMBER: _ClassVar[int]
    NUMERICS_FIELD_NUMBER: _ClassVar[int]
    TIMINGS_FIELD_NUMBER: _ClassVar[int]
    digest: bytes
    embedding: bytes
    error: ImageError
    cached: bool
    numerics: str
    timings: Timings
    def __init__(self, digest: _Optional[bytes] = ..., embedding: _Optional[bytes] = ..., error: _Optional[_Union[ImageError, _Mapping]] = ..., cached: bool = ..., numerics: _Optional[str] = ..., timings: _Optional[_Union[Timings, _Mapping]] = ...) -> None: ...

class Timings(_message.Message):
    __slots__ = ("waiting_ms", "decode_ms", "queue_ms", "inference_ms", "total_ms", "batch_size")
    WAITING_MS_FIELD_NUMBER: _ClassVar[int]
    DECODE_MS_FIELD_NUMBER: _ClassVar[int]
    QUEUE_MS_FIELD_NUMBER: _ClassVar[int]
    INFERENCE_MS_FIELD_NUMBER: _ClassVar[int]
    TOTAL_MS_FIELD_NUMBER: _ClassVar[int]
    BATCH_SIZE_FIELD_NUMBER: _ClassVar[int]
    waiting_ms: float
    decode_ms: float
    queue_ms: float
    inference_ms: float
    total_ms: float
    batch_size: int
    def __init__(self, waiting_ms: _Optional[float] = ..., decode_ms: _Optional[float] = ..., queue_ms: _Optional[float] = ..., inference_ms: _Optional[float] = ..., total_ms: _Optional[float] = ..., batch_size: _Optional[int] = ...) -> None: ...

class ImageError(_message.Message):
    __slots__ = ("code", "reason")
    class Code(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        CODE_UNSPECIFIED: _ClassVar[ImageError.Code]
        INVALID_IMAGE: _ClassVar[ImageError.Code]
        IMAGE_TOO_LARGE: _ClassVar[ImageError.Code]
        UNSUPPORTED_FORMAT: _ClassVar[ImageError.Code]
        INTERNAL: _ClassVar[ImageError.Code]
        DEADLINE_EXCEEDED: _ClassVar[ImageError.Code]
    CODE_UNSPECIFIED: ImageError.Code
    INVALID_IMAGE: ImageError.Code
    IMAGE_TOO_LARGE: ImageError.Code
    UNSUPPORTED_FORMAT: ImageError.Code
    INTERNAL: ImageError.Code
    DEADLINE_EXCEEDED: ImageError.Code
    CODE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    code: ImageError.Code
    reason: str
    def __init__(self, code: _Optional[_Union[ImageError.Code, str]] = ..., reason: _Optional[str] = ...) -> None: ...

class LookupRequest(_message.Message):
    __slots__ = ("digests", "fingerprint", "form")
    DIGESTS_FIELD_NUMBER: _ClassVar[int]
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    FORM_FIELD_NUMBER: _ClassVar[int]
    digests: _containers.RepeatedScalarFieldContainer[bytes]
    fingerprint: str
    form: VectorForm
    def __init__(self, digests: _Optional[_Iterable[bytes]] = ..., fingerprint: _Optional[str] = ..., form: _Optional[_Union[VectorForm, _Mapping]] = ...) -> None: ...

class LookupResponse(_message.Message):
    __slots__ = ("fingerprint", "dim", "embeddings", "numerics", "form")
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    DIM_FIELD_NUMBER: _ClassVar[int]
    EMBEDDINGS_FIELD_NUMBER: _ClassVar[int]
    NUMERICS_FIELD_NUMBER: _ClassVar[int]
    FORM_FIELD_NUMBER: _ClassVar[int]
    fingerprint: str
    dim: int
    embeddings: _containers.RepeatedScalarFieldContainer[bytes]
    numerics: _containers.RepeatedScalarFieldContainer[str]
    form: VectorForm
    def __init__(self, fingerprint: _Optional[str] = ..., dim: _Optional[int] = ..., embeddings: _Optional[_Iterable[bytes]] = ..., numerics: _Optional[_Iterable[str]] = ..., form: _Optional[_Union[VectorForm, _Mapping]] = ...) -> None: ...

class GetInfoRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetInfoResponse(_message.Message):
    __slots__ = ("version", "backbone", "fingerprint", "dim", "numerics", "input_height", "input_width", "limits", "batch_size", "parallel_runs", "golden_cosine")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    BACKBONE_FIELD_NUMBER: _ClassVar[int]
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    DIM_FIELD_NUMBER: _ClassVar[int]
    NUMERICS_FIELD_NUMBER: _ClassVar[int]
    INPUT_HEIGHT_FIELD_NUMBER: _ClassVar[int]
    INPUT_WIDTH_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    BATCH_SIZE_FIELD_NUMBER: _ClassVar[int]
    PARALLEL_RUNS_FIELD_NUMBER: _ClassVar[int]
    GOLDEN_COSINE_FIELD_NUMBER: _ClassVar[int]
    version: str
    backbone: str
    fingerprint: str
    dim: int
    numerics: str
    input_height: int
    input_width: int
    limits: Limits
    batch_size: int
    parallel_runs: int
    golden_cosine: float
    def __init__(self, version: _Optional[str] = ..., backbone: _Optional[str] = ..., fingerprint: _Optional[str] = ..., dim: _Optional[int] = ..., numerics: _Optional[str] = ..., input_height: _Optional[int] = ..., input_width: _Optional[int] = ..., limits: _Optional[_Union[Limits, _Mapping]] = ..., batch_size: _Optional[int] = ..., parallel_runs: _Optional[int] = ..., golden_cosine: _Optional[float] = ...) -> None: ...

class Limits(_message.Message):
    __slots__ = ("message_bytes", "items_per_call", "image_bytes", "image_pixels")
    MESSAGE_BYTES_FIELD_NUMBER: _ClassVar[int]
    ITEMS_PER_CALL_FIELD_NUMBER: _ClassVar[int]
    IMAGE_BYTES_FIELD_NUMBER: _ClassVar[int]
    IMAGE_PIXELS_FIELD_NUMBER: _ClassVar[int]
    message_bytes: int
    items_per_call: int
    image_bytes: int
    image_pixels: int
    def __init__(self, message_bytes: _Optional[int] = ..., items_per_call: _Optional[int] = ..., image_bytes: _Optional[int] = ..., image_pixels: _Optional[int] = ...) -> None: ...
