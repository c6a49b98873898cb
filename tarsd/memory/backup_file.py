"""A backup as a file: a SQLite database with a manifest behind its last page, so that any SQLite tool can read it too.

Rules
1. The manifest holds the SHA-256 of the database before it, how far each origin's chain goes, and counts. It stands at
   the end: a file that was cut off has none, whatever else is in it.
2. A backup appears under its name only when it is whole and on disk; nobody but its owner may read it.
3. It holds records, never keys of the node: who takes one away can read what was remembered, not pose as the node.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import struct
from collections.abc import Generator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import BinaryIO

import msgspec

from tarsd.errors import StorageError, TarsdError
from tarsd.memory.log import Grave
from tarsd.memory.schema import COVERED, HAS_TEXT
from tarsd.wire import MIB

FOLDER = "backups"
SUFFIX = ".tarsd-backup"
_END = struct.Struct(">Q16s")  # length of the manifest, and what the file ends with
_MAGIC = b"tarsd backup 1\n\0"
_BLOCK_BYTES = MIB


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a backup says of itself. `heads`: how far each origin goes, with its last seal in hexadecimal."""

    node: str
    name: str
    made_at: float  # seconds since 1970
    schema: int
    heads: dict[str, tuple[int, str]]
    counts: dict[str, int]
    sha256: str = ""
    database_bytes: int = 0


class Backup(msgspec.Struct, frozen=True):
    """A backup on disk; `problem` says why it cannot be used, "" when it looks whole."""

    path: str
    file_bytes: int
    manifest: Manifest | None
    problem: str = ""


@contextmanager
def disk_errors(path: Path) -> Generator[None, None, None]:
    """Turn what the disk and SQLite say into `StorageError`."""
    try:
        yield
    except sqlite3.Error as error:
        raise StorageError(f"{path}: {error}") from error
    except OSError as error:
        raise StorageError(f"{error.filename or path}: {error.strerror or error}") from error


def account(connection: sqlite3.Connection) -> tuple[dict[str, tuple[int, str]], dict[str, int]]:
    """Return heads and counts of a database's records."""
    found = connection.execute("SELECT origin, MAX(seq), sha FROM log GROUP BY origin ORDER BY origin")
    heads = {origin: (seq, sha.hex()) for origin, seq, sha in found}
    counts = {
        "records": "SELECT COUNT(*) FROM log",
        "with text": f"SELECT COUNT(*) FROM log WHERE {HAS_TEXT}",  # noqa: S608
        "graves": "SELECT COUNT(*) FROM graves",
    }
    return heads, {name: int(connection.execute(sql).fetchone()[0]) for name, sql in counts.items()}


def finish(draft: Path, manifest: Manifest, path: Path) -> Manifest:
    """Put the manifest behind the database in `draft` and give the file its name (rule 2); return it complete."""
    with disk_errors(path):
        size = draft.stat().st_size
        whole = msgspec.structs.replace(manifest, sha256=_digest(draft, size), database_bytes=size)
        packed = msgspec.json.encode(whole)
        with draft.open("ab") as file:
            file.write(packed + _END.pack(len(packed), _MAGIC))
            file.flush()
            os.fsync(file.fileno())
        draft.chmod(0o600)
        draft.replace(path)
        sync_folder(path.parent)
    return whole


def sync_folder(folder: Path) -> None:
    """Bring renames in a folder to the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_manifest(path: Path) -> Manifest:
    """Return what a backup says of itself; raises `StorageError` for what is torn or none of ours."""
    with disk_errors(path), path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        file.seek(max(0, size - _END.size))
        end = file.read(_END.size)
        if len(end) < _END.size or not end.endswith(_MAGIC):
            raise StorageError(f"{path} is not a whole backup of tarsd: it was cut off, or is another kind of file")
        length = _END.unpack(end)[0]
        if length > size - _END.size:
            raise StorageError(f"{path} is damaged: its manifest does not fit in it")
        file.seek(size - _END.size - length)
        try:
            manifest = msgspec.json.decode(file.read(length), type=Manifest)
        except msgspec.DecodeError as error:
            raise StorageError(f"{path} is damaged: its manifest cannot be read") from error
    if manifest.database_bytes != size - _END.size - length:
        raise StorageError(f"{path} is damaged: it has not the size that its manifest says")
    return manifest


def extract(path: Path, manifest: Manifest, to: Path) -> None:
    """Write the database of a backup to a private file, on disk at return; raises `StorageError` when it is damaged."""
    seen = hashlib.sha256()
    with disk_errors(to), path.open("rb") as source, _private(to) as target:
        left = manifest.database_bytes
        while left and (block := source.read(min(left, _BLOCK_BYTES))):
            seen.update(block)
            target.write(block)
            left -= len(block)
        target.flush()
        os.fsync(target.fileno())
    if seen.hexdigest() != manifest.sha256:
        to.unlink(missing_ok=True)
        raise StorageError(f"{path} is damaged: its content does not have the SHA-256 of its manifest")


def _private(path: Path) -> BinaryIO:
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    return path.open("wb")


def _digest(path: Path, size: int) -> str:
    seen = hashlib.sha256()
    with path.open("rb") as file:
        while size and (block := file.read(min(size, _BLOCK_BYTES))):
            seen.update(block)
            size -= len(block)
    return seen.hexdigest()


def listed(folder: Path) -> list[Backup]:
    """Return the backups in a folder, newest first; of one that cannot be used, why."""
    found = []
    for path in folder.glob(f"*{SUFFIX}"):
        try:
            found.append(Backup(str(path), path.stat().st_size, read_manifest(path)))
        except StorageError as error:
            found.append(Backup(str(path), path.stat().st_size, None, str(error)))
    return sorted(found, key=lambda each: -each.manifest.made_at if each.manifest else 0.0)


# --- what was forgotten since -------------------------------------------------------------------------------------


def backups_with(folder: Path, keys: list[str]) -> list[str]:
    """Return the names of backups in which a text at or below one of these keys stands; blocks on the disk.

    One that cannot be read is named too: the text may stand in it.
    """
    graves = {key: Grave(2**63 - 1, "") for key in keys}
    return sorted(path.name for path in folder.glob(f"*{SUFFIX}") if graves and holds(path, graves))


def holds(path: Path, graves: Mapping[str, Grave]) -> bool:
    """Say whether a text that these tombstones cover stands in a backup, or may."""
    sql = f"WHERE {COVERED}"
    sql = f"SELECT EXISTS (SELECT 1 FROM log {sql}) OR EXISTS (SELECT 1 FROM waiting {sql})"  # noqa: S608
    try:
        read_manifest(path)
        with closing(opened(path)) as connection:
            known = {key: Grave(*grave) for key, *grave in connection.execute("SELECT key, hlc, origin FROM graves")}
            new = {key: grave for key, grave in graves.items() if known.get(key) != grave}
            return any(connection.execute(sql, (key, grave.hlc)).fetchone()[0] for key, grave in new.items())
    except (TarsdError, sqlite3.Error):
        return True


def opened(path: Path) -> sqlite3.Connection:
    """Open the database of a backup for reading, as it lies; to be closed by the caller."""
    return sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True)
