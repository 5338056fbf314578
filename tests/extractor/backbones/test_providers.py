"""What is named is what computes, or an error; `auto` takes the fastest that is ready."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import onnxruntime as ort
import pytest
from google.protobuf.message import EncodeError
from onnx.shape_inference import InferenceError

from extractor.backbones import providers, quantised, session, standing, tuning
from extractor.backbones.bundle import MODEL, MODEL_DATA, Bundle
from extractor.backbones.measured import Measured, Measurements
from extractor.backbones.providers import Numerics, wanted
from extractor.backbones.quantised import Calibration, Cosines, Fidelity
from extractor.backbones.quantiser import Quantiser
from extractor.backbones.schedule import Schedule
from extractor.backbones.session import Session
from extractor.backbones.tuning import fastest_first, open_tuned
from extractor.errors import InvalidArgument, Unavailable
from extractor.settings import DataFolder

GOOD = Fidelity(Cosines(0.995, 0.999), Cosines(0.994, 0.998))


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch):
    """`installed(*names)`: an ONNX Runtime with these providers, on a processor with bf16 and no fp16."""

    def install(*names: str) -> None:
        available = [providers.ONNX_NAMES[name] for name in names]
        monkeypatch.setattr(ort, "get_available_providers", lambda: available)
        monkeypatch.setattr(providers, "has_bf16", lambda: True)
        monkeypatch.setattr(providers, "has_fp16", lambda: False)
        monkeypatch.setattr(providers, "nvidia_card", lambda: "NVIDIA L4")

    return install


def oversized(bundle: Bundle, folder: Path) -> Bundle:
    """The bundle with weights of over 2 GB beside its graph, which are a hole in a file."""
    (folder / MODEL).symlink_to(bundle.model)
    with (folder / MODEL_DATA).open("wb") as weights:
        weights.truncate(2**31)
    files = {**bundle.manifest.files, MODEL_DATA: "0" * 64}
    return Bundle(folder, replace(bundle.manifest, files=files))


def names(*arguments) -> list[str]:
    return [str(numerics) for numerics in wanted(*arguments)]


def test_auto_tries_the_fastest_first(installed, bundle: Bundle, data: DataFolder) -> None:
    """Half precision before float32, a GPU before a CPU; neither int8 nor an engine that nobody asked for."""
    installed("tensorrt", "cuda", "openvino", "cpu")
    assert names("auto", "auto", bundle, data) == [
        "cuda/fp16",
        "cuda/fp32",
        "openvino/bf16",
        "openvino/fp32",
        "cpu/fp32",
    ]
    assert names("auto", "fp32", bundle, data) == ["cuda/fp32", "openvino/fp32", "cpu/fp32"]


def test_tensorrt_is_tried_by_name_or_when_its_engine_is_there(installed, bundle, data: DataFolder) -> None:
    """Building one takes minutes; the folder says network, precision, card and largest batch."""
    installed("tensorrt", "cpu")
    assert names("tensorrt", "auto", bundle, data) == ["tensorrt/fp16", "tensorrt/fp32"]
    options = providers.provider_options(bundle, Numerics("tensorrt", "fp16"), (1, 8, 32), data)
    folder = Path(options["trt_engine_cache_path"])
    assert folder == data.graphs / bundle.fingerprint / "tensorrt-fp16-NVIDIA-L4" / "32"
    assert folder.is_dir()
    assert names("auto", "auto", bundle, data) == ["cpu/fp32"]
    (folder / "some.engine").touch()
    assert names("auto", "auto", bundle, data) == ["tensorrt/fp16", "cpu/fp32"]


def test_an_engine_is_for_all_batch_sizes(installed, bundle: Bundle) -> None:
    """Least, best and largest shapes are told; without a data folder nothing is kept."""
    installed("tensorrt")
    options = providers.provider_options(bundle, Numerics("tensorrt", "fp32"), (1, 8, 32))
    assert options == {
        "trt_fp16_enable": "0",
        "trt_profile_min_shapes": "images:1x224x224x3",
        "trt_profile_opt_shapes": "images:32x224x224x3",
        "trt_profile_max_shapes": "images:32x224x224x3",
    }


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_that_would_be_fp32_is_refused(
    installed, bundle: Bundle, monkeypatch: pytest.MonkeyPatch, precision: str
) -> None:
    """OpenVINO takes the hint and computes fp32 where the processor has no such instructions."""
    installed("openvino", "cpu")
    monkeypatch.setattr(providers, f"has_{precision}", lambda: False)
    with pytest.raises(InvalidArgument, match=f"no {precision} instructions .* use --precision fp32"):
        session.open_session(bundle, "openvino", precision)
    with pytest.raises(InvalidArgument, match=f"no provider here computes with precision '{precision}'"):
        list(wanted("auto", precision))
    assert f"openvino/{precision}" not in names("auto", "auto") + names("openvino", "auto")


@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
def test_a_gpu_that_is_not_here_is_a_sentence(bundle: Bundle, provider: str) -> None:
    """With what to install."""
    with pytest.raises(InvalidArgument, match=rf"provider '{provider}' is not in .* pip install '.\[gpu\]'"):
        session.open_session(bundle, provider)


@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
def test_a_gpu_provider_that_gives_way_to_the_cpu_is_found(
    installed, bundle: Bundle, data: DataFolder, monkeypatch: pytest.MonkeyPatch, provider: str
) -> None:
    """As where the build has it and its libraries are missing: ONNX Runtime then only logs it."""
    real = ort.InferenceSession

    def without_libraries(graph: bytes, options, providers, **rest):
        return real(graph, ort.SessionOptions(), providers=["CPUExecutionProvider"], **rest)

    installed(provider)
    monkeypatch.setattr(ort, "preload_dlls", lambda: None)
    monkeypatch.setattr(ort, "InferenceSession", without_libraries)
    with pytest.raises(Unavailable, match="ONNX Runtime runs the network on CPUExecutionProvider"):
        session.open_session(bundle, provider, "fp32", data=data)


@pytest.mark.parametrize("error", [EncodeError("Failed to serialize proto"), InferenceError("no type")])
def test_a_graph_that_cannot_be_rewritten_is_passed_over(
    installed, bundle: Bundle, data: DataFolder, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """Named, it is a sentence, to doctor too; protobuf's and onnx's own errors reach nobody."""

    def fail(*_: object, **__: object) -> None:
        raise error

    installed("cuda", "cpu")
    monkeypatch.setattr(ort, "preload_dlls", lambda: None)
    monkeypatch.setattr("onnx.shape_inference.infer_shapes", fail)
    with pytest.raises(Unavailable, match=f"cannot be written as cuda/fp16 wants it: {error}; use another"):
        session.open_session(bundle, "cuda", "fp16", data=data)
    assert session.open_session(bundle, data=data)[0].numerics == ("cpu", "fp32")
    assert f"fp16 does not pass (the network of {bundle.path}" in sentences(bundle, data)["cuda"]


def test_a_graph_over_two_gigabytes_is_not_rewritten(bundle: Bundle, tmp_path: Path) -> None:
    """No protobuf message holds it; it is said before any of it is read."""
    large = oversized(bundle, tmp_path)
    for numerics in (Numerics("cuda", "fp16"), Numerics("tensorrt", "fp16")):
        with pytest.raises(Unavailable, match=r"has 2\.2 GB, .* cannot be rewritten: .*--precision fp32"):
            providers.graph(large, numerics)


def test_int8_of_a_graph_over_two_gigabytes_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    """With the same sentence, in place of onnx's error."""
    with pytest.raises(Unavailable, match=r"has 2\.2 GB, .*--precision fp32"):
        Quantiser(oversized(bundle, tmp_path))


def test_cuda_that_cannot_be_asked_what_it_left_to_the_cpu_is_refused(
    installed, bundle: Bundle, data: DataFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As before ONNX Runtime 1.24: half a network on the CPU would go by the name of CUDA."""
    installed("cuda", "cpu")
    monkeypatch.setattr(providers, "_CAN_TELL_NODES", False)
    with pytest.raises(Unavailable, match=r"cannot say which nodes .* 'onnxruntime-gpu\[cuda,cudnn\]>=1.24'"):
        session.open_session(bundle, "cuda", data=data)
    assert session.open_session(bundle, data=data)[0].numerics == ("cpu", "fp32")


def test_one_heavy_node_elsewhere_is_found() -> None:
    """Shapes may be computed on the CPU beside CUDA, convolutions and products may not."""

    def parts(*operators: str) -> SimpleNamespace:
        nodes = [SimpleNamespace(op_type=operator) for operator in operators]
        cuda, cpu = (
            SimpleNamespace(ep_name=name, get_nodes=lambda some=some: some)
            for name, some in (
                ("CUDAExecutionProvider", [SimpleNamespace(op_type="Conv")]),
                ("CPUExecutionProvider", nodes),
            )
        )
        return SimpleNamespace(
            get_providers=lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"],
            get_provider_graph_assignment_info=lambda: [cuda, cpu],
        )

    cuda = Numerics("cuda", "fp16")
    assert session._elsewhere(parts("Shape", "Gather"), cuda) == ""
    assert session._elsewhere(parts("Shape", "Conv"), cuda) == "CPUExecutionProvider"


def test_onnx_runtime_says_where_nodes_are(bundle: Bundle) -> None:
    """What the search relies on, seen with the CPU provider."""
    options = ort.SessionOptions()
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    found = ort.InferenceSession(str(bundle.model), options, providers=["CPUExecutionProvider"])
    parts = found.get_provider_graph_assignment_info()
    assert {part.ep_name for part in parts} == {"CPUExecutionProvider"}
    assert any(session._is_heavy(part) for part in parts)


def test_a_run_that_fails_is_not_repeated_on_another_provider(bundle: Bundle) -> None:
    """ONNX Runtime would do so by itself, and print a line."""
    assert Session(bundle, Numerics("cpu", "fp32"))._session._enable_fallback is False


def test_auto_follows_what_was_measured(bundle: Bundle, data: DataFolder) -> None:
    """Once all were measured here; before that, what is faster as a rule comes first."""
    kept = Measurements(data, bundle, 0.05)
    slow, fast = Numerics("openvino", "fp32"), Numerics("cpu", "fp32")
    kept.write(fast, [Measured(1, 2, 400.0, 0.005, 0.01, 1.0)])
    assert fastest_first([slow, fast], kept) == [slow, fast]
    kept.write(slow, [Measured(1, 2, 300.0, 0.005, 0.01, 1.0)])
    assert fastest_first([slow, fast], kept) == [fast, slow]


def test_auto_opens_what_was_the_fastest(bundle: Bundle, data: DataFolder) -> None:
    """Here the plain CPU provider, against the rule."""
    kept = Measurements(data, bundle, 0.05)
    for place, numerics in enumerate(wanted("auto", "auto", bundle, data)):
        kept.write(numerics, [Measured(1, 1, 100.0 * (place + 1), 0.005, 0.01, 1.0)])
    assert open_tuned(bundle, data)[0].numerics == ("cpu", "fp32")


def test_int8_is_taken_where_it_was_kept(installed, bundle: Bundle, data: DataFolder) -> None:
    """By the provider on which its bound held; by `auto` too, since somebody calibrated it."""
    installed("openvino", "cpu")
    with pytest.raises(InvalidArgument, match=r"penultimate tune --calibrate FOLDER --precision int8"):
        list(wanted("auto", "int8", bundle, data))
    quantised.keep(data, bundle, b"graph", Calibration("minmax", 0, 12, 4, {"cpu": GOOD}))
    assert names("auto", "int8", bundle, data) == ["cpu/int8"]
    assert names("auto", "auto", bundle, data) == ["openvino/bf16", "openvino/fp32", "cpu/int8", "cpu/fp32"]
    with pytest.raises(InvalidArgument, match="no int8 graph"):
        list(wanted("openvino", "int8", bundle, data))


@pytest.mark.parametrize("damage", ["flipped", "gone", "another", "no manifest"])
def test_a_damaged_int8_graph_is_never_run(bundle: Bundle, data: DataFolder, damage: str) -> None:
    """It is named, with the command that makes it again; `auto` goes on to what is whole."""
    quantised.keep(data, bundle, b"graph", Calibration("minmax", 0, 12, 4, {"cpu": GOOD}))
    folder = data.graphs / bundle.fingerprint / "int8-cpu"
    if damage == "flipped":
        (folder / "model.onnx").write_bytes(b"grapH")
    elif damage == "gone":
        (folder / "model.onnx").unlink()
    elif damage == "no manifest":
        (folder / "manifest.json").write_text("{")
    else:
        facts = json.loads((folder / "manifest.json").read_text())
        (folder / "manifest.json").write_text(json.dumps({**facts, "fingerprint": "f" * 64}))
    with pytest.raises(Unavailable, match="make it again with `penultimate tune --calibrate"):
        quantised.read(data, bundle, "cpu")
    assert session.open_session(bundle, "cpu", data=data)[0].numerics == ("cpu", "fp32")


def test_a_graph_that_is_kept_anew_while_it_is_read_is_read_again(
    bundle: Bundle, data: DataFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between manifest and graph another calibration takes the folder's place: both of one are read."""
    calibration = Calibration("minmax", 0, 12, 4, {"cpu": GOOD})
    quantised.keep(data, bundle, b"old graph", calibration)
    facts, graphs = quantised._facts, [b"new graph"]

    def overtaken(folder: Path) -> dict:
        found = facts(folder)
        if graphs:
            quantised.keep(data, bundle, graphs.pop(), calibration)
        return found

    monkeypatch.setattr(quantised, "_facts", overtaken)
    assert quantised.read(data, bundle, "cpu") == b"new graph"


def test_figures_are_of_the_int8_graph_that_was_measured(bundle: Bundle, data: DataFolder) -> None:
    """Another calibration may leave other layers exact; fp32 is what it was."""
    kept, int8, fp32 = Measurements(data, bundle, 0.05), Numerics("cpu", "int8"), Numerics("cpu", "fp32")
    row = Measured(1, 2, 400.0, 0.005, 0.01, 1.0)
    calibration = Calibration("minmax", 0, 12, 4, {"cpu": GOOD})
    quantised.keep(data, bundle, b"graph", calibration)
    kept.write(int8, [row])
    kept.write(fp32, [row])
    assert kept.read(int8) == [row]
    quantised.keep(data, bundle, b"another graph", calibration)
    assert kept.read(int8) == []
    assert kept.read(fp32) == [row]


def sentences(bundle: Bundle, data: DataFolder) -> dict[str, str]:
    """What is said of each provider."""
    kept = Measurements(data, bundle, 0.05)
    return {each.provider: each.sentence for each in standing.overviews(bundle, kept)}


def test_the_standing_of_each_provider_is_a_sentence(bundle: Bundle, data: DataFolder, monkeypatch) -> None:
    """Installed, usable, proved; why not, where it is not."""
    monkeypatch.setattr(standing, "installed_providers", lambda: ["cpu"])
    found = sentences(bundle, data)
    assert list(found) == ["cpu", "openvino", "cuda", "tensorrt"]
    assert found["cpu"].startswith("installed; fp32 passes (smallest cosine 0.9999")
    assert found["openvino"].startswith("not installed: pip install '.[openvino]'")

    def fail(*_: object) -> float:
        raise Unavailable("the cosine is 0.5")

    monkeypatch.setattr(Session, "prove", fail)
    assert sentences(bundle, data)["cpu"] == "installed; fp32 does not pass (the cosine is 0.5)"


def test_a_gpu_gets_batches_and_its_own_memory_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """TensorRT's engines take long, so few sizes of it are measured."""
    for name in ("cuda", "tensorrt"):
        assert Schedule.usual(name).max_batch > 1
        assert tuning.parallels(name) == (1, 2, 4)
    assert len(tuning.effort(Numerics("tensorrt", "fp16")).sizes) < len(tuning.SIZES)
    monkeypatch.setattr(tuning.cuda, "used_bytes", lambda: 7)
    assert tuning.effort(Numerics("cuda", "fp16")).memory() == 7
    assert tuning.effort(Numerics("cpu", "fp32")).memory() > 10e6
