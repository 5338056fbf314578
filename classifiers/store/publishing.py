"""A head that was fitted becomes a version, its rows beside it, compared with the one that answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from classifiers.comparing.contest import Contest, against_serving
from classifiers.data.split_files import FILE as SPLIT
from classifiers.data.split_files import write_split
from classifiers.store.records import FILE, Rows
from classifiers.store.versions import Content, Saved, save_head
from extractor.errors import DamagedFile
from extractor.settings import DataFolder

if TYPE_CHECKING:
    from classifiers.training.train import Training


@dataclass(frozen=True, slots=True)
class Published:
    """A version that was saved, and its contest with the one that answered till then.

    Attributes
    ----------
    name : str
    saved : Saved
    contest : Contest, str or None
        Why there was none, as a sentence; None for a first version.
    damaged : bool
        Whether the version that answered till then is not what was written, and answers nothing.
    """

    name: str
    saved: Saved
    contest: Contest | str | None = None
    damaged: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        held = self.contest.to_dict() if isinstance(self.contest, Contest) else self.contest
        return {"version": self.saved.version, "serving": self.saved.serving, "against_serving": held}

    def lines(self) -> list[str]:
        """For a person; none for a first version."""
        version, serving = self.saved.version, self.saved.serving
        if version == 1:
            return []
        compared = [self.contest.line() if isinstance(self.contest, Contest) else self.contest or ""]
        if version == serving:
            state = f"version {version} answers from now on; back: `penultimate heads rollback {self.name}`"
        else:
            stands = "answers nothing" if self.damaged else "still answers"
            state = (
                f"version {serving} {stands}; let version {version} answer: "
                f"`penultimate heads promote {self.name}`"
            )
        return [*filter(None, compared), state]


def publish(
    training: Training,
    data: DataFolder,
    *,
    promote: bool = False,
    files: Mapping[str, Content] | None = None,
) -> Published:
    """Save what was fitted as a new version of its name; parameters as of `save_head`."""
    name = training.head.manifest.name
    held, damaged = _against_serving(training, data)
    known, unseen, aside = training.known, training.unseen, training.aside
    split: Content = partial(write_split, known=known, unseen=unseen, aside=aside)
    beside: dict[str, Content] = {FILE: Rows.of(training).write, SPLIT: split, **(files or {})}
    saved = save_head(training.head, data, tested=training.tested, files=beside, promote=promote)
    return Published(name, saved, held, damaged)


def _against_serving(training: Training, data: DataFolder) -> tuple[Contest | str | None, bool]:
    """As `against_serving`, and whether that version is damaged: a new one is what mends the head."""
    try:
        return against_serving(training, data), False
    except DamagedFile:
        return "the version that should answer is damaged: not compared", True
