"""Each person sees exactly what is that person's, its projects' and the household's, by every way in which it is shown.

One word is planted in each cell of persons and scopes, in a memory and in a summary, at a real daemon. Its model says
the prompt that it was given, and writes as a summary what it was told: what it is shown is all that an answer can tell.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web

from bench.cluster import Cluster, Plan, cluster
from tarsd.api import tokens
from tarsd.api.scopes import Scope
from tests.processes.real_nodes import tracebacks, until

pytestmark = [pytest.mark.processes, pytest.mark.timeout(180), pytest.mark.asyncio(loop_scope="module")]

PERSONS = ("ana", "ben", "")
SCOPES = ("person", "project", "household")
CELLS = [(person, scope) for person in PERSONS for scope in SCOPES]
MEMBERS = {"ana": ["ana"], "ben": ["ben"], "": ["ben"]}  # of each one's project, beside who began it
NAMES = ["kettle", "ladder", "mirror", "pillow", "rocket", "saddle", "teapot", "violin", "wallet"]
THINGS = dict(zip(CELLS, NAMES, strict=True))
ROLES = ("cognitive", "processing", "orchestrator")
SHOWN = {
    "ana": {("ana", "person"), ("ana", "project")} | {(person, "household") for person in PERSONS},
    "ben": {("ben", "person"), ("ben", "project"), ("", "project")} | {(person, "household") for person in PERSONS},
    "": {("", "person"), ("", "project")} | {(person, "household") for person in PERSONS},
    "root": set(CELLS),
}
SETTINGS = """\
[cognitive]
max_tokens = 400
[[cognitive.engines]]
kind = "openai"
url = "{url}"
model = "echo"
[processing]
threads = 1
"""


def word(cell: tuple[str, str], kind: str = "memory") -> str:
    """Return what is planted in a cell: nobody asks for it by that name."""
    return f"Zq{CELLS.index(cell)}{kind[0]}xvk"


class Echo:
    """An OpenAI-compatible server whose model says what it was asked."""

    async def __aenter__(self) -> str:
        app = web.Application()
        app.router.add_get("/v1/models", self._models)
        app.router.add_post("/v1/chat/completions", self._chat)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}/v1"

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _models(self, request: web.Request) -> web.Response:
        return web.json_response({"data": [{"id": "echo", "object": "model", "max_model_len": 16384}]})

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        messages = (await request.json())["messages"]
        said = "\n".join(str(message["content"]) for message in messages if message["role"] == "user")
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for part in ({"delta": {"content": said}}, {"delta": {}, "finish_reason": "stop"}):
            await response.write(b"data: " + json.dumps({"choices": [{"index": 0, **part}]}).encode() + b"\n\n")
        await response.write(b"data: [DONE]\n\n")
        return response


class House:
    """The daemon, a token for each person, and what was planted where."""

    def __init__(self, nodes: Cluster, session: aiohttp.ClientSession) -> None:
        self.nodes = nodes
        self.url = nodes["pc1"].url
        self._session = session
        self._tokens: dict[str, str] = {}
        self.projects: dict[str, str] = {}
        self.keys: dict[tuple[str, str], str] = {}
        scopes = [Scope.CHAT, Scope.MEMORY_WRITE, Scope.STATUS]
        for name, opens in (("ana", scopes), ("ben", scopes), ("root", [Scope.ADMIN])):
            shown, kept = tokens.minted(name, opens, time.time(), person=name)
            tokens.add(nodes["pc1"].folder / "data" / tokens.FILE, kept)
            self._tokens[name] = shown

    def headers(self, who: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._tokens[who]}"} if who else {}

    async def text(self, who: str, method: str, path: str, body: Any = None, **params: Any) -> tuple[int, str]:
        """Return status and text of a reply to a person."""
        data: dict[str, Any] = {} if body is None else {"json": body}
        if isinstance(body, bytes):
            data = {"data": body}
        headers = self.headers(who) | ({"Content-Type": "application/x-ndjson"} if isinstance(body, bytes) else {})
        async with self._session.request(method, self.url + path, headers=headers, params=params, **data) as reply:
            return reply.status, await reply.text()

    async def ask(self, who: str, method: str, path: str, body: Any = None, **params: Any) -> Any:
        status, text = await self.text(who, method, path, body, **params)
        assert status < 300, text
        return json.loads(text)

    async def chat(self, who: str, text: str, **more: Any) -> str:
        """Ask over the chat; return all that the reader is shown."""
        shown = ""
        async with self._session.ws_connect(f"{self.url}/ws", headers=self.headers(who)) as socket:
            await socket.send_json({"type": "ask", "text": text} | more)
            while True:
                event = await socket.receive_json(timeout=30)
                shown += json.dumps(event)
                if event["type"] in ("done", "error"):
                    return shown

    async def plant(self) -> None:
        """Put a memory and a summary into each cell."""
        for person in PERSONS:
            made = await self.ask(
                person,
                "POST",
                "/api/projects",
                {"name": f"of {person or 'nobody'}", "members": MEMBERS[person] or ["ana"]},
            )
            self.projects[person] = made["project"]["id"]
        head = (await self.text("", "GET", "/api/memory/export"))[1].partition("\n")[0]
        for number, ((person, scope), thing) in enumerate(THINGS.items()):
            of = {"scope": scope, "project": self.projects[person] if scope == "project" else ""}
            body = {"text": f"The number of the {thing} is {word((person, scope))}", **of}
            saved = await self.ask(person, "POST", "/api/memories", body)
            self.keys[person, scope] = saved["memory"]["key"]
            told = {"text": f"They spoke of the {thing}: {word((person, scope), 'summary')}.", "person": person, **of}
            line = {"kind": "summary", "id": f"s{number}", "title": f"A talk on the {thing}", "language": "en", **told}
            file = f"{head}\n{json.dumps(line)}\n".encode()
            imported = await self.ask(person, "POST", "/api/memory/import", file)
            assert imported["new"] == 1, imported


def cells_in(text: str, kinds: tuple[str, ...] = ("memory", "summary")) -> set[tuple[str, str]]:
    """Return the cells of whose memory or summary something stands in a text."""
    return {cell for cell in CELLS for kind in kinds if word(cell, kind) in text}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house() -> AsyncGenerator[House, None]:
    async with (
        Echo() as url,
        cluster([Plan("pc1", ROLES, settings=SETTINGS.format(url=url))]) as running,
        aiohttp.ClientSession() as session,
    ):
        for capability in ("chat", "search_memories", "prepare"):
            await running.wait_capability("pc1", capability)
        found = House(running, session)

        async def opens() -> bool:  # a new token counts within a second
            return all([(await found.text(who, "GET", "/api/memories"))[0] == 200 for who in ("ana", "ben", "root")])

        await until(opens, 20, "the tokens open")
        await found.plant()
        yield found


VIEWERS = pytest.mark.parametrize("who", [*PERSONS, "root"])


@VIEWERS
async def test_lists_and_exports_show_exactly_ones_own(house, who):
    for path, params in (
        ("/api/memories", {"limit": 200, "history": 1}),
        ("/api/memory/export", {"format": "json"}),
        ("/api/memory/export", {"format": "markdown"}),
    ):
        status, text = await house.text(who, "GET", path, **params)
        assert status == 200
        for kind in ("memory", "summary"):
            assert cells_in(text, (kind,)) == SHOWN[who], (path, params)


@VIEWERS
async def test_a_search_for_a_word_and_for_its_meaning_finds_exactly_ones_own(house, who):
    found = set()
    for cell, thing in THINGS.items():
        for query in (word(cell), word(cell, "summary"), f"the number of the {thing}"):
            reply = await house.ask(who, "GET", "/api/memories", q=query, limit=100)
            assert cells_in(json.dumps(reply)) <= SHOWN[who]
            assert reply["total"] == len(reply["memories"])
            found |= cells_in(json.dumps(reply))
    assert found == SHOWN[who]


@VIEWERS
async def test_one_thing_is_shown_changed_and_forgotten_by_those_alone_who_may_see_it(house, who):
    for cell, key in house.keys.items():
        status, text = await house.text(who, "GET", f"/api/memories/{key}")
        assert (status, cells_in(text)) == ((200, {cell}) if cell in SHOWN[who] else (404, set()))
        if cell not in SHOWN[who]:
            assert (await house.text(who, "PATCH", f"/api/memories/{key}", {"text": "mine now"}))[0] == 404
            assert (await house.text(who, "DELETE", f"/api/memories/{key}"))[0] == 404
        preview = await house.text(who, "DELETE", f"/api/memories/{key}", preview=1)
        assert preview[0] == (200 if cell in SHOWN[who] else 404)


@VIEWERS
async def test_projects_are_their_members(house, who):
    found = await house.ask(who, "GET", "/api/projects")
    seen = {person for person, scope in SHOWN[who] if scope == "project"}
    assert {project["id"] for project in found["projects"]} == {house.projects[person] for person in seen}


def bodies(question: str) -> list[tuple[str, dict[str, Any]]]:
    asked = [{"role": "user", "content": question}]
    return [
        ("/v1/chat/completions", {"model": "tars", "messages": asked}),
        ("/v1/responses", {"model": "tars", "input": question}),
        ("/v1/messages", {"model": "tars", "messages": asked, "max_tokens": 300}),
        ("/api/chat", {"model": "tars", "messages": asked, "stream": False}),
        ("/api/generate", {"model": "tars", "prompt": question, "stream": False}),
    ]


@pytest.mark.parametrize("who", PERSONS)
async def test_an_answer_leans_on_exactly_ones_own_by_every_front_end(house, who):
    """One that holds the admin token asks as a person: what an answer leans on is its own."""
    found: dict[str, set[tuple[str, str]]] = {}
    for cell, thing in THINGS.items():
        question = f"What is the number of the {thing}?"
        replies = {path: await house.text(who, "POST", path, body) for path, body in bodies(question)}
        replies["/ws"] = (200, await house.chat(who, question))
        for path, (status, text) in replies.items():
            assert status == 200, text
            found.setdefault(path, set()).update(cells_in(text, ("memory",)))
            assert cells_in(text) <= SHOWN[who], (path, cell)
    assert found == dict.fromkeys(found, SHOWN[who])


async def test_within_a_project_what_is_anothers_is_not_leant_on_either(house):
    for who, owner in (("ana", "ana"), ("ben", ""), ("", "ben")):
        shown = await house.chat(
            who, f"What is the number of the {THINGS['ana', 'person']}?", project=house.projects[owner]
        )
        assert (("ana", "person") in cells_in(shown)) == (who == "ana")
        assert cells_in(shown) <= SHOWN[who]


async def test_what_was_recalled_in_a_project_does_not_reach_its_members_by_its_summary(house):
    """Ben asks in nobody's project for what is his own; whoever sits at a PC is told of that project."""
    project, thing = house.projects[""], THINGS["ben", "person"]
    for question in (f"What is the number of the {thing}?", "And who called at noon? It was Quentin."):
        await house.chat("ben", question, conversation="shared", project=project)

    async def folded() -> bool:
        found = await house.ask("ben", "GET", "/api/conversations")
        return any(each["id"] == "shared" and each["exchanges"] == 2 for each in found["conversations"])

    await until(folded, 30, "both exchanges are folded")
    for who in ("ana", "", "ben", "root"):
        found = await house.ask(who, "GET", "/api/conversations")
        assert ("shared" in [each["id"] for each in found["conversations"]]) == (who in ("ben", "root"))
    await house.nodes["pc1"].stop()  # what is in RAM is written down
    await house.nodes["pc1"].start()
    for who in ("", "ben"):
        page = await house.ask(who, "GET", "/api/memories", kind="summary", project=project, limit=200)
        (summary,) = [each for each in page["memories"] if each["title"].startswith("What is the number")]
        assert summary["scope"] == "project"
        assert "Quentin" in summary["text"]
        assert word(("ben", "person")) not in json.dumps(summary)


async def test_status_metrics_and_logs_show_no_word_to_anybody(house):
    for who in (*PERSONS, "root"):
        for path in ("/api/status", "/api/memory/status", "/api/members", "/metrics", "/api/diary", "/api/happenings"):
            _, text = await house.text(who, "GET", path)
            assert cells_in(text) == set(), path
    log = await asyncio.to_thread(house.nodes["pc1"].log.read_text, encoding="utf-8")
    assert cells_in(log) == set()


async def test_receipts_are_shown_to_who_could_see_what_was_forgotten(house):
    receipts: dict[tuple[str, str], str] = {}
    for cell, key in house.keys.items():
        receipts[cell] = (await house.ask(cell[0], "DELETE", f"/api/memories/{key}"))["receipt"]
    for who in (*PERSONS, "root"):
        listed = await house.ask(who, "GET", "/api/receipts", limit=200)
        keys = {each["receipt"]: each["keys"] for each in listed["receipts"]}
        named = {cell for cell, receipt in receipts.items() if house.keys[cell] in keys.get(receipt, [])}
        assert named == SHOWN[who]
        for receipt in receipts.values():  # what told another's and goes on without it is all that else is named
            status, text = await house.text(who, "GET", f"/api/receipts/{receipt}")
            assert status == (200 if receipt in keys else 404)
            assert status == 404 or json.loads(text)["keys"] == keys[receipt]


async def test_nothing_went_wrong_meanwhile(house):
    assert tracebacks(house.nodes) == {}
