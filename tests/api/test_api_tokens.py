"""Named tokens through a real server: scopes, rates, every way of showing one, changes while it runs."""

from __future__ import annotations

import time
from typing import Any

import aiohttp
import openai
import pytest

from tarsd.api import tokens
from tarsd.api.rates import Rate
from tarsd.api.scopes import Scope
from tarsd.calls import ChatItem, EmbedItem, Usage
from tarsd.config import Api
from tests.api import scripted_services as scripted
from tests.api.scripted_services import HANG

QUESTION = {"model": "tars", "messages": [{"role": "user", "content": "hi"}]}
PLAIN = QUESTION | {"model": "tiny-model"}
SAID = [ChatItem(text="4", engine="e"), ChatItem(text="2", finish_reason="stop", usage=Usage(30, 20))]
VECTOR = b"\0\0\x80?"
EMBEDS = scripted.member("pc2", capabilities={"embed": {"model": "mini"}})


@pytest.fixture
async def client():
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
def make(tmp_path):
    """A function that makes a named token for the server of the test."""

    def made(*scopes: Scope, name: str = "ana", valid_s: float | None = None, **limits: Any) -> str:
        shown, token = tokens.minted(name, scopes or [Scope.CHAT], time.time(), valid_s=valid_s, **limits)
        tokens.add(tmp_path / tokens.FILE, token)
        return shown

    return made


@pytest.fixture
def lan() -> Api:
    return Api(port=0, listen="0.0.0.0")


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def status_of(client, served, path, headers, **options):
    method = options.pop("method", "GET")
    async with client.request(method, served.url + path, headers=headers, **options) as reply:
        await reply.read()
        return reply.status


async def test_a_token_opens_the_paths_of_its_scopes_and_403_names_the_missing_one(serve, client, lan, make):
    token = make(Scope.STATUS)
    served = await serve(settings=lan, access_token="for-people")
    assert await status_of(client, served, "/api/members", bearer(token)) == 200
    assert await status_of(client, served, "/v1/models", bearer(token)) == 200
    async with client.post(served.url + "/v1/chat/completions", headers=bearer(token), json=QUESTION) as reply:
        body = await reply.json()
    assert reply.status == 403
    assert body["error"]["type"] == "permission_error"
    assert "token 'ana': this needs scope chat; it has status" in body["error"]["message"]
    assert served.host.asked == []


async def test_its_scopes_hold_on_loopback_too(serve, client, make):
    token = make(Scope.CHAT)
    served = await serve()
    assert await status_of(client, served, "/api/members", {}) == 200
    assert await status_of(client, served, "/api/members", bearer(token)) == 403


async def test_the_admin_scope_opens_what_changes_the_cluster_and_no_other_does(serve, client, make):
    admin, other = make(Scope.ADMIN, name="root"), make(Scope.CHAT, Scope.MODELS, name="other")
    served = await serve()
    assert await status_of(client, served, "/api/invite", bearer(admin), method="POST") == 200
    assert await status_of(client, served, "/api/invite", bearer(other), method="POST") == 403
    assert await status_of(client, served, "/api/invite", {}, method="POST") == 401


async def test_an_unknown_word_is_let_through_on_loopback_only(serve, client, lan):
    served = await serve()
    assert await status_of(client, served, "/api/members", bearer("sk-anything")) == 200
    beyond = await serve(settings=lan, access_token="for-people")
    assert await status_of(client, beyond, "/api/members", bearer("sk-anything")) == 401


async def test_a_named_token_that_is_none_is_refused_everywhere(serve, client, lan, make, tmp_path):
    gone = make(Scope.STATUS, name="gone")
    tokens.remove(tmp_path / tokens.FILE, "gone")
    for served in (await serve(), await serve(settings=lan, access_token="for-people")):
        async with client.get(served.url + "/api/members", headers=bearer(gone)) as reply:
            assert reply.status == 401
            assert "unknown here, or was removed" in await reply.text()


async def test_an_expired_token_says_so(serve, client, make):
    token = make(Scope.STATUS, valid_s=-1.0)
    served = await serve()
    async with client.get(served.url + "/api/members", headers=bearer(token)) as reply:
        assert reply.status == 401
        assert "'ana' has expired" in await reply.text()


async def test_a_broken_file_lets_no_named_token_in_and_is_told(serve, client, make, tmp_path):
    token = make(Scope.ADMIN)
    (tmp_path / tokens.FILE).write_text("{")
    served = await serve()
    async with client.get(served.url + "/api/members", headers=bearer(token)) as reply:
        assert reply.status == 401
        assert "cannot read its tokens.json" in await reply.text()
    assert "tokens.json" in served.server.token_note()
    assert await status_of(client, served, "/api/invite", bearer("the-admin-token"), method="POST") == 200


async def test_a_token_made_while_the_node_runs_opens_and_a_removed_one_closes(
    serve, client, make, tmp_path, monkeypatch
):
    monkeypatch.setattr("tarsd.api.token_book.LOOK_S", 0.0)
    served = await serve()
    token = make(Scope.ADMIN)
    assert await status_of(client, served, "/api/invite", bearer(token), method="POST") == 200
    tokens.remove(tmp_path / tokens.FILE, "ana")
    assert await status_of(client, served, "/api/invite", bearer(token), method="POST") == 401


async def test_anthropics_clients_show_it_as_x_api_key(serve, client, lan, make):
    token = make(Scope.STATUS)
    served = await serve(settings=lan)
    assert await status_of(client, served, "/api/members", {"x-api-key": token}) == 200


async def test_no_token_is_taken_from_a_url(serve, client, lan, make):
    token = make(Scope.STATUS)
    served = await serve(settings=lan)
    for name in ("token", "api_key", "access_token", "key"):
        assert await status_of(client, served, f"/api/members?{name}={token}", {}) == 401


async def test_a_chat_by_a_named_token_gets_no_pass_that_would_outlive_its_bounds(serve, client, lan, make):
    token = make(Scope.CHAT)
    served = await serve(settings=lan)
    async with client.ws_connect(served.url + "/ws", headers=bearer(token)) as chat:
        assert (await chat.receive_json())["pass"] == ""


async def test_a_browser_shows_it_to_the_chat_as_a_subprotocol(serve, client, lan, make):
    token, blind = make(Scope.CHAT), make(Scope.STATUS, name="blind")
    served = await serve(settings=lan)
    async with client.ws_connect(served.url + "/ws", protocols=("tarsd", f"tarsd.token.{token}")) as chat:
        assert (await chat.receive_json())["type"] == "session"
        assert chat.protocol == "tarsd"  # the token is not sent back
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        await client.ws_connect(served.url + "/ws", protocols=("tarsd", f"tarsd.token.{blind}"))
    assert caught.value.status == 403


async def test_the_page_signs_in_with_a_named_token_and_its_cookie_has_the_same_scopes(serve, lan, make):
    token = make(Scope.CHAT)
    served = await serve(settings=lan)
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as browser:
        async with browser.post(served.url + "/api/session", json={"token": "tars_00000000_no"}) as reply:
            assert reply.status == 401
        async with browser.post(served.url + "/api/session", json={"token": ""}) as reply:
            assert reply.status == 401  # without an access token, nothing is not one
        over = make(Scope.CHAT, name="over", valid_s=-1.0)
        async with browser.post(served.url + "/api/session", json={"token": over}) as reply:
            assert reply.status == 401
        async with browser.post(served.url + "/api/session", json={"token": token}) as reply:
            assert reply.status == 200
            assert token not in reply.headers["Set-Cookie"]
        async with browser.ws_connect(served.url + "/ws") as chat:
            assert (await chat.receive_json())["type"] == "session"
        assert await status_of(browser, served, "/api/members", {}) == 403


async def test_over_its_requests_a_token_gets_429_with_the_limit_and_the_time(serve, client, make):
    token = make(Scope.CHAT, requests=Rate(2, 3600.0))
    served = await serve()
    for left in ("1", "0"):
        async with client.post(served.url + "/v1/chat/completions", headers=bearer(token), json=QUESTION) as reply:
            assert reply.status == 200
            assert reply.headers["x-ratelimit-limit-requests"] == "2"
            assert reply.headers["x-ratelimit-remaining-requests"] == left
    async with client.post(served.url + "/v1/chat/completions", headers=bearer(token), json=QUESTION) as reply:
        body = await reply.json()
    assert reply.status == 429
    assert 1700 <= int(reply.headers["Retry-After"]) <= 1800
    assert body["error"]["code"] == "rate_limit_exceeded"
    assert "2 requests an hour" in body["error"]["message"]
    assert len(served.host.asked) == 2


async def test_the_official_client_knows_a_limit_when_it_meets_one(serve, make):
    token = make(Scope.CHAT, requests=Rate(1, 3600.0))
    served = await serve()
    async with openai.AsyncOpenAI(base_url=f"{served.url}/v1", api_key=token, max_retries=0) as ours:
        await ours.models.list()
        with pytest.raises(openai.RateLimitError):
            await ours.models.list()


async def test_what_is_refused_for_its_scope_counts_nothing(serve, client, make):
    token = make(Scope.STATUS, requests=Rate(1, 3600.0))
    served = await serve()
    assert await status_of(client, served, "/api/search?q=x", bearer(token)) == 403
    assert await status_of(client, served, "/api/members", bearer(token)) == 200


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("body", "used"), [(PLAIN, 50), (QUESTION, 49)])
async def test_the_tokens_of_an_answer_count_when_they_are_known_and_the_next_one_waits(
    serve, client, make, stream, body, used
):
    token = make(Scope.CHAT, tokens=Rate(10, 3600.0))
    served = await serve(replies={"chat": SAID})
    url = served.url + "/v1/chat/completions"
    async with client.post(url, headers=bearer(token), json=body | {"stream": stream}) as reply:
        assert reply.status == 200  # over its limit, and whole: what began is not cut
        assert ("[DONE]" if stream else "finish_reason") in await reply.text()
    async with client.post(url, headers=bearer(token), json=body) as reply:
        assert reply.status == 429
        assert "10 tokens an hour" in await reply.text()
        owed_s = (used - 10 + 1) * 360
        assert owed_s - 5 <= int(reply.headers["Retry-After"]) <= owed_s
        assert reply.headers["x-ratelimit-remaining-tokens"] == "0"


async def test_each_of_several_answers_counts(serve, client, make):
    token = make(Scope.CHAT, tokens=Rate(1000, 3600.0))
    served = await serve(replies={"chat": SAID})
    url = served.url + "/v1/chat/completions"
    assert (
        await status_of(client, served, "/v1/chat/completions", bearer(token), method="POST", json=PLAIN | {"n": 3})
        == 200
    )
    async with client.post(url, headers=bearer(token), json=PLAIN) as reply:
        assert reply.headers["x-ratelimit-remaining-tokens"] in {"850", "800"}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/completions", {"model": "tiny-model", "prompt": "x"}),
        ("/v1/responses", {"model": "tiny-model", "input": "x"}),
    ],
)
async def test_the_other_apis_count_too(serve, client, make, path, body):
    token = make(Scope.CHAT, tokens=Rate(10, 3600.0))
    served = await serve(replies={"chat": SAID})
    statuses = [await status_of(client, served, path, bearer(token), method="POST", json=body) for _ in range(2)]
    assert statuses == [200, 429]


async def test_the_tokens_of_vectors_count(serve, client, make):
    token = make(Scope.CHAT, tokens=Rate(10, 3600.0))
    served = await serve(
        replies={"embed": [EmbedItem(vectors=[VECTOR], dimension=1, model="mini", tokens=11)]},
        members=lambda: (EMBEDS,),
    )
    body = {"model": "mini", "input": "x"}
    statuses = [
        await status_of(client, served, "/v1/embeddings", bearer(token), method="POST", json=body) for _ in range(2)
    ]
    assert statuses == [200, 429]


async def test_leaving_early_is_no_way_round_a_limit(serve, client, make):
    token = make(Scope.CHAT, tokens=Rate(2, 3600.0))
    served = await serve(replies={"chat": [ChatItem(text="a"), ChatItem(text="b"), ChatItem(text="c"), HANG]})
    url = served.url + "/v1/chat/completions"
    async with client.post(url, headers=bearer(token), json=PLAIN | {"stream": True}) as reply:
        seen = b""
        while b'"c"' not in seen:
            seen += await reply.content.readany()
        reply.close()
    await served.dispatch.made[0].ended.wait()
    assert await status_of(client, served, "/v1/chat/completions", bearer(token), method="POST", json=PLAIN) == 429


async def test_in_the_chat_each_question_counts_and_an_answer_over_the_limit_is_whole(serve, client, make):
    token = make(Scope.CHAT, tokens=Rate(10, 3600.0))
    served = await serve()
    async with client.ws_connect(served.url + "/ws", headers=bearer(token)) as chat:
        await chat.send_json({"type": "ask", "text": "hi"})
        assert (await until(chat, "done"))["type"] == "done"
        await chat.send_json({"type": "ask", "text": "again"})
        error = await until(chat, "error")
    assert error["name"] == "Overloaded"
    assert "10 tokens an hour" in error["sentence"]
    assert error["retry_after_s"] > 0
    assert len(served.host.asked) == 1


async def test_opening_the_chat_counts_nothing_but_each_question_does(serve, client, make):
    token = make(Scope.CHAT, requests=Rate(1, 3600.0))
    served = await serve()
    for _ in range(2):
        async with client.ws_connect(served.url + "/ws", headers=bearer(token)) as chat:
            await chat.receive_json()
    async with client.ws_connect(served.url + "/ws", headers=bearer(token)) as chat:
        for ends in ("done", "error"):
            await chat.send_json({"type": "ask", "text": "hi"})
            assert (await until(chat, "done"))["type"] == ends


async def test_a_chat_whose_token_was_removed_asks_nothing_more(serve, client, make, tmp_path, monkeypatch):
    monkeypatch.setattr("tarsd.api.token_book.LOOK_S", 0.0)
    token = make(Scope.CHAT)
    served = await serve()
    async with client.ws_connect(served.url + "/ws", headers=bearer(token)) as chat:
        await chat.receive_json()
        tokens.remove(tmp_path / tokens.FILE, "ana")
        await chat.send_json({"type": "ask", "text": "hi"})
        assert (await until(chat, "error"))["name"] == "NotAllowed"
    assert served.host.asked == []


async def test_the_limits_of_one_token_are_not_those_of_another(serve, client, make):
    one, other = make(Scope.STATUS, name="one", requests=Rate(1, 3600.0)), make(Scope.STATUS, name="other")
    served = await serve()
    assert await status_of(client, served, "/api/members", bearer(one)) == 200
    assert await status_of(client, served, "/api/members", bearer(one)) == 429
    assert await status_of(client, served, "/api/members", bearer(other)) == 200
    assert await status_of(client, served, "/api/members", {}) == 200


async def until(chat, kind):
    while True:
        message = await chat.receive_json(timeout=5)
        if message["type"] in {kind, "error"}:
            return message
