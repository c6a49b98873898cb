"""Who is in memory: makes room, lets idle models leave when their time is over or the PC runs out of memory.

Who leaves is decided in `residents`; here it is done, one at a time, and looked at anew before each: while one leaves,
another may be asked for.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress

from tarsd.engines.resident import OWN, Resident
from tarsd.engines.residents import Occupant, expired, make_room, next_end, relief
from tarsd.errors import EngineUnavailable, Overloaded
from tarsd.wire import MIB

_log = logging.getLogger(__name__)

RESERVE_BYTES = 256 * MIB  # less than this is left of the PC's memory: idle models leave
LOOK_S = 5.0  # how often that is looked at, while there is anybody to leave
BUSY_RETRY_S = 10.0


class Occupancy:
    """The models in memory, by name. `own_stays`: the node's own engines are never unloaded.

    `on_leaving` is told before one is unloaded. `lock` is held by whoever loads or unloads.
    """

    def __init__(
        self,
        bound_bytes: int,
        available_bytes: Callable[[], int],
        on_leaving: Callable[[Resident], None],
        *,
        own_stays: bool,
    ) -> None:
        self.here: dict[str, Resident] = {}
        self.users: Counter[str] = Counter()  # who uses a model, or waits for it
        self.lock = asyncio.Lock()
        self.wake = asyncio.Event()  # something changed that says when somebody leaves
        self._bound_bytes = bound_bytes
        self._available_bytes = available_bytes
        self._on_leaving = on_leaving
        self._own_stays = own_stays

    async def run(self) -> None:
        """Let leave whose time is over, and whom the PC has no memory for, for ever."""
        loop = asyncio.get_running_loop()
        while True:
            occupants = self._occupants()
            for name in expired(occupants, loop.time()):
                await self._drop_idle(name, "nobody asked for it of late")
            others = [one for one in occupants if one.name != OWN]
            if others and (first := relief(others, self._available_bytes(), RESERVE_BYTES)) is not None:
                await self._drop_idle(first, "this PC runs out of memory", whatever_its_time=True)
            await self._until_next(others)

    async def make_room(self, name: str, needed_bytes: int) -> None:
        """Unload what must leave for `name`; the lock is held.

        Raises `EngineUnavailable` with numbers when it cannot fit, `Overloaded` when others must be done first.
        """
        while (room := make_room(self._occupants(), needed_bytes, self._bound_bytes)).unload:
            await self.drop(room.unload[0], f"{name or 'the own model'} needs the room")
        if room.fits:
            return
        occupants = self._occupants()
        taken = ", ".join(f"{one.name or 'own'} {one.needs_bytes // MIB} MiB" for one in occupants) or "nothing"
        words = (
            f"model {name or 'own'!r} needs about {needed_bytes // MIB} MiB; of {self._bound_bytes // MIB} MiB for "
            f"models (models.memory_mib) are taken: {taken}"
        )
        if room.could_fit:
            raise Overloaded(f"{words}; those are answering", retry_after_s=BUSY_RETRY_S)
        raise EngineUnavailable(words)

    async def unload(self, name: str) -> bool:
        """Unload `name` now; False: it was not there. Raises `Overloaded` while it answers."""
        async with self.lock:
            if name not in self.here:
                return False
            if self.users[name]:
                raise Overloaded(f"model {name!r} is answering; ask again when it is done", retry_after_s=BUSY_RETRY_S)
            await self.drop(name, "it was asked for")
            return True

    async def drop(self, name: str, why: str) -> None:
        """Unload `name`; the lock is held."""
        resident = self.here.pop(name)
        self._on_leaving(resident)
        _log.info("model %s is unloaded: %s", name or "own", why)
        stopping = asyncio.create_task(resident.chain.stop(), name=f"unload {name or 'own engines'}")
        try:
            await asyncio.shield(stopping)
        except asyncio.CancelledError:  # who asked for it has left; half unloaded it would stay for ever, unseen
            await asyncio.wait({stopping})
            raise

    def occupant(self, resident: Resident) -> Occupant:
        """Return a model as the rules see it."""
        is_own = resident.name == OWN
        return Occupant(
            resident.name,
            max(resident.needs_bytes, resident.memory_bytes()),
            bool(self.users[resident.name] or resident.chain.is_busy) or (is_own and not resident.chain.ready),
            resident.used_at,
            resident.keep_s,
            is_fixed=is_own and self._own_stays,
        )

    def _occupants(self) -> list[Occupant]:
        return [self.occupant(resident) for resident in self.here.values()]

    async def _drop_idle(self, name: str, why: str, *, whatever_its_time: bool = False) -> None:
        async with self.lock:
            resident = self.here.get(name)
            if resident is None:
                return
            now, occupant = asyncio.get_running_loop().time(), self.occupant(resident)
            if occupant.may_leave and (whatever_its_time or expired([occupant], now)):
                await self.drop(name, why)

    async def _until_next(self, others: Sequence[Occupant]) -> None:
        self.wake.clear()
        end = next_end(self._occupants())
        wait_s = None if end is None else max(0.01, end - asyncio.get_running_loop().time())
        if others or not self._own_stays:  # who is loading, or was restarted, tells no end
            wait_s = min(LOOK_S, wait_s) if wait_s is not None else LOOK_S
        with suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self.wake.wait()
