"""Who may connect, and who may call: certificates for TLS, and the bearer token."""

from __future__ import annotations

import hmac
import logging
import os
import ssl
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NoReturn

import grpc

from extractor.errors import InvalidArgument, PenultimateError
from extractor.settings import TOKEN_VARIABLE

log = logging.getLogger(__name__)

OPEN_SERVICES = ("/grpc.health.v1.Health/",)
"""Called without a token: probes of orchestrators and load balancers have none to send."""


class Certificates:
    """The PEM files of TLS, read again for every new connection.

    Files that cannot be used, as when they are half written or the key is not
    the certificate's, are said once in the log, and those before them stay in
    use. Connections live on with the certificate that they began with.

    Parameters
    ----------
    certificate, key : path
        The server's certificate with those that lead to its authority, and
        its private key.
    client_ca : path, optional
        Certificates of authorities: only clients with a certificate of one of
        them may connect (mutual TLS).

    Raises
    ------
    InvalidArgument
        When they cannot be used.
    """

    def __init__(self, certificate: Path, key: Path, client_ca: Path | None = None) -> None:
        self._certificate, self._key, self._client_ca = certificate, key, client_ca
        self._good = self._checked()
        self._complaints = _Complaints()
        self._lock = threading.Lock()  # connections come in several threads

    def credentials(self) -> grpc.ServerCredentials:
        """What gRPC listens with, for one port: it remembers what that port has been given."""
        served = self._good

        def changed() -> Any:  # a ServerCertificateConfiguration, or None when nothing is new
            nonlocal served
            with self._lock:
                latest = self._latest()
                if latest == served:
                    return None
                served = latest
                return _configuration(latest)

        mutual = self._client_ca is not None
        return grpc.dynamic_ssl_server_credentials(_configuration(served), changed, mutual)

    def _latest(self) -> tuple[bytes, ...]:
        """The files' bytes, or those of the last good ones."""
        try:
            if self._read() != self._good:
                self._good = self._checked()
                log.info("new connections get the new certificate in %s", self._certificate)
            self._complaints.clear()
        except InvalidArgument as error:
            self._complaints.add(f"{error}; the files before them stay in use")
        return self._good

    def _checked(self) -> tuple[bytes, ...]:
        """The files' bytes, when they can be used together."""
        before = self._read()
        try:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self._certificate, self._key, password="")
            if self._client_ca:
                context.load_verify_locations(self._client_ca)
        except (OSError, ValueError) as error:
            raise InvalidArgument(f"{self._names()} cannot be used for TLS: {_reason(error)}") from error
        if self._read() != before:
            raise InvalidArgument(f"{self._names()} are being written")
        return before

    def _read(self) -> tuple[bytes, ...]:
        files = (self._certificate, self._key, self._client_ca)
        return tuple(_content(file) for file in files if file)

    def _names(self) -> str:
        names = [str(file) for file in (self._certificate, self._key, self._client_ca) if file]
        return ", ".join(names[:-1]) + " and " + names[-1]


class Token:
    """What callers must show: `authorization: Bearer TOKEN`.

    Parameters
    ----------
    read : callable
        Returns the text with the accepted tokens, one a line; called for every
        call, so that a new token needs no restart. While it raises
        InvalidArgument, the tokens before stay in use.

    Raises
    ------
    InvalidArgument
        When there is no token, or it cannot be sent in a header.
    """

    def __init__(self, read: Callable[[], str]) -> None:
        self._read = read
        self._text = read()
        self._tokens = _tokens(self._text)
        self._complaints = _Complaints()

    @classmethod
    def of_file(cls, path: Path) -> Token:
        """The tokens in a file."""
        if not path.is_file():  # a pipe could be read only once
            raise InvalidArgument(f"the token file {path} is no file")

        def read() -> str:
            return _content(path).decode("utf-8", "replace")

        return _naming(f"the token file {path}", lambda: cls(read))

    @classmethod
    def of_environment(cls) -> Token | None:
        """The token in `$PENULTIMATE_TOKEN`, if it is set."""
        text = os.environ.get(TOKEN_VARIABLE)
        return None if text is None else _naming(f"${TOKEN_VARIABLE}", lambda: cls(lambda: text))

    def accepts(self, authorization: str | bytes) -> bool:
        """Whether a header's value shows an accepted token; a wrong one takes as long as a right one."""
        if isinstance(authorization, str):
            authorization = authorization.encode()
        scheme, _, shown = authorization.partition(b" ")
        found = [hmac.compare_digest(shown.strip(), token) for token in self._current()]
        return scheme.lower() == b"bearer" and any(found)

    def _current(self) -> tuple[bytes, ...]:
        try:
            text = self._read()
            if text != self._text:
                self._tokens, self._text = _tokens(text), text
                log.info("the token has changed")
            self._complaints.clear()
        except InvalidArgument as error:
            self._complaints.add(f"the token file has changed, but {error}; the tokens before stay in use")
        return self._tokens


class TokenInterceptor(grpc.aio.ServerInterceptor):
    """Ends calls without an accepted token before anything of their request is received.

    Parameters
    ----------
    token : Token
    refused : callable
        Told of each such call: nobody else sees it.
    """

    def __init__(self, token: Token, refused: Callable[[], None] = lambda: None) -> None:
        self._token = token
        self._refused = refused

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """The method's handler, or one that refuses."""
        details: Any = handler_call_details
        shown = [value for key, value in details.invocation_metadata if key == "authorization"]
        if details.method.startswith(OPEN_SERVICES) or any(map(self._token.accepts, shown)):
            return await continuation(handler_call_details)
        self._refused()
        return _WRONG if shown else _MISSING


def _refusal(sentence: str) -> grpc.RpcMethodHandler[Any, Any]:
    """A handler for methods of every kind, since it ends the call before its first message."""

    async def refuse(_: object, context: grpc.aio.ServicerContext[Any, Any]) -> NoReturn:
        try:
            log.debug("%s was refused: %s", context.peer(), sentence)
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, sentence)
        finally:
            del _, context  # as in `Calls`: else the call lies in memory

    return grpc.stream_stream_rpc_method_handler(refuse)


_MISSING = _refusal("this server wants a token: send the header `authorization: Bearer TOKEN`")
_WRONG = _refusal("the token is not one that this server accepts, or is not sent as `Bearer TOKEN`")


class _Complaints:
    """Says each complaint in the log once, until things are well again or the complaint is another."""

    def __init__(self) -> None:
        self._last = ""

    def add(self, complaint: str) -> None:
        if complaint != self._last:
            log.warning("%s", complaint)
        self._last = complaint

    def clear(self) -> None:
        self._last = ""


def _configuration(files: tuple[bytes, ...]) -> grpc.ServerCertificateConfiguration:
    certificate, key, *client_ca = files
    return grpc.ssl_server_certificate_configuration([(key, certificate)], *client_ca)


def _tokens(text: str) -> tuple[bytes, ...]:
    """One token a line; the message of an error holds nothing of them."""
    tokens = tuple(line.strip() for line in text.splitlines() if line.strip())
    if not tokens:
        raise InvalidArgument("it is empty")
    if not all(0x21 <= ord(character) <= 0x7E for token in tokens for character in token):
        raise InvalidArgument("it holds more than visible ASCII characters, and no header can carry that")
    return tuple(token.encode() for token in tokens)


def _naming(what: str, make: Callable[[], Token]) -> Token:
    try:
        return make()
    except PenultimateError as error:
        raise InvalidArgument(f"{what} cannot be used: {error}") from None


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidArgument(f"{path} cannot be read: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """Why files cannot be used; OpenSSL's own words are for its authors."""
    if getattr(error, "reason", None) == "KEY_VALUES_MISMATCH":
        return "the key is not the certificate's"
    if isinstance(error, ssl.SSLError):
        return "one of them is incomplete, is not PEM, or needs a password"
    return (getattr(error, "strerror", None) or str(error)).lower()
