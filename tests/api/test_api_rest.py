"""The REST routes against a real server; the dispatch is scripted."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json

import aiohttp
import pytest

from tarsd import calls
from tarsd.errors import DocumentError, NotAllowed, Unavailable
from tests.api import scripted_services as scripted

ADMIN = {"Authorization": "Bearer the-admin-token"}


@pytest.fixture
async def client():
    async with aiohttp.ClientSession() as session:
        yield session


async def lines(response: aiohttp.ClientResponse) -> list[dict]:
    return [json.loads(line) for line in (await response.text()).splitlines() if line]


async def test_a_document_is_hashed_spooled_and_its_progress_streamed(serve, client, tmp_path):
    served = await serve(replies={"ingest": scripted.INGEST})
    body = b"# Boiler\n" * 200_000
    async with client.post(
        served.url + "/api/documents?file=C:\\docs\\a.md&language=es", data=io.BytesIO(body)
    ) as response:
        assert response.content_type == "application/x-ndjson"
        assert [item["stage"] for item in await lines(response)] == ["queued", "parsing", "done"]
    name, request, _ = served.dispatch.calls[0]
    assert name == "ingest"
    assert request == calls.IngestRequest("a.md", len(body), hashlib.sha256(body).hexdigest(), "es", True)
    assert served.dispatch.made[0].received == body
    assert list((tmp_path / "spool" / "uploads").iterdir()) == []  # gone when the upload ended


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("", "file"),
        ("?file=..", "file"),
        ("?file=a%00b.md", "file"),
        ("?file=" + "x" * 300, "file"),
        ("?file=a.md&language=spanish", "language"),
        ("?file=a.md&wait=2", "wait"),
    ],
)
async def test_a_wrong_upload_names_the_field(serve, client, query, field):
    served = await serve(replies={"ingest": scripted.INGEST})
    async with client.post(served.url + "/api/documents" + query, data=b"x") as response:
        assert response.status == 400
        assert (await response.json())["error"]["field"] == field
    assert served.dispatch.calls == []


async def test_an_empty_document_is_refused(serve, client):
    served = await serve(replies={"ingest": scripted.INGEST})
    async with client.post(served.url + "/api/documents?file=a.md", data=b"") as response:
        assert response.status == 400
        assert (await response.json())["error"]["field"] == "body"


@pytest.mark.parametrize("announced", [True, False])
async def test_a_body_over_the_bound_is_refused(serve, client, announced, tmp_path):
    served = await serve(settings=scripted.settings(max_body_mib=1))
    body = b"x" * (1024 * 1024 + 1)

    async def unannounced():
        yield body

    data = io.BytesIO(body) if announced else unannounced()
    async with client.post(served.url + "/api/documents?file=a.md", data=data) as response:
        assert response.status == 413
        assert "api.max_body_mib" in (await response.json())["error"]["message"]
    assert served.dispatch.calls == []
    assert list((tmp_path / "spool" / "uploads").iterdir()) == []


async def test_uploads_are_bounded(serve, client, monkeypatch):
    monkeypatch.setattr("tarsd.api.spool.MAX_UPLOADS", 0)
    served = await serve()
    async with client.post(served.url + "/api/documents?file=a.md", data=b"x") as response:
        assert response.status == 429
        assert response.headers["Retry-After"] == "5"


async def test_what_a_crash_left_in_the_spool_goes_at_the_next_start(serve, tmp_path):
    left = tmp_path / "spool" / "uploads" / "left"
    left.parent.mkdir(parents=True)
    left.write_text("x")
    await serve()
    assert not left.exists()


async def test_a_document_that_is_refused_at_once_is_an_http_error(serve, client):
    served = await serve(replies={"ingest": [DocumentError("a.pdf: encrypted")]})
    async with client.post(served.url + "/api/documents?file=a.pdf", data=b"x") as response:
        assert response.status == 400
        assert (await response.json())["error"] == {"name": "DocumentError", "message": "a.pdf: encrypted"}


async def test_a_stream_that_breaks_tells_the_error_in_its_last_line(serve, client):
    served = await serve(replies={"ingest": [scripted.INGEST[0], Unavailable("pc2 went away")]})
    async with client.post(served.url + "/api/documents?file=a.pdf", data=b"x") as response:
        assert response.status == 200
        assert (await lines(response))[-1] == {"error": {"name": "Unavailable", "message": "pc2 went away"}}


async def test_a_client_that_leaves_cancels_the_call(serve, client):
    served = await serve(replies={"ingest": [scripted.INGEST[0], scripted.HANG]})
    async with client.post(served.url + "/api/documents?file=a.pdf", data=b"x") as response:
        await response.content.readline()
    async with asyncio.timeout(30):
        while not served.dispatch.made[0].closed:  # noqa: ASYNC110 - the scripted call has no event of its own
            await asyncio.sleep(0.01)


async def test_a_silent_stream_carries_empty_lines(serve, client, monkeypatch):
    monkeypatch.setattr("tarsd.api.replies.with_beats.__defaults__", (0.02,))
    served = await serve(replies={"ingest": [scripted.INGEST[0], scripted.HANG]})
    async with client.post(served.url + "/api/documents?file=a.pdf", data=b"x") as response:
        assert json.loads(await response.content.readline())["stage"] == "queued"
        assert await response.content.readline() == b"\n"


@pytest.mark.parametrize(("query", "preview"), [("", False), ("?preview=1", True)])
async def test_a_document_is_forgotten_with_a_receipt(serve, client, query, preview):
    sha256 = "a" * 64
    receipt = calls.ForgetItem("r1", [f"document/{sha256}"], [calls.Removed("pc1", "done", 3)], 1.0, True)
    served = await serve(replies={"forget": [receipt]})
    async with client.delete(f"{served.url}/api/documents/{sha256}{query}") as response:
        assert response.status == 200
        assert (await response.json())["nodes"][0]["records"] == 3
    name, request, _ = served.dispatch.calls[0]
    assert (name, request) == ("forget", calls.ForgetRequest(calls.Who(), f"document/{sha256}", preview=preview))


@pytest.mark.parametrize("name", ["x", "A" * 64, "a" * 63])
async def test_a_document_to_forget_is_named_by_its_digest(serve, client, name):
    served = await serve(replies={})
    async with client.delete(f"{served.url}/api/documents/{name}") as response:
        assert response.status == 400
        assert (await response.json())["error"]["field"] == "sha256"


async def test_jobs_are_listed_or_followed(serve, client):
    served = await serve(replies={"jobs": scripted.INGEST})
    async with client.get(served.url + "/api/jobs?limit=3") as response:
        assert len((await response.json())["jobs"]) == 3
    async with client.get(served.url + "/api/jobs?job=j1") as response:
        assert len(await lines(response)) == 3
    assert [request.job for _, request, _ in served.dispatch.calls] == ["", "j1"]


async def test_without_a_node_that_reads_documents_jobs_are_unavailable(serve, client):
    served = await serve(members=lambda: (scripted.member("pc1", is_self=True),))
    async with client.get(served.url + "/api/jobs") as response:
        assert response.status == 503


async def test_search_returns_passages_with_their_places(serve, client):
    served = await serve(replies={"search": [scripted.SEARCH]})
    async with client.get(served.url + "/api/search?q=pressure&limit=3") as response:
        found = await response.json()
    assert found["hits"][0]["passage"]["page"] == 3
    assert found["degraded"] == "vectors: worker is loading"
    assert served.dispatch.calls[0][1] == calls.SearchRequest("pressure", 3)


@pytest.mark.parametrize(("query", "field"), [("", "q"), ("?q=x&limit=0", "limit"), ("?q=x&limit=many", "limit")])
async def test_a_wrong_search_names_the_field(serve, client, query, field):
    served = await serve()
    async with client.get(served.url + "/api/search" + query) as response:
        assert (response.status, (await response.json())["error"]["field"]) == (400, field)


async def test_what_nobody_can_do_now_is_unavailable(serve, client):
    served = await serve()
    async with client.get(served.url + "/api/search?q=x") as response:
        assert response.status == 503


async def test_members_are_this_node_first_with_addresses_as_text(serve, client):
    served = await serve()
    async with client.get(served.url + "/api/members") as response:
        found = await response.json()
    assert found["node"] == "pc1"
    assert [member["name"] for member in found["members"]] == ["pc1", "pc2", "pc3", "pc9"]
    assert found["members"][0]["addresses"] == ["192.168.1.20:7710", "[fd00::1]:7710"]
    assert found["members"][2]["state"] == "suspect"


async def test_status_is_this_nodes_own_account(serve, client):
    served = await serve(replies={"status": [scripted.status()]})
    async with client.get(served.url + "/api/status") as response:
        assert (await response.json())["parts"]["memory"] == {"documents": 3}
    own = next(member.node for member in scripted.MEMBERS if member.is_self)
    assert served.dispatch.calls[0][2]["only"] == own


async def test_status_of_the_cluster_tells_why_a_member_is_silent(serve, client):
    served = await serve(replies={"status": [scripted.status()]})
    async with client.get(served.url + "/api/status?cluster=1") as response:
        nodes = (await response.json())["nodes"]
    assert [bool(node["status"]) for node in nodes] == [True, True, True, False]
    assert nodes[3]["error"] == "no answer for 8 s"
    assert len(served.dispatch.calls) == 3  # a dead member is not asked


@pytest.mark.parametrize("path", ["/api/invite", "/api/nightly"])
@pytest.mark.parametrize("token", ["", "Bearer wrong", "Basic the-admin-token", "Bearer "])
async def test_invite_and_nightly_need_the_admin_token(serve, client, path, token):
    served = await serve(replies={"nightly": []})
    async with client.post(served.url + path, headers={"Authorization": token}) as response:
        assert response.status == 401
        assert response.headers["WWW-Authenticate"] == "Bearer"
    assert served.dispatch.calls == []


async def test_an_empty_admin_token_opens_nothing(serve, client):
    served = await serve(admin_token="")
    async with client.post(served.url + "/api/invite", headers={"Authorization": "Bearer "}) as response:
        assert response.status == 401


async def test_invite_makes_a_token_for_a_zone(serve, client):
    served = await serve()
    body = {"zone": "lab", "expires_s": 600}
    async with client.post(served.url + "/api/invite", headers=ADMIN, json=body) as response:
        assert await response.json() == {"token": "tars1.lab.600", "zone": "lab", "expires_s": 600.0}
    async with client.post(served.url + "/api/invite", headers=ADMIN) as response:
        assert (await response.json())["token"] == "tars1.core.3600"


@pytest.mark.parametrize(
    ("body", "field"),
    [({"zone": "moon"}, "zone"), ({"expires_s": 1}, "expires_s"), ({"zones": "lab"}, "body")],
)
async def test_a_wrong_invitation_names_the_field(serve, client, body, field):
    served = await serve()
    async with client.post(served.url + "/api/invite", headers=ADMIN, json=body) as response:
        assert (response.status, (await response.json())["error"]["field"]) == (400, field)


async def test_nightly_streams_how_each_job_went(serve, client):
    items = [calls.NightlyItem("compact_memory", True, 3, "3 merged", 0.1)]
    served = await serve(replies={"nightly": items})
    async with client.post(served.url + "/api/nightly", headers=ADMIN, json={"jobs": ["compact_memory"]}) as response:
        assert (await lines(response))[0]["detail"] == "3 merged"
    assert served.dispatch.calls[0][1].jobs == ["compact_memory"]
    assert served.dispatch.calls[0][2]["only"] is None  # this node has no nightly jobs


async def test_nightly_runs_on_this_node_where_it_can(serve, client):
    own = scripted.member("pc1", is_self=True, capabilities={"nightly": {}})
    served = await serve(replies={"nightly": []}, members=lambda: (scripted.member("pc2"), own))
    async with client.post(served.url + "/api/nightly", headers=ADMIN) as response:
        assert response.status == 200
    assert served.dispatch.calls[0][2]["only"] == own.node


async def test_a_peer_that_refuses_is_told_as_not_allowed(serve, client):
    served = await serve(replies={"search": [NotAllowed("zone lab may not search")]})
    async with client.get(served.url + "/api/search?q=x") as response:
        assert response.status == 403


async def test_health_tells_what_is_wrong(serve, client):
    served = await serve()
    async with client.get(served.url + "/healthz") as response:
        assert (response.status, (await response.json())["healthy"]) == (200, True)
    served = await serve(problems=lambda: ["gossip: no tick for 9 s"])
    async with client.get(served.url + "/healthz") as response:
        assert (response.status, (await response.json())["problems"]) == (503, ["gossip: no tick for 9 s"])


async def test_metrics_are_prometheus_text(serve, client):
    served = await serve()
    async with client.get(served.url + "/metrics") as response:
        assert response.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        assert await response.text() == "tarsd_up 1\n"


async def test_an_unknown_path_and_a_wrong_method_are_json_errors(serve, client):
    served = await serve()
    async with client.get(served.url + "/api/nothing") as response:
        assert (response.status, (await response.json())["error"]["name"]) == (404, "NotFound")
    async with client.delete(served.url + "/api/members") as response:
        assert response.status == 405
        assert "GET" in response.headers["Allow"]
    async with client.get(served.url + "/v1/nothing") as response:
        assert set((await response.json())["error"]) == {"message", "type", "param", "code"}


async def test_a_body_that_is_not_json_is_told_so(serve, client):
    served = await serve()
    url = served.url + "/v1/chat/completions"
    async with client.post(url, data=b"{}", headers={"Content-Type": "text/plain"}) as response:
        assert (response.status, (await response.json())["error"]["param"]) == (400, "Content-Type")
    async with client.post(url, data=b"{", headers={"Content-Type": "application/json"}) as response:
        assert (response.status, (await response.json())["error"]["param"]) == (400, "body")
    async with client.post(
        url, data=io.BytesIO(b" " * (9 * 1024 * 1024)), headers={"Content-Type": "application/json"}
    ) as response:
        assert response.status == 413


async def test_an_error_that_is_not_ours_keeps_its_text_to_itself(serve, client, caplog):
    def broken():
        raise RuntimeError("secret")

    served = await serve(members=broken)
    async with client.get(served.url + "/api/members") as response:
        assert response.status == 500
        assert "secret" not in await response.text()
    assert "GET '/api/members' failed: RuntimeError" in caplog.text


async def test_the_manual_lists_every_route(serve, client):
    served = await serve()
    async with client.get(served.url + "/api") as response:
        manual = await response.json()
    paths = {route["path"] for route in manual["routes"]}
    assert {"/ws", "/v1/chat/completions", "/api/documents", "/metrics", "/"} <= paths
    assert all(route["about"] for route in manual["routes"])
    assert '"type": "ask"' in manual["websocket"]


async def test_the_address_is_told_to_this_pcs_commands_while_the_server_runs(serve, tmp_path):
    served = await serve()
    assert (tmp_path / "api.url").read_text() == served.url + "\n"
    await served.server.stop(0.0)
    assert not (tmp_path / "api.url").exists()
