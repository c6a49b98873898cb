"""What a command makes of a node's answers over HTTP, against a server of the test's own."""

from __future__ import annotations

import datetime
import ipaddress
import json
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tarsd.cli.client import ApiClient, Target
from tarsd.errors import Unavailable


@pytest.fixture
async def serve() -> AsyncIterator[Any]:
    """A function that serves the bytes at /api/members and returns the base URL."""
    running: list[web.AppRunner] = []

    async def start(*pieces: bytes, tls: ssl.SSLContext | None = None) -> str:
        async def members(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse()
            await response.prepare(request)
            for piece in pieces:
                await response.write(piece)
            await response.write_eof()
            return response

        app = web.Application()
        app.add_routes([web.get("/api/members", members)])
        running.append(web.AppRunner(app, shutdown_timeout=0.1))
        await running[-1].setup()
        await web.TCPSite(running[-1], "127.0.0.1", 0, ssl_context=tls).start()
        return f"{'https' if tls else 'http'}://127.0.0.1:{running[-1].addresses[0][1]}"

    yield start
    for one in running:
        await one.cleanup()


async def lines_of(url: str) -> list[Any]:
    async with ApiClient(Target(url)) as client:
        return [line async for line in client.lines("GET", "/api/members")]


async def test_lines_come_out_whole_however_they_were_sent(serve):
    url = await serve(b'{"a":', b"1}\n\n{", b'"a":2}\n{"a":3}', b"\n\n", b'{"a":4}')
    assert [line["a"] for line in await lines_of(url)] == [1, 2, 3, 4]


async def test_a_cluster_of_many_members_is_one_long_line(serve):
    members = {"members": [{"name": "x" * 800}] * 2000}
    assert await lines_of(await serve(json.dumps(members).encode() + b"\n", b'{"next": 1}\n')) == [members, {"next": 1}]


async def test_a_line_without_end_is_an_error_with_a_sentence(serve, monkeypatch):
    monkeypatch.setattr("tarsd.cli.client.MAX_LINE_BYTES", 100_000)
    with pytest.raises(Unavailable, match="a line of more than 100000 bytes"):
        await lines_of(await serve(*[b"x" * 50_000] * 4))


async def test_a_certificate_that_is_not_trusted_is_not_told_as_a_node_that_is_off(serve, tmp_path):
    url = await serve(b"{}", tls=self_signed(tmp_path))
    async with ApiClient(Target(url)) as client:
        with pytest.raises(Unavailable, match=f"^{url}: its certificate is not trusted here$"):
            await client.json("GET", "/api/members")
        with pytest.raises(Unavailable, match=f"^{url}: its certificate is not trusted here$"):
            await client.talk().open()


def self_signed(folder: Path) -> ssl.SSLContext:
    """A server's context with a certificate for 127.0.0.1 that nobody vouches for."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "pc2")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    file = folder / "node.pem"
    file.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain) + certificate.public_bytes(pem))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(file)
    return context
