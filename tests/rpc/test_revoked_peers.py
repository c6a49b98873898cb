"""A revoked node and its calls: refused at both ends, cut where they are open, and told why."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack, closing
from pathlib import Path
from typing import Any

import pytest
import uvloop

from tarsd import calls
from tarsd.calls import Headers
from tarsd.errors import NotAllowed, PeerLost, TarsdError
from tarsd.identity import Identity, create_invite, init_cluster
from tarsd.identity import authority as ca
from tarsd.identity.enrol import JoinRequest, admit
from tarsd.identity.identity import read_authority
from tarsd.identity.join import keep
from tarsd.identity.notices import Retirement, Revocation, write_notice
from tarsd.identity.token import decode_token
from tarsd.names import Capability, TraceId, Zone
from tarsd.rpc import RpcClient, RpcServer

STATUS = calls.CallSpec(Capability("status"), calls.StatusRequest, calls.StatusRequest, 5)


def notice_of(pc1: Identity, node: Identity) -> bytes:
    body = Revocation(bytes.fromhex(node.node_id), node.name, int(time.time()), "stolen", "pc1")
    return write_notice(body, read_authority(pc1.folder, Zone.CORE), (pc1.folder / "root.crt").read_bytes()).raw


class House:
    """Counts who gets in; `endless` calls never end by themselves."""

    def __init__(self) -> None:
        self.greeted = 0
        self.served = 0
        self.left = asyncio.Event()

    async def hello(self, _body: bytes, _peer: object, _address: object) -> bytes:
        self.greeted += 1
        return b"hi"

    async def status(self, _request: object, _context: object):
        self.served += 1
        yield calls.StatusRequest()

    async def endless(self, _request: object, _context: object):
        yield calls.StatusRequest()
        try:
            await asyncio.Event().wait()
        finally:
            self.left.set()

    def handlers(self) -> dict[Any, Any]:
        return {"status": self.status, "search": self.endless}


ENDLESS = calls.CallSpec(Capability("search"), calls.SearchRequest, calls.StatusRequest, 60)


@pytest.fixture
def inside() -> House:
    return House()


@pytest.fixture
async def house(serve, pc1: Identity, inside: House):
    """pc1 as the callee."""
    return await serve(inside.handlers(), identity=pc1, hello=inside.hello)


@pytest.fixture
def caller(pc2: Identity, stack: AsyncExitStack) -> RpcClient:
    """pc2 as the caller."""
    client = RpcClient(pc2, silence_s=1)
    stack.push_async_callback(client.close)
    return client


async def test_a_revoked_caller_is_refused_and_told_why(house, caller, pc1, pc2, inside, gather_items) -> None:
    pc1.notices.take([notice_of(pc1, pc2)])
    with pytest.raises((NotAllowed, PeerLost), match=r"pc2 was revoked on .* by pc1: stolen"):
        await gather_items(house.call(caller, STATUS, calls.StatusRequest()))
    assert inside.served == 0
    assert house.server._http.requests_count == 0
    own = pc2.notices.own
    assert own is not None
    assert own.reason == "stolen"


async def test_a_revoked_node_that_greets_is_refused_and_told_why(house, caller, pc1, pc2, inside) -> None:
    pc1.notices.take([notice_of(pc1, pc2)])
    with pytest.raises((NotAllowed, PeerLost), match="was revoked"):
        await caller.hello(house.address, b"")
    assert inside.greeted == 0
    assert pc2.notices.own is not None


async def test_a_revoked_callee_is_not_talked_to(serve, client, pc1, pc2, inside, gather_items) -> None:
    peer = await serve(inside.handlers(), hello=inside.hello)
    pc1.notices.take([notice_of(pc1, pc2)])
    with pytest.raises(PeerLost, match="pc2 was revoked"):
        await gather_items(peer.call(client, STATUS, calls.StatusRequest()))
    with pytest.raises(PeerLost, match="revoked"):
        await client.hello(peer.address, b"")
    assert (inside.served, inside.greeted) == (0, 0)


async def test_a_pooled_connection_ends_with_the_revocation_of_its_callee(
    serve, client, pc1, pc2, inside, gather_items
) -> None:
    peer = await serve(inside.handlers())
    await gather_items(peer.call(client, STATUS, calls.StatusRequest()))
    pc1.notices.take([notice_of(pc1, pc2)])
    with pytest.raises(PeerLost, match="revoked"):
        await gather_items(peer.call(client, STATUS, calls.StatusRequest()))
    assert inside.served == 1


async def test_a_pooled_connection_ends_with_the_revocation_of_its_caller(
    house, caller, pc1, pc2, inside, gather_items
) -> None:
    await gather_items(house.call(caller, STATUS, calls.StatusRequest()))
    pc1.notices.take([notice_of(pc1, pc2)])
    with pytest.raises((NotAllowed, PeerLost)):
        await gather_items(house.call(caller, STATUS, calls.StatusRequest()))
    assert inside.served == 1


async def test_an_open_call_of_a_revoked_caller_is_cut(house, caller, pc1, pc2, inside) -> None:
    call = house.call(caller, ENDLESS, calls.SearchRequest("x"))
    await anext(call)
    pc1.notices.take([notice_of(pc1, pc2)])
    async with asyncio.timeout(30):
        with pytest.raises(TarsdError):
            await anext(call)
        await inside.left.wait()
    assert house.server.open_calls == 0


async def test_an_open_call_to_a_revoked_callee_is_cut(serve, client, pc1, pc2, inside) -> None:
    peer = await serve(inside.handlers())
    call = peer.call(client, ENDLESS, calls.SearchRequest("x"))
    await anext(call)
    pc1.notices.take([notice_of(pc1, pc2)])
    async with asyncio.timeout(30):
        with pytest.raises(PeerLost):
            await anext(call)
        await inside.left.wait()


async def test_a_caller_that_got_through_the_handshake_is_refused_by_admit_too(
    house, caller, pc1, pc2, inside, gather_items, monkeypatch: pytest.MonkeyPatch
) -> None:
    pc1.notices.take([notice_of(pc1, pc2)])
    monkeypatch.setattr("tarsd.identity.contexts.PeerContext.notices", property(lambda _: pc2.notices), raising=False)
    object.__getattribute__(pc1.server_context(), "__dict__").pop("notices", None)
    with pytest.raises(NotAllowed, match="pc2 was revoked"):
        await gather_items(house.call(caller, STATUS, calls.StatusRequest()))
    assert inside.served == 0


async def test_others_are_served_as_before(house, caller, pc1, pc2, add_node, inside, stack, gather_items) -> None:
    pc1.notices.take([notice_of(pc1, add_node("pc3"))])
    assert len(await gather_items(house.call(caller, STATUS, calls.StatusRequest()))) == 1


async def test_a_node_that_a_thief_makes_with_a_retired_authority_gets_nothing(
    house, pc1, add_node, tmp_path: Path, stack, inside, gather_items
) -> None:
    thief = add_node("pc9")
    whole = ca.Signed((pc1.folder / "root.crt").read_bytes(), (pc1.folder / "root.key").read_bytes())
    second = ca.make_authority(whole, Zone.CORE, time.time(), 2)
    pc1.notices.take([write_notice(Retirement(2, 0), second, whole.certificate).raw])
    client = RpcClient(thief, silence_s=1)
    stack.push_async_callback(client.close)
    with pytest.raises((NotAllowed, PeerLost), match="replaced"):
        await gather_items(house.call(client, STATUS, calls.StatusRequest()))
    assert inside.served == 0


async def test_a_refused_caller_is_hung_up_on(house, pc1, pc2) -> None:
    pc1.notices.take([notice_of(pc1, pc2)])
    context = pc2.client_context(any_node=True)
    reader, writer = await asyncio.open_connection(*house.address, ssl=context)
    async with asyncio.timeout(30):
        answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 403 ")
    writer.close()


def test_the_same_on_uvloop(tmp_path: Path) -> None:
    async def scene() -> None:
        pc1 = init_cluster(tmp_path / "pc1", "pc1")
        token, key = decode_token(create_invite(pc1.data_dir, Zone.CORE)), ca.new_key()
        reply = admit(pc1.data_dir, JoinRequest(token.secret, "pc2", ca.make_request(key)))
        pc2 = keep(tmp_path / "pc2", (pc1.folder / "root.crt").read_bytes(), key, Zone.CORE, "pc2", reply)
        inside = House()
        server = RpcServer(pc1, inside.handlers(), beat_s=0.1, silence_s=0.5, hello=inside.hello)
        port = await server.start(["127.0.0.1"], 0)
        client = RpcClient(pc2, silence_s=1)
        headers = Headers(5, 1, TraceId(""))
        address = [("127.0.0.1", port)]
        call = client.call(address, pc1.node_id, ENDLESS, calls.SearchRequest("x"), headers)
        await anext(call)
        pc1.notices.take([notice_of(pc1, pc2)])
        async with asyncio.timeout(30):
            with pytest.raises(TarsdError):
                await anext(call)
            await inside.left.wait()
            with pytest.raises((NotAllowed, PeerLost), match="was revoked"):
                async for _ in client.call(address, pc1.node_id, STATUS, calls.StatusRequest(), headers):
                    pass
        assert pc2.notices.own is not None
        assert inside.served == 0
        await client.close()
        await server.stop()

    with closing(uvloop.new_event_loop()) as loop:
        loop.run_until_complete(scene())
