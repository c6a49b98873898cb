"""What the nightly jobs changed, and undoing it: GET /api/diary, POST /api/diary/ID/undo."""

from __future__ import annotations

from aiohttp import web

from tarsd import calls
from tarsd.api.memories import MAX_LIMIT, one
from tarsd.api.replies import FieldError, json_reply, query_int
from tarsd.api.who import who_looks

MAX_NAME_CHARACTERS = 128


async def diary(request: web.Request) -> web.Response:
    """GET /api/diary[?job=compact_memory][&limit=50]: what changed, newest first."""
    job = request.query.get("job", "")
    if len(job) > MAX_NAME_CHARACTERS:
        raise FieldError("job", f"expected at most {MAX_NAME_CHARACTERS} characters")
    limit = query_int(request, "limit", 50, 1, MAX_LIMIT)
    return json_reply(await one(request, calls.DIARY, calls.DiaryRequest(who_looks(request), limit, job)))


async def undo(request: web.Request) -> web.Response:
    """POST /api/diary/ID/undo: undo what an entry tells; the reply says what could not be."""
    wanted = request.match_info["id"][:MAX_NAME_CHARACTERS]
    return json_reply(await one(request, calls.UNDO, calls.UndoRequest(who_looks(request), wanted)))


def routes() -> list[web.RouteDef]:
    """The routes of the diary."""
    return [web.get("/api/diary", diary), web.post("/api/diary/{id}/undo", undo)]
