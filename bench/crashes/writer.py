"""What is interrupted: a real store that writes, forgets, compacts, backs up, does its night and starts again.

Everything is said before it is begun and again when it is done, so that who listens knows what must have survived.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from random import Random

from bench.crashes.promises import NODE, key_of, text_of
from tarsd.memory import backup, restore
from tarsd.memory.bodies import MemoryBody
from tarsd.memory.store import Store

Tell = Callable[[tuple[str, int, list[str]]], None]
_WEIGHTS = {"write": 50, "write many": 8, "forget": 12, "compact": 8, "back up": 6, "night": 4, "start again": 12}
BACKUPS = "backups"
_KEEP = 2


class Writer:
    """Does so many turns of random work with the database at `path`; `names` are those that may be forgotten."""

    def __init__(self, path: Path, seed: str, names: list[str], tell: Tell) -> None:
        self._path = path
        self._seed = seed
        self._names = names
        self._tell = tell
        self._random = Random(seed)
        self._count = 0

    async def run(self, turns: int) -> None:
        """Work, then close as a node that is stopped does."""
        store = await Store.open(self._path, NODE)
        for _ in range(turns):
            (what,) = self._random.choices(list(_WEIGHTS), list(_WEIGHTS.values()))
            if what == "start again":
                await store.close()
                store = await Store.open(self._path, NODE)
            else:
                await self._do(what, store)
        await store.close()

    async def _do(self, what: str, store: Store) -> None:
        match what:
            case "write":
                await self._write(store, self._random.randint(1, 5))
            case "write many":
                await self._write(store, self._random.randint(20, 60))
            case "forget":
                await self._forget(store)
            case "compact":
                await store.optimize()
            case "back up":
                await self._back_up(store)
            case "night":
                await self._night(store)

    async def _write(self, store: Store, count: int) -> None:
        names = [f"{self._seed}n{self._count + number}" for number in range(count)]
        self._count += count
        batch = self._count
        self._tell(("will", batch, names))
        await store.append_many([("memory", key_of(name), MemoryBody(name, text_of(name))) for name in names])
        self._tell(("did", batch, []))
        self._names.extend(names)

    async def _forget(self, store: Store) -> None:
        if not self._names:
            return
        name = self._names.pop(self._random.randrange(len(self._names)))
        self._tell(("forgetting", 0, [name]))
        await store.forget(key_of(name))
        self._tell(("forgot", 0, [name]))

    async def _back_up(self, store: Store) -> Path:
        folder = self._path.parent / BACKUPS
        path, _ = await backup.make(store, folder, NODE, "crash")
        for each in await asyncio.to_thread(backup.surplus, folder, NODE, _KEEP):
            each.unlink()
        return path

    async def _night(self, store: Store) -> None:
        await store.optimize()
        problems = await store.integrity_check()
        problems += await restore.prove(await self._back_up(store), self._path.parent / "scratch")
        if problems:
            raise AssertionError("; ".join(problems))
