"""One server for the collections of a data folder: it holds the lock there, and says who it is."""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from typing import IO

from extractor.errors import AlreadyExists
from extractor.settings import DataFolder

_FILE = "serving.lock"


class Occupied:
    """The lock on a data folder; the system gives it back when the process ends, however that comes.

    Parameters
    ----------
    data : DataFolder
    """

    def __init__(self, data: DataFolder) -> None:
        self._data = data
        self._file: IO[str] | None = None

    def take(self, address: str) -> None:
        """Take the folder for the server at `address`.

        Where nothing can be written there is nothing to take: such a folder may
        be read by many.

        Raises
        ------
        AlreadyExists
            When another server has it.
        """
        with suppress(OSError):
            self._data.root.mkdir(parents=True, exist_ok=True)
            self._file = (self._data.root / _FILE).open("a+")
        if self._file is None:
            return
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = self._holder()
            self.leave()
            raise AlreadyExists(
                f"the collections in {self._data.root} are served by another server already ({holder}): use "
                "that one, give this one another --data, or let it only embed with --no-collections"
            ) from None
        with suppress(OSError):  # on a full disk it is held all the same
            os.truncate(self._file.fileno(), 0)
            os.write(self._file.fileno(), f"process {os.getpid()} at {address}\n".encode())

    def leave(self) -> None:
        """Give the folder back."""
        if self._file:
            self._file.close()
            self._file = None

    def _holder(self) -> str:
        assert self._file
        self._file.seek(0)
        return self._file.readline(200).strip() or "it is just starting"
