"""`penultimate tune` prints what was measured of this machine, marks the choice, and remembers it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from extractor.backbones.bundle import Bundle
from extractor.backbones.measured import Measured, Measurements
from extractor.backbones.quantised import Calibration, Cosines, Fidelity
from extractor.backbones.session import Numerics
from extractor.backbones.tuning import parallels
from extractor.cli.main import penultimate as command
from extractor.cli.main import run as run_command
from extractor.errors import Unavailable
from extractor.settings import DataFolder

CPU = Numerics("cpu", "fp32")
TABLE = [Measured(1, 1, 100.0, 0.01, 0.02, 1.0), Measured(4, 2, 300.0, 0.0267, 0.03, 1.0)]


@pytest.fixture
def tune(data: DataFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """`tune(table, *options)` on a machine of which this is measured: exit code and standard output."""

    def tune(table: list[Measured], *options: str) -> tuple[int, str]:
        monkeypatch.setattr("extractor.backbones.tuning.measure", lambda *_: table)
        arguments = ["tune", "--provider", "cpu", "--data", str(data.root), *options]
        with pytest.raises(SystemExit) as ended:
            run_command(command, arguments)
        return int(ended.value.code or 0), capsys.readouterr().out

    return tune


def test_a_real_machine_is_measured(penultimate, data: DataFolder, bundle: Bundle) -> None:
    """One provider and precision, from one image a run; what is remembered is what was printed."""
    done = penultimate("tune", "--provider", "cpu", "--json")
    (report,) = json.loads(done.stdout)["measured"]
    assert (report["provider"], report["precision"]) == CPU
    assert 0.9999 < report["golden_cosine"] <= report["golden_median"] <= 1.000001
    assert all(row["memory"] > 10e6 for row in report["table"])
    singles = [row for row in report["table"] if row["batch_size"] == 1]
    assert [row["parallel"] for row in singles] == list(parallels("cpu"))
    remembered = Measurements(data, bundle, 0.05).read(CPU)
    assert remembered == ([] if report["trouble"] else [Measured(**row) for row in report["table"]])
    assert done.returncode == (1 if report["trouble"] else 0)


def test_the_choice_is_marked_and_every_command_takes_it(tune, penultimate, data, bundle) -> None:
    """Also the doctor, which says where it is from."""
    code, out = tune(TABLE)
    assert code == 0
    head, *lines = out.splitlines()
    assert head.startswith(" provider precision     batch  parallel  images/s")
    cosine, median, memory = lines[0].split()[7:]
    assert 0.9999 <= float(cosine) <= 1
    assert lines[0].split() == ["cpu", "fp32", "1", "1", "100", "10.0", "20.0", cosine, median, memory]
    assert lines[1].split() == ["cpu", "fp32", "4", "2", "300", "26.7", "30.0", cosine, median, memory, "<-"]
    doctor = penultimate("doctor", "--provider", "cpu")
    assert "up to 4 images a run, 2 at once (measured on this machine)" in doctor.stdout


def test_the_bound_is_given_in_milliseconds(tune, data: DataFolder, bundle: Bundle) -> None:
    """And what was measured under it is remembered for it."""
    _, out = tune(TABLE, "--latency-bound", "20")
    assert out.splitlines()[1].endswith("<-")
    assert Measurements(data, bundle, 0.02).read(CPU) == TABLE


def test_what_is_not_remembered_is_said(tune, data: DataFolder) -> None:
    """The table is printed all the same; the exit code tells scripts."""
    code, out = tune([Measured(1, 1, 100.0, 0.01, 0.02, 0.3)])
    assert code == 1
    assert "cpu/fp32: other work took a part of the processor" in out
    data.tuning.write_text("no folder")
    code, out = tune(TABLE)
    assert code == 1
    assert str(data.tuning) in out


def test_calibrating_says_what_it_does_and_what_became_of_it(
    data: DataFolder, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    """From before the first image is read; that the graph is kept also where measuring ends in an error."""
    said: list[str] = []

    def calibrate(*_: object) -> Calibration:
        said.append(capsys.readouterr().err)
        return Calibration("minmax", 0, 12, 4, {"cpu": Fidelity(Cosines(0.99, 0.99), Cosines(0.99, 0.99))})

    monkeypatch.setattr("extractor.backbones.calibration.calibrate", calibrate)
    monkeypatch.setattr("extractor.backbones.quantised.read", lambda *_: bundle.read("model.onnx"))
    monkeypatch.setattr("extractor.backbones.quantised.is_kept", lambda *_: True)
    noisy = [Measured(1, 1, 100.0, 0.01, 0.02, 0.3)]
    monkeypatch.setattr("extractor.backbones.tuning.measure", lambda *_: noisy)
    options = ["--calibrate", str(tmp_path), "--precision", "int8", "--provider", "cpu"]
    with pytest.raises(SystemExit) as ended:
        run_command(command, ["tune", "--data", str(data.root), *options])
    assert ended.value.code == 1
    assert said[0].startswith(f"reading up to 256 images of {tmp_path} for an int8 graph")
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith(f"the int8 graph is kept in {data.graphs / bundle.fingerprint / 'int8-cpu'}: ")
    assert "auto may, in every command" in last
    assert last.endswith("removing the folder undoes it")


def test_a_provider_that_is_not_here_is_one_sentence(penultimate) -> None:
    """As everywhere."""
    done = penultimate("tune", "--provider", "cuda")
    assert done.returncode == 1
    assert "pip install '.[gpu]'" in done.stderr


def test_a_provider_that_fails_its_proof_is_not_measured(tune, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its figures would be of no use; why is said."""

    def fail(*_: object) -> float:
        raise Unavailable("the cosine is 0.5")

    monkeypatch.setattr("extractor.backbones.session.Session.prove", fail)
    code, out = tune(TABLE)
    assert code == 1
    assert out.splitlines()[1:] == ["cpu/fp32: the cosine is 0.5"]


def test_without_a_backbone_it_says_what_to_do(penultimate, tmp_path: Path) -> None:
    """As the other commands do."""
    done = penultimate("tune", "--data", str(tmp_path / "elsewhere"))
    assert done.returncode == 1
    assert "penultimate export efficientnet_lite0" in done.stderr
