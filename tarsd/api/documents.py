"""Documents of people: POST /api/documents takes one in, GET /api/jobs tells how it goes, GET /api/search finds,
DELETE /api/documents/SHA256 forgets one for good.

An upload is the raw body; its answer is a stream of `IngestItem`, one JSON object a line, until the last one has
stage `done`, `duplicate` or `failed`. Leaving early does no harm: what is on the processing node's disk is read anyway.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Annotated

import msgspec
from aiohttp import web

from tarsd import calls
from tarsd.api.replies import FieldError, json_reply, ndjson, only_item, query_int
from tarsd.api.services import SERVICES, DispatchLike
from tarsd.api.spool import Spool
from tarsd.api.who import who_looks
from tarsd.errors import NotFound, Unavailable
from tarsd.names import NodeId

MAX_NAME_BYTES = 255
MAX_QUERY_CHARACTERS = 2_000
MAX_HITS = 50
MAX_JOBS = 500

SPOOL = web.AppKey("spool", Spool)

Sha256 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$")]
_Language = Annotated[str, msgspec.Meta(pattern=r"^([a-z]{2})?$")]


def file_name(found: str) -> str:
    """Return the bare name of an uploaded file; raises `FieldError`. A path is cut: only its last part is a name."""
    name = found.replace("\\", "/").rsplit("/", 1)[-1].strip()
    if not name or name in {".", ".."}:
        raise FieldError("file", f"expected the document's file name, got {found[:80]!r}")
    if not name.isprintable() or len(name.encode(errors="surrogatepass")) > MAX_NAME_BYTES:
        raise FieldError("file", f"expected a printable name of at most {MAX_NAME_BYTES} bytes")
    return name


def language_of(request: web.Request) -> str:
    """Return the query parameter `language`; raises `FieldError`."""
    try:
        return msgspec.convert(request.query.get("language", ""), _Language)
    except msgspec.ValidationError as error:
        raise FieldError("language", "expected two letters such as es, or nothing") from error


async def upload(request: web.Request) -> web.StreamResponse:
    """POST /api/documents?file=NAME[&language=es][&wait=0]."""
    name, language = file_name(request.query.get("file", "")), language_of(request)
    wait = query_int(request, "wait", 1, 0, 1) == 1
    async with request.app[SPOOL].take(request.content, request.content_length) as spooled:
        ingest = calls.IngestRequest(name, spooled.size_bytes, spooled.sha256, language, wait)
        call = request.app[SERVICES].dispatch.call(calls.INGEST, ingest, upload=spooled.chunks)
        return await ndjson(request, call)


async def delete(request: web.Request) -> web.Response:
    """DELETE /api/documents/SHA256[?preview=1]: forget it on every PC, with what was learned from it.

    The reply is the receipt: what was removed where; with preview what would be.
    """
    preview = query_int(request, "preview", 0, 0, 1) == 1
    try:
        sha256 = msgspec.convert(request.match_info["sha256"], Sha256)
    except msgspec.ValidationError as error:
        raise FieldError("sha256", "expected the SHA-256 of the document, 64 hexadecimal digits") from error
    # A document is the household's; what a person wrote stays that person's, but for what was made from it.
    asked = calls.ForgetRequest(who_looks(request), f"document/{sha256}", preview=preview)
    return json_reply(await only_item(request.app[SERVICES].dispatch.call(calls.FORGET, asked), "forget"))


async def jobs(request: web.Request) -> web.StreamResponse:
    """GET /api/jobs[?limit=50], or ?job=ID to follow one until it ends (a stream)."""
    job = request.query.get("job", "")
    wanted = calls.JobsRequest(job=job[:64], limit=query_int(request, "limit", 50, 1, MAX_JOBS))
    dispatch = request.app[SERVICES].dispatch
    holders = [m.node for m in request.app[SERVICES].members() if calls.JOBS.name in m.capabilities and m.routable]
    if not holders:
        raise Unavailable("no node that reads documents is there right now")
    if not job:
        found = await asyncio.gather(*(_jobs_at(dispatch, wanted, node) for node in holders))
        return json_reply({"jobs": [item for items in found for item in items][: wanted.limit]})
    for node in holders:
        call = dispatch.call(calls.JOBS, wanted, only=node)
        if len(holders) == 1 or await _knows(dispatch, wanted, node):
            return await ndjson(request, call)
    raise NotFound(f"job: no node knows the ingest job {job[:64]}")


async def _jobs_at(dispatch: DispatchLike, wanted: calls.JobsRequest, node: NodeId) -> list[calls.IngestItem]:
    """Return the jobs of one node; none of a node that does not answer: the others' are worth showing."""
    try:
        async with aclosing(dispatch.call(calls.JOBS, wanted, deadline_s=10.0, only=node)) as call:
            return [item async for item in call]
    except Unavailable:
        return []


async def _knows(dispatch: DispatchLike, wanted: calls.JobsRequest, node: NodeId) -> bool:
    try:
        async with aclosing(dispatch.call(calls.JOBS, wanted, deadline_s=10.0, only=node)) as call:
            async for _ in call:
                return True
    except (NotFound, Unavailable):
        pass
    return False


async def search(request: web.Request) -> web.Response:
    """GET /api/search?q=WORDS[&limit=6][&language=es]."""
    query = request.query.get("q", "").strip()
    if not query or len(query) > MAX_QUERY_CHARACTERS:
        raise FieldError("q", f"expected 1 to {MAX_QUERY_CHARACTERS} characters to search for")
    wanted = calls.SearchRequest(query, query_int(request, "limit", 6, 1, MAX_HITS), language_of(request))
    return json_reply(await only_item(request.app[SERVICES].dispatch.call(calls.SEARCH, wanted), "search"))


def routes() -> list[web.RouteDef]:
    """The routes about documents."""
    return [
        web.post("/api/documents", upload),
        web.delete("/api/documents/{sha256}", delete),
        web.get("/api/jobs", jobs),
        web.get("/api/search", search),
    ]
