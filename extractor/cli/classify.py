"""`penultimate classify`: images in, labels out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from extractor.cli.main import SOME_FAILED
from extractor.cli.options import data_option, json_option, open_source, source_options
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
@source_options
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
    standard input. The backbone is the head's own unless one is named. An image
    that is further from all that the head was fitted on than its threshold is
    called unknown, with its distance; images of the classes have about 1.
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
    results = progress(head.classify(source, paths, top, reject=reject), len(paths), "classify")
    for path, result in zip(paths, results, strict=True):
        if isinstance(result, PenultimateError):
            yield {"image": path, "error": str(result)}
        else:
            yield {"image": path, **_found(result)}


def _found(result: Classification) -> dict[str, Any]:
    """An unknown image has no class and no probability; the classes that it is least unlike come next."""
    answers = [_plain(answer) for answer in result.answers]
    judged = {"labels": result.labels, "unknown": result.unknown, "score": result.score}
    if result.unknown:
        return {"label": result.label, **judged, "next": answers}
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
    others, sure = answer["next"], ""
    if answer["unknown"]:
        said, sure = answer["label"], f"distance {answer['score']:.1f}"
    elif answer["label"] in answer["labels"]:
        said, sure = ", ".join(answer["labels"]), _percent(answer)
    else:  # each label has a threshold of its own, which the most probable one may be under
        said, others = ", ".join(answer["labels"]) or "no label", [answer, *others]
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
