"""The folder in which fetched models are kept.

Rules
1. A model is `NAME.gguf` there only once it is whole: its size and SHA-256 are what was promised, and it begins as a
   GGUF does. Until then it is `NAME.gguf.part`, and beside it stands what it is to become: so a fetch goes on where it
   was cut off, by a lost peer, a restart or a power cut.
2. A part is continued only for the very file it was begun for; for another one it is begun anew.
3. A file that is not what was promised is deleted, and told.
4. Nothing is begun that the disk cannot hold; one that fills up all the same is a `StorageError`, the part stays.
5. The SHA-256 of a file is worked out once and kept with its size and time of change, by which a change is noticed.

All of it blocks: call it in a thread.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from tarsd.errors import InvalidInput, StorageError
from tarsd.models import gguf
from tarsd.models.notes import Notes
from tarsd.models.sources import check_name
from tarsd.wire import MIB

FREE_BYTES = 256 * MIB  # stay free: records are written to the same disk
_READ_BYTES = 4 * MIB
_WHOLE, _PART, _PROMISE = ".gguf", ".gguf.part", ".gguf.part.json"
_FULL = (errno.ENOSPC, errno.EDQUOT)


class Promise(msgspec.Struct, frozen=True):
    """What a file will be once it is whole. `source`: where it is from, for people."""

    sha256: str
    size_bytes: int
    source: str = ""


class _Known(msgspec.Struct, frozen=True):
    sha256: str
    size_bytes: int
    modified_ns: int


def _free_bytes(folder: Path) -> int:
    return shutil.disk_usage(folder).free


class ModelStore:
    """The models in `folder`, which is made when the first one comes."""

    def __init__(self, folder: Path, free_bytes: Callable[[Path], int] = _free_bytes) -> None:
        self.folder = folder
        self._free_bytes = free_bytes
        self._notes: Notes[dict[str, _Known]] = Notes(folder / "hashes.json", dict[str, _Known])
        self._known: dict[str, _Known] | None = None
        self._lock = threading.Lock()

    def names(self) -> list[str]:
        """Return the names of the models that are whole."""
        return sorted(path.name.removesuffix(_WHOLE) for path in self.folder.glob("*" + _WHOLE))

    def path_of(self, name: str) -> Path:
        """Return where a model is, or would be."""
        return self.folder / (check_name(name) + _WHOLE)

    def part_of(self, name: str) -> tuple[Promise | None, int]:
        """Return what a part is to become, and how many bytes of it are here."""
        promise = Notes(self._beside(name, _PROMISE), Promise).read()
        try:
            return promise, self._beside(name, _PART).stat().st_size
        except OSError:
            return promise, 0

    def open_part(self, name: str, promise: Promise) -> Part:
        """Return the part of a model, to be written on from its `offset` (rules 2 and 4); raises `StorageError`."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            known, done = self.part_of(name)
            if known is None or (known.sha256, known.size_bytes) != (promise.sha256, promise.size_bytes):
                self.drop_part(name)
                done = 0
            self._check_room(name, promise.size_bytes - done)
            Notes(self._beside(name, _PROMISE), Promise).write(promise)
            return Part(self._beside(name, _PART), promise)
        except OSError as error:
            raise _storage_error(self.folder, error) from error

    def finish(self, name: str, progress: Callable[[int], None] = lambda done: None) -> Path:
        """Make a whole part the model (rule 1).

        Raises `InvalidInput` when it is not what was promised: it is gone then. `progress` is told the bytes read.
        """
        promise, done = self.part_of(name)
        part, whole = self._beside(name, _PART), self.path_of(name)
        if promise is None or done != promise.size_bytes:
            raise InvalidInput(f"{name}: {done} bytes are here, {promise.size_bytes if promise else 0} were promised")
        try:
            found = _hash(part, progress)
            if found != promise.sha256:
                raise InvalidInput(f"{name}: its SHA-256 is {found}, {promise.sha256} was promised; it was deleted")
            header_of(part)
            os.replace(part, whole)
            self._beside(name, _PROMISE).unlink(missing_ok=True)
            self._remember(whole, found)
        except InvalidInput:
            self.drop_part(name)
            raise
        except OSError as error:
            raise _storage_error(self.folder, error) from error
        return whole

    def drop_part(self, name: str) -> None:
        """Forget what was begun."""
        for ending in (_PART, _PROMISE):
            self._beside(name, ending).unlink(missing_ok=True)

    def remove(self, name: str) -> int:
        """Delete a model and what was begun of it; return the bytes freed. Raises `StorageError`."""
        freed = 0
        for path in (self.path_of(name), self._beside(name, _PART)):
            try:
                size = path.stat().st_size
                path.unlink()
                freed += size
            except FileNotFoundError:
                continue
            except OSError as error:
                raise _storage_error(path, error) from error
        self.drop_part(name)
        return freed

    def sha256_of(self, path: Path) -> str:
        """Return the SHA-256 of any file, from memory if it is unchanged (rule 5); raises `StorageError`."""
        if known := self.known_sha256(path):
            return known
        try:
            found = _hash(path, lambda done: None)
            self._remember(path, found)
        except OSError as error:
            raise _storage_error(path, error) from error
        return found

    def known_sha256(self, path: Path) -> str:
        """Return the SHA-256 of a file if it is known; "" = it would have to be read."""
        try:
            state = path.stat()
        except OSError:
            return ""
        known = self._hashes().get(str(path))
        same = known is not None and (known.size_bytes, known.modified_ns) == (state.st_size, state.st_mtime_ns)
        return known.sha256 if known is not None and same else ""

    def _remember(self, path: Path, sha256: str) -> None:
        state = path.stat()
        with self._lock:
            hashes = {other: known for other, known in self._hashes().items() if Path(other).exists()}
            self._known = hashes | {str(path): _Known(sha256, state.st_size, state.st_mtime_ns)}
            self._notes.write(self._known)

    def _hashes(self) -> dict[str, _Known]:
        if self._known is None:
            self._known = self._notes.read() or {}
        return self._known

    def _check_room(self, name: str, needed_bytes: int) -> None:
        free = self._free_bytes(self.folder)
        if needed_bytes + FREE_BYTES > free:
            raise StorageError(
                f"{name} needs {needed_bytes // MIB} MiB more in {self.folder}, where {free // MIB} MiB are free and "
                f"{FREE_BYTES // MIB} MiB must stay so"
            )

    def _beside(self, name: str, ending: str) -> Path:
        return self.folder / (check_name(name) + ending)


class Part:
    """A file that is being written; close it, or use it in `with`."""

    def __init__(self, path: Path, promise: Promise) -> None:
        self._path = path
        self._promise = promise
        self._file = path.open("ab", buffering=0)
        self.offset = self._file.tell()

    def write(self, data: bytes) -> None:
        """Add the next bytes; raises `StorageError`, and `InvalidInput` where more come than were promised."""
        if self.offset + len(data) > self._promise.size_bytes:
            raise InvalidInput(f"more than the promised {self._promise.size_bytes} bytes came")
        try:
            view = memoryview(data)
            while view:
                written = self._file.write(view)
                self.offset += written
                view = view[written:]
        except OSError as error:
            raise _storage_error(self._path, error) from error

    def close(self) -> None:
        """Write what is held to the disk."""
        try:
            os.fsync(self._file.fileno())
        except OSError as error:
            if error.errno != errno.EINVAL:  # what cannot be synced holds nothing back
                raise _storage_error(self._path, error) from error
        finally:
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def header_of(path: Path) -> gguf.Header:
    """Return what a model's file says of itself; raises `InvalidInput` naming it, and `OSError`."""
    with path.open("rb") as file:
        try:
            return gguf.read_header(file, os.fstat(file.fileno()).st_size)
        except InvalidInput as error:
            raise InvalidInput(f"{path.name.removesuffix('.part')} is no model for llama.cpp: {error}") from error


def _hash(path: Path, progress: Callable[[int], None]) -> str:
    digest, done = hashlib.sha256(), 0
    with path.open("rb", buffering=0) as file:
        while data := file.read(_READ_BYTES):
            digest.update(data)
            done += len(data)
            progress(done)
    return digest.hexdigest()


def _storage_error(path: Path, error: OSError) -> StorageError:
    if error.errno in _FULL:
        return StorageError(f"{path}: the disk is full; what has come so far is kept, free some and ask again")
    return StorageError(f"{path}: {error.strerror or error}")
