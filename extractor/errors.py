"""Every error the project raises on purpose, in one tree.

PenultimateError
├── InvalidArgument         a name, option, file or table that cannot be used as given
├── InvalidImage            the caller's bytes are not a picture we can use
│   ├── UnreadableFile      the file could not be opened or read
│   ├── UnsupportedFormat   a picture, but of a format or pixel type outside the list
│   └── ImageTooLarge       over a limit on bytes or pixels
├── NotFound                no such file, item, collection, head or backbone
├── AlreadyExists
├── FingerprintMismatch     vectors of two backbones were about to be mixed
├── DamagedFile             a bundle, head or store on disk that is not what was written
├── Overloaded              the queue is full; try again after `retry_after` seconds
├── DeadlineExceeded        the caller's time ran out while the item waited
├── Unavailable             starting, draining, or the other side is gone
├── Unauthenticated         no token, or a wrong one
└── InternalError           our own fault; the log has the trace

The message says what was wrong, with the value, and what to do next. The
mapping to gRPC status codes is in `extractor.wire`.
"""


class PenultimateError(Exception):
    """The base of every error raised on purpose."""


class InvalidArgument(PenultimateError, ValueError):
    """A name, option, file or table cannot be used as given."""


class InvalidImage(PenultimateError):
    """The bytes are not a picture that can be decoded to its last pixel."""


class UnreadableFile(InvalidImage):
    """An image file could not be opened or read."""


class UnsupportedFormat(InvalidImage):
    """A picture of a format or pixel type that is not accepted."""


class ImageTooLarge(InvalidImage):
    """A picture over the limit on bytes or on pixels."""


class NotFound(PenultimateError):
    """No such file, item, collection, head or backbone."""


class AlreadyExists(PenultimateError):
    """Something of that name is already there."""


class FingerprintMismatch(PenultimateError):
    """Vectors of two backbones were about to be mixed.

    Parameters
    ----------
    what : str
        The thing that holds the other vectors, as the user knows it.
    expected, found : str
        The two fingerprints, in hex.
    advice : str
        What to do next.
    """

    def __init__(self, what: str, expected: str, found: str, advice: str = "") -> None:
        super().__init__(
            f"{what} was made by the backbone with fingerprint {found[:12]}…, "
            f"but the one in use has {expected[:12]}…; their vectors cannot be compared"
            + (f". {advice}" if advice else "")
        )
        self.expected = expected
        self.found = found


class DamagedFile(PenultimateError):
    """A bundle, head or store on disk is not what was written."""


class Overloaded(PenultimateError):
    """The queue is full.

    Parameters
    ----------
    message : str
    retry_after : float
        Seconds after which another try is sensible.
    """

    def __init__(self, message: str, retry_after: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class DeadlineExceeded(PenultimateError):
    """The caller's time ran out while the item waited."""


class Unavailable(PenultimateError):
    """Starting, draining, or the other side is gone."""


class Unauthenticated(PenultimateError):
    """No token, or a wrong one."""


class InternalError(PenultimateError):
    """Our own fault; the log has the trace."""


def drop_frames(error: BaseException) -> None:
    """Forget where an error, and those that led to it, were raised: frames hold what callers sent."""
    links: list[BaseException | None] = [error]
    seen: set[int] = set()
    while links:
        if (link := links.pop()) is not None and id(link) not in seen:
            seen.add(id(link))
            link.__traceback__ = None
            links += [link.__cause__, link.__context__]
