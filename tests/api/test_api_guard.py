"""Who may come in: the rules of the guard as functions, and through a real server."""

from __future__ import annotations

import socket

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tarsd.api.guard import host_is_ours, origin_is_ours
from tarsd.config import Api


@pytest.fixture
async def client():
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.mark.parametrize(
    ("authority", "ours"),
    [
        ("localhost", True),
        ("LOCALHOST:7711", True),
        ("127.0.0.1:7711", True),
        ("[::1]:7711", True),
        ("192.168.1.20:7711", True),  # where the request arrived
        ("192.168.1.21:7711", False),
        ("tars.home", True),
        ("tars.home.:443", True),
        ("evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("localhost.evil.example", False),
        ("user@127.0.0.1@evil.example", False),
        ("", False),
        ("[::1", False),
        (":7711", False),
    ],
)
def test_a_host_is_loopback_the_arrival_address_or_allowed(authority, ours):
    assert host_is_ours(authority, "192.168.1.20", ("Tars.Home",)) is ours


@pytest.mark.parametrize(
    ("origin", "ours"),
    [
        (None, True),  # a program
        ("http://127.0.0.1:7711", True),
        ("HTTP://127.0.0.1:7711", False),
        ("http://127.0.0.1:7712", False),
        ("http://localhost:7711", False),  # another origin than the page that was loaded
        ("https://127.0.0.1:7711", False),
        ("http://evil.example", False),
        ("null", False),
        ("", False),
        ("file://", False),
    ],
)
def test_an_origin_is_the_pages_own(origin, ours):
    assert origin_is_ours(origin, "http", "127.0.0.1:7711", ()) is ours


def test_default_ports_do_not_make_another_origin():
    assert origin_is_ours("https://tars.home", "https", "tars.home:443", ())


def test_an_allowed_name_may_come_by_https_through_a_proxy():
    assert origin_is_ours("https://tars.home", "http", "tars.home", ("tars.home",))
    assert not origin_is_ours("https://tars.home", "http", "tars.home", ())


@given(st.text(max_size=80))
def test_no_text_is_ours_by_accident(text):
    if host_is_ours(text, "192.168.1.20", ()):
        name = text.lower()
        assert any(own in name for own in ("localhost", "127.", "::1", "::ffff:7f", "0:1", "192.168.1.20", ":1]"))
    assert not origin_is_ours(text, "http", "127.0.0.1:7711", ()) or text == "http://127.0.0.1:7711"


@pytest.mark.parametrize("path", ["/", "/api/members", "/v1/models", "/metrics", "/healthz", "/ws"])
async def test_a_foreign_host_is_refused_everywhere(serve, client, path):
    served = await serve()
    async with client.get(served.url + path, headers={"Host": "evil.example"}) as response:
        assert response.status == 403
        assert "Host" in await response.text()


async def test_an_allowed_host_is_let_in(serve, client):
    served = await serve(settings=Api(port=0, allowed_hosts=("tars.home",)))
    async with client.get(served.url + "/api/members", headers={"Host": "tars.home"}) as response:
        assert response.status == 200


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://localhost:1"])
async def test_a_foreign_origin_cannot_open_the_chat(serve, client, origin):
    served = await serve()
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        await client.ws_connect(served.url + "/ws", origin=origin)
    assert caught.value.status == 403


async def test_the_page_itself_may_open_the_chat(serve, client):
    served = await serve()
    async with client.ws_connect(served.url + "/ws", origin=served.url) as chat:
        assert (await chat.receive_json())["type"] == "session"


@pytest.mark.parametrize(
    "path", ["/api/documents?file=a.md", "/v1/chat/completions", "/api/nightly", "/api/invite", "/api/session"]
)
async def test_a_foreign_origin_cannot_change_anything(serve, client, path):
    served = await serve()
    headers = {"Origin": "http://evil.example", "Authorization": "Bearer the-admin-token"}
    async with client.post(served.url + path, headers=headers, json={"token": "the-admin-token"}) as response:
        assert response.status == 403
    assert served.dispatch.calls == []


@pytest.mark.parametrize("path", ["/", "/api/members", "/api/nothing", "/ws"])
async def test_every_response_carries_the_security_headers(serve, client, path):
    served = await serve()
    async with client.get(served.url + path) as response:
        policy = response.headers["Content-Security-Policy"]
        assert "default-src 'self'" in policy
        assert "frame-ancestors 'none'" in policy
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Server"] == "tarsd"
        assert "Access-Control-Allow-Origin" not in response.headers


@pytest.fixture
def lan() -> Api:
    """An API that does not listen on loopback: on all addresses, as far as the guard can tell."""
    return Api(port=0, listen="0.0.0.0")


@pytest.mark.parametrize("path", ["/api/members", "/v1/models", "/metrics", "/api"])
async def test_beyond_loopback_everything_but_the_page_needs_a_token(serve, client, lan, path):
    served = await serve(settings=lan, access_token="for-people")
    async with client.get(served.url + path) as response:
        assert response.status == 401
    async with client.get(served.url + path, headers={"Authorization": "Bearer for-people"}) as response:
        assert response.status == 200
    async with client.get(served.url + "/") as response:
        assert response.status == 200


async def test_beyond_loopback_without_an_access_token_only_the_admin_comes_in(serve, client, lan):
    served = await serve(settings=lan, access_token="")
    async with client.get(served.url + "/api/members", headers={"Authorization": "Bearer "}) as response:
        assert response.status == 401
    async with client.get(served.url + "/api/members", headers={"Authorization": "Bearer the-admin-token"}) as response:
        assert response.status == 200


async def test_signing_in_gives_the_page_a_cookie_that_opens_the_chat(serve, lan):
    served = await serve(settings=lan, access_token="for-people")
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as browser:
        async with browser.post(served.url + "/api/session", json={"token": "wrong"}) as response:
            assert response.status == 401
        async with browser.post(served.url + "/api/session", json={"token": "for-people"}) as response:
            cookie = response.headers["Set-Cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Strict" in cookie
        assert "for-people" not in cookie
        async with browser.ws_connect(served.url + "/ws") as chat:
            assert (await chat.receive_json())["type"] == "session"
        async with browser.post(served.url + "/api/invite") as response:
            assert response.status == 401  # a person is not the admin


async def test_a_port_that_is_taken_is_a_config_error(serve):
    from tarsd.errors import ConfigError

    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(ConfigError, match=r"api\.port"):
        await serve(settings=Api(port=taken.getsockname()[1]))
