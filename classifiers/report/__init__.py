"""What is said of a head: lines for a terminal, one JSON document, one HTML page."""

from __future__ import annotations

from classifiers.report.files import Report, report_on
from classifiers.report.text import to_dict, to_text

__all__ = ["Report", "report_on", "to_dict", "to_text"]
