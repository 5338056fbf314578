"""What computes: the providers of ONNX Runtime, the precisions each has, and what each is told.

Three builds of ONNX Runtime exist (plain, OpenVINO, GPU); which one is
installed decides which providers can be had.
"""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import onnxruntime as ort

from extractor.backbones import quantised, rewriting
from extractor.backbones.bundle import MODEL, MODEL_DATA, Bundle
from extractor.backbones.runtimes import has_bf16, has_fp16, nvidia_card
from extractor.backbones.schedule import ON_GPU
from extractor.errors import InvalidArgument, Unavailable
from extractor.settings import DataFolder, cores

ONNX_NAMES = {
    "cpu": "CPUExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}
INSTALL = {"cpu": "'.[cpu]'", "openvino": "'.[openvino]'", "cuda": "'.[gpu]'", "tensorrt": "'.[gpu]'"}


_FASTEST_FIRST = {
    "tensorrt": ("fp16", "fp32"),
    "cuda": ("fp16", "fp32"),
    "openvino": ("bf16", "fp16", "int8", "fp32"),
    "cpu": ("int8", "fp32"),
}
_CAN_TELL_NODES = hasattr(ort.InferenceSession, "get_provider_graph_assignment_info")
"""Whether a session can be asked which node is computed where: from ONNX Runtime 1.24 on."""

_HINTS = {"fp32": "f32", "bf16": "bf16", "fp16": "f16", "int8": "f32"}
"""OpenVINO's words; an int8 graph says itself what is computed in int8."""


class Numerics(NamedTuple):
    """What computes: a provider and a precision."""

    provider: str
    precision: str

    def __str__(self) -> str:
        return f"{self.provider}/{self.precision}"

    @property
    def on_gpu(self) -> bool:
        """Whether a GPU computes, to which pictures have to be copied, and which wants batches."""
        return self.provider in ON_GPU


def installed_providers() -> list[str]:
    """Our names of the providers that the installed ONNX Runtime has."""
    available = ort.get_available_providers()
    return [name for name, onnx_name in ONNX_NAMES.items() if onnx_name in available]


def wanted(
    provider: str, precision: str, bundle: Bundle | None = None, data: DataFolder | None = None
) -> Iterator[Numerics]:
    """What to try, as a rule the fastest first, among what is installed and was asked for.

    Parameters
    ----------
    provider, precision : str
        A name, or `auto`: that takes int8 only where a calibrated graph was
        kept, and TensorRT only where its engine was built before.
    bundle : Bundle, optional
    data : DataFolder, optional
        Where such graphs and engines of the bundle are.

    Raises
    ------
    InvalidArgument
        When what was named cannot be had here; says why.
    """
    found = False
    if provider != "auto" and provider not in installed_providers():
        raise InvalidArgument(_not_to_be_had(provider, precision))
    for candidate, precisions in _FASTEST_FIRST.items():
        if provider in ("auto", candidate) and candidate in installed_providers():
            for kind in precisions:
                numerics = Numerics(candidate, kind)
                if precision in ("auto", kind) and _ready(numerics, provider, precision, bundle, data):
                    found = True
                    yield numerics
    if not found:
        raise InvalidArgument(_not_to_be_had(provider, precision))


def _ready(
    numerics: Numerics, provider: str, precision: str, bundle: Bundle | None, data: DataFolder | None
) -> bool:
    """Whether these numerics are there; what was named by the user need only be possible.

    Raises
    ------
    InvalidArgument
        When both were named and are not what they would be called.
    """
    if numerics.precision == "int8":
        return quantised.is_kept(data, bundle, numerics.provider)
    if numerics.provider == "tensorrt":
        return provider == "tensorrt" or _is_built(data, bundle, numerics.precision)
    if numerics.provider == "openvino":
        return _computes(numerics.precision, named=(provider, precision) == numerics)
    return True


def _is_built(data: DataFolder | None, bundle: Bundle | None, precision: str) -> bool:
    return bool(data and bundle and any(_engines(data, bundle, precision).glob("*/*.engine")))


def _computes(precision: str, *, named: bool) -> bool:
    """Whether the processor has instructions for it: OpenVINO takes the word and computes fp32 without."""
    if precision not in ("bf16", "fp16"):
        return True
    has = has_bf16() if precision == "bf16" else has_fp16()
    if named and not has:
        raise InvalidArgument(
            f"this processor has no {precision} instructions (avx512_{precision} or amx_{precision}), so "
            "OpenVINO would compute fp32 under another name: use --precision fp32, or auto"
        )
    return has


def _not_to_be_had(provider: str, precision: str) -> str:
    """Why nothing is left to try, in a sentence with the way out."""
    have = ", ".join(installed_providers())
    if provider not in ("auto", *installed_providers()):
        return (
            f"the provider {provider!r} is not in the installed ONNX Runtime (it has: {have}); in a new "
            f"environment, pip install {INSTALL.get(provider, 'one of ' + ', '.join(INSTALL.values()))}"
        )
    if precision == "int8":
        return (
            f"no int8 graph of this backbone is kept for the provider {provider!r}: "
            "`penultimate tune --calibrate FOLDER --precision int8` makes one of your own images"
        )
    return f"no provider here computes with precision {precision!r} (provider {provider}, installed: {have})"


def prepare(provider: str) -> None:
    """Load the libraries that a GPU's provider needs and that pip put where no linker looks.

    Raises
    ------
    Unavailable
        When ONNX Runtime is too old to say what CUDA left to the CPU.
    """
    if provider == "cuda" and not _CAN_TELL_NODES:
        raise Unavailable(
            f"ONNX Runtime {ort.__version__} cannot say which nodes CUDA leaves to the CPU: "
            "pip install 'onnxruntime-gpu[cuda,cudnn]>=1.24'"
        )
    if provider in ON_GPU:
        ort.preload_dlls()
    if provider == "tensorrt":
        with suppress(ImportError):  # then they are where the linker looks, or it will say so
            importlib.import_module("tensorrt_libs")


def graph(bundle: Bundle, numerics: Numerics, data: DataFolder | None = None) -> bytes:
    """The ONNX model that computes so.

    Raises
    ------
    DamagedFile, Unavailable
        When it is not what was written, or cannot be made.
    """
    if numerics.precision == "int8":
        return quantised.read(data, bundle, numerics.provider)
    rewrite = _rewriting(numerics)
    if rewrite:
        rewriting.check_size(bundle)  # before two gigabytes are read in vain
    plain = bundle.read(MODEL)  # the very bytes that the fingerprint speaks of
    beside = bundle.path if MODEL_DATA in bundle.manifest.files else None
    if beside:
        bundle.check(MODEL_DATA)  # ONNX Runtime reads this file itself
    return rewrite(plain, beside) if rewrite else plain


def _rewriting(numerics: Numerics) -> Callable[[bytes, Path | None], bytes] | None:
    """How the provider wants the graph changed; None where it takes it as it is."""
    if numerics == ("cuda", "fp16"):
        return rewriting.half
    return rewriting.cast_first if numerics.provider == "tensorrt" else None


def tells_nodes(numerics: Numerics) -> bool:
    """Whether a session is asked which node is computed where; beside CUDA the CPU may compute shapes."""
    return numerics.provider == "cuda"


def session_options(bundle: Bundle, numerics: Numerics, sizes: tuple[int, ...]) -> ort.SessionOptions:
    """What every provider is told; `sizes` are those of the batches that there will be."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    if len(sizes) == 1 and numerics.provider != "tensorrt":  # a fixed batch lets memory be planned once
        options.add_free_dimension_override_by_name("n", sizes[0])
    for key, value in _entries(bundle, numerics).items():
        options.add_session_config_entry(key, value)
    return options


def _entries(bundle: Bundle, numerics: Numerics) -> dict[str, str]:
    entries = {}
    if MODEL_DATA in bundle.manifest.files:  # the graph comes from memory, which has no folder
        entries["session.model_external_initializers_file_folder_path"] = str(bundle.path)
    if numerics.provider in ("openvino", "tensorrt"):  # falling back to the plain CPU is else only a log line
        entries["session.disable_cpu_ep_fallback"] = "1"
    if tells_nodes(numerics):
        entries["session.record_ep_graph_assignment_info"] = "1"
    return entries


def provider_options(
    bundle: Bundle, numerics: Numerics, sizes: tuple[int, ...], data: DataFolder | None = None
) -> dict[str, str]:
    """What the provider itself is told."""
    match numerics.provider:
        case "openvino":
            return _openvino_options(numerics.precision)
        case "cuda":
            return {"use_tf32": "0", "arena_extend_strategy": "kSameAsRequested"}
        case "tensorrt":
            return _tensorrt_options(bundle, numerics.precision, sizes, data)
    return {}


def _openvino_options(precision: str) -> dict[str, str]:
    threads = str(cores())
    config = {
        "INFERENCE_PRECISION_HINT": _HINTS[precision],
        "NUM_STREAMS": threads,
        "INFERENCE_NUM_THREADS": threads,
    }
    return {"device_type": "CPU", "load_config": json.dumps({"CPU": config})}


def _tensorrt_options(
    bundle: Bundle, precision: str, sizes: tuple[int, ...], data: DataFolder | None
) -> dict[str, str]:
    """One engine for all batch sizes, best at the largest; kept on disk, since building it takes minutes."""
    name, picture = rewriting.input_name(bundle.read(MODEL)), bundle.manifest.preprocessing
    shapes = [f"{name}:{size}x{picture.height}x{picture.width}x3" for size in (sizes[0], sizes[-1])]
    options = {
        "trt_fp16_enable": str(int(precision == "fp16")),
        "trt_profile_min_shapes": shapes[0],
        "trt_profile_opt_shapes": shapes[1],
        "trt_profile_max_shapes": shapes[1],
    }
    if data:
        folder = _engines(data, bundle, precision)
        (folder / str(sizes[-1])).mkdir(parents=True, exist_ok=True)
        options |= {"trt_engine_cache_enable": "1", "trt_engine_cache_path": str(folder / str(sizes[-1]))}
        options |= {"trt_timing_cache_enable": "1", "trt_timing_cache_path": str(folder)}
    return options


def _engines(data: DataFolder, bundle: Bundle, precision: str) -> Path:
    """Where TensorRT's engines are: each is for one card, one network and one precision."""
    card = re.sub(r"[^A-Za-z0-9]+", "-", nvidia_card() or "unknown")
    return data.graphs / bundle.fingerprint / f"tensorrt-{precision}-{card}"
