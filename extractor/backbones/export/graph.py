"""From a PyTorch network to an ONNX file: uint8 pictures in, embeddings out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from extractor.backbones.onnx_file import BATCH, INLINE_BYTES, first_line, write_model
from extractor.errors import InvalidArgument
from extractor.preprocessing import Preprocessing

if TYPE_CHECKING:
    import torch

# The lowest in which the exporter writes this network without converting; ONNX Runtime has it since 1.14.
_OPSET = 18


def write_graph(
    embedding: torch.nn.Module, spec: Preprocessing, file: Path, inline_bytes: int = INLINE_BYTES
) -> None:
    """Write the ONNX file: uint8 [n, height, width, 3] in, float32 [n, dim] out.

    Parameters
    ----------
    embedding : torch.nn.Module
        In evaluation mode: normalised float32 [n, 3, height, width] to [n, dim].
    spec : Preprocessing
        Its size, mean and deviation go into the graph.
    file, inline_bytes
        See `write_model`.

    Raises
    ------
    InvalidArgument
        When PyTorch cannot write this network, or what it wrote is not for inference.
    """
    write_model(_traced(embedding, spec), file, inline_bytes)


def _traced(embedding: torch.nn.Module, spec: Preprocessing) -> Any:
    """The graph as an onnx.ModelProto, the same for the same network and versions."""
    import torch

    try:
        program = torch.onnx.export(
            _from_pixels(embedding, spec),
            (torch.zeros(2, spec.height, spec.width, 3, dtype=torch.uint8),),
            dynamo=True,
            opset_version=_OPSET,
            input_names=["images"],
            output_names=["embeddings"],
            dynamic_shapes=({0: torch.export.Dim(BATCH, min=1)},),
            optimize=True,
            verbose=False,
        )
    except torch.onnx.OnnxExporterError as error:
        reason = first_line(error.__cause__ or error)  # the error itself is a page of advice to developers
        raise InvalidArgument(f"PyTorch cannot write this network as an ONNX graph: {reason}") from error
    assert program is not None
    model = program.model_proto
    _shorten(model.graph)
    return model


def pooled(network: Any) -> torch.nn.Module:
    """From normalised pictures to the mean of the network's last map of features."""
    import torch

    class Pooled(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, pictures: torch.Tensor) -> torch.Tensor:
            # timm's pooling layer gives the same, but is exported as a slow gather of every element
            return torch.as_tensor(self.network.forward_features(pictures).mean((2, 3)))

    return Pooled().eval()


def _from_pixels(embedding: torch.nn.Module, spec: Preprocessing) -> torch.nn.Module:
    """The network from raw pixels to the embedding."""
    import torch

    class FromPixels(torch.nn.Module):
        mean: torch.Tensor
        scale: torch.Tensor

        def __init__(self) -> None:
            super().__init__()
            self.embedding = embedding
            self.register_buffer("mean", 255 * torch.tensor(spec.mean).view(3, 1, 1))
            self.register_buffer("scale", 1 / (255 * torch.tensor(spec.std).view(3, 1, 1)))

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            pixels = images.permute(0, 3, 1, 2).float()
            return torch.as_tensor(self.embedding((pixels - self.mean) * self.scale))

    return FromPixels().eval()


def _shorten(graph: Any) -> None:
    """Call weights as the embedding itself calls them, not by their place in what is put around it."""
    taken = {tensor.name for tensor in graph.initializer}
    names = {name: name.removeprefix("embedding.") for name in taken}
    names = {name: short for name, short in names.items() if short not in taken}
    for tensor in graph.initializer:
        tensor.name = names.get(tensor.name, tensor.name)
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
