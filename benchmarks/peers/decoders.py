"""Ways to turn a JPEG into the network's pixels, timed on one core, in turns; run by `benchmarks.decode`.

Takes a folder of photos, the number of rounds, and perhaps some of the ways, and prints JSON. Runs in the
peers' environment, ours (`extractor.images`) included, so that all share one
Python and one Pillow.
"""

from __future__ import annotations

import io
import json
import math
import random
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import cykooz_resizer as fir
import kornia_rs
import numpy as np
import pyvips
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

from benchmarks.peers.model import Model
from extractor import images
from extractor.preprocessing import Preprocessing

Pixels = NDArray[np.uint8]
SPEC = Preprocessing(224, 224, 256, "bicubic", (0.5,) * 3, (0.5,) * 3)
FAST = replace(SPEC, decode="fast")
SIDE, SHORTER = SPEC.width, SPEC.resize_shorter
BICUBIC = Image.Resampling.BICUBIC


def whole_size(width: int, height: int) -> tuple[int, int]:
    return int(SHORTER * width / min(width, height)), int(SHORTER * height / min(width, height))


def corner(width: int, height: int) -> tuple[int, int]:
    """Of the centre crop in the resized picture."""
    return round((width - SIDE) / 2), round((height - SIDE) / 2)


def box(width: int, height: int) -> tuple[float, float, float, float]:
    """The centre crop in coordinates of the original: left, top, right, bottom."""
    wide, high = whole_size(width, height)
    left, top = corner(wide, high)
    across, down = width / wide, height / high
    return left * across, top * down, (left + SIDE) * across, (top + SIDE) * down


def pillow(photo: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(photo))
    image.load()
    return image


def cropped(whole: Pixels) -> Pixels:
    left, top = corner(whole.shape[1], whole.shape[0])
    return whole[top : top + SIDE, left : left + SIDE]


def ours(photo: bytes) -> Pixels:
    return images.decode(photo, SPEC)


def ours_fast(photo: bytes) -> Pixels:
    return images.decode(photo, FAST)


def pillow_whole(photo: bytes) -> Pixels:
    image = pillow(photo).convert("RGB")
    left, top = corner(*whole_size(*image.size))
    resized = image.resize(whole_size(*image.size), BICUBIC)
    return np.asarray(resized.crop((left, top, left + SIDE, top + SIDE)))


def boxed(image: Image.Image) -> Pixels:
    return np.asarray(image.resize((SIDE, SIDE), BICUBIC, box=box(*image.size)))


def pillow_box(photo: bytes) -> Pixels:
    return boxed(pillow(photo))


def simplejpeg_pillow(photo: bytes) -> Pixels:
    return boxed(Image.fromarray(simplejpeg.decode_jpeg(photo, "RGB")))


def opencv_pillow(photo: bytes) -> Pixels:
    return boxed(Image.fromarray(opencv_decoded(photo)))


def opencv_area(photo: bytes) -> Pixels:
    pixels = opencv_decoded(photo)
    size = whole_size(pixels.shape[1], pixels.shape[0])
    return cropped(np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8))


def opencv_decoded(photo: bytes) -> Pixels:
    return np.asarray(cv2.imdecode(np.frombuffer(photo, np.uint8), cv2.IMREAD_COLOR_RGB), np.uint8)


def vips(photo: bytes) -> Pixels:
    image = pyvips.Image.new_from_buffer(photo, "", access="sequential")
    wide, high = whole_size(image.width, image.height)
    resized = image.resize(wide / image.width, vscale=high / image.height, kernel="cubic")
    left, top = corner(wide, high)
    return np.asarray(resized.crop(left, top, SIDE, SIDE).numpy(), np.uint8)


def kornia(photo: bytes) -> Pixels:
    pixels = simplejpeg.decode_jpeg(photo, "RGB")
    wide, high = whole_size(pixels.shape[1], pixels.shape[0])
    return cropped(kornia_rs.imgproc.resize(pixels, (high, wide), "bicubic", antialias=True))


RESIZER = fir.Resizer()
CATMULL_ROM = fir.ResizeAlg.convolution(fir.FilterType.catmull_rom)


def passes(width: int, height: int) -> tuple[int, Any, Any]:
    """Rows between two passes, and how each crops: across first, as Pillow does."""
    left, top, right, bottom = box(width, height)
    margin = math.ceil(2 * max(1.0, height / whole_size(width, height)[1])) + 1
    first, last = max(0, math.floor(top) - margin), min(height, math.ceil(bottom) + margin)
    across = fir.CropBox(left, first, right - left, last - first)
    down = fir.CropBox(0, top - first, SIDE, bottom - top)
    return last - first, *(fir.ResizeOptions(CATMULL_ROM, False, part) for part in (across, down))


def pillow_cykooz(photo: bytes) -> Pixels:
    image = pillow(photo)
    rows, across, down = passes(*image.size)
    narrow, pixels = Image.new("RGB", (SIDE, rows)), Image.new("RGB", (SIDE, SIDE))
    RESIZER.resize_pil(image, narrow, across)
    RESIZER.resize_pil(narrow, pixels, down)
    return np.asarray(pixels)


def simplejpeg_cykooz(photo: bytes) -> Pixels:
    decoded = simplejpeg.decode_jpeg(photo, "RGB")
    height, width, _ = decoded.shape
    kind = fir.PixelType.U8x3
    rows, across, down = passes(width, height)
    narrow, pixels = fir.ImageData(SIDE, rows, kind), fir.ImageData(SIDE, SIDE, kind)
    RESIZER.resize(fir.ImageData(width, height, kind, decoded.tobytes()), narrow, across)
    RESIZER.resize(narrow, pixels, down)
    return np.frombuffer(pixels.get_buffer(), np.uint8).reshape(SIDE, SIDE, 3)


WAYS: dict[str, Callable[[bytes], Pixels]] = {
    "ours": ours,
    "ours, fast profile": ours_fast,
    "Pillow: resize all, crop": pillow_whole,
    "Pillow: resize with a box": pillow_box,
    "simplejpeg, Pillow": simplejpeg_pillow,
    "OpenCV, Pillow": opencv_pillow,
    "OpenCV: INTER_AREA": opencv_area,
    "pyvips: cubic": vips,
    "simplejpeg, kornia-rs": kornia,
    "Pillow, cykooz-resizer": pillow_cykooz,
    "simplejpeg, cykooz-resizer": simplejpeg_cykooz,
}


def seconds(way: Callable[[bytes], Pixels], photos: Sequence[bytes]) -> float:
    """Processor seconds an image, all threads counted."""
    begun = time.process_time()
    for photo in photos:
        way(photo)
    return (time.process_time() - begun) / len(photos)


def difference(way: Callable[[bytes], Pixels], photos: Sequence[bytes], model: Model) -> dict[str, float]:
    """From resizing the whole picture with Pillow: the pixels' values, and the vectors."""
    found, right = ([act(photo) for photo in photos] for act in (way, pillow_whole))
    apart = np.abs(np.stack(found).astype(int) - np.stack(right))
    vectors = [[np.frombuffer(model.infer(pixels), "<f4") for pixels in all_] for all_ in (found, right)]
    cosines = [a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in zip(*vectors, strict=True)]
    return {"most": int(apart.max()), "share": float((apart > 0).mean()), "cosine": float(min(cosines))}


def main(folder: str, rounds: int, *names: str) -> None:
    cv2.setNumThreads(1)
    photos = [file.read_bytes() for file in sorted(Path(folder).iterdir())]
    ways = {name: WAYS[name] for name in names or WAYS}
    times: dict[str, list[float]] = {name: [] for name in ways}
    with ThreadPoolExecutor(
        1
    ) as thread:  # as servers decode: the main thread's memory is trimmed all the time
        for number in range(rounds):  # in another order each: a way inherits its memory from the one before
            for name, way in random.Random(number).sample([*ways.items()], len(ways)):
                times[name].append(thread.submit(seconds, way, photos).result())
    model = Model()
    apart = {name: difference(way, photos[:20], model) for name, way in ways.items()}
    json.dump({name: {"seconds": times[name], **apart[name]} for name in ways}, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:])
