"""An int8 graph of real pictures is kept when it is near to fp32, and refused with the figures when not."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from extractor.backbones import calibration, quantised
from extractor.backbones.bundle import Bundle
from extractor.backbones.calibration import LEAST_IMAGES, calibrate
from extractor.backbones.providers import Numerics
from extractor.backbones.quantised import Calibration, Cosines, Fidelity
from extractor.backbones.session import Session, open_graph, open_session
from extractor.errors import InvalidArgument, Unavailable
from extractor.settings import DataFolder


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The quickest way of finding ranges; the others differ in a name that is handed on."""
    monkeypatch.setattr(calibration, "METHODS", ("minmax",))


@pytest.fixture
def photos(pictures: list[Path]) -> list[bytes]:
    return [file.read_bytes() for file in pictures if file.stem not in {"logo", "horse"}][:20]


def saturating_on(provider: str):
    """Opens graphs on the CPU; what computes as `provider` gives vectors of the other direction.

    A processor without VNNI is such a one, where sums in int8 saturate.
    """

    def opened(bundle: Bundle, graph: bytes, numerics: Numerics, sizes: tuple[int, ...]):
        session = open_graph(bundle, graph, Numerics("cpu", numerics.precision), sizes)
        sign = -1 if numerics.provider == provider else 1
        return SimpleNamespace(
            get_inputs=session.get_inputs, run=lambda *given: [sign * session.run(*given)[0]]
        )

    return opened


def test_what_holds_its_bound_is_kept_and_used(
    bundle: Bundle, data: DataFolder, photos: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By name from then on, proved at each start as all are."""
    monkeypatch.setattr(quantised, "BOUND", 0.9)
    monkeypatch.setattr(calibration, "EXACT_PARTS", (1 / 4,))
    notes: list[str] = []
    found = calibrate(bundle, data, photos, "cpu", notes.append)
    assert found.holds
    assert notes[-1] == str(found)
    assert found.calibrated + found.held_out == 20
    session, cosine = open_session(bundle, "cpu", "int8", data=data)
    assert session.numerics == ("cpu", "int8")
    assert cosine == pytest.approx(found.fidelity["cpu"].golden.smallest, abs=0.003)
    assert len(quantised.read(data, bundle, "cpu")) < 0.6 * len(bundle.model.read_bytes())


def test_it_is_kept_for_the_providers_on_which_it_holds(
    bundle: Bundle, data: DataFolder, photos: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With no more exact layers than those need; of the others it is said that it does not hold."""
    monkeypatch.setattr(quantised, "BOUND", 0.5)
    monkeypatch.setattr(calibration, "EXACT_PARTS", (1 / 8,))
    monkeypatch.setattr(calibration, "installed_providers", lambda: ["openvino", "cpu"])
    monkeypatch.setattr(calibration, "open_graph", saturating_on("cpu"))
    notes: list[str] = []
    found = calibrate(bundle, data, photos, "auto", notes.append)
    assert (list(found.fidelity), found.exact_layers) == (["openvino"], 0)
    assert len(notes) == 3
    assert notes[-1].startswith(
        "not kept for cpu, under the bound of 0.99: minmax: cpu/int8: smallest cosine -"
    )
    assert quantised.is_kept(data, bundle, "openvino")
    assert not quantised.is_kept(data, bundle, "cpu")


def test_a_provider_that_cannot_run_int8_is_left_out(
    bundle: Bundle, data: DataFolder, photos: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its reason, said once; alone, it is an error."""

    def opened(bundle: Bundle, graph: bytes, numerics: Numerics, sizes: tuple[int, ...]):
        if numerics.provider == "openvino":
            raise Unavailable("no such operator")
        return open_graph(bundle, graph, numerics, sizes)

    monkeypatch.setattr(calibration, "METHODS", ("minmax", "minmax"))
    monkeypatch.setattr(quantised, "BOUND", 0.5)
    monkeypatch.setattr(calibration, "installed_providers", lambda: ["openvino", "cpu"])
    monkeypatch.setattr(calibration, "open_graph", opened)
    notes: list[str] = []
    found = calibrate(bundle, data, photos, "auto", notes.append)
    assert list(found.fidelity) == ["cpu"]
    assert [note for note in notes if "openvino" in note] == [
        "not kept for openvino, which cannot run an int8 graph: no such operator"
    ]
    assert not quantised.is_kept(data, bundle, "openvino")
    with pytest.raises(Unavailable, match="openvino cannot run an int8 graph: no such operator"):
        calibrate(bundle, data, photos, "openvino")


def test_each_provider_keeps_its_own_graph(bundle: Bundle, data: DataFolder) -> None:
    """What is found for one takes nothing from the others, nor its figures."""
    good = Fidelity(Cosines(0.995, 0.999), Cosines(0.994, 0.998))
    quantised.keep(data, bundle, b"one", Calibration("minmax", 0, 12, 4, {"cpu": good, "openvino": good}))
    assert quantised.sha256(data, bundle, "cpu") == quantised.sha256(data, bundle, "openvino")
    quantised.keep(data, bundle, b"another", Calibration("minmax", 0, 12, 4, {"cpu": good}))
    assert quantised.read(data, bundle, "cpu") == b"another"
    assert quantised.read(data, bundle, "openvino") == b"one"
    assert quantised.sha256(data, bundle, "cpu") != quantised.sha256(data, bundle, "openvino")


def test_layers_stay_exact_until_the_bound_holds(
    bundle: Bundle, data: DataFolder, photos: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first ones; each step comes nearer to fp32."""
    monkeypatch.setattr(calibration, "EXACT_PARTS", (1 / 2,))
    monkeypatch.setattr(quantised, "BOUND", 1.0)
    notes: list[str] = []
    with pytest.raises(
        Unavailable, match=r"under the bound .* the best was minmax, the first 24 layers in fp32"
    ):
        calibrate(bundle, data, photos, "cpu", notes.append)
    assert len(notes) == 2
    assert not quantised.is_kept(data, bundle, "cpu")
    assert not data.graphs.exists()


def test_too_few_images_are_refused(bundle: Bundle, data: DataFolder, photos: list[bytes]) -> None:
    """Those that cannot be read do not count."""
    with pytest.raises(InvalidArgument, match=f"3 images can be read, and calibrating takes {LEAST_IMAGES}"):
        calibrate(bundle, data, [*photos[:3], *[b"no image"] * 20])


@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
def test_a_provider_without_int8_is_refused(bundle, data: DataFolder, photos: list[bytes], provider) -> None:
    """With those that have it."""
    with pytest.raises(InvalidArgument, match="computes no int8 here: name openvino or cpu"):
        calibrate(bundle, data, photos, provider)


def test_a_kept_graph_that_computes_something_else_does_not_serve(bundle: Bundle, data: DataFolder) -> None:
    """A graph is not trusted for what is written beside it: the golden test has the last word."""
    from onnx import load_from_string, numpy_helper

    model = load_from_string(bundle.model.read_bytes())
    weight = max(model.graph.initializer, key=lambda tensor: tensor.ByteSize())
    weight.CopyFrom(numpy_helper.from_array(-numpy_helper.to_array(weight), weight.name))
    good = Fidelity(Cosines(0.995, 0.999), Cosines(0.994, 0.998))
    quantised.keep(data, bundle, model.SerializeToString(), Calibration("minmax", 0, 12, 4, {"cpu": good}))
    with pytest.raises(Unavailable, match="does not compute what efficientnet_lite0 should"):
        open_session(bundle, "cpu", "int8", data=data)
    assert Session(bundle, Numerics("cpu", "int8"), data=data).bound == quantised.BOUND


@pytest.mark.parametrize(("golden", "held_out"), [(0.98, 0.999), (0.999, 0.98), (float("nan"), 0.999)])
def test_the_bound_is_on_the_worst_picture_of_both_kinds(golden: float, held_out: float) -> None:
    """The golden ones and the user's own; what is no number is the worst, and holds no bound."""
    assert not Fidelity(Cosines(golden, 1.0), Cosines(held_out, 1.0)).holds
    assert Fidelity(Cosines(0.99, 1.0), Cosines(0.99, 1.0)).holds


def test_what_is_no_number_is_the_worst_wherever_it_stands() -> None:
    """`min` would answer with the one that it sees first."""
    bad, nothing = Cosines(-0.9, 0.0), Cosines(float("nan"), float("nan"))
    worst = [Fidelity(bad, nothing), Fidelity(nothing, bad), Fidelity(nothing, nothing)]
    assert all(fidelity.smallest < Fidelity(bad, bad).smallest for fidelity in worst)
    mixed = Calibration("minmax", 0, 12, 4, {"cpu": Fidelity(bad, bad), "openvino": worst[0]})
    assert mixed.smallest == worst[0].smallest
