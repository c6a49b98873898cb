"""The OpenAPI document: every route is in it, and a real server keeps to it whatever it is sent."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import aiohttp
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import load_all_checks
from schemathesis.specs.openapi import checks

from tarsd import calls
from tarsd.api import openapi
from tarsd.api.openapi_routes import ROUTES
from tarsd.api.scopes import OPEN_PATHS
from tarsd.api.server import ApiServer
from tarsd.calls import ChatItem, EmbedItem, NightlyItem, Usage
from tests.api import scripted_services as scripted
from tests.api.test_api_trust import ScriptedTrust
from tests.api.test_scopes import paths_of_all_modules

load_all_checks()
ADMIN = {"Authorization": "Bearer the-admin-token"}
MEMORY = calls.Memory("memory/m1", "memory", "Ana's birthday is 4 May")
PROJECT = calls.Project("project/kitchen", "kitchen", "New kitchen")
ENTRY = calls.DiaryEntry("d1", "compact_memory", "pc1", 1.0, 2.0, ok=True, what="2 memories merged")
EXPECTED = (
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
)
REPLIES = {
    "chat": [ChatItem(text="4", engine="e"), ChatItem(finish_reason="stop", usage=Usage(3, 1))],
    "embed": [EmbedItem(vectors=[b"\0\0\x80?"], dimension=1, model="mini", tokens=2)],
    "search": [scripted.SEARCH],
    "ingest": scripted.INGEST,
    "jobs": scripted.INGEST,
    "status": [scripted.status()],
    "conversations": [calls.ConversationsItem([])],
    "memories": [calls.MemoriesItem([MEMORY], 1)],
    "save": [calls.SaveItem(MEMORY, calls.Copies(2, 2))],
    "forget": [calls.ForgetItem("r1", ["memory/m1"], [calls.Removed("pc1", "done", 1)])],
    "receipts": [calls.ForgetItem("r1", ["memory/m1"], [])],
    "projects": [calls.ProjectsItem([PROJECT])],
    "save_project": [calls.SaveProjectItem(PROJECT, calls.Copies())],
    "diary": [calls.DiaryItem([ENTRY])],
    "undo": [calls.UndoItem(ENTRY, [])],
    "settings": [calls.SettingsItem("", automatic=True)],
    "save_settings": [calls.SettingsItem("", automatic=False)],
    "export": [calls.ExportItem([], 0)],
    "import": [calls.ImportItem(0, 0, [])],
    "nightly": [NightlyItem("health_check", True, 0, "fine", 0.1)],
}
MEMBERS = (
    *scripted.MEMBERS,
    scripted.member("pc4", capabilities={"embed": {"model": "mini"}}),
)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where a server with scripted services answers, in a thread with a loop of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    services = scripted.services(
        tmp_path_factory.mktemp("node"),
        scripted.ScriptedHost(),
        scripted.ScriptedDispatch(REPLIES),
        members=lambda: MEMBERS,
        trust=ScriptedTrust(),
    )
    server = ApiServer(scripted.settings(), services)
    asyncio.run_coroutine_threadsafe(server.start(), loop).result(20)
    yield server.url
    asyncio.run_coroutine_threadsafe(server.stop(0.0), loop).result(20)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


schema = schemathesis.openapi.from_dict(openapi.document({}))


@schema.parametrize()
@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_real_server_keeps_to_its_description(case: schemathesis.Case, url: str) -> None:
    (case.query or {}).pop("watch", None)  # a stream without an end
    if isinstance(case.body, dict) and isinstance(case.body.get("model"), str):
        # a made-up name would be a 404 before anything else is looked at
        case.body["model"] = "mini" if case.path == "/v1/embeddings" else "tiny-model"
    case.call_and_validate(base_url=url, headers=ADMIN, timeout=10, checks=list(EXPECTED))


ASKED = [{"role": "user", "content": "hi"}]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", {"model": "tiny-model", "messages": ASKED}),
        ("/v1/chat/completions", {"model": "tars", "messages": ASKED}),
        ("/v1/chat/completions", {"model": "tars", "messages": ASKED, "stream": True}),
        ("/v1/completions", {"model": "tiny-model", "prompt": "hi"}),
        ("/v1/responses", {"model": "tiny-model", "input": "hi"}),
        ("/v1/responses", {"model": "tars", "input": "hi", "stream": True}),
        ("/v1/embeddings", {"model": "mini", "input": ["hi"]}),
        ("/api/memories", {"text": "Ana's birthday is 4 May"}),
        ("/api/projects", {"name": "New kitchen", "members": ["Ana"]}),
        ("/api/session", {"token": "the-admin-token"}),
    ],
)
def test_what_is_asked_well_is_answered_as_described(url: str, path: str, body: dict[str, object]) -> None:
    case = schema[path]["POST"].Case(body=body, media_type="application/json")
    reply = case.call_and_validate(base_url=url, headers=ADMIN, timeout=10, checks=list(EXPECTED))
    assert reply.status_code in (200, 201)


def test_a_model_and_a_file_of_the_page_are_given_as_described(url: str) -> None:
    for path, name in (("/v1/models/{name}", "tiny-model"), ("/page/{name}", "words.js")):
        case = schema[path]["GET"].Case(path_parameters={"name": name})
        assert case.call_and_validate(base_url=url, timeout=10, checks=list(EXPECTED)).status_code == 200


def test_every_route_is_described() -> None:
    assert {path for _, path in ROUTES} == paths_of_all_modules(), "add it to tarsd/api/openapi_routes.py"


@pytest.mark.parametrize("path", sorted({path for _, path in ROUTES if "{" not in path}))
def test_a_wrong_method_is_405_and_tells_the_right_ones(url: str, path: str) -> None:
    right = {method for method, known in ROUTES if known == path}
    for method in {"GET", "POST", "PUT", "DELETE", "PATCH"} - right:
        reply = requests.request(method, url + path, headers=ADMIN, timeout=10)
        assert reply.status_code == 405
        assert right <= set(reply.headers["Allow"].split(","))
        assert reply.headers["Content-Type"].startswith("application/json")


async def test_the_document_is_served_with_every_handlers_own_words(serve) -> None:
    served = await serve()
    async with aiohttp.ClientSession() as client, client.get(served.url + openapi.PATH) as reply:
        found = await reply.json()
    operations = {
        (method.upper(), path): one for path, kinds in found["paths"].items() for method, one in kinds.items()
    }
    assert set(operations) == set(ROUTES)
    assert all(one["summary"] for one in operations.values())
    assert operations["POST", "/api/invite"]["security"] == [{"bearer": ["admin"]}, {"key": ["admin"]}]
    assert {} in operations["POST", "/v1/responses"]["security"]
    assert all("security" not in one for (_, path), one in operations.items() if path in OPEN_PATHS)
    assert not any("500" in one["responses"] for one in operations.values())
