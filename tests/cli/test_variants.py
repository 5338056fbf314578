"""Layers are listed, and variants are made and used by their names."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner

from extractor.backbones.export.layers import Output
from extractor.backbones.variant import Variant
from extractor.cli.main import penultimate as commands
from extractor.cli.variants import variant_options
from extractor.errors import InvalidArgument

VARIANT = "efficientnet_lite0@blocks.1-avg+blocks.2-max@96px"


def test_the_layers_of_a_backbone_are_listed(penultimate) -> None:
    """A line each, in the order of the run; the same as JSON."""
    done = penultimate("backbones", "efficientnet_lite0", "--layers", "--size", "96")
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    assert lines[0] == ["layer", "output", "kind", "module"]
    assert ["blocks.4", "112", "x", "6", "x", "6", "map", "Sequential"] in lines
    (usual,) = (line for line in done.stdout.splitlines() if line.endswith("(the usual one)"))
    assert usual.startswith("global_pool ")
    done = penultimate("backbones", "efficientnet_lite0", "--layers", "--size", "96", "--json")
    rows = json.loads(done.stdout)
    assert len(rows) == len(lines) - 1
    assert rows[0]["layer"] == "conv_stem"
    assert {
        "layer": "blocks.4",
        "module": "Sequential",
        "shape": [112, 6, 6],
        "kind": "map",
        "class_token": False,
    } in rows


@pytest.mark.parametrize(
    ("words", "reason", "code"),
    [
        (["--layers"], "--layers needs the NAME of a backbone", 2),
        (["vgg16", "--size", "96"], "--size is for --layers", 2),
        (["no_such_network", "--layers"], "there is no backbone 'no_such_network'", 1),
    ],
)
def test_a_list_that_cannot_be_is_refused(penultimate, words: list[str], reason: str, code: int) -> None:
    """With what is missing."""
    done = penultimate("backbones", *words)
    assert done.returncode == code
    assert reason in done.stderr


def test_without_torch_the_layers_cannot_be_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    """One sentence says what to install."""
    monkeypatch.setitem(sys.modules, "torch", None)
    done = CliRunner().invoke(commands, ["backbones", "efficientnet_lite0", "--layers"])
    assert isinstance(done.exception, InvalidArgument)
    assert "needs torch, not installed here: run `pip install '.[export]'`" in str(done.exception)


@pytest.mark.parametrize("layer", ["global_pool", "global_pool:avg"])
def test_the_usual_layer_by_its_name_is_the_plain_backbone(layer: str) -> None:
    """Not a bundle of its own with the same vectors; beside another layer it is one of two."""

    @click.command()
    @variant_options
    def named(variant: Variant) -> None:
        click.echo(f"<{variant.suffix}>")

    run = CliRunner().invoke
    assert run(named, ["--layer", layer]).output == "<>\n"
    assert run(named, ["--layer", f"{layer},blocks.1"]).output == "<@global_pool-avg+blocks.1-avg>\n"


def test_a_usual_layer_that_is_no_module_is_listed_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks of torchvision have no module of that name."""
    monkeypatch.setattr(
        "extractor.cli.variants._layers_of", lambda *_: [Output("conv", "Conv2d", (8,), "vector")]
    )
    done = CliRunner().invoke(commands, ["backbones", "resnet50", "--layers"])
    assert done.output.splitlines()[-1].split() == ["global_pool", "vector", "(the", "usual", "one)"]


def test_a_variant_is_made_and_used_by_its_name(penultimate, pictures: list[Path], tmp_path: Path) -> None:
    """Before the export its name is answered with the command that makes it; what it cannot do is said."""
    cat = next(file for file in pictures if file.name == "chelsea.png")
    own = ("--data", str(tmp_path / "own"))
    embed = ("embed", str(cat), "--backbone", VARIANT, "--out", "cat.npz", *own)
    done = penultimate(*embed)
    assert done.returncode == 1
    options = (
        "export",
        "efficientnet_lite0",
        "--layer",
        "blocks.1:avg",
        "--layer",
        "blocks.2:max",
        "--size",
        "96",
    )
    assert f"run `penultimate {' '.join(options)} --data " in done.stderr

    done = penultimate("export", "--layer", "blocks.1,blocks.2:max", "--size", "96", "--json", *own)
    assert done.returncode == 0, done.stderr
    made = json.loads(done.stdout)
    assert (made["backbone"], made["dim"], made["made"]) == (VARIANT, 24 + 40, True)
    assert made["golden_cosine"] >= 0.9999

    done = penultimate(*embed)
    assert done.returncode == 0, done.stderr
    assert np.load(tmp_path / "cat.npz")["embeddings"].shape == (1, 64)
    done = penultimate("classify", "imagenet", str(cat), "--backbone", VARIANT, *own)
    assert done.returncode == 1
    assert "is cut at blocks.1:avg+blocks.2:max, to which its own classifier does not fit" in done.stderr


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--layer", "blocks.1:median"], "'median' is no pooling of the layer blocks.1: there are avg, max"),
        (["--layer", "blocks.1,"], "'' cannot be the name of a layer"),
        (["--layer", "blocks.1", "--layer", "blocks.1:avg"], "the layer blocks.1:avg is named twice"),
        (["--size", "16"], "16 is not in the range 32<=x<=4096"),
        (["inception_v3", "--size", "224"], "inception_v3 takes pictures of 299 px and no other size"),
    ],
)
def test_a_variant_that_cannot_be_is_refused(penultimate, words: list[str], reason: str) -> None:
    """Before anything is loaded or written."""
    done = penultimate("export", *words)
    assert done.returncode != 0
    assert reason in done.stderr
