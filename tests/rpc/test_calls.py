"""Calls between two nodes over real sockets: the ways they go well, and the errors that handlers raise."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator

import pytest

from tarsd import calls, wire
from tarsd.errors import (
    DeadlineExceeded,
    DocumentError,
    NotFound,
    Overloaded,
    PeerLost,
    TarsdError,
    Unavailable,
    WireError,
)
from tarsd.rpc import CallContext
from tarsd.rpc.server import MAX_HELLO_BYTES

RECALL = calls.RecallRequest(calls.ConversationId("c"))
CHAT = calls.ChatRequest([])


async def recall(request: calls.RecallRequest, _context: CallContext):
    yield calls.RecallItem(summary=request.conversation, exchanges=2)


async def words(_request: calls.ChatRequest, _context: CallContext):
    for number in range(100):
        yield calls.ChatItem(text=str(number))


class Waiting:
    """A handler that yields `before` items, then waits until it is closed."""

    def __init__(self, before: int = 1) -> None:
        self.before = before
        self.started = asyncio.Event()
        self.closed = asyncio.Event()
        self.go_on = asyncio.Event()

    async def __call__(self, _request: object, _context: CallContext):
        try:
            self.started.set()
            for _ in range(self.before):
                yield calls.ChatItem(text="word")
            await self.go_on.wait()
        finally:
            self.closed.set()


async def keep_all(items, got: list[object]) -> None:
    async for item in items:
        got.append(item)  # noqa: PERF401 - what came before an error is to be kept


def connections(client) -> int:
    return sum(len(held) for held in client._pooled.connector._conns.values())


async def test_a_call_returns_what_the_handler_yields(serve, client, gather_items) -> None:
    peer = await serve({"recall": recall})
    found = await gather_items(peer.call(client, calls.RECALL, RECALL))
    assert found == [calls.RecallItem(summary="c", exchanges=2)]


async def test_items_stream_in_order(serve, client, gather_items) -> None:
    peer = await serve({"chat": words})
    found = await gather_items(peer.call(client, calls.CHAT, CHAT))
    assert [item.text for item in found] == [str(number) for number in range(100)]


async def test_an_item_arrives_before_the_next_is_made(serve, client) -> None:
    waiting = Waiting(before=1)
    peer = await serve({"chat": waiting})
    async with contextlib.aclosing(peer.call(client, calls.CHAT, CHAT)) as items, asyncio.timeout(0.3):
        assert (await anext(items)).text == "word"


async def test_the_handler_is_told_who_calls_and_how(serve, client, pc1, gather_items) -> None:
    seen: list[CallContext] = []

    async def note(_request: object, context: CallContext):
        seen.append(context)
        yield calls.RecallItem()

    peer = await serve({"recall": note})
    await gather_items(peer.call(client, calls.RECALL, RECALL, deadline_s=7))
    assert seen[0].caller == pc1.as_peer()
    assert (seen[0].headers.hops, seen[0].headers.trace, seen[0].headers.deadline_s) == (1, "t1", 7)
    assert seen[0].upload is None


async def test_connections_are_kept_and_used_again(serve, client, gather_items) -> None:
    peer = await serve({"recall": recall, "chat": words})
    for _ in range(5):
        await gather_items(peer.call(client, calls.RECALL, RECALL))
        await gather_items(peer.call(client, calls.CHAT, CHAT))
    assert connections(client) == 1
    assert len(peer.server._http.connections) == 1


async def test_a_reader_that_stops_at_the_last_item_keeps_the_connection(serve, client) -> None:
    peer = await serve({"recall": recall})
    for _ in range(3):
        async with contextlib.aclosing(peer.call(client, calls.RECALL, RECALL)) as items:
            async for _item in items:
                break
    assert connections(client) == 1
    assert len(peer.server._http.connections) == 1


async def test_closing_the_call_closes_the_handler(serve, client) -> None:
    waiting = Waiting()
    peer = await serve({"chat": waiting})
    async with contextlib.aclosing(peer.call(client, calls.CHAT, CHAT)) as items:
        await anext(items)
    async with asyncio.timeout(30):
        await waiting.closed.wait()


async def test_cancelling_the_caller_before_any_item_closes_the_handler(serve, client, gather_items) -> None:
    waiting = Waiting(before=0)
    peer = await serve({"chat": waiting})
    task = asyncio.create_task(gather_items(peer.call(client, calls.CHAT, CHAT)))
    await waiting.started.wait()
    task.cancel()
    async with asyncio.timeout(30):
        await waiting.closed.wait()


async def test_a_handler_that_thinks_for_long_is_not_lost(serve, client, gather_items) -> None:
    waiting = Waiting(before=0)
    peer = await serve({"chat": waiting})
    asyncio.get_running_loop().call_later(1.6, waiting.go_on.set)  # silence_s is 1
    assert await gather_items(peer.call(client, calls.CHAT, CHAT)) == []


async def test_a_caller_that_reads_slowly_is_not_lost_and_holds_the_handler_back(serve, client) -> None:
    made = 0

    async def large(_request: object, _context: CallContext):
        nonlocal made
        for _ in range(100):
            made += 1
            yield calls.ChatItem(text="x" * wire.MIB)

    peer = await serve({"chat": large})
    async with contextlib.aclosing(peer.call(client, calls.CHAT, CHAT)) as items:
        await anext(items)
        await asyncio.sleep(1)  # twice the silence
        assert made < 30
        assert [len(item.text) async for item in items] == [wire.MIB] * 99


@pytest.mark.parametrize(
    ("raised", "found", "sentence"),
    [
        (DocumentError("page 3 is broken"), DocumentError, "page 3 is broken"),
        (Overloaded("the queue is full"), Overloaded, "the queue is full"),
        (ValueError("secret text"), TarsdError, "internal error"),
        (TimeoutError("its own"), TarsdError, "internal error"),
        (ConnectionError("its own"), TarsdError, "internal error"),
    ],
)
@pytest.mark.parametrize("items", [0, 2])
async def test_what_a_handler_raises_arrives(
    serve, client, raised, found, sentence, items, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(_request: object, _context: CallContext):
        for _ in range(items):
            yield calls.ChatItem(text="word")
        raise raised

    peer = await serve({"chat": fail})
    got = []
    with pytest.raises(found, match=sentence) as error, caplog.at_level(logging.CRITICAL):
        await keep_all(peer.call(client, calls.CHAT, CHAT), got)
    assert type(error.value) is found
    assert len(got) == items
    assert "secret" not in str(error.value)


async def test_when_to_come_again_crosses_the_wire(serve, client, gather_items) -> None:
    async def full(_request: object, _context: CallContext):
        raise Overloaded("full", retry_after_s=12.5)
        yield

    peer = await serve({"recall": full})
    with pytest.raises(Overloaded) as error:
        await gather_items(peer.call(client, calls.RECALL, RECALL))
    assert error.value.retry_after_s == 12.5


async def test_after_an_error_the_connection_is_used_again(serve, client, gather_items) -> None:
    async def fail(_request: object, _context: CallContext):
        raise NotFound("no such thing")
        yield

    peer = await serve({"recall": fail})
    for _ in range(3):
        with pytest.raises(NotFound):
            await gather_items(peer.call(client, calls.RECALL, RECALL))
    assert len(peer.server._http.connections) == 1


async def test_a_capability_that_is_not_offered_is_not_found(serve, client, gather_items) -> None:
    peer = await serve({})
    with pytest.raises(NotFound, match="pc2 does not offer chat"):
        await gather_items(peer.call(client, calls.CHAT, CHAT))


async def test_a_capability_that_nobody_knows_is_not_found(serve, client, gather_items) -> None:
    peer = await serve({"chat": words})
    spec = calls.CallSpec(calls.Capability("teleport"), calls.ChatRequest, calls.ChatItem, deadline_s=1)
    with pytest.raises(NotFound, match="teleport"):
        await gather_items(peer.call(client, spec, CHAT))


async def test_a_request_that_does_not_fit_names_its_field(serve, client, gather_items) -> None:
    peer = await serve({"recall": recall})
    spec = calls.CallSpec(calls.RECALL.name, calls.StatusRequest, calls.RecallItem, deadline_s=1)
    with pytest.raises(WireError, match="conversation"):
        await gather_items(peer.call(client, spec, calls.StatusRequest()))


async def test_an_oversize_request_stays_at_home(serve, client, gather_items) -> None:
    peer = await serve({"recall": recall})
    with pytest.raises(WireError, match="over the bound"):
        await gather_items(
            peer.call(client, calls.RECALL, calls.RecallRequest(calls.ConversationId("x" * (wire.MAX_FRAME_BYTES + 1))))
        )


async def test_an_oversize_item_is_an_error_and_not_a_lost_peer(serve, client, gather_items) -> None:
    async def huge(_request: object, _context: CallContext):
        yield calls.ChatItem(text="x" * (wire.MAX_FRAME_BYTES + 1))

    peer = await serve({"chat": huge})
    with pytest.raises(WireError, match="over the bound"):
        await gather_items(peer.call(client, calls.CHAT, CHAT))


async def test_the_deadline_ends_the_handler_and_the_call(serve, client, gather_items) -> None:
    waiting = Waiting()
    peer = await serve({"chat": waiting})
    with pytest.raises(DeadlineExceeded, match=r"chat: 0\.3 s"):
        async with asyncio.timeout(30):
            await gather_items(peer.call(client, calls.CHAT, CHAT, deadline_s=0.3))
    async with asyncio.timeout(30):
        await waiting.closed.wait()


async def test_more_calls_than_the_bound_are_refused(serve, client, gather_items) -> None:
    waiting = Waiting()
    peer = await serve({"chat": waiting, "recall": recall}, max_calls=1)
    async with contextlib.aclosing(peer.call(client, calls.CHAT, CHAT)) as items:
        await anext(items)
        with pytest.raises(Overloaded, match="1 calls open"):
            await gather_items(peer.call(client, calls.RECALL, RECALL))
    async with asyncio.timeout(30):
        while peer.server.open_calls:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert await gather_items(peer.call(client, calls.RECALL, RECALL))


async def test_the_load_figure_comes_with_every_answer(serve, pc1, stack, gather_items) -> None:
    from tarsd.rpc import RpcClient

    heard = []
    caller = RpcClient(pc1, silence_s=0.5, on_load=lambda node, load: heard.append((node, load)))
    stack.push_async_callback(caller.close)
    peer = await serve({"recall": recall}, load=lambda: b"\x00\xff" * 8)
    await gather_items(peer.call(caller, calls.RECALL, RECALL))
    with pytest.raises(NotFound):
        await gather_items(peer.call(caller, calls.CHAT, CHAT))
    assert heard == [(peer.node_id, b"\x00\xff" * 8)] * 2


async def test_stopping_lets_open_calls_end_and_takes_no_more(serve, client, gather_items) -> None:
    waiting = Waiting()
    peer = await serve({"chat": waiting, "recall": recall})
    await gather_items(peer.call(client, calls.RECALL, RECALL))
    async with contextlib.aclosing(peer.call(client, calls.CHAT, CHAT)) as items:
        await anext(items)
        stopping = asyncio.create_task(peer.server.stop(drain_s=5))
        await asyncio.sleep(0)
        with pytest.raises(Unavailable):
            await gather_items(peer.call(client, calls.RECALL, RECALL))
        waiting.go_on.set()
        assert [item async for item in items] == []
    async with asyncio.timeout(30):
        await stopping


async def test_stopping_cuts_off_what_does_not_end(serve, client) -> None:
    waiting = Waiting()
    peer = await serve({"chat": waiting})
    async with contextlib.aclosing(peer.call(client, calls.CHAT, CHAT)) as items:
        await anext(items)
        async with asyncio.timeout(30):
            await peer.server.stop(drain_s=0.1)
        with pytest.raises(PeerLost):
            await anext(items)
    assert waiting.closed.is_set()


# --- uploads ----------------------------------------------------------------------------------------------------

INGEST = calls.IngestRequest(file="a.pdf", size_bytes=1, sha256="00")


async def count_bytes(request: calls.IngestRequest, context: CallContext):
    taken = 0
    assert context.upload is not None
    async for chunk in context.upload:
        taken += len(chunk)
        yield calls.IngestItem(job="1", file=request.file, stage="parsing", done=taken)
    yield calls.IngestItem(job="1", file=request.file, stage="done", done=taken)


class Source:
    """An upload's source that counts how far it was read."""

    def __init__(self, chunks: int, chunk: bytes = bytes(wire.MIB), pause_s: float = 0.0) -> None:
        self.chunks, self.chunk, self.pause_s, self.read = chunks, chunk, pause_s, 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for _ in range(self.chunks):
            await asyncio.sleep(self.pause_s)
            self.read += 1
            yield self.chunk


async def test_an_upload_arrives_whole_while_items_come_back(serve, client, gather_items) -> None:
    peer = await serve({"ingest": count_bytes})
    found = await gather_items(peer.call(client, calls.INGEST, INGEST, upload=aiter(Source(8))))
    assert (found[-1].stage, found[-1].done) == ("done", 8 * wire.MIB)
    assert len(found) > 8


async def test_an_upload_begins_before_the_first_beat(serve, client, gather_items) -> None:
    peer = await serve({"ingest": count_bytes}, beat_s=5)
    async with asyncio.timeout(0.4):
        found = await gather_items(peer.call(client, calls.INGEST, INGEST, upload=aiter(Source(2, b"x"))))
    assert found[-1].done == 2


async def test_an_empty_upload_ends(serve, client, gather_items) -> None:
    peer = await serve({"ingest": count_bytes})
    assert [item.done for item in await gather_items(peer.call(client, calls.INGEST, INGEST))] == [0]


async def test_an_upload_is_read_no_faster_than_it_is_consumed(serve, client) -> None:
    go_on = asyncio.Event()

    async def slow(request: calls.IngestRequest, context: CallContext):
        assert context.upload is not None
        yield calls.IngestItem(job="1", file="", stage="queued")
        await go_on.wait()
        async for _chunk in context.upload:
            pass
        yield calls.IngestItem(job="1", file="", stage="done")

    peer = await serve({"ingest": slow})
    source = Source(100)
    async with contextlib.aclosing(peer.call(client, calls.INGEST, INGEST, upload=aiter(source))) as items:
        await anext(items)
        reading = asyncio.create_task(anext(items))
        await asyncio.sleep(0.7)  # the caller's own bytes stand still for longer than the silence
        assert 0 < source.read < 30
        go_on.set()
        assert (await reading).stage == "done"
    assert source.read == 100


async def test_an_upload_that_pauses_is_not_lost(serve, client, gather_items) -> None:
    peer = await serve({"ingest": count_bytes})
    found = await gather_items(peer.call(client, calls.INGEST, INGEST, upload=aiter(Source(2, b"x", pause_s=0.8))))
    assert found[-1].done == 2


async def test_an_upload_that_is_refused_is_not_read(serve, client, gather_items) -> None:
    peer = await serve({})
    source = Source(3)
    with pytest.raises(NotFound):
        await gather_items(peer.call(client, calls.INGEST, INGEST, upload=aiter(source)))
    assert source.read == 0


async def test_a_handler_may_fail_in_mid_upload(serve, client, gather_items) -> None:
    async def full(_request: object, context: CallContext):
        assert context.upload is not None
        await anext(context.upload)
        raise Overloaded("the disk is full")
        yield

    peer = await serve({"ingest": full})
    with pytest.raises(Overloaded, match="the disk is full"):
        async with asyncio.timeout(30):
            await gather_items(peer.call(client, calls.INGEST, INGEST, upload=aiter(Source(500))))


async def test_a_source_that_fails_ends_the_call_with_its_own_error(serve, client, gather_items) -> None:
    seen = asyncio.get_running_loop().create_future()

    async def note(request: calls.IngestRequest, context: CallContext):
        try:
            async for item in count_bytes(request, context):
                yield item
        except PeerLost as error:
            seen.set_result(str(error))
            raise

    async def broken() -> AsyncIterator[bytes]:
        yield b"abc"
        raise NotFound("the file went away")

    peer = await serve({"ingest": note})
    with pytest.raises(NotFound, match="the file went away"):
        await gather_items(peer.call(client, calls.INGEST, INGEST, upload=broken()))
    async with asyncio.timeout(0.3):
        assert "could not go on" in await seen
    assert len(peer.server._http.connections) == 1


# --- greetings --------------------------------------------------------------------------------------------------


async def test_a_greeting_goes_both_ways_and_tells_who_is_there(serve, client, pc1, pc2) -> None:
    async def hello(body: bytes, peer, address) -> bytes:
        assert address[0] == "127.0.0.1"
        return body + b" " + peer.node_id.encode()

    peer = await serve({}, hello=hello)
    for expected in (None, pc2.node_id):
        who, answer = await client.hello(peer.address, b"\x00hi", expected)
        assert who == pc2.as_peer()
        assert answer == b"\x00hi " + pc1.node_id.encode()


async def test_what_the_greeted_raises_arrives(serve, client) -> None:
    async def hello(body: bytes, peer, address) -> bytes:
        raise Overloaded("later")

    peer = await serve({}, hello=hello)
    with pytest.raises(Overloaded, match="later"):
        await client.hello(peer.address, b"hi")


async def test_a_greeting_too_large_is_refused(serve, client) -> None:
    async def hello(body: bytes, peer, address) -> bytes:
        return b"x" * (MAX_HELLO_BYTES + 1) if body == b"large" else b""

    peer = await serve({}, hello=hello)
    with pytest.raises(WireError, match="at most"):
        await client.hello(peer.address, bytes(MAX_HELLO_BYTES + 1))
    with pytest.raises(WireError, match="at most"):
        await client.hello(peer.address, b"large")


async def test_greeting_another_node_than_expected_fails(serve, client, pc1) -> None:
    async def hello(body: bytes, peer, address) -> bytes:
        pytest.fail("it was asked")

    peer = await serve({}, hello=hello)
    with pytest.raises(PeerLost, match="another node answers there"):
        await client.hello(peer.address, b"hi", pc1.node_id)
