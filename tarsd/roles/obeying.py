"""Sees to it that this node lets go of what was forgotten, wherever it was forgotten, and says so in the records.

Rules
1. Whatever erases records here (a person, a peer's tombstone that comes by replication) is followed at once: each part
   of the node that holds copies outside the records lets go of them, and the files of the records are clean.
2. Then, and only then, this node writes for each receipt that names it what it removed. A part that cannot let go is
   asked again every `RETRY_S`.
3. The tombstones of a receipt stand before it in one chain, so where the receipt is here they are.
4. A receipt that this node has not answered when it starts is obeyed then: a kill may have come between.
5. A node that a receipt does not name answers it only if it had something.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Sequence

from tarsd.errors import StorageError, TarsdError, place_of
from tarsd.memory.backup_file import backups_with
from tarsd.memory.bodies import OBEYED, ObeyedBody, ReceiptBody, receipt_key
from tarsd.memory.forgetting import Forgotten, LetGo, Removal
from tarsd.roles.base import Services
from tarsd.roles.receipts import all_keys

log = logging.getLogger(__name__)

PART_S = 10.0  # what one part is given to let go
RETRY_S = 5.0
MAX_COUNTED = 10_000
BACKUPS = "backups"

Part = Callable[[Forgotten], Awaitable[LetGo]]


class Obeying:
    """Obeys from `start` to `stop`. `parts` let go of what they hold outside the records."""

    def __init__(self, services: Services, parts: Sequence[Part], *, retry_s: float = RETRY_S) -> None:
        self._services = services
        self._store = services.store
        self._parts = parts
        self._retry_s = retry_s
        self._due: list[Forgotten] = []
        self._wake = asyncio.Event()
        self._done = asyncio.Event()
        self._done.set()
        self._let_go: OrderedDict[str, LetGo] = OrderedDict()  # by the first key of what was forgotten at once
        self._task: asyncio.Task[None] | None = None
        self._unsubscribe: Callable[[], None] = lambda: None
        self.problem = ""

    async def start(self) -> None:
        """Begin, with what was left undone (rule 4)."""
        self._unsubscribe = self._store.on_forgotten(self._heard)
        me = self._services.identity.node_id
        bodies = await self._store.bodies_below("receipt")
        answered = {body.receipt for body in bodies if isinstance(body, ObeyedBody) and body.node == me}
        for body in bodies:
            if isinstance(body, ReceiptBody) and me in body.nodes and body.id not in answered:
                keys = await all_keys(self._store, body)
                self._heard(Forgotten(tuple(keys), (), (body.id,), was_cut_off=True))
        self._task = asyncio.create_task(self._run(), name="forgetting")

    async def stop(self) -> None:
        """End; what was not said is said at the next start."""
        self._unsubscribe()
        self._unsubscribe = lambda: None
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    @property
    def ended(self) -> bool:
        """Whether the task ended, which it never should."""
        return self._task is not None and self._task.done()

    async def answer(self, receipt: str) -> ObeyedBody | None:
        """Return what this node says to a receipt, once it has let go; None while it cannot (`problem`)."""
        await self._done.wait()
        said = await self._store.body_of(f"{receipt_key(receipt)}/{self._services.identity.node_id}")
        return said if isinstance(said, ObeyedBody) else None

    def _heard(self, forgotten: Forgotten) -> None:
        self._due.append(forgotten)
        self._done.clear()
        self._wake.set()

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            due, self._due = self._due, []
            undone = await self._obey(due)
            if not self._due:
                self._done.set()  # also where something is undone: who waits for an answer is told
            self._due = undone + self._due
            try:
                async with asyncio.timeout(self._retry_s if undone else None):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _obey(self, due: Sequence[Forgotten]) -> list[Forgotten]:
        """Let go of all that is due, then answer the receipts; return what is to be done again."""
        undone = [each for each in due if not await self._all_let_go(each)]
        if undone:
            return undone + [Forgotten(receipts=each.receipts) for each in due if each.receipts and each not in undone]
        try:
            if due:
                await self._store.scrub()
            for each in due:
                for receipt in each.receipts:
                    await self._say(receipt)
            self.problem = ""
        except StorageError as error:
            self.problem = str(error)
            log.warning("what was forgotten could not be cleaned away yet: %s", error)
            return list(due)
        return []

    async def _all_let_go(self, forgotten: Forgotten) -> bool:
        if not forgotten.graves:
            return True
        found = await asyncio.gather(*(self._one_lets_go(part, forgotten) for part in self._parts))
        before = self._let_go.get(forgotten.graves[0], LetGo())
        self._let_go[forgotten.graves[0]] = _sum([before, *found])
        while len(self._let_go) > MAX_COUNTED:
            self._let_go.popitem(last=False)
        problems = [each.problem for each in found if each.problem]
        if problems:
            self.problem = problems[0]
            log.warning("what was forgotten is not gone from here yet: %s", "; ".join(problems))
        return not problems

    async def _one_lets_go(self, part: Part, forgotten: Forgotten) -> LetGo:
        try:
            async with asyncio.timeout(PART_S):
                return await part(forgotten)
        except TimeoutError:
            return LetGo(problem=f"a part did not let go within {PART_S:.0f} s")
        except TarsdError as error:
            return LetGo(problem=str(error))
        except Exception as error:  # one part's mistake must not keep the others from obeying, now and later
            log.error("a part did not let go of what was forgotten: %s", place_of(error))
            return LetGo(problem="internal error, see the log")

    async def _say(self, receipt: str) -> None:
        """Write what was removed here (rules 2 and 5); what was said once stands."""
        identity, body = self._services.identity, await self._store.body_of(receipt_key(receipt))
        if not isinstance(body, ReceiptBody):
            return
        keys = await all_keys(self._store, body)
        removal, more = self._store.removed(keys), _sum(self._let_go.get(key, LetGo()) for key in keys)
        if identity.node_id not in body.nodes and removal == Removal():
            return
        if await self._store.body_of(f"{receipt_key(receipt)}/{identity.node_id}") is not None:
            return
        folder = self._services.config.node.data_dir / BACKUPS
        said = ObeyedBody(
            receipt=receipt,
            node=identity.node_id,
            name=identity.name,
            records=removal.records,
            vectors=removal.vectors,
            keywords=removal.keywords,
            cached=more.cached,
            conversations=more.conversations,
            backups=await asyncio.to_thread(backups_with, folder, keys),
            damaged_copies=await asyncio.to_thread(self._store.damaged_copies),
            at=time.time(),
        )
        await self._store.append(OBEYED, "", said)


def _sum(found: Iterable[LetGo]) -> LetGo:
    found = list(found)
    return LetGo(sum(each.cached for each in found), sum(each.conversations for each in found))
