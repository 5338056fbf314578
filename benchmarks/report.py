"""What all benchmarks of the service share: their options, their tables, their figures as JSON."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.machine import describe
from benchmarks.photos import jpegs, solar_cells
from benchmarks.servers import BARE, OURS, PEERS, check_peers, versions
from extractor.settings import DataFolder

Row = dict[str, Any]

_SERVERS = (OURS, BARE, *PEERS)


def options(doc: str | None) -> argparse.ArgumentParser:
    """The options of every benchmark that starts servers."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=lambda text: DataFolder(Path(text)), default=DataFolder.default())
    parser.add_argument("--provider", default="cpu", help="cpu (default), openvino or auto")
    parser.add_argument("--precision", default="auto", help="fp32, bf16 or auto (default)")
    parser.add_argument("--photos", choices=["jpeg", "elpv"], default="jpeg")
    parser.add_argument("--distinct", type=int, default=400, help="how many photos, sent again and again")
    parser.add_argument(
        "--servers",
        type=lambda text: text.split(","),
        default=[OURS, *PEERS],
        help=f"some of {','.join(_SERVERS)} (default: all but {BARE})",
    )
    parser.add_argument("--json", type=Path, help="keep the figures in this file")
    return parser


def parse(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """The given options; exits when they name a server that is not there."""
    given = parser.parse_args()
    for name in given.servers:
        if name not in _SERVERS:
            parser.error(f"there is no server {name!r}: choose of {', '.join(_SERVERS)}")
    check_peers(given.servers)
    return given


def photos(given: argparse.Namespace) -> list[bytes]:
    return solar_cells(given.distinct) if given.photos == "elpv" else jpegs(given.distinct)


class Report:
    """Prints what was measured, and keeps it.

    Parameters
    ----------
    given : Namespace
        The options, printed and kept with the figures.
    """

    def __init__(self, given: argparse.Namespace, *, peers: bool = True) -> None:
        self._file: Path | None = given.json
        settings = {name: _plain(value) for name, value in vars(given).items() if name != "json"}
        self._found: dict[str, Any] = {"machine": describe(), "settings": settings, "tables": {}}
        print(describe())
        print(", ".join(f"{name} {value}" for name, value in settings.items()))
        if peers:
            self._found["versions"] = versions()
            print("peers:", ", ".join(f"{name} {value}" for name, value in self._found["versions"].items()))

    def say(self, name: str, value: Any, text: str) -> None:
        """A figure on its own."""
        self._found[name] = value
        print(text, flush=True)

    def table(self, name: str, rows: Sequence[Row]) -> None:
        """Rows with the same columns: numbers to the right, as they come."""
        self._found["tables"][name] = list(rows)
        cells = [list(rows[0]), *([_shown(value) for value in row.values()] for row in rows)]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        print(f"\n{name}")
        for line in cells:
            first, *rest = (cell.rjust(width) for cell, width in zip(line, widths, strict=True))
            print("  ".join([first.strip().ljust(widths[0]), *rest]))
        print(flush=True)

    def save(self) -> None:
        if self._file:
            self._file.write_text(json.dumps(self._found, indent=1) + "\n")


def _plain(value: Any) -> Any:
    if isinstance(value, DataFolder):
        return str(value.root)
    return value if isinstance(value, int | float | str | list | None) else str(value)


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return (
            f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.3f}"
        )
    return str(value)
