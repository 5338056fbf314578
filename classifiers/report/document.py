"""`report.json`: everything that a report says, as plain values; shares are from 0 to 1."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from classifiers.evaluation.curves import Curves
from classifiers.evaluation.findings import Findings
from classifiers.evaluation.intervals import Estimate
from classifiers.evaluation.judged import Judged
from classifiers.evaluation.labelling import Suggested
from classifiers.evaluation.learning_curve import LearningCurve
from classifiers.report.galleries import Cell, Mistake, cells, mistakes, sample, shown_of
from classifiers.report.sentences import key_lines

if TYPE_CHECKING:
    from classifiers.training.train import Training

FORMAT = 1


def document(
    training: Training, findings: Findings, card: dict[str, Any], suggested: Suggested | None = None
) -> dict[str, Any]:
    """The report; parameters as of `page`."""
    judged, rejection = findings.judged, training.head.rejection
    return {
        "format": FORMAT,
        "summary": dict(key_lines(findings, training.metrics)),
        "metrics": training.metrics.to_dict(),
        "log_loss": _estimate(findings.log_loss),
        "baselines": {
            "majority": training.metrics.majority_accuracy,
            "colours": findings.no_transfer and _estimate(findings.no_transfer),
            "prior_log_loss": findings.prior_log_loss,
            "gains": {name: asdict(gain) for name, gain in findings.gains.items()},
        },
        "accuracy": {
            "training": findings.train_accuracy,
            "validation": findings.validation_accuracy,
            "test": training.metrics.accuracy,
        },
        "calibration": _calibration(findings),
        "curves": [_curves(each) for each in findings.curves],
        "multi_label": judged.multi_label,
        "thresholds": dict(zip(judged.classes, training.head.manifest.thresholds, strict=False)),
        "cells": [_cell(judged, cell, rows) for cell, rows in sorted(cells(judged).items())],
        "sample": {
            judged.classes[at]: [judged.images[row] for row in rows] for at, rows in sample(judged).items()
        },
        "errors": [_mistaken(judged, each) for each in mistakes(judged)],
        "suspected_labels": [_suspect(findings, at) for at in range(len(findings.suspects))],
        "near_copies": [[_image(judged, row) for row in group] for group in findings.neighbourhood.groups],
        "unusual": [
            {**_image(judged, each.row), "distance": each.distance} for each in findings.neighbourhood.unusual
        ],
        "compared": findings.neighbourhood.compared,
        "alike": findings.neighbourhood.alike,
        "median_distance": findings.neighbourhood.median,
        "learning_curve": findings.learning_curve and _learned(findings.learning_curve),
        "unknown": rejection and rejection.facts(),
        "label_next": suggested and _suggested(suggested),
        "card": card,
        "seconds": training.seconds | findings.seconds,
    }


def _estimate(estimate: Estimate) -> dict[str, Any]:
    return {"value": estimate.value, "interval": [estimate.low, estimate.high]}


def _image(judged: Judged, row: int) -> dict[str, Any]:
    return {
        "image": judged.images[row],
        "digest": str(judged.digests[row]),
        "label": judged.label_of(row),
        "split": "test" if judged.held_out[row] else "train",
    }


def _cell(judged: Judged, cell: Cell, rows: list[int]) -> dict[str, Any]:
    """A cell of the confusion matrix, with the images of it that the page shows."""
    images = [judged.images[row] for row in shown_of(cell, rows)]
    if judged.multi_label:
        label, has, said = cell
        named: dict[str, Any] = {"label": judged.classes[label], "truth": bool(has), "answer": bool(said)}
    else:
        named = {"truth": judged.classes[cell[0]], "answer": judged.classes[cell[1]]}
    return {**named, "count": len(rows), "images": images}


def _mistaken(judged: Judged, mistake: Mistake) -> dict[str, Any]:
    facts = {**_image(judged, mistake.row), "answer": judged.classes[mistake.label]}
    if judged.multi_label:
        facts["missed"] = bool(judged.labels[mistake.row, mistake.label])
    return {**facts, "probability": mistake.sure}


def _suspect(findings: Findings, at: int) -> dict[str, Any]:
    suspect, judged = findings.suspects[at], findings.judged
    image = _image(judged, suspect.row)
    if suspect.label is not None:
        doubt: dict[str, Any] = {"doubted": judged.classes[suspect.label], "given": bool(suspect.given)}
    else:
        doubt = {"likely": judged.classes[suspect.likely]}
    return {**image, **doubt, "margin": suspect.margin}


def _calibration(findings: Findings) -> dict[str, Any]:
    told = findings.calibration
    bins = {"bins_before": told.bins_before, "bins_after": told.bins_after}
    return told._asdict() | {name: [each._asdict() for each in of] for name, of in bins.items()}


def _curves(curves: Curves) -> dict[str, Any]:
    return {
        "label": curves.label,
        "positives": curves.positives,
        "negatives": curves.negatives,
        "roc_auc": _estimate(curves.auc),
        "average_precision": _estimate(curves.average_precision),
        "roc": curves.roc.round(5).tolist(),
        "precision_recall": curves.precision_recall.round(5).tolist(),
    }


def _learned(curve: LearningCurve) -> dict[str, Any]:
    return {
        "kind": curve.kind,
        "sizes": curve.sizes,
        "accuracy": [_estimate(each) for each in curve.accuracy],
        "repeats": curve.repeats,
        "test_rows": curve.test_rows,
        "resplit": curve.resplit,
        "errors": curve.errors.tolist(),
        "advice": asdict(curve.advice),
    }


def _suggested(suggested: Suggested) -> dict[str, Any]:
    images = [
        {name: value for name, value in asdict(each).items() if name != "picture"}
        for each in suggested.images
    ]
    return {"collection": suggested.collection, "unlabelled": suggested.unlabelled, "images": images}
