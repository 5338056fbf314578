"""Generates `extractor/_pb` from `proto/`: `make proto`.

With the oldest tools that pyproject.toml allows, in an environment of their
own: generated code refuses to run on an older protobuf than its generator's,
so newer tools would shut out users without any gain.
"""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROTOS = sorted(path.relative_to(ROOT) for path in ROOT.glob("proto/**/*.proto"))
TOOLS = "grpcio-tools==1.78.0"
# The mapping makes the generated imports begin with `extractor._pb`: a package named `proto` would
# hide another of that name.
MAPPING = "-Iextractor/_pb=proto"
PUBLIC = ROOT / "extractor/_pb/inference/open_inference_pb2.py"
"""A public protocol, for which other packages in a process (tritonclient) bring code of their own."""


def main() -> None:
    python = ROOT / ".venv-proto" / "bin" / "python"
    if not python.exists():
        venv.create(python.parents[1], with_pip=True)
    run = [str(python), "-m"]
    subprocess.run([*run, "pip", "install", "--quiet", TOOLS], check=True)
    outputs = ["--python_out=.", "--pyi_out=.", "--grpc_python_out=."]
    subprocess.run([*run, "grpc_tools.protoc", MAPPING, *outputs, *map(str, PROTOS)], cwd=ROOT, check=True)
    give_own_pool(PUBLIC)


def give_own_pool(module: Path) -> None:
    """Keep the module's names out of the pool that a process shares, where each may be defined only once."""
    before, shared, after = module.read_text().partition("_descriptor_pool.Default()")
    if not shared or shared in after:
        raise SystemExit(f"{module} does not name the shared pool once, as expected of its generator")
    module.write_text(f"{before}_descriptor_pool.DescriptorPool(){after}")


if __name__ == "__main__":
    sys.exit(main())
