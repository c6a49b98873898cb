"""Writes the log: what this node says, what peers said, what is forgotten. The rules are the store's and `log`'s.

`order` is held from reading a chain's head to the commit of what continues it. What is remembered here (heads, clock)
changes after the commit only, so it never runs ahead of the disk.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from tarsd.calls import Record
from tarsd.errors import NotFound
from tarsd.memory import derive, forks, ledger
from tarsd.memory.bodies import RECEIPT, TOMBSTONE, TombstoneBody
from tarsd.memory.database import Database
from tarsd.memory.derive import BATCH_RECORDS, Shown
from tarsd.memory.forgetting import Forgotten, Removals
from tarsd.memory.hlc import Clock, milliseconds
from tarsd.memory.library import Change
from tarsd.memory.log import EMPTY, Head, Linked, Refusal, fault, keeps_name, link, make, refuse
from tarsd.memory.schema import LOG_COLUMNS
from tarsd.names import NodeId
from tarsd.wire import encode

AsRead = Callable[[Mapping[str, Record]], bool]  # says of what keys show whether it still is what was read

SCRUB_DUE = "scrub_due"  # in `meta` from an erasure until the keyword index and the WAL are clean of it
RETELL_DUE = "retell_due"  # in `meta` from a restore until what is known as forgotten stands in the log again
REWRITE_DUE = "rewrite_due"  # what a version before wrote that left the gaps of a large database to the night
ORIGIN = "origin"


class ApplyResult(msgspec.Struct, frozen=True):
    """What became of peers' records: how many were taken in, which were refused and why, how many wait now."""

    applied: int = 0
    quarantined: list[Refusal] = []
    waiting: int = 0
    ahead: int = 0  # of the applied: those whose clock is too far ahead of ours to be followed


async def set_meta(database: Database, name: str, value: str) -> None:
    """Keep a small fact with the database, within the caller's transaction."""
    await database.run("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, value))


class Writer:
    """The only one that changes the log."""

    def __init__(
        self,
        database: Database,
        node: NodeId,
        now_s: Callable[[], float],
        notify: Callable[[Change], None],
        wrote: Callable[[Sequence[Record]], None] = lambda records: None,
        forgotten: Callable[[Forgotten], None] = lambda forgotten: None,
    ) -> None:
        self.order = asyncio.Lock()
        self.origin = ""
        self.heads: dict[str, Head] = {}
        self.removals = Removals()
        self._forgotten = forgotten
        self.rewrites = 0  # how often records that stand in the log were erased or renamed
        self.forgettings = 0  # how often something was forgotten, be it here or not
        self._database = database
        self._node = node
        self._now_s = now_s
        self._notify = notify
        self._wrote = wrote  # told of this node's own records once they are on disk
        self._clock = Clock()
        self._waits = 0  # how many records are in the waiting room

    async def load(self) -> dict[str, str]:
        """Read where the log stands; return the facts kept with it. A copy of another node's database is no harm."""
        async with self._database.writing():
            await derive.prepare(self._database)
            meta: dict[str, str] = dict(await self._database.rows("SELECT name, value FROM meta"))
            self.heads = await ledger.heads(self._database)
            self._waits = int(await self._database.value("SELECT COUNT(*) FROM waiting"))
            stamps = await self._database.rows("SELECT origin, MAX(hlc) FROM log GROUP BY origin")
            self.origin = meta.get(ORIGIN, "")
            if self.origin.partition(".")[0] != self._node:
                await self._new_origin()
        for origin, hlc in stamps:
            if origin == self.origin:
                self._clock.pass_by_force(hlc)
            else:
                self._clock.observe(hlc, self._now_ms())
        return meta

    # --- this node's own records --------------------------------------------------------------------------------

    async def append(self, entries: Sequence[tuple[str, str, bytes]]) -> list[Record]:
        """Write entries of (kind, key, body) and return their records, those that were visible already as they are."""
        written: list[Record] = []
        for first in range(0, len(entries), BATCH_RECORDS):
            async with self.order:
                written += await self._append_batch(entries[first : first + BATCH_RECORDS])
        return written

    async def append_as_read(
        self,
        entries: Sequence[tuple[str, str, bytes]],
        is_as_read: Callable[[Mapping[str, Record]], bool],
        keys: set[str],
    ) -> list[Record] | None:
        """Write entries as `append` does, if what `keys` show still is what their writer read; None otherwise."""
        written: list[Record] = []
        async with self.order:  # from looking to the last commit: nothing comes in between
            if not is_as_read(await self._shown(keys)):
                return None
            for first in range(0, len(entries), BATCH_RECORDS):
                written += await self._append_batch(entries[first : first + BATCH_RECORDS])
        return written

    async def _append_batch(self, entries: Sequence[tuple[str, str, bytes]]) -> list[Record]:
        shown = await self._shown({key for _, key, _ in entries})
        # What takes a record's place is later than it, even where that came from a clock far ahead: else it is lost.
        self._clock.pass_by_force(max((record.hlc for record in shown.values()), default=0))
        # What is written after something was forgotten is no part of it, whichever clock the tombstone came from.
        self._clock.pass_by_force(await self._forgotten_at({key for _, key, _ in entries}))
        new: list[Record] = []
        results: list[Record] = []
        for kind, key, body in entries:
            record = shown.get(key)
            if record is None or record.kind != kind or record.body != body:
                record = shown[key] = self._make(new, kind, key, body)
                new.append(record)
            results.append(record)
        if new:
            await self._commit(new)
            self._wrote(new)
        return results

    def _make(self, before: Sequence[Record], kind: str, key: str, body: bytes) -> Record:
        head = Head(before[-1].seq, before[-1].sha) if before else self.heads.get(self.origin, EMPTY)
        return make(self.origin, head, self._clock.tick(self._now_ms()), kind, key, body)

    async def _shown(self, keys: set[str]) -> dict[str, Record]:
        async with self._database.reading():
            found = await self._database.rows(
                f"""SELECT {LOG_COLUMNS} FROM log WHERE id IN
                    (SELECT id FROM visible WHERE key IN (SELECT value FROM json_each(?)))""",  # noqa: S608
                (msgspec.json.encode(sorted(keys)).decode(),),
            )
        return {record.key: record for record in map(ledger.from_row, found)}

    async def _forgotten_at(self, keys: set[str]) -> int:
        async with self._database.reading():
            graves = await ledger.graves_over(self._database, keys)
        return max((grave.hlc for grave in graves.values()), default=0)

    async def forget(self, key: str) -> tuple[list[Record], int]:
        """Write a tombstone over a key; return it and how many bodies were erased.

        It is later than all that it covers, even what came from a node whose clock is far ahead. Where all is
        forgotten already, nothing is written. Raises `NotFound` where nothing ever was.
        """
        async with self.order:
            async with self._database.reading():
                latest = await ledger.latest_under(self._database, [key])
                alive = await ledger.is_anything_left(self._database, key)
            if not latest:
                raise NotFound(f"nothing is known of {key}")
            if not alive:
                return [], 0
            self._clock.pass_by_force(latest)
            tombstone = self._make((), TOMBSTONE, key, encode(TombstoneBody(self._now_s())))
            erased = await self._commit([tombstone])
            self._wrote([tombstone])
            return [tombstone], erased

    async def forget_all(
        self, keys: Sequence[str], entries: Sequence[tuple[str, str, bytes]], is_as_read: AsRead, read: set[str]
    ) -> tuple[list[Record], int] | None:
        """Write tombstones over keys, then entries that are to stay, all in one commit; return the records and how many
        bodies were erased. Nothing needs to be known of a key: a peer may have what is not here yet. None, and nothing
        is written, where what the keys `read` show is not what was read."""
        async with self.order:
            if read and not is_as_read(await self._shown(read)):
                return None
            async with self._database.reading():
                latest = await ledger.latest_under(self._database, keys)
            self._clock.pass_by_force(latest)
            new: list[Record] = []
            for key in keys:
                new.append(self._make(new, TOMBSTONE, key, encode(TombstoneBody(self._now_s()))))
            for entry in entries:
                new.append(self._make(new, *entry))
            erased = await self._commit(new) if new else 0
            self._wrote(new)
            return new, erased

    async def retell_forgotten(self) -> None:
        """Write the tombstones of graves that no record tells of: a restored backup has not those that came after it.

        They keep their times: what was written after the forgetting stays.
        """
        async with self.order:
            async with self._database.reading():
                untold = await ledger.untold_graves(self._database)
            for first in range(0, len(untold), BATCH_RECORDS):
                new: list[Record] = []
                for key, hlc in untold[first : first + BATCH_RECORDS]:
                    head = Head(new[-1].seq, new[-1].sha) if new else self.heads.get(self.origin, EMPTY)
                    body = encode(TombstoneBody(milliseconds(hlc) / 1000))
                    new.append(make(self.origin, head, hlc, TOMBSTONE, key, body))
                await self._commit(new)
                self._wrote(new)
            async with self._database.writing():
                await self._database.run("DELETE FROM meta WHERE name = ?", (RETELL_DUE,))

    # --- peers' records -----------------------------------------------------------------------------------------

    async def apply(self, records: Sequence[Record]) -> tuple[ApplyResult, int]:
        """Take in peers' records; return what became of them and how many bodies were erased by tombstones."""
        totals = _Totals()
        for first in range(0, len(records), BATCH_RECORDS):
            async with self.order:
                origins = await self._apply_batch(records[first : first + BATCH_RECORDS], set(), totals)
                while origins and self._waits:
                    origins = await self._apply_batch((), origins, totals)
        return ApplyResult(totals.applied, totals.refused, self._waits, totals.ahead), totals.erased

    async def _apply_batch(self, records: Sequence[Record], origins: set[str], totals: _Totals) -> set[str]:
        """Apply one batch with what waited for it; return the origins whose chains grew."""
        faults = [(each, fault(each)) for each in records]
        linked = await self._link((each for each, reason in faults if not reason), origins)
        # A peer has sealed records under our name that we do not know: this disk was rolled back, or cloned.
        names = {each.origin for each in linked.accepted} | {each.origin for each in linked.refused}
        linked.refused.extend(refuse(each, reason) for each, reason in faults if reason)
        totals.erased += await self._commit(linked.accepted, linked, new_origin=self.origin in names)
        totals.add(linked)
        now_ms = self._now_ms()
        totals.ahead += sum(not self._clock.observe(each.hlc, now_ms) for each in linked.accepted)
        return {each.origin for each in linked.accepted}

    async def _link(self, records: Iterable[Record], origins: set[str]) -> Linked:
        by_origin: dict[str, list[Record]] = defaultdict(list, {origin: [] for origin in origins})
        for record in records:
            by_origin[record.origin].append(record)
        total = Linked([], [], [])
        async with self._database.reading():
            for origin, candidates in by_origin.items():
                head = self.heads.get(origin, EMPTY)
                if self._waits:
                    candidates += await ledger.waiting_after(self._database, origin, head.seq, BATCH_RECORDS)
                old = [each.seq for each in candidates if each.seq <= head.seq]
                known = await ledger.seals(self._database, origin, old) if old else {}
                linked = link(head, candidates, known)
                total.accepted.extend(linked.accepted)
                total.waiting.extend(linked.waiting)
                total.refused.extend(linked.refused)
        return total

    async def give_way(self, origin: str, last_common: int, theirs: bytes) -> int:
        """Settle a fork of `origin` after `last_common`, where a peer goes on with the seal `theirs` (`log`, rule 7).

        Returns how many records were given another name, 0 when ours keeps it. Who wrote the origin leaves it.
        """
        async with self.order:
            async with self._database.reading():
                branch = await forks.branch(self._database, origin, last_common)
                common = await ledger.seals(self._database, origin, [last_common])
            if not branch or branch[0].seq != last_common + 1 or branch[0].sha == theirs:
                return 0
            stays = keeps_name(branch[0].sha, theirs)
            await self._part(origin, branch, theirs, stays=stays)
            if stays:
                return 0
            self.heads.pop(origin, None)
            if last_common:
                self.heads[origin] = Head(last_common, common[last_common])
            return len(branch)

    async def _part(self, origin: str, branch: Sequence[Record], theirs: bytes, *, stays: bool) -> None:
        """Write down that two branches part, and move ours when it does not stay."""
        before, moved, shown = self.origin, forks.Moved([], [], {}), Shown([], [])
        seq, lost = branch[0].seq, theirs if stays else branch[0].sha
        try:
            async with self._database.writing():
                note = Refusal(origin, seq, lost, "two branches of one origin: a cloned or restored node")
                # A refusal of the same record, before it was known why, makes room for the reason.
                await self._database.run(
                    "DELETE FROM quarantine WHERE (origin, seq, sha) = (?, ?, ?)", (origin, seq, lost)
                )
                await ledger.quarantine(self._database, [note], self._now_s())
                if not stays:
                    moved = await forks.move(self._database, branch, self.heads)
                    await self._database.run("DELETE FROM waiting WHERE origin = ?", (origin,))
                    shown = await derive.refresh(self._database, {each.key for each in branch})
                    self._waits = int(await self._database.value("SELECT COUNT(*) FROM waiting"))
                if origin == self.origin:
                    await self._new_origin()
        except BaseException:
            self.origin = before
            raise
        self.heads |= moved.heads
        self.rewrites += bool(moved.before)
        if shown.added or shown.removed:
            self._notify(Change(tuple(shown.added), tuple(shown.removed), texts=shown.texts))

    # --- both ---------------------------------------------------------------------------------------------------

    async def _commit(
        self, records: Sequence[Record], linked: Linked | None = None, *, new_origin: bool = False
    ) -> int:
        """Write records that continue their chains, and what else became of a batch; return the bodies erased."""
        origin, waits = self.origin, self._waits
        try:
            async with self._database.writing():
                written = await ledger.write(self._database, records)
                if linked is not None:
                    waits = await self._settle(linked)
                if written.erased:
                    await set_meta(self._database, SCRUB_DUE, secrets.token_hex(8))
                if new_origin:
                    await self._new_origin()
                shown = await derive.refresh(self._database, written.keys)
        except BaseException:
            self.origin = origin
            raise
        self._waits = waits
        self.rewrites += bool(written.erased)
        self.forgettings += bool(written.graves)
        for record in records:
            self.heads[record.origin] = max(
                self.heads.get(record.origin, EMPTY), Head(record.seq, record.sha), key=lambda head: head.seq
            )
        if shown.added or shown.removed:
            self._notify(Change(tuple(shown.added), tuple(shown.removed), texts=shown.texts))
        self._tell_forgotten(records, written, shown)
        return written.erased

    def _tell_forgotten(self, records: Sequence[Record], written: ledger.Written, shown: derive.Shown) -> None:
        receipts = tuple(record.key.partition("/")[2] for record in records if record.kind == RECEIPT)
        if written.graves or receipts:
            self.removals.add(written.graves, shown.hidden)
            self._forgotten(Forgotten(tuple(written.graves), tuple(written.texts), receipts))

    async def _settle(self, linked: Linked) -> int:
        """Write down what waits and what was refused; return how many records wait now."""
        await ledger.quarantine(self._database, linked.refused, self._now_s())
        if not self._waits and not linked.waiting:
            return 0
        done = [(each.origin, each.seq, each.sha) for each in linked.accepted]
        done += [(each.origin, each.seq, each.sha) for each in linked.refused]
        await ledger.stop_waiting(self._database, done)
        await ledger.keep_waiting(self._database, linked.waiting)
        return int(await self._database.value("SELECT COUNT(*) FROM waiting"))

    async def _new_origin(self) -> None:
        self.origin = f"{self._node}.{secrets.token_hex(4)}"
        await set_meta(self._database, ORIGIN, self.origin)

    def _now_ms(self) -> int:
        return int(self._now_s() * 1000)


class _Totals:
    """What several batches came to."""

    def __init__(self) -> None:
        self.applied = self.ahead = self.erased = 0
        self.refused: list[Refusal] = []

    def add(self, linked: Linked) -> None:
        self.applied += len(linked.accepted)
        self.refused += linked.refused
