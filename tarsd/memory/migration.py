"""The backup that is made before a database of an older schema is changed, so that the version before can have it back.

Rules
1. Nothing of the database is changed before a verified copy of all of it is on disk.
2. It is a backup as any other (`tarsd restore`), in `backups/`, named after the schema that it is of.
3. Too little room for it is told with what is needed; the database stays as it is, for the older version to use.
"""

from __future__ import annotations

import shutil
import sqlite3
import time
from contextlib import closing
from pathlib import Path

from tarsd.errors import StorageError
from tarsd.memory.backup_file import FOLDER, SUFFIX, Manifest, account, disk_errors, finish
from tarsd.wire import MIB

_SPARE_BYTES = 16 * MIB  # for the migration itself, and what else the PC does


def backup_path(database: Path, schema: int) -> Path:
    """Return where the backup of a database of this schema lies."""
    return database.parent / FOLDER / f"{database.name}.schema-{schema}{SUFFIX}"


def back_up(connection: sqlite3.Connection, database: Path, schema: int) -> Path:
    """Make the backup of an open database that is about to be migrated; raises `StorageError`. Blocks on the disk."""
    path = backup_path(database, schema)
    draft = path.with_suffix(".part")
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        needed = _size(connection) + _SPARE_BYTES
        free = shutil.disk_usage(path.parent).free
        if free < needed:
            raise StorageError(
                f"{path}: {needed} bytes are needed for the backup before {database.name} is migrated, "
                f"{free} are free; nothing was changed"
            )
        draft.unlink(missing_ok=True)
        try:
            draft.touch(mode=0o600)
            connection.execute("VACUUM INTO ?", (str(draft),))
            finish(draft, _manifest(connection, draft, database, schema), path)
        finally:
            draft.unlink(missing_ok=True)
    return path


def _size(connection: sqlite3.Connection) -> int:
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    return int(pages * connection.execute("PRAGMA page_size").fetchone()[0])


def _manifest(connection: sqlite3.Connection, draft: Path, database: Path, schema: int) -> Manifest:
    """Account for the copy, once it was compared with what it is of."""
    with closing(sqlite3.connect(draft)) as copy:
        found = [row[0] for row in copy.execute("PRAGMA quick_check(3)")]
        heads, counts = account(copy)
        if found != ["ok"] or (heads, counts) != account(connection):
            raise StorageError(f"{draft}: the backup before the migration is not what {database.name} is: {found[0]}")
        row = copy.execute("SELECT value FROM meta WHERE name = 'origin'").fetchone()
    node = str(row[0]).partition(".")[0] if row else ""
    return Manifest(node=node, name=node[:8], made_at=time.time(), schema=schema, heads=heads, counts=counts)
