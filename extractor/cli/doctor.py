"""`penultimate doctor`: what is installed, what is in use, and whether it is right."""

from __future__ import annotations

import importlib.metadata
import json
import platform
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import click

from extractor.cli import speeds
from extractor.cli.options import data_option, json_option, provider_options
from extractor.errors import PenultimateError
from extractor.settings import DataFolder, cores
from extractor.text import printable

if TYPE_CHECKING:
    from extractor.backbones.bundle import Bundle
    from extractor.backbones.measured import Measurements
    from extractor.backbones.providers import Numerics
    from extractor.backbones.session import Session
    from extractor.backbones.standing import Standing

_EXTRAS = {"cpu": "onnxruntime", "openvino": "onnxruntime-openvino", "gpu": "onnxruntime-gpu"}
_RUNTIMES = tuple(_EXTRAS.values())
_PACKAGES = ("penultimate", *_RUNTIMES, "numpy", "pillow", "faiss-cpu", "scikit-learn", "grpcio", "lmdb")
_LOW_DISK_BYTES = 2**30


@dataclass(frozen=True)
class Finding:
    """One line of the report; `wrong` says what to do when it is not as it should be.

    `measured` is of a provider: its lines of the table.
    """

    topic: str
    value: str
    wrong: str = ""
    measured: list[Standing] = field(default_factory=list)


@click.command(
    epilog=f"""\b
Examples:
  penultimate doctor
  penultimate doctor --provider cpu --json

\b
Each line of the table is a number of parallel runs, measured briefly; the arrow marks the schedule
that is taken. `penultimate tune` measures thoroughly, and remembers.
{speeds.EXPLANATION}
Exit codes: 0 all is well, 1 something is wrong (marked with ✗).
"""
)
@provider_options
@data_option
@json_option
def command(data: DataFolder, as_json: bool, backbone: str, provider: str, precision: str) -> int:
    """Check this installation: versions, providers, the golden test, the disk, and what is kept."""
    findings = [*_machine(), *_network(data, backbone, provider, precision), *_data(data), *_kept(data)]
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        _print(findings)
    return 1 if any(finding.wrong for finding in findings) else 0


def _print(findings: list[Finding]) -> None:
    width = max(len(finding.topic) for finding in findings)
    for finding in findings:
        mark = "✗" if finding.wrong else "✓"
        click.echo(f"{mark} {finding.topic:{width}}  {printable(finding.value)}")
        if finding.wrong:
            click.echo(f"  {'':{width}}  {printable(finding.wrong)}")
    _print_table([standing for finding in findings for standing in finding.measured])


def _print_table(standings: list[Standing]) -> None:
    """What could be measured; why the others could not is said above."""
    if measured := [standing for standing in standings if standing.table]:
        click.echo(f"\n{speeds.head()}")
        for standing in measured:
            click.echo("\n".join(speeds.lines(standing)))


def _machine() -> Iterator[Finding]:
    from extractor.backbones.runtimes import best

    yield Finding("python", f"{platform.python_version()} on {platform.platform()}, {cores()} cores")
    installed = {name: version for name in _PACKAGES if (version := _version(name))}
    yield Finding("versions", ", ".join(f"{name} {version}" for name, version in installed.items()))
    runtimes = [name for name in _RUNTIMES if name in installed]
    yield Finding("runtime", ", ".join(runtimes) or "none", _runtime_trouble(runtimes))
    suits = best()
    better = (
        ""
        if _EXTRAS.get(suits.extra) in runtimes
        else f"; pip install '.[{suits.extra}]' in a new environment"
    )
    yield Finding("suits best", f"{suits.extra}: {suits.reason}{better}")


def _runtime_trouble(runtimes: list[str]) -> str:
    if not runtimes:
        return "in penultimate's folder, pip install one of '.[cpu]', '.[openvino]', '.[gpu]'"
    if len(runtimes) > 1:
        return "these are builds of one module and overwrite each other: keep one, in a new environment"
    return ""


def _network(data: DataFolder, backbone: str, provider: str, precision: str) -> Iterator[Finding]:
    try:
        from extractor.backbones.providers import installed_providers
        from extractor.backbones.standing import overviews
        from extractor.backbones.tuning import open_tuned
    except ImportError as error:
        yield Finding("providers", "none", f"ONNX Runtime cannot be imported: {error}")
        return
    yield Finding("providers found", ", ".join(installed_providers()))
    from extractor.backbones.bundle import Bundle

    try:
        bundle = Bundle.of(data, backbone)
        yield Finding("backbone", f"{backbone}, dim {bundle.manifest.dim}, fingerprint {bundle.fingerprint}")
        for name, sentence, standings in overviews(bundle, _remembered(data, bundle), provider):
            yield Finding(f"provider {name}", sentence, measured=standings)
        session, cosine = open_tuned(bundle, data, provider, precision)
    except PenultimateError as error:
        yield Finding("network", "not in use", str(error))
        return
    yield Finding("in use", str(session.numerics))
    yield Finding("schedule", f"{session.schedule} ({_origin(data, bundle, session.numerics)})")
    yield Finding("golden cosine", f"{cosine:.6f} at the least (bound {session.bound})")
    yield from _profile(bundle, session)


def _profile(bundle: Bundle, session: Session) -> Iterator[Finding]:
    """How near its profile comes to the exact one, which needs no such line."""
    from extractor.backbones import nearness

    profile = bundle.manifest.preprocessing.decode
    if profile == "exact":
        return
    try:
        found = nearness.measured(bundle, session.run)
    except PenultimateError as error:
        yield Finding(f"{profile} profile", "not in use", str(error))
        return
    yield Finding(f"{profile} profile", str(found), found.trouble)


def _origin(data: DataFolder, bundle: Bundle, numerics: Numerics) -> str:
    """Where the schedule is from."""
    if _remembered(data, bundle).read(numerics):
        return "measured on this machine"
    return "the usual one: `penultimate tune` measures this machine"


def _remembered(data: DataFolder, bundle: Bundle) -> Measurements:
    """What was measured under the usual bound."""
    from extractor.backbones.measured import Measurements
    from extractor.backbones.schedule import LATENCY_BOUND

    return Measurements(data, bundle, LATENCY_BOUND)


def _data(data: DataFolder) -> Iterator[Finding]:
    there = "" if data.root.exists() else " (not there yet)"
    yield Finding("data folder", f"{data.root}{there}", _write_trouble(data.root))
    free = shutil.disk_usage(_nearest(data.root)).free
    low = f"less than {_LOW_DISK_BYTES / 2**30:.0f} GiB: make room" if free < _LOW_DISK_BYTES else ""
    yield Finding("free disk", f"{free / 2**30:.1f} GiB", low)


def _kept(data: DataFolder) -> Iterator[Finding]:
    from classifiers.store.versions import check_head, head_names
    from extractor.collections import Collection
    from extractor.collections.collection import names

    yield _checked("collections", names(data), lambda name: Collection.open(data, name).close())
    yield _checked("heads", head_names(data), lambda name: check_head(name, data))


def _checked(topic: str, names: list[str], check: Callable[[str], None]) -> Finding:
    """All of a kind in one line, and what is wrong with some."""
    wrong = []
    for name in names:
        try:
            check(name)
        except (PenultimateError, OSError) as error:
            wrong.append(str(error))
    return Finding(topic, ", ".join(names) or "none yet", "; ".join(wrong))


def _write_trouble(folder: Path) -> str:
    import tempfile

    try:
        with tempfile.TemporaryFile(dir=_nearest(folder)):
            return ""
    except OSError as error:
        return f"cannot be written ({error.strerror}): choose another with --data or $PENULTIMATE_DATA"


def _nearest(folder: Path) -> Path:
    """The folder, or the closest one above it that exists."""
    return next(path for path in (folder, *folder.absolute().parents) if path.exists())


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
