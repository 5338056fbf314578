"""Settings of `penultimate serve`: where each comes from, which comes first, and what cannot be."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import click
import pytest

from extractor.cli.configuration import Size, settings
from extractor.cli.main import penultimate, run
from extractor.cli.serve import command
from extractor.settings import Connections, DataFolder, Limits, ServiceLimits
from tests import generate_settings_docs

Serve = Callable[..., tuple[int, str, str]]


@pytest.fixture
def serve(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, data: DataFolder, tmp_path: Path
) -> Serve:
    """`serve(*options, **environment)`: exit code, standard output, standard error."""
    monkeypatch.setenv("PENULTIMATE_DATA", str(data.root))
    monkeypatch.delenv("PENULTIMATE_TOKEN", raising=False)
    monkeypatch.chdir(tmp_path)

    def serve(*options: str, **environment: str) -> tuple[int, str, str]:
        with monkeypatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(name, value)
            with pytest.raises(SystemExit) as ended:
                run(penultimate, ["serve", *options])
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return serve


def printed(serve: Serve, *options: str, **environment: str) -> tuple[dict[str, Any], dict[str, str]]:
    """The settings that hold, and where each is from."""
    code, out, err = serve("--print-config", *options, **environment)
    assert (code, err) == (0, "")
    lines = (line.split("  # ") for line in out.splitlines() if "  # " in line)
    return tomllib.loads(out)["serve"], {setting.split(" = ")[0]: source for setting, source in lines}


def write(file: Path, *lines: str) -> Path:
    file.write_text("\n".join(("[serve]", *lines)))
    return file


def test_the_command_line_comes_first_then_the_environment_then_the_file(
    serve: Serve, tmp_path: Path
) -> None:
    """And the default last; each says where it is from."""
    config = write(tmp_path / "c.toml", "grace = 1", "streams = 2", "queue-items = 3", "insecure = true")
    environment = {
        "PENULTIMATE_SERVE_GRACE": "10",
        "PENULTIMATE_SERVE_STREAMS": "20",
        "PENULTIMATE_SERVE_INSECURE": "false",
    }
    values, sources = printed(serve, "--config", str(config), "--grace", "100", **environment)
    assert (values["grace"], sources["grace"]) == (100, "command line")
    assert (values["streams"], sources["streams"]) == (20, "environment, PENULTIMATE_SERVE_STREAMS")
    assert (values["queue-items"], sources["queue-items"]) == (3, str(config))
    assert (values["items-per-call"], sources["items-per-call"]) == (1024, "default")
    assert (values["insecure"], sources["insecure"]) == (False, "environment, PENULTIMATE_SERVE_INSECURE")


def test_a_switch_in_the_file_can_be_turned_back(serve: Serve, tmp_path: Path) -> None:
    """Every switch has its opposite on the command line."""
    config = write(tmp_path / "c.toml", "insecure = true", "cache = false")
    values, _ = printed(serve, "--config", str(config), "--no-insecure", "--cache")
    assert (values["insecure"], values["cache"]) == (False, True)


def test_the_file_is_found_in_the_data_folder_or_named(
    serve: Serve, data: DataFolder, tmp_path: Path
) -> None:
    """One that is named by option or by environment takes the place of the one that is found."""
    found = write(data.root / "penultimate.toml", "grace = 1")
    named = write(tmp_path / "named.toml", "streams = 2")
    values, sources = printed(serve)
    assert (values["grace"], sources["grace"]) == (1, str(found))
    for options, environment in (
        (("--config", str(named)), {}),
        ((), {"PENULTIMATE_SERVE_CONFIG": str(named)}),
    ):
        values, _ = printed(serve, *options, **environment)
        assert (values["grace"], values["streams"]) == (30, 2)
    other = tmp_path / "other"
    other.mkdir()
    write(other / "penultimate.toml", "grace = 7")
    assert printed(serve, "--data", str(other))[0]["grace"] == 7


def test_what_is_printed_is_a_file_of_settings(serve: Serve, tmp_path: Path) -> None:
    """Of every setting, also of those with odd characters: it gives the same values."""
    odd = tmp_path / 'a "quoted" \\ folder \N{SNOWMAN}'
    options = (
        "--data",
        str(odd),
        "--message-bytes",
        "100000",
        "--queue-bytes",
        "1GiB",
        "--patience",
        "0.125",
    )
    before, _ = printed(serve, *options, "--insecure", "--tls-certificate", "c.pem", "--provider", "cpu")
    _, out, _ = serve(
        "--print-config", *options, "--insecure", "--tls-certificate", "c.pem", "--provider", "cpu"
    )
    config = tmp_path / "printed.toml"
    config.write_text(out)
    after, sources = printed(serve, "--config", str(config), PENULTIMATE_DATA="")
    assert after == before
    assert before["data"] == str(odd)
    assert (before["message-bytes"], before["queue-bytes"]) == ("100000", "1 GiB")
    assert set(sources.values()) == {str(config)}


def test_no_secret_is_printed(serve: Serve, tmp_path: Path) -> None:
    """Where the token is from is; the token itself is not."""
    (tmp_path / "token").write_text("hush-1")
    _, out, err = serve("--print-config", PENULTIMATE_TOKEN="hush-2")
    assert "PENULTIMATE_TOKEN" in out
    _, other, err = serve(
        "--print-config", "--token-file", str(tmp_path / "token"), PENULTIMATE_TOKEN="hush-2"
    )
    assert f'token-file = "{tmp_path / "token"}"' in other
    assert "hush" not in out + other + err


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("grase = 3", "there is no setting 'grase'; is 'grace' meant?"),
        ("print-config = true", "there is no setting 'print-config'"),
        ("token = 'x'", "there is no setting 'token'"),
        ("grace = '3'", 'grace = "3" must be a number'),
        ("streams = 3.5", "streams = 3.5 must be a whole number"),
        ("streams = true", "streams = true must be a whole number"),
        ("streams = 0", "streams: 0 is not in the range"),
        ("insecure = 'yes'", 'insecure = "yes" must be true or false'),
        ("address = 50051", "address = 50051 must be a text in quotes"),
        ("provider = 'tpu'", "provider: 'tpu' is not one of"),
        ("message-bytes = '64 MB'", "message-bytes: '64 MB' is no number of bytes"),
        ("message-bytes = 0", "message-bytes: 0 is no number of bytes"),
        ("grace = [1]", "grace = [1] must be a number"),
        ("grace = nan", "grace: nan is no number"),
        ("keepalive = inf", "keepalive: inf is not in the range"),
        ("message-bytes = '4 GiB'", "message-bytes: 4 GiB is too large: at most 2147483647 bytes"),
        ("[search]", "'search' is nothing known"),
        ("grace =", "cannot be read"),
    ],
)
def test_what_is_wrong_in_a_file_is_one_sentence(
    serve: Serve, tmp_path: Path, line: str, sentence: str
) -> None:
    """With the file and the key."""
    config = write(tmp_path / "c.toml", line)
    code, out, err = serve("--config", str(config), "--print-config")
    assert (code, out) == (1, "")
    assert err.startswith("Error: ")
    assert len(err.splitlines()) == 1
    assert str(config) in err
    assert sentence in err


def test_a_file_that_is_not_there_is_an_error_when_it_was_named(serve: Serve, tmp_path: Path) -> None:
    """One that is not in the data folder is none."""
    code, _, err = serve("--config", str(tmp_path / "no.toml"), "--print-config")
    assert code == 1
    assert str(tmp_path / "no.toml") in err
    assert printed(serve)


def test_what_is_wrong_in_the_environment_names_the_variable(serve: Serve) -> None:
    """As wrong usage does the option."""
    code, _, err = serve("--print-config", PENULTIMATE_SERVE_GRACE="soon")
    assert code == 2
    assert "$PENULTIMATE_SERVE_GRACE" in err


def too_large() -> Iterator[tuple[str, str]]:
    """Every option that is a number, with numbers that it cannot have."""
    for option in settings(command):
        if isinstance(option.type, click.FloatRange):
            yield from ((option.opts[0], value) for value in ("inf", "nan", "1000000000.0"))
        elif isinstance(option.type, click.IntRange):
            yield option.opts[0], "99999999999"
        elif isinstance(option.type, Size):
            yield option.opts[0], "99999999999 GiB"


@pytest.mark.parametrize(("option", "value"), [*too_large(), ("--message-bytes", "2GiB")])
def test_a_number_that_nothing_could_work_with_is_wrong_usage(serve: Serve, option: str, value: str) -> None:
    """In one sentence with the option and the number."""
    code, out, err = serve("--print-config", option, value)
    assert (code, out) == (2, "")
    assert re.search(f"^Error: .*'{option}': {value} is (not in the range|no number|too large)", err, re.M)


@pytest.mark.parametrize(
    "options", [("--tls-certificate", "c.pem"), ("--tls-key", "k.pem"), ("--tls-client-ca", "ca.pem")]
)
def test_half_of_tls_is_wrong_usage(serve: Serve, options: tuple[str, ...]) -> None:
    """It is never left off in silence."""
    code, _, err = serve(*options)
    assert code == 2
    assert "--tls-certificate and --tls-key" in err


def test_an_empty_token_is_an_error(serve: Serve, tmp_path: Path) -> None:
    """Somebody wanted one: serving without would surprise them."""
    (tmp_path / "token").write_text("\n")
    code, _, err = serve("--token-file", str(tmp_path / "token"))
    assert (code, err) == (1, f"Error: the token file {tmp_path / 'token'} cannot be used: it is empty\n")
    code, _, err = serve(PENULTIMATE_TOKEN="")
    assert (code, err) == (1, "Error: $PENULTIMATE_TOKEN cannot be used: it is empty\n")


@pytest.mark.parametrize("source", ["option", "environment", "file"])
def test_other_machines_are_kept_out_wherever_the_address_is_from(
    serve: Serve, tmp_path: Path, source: str
) -> None:
    """Plain text off loopback is nobody's accident."""
    config = write(tmp_path / "c.toml", "address = '0.0.0.0:0'" if source == "file" else "")
    options = {"option": ("--address", "0.0.0.0:0"), "environment": (), "file": ("--config", str(config))}
    environment = {"PENULTIMATE_SERVE_ADDRESS": "0.0.0.0:0"} if source == "environment" else {}
    code, _, err = serve(*options[source], **environment)
    assert code == 1
    assert "0.0.0.0:0 can be reached from other machines" in err


def test_every_limit_is_a_setting(serve: Serve) -> None:
    """What the service, its images and its connections are bounded by."""
    values, _ = printed(serve)
    limits = [field.name for kind in (ServiceLimits, Limits, Connections) for field in fields(kind)]
    assert {name.replace("_", "-") for name in limits} <= set(values)


def test_the_list_of_settings_is_checked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The page is what the code says; one that is not fails `make check`."""
    monkeypatch.setattr(sys, "argv", ["", "--check"])
    assert generate_settings_docs.main() == 0
    stale = tmp_path / "settings.md"
    stale.write_text(generate_settings_docs.page().replace("64 MiB", "32 MiB"))
    monkeypatch.setattr(generate_settings_docs, "PAGE", stale)
    assert generate_settings_docs.main() == 1


def test_a_broken_file_leaves_the_help_readable(data: DataFolder) -> None:
    """Help is what one wants then."""
    write(data.root / "penultimate.toml", "nonsense = 1")
    command = [sys.executable, "-m", "extractor.cli", "serve", "--data", str(data.root), "--help"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert "--print-config" in done.stdout
