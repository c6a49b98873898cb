"""A stand-in for Hugging Face's hub: a real HTTP server that answers as the hub's documents say, and can misbehave.

Not the hub itself, which no test may ask. `resolve` redirects to `/cdn/…` with X-Linked-Etag and X-Linked-Size.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

TOKEN = "hf_secret"


@dataclass
class StandInHub:
    """What the server has, how it misbehaves, and what was asked. `cut_after`: bytes of each response, then a cut."""

    files: dict[str, bytes] = field(default_factory=dict)  # "owner/repository/file.gguf"
    lie: str = ""  # told as the SHA-256
    hide_hash: bool = False
    cut_after: list[int] = field(default_factory=list)
    ignores_range: bool = False
    moved: dict[str, str] = field(default_factory=dict)  # repository to repository
    private: bool = False
    pause_s: str = ""
    asked: list[tuple[str, str, str]] = field(default_factory=list)  # method, path, Range
    tokens_at_cdn: list[str] = field(default_factory=list)
    url: str = ""

    async def resolve(self, request: web.Request) -> web.StreamResponse:
        owner, repository, path = (request.match_info[key] for key in ("owner", "repository", "path"))
        self.asked.append((request.method, request.path, request.headers.get("Range", "")))
        if self.pause_s:
            return web.Response(status=429, headers={"Retry-After": self.pause_s})
        if self.private and request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return web.Response(status=401)
        if moved := self.moved.get(f"{owner}/{repository}"):
            return web.Response(status=307, headers={"Location": f"/{moved}/resolve/main/{path}"})
        data = self.files.get(f"{owner}/{repository}/{path}")
        if data is None:
            return web.Response(status=404)
        etag = self.lie or hashlib.sha256(data).hexdigest()
        headers = {"Location": f"{self.cdn}/cdn/{owner}/{repository}/{path}", "X-Linked-Size": str(len(data))}
        return web.Response(status=302, headers=headers | ({} if self.hide_hash else {"X-Linked-Etag": f'"{etag}"'}))

    @property
    def cdn(self) -> str:
        return self.url.replace("127.0.0.1", "localhost")  # another origin, as at the real one

    async def bytes_of(self, request: web.Request) -> web.StreamResponse:
        self.asked.append((request.method, request.path, request.headers.get("Range", "")))
        self.tokens_at_cdn.append(request.headers.get("Authorization", ""))
        data = self.files[request.match_info["rest"]]
        wanted = request.headers.get("Range", "")
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and not self.ignores_range else 0
        part = data[start:]
        headers = {"Content-Length": str(len(part))}
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        response = web.StreamResponse(status=206 if start else 200, headers=headers)
        await response.prepare(request)
        cut = self.cut_after.pop(0) if self.cut_after else len(part)
        await response.write(part[:cut])
        if cut < len(part):
            assert request.transport is not None
            request.transport.close()
        return response


@asynccontextmanager
async def stand_in_hub(hub: StandInHub) -> AsyncGenerator[StandInHub, None]:
    """Serve `hub` on a free port of loopback while the block runs."""
    app = web.Application()
    app.router.add_route("*", "/{owner}/{repository}/resolve/{revision}/{path:.+}", hub.resolve)
    app.router.add_get("/cdn/{rest:.+}", hub.bytes_of)
    runner = web.AppRunner(app, shutdown_timeout=0.2)
    await runner.setup()
    site = web.TCPSite(runner, "localhost", 0)
    await site.start()
    hub.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield hub
    finally:
        await runner.cleanup()
