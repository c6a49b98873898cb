"""Uploads on their way to a processing node: kept in a file and hashed first, since a call names size and SHA-256.

Rules
1. A body over the bound is refused as soon as it is seen: by Content-Length before a byte is read, else while reading.
2. At most `MAX_UPLOADS` are kept at once: each may fill the disk up to the bound.
3. Disk and hash work runs in a thread; the loop only moves chunks.
4. A spooled file is private, and gone when its upload ends; what a crash left behind goes at the next start.
"""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from aiohttp import StreamReader

from tarsd import wire
from tarsd.api.replies import FieldError, TooLarge
from tarsd.errors import Overloaded, StorageError

MAX_UPLOADS = 4
READ_S = 60.0  # a client that sends nothing for so long has gone
_WRITE_BYTES = 1024 * 1024  # a thread hop a megabyte costs nothing; one a packet would


@dataclass(frozen=True)
class Spooled:
    """A body that is whole on this disk."""

    path: Path
    size_bytes: int
    sha256: str

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the file's bytes from the start, in chunks that fit a frame."""
        file = await asyncio.to_thread(self.path.open, "rb")
        try:
            while data := await asyncio.to_thread(file.read, wire.UPLOAD_CHUNK_BYTES):
                yield data
        finally:
            file.close()


class Spool:
    """The folder of uploads under way."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._open = 0

    def prepare(self) -> None:
        """Make the folder anew, empty (rule 4); raises `StorageError`."""
        try:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder.mkdir(parents=True, mode=0o700)
        except OSError as error:
            raise StorageError(f"{self._folder}: cannot be made: {error.strerror}") from error

    @asynccontextmanager
    async def take(self, body: StreamReader, announced_bytes: int | None) -> AsyncGenerator[Spooled, None]:
        """Read `body` to its end and keep it while the block runs; raises `TooLarge`, `Overloaded`, `StorageError`."""
        if announced_bytes is not None:
            self._check_size(announced_bytes)
        if self._open >= MAX_UPLOADS:
            raise Overloaded(f"{MAX_UPLOADS} uploads are under way here already", retry_after_s=5.0)
        self._open += 1
        path: Path | None = None
        try:
            file = await asyncio.to_thread(self._create)
            path = Path(file.name)
            yield await self._fill(file, path, body)
        except OSError as error:
            if isinstance(error, ConnectionError):
                raise
            raise StorageError(f"the upload cannot be kept: {error.strerror}") from error
        finally:
            self._open -= 1
            if path is not None:
                path.unlink(missing_ok=True)

    def _create(self) -> IO[bytes]:
        return tempfile.NamedTemporaryFile(dir=self._folder, delete=False)

    async def _fill(self, file: IO[bytes], path: Path, body: StreamReader) -> Spooled:
        digest = hashlib.sha256()
        size = 0
        waiting = bytearray()

        def keep(data: bytes) -> None:
            file.write(data)
            digest.update(data)

        try:
            while data := await _read(body):
                size += len(data)
                self._check_size(size)
                waiting += data
                if len(waiting) >= _WRITE_BYTES:
                    await asyncio.to_thread(keep, bytes(waiting))
                    waiting.clear()
            await asyncio.to_thread(keep, bytes(waiting))
        finally:
            await asyncio.to_thread(file.close)
        if not size:
            raise FieldError("body", "the document is empty")
        return Spooled(path, size, digest.hexdigest())

    def _check_size(self, size_bytes: int) -> None:
        if size_bytes > self._max_bytes:
            raise TooLarge(f"body: more than {self._max_bytes // wire.MIB} MiB, the bound set by api.max_body_mib")


async def _read(body: StreamReader) -> bytes:
    try:
        async with asyncio.timeout(READ_S):
            return await body.readany()
    except TimeoutError as error:
        raise ConnectionResetError("the client sends no data") from error
