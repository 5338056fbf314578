"""What a user names is what is used, or is refused: never passed over."""

from types import SimpleNamespace

import pytest

from extractor.cli.main import penultimate, run
from extractor.settings import DataFolder


@pytest.mark.parametrize("option", [("--provider", "cpu"), ("--precision", "fp32"), ("--precision", "auto")])
@pytest.mark.parametrize("words", [("embed", "a.jpg", "--out", "o.npz"), ("index", "c", "a.jpg")])
def test_a_service_chooses_how_it_computes(capsys, data: DataFolder, words, option) -> None:
    """Wrong usage: exit code 2, before anybody is asked."""
    with pytest.raises(SystemExit) as ended:
        run(penultimate, [*words, "--server", "127.0.0.1:1", *option, "--data", str(data.root)])
    assert ended.value.code == 2
    assert f"{option[0]} is for this process" in capsys.readouterr().err


def test_a_service_of_another_backbone_is_refused(
    capsys, data: DataFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both are named, and what to do; without --backbone the service's own is used."""

    class Service:
        def __init__(self, address: str) -> None:
            self.fingerprint = "f" * 64
            self.dim = 3

        def info(self) -> SimpleNamespace:
            return SimpleNamespace(backbone="efficientnet_lite1")

        def close(self) -> None:
            pass

    monkeypatch.setattr("extractor.client.Client", Service)
    words = ["embed", "a.jpg", "--out", "o.npz", "--server", "h:1", "--backbone", "efficientnet_lite0"]
    with pytest.raises(SystemExit) as ended:
        run(penultimate, [*words, "--data", str(data.root)])
    assert ended.value.code == 1
    assert capsys.readouterr().err == (
        "Error: the service at h:1 runs the backbone efficientnet_lite1, not efficientnet_lite0: leave "
        "--backbone out, or start `penultimate serve --backbone efficientnet_lite0`\n"
    )
