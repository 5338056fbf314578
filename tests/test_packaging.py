"""What installs with what, and what importing and helping costs."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HEAVY = {
    "numpy",
    "PIL",
    "grpc",
    "faiss",
    "sklearn",
    "scipy",
    "safetensors",
    "onnxruntime",
    "torch",
    "pyarrow",
    "lmdb",
}


def modules_after(code: str) -> set[str]:
    """Top-level modules that a fresh interpreter has loaded after `code`."""
    script = f"import sys\ntry:\n  {code}\nexcept SystemExit: pass\nprint('\\n' + ' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return {name.split(".")[0] for name in done.stdout.splitlines()[-1].split()}


def test_the_runtime_brings_no_torch(tmp_path: Path) -> None:
    """Installing with the plain CPU runtime brings one ONNX Runtime and nothing of the export."""
    report = tmp_path / "report.json"
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run"]
        + ["--ignore-installed", "--report", str(report), f"{ROOT}[cpu]"],
        check=True,
    )
    names = {item["metadata"]["name"].lower() for item in json.loads(report.read_text())["install"]}
    assert "onnxruntime" in names
    assert "faiss-cpu" in names
    assert not names & {"torch", "torchvision", "timm", "onnx", "elpv-dataset", "onnxruntime-openvino"}


@pytest.mark.parametrize(
    "code",
    [
        "import extractor, classifiers",
        "from extractor.cli.main import penultimate; penultimate(['--help'])",
        "from classifiers.cli import command; command(['--help'])",
        *(
            f"from extractor.cli.main import penultimate; penultimate(['{name}', '--help'])"
            for name in (
                "export",
                "backbones",
                "serve",
                "embed",
                "index",
                "search",
                "classify",
                "doctor",
                "demo",
            )
        ),
    ],
)
def test_help_loads_nothing_heavy(code: str) -> None:
    """Heavy libraries are imported where they are used, so that help is quick."""
    assert not modules_after(code) & HEAVY


def test_public_names_lead_somewhere() -> None:
    """Every name in `__all__` is there, and `dir` shows them."""
    import classifiers
    import extractor

    for package in (extractor, classifiers):
        assert set(package.__all__) == set(dir(package))
        for name in package.__all__:
            assert getattr(package, name) is not None
        with pytest.raises(AttributeError, match="nonsense"):
            package.nonsense  # noqa: B018


def test_what_a_client_is_given_comes_from_where_the_client_does() -> None:
    """So says docs/clients.md."""
    from extractor import HeadInput, NewItem, Query, client

    assert (HeadInput, NewItem, Query) == (client.HeadInput, client.NewItem, client.Query)
