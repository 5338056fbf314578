"""A source of embeddings that costs nothing, and pictures of two kinds for it."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import click
import numpy as np
import pytest
from PIL import Image

from extractor import sources
from extractor.cli import progress
from extractor.cli.main import run
from extractor.errors import InvalidImage, PenultimateError
from extractor.results import ImageLike, Result
from extractor.settings import DataFolder

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or what is on standard error would depend on how busy the machine is."""
    monkeypatch.setattr(progress, "DELAY", 1e9)


class PixelStatistics:
    """Embeds a picture as the mean and the spread of its channels; implements `Embeds`."""

    dim = 6

    def __init__(self, fingerprint: str = "f" * 64) -> None:
        self.fingerprint = fingerprint
        self.computed = 0

    def stream(self, images: Iterable[ImageLike]) -> Iterator[Result]:
        return map(self._one, images)

    def embed(self, images: Iterable[ImageLike]) -> list[Result]:
        return list(self.stream(images))

    def info(self) -> PixelStatistics:
        return self

    backbone = "pixels"

    def _one(self, image: ImageLike) -> Result:
        self.computed += 1
        digest = None
        try:
            data = sources.read(image)
            digest = hashlib.sha256(data).digest()
            pixels = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), dtype=np.float32)
        except PenultimateError as error:
            return Result(None, error, digest, False, self.fingerprint)
        except OSError:
            return Result(None, InvalidImage("not a picture"), digest, False, self.fingerprint)
        vector = np.concatenate([pixels.mean((0, 1)), pixels.std((0, 1))])
        return Result(vector, None, digest, False, self.fingerprint)

    def close(self) -> None:
        pass

    def __enter__(self) -> PixelStatistics:
        return self

    def __exit__(self, *_: object) -> None:
        pass


@pytest.fixture
def pixels() -> PixelStatistics:
    return PixelStatistics()


@pytest.fixture
def paint(tmp_path: Path) -> Callable[..., Path]:
    """`paint("red/1.png", (200, 0, 0), seed=1)` writes a noisy picture of one colour."""

    def paint(name: str, colour: tuple[int, int, int], seed: int) -> Path:
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(seed).normal(0, 30, (8, 8, 3))
        Image.fromarray(np.clip(noise + colour, 0, 255).astype(np.uint8)).save(file)
        return file

    return paint


@pytest.fixture
def painted(tmp_path: Path, paint: Callable[..., Path]) -> Path:
    """A folder with two classes, red and blue, of twelve pictures each."""
    for i in range(12):
        paint(f"painted/red/{i}.png", (180, 60, 60), i)
        paint(f"painted/blue/{i}.png", (60, 60, 180), 100 + i)
    return tmp_path / "painted"


@pytest.fixture
def several(tmp_path: Path, paint: Callable[..., Path]) -> Path:
    """A table of 48 pictures that are red, blue, both, or neither, twelve of each."""
    lines = ["path,label"]
    for i in range(48):
        red, blue = i % 2, i // 2 % 2
        paint(f"several/{i}.png", (60 + 120 * red, 60, 60 + 120 * blue), 300 + i)
        lines.append(f"{i}.png,{'|'.join(['red'] * red + ['blue'] * blue) or '|'}")
    table = tmp_path / "several/labels.csv"
    table.write_text("\n".join(lines))
    return table


@pytest.fixture
def store(tmp_path: Path) -> DataFolder:
    """An empty data folder."""
    return DataFolder(tmp_path / "store")


@pytest.fixture
def invoke(
    pixels: PixelStatistics,
    store: DataFolder,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Command:
    """`invoke(command, *arguments)`: run it in this process on `pixels`; exit code, output, errors."""
    for module in ("classifiers.cli", "extractor.cli.classify"):
        monkeypatch.setattr(f"{module}.open_source", lambda *_, **__: pixels)

    def invoke(command: click.Command, *arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            run(command, [*map(str, arguments), "--data", str(store.root)])
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return invoke
