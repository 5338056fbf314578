from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class CreateCollectionRequest(_message.Message):
    __slots__ = ("name", "fingerprint", "dim", "backbone", "thumbnails", "exist_ok")
    NAME_FIELD_NUMBER: _ClassVar[int]
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    DIM_FIELD_NUMBER: _ClassVar[int]
    BACKBONE_FIELD_NUMBER: _ClassVar[int]
    THUMBNAILS_FIELD_NUMBER: _ClassVar[int]
    EXIST_OK_FIELD_NUMBER: _ClassVar[int]
    name: str
    fingerprint: str
    dim: int
    backbone: str
    thumbnails: int
    exist_ok: bool
    def __init__(self, name: _Optional[str] = ..., fingerprint: _Optional[str] = ..., dim: _Optional[int] = ..., backbone: _Optional[str] = ..., thumbnails: _Optional[int] = ..., exist_ok: bool = ...) -> None: ...

class GetCollectionRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class CollectionInfo(_message.Message):
    __slots__ = ("name", "fingerprint", "dim", "backbone", "count", "bytes", "labels", "index", "thumbnails")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    DIM_FIELD_NUMBER: _ClassVar[int]
    BACKBONE_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    THUMBNAILS_FIELD_NUMBER: _ClassVar[int]
    name: str
    fingerprint: str
    dim: int
    backbone: str
    count: int
    bytes: int
    labels: _containers.ScalarMap[str, int]
    index: IndexInfo
    thumbnails: int
    def __init__(self, name: _Optional[str] = ..., fingerprint: _Optional[str] = ..., dim: _Optional[int] = ..., backbone: _Optional[str] = ..., count: _Optional[int] = ..., bytes: _Optional[int] = ..., labels: _Optional[_Mapping[str, int]] = ..., index: _Optional[_Union[IndexInfo, _Mapping]] = ..., thumbnails: _Optional[int] = ...) -> None: ...

class IndexInfo(_message.Message):
    __slots__ = ("kind", "recall", "segments", "tail", "deleted", "reason")
    KIND_FIELD_NUMBER: _ClassVar[int]
    RECALL_FIELD_NUMBER: _ClassVar[int]
    SEGMENTS_FIELD_NUMBER: _ClassVar[int]
    TAIL_FIELD_NUMBER: _ClassVar[int]
    DELETED_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    kind: str
    recall: float
    segments: int
    tail: int
    deleted: int
    reason: str
    def __init__(self, kind: _Optional[str] = ..., recall: _Optional[float] = ..., segments: _Optional[int] = ..., tail: _Optional[int] = ..., deleted: _Optional[int] = ..., reason: _Optional[str] = ...) -> None: ...

class ListCollectionsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListCollectionsResponse(_message.Message):
    __slots__ = ("names",)
    NAMES_FIELD_NUMBER: _ClassVar[int]
    names: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, names: _Optional[_Iterable[str]] = ...) -> None: ...

class DropCollectionRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class DropCollectionResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class AddRequest(_message.Message):
    __slots__ = ("collection", "fingerprint", "items", "if_exists")
    class IfExists(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        REPLACE: _ClassVar[AddRequest.IfExists]
        ERROR: _ClassVar[AddRequest.IfExists]
    REPLACE: AddRequest.IfExists
    ERROR: AddRequest.IfExists
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    IF_EXISTS_FIELD_NUMBER: _ClassVar[int]
    collection: str
    fingerprint: str
    items: _containers.RepeatedCompositeFieldContainer[NewItem]
    if_exists: AddRequest.IfExists
    def __init__(self, collection: _Optional[str] = ..., fingerprint: _Optional[str] = ..., items: _Optional[_Iterable[_Union[NewItem, _Mapping]]] = ..., if_exists: _Optional[_Union[AddRequest.IfExists, str]] = ...) -> None: ...

class NewItem(_message.Message):
    __slots__ = ("id", "image", "vector", "digest", "label", "metadata")
    ID_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    VECTOR_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    id: str
    image: bytes
    vector: bytes
    digest: bytes
    label: str
    metadata: str
    def __init__(self, id: _Optional[str] = ..., image: _Optional[bytes] = ..., vector: _Optional[bytes] = ..., digest: _Optional[bytes] = ..., label: _Optional[str] = ..., metadata: _Optional[str] = ...) -> None: ...

class AddResponse(_message.Message):
    __slots__ = ("fingerprint", "results")
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    fingerprint: str
    results: _containers.RepeatedCompositeFieldContainer[AddResult]
    def __init__(self, fingerprint: _Optional[str] = ..., results: _Optional[_Iterable[_Union[AddResult, _Mapping]]] = ...) -> None: ...

class AddResult(_message.Message):
    __slots__ = ("id", "digest", "cached", "error")
    ID_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    CACHED_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    id: str
    digest: bytes
    cached: bool
    error: ItemError
    def __init__(self, id: _Optional[str] = ..., digest: _Optional[bytes] = ..., cached: bool = ..., error: _Optional[_Union[ItemError, _Mapping]] = ...) -> None: ...

class ItemError(_message.Message):
    __slots__ = ("code", "reason")
    class Code(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        CODE_UNSPECIFIED: _ClassVar[ItemError.Code]
        INVALID_IMAGE: _ClassVar[ItemError.Code]
        IMAGE_TOO_LARGE: _ClassVar[ItemError.Code]
        UNSUPPORTED_FORMAT: _ClassVar[ItemError.Code]
        INTERNAL: _ClassVar[ItemError.Code]
        DEADLINE_EXCEEDED: _ClassVar[ItemError.Code]
        INVALID_ARGUMENT: _ClassVar[ItemError.Code]
        ALREADY_EXISTS: _ClassVar[ItemError.Code]
        NOT_FOUND: _ClassVar[ItemError.Code]
    CODE_UNSPECIFIED: ItemError.Code
    INVALID_IMAGE: ItemError.Code
    IMAGE_TOO_LARGE: ItemError.Code
    UNSUPPORTED_FORMAT: ItemError.Code
    INTERNAL: ItemError.Code
    DEADLINE_EXCEEDED: ItemError.Code
    INVALID_ARGUMENT: ItemError.Code
    ALREADY_EXISTS: ItemError.Code
    NOT_FOUND: ItemError.Code
    CODE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    code: ItemError.Code
    reason: str
    def __init__(self, code: _Optional[_Union[ItemError.Code, str]] = ..., reason: _Optional[str] = ...) -> None: ...

class Item(_message.Message):
    __slots__ = ("id", "digest", "vector", "label", "metadata", "source", "thumbnail")
    ID_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    VECTOR_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    THUMBNAIL_FIELD_NUMBER: _ClassVar[int]
    id: str
    digest: bytes
    vector: bytes
    label: str
    metadata: str
    source: str
    thumbnail: bytes
    def __init__(self, id: _Optional[str] = ..., digest: _Optional[bytes] = ..., vector: _Optional[bytes] = ..., label: _Optional[str] = ..., metadata: _Optional[str] = ..., source: _Optional[str] = ..., thumbnail: _Optional[bytes] = ...) -> None: ...

class GetItemsRequest(_message.Message):
    __slots__ = ("collection", "ids", "vectors", "thumbnails")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    IDS_FIELD_NUMBER: _ClassVar[int]
    VECTORS_FIELD_NUMBER: _ClassVar[int]
    THUMBNAILS_FIELD_NUMBER: _ClassVar[int]
    collection: str
    ids: _containers.RepeatedScalarFieldContainer[str]
    vectors: bool
    thumbnails: bool
    def __init__(self, collection: _Optional[str] = ..., ids: _Optional[_Iterable[str]] = ..., vectors: bool = ..., thumbnails: bool = ...) -> None: ...

class GetItemsResponse(_message.Message):
    __slots__ = ("fingerprint", "dim", "results")
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    DIM_FIELD_NUMBER: _ClassVar[int]
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    fingerprint: str
    dim: int
    results: _containers.RepeatedCompositeFieldContainer[GetItemResult]
    def __init__(self, fingerprint: _Optional[str] = ..., dim: _Optional[int] = ..., results: _Optional[_Iterable[_Union[GetItemResult, _Mapping]]] = ...) -> None: ...

class GetItemResult(_message.Message):
    __slots__ = ("item", "error")
    ITEM_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    item: Item
    error: ItemError
    def __init__(self, item: _Optional[_Union[Item, _Mapping]] = ..., error: _Optional[_Union[ItemError, _Mapping]] = ...) -> None: ...

class SetItemsRequest(_message.Message):
    __slots__ = ("collection", "ids", "label", "clear_label", "metadata")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    IDS_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    CLEAR_LABEL_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    collection: str
    ids: _containers.RepeatedScalarFieldContainer[str]
    label: str
    clear_label: bool
    metadata: str
    def __init__(self, collection: _Optional[str] = ..., ids: _Optional[_Iterable[str]] = ..., label: _Optional[str] = ..., clear_label: bool = ..., metadata: _Optional[str] = ...) -> None: ...

class SetItemsResponse(_message.Message):
    __slots__ = ("count",)
    COUNT_FIELD_NUMBER: _ClassVar[int]
    count: int
    def __init__(self, count: _Optional[int] = ...) -> None: ...

class DeleteItemsRequest(_message.Message):
    __slots__ = ("collection", "ids")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    IDS_FIELD_NUMBER: _ClassVar[int]
    collection: str
    ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, collection: _Optional[str] = ..., ids: _Optional[_Iterable[str]] = ...) -> None: ...

class DeleteItemsResponse(_message.Message):
    __slots__ = ("count",)
    COUNT_FIELD_NUMBER: _ClassVar[int]
    count: int
    def __init__(self, count: _Optional[int] = ...) -> None: ...

class ListItemsRequest(_message.Message):
    __slots__ = ("collection", "filter", "vectors", "page_size", "page_token")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    VECTORS_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    collection: str
    filter: str
    vectors: bool
    page_size: int
    page_token: str
    def __init__(self, collection: _Optional[str] = ..., filter: _Optional[str] = ..., vectors: bool = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListItemsResponse(_message.Message):
    __slots__ = ("fingerprint", "dim", "items", "next_page_token")
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    DIM_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    fingerprint: str
    dim: int
    items: _containers.RepeatedCompositeFieldContainer[Item]
    next_page_token: str
    def __init__(self, fingerprint: _Optional[str] = ..., dim: _Optional[int] = ..., items: _Optional[_Iterable[_Union[Item, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class SearchRequest(_message.Message):
    __slots__ = ("collection", "fingerprint", "queries", "k", "filter", "min_score", "attributes")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    QUERIES_FIELD_NUMBER: _ClassVar[int]
    K_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    MIN_SCORE_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    collection: str
    fingerprint: str
    queries: _containers.RepeatedCompositeFieldContainer[Query]
    k: int
    filter: str
    min_score: float
    attributes: bool
    def __init__(self, collection: _Optional[str] = ..., fingerprint: _Optional[str] = ..., queries: _Optional[_Iterable[_Union[Query, _Mapping]]] = ..., k: _Optional[int] = ..., filter: _Optional[str] = ..., min_score: _Optional[float] = ..., attributes: bool = ...) -> None: ...

class Query(_message.Message):
    __slots__ = ("like", "unlike")
    LIKE_FIELD_NUMBER: _ClassVar[int]
    UNLIKE_FIELD_NUMBER: _ClassVar[int]
    like: _containers.RepeatedCompositeFieldContainer[Example]
    unlike: _containers.RepeatedCompositeFieldContainer[Example]
    def __init__(self, like: _Optional[_Iterable[_Union[Example, _Mapping]]] = ..., unlike: _Optional[_Iterable[_Union[Example, _Mapping]]] = ...) -> None: ...

class Example(_message.Message):
    __slots__ = ("image", "vector", "id")
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    VECTOR_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    image: bytes
    vector: bytes
    id: str
    def __init__(self, image: _Optional[bytes] = ..., vector: _Optional[bytes] = ..., id: _Optional[str] = ...) -> None: ...

class SearchResponse(_message.Message):
    __slots__ = ("fingerprint", "results")
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    fingerprint: str
    results: _containers.RepeatedCompositeFieldContainer[SearchResult]
    def __init__(self, fingerprint: _Optional[str] = ..., results: _Optional[_Iterable[_Union[SearchResult, _Mapping]]] = ...) -> None: ...

class SearchResult(_message.Message):
    __slots__ = ("matches", "error")
    MATCHES_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    matches: _containers.RepeatedCompositeFieldContainer[Match]
    error: ItemError
    def __init__(self, matches: _Optional[_Iterable[_Union[Match, _Mapping]]] = ..., error: _Optional[_Union[ItemError, _Mapping]] = ...) -> None: ...

class Match(_message.Message):
    __slots__ = ("id", "score", "label", "metadata")
    ID_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    id: str
    score: float
    label: str
    metadata: str
    def __init__(self, id: _Optional[str] = ..., score: _Optional[float] = ..., label: _Optional[str] = ..., metadata: _Optional[str] = ...) -> None: ...
