"""TLS and tokens: who is trusted is served, and what is wrong is one sentence."""

from __future__ import annotations

import datetime
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme

from extractor import errors
from extractor.client import AsyncClient, Client
from extractor.results import Result

Embed = Callable[..., list[Result]]


class Authority:
    """Issues certificates, into files of the test."""

    def __init__(self, folder: Path) -> None:
        self.ca = trustme.CA()
        self.folder = folder
        self.root = folder / "ca.pem"
        self.ca.cert_pem.write_to_path(self.root)

    def issue(self, name: str = "127.0.0.1", **how: Any) -> tuple[Path, Path]:
        """A certificate and its key."""
        issued = self.ca.issue_cert(name, **how)
        certificate, key = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        certificate.write_bytes(b"".join(part.bytes() for part in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(key)
        return certificate, key

    def served(self, name: str = "127.0.0.1", *, mutual: bool = False, **how: Any) -> grpc.ServerCredentials:
        certificate, key = self.issue(name, **how)
        pair = (key.read_bytes(), certificate.read_bytes())
        return grpc.ssl_server_credentials([pair], self.root.read_bytes() if mutual else None, mutual)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """A proxy that all calls are to go through, as the environment has it."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        for name in ("grpc_proxy", "https_proxy", "http_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{listening.getsockname()[1]}")
        for name in ("no_grpc_proxy", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        yield listening


def test_what_stays_on_this_machine_goes_through_no_proxy(
    embed: Embed, scripted: Any, proxy: socket.socket
) -> None:
    """A token that is allowed as plain text because it stays here does stay here."""
    assert embed(scripted.address, [b"a"], token="a-token")[0].ok
    proxy.setblocking(False)
    with pytest.raises(BlockingIOError):
        proxy.accept()


def test_other_machines_are_reached_through_the_proxy(embed: Embed, proxy: socket.socket) -> None:
    """As every program that uses gRPC reaches them."""
    with pytest.raises(errors.PenultimateError):
        embed("server.invalid:50051", [b"a"], timeout=1)
    connection, _ = proxy.accept()
    with connection:
        assert connection.recv(1000).startswith(b"CONNECT server.invalid:50051")


def test_a_client_trusts_the_authority_it_is_given(embed: Embed, script: Any, authority: Authority) -> None:
    """Then all goes on as without TLS."""
    server = script(authority.served())
    results = embed(server.address, [b"x" * size for size in range(40)], root_certificates=authority.root)
    assert [result.embedding[0] for result in results] == list(range(40))


def test_or_those_of_the_system(
    embed: Embed, script: Any, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which are found as every program finds them."""
    server = script(authority.served())
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.root))
    assert embed(server.address, [b"a"], tls=True)[0].ok


def test_a_certificate_of_another_authority_is_refused(
    embed: Embed, script: Any, authority: Authority, tmp_path: Path
) -> None:
    """One sentence with the address and what to give; nothing is tried again."""
    server = script(authority.served())
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(other)
    with pytest.raises(errors.Unauthenticated, match=f"{server.address}.*no authority.*root_certificates"):
        embed(server.address, [b"a"], root_certificates=other)
    assert not server.headers


def test_a_certificate_for_another_name_is_refused(embed: Embed, script: Any, authority: Authority) -> None:
    """Somebody else's, however valid."""
    server = script(authority.served("elsewhere.example"))
    with pytest.raises(errors.Unauthenticated, match="for other names"):
        embed(server.address, [b"a"], root_certificates=authority.root)


def test_a_certificate_that_has_expired_is_refused(embed: Embed, script: Any, authority: Authority) -> None:
    """And it is said that this is the reason."""
    yesterday = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
    server = script(authority.served(not_after=yesterday))
    with pytest.raises(errors.Unauthenticated, match="has expired"):
        embed(server.address, [b"a"], root_certificates=authority.root)


def test_a_server_may_ask_for_a_certificate(embed: Embed, script: Any, authority: Authority) -> None:
    """With one it serves; without, the client says what may be missing."""
    server = script(authority.served(mutual=True))
    certificate, key = authority.issue("client.example")
    trust = {"root_certificates": authority.root}
    assert embed(server.address, [b"a"], **trust, certificate=certificate, key=key)[0].ok
    with pytest.raises(errors.Unavailable, match="certificate of the client"):
        embed(server.address, [b"a"], **trust)


def test_tls_and_plain_text_do_not_meet(
    embed: Embed, script: Any, scripted: Any, authority: Authority
) -> None:
    """In either direction the sentence names the way out."""
    server = script(authority.served())
    with pytest.raises(errors.Unavailable, match="may want TLS"):
        embed(server.address, [b"a"])
    with pytest.raises(errors.Unauthenticated, match="does not speak TLS"):
        embed(scripted.address, [b"a"], root_certificates=authority.root)


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_files_that_cannot_be_used_are_named(kind: Any, authority: Authority, tmp_path: Path) -> None:
    """Before any connection is made."""
    junk = tmp_path / "junk.pem"
    junk.write_text("no certificate")
    certificate, key = authority.issue()
    _, other = authority.issue("other.example")
    for message, options in (
        (r"junk\.pem cannot be used for TLS: not PEM", {"root_certificates": junk}),
        (r"none\.pem cannot be used.*no such file", {"root_certificates": tmp_path / "none.pem"}),
        ("the key is not the certificate's", {"certificate": certificate, "key": other}),
        ("go together", {"certificate": certificate}),
        ("go together", {"key": key}),
    ):
        with pytest.raises(errors.InvalidArgument, match=message):
            kind(**options)


def test_the_token_goes_with_every_call(embed: Embed, scripted: Any, tmp_path: Path) -> None:
    """As given, or from the first line of a file that has one."""
    file = tmp_path / "token"
    file.write_text("\n  secret \nolder\n")
    for given in ({"token": "secret"}, {"token_file": file}):
        embed(scripted.address, [b"x"] * 20, **given)
        assert {headers.get("authorization") for headers in scripted.headers} == {"Bearer secret"}
        assert len(scripted.headers) >= 3  # GetInfo, Lookup, Embed
        scripted.headers.clear()


def test_without_a_token_none_is_sent(embed: Embed, scripted: Any) -> None:
    """Nothing is made up."""
    embed(scripted.address, [b"x"])
    assert not any("authorization" in headers for headers in scripted.headers)


def test_the_token_may_come_from_the_environment(
    embed: Embed, scripted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unless another was given."""
    monkeypatch.setenv("PENULTIMATE_TOKEN", "general")
    embed(scripted.address, [b"x"])
    assert scripted.headers[-1]["authorization"] == "Bearer general"
    embed(scripted.address, [b"x"], token="special")
    assert scripted.headers[-1]["authorization"] == "Bearer special"


def test_a_token_file_is_read_for_each_call(scripted: Any, tmp_path: Path) -> None:
    """So that a token can be changed under a client that runs; one that is gone is said."""
    file = tmp_path / "token"
    file.write_text("old")
    with Client(scripted.address, token_file=file) as client:
        client.embed([b"x"])
        file.write_text("new")
        client.embed([b"x"])
        assert scripted.headers[-1]["authorization"] == "Bearer new"
        file.unlink()
        with pytest.raises(errors.InvalidArgument, match=f"token file {file} cannot be read: No such file"):
            client.embed([b"x"])


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_what_is_no_token_is_refused(kind: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sentence says where it came from, and not what it is."""
    empty = tmp_path / "empty"
    empty.touch()
    for message, options in (
        ("the token is empty", {"token": " "}),
        ("the token holds more than visible ASCII", {"token": "schlüssel"}),
        (f"the token file {empty} is empty", {"token_file": empty}),
        ("not both", {"token": "a", "token_file": empty}),
    ):
        with pytest.raises(errors.InvalidArgument, match=message):
            kind(**options)
    monkeypatch.setenv("PENULTIMATE_TOKEN", "")
    with pytest.raises(errors.InvalidArgument, match=r"\$PENULTIMATE_TOKEN is empty"):
        kind()


@pytest.mark.parametrize("kind", [Client, AsyncClient])
@pytest.mark.parametrize(
    "address", ["192.0.2.1:50051", "127.0.0.1:50051,example.org:50051", "dns:///example.org:50051"]
)
async def test_a_token_is_not_sent_where_others_can_read_it(kind: Any, address: str) -> None:
    """Plain text to another machine: only by a client that was told so."""
    with pytest.raises(errors.InvalidArgument, match=r"as plain text.*token_in_clear"):
        kind(address, token="secret")
    for open_ in (
        kind(address, token="secret", token_in_clear=True),
        kind(address, token="secret", tls=True),
    ):
        if (closing := open_.close()) is not None:
            await closing


@pytest.mark.parametrize("address", ["localhost:50051", "127.0.0.2:1", "[::1]:50051", "unix:/tmp/socket"])
def test_on_this_machine_it_is_sent(address: str) -> None:
    """Nobody else can listen."""
    with Client(address, token="secret") as client:
        assert client._metadata(b"")[1:] == (("authorization", "Bearer secret"),)


def test_a_refused_token_is_one_sentence(embed: Embed, scripted: Any) -> None:
    """The server's, with how to give another; nothing is tried again."""

    def refuse(number: int, context: grpc.ServicerContext) -> None:
        context.abort(grpc.StatusCode.UNAUTHENTICATED, "this server wants a token")

    scripted.before = refuse
    with pytest.raises(errors.Unauthenticated, match=f"{scripted.address}.*wants a token.*token_file"):
        embed(scripted.address, [b"a"])
    assert len(scripted.requests) == 1


def test_the_real_server_and_the_commands(
    serve: Callable[..., Any], authority: Authority, picture: Callable[..., bytes], tmp_path: Path
) -> None:
    """Mutual TLS and a token: the client and `penultimate embed` get through, and only with all of it."""
    certificate, key = authority.issue()
    token = tmp_path / "token"
    token.write_text("secret")
    server = serve(
        *("--tls-certificate", str(certificate), "--tls-key", str(key)),
        *("--tls-client-ca", str(authority.root), "--token-file", str(token)),
    )
    own, own_key = authority.issue("client.example")
    access = {"root_certificates": authority.root, "certificate": own, "key": own_key}
    refused = pytest.raises(errors.Unauthenticated, match="not one that this server accepts")
    with Client(server.address, **access, token="wrong") as client, refused:
        client.embed([picture(1)])
    with Client(server.address, **access, token_file=token) as client:
        (result,) = client.embed([picture(1)])
        assert result.ok

    image, out = tmp_path / "a.png", tmp_path / "out.npz"
    image.write_bytes(picture(2))
    command = [sys.executable, "-m", "extractor.cli", "embed", str(image), "--out", str(out)]
    command += ["--server", server.address, "--client-certificate", str(own), "--client-key", str(own_key)]
    environment = os.environ | {"PENULTIMATE_SERVER_CA": str(authority.root)}
    for extra, code, said in (
        ([], 1, "this server wants a token"),
        (["--token-file", str(token)], 0, ""),
    ):
        done = subprocess.run([*command, *extra], capture_output=True, text=True, env=environment)
        assert (done.returncode, said in done.stderr) == (code, True), done.stderr
    assert out.exists()
