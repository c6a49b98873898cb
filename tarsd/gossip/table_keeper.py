"""Writes what gossip has learned to disk: soon after it changed, and never twice at once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from tarsd.errors import ConfigError, StorageError
from tarsd.gossip.member import Met
from tarsd.gossip.table import Table

log = logging.getLogger(__name__)

WRITE_GAP_S = 0.5  # changes within it become one write


class TableKeeper:
    """Keeps the table of everybody `met`, and the notices."""

    def __init__(self, table: Table, met: Callable[[], list[Met]], save_notices: Callable[[], None]) -> None:
        self._table = table
        self._met = met
        self._save_notices = save_notices
        self._dirty = asyncio.Event()
        self._failed_writes = 0

    def changed(self) -> None:
        """There is something to write."""
        self._dirty.set()

    async def run(self) -> None:
        """Write what changes, until cancelled."""
        while True:
            await self._dirty.wait()
            await asyncio.sleep(WRITE_GAP_S)
            await self.write()

    async def write(self) -> None:
        """Write now; raises nothing, the node lives on without.

        After a restart it finds the others by mDNS, seeds, or their greetings.
        """
        self._dirty.clear()
        met = self._met()
        try:
            await asyncio.to_thread(self._table.write, met)
            await asyncio.to_thread(self._save_notices)
        except (StorageError, ConfigError) as error:
            log.log(logging.DEBUG if self._failed_writes else logging.WARNING, "%s", error)
            self._failed_writes += 1
        else:
            self._failed_writes = 0
