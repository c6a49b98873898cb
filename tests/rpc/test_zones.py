"""Who gets nothing: strangers, other clusters, the lab, forged certificates; each tries every capability."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tarsd import calls, wire
from tarsd.calls import Headers
from tarsd.errors import NotAllowed, PeerLost, TarsdError
from tarsd.identity import Identity, init_cluster
from tarsd.names import Capability, TraceId, Zone
from tarsd.rpc import RpcClient
from tarsd.wire import Kind

SAMPLES: dict[str, Any] = {
    "chat": calls.ChatRequest([]),
    "summarize": calls.SummarizeRequest("x"),
    "remember": calls.RememberRequest(calls.ConversationId("c"), "q", "a"),
    "recall": calls.RecallRequest(calls.ConversationId("c")),
    "embed": calls.EmbedRequest([]),
    "search": calls.SearchRequest("x"),
    "ingest": calls.IngestRequest("x", 0, ""),
    "jobs": calls.JobsRequest(),
    "prepare": calls.PrepareRequest("x"),
    "records": calls.RecordsRequest({}),
    "status": calls.StatusRequest(),
    "nightly": calls.NightlyRequest(),
    "trust": calls.TrustRequest(),
    "renew": calls.RenewRequest(b""),
    "authorities": calls.AuthoritiesRequest(),
    "pass": calls.PassRequest([], 1.0),
    "models": calls.ModelsRequest(),
    "model_file": calls.ModelFileRequest("x"),
    "pull": calls.PullRequest("x"),
    "remove_model": calls.RemoveModelRequest("x"),
    "measure": calls.MeasureRequest(),
    "export": calls.ExportRequest(calls.Who()),
    "import": calls.ImportRequest(calls.Who(), []),
    "save_settings": calls.SaveSettingsRequest(calls.Who()),
    "settings": calls.SettingsRequest(calls.Who()),
    "conversations": calls.ConversationsRequest(calls.Who()),
    "diary": calls.DiaryRequest(calls.Who()),
    "forget": calls.ForgetRequest(calls.Who(), "memory/x"),
    "memories": calls.MemoriesRequest(calls.Who()),
    "memory_status": calls.MemoryStatusRequest(),
    "obey": calls.ObeyRequest("x"),
    "projects": calls.ProjectsRequest(calls.Who()),
    "push": calls.PushRequest([]),
    "receipts": calls.ReceiptRequest(),
    "save": calls.SaveRequest(calls.Who(), "x"),
    "save_project": calls.SaveProjectRequest(calls.Who(), "x"),
    "search_memories": calls.SearchMemoriesRequest("x"),
    "undo": calls.UndoRequest(calls.Who(), "x"),
}

# Whoever adds a capability decides here, too, whether the lab may call it: nothing is closed or open by omission.
OPEN_TO_THE_LAB = {"renew"}
CLOSED_TO_THE_LAB = {
    "chat",
    "summarize",
    "remember",
    "recall",
    "embed",
    "search",
    "ingest",
    "jobs",
    "prepare",
    "records",
    "status",
    "nightly",
    "trust",
    "authorities",
    "pass",
    "models",
    "model_file",
    "pull",
    "remove_model",
    "measure",
    "export",
    "import",
    "save_settings",
    "settings",
    "conversations",
    "diary",
    "forget",
    "memories",
    "memory_status",
    "obey",
    "projects",
    "push",
    "receipts",
    "save",
    "save_project",
    "search_memories",
    "undo",
}


class Touched:
    """Handlers for every capability, which note that they were reached."""

    def __init__(self) -> None:
        self.by: list[str] = []

    def handlers(self) -> dict[Capability, Any]:
        return {name: self._handler(name) for name in calls.ALL}

    def _handler(self, name: Capability) -> Any:
        async def touch(_request: object, _context: object):
            self.by.append(name)
            yield calls.StatusRequest()

        return touch


@pytest.fixture
def touched() -> Touched:
    return Touched()


@pytest.fixture
async def house(serve, touched: Touched):
    async def hello(_body: bytes, _peer: object, _address: object) -> bytes:
        touched.by.append("hello")
        return b""

    return await serve(touched.handlers(), hello=hello)


def caller(identity: Identity, stack: AsyncExitStack) -> RpcClient:
    client = RpcClient(identity, silence_s=1)
    stack.push_async_callback(client.close)
    return client


def test_every_capability_has_a_sample() -> None:
    assert set(SAMPLES) == set(calls.ALL)


def test_it_was_decided_for_every_capability_whether_the_lab_may_call_it() -> None:
    assert {name for name, spec in calls.ALL.items() if Zone.LAB in spec.zones} == OPEN_TO_THE_LAB
    assert set(calls.ALL) == OPEN_TO_THE_LAB | CLOSED_TO_THE_LAB


@pytest.mark.parametrize("name", sorted(calls.ALL))
async def test_a_core_node_reaches_every_capability(name, house, client, touched, gather_items) -> None:
    spec = calls.CallSpec(name, calls.ALL[name].request, calls.StatusRequest, 5, uploads=calls.ALL[name].uploads)
    assert len(await gather_items(house.call(client, spec, SAMPLES[name]))) == 1
    assert touched.by == [name]


@pytest.mark.parametrize("name", sorted(OPEN_TO_THE_LAB))
async def test_a_lab_certificate_gets_what_is_open_to_it(name, house, add_node, stack, touched, gather_items) -> None:
    lab = caller(add_node("lab1", Zone.LAB), stack)
    spec = calls.CallSpec(name, calls.ALL[name].request, calls.StatusRequest, 5)
    assert len(await gather_items(house.call(lab, spec, SAMPLES[name]))) == 1
    assert touched.by == [name]


@pytest.mark.parametrize("name", sorted(CLOSED_TO_THE_LAB))
async def test_a_lab_certificate_gets_nothing(name, house, add_node, stack, touched, gather_items) -> None:
    lab = caller(add_node("lab1", Zone.LAB), stack)
    with pytest.raises(NotAllowed, match=f"{name} is not for nodes of zone lab"):
        await gather_items(house.call(lab, calls.ALL[name], SAMPLES[name]))
    assert touched.by == []


async def test_a_lab_certificate_claiming_core_in_every_header_gets_nothing(
    house, add_node, stack: AsyncExitStack, touched: Touched
) -> None:
    lab = add_node("lab1", Zone.LAB)
    session = await stack.enter_async_context(aiohttp.ClientSession())
    headers = {"X-Tarsd-Deadline": "5", "X-Tarsd-Hops": "1", "X-Tarsd-Zone": "core", "Host": "core"}
    url = f"https://127.0.0.1:{house.address[1]}/rpc/"
    for path in [*CLOSED_TO_THE_LAB, "../rpc/records", "records/", "records?zone=core", "%72ecords", "RECORDS", ""]:
        for method in ("POST", "GET", "PUT"):
            async with session.request(
                method,
                url + path,
                headers=headers,
                data=wire.encode_frame(Kind.REQUEST, wire.encode(SAMPLES["records"])),
                ssl=lab.client_context(any_node=True),
            ) as response:
                assert response.status in (400, 403, 404)
                assert b"internal error" not in await response.read()
    assert touched.by == []


async def test_the_lab_may_greet(house, add_node, stack, touched) -> None:
    lab = caller(add_node("lab1", Zone.LAB), stack)
    who, _ = await lab.hello(house.address, b"")
    assert who.zone is Zone.CORE
    assert touched.by == ["hello"]


async def test_a_capability_opened_to_the_lab_is_open_to_it(
    house, add_node, stack, touched, gather_items, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = caller(add_node("lab1", Zone.LAB), stack)
    opened = calls.CallSpec(
        Capability("embed"), calls.EmbedRequest, calls.StatusRequest, 5, zones=frozenset({Zone.CORE, Zone.LAB})
    )
    monkeypatch.setitem(calls.ALL, opened.name, opened)
    await gather_items(house.call(lab, opened, SAMPLES["embed"]))
    assert touched.by == ["embed"]


@pytest.mark.parametrize("name", sorted(calls.ALL))
async def test_another_clusters_certificate_gets_nothing(
    name, house, tmp_path: Path, pc1: Identity, stack, touched, gather_items
) -> None:
    other = init_cluster(tmp_path / "other", "pc1")
    for context in (other.client_context(), other.client_context(any_node=True)):
        context.load_verify_locations(pc1.folder / "root.crt")  # it would like to talk to us
    with pytest.raises((NotAllowed, PeerLost), match=r"certificate was refused|connection broke"):
        await gather_items(house.call(caller(other, stack), calls.ALL[name], SAMPLES[name]))
    assert touched.by == []


async def test_nodes_of_another_cluster_are_not_talked_to(house, tmp_path: Path, stack, touched, gather_items) -> None:
    other = caller(init_cluster(tmp_path / "other", "pc1"), stack)
    with pytest.raises(PeerLost, match="unable to get local issuer"):
        await gather_items(house.call(other, calls.STATUS, SAMPLES["status"]))
    with pytest.raises(PeerLost):
        await other.hello(house.address, b"")
    assert touched.by == []


@pytest.mark.parametrize("path", [*sorted(calls.ALL), "hello"])
async def test_a_stranger_without_certificate_gets_nothing(path, house, stack, touched) -> None:
    bare = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    bare.check_hostname = False
    bare.verify_mode = ssl.CERT_NONE
    session = await stack.enter_async_context(aiohttp.ClientSession())
    with pytest.raises(aiohttp.ClientError):
        async with session.post(f"https://127.0.0.1:{house.address[1]}/rpc/{path}", data=b"", ssl=bare) as response:
            await response.read()
    assert touched.by == []


async def test_plain_http_gets_no_byte(house, touched) -> None:
    reader, writer = await asyncio.open_connection(*house.address)
    writer.write(b"POST /rpc/records HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
    async with asyncio.timeout(30):
        assert b"HTTP" not in await reader.read()
    writer.close()
    assert touched.by == []


async def test_a_node_that_is_not_the_one_meant_is_sent_nothing(
    house, client, pc1: Identity, touched, gather_items
) -> None:
    headers = Headers(5, 1, TraceId(""))
    call = client.call([house.address], pc1.node_id, calls.STATUS, SAMPLES["status"], headers)
    with pytest.raises(PeerLost, match="another node answers there"):
        await gather_items(call)
    assert touched.by == []
    assert house.server._http.requests_count == 0


async def test_a_pooled_connection_serves_the_node_it_was_verified_for_only(
    house, client, pc1: Identity, touched, gather_items
) -> None:
    spec = calls.CallSpec(Capability("status"), calls.StatusRequest, calls.StatusRequest, 5)
    await gather_items(house.call(client, spec, SAMPLES["status"]))
    with pytest.raises(PeerLost, match="another node answers there"):
        await gather_items(
            client.call([house.address], pc1.node_id, spec, SAMPLES["status"], Headers(5, 1, TraceId("")))
        )


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-Tarsd-Deadline": "5"},
        {"X-Tarsd-Deadline": "nan", "X-Tarsd-Hops": "1"},
        {"X-Tarsd-Deadline": "5", "X-Tarsd-Hops": "1", "X-Tarsd-Trace": "a b"},
    ],
)
async def test_wrong_headers_are_refused_before_the_handler(
    house, pc1: Identity, stack, touched, headers: dict[str, str]
) -> None:
    session = await stack.enter_async_context(aiohttp.ClientSession())
    async with session.post(
        f"https://127.0.0.1:{house.address[1]}/rpc/status",
        headers=headers,
        data=wire.encode_frame(Kind.REQUEST, wire.encode(SAMPLES["status"])),
        ssl=pc1.client_context(any_node=True),
    ) as response:
        assert response.status == 400
    assert touched.by == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x00",
        b"\xff\xff\xff\xff\x01",
        wire.encode_frame(Kind.ITEM, b""),
        wire.encode_frame(Kind.REQUEST, b"\xc1"),
        b"\x00\x00\x00\x00\x63",
    ],
)
async def test_rubbish_is_refused_and_harms_nothing(house, pc1: Identity, client, stack, touched, body: bytes) -> None:
    session = await stack.enter_async_context(aiohttp.ClientSession())
    async with session.post(
        f"https://127.0.0.1:{house.address[1]}/rpc/records",
        headers={"X-Tarsd-Deadline": "5", "X-Tarsd-Hops": "1"},
        data=body,
        ssl=pc1.client_context(any_node=True),
    ) as response:
        frames = list(wire.FrameReader().feed(await response.read()))
    assert [frame.kind for frame in frames] == [Kind.ERROR]
    assert issubclass(type(wire_error(frames[0].body)), TarsdError)
    assert touched.by == []
    assert house.server.open_calls == 0


def wire_error(body: bytes) -> TarsdError:
    from tarsd.errors import from_wire

    error = wire.decode(body, wire.ErrorBody)
    assert error.name in ("WireError", "PeerLost")
    return from_wire(error.name, error.sentence)
