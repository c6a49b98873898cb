"""What the store says to other nodes, and of them: how far it has each origin, what they lack, where branches part.

Rules
1. Heads are what is on disk, never what is about to be.
2. A batch fits a frame, however large its records are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from tarsd.calls import Record
from tarsd.memory import hlc, ledger
from tarsd.memory.copies import Agreement, Heads, agree, to_compare
from tarsd.memory.database import Database, uninterrupted
from tarsd.memory.library import Library
from tarsd.memory.schema import LOG_COLUMNS
from tarsd.memory.writer import Writer, set_meta
from tarsd.wire import MIB

MAX_BATCH_BYTES = 2 * MIB
_FIELDS_BYTES = 400  # of a record beside key and body, at most
_FETCHED = 200
_NOTES = 20  # of the quarantine, for people


class Sharing(Library):
    """The side of the store that peers see. Every method raises `StorageError` when the disk or database fails."""

    def __init__(self, database: Database, writer: Writer) -> None:
        super().__init__(database)
        self._writer = writer

    # --- for peers --------------------------------------------------------------------------------------------

    async def vector(self) -> dict[str, int]:
        """Return how far each origin's records are here, without gaps."""
        return {origin: head.seq for origin, head in self._writer.heads.items()}

    def heads(self) -> dict[str, tuple[int, bytes]]:
        """Return how far each origin's records are here, with the seal of the last one."""
        return {origin: (head.seq, head.sha) for origin, head in self._writer.heads.items()}

    def mark(self) -> str:
        """Return 16 characters that are the same exactly where the heads are: where the same records are."""
        digest = hashlib.blake2b(digest_size=8)
        for origin, head in sorted(self._writer.heads.items()):
            digest.update(f"{origin} {head.seq} {head.sha.hex()}\n".encode())
        return digest.hexdigest()

    async def agree(self, theirs: Heads) -> Agreement:
        """Compare a peer's heads with ours."""
        mine = dict(self._writer.heads)
        seals: dict[str, bytes] = {}
        if wanted := to_compare(mine, theirs):
            async with self._database.reading():
                for origin, seq in wanted.items():
                    seals[origin] = (await ledger.seals(self._database, origin, [seq])).get(seq, b"")
        return agree(mine, theirs, seals, self._writer.origin)

    async def seal_of(self, origin: str, seq: int) -> bytes:
        """Return the seal of a record, b"" for one that is not here."""
        async with self._database.reading():
            return (await ledger.seals(self._database, origin, [seq])).get(seq, b"")

    async def give_way(self, origin: str, last_common: int, theirs: bytes) -> int:
        """Settle a fork; see `Writer.give_way`."""
        return await uninterrupted(self._writer.give_way(origin, last_common, theirs))

    async def keep_fact(self, name: str, value: str) -> None:
        """Keep a small fact of this node with its database."""

        async def write() -> None:
            async with self._database.writing():
                await set_meta(self._database, name, value)

        await uninterrupted(write())

    async def fact(self, name: str) -> str:
        """Return a kept fact, "" for none."""
        async with self._database.reading():
            return str(await self._database.value("SELECT value FROM meta WHERE name = ?", (name,)) or "")

    async def records_since(self, have: Mapping[str, int], limit: int = 5000, *, only: str = "") -> list[Record]:
        """Return records that someone with the vector `have` lacks, in (origin, seq) order; [] when none.

        `only` names one origin.

        May return fewer than `limit`, to fit a frame: ask again with the new vector until nothing comes.
        """
        chosen: list[Record] = []
        room = MAX_BATCH_BYTES
        for origin, head in sorted(self._writer.heads.items()):
            if only not in ("", origin):
                continue
            after = have.get(origin, 0)
            while after < head.seq and len(chosen) < limit:
                found = await self._after(origin, after, min(_FETCHED, limit - len(chosen)))
                if not found:
                    break  # its branch gave way to another one meanwhile: the heads are others now
                for record in found:
                    room -= len(record.body) + len(record.key.encode()) + _FIELDS_BYTES
                    if room < 0 and chosen:
                        return chosen
                    chosen.append(record)
                    after = record.seq
        return chosen

    async def _after(self, origin: str, seq: int, limit: int) -> list[Record]:
        found = await self._rows(
            f"SELECT {LOG_COLUMNS} FROM log WHERE origin = ? AND seq > ? ORDER BY seq LIMIT ?",  # noqa: S608
            (origin, seq, limit),
        )
        return [ledger.from_row(row) for row in found]

    # --- how it stands, for people --------------------------------------------------------------------------------

    async def oldest_at(self, first: Mapping[str, int]) -> float:
        """Return when the oldest of these records (origin to seq) was written, in seconds since 1970; 0 for none."""
        stamps: list[int] = []
        async with self._database.reading():
            for origin, seq in first.items():
                found = await self._database.value("SELECT hlc FROM log WHERE origin = ? AND seq = ?", (origin, seq))
                stamps += [found] if found else []
        return hlc.milliseconds(min(stamps)) / 1000 if stamps else 0.0

    async def newest_at(self) -> dict[str, float]:
        """Return the time that each origin's last record carries: one in the future shows a wrong clock."""
        return {origin: await self.oldest_at({origin: head.seq}) for origin, head in dict(self._writer.heads).items()}

    async def quarantine_notes(self) -> list[str]:
        """Return why records were refused, newest first, without their content."""
        found = await self._rows(
            "SELECT origin, reason, COUNT(*), MIN(seq) FROM quarantine GROUP BY origin, reason "
            "ORDER BY MAX(number) DESC LIMIT ?",
            (_NOTES,),
        )
        return [f"{many} from {origin}, first {seq}: {reason}" for origin, reason, many, seq in found]
