"""Takes all that is remembered out of this node's store and in again; what may be taken is `memory.importing`'s rules.

Both go in batches: a node's memory is never held as a whole, and what a batch wrote is on disk when it is told.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator, Mapping

from tarsd import calls
from tarsd.calls import Entry, ExportItem, ExportRequest, ImportItem, ImportRequest, RefusedEntry
from tarsd.calls.people import MAX_IMPORT_ENTRIES
from tarsd.errors import InvalidInput, Overloaded, WireError
from tarsd.memory.access import is_member, may_see
from tarsd.memory.bodies import MEMORY, PROJECT, SUMMARY, MemoryBody, ProjectBody, SummaryBody, key_of, read
from tarsd.memory.importing import Portable, is_known, objection, salted, without_salt
from tarsd.memory.log import MAX_BODY_BYTES
from tarsd.names import Capability
from tarsd.roles.base import Attributes, Role, Services
from tarsd.rpc import CallContext, Handler
from tarsd.wire import decode, encode

KINDS = (PROJECT, SUMMARY, MEMORY)  # projects first: what belongs to them needs them
SALT_BYTES = 16
MAX_LOOKS = 5
_BATCH = 200
_BATCH_BYTES = 1024 * 1024
_SHAPES: dict[str, type[Portable]] = {PROJECT: ProjectBody, SUMMARY: SummaryBody, MEMORY: MemoryBody}


class Moving(Role):
    """Offers `export` and `import`."""

    name = "moving"

    def __init__(self, services: Services) -> None:
        self._services = services
        self._store = services.store

    def handlers(self) -> Mapping[Capability, Handler]:
        """See `Role`."""
        return {calls.EXPORT.name: self._export, calls.IMPORT.name: self._import}

    def adverts(self) -> Mapping[Capability, Attributes]:
        """See `Role`."""
        return {calls.EXPORT.name: {}, calls.IMPORT.name: {}}

    async def _export(self, request: ExportRequest, context: CallContext) -> AsyncGenerator[ExportItem, None]:
        projects = await self._projects()
        total = 0
        for kind in KINDS:
            after = ""
            while found := await self._store.below(kind, after, _BATCH):
                after = found[-1][0]
                room, entries = _BATCH_BYTES, list[Entry]()
                for key, its_kind, packed in found:
                    body = _portable(its_kind, key, packed)
                    if body is None or not _is_shown(request, body, projects):
                        continue
                    entries.append(Entry(its_kind, encode(without_salt(body))))
                    room -= len(entries[-1].body)
                    if room < 0:
                        yield ExportItem(entries)
                        total += len(entries)
                        room, entries = _BATCH_BYTES, []
                if entries:
                    yield ExportItem(entries)
                    total += len(entries)
        yield ExportItem([], total)

    async def _projects(self) -> dict[str, ProjectBody]:
        projects: dict[str, ProjectBody] = {}
        after = ""
        while found := await self._store.below(PROJECT, after, _BATCH):
            after = found[-1][0]
            for key, kind, packed in found:
                body = _portable(kind, key, packed)
                if isinstance(body, ProjectBody):
                    projects[body.id] = body
        return projects

    async def _import(self, request: ImportRequest, context: CallContext) -> AsyncGenerator[ImportItem, None]:
        if len(request.entries) > MAX_IMPORT_ENTRIES:
            raise InvalidInput(f"entries: at most {MAX_IMPORT_ENTRIES} in one call, got {len(request.entries)}")
        for _ in range(MAX_LOOKS):
            before = self._store.forgettings
            fresh, known, refused = await self._sorted(request)
            if not fresh or request.preview:
                yield ImportItem(len(fresh), known, refused)
                return
            written = [(kind, "", salted(body, secrets.token_bytes(SALT_BYTES))) for kind, body in fresh]
            records = await self._store.append_as_known(written, before)
            if records is not None:  # else something was forgotten meanwhile, which must not come back with it
                yield ImportItem(len(fresh), known, refused, await self._services.confirm(records))
                return
        raise Overloaded("something is being forgotten all the time; try again", retry_after_s=1)

    async def _sorted(self, request: ImportRequest) -> tuple[list[tuple[str, Portable]], int, list[RefusedEntry]]:
        """Return what is to be written, how many are here already, and what is refused."""
        refused: list[RefusedEntry] = []
        bodies: list[tuple[Entry, Portable]] = []
        for entry in request.entries:
            try:
                bodies.append((entry, _taken(entry)))
            except WireError as error:
                refused.append(RefusedEntry(entry.line, "kind", str(error)))
        keys = [key_of(body) for _, body in bodies]
        there = {key: _portable(kind, key, body) for key, (kind, body) in (await self._store.at(keys)).items()}
        forgotten = await self._store.forgotten(keys)
        projects = await self._projects()
        fresh: dict[str, tuple[str, Portable]] = {}
        coming, known = set(request.coming), 0
        for key, (entry, body) in zip(keys, bodies, strict=True):
            here = fresh[key][1] if key in fresh else there.get(key)
            if is_known(body, here):
                known += 1
                continue
            forbidden = objection(
                request.who, body, here, projects, coming=coming, is_forgotten=key in forgotten and here is None
            )
            if forbidden is not None:
                refused.append(RefusedEntry(entry.line, *forbidden))
                continue
            fresh[key] = entry.kind, body
            if isinstance(body, ProjectBody):
                coming.add(body.id)
        return list(fresh.values()), known, refused


def _taken(entry: Entry) -> Portable:
    """Return the body of an entry; raises `WireError`."""
    shape = _SHAPES.get(entry.kind)
    if shape is None:
        raise WireError(f"{entry.kind[:40]!r} is none of {', '.join(KINDS)}")
    if len(entry.body) > MAX_BODY_BYTES - SALT_BYTES:
        raise WireError(f"it is over {MAX_BODY_BYTES - SALT_BYTES} bytes")
    body: Portable = decode(entry.body, shape)
    return body


def _portable(kind: str, key: str, packed: bytes) -> Portable | None:
    body = read(kind, key, packed) if kind in _SHAPES else None
    return body if isinstance(body, MemoryBody | SummaryBody | ProjectBody) else None


def _is_shown(request: ExportRequest, body: Portable, projects: Mapping[str, ProjectBody]) -> bool:
    if isinstance(body, ProjectBody):
        return is_member(request.who, body)
    return (request.history or not body.replaced_by) and may_see(request.who, body, projects)
