"""A node's backups: made when a person asks, and every night, when the fresh one is also restored once to prove it.

Rules
1. One backup at a time; a second one waits.
2. Those beyond what is to be kept go once a fresh one is whole on disk; by night, once it was proven.
3. Those in which stands what is forgotten by now go once a fresh one was proven: a forgotten text leaves the backups
   the next night.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from tarsd.memory import backup, restore
from tarsd.memory.backup_file import FOLDER, Manifest
from tarsd.roles.base import JobResult, NightlyPart, Role, Services

SCRATCH = "backup-proof"


class BackupMade(msgspec.Struct, frozen=True):
    """A backup that is on this node's disk now; `path` is the node's own."""

    path: str
    file_bytes: int
    manifest: Manifest


class Backing(Role):
    """Makes, proves and thins out the backups of this node."""

    name = "backing"

    def __init__(self, services: Services) -> None:
        self._services = services
        self._folder = services.config.node.data_dir / FOLDER
        self._lock = asyncio.Lock()
        self._last_problem = ""

    def nightly(self) -> Mapping[str, NightlyPart]:
        """See `Role`."""
        return {"health_check": self.back_up}

    def status(self) -> dict[str, Any]:
        """See `Role`; a backup that cannot be restored is told, and is no reason to restart the node."""
        return {"problem": self._last_problem}

    def note(self) -> str:
        """Return what people should know, "" for nothing."""
        return self._last_problem

    async def make(self) -> BackupMade:
        """Make a backup now and say where it is; raises `StorageError`."""
        async with self._lock:
            path, manifest = await self._make()
            await self._remove(await asyncio.to_thread(self._surplus))
            return BackupMade(str(path), manifest.database_bytes, manifest)

    async def back_up(self, *night: object) -> JobResult:
        """Make a backup, prove it, and remove what it makes useless."""
        async with self._lock:
            path, manifest = await self._make()
            scratch = self._services.config.node.data_dir / SCRATCH
            if problems := await restore.prove(path, scratch):
                self._last_problem = f"the backup {path.name} cannot be restored: {problems[0]}"
                return JobResult(0, self._last_problem, ok=False)
            self._last_problem = ""
            known = await backup.graves(self._services.store)
            forgotten = await asyncio.to_thread(backup.with_forgotten, self._folder, known, path)
            surplus = await asyncio.to_thread(self._surplus)
            await self._remove([*forgotten, *surplus])
            detail = f"backup of {manifest.counts['records']} records made and proven"
            if forgotten:
                detail += f"; {len(forgotten)} older ones with forgotten texts removed"
            return JobResult(1, detail)

    async def _make(self) -> tuple[Path, Manifest]:
        identity = self._services.identity
        return await backup.make(self._services.store, self._folder, identity.node_id, identity.name)

    def _surplus(self) -> list[Path]:
        keep = self._services.config.memory.backups
        return backup.surplus(self._folder, self._services.identity.node_id, keep)

    async def _remove(self, paths: list[Path]) -> None:
        await asyncio.to_thread(_unlink, paths)


def _unlink(paths: list[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
