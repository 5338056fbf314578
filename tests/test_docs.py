"""Every command and every line of Python in the README and the docs is run, in order, as a user would."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from extractor.cli.main import penultimate
from extractor.cli.main import run as run_here
from extractor.settings import DataFolder

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
RUN_BY_CI = ("make ",)
"""`.ci/run` calls these on a clean clone."""
DEFAULT_PORT = "50051"
METRICS_PORT = "9090"
LOADING_TORCH = ("penultimate export", "penultimate backbones efficientnet_lite0 --layers")
"""Torch and its tracer take ten seconds to import. They are here, since the session's backbone was exported;
an export in a process of its own is in tests/extractor/backbones/test_export_cli.py."""
INSTALLING = ("python3 -m venv", "pip install", ".[")
"""The environment that this test runs in was made so; see the Makefile."""


def blocks(page: Path) -> Iterator[tuple[str, str]]:
    """The fenced blocks of a page: language and text."""
    for match in re.finditer(r"^```(\w+)\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL):
        yield match[1], match[2]


def commands(page: Path) -> list[str]:
    """The shell lines of a page that are for a user to type."""
    lines = [line for language, text in blocks(page) if language == "sh" for line in text.splitlines()]
    return [command for line in lines if (command := line.split("  #")[0].strip())]


def runnable(page: Path) -> list[str]:
    return [line for line in commands(page) if not line.startswith(RUN_BY_CI + INSTALLING)]


@pytest.fixture(scope="session")
def remembered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the next page finds done: embeddings of the same photos, and what was measured here."""
    folder = tmp_path_factory.mktemp("remembered")
    for name in ("cache", "tuning"):
        (folder / name).mkdir()
    return folder


@pytest.fixture
def place(
    tmp_path: Path, data: DataFolder, remembered: Path, pictures: list[Path], monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A folder with what the docs speak of: photos, labelled photos, and the commands on the path."""
    for folder in remembered.iterdir():
        (data.root / folder.name).symlink_to(folder)
    by_name = {file.name: file for file in pictures}
    (tmp_path / "photos").mkdir()
    for name in ("chelsea.png", "coffee.png", "rocket.jpg", "grass.png", "brick.png", "text.png"):
        shutil.copy(by_name[name], tmp_path / "photos")
    from PIL import Image

    for label in ("grass", "brick", "gravel"):
        (tmp_path / "labelled" / label).mkdir(parents=True)
        with Image.open(by_name[f"{label}.png"]) as image:
            for number in range(12):
                corner = 17 * number
                part = image.crop((corner, corner, corner + 300, corner + 250))
                part.save(tmp_path / "labelled" / label / f"{number}.jpg")
    _write_own_network(tmp_path)
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    monkeypatch.setenv("PENULTIMATE_DATA", str(data.root))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _write_own_network(folder: Path) -> None:
    """`model.onnx`, and the `spec.toml` that the docs print for it."""
    from tests.extractor.backbones.own_networks import features_of, save

    save(features_of(64), folder)
    page = ROOT / "docs" / "backbones.md"
    (spec,) = [text for language, text in blocks(page) if language == "toml" and "resize_shorter" in text]
    (folder / "spec.toml").write_text(spec)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def shell(place: Path) -> Iterator[Shell]:
    shell = Shell(place, free_port())
    yield shell
    shell.close()


class Shell:
    """Runs a page's lines; a server goes to the background until the page is done."""

    def __init__(self, place: Path, port: int) -> None:
        self._place, self.port = place, port
        self._servers: list[subprocess.Popen[str]] = []

    def run(self, line: str) -> None:
        line = line.replace(DEFAULT_PORT, str(self.port)).replace(METRICS_PORT, str(free_port()))
        if line.startswith("penultimate serve"):
            server = subprocess.Popen(shlex.split(line), stdout=subprocess.PIPE, text=True)
            self._servers.append(server)
            assert server.stdout is not None
            assert server.stdout.readline().startswith("listening on"), line
            return
        if line.startswith(LOADING_TORCH):
            with pytest.raises(SystemExit) as ended:
                run_here(penultimate, shlex.split(line)[1:])
            assert not ended.value.code, line
            return
        done = subprocess.run(line, shell=True, capture_output=True, text=True, cwd=self._place)
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"

    def close(self) -> None:
        for server in self._servers:
            server.terminate()
            assert server.wait(30) == 0
            assert server.stdout is not None
            server.stdout.close()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_commands_of_a_page_work(page: Path, shell: Shell) -> None:
    """In the order in which they stand; then the page's Python."""
    lines = runnable(page)
    for line in lines:
        shell.run(line)
    for language, text in blocks(page):
        if language == "python":
            script = text.replace(DEFAULT_PORT, str(shell.port))
            done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
            assert done.returncode == 0, f"{text}\n{done.stderr}"


def test_ci_runs_the_commands_that_are_left_out_here() -> None:
    """`make demo`, `make test` and `make check` are run by `.ci/run`."""
    script = (ROOT / ".ci" / "run").read_text()
    for command in ("make demo", "make test", "make check"):
        assert command in script


def test_every_command_is_in_the_readme() -> None:
    """What `--help` lists, the README shows."""
    text = (ROOT / "README.md").read_text()
    for name in penultimate.list_commands(None):  # type: ignore[arg-type]
        assert f"penultimate {name}" in text or f"make {name}" in text, name


def test_links_lead_somewhere() -> None:
    """Relative links and pictures of every page exist."""
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_help_of_every_command_has_an_example() -> None:
    """An example shows more than a list of options."""
    from classifiers.cli import command as fit_head

    every = [penultimate.get_command(None, name) for name in penultimate.list_commands(None)]  # type: ignore[arg-type]
    for command in [*every, fit_head]:
        assert command is not None
        assert "Example" in (command.epilog or ""), command.name
