"""The folder where documents wait to be read: a file is whole and on the disk before anybody is told that it is safe.

Rules
1. Bytes go to `<job>.part`, which is checked against size and SHA-256, fsynced and renamed to `<job>.bin`; the folder
   is fsynced. After SIGKILL or a power cut a `.bin` is whole and a `.part` is waste.
2. What no job claims is deleted at the next start.
3. Files are readable by this daemon's user only.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import io
import os
from collections.abc import AsyncIterator, Collection
from pathlib import Path

from tarsd.errors import InvalidInput, StorageError


class Spool:
    """The folder `<data_dir>/spool`. Blocking work runs in threads."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, job: str) -> Path:
        """Return where the document of `job` lies."""
        return self._folder / f"{job}.bin"

    async def open(self, jobs: Collection[str]) -> set[str]:
        """Make the folder, delete what belongs to none of `jobs`, return those of them whose file is there."""
        return await asyncio.to_thread(self._open, frozenset(jobs))

    async def receive(self, job: str, chunks: AsyncIterator[bytes], size_bytes: int, sha256: str) -> None:
        """Write the upload; returns when it is safe on disk (rule 1).

        Raises `InvalidInput` when the bytes are not those announced, `StorageError` when the disk refuses; then, and
        when cancelled, nothing is left.
        """
        part = self._folder / f"{job}.part"
        try:
            await self._write(part, chunks, size_bytes, sha256)
            await asyncio.to_thread(self._keep, part, self.path(job))
        except OSError as error:
            raise StorageError(f"the document could not be saved: {_reason(error)}") from error
        finally:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)

    async def delete(self, job: str) -> None:
        """Delete the document of `job`, if it is there."""
        with contextlib.suppress(OSError):  # what stays is deleted at the next start (rule 2)
            await asyncio.to_thread(self.path(job).unlink, missing_ok=True)

    async def _write(self, part: Path, chunks: AsyncIterator[bytes], size_bytes: int, sha256: str) -> None:
        digest = hashlib.sha256()
        written = 0
        with await asyncio.to_thread(_create, part) as stream:
            async for data in chunks:
                written += len(data)
                if written > size_bytes:
                    raise InvalidInput(f"the upload is longer than the {size_bytes} bytes that were announced")
                await asyncio.to_thread(_append, stream, digest, data)
            if written != size_bytes:
                raise InvalidInput(f"the upload ended after {written} of {size_bytes} bytes")
            if digest.hexdigest() != sha256:
                raise InvalidInput("the upload's SHA-256 is not the one that was announced: it was damaged on its way")
            await asyncio.to_thread(os.fsync, stream.fileno())

    def _open(self, jobs: frozenset[str]) -> set[str]:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        there = set()
        for path in self._folder.iterdir():
            if path.suffix == ".bin" and path.stem in jobs:
                there.add(path.stem)
            elif path.suffix in (".bin", ".part"):
                path.unlink(missing_ok=True)
        return there

    def _keep(self, part: Path, path: Path) -> None:
        part.replace(path)
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _create(path: Path) -> io.FileIO:
    return io.FileIO(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb")


def _append(stream: io.FileIO, digest: hashlib._Hash, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[stream.write(view) :]
    digest.update(data)


def _reason(error: OSError) -> str:
    return "the disk is full" if error.errno == errno.ENOSPC else error.strerror or str(error)
