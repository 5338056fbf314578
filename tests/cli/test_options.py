"""What a user names is what is used, or is refused: never passed over."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from classifiers.cli import command as fit_head
from extractor.cli.main import penultimate, run
from extractor.errors import Unavailable
from extractor.settings import DataFolder


@pytest.fixture(autouse=True)
def photo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file that the commands here name."""
    monkeypatch.chdir(tmp_path)
    Path("a.jpg").touch()


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


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, object]]]:
    """With what clients were made; making one ends the command."""
    asked: list[tuple[str, dict[str, object]]] = []

    class Service:
        def __init__(self, address: str, **access: object) -> None:
            asked.append((address, access))
            raise Unavailable("enough")

    monkeypatch.setattr("extractor.client.Client", Service)
    return asked


EMBEDDING = [
    (penultimate, ("embed", "a.jpg", "--out", "o.npz")),
    (penultimate, ("index", "c", "a.jpg")),
    (penultimate, ("classify", "imagenet", "a.jpg")),
    (fit_head, ("a.csv", "--name", "h")),
]


@pytest.mark.parametrize(("program", "words"), EMBEDDING, ids=["embed", "index", "classify", "fit-head"])
def test_every_command_gets_through_tls_and_tokens(
    asked, data: DataFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program, words
) -> None:
    """What belongs to the service goes to the client as it is."""
    monkeypatch.chdir(tmp_path)
    Path("a.csv").write_text("path,label\n" + "".join(f"{n}.png,{'ab'[n % 2]}\n" for n in range(20)))
    options = ["--server-ca", "ca.pem", "--client-certificate", "c.pem", "--client-key", "c.key"]
    options += ["--server-tls", "--token-file", "token", "--token-in-clear", "--server", "h:1,h:2"]
    with pytest.raises(SystemExit) as ended:
        run(program, [*words, *options, "--data", str(data.root)])
    assert ended.value.code == 1
    access = {"root_certificates": "ca.pem", "certificate": "c.pem", "key": "c.key", "tls": True}
    assert asked == [("h:1,h:2", {**access, "token_file": "token", "token_in_clear": True})]


def test_the_authority_may_come_from_the_environment(
    asked, data: DataFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one that holds for every command of a user; without --server it says nothing."""
    monkeypatch.setenv("PENULTIMATE_SERVER_CA", "ca.pem")
    words = ["embed", "none.jpg", "--out", "o.npz", "--data", str(data.root)]
    for more in (["--server", "h:1"], []):
        with pytest.raises(SystemExit) as ended:
            run(penultimate, [*words, *more])
        assert ended.value.code == 1
    assert asked == [("h:1", {"root_certificates": "ca.pem"})]


@pytest.mark.parametrize("option", [("--server-tls",), ("--server-ca", "ca.pem"), ("--token-file", "t")])
def test_what_is_for_a_service_needs_one(capsys, data: DataFolder, option) -> None:
    """Wrong usage: exit code 2."""
    with pytest.raises(SystemExit) as ended:
        run(penultimate, ["embed", "a.jpg", "--out", "o.npz", *option, "--data", str(data.root)])
    assert ended.value.code == 2
    assert f"{option[0]} is for a service: name one with --server" in capsys.readouterr().err
