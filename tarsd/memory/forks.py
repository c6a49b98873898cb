"""Settles two branches of one origin in the database: the one that gives way gets a name of its own (`log`, rule 7).

All functions run inside a transaction that the caller holds, which makes a crash in the middle harmless. Rows keep
their local ids, so that vectors stay; what stands under the new name already is not written twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from tarsd.calls import Record
from tarsd.memory import ledger
from tarsd.memory.database import Database
from tarsd.memory.log import EMPTY, Head, branch_name, link, reseal
from tarsd.memory.schema import LOG_COLUMNS


class Moved(msgspec.Struct, frozen=True):
    """A branch under its new name or names: the records, with those that they were, and where the chains end now."""

    before: list[Record]
    after: list[Record]
    heads: dict[str, Head]


async def branch(database: Database, origin: str, last_common: int) -> list[Record]:
    """Return an origin's records after the parting, in order."""
    found = await database.rows(
        f"SELECT {LOG_COLUMNS} FROM log WHERE origin = ? AND seq > ? ORDER BY seq",  # noqa: S608
        (origin, last_common),
    )
    return [ledger.from_row(row) for row in found]


async def move(database: Database, records: Sequence[Record], heads: Mapping[str, Head]) -> Moved:
    """Give a branch its own name."""
    moved, rest = Moved([], [], {}), list(records)
    name = rest[0].origin
    while rest:
        name = branch_name(name, rest[0].sha)
        chain = reseal(rest, name)
        head = heads.get(name, EMPTY)
        known: dict[int, bytes] = dict(
            await database.rows("SELECT seq, sha FROM log WHERE origin = ? AND seq <= ?", (name, len(chain)))
        )
        linked = link(head, chain, known)
        # A second parting, within the branch: the rest gets a further name.
        taken = linked.refused[0].seq - 1 if linked.refused else len(chain)
        for old, new in zip(rest[:taken], chain[:taken], strict=True):
            await _rename(database, old, new, is_known=new.seq <= head.seq)
        if taken and taken > head.seq:
            moved.heads[name] = Head(chain[taken - 1].seq, chain[taken - 1].sha)
        moved.before.extend(rest[:taken])
        moved.after.extend(chain[:taken])
        rest = rest[taken:]
    return moved


async def _rename(database: Database, old: Record, new: Record, *, is_known: bool) -> None:
    where = (old.origin, old.seq)
    if is_known:
        await database.run("DELETE FROM log WHERE origin = ? AND seq = ?", where)
        return
    await database.run(
        "UPDATE log SET origin = ?, seq = ?, prev_sha = ?, sha = ? WHERE origin = ? AND seq = ?",
        (new.origin, new.seq, new.prev_sha, new.sha, *where),
    )
