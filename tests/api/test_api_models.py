"""The models of the cluster over HTTP: whose they are, Ollama's shapes, which node does it, the admin token."""

from __future__ import annotations

import json
from typing import Any

import aiohttp
import pytest

from tarsd import calls
from tarsd.calls import (
    MeasureItem,
    MeasureRequest,
    Model,
    ModelsItem,
    PullItem,
    PullRequest,
    RemoveModelItem,
    RemoveModelRequest,
    Speed,
)
from tarsd.errors import NotFound, Unavailable
from tarsd.gossip.member import State
from tarsd.names import Capability
from tests.api.scripted_services import member

ADMIN = {"Authorization": "Bearer the-admin-token"}
ABLE = {name: {} for name in (calls.MODELS.name, calls.PULL.name, calls.REMOVE_MODEL.name, calls.MEASURE.name)}
MEMBERS = (
    member("pc1", is_self=True, capabilities=ABLE),
    member("pc2", capabilities=ABLE),
    member("pc3", capabilities={Capability("search"): {}}),
    member("pc4", capabilities=ABLE, state=State.DEAD),
)
PULL = [
    PullItem("m", "queued"),
    PullItem("m", "asking", origin="pc2"),
    PullItem("m", "fetching", 10, 100, "pc2", sha256="a" * 64),
    PullItem("m", "verifying", 100, 100, "pc2", sha256="a" * 64),
    PullItem("m", "done", 100, 100, "pc2", sha256="a" * 64),
]
SPEED = Speed("llama_cpp", "m", 0.3, 200.0, 40.5, 0.2, 4, 90.25, 222_000_000, 1, 1.0)
REPLIES: dict[str, Any] = {
    calls.MODELS.name: [ModelsItem([Model("m", "loaded", "bundled", speed=SPEED), Model("n", "absent")])],
    calls.PULL.name: PULL,
    calls.REMOVE_MODEL.name: [RemoveModelItem(5, "deleted")],
    calls.MEASURE.name: [MeasureItem("loading"), MeasureItem(speed=SPEED), MeasureItem(failed="x with y: broken")],
}


@pytest.fixture
async def client():
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
async def served(serve):
    return await serve(replies=REPLIES, members=lambda: MEMBERS)


async def lines_of(client, served, path: str, body: dict[str, Any]) -> list[dict[str, Any]]:
    async with client.post(served.url + path, json=body, headers=ADMIN) as response:
        assert response.status == 200, await response.text()
        assert response.content_type == "application/x-ndjson"
        return [json.loads(line) async for line in response.content if line.strip()]


async def test_models_of_all_nodes_are_told_with_their_node(client, served):
    async with client.get(served.url + "/api/models") as response:
        found = await response.json()
    assert [(model["node"], model["name"]) for model in found["models"]] == [
        ("pc1", "m"),
        ("pc1", "n"),
        ("pc2", "m"),
        ("pc2", "n"),
    ]
    assert found["models"][0]["speed"]["tokens_per_s"] == 40.5
    assert found["unreachable"] == {}


async def test_a_node_that_does_not_answer_is_told(client, serve):
    served = await serve(replies={calls.MODELS.name: [Unavailable("gone")]}, members=lambda: MEMBERS)
    async with client.get(served.url + "/api/models") as response:
        assert await response.json() == {"models": [], "unreachable": {"pc1": "gone", "pc2": "gone"}}


async def test_a_pull_is_told_as_ollama_tells_it(client, served):
    lines = await lines_of(client, served, "/api/pull", {"model": "m"})
    assert [line["status"] for line in lines] == [
        "pulling manifest",
        "pulling manifest",
        "pulling m",
        "verifying sha256 digest",
        "success",
    ]
    assert (lines[2]["total"], lines[2]["completed"]) == (100, 10)
    assert lines[-1]["digest"] == "sha256:" + "a" * 64
    name, request, options = served.dispatch.calls[-1]
    assert (name, request, options["only"]) == (calls.PULL.name, PullRequest("m"), MEMBERS[0].node)


async def test_the_official_ollama_client_can_pull(served):
    ollama = pytest.importorskip("ollama")
    client = ollama.AsyncClient(host=served.url, headers=ADMIN)
    try:
        told = [part.status async for part in await client.pull("m", stream=True)]
        assert told[-1] == "success"
        assert (await client.pull("m")).status == "success"
        assert (await client.delete("m")).status == "success"
    finally:
        await client._client.aclose()


async def test_another_node_may_be_named(client, served):
    await lines_of(client, served, "/api/pull", {"model": "hf:a/b/m.gguf", "node": "pc2", "sha256": "b" * 64})
    _, request, options = served.dispatch.calls[-1]
    assert (request, options["only"]) == (PullRequest("hf:a/b/m.gguf", sha256="b" * 64), MEMBERS[1].node)


@pytest.mark.parametrize(
    ("node", "status", "told"), [("pc3", 503, "runs no models now; these do: pc1, pc2"), ("pc9", 404, "pc9")]
)
async def test_a_node_that_cannot_do_it_is_told_with_who_can(client, served, node, status, told):
    async with client.post(served.url + "/api/pull", json={"model": "m", "node": node}, headers=ADMIN) as response:
        assert response.status == status
        assert told in (await response.json())["error"]


async def test_a_pull_that_fails_is_an_error(client, serve):
    failed = [PullItem("m", "asking"), PullItem("m", "failed", reason="the disk is full")]
    served = await serve(replies={calls.PULL.name: failed}, members=lambda: MEMBERS)
    lines = await lines_of(client, served, "/api/pull", {"model": "m"})
    assert lines[-1]["error"] == "the disk is full"
    body = {"model": "m", "stream": False}
    async with client.post(served.url + "/api/pull", json=body, headers=ADMIN) as response:
        assert response.status == 503


async def test_a_whole_pull_is_one_object(client, served):
    body = {"name": "m", "stream": False}
    async with client.post(served.url + "/api/pull", json=body, headers=ADMIN) as response:
        assert (await response.json())["status"] == "success"


async def test_a_model_is_removed_at_the_node(client, served):
    async with client.delete(served.url + "/api/delete", json={"model": "m", "node": "pc2"}, headers=ADMIN) as response:
        assert await response.json() == {"status": "success", "freed_bytes": 5, "detail": "deleted"}
    _, request, options = served.dispatch.calls[-1]
    assert (request, options["only"]) == (RemoveModelRequest("m"), MEMBERS[1].node)


async def test_an_unknown_model_is_404(client, serve):
    served = await serve(replies={calls.REMOVE_MODEL.name: [NotFound("m is not known")]}, members=lambda: MEMBERS)
    async with client.delete(served.url + "/api/delete", json={"model": "m"}, headers=ADMIN) as response:
        assert response.status == 404


@pytest.mark.parametrize(("method", "path"), [("POST", "/api/pull"), ("DELETE", "/api/delete")])
async def test_without_a_model_the_field_is_named(client, served, method, path):
    async with client.request(method, served.url + path, json={}, headers=ADMIN) as response:
        assert response.status == 400
        assert (await response.json())["error"].startswith("model:")


async def test_a_measurement_streams_what_it_does_and_finds(client, served):
    lines = await lines_of(client, served, "/api/measure", {"models": ["m"], "quick": True})
    assert lines[0]["doing"] == "loading"
    assert lines[1]["speed"]["together_tokens_per_s"] == 90.25
    assert lines[2]["failed"] == "x with y: broken"
    assert served.dispatch.calls[-1][1] == MeasureRequest(["m"], quick=True)


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/api/pull"), ("DELETE", "/api/delete"), ("POST", "/api/measure")]
)
@pytest.mark.parametrize("token", ["", "Bearer wrong"])
async def test_what_changes_or_measures_models_needs_the_admin_token(client, served, method, path, token):
    headers = {"Authorization": token}
    async with client.request(method, served.url + path, json={"model": "m"}, headers=headers) as response:
        assert response.status == 401
    assert served.dispatch.calls == []
