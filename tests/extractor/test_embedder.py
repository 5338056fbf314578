"""The heart: one result per image, in order, each computed once, whatever the others are."""

import gc
import hashlib
import io
import math
import shutil
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from extractor import Embedder
from extractor.backbones.bundle import Bundle, publish
from extractor.backbones.schedule import Tuning
from extractor.backbones.session import Session, open_session, wanted
from extractor.caches import Row, key
from extractor.caches.memory import MemoryCache
from extractor.errors import (
    DamagedFile,
    DeadlineExceeded,
    ImageTooLarge,
    InvalidArgument,
    InvalidImage,
    NotFound,
    Overloaded,
    Unavailable,
)
from extractor.results import Result
from extractor.settings import DataFolder, cores


@pytest.fixture(scope="module")
def embedder(exported_data: DataFolder) -> Iterator[Embedder]:
    with Embedder(data=exported_data, provider="cpu", cache=None) as embedder:
        yield embedder


def photo(colour: str, side: int = 64) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (side, side), colour).save(stream, "PNG")
    return stream.getvalue()


def submit(embedder: Embedder, image: bytes | Path, deadline: float = math.inf) -> Future[Result]:
    (future,) = embedder.submit([image], deadline)
    return future


class Gate(threading.Event):
    """Holds every run of the network until it is set."""

    def __init__(self) -> None:
        super().__init__()
        self._held = threading.Semaphore(0)

    def hold(self) -> bool:
        self._held.release()
        return self.wait(10)

    def holds(self, number: int) -> None:
        """Wait until it holds so many runs."""
        for _ in range(number):
            assert self._held.acquire(timeout=10)


def gated(embedder: Embedder, monkeypatch: pytest.MonkeyPatch) -> Gate:
    embedder.warm()
    gate = Gate()
    run = embedder._network.batcher._run  # type: ignore[union-attr]
    monkeypatch.setattr(
        embedder._network.batcher,  # type: ignore[union-attr]
        "_run",
        lambda pixels: gate.hold() and run(pixels),
    )
    return gate


def test_a_bad_image_fails_alone_and_in_its_place(embedder: Embedder, pictures: list[Path]) -> None:
    """Good neighbours keep their vectors; a result stands where its image stood."""
    good = [file for file in pictures if file.suffix == ".jpg"]
    mixed = [good[0], b"not an image", good[1], "/no/such/file.jpg", b"", good[2]]
    results = embedder.embed(mixed)
    assert [result.ok for result in results] == [True, False, True, False, False, True]
    assert isinstance(results[1].error, InvalidImage)
    assert isinstance(results[3].error, NotFound)
    alone = [embedder.embed([image])[0].embedding for image in good[:3]]
    for found, expected in zip([results[0], results[2], results[5]], alone, strict=True):
        np.testing.assert_array_equal(found.embedding, expected)


def test_a_failed_image_is_let_go_at_once(embedder: Embedder, pictures: list[Path]) -> None:
    """Its result holds the reason and not the bytes, nor anything that waits for the garbage collector."""
    torn = pictures[0].read_bytes()[:-2000]
    before = sys.getrefcount(torn)
    gc.disable()
    try:
        (result,) = embedder.embed([torn])
        assert "damaged or cut short" in str(result.error)
        assert sys.getrefcount(torn) == before
    finally:
        gc.enable()


def test_bytes_path_and_pil_give_one_vector(embedder: Embedder, pictures: list[Path]) -> None:
    """However the image is handed over, its pixels decide."""
    file = next(file for file in pictures if file.name == "chelsea.png")
    results = embedder.embed([file, str(file), file.read_bytes(), Image.open(file)])
    for result in results[1:]:
        np.testing.assert_array_equal(result.embedding, results[0].embedding)
    assert results[0].digest == hashlib.sha256(file.read_bytes()).digest()
    assert {result.fingerprint for result in results} == {embedder.fingerprint}


@pytest.mark.parametrize("single", ["photo.jpg", b"bytes", Path("photo.jpg"), Image.new("L", (9, 9))])
def test_a_single_image_is_no_list(embedder: Embedder, single: object) -> None:
    """The first mistake in a notebook: the letters of a path are not eighteen images."""
    with pytest.raises(InvalidArgument, match=r"write embed\(\[image\]\)"):
        embedder.embed(single)  # type: ignore[arg-type]


def test_order_holds_over_many_images(embedder: Embedder) -> None:
    """Threads finish as they like; results come in the order of the images."""
    colours = [f"rgb({number}, {255 - number}, 40)" for number in range(0, 250)]
    photos = [photo(colour, 32 + number % 7) for number, colour in enumerate(colours)]
    results = list(embedder.stream(iter(photos)))
    assert [result.digest for result in results] == [hashlib.sha256(image).digest() for image in photos]


def test_stream_reads_ahead_only_a_little(embedder: Embedder) -> None:
    """A million images never lie in memory: the source is asked as results are taken."""
    asked = 0

    def photos() -> Iterator[bytes]:
        nonlocal asked
        while True:
            asked += 1
            yield photo("red", 20 + asked % 90)

    stream = embedder.stream(photos())
    next(stream)
    assert asked < 200
    stream.close()  # type: ignore[attr-defined]


def test_a_second_run_computes_nothing(data: DataFolder, pictures: list[Path]) -> None:
    """The cache on disk answers a new process's embedder, before anything is decoded or loaded."""
    with Embedder(data=data, provider="cpu") as first:
        before = first.embed(pictures)
        assert first.computed == len(pictures)
    with Embedder(data=data, provider="cpu") as second:
        after = second.embed(pictures)
        assert second.computed == 0
        assert second._network is None
    assert all(result.cached for result in after)
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one.embedding, other.embedding)


def test_two_pictures_of_one_size_are_two_keys(data: DataFolder) -> None:
    """The content is the key: not the size, not the name."""
    with Embedder(data=data, provider="cpu", cache=MemoryCache()) as embedder:
        red, blue = embedder.embed([photo("red"), photo("blue")])
        again = embedder.embed([photo("red")])[0]
    assert red.digest != blue.digest
    assert not np.array_equal(red.embedding, blue.embedding)
    np.testing.assert_array_equal(again.embedding, red.embedding)


def test_fp32_passes_over_vectors_of_a_lower_precision(exported_data: DataFolder) -> None:
    """Who asks for fp32 is never answered from bf16; who asks for nothing takes what is there."""
    cache, image = MemoryCache(), photo("green")
    rough = np.ones(1280, np.float32)
    with Embedder(data=exported_data, provider="cpu", cache=cache) as embedder:
        at = key(embedder.fingerprint, hashlib.sha256(image).digest())
        cache.put_many({at: Row("openvino/bf16", rough)})
        np.testing.assert_array_equal(embedder.embed([image])[0].embedding, rough)
    cache.put_many({at: Row("openvino/bf16", rough)})
    with Embedder(data=exported_data, provider="cpu", precision="fp32", cache=cache) as embedder:
        assert not np.array_equal(embedder.embed([image])[0].embedding, rough)
        (row,) = cache.get_many([at])
        assert row is not None
        assert row.numerics == "cpu/fp32"


def test_a_runtime_failure_is_that_image_alone(
    exported_data: DataFolder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Our own fault is a plain sentence to the caller and a trace in the log."""
    with Embedder(data=exported_data, provider="cpu", cache=None) as embedder:
        embedder.warm()
        run = embedder._network.batcher._run  # type: ignore[union-attr]

        def failing(pixels):
            if any((picture == 255).all() for picture in pixels):
                raise RuntimeError("out of magic smoke")
            return run(pixels)

        monkeypatch.setattr(embedder._network.batcher, "_run", failing)  # type: ignore[union-attr]
        results = embedder.embed([photo("red"), photo("white"), photo("blue")])
    assert [result.ok for result in results] == [True, False, True]
    assert "internal error (RuntimeError)" in str(results[1].error)
    assert "magic smoke" not in str(results[1].error)
    assert "magic smoke" in caplog.text


def test_too_much_at_once_is_refused(exported_data: DataFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over the limit on items or bytes `submit` refuses at once, and recovers."""
    with Embedder(data=exported_data, provider="cpu", cache=None, max_pending=2) as embedder:
        gate = gated(embedder, monkeypatch)
        futures = [submit(embedder, photo("red")), submit(embedder, photo("blue"))]
        with pytest.raises(Overloaded, match="2 images"):
            submit(embedder, photo("green"))
        assert embedder.load().refused == 1
        gate.set()
        assert all(future.result(10).ok for future in futures)
        assert submit(embedder, photo("green")).result(10).ok


def test_identical_images_under_way_are_computed_once(
    exported_data: DataFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many callers send the same bytes at once, and whichever of them leave."""
    with Embedder(data=exported_data, provider="cpu", cache=MemoryCache()) as embedder:
        gate = gated(embedder, monkeypatch)
        futures = [submit(embedder, photo("red")) for _ in range(20)]
        assert futures[0].cancel()
        other = submit(embedder, photo("blue"))
        gate.set()
        vectors = [future.result(10).embedding for future in futures[1:]]
        assert other.result(10).ok
    assert all(np.array_equal(vector, vectors[0]) for vector in vectors)
    assert embedder.computed == 2


def test_a_small_allowance_slows_a_stream_but_loses_nothing(exported_data: DataFolder) -> None:
    """In this process nobody sees the limit on pending work: the stream waits."""
    with Embedder(data=exported_data, provider="cpu", cache=None, max_pending=3) as embedder:
        results = embedder.embed([photo("red", 20 + number) for number in range(40)])
    assert all(result.ok for result in results)


def test_a_missing_runtime_is_said(exported_data: DataFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without ONNX Runtime the error names the three extras, and nothing hangs."""
    monkeypatch.setitem(sys.modules, "extractor.backbones.tuning", None)
    with (
        Embedder(data=exported_data, cache=None) as embedder,
        pytest.raises(InvalidArgument, match=r"one of '\.\[cpu\]'"),
    ):
        embedder.embed([photo("red")])


def test_a_cancelled_image_is_not_computed(
    exported_data: DataFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Work whose caller is gone is dropped before the network runs."""
    with Embedder(data=exported_data, provider="cpu", cache=None) as embedder:
        gate = gated(embedder, monkeypatch)
        threads = len(embedder._pool._threads)
        futures = [submit(embedder, photo("red", 20 + number)) for number in range(threads + 12)]
        cancelled = [future for future in futures[threads:] if future.cancel()]
        gate.set()
        kept: list[Result] = [future.result(10) for future in futures if not future.cancelled()]
    assert len(cancelled) == 12
    assert embedder.computed == len(kept) == threads


def test_what_is_remembered_overtakes_what_is_computed(
    data: DataFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is answered as soon as a thread is free, however many images came before it."""
    with Embedder(data=data, provider="cpu") as embedder:
        embedder.embed([photo("red")])
        gate = gated(embedder, monkeypatch)
        threads = len(embedder._pool._threads)
        answered: list[bool] = []
        futures = [submit(embedder, photo("blue", 20 + number)) for number in range(threads + 30)]
        futures.append(submit(embedder, photo("red")))
        for future in futures:
            future.add_done_callback(lambda done: answered.append(done.result().cached))
        gate.set()
        assert all(future.result(30).ok for future in futures)
    assert answered.count(True) == 1
    assert answered.index(True) < 2 * threads  # each thread may have one image under way, and end it first
    assert len(answered) == threads + 31


class CountingCache(MemoryCache):
    """Knows how many keys were asked for together."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[int] = []

    def get_many(self, keys):
        self.asked.append(len(keys))
        return super().get_many(keys)


def test_the_images_of_a_request_are_looked_up_together(exported_data: DataFolder) -> None:
    """Up to sixteen at once; one that cannot be read fails alone among them."""
    cache = CountingCache()
    images = [photo("red", 20 + number) for number in range(18)]
    images[3] = b"no picture"
    with Embedder(data=exported_data, provider="cpu", cache=cache) as embedder:
        results = [future.result(30) for future in embedder.submit(images)]
    assert [result.ok for result in results] == [number != 3 for number in range(18)]
    assert sorted(cache.asked) == [2, 16]


def test_who_comes_second_is_answered_when_the_first_has_gone(
    exported_data: DataFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two who wait for one image the first may leave, and take its bytes along."""
    with Embedder(data=exported_data, provider="cpu", cache=None) as embedder:
        gate = gated(embedder, monkeypatch)
        others = cores() - 1
        busy = [submit(embedder, photo("blue", 20 + number)) for number in range(others)]
        gate.holds(others)
        one, first, second = embedder.submit([photo("green"), photo("red"), photo("red")])
        gate.holds(1)
        assert first.cancel()
        gate.set()
        assert second.result(10).ok
        assert all(future.result(10).ok for future in [*busy, one])


def test_results_cannot_be_changed_in_place(data: DataFolder) -> None:
    """What a caller does with its vector never reaches the cache, nor another caller."""
    with Embedder(data=data, provider="cpu") as embedder:
        for _ in range(2):  # computed, then remembered
            (result,) = embedder.embed([photo("red")])
            with pytest.raises(ValueError, match="read-only"):
                result.embedding /= 2  # type: ignore[misc]


class RaisingCache(MemoryCache):
    """Every call fails in its own way."""

    def get_many(self, keys):
        raise ArithmeticError("cannot get")

    def put_many(self, rows):
        raise ZeroDivisionError("cannot put")


def test_a_cache_that_raises_only_slows(exported_data: DataFolder, caplog: pytest.LogCaptureFixture) -> None:
    """Every image is answered, and the log has the traces."""
    with Embedder(data=exported_data, provider="cpu", cache=RaisingCache()) as embedder:
        for image in (photo("red"), photo("blue"), photo("red")):
            (result,) = embedder.embed([image])
            assert result.ok
        load = embedder.load()
    assert "cannot get" in caplog.text
    assert "cannot put" in caplog.text
    assert caplog.text.count("Traceback") == 2  # of each kind one, not one an image
    assert load.cache_failures == 6


def test_lookup_gives_what_is_remembered_and_computes_nothing(data: DataFolder) -> None:
    """By digest, in order, None for what is not there."""
    with Embedder(data=data, provider="cpu") as embedder:
        (red,) = embedder.embed([photo("red")])
        found = embedder.lookup([b"\0" * 32, red.digest])
        assert embedder.computed == 1
    assert found[0] is None
    np.testing.assert_array_equal(found[1].vector, red.embedding)
    assert found[1].numerics == red.numerics == "cpu/fp32"


def test_another_network_never_runs_under_this_fingerprint(exported_data: DataFolder, tmp_path: Path) -> None:
    """A bundle that was exchanged between opening and loading is refused."""
    data = DataFolder(tmp_path)
    shutil.copytree(exported_data.backbones, data.backbones)
    path = data.backbones / "efficientnet_lite0"
    with Embedder(data=data, provider="cpu", cache=None) as embedder:
        other = tmp_path / "other"
        path.rename(other)
        old = Bundle.open(other)

        def write(draft: Path) -> None:
            for name in old.manifest.files:
                (draft / name).parent.mkdir(exist_ok=True)
                (draft / name).write_bytes(old.read(name) + (b"\0" if name.endswith(".onnx") else b""))

        publish(old.manifest, write, path)
        with pytest.raises(DamagedFile, match=r"model\.onnx"):
            embedder.embed([photo("red")])


def test_a_provider_that_fails_when_it_runs_is_passed_over(bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a GPU whose memory is full: its own kind of error becomes one of ours, and names the provider."""
    monkeypatch.setattr(Session, "run", lambda self, pixels: 1 / 0)
    with pytest.raises(Unavailable, match="cpu/fp32 cannot run the network: division by zero"):
        open_session(bundle, "cpu")


def test_after_a_fork_it_says_so(exported_data: DataFolder) -> None:
    """Its threads are in the parent: the child gets an error, not silence."""
    script = (
        "import os, sys; from extractor import Embedder; from extractor.errors import Unavailable\n"
        "embedder = Embedder(data=sys.argv[1], cache=None); embedder.embed([b''])\n"
        "child = os.fork()\n"
        "if not child:\n"
        "  try: embedder.embed([b''])\n"
        "  except Unavailable: os._exit(7)\n"
        "  os._exit(1)\n"
        "assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7"
    )
    subprocess.run([sys.executable, "-c", script, str(exported_data.root)], check=True, timeout=60)


@pytest.mark.parametrize("mode", ["CMYK", "LAB", "YCbCr", "HSV", "F", "I;16", "1", "P", "LA"])
def test_pil_images_of_any_mode_are_answered(embedder: Embedder, mode: str) -> None:
    """A mode is embedded, or fails alone with a sentence; it never breaks the job."""
    odd = Image.new(mode, (40, 40))
    first, result, last = embedder.embed([photo("red"), odd, photo("blue")])
    assert first.ok
    assert last.ok
    assert result.ok != (mode in {"LAB", "F"}), result.error
    assert result.ok or isinstance(result.error, InvalidImage)


def test_a_turned_pil_image_is_embedded_upright(embedder: Embedder, pictures: list[Path]) -> None:
    """The orientation in its EXIF travels with it."""
    file = next(file for file in pictures if file.name == "rocket.jpg")
    stream, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6
    with Image.open(file) as image:
        image.save(stream, "PNG", exif=exif)
    as_bytes, as_pil = embedder.embed([stream.getvalue(), Image.open(io.BytesIO(stream.getvalue()))])
    np.testing.assert_array_equal(as_bytes.embedding, as_pil.embedding)


def test_a_file_over_the_limit_is_not_read(exported_data: DataFolder, tmp_path: Path) -> None:
    """A sparse file of a terabyte is refused at once."""
    file = tmp_path / "huge.jpg"
    with file.open("wb") as stream:
        stream.truncate(2**40)
    with Embedder(data=exported_data, cache=None) as embedder:
        (result,) = embedder.embed([file])
    assert isinstance(result.error, ImageTooLarge)
    assert "1,099,511,627,776 bytes; at most 33,554,432" in str(result.error)


def test_a_broken_cache_only_slows(data: DataFolder, caplog: pytest.LogCaptureFixture) -> None:
    """A cache that cannot be opened is said once, and the work goes on."""
    data.cache.write_bytes(b"a file where a folder should be")
    with Embedder(data=data, provider="cpu") as embedder:
        assert embedder.embed([photo("red")])[0].ok
    assert "cannot be opened" in caplog.text


def test_a_missing_backbone_names_the_command(tmp_path: Path) -> None:
    """The way out is in the message."""
    with pytest.raises(NotFound, match="penultimate export efficientnet_lite0 --data"):
        Embedder(data=tmp_path)


def test_a_provider_that_is_not_there_is_an_error(exported_data: DataFolder) -> None:
    """Asking for CUDA never quietly gives the CPU."""
    with pytest.raises(InvalidArgument, match=r"'cuda' is not in the installed ONNX Runtime .*gpu"):
        Embedder(data=exported_data, provider="cuda")


@pytest.mark.parametrize(("provider", "precision"), [("cpu", "bf16"), ("cpu", "int8"), ("auto", "fp8")])
def test_a_precision_that_cannot_be_had_is_an_error(data: DataFolder, provider, precision) -> None:
    """At once, so that it cannot be overlooked where all images are remembered."""
    with pytest.raises(InvalidArgument, match=precision):
        Embedder(data=data, provider=provider, precision=precision)


@pytest.mark.parametrize(("precision", "imported"), [("auto", False), ("fp32", True)])
def test_what_is_left_to_us_costs_nothing_before_it_is_needed(
    exported_data: DataFolder, precision: str, imported: bool
) -> None:
    """ONNX Runtime is imported for what was named; else when the first image is computed."""
    program = (
        "import sys; from extractor import Embedder\n"
        f"with Embedder(data={str(exported_data.root)!r}, precision={precision!r}, cache=None): "
        "print('onnxruntime' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == f"{imported}\n"


def test_auto_falls_back_and_says_so(
    bundle, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A candidate that fails the golden test is passed over for the next one."""
    candidates = list(wanted("auto", "auto"))
    if len(candidates) < 2:
        pytest.skip("one provider only is installed here")
    prove = Session.prove

    def failing_first(self: Session, bundle) -> float:
        if self.numerics == candidates[0]:
            raise Unavailable("the smallest cosine is 0.5")
        return prove(self, bundle)

    monkeypatch.setattr(Session, "prove", failing_first)
    session, cosine = open_session(bundle)
    assert session.numerics == candidates[1]
    assert cosine > 0.98
    assert f"{candidates[0]} is passed over" in caplog.text


def test_a_network_that_computes_something_else_is_refused(bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """The golden test compares with the original model and names figure and bound."""
    run = Session.run
    monkeypatch.setattr(
        Session, "run", lambda self, pixels: [vector[::-1].copy() for vector in run(self, pixels)]
    )
    with pytest.raises(Unavailable, match=r"smallest cosine .* is 0\.\d+, under the bound of 0.9999"):
        open_session(bundle, "cpu")


def test_after_close_it_says_so(exported_data: DataFolder) -> None:
    """A closed embedder is unavailable, not hanging."""
    embedder = Embedder(data=exported_data, provider="cpu", cache=None)
    embedder.close()
    with pytest.raises(Unavailable, match="closed"):
        submit(embedder, photo("red"))


def test_an_image_whose_caller_no_longer_waits_is_dropped_and_counted(
    exported_data: DataFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is answered that it came too late, and never runs; one that others wait for is computed."""
    with Embedder(data=exported_data, provider="cpu", cache=None) as embedder:
        gate = gated(embedder, monkeypatch)
        running = [submit(embedder, photo("red", 20 + number)) for number in range(cores())]
        gate.holds(cores())
        soon = time.monotonic() + 0.05
        late, shared = submit(embedder, photo("blue"), soon), submit(embedder, photo("green"), soon)
        patient = submit(embedder, photo("green"))
        while time.monotonic() < soon:
            assert embedder.load().items == cores() + 3
        gate.set()
        assert all(future.result(10).ok for future in [*running, patient])
        assert isinstance(late.result(10).error, DeadlineExceeded)
        assert isinstance(shared.result(10).error, DeadlineExceeded)
        load = embedder.load()
    assert (load.computed, load.dropped, load.items, load.oldest) == (cores() + 1, 2, 0, 0)


def test_an_image_a_core_is_computed_at_once_and_two_where_files_are_waited_for(
    exported_data: DataFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many there are: more would slow down those that came first."""
    with Embedder(data=exported_data, provider="cpu", cache=None) as embedder:
        gate = gated(embedder, monkeypatch)
        coming = embedder.submit([photo("blue", 20 + number) for number in range(3 * cores())])
        gate.holds(cores())
        assert len(embedder._pool._threads) == cores()
        file = submit(embedder, exported_data.root / "no-such-file.jpg")
        gate.holds(cores())
        gate.set()
        assert all(future.result(10).ok for future in coming)
        assert isinstance(file.result(10).error, NotFound)


def test_threads_that_only_wait_are_two_a_core(exported_data: DataFolder) -> None:
    """As for runs in threads of their own: one of ours a core could not keep those busy."""
    tuning = Tuning(parallel=cores() + 1)
    with Embedder(data=exported_data, provider="cpu", cache=None, tuning=tuning) as embedder:
        embedder.warm()
        assert len(embedder._pool._threads) == 2 * cores()


def test_results_say_where_the_time_went(data: DataFolder) -> None:
    """Computed or remembered, the stages and the whole, and what computed."""
    with Embedder(data=data, provider="cpu") as embedder:
        (computed,), (remembered,) = embedder.embed([photo("red")]), embedder.embed([photo("red")])
        assert embedder.load().last_inference > 0
    times = computed.timings
    assert times.decode > 0
    assert times.inference > 0
    assert times.batch_size == 1
    assert times.waiting + times.decode + times.queue + times.inference <= times.total
    assert remembered.cached
    assert remembered.timings.batch_size == 0
    assert 0 < remembered.timings.waiting <= remembered.timings.total
    assert computed.numerics == remembered.numerics == "cpu/fp32"


def test_images_are_let_in_together_or_not_at_all(
    exported_data: DataFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refused ones are counted one by one, and nothing of them is kept or computed."""
    with Embedder(data=exported_data, provider="cpu", cache=None, max_pending=3) as embedder:
        gate = gated(embedder, monkeypatch)
        first = submit(embedder, photo("red"))
        with pytest.raises(Overloaded):
            embedder.submit([photo("blue", 20 + number) for number in range(3)])
        assert (embedder.load().items, embedder.load().refused) == (1, 3)
        gate.set()
        assert first.result(10).ok
        together = embedder.submit([photo("blue", 20 + number) for number in range(9)])
        assert all(future.result(10).ok for future in together)  # more than the limit, but alone
        assert embedder.computed == 10


def test_who_leaves_leaves_no_bytes_behind(
    exported_data: DataFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cancelled image's bytes are let go at once, not when its turn would have come."""
    with Embedder(data=exported_data, provider="cpu", cache=None) as embedder:
        gate = gated(embedder, monkeypatch)
        threads = len(embedder._pool._threads)
        running = [submit(embedder, photo("red", 20 + number)) for number in range(threads)]
        image = Image.new("RGB", (8, 8))
        gone = weakref.ref(image)
        (waiting,) = embedder.submit([image])
        del image
        assert gone() is not None
        waiting.cancel()
        assert gone() is None
        gate.set()
        assert all(future.result(10).ok for future in running)


def test_lone_slow_images_do_not_shut_an_idle_embedder(data: DataFolder) -> None:
    """How long one image takes says nothing of how many are done at once; when idle nothing is refused."""
    large = io.BytesIO()
    Image.new("RGB", (5000, 5000)).save(large, "PNG")
    with Embedder(data=data, provider="cpu", cache=None) as embedder:
        for _ in range(5):
            assert submit(embedder, large.getvalue()).result(60).ok
        assert embedder._admission.pace == 0
        embedder._admission.pace = 1000.0
        together = embedder.submit([photo("red", 20 + number) for number in range(60)], time.monotonic() + 60)
        assert all(future.result(60).ok for future in together)
        assert embedder._admission.pace < 1000 * 0.95**50
