"""Peers that freeze, die, hang, lie or never were: each costs a caller a bounded time and a clear error."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Awaitable, Callable

import pytest

from tarsd import calls, wire
from tarsd.calls import Headers
from tarsd.errors import DeadlineExceeded, PeerLost, WireError
from tarsd.identity import Identity
from tarsd.names import TraceId
from tarsd.rpc import RpcClient
from tarsd.wire import Kind

CHAT = calls.ChatRequest([])
RECALL = calls.RecallRequest(calls.ConversationId("c"))
HEADERS = Headers(deadline_s=60, hops=1, trace=TraceId(""))
SOON_S = 30  # long before the deadline, and long enough for a busy machine
ITEM = wire.encode_frame(Kind.ITEM, wire.encode(calls.RecallItem(summary="raw")))
HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter, int], Awaitable[None]]


def chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


async def keep_all(items, got: list[object]) -> None:
    async for item in items:
        got.append(item)  # noqa: PERF401 - what came before an error is to be kept


async def read_request(reader: asyncio.StreamReader) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if b"content-length" in line)
    await reader.readexactly(length)


@pytest.fixture
async def raw(pc2: Identity, stack):
    """Starts pc2 with its right certificate and a script in place of a server; returns (address, connections)."""

    async def start(talk: Talk) -> tuple[tuple[str, int], list[int]]:
        made: list[int] = []

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            made.append(1)
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await talk(reader, writer, len(made))
            writer.transport.abort()

        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=pc2.server_context())
        stack.callback(server.close)
        return server.sockets[0].getsockname()[:2], made

    return start


async def test_a_frozen_process_is_lost_within_the_silence(process, client) -> None:
    async with contextlib.aclosing(process.call(client, calls.CHAT, CHAT, deadline_s=60)) as items:
        await anext(items)
        os.kill(process.pid, signal.SIGSTOP)
        frozen_at = time.monotonic()
        with pytest.raises(PeerLost, match="silent for 1 s"):
            async for _ in items:
                pass
    assert 0.9 < time.monotonic() - frozen_at < SOON_S


async def test_a_call_to_a_frozen_process_is_lost_too(process, client, gather_items) -> None:
    await gather_items(process.call(client, calls.RECALL, RECALL))  # there is a pooled connection
    os.kill(process.pid, signal.SIGSTOP)
    for said in ("silent", "no connection in time"):  # the pooled one; a fresh one, whose handshake never ends
        started = time.monotonic()
        with pytest.raises(PeerLost, match=said):
            await gather_items(process.call(client, calls.RECALL, RECALL, deadline_s=60))
        assert time.monotonic() - started < SOON_S


async def test_a_blocked_event_loop_is_lost_within_the_silence(process, client, gather_items) -> None:
    started = time.monotonic()
    with pytest.raises(PeerLost, match="silent"):
        await gather_items(process.call(client, calls.STATUS, calls.StatusRequest(), deadline_s=60))
    assert time.monotonic() - started < SOON_S


async def test_a_killed_process_is_lost_at_once(process, client, gather_items) -> None:
    async with contextlib.aclosing(process.call(client, calls.CHAT, CHAT)) as items:
        await anext(items)
        os.kill(process.pid, signal.SIGKILL)
        with pytest.raises(PeerLost) as lost:
            async for _ in items:
                pass
    assert "silent" not in str(lost.value)  # that its connection ended was noticed, not that nothing comes any more
    with pytest.raises(PeerLost, match="cannot be reached"):
        await gather_items(process.call(client, calls.RECALL, RECALL))


async def test_our_own_stall_does_not_accuse_the_peer(process, client) -> None:
    async with contextlib.aclosing(process.call(client, calls.CHAT, CHAT)) as items:
        await anext(items)
        waiting = asyncio.ensure_future(anext(items))
        await asyncio.sleep(0)
        time.sleep(2.0)  # noqa: ASYNC251 - this process stands still, twice as long as the silence
        assert (await waiting).text == "word"


async def test_a_stream_that_is_cut_off_is_lost(raw, client, pc2, gather_items) -> None:
    async def cut(reader, writer, _number) -> None:
        await read_request(reader)
        writer.write(HEAD + chunk(ITEM))
        await writer.drain()

    address, _ = await raw(cut)
    got = []
    with pytest.raises(PeerLost):
        await keep_all(client.call([address], pc2.node_id, calls.RECALL, RECALL, HEADERS), got)
    assert len(got) == 1


@pytest.mark.parametrize("last", [b"", ITEM[:7]], ids=["between frames", "inside a frame"])
async def test_a_stream_that_ends_without_end_is_lost(raw, client, pc2, gather_items, last: bytes) -> None:
    async def polite(reader, writer, _number) -> None:
        await read_request(reader)
        writer.write(HEAD + chunk(ITEM) + (chunk(last) if last else b"") + b"0\r\n\r\n")
        await reader.read()

    address, _ = await raw(polite)
    with pytest.raises(PeerLost, match="cut off"):
        await gather_items(client.call([address], pc2.node_id, calls.RECALL, RECALL, HEADERS))


@pytest.mark.parametrize("bad", [b"\xff\xff\xff\xff\x03", b"\x00\x00\x00\x00\x63", wire.encode_frame(Kind.CHUNK)])
async def test_an_answer_that_is_none_is_refused(raw, client, pc2, gather_items, bad: bytes) -> None:
    async def lie(reader, writer, _number) -> None:
        await read_request(reader)
        writer.write(HEAD + chunk(bad))
        await reader.read()

    address, _ = await raw(lie)
    with pytest.raises(WireError):
        await gather_items(client.call([address], pc2.node_id, calls.RECALL, RECALL, HEADERS))


async def test_a_pooled_connection_found_closed_is_replaced_once(raw, client, pc2, gather_items) -> None:
    async def close_at_the_second(reader, writer, _number) -> None:
        await read_request(reader)
        writer.write(HEAD + chunk(ITEM + wire.END) + b"0\r\n\r\n")
        await read_request(reader)

    address, made = await raw(close_at_the_second)
    for expected_connections in (1, 2):
        found = await gather_items(client.call([address], pc2.node_id, calls.RECALL, RECALL, HEADERS))
        assert [item.summary for item in found] == ["raw"]
        assert len(made) == expected_connections


async def test_a_fresh_connection_that_breaks_is_not_tried_again(raw, client, pc2, gather_items) -> None:
    async def close(reader, _writer, _number) -> None:
        await read_request(reader)

    address, made = await raw(close)
    with pytest.raises(PeerLost, match="broke"):
        await gather_items(client.call([address], pc2.node_id, calls.RECALL, RECALL, HEADERS))
    assert len(made) == 1


async def test_a_call_that_began_to_answer_is_not_tried_again(raw, client, pc2, gather_items) -> None:
    async def answer_then_cut(reader, writer, _number) -> None:
        await read_request(reader)
        writer.write(HEAD + chunk(ITEM + wire.END) + b"0\r\n\r\n")
        await read_request(reader)
        writer.write(HEAD)
        await writer.drain()

    address, made = await raw(answer_then_cut)
    await gather_items(client.call([address], pc2.node_id, calls.RECALL, RECALL, HEADERS))
    with pytest.raises(PeerLost):
        await gather_items(client.call([address], pc2.node_id, calls.RECALL, RECALL, HEADERS))
    assert len(made) == 1


async def test_the_callers_deadline_holds_when_the_callee_ignores_it(raw, client, pc2, gather_items) -> None:
    async def only_beats(reader, writer, _number) -> None:
        await read_request(reader)
        writer.write(HEAD)
        while True:
            writer.write(chunk(wire.BEAT))
            await writer.drain()
            await asyncio.sleep(0.05)

    address, _ = await raw(only_beats)
    started = time.monotonic()
    with pytest.raises(DeadlineExceeded, match=r"0\.3 s"):
        await gather_items(client.call([address], pc2.node_id, calls.RECALL, RECALL, Headers(0.3, 1, TraceId(""))))
    assert time.monotonic() - started < SOON_S


async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while await reader.read(1000):
            pass
    writer.close()


async def test_a_port_that_never_shakes_hands_costs_the_connect_time(client, pc2, gather_items) -> None:
    mute = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    address = mute.sockets[0].getsockname()[:2]
    started = time.monotonic()
    with pytest.raises(PeerLost, match="no connection in time"):
        await gather_items(client.call([address], pc2.node_id, calls.RECALL, RECALL, HEADERS))
    assert 0.8 < time.monotonic() - started < SOON_S
    started = time.monotonic()
    with pytest.raises(PeerLost, match="no connection in time"):
        await client.hello(address, b"")
    assert time.monotonic() - started < SOON_S
    mute.close()


async def test_the_next_address_is_tried_where_none_connects(process, client, gather_items) -> None:
    addresses = [("127.0.0.1", 1), ("::1", 1), process.address]
    found = await gather_items(client.call(addresses, process.node_id, calls.RECALL, RECALL, HEADERS))
    assert found == [calls.RecallItem(summary="c")]


async def test_all_addresses_together_have_little_more_time_than_one(client, pc2, gather_items) -> None:
    mutes = [await asyncio.start_server(say_nothing, "127.0.0.1", 0) for _ in range(4)]
    addresses = [mute.sockets[0].getsockname()[:2] for mute in mutes]
    started = time.monotonic()
    with pytest.raises(PeerLost, match=r"no connection in time.*no time was left"):
        await gather_items(client.call(addresses, pc2.node_id, calls.RECALL, RECALL, HEADERS))
    assert 1.4 < time.monotonic() - started < SOON_S
    for mute in mutes:
        mute.close()


async def test_no_address_is_a_lost_peer(client, pc2, gather_items) -> None:
    with pytest.raises(PeerLost, match="no address is known"):
        await gather_items(client.call([], pc2.node_id, calls.RECALL, RECALL, HEADERS))


async def test_a_restarted_peer_is_called_again_without_an_error(serve, client, pc2, gather_items) -> None:
    from tarsd.rpc import RpcServer

    async def recall(_request: object, _context: object):
        yield calls.RecallItem(summary="x")

    peer = await serve({"recall": recall})
    await gather_items(peer.call(client, calls.RECALL, RECALL))
    await peer.server.stop()
    again = RpcServer(pc2, {"recall": recall}, beat_s=0.1)
    await again.start(["127.0.0.1"], peer.address[1])
    assert await gather_items(peer.call(client, calls.RECALL, RECALL)) == [calls.RecallItem(summary="x")]
    await again.stop()


async def test_a_renewed_certificate_serves_new_connections_without_a_restart(
    serve, client, pc1: Identity, pc2: Identity, stack, gather_items
) -> None:
    from tarsd.identity import renew

    async def recall(_request: object, _context: object):
        yield calls.RecallItem(summary="x")

    peer = await serve({"recall": recall})
    await gather_items(peer.call(client, calls.RECALL, RECALL))
    before = pc2.not_after
    assert renew(pc2, now=time.time() + 60, below_s=float("inf"))
    assert pc2.not_after > before
    fresh = RpcClient(pc1, silence_s=0.5)
    stack.push_async_callback(fresh.close)
    for caller in (client, fresh):
        assert await gather_items(peer.call(caller, calls.RECALL, RECALL))


async def test_a_certificate_that_has_ended_is_explained(serve, client, pc2: Identity, gather_items) -> None:
    from tarsd.identity import renew

    renew(pc2, now=time.time() - 31 * 24 * 3600, below_s=float("inf"))
    peer = await serve({})
    with pytest.raises(PeerLost, match="has ended: its clock or ours"):
        await gather_items(peer.call(client, calls.RECALL, RECALL))


async def test_a_clock_far_behind_is_explained(serve, client, pc2: Identity, gather_items) -> None:
    from tarsd.identity import renew

    renew(pc2, now=time.time() + 2 * 24 * 3600, below_s=float("inf"))
    peer = await serve({})
    with pytest.raises(PeerLost, match="not valid yet: does the clock"):
        await gather_items(peer.call(client, calls.RECALL, RECALL))


async def test_a_relayed_loss_does_not_accuse_the_relay(serve, client, gather_items) -> None:
    from tarsd.errors import Unavailable

    async def relay(_request: object, _context: object):
        raise PeerLost("pc3: silent")
        yield

    peer = await serve({"recall": relay})
    with pytest.raises(Unavailable, match="pc3: silent") as error:
        await gather_items(peer.call(client, calls.RECALL, RECALL))
    assert not isinstance(error.value, PeerLost)


async def test_the_callee_holds_the_deadline_of_a_caller_that_does_not(serve, pc1: Identity) -> None:
    closed = asyncio.Event()

    async def for_ever(_request: object, _context: object):
        try:
            await asyncio.Event().wait()
            yield
        finally:
            closed.set()

    peer = await serve({"recall": for_ever})
    reader, writer = await asyncio.open_connection(*peer.address, ssl=pc1.client_context(any_node=True))
    body = wire.encode_frame(Kind.REQUEST, wire.encode(RECALL))
    writer.write(
        b"POST /rpc/recall HTTP/1.1\r\nHost: x\r\nX-Tarsd-Deadline: 0.3\r\nX-Tarsd-Hops: 1\r\n"
        + f"Content-Length: {len(body)}\r\n\r\n".encode()
        + body
    )
    async with asyncio.timeout(SOON_S):
        assert b"DeadlineExceeded" in await reader.readuntil(b"0\r\n\r\n")
    assert closed.is_set()
    writer.transport.abort()


async def test_a_reader_that_stops_waits_for_an_end_on_its_way(
    raw, client, pc2, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tarsd.rpc.client.LAST_FRAME_S", float(SOON_S))

    async def end_later(reader, writer, _number) -> None:
        while True:
            await read_request(reader)
            writer.write(HEAD + chunk(ITEM))
            await asyncio.sleep(0.02)
            writer.write(chunk(wire.END) + b"0\r\n\r\n")

    address, made = await raw(end_later)
    for _ in range(2):
        async with contextlib.aclosing(client.call([address], pc2.node_id, calls.RECALL, RECALL, HEADERS)) as items:
            await anext(items)
    assert len(made) == 1


async def test_a_reader_that_stops_does_not_read_on_through_further_items(
    process, client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tarsd.rpc.client.LAST_FRAME_S", 2.0 * SOON_S)
    async with asyncio.timeout(SOON_S):
        async with contextlib.aclosing(process.call(client, calls.CHAT, CHAT)) as items:
            await anext(items)


async def test_a_caller_that_freezes_in_mid_upload_is_lost_to_the_handler(serve, pc1: Identity) -> None:
    lost = asyncio.get_running_loop().create_future()

    async def note(_request: object, context):
        try:
            async for _chunk in context.upload:
                pass
        except PeerLost as error:
            lost.set_result(str(error))
            raise
        yield

    peer = await serve({"ingest": note})
    _, writer = await asyncio.open_connection(*peer.address, ssl=pc1.client_context(any_node=True))
    request = wire.encode_frame(Kind.REQUEST, wire.encode(calls.IngestRequest("x", 1, "")))
    writer.write(
        b"POST /rpc/ingest HTTP/1.1\r\nHost: x\r\nX-Tarsd-Deadline: 60\r\nX-Tarsd-Hops: 1\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n" + chunk(request)
    )
    async with asyncio.timeout(SOON_S):
        assert await lost == "pc1: silent for 0.5 s"
    writer.transport.abort()
