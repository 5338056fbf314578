"""What tests of those who watch calls share: calls and results as the service makes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from extractor.call import Call


@pytest.fixture
def make_call() -> Callable[..., Call]:
    """Makes calls of Embed; what is not given is as if nothing had happened yet."""

    def make(request_id: str = "a", metadata: Any = None, **said: Any) -> Call:
        call = Call(
            method="penultimate.v1.Extractor/Embed",
            peer="ipv4:127.0.0.1:5",
            request_id=request_id,
            metadata=metadata or {},
            deadline=float("inf"),
            task=None,  # type: ignore[arg-type]
        )
        for name, value in said.items():
            setattr(call, name, value)
        return call

    return make
