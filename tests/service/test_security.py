"""Who may connect and who may call: TLS and tokens, and both changed while the server runs."""

from __future__ import annotations

import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio
import trustme
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthStub
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.reflection_pb2_grpc import ServerReflectionStub

from extractor import errors
from extractor._pb.penultimate.v1 import penultimate_pb2 as pb
from extractor._pb.penultimate.v1.penultimate_pb2_grpc import ExtractorStub
from extractor.security import Certificates, Token
from extractor.server import Server
from tests.service.conftest import no_call_in_memory

PATIENCE_S = 60

Start = Callable[..., Awaitable[Server]]


class Files:
    """A server's PEM files, issued by one authority after another."""

    def __init__(self, folder: Path) -> None:
        self.certificate, self.key, self.client_ca = (
            folder / name for name in ("tls.pem", "tls.key", "ca.pem")
        )
        self.issue()

    def issue(self) -> None:
        """Write a new pair of a new authority."""
        self.authority = trustme.CA()
        self.write(self.authority.issue_cert("127.0.0.1"))

    def write(self, issued: trustme.LeafCert) -> None:
        self.certificate.write_bytes(chain(issued))
        self.key.write_bytes(issued.private_key_pem.bytes())

    def loaded(self) -> Certificates:
        return Certificates(self.certificate, self.key)

    def mutual(self) -> Certificates:
        self.client_ca.write_bytes(self.authority.cert_pem.bytes())
        return Certificates(self.certificate, self.key, self.client_ca)


def chain(issued: trustme.LeafCert) -> bytes:
    return b"".join(part.bytes() for part in issued.cert_chain_pems)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


@pytest_asyncio.fixture
async def start(stand_in: Any) -> AsyncIterator[Start]:
    """Starts our server over the stand-in with what is given, and stops it."""
    started: list[Server] = []

    async def start(**options: Any) -> Server:
        started.append(Server(stand_in, "127.0.0.1:0", **options))
        await started[-1].start()
        await started[-1].warm()
        return started[-1]

    yield start
    for server in started:
        await server.stop(grace=0)


def connect(
    server: Server, authority: trustme.CA, client: trustme.LeafCert | None = None
) -> grpc.aio.Channel:
    """A channel with connections of its own, which trusts `authority`."""
    pair = (client.private_key_pem.bytes(), chain(client)) if client else (None, None)
    credentials = grpc.ssl_channel_credentials(authority.cert_pem.bytes(), *pair)
    options = [("grpc.use_local_subchannel_pool", 1)]
    return grpc.aio.secure_channel(server.address, credentials, options)


async def outcome(channel: grpc.aio.Channel, *headers: tuple[str, str]) -> str:
    """How a call of GetInfo ends: OK, or the status and what it says."""
    try:
        await ExtractorStub(channel).GetInfo(pb.GetInfoRequest(), metadata=headers, timeout=PATIENCE_S)
    except grpc.aio.AioRpcError as error:
        return f"{error.code().name} {error.details()}"
    return "OK"


async def once(server: Server, authority: trustme.CA, client: trustme.LeafCert | None = None) -> str:
    """How a call on a new connection ends."""
    async with connect(server, authority, client) as channel:
        return await outcome(channel)


async def test_who_trusts_the_authority_is_served(start: Start, files: Files) -> None:
    """Another authority, or plain text, gets no connection."""
    server = await start(certificates=files.loaded())
    assert await once(server, files.authority) == "OK"
    assert (await once(server, trustme.CA())).startswith("UNAVAILABLE")
    async with grpc.aio.insecure_channel(server.address) as plain:
        assert (await outcome(plain)).startswith("UNAVAILABLE")


async def test_mutual_tls_serves_only_clients_with_a_certificate(start: Start, files: Files) -> None:
    """One of the named authority; one of another is as good as none."""
    server = await start(certificates=files.mutual())
    assert await once(server, files.authority, files.authority.issue_cert("client")) == "OK"
    assert (await once(server, files.authority)).startswith("UNAVAILABLE")
    assert (await once(server, files.authority, trustme.CA().issue_cert("client"))).startswith("UNAVAILABLE")


async def test_a_new_certificate_is_served_to_new_connections(start: Start, files: Files) -> None:
    """Without a restart, again and again; a connection that is there goes on."""
    server = await start(certificates=files.loaded())
    before = files.authority
    async with connect(server, before) as old:
        assert await outcome(old) == "OK"
        for _ in range(3):
            files.issue()
            assert await once(server, files.authority) == "OK"
            assert (await once(server, before)).startswith("UNAVAILABLE")
            assert await outcome(old) == "OK"


async def test_a_new_client_authority_holds_for_new_connections(start: Start, files: Files) -> None:
    """Clients of the old one get no new connection."""
    server = await start(certificates=files.mutual())
    former, latter = files.authority.issue_cert("former"), trustme.CA()
    files.client_ca.write_bytes(latter.cert_pem.bytes())
    assert await once(server, files.authority, latter.issue_cert("latter")) == "OK"
    assert (await once(server, files.authority, former)).startswith("UNAVAILABLE")


async def test_every_address_of_a_name_gets_the_new_certificate(stand_in: Any, files: Files) -> None:
    """localhost may be two ports to gRPC: both follow the files."""
    server = Server(stand_in, "localhost:0", certificates=files.loaded())
    await server.start()
    await server.warm()
    try:
        files.issue()
        files.write(files.authority.issue_cert("localhost", "127.0.0.1", "::1"))
        port = server.address.rpartition(":")[2]
        for *_, where in socket.getaddrinfo("localhost", None, type=socket.SOCK_STREAM):
            server.address = f"[{where[0]}]:{port}" if ":" in where[0] else f"{where[0]}:{port}"
            assert await once(server, files.authority) == "OK", where
    finally:
        await server.stop(grace=0)


def spoil_half_certificate(files: Files) -> None:
    files.certificate.write_bytes(files.certificate.read_bytes()[:300])


def spoil_key(files: Files) -> None:
    files.key.write_bytes(trustme.CA().issue_cert("127.0.0.1").private_key_pem.bytes())


def spoil_by_removing(files: Files) -> None:
    files.key.unlink()


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (spoil_half_certificate, "incomplete"),
        (spoil_key, "the key is not the certificate's"),
        (spoil_by_removing, "no such file"),
    ],
)
async def test_files_that_cannot_be_used_leave_the_old_ones_in_use(
    start: Start,
    files: Files,
    spoil: Callable[[Files], None],
    reason: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Said once, with the file; as soon as they are whole, they are served."""
    server = await start(certificates=files.loaded())
    spoil(files)
    for _ in range(3):
        assert await once(server, files.authority) == "OK"
    (warning,) = (record for record in caplog.records if record.levelno == logging.WARNING)
    assert reason in warning.message
    assert str(files.key) in warning.message
    files.issue()
    assert await once(server, files.authority) == "OK"


@pytest.mark.parametrize("spoil", [spoil_half_certificate, spoil_key, spoil_by_removing])
def test_files_that_cannot_be_used_at_the_start_are_an_error(
    files: Files, spoil: Callable[[Files], None]
) -> None:
    """There is nothing to go on with."""
    spoil(files)
    with pytest.raises(errors.InvalidArgument, match=str(files.key)):
        files.loaded()


async def test_a_key_that_needs_a_password_is_refused_at_once(files: Files) -> None:
    """Nobody is there to type it."""
    from cryptography.hazmat.primitives import serialization

    key = serialization.load_pem_private_key(files.key.read_bytes(), None)
    kind = serialization.BestAvailableEncryption(b"password")
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    files.key.write_bytes(key.private_bytes(pem, pkcs8, kind))
    with pytest.raises(errors.InvalidArgument, match="password"):
        files.loaded()


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    file = tmp_path / "token"
    file.write_text("right-token\n")
    return file


def bearer(token: str) -> tuple[str, str]:
    return ("authorization", f"Bearer {token}")


async def test_a_call_needs_the_token(start: Start, token_file: Path, stand_in: Any) -> None:
    """Right, wrong, in another scheme, missing: one sentence each, that never says the token."""
    server = await start(token=Token.of_file(token_file))
    async with grpc.aio.insecure_channel(server.address) as channel:
        assert await outcome(channel, bearer("right-token")) == "OK"
        assert await outcome(channel, ("authorization", "bearer right-token")) == "OK"
        missing = await outcome(channel)
        assert missing.startswith("UNAUTHENTICATED this server wants a token")
        for header in ("Bearer wrong", "Bearer", "Basic right-token", "right-token", "Bearer right-toke"):
            refused = await outcome(channel, ("authorization", header))
            assert refused.startswith("UNAUTHENTICATED the token is not one"), header
            assert "right-token" not in refused
        with pytest.raises(grpc.aio.AioRpcError, match="UNAUTHENTICATED"):
            await ExtractorStub(channel).Embed(pb.EmbedRequest(images=[bytes(2**20)]))
    assert not stand_in.submitted


@pytest.mark.usefixtures("collector_off")
async def test_calls_without_the_token_do_not_stay_in_memory(start: Start, token_file: Path) -> None:
    """Anybody can make as many as they like."""
    server = await start(token=Token.of_file(token_file))
    async with grpc.aio.insecure_channel(server.address) as channel:
        for _ in range(3):
            assert (await outcome(channel)).startswith("UNAUTHENTICATED")
    await no_call_in_memory()


async def test_reflection_needs_the_token_and_health_does_not(start: Start, token_file: Path) -> None:
    """What is served is no business of strangers; whether it lives is for probes without a secret."""
    server = await start(token=Token.of_file(token_file))
    question = reflection_pb2.ServerReflectionRequest(list_services="")
    async with grpc.aio.insecure_channel(server.address) as channel:
        reply = await HealthStub(channel).Check(health_pb2.HealthCheckRequest())
        assert reply.status == health_pb2.HealthCheckResponse.SERVING
        ask = ServerReflectionStub(channel).ServerReflectionInfo
        with pytest.raises(grpc.aio.AioRpcError, match="UNAUTHENTICATED"):
            await anext(aiter(ask(iter([question]))))
        answer = await anext(aiter(ask(iter([question]), metadata=(bearer("right-token"),))))
        assert answer.list_services_response.service


async def test_a_new_token_holds_at_once(start: Start, token_file: Path, caplog: Any) -> None:
    """During a change both are in the file; one that cannot be read leaves the old ones in use."""
    caplog.set_level(logging.DEBUG)
    server = await start(token=Token.of_file(token_file))
    async with grpc.aio.insecure_channel(server.address) as channel:
        for text, accepted, refused in (
            ("right-token\nnew-token\n", ["right-token", "new-token"], []),
            ("new-token", ["new-token"], ["right-token"]),
            ("", ["new-token"], ["right-token"]),
            ("spaces between", ["new-token"], ["spaces between"]),
            (None, ["new-token"], ["right-token"]),
            ("last-token", ["last-token"], ["new-token"]),
        ):
            token_file.unlink() if text is None else token_file.write_text(text)
            for token in accepted:
                assert await outcome(channel, bearer(token)) == "OK", text
            for token in refused:
                assert (await outcome(channel, bearer(token))).startswith("UNAUTHENTICATED"), text
    warnings = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    reasons = ("empty", "ASCII", "no such file")
    assert all(reason in said for reason, said in zip(reasons, warnings, strict=True)), warnings
    assert not any(token in caplog.text for token in ("new-token", "spaces between", "last-token"))


@pytest.mark.parametrize(
    ("text", "reason"), [("", "empty"), (" \n", "empty"), ("a b", "ASCII"), ("ä", "ASCII")]
)
def test_a_token_that_cannot_be_is_an_error_at_the_start(
    tmp_path: Path, text: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the file and from the environment, each by its name."""
    (tmp_path / "token").write_text(text)
    monkeypatch.setenv("PENULTIMATE_TOKEN", text)
    with pytest.raises(errors.InvalidArgument, match=f"{tmp_path / 'token'} .*{reason}"):
        Token.of_file(tmp_path / "token")
    with pytest.raises(errors.InvalidArgument, match=rf"\$PENULTIMATE_TOKEN .*{reason}"):
        Token.of_environment()


def test_a_token_file_is_a_file(tmp_path: Path) -> None:
    """What can be read only once, or not at all, cannot be read again when it changes."""
    for place in (tmp_path, tmp_path / "nowhere", Path("/dev/null")):
        with pytest.raises(errors.InvalidArgument, match=str(place)):
            Token.of_file(place)


async def test_the_environment_holds_a_token(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """And no variable means that none is wanted."""
    monkeypatch.delenv("PENULTIMATE_TOKEN", raising=False)
    assert Token.of_environment() is None
    monkeypatch.setenv("PENULTIMATE_TOKEN", "from-environment")
    server = await start(token=Token.of_environment())
    async with grpc.aio.insecure_channel(server.address) as channel:
        assert await outcome(channel, bearer("from-environment")) == "OK"
        assert (await outcome(channel)).startswith("UNAUTHENTICATED")


@pytest.mark.parametrize("address", ["0.0.0.0:0", "[::]:0", "example.org:0"])
def test_other_machines_need_tls_or_a_trusted_network(
    stand_in: Any, files: Files, token_file: Path, address: str
) -> None:
    """A token alone would be read on the way."""
    token = Token.of_file(token_file)
    with pytest.raises(errors.InvalidArgument, match="without encryption or password"):
        Server(stand_in, address)
    with pytest.raises(errors.InvalidArgument, match="the token could be read"):
        Server(stand_in, address, token=token)
    assert Server(stand_in, address, certificates=files.loaded(), token=token)
    assert Server(stand_in, address, token=token, insecure=True)


def test_a_server_process_with_tls_and_token(
    serve: Callable[..., Any], files: Files, token_file: Path, picture: Callable[..., bytes]
) -> None:
    """Off loopback, with a real image; neither the log nor the process list has the token."""
    running = serve(
        *("--tls-certificate", str(files.certificate), "--tls-key", str(files.key)),
        *("--token-file", str(token_file), "--log-level", "debug"),
        address="0.0.0.0:0",
    )
    files.issue()
    address = running.address.replace("0.0.0.0", "127.0.0.1")
    credentials = grpc.ssl_channel_credentials(files.authority.cert_pem.bytes())
    with grpc.secure_channel(address, credentials) as channel:
        embed = ExtractorStub(channel).Embed
        request = pb.EmbedRequest(images=[picture(1)])
        (result,) = embed(request, metadata=(bearer("right-token"),), timeout=PATIENCE_S).results
        assert result.WhichOneof("outcome") == "embedding"
        with pytest.raises(grpc.RpcError, match="UNAUTHENTICATED"):
            embed(request, metadata=(bearer("wrong-token"),), timeout=PATIENCE_S)
    said = running.log.read_text() + Path(f"/proc/{running.process.pid}/cmdline").read_text()
    assert "the token is not one" in said
    assert "right-token" not in said
    assert "wrong-token" not in said
    assert running.end() == 0
