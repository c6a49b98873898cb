"""One model file on its way here.

Rules
1. Peers are asked one after another, by SHA-256 where it is known, and the hub only after them. One that is lost costs
   nothing but the change: the next one goes on at the offset reached, and so does the hub.
2. While a pull has been getting bytes it is patient: when everybody is lost it looks again for `PATIENCE_S`, so that a
   PC that restarts goes on giving. One that never got any ends at once, with what each one said.
3. A file put together from several hands, or begun long ago, that is not what it should be is fetched once more from
   the start. One that came whole from one hand and is not is refused: asking again would bring the same.
4. A full disk ends a pull at once, for all.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import aclosing, suppress
from functools import partial
from typing import Any

import msgspec

from tarsd import calls
from tarsd.calls import ModelFileItem, ModelFileRequest, PullItem, PullRequest
from tarsd.errors import InvalidInput, NotFound, StorageError, TarsdError, Unavailable, place_of
from tarsd.gossip.member import Member
from tarsd.models.hub import Hub
from tarsd.models.shelf import Shelf
from tarsd.models.sources import check_sha256, hub_file, is_hub
from tarsd.models.store import Promise
from tarsd.roles.base import Services
from tarsd.workers.backoff import Backoff

log = logging.getLogger(__name__)

PATIENCE_S = 60.0
STALL_S = 180.0  # a peer may have to read a large file once, to know its hash, before it sends the first byte
TELL_S = 0.25  # progress is told so often at most
_FINAL_STAGES = ("done", "failed")


class Pull:
    """One pull; runs from its making on. `on_end` is told before its followers are."""

    def __init__(
        self, request: PullRequest, services: Services, shelf: Shelf, backoff: Backoff, on_end: Callable[[], None]
    ) -> None:
        self.last = PullItem(request.name, "queued")
        self._request = request
        self._services = services
        self._shelf = shelf
        self._store = shelf.store
        self._backoff = backoff
        self._on_end = on_end
        self._news = asyncio.Event()
        self._told_at = 0.0
        self._expected = ""  # the SHA-256 that it must have, "" = whatever the first one says
        self._hands: set[str] = set()  # whose bytes the part is made of
        self._got_at = float("-inf")  # when bytes came last, in this pull
        self._wrong = 0
        self.task = asyncio.create_task(self._run(), name=f"pull {request.name}")

    async def follow(self) -> AsyncGenerator[PullItem, None]:
        """Yield where it is now, and what comes."""
        while True:
            news, item = self._news, self.last
            yield item
            if item.stage in _FINAL_STAGES:
                return
            await news.wait()

    def _tell(self, **changes: Any) -> None:
        now, before = time.monotonic(), self.last
        self.last = msgspec.structs.replace(before, **changes)
        moved = (before.stage, before.origin) != (self.last.stage, self.last.origin)
        if moved or now - self._told_at >= TELL_S:
            self._told_at = now
            news, self._news = self._news, asyncio.Event()
            news.set()

    def is_another(self, request: PullRequest) -> bool:
        """Tell whether `request` means another file than the one that is being fetched."""
        mine = self._request
        differs = request.sha256 and mine.sha256 and request.sha256 != mine.sha256
        return bool(differs or (request.source and mine.source and request.source != mine.source))

    async def _run(self) -> None:
        end: dict[str, Any] = {"stage": "failed", "reason": "internal error"}
        try:
            sha256 = await self._fetch()
            size = self.last.total_bytes
            end = {"stage": "done", "done_bytes": size, "sha256": sha256, "reason": ""}
            log.info("model %s is here (%d bytes from %s)", self.last.name, size, self.last.origin or "before")
        except TarsdError as error:
            log.warning("model %s could not be fetched: %s", self.last.name, error)
            end["reason"] = str(error)
        except asyncio.CancelledError:
            end["reason"] = "the node is being stopped; asked for again it goes on where it was"
            raise
        except Exception as error:
            log.error("pulling a model failed: %s", place_of(error))
        finally:
            self._on_end()
            self._tell(**end)

    async def _fetch(self) -> str:
        """Return the SHA-256 of the file once it is here."""
        await self._ask_the_hub_which()
        if (here := await self._is_here()) is not None:
            return here
        if self._part_is_whole():
            with suppress(InvalidInput):  # it was deleted, and is fetched anew
                return await self._finish("")
        while True:
            failures: list[TarsdError] = []
            for origin, way in self._ways():
                self._tell(stage="asking", origin=origin)
                try:
                    return await way()
                except StorageError:
                    raise  # rule 4
                except TarsdError as error:
                    said = str(error)
                    failures.append(type(error)(said if said.startswith(origin) else f"{origin}: {said}"))
            if not self._is_patient(failures):
                raise _all_of(failures)
            self._tell(stage="asking", origin="", reason=str(failures[-1]) if failures else "nobody is there")
            await asyncio.sleep(self._backoff.failed())

    async def _ask_the_hub_which(self) -> None:
        """A file that was named by its place at the hub is that one: others of the same name are not it.

        Where the hub does not answer, the name must do.
        """
        if not self._request.sha256 and is_hub(self._request.source):
            settings = self._services.config.models
            hub = Hub(settings.hub, settings.hub_token_file)
            if not hub.host:
                return
            try:
                sha256 = (await hub.look(hub_file(self._request.source))).sha256
                self._request = msgspec.structs.replace(self._request, sha256=sha256)
            except Unavailable as error:
                log.warning("%s: taken by its name, since the hub does not answer: %s", self._request.name, error)

    async def _is_here(self) -> str | None:
        entry = self._shelf.entry(self._request.name)
        listed = entry.sha256 if entry is not None else ""
        self._expected = self._request.sha256 or listed
        if listed and self._expected != listed:
            raise InvalidInput(f"sha256: the catalog says {listed} for {self._request.name}")
        if entry is not None and not entry.is_ours and entry.path is None:
            raise NotFound(f"{entry.source} is a path on this PC, and there is no such file")
        if entry is None or entry.path is None:
            return None
        try:
            path = await asyncio.to_thread(self._shelf.verified, entry.name)
        except InvalidInput:
            if not entry.is_ours:
                raise
            return None  # it was moved aside: a right one is fetched
        self._tell(stage="verifying", total_bytes=path.stat().st_size)
        found = await asyncio.to_thread(self._store.sha256_of, path)
        if self._expected and found != self._expected:
            raise InvalidInput(f"{self._request.name} is here with another SHA-256 ({found}); remove it first")
        return found

    def _part_is_whole(self) -> bool:
        promise, done = self._store.part_of(self._request.name)
        fits = promise is not None and promise.sha256 == (self._expected or promise.sha256)
        return promise is not None and fits and 0 < promise.size_bytes == done

    def _ways(self) -> Iterator[tuple[str, Callable[[], Awaitable[str]]]]:
        """Yield whom to ask, by name, with how: peers first, then the hub (rule 1)."""
        for member in self._peers():
            yield str(member.name), partial(self._from_peer, member)
        entry = self._shelf.entry(self._request.name)
        source = self._request.source or (entry.source if entry is not None else "")
        if is_hub(source):
            settings = self._services.config.models
            hub = Hub(settings.hub, settings.hub_token_file)
            yield hub.host or "the hub", partial(self._from_hub, hub, source)

    def _peers(self) -> list[Member]:
        able = [
            member
            for member in self._services.members()
            if member.routable and not member.is_self
            if calls.MODEL_FILE.name in member.capabilities
        ]
        return sorted(able, key=lambda member: (member.hold_s, member.load.running if member.load else 0, member.name))

    def _is_patient(self, failures: list[TarsdError]) -> bool:
        """Rules 2 and 3."""
        if self._wrong == 1 and self._hands == set():
            self._wrong += 1
            return True
        passing = not failures or any(isinstance(error, Unavailable) for error in failures)
        return passing and time.monotonic() - self._got_at < PATIENCE_S

    # --- from a peer --------------------------------------------------------------------------------------------

    async def _from_peer(self, member: Member) -> str:
        promise, done = self._store.part_of(self._request.name)
        wanted = self._expected or (promise.sha256 if promise is not None else "")
        try:
            offset = done if promise is not None and promise.sha256 == wanted else 0
            return await self._receive(member, ModelFileRequest(self._request.name, wanted, offset))
        except NotFound:
            if self._expected or not wanted:
                raise
            # what was begun is not what this peer has under the name
            return await self._receive(member, ModelFileRequest(self._request.name))

    async def _receive(self, member: Member, request: ModelFileRequest) -> str:
        origin = str(member.name)
        call = self._services.dispatch.call(calls.MODEL_FILE, request, only=member.node)
        async with call:
            first = await _next(call)
            if first is None:
                raise Unavailable("it sent nothing")
            if not first.sha256 or first.size_bytes <= 0 or (request.sha256 and first.sha256 != request.sha256):
                raise InvalidInput("it offers another file than the one asked for")
            promise = Promise(check_sha256(first.sha256), first.size_bytes, origin)

            async def pieces() -> AsyncGenerator[bytes, None]:
                item: ModelFileItem | None = first
                while item is not None:
                    yield item.data
                    item = await _next(call)

            await self._take(pieces(), promise, origin, request.offset)
        return await self._finish(origin)

    # --- from the hub -------------------------------------------------------------------------------------------

    async def _from_hub(self, hub: Hub, source: str) -> str:
        if not hub.host:
            raise NotFound("models.hub is empty: nothing is fetched from the internet")
        file = hub_file(source)
        facts = await hub.look(file)
        if self._expected and facts.sha256 and facts.sha256 != self._expected:
            raise InvalidInput(f"its SHA-256 is {facts.sha256}, {self._expected} was asked for")
        sha256 = self._expected or facts.sha256
        if not sha256:
            raise InvalidInput("it tells no SHA-256 for this file: put one into the catalog")
        promise = Promise(sha256, facts.size_bytes, source)
        known, done = self._store.part_of(self._request.name)
        offset = done if known is not None and (known.sha256, known.size_bytes) == (sha256, facts.size_bytes) else 0
        if offset < facts.size_bytes:
            async with aclosing(hub.read(file, offset)) as chunks:
                await self._take(chunks, promise, hub.host, offset)
        return await self._finish(hub.host)

    # --- what came ----------------------------------------------------------------------------------------------

    async def _take(self, pieces: AsyncGenerator[bytes, None], promise: Promise, origin: str, offset: int) -> None:
        """Write what comes, from `offset` of the file on."""
        part = await asyncio.to_thread(self._store.open_part, self._request.name, promise)
        try:
            if part.offset != offset:
                raise Unavailable(f"what is here of {self._request.name} changed meanwhile")
            self._hands = set() if not offset else self._hands or {"before"}
            size, sha256 = promise.size_bytes, promise.sha256
            self._tell(stage="fetching", origin=origin, done_bytes=offset, total_bytes=size, reason="", sha256=sha256)
            async with aclosing(pieces):
                async for data in pieces:
                    await asyncio.to_thread(part.write, data)
                    if data:
                        self._hands.add(origin)
                        self._got_at = time.monotonic()
                    self._tell(done_bytes=part.offset)
        finally:
            await asyncio.shield(asyncio.to_thread(part.close))
        if part.offset < promise.size_bytes:
            raise Unavailable(f"it ended after {part.offset} of {promise.size_bytes} bytes")

    async def _finish(self, origin: str) -> str:
        """Verify and keep it; raises `InvalidInput` where it is not what was promised."""
        promise, _ = self._store.part_of(self._request.name)
        assert promise is not None
        self._tell(stage="verifying", origin=origin, done_bytes=0, total_bytes=promise.size_bytes)
        loop = asyncio.get_running_loop()

        def progress(read_bytes: int) -> None:
            loop.call_soon_threadsafe(lambda: self._tell(done_bytes=read_bytes))

        try:
            await asyncio.to_thread(self._store.finish, self._request.name, progress)
        except InvalidInput:
            if self._hands != {origin}:
                self._wrong += 1
            self._hands = set()
            raise
        return promise.sha256


async def _next(call: Any) -> ModelFileItem | None:
    """Return the next item of a peer; raises `Unavailable` when it sends signs of life and nothing else."""
    try:
        async with asyncio.timeout(STALL_S):
            return await anext(call, None)
    except TimeoutError:
        raise Unavailable(f"no byte came for {STALL_S:.0f} s") from None


def _all_of(failures: list[TarsdError]) -> TarsdError:
    if not failures:
        return NotFound("no other core PC is there that has model files, and no source is set for it")
    return Unavailable("; ".join(str(error) for error in failures))
