"""`penultimate heads export`: a head as an ONNX file."""

from __future__ import annotations

from pathlib import Path

import click

from extractor.cli.options import data_option
from extractor.errors import InvalidArgument
from extractor.settings import DataFolder
from extractor.text import printable


@click.command(
    epilog="""\b
Examples:
  penultimate heads export cells --onnx cells.onnx
  penultimate heads export cells --onnx cells-whole.onnx --with-backbone
"""
)
@click.argument("name")
@click.option(
    "--onnx",
    "file",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="The file to write.",
)
@click.option(
    "--with-backbone",
    is_flag=True,
    help="One graph from pixels (uint8, n x height x width x 3, resized for the backbone) to labels.",
)
@click.option("--version", type=click.IntRange(min=1), help="Which. [default: the one that answers]")
@data_option
def export(name: str, file: Path, with_backbone: bool, version: int | None, data: DataFolder) -> None:
    """Write the head NAME as one ONNX graph, proved equal in ONNX Runtime (needs the `export` extra).

    Beside the probabilities it gives the place of the most probable class, -1 of an unknown image (of
    several labels which ones an image has), and the distance from the classes. Names of classes,
    thresholds and fingerprint are in its metadata.
    """
    from classifiers.graphs import export_onnx
    from classifiers.store.versions import load_head
    from extractor.backbones.bundle import Bundle
    from extractor.vector_files import is_file_name

    head = load_head(name, data, version=version)
    backbone = head.manifest.backbone
    if with_backbone and is_file_name(backbone):
        raise InvalidArgument(
            f"the vectors are of the file {backbone}, which names no backbone: leave --with-backbone out, "
            "and the graph takes such vectors"
        )
    bundle = Bundle.of(data, backbone) if with_backbone else None
    done = export_onnx(head, file, bundle)
    what = "golden pictures" if with_backbone else "embeddings"
    click.echo(
        f"wrote {printable(done.file)}: {done.input} to {', '.join(done.outputs)}; "
        f"{len(head.manifest.classes)} classes; on {done.rows} {what} no figure is more than "
        f"{done.apart:.1g} from the head's"
    )
