"""What is remembered, over HTTP between two real daemons: whose it is, editing, forgetting, export and import."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncGenerator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from bench.cluster import Cluster, Plan, cluster
from tarsd.api import tokens
from tarsd.api.scopes import Scope
from tests.processes.real_nodes import tracebacks, until

pytestmark = [pytest.mark.processes, pytest.mark.timeout(120), pytest.mark.asyncio(loop_scope="module")]


class House:
    """Two daemons, and persons with a token at each."""

    def __init__(self, nodes: Cluster, client: aiohttp.ClientSession) -> None:
        self.nodes = nodes
        self._client = client
        self._tokens: dict[tuple[str, str], str] = {}
        for name in ("pc1", "pc2"):
            for person in ("ana", "luis"):
                shown, kept = tokens.minted(person, [Scope.MEMORY_WRITE], time.time(), person=person)
                tokens.add(nodes[name].folder / "data" / tokens.FILE, kept)
                self._tokens[name, person] = shown

    async def ask(self, node: str, person: str, method: str, path: str, body: Any = None, **params: Any) -> Any:
        """Return what a node answers to a person; whoever sits at the PC is ""."""
        headers = {"Authorization": f"Bearer {self._tokens[node, person]}"} if person else {}
        data: dict[str, Any] = {} if body is None else {"json": body}
        if isinstance(body, bytes):
            data = {"data": body}
            headers["Content-Type"] = "application/x-ndjson"
        url = self.nodes[node].url + path
        async with self._client.request(method, url, headers=headers, params=params, **data) as reply:
            found = await reply.read()
            assert reply.status < 300, found
            return json.loads(found) if reply.content_type == "application/json" else found

    async def texts(self, node: str, person: str) -> set[str]:
        found = await self.ask(node, person, "GET", "/api/memories", limit=200)
        return {memory["text"] for memory in found["memories"]}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house() -> AsyncGenerator[House, None]:
    async with cluster([Plan("pc1", ()), Plan("pc2", ())]) as running, aiohttp.ClientSession() as client:
        for seen_by, of in (("pc1", "pc2"), ("pc2", "pc1")):
            await running.wait_capability(seen_by, "import", of=of)
        found = House(running, client)

        async def opens() -> bool:  # a new token counts within a second
            try:
                await found.ask("pc1", "luis", "GET", "/api/memories")
                await found.ask("pc2", "luis", "GET", "/api/memories")
            except AssertionError:
                return False
            return True

        await until(opens, 60, "the tokens open")
        yield found


async def test_what_a_person_keeps_is_seen_by_that_person_at_every_pc_and_by_nobody_else(house):
    await house.ask("pc1", "ana", "POST", "/api/memories", {"text": "Ana's shoe size is 38"})
    await house.ask("pc1", "ana", "POST", "/api/memories", {"text": "The bin goes out on Monday", "scope": "household"})

    async def there() -> bool:
        return {"Ana's shoe size is 38", "The bin goes out on Monday"} <= await house.texts("pc2", "ana")

    await until(there, 60, "pc2 shows Ana both")
    for node in ("pc1", "pc2"):
        for other in ("luis", ""):
            assert "Ana's shoe size is 38" not in await house.texts(node, other)
            assert "The bin goes out on Monday" in await house.texts(node, other)


async def test_a_memory_is_edited_at_one_pc_and_forgotten_at_the_other(house):
    saved = await house.ask(
        "pc1", "ana", "POST", "/api/memories", {"text": "The key is under the pot", "tags": ["key"]}
    )
    key = saved["memory"]["key"]

    async def here(text: str) -> bool:
        return text in await house.texts("pc2", "ana")

    await until(lambda: here("The key is under the pot"), 60, "pc2 has it")
    changed = await house.ask("pc2", "ana", "PATCH", f"/api/memories/{key}", {"text": "The key is in the drawer"})
    assert changed["memory"]["tags"] == ["key"]
    receipt = await house.ask("pc2", "ana", "DELETE", f"/api/memories/{key}")
    assert key in receipt["keys"]

    async def gone() -> bool:
        return not any("key is" in text for text in await house.texts("pc1", "ana"))

    await until(gone, 60, "pc1 has forgotten it")
    told = await house.ask("pc1", "ana", "GET", f"/api/receipts/{receipt['receipt']}")
    assert {node["node"] for node in told["nodes"]} == {"pc1", "pc2"}


async def test_an_export_goes_in_again_and_brings_nothing_back_that_was_forgotten(house):
    await house.ask("pc1", "ana", "POST", "/api/projects", {"name": "Kitchen", "members": ["ana"]})
    project = (await house.ask("pc1", "ana", "GET", "/api/projects"))["projects"][0]["id"]
    body = {"text": "The oven is 60 cm wide", "scope": "project", "project": project}
    key = (await house.ask("pc1", "ana", "POST", "/api/memories", body))["memory"]["key"]
    exported = await house.ask("pc1", "ana", "GET", "/api/memory/export")
    lines = [json.loads(line) for line in exported.splitlines()]
    assert "The oven is 60 cm wide" in {line.get("text") for line in lines}
    assert "oven" not in (await house.ask("pc1", "luis", "GET", "/api/memory/export")).decode()
    again = await house.ask("pc1", "ana", "POST", "/api/memory/import", exported)
    assert (again["new"], again["known"], again["refused"], again["is_whole"]) == (0, len(lines) - 2, 0, True)
    await house.ask("pc1", "ana", "DELETE", f"/api/memories/{key}")
    back = await house.ask("pc1", "ana", "POST", "/api/memory/import", exported)
    assert (back["new"], [error["field"] for error in back["errors"]]) == (0, ["id"])
    assert "The oven is 60 cm wide" not in await house.texts("pc1", "ana")


async def test_what_a_person_settles_holds_at_the_other_pc(house):
    await house.ask("pc1", "ana", "PATCH", "/api/memory/settings", {"automatic": False})

    async def off() -> bool:
        found = await house.ask("pc2", "ana", "GET", "/api/memory/settings")
        return found["automatic"] is False

    await until(off, 60, "pc2 knows that Ana wants it off")
    assert (await house.ask("pc2", "luis", "GET", "/api/memory/settings"))["automatic"] is True


async def test_nothing_went_wrong_meanwhile(house):
    assert tracebacks(house.nodes) == {}
