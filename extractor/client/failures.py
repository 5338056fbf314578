"""Why a call failed, where gRPC's own words are for its authors: mostly TLS."""

from __future__ import annotations

import grpc

from extractor import wire
from extractor.errors import PenultimateError, Unauthenticated, Unavailable
from extractor.settings import TOKEN_VARIABLE

# What is in gRPC's details, and what it means for a user; none of it passes by waiting.
_TLS = {
    "certificate has expired": "the certificate of {address} has expired: its server needs a new one",
    "CERTIFICATE_VERIFY_FAILED": "the certificate of {address} comes from no authority that is trusted here: "
    "give the PEM file of its authority as `root_certificates` (--server-ca)",
    "Hostname Verification Check failed": "the certificate of {address} is for other names than this one: "
    "connect by a name that is in it",
    "WRONG_VERSION_NUMBER": "what listens on {address} does not speak TLS: connect without, or start it "
    "with a certificate",
}


def error_of(failure: grpc.RpcError, address: str, fingerprint: str = "") -> PenultimateError:
    """As `wire.error_of`, with what a client can do about TLS and tokens."""
    details = failure.details() or ""
    if meaning := _of_tls(failure):
        return Unauthenticated(meaning.format(address=address))
    if failure.code() is grpc.StatusCode.UNAUTHENTICATED:
        return Unauthenticated(
            f"{address} refused the call: {details} (`token`, `token_file`, --token-file, ${TOKEN_VARIABLE})"
        )
    if details.startswith("failed to connect") and details.endswith("Socket closed"):
        return Unavailable(
            f"{address} hangs up on every connection: it may want TLS (`root_certificates`, --server-ca), or "
            "a certificate of the client (`certificate` and `key`)"
        )
    return wire.error_of(failure, address, fingerprint)


def is_lasting(failure: grpc.RpcError) -> bool:
    """Whether waiting is in vain although the status says that nobody was there."""
    return _of_tls(failure) is not None


def _of_tls(failure: grpc.RpcError) -> str | None:
    if failure.code() is not grpc.StatusCode.UNAVAILABLE:
        return None
    details = failure.details() or ""
    return next((meaning for sign, meaning in _TLS.items() if sign in details), None)
