"""Addresses to listen on: what they are, who can reach them, why one cannot be had."""

from __future__ import annotations

import errno
import ipaddress
import re
import socket
from collections.abc import Callable
from dataclasses import dataclass

from extractor.errors import InvalidArgument, Unavailable


@dataclass(frozen=True, slots=True)
class Address:
    """`HOST:PORT`; an IPv6 host stands in brackets."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """The address that `text` names.

        Raises
        ------
        InvalidArgument
            When it is something else.
        """
        found = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]/\s]+):(\d{1,5})", text)
        if not found or int(found[2]) > 65535:
            raise InvalidArgument(f"{text!r} is no address: write HOST:PORT, such as 127.0.0.1:50051")
        return cls(found[1], int(found[2]))

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        try:
            return ipaddress.ip_address(self.host.strip("[]")).is_loopback
        except ValueError:
            return self.host == "localhost"

    def bind(self, listen: Callable[[str], int], option: str = "--address") -> Address:
        """Listen on every address that the host's name stands for, all on one port.

        Left to itself, gRPC is content with one of them: two servers could
        listen under one name.

        Parameters
        ----------
        listen : callable
            Listens on a numeric `HOST:PORT` and returns the port, or raises
            RuntimeError, as gRPC's servers do.
        option : str
            What a user writes the address behind, for the error's text.

        Returns
        -------
        Address
            With the real port.

        Raises
        ------
        Unavailable
            When one cannot be had, as when another server is there.
        """
        port, bound, missing = self.port, 0, OSError("it has no address")
        for host in self._hosts(option):
            try:
                port = listen(f"{host}:{port}")
                bound += 1
            except RuntimeError:
                missing = _why_not(host, port)
                if missing.errno != errno.EADDRNOTAVAIL:  # a name may stand for more than this machine has
                    raise self._cannot_listen(missing, option) from missing
        if not bound:
            raise self._cannot_listen(missing, option) from missing
        return Address(self.host, port)

    def _hosts(self, option: str) -> list[str]:
        """The addresses of the host, each as gRPC writes it."""
        try:
            found = socket.getaddrinfo(self.host.strip("[]"), None, type=socket.SOCK_STREAM)
        except OSError as error:
            raise self._cannot_listen(error, option) from error
        return [
            f"[{where[0]}]" if family is socket.AF_INET6 else str(where[0]) for family, *_, where in found
        ]

    def _cannot_listen(self, reason: OSError, option: str) -> Unavailable:
        return Unavailable(
            f"cannot listen on {self}: {(reason.strerror or str(reason)).lower()}. "
            f"Choose another {option}, or stop what listens there"
        )


def _why_not(host: str, port: int) -> OSError:
    """What the system says to binding; gRPC keeps it to itself."""
    family = socket.AF_INET6 if host.startswith("[") else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.bind((host.strip("[]"), port))
    except OSError as error:
        return error
    return OSError(errno.EADDRINUSE, "the address is in use")
