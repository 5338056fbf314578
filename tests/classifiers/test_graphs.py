from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from classifiers import Head, HeadManifest
from classifiers.data.targets import Labelled
from classifiers.distribution.rejection import Rejection
from classifiers.distribution.statistics import Statistics
from classifiers.graphs import export_onnx
from classifiers.graphs.export import head_graph
from classifiers.kinds import KINDS
from classifiers.layers import Model
from extractor.backbones.bundle import Bundle
from extractor.errors import FingerprintMismatch, InternalError, InvalidArgument
from tests.classifiers.test_adding import head_of, rows_of

pytest.importorskip("onnx", reason="of the extra `export`")


def outputs(file: Path, rows: np.ndarray) -> dict[str, np.ndarray]:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_outputs()]
    return dict(zip(names, session.run(names, {session.get_inputs()[0].name: rows}), strict=True))


def answers(file: Path, rows: np.ndarray) -> np.ndarray:
    return outputs(file, rows)["probabilities"]


@pytest.mark.parametrize("kind", list(KINDS))
@pytest.mark.parametrize("scale", ["standardise", "normalise"])
def test_every_kind_is_a_graph_that_answers_alike(tmp_path: Path, kind: str, scale: str) -> None:
    head = head_of(kind, scale)
    exported = export_onnx(head, tmp_path / "head.onnx")
    unseen = rows_of(0, 1, 2, 3, seed=9)[0]
    assert np.allclose(answers(exported.file, unseen), head.predict_proba(unseen), atol=2e-5)
    assert exported.rows == 180 + 64
    assert exported.apart < 2e-5
    assert [file.name for file in tmp_path.iterdir()] == ["head.onnx"]


def test_a_standardised_linear_head_is_one_gemm_and_a_softmax(tmp_path: Path) -> None:
    import onnx

    model = onnx.load(export_onnx(head_of("logistic"), tmp_path / "head.onnx").file)
    operators = [node.op_type for node in model.graph.node if node.op_type != "Div"]
    assert operators[:2] == ["Gemm", "Softmax"]
    facts = {each.key: each.value for each in model.metadata_props}
    assert json.loads(facts["classes"]) == ["class 0", "class 1", "class 2"]
    assert facts["fingerprint"] == "f" * 64


@pytest.mark.parametrize("kind", ["logistic", "knn"])
def test_the_graph_says_which_class_and_what_is_unknown(tmp_path: Path, kind: str) -> None:
    """As the head does, of rows that it knows and of a class that it has never seen."""
    head = head_of(kind)
    file = export_onnx(head, tmp_path / "head.onnx").file
    rows = rows_of(0, 1, 2, 3, seed=4)[0]
    found, judged = outputs(file, rows), head.judge(rows)
    names = [*head.manifest.classes, "unknown"]
    assert [names[place] for place in found["label"]] == [each.label for each in judged]
    assert 150 < (found["label"] >= 0).sum() < 185
    assert np.allclose(found["distance"], [each.score for each in judged], rtol=1e-4)
    assert found["label"].dtype == np.int64


def test_the_graph_of_several_labels_has_their_thresholds(tmp_path: Path) -> None:
    import onnx

    one = head_of("ridge")
    model = Model(one.model.scaling, one.model.layer, 0.7, multi_label=True)
    manifest = replace(one.manifest, thresholds=[0.3, 0.5, 0.8])
    head = Head(manifest, model, one.statistics, one.rejection)
    file = export_onnx(head, tmp_path / "head.onnx").file
    rows = rows_of(0, 1, 2, 3, seed=4)[0]
    found, judged = outputs(file, rows), head.judge(rows)
    names = np.array(head.manifest.classes)
    assert [names[has].tolist() for has in found["labels"]] == [each.labels for each in judged]
    assert any(each.unknown for each in judged)
    facts = {each.key: each.value for each in onnx.load(file).metadata_props}
    assert json.loads(facts["thresholds"]) == [0.3, 0.5, 0.8]
    assert float(facts["unknown_above"]) == head.rejection.threshold


def test_a_graph_that_rejects_others_is_not_written(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("classifiers.graphs.answers.NO_CLASS", 0)
    with pytest.raises(InternalError, match="nothing was written"):
        export_onnx(head_of("logistic"), tmp_path / "head.onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", list(KINDS))
@pytest.mark.parametrize("opset", [13, 21])
def test_the_graph_suits_networks_of_other_versions_of_onnx(tmp_path: Path, kind: str, opset: int) -> None:
    import onnx

    head = head_of(kind, "normalise")
    graph = head_graph(head, opset)
    onnx.checker.check_model(graph, full_check=True)
    onnx.save(graph, tmp_path / "other.onnx")
    rows = rows_of(0, 3)[0]
    assert outputs(tmp_path / "other.onnx", rows)["label"].tolist() == [
        -1 if each.unknown else each.answers[0].index for each in head.judge(rows)
    ]


def test_several_labels_are_sigmoids(tmp_path: Path) -> None:
    one = head_of("ridge")
    model = Model(one.model.scaling, one.model.layer, 0.7, multi_label=True)
    file = export_onnx(Head(one.manifest, model), tmp_path / "head.onnx").file
    rows = rows_of(0, 1, seed=3)[0]
    assert np.allclose(answers(file, rows), model.probabilities(rows), atol=2e-5)
    assert not np.allclose(answers(file, rows).sum(axis=1), 1)


def test_a_graph_that_answers_otherwise_is_not_written(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("classifiers.graphs.nodes.folded", lambda layer, scaling: layer)
    with pytest.raises(InternalError, match=r"beside the head's .*: nothing was written"):
        export_onnx(head_of("logistic"), tmp_path / "head.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(
        InvalidArgument,
        match=r"cannot write .*nowhere/head.onnx.*Make the folder .*nowhere, or choose another with --onnx",
    ):
        export_onnx(head_of("ridge"), tmp_path / "nowhere/head.onnx")


def test_without_the_package_it_says_what_to_install(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(InvalidArgument, match=r"penultimate\[export\]"):
        export_onnx(head_of("ridge"), tmp_path / "head.onnx")


def test_the_backbone_and_the_head_are_one_graph_from_pixels_to_labels(
    bundle: Bundle, tmp_path: Path
) -> None:
    golden = bundle.golden()
    X = np.stack([each.vector for each in golden] * 3)
    X += np.random.default_rng(0).normal(0, 0.1, X.shape).astype(np.float32)
    y = [f"picture {at}" for at in range(len(golden))] * 3
    labelled = Labelled.of(X, y)
    manifest = HeadManifest("h", "ridge", list(labelled.classes), bundle.fingerprint, "b", X.shape[1])
    from classifiers import fit_head

    head = Head(
        manifest, fit_head(X, y, kind="ridge").model_, Statistics.of(labelled), Rejection.fit(labelled)
    )
    exported = export_onnx(head, tmp_path / "whole.onnx", bundle)
    import onnx

    told = {each.key: each.value for each in onnx.load(exported.file).metadata_props}
    assert json.loads(told["preprocessing"])["resize_shorter"] == 256
    from extractor.images import decode

    pixels = np.stack([decode(each.image, bundle.manifest.preprocessing) for each in golden])
    whole = outputs(exported.file, pixels)
    found = whole["probabilities"]
    assert list(whole) == exported.outputs == ["probabilities", "label", "distance"]
    judged = head.judge(np.stack([each.vector for each in golden]))
    assert whole["label"].tolist() == [-1 if each.unknown else each.answers[0].index for each in judged]
    assert np.allclose(whole["distance"], [each.score for each in judged], rtol=0.02)
    assert pixels.dtype == np.uint8
    assert found.argmax(axis=1).tolist() == head.predict_proba(X[: len(golden)]).argmax(axis=1).tolist()
    assert exported.apart < 1e-4
    stranger = Head(HeadManifest("h", "ridge", manifest.classes, "e" * 64, "b", X.shape[1]), head.model)
    with pytest.raises(FingerprintMismatch):
        export_onnx(stranger, tmp_path / "other.onnx", bundle)
    assert not (tmp_path / "other.onnx").exists()
