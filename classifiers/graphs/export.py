"""From a head to an ONNX file that answers as it does."""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from classifiers.graphs.nodes import EMBEDDINGS, PROBABILITIES, Nodes, write_head
from classifiers.heads import Head
from extractor.backbones.onnx_file import BATCH, write_model
from extractor.errors import FingerprintMismatch, InternalError, InvalidArgument
from extractor.folders import refusals

if TYPE_CHECKING:
    from extractor.backbones.bundle import Bundle

OPSET, IR_VERSION = 18, 10
AGREEMENT = 1e-4
"""How far a probability of the graph may be from the head's own: both round in float32."""

_RANDOM_ROWS = 64
_PREFIX = "classify/"  # of the head's values behind a backbone


@dataclass(frozen=True, slots=True)
class Exported:
    """A file that was written, and its proof.

    Attributes
    ----------
    file : Path
    input, output : str
        The names of the graph's input and output.
    rows : int
        Embeddings or pictures that head and graph were both asked of.
    apart : float
        The largest difference of a probability among them.
    """

    file: Path
    input: str
    output: str
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
    model = head_graph(head) if bundle is None else _behind(bundle, head_graph(head))
    with (
        refusals(file, "--onnx"),
        tempfile.TemporaryDirectory(dir=file.parent, prefix=f".{file.name}-") as place,
    ):
        draft = Path(place) / file.name
        write_model(model, draft)
        _describe(draft, _facts(head))
        rows, apart = _prove_head(head, draft) if bundle is None else _prove_whole(head, draft, bundle)
        if not apart <= AGREEMENT:
            raise InternalError(
                f"the graph of {head.manifest.name!r} answers {apart:.2g} beside the head's probabilities: "
                "nothing was written"
            )
        for part in sorted(
            Path(place).iterdir(), reverse=True
        ):  # the weights before the graph that reads them
            shutil.move(part, file.with_name(part.name))
    return Exported(file, model.graph.input[0].name, PROBABILITIES, rows, apart)


def head_graph(head: Head) -> Any:
    """The graph from embeddings to probabilities."""
    from onnx import TensorProto, helper

    nodes = Nodes()
    write_head(nodes, head.model)
    manifest = head.manifest
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [BATCH, width])
        for name, width in ((EMBEDDINGS, manifest.dim), (PROBABILITIES, len(manifest.classes)))
    ]
    graph = helper.make_graph(nodes.nodes, "head", ends[:1], ends[1:], nodes.constants)
    opsets = [helper.make_opsetid("", OPSET)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)


def _facts(head: Head) -> dict[str, str]:
    manifest = head.manifest
    facts = {"name": manifest.name, "fingerprint": manifest.fingerprint, "backbone": manifest.backbone}
    return facts | {"classes": json.dumps(manifest.classes, ensure_ascii=False)}


def _describe(file: Path, facts: dict[str, str]) -> None:
    """Put them into the metadata of a graph on disk."""
    import onnx

    model = onnx.load(file, load_external_data=False)
    onnx.helper.set_model_props(model, facts)
    file.write_bytes(model.SerializeToString(deterministic=True))


def _behind(bundle: Bundle, head: Any) -> Any:
    """The backbone's graph, and the head's after it."""
    import onnx
    from onnx import compose, helper, version_converter

    backbone = onnx.load(bundle.model)
    versions = {each.domain: each.version for each in backbone.opset_import}
    if versions[""] != OPSET:
        head = version_converter.convert_version(head, versions[""])
    head.ir_version = backbone.ir_version
    for other in backbone.opset_import:
        if other.domain:
            head.opset_import.append(helper.make_opsetid(other.domain, other.version))
    output = backbone.graph.output[0].name
    model = compose.merge_models(
        backbone, compose.add_prefix(head, _PREFIX), [(output, _PREFIX + EMBEDDINGS)]
    )
    _rename_output(model)
    return model


def _rename_output(model: Any) -> None:
    for node in model.graph.node:
        node.output[:] = [PROBABILITIES if name == _PREFIX + PROBABILITIES else name for name in node.output]
    model.graph.output[0].name = PROBABILITIES


def _prove_head(head: Head, file: Path) -> tuple[int, float]:
    """On rows that it was fitted on, and on random ones of their size."""
    kept = head.statistics.rows if head.statistics else np.zeros((0, head.manifest.dim), np.float32)
    random = np.random.default_rng(0).normal(size=(_RANDOM_ROWS, head.manifest.dim))
    rows = np.concatenate([kept, random * (kept.std() if len(kept) else 1)]).astype(np.float32)
    return len(rows), _apart(_answers(file, rows), head.predict_proba(rows))


def _prove_whole(head: Head, file: Path, bundle: Bundle) -> tuple[int, float]:
    """On the backbone's golden pictures, against the head on what the backbone alone gives for them."""
    from extractor.images import decode

    spec = bundle.manifest.preprocessing
    pixels = np.stack([decode(golden.image, spec) for golden in bundle.golden()])
    expected = head.predict_proba(_answers(bundle.model, pixels))
    return len(pixels), _apart(_answers(file, pixels), expected)


def _answers(file: Path, rows: NDArray[Any]) -> NDArray[np.float32]:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    found: NDArray[np.float32] = session.run(None, {session.get_inputs()[0].name: rows})[0]
    return found


def _apart(ours: NDArray[Any], theirs: NDArray[Any]) -> float:
    return float(np.abs(ours - theirs).max())


def _check_onnx() -> None:
    try:
        import onnx  # noqa: F401 - whether it is there
    except ImportError:
        raise InvalidArgument(
            "ONNX files are written with the package onnx: run `pip install 'penultimate[export]'`"
        ) from None
