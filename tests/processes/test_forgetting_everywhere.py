"""Real daemons: what is forgotten is gone from every file of every node, and no node, night or return brings it back.

The tests share one cluster and stand in the order in which things happen to it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import pytest
import pytest_asyncio

from bench.canary import Canary
from bench.cluster import Cluster, Plan
from bench.memory_forget import folders, forget, nightly, planted, until_gone
from tarsd.identity import load_identity
from tarsd.memory.bodies import ObeyedBody
from tarsd.memory.store import Store
from tests.processes.real_nodes import ONE_THREAD, tracebacks, until

pytestmark = [
    pytest.mark.processes,
    pytest.mark.model,
    pytest.mark.timeout(240),
    pytest.mark.asyncio(loop_scope="module"),
]

HERE, AWAY = Canary(), Canary()
PLANS = (Plan("pc1", ("orchestrator",)), Plan("pc2", ("processing",), settings=ONE_THREAD), Plan("pc3"))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def nodes() -> AsyncGenerator[Cluster, None]:
    """Three nodes that hold both words, in records, keywords, vectors and the index's file: `planted` sees to that."""
    async with planted([HERE, AWAY], plans=PLANS) as running:
        yield running


async def left_within(nodes: Cluster, canary: Canary, within_s: float) -> dict[str, int]:
    await until_gone(nodes, canary, within_s)
    return canary.bytes_left(folders(nodes))


def said(receipt: dict[str, Any]) -> dict[str, str]:
    return {each["node"]: each["state"] for each in receipt["nodes"]}


async def test_a_preview_forgets_nothing(nodes: Cluster) -> None:
    client = nodes.clients["pc1"]
    async with client.session.delete(f"{client.url}/api/documents/{HERE.sha256}?preview=1") as response:
        preview = await response.json()
    assert [key.partition("/")[0] for key in preview["keys"]] == ["document", "memory", "summary"]
    assert all(HERE.bytes_left([folder]) for folder in folders(nodes))


async def test_five_seconds_after_forgetting_no_byte_is_left_on_any_node(nodes: Cluster) -> None:
    receipt = await forget(nodes.clients["pc1"], HERE)
    assert await left_within(nodes, HERE, 5.0) == {}
    assert said(receipt) == {"pc1": "done", "pc2": "done", "pc3": "done"}
    assert receipt["is_whole"]
    by_name = {each["node"]: each for each in receipt["nodes"]}
    assert {each["records"] for each in by_name.values()} == {by_name["pc1"]["records"]}
    assert by_name["pc2"]["vectors"] > 0
    assert HERE.word not in str(receipt)


async def test_the_other_word_is_still_everywhere(nodes: Cluster) -> None:
    assert all(AWAY.bytes_left([folder]) for folder in folders(nodes))
    assert AWAY.bytes_left([nodes["pc2"].folder / "data" / "vectors"])


async def test_a_node_that_was_away_obeys_within_a_minute_of_its_return(nodes: Cluster) -> None:
    await nodes["pc3"].kill()
    receipt = await forget(nodes.clients["pc1"], AWAY)
    assert said(receipt) == {"pc1": "done", "pc2": "done", "pc3": "pending"}
    assert set(AWAY.bytes_left(folders(nodes))) <= {f"pc3/data/memory.db{end}" for end in ("", "-wal")}
    assert AWAY.bytes_left([nodes["pc3"].folder])
    await nodes["pc3"].start()
    assert await left_within(nodes, AWAY, 60.0) == {}


async def test_the_night_brings_nothing_back(nodes: Cluster) -> None:
    await nightly(nodes)
    for canary in (HERE, AWAY):
        assert canary.bytes_left(folders(nodes)) == {}


async def test_the_same_document_may_be_taken_in_again_and_stays(nodes: Cluster) -> None:
    ended = [item async for item in nodes.clients["pc1"].ingest_bytes(HERE.file, HERE.document)][-1]
    assert ended["stage"] == "done"
    for client in nodes.clients.values():
        await until(lambda client=client: _documents(client), 60, "the document is there again")


async def _documents(client: Any) -> int:
    return int((await client.get("/api/status"))["parts"]["records"]["documents"])


async def test_every_node_has_said_that_it_obeyed_and_every_node_knows(nodes: Cluster) -> None:
    async def as_many_records() -> bool:
        statuses = [await client.get("/api/status") for client in nodes.clients.values()]
        return len({each["parts"]["records"]["records"] for each in statuses}) == 1

    await until(as_many_records, 60, "all nodes have the same records")
    data = nodes["pc3"].folder / "data"
    await nodes["pc3"].stop()
    store = await Store.open(data / "memory.db", load_identity(data).node_id)
    answers = [body for body in await store.bodies_below("receipt") if isinstance(body, ObeyedBody)]
    await store.close()
    assert sorted(body.name for body in answers) == ["pc1", "pc1", "pc2", "pc2", "pc3", "pc3"]
    assert all(body.records for body in answers)


async def test_nobody_met_an_error_that_was_not_thought_of(nodes: Cluster) -> None:
    assert not any(tracebacks(nodes).values())
