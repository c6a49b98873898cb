"""The memory of a conversation outlives the node that holds it: three real nodes, a real model, a killed holder."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from bench.cluster import Cluster, Plan, cluster
from tarsd import calls
from tarsd.calls import Who
from tarsd.names import ConversationId
from tests.processes.peer_calls import Caller, caller_into
from tests.processes.real_nodes import ONE_THREAD, counts_of, until

pytestmark = [pytest.mark.processes, pytest.mark.timeout(240), pytest.mark.asyncio(loop_scope="module")]

HOLDERS = ("pc1", "pc2")
QUIET = "[memory]\nautomatic = false\n"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def nodes() -> AsyncGenerator[Cluster, None]:
    plans = [
        Plan("host", ("orchestrator",), settings=QUIET),
        *(Plan(name, ("cognitive",), settings=QUIET + ONE_THREAD) for name in HOLDERS),
    ]
    async with cluster(plans) as running:
        for name in HOLDERS:
            await running.wait_capability("host", "chat", of=name)
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def caller(nodes: Cluster) -> AsyncGenerator[Caller, None]:
    async with caller_into(nodes) as made:
        yield made


async def ask(nodes: Cluster, conversation: str, text: str, heard: Any = None, **more: Any) -> None:
    """Ask at the host as a page does that has none of the earlier turns; `heard` is awaited with each event."""
    async with aiohttp.ClientSession() as session, session.ws_connect(f"{nodes['host'].url}/ws") as socket:
        await socket.send_json({"type": "ask", "text": text, "conversation": conversation, "turns": []} | more)
        while True:
            event = await socket.receive_json(timeout=90)
            if heard is not None:
                await heard(event)
            assert event["type"] != "error", event
            if event["type"] == "done":
                return


async def recalled(caller: Caller, at: str, conversation: str) -> calls.RecallItem:
    found = await caller.one(at, calls.RECALL, calls.RecallRequest(ConversationId(conversation)))
    assert isinstance(found, calls.RecallItem)
    return found


async def holder_of(caller: Caller, conversation: str, exchanges: int, among: Sequence[str] = HOLDERS) -> str:
    """Wait until an exchange is folded, and return which node holds the conversation."""

    async def look() -> str:
        for name in among:
            if (await recalled(caller, name, conversation)).exchanges == exchanges:
                return name
        return ""

    return str(await until(look, 60, f"{exchanges} exchanges of {conversation} are remembered"))


async def test_a_temporary_chat_leaves_nothing_anywhere(nodes, caller):
    before = await counts_of(nodes.clients["host"])
    await ask(nodes, "kept", "My name is Ana. Say hello.")
    await holder_of(caller, "kept", 1)
    listed = (await caller.one("pc1", calls.CONVERSATIONS, calls.ConversationsRequest())).conversations
    await ask(nodes, "passing", "My aunt Brunhilde lives in Vigo. Say hello.", temporary=True)
    await ask(nodes, "kept", "My uncle Leopold lives in Lugo. Say hello.", temporary=True)
    # one more exchange of another chat is told of after these: when it is there, they would be, too
    await ask(nodes, "after", "Say hello.")
    await holder_of(caller, "after", 1)
    after = (await caller.one("pc1", calls.CONVERSATIONS, calls.ConversationsRequest())).conversations
    assert [each for each in after if each.id != "after"] == listed
    assert await counts_of(nodes.clients["host"]) == before
    for name in HOLDERS:
        for conversation in ("passing", "kept"):
            assert "Leopold" not in (await recalled(caller, name, conversation)).summary
        assert (await recalled(caller, name, "passing")).exchanges == 0


async def test_a_forgotten_conversation_is_known_nowhere_and_the_next_question_brings_nothing_back(nodes, caller):
    await ask(nodes, "secret", "My PIN is 4711. Say hello.")
    holder = await holder_of(caller, "secret", 1)
    request = calls.ForgetRequest(Who(), conversation=ConversationId("secret"))
    receipt = await caller.one("pc1", calls.FORGET, request)
    let_go = {node.node: node.conversations for node in receipt.nodes}
    assert let_go == {name: int(name in ("host", holder)) for name in nodes_of(nodes)}
    await ask(nodes, "secret", "Say hello.")
    holder = await holder_of(caller, "secret", 1)
    assert "4711" not in (await recalled(caller, holder, "secret")).summary


def nodes_of(nodes: Cluster) -> list[str]:
    return [daemon.name for daemon in nodes.daemons]


async def test_a_killed_holder_takes_no_conversation_with_it(nodes, caller):
    """The next question finds what was said at the other node, and its exchange is folded into that."""
    await ask(nodes, "talk", "My boiler is a Vaillant, and Pedro Gómez comes on 14 March at 18:30. Say hello.")
    holder = await holder_of(caller, "talk", 1)
    survivor = next(name for name in HOLDERS if name != holder)
    assert (await recalled(caller, survivor, "talk")).exchanges == 0
    await nodes[holder].kill()
    await nodes.wait_state("host", holder, ["dead", "left"], 60)
    prepared: list[calls.RecallItem] = []

    async def heard(event: dict[str, Any]) -> None:
        if event["type"] == "route":  # the messages for the model are written, nothing is told of the answer yet
            prepared.append(await recalled(caller, survivor, "talk"))

    await ask(nodes, "talk", "Say hello again.", heard)
    assert [each.exchanges for each in prepared] == [1]
    assert all(fact in prepared[0].summary for fact in ("Vaillant", "Pedro Gómez", "14 March", "18:30"))
    assert await holder_of(caller, "talk", 2, among=[survivor]) == survivor
    assert "Pedro Gómez" in (await recalled(caller, survivor, "talk")).summary
