"""The chat page: its files, read once at start and served from memory, and signing in to it beyond loopback.

A page is always asked for anew (no-cache) but sent only when it changed (ETag), so an updated node never shows a mix.
What the page may connect to is part of that: it is a header of its document, which a browser keeps with it.
"""

from __future__ import annotations

import hashlib
import time
from importlib import resources

import msgspec
from aiohttp import web

from tarsd.api.guard import COOKIE, TokenNeeded, connect_sources, is_secret, why_not
from tarsd.api.replies import json_reply, read_json
from tarsd.api.services import SERVICES
from tarsd.api.token_book import TOKENS
from tarsd.api.tokens import PREFIX, session_key

_TYPES = {
    ".html": "text/html",
    ".js": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
    ".webmanifest": "application/manifest+json",
}


class PageFile(msgspec.Struct, frozen=True):
    """One file of the page."""

    body: bytes
    content_type: str
    etag: str


PAGE = web.AppKey("page", dict[str, PageFile])


def load_page() -> dict[str, PageFile]:
    """Return the files of the page by name."""
    files: dict[str, PageFile] = {}
    for entry in resources.files("tarsd.api").joinpath("page").iterdir():
        kind = _TYPES.get(entry.name[entry.name.rfind(".") :])
        if kind is not None:
            body = entry.read_bytes()
            files[entry.name] = PageFile(body, kind, hashlib.sha256(body).hexdigest()[:20])
    return files


async def page(request: web.Request) -> web.StreamResponse:
    """GET / and GET /page/NAME."""
    file = request.app[PAGE].get(request.match_info.get("name", "index.html"))
    if file is None:
        raise web.HTTPNotFound
    etag = file.etag
    if request.path == "/":
        etag += hashlib.sha256(connect_sources(request).encode()).hexdigest()[:8]
    headers = {"Cache-Control": "no-cache", "ETag": f'"{etag}"'}
    known = request.if_none_match or ()
    if any(tag.value == etag for tag in known):
        return web.Response(status=304, headers=headers)
    return web.Response(body=file.body, content_type=file.content_type, charset="utf-8", headers=headers)


class SignIn(msgspec.Struct, frozen=True):
    """The body of POST /api/session."""

    token: str


async def sign_in(request: web.Request) -> web.Response:
    """POST /api/session {"token": …}: the page's cookie, for as long as the browser runs."""
    services = request.app[SERVICES]
    token = (await read_json(request, SignIn)).token.strip()
    if not any(is_secret(token, known) for known in (services.access_token, services.admin_token)):
        named = request.app[TOKENS].find(token, time.monotonic())
        if named is None and not token.startswith(PREFIX):
            raise TokenNeeded("token: not this node's access token")
        if named is None or named.has_expired(time.time()):
            raise TokenNeeded(f"token: {why_not(request, named)}")
    reply = json_reply({"signed_in": True})
    secure = request.scheme == "https"
    reply.set_cookie(COOKIE, session_key(token), httponly=True, samesite="Strict", secure=secure, path="/")
    return reply


def routes() -> list[web.RouteDef]:
    """The routes of the page."""
    return [web.get("/", page), web.get("/page/{name}", page), web.post("/api/session", sign_in)]
