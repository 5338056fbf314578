"""How servers are reached, and what they are shown: addresses, TLS, the bearer token."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import grpc

from extractor import wire
from extractor.addresses import Address
from extractor.errors import InvalidArgument
from extractor.settings import TOKEN_VARIABLE

PathLike: TypeAlias = str | os.PathLike[str]
Headers: TypeAlias = tuple[tuple[str, str], ...]

_OPTIONS = [
    *wire.MESSAGE_LIMITS,
    ("grpc.enable_retries", 0),  # we try again by ourselves, and for longer
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 5000),  # in truth how long a connection may take to be made
    ("grpc.max_reconnect_backoff_ms", 2000),
    ("grpc.keepalive_time_ms", 30_000),  # a connection that leads nowhere is seen while calls are under way
    ("grpc.keepalive_timeout_ms", 10_000),
]

_DIRECT = ("grpc.enable_http_proxy", 0)

_SCHEMES = ("dns:", "ipv4:", "ipv6:", "unix:", "unix-abstract:")


@dataclass(frozen=True, slots=True)
class Access:
    """What a client was told of its servers' security, checked.

    Attributes
    ----------
    credentials : grpc.ChannelCredentials or None
        For TLS; None for plain text.
    token : callable or None
        Gives the token for the next call.
    """

    credentials: grpc.ChannelCredentials | None
    token: Callable[[], str] | None

    def headers(self) -> Headers:
        """What shows who calls."""
        return (("authorization", f"Bearer {self.token()}"),) if self.token else ()


def options_of(address: str) -> list[tuple[str, int]]:
    """The options of the channel to a server; what is on this machine is reached through no proxy."""
    return [*_OPTIONS, _DIRECT] if _is_local(address) else _OPTIONS


def addresses_of(address: str | Sequence[str]) -> list[str]:
    """The addresses in a list, or in a string that has commas between them; each once.

    Raises
    ------
    InvalidArgument
        When one of them is neither `HOST:PORT` nor one of gRPC's own targets.
    """
    parts = address.split(",") if isinstance(address, str) else address
    found = list(dict.fromkeys(part.strip() for part in parts if part.strip()))
    for each in found:
        if not each.startswith(_SCHEMES):
            Address.parse(each)
    if not found:
        raise InvalidArgument(f"{address!r} names no server: write HOST:PORT, such as 127.0.0.1:50051")
    return found


def credentials_of(
    *, tls: bool, root_certificates: PathLike | None, certificate: PathLike | None, key: PathLike | None
) -> grpc.ChannelCredentials | None:
    """What TLS takes from PEM files; None for plain text. Parameters as for `Client`.

    Raises
    ------
    InvalidArgument
        When a file cannot be used.
    """
    if (certificate is None) != (key is None):
        raise InvalidArgument("a client's certificate and its key go together: give both")
    if not (tls or root_certificates or certificate):
        return None
    roots = root_certificates or ssl.get_default_verify_paths().cafile
    context = ssl.create_default_context()
    if root_certificates:
        _checked(context.load_verify_locations, root_certificates)
    if certificate and key:
        _checked(context.load_cert_chain, certificate, key, "")  # no password: nobody is asked for one
    files = [Path(file).read_bytes() if file else None for file in (roots, key, certificate)]
    return grpc.ssl_channel_credentials(*files)


def token_of(token: str | None, file: PathLike | None) -> Callable[[], str] | None:
    """What gives the token for each call: as given, from the file as it is then, or from the environment.

    Raises
    ------
    InvalidArgument
        Here or at a call, when it is empty or cannot be sent in a header.
    """
    if token is not None and file is not None:
        raise InvalidArgument("give `token` or `token_file`, not both")
    if file is not None:
        return _read_from(Path(file))
    said, name = (
        (token, "the token") if token is not None else (os.environ.get(TOKEN_VARIABLE), f"${TOKEN_VARIABLE}")
    )
    if said is None:
        return None
    checked = _sendable(said, name)
    return lambda: checked


def refuse_clear_token(addresses: Sequence[str]) -> None:
    """Raise InvalidArgument when others could read what is sent to one of them as plain text."""
    for address in addresses:
        if not _is_local(address):
            raise InvalidArgument(
                f"the token would go to {address} as plain text, for all on the way to read: use TLS (`tls`, "
                "`root_certificates`, --server-tls, --server-ca), or allow it where the network is trusted "
                "(`token_in_clear`, --token-in-clear)"
            )


def _is_local(address: str) -> bool:
    """Whether nothing that is sent there leaves this machine."""
    if address.startswith(("unix:", "unix-abstract:")):
        return True
    return not address.startswith(_SCHEMES) and Address.parse(address).is_loopback


def _read_from(path: Path) -> Callable[[], str]:
    def read() -> str:
        try:
            return _sendable(path.read_text(), f"the token file {path}")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise InvalidArgument(f"the token file {path} cannot be read: {reason}") from error

    read()
    return read


def _sendable(text: str, name: str) -> str:
    """The first line that has a token; servers accept several, so that they can be changed."""
    token = next((line.strip() for line in text.splitlines() if line.strip()), "")
    if not token:
        raise InvalidArgument(f"{name} is empty")
    if not all("!" <= character <= "~" for character in token):
        raise InvalidArgument(
            f"{name} holds more than visible ASCII characters, and no header can carry that"
        )
    return token


def _checked(load: Callable[..., object], *files: PathLike) -> None:
    try:
        load(*files)
    except (OSError, ValueError) as error:
        names = " and ".join(os.fspath(file) for file in files if file)
        if isinstance(error, ssl.SSLError):
            wrong = getattr(error, "reason", "") == "KEY_VALUES_MISMATCH"
            reason = (
                "the key is not the certificate's" if wrong else "not PEM, incomplete, or with a password"
            )
        else:
            reason = (getattr(error, "strerror", None) or str(error)).lower()
        raise InvalidArgument(f"{names} cannot be used for TLS: {reason}") from error
