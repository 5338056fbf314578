"""From a head to an ONNX file that answers as it does."""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from classifiers.graphs.answers import DISTANCE, LABEL, LABELS, write_answers
from classifiers.graphs.nodes import EMBEDDINGS, PROBABILITIES, Nodes, write_head
from classifiers.graphs.proof import AGREEMENT, prove_head, prove_whole
from classifiers.heads import Head
from extractor.backbones.onnx_file import BATCH, write_model
from extractor.errors import FingerprintMismatch, InternalError, InvalidArgument
from extractor.folders import refusals

if TYPE_CHECKING:
    from extractor.backbones.bundle import Bundle

OPSET, LEAST_OPSET, IR_VERSION = 18, 13, 10
_PREFIX = "classify/"  # of the head's values behind a backbone


@dataclass(frozen=True, slots=True)
class Exported:
    """A file that was written, and its proof.

    Attributes
    ----------
    file : Path
    input : str
        The name of the graph's input.
    outputs : list of str
        "probabilities"; "label", the place of the most probable class, or -1
        of an unknown image; or, where an image may have several labels,
        "labels", which of them it has; and, where the head can tell unknown
        images, "distance".
    rows : int
        Embeddings or pictures that head and graph were both asked of.
    apart : float
        The largest difference of a probability among them.
    """

    file: Path
    input: str
    outputs: list[str]
    rows: int
    apart: float


def export_onnx(head: Head, file: Path, bundle: Bundle | None = None) -> Exported:
    """Write the graph of `head`, after ONNX Runtime has answered as the head does.

    Parameters
    ----------
    head : Head
    file : Path
        Replaced in one step when it is there. Of a network of more than 2 GB
        there are two files, as of its backbone.
    bundle : Bundle, optional
        The head's backbone: the graph then begins with pixels, uint8 of shape
        (n, height, width, 3), of an image that was resized as the backbone's
        manifest says.

    Raises
    ------
    InvalidArgument
        When the package onnx is missing, or the file cannot be written.
    FingerprintMismatch
        When the bundle is of another backbone.
    InternalError
        When the graph answers otherwise: nothing is written.
    """
    _check_onnx()
    if bundle is not None and bundle.fingerprint != head.manifest.fingerprint:
        raise FingerprintMismatch(
            f"the head {head.manifest.name!r}", bundle.fingerprint, head.manifest.fingerprint
        )
    model = head_graph(head) if bundle is None else _behind(bundle, head)
    with (
        refusals(file, "--onnx"),
        tempfile.TemporaryDirectory(dir=file.parent, prefix=f".{file.name}-") as place,
    ):
        draft = Path(place) / file.name
        write_model(model, draft)
        _describe(draft, _facts(head, bundle))
        rows, apart = prove_head(head, draft) if bundle is None else prove_whole(head, draft, bundle)
        if not apart <= AGREEMENT:
            raise InternalError(
                f"the graph of {head.manifest.name!r} answers {apart:.2g} beside the head's probabilities, "
                "or calls other images unknown: nothing was written"
            )
        # in this order: the weights before the graph that reads them
        for part in sorted(Path(place).iterdir(), reverse=True):
            shutil.move(part, file.with_name(part.name))
    outputs = [output.name for output in model.graph.output]
    return Exported(file, model.graph.input[0].name, outputs, rows, apart)


def head_graph(head: Head, opset: int = OPSET) -> Any:
    """The graph from embeddings to probabilities, and to what follows from them.

    Its operators mean the same in all sets from `LEAST_OPSET` on.
    """
    from onnx import TensorProto, helper

    nodes = Nodes()
    write_head(nodes, head.model)
    classes = len(head.manifest.classes)
    kinds: dict[str, tuple[int, list[str | int]]] = {
        PROBABILITIES: (TensorProto.FLOAT, [BATCH, classes]),
        LABEL: (TensorProto.INT64, [BATCH]),
        LABELS: (TensorProto.BOOL, [BATCH, classes]),
        DISTANCE: (TensorProto.FLOAT, [BATCH]),
    }
    outputs = [PROBABILITIES, *write_answers(nodes, head)]
    start = helper.make_tensor_value_info(EMBEDDINGS, TensorProto.FLOAT, [BATCH, head.manifest.dim])
    ends = [helper.make_tensor_value_info(name, *kinds[name]) for name in outputs]
    graph = helper.make_graph(nodes.nodes, "head", [start], ends, nodes.constants)
    opsets = [helper.make_opsetid("", opset)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)


def _facts(head: Head, bundle: Bundle | None) -> dict[str, str]:
    manifest = head.manifest
    facts = {"name": manifest.name, "fingerprint": manifest.fingerprint, "backbone": manifest.backbone}
    facts["classes"] = json.dumps(manifest.classes, ensure_ascii=False)
    if head.model.multi_label:
        facts["thresholds"] = json.dumps(manifest.thresholds)
    if head.rejection is not None:
        facts["unknown_above"] = repr(head.rejection.threshold)
    if bundle is not None:
        facts["preprocessing"] = json.dumps(asdict(bundle.manifest.preprocessing))
    return facts


def _describe(file: Path, facts: dict[str, str]) -> None:
    """Put them into the metadata of a graph on disk."""
    import onnx

    model = onnx.load(file, load_external_data=False)
    onnx.helper.set_model_props(model, facts)
    file.write_bytes(model.SerializeToString(deterministic=True))


def _behind(bundle: Bundle, head: Head) -> Any:
    """The backbone's graph, and the head's after it."""
    import onnx
    from onnx import compose, helper

    backbone = onnx.load(bundle.model)
    opset = next(each.version for each in backbone.opset_import if not each.domain)
    if opset < LEAST_OPSET:
        raise InvalidArgument(
            f"the network of {bundle.manifest.backbone!r} is of ONNX operator set {opset}, and a head needs "
            f"{LEAST_OPSET}: leave --with-backbone out"
        )
    graph = head_graph(head, opset)
    graph.ir_version = backbone.ir_version
    for other in backbone.opset_import:
        if other.domain:
            graph.opset_import.append(helper.make_opsetid(other.domain, other.version))
    output = backbone.graph.output[0].name
    model = compose.merge_models(
        backbone, compose.add_prefix(graph, _PREFIX), [(output, _PREFIX + EMBEDDINGS)]
    )
    _rename_outputs(model)
    return model


def _rename_outputs(model: Any) -> None:
    """Without the prefix that kept the head's values apart from the backbone's."""
    named = {output.name: output.name.removeprefix(_PREFIX) for output in model.graph.output}
    for node in model.graph.node:
        node.input[:] = [named.get(name, name) for name in node.input]
        node.output[:] = [named.get(name, name) for name in node.output]
    for output in model.graph.output:
        output.name = named[output.name]


def _check_onnx() -> None:
    try:
        import onnx  # noqa: F401 - whether it is there
    except ImportError:
        raise InvalidArgument(
            "ONNX files are written with the package onnx: run `pip install 'penultimate[export]'`"
        ) from None
