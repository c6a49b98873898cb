"""Puts a record that was damaged on this disk right, by the same record of a peer.

Rules
1. The record must be sealed, and the next one in the chain must name it: so it is the one that stood there.
2. What a tombstone covers comes back without its text.
The function runs inside a transaction that the caller holds; the derived tables are to be built anew afterwards.
"""

from __future__ import annotations

from tarsd.calls import Record
from tarsd.memory import ledger
from tarsd.memory.database import Database
from tarsd.memory.ledger import from_row, state_of
from tarsd.memory.log import fault
from tarsd.memory.schema import LOG_COLUMNS


async def put_right(database: Database, record: Record) -> bool:
    """Replace what stands in this record's place; say whether it did."""
    found = await database.rows(
        f"SELECT {LOG_COLUMNS} FROM log WHERE origin = ? AND seq IN (?, ?)",  # noqa: S608
        (record.origin, record.seq, record.seq + 1),
    )
    stands = {each.seq: each for each in map(from_row, found)}
    if fault(record) or record.seq not in stands or stands[record.seq] == record:
        return False
    after = stands.get(record.seq + 1)  # its seal names the one before it, so nothing else has to be compared
    if record.sha != (after.prev_sha if after else stands[record.seq].sha):
        return False
    kept = await ledger.as_kept(database, record)
    columns = LOG_COLUMNS.replace(", ", " = ?, ") + " = ?, state = ?"
    await database.run(
        f"UPDATE log SET {columns} WHERE origin = ? AND seq = ?",  # noqa: S608
        (*ledger.to_row(kept), state_of(kept), record.origin, record.seq),
    )
    return True
