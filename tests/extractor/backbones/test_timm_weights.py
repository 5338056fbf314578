"""A checkpoint of any shape that timm can load gives the weights that timm loads, all of them."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from extractor.backbones.export import networks
from extractor.backbones.export.timm_models import find
from extractor.errors import InvalidArgument

State = dict[str, Any]


@pytest.fixture(autouse=True, scope="module")
def _torchvision_imports() -> None:
    networks.import_torchvision()


def state_of(architecture: str, seed: int = 1) -> State:
    """Weights that nothing else has: those of before the training are partly constants."""
    import timm
    import torch

    dice = torch.Generator().manual_seed(seed)
    state = timm.create_model(architecture).state_dict()
    return {name: _random(tensor, dice) for name, tensor in state.items()}


def _random(tensor: Any, dice: Any) -> Any:
    import torch

    return torch.rand(tensor.shape, generator=dice) if tensor.is_floating_point() else tensor


def loaded(name: str, content: Any, folder: Path) -> State:
    """What the network has of a file that holds `content`."""
    import torch

    torch.save(content, folder / "w.pth")
    state: State = networks.original(find(name), folder / "w.pth").state_dict()
    return state


def same(found: State, expected: State) -> bool:
    import torch

    return found.keys() == expected.keys() and all(
        torch.equal(found[name], tensor) for name, tensor in expected.items()
    )


def renamed(state: State, prefix: str) -> State:
    return {prefix + name: tensor for name, tensor in state.items()}


def ijepa(state: State, other: State) -> State:
    """As its authors' training saves it: three networks, of several processes, and the optimiser's state."""
    return {
        "encoder": renamed(state, "module."),
        "predictor": renamed(other, "module."),
        "target_encoder": renamed(other, "module."),
        "opt": {"state": {0: {"step": 3.0, "exp_avg": other["norm.bias"]}}, "param_groups": [{"lr": 1e-3}]},
        "scaler": None,
        "epoch": 300,
        "loss": 0.1,
        "batch_size": 2048,
        "world_size": 16,
        "lr": 1e-3,
    }


def trained_by_timm(state: State, other: State) -> State:
    """As its own training script saves it: the averaged weights are those that it evaluates."""
    return {
        "epoch": 3,
        "arch": "test_vit",
        "state_dict": renamed(other, "module."),
        "optimizer": {"state": {}, "param_groups": [{"lr": 1e-3}]},
        "version": 2,
        "args": argparse.Namespace(model="test_vit", lr=1e-3),
        "metric": 77.0,
        "state_dict_ema": renamed(state, "module."),
    }


def open_clip(state: State, other: State) -> State:
    """An image tower beside one for text; the projection is where the classifier was."""
    import torch

    body = {name: tensor for name, tensor in state.items() if not name.startswith("head.")}
    state["head.bias"] = torch.zeros_like(state["head.bias"])
    return {
        **renamed(body, "visual.trunk."),
        "visual.head.proj.weight": state["head.weight"],
        "text.transformer.weight": other["norm.bias"],
        "logit_scale": torch.tensor(4.6),
    }


def compiled(state: State, _other: State) -> State:
    return {"model": renamed(state, "_orig_mod.module.")}


@pytest.mark.parametrize("published", [ijepa, trained_by_timm, open_clip, compiled])
def test_a_checkpoint_is_unpacked_as_timm_does(
    published: Callable[[State, State], State], tmp_path: Path
) -> None:
    """Each tensor is that of the right network in the file, whatever else is in there."""
    state, other = state_of("test_vit"), state_of("test_vit", seed=2)
    assert same(loaded("timm/test_vit", published(state, other), tmp_path), state)


def test_the_published_tensors_of_ijepa_are_those_of_timm_s_networks() -> None:
    """The encoder has no class token and no classifier, and its last norm is before the mean."""
    import timm
    import torch

    with torch.device("meta"):
        names = timm.create_model("vit_huge_patch14_gap_224.in1k_ijepa").state_dict().keys()
    block = ("norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2")
    layers = [f"blocks.{depth}.{layer}" for depth in range(32) for layer in block]
    published = {
        f"{layer}.{kind}" for layer in [*layers, "norm", "patch_embed.proj"] for kind in ("weight", "bias")
    }
    assert names == published | {"pos_embed"}


def test_positions_of_another_size_become_what_timm_makes_of_them(tmp_path: Path) -> None:
    """Weights of 384 px in the network for 224: interpolated, as when timm itself loads them."""
    import timm
    from timm.models.vision_transformer import checkpoint_filter_fn

    state = state_of("vit_tiny_patch16_384")
    network: Any = timm.create_model("vit_tiny_patch16_224")
    expected = checkpoint_filter_fn(dict(state), network)
    assert expected["pos_embed"].shape == (1, 197, 192) != state["pos_embed"].shape
    assert same(loaded("timm/vit_tiny_patch16_224", state, tmp_path), expected)


def test_old_files_know_nothing_of_the_number_of_batches(tmp_path: Path) -> None:
    """They are older than that count, which no inference looks at."""
    state = state_of("test_resnet")
    old = {name: tensor for name, tensor in state.items() if not name.endswith("num_batches_tracked")}
    assert len(old) < len(state)
    assert same(loaded("timm/test_resnet", old, tmp_path), state)


def test_a_family_that_timm_loads_in_part_is_loaded_as_a_whole_or_refused(tmp_path: Path) -> None:
    """DLA's published files hold layers that are never used; one that is used must be there."""
    import torch

    state = state_of("dla46_c")
    unused = {"level3.project.0.weight": torch.zeros(3), "level3.project.1.bias": torch.zeros(3)}
    assert same(loaded("timm/dla46_c", state | unused, tmp_path), state)
    del state["base_layer.0.weight"]
    sentence = r"these are not weights of timm/dla46_c: base_layer\.0\.weight \(16, 3, 7, 7\) is missing"
    with pytest.raises(InvalidArgument, match=sentence):
        loaded("timm/dla46_c", state | unused, tmp_path)
    with pytest.raises(
        InvalidArgument, match=r"not weights of timm/dla46_c: .* is missing; .*; and \d+ more"
    ):
        loaded("timm/dla46_c", state_of("test_vit"), tmp_path)


def test_what_is_named_is_what_timm_left_of_a_checkpoint(tmp_path: Path) -> None:
    """Not the names in the file, of which none is the network's."""
    state = state_of("test_vit")
    del state["norm.bias"]
    with pytest.raises(InvalidArgument, match=r"timm/test_vit: norm\.bias \(64,\) is missing$"):
        loaded("timm/test_vit", ijepa(state, state | {"norm.bias": state["norm.weight"]}), tmp_path)


@pytest.mark.parametrize(
    "content", [{}, {"epoch": 3}, [1, 2], {"model": {"encoder": {"epoch": 3}}}, {"state_dict": None}, "text"]
)
def test_a_file_without_any_tensor_is_refused(content: Any, tmp_path: Path) -> None:
    """Whatever else timm would make of it."""
    with pytest.raises(InvalidArgument, match=r"holds no state dict|cannot be read as weights"):
        loaded("timm/test_vit", content, tmp_path)


@pytest.mark.parametrize("content", [{"encoder": 3}, {"encoder": [1]}])
def test_a_checkpoint_that_no_filter_understands_is_refused(content: Any, tmp_path: Path) -> None:
    """The filters raise anything; the answer names what is not there."""
    import torch

    with pytest.raises(InvalidArgument, match=r"not weights of timm/test_vit: .* is missing"):
        loaded("timm/test_vit", content | {"some": torch.zeros(2)}, tmp_path)
