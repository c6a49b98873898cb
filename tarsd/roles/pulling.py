"""Keeps a node's copy of the records complete: pulls from others what is missing here.

Rules
1. A member tells the mark of what it has. Where that differs from ours its records are pulled: at once when the mark or
   the member comes, then every `memory.pull_s`. Where the marks are the same nobody is asked.
2. A mark at which a pull brought nothing new is not asked about again: that member lacks what we have, not we.
3. Every `BACKSTOP_S` one member is asked whatever its mark says; one that tells no mark is asked every time.
4. A peer that fails is left for the next round; a bad record is quarantined by the store, never a reason to stop.
5. Full batches are followed at once by the next, so that a new node catches up at the speed of the disk.
6. A member that is busy giving records to others is asked again when it said so.
7. While a member pushes to us without a gap, its mark is left alone for `PUSHING_S`: the same would come twice.
8. What does not fit our chains is told to `parted`, who brought something new to `brought`.
9. Who must have a node's records now, as who obeys a receipt, catches up with it by `catch_up`, by the same rules.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from random import Random

from tarsd import calls
from tarsd.calls import RecordsRequest
from tarsd.errors import Overloaded, StorageError, TarsdError
from tarsd.gossip.member import Member
from tarsd.names import NodeId
from tarsd.roles.base import Services
from tarsd.roles.holders import is_keeper, mark_of

log = logging.getLogger(__name__)

MAX_RECORDS_PER_CALL = 5000
BACKSTOP_S = 60.0
PUSHING_S = 0.5


class Puller:
    """Pulls for ever, from `start` to `stop`."""

    def __init__(
        self,
        services: Services,
        parted: Callable[[NodeId, Sequence[str]], None] = lambda node, origins: None,
        brought: Callable[[NodeId], None] = lambda node: None,
    ) -> None:
        self._services = services
        self._parted = parted
        self._brought = brought
        self._random = Random()  # noqa: S311 - spreads the backstop, keeps no secret
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._nothing_at: dict[NodeId, str] = {}  # the mark at which a pull from there brought nothing
        self._asked_for: set[NodeId] = set()  # to be asked whatever their mark says
        self._given_at: dict[NodeId, float] = {}  # when a member pushed to us last
        self._next_backstop = time.monotonic() + BACKSTOP_S
        self.progress: dict[str, dict[str, int]] = {}  # of the syncs under way: records here, records there
        self.pulled = 0
        self.last_error = ""
        self._look_again: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin; needs the running loop."""
        self._task = asyncio.create_task(self._pull_for_ever(), name="keeper")

    async def stop(self) -> None:
        """End."""
        if self._look_again is not None:
            self._look_again.cancel()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    @property
    def ended(self) -> bool:
        """Whether the task ended, which it never should."""
        return self._task is not None and self._task.done()

    def mark(self) -> str:
        """Return the mark of what is here; to be told to the others."""
        return self._services.store.mark()

    def member_changed(self, member: Member) -> None:
        """Look at once when a member comes alive or tells another mark."""
        if is_keeper(member) and self._is_worth_it(member):
            self._wake.set()

    def ask(self, node: NodeId) -> None:
        """Ask a node at once, whatever its mark says."""
        self._asked_for.add(node)
        self._wake.set()

    async def catch_up(self, node: NodeId) -> bool:
        """Take over now what a node has more than we, in batches; return whether it had any.

        Raises as a call does, `StorageError` when it cannot be kept; what came before that is kept.
        """
        name = next((str(member.name) for member in self._services.members() if member.node == node), str(node))
        before = self.pulled
        try:
            while await self._pull_once(node, name):
                pass
        finally:
            self.progress.pop(name, None)
            if self.pulled > before:
                self._brought(node)
        return self.pulled > before

    def given_by(self, node: NodeId) -> None:
        """Leave a member that pushes to us without a gap in peace for a moment (rule 7)."""
        self._given_at[node] = time.monotonic()
        if self._look_again is None:
            self._look_again = asyncio.get_running_loop().call_later(PUSHING_S, self._look)

    def _look(self) -> None:
        self._look_again = None
        self._wake.set()

    async def _pull_for_ever(self) -> None:
        while True:
            self._wake.clear()
            for member in self._sources():
                await self._pull(member)
            try:
                async with asyncio.timeout(
                    self._services.config.memory.pull_s
                ):  # `wait_for` can swallow a cancellation
                    await self._wake.wait()
            except TimeoutError:
                continue

    def _sources(self) -> list[Member]:
        able = [member for member in self._services.members() if is_keeper(member)]
        found = [member for member in able if member.node in self._asked_for or self._is_worth_it(member)]
        self._asked_for.clear()
        if able and not found and time.monotonic() >= self._next_backstop:
            found = [self._random.choice(able)]
        return found

    def _is_worth_it(self, member: Member) -> bool:
        if time.monotonic() - self._given_at.get(member.node, -PUSHING_S) < PUSHING_S:
            return False
        mark = mark_of(member)
        return not mark or mark not in (self.mark(), self._nothing_at.get(member.node))

    async def _pull(self, member: Member) -> None:
        self._next_backstop = time.monotonic() + BACKSTOP_S
        try:
            brought = await self.catch_up(member.node)
            self.last_error = ""
            if not brought:
                self._nothing_at[member.node] = mark_of(member)
        except Overloaded as error:
            asyncio.get_running_loop().call_later(error.retry_after_s, self.ask, member.node)
        except StorageError as error:
            self.last_error = str(error)
            log.warning("records of %s cannot be kept: %s", member.name, error)
        except TarsdError as error:
            self.last_error = f"{member.name}: {error}"
            log.debug("records of %s: %s", member.name, error)

    async def _pull_once(self, node: NodeId, name: str) -> bool:
        """Take over what one call brings; return whether there is more."""
        store, more = self._services.store, False
        heads = store.heads()
        have, seals = {origin: seq for origin, (seq, _) in heads.items()}, {o: sha for o, (_, sha) in heads.items()}
        request = RecordsRequest(have, MAX_RECORDS_PER_CALL, seals)
        async with self._services.dispatch.call(calls.RECORDS, request, only=node) as items:
            async for item in items:
                result = await store.apply(item.records)
                self.pulled += result.applied
                here = sum(seq for seq, _ in store.heads().values())
                self.progress[name] = {"records": here, "of": max(here, item.total)}
                if result.quarantined:
                    self._parted(node, sorted({each.origin for each in result.quarantined}))
                more = item.more and result.applied > 0
        return more
