"""Any accepted picture becomes the pixels that torchvision gives; all else fails with a reason."""

import io
import struct
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import skimage
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from extractor.errors import ImageTooLarge, InvalidImage, UnsupportedFormat
from extractor.images import FORMATS, decode
from extractor.preprocessing import Preprocessing
from extractor.settings import Limits

SPEC = Preprocessing(224, 224, 256, "bicubic", (0.5,) * 3, (0.5,) * 3)
PICTURES = sorted(
    file
    for file in (Path(skimage.__file__).parent / "data").iterdir()
    if file.suffix in {".png", ".jpg", ".gif"} and file.stem not in {"logo", "horse"}  # those are transparent
)


def encoded(image: Image.Image, format: str = "PNG", **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


def noise(width: int, height: int, mode: str = "RGB") -> Image.Image:
    channels = len(Image.new(mode, (1, 1)).getbands())
    pixels = np.random.default_rng(7).integers(0, 256, (height, width, channels), np.uint8)
    return Image.fromarray(
        pixels[..., 0] if channels == 1 else pixels, mode if channels == 1 else None
    ).convert(mode)


def plainly(image: Image.Image, spec: Preprocessing = SPEC) -> np.ndarray:
    """The slow, obvious way: torchvision's Resize, then CenterCrop."""
    from torchvision.transforms import CenterCrop, InterpolationMode, Resize

    resized = Resize(spec.resize_shorter, InterpolationMode.BICUBIC)(image.convert("RGB"))
    return np.asarray(CenterCrop((spec.height, spec.width))(resized))


def differs_by_rounding_only(found: np.ndarray, expected: np.ndarray) -> bool:
    difference = np.abs(found.astype(int) - expected.astype(int))
    return difference.max() <= 2 and (difference > 0).mean() < 0.02


@pytest.fixture(scope="module", autouse=True)
def _torchvision_imports() -> None:
    from extractor.backbones.export.networks import import_torchvision

    import_torchvision()


@pytest.mark.parametrize("file", PICTURES, ids=lambda file: file.name)
def test_real_pictures_match_torchvision(file: Path) -> None:
    """Cropping while resizing gives the pixels of resizing first."""
    with Image.open(file) as image:
        assert differs_by_rounding_only(decode(file.read_bytes(), SPEC), plainly(image))


@settings(deadline=None, max_examples=40)
@example(277, 600, "RGB")
@given(width=st.integers(2, 700), height=st.integers(2, 700), mode=st.sampled_from(["RGB", "L", "CMYK"]))
def test_odd_sizes_match_torchvision(width: int, height: int, mode: str) -> None:
    """Every size and mode follows the rule, rounding included."""
    image = noise(width, height, mode)
    data = encoded(image, "TIFF")
    assert differs_by_rounding_only(decode(data, SPEC), plainly(image))


@settings(deadline=None, max_examples=40)
@example(29, 29)
@given(width=st.integers(2, 700), height=st.integers(2, 700))
def test_pictures_of_which_nothing_is_cropped_match_torchvision(width: int, height: int) -> None:
    """The shorter side becomes the input's: no part of it may be lost, nor asked for beyond its edge."""
    image = noise(width, height)
    spec = replace(SPEC, resize_shorter=224)
    assert differs_by_rounding_only(decode(encoded(image), spec), plainly(image, spec))


@settings(deadline=None, max_examples=40)
@example(277, 600, 224)
@example(2, 29, 224)
@given(width=st.integers(2, 700), height=st.integers(2, 700), side=st.integers(224, 300))
def test_squashed_pictures_match_torchvision(width: int, height: int, side: int) -> None:
    """Both sides become as long as the rule says, whatever they were; then the centre is cropped."""
    from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Resize

    image = noise(width, height)
    squashed = Compose([Resize((side, side), InterpolationMode.BICUBIC), CenterCrop(224)])(image)
    found = decode(encoded(image), replace(SPEC, resize_shorter=side, resize="squash"))
    assert differs_by_rounding_only(found, np.asarray(squashed))


@settings(deadline=None, max_examples=60)
@example(277, 600, "border", (65, 96), 0.9)
@example(300, 300, "center", (96, 64), 0.875)
@given(
    width=st.integers(32, 700),
    height=st.integers(32, 700),
    mode=st.sampled_from(["center", "squash", "border"]),
    shape=st.sampled_from([(96, 96), (97, 64), (64, 97), (128, 31)]),
    part=st.sampled_from([1.0, 0.95, 0.875]),
)
def test_every_crop_mode_of_timm_gives_timm_s_pixels(
    width: int, height: int, mode: str, shape: tuple[int, int], part: float
) -> None:
    """For square inputs and others: cropped, squashed, or padded with the mean's colour."""
    from timm.data import create_transform

    image, (first, second) = noise(width, height), sorted(int(side / part) for side in shape)
    mean = (0.5, 0.25, 0.125)
    prepare = create_transform((3, *shape), crop_mode=mode, crop_pct=part, interpolation="bicubic", mean=mean)
    steps = [step for step in prepare.transforms if type(step).__name__ not in ("MaybeToTensor", "Normalize")]
    expected = image
    for step in steps:
        expected = step(expected)
    rule = {"center": "shorter", "squash": "squash", "border": "pad"}[mode]
    longer = None if first == second else second
    spec = Preprocessing(
        *shape,
        first,
        "bicubic",
        mean,
        (0.5,) * 3,
        resize=rule,
        resize_longer=longer,  # type: ignore[arg-type]
    )
    assert differs_by_rounding_only(decode(encoded(image), spec), np.asarray(expected))


def test_a_line_that_is_padded_stays_a_line() -> None:
    """Where its width would be rounded to nothing, which timm refuses, one pixel of it is left."""
    spec = replace(SPEC, resize_shorter=224, resize="pad")
    pixels = decode(encoded(Image.new("RGB", (2, 700), "white")), spec)
    assert (pixels[:, 111] == 255).all()
    assert (np.delete(pixels, 111, axis=1) == 128).all()


def test_a_padded_grey_picture_has_the_mean_s_colour_around_it() -> None:
    """timm makes it RGB first."""
    spec = replace(SPEC, resize_shorter=224, resize="pad", mean=(1.0, 0.5, 0.0))
    pixels = decode(encoded(Image.new("L", (300, 100), 77)), spec)
    assert pixels[0, 0].tolist() == pixels[-1, -1].tolist() == [255, 128, 0]
    assert (pixels[75:149] == 77).all()


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_is_read(format: str) -> None:
    """All six formats give pixels of the input size."""
    pixels = decode(encoded(noise(300, 200), format), SPEC)
    assert pixels.shape == (224, 224, 3)
    assert pixels.dtype == np.uint8


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_turns_the_picture_upright(orientation: int) -> None:
    """A camera's sideways picture gives the pixels of the upright one."""
    image = noise(301, 200)
    turned = {
        1: image,
        2: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        3: image.transpose(Image.Transpose.ROTATE_180),
        4: image.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
        5: image.transpose(Image.Transpose.TRANSPOSE),
        6: image.transpose(Image.Transpose.ROTATE_90),
        7: image.transpose(Image.Transpose.TRANSVERSE),
        8: image.transpose(Image.Transpose.ROTATE_270),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    found = decode(encoded(turned, exif=exif.tobytes()), SPEC)
    np.testing.assert_array_equal(found, decode(encoded(image), SPEC))


def test_damaged_exif_is_ignored() -> None:
    """EXIF that cannot be read says nothing about the pixels."""
    image = noise(100, 80)
    whole = encoded(image, "JPEG", exif=b"Exif\0\0not EXIF at all")
    np.testing.assert_array_equal(decode(whole, SPEC), decode(encoded(image, "JPEG"), SPEC))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
def test_transparency_is_laid_on_white(mode: str) -> None:
    """A wholly transparent picture is white, whatever colour hides in it."""
    image = Image.new("RGBA", (50, 50), (200, 10, 10, 0))
    data = encoded(image.convert(mode) if mode != "PA" else image.convert("LA"))
    assert (decode(data, SPEC) == 255).all()


def test_palette_transparency_is_laid_on_white() -> None:
    """A transparent palette entry is white, an opaque one keeps its colour."""
    image = Image.new("P", (40, 40), 0)
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.paste(1, (0, 0, 20, 40))
    pixels = decode(encoded(image, transparency=0), SPEC)
    assert pixels[100, 10].tolist() == [0, 0, 255]
    assert pixels[100, -10].tolist() == [255, 255, 255]


def test_sixteen_bit_grey_is_scaled_not_clipped() -> None:
    """65535 is white, half of it is mid-grey: nothing saturates."""
    ramp = np.repeat(np.array([[0, 32896, 65535]], np.uint16), 3, axis=0)
    pixels = decode(encoded(Image.fromarray(ramp).resize((300, 300), Image.Resampling.NEAREST)), SPEC)
    assert pixels[112, 0].tolist() == [0, 0, 0]
    assert pixels[112, 112].tolist() == [128, 128, 128]
    assert pixels[112, -1].tolist() == [255, 255, 255]


def test_grey_gives_three_equal_channels() -> None:
    """A grey picture is RGB with three equal channels."""
    pixels = decode(encoded(noise(120, 90, "L")), SPEC)
    assert (pixels[..., 0] == pixels[..., 1]).all()
    assert (pixels[..., 0] == pixels[..., 2]).all()


def test_the_first_frame_of_an_animation_is_used() -> None:
    """A GIF's later frames do not matter."""
    frames = [Image.new("RGB", (60, 60), colour) for colour in ("red", "blue")]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert decode(data, SPEC)[112, 112].tolist() == [255, 0, 0]


def test_an_extreme_aspect_needs_no_memory() -> None:
    """A line 20,000 pixels long is cropped without ever being resized whole."""
    assert decode(encoded(noise(20_000, 2)), SPEC).shape == (224, 224, 3)


def bomb(side: int) -> bytes:
    """A PNG header that promises `side` x `side` pixels."""
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    return (
        b"\x89PNG\r\n\x1a\n" + struct.pack(">I", len(header)) + chunk + struct.pack(">I", zlib.crc32(chunk))
        + struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))
    )  # fmt: skip


BAD = {
    "empty": (b"", InvalidImage, r"empty \(0 bytes\)"),
    "text": (b"hello, I am a text", InvalidImage, "not a picture: its first bytes are b'hello, I'"),
    "truncated": (encoded(noise(300, 300), "JPEG")[:9000], InvalidImage, "damaged or cut short"),
    "truncated png": (encoded(noise(300, 300))[:9000], InvalidImage, "damaged or cut short"),
    "pixel": (encoded(noise(1, 1)), InvalidImage, "1 x 1 pixels; each side needs at least 2"),
    "line": (encoded(noise(1, 500)), InvalidImage, "1 x 500 pixels"),
    "bomb": (bomb(30_000), ImageTooLarge, "30000 x 30000 pixels; at most 89,000,000 .* make it smaller"),
    "small bomb": (bomb(10_000), ImageTooLarge, "10000 x 10000 pixels; at most 89,000,000"),
    "float": (encoded(Image.new("F", (9, 9)), "TIFF"), UnsupportedFormat, "'F'"),
    "tiff": (b"II*\0" + b"\0" * 20, UnsupportedFormat, "this TIFF holds a kind of pixel"),
    "heic": (b"\0\0\0\x18ftypheic\0\0\0\0", UnsupportedFormat, "HEIC"),
    "pdf": (b"%PDF-1.7 ...", UnsupportedFormat, "a PDF"),
    "svg": (b"<svg xmlns='...'/>", UnsupportedFormat, "SVG"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_bytes_say_what_is_wrong(case: str) -> None:
    """Each kind of bad file has its error and a sentence with the value."""
    data, error, sentence = BAD[case]
    with pytest.raises(error, match=sentence):
        decode(data, SPEC)


def test_a_file_over_the_byte_limit_is_refused_unread() -> None:
    """The limit on bytes names both numbers."""
    with pytest.raises(ImageTooLarge, match=r"1,234 bytes; at most 1,000"):
        decode(b"x" * 1234, SPEC, Limits(image_bytes=1000))


@settings(deadline=None, max_examples=150)
@given(
    st.one_of(
        st.binary(max_size=200),
        st.tuples(
            st.sampled_from([encoded(noise(40, 30), format) for format in FORMATS]),
            st.integers(0, 4000),
            st.binary(min_size=1, max_size=8),
        ).map(lambda parts: parts[0][: parts[1]] + parts[2] + parts[0][parts[1] + len(parts[2]) :]),
    )
)
@pytest.mark.filterwarnings("ignore")  # Pillow warns about damage that it survives
def test_fuzzed_bytes_give_pixels_or_an_invalid_image(data: bytes) -> None:
    """No bytes whatever raise anything but InvalidImage."""
    try:
        pixels = decode(data, SPEC)
    except InvalidImage:
        return
    assert pixels.shape == (224, 224, 3)
