"""One command for a machine with an NVIDIA GPU: is it really used, is it right, how fast, does it leak.

python -m benchmarks.gpu --data DIR --json FILE [--provider cuda]

For each exported bundle and each precision: the provider that really computes,
the cosines of the golden pictures, images/s over batch sizes and parallel runs,
and the GPU's memory over batches of changing sizes. Then, of the
default backbone, the service's throughput beside this process's own, decoding on all cores. The
pictures are the bundle's own. Exit codes: 0 all checks hold, 1 some do not
(they are listed), 3 there is no NVIDIA GPU, or no ONNX Runtime for it.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from benchmarks.gpu.figures import measured
from benchmarks.gpu.serving import served
from benchmarks.gpu.verdict import failures
from benchmarks.machine import describe
from extractor.backbones.bundle import Bundle
from extractor.backbones.providers import INSTALL, installed_providers
from extractor.backbones.runtimes import nvidia_card
from extractor.settings import DataFolder

NO_GPU = 3


def main() -> int:
    given = _options()
    card = nvidia_card()
    if trouble := _trouble(card, given.provider):
        print(f"nothing was measured: {trouble}", file=sys.stderr)
        return NO_GPU
    folders = sorted(given.data.backbones.glob("*/manifest.json"))
    bundles = [Bundle.open(manifest.parent) for manifest in folders]
    if given.backbones:
        bundles = [bundle for bundle in bundles if bundle.manifest.backbone in given.backbones]
    print(f"{card}; {describe()}")
    found = {
        "card": card,
        "machine": describe(),
        "bundles": {
            bundle.manifest.backbone: measured(bundle, given.data, given.provider) for bundle in bundles
        },
        "service": served(given.data, given.provider, given.images),
    }
    wrong = list(failures(found, given.provider))
    given.json.write_text(json.dumps({**found, "failures": wrong}, indent=1) + "\n")
    print("\n".join(wrong) or "all checks hold")
    return 1 if wrong else 0


def _trouble(card: str | None, provider: str) -> str:
    if card is None:
        return "there is no NVIDIA GPU that works here (nvidia-smi names none)"
    if provider not in installed_providers():
        return f"the installed ONNX Runtime has no {provider}: pip install {INSTALL[provider]}"
    return ""


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=lambda text: DataFolder(Path(text)), default=DataFolder.default())
    parser.add_argument("--json", type=Path, required=True, help="all figures go to this file")
    parser.add_argument("--provider", choices=["cuda", "tensorrt"], default="cuda")
    parser.add_argument("--backbones", type=lambda text: text.split(","), help="default: all exported")
    parser.add_argument("--images", type=int, default=4000, help="a round of the service")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
