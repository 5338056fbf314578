"""The rows of `penultimate backbones`: the catalogue's, then those that are only in the data folder."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from extractor.backbones.bundle import Bundle, check_exported
from extractor.backbones.catalogue import BACKBONES, TIMM, Backbone, check, find
from extractor.backbones.variant import name_of, split_name
from extractor.cli.bundles import bundle_bytes, model_bytes
from extractor.errors import DamagedFile, InvalidArgument, NotFound
from extractor.settings import DataFolder

Row = dict[str, Any]
"""What is known of a backbone; None for what is not."""


def rows(data: DataFolder, name: str | None = None) -> list[Row]:
    """All that there are, or the one of that name; NotFound when there is none."""
    if name is None:
        return [*(_of_catalogue(backbone, data) for backbone in BACKBONES), *_others(data)]
    return [row for row in _others(data) if row["name"] == name] or [_of_catalogue(find(name), data)]


def check_layers(name: str, data: DataFolder) -> None:
    """InvalidArgument when the backbone is an imported one, whose layer was chosen in its spec."""
    instead = "`output` in its spec says which layer is the embedding: change it and import it again"
    check_exported(data, split_name(name)[0], instead)


def _of_catalogue(backbone: Backbone, data: DataFolder) -> Row:
    return {
        "name": backbone.name,
        "source": backbone.source,
        "architecture": backbone.architecture,
        "input_px": backbone.input_px,
        "resizable": backbone.resizable,
        "resize_shorter": backbone.resize_shorter,
        "interpolation": backbone.interpolation,
        "mean": backbone.mean,
        "std": backbone.std,
        "dim": backbone.dim,
        "parameters": backbone.parameters,
        "licence": backbone.weights.licence,
        "weights": backbone.weights.source,
        "weights_bytes": backbone.weights.size,
        "weights_here": backbone.weights.find() is not None,
        "weights_advice": backbone.weights.advice,
        **_state(_opened(backbone.name, data)),
    }


def _others(data: DataFolder) -> Iterator[Row]:
    """Variants, models of timm that are not listed, and imported networks."""
    folders = sorted(data.backbones.iterdir()) if data.backbones.is_dir() else []
    listed = {backbone.name for backbone in BACKBONES}
    for folder in folders:
        name = name_of(folder.name)
        if folder.is_dir() and not name.startswith(".") and name not in listed:
            yield _of_bundle(name, _opened(name, data))


def _of_bundle(name: str, found: Bundle | DamagedFile | None) -> Row:
    row: Row = {"name": name, "source": _source(name), **_state(found)}
    if not isinstance(found, Bundle):
        return row
    manifest, rule = found.manifest, found.manifest.preprocessing
    return row | {
        "input_px": rule.height if rule.height == rule.width else [rule.height, rule.width],
        "resize_shorter": rule.resize_shorter,
        "interpolation": rule.interpolation,
        "mean": rule.mean,
        "std": rule.std,
        "dim": manifest.dim,
        "licence": manifest.weights["licence"],
        "weights": manifest.weights["source"],
        "weights_bytes": model_bytes(found),
        "weights_here": True,
    }


def _source(name: str) -> str:
    """Where the network is from."""
    try:
        backbone = split_name(name)[0]
        check(backbone)
    except (NotFound, InvalidArgument):
        return "imported"
    return "timm" if backbone.startswith(TIMM) else find(backbone).source


def _opened(name: str, data: DataFolder) -> Bundle | DamagedFile | None:
    """The bundle; a damaged one is reported, so that the list never fails."""
    try:
        return Bundle.of(data, name)
    except (NotFound, InvalidArgument):
        return None
    except DamagedFile as error:
        return error


def _state(found: Bundle | DamagedFile | None) -> Row:
    return {
        "exported": isinstance(found, Bundle),
        "bundle_bytes": bundle_bytes(found) if isinstance(found, Bundle) else None,
        "fingerprint": found.fingerprint if isinstance(found, Bundle) else None,
        "damage": str(found) if isinstance(found, DamagedFile) else None,
    }
