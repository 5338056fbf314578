"""Usual JPEGs go to the GPU's decoder, by a rule about the file alone; here a stand-in takes its place."""

from __future__ import annotations

import io
import sys
import threading
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import skimage
from PIL import Image

from extractor import gpu_images
from extractor.errors import InvalidImage, Unavailable
from extractor.images import decode, open_upright, prepare
from extractor.preprocessing import Preprocessing
from extractor.settings import Limits

EXACT = Preprocessing(224, 224, 256, "bicubic", (0.5,) * 3, (0.5,) * 3)
GPU = replace(EXACT, decode="gpu")
FOLDER = Path(skimage.__file__).parent / "data"


def encoded(image: Image.Image, format: str = "JPEG", **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


def photo(mode: str = "RGB") -> Image.Image:
    with Image.open(FOLDER / "chelsea.png") as image:
        return image.convert("RGB").convert(mode)


class StandIn:
    """The part of nvImageCodec that is used, with Pillow's pixels made negative: one sees who decoded."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.opened: list[dict[str, object]] = []
        self.given: list[bytes] = []
        self.refuses = False
        self.raises: Exception | None = None
        codec = ModuleType("nvidia.nvimgcodec")
        vars(codec).update(
            Decoder=self._open,
            Backend=lambda kind: ("backend", kind),
            BackendKind=SimpleNamespace(HYBRID_CPU_GPU="hybrid"),
            ColorSpec=SimpleNamespace(SRGB="sRGB"),
            DecodeParams=lambda **facts: facts,
        )
        package = ModuleType("nvidia")
        vars(package).update(nvimgcodec=codec)
        monkeypatch.setitem(sys.modules, "nvidia", package)
        monkeypatch.setitem(sys.modules, "nvidia.nvimgcodec", codec)

    def _open(self, **options: object) -> SimpleNamespace:
        self.opened.append(options)
        return SimpleNamespace(decode=self._decode)

    def _decode(self, data: bytes, params: dict[str, object]) -> SimpleNamespace | None:
        assert params == {"apply_exif_orientation": False, "color_spec": "sRGB"}
        self.given.append(data)
        if self.raises:
            raise self.raises
        if self.refuses:
            return None
        with Image.open(io.BytesIO(data)) as image:
            pixels = 255 - np.asarray(image.convert("RGB"))
        return SimpleNamespace(cpu=lambda: pixels)


@pytest.fixture(autouse=True)
def _no_decoder_is_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_images, "_THREAD", threading.local())


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    return StandIn(monkeypatch)


TAKEN = {
    "4:2:0": encoded(photo(), subsampling="4:2:0"),
    "4:2:2": encoded(photo(), subsampling="4:2:2"),
    "4:4:4": encoded(photo(), subsampling="4:4:4"),
    "grey": encoded(photo("L")),
    "with EXIF": encoded(photo(), exif=b"Exif\0\0not EXIF at all"),
}
NOT_TAKEN = {
    "progressive": encoded(photo(), progressive=True),
    "CMYK": encoded(photo("CMYK")),
    "RGB inside": encoded(photo(), keep_rgb=True),
    "several pictures": encoded(photo(), "MPO", save_all=True, append_images=[photo()]),
    "bytes behind its end": encoded(photo()) + b"more",
    "PNG": encoded(photo(), "PNG"),
    "WebP": encoded(photo(), "WEBP"),
}


@pytest.mark.parametrize("kind", TAKEN)
def test_usual_jpegs_are_decoded_by_the_gpu(kind: str, gpu: StandIn) -> None:
    """Baseline, 8 bits, grey or YCbCr: resized and cropped by the same rule."""
    found, exact = decode(TAKEN[kind], GPU), decode(TAKEN[kind], EXACT)
    assert gpu.given == [TAKEN[kind]]
    assert np.abs(255 - found.astype(int) - exact).max() <= 2


@pytest.mark.parametrize("kind", NOT_TAKEN)
def test_everything_else_is_decoded_exactly(kind: str, gpu: StandIn) -> None:
    """Whatever decoders might understand in two ways, or not at all."""
    np.testing.assert_array_equal(decode(NOT_TAKEN[kind], GPU), decode(NOT_TAKEN[kind], EXACT))
    assert not gpu.given


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turned_pictures_are_turned_upright_here(orientation: int, gpu: StandIn) -> None:
    """The decoder is told not to."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(photo(), exif=exif.tobytes())
    assert np.abs(255 - decode(data, GPU).astype(int) - decode(data, EXACT)).max() <= 2
    assert gpu.given


def test_one_decoder_of_one_kind_is_opened_for_each_thread(gpu: StandIn) -> None:
    """CUDA's, which every card has, with chroma brought to size as Pillow does it."""
    data = TAKEN["4:2:0"]
    decode(data, GPU)
    decode(data, GPU)
    other = threading.Thread(target=decode, args=(data, GPU))
    other.start()
    other.join()
    wanted = {
        "max_num_cpu_threads": 1,
        "backends": [("backend", "hybrid")],
        "options": ":fancy_upsampling=1",
    }
    assert gpu.opened == [wanted, wanted]


def test_a_file_cut_short_has_its_usual_error(gpu: StandIn) -> None:
    """It never reaches the GPU."""
    with pytest.raises(InvalidImage, match="damaged or cut short"):
        decode(TAKEN["4:2:0"][:-500], GPU)
    assert not gpu.given


def test_what_the_gpu_refuses_is_an_error_and_no_other_vector(gpu: StandIn) -> None:
    """The picture can be read, but not as the profile says."""
    gpu.refuses = True
    with pytest.raises(Unavailable, match="the GPU could not decode a JPEG that can be read"):
        decode(TAKEN["4:2:0"], GPU)


def test_what_pillow_cannot_read_either_is_the_callers_mistake(gpu: StandIn) -> None:
    """A damaged file is no fault of the GPU's."""
    gpu.refuses = True
    damaged = bytearray(TAKEN["4:2:0"])
    table = damaged.index(b"\xff\xc4")
    damaged[table + 5 : table + 21] = b"\xff" * 16  # Huffman codes that cannot be
    with pytest.raises(InvalidImage, match="damaged or cut short"):
        decode(bytes(damaged), GPU)
    assert gpu.given


def test_a_failing_gpu_is_unavailable(gpu: StandIn) -> None:
    """Its own words are in the error."""
    gpu.raises = RuntimeError("CUDA Runtime failure: '#2'")
    with pytest.raises(Unavailable, match="the GPU could not decode a JPEG: CUDA Runtime failure: '#2'"):
        decode(TAKEN["4:2:0"], GPU)


def test_other_profiles_never_ask_for_a_gpu(gpu: StandIn) -> None:
    """Nor does what only looks at a picture."""
    prepare(EXACT)
    decode(TAKEN["4:2:0"], replace(EXACT, decode="fast"))
    open_upright(TAKEN["4:2:0"], Limits())
    assert not gpu.opened


def test_without_the_package_a_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the first picture."""
    monkeypatch.setitem(sys.modules, "nvidia", None)
    with pytest.raises(
        Unavailable, match=r"nvImageCodec, which is not installed: pip install '.\[gpu-decode\]'"
    ):
        prepare(GPU)


def test_without_a_gpu_a_sentence_says_so(gpu: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library's decoder cannot be made."""

    def none_here(**options: object) -> None:
        raise RuntimeError("CUDA Runtime failure: '#35'")

    monkeypatch.setattr(sys.modules["nvidia"].nvimgcodec, "Decoder", none_here)  # type: ignore[attr-defined]
    with pytest.raises(Unavailable, match=r"none can be used here \(CUDA Runtime failure: '#35'\)"):
        prepare(GPU)


def test_the_rule_reads_any_beginning_of_a_file() -> None:
    """A file that ends anywhere is not taken, and is no fault; nor is an end that was put there."""
    whole = TAKEN["4:2:0"]
    assert gpu_images.takes(whole)
    for cut in range(700):
        assert not gpu_images.takes(whole[:cut])
        gpu_images.takes(whole[:cut] + b"\xff\xd9")
