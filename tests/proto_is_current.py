"""Whether `extractor/_pb` says what `proto/` says: part of `make check`.

Compares meaning, not text: releases of the generator write the same
contract differently.
"""

from __future__ import annotations

import importlib
import subprocess
import sys
import tempfile
from pathlib import Path

from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorProto, FileDescriptorSet

from tests.generate_proto import MAPPING, PROTOS, ROOT


def declared() -> list[FileDescriptorProto]:
    """What the .proto files say."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "set"
        command = [sys.executable, "-m", "grpc_tools.protoc", MAPPING, f"--descriptor_set_out={out}"]
        subprocess.run([*command, *map(str, PROTOS)], cwd=ROOT, check=True)
        return list(FileDescriptorSet.FromString(out.read_bytes()).file)


def generated(name: str) -> FileDescriptorProto:
    """What the committed code for one .proto file says."""
    module = importlib.import_module(name.removesuffix(".proto").replace("/", ".") + "_pb2")
    return FileDescriptorProto.FromString(module.DESCRIPTOR.serialized_pb)


def stale() -> list[str]:
    """The .proto files whose generated code says something else."""
    return [file.name for file in declared() if _plain(file) != _plain(generated(file.name))]


def _plain(file: FileDescriptorProto) -> FileDescriptorProto:
    """Without the JSON names, which only one of the two writes out."""
    for message in file.message_type:
        _drop_json_names(message)
    return file


def _drop_json_names(message: DescriptorProto) -> None:
    for field in message.field:
        field.ClearField("json_name")
    for nested in message.nested_type:
        _drop_json_names(nested)


if __name__ == "__main__":
    if names := stale():
        sys.exit(f"generated code is not current: {', '.join(names)}; run `make proto`")
