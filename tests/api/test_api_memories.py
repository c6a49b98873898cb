"""What is remembered over HTTP: who may, whose it is, what is checked; the calls are scripted."""

from __future__ import annotations

import io
import json
import time
from typing import Any

import aiohttp
import msgspec
import pytest

from tarsd import calls
from tarsd.api import tokens
from tarsd.api.memory_moving import MAX_TOLD
from tarsd.api.scopes import Scope
from tarsd.calls import Copies, Entry, ImportItem, Memory, RefusedEntry, Who
from tarsd.calls.people import MAX_IMPORT_ENTRIES
from tarsd.config import Api
from tarsd.errors import NotFound, StorageError, Unavailable
from tarsd.memory.bodies import MemoryBody, ProjectBody
from tarsd.wire import decode, encode
from tests.api import scripted_services as scripted
from tests.api.test_api_tokens import bearer

M1 = Memory("memory/m1", "memory", "The bin goes out on Monday", tags=["bin"], project="kitchen", valid_from=5.0)
KITCHEN = calls.Project("project/kitchen", "kitchen", "New kitchen", text="white", members=["ana"], ended_at=9.0)
ENTRY = calls.DiaryEntry("d1", "compact_memory", "pc2", 1.0, 2.0, ok=True, what="x")
RECEIPT = calls.ForgetItem("r1", ["memory/m1"], [])
REPLIES: dict[str, Any] = {
    "conversations": [calls.ConversationsItem([])],
    "memories": lambda request: [calls.MemoriesItem([M1] if request.key in ("", M1.key) else [], 1)],
    "save": lambda request: [calls.SaveItem(M1, Copies(2, 2))],
    "forget": lambda request: [RECEIPT, msgspec.structs.replace(RECEIPT, is_whole=True)],
    "receipts": lambda request: [RECEIPT] if request.receipt in ("", "r1") else [],
    "projects": [calls.ProjectsItem([KITCHEN])],
    "save_project": [calls.SaveProjectItem(KITCHEN, Copies())],
    "diary": [calls.DiaryItem([ENTRY])],
    "undo": [calls.UndoItem(ENTRY, [])],
    "settings": [calls.SettingsItem("", automatic=True)],
    "save_settings": lambda request: [calls.SettingsItem(request.who.person, automatic=bool(request.automatic))],
    "export": [calls.ExportItem([Entry("memory", encode(MemoryBody("m1", "a")))]), calls.ExportItem([], 1)],
    "import": lambda request: [ImportItem(len(request.entries), 0, [], Copies(2, 2))],
}
READING = [
    "/api/conversations",
    "/api/memories",
    "/api/memories/m1",
    "/api/projects",
    "/api/receipts",
    "/api/receipts/r1",
    "/api/diary",
    "/api/memory/settings",
    "/api/memory/export",
]
HEAD, FOOT = b'{"tarsd": "memory", "version": 1}\n', b'{"tarsd": "end", "entries": 1}\n'
CHANGING: list[tuple[str, str, Any]] = [
    ("POST", "/api/memories", {"text": "x"}),
    ("PATCH", "/api/memories/m1", {"text": "x"}),
    ("DELETE", "/api/memories/m1", None),
    ("POST", "/api/projects", {"name": "x"}),
    ("PATCH", "/api/projects/kitchen", {"text": "x"}),
    ("POST", "/api/diary/d1/undo", None),
    ("PATCH", "/api/memory/settings", {"automatic": False}),
    ("POST", "/api/memory/import", HEAD + FOOT),
]


def line(body: MemoryBody | ProjectBody) -> bytes:
    kind = "memory" if isinstance(body, MemoryBody) else "project"
    plain = {name: value for name, value in msgspec.to_builtins(body).items() if name != "salt"}
    return json.dumps({"kind": kind} | plain).encode() + b"\n"


class Asking:
    """Requests to a served node, as a program makes them."""

    def __init__(self, client: aiohttp.ClientSession, served: Any) -> None:
        self._client = client
        self.served = served

    async def __call__(self, method: str, path: str, body: Any = None, token: str = "", **params: Any) -> Any:
        """Return status and body."""
        data = {"data": io.BytesIO(body)} if isinstance(body, bytes) else {} if body is None else {"json": body}
        headers = (bearer(token) if token else {}) | (
            {"Content-Type": "application/x-ndjson"} if isinstance(body, bytes) else {}
        )
        url = self.served.url + path
        async with self._client.request(method, url, headers=headers, params=params, **data) as reply:
            found = await reply.read()
            is_json = reply.content_type == "application/json"
            return reply.status, json.loads(found) if is_json else found

    def asked(self, name: str) -> list[Any]:
        return [request for called, request, _ in self.served.dispatch.calls if called == name]


@pytest.fixture
async def client():
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
async def asking(serve, client) -> Asking:
    return Asking(client, await serve(replies=dict(REPLIES)))


@pytest.fixture
def token(tmp_path):
    """A function that makes a token; call it before the server starts."""

    def made(person: str, *scopes: Scope, **limits: Any) -> str:
        shown, kept = tokens.minted(f"{person}-{len(scopes)}", scopes, time.time(), person=person, **limits)
        tokens.add(tmp_path / tokens.FILE, kept)
        return shown

    return made


class TestWho:
    """Whose memories these are."""

    async def test_every_call_is_made_on_behalf_of_the_tokens_person(self, serve, client, token):
        ana = token("ana", Scope.MEMORY_WRITE)
        asking = Asking(client, await serve(replies=dict(REPLIES)))
        for method, path, body in [*(("GET", path, None) for path in READING), *CHANGING]:
            more = {} if body is None or isinstance(body, bytes) else {"who": {"person": "luis"}}
            assert (await asking(method, path, body, ana))[0] < 300
            if more:  # a client that names somebody is refused rather than believed
                status, found = await asking(method, path, body | more, ana)
                assert (status, "who" in found["error"]["message"]) == (400, True)
        whos = {request.who for _, request, _ in asking.served.dispatch.calls if hasattr(request, "who")}
        assert whos == {Who("ana")}

    async def test_without_a_token_on_loopback_it_is_nobody_and_the_admin_token_sees_all(self, asking):
        await asking("GET", "/api/memories")
        await asking("GET", "/api/memories", token="the-admin-token")
        assert [request.who for request in asking.asked("memories")] == [Who(""), Who("", sees_all=True)]

    async def test_a_named_token_of_scope_admin_sees_all_as_its_person(self, serve, client, token):
        boss = token("boss", Scope.ADMIN)
        asking = Asking(client, await serve(replies=dict(REPLIES)))
        await asking("GET", "/api/memories", token=boss)
        assert asking.asked("memories")[0].who == Who("boss", sees_all=True)

    async def test_reading_needs_a_scope_and_changing_the_other_one(self, serve, client, token):
        reader, writer = token("ana", Scope.MEMORY_READ), token("ana", Scope.MEMORY_WRITE, Scope.CHAT)
        chatter = token("luis", Scope.CHAT)
        asking = Asking(client, await serve(replies=dict(REPLIES)))
        for path in READING:
            assert [(await asking("GET", path, token=one))[0] for one in (reader, writer, chatter)] == [200, 200, 403]
        for method, path, body in CHANGING:
            statuses = [(await asking(method, path, body, one))[0] for one in (reader, writer, chatter)]
            assert statuses[0] == statuses[2] == 403
            assert statuses[1] < 300
        _, found = await asking("POST", "/api/memories", {"text": "x"}, reader)
        assert "memory:write" in found["error"]["message"]

    async def test_over_the_network_nothing_is_shown_without_a_token(self, serve, client):
        served = await serve(replies=dict(REPLIES), settings=Api(port=0, listen="0.0.0.0"), access_token="house")
        asking = Asking(client, served)
        assert (await asking("GET", "/api/memories"))[0] == 401
        assert (await asking("GET", "/api/memories", token="house"))[0] == 200
        assert asking.asked("memories")[0].who == Who("")

    async def test_its_rates_hold(self, serve, client, token):
        from tarsd.api.rates import rate_of

        ana = token("ana", Scope.MEMORY_READ, requests=rate_of("1/h"))
        asking = Asking(client, await serve(replies=dict(REPLIES)))
        assert [(await asking("GET", "/api/memories", token=ana))[0] for _ in range(2)] == [200, 429]

    async def test_a_node_that_can_answers_itself_so_that_who_saved_finds_it(self, serve, client):
        here = scripted.member("pc1", is_self=True, capabilities={calls.MEMORIES.name: {}})
        asking = Asking(client, await serve(replies=dict(REPLIES), members=lambda: (scripted.MEMBERS[0], here)))
        await asking("GET", "/api/memories")
        await asking("GET", "/api/projects")
        assert [options["only"] for _, _, options in asking.served.dispatch.calls] == [here.node, None]


class TestMemories:
    """List, save, edit, forget."""

    async def test_filters_reach_the_call(self, asking):
        params = {"kind": "memory", "sort": "fact", "scope": "person", "project": "kitchen", "history": 1}
        await asking("GET", "/api/memories", q=" bin ", limit=7, offset=9, **params)
        assert asking.asked("memories") == [
            calls.MemoriesRequest(
                Who(),
                query="bin",
                kinds=("memory",),
                sort="fact",
                scope="person",
                project="kitchen",
                history=True,
                limit=7,
                offset=9,
            )
        ]

    @pytest.mark.parametrize(
        ("method", "path", "body", "field"),
        [
            ("GET", "/api/memories?kind=song", None, "kind"),
            ("GET", "/api/memories?sort=song", None, "sort"),
            ("GET", "/api/memories?scope=all", None, "scope"),
            ("GET", "/api/memories?limit=0", None, "limit"),
            ("GET", "/api/memories?project=a/b", None, "project"),
            ("GET", f"/api/memories?q={'x' * 2001}", None, "q"),
            ("GET", "/api/memories/%00", None, "key"),
            ("POST", "/api/memories", {}, "body"),
            ("POST", "/api/memories", {"text": "  "}, "text"),
            ("POST", "/api/memories", {"text": "x" * 8001}, "text"),
            ("POST", "/api/memories", {"text": "x", "sort": "song"}, "sort"),
            ("POST", "/api/memories", {"text": "x", "tags": ["a", 1]}, "tags[1]"),
            ("POST", "/api/memories", {"text": "x", "scope": "project"}, "project"),
            ("POST", "/api/memories", {"text": "x", "valid_from": 9, "valid_until": 5}, "valid_until"),
            ("PATCH", "/api/memories/m1", {"valid_until": 4}, "valid_until"),
            ("PATCH", "/api/memories/m1", {"text": ""}, "text"),
            ("DELETE", "/api/memories/m1?preview=2", None, "preview"),
            ("POST", "/api/projects", {"name": " "}, "name"),
            ("POST", "/api/projects", {"name": "x", "members": ["ana", "../luis"]}, "members[1]"),
            ("GET", "/api/diary?limit=x", None, "limit"),
            ("PATCH", "/api/memory/settings", {"automatic": "no"}, "automatic"),
            ("GET", "/api/memory/export?format=pdf", None, "format"),
        ],
    )
    async def test_bad_input_names_its_field_and_changes_nothing(self, asking, method, path, body, field):
        status, found = await asking(method, path, body)
        assert (status, found["error"]["field"]) == (400, field)
        assert {called for called, _, _ in asking.served.dispatch.calls} <= {"memories"}

    async def test_a_key_stands_in_the_path_and_an_id_alone_is_that_of_a_memory(self, asking):
        for path in ("m1", "memory/m1", "memory%2Fm1"):
            assert (await asking("GET", f"/api/memories/{path}"))[1]["key"] == "memory/m1"
        assert (await asking("GET", "/api/memories/summary/s9"))[0] == 404

    async def test_a_change_leaves_what_is_not_named(self, asking):
        await asking("PATCH", "/api/memories/m1", {"tags": ["rubbish"]})
        (saved,) = asking.asked("save")
        assert saved == calls.SaveRequest(
            Who(), M1.text, key="memory/m1", project="kitchen", tags=["rubbish"], valid_from=5.0
        )

    async def test_a_memory_that_is_not_ones_own_to_see_cannot_be_changed(self, asking):
        assert (await asking("PATCH", "/api/memories/other", {"text": "x"}))[0] == 404
        assert asking.asked("save") == []

    async def test_the_last_receipt_is_the_one_that_counts(self, asking):
        status, found = await asking("DELETE", "/api/memories/m1")
        assert (status, found["is_whole"]) == (200, True)
        await asking("DELETE", "/api/memories/document/abc?preview=1")
        await asking("DELETE", "/api/memories/conversation/c1")
        assert [(one.key, one.conversation, one.preview) for one in asking.asked("forget")] == [
            ("memory/m1", "", False),
            ("document/abc", "", True),
            ("", "c1", False),
        ]

    async def test_what_is_not_there_is_404(self, asking):
        asking.served.dispatch.replies["forget"] = [NotFound("key: nothing")]
        for method, path in (("DELETE", "/api/memories/x"), ("GET", "/api/receipts/x"), ("GET", "/api/memories/x")):
            assert (await asking(method, path))[0] == 404
        assert (await asking("PATCH", "/api/projects/x", {"text": "y"}))[0] == 404

    async def test_a_project_keeps_what_is_not_named_also_that_it_is_ended(self, asking):
        await asking("PATCH", "/api/projects/kitchen", {"members": ["Ana", "LUIS", "luis"]})
        (saved,) = asking.asked("save_project")
        assert saved == calls.SaveProjectRequest(
            Who(), "New kitchen", "kitchen", "white", ["ana", "luis"], is_ended=True
        )


class TestExport:
    """The file that comes out."""

    async def test_json_has_a_head_its_entries_and_a_foot_that_counts_them(self, asking):
        _, found = await asking("GET", "/api/memory/export")
        lines = [json.loads(one) for one in found.splitlines()]
        assert [one.get("tarsd") or one["id"] for one in lines] == ["memory", "m1", "end"]
        assert lines[-1]["entries"] == 1

    async def test_it_comes_as_a_file_to_keep(self, asking, client):
        async with client.get(asking.served.url + "/api/memory/export?format=markdown") as reply:
            assert reply.content_type == "text/markdown"
            assert "attachment; filename=" in reply.headers["Content-Disposition"]
            assert "> a\n" in await reply.text()

    async def test_one_that_breaks_off_has_no_foot_and_says_why(self, asking):
        asking.served.dispatch.replies["export"] = [REPLIES["export"][0], StorageError("the disk failed")]
        _, found = await asking("GET", "/api/memory/export")
        last = json.loads(found.splitlines()[-1])
        assert last["error"]["name"] == "StorageError"
        _, found = await asking("GET", "/api/memory/export", format="markdown")
        assert b"cut off" in found

    async def test_one_that_cannot_begin_is_a_plain_error(self, asking):
        asking.served.dispatch.replies["export"] = [Unavailable("nobody")]
        assert (await asking("GET", "/api/memory/export"))[0] == 503


class TestImport:
    """The file that goes in."""

    async def test_lines_are_taken_in_and_counted(self, asking):
        body = HEAD + line(ProjectBody("kitchen", "New kitchen")) + b"\n" + line(MemoryBody("m1", "a")) + FOOT
        status, found = await asking("POST", "/api/memory/import", body)
        assert status == 200
        assert (found["new"], found["refused"], found["is_whole"], found["copies"]["copies"]) == (2, 0, True, 2)
        (request,) = asking.asked("import")
        assert [(entry.kind, entry.line) for entry in request.entries] == [("project", 2), ("memory", 4)]
        assert decode(request.entries[1].body, MemoryBody) == MemoryBody("m1", "a")

    async def test_a_line_that_does_not_fit_is_named_and_the_others_are_taken_in(self, asking):
        bad = b'{"kind": "memory", "id": "m2", "text": "x", "sort": "song"}\n'
        status, found = await asking("POST", "/api/memory/import", HEAD + bad + line(MemoryBody("m1", "a")) + FOOT)
        assert (status, found["new"], found["refused"]) == (200, 1, 1)
        assert (found["errors"][0]["line"], found["errors"][0]["field"]) == (2, "sort")

    async def test_what_the_node_refuses_is_told_too_and_a_long_list_is_only_counted(self, asking):
        bad = b"{}\n" * (MAX_TOLD + 5)
        asking.served.dispatch.replies["import"] = [ImportItem(0, 0, [RefusedEntry(900, "id", "forgotten")])]
        _, found = await asking("POST", "/api/memory/import", HEAD + bad + line(MemoryBody("m1", "a")) + FOOT)
        assert (found["refused"], len(found["errors"])) == (MAX_TOLD + 6, MAX_TOLD)

    async def test_a_file_goes_in_by_batches_and_projects_are_known_to_later_ones(self, asking):
        count = MAX_IMPORT_ENTRIES + 3
        many = b"".join(line(MemoryBody(f"m{n}", "a")) for n in range(count))
        body = HEAD + line(ProjectBody("kitchen", "K")) + many + FOOT
        _, found = await asking("POST", "/api/memory/import", body)
        first, second = asking.asked("import")
        assert (len(first.entries), len(second.entries), found["new"]) == (MAX_IMPORT_ENTRIES, 4, count + 1)
        assert (first.coming, second.coming) == ([], ["kitchen"])

    async def test_large_bodies_make_smaller_batches(self, asking):
        body = HEAD + b"".join(line(MemoryBody(f"m{n}", "x" * 900_000)) for n in range(4)) + FOOT
        await asking("POST", "/api/memory/import", body)
        assert [len(one.entries) for one in asking.asked("import")] == [2, 2]

    async def test_a_refused_project_is_not_coming(self, asking):
        asking.served.dispatch.replies["import"] = lambda request: [
            ImportItem(0, 0, [RefusedEntry(2, "members", "no")])
        ]
        many = b"".join(line(MemoryBody(f"m{n}", "a")) for n in range(MAX_IMPORT_ENTRIES))
        await asking("POST", "/api/memory/import", HEAD + line(ProjectBody("kitchen", "K")) + many + FOOT)
        assert [one.coming for one in asking.asked("import")] == [[], []]

    async def test_one_that_fails_half_way_says_how_far_it_came(self, asking):
        replies = iter([[ImportItem(MAX_IMPORT_ENTRIES, 0, [])], [Unavailable("pc2 went away")]])
        asking.served.dispatch.replies["import"] = lambda request: next(replies)
        many = b"".join(line(MemoryBody(f"m{n}", "a")) for n in range(MAX_IMPORT_ENTRIES + 1))
        status, found = await asking("POST", "/api/memory/import", HEAD + many + FOOT)
        assert status == 503
        assert f"lines up to {MAX_IMPORT_ENTRIES + 1} are done" in found["error"]["message"]

    async def test_a_preview_is_passed_on(self, asking):
        await asking("POST", "/api/memory/import", HEAD + line(MemoryBody("m1", "a")) + FOOT, preview=1)
        assert asking.asked("import")[0].preview

    async def test_a_file_that_was_cut_off_is_taken_in_and_said_to_be(self, asking):
        _, found = await asking("POST", "/api/memory/import", HEAD + line(MemoryBody("m1", "a")).rstrip())
        assert (found["new"], found["is_whole"]) == (1, False)

    @pytest.mark.parametrize("body", [b"", b"\n\n", b'{"kind": "memory", "id": "a", "text": "b"}\n', b"not json\n"])
    async def test_what_is_no_export_is_refused_as_a_whole(self, asking, body):
        status, found = await asking("POST", "/api/memory/import", body)
        assert status == 400
        assert "memory export" in found["error"]["message"]
        assert asking.asked("import") == []

    async def test_a_form_of_another_site_cannot_import(self, asking, client):
        url = asking.served.url + "/api/memory/import"
        async with client.post(url, data=HEAD, headers={"Content-Type": "text/plain"}) as reply:
            assert reply.status == 400

    async def test_more_than_a_body_may_hold_is_413(self, serve, client):
        served = await serve(replies=dict(REPLIES), settings=Api(port=0, max_body_mib=1))
        body = HEAD + b"".join(line(MemoryBody(f"m{n}", "x" * 500_000)) for n in range(3))
        assert (await Asking(client, served)("POST", "/api/memory/import", body))[0] == 413
