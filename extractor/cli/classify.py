"""`penultimate classify`: images in, labels out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from extractor.cli.main import SOME_FAILED
from extractor.cli.options import data_option, json_option, open_source, source_options_of
from extractor.cli.progress import progress
from extractor.errors import PenultimateError
from extractor.settings import DataFolder
from extractor.text import printable

if TYPE_CHECKING:
    from classifiers.heads import Answer, Classification, Head


@click.command(
    epilog="""\b
Examples:
  penultimate classify imagenet photo.jpg
  penultimate classify cells photos/ --json
  find photos -name '*.png' | penultimate classify cells - --server 127.0.0.1:50051

\b
Exit codes: 0 all labelled, 3 some failed (listed), 1 none could be labelled.
"""
)
@click.argument("head", metavar="HEAD")
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...")
@click.option(
    "--top", type=click.IntRange(min=1), default=3, show_default=True, help="How many classes for an image."
)
@click.option("--reject/--no-reject", default=True, help="Say of an image of none of the classes: unknown.")
@click.option(
    "--version", type=click.IntRange(min=1), help="A version of the head. [default: the one promoted]"
)
@source_options_of("the head's own")
@data_option
@json_option
def command(
    head: str,
    images: tuple[str, ...],
    top: int,
    reject: bool,
    version: int | None,
    data: DataFolder,
    as_json: bool,
    backbone: str,
    server: str | None,
    provider: str,
    precision: str,
) -> int:
    """Label images with a head: the class, its probability, and the next best.

    HEAD is a name given to `fit-head`, or imagenet, the backbone's own 1,000
    classes. IMAGE is an image, a folder, a glob, or - for a list of paths on
    standard input. An image that is further from all that the head was fitted
    on than its threshold is called unknown, with its distance and the
    threshold; the head was fitted on images of about 1, and new ones of the
    classes are further off, about 95 in 100 of them within the threshold.
    """
    from classifiers.store.versions import load_head
    from extractor.sources import find

    fitted = load_head(head, data, version=version, backbone=backbone)
    paths = list(find(images))
    with open_source(data, backbone, server, provider, precision, own=fitted.manifest.backbone) as source:
        answers = _answers(fitted, source, paths, top, reject)
        outcomes = _print_json(answers) if as_json else _print_lines(answers)
    return _exit_code(outcomes)


def _answers(head: Head, source: Any, paths: list[str], top: int, reject: bool) -> Iterator[dict[str, Any]]:
    """One plain dictionary for each image."""
    most = len(head.manifest.classes) if head.model.multi_label else top
    limit = head.rejection.threshold if head.rejection and reject else None
    results = progress(head.classify(source, paths, most, reject=reject), len(paths), "classify")
    for path, result in zip(paths, results, strict=True):
        if isinstance(result, PenultimateError):
            yield {"image": path, "error": str(result)}
        else:
            yield {"image": path, **_found(result, top, limit)}


def _found(result: Classification, top: int, limit: float | None) -> dict[str, Any]:
    """The `top` classes, and of several labels all that the image has.

    An unknown image has no class and no probability; the classes that it is least unlike come next.
    """
    answers = [
        _plain(answer)
        for place, answer in enumerate(result.answers)
        if place < top or answer.label in result.labels
    ]
    judged = {
        "labels": result.labels,
        "unknown": result.unknown,
        "score": result.score,
        "unknown_above": limit,
    }
    if result.unknown:
        nothing = {"label": result.label, "probability": None, "index": None}
        return {**nothing, **judged, "next": answers}
    return {**answers[0], **judged, "next": answers[1:]}


def _plain(answer: Answer) -> dict[str, Any]:
    facts = {"label": answer.label, "probability": answer.probability, "index": answer.index}
    return facts | ({"synset": answer.synset} if answer.synset else {})


def _print_json(answers: Iterator[dict[str, Any]]) -> list[bool]:
    document = list(answers)
    click.echo(json.dumps(document, indent=2))
    return ["error" not in answer for answer in document]


def _print_lines(answers: Iterator[dict[str, Any]]) -> list[bool]:
    outcomes = []
    for answer in answers:
        outcomes.append("error" not in answer)
        if "error" in answer:
            click.echo(printable(f"failed: {answer['image']}: {answer['error']}"), err=True)
        else:
            click.echo(_line(answer))
    return outcomes


def _line(answer: dict[str, Any]) -> str:
    """Each label that it has with its figure, then the most probable of the others."""
    ranked = answer["next"] if answer["unknown"] else [answer, *answer["next"]]
    given = [each for each in ranked if each["label"] in answer["labels"]]
    others = [each for each in ranked if each["label"] not in answer["labels"]]
    if answer["unknown"]:
        said = answer["label"]
        sure = f"distance {answer['score']:.1f}, over {answer['unknown_above']:.1f}"
    else:  # each label has a threshold of its own, which the most probable one may be under
        said = ", ".join(each["label"] for each in given) or "no label"
        sure = ", ".join(map(_percent, given))
    cells = [printable(answer["image"]), printable(said), sure]
    following = ", ".join(map(_share, others))
    return "\t".join(cells + ([f"(next: {following})"] if following else []))


def _share(answer: dict[str, Any]) -> str:
    return f"{printable(answer['label'])} {_percent(answer)}"


def _percent(answer: dict[str, Any]) -> str:
    return f"{100 * answer['probability']:.1f} %"


def _exit_code(outcomes: list[bool]) -> int:
    if all(outcomes):
        return 0
    return SOME_FAILED if any(outcomes) else 1
