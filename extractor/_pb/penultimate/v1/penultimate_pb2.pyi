from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class EmbedRequest(_message.Message):
    __slots__ = ("images", "fingerprint")
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    images: _containers.RepeatedScalarFieldContainer[bytes]
    fingerprint: str
    def __init__(self, images: _Optional[_Iterable[bytes]] = ..., fingerprint: _Optional[str] = ...) -> None: ...

class EmbedResponse(_message.Message):
    __slots__ = ("fingerprint", "numerics", "dim", "results")
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    NUMERICS_FIELD_NUMBER: _ClassVar[int]
    DIM_FIELD_NUMBER: _ClassVar[int]
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    fingerprint: str
    numerics: str
    dim: int
    results: _containers.RepeatedCompositeFieldContainer[ImageResult]
    def __init__(self, fingerprint: _Optional[str] = ..., numerics: _Optional[str] = ..., dim: _Optional[int] = ..., results: _Optional[_Iterable[_Union[ImageResult, _Mapping]]] = ...) -> None: ...

class ImageResult(_message.Message):
    __slots__ = ("digest", "embedding", "error", "cached")
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    EMBEDDING_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    CACHED_FIELD_NUMBER: _ClassVar[int]
    digest: bytes
    embedding: bytes
    error: ImageError
    cached: bool
    def __init__(self, digest: _Optional[bytes] = ..., embedding: _Optional[bytes] = ..., error: _Optional[_Union[ImageError, _Mapping]] = ..., cached: bool = ...) -> None: ...

class ImageError(_message.Message):
    __slots__ = ("code", "reason")
    class Code(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        CODE_UNSPECIFIED: _ClassVar[ImageError.Code]
        INVALID_IMAGE: _ClassVar[ImageError.Code]
        IMAGE_TOO_LARGE: _ClassVar[ImageError.Code]
        UNSUPPORTED_FORMAT: _ClassVar[ImageError.Code]
        INTERNAL: _ClassVar[ImageError.Code]
    CODE_UNSPECIFIED: ImageError.Code
    INVALID_IMAGE: ImageError.Code
    IMAGE_TOO_LARGE: ImageError.Code
    UNSUPPORTED_FORMAT: ImageError.Code
    INTERNAL: ImageError.Code
    CODE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    code: ImageError.Code
    reason: str
    def __init__(self, code: _Optional[_Union[ImageError.Code, str]] = ..., reason: _Optional[str] = ...) -> None: ...

class LookupRequest(_message.Message):
    __slots__ = ("digests", "fingerprint")
    DIGESTS_FIELD_NUMBER: _ClassVar[int]
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    digests: _containers.RepeatedScalarFieldContainer[bytes]
    fingerprint: str
    def __init__(self, digests: _Optional[_Iterable[bytes]] = ..., fingerprint: _Optional[str] = ...) -> None: ...

class LookupResponse(_message.Message):
    __slots__ = ("fingerprint", "dim", "embeddings")
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    DIM_FIELD_NUMBER: _ClassVar[int]
    EMBEDDINGS_FIELD_NUMBER: _ClassVar[int]
    fingerprint: str
    dim: int
    embeddings: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, fingerprint: _Optional[str] = ..., dim: _Optional[int] = ..., embeddings: _Optional[_Iterable[bytes]] = ...) -> None: ...

class GetInfoRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetInfoResponse(_message.Message):
    __slots__ = ("version", "backbone", "fingerprint", "dim", "numerics", "input_height", "input_width", "limits")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    BACKBONE_FIELD_NUMBER: _ClassVar[int]
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    DIM_FIELD_NUMBER: _ClassVar[int]
    NUMERICS_FIELD_NUMBER: _ClassVar[int]
    INPUT_HEIGHT_FIELD_NUMBER: _ClassVar[int]
    INPUT_WIDTH_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    version: str
    backbone: str
    fingerprint: str
    dim: int
    numerics: str
    input_height: int
    input_width: int
    limits: Limits
    def __init__(self, version: _Optional[str] = ..., backbone: _Optional[str] = ..., fingerprint: _Optional[str] = ..., dim: _Optional[int] = ..., numerics: _Optional[str] = ..., input_height: _Optional[int] = ..., input_width: _Optional[int] = ..., limits: _Optional[_Union[Limits, _Mapping]] = ...) -> None: ...

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
