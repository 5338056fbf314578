"""A word for what stays as it is, where None takes it away; for those who change, here or from afar."""

from __future__ import annotations

import enum
from typing import Final


class Keep(enum.Enum):
    """The kind of `KEEP`."""

    KEEP = "keep"


KEEP: Final = Keep.KEEP
"""Stands for a label that stays as it is."""
