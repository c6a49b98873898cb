"""All that is remembered, out into a file and in again; and what a person settles for itself.

    GET  /api/memory/export?format=json|markdown[&history=0]     streamed; what the files hold: `memory_files`
    POST /api/memory/import[?preview=1]                          the lines of a JSON export
    GET, PATCH /api/memory/settings                              {"automatic": false}

Rules of an import
1. A line that does not fit is named with its number, its field and why; the others are taken in all the same.
2. What is here already is skipped, so a file can be imported again, also one whose import was cut off.
3. Lines are taken in by batches; neither they nor the file are held as a whole.
4. A file without its last line was cut off: what it has is taken in, and `is_whole` is false.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing

import msgspec
from aiohttp import StreamReader, web

from tarsd import calls, errors, wire
from tarsd.api import memory_files as files
from tarsd.api.memories import near, one
from tarsd.api.replies import FieldError, TooLarge, error_body, json_reply, query_int, read_json, send, with_beats
from tarsd.api.services import SERVICES, SETTINGS
from tarsd.api.who import who_looks
from tarsd.calls import Copies, Entry, RefusedEntry
from tarsd.calls.people import MAX_IMPORT_BYTES, MAX_IMPORT_ENTRIES

READ_S = 60.0  # a client that sends nothing for so long has gone
MAX_TOLD = 100  # refused lines that are told one by one; the others are counted
LINES = "application/x-ndjson"
_CONTENT = frozenset({LINES, "application/json", "application/octet-stream"})


class SettingsChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of PATCH /api/memory/settings: what is not named stays."""

    automatic: bool | None = None


class Imported(msgspec.Struct):
    """What came of an import. `new` are on disk (with `preview`: would be); `errors` are the first of the refused."""

    new: int = 0
    known: int = 0
    refused: int = 0
    errors: list[RefusedEntry] = []
    preview: bool = False
    is_whole: bool = False
    copies: Copies | None = None

    def refuse(self, refused: RefusedEntry) -> None:
        """Count a line that was not taken in, and tell it as long as there is room."""
        self.refused += 1
        if len(self.errors) < MAX_TOLD:
            self.errors.append(refused)

    def take(self, item: calls.ImportItem, *, preview: bool) -> None:
        """Count what came of a batch; the fewest copies of all are told."""
        self.new += item.new
        self.known += item.known
        for refused in item.refused:
            self.refuse(refused)
        if item.new and not preview and (self.copies is None or item.copies.copies < self.copies.copies):
            self.copies = item.copies


async def settings(request: web.Request) -> web.Response:
    """GET /api/memory/settings: what the token's person settled."""
    return json_reply(await one(request, calls.SETTINGS, calls.SettingsRequest(who_looks(request))))


async def change_settings(request: web.Request) -> web.Response:
    """PATCH /api/memory/settings {"automatic": false}: whether TARS learns about the token's person by itself."""
    change = await read_json(request, SettingsChange)
    asked = calls.SaveSettingsRequest(who_looks(request), change.automatic)
    return json_reply(await one(request, calls.SAVE_SETTINGS, asked))


async def export(request: web.Request) -> web.StreamResponse:
    """GET /api/memory/export[?format=json|markdown][&history=1]: all that may be seen, as a file to keep.

    A JSON file ends with a line that counts its entries: one without it was cut off.
    """
    form = request.query.get("format", "json")
    if form not in ("json", "markdown"):
        raise FieldError("format", f"expected json or markdown, got {form[:40]!r}")
    history = query_int(request, "history", 1, 0, 1) == 1
    call = near(request, calls.EXPORT, calls.ExportRequest(who_looks(request), history))
    node, now = request.app[SERVICES].node_name, time.time()
    writer: _Lines | _Markdown = _Lines() if form == "json" else _Markdown()
    async with aclosing(with_beats(call)) as items:
        first = await anext(items, None)
        response = web.StreamResponse(headers=_headers(form, now))
        await response.prepare(request)
        await send(response, writer.head(node, now))
        try:
            if first is not None:
                await send(response, writer.some(first))
            async for item in items:
                if item is not None:
                    await send(response, writer.some(item))
        except errors.TarsdError as error:
            await send(response, writer.failed(error, request.path))
    await response.write_eof()
    return response


def _headers(form: str, now: float) -> dict[str, str]:
    kind, ending = (LINES, "jsonl") if form == "json" else ("text/markdown; charset=utf-8", "md")
    name = f"tars-memory-{time.strftime('%Y-%m-%d', time.localtime(now))}.{ending}"
    return {"Content-Type": kind, "Content-Disposition": f'attachment; filename="{name}"'}


class _Lines:
    """Writes the JSON file."""

    def head(self, node: str, now: float) -> bytes:
        return files.head_line(node, now)

    def some(self, item: calls.ExportItem) -> bytes:
        if not item.entries:
            return files.foot_line(item.total)
        return b"".join(files.line_of(entry.kind, entry.body) for entry in item.entries)

    def failed(self, error: errors.TarsdError, path: str) -> bytes:
        return msgspec.json.encode(error_body(error, path)) + b"\n"


class _Markdown:
    """Writes the file for reading: a title before the first entry of each kind."""

    def __init__(self) -> None:
        self._kind = ""

    def head(self, node: str, now: float) -> bytes:
        return files.markdown_head(node, now).encode()

    def some(self, item: calls.ExportItem) -> bytes:
        parts: list[str] = []
        for entry in item.entries:
            if entry.kind != self._kind:
                self._kind = entry.kind
                parts.append(files.markdown_title(entry.kind))
            parts.append(files.markdown_of(entry.kind, entry.body))
        return "".join(parts).encode()

    def failed(self, error: errors.TarsdError, path: str) -> bytes:
        return f"\n**This file was cut off: {files.plain(str(error))}**\n".encode()


async def import_lines(request: web.Request) -> web.Response:
    """POST /api/memory/import[?preview=1]: take in the lines of a JSON export; what is here already is skipped.

    The body is the file. The reply counts what is new, known and refused, and names the first refused lines.
    """
    if request.content_type not in _CONTENT:
        raise FieldError("Content-Type", f"expected {LINES}, got {request.content_type}")
    preview = query_int(request, "preview", 0, 0, 1) == 1
    done = Imported(preview=preview)
    batch = _Batch(request, done)
    async with aclosing(_lines(request.content, request.app[SETTINGS].max_body_mib * wire.MIB)) as lines:
        async for number, line in lines:
            await _take(batch, done, number, line)
    if not batch.has_head:
        raise FieldError("body", "expected the lines of a memory export; it is empty")
    await batch.send()
    return json_reply(done)


async def _take(batch: _Batch, done: Imported, number: int, line: bytes) -> None:
    if done.is_whole:
        done.refuse(RefusedEntry(number, "body", "it comes after the last line of the export"))
        return
    try:
        found = files.entry_of(line)
    except FieldError as error:
        if not batch.has_head and error.field in ("tarsd", "version"):
            raise  # an export, but not one for this node
        if not batch.has_head:
            raise FieldError("body", f"this is no file that a memory export wrote ({error})") from error
        done.refuse(RefusedEntry(number, error.field, str(error).removeprefix(f"{error.field}: ")))
        return
    if isinstance(found, files.Head):
        batch.has_head = True
    elif not batch.has_head:
        raise FieldError("tarsd", "this is no memory export: its first line is missing")
    elif isinstance(found, files.Foot):
        done.is_whole = True
    else:
        await batch.add(Entry(found[0], found[1], number))


class _Batch:
    """Gathers entries up to what one call takes."""

    def __init__(self, request: web.Request, done: Imported) -> None:
        self.has_head = False
        self._request = request
        self._done = done
        self._entries: list[Entry] = []
        self._bytes = 0
        self._projects: set[str] = set()

    async def add(self, entry: Entry) -> None:
        """Add one; send those before it where there is no room for it."""
        full = len(self._entries) >= MAX_IMPORT_ENTRIES or self._bytes + len(entry.body) > MAX_IMPORT_BYTES
        if self._entries and full:
            await self.send()
        self._entries.append(entry)
        self._bytes += len(entry.body)

    async def send(self) -> None:
        """Have the batch taken in; raises what the call raises, with how far it came."""
        entries, self._entries, self._bytes = self._entries, [], 0
        if not entries:
            return
        preview = self._done.preview
        asked = calls.ImportRequest(who_looks(self._request), entries, preview, sorted(self._projects))
        try:
            item = await one(self._request, calls.IMPORT, asked)
        except errors.TarsdError as error:
            name, sentence, again_s = errors.to_wire(error)
            how_far = f"lines up to {entries[0].line - 1} are done: import the file again and it goes on"
            raise errors.from_wire(name, f"{sentence}; {how_far}", again_s) from error
        self._done.take(item, preview=preview)
        refused = {one.line for one in item.refused}
        self._projects |= {files.project_id(e.body) for e in entries if e.kind == "project" and e.line not in refused}


async def _lines(content: StreamReader, max_bytes: int) -> AsyncGenerator[tuple[int, bytes], None]:
    """Yield the lines that hold something, with their numbers; raises `TooLarge` and `FieldError`."""
    held, number, taken = bytearray(), 0, 0
    while True:
        async with asyncio.timeout(READ_S):
            piece = await content.readany()
        if not piece:
            break
        taken += len(piece)
        if taken > max_bytes:
            raise TooLarge(f"body: over {max_bytes // wire.MIB} MiB (api.max_body_mib); lines up to {number} are done")
        *whole, rest = piece.split(b"\n")
        for end in whole:
            held += end
            number += 1
            if held.strip():
                yield number, bytes(held)
            held.clear()
        held += rest
        if len(held) > files.MAX_LINE_BYTES:
            raise FieldError("body", f"line {number + 1} is over {files.MAX_LINE_BYTES} bytes")
    if held.strip():
        yield number + 1, bytes(held)


def routes() -> list[web.RouteDef]:
    """The routes about memory as a whole."""
    return [
        web.get("/api/memory/settings", settings),
        web.patch("/api/memory/settings", change_settings),
        web.get("/api/memory/export", export),
        web.post("/api/memory/import", import_lines),
    ]
