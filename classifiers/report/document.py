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
from classifiers.report.galleries import mistakes
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
        },
        "accuracy": {
            "training": findings.train_accuracy,
            "validation": findings.validation_accuracy,
            "test": training.metrics.accuracy,
        },
        "calibration": _calibration(findings),
        "curves": [_curves(each) for each in findings.curves],
        "errors": [_judged(judged, row) for row in mistakes(judged)],
        "suspected_labels": [_suspect(findings, at) for at in range(len(findings.suspects))],
        "near_copies": [[_image(judged, row) for row in group] for group in findings.neighbourhood.groups],
        "unusual": [
            {**_image(judged, each.row), "distance": each.distance} for each in findings.neighbourhood.unusual
        ],
        "compared": findings.neighbourhood.compared,
        "learning_curve": findings.learning_curve and _learned(findings.learning_curve),
        "unknown": rejection and asdict(rejection.measured),
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
        "label": judged.classes[judged.labels[row]],
        "split": "test" if judged.held_out[row] else "train",
    }


def _judged(judged: Judged, row: int) -> dict[str, Any]:
    said = judged.probabilities[row]
    answer = int(said.argmax())
    return {**_image(judged, row), "answer": judged.classes[answer], "probability": float(said[answer])}


def _suspect(findings: Findings, at: int) -> dict[str, Any]:
    suspect = findings.suspects[at]
    likely = findings.judged.classes[suspect.likely]
    return {**_image(findings.judged, suspect.row), "likely": likely, "margin": suspect.margin}


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
