"""A user's own ONNX file becomes a bundle that computes what the file does, or is refused in a sentence."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from PIL import Image

from extractor.backbones.bundle import Bundle
from extractor.backbones.imported import import_model, wrapping
from extractor.backbones.providers import Numerics
from extractor.backbones.session import Session, open_session
from extractor.embedder import Embedder
from extractor.errors import AlreadyExists, InvalidArgument, NotFound
from extractor.preprocessing import Preprocessing
from extractor.settings import DataFolder
from tests.extractor.backbones.own_networks import DIM, SIDE, network, save, weights, write_spec


@pytest.fixture
def data(tmp_path: Path) -> DataFolder:
    return DataFolder(tmp_path / "data")


def import_(model: onnx.ModelProto, data: DataFolder, **spec: Any) -> Bundle:
    folder = data.root.parent
    return import_model(save(model, folder), write_spec(folder, **spec), data, force=True)[0]


def pixels(item: Any, *, squash: bool = False) -> np.ndarray:
    """What Pillow makes of a golden picture by the spec: shorter side 36, or both, then the middle 32."""
    import io

    with Image.open(io.BytesIO(item.image)) as image:
        image = image.convert("RGB")
        shorter = min(image.size)
        size = (36, 36) if squash else [36 * side // shorter for side in image.size]
        image = image.resize(size, Image.Resampling.BICUBIC)
        left, top = (round((side - SIDE) / 2) for side in image.size)
        return np.asarray(image.crop((left, top, left + SIDE, top + SIDE))).astype(np.float64)


def expected(inputs: np.ndarray) -> np.ndarray:
    """What the network computes of [side, side, 3], channels as it takes them."""
    return np.einsum("dcyx,yxc->d", weights().astype(np.float64), inputs)


@pytest.mark.parametrize(
    ("layout", "channels", "units", "batch"),
    list(itertools.product(("nchw", "nhwc"), ("rgb", "bgr"), ("0..1", "0..255"), ("n", 1)))[::3]
    + [("nchw", "bgr", "0..255", 4)],
)
def test_the_bundle_computes_what_the_spec_says(
    data: DataFolder, layout: str, channels: str, units: str, batch: int | str
) -> None:
    """Layout, order of channels, units and batch, against the sum over all pixels that numpy makes."""
    mean, std = np.array([0.2, 0.3, 0.4]), np.array([0.5, 0.6, 0.7])
    top = 1 if units == "0..1" else 255
    spec = {"units": units, "mean": (top * mean).tolist(), "std": (top * std).tolist()}
    bundle = import_(network(layout=layout, batch=batch), data, layout=layout, channels=channels, **spec)
    for item in bundle.golden():
        given = pixels(item)[:, :, ::-1] if channels == "bgr" else pixels(item)
        np.testing.assert_allclose(item.vector, expected((given / 255 - mean) / std), rtol=1e-3, atol=1e-2)
    session, cosine = open_session(bundle, "cpu", "fp32")
    assert cosine >= 0.9999
    assert bundle.manifest.dim == DIM
    assert session.run([np.zeros((SIDE, SIDE, 3), np.uint8)] * 3)[2].shape == (DIM,)


def test_pictures_may_be_squashed(data: DataFolder) -> None:
    """Both sides resized to the same length, whatever they were."""
    bundle = import_(network(), data, resize="squash")
    mean, std = np.array([0.2, 0.3, 0.4]), np.array([0.5, 0.6, 0.7])
    for item in bundle.golden():
        wanted = expected((pixels(item, squash=True) / 255 - mean) / std)
        np.testing.assert_allclose(item.vector, wanted, rtol=1e-3, atol=1e-2)
    assert open_session(bundle, "cpu", "fp32")[1] >= 0.9999


def padded(item: Any, mean: np.ndarray) -> np.ndarray:
    """What Pillow makes of a picture by the spec: longer side 36, the middle 32, around it the mean."""
    import io

    with Image.open(io.BytesIO(item.image)) as image:
        size = [round(36 * side / max(image.size)) for side in image.size]
        image = image.convert("RGB").resize(size, Image.Resampling.BICUBIC)
    across, down = (max(0, round((side - SIDE) / 2)) for side in size)
    part = np.asarray(image)[down : down + SIDE, across : across + SIDE]
    inside = np.broadcast_to(np.round(255 * mean), (SIDE, SIDE, 3)).copy()
    top, left = (SIDE - part.shape[0]) // 2, (SIDE - part.shape[1]) // 2
    inside[top : top + part.shape[0], left : left + part.shape[1]] = part
    return inside


def test_pictures_may_be_padded(data: DataFolder) -> None:
    """Their proportions stay, and what is left of the input has the colour of the mean."""
    bundle = import_(network(), data, resize="pad")
    mean, std = np.array([0.2, 0.3, 0.4]), np.array([0.5, 0.6, 0.7])
    for item in bundle.golden():
        wanted = expected((padded(item, mean) / 255 - mean) / std)
        np.testing.assert_allclose(item.vector, wanted, rtol=1e-3, atol=1e-2)
    assert open_session(bundle, "cpu", "fp32")[1] >= 0.9999


def test_a_network_that_takes_bytes_normalises_by_itself(data: DataFolder) -> None:
    """With uint8 the pixels reach the network as they are."""
    plain = {"units": None, "mean": None, "std": None}
    bundle = import_(network(layout="nhwc", dtype="uint8"), data, layout="nhwc", dtype="uint8", **plain)
    for item in bundle.golden():
        np.testing.assert_allclose(item.vector, expected(pixels(item)), rtol=1e-4)
    assert open_session(bundle, "cpu", "fp32")[1] >= 0.9999


def test_the_manifest_says_what_it_was_made_of(data: DataFolder) -> None:
    """Licence and source as the spec has them, the file's SHA-256, mean and deviation of red, green, blue."""
    bundle = import_(network(), data, channels="bgr", units="0..255", mean=[10, 20, 30], std=[1, 2, 3])
    manifest = bundle.manifest
    assert (manifest.backbone, manifest.layer) == ("mine", "vectors")
    assert (manifest.weights["source"], manifest.weights["licence"]) == ("trained by us", "MIT")
    assert manifest.preprocessing == Preprocessing(
        SIDE, SIDE, 36, "bicubic", (30 / 255, 20 / 255, 10 / 255), (3 / 255, 2 / 255, 1 / 255)
    )
    assert not manifest.has_classifier


POOLED = {
    "a map, by its mean": ("map2", "avg", "nchw", [helper.make_node("Relu", ["map"], ["map2"])]),
    "tokens, by the first": (
        "tokens",
        "cls",
        "nchw",
        [helper.make_node("Reshape", ["map", "by3"], ["tokens"])],
    ),
    "tokens, by their mean": (
        "tokens",
        "avg",
        "nchw",
        [helper.make_node("Reshape", ["map", "by3"], ["tokens"])],
    ),
}


@pytest.mark.parametrize("opset", [13, 18])
@pytest.mark.parametrize(("output", "pooling", "layout", "tail"), POOLED.values(), ids=POOLED)
def test_maps_and_tokens_become_one_vector(
    data: DataFolder, output: str, pooling: str, layout: str, tail: list[Any], opset: int
) -> None:
    """By the spec's pooling, in older and newer opsets."""
    by3 = {"by3": np.array([0, 3, 2])} if output == "tokens" else {}
    model = network(tail=tail, constants=by3, outputs=(output,), opset=opset)
    bundle = import_(model, data, pooling=pooling, layout=layout)
    assert open_session(bundle, "cpu", "fp32")[1] >= 0.9999
    mean, std = np.array([0.2, 0.3, 0.4]), np.array([0.5, 0.6, 0.7])
    plain = expected((pixels(bundle.golden()[0]) / 255 - mean) / std)
    tokens = plain.reshape(3, 2)
    wanted = {"map2": np.maximum(plain, 0), "tokens": tokens[0] if pooling == "cls" else tokens.mean(0)}
    np.testing.assert_allclose(bundle.golden()[0].vector, wanted[output], rtol=1e-3, atol=1e-2)
    assert bundle.manifest.layer == f"{output}:{pooling}"


def test_any_tensor_of_a_classifier_can_be_the_embedding(data: DataFolder) -> None:
    """What lies behind the named tensor is left out of the bundle."""
    tail = [
        helper.make_node("Flatten", ["map"], ["features"]),
        helper.make_node("MatMul", ["features", "classifier"], ["logits"]),
    ]
    model = network(tail=tail, constants={"classifier": np.ones((DIM, 900), np.float32)}, outputs=("logits",))
    bundle = import_(model, data, output="features")
    graph = onnx.load(bundle.model).graph
    assert bundle.manifest.dim == DIM
    assert "MatMul" not in {node.op_type for node in graph.node}
    assert not [tensor.name for tensor in graph.initializer if "classifier" in tensor.name]


def test_an_old_file_with_its_weights_among_the_inputs(data: DataFolder) -> None:
    """Files of the first years list weights as inputs and keep Dropout, which does nothing when used."""
    tail = [
        helper.make_node("Dropout", ["map"], ["kept"], ratio=0.5),
        helper.make_node("Flatten", ["kept"], ["vectors"]),
    ]
    model = network(tail=tail, opset=7, ir_version=3, batch=1)
    model.graph.input.append(
        helper.make_tensor_value_info("weights", onnx.TensorProto.FLOAT, [DIM, 3, SIDE, SIDE])
    )
    bundle = import_(model, data)
    assert open_session(bundle, "cpu", "fp32")[1] >= 0.9999
    assert "Dropout" not in {node.op_type for node in onnx.load(bundle.model).graph.node}


@pytest.mark.parametrize("allowzero", [0, 1])
def test_a_batch_that_is_written_into_a_reshape_is_opened(data: DataFolder, allowzero: int) -> None:
    """What exporters make of `view(1, -1)`: the bundle takes any number of pictures."""
    reshape = helper.make_node("Reshape", ["map", "shape"], ["vectors"], allowzero=allowzero)
    bundle = import_(network(batch=1, tail=[reshape], constants={"shape": np.array([1, DIM])}), data)
    session = Session(bundle, Numerics("cpu", "fp32"))
    assert session.prove(bundle) >= 0.9999
    assert onnx.load(bundle.model).graph.input[0].type.tensor_type.shape.dim[0].dim_param == "n"


def test_functions_of_the_file_itself_are_no_foreign_operators(data: DataFolder) -> None:
    """Exporters write modules as functions in a domain of their own; the bundle has none left."""
    body = [helper.make_node("Flatten", ["x"], ["y"], axis=1)]
    model = with_domain("acme")
    function = helper.make_function("acme", "Sharpen", ["x"], ["y"], body, [helper.make_opsetid("", 17)])
    model.functions.append(function)
    bundle = import_(model, data)
    made = onnx.load(bundle.model)
    assert not made.functions
    assert {node.domain for node in made.graph.node} == {""}
    assert open_session(bundle, "cpu", "fp32")[1] >= 0.9999


def test_weights_beside_the_file_are_taken_along(data: DataFolder) -> None:
    """A file that keeps its weights in a second one gives the same bundle as one that holds them."""
    whole = import_(network(), data, name="whole")
    file = save(network(), data.root.parent, save_as_external_data=True, location="w.bin", size_threshold=0)
    parted, made = import_model(file, write_spec(data.root.parent, name="parted"), data)
    assert made
    assert parted.fingerprint == whole.fingerprint
    assert parted.manifest.weights["sha256"] != whole.manifest.weights["sha256"]


def in_a_constant_node() -> onnx.ModelProto:
    """With a bias in the attribute of a node, as some exporters write weights."""
    bias = numpy_helper.from_array(np.ones((1, DIM, 1, 1), np.float32), "bias")
    tail = [helper.make_node("Constant", [], ["bias"], value=bias), *sum_of("map", "bias")]
    return network(tail=tail)


def in_a_branch() -> onnx.ModelProto:
    """With a bias among the weights of a graph inside a node."""
    bias = numpy_helper.from_array(np.ones((1, DIM, 1, 1), np.float32), "bias")
    given = [helper.make_tensor_value_info("vectors", onnx.TensorProto.FLOAT, None)]
    branch = helper.make_graph(sum_of("map", "bias"), "branch", [], given, [bias])
    tail = [helper.make_node("If", ["on"], ["vectors"], then_branch=branch, else_branch=branch)]
    return network(tail=tail, constants={"on": np.array(True)})


def sum_of(one: str, other: str) -> list[Any]:
    return [helper.make_node("Add", [one, other], ["sum"]), helper.make_node("Flatten", ["sum"], ["vectors"])]


@pytest.mark.parametrize("model", [network, in_a_constant_node, in_a_branch])
def test_weights_that_changed_beside_the_file_are_another_network(
    data: DataFolder, tmp_path: Path, model: Callable[[], onnx.ModelProto]
) -> None:
    """Wherever in the graph the tensor is that they belong to."""
    how = {"save_as_external_data": True, "all_tensors_to_one_file": False, "convert_attribute": True}
    file, spec = save(model(), tmp_path, **how, size_threshold=0), write_spec(tmp_path)
    import_model(file, spec, data)
    assert not import_model(file, spec, data)[1]
    changed = tmp_path / ("weights" if model is network else "bias")
    changed.write_bytes(2 * np.frombuffer(changed.read_bytes(), np.float32))
    with pytest.raises(AlreadyExists, match="of another file or spec"):
        import_model(file, spec, data)


def test_the_judge_is_another_than_what_it_judges(data: DataFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mistake in what we put around the graph is found, not repeated, and nothing is left."""
    normalisation = wrapping._normalisation
    monkeypatch.setattr(
        wrapping, "_normalisation", lambda spec: (normalisation(spec)[0] + 60, normalisation(spec)[1])
    )
    with pytest.raises(InvalidArgument, match=r"smallest cosine is .* under the bound of 0\.9999"):
        import_(network(), data)
    assert not [entry for entry in data.backbones.iterdir() if entry.is_dir()]


def tail_over_the_batch() -> list[Any]:
    return [
        helper.make_node("ReduceMean", ["map"], ["mean"], axes=[0], keepdims=1),
        helper.make_node("Sub", ["map", "mean"], ["apart"]),
        helper.make_node("Add", ["apart", "bias"], ["some"]),
        helper.make_node("Flatten", ["some"], ["vectors"]),
    ]


def named(operator: str, domain: str = "") -> list[Any]:
    return [helper.make_node(operator, ["map"], ["vectors"], domain=domain)]


def with_second_input() -> onnx.ModelProto:
    model = network()
    model.graph.input.append(helper.make_tensor_value_info("mask", onnx.TensorProto.FLOAT, [1]))
    return model


def with_domain(domain: str) -> onnx.ModelProto:
    model = network(tail=named("Sharpen", domain))
    model.opset_import.append(helper.make_opsetid(domain, 1))
    return model


REFUSED = {
    "several inputs": (
        with_second_input,
        {},
        "must have one input, for pictures, and has 'pictures', 'mask'",
    ),
    "custom operator": (lambda: with_domain("acme"), {}, "needs the operator 'Sharpen' of 'acme'"),
    "runtime's own operator": (lambda: with_domain("com.microsoft"), {}, "'Sharpen' of 'com.microsoft'"),
    "unknown operator": (
        lambda: network(tail=named("Sharpen")),
        {},
        "is no valid ONNX graph: No Op registered",
    ),
    "old opset": (lambda: network(opset=6), {}, "written in opset 6, and 7 is the oldest"),
    "other size": (
        network,
        {"size": 24},
        r"has the shape \['n', 3, 32, 32\], and the spec says \['n', 3, 24, 24\]",
    ),
    "other layout": (network, {"layout": "nhwc"}, r"says \['n', 32, 32, 3\] \(nhwc\)"),
    "other type": (
        network,
        {"dtype": "uint8", "mean": None, "std": None, "units": None},
        "'pictures' is float32, and the spec says uint8",
    ),
    "unknown tensor": (network, {"output": "features"}, "no tensor 'features'; its outputs are 'vectors'"),
    "two outputs": (
        lambda: network(
            tail=[*named("Relu"), helper.make_node("Abs", ["map"], ["more"])], outputs=("vectors", "more")
        ),
        {},
        "has the outputs 'vectors', 'more': say in the spec",
    ),
    "a map without pooling": (
        network,
        {"output": "map"},
        r"'map' is float32 of shape \[1, 6, 1, 1\] .* with pooling = \"none\" it must be float32 \[n, dim\]",
    ),
    "tokens that are none": (
        network,
        {"pooling": "cls"},
        r"shape \[1, 6\] .* float32 \[n, tokens, dim\]; for \[n, dim\] write pooling = \"none\"",
    ),
    "pictures that are not apart": (
        lambda: network(
            tail=tail_over_the_batch(),
            constants={"bias": np.arange(1, 7, dtype=np.float32).reshape(1, 6, 1, 1)},
        ),
        {},
        "does not compute what the file does, with 2 pictures at once",
    ),
    "a batch that cannot be opened": (
        lambda: network(
            batch=1,
            tail=[
                helper.make_node("Concat", ["map", "one"], ["both"], axis=2),
                helper.make_node("Flatten", ["both"], ["vectors"]),
            ],
            constants={"one": np.ones((1, DIM, 1, 1), np.float32)},
        ),
        {},
        "takes only the number of pictures that it was exported with: export it with a dynamic batch",
    ),
    "nothing but zeros": (
        lambda: network(
            tail=[
                helper.make_node("Mul", ["map", "zero"], ["none"]),
                helper.make_node("Flatten", ["none"], ["vectors"]),
            ],
            constants={"zero": np.zeros(1, np.float32)},
        ),
        {},
        "holds nothing but zeros",
    ),
    "a node for training": (
        lambda: network(
            tail=[
                helper.make_node("Dropout", ["map", "ratio", "on"], ["kept"], name="drop"),
                helper.make_node("Flatten", ["kept"], ["vectors"]),
            ],
            constants={"ratio": np.array(0.0, np.float32), "on": np.array(True)},
        ),
        {},
        "Dropout node 'network.drop', which is for training",
    ),
}


@pytest.mark.parametrize(("model", "spec", "sentence"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_imported_is_refused_in_a_sentence(
    data: DataFolder, model: Any, spec: dict[str, Any], sentence: str
) -> None:
    """Each with the value, in one line; nothing is left behind."""
    with pytest.raises(InvalidArgument, match=sentence) as caught:
        import_(model(), data, **spec)
    assert "\n" not in str(caught.value)
    assert not data.backbones.exists() or not [one for one in data.backbones.iterdir() if one.is_dir()]


@pytest.mark.parametrize("content", [b"", b"no network", b"\x80\x04\x95", b"PK\x03\x04", b"\x08\x07"])
def test_a_file_that_is_no_network_is_refused(data: DataFolder, tmp_path: Path, content: bytes) -> None:
    """Empty, text, a pickle, a zip (PyTorch's), a beginning: nothing of it is run."""
    file = tmp_path / "model.onnx"
    file.write_bytes(content)
    with pytest.raises(InvalidArgument, match=r"model\.onnx is no ONNX file"):
        import_model(file, write_spec(tmp_path), data)


def test_files_that_are_not_there_are_named(data: DataFolder, tmp_path: Path) -> None:
    """The network, the spec, or weights that should lie beside it."""
    spec = write_spec(tmp_path)
    with pytest.raises(NotFound, match=r"there is no file .*other\.onnx"):
        import_model(tmp_path / "other.onnx", spec, data)
    with pytest.raises(NotFound, match=r"there is no file .*other\.toml"):
        import_model(save(network(), tmp_path), tmp_path / "other.toml", data)
    file = save(network(), tmp_path, save_as_external_data=True, location="w.bin", size_threshold=0)
    (tmp_path / "w.bin").unlink()
    with pytest.raises((NotFound, InvalidArgument), match=r"w\.bin"):
        import_model(file, spec, data)


def test_weights_are_not_read_from_elsewhere(data: DataFolder, tmp_path: Path) -> None:
    """A file that points out of its own folder is refused."""
    (tmp_path / "inner").mkdir()
    file = save(network(), tmp_path / "inner", save_as_external_data=True, location="w.bin", size_threshold=0)
    (tmp_path / "inner" / "w.bin").rename(tmp_path / "w.bin")
    file.write_bytes(
        file.read_bytes()
        .replace(b"w.bin", b"../w.bin"[-5:])
        .replace(b"location\x12\x05", b"location\x12\x05")
    )
    model = onnx.load(file, load_external_data=False)
    for tensor in model.graph.initializer:
        tensor.external_data[0].value = "../w.bin"
    file.write_bytes(model.SerializeToString())
    with pytest.raises(InvalidArgument, match=r"the weights of .* cannot be read"):
        import_model(file, write_spec(tmp_path), data)


MISTAKES = {
    "unknown key": ({"sise": 32}, "there is no key 'sise'; there are name, layout"),
    "missing key": ({"licence": None}, "the key licence is missing"),
    "missing mean": ({"mean": None}, "the key mean is missing: a network that takes float32 needs it"),
    "layout": ({"layout": "chw"}, 'layout = \'chw\' cannot be: it must be one of "nchw", "nhwc"'),
    "dtype": ({"dtype": "float16"}, "dtype = 'float16' cannot be"),
    "size": ({"size": 0}, "size = 0 cannot be: it must be a number of pixels from 8 to 4096"),
    "size of three": ({"size": [3, 32, 32]}, r"size = \[3, 32, 32\] cannot be"),
    "resize": (
        {"resize_shorter": 31},
        "resize_shorter = 31 cannot be: the crop of 32 x 32 pixels would go beyond",
    ),
    "interpolation": ({"interpolation": "nearest"}, "interpolation = 'nearest' cannot be"),
    "units": ({"units": "bytes"}, 'units = \'bytes\' cannot be: it must be one of "0..1", "0..255"'),
    "mean in other units": (
        {"mean": [123.7, 116.3, 103.5]},
        r"mean = \[123.7, 116.3, 103.5\] cannot be: in the units 0..1",
    ),
    "no deviation": ({"std": [0, 1, 1]}, r"std = \[0, 1, 1\] cannot be: in the units 0..1 it is above 0"),
    "two channels": ({"std": [1, 1]}, r"std = \[1, 1\] cannot be: it must be three numbers"),
    "mean of bytes": (
        {"dtype": "uint8"},
        "units = '0..1' cannot be: a network that takes uint8 normalises by itself",
    ),
    "pooling": ({"pooling": "max"}, "pooling = 'max' cannot be"),
    "empty source": ({"source": " "}, "source = ' ' cannot be: it must be some text"),
    "name": ({"name": "../mine"}, "'../mine' cannot be the name of a backbone"),
    "name in the catalogue": (
        {"name": "efficientnet_lite0"},
        "the catalogue has a backbone 'efficientnet_lite0'",
    ),
    "folder of a timm name": (
        {"name": "timm--resnet18"},
        "the catalogue has a backbone 'timm/resnet18': choose another --name",
    ),
    "no name": ({"name": None}, "the backbone has no name: give one with --name"),
}


@pytest.mark.parametrize(("changes", "sentence"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_in_the_spec_is_told_with_its_value(
    data: DataFolder, tmp_path: Path, changes: dict[str, Any], sentence: str
) -> None:
    """One sentence for each, before the network is read."""
    with pytest.raises(InvalidArgument, match=sentence):
        import_model(tmp_path / "unread.onnx", write_spec(tmp_path, **changes), data)


def test_a_spec_that_is_no_toml_is_refused(data: DataFolder, tmp_path: Path) -> None:
    """With the place of the mistake."""
    (tmp_path / "spec.toml").write_text("name: mine\n")
    with pytest.raises(InvalidArgument, match=r"spec\.toml cannot be read: .*line 1"):
        import_model(tmp_path / "unread.onnx", tmp_path / "spec.toml", data)


def test_the_same_file_and_spec_are_imported_once(data: DataFolder, tmp_path: Path) -> None:
    """A second import finds it; another network of that name is refused unless forced."""
    file, spec = save(network(), tmp_path), write_spec(tmp_path)
    first, made = import_model(file, spec, data)
    assert made
    assert import_model(file, spec, data) == (first, False)
    changed = write_spec(tmp_path, interpolation="bilinear")
    with pytest.raises(AlreadyExists, match=r"a backbone 'mine' already.*--name.*--force"):
        import_model(file, changed, data)
    assert import_model(file, changed, data, name="other")[1]
    replaced, made = import_model(file, changed, data, force=True)
    assert made
    assert replaced.fingerprint != first.fingerprint


def test_an_imported_network_has_no_variants(data: DataFolder) -> None:
    """It is not taken for one that nobody knows."""
    import_(network(), data)
    with pytest.raises(InvalidArgument, match="the backbone mine was imported, and only exported ones have"):
        Bundle.of(data, "mine@flip")
    with pytest.raises(NotFound, match="there is no backbone 'yours'"):
        Bundle.of(data, "yours@flip")


def test_a_real_network_gives_the_vectors_of_its_original(
    data: DataFolder, tmp_path: Path, bundle: Bundle
) -> None:
    """EfficientNet-Lite0 as a user's file, beside what PyTorch gave for the golden pictures."""
    spec = write_spec(
        tmp_path,
        **{"layout": "nhwc", "dtype": "uint8", "size": 224, "resize_shorter": 256},
        **{"units": None, "mean": None, "std": None},
    )
    mine, _ = import_model(bundle.model, spec, data)
    for item, original in zip(mine.golden(), bundle.golden(), strict=True):
        assert original.cosine(item.vector) >= 0.9999
    assert mine.fingerprint != bundle.fingerprint
    with Embedder("mine", data=data) as embedder:
        (result,) = embedder.embed([mine.golden()[0].image])
    assert result.embedding is not None
    assert bundle.golden()[0].cosine(result.embedding) >= 0.99
