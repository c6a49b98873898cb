"""Revoking and replacing authorities over the client API: the admin token, the shapes, the errors."""

from __future__ import annotations

from typing import Any

import aiohttp
import msgspec
import pytest

from tarsd.errors import NotAllowed, NotFound, Unavailable
from tarsd.names import NodeId, NodeName
from tarsd.roles.revoking import RevokeReport
from tarsd.roles.rotation import RotationReport

ADMIN = {"Authorization": "Bearer the-admin-token"}
REVOKED = RevokeReport(NodeId("c" * 32), "pc3", "core", "stolen", False, ["pc2"], ["pc9"], True)
HALF = RotationReport(2, "use", {"install": [NodeName("pc1")]}, [NodeName("pc1")], [NodeName("pc9")], "pc1")


@pytest.fixture
async def client():
    async with aiohttp.ClientSession() as session:
        yield session


class ScriptedTrust:
    """Keeps what it was asked; raises `error` where there is one."""

    def __init__(self, error: Exception | None = None) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self._error = error

    def _note(self, *what: Any) -> None:
        self.asked.append(what)
        if self._error:
            raise self._error

    async def revoke(self, name: str, reason: str = "") -> RevokeReport:
        self._note("revoke", name, reason)
        return msgspec.structs.replace(REVOKED, name=name, reason=reason)

    async def rotate(self) -> RotationReport:
        self._note("rotate")
        return msgspec.structs.replace(HALF, phase="done", acknowledged={"use": [NodeName("pc1"), NodeName("pc2")]})

    async def rotation(self) -> RotationReport:
        self._note("rotation")
        return HALF


@pytest.mark.parametrize(("method", "path"), [("POST", "/api/revoke"), ("POST", "/api/rotate"), ("GET", "/api/rotate")])
@pytest.mark.parametrize("token", ["", "Bearer wrong", "Bearer "])
async def test_trust_needs_the_admin_token(serve, client, method, path, token):
    trust = ScriptedTrust()
    served = await serve(trust=trust)
    body = {"name": "pc3"}
    async with client.request(method, served.url + path, headers={"Authorization": token}, json=body) as response:
        assert response.status == 401
    assert trust.asked == []


async def test_revoke_tells_who_knows_by_now(serve, client):
    trust = ScriptedTrust()
    served = await serve(trust=trust)
    body = {"name": "pc3", "reason": "sold"}
    async with client.post(served.url + "/api/revoke", headers=ADMIN, json=body) as response:
        told = await response.json()
    assert trust.asked == [("revoke", "pc3", "sold")]
    assert (told["name"], told["acknowledged"], told["waiting"]) == ("pc3", ["pc2"], ["pc9"])
    assert told["held_authorities"] is True


@pytest.mark.parametrize("body", [{}, {"name": ""}, {"name": "pc3", "reason": "x" * 201}, {"name": "pc3", "why": ""}])
async def test_a_wrong_revocation_is_refused(serve, client, body):
    trust = ScriptedTrust()
    served = await serve(trust=trust)
    async with client.post(served.url + "/api/revoke", headers=ADMIN, json=body) as response:
        assert response.status == 400
    assert trust.asked == []


@pytest.mark.parametrize(
    ("error", "status"), [(NotFound("no node"), 404), (NotAllowed("only core"), 403), (Unavailable("pc2"), 503)]
)
async def test_what_trust_refuses_is_told(serve, client, error, status):
    served = await serve(trust=ScriptedTrust(error))
    async with client.post(served.url + "/api/revoke", headers=ADMIN, json={"name": "pc3"}) as response:
        assert response.status == status
        assert str(error) in (await response.json())["error"]["message"]


async def test_rotation_is_looked_at_and_done(serve, client):
    trust = ScriptedTrust()
    served = await serve(trust=trust)
    async with client.get(served.url + "/api/rotate", headers=ADMIN) as response:
        assert (await response.json())["phase"] == "use"
    async with client.post(served.url + "/api/rotate", headers=ADMIN) as response:
        assert (await response.json())["phase"] == "done"
    assert trust.asked == [("rotation",), ("rotate",)]


async def test_a_node_without_trust_says_so(serve, client):
    served = await serve()
    async with client.get(served.url + "/api/rotate", headers=ADMIN) as response:
        assert response.status == 503


async def test_the_trust_routes_are_in_the_manual(serve, client):
    served = await serve()
    async with client.get(served.url + "/api") as response:
        listed = {(route["method"], route["path"]) for route in (await response.json())["routes"]}
    assert {("POST", "/api/revoke"), ("POST", "/api/rotate"), ("GET", "/api/rotate")} <= listed
