"""Measurements of a network's speed, remembered for the machine on which they were made."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import onnxruntime as ort

from extractor.backbones import quantised
from extractor.backbones.bundle import Bundle
from extractor.backbones.providers import Numerics
from extractor.backbones.runtimes import nvidia_card
from extractor.backbones.schedule import LARGEST_BATCH, Schedule
from extractor.folders import publishing
from extractor.settings import DataFolder, cores

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Measured:
    """One line of the table.

    Attributes
    ----------
    batch_size : int
        Images of a run.
    parallel : int
        Runs at once.
    images_per_second : float
        Of all of them together.
    p50, p99 : float
        Seconds of a run.
    share : float
        Processor seconds that this process had, a second and run: under one
        where a run waits, as for a GPU, or where other work took the processor.
    memory : int
        Bytes in use by then: of the GPU where one computes, else resident of this
        process, with all else that it holds; 0 when it is not known.
    """

    batch_size: int
    parallel: int
    images_per_second: float
    p50: float
    p99: float
    share: float
    memory: int = 0

    def __post_init__(self) -> None:
        times = (self.images_per_second, self.p50, self.p99, self.share, self.memory)
        counts = self.batch_size in range(1, LARGEST_BATCH + 1) and self.parallel in range(1, 4096)
        if not (counts and all(isinstance(value, int | float) and value >= 0 for value in times)):
            raise ValueError(f"not a measurement: {self}")

    @property
    def schedule(self) -> Schedule:
        """What was measured."""
        return Schedule(self.batch_size, self.parallel)

    def __str__(self) -> str:
        times = f"p50 {self.p50 * 1e3:.1f} ms, p99 {self.p99 * 1e3:.1f} ms"
        return f"{self.schedule}: {self.images_per_second:.0f} images/s, {times} a run"


class Measurements:
    """What was measured of one bundle under one bound on the latency, a small file for each numerics.

    A file that is missing, damaged or was made elsewhere is as if it were not
    there.

    Parameters
    ----------
    data : DataFolder
    bundle : Bundle
    latency_bound : float
        Seconds; measuring ended there.
    """

    def __init__(self, data: DataFolder, bundle: Bundle, latency_bound: float) -> None:
        self.latency_bound = latency_bound
        self.data = data
        self._folder = data.tuning
        self._bundle = bundle

    def read(self, numerics: Numerics) -> list[Measured]:
        """What is remembered; nothing when it is not known for this machine as it is."""
        circumstances = self._circumstances(numerics)
        try:
            facts = json.loads(self._file(circumstances).read_text(encoding="utf-8"))
            if facts["format"] != FORMAT or facts["circumstances"] != circumstances:
                return []
            return [Measured(**row) for row in facts["table"]]
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return []

    def write(self, numerics: Numerics, table: Sequence[Measured]) -> None:
        """Remember `table`.

        Raises
        ------
        OSError
            When it cannot be written.
        """
        circumstances = self._circumstances(numerics)
        rows = [asdict(row) for row in table]
        facts = {"format": FORMAT, "circumstances": circumstances, "table": rows}
        with publishing(self._file(circumstances)) as draft:
            draft.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")

    def _file(self, circumstances: dict[str, object]) -> Path:
        digest = hashlib.sha256(json.dumps(circumstances, sort_keys=True).encode()).hexdigest()
        return self._folder / f"{str(circumstances['numerics']).replace('/', '-')}-{digest[:16]}.json"

    def _circumstances(self, numerics: Numerics) -> dict[str, object]:
        """All that the figures depend on; an int8 graph is another after each calibration."""
        int8 = numerics.precision == "int8"
        return {
            **({"graph": quantised.sha256(self.data, self._bundle, numerics.provider)} if int8 else {}),
            "fingerprint": self._bundle.fingerprint,
            "numerics": str(numerics),
            "processor": _processor(numerics),
            "cores": cores(),
            "onnxruntime": ort.__version__,
            "latency_bound": self.latency_bound,
        }


def _processor(numerics: Numerics) -> str:
    """The name of what computes, as its maker calls it."""
    if numerics.on_gpu:
        return nvidia_card() or "unknown GPU"
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())
