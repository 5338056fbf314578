"""The files of a report, which are published beside its head."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from classifiers.evaluation.findings import Findings, Note, examine
from classifiers.evaluation.labelling import Suggested
from classifiers.report.card import model_card
from classifiers.report.document import document
from classifiers.report.page import page

if TYPE_CHECKING:
    from classifiers.training.train import Training

PAGE, DOCUMENT = "report.html", "report.json"


@dataclass(frozen=True, slots=True, eq=False)
class Report:
    """A report that is ready to be written.

    Attributes
    ----------
    findings : Findings
    html, json : str
        The page and the document.
    seconds : float
        That making it took.
    suggested : Suggested or None
        Images that are worth a label, where they were asked for.
    """

    findings: Findings
    html: str
    json: str
    seconds: float
    suggested: Suggested | None = None

    def files(self) -> dict[str, Callable[[Path], None]]:
        """By name, what writes the file at the path it is given."""
        contents = {PAGE: self.html, DOCUMENT: self.json}
        return {name: _writer(content) for name, content in contents.items()}


def report_on(
    training: Training,
    *,
    weights: Mapping[str, Any] | None = None,
    suggested: Suggested | None = None,
    note: Note | None = None,
) -> Report:
    """Examine a head, and write down what was found.

    Parameters
    ----------
    training : Training
    weights : mapping, optional
        Of the backbone: `source` and `licence`.
    suggested : Suggested, optional
        Images of a collection that are worth a label.
    note : callable, optional
        Is told, in a line, what is being done.
    """
    begun = time.perf_counter()
    findings = examine(training, note)
    card = model_card(training, weights)
    facts = document(training, findings, card, suggested)
    html = page(training, findings, card, suggested)
    seconds = round(time.perf_counter() - begun, 3)
    return Report(findings, html, json.dumps(facts, indent=1, allow_nan=False), seconds, suggested)


def _writer(content: str) -> Callable[[Path], None]:
    def write(file: Path) -> None:
        file.write_text(content, encoding="utf-8")

    return write
